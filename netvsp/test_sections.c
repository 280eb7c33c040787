// SPDX-License-Identifier: Apache-2.0
// Sections: taken once each, freed by the right acknowledgement only, none lost on the way between
// pool, stacks and guest; and the state memory's table says the same as the private one.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "netvsp/sections.h"

#define N 1000
#define FIRST VMBUS_STATE_TAKEN_FIRST

static le32 table[VMBUS_STATE_SECTIONS];
static struct netvsp_sections *sections;
static struct netvsp_section_cache a, b;

static void set_up(uint32_t n)
{
	memset(table, 0xff, sizeof(table));
	assert_int_equal(netvsp_sections_create(n, table, false, &sections), 0);
	netvsp_sections_attach(sections, &a);
	netvsp_sections_attach(sections, &b);
}

static void tear_down(uint32_t n)
{
	netvsp_sections_detach(sections, &a);
	netvsp_sections_detach(sections, &b);
	assert_int_equal(netvsp_sections_count(sections), n);
	netvsp_sections_destroy(sections);
}

static uint32_t entry(uint32_t section)
{
	assert_int_equal(le32_to_cpu(table[section]), sections->entries[section]);
	return le32_to_cpu(table[section]);
}

// Takes n sections for one packet of `channel`; ids[0] is its id.
static void hold(struct netvsp_section_cache *cache, unsigned int channel, uint16_t *ids,
		 uint32_t n)
{
	uint16_t taken[64];

	assert_true(netvsp_sections_fill(sections, cache, n) >= n);
	for (uint32_t i = 0; i < n; i++) {
		ids[i] = cache->ids[--cache->n];
		taken[i] = ids[i] | (i ? 0 : FIRST);
	}
	netvsp_sections_hold(sections, taken, n, channel);
}

static void every_section_is_taken_once(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 31, 32, 64, 65, 127, 1000, 9709, 32767 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		static bool seen[VMBUS_STATE_SECTIONS];
		uint32_t n = 0, n_control = sizes[i] < 32 ? sizes[i] / 2 : 16;
		uint16_t section;

		memset(seen, 0, sizeof(seen));
		set_up(sizes[i]);
		assert_int_equal(sections->n_control, n_control);
		// Two stacks in turn, in pieces of any size.
		for (uint32_t turn = 0; n < sizes[i] - n_control; turn++) {
			struct netvsp_section_cache *cache = turn % 2 ? &b : &a;

			netvsp_sections_fill(sections, cache, 1 + turn * 7 % 100);
			for (; cache->n; n++) {
				section = cache->ids[--cache->n];
				assert_in_range(section, n_control, sizes[i] - 1);
				assert_false(seen[section]);
				seen[section] = true;
			}
		}
		assert_int_equal(netvsp_sections_fill(sections, &a, 1), 0);
		while (netvsp_sections_take_control(sections, &section)) {
			assert_in_range(section, 0, n_control - 1);
			assert_false(seen[section]);
			seen[section] = true;
			n++;
		}
		assert_int_equal(n, sizes[i]);
		for (uint32_t s = 0; s < sizes[i]; s++)
			netvsp_sections_put(sections, s % 3 ? &a : &b, (uint16_t)s);
		tear_down(sizes[i]);
	}
}

static void chains_are_written_down(void **state)
{
	uint16_t ids[3];

	set_up(N);
	hold(&a, 4, ids, 3);
	assert_int_equal(entry(ids[0]), 5u << 16 | VMBUS_STATE_FIRST | ids[1]);
	assert_int_equal(entry(ids[1]), 5u << 16 | ids[2]);
	assert_int_equal(entry(ids[2]), 5u << 16 | VMBUS_STATE_LAST);
	assert_true(netvsp_sections_ack(sections, ids[0], 4));
	// Not before the batch stands.
	assert_int_equal(le32_to_cpu(table[ids[0]]), 5u << 16 | VMBUS_STATE_FIRST | ids[1]);
	netvsp_sections_free(sections, &a, ids, 1);
	assert_int_equal(entry(ids[0]), ids[1]); // links stay
	assert_int_equal(entry(ids[1]), ids[2]);
	assert_int_equal(entry(ids[2]), VMBUS_STATE_LAST);
	assert_int_equal(a.ids[a.n - 1], ids[0]); // what came back last goes out first
	tear_down(N);
}

static void other_acknowledgements_are_none(void **state)
{
	uint16_t ids[3];

	set_up(N);
	hold(&a, 4, ids, 3);
	assert_false(netvsp_sections_ack(sections, ids[1], 4)); // not the first
	assert_false(netvsp_sections_ack(sections, ids[2], 4));
	assert_false(netvsp_sections_ack(sections, ids[0], 3)); // through another channel
	assert_false(netvsp_sections_ack(sections, ids[0] + (1ull << 32), 4));
	assert_false(netvsp_sections_ack(sections, N, 4));
	assert_false(netvsp_sections_ack(sections, UINT64_MAX, 4));
	assert_false(netvsp_sections_ack(sections, 500, 4)); // free
	assert_true(netvsp_sections_ack(sections, ids[0], 4));
	assert_false(netvsp_sections_ack(sections, ids[0], 4)); // twice in a batch
	netvsp_sections_unack(sections, ids[0]);
	assert_true(netvsp_sections_ack(sections, ids[0], 4));
	netvsp_sections_free(sections, &a, ids, 1);
	assert_false(netvsp_sections_ack(sections, ids[0], 4)); // in the next
	tear_down(N);
}

static void stacks_do_not_hoard(void **state)
{
	uint16_t ids[64], heads[8];

	set_up(N);
	// Two users: an eighth of all each, and twice that before anything goes back.
	for (uint32_t i = 0; i < 8; i++) {
		hold(&a, 0, ids, 64);
		heads[i] = ids[0];
		assert_true(netvsp_sections_ack(sections, ids[0], 0));
	}
	netvsp_sections_free(sections, &a, heads, 8);
	assert_int_equal(a.n, N / 8);
	assert_int_equal(netvsp_sections_count(sections), N - N / 8);
	assert_int_equal(netvsp_sections_fill(sections, &b, 700), 700);
	tear_down(N);
}

static void a_closed_channel_holds_nothing(void **state)
{
	uint16_t ids[64], other[2];

	set_up(N);
	for (uint32_t i = 0; i < 10; i++)
		hold(&a, 2, ids, 60);
	hold(&b, 3, other, 2);
	netvsp_sections_free_channel(sections, 2);
	assert_int_equal(entry(ids[0]) >> 16, 0);
	assert_int_equal(entry(other[1]), 4u << 16 | VMBUS_STATE_LAST);
	netvsp_sections_free_channel(sections, 3);
	tear_down(N);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_section_is_taken_once),
		cmocka_unit_test(chains_are_written_down),
		cmocka_unit_test(other_acknowledgements_are_none),
		cmocka_unit_test(stacks_do_not_hoard),
		cmocka_unit_test(a_closed_channel_holds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
