// SPDX-License-Identifier: Apache-2.0
// The distributed router's work on a packet. Worker.
#pragma once

#include "vswitch/cache.h"

// Sends f->m on to FDB slot `dest`, which says `where`: its MAC, the gateway's, TTL one less.
void route_frame(const struct frame *f, uint32_t dest, struct fdb_where where);
