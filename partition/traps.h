// SPDX-License-Identifier: Apache-2.0
// Who answers when a virtual processor touches an I/O port, a device's memory or an MSR: a table of
// address ranges, filled while the partition is made, looked up at every exit.
// Filled by control before vCPUs run; looked up by vcpu threads, under the partition's lock.
#pragma once

#include "base/types.h"

enum partition_space { PARTITION_IO, PARTITION_MMIO, PARTITION_MSR };
#define PARTITION_N_SPACES (PARTITION_MSR + 1)

// One access of a guest.
struct partition_access {
	uint32_t vp;
	bool is_write;
	uint8_t bytes;    // 1, 2, 4 or 8
	uint64_t address; // port, guest physical address, or MSR
	uint64_t value;   // written, or to be filled in
};

// Does what the access means. Returns 0 or -errno: an MSR then faults (#GP), a port or memory
// reads as all ones. Called with the partition's lock held.
typedef int partition_handle(void *device, struct partition_access *access);

struct partition_trap {
	uint64_t first, last;
	partition_handle *handle;
	void *device; // first argument
};

#define PARTITION_MAX_TRAPS 24 // of a space

// All zeros: nothing is there.
struct partition_traps {
	struct partition_trap traps[PARTITION_N_SPACES][PARTITION_MAX_TRAPS];
	uint32_t n[PARTITION_N_SPACES];
};

// Adds a range. Ranges do not overlap and there is room for them: both are a programmer's matter.
void partition_traps_add(struct partition_traps *traps, enum partition_space space,
			 const struct partition_trap *trap);

// Hands an access to its handler. Returns what that says, or -ENXIO if nobody is there (nothing is
// filled in then). An access belongs to the range it begins in.
int partition_traps_handle(const struct partition_traps *traps, enum partition_space space,
			   struct partition_access *access);
