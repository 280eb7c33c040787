// SPDX-License-Identifier: Apache-2.0
// The four synthetic timers of one virtual processor. A machine without I/O, under the partition's
// lock: somebody wakes it when the earliest one is due. Times are reference time, in 100 ns.
// Spec: TLFS, "Synthetic Timers" (MSRs 0x400000b0 … 0x400000b7), with direct mode.
#pragma once

#include "partition/synic.h"

#define PARTITION_N_STIMERS 4
#define PARTITION_MSR_STIMER0_CONFIG 0x400000b0u
#define PARTITION_MSR_STIMER3_COUNT 0x400000b7u
#define PARTITION_STIMER_NEVER UINT64_MAX
#define PARTITION_STIMER_MIN_PERIOD 1000u // 100 µs; a shorter one is lengthened

struct partition_stimer {
	uint64_t config, count;
	uint64_t due;    // PARTITION_STIMER_NEVER: not armed
	uint64_t missed; // when a message was due that found its slot full; 0: none
};

struct partition_stimers {
	struct partition_synic *synic; // of the same processor
	struct partition_stimer timers[PARTITION_N_STIMERS];
};

// As after a reset; `synic` stays.
void partition_stimers_reset(struct partition_stimers *stimers);

// MSRs. A write arms or disarms. Both return 0, or -EINVAL: the access faults.
int partition_stimers_read(const struct partition_stimers *stimers, uint32_t msr, uint64_t *value);
int partition_stimers_write(struct partition_stimers *stimers, uint32_t msr, uint64_t value,
			    uint64_t now);

// When the earliest is due, or PARTITION_STIMER_NEVER.
uint64_t partition_stimers_due(const struct partition_stimers *stimers);

// Fires what is due, each timer once at most.
void partition_stimers_run(struct partition_stimers *stimers, uint64_t now);
