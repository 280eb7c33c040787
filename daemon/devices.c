// SPDX-License-Identifier: Apache-2.0
#include "daemon/devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon/placement.h"

#define RETRY_NS 2000000000ull // how often a device that could not be opened is tried again

enum state {
	ABSENT,  // no device, nothing under way
	OPENING, // on the helper
	OPEN,
	LEAVING, // workers are giving its queues back, then the helper closes it
	FAILED,  // could not be opened; tried again
};

// One port's device. At index `number` of the port for as long as the port lives, and until its
// device is closed.
struct device {
	struct devices *all;
	uint16_t number;
	enum state state;
	const struct port_obj *want; // reference; NULL: the port is gone
	const struct port_obj *made; // what `dev` was, or is being, opened with; reference
	struct port_dev *dev;
	struct err err;              // why it is FAILED
	struct queue_owners owners;
	struct port_counters *counters; // [n_workers]
};

struct devices {
	struct devices_cfg cfg;
	struct device *ports[PORT_SLOTS];
	const struct model *next; // between prepare and publish
	struct numbers const *next_numbers;
	struct port_counters gone; // sums of ports that are no more
	int retry_timer;
	unsigned int n_busy; // devices in OPENING or LEAVING
};

static void step(struct device *p);

// --- the workers' plans ------------------------------------------------------------------------

static void publish_plans(struct devices *d)
{
	const struct placement_port *list[PORT_SLOTS];
	struct placement_port ports[1];

	(void)list;
	(void)ports;
	(void)d;
}
