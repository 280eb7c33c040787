// SPDX-License-Identifier: Apache-2.0
// After a switch was killed: its last batches are finished or forgotten, and who holds which
// section is found out (docs/vmbus-user.md, section 8.4). Between STATE and START, before anything
// is polled. control.
//
// The state memory is a VMM's and believed as little as any guest's: each word is read once,
// checked, and the checked copy used. Killed itself, a recovery is simply done again.
//
//	netvsp_recover_channel()      each channel that is resumed, its rings mapped
//	netvsp_sections_create(recover), netvsp_recover_sections()
//	netvsp_channel_create(resume) each channel; then all are rung and polled
#pragma once

#include "netvsp/sections.h"
#include "vmbus/ring.h"

struct netvsp_recover_cfg {
	unsigned int index;        // of the channel
	const struct vmbus_ring *in, *out; // guest → host, host → guest
	struct vmbus_state_channel *block;
	le32 *table;               // the section table
	uint32_t n_sections;       // 0: no receive buffer
};

struct netvsp_recovered {
	uint64_t n_batches; // that stood and were not finished
	uint64_t n_frames;  // that are lost, at most
};

// Finishes or forgets the last batch of one channel; adds to *total. Returns 0, or -EBADMSG: the
// journal or an index makes no sense, the channel has failed (VMBUS_USER_FAILED_INDEX).
int netvsp_recover_channel(const struct netvsp_recover_cfg *cfg, struct netvsp_recovered *total);

// After all channels: what the guest holds, by the table. open: bit n for each channel n that was
// recovered; what others held is free. Entries that cannot be are freed in the table, too.
void netvsp_recover_sections(struct netvsp_sections *sections, uint64_t open);
