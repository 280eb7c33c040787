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
static int make_way(struct egress_way *way, struct worker **workers, unsigned int worker,
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

// How `worker` reaches the port: by a queue of its own, else by the owner of one.
static int make_egress(struct egress *e, struct worker **workers, unsigned int worker,
		       const struct plan_port *p)
{
	uint16_t pick;

	e->dev = p->dev;
	e->port = p->port;
	e->counters = &p->counters[worker];
	if (!p->dev)
		return 0;
	// Workers without a queue spread over those that have one.
	pick = (uint16_t)(worker % p->dev->n_queues);
	for (uint16_t q = 0; q < p->dev->n_queues; q++) {
		if (p->owner[q] == worker) {
			pick = q;
			break;
		}
	}
	return make_way(&e->way, workers, worker, p, pick);
}

// Where a device selects: its ways to all queues, in ways[dev->n_queues].
static int make_ways(struct egress *e, struct egress_way *ways, struct worker **workers,
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
static struct worker_plan *make_plan(struct worker **workers, unsigned int worker,
				     struct plan_port *const *ports, unsigned int n)
{
	size_t head = sizeof(struct worker_plan) +
		      count_queues(worker, ports, n) * sizeof(struct worker_queue);
	size_t n_ways = 0;
	struct worker_plan *plan;
	struct egress *egress;
	struct egress_way *way;
	int ret = 0;

	for (unsigned int i = 0; i < n; i++)
		n_ways += selects(ports[i]) ? ports[i]->dev->n_queues : 0;
	head = (head + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	plan = calloc(1, head + n * sizeof(*egress) + n_ways * sizeof(*way));
	if (!plan)
		return NULL;
	egress = (struct egress *)((char *)plan + head);
	way = (struct egress_way *)(egress + n);
	for (unsigned int i = 0; i < n && !ret; i++) {
		if (ports[i]->dev)
			add_queues(plan, worker, ports[i]);
		plan->egress[ports[i]->port] = &egress[i];
		ret = make_egress(&egress[i], workers, worker, ports[i]);
		if (!ret && selects(ports[i])) {
			ret = make_ways(&egress[i], way, workers, worker, ports[i]);
			way += ports[i]->dev->n_queues;
		}
	}
	if (ret) {
		free(plan);
		return NULL;
	}
	return plan;
}

int plan_publish(struct worker **workers, unsigned int n_workers, struct plan_port *const *ports,
		 unsigned int n)
{
	for (unsigned int w = 0; w < n_workers; w++) {
		struct worker_plan *plan = make_plan(workers, w, ports, n);

		if (!plan)
			return -ENOMEM;
		worker_publish(workers[w], plan);
	}
	return 0;
}
