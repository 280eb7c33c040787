// SPDX-License-Identifier: Apache-2.0
// The sections of a NIC's receive buffer: which are free, and which the guest holds, packet by
// packet. One object for all channels of a NIC; channels on different workers share it.
//
// Free sections lie in a pool, a bitmap of which a channel takes a word at a time, and in a stack
// of each channel's own: what the guest gave back last is used first, while caches still have it.
// The first NETVSP_RESERVED_SECTIONS are kept for control's answers and belong to channel 0.
//
// What is held is written down twice, in the state memory's section table and privately
// (docs/vmbus-user.md, section 7.4); an entry is written by the worker of the channel that holds or
// takes it. The state memory is only written here; recover.c reads it.
#pragma once

#include "netvsp/control.h"
#include "vmbus/state.h"

#define NETVSP_CACHE_KEEP 256  // free sections that a channel keeps to itself, at most
#define NETVSP_CACHE_MAX 2048  // places of its stack: what one batch may free, and as many

struct netvsp_sections {
	uint32_t n;             // 1…32767
	uint32_t n_control;     // the first ones, for answers
	uint32_t n_words;       // of `free`
	uint32_t n_users;       // channels with a stack; atomic
	uint64_t serial;        // of this object: no other had or will have it
	uint32_t control_free;  // bitmap; channel 0's worker
	le32 *table;            // in the state memory, [n]
	uint32_t *entries;      // the same, privately; atomic: guests name any in their acks
	uint64_t free[VMBUS_STATE_SECTIONS / 64]; // bit s % 64 of word s / 64: s is in the pool
};

// A channel's stack of free sections. All zeros: empty, of no object.
struct netvsp_section_cache {
	uint64_t serial; // of the sections it belongs to
	uint32_t n;
	uint32_t word;   // of the pool, looked at last
	uint16_t ids[NETVSP_CACHE_MAX];
};

// Makes `n` sections (1…32767), all free, and zeroes their entries in `table`, which must outlive
// it. With recover: the table stays; netvsp_recover_sections says what is held. Returns 0 or
// -ENOMEM. control.
int netvsp_sections_create(uint32_t n, le32 *table, bool recover, struct netvsp_sections **out);

// Frees it; NULL is fine. The table is left alone. control.
void netvsp_sections_destroy(struct netvsp_sections *sections);

// Makes an empty stack of the channel's for these sections. worker.
void netvsp_sections_attach(struct netvsp_sections *sections, struct netvsp_section_cache *cache);

// Gives all that lies in the stack back to the pool. control, or worker.
void netvsp_sections_detach(struct netvsp_sections *sections, struct netvsp_section_cache *cache);

// Fills the stack up to `want` (≤ 1024) sections, if there are so many. Returns how many it
// holds. They are taken with cache->ids[--cache->n]. worker.
uint32_t netvsp_sections_fill(struct netvsp_sections *sections, struct netvsp_section_cache *cache,
			      uint32_t want);

// Takes a section for an answer; false: there is none. Channel 0's worker.
bool netvsp_sections_take_control(struct netvsp_sections *sections, uint16_t *section);

// Puts one back that was taken and not given to the guest. worker.
void netvsp_sections_put(struct netvsp_sections *sections, struct netvsp_section_cache *cache,
			 uint16_t section);

// The guest acknowledges packet `id` through `channel`. True if it holds such a packet: it is
// marked, so that a second acknowledgement is none, and is freed by netvsp_sections_free.
bool netvsp_sections_ack(struct netvsp_sections *sections, uint64_t id, unsigned int channel);

// Takes that back: the acknowledgement will be read again. worker.
void netvsp_sections_unack(struct netvsp_sections *sections, uint16_t head);

// Step 6 of a batch (docs/vmbus-user.md, section 8.2): frees the packets that begin at heads[n],
// which were acknowledged. worker.
void netvsp_sections_free(struct netvsp_sections *sections, struct netvsp_section_cache *cache,
			  const uint16_t *heads, uint32_t n);

// The same: the guest holds taken[n] (bit VMBUS_STATE_TAKEN_FIRST: first of a packet). worker.
void netvsp_sections_hold(struct netvsp_sections *sections, const uint16_t *taken, uint32_t n,
			  unsigned int channel);

// Frees all that the guest holds through `channel`, which is not live. control.
void netvsp_sections_free_channel(struct netvsp_sections *sections, unsigned int channel);

// Sections that are free, in the pool and for control; stacks of channels not counted. Tests and
// control, while no channel is live.
uint32_t netvsp_sections_count(const struct netvsp_sections *sections);
