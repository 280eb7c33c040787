// SPDX-License-Identifier: Apache-2.0
#include "base/rcu.h"

#include <stdlib.h>

#include <rte_rcu_qsbr.h>

// Something to be freed when `token` has passed.
struct retired {
	struct retired *next;
	uint64_t token;
	void (*free_fn)(void *);
	void *ptr;
};

struct rcu {
	struct rte_rcu_qsbr *qsbr;
	struct retired *head, **tail; // oldest first
	unsigned int n_waiting;
};

struct rcu *rcu_create(void)
{
	struct rcu *rcu = calloc(1, sizeof(*rcu));
	size_t size = rte_rcu_qsbr_get_memsize(RCU_MAX_READERS);

	if (!rcu)
		return NULL;
	rcu->qsbr = aligned_alloc(64, (size + 63) & ~(size_t)63);
	if (!rcu->qsbr || rte_rcu_qsbr_init(rcu->qsbr, RCU_MAX_READERS)) {
		free(rcu->qsbr);
		free(rcu);
		return NULL;
	}
	// Registered for good: an offline reader costs a check nothing.
	for (unsigned int id = 0; id < RCU_MAX_READERS; id++)
		rte_rcu_qsbr_thread_register(rcu->qsbr, id);
	rcu->tail = &rcu->head;
	return rcu;
}

static void free_oldest(struct rcu *rcu)
{
	struct retired *r = rcu->head;

	rcu->head = r->next;
	if (!rcu->head)
		rcu->tail = &rcu->head;
	rcu->n_waiting--;
	r->free_fn(r->ptr);
	free(r);
}

void rcu_destroy(struct rcu *rcu)
{
	if (!rcu)
		return;
	while (rcu->head)
		free_oldest(rcu);
	free(rcu->qsbr);
	free(rcu);
}

void rcu_reader_online(struct rcu *rcu, unsigned int id)
{
	rte_rcu_qsbr_thread_online(rcu->qsbr, id);
}

void rcu_reader_offline(struct rcu *rcu, unsigned int id)
{
	rte_rcu_qsbr_thread_offline(rcu->qsbr, id);
}

void rcu_quiescent(struct rcu *rcu, unsigned int id)
{
	rte_rcu_qsbr_quiescent(rcu->qsbr, id);
}

void rcu_retire(struct rcu *rcu, void (*free_fn)(void *), void *ptr)
{
	struct retired *r;

	if (!ptr)
		return;
	r = malloc(sizeof(*r));
	if (!r) {
		rte_rcu_qsbr_synchronize(rcu->qsbr, RTE_QSBR_THRID_INVALID);
		free_fn(ptr);
		return;
	}
	*r = (struct retired){ .token = rte_rcu_qsbr_start(rcu->qsbr),
			       .free_fn = free_fn, .ptr = ptr };
	*rcu->tail = r;
	rcu->tail = &r->next;
	rcu->n_waiting++;
}

unsigned int rcu_poll(struct rcu *rcu)
{
	while (rcu->head && rte_rcu_qsbr_check(rcu->qsbr, rcu->head->token, false) == 1)
		free_oldest(rcu);
	return rcu->n_waiting;
}
