// SPDX-License-Identifier: Apache-2.0
#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"
