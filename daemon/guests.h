// SPDX-License-Identifier: Apache-2.0
// Guests' NICs in the daemon: where VMMs attach, and what people see of them. control.
#pragma once

#include "control/control.h"
#include "netvsp/service.h"

struct guests;

struct guests_cfg {
	struct loop *loop;
	struct rcu *rcu;
	const char *path; // of the socket, unless the service manager hands one over
	// Something happened to a NIC: "attached", "detached" …; detail as control_event takes it.
	void (*event)(void *arg, const char *port, const char *what, json_t *detail);
	void *arg;
};

int guests_create(const struct guests_cfg *cfg, struct guests **out, struct err *err);
void guests_destroy(struct guests *g); // NULL is fine; no port of the kind is open

// Before ports are closed for good: no guest is read any more; done(arg) once all that was read is
// delivered, so that a planned restart loses nothing.
void guests_drain(struct guests *g, void (*done)(void *arg), void *arg);

// VMMs are still being taken leave of: let the loop run.
bool guests_busy(const struct guests *g);

extern const struct object_type nic_type; // live: what each guest's driver has agreed on, counters
