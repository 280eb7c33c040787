// SPDX-License-Identifier: Apache-2.0
// The helper thread: runs what may block (fsync, opening devices, compiling big tables), one job
// after the other, and reports back through the control loop. It never publishes anything.
#pragma once

#include "base/err.h"
#include "control/loop.h"

struct helper;

#define HELPER_MAX_JOBS 1024 // submitted and not yet done

// Starts the thread. Returns 0 or -errno with a sentence. control.
int helper_create(struct loop *loop, struct helper **out, struct err *err);

// Runs every job still queued to its end, its `done` too, then ends the thread. Jobs that `done`
// submits are run as well. control, when the loop no longer runs. NULL is fine.
void helper_destroy(struct helper *helper);

// Queues a job: work(arg) on the helper thread, then done(arg, work's result) on the control
// thread. Jobs run in order. `done` may be NULL. Returns 0 or -EAGAIN when full. control.
int helper_submit(struct helper *helper, int (*work)(void *arg),
		  void (*done)(void *arg, int result), void *arg);
