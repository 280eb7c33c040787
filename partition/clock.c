// SPDX-License-Identifier: Apache-2.0
#include "partition/clock.h"

#include <errno.h>

struct page {
	uint32_t serial, reserved; // serial 0: the page is not to be used
	uint64_t scale;
	int64_t offset;
};

void partition_clock_init(struct partition_clock *clock, uint32_t tsc_khz, uint64_t tsc,
			  uint64_t start)
{
	assert(tsc_khz > 10000);
	clock->scale = (uint64_t)(((unsigned __int128)10000 << 64) / tsc_khz);
	clock->offset = 0;
	clock->offset = (int64_t)(start - partition_clock_at(clock, tsc));
}

int partition_clock_write_page(struct partition_clock *clock, const struct guest_memory *memory,
			       uint64_t gpa)
{
	struct page *page = (struct page *)guest_memory_at(memory, gpa, GUEST_PAGE_BYTES, true);

	if (!page)
		return -EFAULT;
	// Readers look at the serial before and after: 0 stands while the rest changes.
	__atomic_store_n(&page->serial, 0, __ATOMIC_SEQ_CST);
	page->scale = clock->scale;
	page->offset = clock->offset;
	if (++clock->serial == 0 || clock->serial == UINT32_MAX)
		clock->serial = 1;
	__atomic_store_n(&page->serial, clock->serial, __ATOMIC_RELEASE);
	return 0;
}
