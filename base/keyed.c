// SPDX-License-Identifier: Apache-2.0
#include "base/keyed.h"

#include <errno.h>
#include <stdlib.h>

#include "base/types.h"

#define DIGITS 8u // of 8 bits, the lowest first

struct tie {
	int (*compare)(const void *arg, uint32_t, uint32_t);
	const void *arg;
};

static int compare_tie(const void *a, const void *b, void *arg)
{
	const struct keyed *x = a, *y = b;
	const struct tie *t = arg;

	return t->compare(t->arg, x->at, y->at);
}

static void sort_ties(struct keyed *list, uint32_t n, struct tie *t)
{
	for (uint32_t first = 0, end; first < n; first = end) {
		bool in_order = true;

		for (end = first + 1; end < n && list[end].key == list[first].key; end++)
			in_order = in_order && compare_tie(&list[end - 1], &list[end], t) <= 0;
		if (!in_order)
			qsort_r(list + first, end - first, sizeof(*list), compare_tie, t);
	}
}

static uint8_t digit_of(const struct keyed *k, uint32_t d) { return (uint8_t)(k->key >> (8 * d)); }

// One pass: from[n] into to[n] by digit d, of which count[v] have value v.
static void pass(const struct keyed *from, struct keyed *to, uint32_t n, uint32_t d,
		 const uint32_t *count)
{
	uint32_t place[256], sum = 0;

	for (uint32_t v = 0; v < 256; v++) {
		place[v] = sum;
		sum += count[v];
	}
	for (uint32_t i = 0; i < n; i++)
		to[place[digit_of(&from[i], d)]++] = from[i];
}

int keyed_sort(struct keyed *list, uint32_t n, int (*compare)(const void *arg, uint32_t, uint32_t),
	       const void *arg)
{
	struct keyed *other = malloc(n * sizeof(*other) + 1), *from = list, *to = other;
	uint32_t count[DIGITS][256] = { 0 };

	if (!other)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t d = 0; d < DIGITS; d++)
			count[d][digit_of(&list[i], d)]++;
	for (uint32_t d = 0; n && d < DIGITS; d++) {
		struct keyed *was = from;

		if (count[d][digit_of(list, d)] == n)
			continue; // all the same
		pass(from, to, n, d, count[d]);
		from = to;
		to = was;
	}
	if (n && from != list)
		memcpy(list, from, n * sizeof(*list));
	free(other);
	if (compare)
		sort_ties(list, n, &(struct tie){ compare, arg });
	return 0;
}
