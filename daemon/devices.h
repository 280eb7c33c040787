// SPDX-License-Identifier: Apache-2.0
// The devices behind ports, and which worker owns which of their queues.
//
// Follows the configuration after it is published: opens and closes on the helper thread, tries
// again what failed, hands queues to workers, and keeps every port's counters. A device that is
// missing makes its port "down" with the reason; nothing else suffers. control.
#pragma once

#include "control/control.h"
#include "daemon/wishes.h"
#include "dataplane/worker.h"

struct devices;

struct devices_cfg {
	struct loop *loop;
	struct helper *helper;
	struct rcu *rcu;
	const struct port_pools *pools;
	struct worker **workers; // [n_workers], running
	unsigned int n_workers;
	const char *socket; // the control socket's path
	// A port's device came ("up") or went ("down"); detail as control_event takes it.
	void (*event)(void *arg, const char *port, const char *what, json_t *detail);
	void *arg;
};

int devices_create(const struct devices_cfg *cfg, struct devices **out, struct err *err);

// Begins to close every device; the loop must run on until devices_busy says no.
void devices_close_all(struct devices *d);
bool devices_busy(const struct devices *d);

void devices_destroy(struct devices *d); // workers have stopped

// Which port indices a device still has whose port is gone: it must close before they mean another.
void devices_resting(const struct devices *d, bool resting[PORT_MAX]);

// Can all ports of `to` get what they need? Reserves it. 0, or -errno with a sentence; then
// devices_publish or devices_abort.
int devices_prepare(struct devices *d, const struct model *to, const struct numbers *numbers,
		    struct err *err);
void devices_abort(struct devices *d);

// Makes devices follow the model that devices_prepare saw.
void devices_publish(struct devices *d);

// A frame of control's own.
struct devices_frame {
	uint16_t port; // index
	const uint8_t *bytes;
	uint32_t n_bytes; // padded as Ethernet wants it
};

// Sends it out of its port, for which it counts as created; or lets the switch have it as if the
// port had received it, and so it counts. Lost if the port is down, its worker does not keep up, or
// there is no buffer for its size.
void devices_send(struct devices *d, const struct devices_frame *f);
void devices_receive(struct devices *d, const struct devices_frame *f);

// Adds "link", "device" and "workers" of a port to `out`.
void devices_status(const struct devices *d, const char *port, json_t *out);

// Sum over workers. False: no such port.
bool devices_counters(const struct devices *d, const char *port, struct port_counters *sum,
		      struct port_dev_stats *stats);

// The conservation law over everything since the start, closed ports included.
struct conservation {
	uint64_t received, created, sent, consumed, dropped, held;
};
void devices_conservation(const struct devices *d, struct conservation *c);
