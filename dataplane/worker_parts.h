// SPDX-License-Identifier: Apache-2.0
// What a worker is made of; shared by worker.c, which is its thread, and worker_control.c alone.
#pragma once

#include <pthread.h>

#include "dataplane/idle.h"
#include "dataplane/worker.h"

struct worker {
	struct worker_out out; // first: the switch sees this part
	struct worker_load load;
	struct idle idle;
	uint64_t cold_tsc;   // when cold queues were last looked at
	int64_t cold_cycles; // left of their share; below 0: owed
	// control: w, worker: r
	RCU_POINTER(struct worker_plan) next_plan CACHE_ALIGNED;
	// From worker i, the last from control, or NULL; released once made.
	struct rte_ring *handover[WORKER_MAX + 1];
	bool stop;
	// Epochs; others look at them while plans change. worker: w, any: r
	uint64_t taken CACHE_ALIGNED; // the plan it works by
	uint64_t settled;             // see worker_settled
	struct worker_cfg cfg CACHE_ALIGNED;
	pthread_t thread;
	pthread_barrier_t started;
	int start_error;
};

// The thread of the worker `arg`; waits at `started` once it runs, or start_error says why it does
// not. pthread_create's start routine.
void *worker_main(void *arg);
