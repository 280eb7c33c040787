// SPDX-License-Identifier: Apache-2.0
// Which addresses a map of guest memory knows, at every edge of its regions.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/guest_memory.h"

#define PAGE GUEST_PAGE_BYTES
#define HOST(n) ((uint8_t *)(uintptr_t)(n)) // never touched

static int add(struct guest_memory *memory, uint64_t gpa, uint64_t bytes, uintptr_t host)
{
	return guest_memory_add(memory, &(struct guest_region){ gpa, bytes, HOST(host), false });
}

static void edges_are_exact(void **state)
{
	struct guest_memory m = {};
	static const struct {
		uint64_t gpa, bytes;
		uintptr_t host; // 0: not memory
	} table[] = {
		{ 0, 1, 0 },
		{ PAGE - 1, 1, 0 },
		{ PAGE, 1, 0x10000 },
		{ PAGE, 2 * PAGE, 0x10000 },
		{ PAGE, 2 * PAGE + 1, 0 },
		{ 3 * PAGE - 1, 1, 0x10000 + 2 * PAGE - 1 },
		{ 3 * PAGE - 1, 2, 0 }, // into the next region, which goes on in GPA only
		{ 3 * PAGE, PAGE, 0x90000 },
		{ 4 * PAGE, 1, 0 },
		{ 8 * PAGE - 1, 2, 0 },
		{ 8 * PAGE, 1, 0x50000 },
		{ 9 * PAGE, 1, 0 },
		{ PAGE, UINT64_MAX, 0 },
		{ UINT64_MAX, 1, 0 },
		{ UINT64_MAX, UINT64_MAX, 0 },
		{ GUEST_MEMORY_MAX_GPA - 1, 1, 0 },
	};

	assert_null(guest_memory_at(&m, 0, 1, false));
	assert_int_equal(add(&m, 8 * PAGE, PAGE, 0x50000), 0);
	assert_int_equal(add(&m, PAGE, 2 * PAGE, 0x10000), 0);
	assert_int_equal(add(&m, 3 * PAGE, PAGE, 0x90000), 0);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_ptr_equal(guest_memory_at(&m, table[i].gpa, table[i].bytes, true),
				 HOST(table[i].host));
}

static void bad_regions_are_refused(void **state)
{
	struct guest_memory m = {};

	assert_int_equal(add(&m, 0, 0, PAGE), -EINVAL);
	assert_int_equal(add(&m, 1, PAGE, PAGE), -EINVAL);
	assert_int_equal(add(&m, 0, PAGE + 1, PAGE), -EINVAL);
	assert_int_equal(add(&m, GUEST_MEMORY_MAX_GPA, PAGE, PAGE), -EINVAL);
	assert_int_equal(add(&m, GUEST_MEMORY_MAX_GPA - PAGE, 2 * PAGE, PAGE), -EINVAL);
	assert_int_equal(add(&m, PAGE, 0ull - PAGE, PAGE), -EINVAL);
	assert_int_equal(add(&m, GUEST_MEMORY_MAX_GPA - PAGE, PAGE, PAGE), 0);
	assert_int_equal(add(&m, 4 * PAGE, 4 * PAGE, PAGE), 0);
	assert_int_equal(add(&m, 4 * PAGE, PAGE, PAGE), -EEXIST);
	assert_int_equal(add(&m, 3 * PAGE, 2 * PAGE, PAGE), -EEXIST);
	assert_int_equal(add(&m, 7 * PAGE, 2 * PAGE, PAGE), -EEXIST);
	assert_int_equal(add(&m, 0, 100 * PAGE, PAGE), -EEXIST);
	assert_int_equal(add(&m, 3 * PAGE, PAGE, PAGE), 0);
	assert_int_equal(add(&m, 8 * PAGE, PAGE, PAGE), 0);
	assert_int_equal(m.n_regions, 4);
}

static void regions_come_and_go(void **state)
{
	struct guest_memory m = {};

	for (uint64_t i = 0; i < GUEST_MEMORY_MAX_REGIONS; i++)
		assert_int_equal(add(&m, i * 37 % GUEST_MEMORY_MAX_REGIONS * 2 * PAGE, PAGE,
				     PAGE), 0);
	assert_int_equal(add(&m, PAGE, PAGE, PAGE), -ENOSPC);
	assert_int_equal(guest_memory_del(&m, PAGE), -ENOENT);
	assert_int_equal(guest_memory_del(&m, UINT64_MAX), -ENOENT);
	for (uint64_t i = 0; i < GUEST_MEMORY_MAX_REGIONS; i += 2) {
		assert_int_equal(guest_memory_del(&m, i * 2 * PAGE), 0);
		assert_null(guest_memory_at(&m, i * 2 * PAGE, 1, false));
		assert_non_null(guest_memory_at(&m, (i + 1) * 2 * PAGE, 1, false));
	}
	assert_int_equal(m.n_regions, GUEST_MEMORY_MAX_REGIONS / 2);
}

static void rom_is_for_reading(void **state)
{
	struct guest_memory m = {};
	struct guest_region rom = { 0, PAGE, HOST(PAGE), true };

	assert_int_equal(guest_memory_add(&m, &rom), 0);
	assert_ptr_equal(guest_memory_at(&m, 5, 1, false), HOST(PAGE + 5));
	assert_null(guest_memory_at(&m, 5, 1, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges_are_exact),
		cmocka_unit_test(bad_regions_are_refused),
		cmocka_unit_test(regions_come_and_go),
		cmocka_unit_test(rom_is_for_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
