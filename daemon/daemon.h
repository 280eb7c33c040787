// SPDX-License-Identifier: Apache-2.0
// The running daemon: what main.c's modules make, in the order in which they make it. control.
#pragma once

#include "control/control.h"
#include "daemon/devices.h"
#include "daemon/guests.h"
#include "daemon/options.h"
#include "daemon/wishes.h"
#include "vswitch/vswitch.h"

struct daemon {
	struct options opt;
	struct port_pools pools;
	struct rcu *rcu;
	struct loop *loop;
	struct helper *helper;
	struct server *server;
	struct guests *guests;
	int learn_fd; // eventfd, rung by workers
	struct vswitch *vswitch;
	struct pipeline *pipelines[WORKER_MAX];
	struct worker *workers[WORKER_MAX]; // [opt.n_workers]
	struct devices *devices;
	struct vmq *vmq;
	struct control *control;
	struct probes *probes; // tests under way
	struct numbers numbers; // of the configuration in force
	uint64_t rule_base[CACHE_RULES]; // what a rule's counter stood at when its id was given out
	int signal_fd, tick_timer, second_timer;
	bool stopping; // told to end
	bool closing;  // ports are being closed for good
};

// config.c: the hooks by which the daemon follows the desired state.
extern const struct control_hooks config_hooks; // ctx to be filled in

// Frames that died by rule `id` since weftd started, whoever had the id.
uint64_t show_rule_drops(const struct daemon *d, uint32_t id);

// show.c: live object types, counters, and methods of the daemon's own.
extern const struct object_type worker_type, fdb_type, flow_type, drop_type;
extern const struct object_type way_type, neighbor_type; // show_hnv.c
json_t *show_counters(void *ctx, const char *type, const char *name);
int show_methods_add(struct daemon *d);
