// SPDX-License-Identifier: Apache-2.0
// Readers that never wait, writers that never wait: a thin wrapper over rte_rcu_qsbr.
//
// A worker says "quiescent" between batches: it holds no pointer from before. Control publishes
// a new object with one store, hands the old one to rcu_retire and goes on; rcu_poll, called from
// its loop, frees what no worker can still see. Nobody synchronises: with busy workers on a shared
// machine that took milliseconds, a token and a later check take nanoseconds.
#pragma once

#include <stdint.h>

#define RCU_MAX_READERS 64

struct rcu; // one domain: the readers and what waits for them

// Makes a domain. Returns NULL when memory is short. control.
struct rcu *rcu_create(void);

// Frees everything retired, whether or not readers were quiescent: only after they have stopped.
// NULL is allowed. control.
void rcu_destroy(struct rcu *rcu);

// Reader `id` (0 … RCU_MAX_READERS-1) starts or stops holding references. Its own thread.
void rcu_reader_online(struct rcu *rcu, unsigned int id);
void rcu_reader_offline(struct rcu *rcu, unsigned int id);

// The reader holds no reference taken before this call. worker, once a loop; a few cycles.
void rcu_quiescent(struct rcu *rcu, unsigned int id);

// Calls free_fn(ptr) once no reader can hold a reference taken before now; ptr must already be
// unpublished. Order is kept. Never blocks, unless memory for the note is short. control.
void rcu_retire(struct rcu *rcu, void (*free_fn)(void *), void *ptr);

// Runs what has become safe. Returns the number of items that still wait. control.
unsigned int rcu_poll(struct rcu *rcu);

// A pointer that workers read and control replaces: a plain dereference does not compile.
#define RCU_POINTER(type)                                                                          \
	struct {                                                                                   \
		type *rcu_ptr;                                                                     \
	}
// Acquire pairs with the release in rcu_set: what the pointer leads to is seen complete.
#define rcu_get(p) __atomic_load_n(&(p)->rcu_ptr, __ATOMIC_ACQUIRE)
#define rcu_set(p, v) __atomic_store_n(&(p)->rcu_ptr, (v), __ATOMIC_RELEASE)
