// SPDX-License-Identifier: Apache-2.0
// Workers as control sees them: begun, given plans and rings, ended.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "dataplane/worker_parts.h"

#define HANDOVER_SLOTS 2048 // frames in one worker-to-worker ring

static void free_worker(struct worker *w)
{
	for (unsigned int i = 0; i <= WORKER_MAX; i++) {
		struct rte_mbuf *m;

		while (w->handover[i] && rte_ring_sc_dequeue(w->handover[i], (void **)&m) == 0)
			rte_pktmbuf_free(m);
		free(w->handover[i]);
	}
	pthread_barrier_destroy(&w->started);
	idle_fini(&w->idle);
	free(w->next_plan.rcu_ptr);
	free(w);
}

int worker_start(const struct worker_cfg *cfg, struct worker **out, struct err *err)
{
	struct worker *w = aligned_alloc(CACHE_LINE, RTE_ALIGN_CEIL(sizeof(*w), CACHE_LINE));
	int ret;

	if (!w)
		return err_set(err, ENOMEM, "no memory for worker %u", cfg->id);
	memset(w, 0, sizeof(*w));
	pthread_barrier_init(&w->started, NULL, 2);
	w->cfg = *cfg;
	w->out.pools = cfg->pools;
	w->next_plan.rcu_ptr = calloc(1, sizeof(struct worker_plan));
	ret = idle_init(&w->idle, cfg->poll);
	if (ret || !w->next_plan.rcu_ptr) {
		free_worker(w);
		return err_set(err, ret ? -ret : ENOMEM, "cannot prepare worker %u", cfg->id);
	}
	w->next_plan.rcu_ptr->epoch = 1;
	w->next_plan.rcu_ptr->all_ring = true;
	ret = -pthread_create(&w->thread, NULL, worker_main, w);
	if (!ret) {
		pthread_barrier_wait(&w->started);
		ret = -w->start_error;
		if (ret)
			pthread_join(w->thread, NULL);
	}
	if (ret) {
		free_worker(w);
		return err_set(err, -ret, "cannot start worker %u on CPU %d: %s", cfg->id, cfg->cpu,
			       strerror(-ret));
	}
	*out = w;
	return 0;
}

void worker_stop_all(struct worker **workers, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		__atomic_store_n(&workers[i]->stop, true, __ATOMIC_SEQ_CST);
		worker_wake(workers[i]);
	}
	for (unsigned int i = 0; i < n; i++)
		pthread_join(workers[i]->thread, NULL);
	for (unsigned int i = 0; i < n; i++)
		free_worker(workers[i]);
}

void worker_publish(struct worker *w, struct worker_plan *plan)
{
	struct worker_plan *old = w->next_plan.rcu_ptr;

	plan->all_ring = true;
	plan->n_hot = plan->n_queues;
	for (uint16_t i = 0; i < plan->n_queues; i++)
		plan->all_ring &= plan->queues[i].doorbell >= 0;
	rcu_set(&w->next_plan, plan);
	rcu_retire(w->cfg.rcu, free, old);
	worker_wake(w);
}

struct rte_ring *worker_handover(struct worker *to, unsigned int from)
{
	struct rte_ring *r = to->handover[from];
	char name[16];

	if (r)
		return r;
	r = aligned_alloc(CACHE_LINE, RTE_ALIGN_CEIL((size_t)rte_ring_get_memsize(HANDOVER_SLOTS),
						     CACHE_LINE));
	if (!r)
		return NULL;
	snprintf(name, sizeof(name), "from%u", from);
	if (rte_ring_init(r, name, HANDOVER_SLOTS, RING_F_SP_ENQ | RING_F_SC_DEQ)) {
		free(r);
		return NULL;
	}
	// Release: the worker may poll the ring from now on.
	__atomic_store_n(&to->handover[from], r, __ATOMIC_RELEASE);
	return r;
}
