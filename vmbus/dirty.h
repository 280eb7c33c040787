// SPDX-License-Identifier: Apache-2.0
// The dirty bitmap of a migration: pages of the guest that the switch wrote
// (docs/vmbus-user.md, section 9.3). Shared with the VMM, which takes words by exchange.
#pragma once

#include "base/types.h"
#include "vmbus/run.h"

struct vmbus_dirty {
	uint64_t *words; // shared; bit p % 64 of word p / 64 stands for page p
	uint64_t n_pages;
};

// Marks the pages of guest memory [gpa, gpa + bytes), bytes ≥ 1, that were written before. worker.
static inline void vmbus_dirty_mark(const struct vmbus_dirty *dirty, uint64_t gpa, uint64_t bytes)
{
	uint64_t last = (gpa + bytes - 1) / 4096;

	for (uint64_t p = gpa / 4096; p <= last && p < dirty->n_pages; p++) {
		uint64_t bit = 1ull << (p % 64);

		// Release: whoever takes the bit copies the page as it was written. Not written
		// again while it is set: the line stays shared. The fence orders the page's stores
		// before the look at the bit.
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!(__atomic_load_n(&dirty->words[p / 64], __ATOMIC_RELAXED) & bit))
			__atomic_fetch_or(&dirty->words[p / 64], bit, __ATOMIC_RELEASE);
	}
}

// The same for bytes [at, at + bytes) of a GPADL, which are some of its bytes. worker.
void vmbus_dirty_mark_runs(const struct vmbus_dirty *dirty, const struct vmbus_runs *runs,
			   uint32_t at, uint32_t bytes);
