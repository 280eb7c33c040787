// SPDX-License-Identifier: Apache-2.0
// The control thread's loop: calls back when descriptors are ready. Timers are descriptors too
// (timerfd), signals come in by signalfd, the helper thread by eventfd.
//
// Everything runs on the thread that calls loop_run, unless noted.
#pragma once

#include <stdint.h>

#include "base/err.h"

struct loop;

typedef void loop_fd_fn(void *arg, uint32_t events); // EPOLLIN, EPOLLOUT, EPOLLHUP, …
typedef void loop_timer_fn(void *arg);

int loop_create(struct loop **out, struct err *err);
void loop_destroy(struct loop *loop); // NULL is fine; closes its timers, not others' descriptors

// Watches `fd` for events (level-triggered). Returns 0 or -errno. The caller keeps the fd.
int loop_fd_add(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *arg);
int loop_fd_set(struct loop *loop, int fd, uint32_t events); // other events from now on

// Forgets `fd`, before the caller closes it. No callback comes after this, even inside another.
void loop_fd_del(struct loop *loop, int fd);

// Calls fn after first_ns (monotonic; 0: at once), then every period_ns (0: never again; what the
// loop was late for is skipped). Returns a timer id ≥ 0 or -errno. loop_timer_del ends either
// kind and must be called for both; it may be called from fn.
int loop_timer_add(struct loop *loop, uint64_t first_ns, uint64_t period_ns, loop_timer_fn *fn,
		   void *arg);
void loop_timer_del(struct loop *loop, int timer); // a negative id is fine

int loop_run(struct loop *loop);   // until loop_stop; 0 or -errno of epoll_wait
void loop_stop(struct loop *loop); // makes loop_run return once the current callback is done

uint64_t loop_now_ns(void); // CLOCK_MONOTONIC; any thread
