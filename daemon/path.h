// SPDX-License-Identifier: Apache-2.0
// The methods behind `weft test`: test_path, from a guest's port to a customer address on another
// host, as the tenant's packets go and as the underlay's; test_jumbo, whether the underlay between
// two providers carries the sizes that encapsulation needs. control.
#pragma once

#include "daemon/daemon.h"

int path_methods_add(struct daemon *d); // 0 or -ENOMEM
