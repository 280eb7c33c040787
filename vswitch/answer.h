// SPDX-License-Identifier: Apache-2.0
// What the switch answers itself, from policy: ARP and ND for customer addresses and gateways,
// pings of a gateway; the same for provider addresses on the underlay. Worker.
#pragma once

#include "vswitch/cache.h"

// Answers f->m (f->p: an OP_ANSWER), passes it on, or drops it.
void answer_frame(const struct frame *f);
