// SPDX-License-Identifier: Apache-2.0
#include "control/refusal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 64u // longer words are not compared

int refuse(struct refusal *r, int error, const char *field, const char *fmt, ...)
{
	va_list ap;

	if (!r)
		return -error;
	va_start(ap, fmt);
	vsnprintf(r->err.text, sizeof(r->err.text), fmt, ap);
	va_end(ap);
	snprintf(r->field, sizeof(r->field), "%s", field ? field : "");
	r->hint[0] = '\0';
	return -error;
}

int refuse_hint(struct refusal *r, int ret, const char *fmt, ...)
{
	va_list ap;

	if (!r)
		return ret;
	va_start(ap, fmt);
	vsnprintf(r->hint, sizeof(r->hint), fmt, ap);
	va_end(ap);
	return ret;
}

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	a = a < b ? a : b;
	return a < c ? a : c;
}

// How many single-character edits lie between two words (Levenshtein), one row at a time.
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[WORD_MAX + 1], n = (unsigned int)strlen(b);

	for (unsigned int j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned int i = 1; a[i - 1]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (unsigned int j = 1; j <= n; j++) {
			unsigned int above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[n];
}

int refuse_suggest(struct refusal *r, int ret, const char *given, const char *const *words,
		   unsigned int n)
{
	size_t len = strlen(given);
	unsigned int best = len < 3 ? 1 : 1 + (unsigned int)len / 3;
	const char *nearest = NULL;

	if (!r || len > WORD_MAX)
		return ret;
	for (unsigned int i = 0; i < n; i++) {
		if (strlen(words[i]) > WORD_MAX)
			continue;
		unsigned int d = distance(given, words[i]);

		if (d < best || (d == best && !nearest)) {
			best = d;
			nearest = words[i];
		}
	}
	return nearest ? refuse_hint(r, ret, "did you mean '%s'?", nearest) : ret;
}
