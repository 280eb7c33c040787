// SPDX-License-Identifier: Apache-2.0
// The journal of a channel: what its last batch does, written into the state memory before the
// guest sees any of it, so that whoever comes after a kill can finish the batch or forget it
// (docs/vmbus-user.md, section 8.2).
//
// One batch: begin → add freed, then taken → seal → publish the ring indices (vmbus_writer_commit,
// vmbus_reader_commit) → apply. The caller does the steps in this order. Owned by the channel's
// worker, or by control while it is not live.
#pragma once

#include "vmbus/state.h"

struct netvsp_section_cache;
struct netvsp_sections;

struct netvsp_journal {
	struct vmbus_state_channel *block; // written, read by netvsp_journal_init only
	uint64_t number;   // of the last sealed batch, 0: none
	uint64_t answered; // serial of the last answer published by it or before
	uint64_t n_frames_in, n_frames_out; // of all sealed batches but the last
	uint16_t last_in, last_out;         // of the last
	// The batch being made.
	uint16_t n_freed, n_taken;
	uint16_t entries[VMBUS_STATE_MAX_ENTRIES];
};

// Where a batch moves the indices, and what it carries.
struct netvsp_batch {
	uint32_t in_from, in_to, out_from, out_to;
	uint16_t n_frames_in, n_frames_out;
};

// Begins with no batch and nothing answered; or, to resume, with what stands in the block, which
// was recovered (recover.h). control.
void netvsp_journal_init(struct netvsp_journal *journal, struct vmbus_state_channel *block,
			 bool resume);

// A new batch that frees and takes nothing yet.
static inline void netvsp_journal_begin(struct netvsp_journal *journal)
{
	journal->n_freed = journal->n_taken = 0;
}

// Places for sections that are left in the batch.
static inline uint32_t netvsp_journal_room(const struct netvsp_journal *journal)
{
	return VMBUS_STATE_MAX_ENTRIES - journal->n_freed - journal->n_taken;
}

// The guest acknowledged the packet that begins at `head`. There is room, and nothing was taken.
static inline void netvsp_journal_add_freed(struct netvsp_journal *journal, uint16_t head)
{
	journal->entries[journal->n_freed++] = head;
}

// The guest gets a section; with VMBUS_STATE_TAKEN_FIRST: the first of its packet. There is room.
static inline void netvsp_journal_add_taken(struct netvsp_journal *journal, uint16_t section)
{
	journal->entries[journal->n_freed + journal->n_taken++] = section;
}

// Step 3: writes the slot, then says that it counts.
void netvsp_journal_seal(struct netvsp_journal *journal, const struct netvsp_batch *batch);

// Step 6: moves the sections. They were published.
void netvsp_journal_apply(struct netvsp_journal *journal, struct netvsp_sections *sections,
			  struct netvsp_section_cache *cache, unsigned int channel);

// There was never a batch: for a channel that is closed. control.
void netvsp_journal_erase(struct netvsp_journal *journal);
