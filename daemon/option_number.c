// SPDX-License-Identifier: Apache-2.0
#include "daemon/option_number.h"

#include <errno.h>
#include <stdlib.h>

int option_number(const char *name, const char *text, struct option_range range,
		  unsigned long *out, struct err *err)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 0);
	if (errno || end == text || *end || text[0] == '-' || v < range.min || v > range.max)
		return err_set(err, EINVAL, "%s: '%s' is not a number from %lu to %lu", name, text,
			       range.min, range.max);
	*out = v;
	return 0;
}
