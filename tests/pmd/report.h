// SPDX-License-Identifier: Apache-2.0
// What the guests saw, as JSON.
#pragma once

#include <jansson.h>

#include "tests/pmd/guest.h"

// All guests and their sums over `seconds` of traffic. The caller owns what is returned.
json_t *report_make(struct guest *guests, uint32_t n_guests, double seconds);
