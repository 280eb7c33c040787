// SPDX-License-Identifier: Apache-2.0
// Numbers on command lines. Start-up.
#pragma once

#include "base/err.h"

struct option_range {
	unsigned long min, max; // both included
};

// Reads the whole text as a number (0x… and 0… as in C). Returns 0 and *out, or -EINVAL and a
// sentence that names the option.
int option_number(const char *name, const char *text, struct option_range range,
		  unsigned long *out, struct err *err);
