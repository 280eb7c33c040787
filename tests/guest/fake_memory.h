// SPDX-License-Identifier: Apache-2.0
// The RAM of a fake guest: a sealed memfd, of which pages are given out in order or scattered.
//
// GPAs are offsets in the memfd. A buffer is mapped here as a guest's kernel would have it, in one
// piece, whatever its pages; the host gets the page numbers. One thread.
#pragma once

#include "base/types.h"
#include "vmbus/run.h"
#include "vmbus/wire.h"

struct fake_memory {
	int fd;          // sealed against shrinking, unless it was asked not to be
	uint8_t *ram;    // all of it, by GPA
	uint32_t n_pages; // a power of two
	bool scattered;  // no page of a buffer lies beside its neighbour in the buffer
	uint8_t *used;   // [n_pages]
	uint32_t next;   // where the search for a free page goes on
	uint32_t n_used;
};

enum fake_memory_flag {
	FAKE_MEMORY_SCATTERED = 1 << 0,
	FAKE_MEMORY_UNSEALED = 1 << 1, // it may be truncated
};

// n_pages: a power of two, 64 … 2^18. flags: enum fake_memory_flag. Returns 0 or -errno.
int fake_memory_init(struct fake_memory *memory, uint32_t n_pages, unsigned int flags);
void fake_memory_fini(struct fake_memory *memory);

// Guest pages that belong together. All zeros: none.
struct fake_buffer {
	uint8_t *at;     // where they are here, contiguous
	uint64_t *pages; // [n_pages] page numbers
	uint32_t n_pages;
	bool mapped; // `at` is a mapping of its own
	struct vmbus_run run; // all of it, for struct vmbus_ring
};

// Takes n_pages ≥ 1 zeroed pages. Returns 0, -ENOMEM (no such free pages) or -errno.
int fake_buffer_init(struct fake_buffer *buffer, struct fake_memory *memory, uint32_t n_pages);
void fake_buffer_fini(struct fake_buffer *buffer, struct fake_memory *memory); // zeros are fine

static inline uint32_t fake_buffer_bytes(const struct fake_buffer *buffer)
{
	return buffer->n_pages * VMBUS_PAGE_BYTES;
}

// The GPA of byte `at` of the buffer.
static inline uint64_t fake_buffer_gpa(const struct fake_buffer *buffer, uint32_t at)
{
	return buffer->pages[at / VMBUS_PAGE_BYTES] * VMBUS_PAGE_BYTES + at % VMBUS_PAGE_BYTES;
}

// One page, not zeroed. Returns its number, 0 if none is left (page 0 is never given out).
uint32_t fake_page_get(struct fake_memory *memory);
void fake_page_put(struct fake_memory *memory, uint32_t page);

static inline uint8_t *fake_page_at(const struct fake_memory *memory, uint64_t page)
{
	return memory->ram + page * VMBUS_PAGE_BYTES;
}
