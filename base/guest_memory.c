// SPDX-License-Identifier: Apache-2.0
#include "base/guest_memory.h"

#include <errno.h>
#include <string.h>

// The first region that ends behind gpa, or n_regions. Bounded: 64 regions are 6 steps.
static unsigned int find(const struct guest_memory *memory, uint64_t gpa)
{
	unsigned int lo = 0, hi = memory->n_regions;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		// Sums do not wrap: guest_memory_add keeps ends at or below 2^52.
		if (memory->regions[mid].gpa + memory->regions[mid].bytes <= gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int guest_memory_add(struct guest_memory *memory, const struct guest_region *region)
{
	unsigned int at;

	if (!region->bytes || (region->gpa | region->bytes) % GUEST_PAGE_BYTES ||
	    region->gpa >= GUEST_MEMORY_MAX_GPA ||
	    region->bytes > GUEST_MEMORY_MAX_GPA - region->gpa)
		return -EINVAL;
	at = find(memory, region->gpa);
	if (at < memory->n_regions && memory->regions[at].gpa < region->gpa + region->bytes)
		return -EEXIST;
	if (memory->n_regions == GUEST_MEMORY_MAX_REGIONS)
		return -ENOSPC;
	memmove(&memory->regions[at + 1], &memory->regions[at],
		(memory->n_regions - at) * sizeof(*region));
	memory->regions[at] = *region;
	memory->n_regions++;
	return 0;
}

int guest_memory_del(struct guest_memory *memory, uint64_t gpa)
{
	unsigned int at = find(memory, gpa);

	if (at == memory->n_regions || memory->regions[at].gpa != gpa)
		return -ENOENT;
	memory->n_regions--;
	memmove(&memory->regions[at], &memory->regions[at + 1],
		(memory->n_regions - at) * sizeof(memory->regions[0]));
	return 0;
}

uint8_t *guest_memory_at(const struct guest_memory *memory, uint64_t gpa, uint64_t bytes,
			 bool for_write)
{
	unsigned int at = find(memory, gpa);
	const struct guest_region *region = &memory->regions[at];

	// Subtractions only: gpa and bytes may be anything, a sum of them may wrap.
	if (at == memory->n_regions || gpa < region->gpa ||
	    bytes > region->bytes - (gpa - region->gpa) || (for_write && region->read_only))
		return NULL;
	return region->host + (gpa - region->gpa);
}
