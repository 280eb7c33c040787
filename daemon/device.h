// SPDX-License-Identifier: Apache-2.0
// What devices.c and devices_show.c share: one port's device, and all of them. control.
#pragma once

#include "daemon/devices.h"
#include "daemon/plans.h"

enum state {
	ABSENT,  // no device, nothing under way; wanted: the helper had no room for it yet
	OPENING, // on the helper
	OPEN,
	LEAVING, // workers give its queues back, then the helper closes it
	LEFT,    // they gave them back; the helper had no room for closing it yet
	FAILED,  // could not be opened; tried again
};

// One port's device, for as long as the port lives and until its device is closed.
struct device {
	struct devices *all;
	enum state state;
	const struct object *want; // the port as configured, a reference; NULL: it is gone
	const struct object *made; // the port that the device was opened for, a reference
	struct port_dev *opened;   // by the helper, on its way here
	bool heir;                 // another port took its number over while it was LEAVING
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
	int retry_timer;
	unsigned int n_busy; // devices in OPENING, LEAVING or LEFT
	unsigned int n_jobs; // on the helper
	bool waiting;        // for room there: some device in LEFT, or ABSENT and wanted
};

static inline const struct port_obj *port_of(const struct object *obj)
{
	return container_of(obj, struct port_obj, head);
}

// Adds what all workers counted at the port to *sum.
void device_sum(const struct device *p, struct port_counters *sum);
