// SPDX-License-Identifier: Apache-2.0
#include "daemon/plans.h"

#include <errno.h>
#include <stdlib.h>

void plan_place(struct plan_port *p, struct plan_port *const *ports, unsigned int n,
		unsigned int n_workers)
{
	unsigned int load[WORKER_MAX] = { 0 };

	for (unsigned int i = 0; i < n; i++)
		for (uint16_t q = 0; ports[i] != p && ports[i]->dev && q < ports[i]->dev->n_queues;
		     q++)
			load[ports[i]->owner[q]]++;
	for (uint16_t q = 0; q < p->dev->n_queues; q++) {
		unsigned int best = 0;

		for (unsigned int w = 1; w < n_workers; w++)
			if (load[w] < load[best])
				best = w;
		p->owner[q] = (uint8_t)best;
		load[best]++;
	}
	// Workers without a queue spread over those that have one.
	for (unsigned int w = 0; w < WORKER_MAX; w++)
		p->way[w] = (uint8_t)(w % p->dev->n_queues);
}

static uint16_t count_queues(unsigned int worker, struct plan_port *const *ports, unsigned int n)
{
	uint16_t count = 0;

	for (unsigned int i = 0; i < n; i++)
		for (uint16_t q = 0; ports[i]->dev && q < ports[i]->dev->n_queues; q++)
			count += ports[i]->owner[q] == worker;
	return count;
}

static void add_queues(struct worker_plan *plan, unsigned int worker, const struct plan_port *p)
{
	for (uint16_t q = 0; q < p->dev->n_queues; q++)
		if (p->owner[q] == worker)
			plan->queues[plan->n_queues++] = (struct worker_queue){
				.queue = p->dev->queues[q],
				.port = p->port,
				.doorbell = p->dev->ops->doorbell(p->dev->queues[q])
			};
}

// How `worker` reaches queue q of the port.
static int make_way(struct egress_way *way, struct worker *const *workers, unsigned int worker,
		    const struct plan_port *p, uint16_t q)
{
	if (p->owner[q] == worker) {
		way->queue = p->dev->queues[q];
		return 0;
	}
	way->owner = workers[p->owner[q]];
	way->ring = worker_handover(way->owner, worker);
	return way->ring ? 0 : -ENOMEM;
}

// How `worker` reaches the port: by a queue of its own, else by the owner of one: of the last that
// was its own, so that what it is handed late goes the way of what it is not handed any more.
static int make_egress(struct egress *e, struct worker *const *workers, unsigned int worker,
		       struct plan_port *p)
{
	e->dev = p->dev;
	e->port = p->port;
	e->counters = &p->counters[worker];
	if (!p->dev)
		return 0;
	for (uint16_t q = 0; q < p->dev->n_queues; q++) {
		if (p->owner[q] == worker) {
			p->way[worker] = (uint8_t)q;
			break;
		}
	}
	return make_way(&e->way, workers, worker, p, p->way[worker]);
}

// Where a device selects: its ways to all queues, in ways[dev->n_queues].
static int make_ways(struct egress *e, struct egress_way *ways, struct worker *const *workers,
		     unsigned int worker, const struct plan_port *p)
{
	int ret = 0;

	for (uint16_t q = 0; q < p->dev->n_queues && !ret; q++)
		ret = make_way(&ways[q], workers, worker, p, q);
	e->ways = ways;
	return ret;
}

static bool selects(const struct plan_port *p)
{
	return p->dev && p->dev->ops->select && p->dev->n_queues > 1;
}

// Plan, queue list, egresses and ways are one allocation, retired as one.
static struct worker_plan *make_plan(const struct plan_set *set, unsigned int worker)
{
	size_t head = sizeof(struct worker_plan) +
		      count_queues(worker, set->ports, set->n) * sizeof(struct worker_queue);
	size_t n_ways = 0;
	struct worker_plan *plan;
	struct egress *egress;
	struct egress_way *way;
	int ret = 0;

	for (unsigned int i = 0; i < set->n; i++)
		n_ways += selects(set->ports[i]) ? set->ports[i]->dev->n_queues : 0;
	head = (head + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	plan = calloc(1, head + set->n * sizeof(*egress) + n_ways * sizeof(*way));
	if (!plan)
		return NULL;
	egress = (struct egress *)((char *)plan + head);
	way = (struct egress_way *)(egress + set->n);
	for (unsigned int i = 0; i < set->n && !ret; i++) {
		struct plan_port *p = set->ports[i];

		if (p->dev)
			add_queues(plan, worker, p);
		plan->egress[p->port] = &egress[i];
		ret = make_egress(&egress[i], set->workers, worker, p);
		if (!ret && selects(p)) {
			ret = make_ways(&egress[i], way, set->workers, worker, p);
			way += p->dev->n_queues;
		}
	}
	if (ret) {
		free(plan);
		return NULL;
	}
	plan->workers = set->workers;
	plan->n_workers = (uint16_t)set->n_workers;
	return plan;
}

// The ring by which late frames are passed on, and who waits for them.
static int add_giver(const struct plan_set *set, struct worker_plan **plans)
{
	if (!set->move)
		return 0;
	plans[set->move->to]->giver = set->workers[set->move->from];
	return worker_handover(set->workers[set->move->to], set->move->from) ? 0 : -ENOMEM;
}

int plan_publish(const struct plan_set *set)
{
	struct worker_plan *plans[WORKER_MAX] = { NULL };
	uint64_t epoch = worker_epoch(set->workers[0]) + 1;
	unsigned int n = 0;
	int ret = 0;

	for (; n < set->n_workers && !ret; n++) {
		plans[n] = make_plan(set, n);
		ret = plans[n] ? 0 : -ENOMEM;
	}
	if (!ret)
		ret = add_giver(set, plans);
	for (unsigned int w = 0; w < n; w++) {
		if (ret) {
			free(plans[w]);
			continue;
		}
		plans[w]->epoch = epoch;
		worker_publish(set->workers[w], plans[w]);
	}
	return ret;
}

bool plan_settled(struct worker *const *workers, unsigned int n_workers)
{
	for (unsigned int w = 0; w < n_workers; w++)
		if (worker_settled(workers[w]) < worker_epoch(workers[w]))
			return false;
	return true;
}
