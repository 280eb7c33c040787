// SPDX-License-Identifier: Apache-2.0
// Who polls what: from the open devices to one plan per worker. Called by devices.c. control.
#pragma once

#include "dataplane/worker.h"

// An open device as the plans see it.
struct plan_port {
	uint16_t port;                    // index
	const struct port_dev *dev;       // NULL: down; frames for it are counted
	uint8_t owner[PORT_MAX_QUEUES];   // worker of each queue
	uint8_t way[WORKER_MAX];          // queue by which each worker sends: kept when that moves
	struct port_counters *counters;   // [n_workers]
};

// Chooses owners for the queues of `p`: the workers that own the fewest queues in ports[n], the
// first of them where several do. Existing owners stay where they are.
void plan_place(struct plan_port *p, struct plan_port *const *ports, unsigned int n,
		unsigned int n_workers);

// Queues that go from one worker to another under load. A queue that changes its owner in any other
// way must be left out of one plan for a grace period.
struct plan_move {
	uint8_t from, to;
};

struct plan_set {
	struct worker *const *workers; // [n_workers], by id; lives as long as they do
	unsigned int n_workers;
	struct plan_port *const *ports; // [n]
	unsigned int n;
	const struct plan_move *move; // who gives and who takes since the last plans, or NULL
};

// Publishes a plan to every worker. With a move, and once after one: only if plan_settled. 0 or
// -ENOMEM: then all keep what they have.
int plan_publish(const struct plan_set *set);

// Does every worker work by the last plans, with all that was under way under older ones gone?
bool plan_settled(struct worker *const *workers, unsigned int n_workers);
