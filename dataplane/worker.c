// SPDX-License-Identifier: Apache-2.0
#include "dataplane/worker.h"

#include <stdio.h>
#include <sys/prctl.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "dataplane/transmit.h"
#include "dataplane/worker_parts.h"

#define COLD_AFTER 1024     // busy rounds without a frame: polled in every round no more …
#define COLD_SHARE 32       // … but in a 32nd of the time
#define COLD_SAVED 4096     // TSC cycles of it, at most, are saved up, or owed

const struct worker_load *worker_load(const struct worker *w) { return &w->load; }
unsigned int worker_id(const struct worker *w) { return w->cfg.id; }
int worker_cpu(const struct worker *w) { return w->cfg.cpu; }
const struct drop_log *worker_drop_log(const struct worker *w) { return &w->out.log; }
const struct port_counters *worker_spare(const struct worker *w) { return &w->out.spare; }
void worker_wake(struct worker *w) { idle_wake(&w->idle); }
uint64_t worker_epoch(const struct worker *w) { return w->next_plan.rcu_ptr->epoch; }

uint64_t worker_settled(const struct worker *w)
{
	// Acquire: with the epoch comes what the worker put into rings before.
	return __atomic_load_n(&w->settled, __ATOMIC_ACQUIRE);
}

static struct worker *worker_of(const struct worker_out *out)
{
	return container_of(out, struct worker, out);
}

void worker_drop_for(struct worker_out *out, const struct drop_cause *cause, struct rte_mbuf *m)
{
	counter_add(&worker_counters(out, cause->port)->drops[cause->dir][cause->reason], 1);
	drop_log_add(&out->log, cause, m->pkt_len, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	rte_pktmbuf_free(m);
}

void worker_drop(struct worker_out *out, uint16_t port, enum drop_dir dir, enum drop reason,
		 struct rte_mbuf *m)
{
	const struct drop_cause cause = { port, (uint8_t)dir, (uint8_t)reason, 0 };

	worker_drop_for(out, &cause, m);
}

// --- the way out -------------------------------------------------------------------------------

// Frames that go the same way.
struct burst {
	struct rte_mbuf **pkts;
	uint16_t n;
	uint64_t bytes; // of all of them, once they are finished
};

// Those from `first` on cannot leave.
static void refuse(struct worker *w, struct egress *e, enum drop reason, const struct burst *b,
		   uint16_t first)
{
	for (uint16_t i = first; i < b->n; i++)
		worker_drop(&w->out, e->port, DROP_TX, reason, b->pkts[i]);
}

// Gives finished frames of `bytes` together to the device.
static void send_burst(struct worker *w, struct egress *e, struct port_queue *queue,
		       const struct burst *b)
{
	uint64_t bytes = b->bytes;
	uint16_t sent = e->dev->ops->tx(queue, b->pkts, b->n);

	if (unlikely(sent < b->n)) {
		for (uint16_t i = sent; i < b->n; i++)
			bytes -= b->pkts[i]->pkt_len;
		refuse(w, e, queue->refusal ? queue->refusal : DROP_TX_FULL, b, sent);
	}
	counter_add(&e->counters->tx_packets, sent);
	counter_add(&e->counters->tx_bytes, bytes);
}

// Frames of which some need the transmit stage's work.
static void send_unready(struct worker *w, struct egress *e, struct port_queue *queue,
			 const struct burst *b)
{
	struct transmit_result result = { 0 };
	struct rte_mbuf *ready[TRANSMIT_MAX_SEGMENTS];
	uint16_t done = 0;

	while (done < b->n) {
		uint16_t step = 0;
		uint16_t n = transmit_finish(e->dev, w->out.pools, b->pkts + done, b->n - done,
					     &step, ready, ARRAY_SIZE(ready), &result);

		done += step;
		for (uint16_t i = 0; i < n; i += PORT_BATCH) {
			struct burst part = { ready + i, RTE_MIN(n - i, PORT_BATCH), 0 };

			for (uint16_t j = 0; j < part.n; j++)
				part.bytes += part.pkts[j]->pkt_len;
			send_burst(w, e, queue, &part);
		}
	}
	counter_add(&e->counters->created, result.created);
	for (int r = 0; r < DROP_N_REASONS; r++)
		counter_add(&e->counters->drops[DROP_TX][r], result.drops[r]);
}

static void hand_over(struct worker *w, struct egress *e, const struct egress_way *way,
		      const struct burst *b)
{
	unsigned int n;

	for (uint16_t i = 0; i < b->n; i++)
		b->pkts[i]->port = e->port;
	n = rte_ring_sp_enqueue_burst(way->ring, (void **)b->pkts, b->n, NULL);
	counter_add(&e->counters->handed, n);
	if (unlikely(n < b->n))
		refuse(w, e, DROP_HANDOVER_FULL, b, (uint16_t)n);
	worker_wake(way->owner);
}

static void send_by(struct worker *w, struct egress *e, const struct egress_way *way,
		    struct burst *b)
{
	if (unlikely(!way->queue))
		hand_over(w, e, way, b);
	else if (likely(transmit_is_ready(e->dev, b->pkts, b->n, &b->bytes)))
		send_burst(w, e, way->queue, b);
	else
		send_unready(w, e, way->queue, b);
}

// The device says which queue each frame takes; frames of one queue keep their order.
static void send_selected(struct worker *w, struct egress *e)
{
	uint16_t queues[EGRESS_SLOTS], left = e->n;
	struct rte_mbuf *pkts[EGRESS_SLOTS];

	e->dev->ops->select(e->dev, e->pkts, e->n, queues);
	while (left) {
		struct burst b = { pkts, 0, 0 };
		uint16_t q = queues[0], rest = 0;

		for (uint16_t i = 0; i < left; i++) {
			if (queues[i] == q) {
				pkts[b.n++] = e->pkts[i];
			} else {
				queues[rest] = queues[i];
				e->pkts[rest++] = e->pkts[i];
			}
		}
		left = rest;
		send_by(w, e, &e->ways[q], &b);
	}
}

void worker_flush(struct worker_out *out, struct egress *e)
{
	struct burst b = { e->pkts, e->n, 0 };

	if (unlikely(e->ways))
		send_selected(worker_of(out), e);
	else
		send_by(worker_of(out), e, &e->way, &b);
	e->n = 0;
}

static void flush_all(struct worker_out *out)
{
	struct egress *e = out->dirty;

	out->dirty = NULL;
	for (; e; e = e->next_dirty)
		worker_flush(out, e);
}

// --- the loop ----------------------------------------------------------------------------------

static uint16_t receive(struct worker *w, const struct worker_queue *wq)
{
	struct rte_mbuf *pkts[PORT_BATCH];
	uint16_t n = wq->queue->dev->ops->rx(wq->queue, pkts, PORT_BATCH);

	if (n) {
		w->cfg.ops->input(w->cfg.ctx, &w->out, wq->port, pkts, n);
		flush_all(&w->out);
	}
	return n;
}

// A queue changes places with the one at `to`.
static void queue_move(struct worker_plan *plan, uint16_t from, uint16_t to)
{
	struct worker_queue wq = plan->queues[from];

	plan->queues[from] = plan->queues[to];
	plan->queues[to] = wq;
}

// Queues that stay empty while others are busy grow cold: hundreds of silent ports share a 32nd of
// the time that busy ones take. After a sleep all are looked at again.
static unsigned int receive_hot(struct worker *w)
{
	struct worker_plan *plan = w->out.plan;
	unsigned int work = 0;

	for (uint16_t i = 0; i < plan->n_hot; i++) {
		unsigned int n = receive(w, &plan->queues[i]);

		plan->queues[i].n_empty = n ? 0 : plan->queues[i].n_empty + (work > 0);
		if (unlikely(plan->queues[i].n_empty >= COLD_AFTER))
			queue_move(plan, i--, --plan->n_hot);
		work += n;
	}
	return work;
}

// One after the other, one at least in a round without work.
static unsigned int receive_cold(struct worker *w, bool busy)
{
	struct worker_plan *plan = w->out.plan;
	unsigned int work = 0, looks = plan->n_queues - plan->n_hot;
	uint64_t now = rte_rdtsc();

	w->cold_cycles += (int64_t)(now - w->cold_tsc) / COLD_SHARE;
	if (!busy || w->cold_cycles > COLD_SAVED)
		w->cold_cycles = COLD_SAVED;
	for (; looks && w->cold_cycles > 0; looks--) {
		unsigned int n_cold = plan->n_queues - plan->n_hot;
		uint16_t at = (uint16_t)(plan->n_hot + plan->next_cold++ % n_cold);
		unsigned int n = receive(w, &plan->queues[at]);
		uint64_t then = now;

		if (n) {
			work += n;
			plan->queues[at].n_empty = 0;
			queue_move(plan, at, plan->n_hot++);
		}
		now = rte_rdtsc();
		w->cold_cycles -= (int64_t)(now - then);
	}
	// A look during which something else had the CPU is not paid for.
	w->cold_cycles = RTE_MAX(w->cold_cycles, -(int64_t)COLD_SAVED);
	w->cold_tsc = now;
	return work;
}

static unsigned int receive_all(struct worker *w)
{
	unsigned int work = receive_hot(w);

	if (unlikely(w->out.plan->n_hot < w->out.plan->n_queues))
		work += receive_cold(w, work > 0);
	return work;
}

static void take_handed(struct worker *w, unsigned int from, struct rte_mbuf **pkts, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint16_t port = pkts[i]->port & (uint16_t)~WORKER_INTO;
		struct egress *e = w->out.plan->egress[port % PORT_SLOTS];

		if (unlikely(pkts[i]->port & WORKER_INTO)) {
			pkts[i]->port = port;
			w->cfg.ops->input(w->cfg.ctx, &w->out, port, &pkts[i], 1);
			continue;
		}
		if (from == WORKER_MAX)
			counter_add(&worker_counters(&w->out, port)->created, 1);
		if (likely(e && e->dev))
			worker_output(&w->out, port, pkts[i]);
		else
			worker_drop(&w->out, port, DROP_TX, DROP_SHUTDOWN, pkts[i]);
	}
}

static uint64_t taken_by(const struct worker *w, unsigned int id)
{
	const struct worker_plan *plan = w->out.plan;

	// A writer that our plan does not know has a newer one. Acquire: with the epoch comes what
	// its worker did before.
	return id < plan->n_workers ? __atomic_load_n(&plan->workers[id]->taken, __ATOMIC_ACQUIRE)
				    : UINT64_MAX;
}

// What worker `from` (WORKER_MAX: control) left for queues of ours, up to now; nothing if it wrote
// under a newer plan than ours: then *ahead is set. Frames are in their egress lists afterwards.
static unsigned int drain_from(struct worker *w, unsigned int from, bool *ahead)
{
	// Acquire: the ring's content was written before it was released to us.
	struct rte_ring *r = __atomic_load_n(&w->handover[from], __ATOMIC_ACQUIRE);
	unsigned int left = r ? rte_ring_count(r) : 0, total = left;
	struct rte_mbuf *pkts[PORT_BATCH];

	if (!left)
		return 0;
	// Frames counted above were written before `taken` is read: an old epoch holds for them.
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (from != WORKER_MAX && unlikely(taken_by(w, from) > w->out.plan->epoch)) {
		*ahead = true;
		return 0;
	}
	while (left) {
		unsigned int n = rte_ring_sc_dequeue_burst(
			r, (void **)pkts, RTE_MIN(left, (unsigned int)PORT_BATCH), NULL);

		take_handed(w, from, pkts, n);
		left -= n;
	}
	return total;
}

// Frames that other workers left for queues of ours, up to now: a frame lies in a ring for one
// loop at most, or until we have the plan under which it was written.
static unsigned int drain_handover(struct worker *w, bool *ahead)
{
	unsigned int total = 0;

	for (unsigned int from = 0; from <= WORKER_MAX; from++)
		total += drain_from(w, from, ahead);
	if (total)
		flush_all(&w->out);
	return total;
}

// Frames that the first n_from of those who hand over have left for us.
static unsigned int handed(const struct worker *w, unsigned int n_from)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < n_from; i++) {
		struct rte_ring *r = __atomic_load_n(&w->handover[i], __ATOMIC_ACQUIRE);

		n += r ? rte_ring_count(r) : 0;
	}
	return n;
}

// What whoever rings the bell leaves behind: frames, a new plan, the order to stop.
static bool has_work(void *arg)
{
	const struct worker *w = arg;

	return handed(w, WORKER_MAX + 1) > 0 || rcu_get(&w->next_plan) != w->out.plan ||
	       __atomic_load_n(&w->stop, __ATOMIC_RELAXED);
}

// --- plans that change -------------------------------------------------------------------------

// The epoch that every worker has taken up.
static uint64_t taken_by_all(const struct worker *w)
{
	uint64_t oldest = w->out.plan->epoch;

	for (unsigned int i = 0; i < w->out.plan->n_workers; i++)
		oldest = RTE_MIN(oldest, taken_by(w, i));
	return oldest;
}

static bool others_have_settled(const struct worker *w)
{
	const struct worker_plan *plan = w->out.plan;

	for (unsigned int i = 0; i < plan->n_workers; i++)
		if (plan->workers[i] != w && worker_settled(plan->workers[i]) < plan->epoch)
			return false;
	return true;
}

// Queues of `giver` become ours. Until nobody has frames for them under way by the old path,
// frames by the new one wait in their rings; nor is anything received, for it might be for them.
// Ends as soon as each of the others has been round its loop: none of them waits for us.
static void take_over(struct worker *w, const struct worker *giver)
{
	unsigned int rounds = 0;
	bool settled = false, ahead = false;

	while (!settled && !__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		// Looked at first: what the giver passed on before it settled is drained after.
		settled = others_have_settled(w);
		if (drain_from(w, giver->cfg.id, &ahead))
			flush_all(&w->out);
		if (!settled)
			idle_await(&rounds);
	}
}

// A new plan: nothing of the old one is in our hands.
static void take_up(struct worker *w)
{
	// Release: all that was done under the old plan comes before.
	__atomic_store_n(&w->taken, w->out.plan->epoch, __ATOMIC_RELEASE);
	if (!w->out.plan->giver)
		return;
	take_over(w, w->out.plan->giver);
	w->idle.armed = true; // as whoever slept on them last may have left them
}

static void loop(struct worker *w)
{
	const struct worker_cfg *cfg = &w->cfg;
	unsigned int rounds = 0;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		uint64_t start = rte_rdtsc();
		bool ahead = false;
		unsigned int work;
		uint64_t common;

		// Before the plan is read, not after its last use: it lives until we are offline.
		rcu_quiescent(cfg->rcu, cfg->id);
		w->out.log.budget = DROP_LOG_PER_LOOP;
		w->out.plan = rcu_get(&w->next_plan);
		if (unlikely(w->out.plan->epoch != w->taken))
			take_up(w);
		common = likely(w->settled == w->taken) ? w->settled : taken_by_all(w);
		if (unlikely(w->idle.armed)) {
			idle_disarm(&w->idle, w->out.plan);
			w->out.plan->n_hot = w->out.plan->n_queues;
		}
		work = receive_all(w) + drain_handover(w, &ahead);
		// Release: with the epoch comes what went into rings.
		if (unlikely(w->settled != common && !ahead))
			__atomic_store_n(&w->settled, common, __ATOMIC_RELEASE);
		cfg->ops->tick(cfg->ctx, start);
		counter_add(&w->load.loops, 1);
		rounds = work || likely(w->settled == w->taken) ? 0 : rounds;
		if (work) {
			idle_worked(&w->idle);
			counter_add(&w->load.busy_cycles, rte_rdtsc() - start);
		} else if (unlikely(w->settled != w->taken)) {
			idle_await(&rounds);
		} else if (idle_rest(&w->idle, w->out.plan, cfg->rcu, cfg->id, has_work, w)) {
			counter_add(&w->load.sleeps, 1);
		}
	}
}

void *worker_main(void *arg)
{
	struct worker *w = arg;
	char name[16];

	snprintf(name, sizeof(name), "weft-worker%u", w->cfg.id);
	pthread_setname_np(pthread_self(), name);
	prctl(PR_SET_TIMERSLACK, 1000); // ns: short sleeps must be short
	if (w->cfg.cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(w->cfg.cpu, &set);
		w->start_error = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	}
	// An lcore id of our own, for the mempools' caches.
	if (!w->start_error && rte_thread_register() < 0)
		w->start_error = rte_errno;
	pthread_barrier_wait(&w->started);
	if (w->start_error)
		return NULL;
	rcu_reader_online(w->cfg.rcu, w->cfg.id);
	loop(w);
	rcu_reader_offline(w->cfg.rcu, w->cfg.id);
	rte_thread_unregister();
	return NULL;
}

uint64_t worker_held(const struct worker *w)
{
	// Control's do not exist for the law before a worker has counted them.
	return handed(w, WORKER_MAX) + (w->cfg.ops->held ? w->cfg.ops->held(w->cfg.ctx) : 0);
}
