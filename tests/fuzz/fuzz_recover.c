// SPDX-License-Identifier: Apache-2.0
// Recovery from a state memory and rings whose words are the fuzzer's: afterwards every section is
// free or held once, here as in the table; and once more.
//
// Input: the four ring indices (16 bits each, times 8); for each of two channels `batch` (a byte)
// and the head of its slot (64 bytes); then the section table, 4 bytes an entry; the rest are the
// entries of both slots.
#include <assert.h>
#include <stdlib.h>

#include "netvsp/recover.h"

#define N_CHANNELS 2u
#define N_SECTIONS 64u
#define N_PAGES 3u // of a ring
#define SLOT_HEAD offsetof(struct vmbus_state_slot, entries)
#define LEAST (8 + N_CHANNELS * (1 + SLOT_HEAD) + 4 * N_SECTIONS)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(4096) uint8_t memory[2 * N_CHANNELS * N_PAGES * VMBUS_PAGE_BYTES];
static struct vmbus_run run = { memory, 0, 0, sizeof(memory) };
static struct vmbus_ring rings[2 * N_CHANNELS];
static struct vmbus_state state;

static void make_rings(void)
{
	const struct vmbus_runs gpadl = { &run, 1, sizeof(memory) };

	for (uint32_t i = 0; i < 2 * N_CHANNELS; i++)
		if (vmbus_ring_init(&rings[i], &gpadl, i * N_PAGES, N_PAGES) < 0)
			abort();
}

static void fill(const uint8_t *data, size_t size)
{
	memset(&state, 0, sizeof(state));
	for (uint32_t i = 0; i < N_CHANNELS; i++, data += 4, size -= 4) {
		rings[2 * i].header->read = cpu_to_le32(load_u16(data) * 8u);
		rings[2 * i + 1].header->write = cpu_to_le32(load_u16(data + 2) * 8u);
	}
	for (uint32_t i = 0; i < N_CHANNELS; i++) {
		struct vmbus_state_channel *block = &state.channels[i];

		block->batch = cpu_to_le64(data[0]);
		memcpy(&block->slots[data[0] % 2], data + 1, SLOT_HEAD);
		data += 1 + SLOT_HEAD;
		size -= 1 + SLOT_HEAD;
	}
	memcpy(state.sections, data, 4 * N_SECTIONS);
	data += 4 * N_SECTIONS;
	size -= 4 * N_SECTIONS;
	size = size < 4032 ? size : 4032;
	for (uint32_t i = 0; i < 2 * N_CHANNELS; i++)
		memcpy(state.channels[i / 2].slots[i % 2].entries, data, size);
}

// Sections of all packets that the guest may acknowledge.
static uint32_t count_held(struct netvsp_sections *sections)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < N_SECTIONS; i++)
		for (unsigned int c = 0; c < N_CHANNELS; c++) {
			if (!netvsp_sections_ack(sections, i, c))
				continue;
			for (uint32_t at = i; at != VMBUS_STATE_LAST; n++)
				at = sections->entries[at] & VMBUS_STATE_NEXT;
			assert(n <= N_SECTIONS);
		}
	return n;
}

// Both channels, then the sections.
static void recover(void)
{
	struct netvsp_recovered total = {};
	struct netvsp_sections *sections;
	uint64_t open = 0;

	for (uint32_t i = 0; i < N_CHANNELS; i++) {
		const struct netvsp_recover_cfg cfg = {
			i, &rings[2 * i], &rings[2 * i + 1], &state.channels[i], state.sections,
			N_SECTIONS,
		};

		open |= (uint64_t)(netvsp_recover_channel(&cfg, &total) == 0) << i;
	}
	if (netvsp_sections_create(N_SECTIONS, state.sections, true, &sections) < 0)
		abort();
	netvsp_recover_sections(sections, open);
	for (uint32_t i = 0; i < N_SECTIONS; i++) {
		uint32_t entry = le32_to_cpu(state.sections[i]);

		if (entry >> 16)
			assert(sections->entries[i] == (entry & 0x1ffffff));
	}
	assert(netvsp_sections_count(sections) + count_held(sections) == N_SECTIONS);
	netvsp_sections_destroy(sections);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < LEAST)
		return 0;
	make_rings();
	fill(data, size);
	recover();
	recover(); // the first one may have been killed just before its end
	return 0;
}
