// SPDX-License-Identifier: Apache-2.0
// Reference time: 100 ns since the partition began, computed from the time stamp counter. A guest
// computes the same from a page in its memory: TSC × scale / 2^64 + offset. No I/O.
// Spec: TLFS, "Partition Reference Counter" and "Partition Reference TSC Page".
#pragma once

#include "base/guest_memory.h"
#include "base/types.h"

struct partition_clock {
	uint64_t scale;  // 2^64 × 10 MHz ÷ TSC frequency
	int64_t offset;  // 100 ns
	uint32_t serial; // of what stands in the guest's page; never 0
};

// Begins with reference time `start` at a TSC (of the guest) of `tsc`; tsc_khz ≥ 10001.
void partition_clock_init(struct partition_clock *clock, uint32_t tsc_khz, uint64_t tsc,
			  uint64_t start);

static inline uint64_t partition_clock_at(const struct partition_clock *clock, uint64_t tsc)
{
	return (uint64_t)((unsigned __int128)tsc * clock->scale >> 64) + (uint64_t)clock->offset;
}

// Writes the guest's page. Returns 0, or -EFAULT if there is no memory at gpa.
int partition_clock_write_page(struct partition_clock *clock, const struct guest_memory *memory,
			       uint64_t gpa);
