// SPDX-License-Identifier: Apache-2.0
// What devices.c and devices_show.c share: one device a port, and all of them. control, but where a
// member says "helper".
#pragma once

#include "daemon/devices.h"
#include "daemon/host_address.h"
#include "daemon/plans.h"

enum device_state {
	ABSENT,  // no device, nothing under way
	OPENING, // on the helper
	OPEN,
	LEAVING, // workers give its queues back
	LEFT,    // no worker has them any more
	CLOSING, // on the helper
	FAILED,  // could not be opened; tried again
};

// One port's device, for as long as the port lives and until its device is closed.
struct device {
	struct devices *all;
	enum device_state state;
	const struct object *want; // the port as configured, a reference; NULL: it is gone
	const struct object *made; // the port that the device was opened for, a reference
	struct port_dev *opened;   // by the helper, on its way here
	unsigned int n_graces;     // LEAVING: grace periods begun since the plans are without it
	struct err err;            // why it is FAILED
	unsigned int n_failures;   // in a row, of this device
	unsigned int retry_in;     // ticks of the retry timer until the next try
	struct plan_port plan;
};

struct devices {
	struct devices_cfg cfg;
	struct device *ports[PORT_SLOTS];
	struct port_counters gone; // sums of ports that are no more
	struct {
		const struct model *model;
		const struct numbers *numbers;
		struct device *fresh[PORT_SLOTS]; // for ports that have none yet
	} next;                                   // between prepare and publish
	struct host_address *host;                // helper, once devices open
	bool closing; // for good: nothing is opened any more
	int retry_timer;
	int plans_timer;     // one shot: the workers' plans are out of date; -1: they are not
	unsigned int n_jobs; // on the helper
	unsigned int n_orphans; // devices whose port is gone
};

static inline const struct port_obj *port_of(const struct object *obj)
{
	return container_of(obj, struct port_obj, head);
}

// Adds what all workers counted for p to *sum.
void device_sum(const struct device *p, struct port_counters *sum);

// The plans of those that are open, and of those that are down, in list[PORT_SLOTS]. Their number.
unsigned int devices_list_plans(const struct devices *d, struct plan_port **list);

// Publishes them to all workers; `move` as in plan_publish. 0, -ENOMEM, or -EBUSY: the workers have
// not put the last ones behind them yet.
int devices_publish_plans(struct devices *d, const struct plan_move *move);

// Queue pair `pair` of a device that is open.
struct device_queue {
	struct device *device;
	uint16_t pair;
};

// The queues list[n], all of the worker move->from, go to move->to. 0, -ENOMEM, or -EBUSY: the
// workers are not done with the last change yet, or one is waiting; nothing has changed then.
int devices_move(struct devices *d, const struct plan_move *move, const struct device_queue *list,
		 unsigned int n);
