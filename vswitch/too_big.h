// SPDX-License-Identifier: Apache-2.0
// Packets that do not fit the way they must take. Worker.
#pragma once

#include "vswitch/cache.h"

// True if f->m, untagged, is too large for `w`, and done with. A large send is judged by what it is
// cut into.
bool too_big(const struct frame *f, const struct way_header *w);
