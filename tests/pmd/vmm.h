// SPDX-License-Identifier: Apache-2.0
// The thread that runs the vmbus-user clients of all NICs: what a VMM's event loop does. It sleeps
// unless the switch says something.
#pragma once

#include "base/err.h"
#include "vmbus/client.h"

// Starts the thread. Returns 0 or -errno. Main thread.
int vmm_start(struct err *err);
void vmm_stop(void);

// Clients are touched with this held, by whichever thread; their ops are called with it held, by
// the VMM's thread.
void vmm_lock(void);
void vmm_unlock(void);

// Waits until done(arg), looked at with the lock held, which the caller has. Returns 0 or
// -ETIMEDOUT. Main thread.
int vmm_wait(bool (*done)(void *arg), void *arg, uint32_t seconds);

// Ops that change what somebody may wait for say so. With the lock held.
void vmm_wake(void);

// Lets the thread run a client from now on, or no more. With the lock held. Returns 0 or -errno.
int vmm_add(struct vmbus_client *client);
void vmm_del(struct vmbus_client *client);
