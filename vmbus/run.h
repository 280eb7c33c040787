// SPDX-License-Identifier: Apache-2.0
// A GPADL as the switch and a VMM use it: a sequence of bytes that lies in stretches of memory.
#pragma once

#include "base/types.h"

// Bytes `start` … `start + bytes - 1` of a GPADL. Runs are in order and without gaps; neighbours
// are merged where guest and host addresses both go on.
struct vmbus_run {
	uint8_t *host;
	uint64_t gpa;
	uint32_t start, bytes;
};

struct vmbus_runs {
	const struct vmbus_run *runs; // [n], borrowed
	uint32_t n;
	uint32_t bytes; // of all of them
};

// The index of the run that byte `at` (< bytes) lies in. Any thread.
uint32_t vmbus_runs_find(const struct vmbus_runs *runs, uint32_t at);

// The run that byte `at` (< bytes) lies in. *last is the index of the run looked at last: accesses
// go forward, and most GPADLs are one run, so that it is nearly always right. Its owner's thread.
static ALWAYS_INLINE const struct vmbus_run *vmbus_runs_at(const struct vmbus_runs *runs,
							   uint32_t at, uint32_t *last)
{
	if (unlikely(at - runs->runs[*last].start >= runs->runs[*last].bytes))
		*last = vmbus_runs_find(runs, at);
	return &runs->runs[*last];
}
