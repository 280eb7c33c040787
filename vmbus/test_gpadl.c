// SPDX-License-Identifier: Apache-2.0
// GPADLs posted by guests that are honest, clumsy or hostile. Guest memory is 32 MiB at 16 MiB, in
// two regions that meet in GPA but not here, a page that meets the first one here but not in GPA,
// and a page of ROM.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vmbus/gpadl.h"

#define PAGE VMBUS_PAGE_BYTES
#define FIRST_PAGE 0x1000u
#define HALF_PAGES 0x1000u
#define ROM_PAGE 0x8000u
#define LONE_PAGE 0x9000u
#define HOST_LOW ((uint8_t *)0x10000000)  // never touched
#define HOST_HIGH ((uint8_t *)0x50000000)
#define RANGE(offset, count) ((uint64_t)(offset) << 32 | (uint32_t)(count))
#define RELID 5

static struct guest_memory memory;
static struct vmbus_gpadls *gpadls;
static struct vmbus_gpadl_outcome out;

static int set_up(void **state)
{
	const struct guest_region regions[] = {
		{ FIRST_PAGE * PAGE, HALF_PAGES * PAGE, HOST_LOW, false },
		{ (FIRST_PAGE + HALF_PAGES) * PAGE, HALF_PAGES * PAGE, HOST_HIGH, false },
		{ ROM_PAGE * PAGE, PAGE, HOST_LOW, true },
		{ LONE_PAGE * PAGE, PAGE, HOST_LOW + HALF_PAGES * PAGE, false },
	};

	memory.n_regions = 0;
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
		guest_memory_add(&memory, &regions[i]);
	gpadls = vmbus_gpadls_create(&memory);
	return gpadls ? 0 : -1;
}

static int tear_down(void **state)
{
	vmbus_gpadls_destroy(gpadls);
	return 0;
}

// Posts GPADL_HEADER with n words of the stream, in a message of `bytes` bytes (0: as needed).
static void header(uint32_t id, uint16_t n_ranges, uint32_t range_bytes, const uint64_t *words,
		   uint32_t n)
{
	uint8_t message[VMBUS_MAX_MESSAGE] = {};
	struct vmbus_gpadl_header head = {
		.message.type = cpu_to_le32(VMBUS_GPADL_HEADER), .relid = cpu_to_le32(RELID),
		.gpadl = cpu_to_le32(id), .range_bytes = cpu_to_le16((uint16_t)range_bytes),
		.n_ranges = cpu_to_le16(n_ranges),
	};

	memcpy(message, &head, sizeof(head));
	memcpy(message + sizeof(head), words, n * 8);
	vmbus_gpadls_header(gpadls, message, (uint32_t)sizeof(head) + n * 8, &out);
}

static void body(uint32_t id, const uint64_t *words, uint32_t n)
{
	uint8_t message[VMBUS_MAX_MESSAGE] = {};
	struct vmbus_gpadl_body head = { .message.type = cpu_to_le32(VMBUS_GPADL_BODY),
					 .number = cpu_to_le32(0xdeadbeef),
					 .gpadl = cpu_to_le32(id) };

	memcpy(message, &head, sizeof(head));
	memcpy(message + sizeof(head), words, n * 8);
	vmbus_gpadls_body(gpadls, message, (uint32_t)sizeof(head) + n * 8, &out);
}

// The whole stream, as Linux cuts it: 27 words with the header, then 28 in each body.
static void post(uint32_t id, uint16_t n_ranges, const uint64_t *words, uint32_t n)
{
	uint32_t done = n < 27 ? n : 27;

	header(id, n_ranges, n * 8, words, done);
	while (out.result == VMBUS_GPADL_MORE && done < n) {
		uint32_t now = n - done < 28 ? n - done : 28;

		body(id, words + done, now);
		done += now;
	}
}

// It was refused, about the right id, with a reason; and the id is free again.
static void expect_refused(uint32_t id)
{
	assert_int_equal(out.result, VMBUS_GPADL_REFUSED);
	assert_int_equal(out.id, id);
	assert_int_equal(out.relid, RELID);
	assert_non_null(out.why);
	assert_null(out.gpadl);
}

// Complete: checks the sums, gives the runs for a closer look.
static const struct vmbus_runs *expect_done(uint32_t id, uint32_t n_runs, uint32_t bytes)
{
	const struct vmbus_runs *runs;
	uint32_t sum = 0;

	assert_int_equal(out.result, VMBUS_GPADL_DONE);
	assert_int_equal(out.gpadl->id, id);
	assert_int_equal(out.gpadl->relid, RELID);
	runs = &out.gpadl->runs;
	assert_int_equal(runs->n, n_runs);
	assert_int_equal(runs->bytes, bytes);
	for (uint32_t i = 0; i < runs->n; sum += runs->runs[i++].bytes)
		assert_int_equal(runs->runs[i].start, sum);
	assert_int_equal(sum, bytes);
	return runs;
}

static void forget(void)
{
	vmbus_gpadls_forget(gpadls, out.gpadl);
	free(out.gpadl);
}

// --- honest ------------------------------------------------------------------------------------

static void pages_in_order_are_one_run(void **state)
{
	uint64_t words[1 + 512] = { RANGE(0, 512 * PAGE) };
	const struct vmbus_runs *runs;

	for (uint32_t i = 0; i < 512; i++)
		words[1 + i] = FIRST_PAGE + 3 + i;
	post(0xe1e10, 1, words, ARRAY_SIZE(words));
	runs = expect_done(0xe1e10, 1, 512 * PAGE);
	assert_ptr_equal(runs->runs[0].host, HOST_LOW + 3 * PAGE);
	assert_int_equal(runs->runs[0].gpa, (FIRST_PAGE + 3) * PAGE);
	assert_true(vmbus_gpadl_fits_ring(out.gpadl));
	forget();
}

static void scattered_pages_are_runs(void **state)
{
	// Two in order, a gap, one back, and two that meet across the regions' border.
	uint64_t words[] = { RANGE(0, 6 * PAGE), FIRST_PAGE + 8, FIRST_PAGE + 9, FIRST_PAGE + 20,
			     FIRST_PAGE + 7, FIRST_PAGE + HALF_PAGES - 1, FIRST_PAGE + HALF_PAGES };
	const struct vmbus_runs *runs;

	post(1, 1, words, ARRAY_SIZE(words));
	runs = expect_done(1, 5, 6 * PAGE);
	assert_ptr_equal(runs->runs[1].host, HOST_LOW + 20 * PAGE);
	assert_ptr_equal(runs->runs[3].host, HOST_LOW + (HALF_PAGES - 1) * PAGE);
	assert_ptr_equal(runs->runs[4].host, HOST_HIGH);
	assert_true(vmbus_gpadl_fits_ring(out.gpadl));
	forget();
}

static void runs_need_both_addresses(void **state)
{
	uint64_t words[] = { RANGE(0, 2 * PAGE), FIRST_PAGE + HALF_PAGES - 1, LONE_PAGE };
	const struct vmbus_runs *runs;

	post(1, 1, words, ARRAY_SIZE(words));
	runs = expect_done(1, 2, 2 * PAGE);
	assert_ptr_equal(runs->runs[0].host + PAGE, runs->runs[1].host);
	assert_int_equal(runs->runs[1].gpa, LONE_PAGE * PAGE);
	forget();
}

static void longest_one_there_can_be(void **state)
{
	static uint64_t words[8191];

	words[0] = RANGE(0, 8190 * PAGE);
	for (uint32_t i = 0; i < 8190; i++) // no two neighbours
		words[1 + i] = FIRST_PAGE + (i * 3 + i / 2731) % 8192;
	post(2, 1, words, ARRAY_SIZE(words));
	assert_int_equal(out.result, VMBUS_GPADL_DONE);
	assert_int_equal(out.gpadl->runs.bytes, 8190 * PAGE);
	assert_int_equal(out.gpadl->n_pages, 8190);
	forget();
}

static void ranges_are_strung_together(void **state)
{
	uint64_t words[] = { RANGE(100, 200), FIRST_PAGE, RANGE(4000, 96), FIRST_PAGE + 1,
			     RANGE(0, PAGE + 1), FIRST_PAGE + 2, FIRST_PAGE + 3 };
	const struct vmbus_runs *runs;

	post(3, 3, words, ARRAY_SIZE(words));
	runs = expect_done(3, 2, 200 + 96 + PAGE + 1);
	assert_ptr_equal(runs->runs[0].host, HOST_LOW + 100);
	assert_ptr_equal(runs->runs[1].host, HOST_LOW + PAGE + 4000); // goes on into the third
	assert_int_equal(runs->runs[1].bytes, 96 + PAGE + 1);
	assert_false(vmbus_gpadl_fits_ring(out.gpadl));
	forget();
}

static void padded_messages_are_clamped(void **state)
{
	uint64_t words[28] = { RANGE(0, 3 * PAGE), FIRST_PAGE, FIRST_PAGE + 1 }, page[28];
	uint8_t longest[VMBUS_MAX_MESSAGE] = {};
	struct vmbus_gpadl_body head = { .gpadl = cpu_to_le32(4) };

	memset(&words[3], 0xff, sizeof(words) - 3 * 8);
	memset(page, 0xff, sizeof(page));
	page[0] = FIRST_PAGE + 2;
	header(4, 1, 4 * 8, words, 3);
	assert_int_equal(out.result, VMBUS_GPADL_MORE);
	body(4, page, 0);
	assert_int_equal(out.result, VMBUS_GPADL_MORE);
	memcpy(longest, &head, sizeof(head));
	vmbus_gpadls_body(gpadls, longest, sizeof(head) + 7, &out); // less than a word
	assert_int_equal(out.result, VMBUS_GPADL_MORE);
	body(4, page, 28);
	expect_done(4, 1, 3 * PAGE);
	forget();
	words[3] = FIRST_PAGE + 2;
	header(5, 1, 4 * 8, words, 27); // all in one, and more behind it
	expect_done(5, 1, 3 * PAGE);
	forget();
}

static void several_grow_at_a_time(void **state)
{
	uint64_t first[] = { RANGE(0, 2 * PAGE), FIRST_PAGE }, second = FIRST_PAGE + 1;

	header(10, 1, 3 * 8, first, 2);
	header(11, 1, 3 * 8, first, 2);
	body(11, &second, 1);
	expect_done(11, 1, 2 * PAGE);
	forget();
	body(10, &second, 1);
	expect_done(10, 1, 2 * PAGE);
	forget();
}

static void ring_rules_are_told_apart(void **state)
{
	uint64_t twice[] = { RANGE(0, 3 * PAGE), FIRST_PAGE, FIRST_PAGE + 1, FIRST_PAGE };
	uint64_t offset[] = { RANGE(8, PAGE), FIRST_PAGE, FIRST_PAGE + 1 };
	uint64_t part[] = { RANGE(0, PAGE + 8), FIRST_PAGE, FIRST_PAGE + 1 };
	uint64_t ranges[] = { RANGE(0, PAGE), FIRST_PAGE, RANGE(0, PAGE), FIRST_PAGE + 1 };

	post(1, 1, twice, ARRAY_SIZE(twice));
	assert_true(out.gpadl->repeats);
	assert_false(vmbus_gpadl_fits_ring(out.gpadl));
	forget();
	post(2, 1, offset, ARRAY_SIZE(offset));
	assert_false(vmbus_gpadl_fits_ring(out.gpadl));
	forget();
	post(3, 1, part, ARRAY_SIZE(part));
	assert_false(vmbus_gpadl_fits_ring(out.gpadl));
	forget();
	post(4, 2, ranges, ARRAY_SIZE(ranges));
	assert_false(out.gpadl->repeats);
	assert_false(vmbus_gpadl_fits_ring(out.gpadl));
	forget();
}

// --- hostile -----------------------------------------------------------------------------------

struct bad {
	const char *name;
	uint16_t n_ranges;
	uint32_t range_bytes;
	uint64_t words[8];
};

static const struct bad bad[] = {
	{ "no range", 0, 16, { RANGE(0, PAGE), FIRST_PAGE } },
	{ "nothing at all", 0, 0, { 0 } },
	{ "too many ranges", 65, 65 * 16, { RANGE(0, PAGE), FIRST_PAGE } },
	{ "2^16-1 ranges", 65535, 65528, { RANGE(0, PAGE), FIRST_PAGE } },
	{ "no stream", 1, 0, { RANGE(0, PAGE), FIRST_PAGE } },
	{ "a head only", 1, 8, { RANGE(0, PAGE), FIRST_PAGE } },
	{ "two ranges, stream for one", 2, 16, { RANGE(0, PAGE), FIRST_PAGE } },
	{ "odd stream", 1, 17, { RANGE(0, PAGE), FIRST_PAGE } },
	{ "longest odd stream", 1, 65535, { RANGE(0, PAGE), FIRST_PAGE } },
	{ "empty range", 1, 16, { RANGE(0, 0), FIRST_PAGE } },
	{ "empty range before one", 2, 32, { RANGE(0, 0), RANGE(0, 2 * PAGE), FIRST_PAGE,
					      FIRST_PAGE + 1 } },
	{ "first range too long", 2, 32, { RANGE(0, 64 * PAGE), FIRST_PAGE, RANGE(0, PAGE),
					    FIRST_PAGE } },
	{ "offset of a page", 1, 16, { RANGE(4096, 1), FIRST_PAGE } },
	{ "offset 2^32-1", 1, 24, { RANGE(0xffffffff, 1), FIRST_PAGE, FIRST_PAGE } },
	{ "sum wraps", 1, 16, { RANGE(4095, 0xfffff002), FIRST_PAGE } },
	{ "count 2^32-1", 1, 16, { RANGE(0, 0xffffffff), FIRST_PAGE } },
	{ "a page short", 1, 16, { RANGE(1, PAGE), FIRST_PAGE } },
	{ "second range cut", 2, 32, { RANGE(0, 2 * PAGE), FIRST_PAGE, FIRST_PAGE + 1,
				       RANGE(0, 1) } },
	{ "second range missing", 2, 32, { RANGE(0, 3 * PAGE), FIRST_PAGE, FIRST_PAGE + 1,
					   FIRST_PAGE + 2 } },
	{ "a word behind the last", 1, 24, { RANGE(0, PAGE), FIRST_PAGE, FIRST_PAGE + 1 } },
	{ "a range behind the last", 1, 32, { RANGE(0, PAGE), FIRST_PAGE, RANGE(0, PAGE),
					      FIRST_PAGE + 1 } },
	{ "page below memory", 1, 16, { RANGE(0, PAGE), FIRST_PAGE - 1 } },
	{ "page above memory", 1, 16, { RANGE(0, PAGE), FIRST_PAGE + 2 * HALF_PAGES } },
	{ "last page above memory", 1, 24, { RANGE(0, 2 * PAGE), FIRST_PAGE, 7 } },
	{ "ROM", 1, 16, { RANGE(0, PAGE), ROM_PAGE } },
	{ "page 2^40", 1, 16, { RANGE(0, PAGE), 1ull << 40 } },
	{ "page that wraps to memory", 1, 16, { RANGE(0, PAGE), (1ull << 52) + FIRST_PAGE } },
	{ "page 2^64-1", 1, 16, { RANGE(0, PAGE), UINT64_MAX } },
};

static void bad_ones_are_refused(void **state)
{
	uint64_t good[] = { RANGE(0, PAGE), FIRST_PAGE };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t n = bad[i].range_bytes / 8 < 8 ? bad[i].range_bytes / 8 : 8;

		header(7, bad[i].n_ranges, bad[i].range_bytes, bad[i].words, n);
		if (out.result != VMBUS_GPADL_REFUSED)
			fail_msg("%s: %d", bad[i].name, out.result);
		expect_refused(7);
		post(7, 1, good, 2); // nothing is left of it
		expect_done(7, 1, PAGE);
		forget();
	}
}

// What can be told from the header is not waited for.
static void hopeless_ones_are_refused_at_once(void **state)
{
	uint64_t word = RANGE(0, PAGE);

	header(7, 2, 16, &word, 1);
	expect_refused(7);
	header(7, 1, 20, &word, 1);
	expect_refused(7);
}

static void bad_end_in_a_body_is_refused(void **state)
{
	uint64_t first[] = { RANGE(0, 2 * PAGE), FIRST_PAGE }, page = 3;

	header(7, 1, 3 * 8, first, 2);
	body(7, &page, 1);
	expect_refused(7);
	body(7, &page, 1); // dropped: unknown by now
	assert_int_equal(out.result, VMBUS_GPADL_IGNORED);
}

static void what_has_no_id_is_ignored(void **state)
{
	uint8_t message[VMBUS_MAX_MESSAGE] = {};
	uint64_t page = FIRST_PAGE;

	for (uint32_t bytes = 8; bytes < 20; bytes++) {
		vmbus_gpadls_header(gpadls, message, bytes, &out);
		assert_int_equal(out.result, VMBUS_GPADL_IGNORED);
	}
	for (uint32_t bytes = 8; bytes < 16; bytes++) {
		vmbus_gpadls_body(gpadls, message, bytes, &out);
		assert_int_equal(out.result, VMBUS_GPADL_IGNORED);
	}
	body(99, &page, 1);
	assert_int_equal(out.result, VMBUS_GPADL_IGNORED);
}

static void ids_are_used_once(void **state)
{
	uint64_t words[] = { RANGE(0, 2 * PAGE), FIRST_PAGE, FIRST_PAGE + 1 };
	struct vmbus_gpadl *gpadl;

	header(1, 1, 3 * 8, words, 2);
	header(1, 1, 3 * 8, words, 3); // in the making: the first one lives on
	expect_refused(1);
	body(1, &words[2], 1);
	expect_done(1, 1, 2 * PAGE);
	gpadl = out.gpadl;
	post(1, 1, words, 3); // complete
	expect_refused(1);
	out.gpadl = gpadl;
	forget();
	post(1, 1, words, 3);
	expect_done(1, 1, 2 * PAGE);
	forget();
}

static void storms_meet_limits(void **state)
{
	uint64_t words[] = { RANGE(0, 2 * PAGE), FIRST_PAGE, FIRST_PAGE + 1 };
	struct vmbus_gpadl *made[VMBUS_GPADL_MAX_CHANNEL];

	for (uint32_t i = 0; i < VMBUS_GPADL_MAX_PENDING; i++) {
		header(i, 1, 65528, words, 2);
		assert_int_equal(out.result, VMBUS_GPADL_MORE);
	}
	header(1000, 1, 65528, words, 2);
	expect_refused(1000);
	vmbus_gpadls_drop_pending(gpadls, RELID + 1);
	header(1000, 1, 65528, words, 2);
	expect_refused(1000);
	vmbus_gpadls_drop_pending(gpadls, RELID);
	for (uint32_t i = 0; i < VMBUS_GPADL_MAX_CHANNEL; i++) {
		post(i, 1, words, 3);
		expect_done(i, 1, 2 * PAGE);
		made[i] = out.gpadl;
	}
	post(1000, 1, words, 3);
	expect_refused(1000);
	for (uint32_t i = 0; i < VMBUS_GPADL_MAX_CHANNEL; i++) {
		out.gpadl = made[i];
		forget();
	}
	post(1000, 1, words, 3);
	expect_done(1000, 1, 2 * PAGE);
	forget();
}

static void pages_in_all_are_limited(void **state)
{
	static uint64_t words[8191];
	struct vmbus_gpadl *made[64];
	uint32_t n = 0;

	words[0] = RANGE(0, 8190 * PAGE);
	for (uint32_t i = 0; i < 8190; i++)
		words[1 + i] = FIRST_PAGE + i;
	for (;; n++) {
		post(n, 1, words, ARRAY_SIZE(words));
		if (out.result != VMBUS_GPADL_DONE)
			break;
		made[n] = out.gpadl;
	}
	expect_refused(n);
	assert_int_equal(n, VMBUS_GPADL_MAX_ALL_PAGES / 8190);
	while (n-- > 0) {
		out.gpadl = made[n];
		forget();
	}
	post(0, 1, words, ARRAY_SIZE(words));
	assert_int_equal(out.result, VMBUS_GPADL_DONE);
	forget();
}

static void run_lists_have_their_own_limits(void **state)
{
	struct vmbus_run runs[2];
	struct vmbus_run_list list = { .runs = runs, .max = 2 };
	uint64_t gpa = FIRST_PAGE * PAGE;

	assert_int_equal(vmbus_runs_add(&list, &memory, gpa, 0), -EINVAL);
	assert_int_equal(vmbus_runs_add(&list, &memory, gpa, HALF_PAGES * PAGE + 1), -EFAULT);
	assert_int_equal(vmbus_runs_add(&list, &memory, gpa, 100), 0);
	assert_int_equal(vmbus_runs_add(&list, &memory, gpa + 100, 100), 0);
	assert_int_equal(vmbus_runs_add(&list, &memory, gpa, 1), 0);
	assert_int_equal(list.n, 2);
	assert_int_equal(vmbus_runs_add(&list, &memory, gpa, 1), -ENOSPC);
	assert_int_equal(list.bytes, 201);
	list.bytes = UINT32_MAX - 10;
	assert_int_equal(vmbus_runs_add(&list, &memory, gpa + 1, 11), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(pages_in_order_are_one_run),
		TEST(scattered_pages_are_runs),
		TEST(runs_need_both_addresses),
		TEST(longest_one_there_can_be),
		TEST(ranges_are_strung_together),
		TEST(padded_messages_are_clamped),
		TEST(several_grow_at_a_time),
		TEST(ring_rules_are_told_apart),
		TEST(bad_ones_are_refused),
		TEST(hopeless_ones_are_refused_at_once),
		TEST(bad_end_in_a_body_is_refused),
		TEST(what_has_no_id_is_ignored),
		TEST(ids_are_used_once),
		TEST(storms_meet_limits),
		TEST(pages_in_all_are_limited),
		TEST(run_lists_have_their_own_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
