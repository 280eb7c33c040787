// SPDX-License-Identifier: Apache-2.0
// Guest physical addresses → host pointers: the regions of a guest's RAM as they are mapped here.
//
// Control fills a map; once workers have it, it no longer changes: control makes another one and
// retires the old (see rcu.h). Addresses come from guests: every look-up is checked, and no
// pointer handed out reaches over the end of its region. Maps nothing itself.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_MAX_REGIONS 64
#define GUEST_MEMORY_MAX_GPA (1ull << 52) // first address that cannot exist
#define GUEST_PAGE_BYTES 4096u            // unit of alignment; whatever the guest's page size

// A stretch of guest memory that is contiguous here, too.
struct guest_region {
	uint64_t gpa;   // multiple of GUEST_PAGE_BYTES
	uint64_t bytes; // multiple of GUEST_PAGE_BYTES, not 0
	uint8_t *host;  // where `gpa` is mapped; not owned
	bool read_only; // ROM: looked up for reading only
};

// All zeros: no memory.
struct guest_memory {
	unsigned int n_regions;
	struct guest_region regions[GUEST_MEMORY_MAX_REGIONS]; // by gpa, none overlap
};

// Takes a region in. Returns 0, -EINVAL (alignment, size 0, end over GUEST_MEMORY_MAX_GPA),
// -EEXIST (overlaps another) or -ENOSPC. control.
int guest_memory_add(struct guest_memory *memory, const struct guest_region *region);

// Takes the region that begins at gpa out. Returns 0 or -ENOENT. control.
int guest_memory_del(struct guest_memory *memory, uint64_t gpa);

// What [gpa, gpa + bytes) is here, or NULL unless all of it lies in one region (that may be
// written to, if for_write). bytes ≥ 1. Any thread; worker.
uint8_t *guest_memory_at(const struct guest_memory *memory, uint64_t gpa, uint64_t bytes,
			 bool for_write);
