// SPDX-License-Identifier: Apache-2.0
// The live counters of a run: a small file, usually under /dev/shm, that the generator maps and
// writes while `weft-bench` maps and reads it. Totals only grow; every line has one writer, the
// thread that owns the queue. Aligned 64-bit words are read whole on x86-64, so neither side
// needs more than plain accesses and compiler barriers.
#pragma once

#include <stdint.h>

#include "base/types.h"

#define BENCH_COUNTERS_MAGIC 0x31626e6574666577u // "weftenb1", changes with the layout
#define BENCH_MAX_PORTS 8
#define BENCH_MAX_QUEUES 16
#define BENCH_CLOCK_STEPS 4000 // one-cycle steps in one measurement of the core's clock

// What one rx queue handed out.
struct bench_rx_counters {
	uint64_t packets;
	uint64_t bytes;
	uint64_t cycles;    // TSC cycles spent making frames
	uint64_t no_mbuf;   // bursts lost to an empty pool
	uint64_t bursts;    // with at least one frame
	uint64_t thread;    // kernel thread id that polls it
	uint64_t clock_tsc; // TSC cycles that clock_runs × BENCH_CLOCK_STEPS took
	uint64_t clock_runs;
} CACHE_ALIGNED;

// What one tx queue swallowed.
struct bench_tx_counters {
	uint64_t packets;
	uint64_t bytes;
	uint64_t cycles; // TSC cycles spent counting and freeing
	uint64_t bursts;
} CACHE_ALIGNED;

struct bench_port_counters {
	uint64_t held; // flows that wait for `released`; written when the port starts
	struct bench_rx_counters rx[BENCH_MAX_QUEUES];
	struct bench_tx_counters tx[BENCH_MAX_QUEUES];
};

struct bench_counters {
	uint64_t magic;    // written last
	uint64_t tsc_hz;   // TSC cycles a second
	uint64_t pid;      // of the process that forwards
	uint64_t released; // 1: streams with hold=N may send all flows. weft-bench: w, pollers: r
	struct bench_port_counters ports[BENCH_MAX_PORTS];
};
