// SPDX-License-Identifier: Apache-2.0
// A provider address as a host on its underlay: answers ARP, ND and pings, and tells control what
// MACs its neighbours say they have. Worker.
#pragma once

#include "vswitch/cache.h"

// f->p: ANSWER_PROVIDER or ANSWER_UNDERLAY.
void answer_underlay(const struct frame *f);
