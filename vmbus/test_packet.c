// SPDX-License-Identifier: Apache-2.0
// Page lists and section lists behind packet headers: what well-formed ones say, and every way in
// which a guest's can be wrong. Each is placed at every position of a ring, so that it wraps.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vmbus/ring.h"

#define PFN(n) ((uint64_t)(n))
#define HEAD(n_ranges) ((uint64_t)(n_ranges) << 32)
#define RANGE(offset, count) ((uint64_t)(offset) << 32 | (uint32_t)(count))
#define MAX_PIECES 3
#define MAX_WORDS 8

static struct vmbus_run run;
static struct vmbus_ring ring;

static int set_up(void **state)
{
	struct vmbus_runs gpadl = { &run, 1, 2 * VMBUS_PAGE_BYTES };

	run = (struct vmbus_run){ aligned_alloc(4096, 8192), 0, 0, 8192 };
	memset(run.host, 0, 8192);
	return vmbus_ring_init(&ring, &gpadl, 0, 2);
}

static int tear_down(void **state)
{
	free(run.host);
	return 0;
}

// A packet of this type with these words behind its header, written by hand at pos and read.
static struct vmbus_packet packet_at(uint32_t pos, uint16_t type, const uint64_t *words, uint32_t n)
{
	uint64_t raw[2];
	struct vmbus_packet_header header = {
		.type = cpu_to_le16(type),
		.payload8 = cpu_to_le16((uint16_t)(2 + n)),
		.length8 = cpu_to_le16((uint16_t)(2 + n)),
	};
	struct vmbus_packet packet = {};

	vmbus_ring_store(&ring, (pos + 16) % 4096, words, n * 8);
	memcpy(raw, &header, sizeof(raw));
	assert_int_equal(vmbus_packet_parse(raw, pos, 4088, 4096, &packet), 0);
	return packet;
}

struct list {
	const char *name;
	uint64_t words[MAX_WORDS];
	uint32_t n_words;
	int result;
	uint32_t n_pieces;
	struct vmbus_piece pieces[MAX_PIECES];
};

#define WORDS(...) { __VA_ARGS__ }, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8

static const struct list lists[] = {
	{ "a page", WORDS(HEAD(1), RANGE(0, 4096), PFN(5)), 0, 1, { { 0x5000, 4096 } } },
	{ "a byte", WORDS(HEAD(1), RANGE(4095, 1), PFN(5)), 0, 1, { { 0x5fff, 1 } } },
	{ "over a page's end", WORDS(HEAD(1), RANGE(4095, 2), PFN(5), PFN(9)), 0, 2,
	  { { 0x5fff, 1 }, { 0x9000, 1 } } },
	{ "neighbours", WORDS(HEAD(1), RANGE(8, 5000), PFN(5), PFN(6)), 0, 1,
	  { { 0x5008, 5000 } } },
	{ "ranges that meet", WORDS(HEAD(2), RANGE(0, 100), PFN(5), RANGE(100, 60), PFN(5)), 0, 1,
	  { { 0x5000, 160 } } },
	{ "ranges apart", WORDS(HEAD(2), RANGE(0, 100), PFN(5), RANGE(101, 60), PFN(5)), 0, 2,
	  { { 0x5000, 100 }, { 0x5065, 60 } } },
	{ "the last page there is", WORDS(HEAD(1), RANGE(0, 1), (1ull << 40) - 1), 0, 1,
	  { { (1ull << 52) - 4096, 1 } } },
	{ "words behind the list", WORDS(HEAD(1), RANGE(0, 1), PFN(1), PFN(2), PFN(3)), 0, 1,
	  { { 0x1000, 1 } } },
	{ "reserved word filled", WORDS(HEAD(1) | 77, RANGE(0, 1), PFN(1)), 0, 1,
	  { { 0x1000, 1 } } },
	{ "no range", WORDS(HEAD(0), RANGE(0, 1), PFN(1)), -EINVAL, 0, {} },
	{ "a range too many", WORDS(HEAD(2), RANGE(0, 1), PFN(1)), -EINVAL, 0, {} },
	{ "2^32-1 ranges", WORDS(HEAD(0xffffffff), RANGE(0, 1), PFN(1)), -EINVAL, 0, {} },
	{ "an empty range", WORDS(HEAD(1), RANGE(0, 0), PFN(1)), -EINVAL, 0, {} },
	{ "an empty range later", WORDS(HEAD(2), RANGE(0, 1), PFN(1), RANGE(0, 0)), -EINVAL, 0,
	  {} },
	{ "begins on the next page", WORDS(HEAD(1), RANGE(4096, 1), PFN(1), PFN(2)), -EINVAL, 0,
	  {} },
	{ "begins anywhere", WORDS(HEAD(1), RANGE(0xffffffff, 1), PFN(1)), -EINVAL, 0, {} },
	{ "2^32-1 bytes", WORDS(HEAD(1), RANGE(0, 0xffffffff), PFN(1)), -EINVAL, 0, {} },
	{ "sum wraps", WORDS(HEAD(1), RANGE(4095, 0xfffff002), PFN(1)), -EINVAL, 0, {} },
	{ "a page short", WORDS(HEAD(1), RANGE(4095, 2), PFN(1)), -EINVAL, 0, {} },
	{ "no pages", WORDS(HEAD(1), RANGE(0, 1)), -EINVAL, 0, {} },
	{ "no range head", WORDS(HEAD(1)), -EINVAL, 0, {} },
	{ "beyond 2^52", WORDS(HEAD(1), RANGE(0, 1), 1ull << 40), -EINVAL, 0, {} },
	{ "page 2^64-1", WORDS(HEAD(1), RANGE(0, 1), UINT64_MAX), -EINVAL, 0, {} },
};

// The short way finds the same, or nothing. pieces NULL: there is nothing to be found.
static bool plain_is(const struct vmbus_packet *packet, const struct vmbus_pieces *pieces)
{
	struct vmbus_piece plain[VMBUS_PLAIN_PIECES];
	uint32_t contiguous, n, at = 0, left = pieces ? pieces->pieces[0].bytes : 0;
	const uint8_t *list = vmbus_ring_at(&ring, packet->extra_pos, &contiguous);

	n = vmbus_packet_plain_pieces(packet, list, contiguous, plain);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t done;

		if (!pieces || at == pieces->n || plain[i].bytes > left)
			return false;
		// Neighbours are one piece there, two here.
		done = pieces->pieces[at].bytes - left;
		if (plain[i].gpa != pieces->pieces[at].gpa + done)
			return false;
		left -= plain[i].bytes;
		if (!left && ++at < pieces->n)
			left = pieces->pieces[at].bytes;
	}
	return !n || at == pieces->n;
}

static void page_lists_come_out_as_they_are(void **state)
{
	for (uint32_t pos = 0; pos < 4096; pos += 8) {
		for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
			const struct list *list = &lists[i];
			struct vmbus_packet packet = packet_at(pos, VMBUS_PACKET_GPA_DIRECT,
							       list->words, list->n_words);
			struct vmbus_pieces out;
			uint32_t bytes = 0;

			if (vmbus_packet_pieces(&ring, &packet, &out) != list->result)
				fail_msg("%s at %u", list->name, pos);
			if (!plain_is(&packet, list->result < 0 ? NULL : &out))
				fail_msg("%s at %u, plain", list->name, pos);
			if (list->result < 0)
				continue;
			assert_int_equal(out.n, list->n_pieces);
			for (uint32_t j = 0; j < out.n; j++) {
				assert_int_equal(out.pieces[j].gpa, list->pieces[j].gpa);
				assert_int_equal(out.pieces[j].bytes, list->pieces[j].bytes);
				bytes += out.pieces[j].bytes;
			}
			assert_int_equal(out.bytes, bytes);
		}
	}
}

static void lists_without_a_head_are_refused(void **state)
{
	struct vmbus_sections sections;
	struct vmbus_pieces pieces;
	uint64_t words[3] = { HEAD(1), RANGE(0, 1), PFN(1) };
	struct vmbus_packet packet = packet_at(0, VMBUS_PACKET_GPA_DIRECT, words, 0);

	assert_int_equal(vmbus_packet_pieces(&ring, &packet, &pieces), -EINVAL);
	packet = packet_at(0, VMBUS_PACKET_XFER_PAGES, words, 0);
	assert_int_equal(vmbus_packet_sections(&ring, &packet, 4096, &sections), -EINVAL);
	packet = packet_at(0, VMBUS_PACKET_INBAND, words, 3);
	assert_int_equal(vmbus_packet_pieces(&ring, &packet, &pieces), -EINVAL);
	assert_int_equal(vmbus_packet_sections(&ring, &packet, 4096, &sections), -EINVAL);
}

static void pages_have_a_limit(void **state)
{
	uint64_t words[VMBUS_MAX_PAGES + 4] = { HEAD(1) };
	struct vmbus_pieces out;
	struct vmbus_packet packet;

	for (uint32_t i = 0; i <= VMBUS_MAX_PAGES; i++)
		words[2 + i] = PFN(7 * i);
	words[1] = RANGE(0, VMBUS_MAX_PAGES * 4096);
	packet = packet_at(2000, VMBUS_PACKET_GPA_DIRECT, words, VMBUS_MAX_PAGES + 2);
	assert_int_equal(vmbus_packet_pieces(&ring, &packet, &out), 0);
	assert_int_equal(out.n, VMBUS_MAX_PAGES);
	assert_int_equal(out.bytes, VMBUS_MAX_PAGES * 4096);
	words[1] = RANGE(0, VMBUS_MAX_PAGES * 4096 + 1);
	packet = packet_at(2000, VMBUS_PACKET_GPA_DIRECT, words, VMBUS_MAX_PAGES + 3);
	assert_int_equal(vmbus_packet_pieces(&ring, &packet, &out), -E2BIG);
	words[0] = HEAD(2); // in two ranges
	words[1] = RANGE(0, VMBUS_MAX_PAGES * 4096);
	words[2 + VMBUS_MAX_PAGES] = RANGE(0, 1);
	words[3 + VMBUS_MAX_PAGES] = PFN(1);
	packet = packet_at(2000, VMBUS_PACKET_GPA_DIRECT, words, VMBUS_MAX_PAGES + 4);
	assert_int_equal(vmbus_packet_pieces(&ring, &packet, &out), -E2BIG);
}

static void section_lists_come_out_as_they_are(void **state)
{
	static const struct {
		const char *name;
		uint64_t words[4];
		uint32_t n_words;
		int result;
		uint32_t n;
	} table[] = {
		{ "one", WORDS(HEAD(1) | 0xcafe, RANGE(0, 100)), 0, 1 },
		{ "to the end", WORDS(HEAD(2) | 0xcafe, RANGE(8191, 1), RANGE(0, 8192)), 0, 2 },
		{ "garbage beside the id", WORDS(HEAD(1) | 0xff55cafe, RANGE(0, 1)), 0, 1 },
		{ "none", WORDS(HEAD(0) | 0xcafe, RANGE(0, 1)), -EINVAL, 0 },
		{ "one too many", WORDS(HEAD(2) | 0xcafe, RANGE(0, 1)), -EINVAL, 0 },
		{ "2^32-1", WORDS(HEAD(0xffffffff) | 0xcafe, RANGE(0, 1)), -EINVAL, 0 },
		{ "past the end", WORDS(HEAD(1) | 0xcafe, RANGE(8191, 2)), -EINVAL, 0 },
		{ "begins past the end", WORDS(HEAD(1) | 0xcafe, RANGE(8193, 1)), -EINVAL, 0 },
		{ "sum wraps", WORDS(HEAD(1) | 0xcafe, RANGE(100, 0xffffffff)), -EINVAL, 0 },
		{ "empty", WORDS(HEAD(1) | 0xcafe, RANGE(8, 0)), -EINVAL, 0 },
	};
	static struct vmbus_sections out;

	for (uint32_t pos = 0; pos < 4096; pos += 8) {
		for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
			struct vmbus_packet packet = packet_at(pos, VMBUS_PACKET_XFER_PAGES,
							       table[i].words, table[i].n_words);

			if (vmbus_packet_sections(&ring, &packet, 8192, &out) != table[i].result)
				fail_msg("%s at %u", table[i].name, pos);
			if (table[i].result < 0)
				continue;
			assert_int_equal(out.page_set, 0xcafe);
			assert_int_equal(out.n, table[i].n);
			for (uint32_t j = 0; j < out.n; j++)
				assert_int_equal(RANGE(out.sections[j].offset,
						       out.sections[j].bytes),
						 table[i].words[1 + j]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_lists_come_out_as_they_are),
		cmocka_unit_test(lists_without_a_head_are_refused),
		cmocka_unit_test(pages_have_a_limit),
		cmocka_unit_test(section_lists_come_out_as_they_are),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
