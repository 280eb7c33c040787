// SPDX-License-Identifier: Apache-2.0
// How a worker gives its core back: called by worker.c alone.
//
// Polls hard for 50 µs after the last frame, then sleeps in steps that double up to 1 ms, or
// without end where every queue can ring. Whoever leaves work for a sleeper wakes it; the flag is
// set before the last look and read after the work is left, so no wake-up is lost.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rcu.h"

struct worker_plan;

struct idle {
	int epoll_fd;             // doorbells of plan `watched`, and event_fd; or -1
	int event_fd;             // rung by idle_wake
	bool sleeping;            // worker: w, all: r, sequentially consistent
	bool poll;                // never sleep
	bool armed;               // devices were asked to ring
	uint64_t watched;         // epoch of the plan whose doorbells epoll_fd has
	uint64_t empty_since_tsc; // first look without work, 0: there was work
	uint64_t step_ns;         // next sleep
};

// Returns 0 or -errno. control.
int idle_init(struct idle *idle, bool poll);
void idle_fini(struct idle *idle);

// Wakes the sleeper. A syscall only when it sleeps. Any thread.
void idle_wake(struct idle *idle);

// The last loop found work. worker.
static inline void idle_worked(struct idle *idle) { idle->empty_since_tsc = 0; }

// The last loop found none: spins on, or sleeps, offline for RCU meanwhile. has_work(arg) looks
// once more after the flag is up. Returns true if it slept; *plan may be gone then. worker.
bool idle_rest(struct idle *idle, const struct worker_plan *plan, struct rcu *rcu,
	       unsigned int reader, bool (*has_work)(void *arg), void *arg);

// Other workers must do something, and they may want this core for it: returns at once for some
// rounds, then after a nap, for which the kernel gives the core away, as it hardly does for a
// yield. rounds: how often we came here for the same thing, counted here. worker.
void idle_await(unsigned int *rounds);

// Awake again: the devices of the plan now in force need not ring. worker.
void idle_disarm(struct idle *idle, const struct worker_plan *plan);
