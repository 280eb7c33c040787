// SPDX-License-Identifier: Apache-2.0
// keyed.h against qsort, on keys of all shapes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/keyed.h"
#include "base/types.h"

#define N 3000u

// The later of the caller's things first.
static int backwards(const void *arg, uint32_t a, uint32_t b)
{
	assert_ptr_equal(arg, &backwards);
	return a > b ? -1 : a < b;
}

static int slow(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static void sorts(void **state)
{
	static const uint64_t masks[] = { ~0ull, 0xff, 0xff00ff0000000000ull, 7ull << 40, 0 };
	static struct keyed list[N], want[N];

	for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
		for (uint32_t n = 0; n <= N; n = 3 * n + 1) {
			for (uint32_t i = 0; i < n; i++)
				list[i] = want[i] =
					(struct keyed){ (i + 1) * 0x9e3779b97f4a7c15ull & masks[m],
							i };
			qsort(want, n, sizeof(want[0]), slow);
			assert_int_equal(keyed_sort(list, n, NULL, NULL), 0);
			for (uint32_t i = 0; i < n; i++) {
				assert_int_equal(list[i].key, want[i].key);
				assert_int_equal(list[i].at, want[i].at);
			}
		}
	}
}

static void breaks_ties(void **state)
{
	struct keyed list[] = { { 5, 0 }, { 3, 1 }, { 5, 2 }, { 3, 3 }, { 5, 4 }, { 4, 5 } };
	static const uint32_t want[] = { 3, 1, 5, 4, 2, 0 };

	assert_int_equal(keyed_sort(list, ARRAY_SIZE(list), backwards, &backwards), 0);
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		assert_int_equal(list[i].at, want[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sorts),
					    cmocka_unit_test(breaks_ties) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
