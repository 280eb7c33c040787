// SPDX-License-Identifier: Apache-2.0
// Packets that do not fit the way they must take: their sender is told the size that does, or they
// are fragmented if they allow it. The outer packet is never fragmented. RFC 1191, RFC 8201, RFC
// 791 (3.2). Worker.
#pragma once

#include "vswitch/tunnel.h"

// True if f->m, untagged, is too large for `w`, and done with: sent in fragments, or dropped. A
// large send is judged by what it is cut into.
bool too_big(const struct frame *f, const struct way_header *w);
