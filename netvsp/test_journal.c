// SPDX-License-Identifier: Apache-2.0
// What a batch leaves in the state memory, byte for byte as docs/vmbus-user.md, section 7.5 says.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "netvsp/journal.h"
#include "netvsp/sections.h"

static struct vmbus_state *memory;
static struct netvsp_journal journal;
static struct netvsp_sections *sections;
static struct netvsp_section_cache cache;

static int set_up(void **state)
{
	memory = calloc(1, sizeof(*memory));
	netvsp_journal_init(&journal, &memory->channels[2], false);
	return netvsp_sections_create(100, memory->sections, false, &sections);
}

static int tear_down(void **state)
{
	netvsp_sections_destroy(sections);
	free(memory);
	return 0;
}

static uint64_t get(size_t offset, size_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, (uint8_t *)memory + 0x25000 + 2 * 12288 + offset, bytes);
	return v;
}

static void a_slot_is_as_specified(void **state)
{
	const struct netvsp_batch batch = { 8, 16, 24, 32, 3, 2 };

	netvsp_journal_begin(&journal);
	netvsp_journal_add_freed(&journal, 17);
	netvsp_journal_add_taken(&journal, 40 | VMBUS_STATE_TAKEN_FIRST);
	netvsp_journal_add_taken(&journal, 41);
	assert_int_equal(netvsp_journal_room(&journal), 2016 - 3);
	journal.answered = 7;
	netvsp_journal_seal(&journal, &batch);
	assert_int_equal(get(0, 8), 1);
	assert_int_equal(get(8192, 8), 1);
	assert_int_equal(get(8192 + 8, 4), 8);
	assert_int_equal(get(8192 + 12, 4), 16);
	assert_int_equal(get(8192 + 16, 4), 24);
	assert_int_equal(get(8192 + 20, 4), 32);
	assert_int_equal(get(8192 + 24, 2), 1);
	assert_int_equal(get(8192 + 26, 2), 2);
	assert_int_equal(get(8192 + 28, 2), 3);
	assert_int_equal(get(8192 + 30, 2), 2);
	assert_int_equal(get(8192 + 32, 8), 7);
	assert_int_equal(get(8192 + 64, 2), 17);
	assert_int_equal(get(8192 + 66, 2), 0x8000 + 40);
	assert_int_equal(get(8192 + 68, 2), 41);
	assert_int_equal(get(4096, 8), 0); // the other slot was not touched
	assert_int_equal(get(16, 8), 0);   // frames of batches before the last
	netvsp_journal_begin(&journal);
	netvsp_journal_seal(&journal, &batch);
	assert_int_equal(get(0, 8), 2);
	assert_int_equal(get(4096, 8), 2);
	assert_int_equal(get(4096 + 24, 4), 0);
	assert_int_equal(get(4096 + 32, 8), 7); // carried on
	assert_int_equal(get(8192, 8), 1);
	assert_int_equal(get(16, 8), 3);
	assert_int_equal(get(24, 8), 2);
}

static void a_batch_moves_its_sections(void **state)
{
	uint16_t freed[2];
	const struct netvsp_batch batch = {};

	netvsp_sections_attach(sections, &cache);
	netvsp_sections_fill(sections, &cache, 4);
	netvsp_journal_begin(&journal);
	for (uint32_t i = 0; i < 2; i++) {
		freed[i] = cache.ids[--cache.n];
		netvsp_journal_add_taken(&journal, freed[i] | VMBUS_STATE_TAKEN_FIRST);
	}
	netvsp_journal_seal(&journal, &batch);
	assert_int_equal(le32_to_cpu(memory->sections[freed[0]]), 0); // sealed, not applied
	netvsp_journal_apply(&journal, sections, &cache, 2);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(le32_to_cpu(memory->sections[freed[i]]), 0x0103ffff);
	netvsp_journal_begin(&journal);
	assert_true(netvsp_sections_ack(sections, freed[1], 2));
	netvsp_journal_add_freed(&journal, freed[1]);
	netvsp_journal_seal(&journal, &batch);
	netvsp_journal_apply(&journal, sections, &cache, 2);
	assert_int_equal(le32_to_cpu(memory->sections[freed[0]]), 0x0103ffff);
	assert_int_equal(le32_to_cpu(memory->sections[freed[1]]), 0xffff);
}

static void a_successor_goes_on(void **state)
{
	const struct netvsp_batch batch = { .n_frames_in = 5, .n_frames_out = 6 };
	struct netvsp_journal next;

	journal.answered = 3;
	for (int i = 0; i < 3; i++) {
		netvsp_journal_begin(&journal);
		netvsp_journal_seal(&journal, &batch);
	}
	netvsp_journal_init(&next, &memory->channels[2], true);
	assert_int_equal(next.number, 3);
	assert_int_equal(next.answered, 3);
	netvsp_journal_seal(&next, &batch);
	assert_int_equal(get(0, 8), 4);
	assert_int_equal(get(16, 8), 15);
	assert_int_equal(get(24, 8), 18);
	netvsp_journal_erase(&next);
	assert_int_equal(get(0, 8), 0);
	netvsp_journal_init(&next, &memory->channels[2], true);
	assert_int_equal(next.answered, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_slot_is_as_specified, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_batch_moves_its_sections, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_successor_goes_on, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
