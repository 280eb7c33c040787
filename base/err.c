// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int error, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		va_end(ap);
	}
	return -error;
}

int err_prefix(struct err *e, int ret, const char *fmt, ...)
{
	char prefix[128], old[sizeof(e->text)];
	va_list ap;

	if (!e)
		return ret;
	va_start(ap, fmt);
	vsnprintf(prefix, sizeof(prefix), fmt, ap);
	va_end(ap);
	memcpy(old, e->text, sizeof(old));
	// What does not fit is cut at the end: the prefix names the culprit and must stay.
	if (snprintf(e->text, sizeof(e->text), "%s: %s", prefix, old) < 0)
		e->text[0] = 0;
	return ret;
}
