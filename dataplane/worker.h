// SPDX-License-Identifier: Apache-2.0
// Workers: pinned threads that receive from the queues they own, hand each batch to the switch,
// and send what comes out. Control decides which queues a worker owns by publishing a plan; the
// worker takes it up between two batches, when nothing of the old one is in its hands.
//
// A frame for a queue that another worker owns crosses by a single-producer ring. A queue that goes
// to another worker under load loses and reorders nothing: docs/vmq.md. A worker with nothing to do
// gives its core back: doorbells armed where every queue can ring, timed sleeps of at most a
// millisecond else.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/counter.h"
#include "base/err.h"
#include "base/rcu.h"
#include "dataplane/drop_log.h"
#include "dataplane/port.h"

#define WORKER_MAX 32
#define PORT_SLOTS 4096    // size of tables by port index, a power of two …
#define PORT_MAX 4094      // … of which the last two stay empty: there index numbers that mean
			   // "all" and "nobody" (vswitch/fdb.h) end up when masked
#define EGRESS_SLOTS 64    // frames that one egress holds before it is flushed

struct rte_ring;
struct worker;
struct worker_out;

// What one worker counted for one port, by counter_add. worker: w, control: r.
struct port_counters {
	uint64_t rx_packets, rx_bytes; // received from the device
	uint64_t tx_packets, tx_bytes; // taken by the device
	uint64_t created;              // copies and segments made for this port
	uint64_t consumed;             // received here and used up without being sent
	uint64_t handed;               // given to the worker that owns the queue
	uint64_t drops[DROP_N_DIRS][DROP_N_REASONS];
} CACHE_ALIGNED;

// Where frames for one queue of a port go.
struct egress_way {
	struct port_queue *queue; // this worker's own, or NULL …
	struct rte_ring *ring;    // … then the ring to the worker that owns it …
	struct worker *owner;     // … and that worker, to be woken
};

// One worker's way out to one port. Made by control, used by its worker alone.
struct egress {
	const struct port_dev *dev;     // NULL: the port is down
	struct egress_way way;          // of all frames, unless …
	const struct egress_way *ways;  // … the device selects: [dev->n_queues], else NULL
	struct port_counters *counters;
	struct egress *next_dirty;      // chain of those with frames in pkts[]
	uint16_t port;                  // index
	uint16_t n;                     // frames in pkts[]
	struct rte_mbuf *pkts[EGRESS_SLOTS];
};

// One queue to poll.
struct worker_queue {
	struct port_queue *queue;
	uint16_t port; // index
	int doorbell;  // descriptor, or -1
	uint32_t n_empty; // rounds in which others had frames, but not it. worker: w
};

// What a worker works on. Immutable but for what egress points to, and the order of the queues,
// which is the worker's: those polled in every round, then the cold ones (see receive_all).
struct worker_plan {
	struct egress *egress[PORT_SLOTS];
	// Plans of all workers that are published together have the same number, ≥ 1, and rise.
	uint64_t epoch;
	struct worker *const *workers; // all of them, by id; lives as long as they do
	uint16_t n_workers;
	// Whose queues among these have just become ours, or NULL: they are ours once all others
	// have settled this epoch.
	struct worker *giver;
	bool all_ring; // every queue has a doorbell
	uint16_t n_queues;
	uint16_t n_hot, next_cold; // worker: w
	struct worker_queue queues[];
};

// What stands above the data plane; `ctx` is one object per worker.
struct worker_ops {
	// Takes over pkts[n] (1 … PORT_BATCH) received on `port`; every frame leaves by
	// worker_output or worker_drop, or is counted as consumed. worker.
	void (*input)(void *ctx, struct worker_out *out, uint16_t port, struct rte_mbuf **pkts,
		      uint16_t n);
	// Housekeeping, called every loop and after each sleep; bounded. worker.
	void (*tick)(void *ctx, uint64_t now_tsc);
	// Frames that it keeps beyond a batch; NULL: none ever. Any thread.
	uint64_t (*held)(const void *ctx);
};

struct worker_cfg {
	unsigned int id;  // 0 … WORKER_MAX-1, also its RCU reader id
	int cpu;          // to be pinned to, or -1
	bool poll;        // never sleep
	struct rcu *rcu;
	const struct port_pools *pools;
	const struct worker_ops *ops;
	void *ctx;
};

// Load of a worker since its start, in TSC cycles. worker: w, control: r.
struct worker_load {
	uint64_t busy_cycles; // loops that moved frames
	uint64_t loops, sleeps;
};

// Starts a thread with an empty plan. Returns 0 or -errno with a sentence. control.
int worker_start(const struct worker_cfg *cfg, struct worker **out, struct err *err);

// Tells all to end, wakes them and waits for them; frees them. They must not be in use. control.
void worker_stop_all(struct worker **workers, unsigned int n);

// Gives the worker a new plan; the old one is retired. The plan belongs to the worker then. A plan
// with a giver, and the one after it, are published when all have settled the one before. control.
void worker_publish(struct worker *w, struct worker_plan *plan);

// The epoch of the newest plan that was published for it. control.
uint64_t worker_epoch(const struct worker *w);

// The newest epoch that all workers had taken up before this one's last loop: frames that were
// handed to it under older ones have left. Any thread.
uint64_t worker_settled(const struct worker *w);

// The ring by which `from` hands frames to `to`; made at the first call. NULL: no memory. From
// WORKER_MAX: control itself, whose frames count as created for their port (mbuf.port); with
// WORKER_INTO in mbuf.port they are taken as if that port had received them. control.
#define WORKER_INTO 0x8000u
struct rte_ring *worker_handover(struct worker *to, unsigned int from);

// Wakes it if it sleeps. Any thread.
void worker_wake(struct worker *w);

const struct worker_load *worker_load(const struct worker *w);
unsigned int worker_id(const struct worker *w);
int worker_cpu(const struct worker *w);

// Frames waiting in its hand-over rings and in the switch: "held" of the conservation law. control.
uint64_t worker_held(const struct worker *w);

// The frames that died in it. control.
const struct drop_log *worker_drop_log(const struct worker *w);

// What it counted for ports that were already gone. control.
const struct port_counters *worker_spare(const struct worker *w);

// --- for the switch, in the worker's own thread ------------------------------------------------

// The part of a worker that the pipeline works with; first member of struct worker.
struct worker_out {
	struct worker_plan *plan;       // of this loop
	struct egress *dirty;           // those to be flushed at the end of the batch
	const struct port_pools *pools; // for copies
	struct port_counters spare;     // counts for ports that are already gone
	struct drop_log log;
};

// Sends what e holds, or hands it to the worker that can; what cannot leave is counted.
void worker_flush(struct worker_out *out, struct egress *e);

// This worker's counters of a port; never NULL.
static inline struct port_counters *worker_counters(struct worker_out *out, uint16_t port)
{
	struct egress *e = out->plan->egress[port % PORT_SLOTS];

	return likely(e) ? e->counters : &out->spare;
}

// Counts and notes why m dies, and frees it.
void worker_drop_for(struct worker_out *out, const struct drop_cause *cause, struct rte_mbuf *m);

// The same where no rule did it: for `port` on side `dir`.
void worker_drop(struct worker_out *out, uint16_t port, enum drop_dir dir, enum drop reason,
		 struct rte_mbuf *m);

// Queues m for `port`; it leaves at the end of the batch at the latest.
static ALWAYS_INLINE void worker_output(struct worker_out *out, uint16_t port, struct rte_mbuf *m)
{
	struct egress *e = out->plan->egress[port % PORT_SLOTS];

	if (unlikely(!e)) {
		worker_drop(out, port, DROP_TX, DROP_DISCONNECTED, m);
		return;
	}
	// One branch for both: the first frame since the last flush, and a full list.
	if (unlikely(e->n % EGRESS_SLOTS == 0)) {
		if (e->n) {
			worker_flush(out, e); // stays in the chain
		} else if (unlikely(!e->dev)) {
			worker_drop(out, port, DROP_TX, DROP_DISCONNECTED, m);
			return;
		} else {
			e->next_dirty = out->dirty;
			out->dirty = e;
		}
	}
	e->pkts[e->n++] = m;
}
