// SPDX-License-Identifier: Apache-2.0
#include "netvsp/recover.h"

#include <errno.h>
#include <stdlib.h>

#include "netvsp/step.h"

#define MAX_CHAIN 1024 // sections of a packet
#define HOLDER_BITS (0xffu << VMBUS_STATE_HOLDER_SHIFT)
#define HELD_BITS (HOLDER_BITS | VMBUS_STATE_FIRST)

static uint32_t load(const le32 *p)
{
	return __atomic_load_n((const FORCE uint32_t *)p, __ATOMIC_RELAXED);
}

static void store_release(le32 *p, uint32_t v)
{
	__atomic_store_n((FORCE uint32_t *)p, v, __ATOMIC_RELEASE);
	netvsp_step();
}

// Stores an entry unless it says so already. True: it did not.
static bool set_entry(le32 *table, uint32_t section, uint32_t entry)
{
	if (load(&table[section]) == entry)
		return false;
	store_release(&table[section], entry);
	return true;
}

static uint32_t holder(unsigned int channel)
{
	return (channel + 1) << VMBUS_STATE_HOLDER_SHIFT;
}

// A slot, read once.
struct slot {
	uint64_t number;
	uint32_t in_from, in_to, out_from, out_to;
	uint32_t n_freed, n_taken, n_frames_in, n_frames_out;
	const le16 *entries;
	struct vmbus_state_slot copy;
};

static bool is_index(uint32_t v, const struct vmbus_ring *ring)
{
	return v < ring->size && v % 8 == 0;
}

static bool read_slot(const struct netvsp_recover_cfg *cfg, uint64_t number, struct slot *slot)
{
	struct vmbus_state_slot *copy = &slot->copy;

	memcpy(copy, &cfg->block->slots[number % 2], sizeof(*copy));
	__asm__ volatile("" : : "r"(copy) : "memory"); // the copy is used, whatever comes after
	slot->number = le64_to_cpu(copy->number);
	slot->in_from = le32_to_cpu(copy->in_from);
	slot->in_to = le32_to_cpu(copy->in_to);
	slot->out_from = le32_to_cpu(copy->out_from);
	slot->out_to = le32_to_cpu(copy->out_to);
	slot->n_freed = le16_to_cpu(copy->n_freed);
	slot->n_taken = le16_to_cpu(copy->n_taken);
	slot->n_frames_in = le16_to_cpu(copy->n_frames_in);
	slot->n_frames_out = le16_to_cpu(copy->n_frames_out);
	slot->entries = copy->entries;
	if (slot->number != number || !is_index(slot->in_from, cfg->in) ||
	    !is_index(slot->in_to, cfg->in) || !is_index(slot->out_from, cfg->out) ||
	    !is_index(slot->out_to, cfg->out) ||
	    slot->n_freed + slot->n_taken > VMBUS_STATE_MAX_ENTRIES)
		return false;
	for (uint32_t i = 0; i < slot->n_freed + slot->n_taken; i++) {
		uint32_t section = le16_to_cpu(slot->entries[i]);

		if (i >= slot->n_freed)
			section &= ~VMBUS_STATE_TAKEN_FIRST;
		if (section >= cfg->n_sections)
			return false;
	}
	return true;
}

// Step 5 for one packet of the freed list: what lies behind its first section, then that.
static bool free_packet(const struct netvsp_recover_cfg *cfg, uint32_t head)
{
	uint32_t entry = load(&cfg->table[head]), mine = holder(cfg->index), at;
	uint32_t first = entry;

	if ((entry & HELD_BITS) != (mine | VMBUS_STATE_FIRST))
		return false;
	at = entry & VMBUS_STATE_NEXT;
	for (int i = 0; i < MAX_CHAIN && at < cfg->n_sections && at != head; i++) {
		entry = load(&cfg->table[at]);
		// Free already: the kill came in the middle. Another's: a lie, and not believed.
		if ((entry & HOLDER_BITS) == mine)
			set_entry(cfg->table, at, entry & ~HELD_BITS);
		at = entry & VMBUS_STATE_NEXT;
	}
	return set_entry(cfg->table, head, first & ~HELD_BITS);
}

// Steps 4 to 6. True: there was something to do.
static bool finish(const struct netvsp_recover_cfg *cfg, const struct slot *slot)
{
	const le16 *taken = slot->entries + slot->n_freed;
	bool changed = load(&cfg->in->header->read) != slot->in_to;

	store_release(&cfg->in->header->read, slot->in_to);
	for (uint32_t i = 0; i < slot->n_freed; i++)
		changed |= free_packet(cfg, le16_to_cpu(slot->entries[i]));
	for (uint32_t i = 0; i < slot->n_taken; i++) {
		uint32_t section = le16_to_cpu(taken[i]), next = VMBUS_STATE_TAKEN_FIRST;
		uint32_t entry = holder(cfg->index);

		if (section & VMBUS_STATE_TAKEN_FIRST)
			entry |= VMBUS_STATE_FIRST;
		if (i + 1 < slot->n_taken)
			next = le16_to_cpu(taken[i + 1]);
		entry |= next & VMBUS_STATE_TAKEN_FIRST ? VMBUS_STATE_LAST : next;
		changed |= set_entry(cfg->table, section & ~VMBUS_STATE_TAKEN_FIRST, entry);
	}
	return changed;
}

int netvsp_recover_channel(const struct netvsp_recover_cfg *cfg, struct netvsp_recovered *total)
{
	FORCE uint64_t *batch = (FORCE uint64_t *)&cfg->block->batch;
	uint64_t number = __atomic_load_n(batch, __ATOMIC_ACQUIRE);
	uint32_t w = load(&cfg->out->header->write), r = load(&cfg->in->header->read);
	bool committed;
	struct slot slot;

	if (!number)
		return w || r ? -EBADMSG : 0;
	if (!read_slot(cfg, number, &slot))
		return -EBADMSG;
	if (slot.out_from != slot.out_to)
		committed = w == slot.out_to;
	else
		committed = r == slot.in_to;
	// Nobody but the switch moves these two. Committed, r may lag behind; never lead.
	if (committed ? w != slot.out_to || (r != slot.in_to && r != slot.in_from) :
			w != slot.out_from || r != slot.in_from)
		return -EBADMSG;
	if (committed) {
		total->n_batches += finish(cfg, &slot);
		total->n_frames += slot.n_frames_in;
		return 0;
	}
	// The batch never was.
	__atomic_store_n(batch, number - 1, __ATOMIC_RELEASE);
	netvsp_step();
	total->n_frames += slot.n_frames_out;
	return 0;
}

// --- sections ----------------------------------------------------------------------------------

// Is the packet that begins at `head` one that can be: held through one open channel, each of its
// sections named once?
static bool is_packet(const struct netvsp_sections *sections, const uint8_t *n_names,
		      uint32_t head)
{
	uint32_t entry = sections->entries[head], mine = entry & HOLDER_BITS, at;

	if (!mine || !(entry & VMBUS_STATE_FIRST) || n_names[head])
		return false;
	// Ends: a circle would name one of them twice.
	for (at = entry & VMBUS_STATE_NEXT; at != VMBUS_STATE_LAST; at = entry & VMBUS_STATE_NEXT) {
		if (at >= sections->n || n_names[at] != 1)
			return false;
		entry = sections->entries[at];
		if ((entry & HELD_BITS) != mine)
			return false;
	}
	return true;
}

// The packet that begins at `head` is the guest's.
static void hold_packet(struct netvsp_sections *sections, uint32_t head)
{
	uint32_t at = head;

	do {
		if (at < sections->n_control)
			sections->control_free &= ~(1u << at);
		else
			sections->free[at / 64] &= ~(1ull << (at % 64));
		at = sections->entries[at] & VMBUS_STATE_NEXT;
	} while (at != VMBUS_STATE_LAST);
}

static bool is_free(const struct netvsp_sections *sections, uint32_t section)
{
	return section < sections->n_control ? sections->control_free >> section & 1 :
					       sections->free[section / 64] >> (section % 64) & 1;
}

void netvsp_recover_sections(struct netvsp_sections *sections, uint64_t open)
{
	static uint8_t n_names[VMBUS_STATE_SECTIONS]; // how often each is named as next; 2: more

	memset(n_names, 0, sizeof(n_names));
	for (uint32_t i = 0; i < sections->n; i++) {
		uint32_t entry = load(&sections->table[i]), next = entry & VMBUS_STATE_NEXT;
		uint32_t of = (entry & HOLDER_BITS) >> VMBUS_STATE_HOLDER_SHIFT;

		if (!of || of > VMBUS_USER_MAX_CHANNELS || !(open >> (of - 1) & 1))
			entry &= VMBUS_STATE_NEXT;
		else if (next < sections->n && n_names[next] < 2)
			n_names[next]++;
		sections->entries[i] = entry & (HELD_BITS | VMBUS_STATE_NEXT);
	}
	for (uint32_t i = 0; i < sections->n; i++)
		if (is_packet(sections, n_names, i))
			hold_packet(sections, i);
	// What cannot be is free, here and there: it must not be found again beside what comes.
	for (uint32_t i = 0; i < sections->n; i++) {
		if (!is_free(sections, i))
			continue;
		sections->entries[i] &= VMBUS_STATE_NEXT;
		if (load(&sections->table[i]) & ~VMBUS_STATE_NEXT)
			set_entry(sections->table, i, sections->entries[i]);
	}
}
