// SPDX-License-Identifier: Apache-2.0
// A GPADL as the switch and a VMM use it: a sequence of bytes that lies in stretches of memory.
#pragma once

#include <stdint.h>

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
