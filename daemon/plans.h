// SPDX-License-Identifier: Apache-2.0
// Who polls what: from the open devices to one plan per worker. Called by devices.c. control.
#pragma once

#include "dataplane/worker.h"

// An open device as the plans see it.
struct plan_port {
	uint16_t port;                    // index
	const struct port_dev *dev;       // NULL: down; frames for it are counted
	uint8_t owner[PORT_MAX_QUEUES];   // worker of each queue
	struct port_counters *counters;   // [n_workers]
};

// Chooses owners for the queues of `p`: the workers that own the fewest queues in ports[n], the
// first of them where several do. Existing owners stay where they are.
void plan_place(struct plan_port *p, struct plan_port *const *ports, unsigned int n,
		unsigned int n_workers);

// Publishes a plan to every worker. Workers take it up at different moments: a queue that changes
// its owner must be left out of one plan for a grace period. 0 or -ENOMEM: then some have the new
// one and none is broken, call again.
int plan_publish(struct worker **workers, unsigned int n_workers, struct plan_port *const *ports,
		 unsigned int n);
