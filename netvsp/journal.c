// SPDX-License-Identifier: Apache-2.0
#include "netvsp/journal.h"

#include "netvsp/sections.h"
#include "netvsp/step.h"

// The stores of a process are seen in program order by whoever maps the memory after its death; it
// is the compiler that must keep them so.
static void keep_order(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

static void store_release(le64 *p, uint64_t v)
{
	__atomic_store_n((FORCE uint64_t *)p, v, __ATOMIC_RELEASE);
}

void netvsp_journal_init(struct netvsp_journal *journal, struct vmbus_state_channel *block,
			 bool resume)
{
	*journal = (struct netvsp_journal){ .block = block };
	if (!resume)
		return;
	journal->number = le64_to_cpu(block->batch);
	if (!journal->number)
		return;
	journal->answered = le64_to_cpu(block->slots[journal->number % 2].answered);
	// What the last batch carried is in the sums from now on: its frames were given, or lost.
	journal->n_frames_in = le64_to_cpu(block->n_frames_in);
	journal->n_frames_out = le64_to_cpu(block->n_frames_out);
	journal->last_in = le16_to_cpu(block->slots[journal->number % 2].n_frames_in);
	journal->last_out = le16_to_cpu(block->slots[journal->number % 2].n_frames_out);
}

void netvsp_journal_seal(struct netvsp_journal *journal, const struct netvsp_batch *batch)
{
	struct vmbus_state_channel *block = journal->block;
	struct vmbus_state_slot *slot = &block->slots[++journal->number % 2];

	slot->number = cpu_to_le64(journal->number);
	slot->in_from = cpu_to_le32(batch->in_from);
	slot->in_to = cpu_to_le32(batch->in_to);
	slot->out_from = cpu_to_le32(batch->out_from);
	slot->out_to = cpu_to_le32(batch->out_to);
	netvsp_step();
	slot->n_freed = cpu_to_le16(journal->n_freed);
	slot->n_taken = cpu_to_le16(journal->n_taken);
	slot->n_frames_in = cpu_to_le16(batch->n_frames_in);
	slot->n_frames_out = cpu_to_le16(batch->n_frames_out);
	slot->answered = cpu_to_le64(journal->answered);
	memcpy(slot->entries, journal->entries,
	       (journal->n_freed + journal->n_taken) * sizeof(journal->entries[0]));
	netvsp_step();
	// Release: the slot is whole before it counts.
	store_release(&block->batch, journal->number);
	netvsp_step();
	journal->n_frames_in += journal->last_in;
	journal->n_frames_out += journal->last_out;
	journal->last_in = batch->n_frames_in;
	journal->last_out = batch->n_frames_out;
	block->n_frames_in = cpu_to_le64(journal->n_frames_in);
	block->n_frames_out = cpu_to_le64(journal->n_frames_out);
	keep_order(); // the indices are stored behind `batch`
}

void netvsp_journal_apply(struct netvsp_journal *journal, struct netvsp_sections *sections,
			  struct netvsp_section_cache *cache, unsigned int channel)
{
	keep_order(); // the indices were stored before
	netvsp_step();
	if (journal->n_freed)
		netvsp_sections_free(sections, cache, journal->entries, journal->n_freed);
	if (journal->n_taken)
		netvsp_sections_hold(sections, journal->entries + journal->n_freed,
				     journal->n_taken, channel);
	keep_order(); // and the next batch's slot behind all this
}

void netvsp_journal_erase(struct netvsp_journal *journal)
{
	struct vmbus_state_channel *block = journal->block;

	netvsp_journal_init(journal, block, false);
	store_release(&block->batch, 0);
	block->n_frames_in = block->n_frames_out = cpu_to_le64(0);
}
