// SPDX-License-Identifier: Apache-2.0
// Reads a run's live counters and says what a frame cost, and where.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct bench_stat_cfg {
	const char *path;     // counters' file
	uint32_t interval_ms; // length of a sample, 10…60000
	uint32_t n_samples;   // accepted samples wanted, 1…BENCH_MAX_SAMPLES
	bool accept_all;      // reject no sample
	bool json;            // one JSON object instead of a sentence
	bool verbose;         // each sample on stderr
};

#define BENCH_MAX_SAMPLES 1000

// Samples, then prints medians on stdout. Samples in which a forwarding thread did not have its
// core are rejected; gives up after 4 × n_samples. Returns 0, -ENOENT, -EINVAL (not a counters'
// file), or -ENODATA when nothing was forwarded or nothing could be accepted.
int bench_stat(const struct bench_stat_cfg *cfg, struct err *err);

// Releases streams that hold flows back, and prints as JSON how many frames were made from then
// until a port had sent all its held flows, or for limit_ms, and the seconds that took: while every
// frame is a new flow, their quotient is the rate of flow set-ups. Returns 0, -ENOENT or -EINVAL.
int bench_release(const char *path, uint32_t limit_ms, struct err *err);
