// SPDX-License-Identifier: Apache-2.0
// Recovery from a state memory that lies: every field of a journal, every kind of wrong chain in
// the section table. What recovery does after an honest kill is in test_kill.c.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "netvsp/recover.h"
#include "netvsp/test_rig.h"

#define N_SECTIONS 64

// --- journals that lie -------------------------------------------------------------------------

static const struct lie {
	const char *what;
	size_t at;   // in the block
	uint32_t bytes;
	uint64_t value;
} lies[] = {
	{ "batch: none, though indices moved", 0, 8, 0 },
	{ "batch: another than the slot's", 0, 8, 3 },
	{ "number of the slot", 8192, 8, 2 },
	{ "in_from: beyond the ring", 8192 + 8, 4, 8192 },
	{ "in_from: no multiple of 8", 8192 + 8, 4, 4 },
	{ "in_to: beyond the ring", 8192 + 12, 4, 0xfffffff8 },
	{ "in_to: not where reading is", 8192 + 12, 4, 800 },
	{ "out_from: beyond the ring", 8192 + 16, 4, 8192 },
	{ "out_to: no multiple of 8", 8192 + 20, 4, 7 },
	{ "out_to: not where writing is", 8192 + 20, 4, 800 },
	{ "freed: more than there is place", 8192 + 24, 2, 2017 },
	{ "freed and taken: together more", 8192 + 26, 2, 2016 },
	{ "freed: no such section", 8192 + 64, 2, N_SECTIONS },
	{ "taken: no such section", 8192 + 66, 2, 0x8000 + N_SECTIONS },
};

static void lies_in_a_journal_are_found(void **state)
{
	const struct rig_cfg rig_cfg = { .ring_pages = 3 };
	struct netvsp_recovered total = {};
	struct vmbus_ring in, out;
	struct rig rig;
	const struct netvsp_recover_cfg cfg = {
		.in = &in, .out = &out, .n_sections = N_SECTIONS,
		.block = calloc(1, sizeof(struct vmbus_state_channel)),
		.table = calloc(N_SECTIONS, sizeof(le32)),
	};
	struct vmbus_state_slot *slot = &cfg.block->slots[1];

	rig_create_closed(&rig, &rig_cfg);
	assert_int_equal(vmbus_ring_init(&in, &rig.rings, 0, 3), 0);
	assert_int_equal(vmbus_ring_init(&out, &rig.rings, 3, 3), 0);
	for (size_t i = 0; i <= ARRAY_SIZE(lies); i++) {
		int ret;

		memset(cfg.block, 0, sizeof(*cfg.block));
		cfg.block->batch = slot->number = cpu_to_le64(1);
		slot->in_to = cpu_to_le32(64);
		slot->out_to = cpu_to_le32(96);
		slot->n_freed = slot->n_taken = cpu_to_le16(1);
		in.header->read = cpu_to_le32(64);
		out.header->write = cpu_to_le32(96);
		if (i < ARRAY_SIZE(lies))
			memcpy((uint8_t *)cfg.block + lies[i].at, &lies[i].value, lies[i].bytes);
		ret = netvsp_recover_channel(&cfg, &total);
		if (ret != (i < ARRAY_SIZE(lies) ? -EBADMSG : 0))
			fail_msg("%s: %d", i < ARRAY_SIZE(lies) ? lies[i].what : "the truth", ret);
	}
	// The other channel's section is not freed by this one's journal.
	cfg.table[0] = cpu_to_le32(2u << 16 | VMBUS_STATE_FIRST | VMBUS_STATE_LAST);
	slot->n_taken = cpu_to_le16(0);
	assert_int_equal(netvsp_recover_channel(&cfg, &total), 0);
	assert_int_equal(le32_to_cpu(cfg.table[0]) >> 16, 0x102);
	free(cfg.block);
	free(cfg.table);
	rig_destroy(&rig);
}

#define HELD(channel, next) (((channel) + 1u) << 16 | (next))
#define HEAD(channel, next) (HELD(channel, next) | VMBUS_STATE_FIRST)
#define LAST VMBUS_STATE_LAST

// Sections 20 to 23 as the table has them, and which of them are the guest's (bits).
static const struct {
	const char *what;
	uint32_t entries[4];
	uint32_t held;
} tables[] = {
	{ "nothing", { 0, 0, 0, 0 }, 0 },
	{ "a packet", { HEAD(0, 21), HELD(0, 22), HELD(0, LAST), 0 }, 7 },
	{ "two packets", { HEAD(0, 23), HEAD(1, LAST), 0, HELD(0, LAST) }, 11 },
	{ "a channel that is closed", { HEAD(2, 21), HELD(2, LAST), HEAD(1, LAST), 0 }, 4 },
	{ "a channel that cannot be", { HEAD(64, LAST), HEAD(254, LAST), 0, 0 }, 0 },
	{ "no head", { HELD(0, 21), HELD(0, LAST), 0, 0 }, 0 },
	{ "two heads", { HEAD(0, 22), HEAD(0, 22), HELD(0, LAST), 0 }, 0 },
	{ "a head in the middle", { HEAD(0, 21), HEAD(0, LAST), 0, 0 }, 0 },
	{ "a circle behind a head", { HEAD(0, 21), HELD(0, 22), HELD(0, 21), 0 }, 0 },
	{ "a circle", { HEAD(0, 20), HELD(0, 22), HELD(0, 21), 0 }, 0 },
	{ "two channels in a packet", { HEAD(0, 21), HELD(1, LAST), 0, 0 }, 0 },
	{ "a packet that goes on in a free section", { HEAD(0, 21), 0, 0, 0 }, 0 },
	{ "a packet that goes on beyond the buffer", { HEAD(0, N_SECTIONS), 0, 0, 0 }, 0 },
	{ "bits that mean nothing", { HEAD(0, LAST) | 0xfe000000, 0, 0, 0 }, 1 },
};

static void only_what_can_be_is_held(void **state)
{
	static le32 table[N_SECTIONS];
	struct netvsp_sections *sections;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		uint32_t n_held = (uint32_t)__builtin_popcount(tables[i].held);

		memset(table, 0, sizeof(table));
		memcpy(&table[20], tables[i].entries, sizeof(tables[i].entries));
		assert_int_equal(netvsp_sections_create(N_SECTIONS, table, true, &sections), 0);
		netvsp_recover_sections(sections, 3);
		if (netvsp_sections_count(sections) != N_SECTIONS - n_held)
			fail_msg("%s", tables[i].what);
		for (uint32_t s = 0; s < 4; s++)
			assert_int_equal(!!(le32_to_cpu(table[20 + s]) >> 16),
					 tables[i].held >> s & 1);
		netvsp_sections_destroy(sections);
	}
	// A section that is kept for answers may be held as well.
	memset(table, 0, sizeof(table));
	table[3] = cpu_to_le32(HEAD(0, LAST));
	assert_int_equal(netvsp_sections_create(N_SECTIONS, table, true, &sections), 0);
	netvsp_recover_sections(sections, 1);
	assert_int_equal(netvsp_sections_count(sections), N_SECTIONS - 1);
	assert_int_equal(sections->control_free, 0xfff7);
	netvsp_sections_destroy(sections);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lies_in_a_journal_are_found),
		cmocka_unit_test(only_what_can_be_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
