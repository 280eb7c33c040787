// SPDX-License-Identifier: Apache-2.0
// Virtual machine queues of the running daemon: how much each queue of each port keeps its worker
// busy, what vmq/plan.c makes of it, and the moves from here to there. Four times a second; a move
// at a time. control.
#pragma once

#include "control/control.h"
#include "daemon/device.h"
#include "daemon/wishes.h"
#include "vmq/plan.h"
#include "vmq/stall.h"

struct daemon;
struct vmq_trial;

// One port whose device is open, as last measured and planned.
struct vmq_state {
	const struct device *device;
	const struct object *judged;    // port under which `stalled` was found; compared only
	uint64_t work[WORKER_MAX];      // of each worker for it, in packets and some for bytes
	uint64_t packets[WORKER_MAX];   // the same, both directions
	uint64_t fresh[WORKER_MAX];     // work since the last look
	uint32_t rate[WORKER_MAX];      // packets a second
	uint16_t load[WORKER_MAX];      // permille of each worker's core
	struct vmq_stall stall;
	bool stalled;
	bool planned;                   // `grant` holds for this device
	uint64_t n_moves;               // of its queues
	struct vmq_grant grant;
};

struct vmq {
	struct daemon *daemon;
	struct devices *devices;
	int sample_timer, move_timer; // the second one shot; -1: no move is due
	uint64_t busy[WORKER_MAX], last_tsc;
	unsigned int n_calm; // looks in a row at which no core was warm
	struct vmq_trial *trial; // the self-test under way, which moves queues itself; or NULL
	struct vmq_state *states[PORT_SLOTS]; // by port index; NULL: not open when last looked at
};

int vmq_create(struct daemon *d, struct vmq **out, struct err *err);
void vmq_destroy(struct vmq *v); // NULL is fine

// Which workers may serve a switch's queues, by bit; never 0.
uint32_t vmq_cores(const struct daemon *d, const struct switch_obj *s);

extern const struct object_type vmq_type; // weft show vmq

// Adds the method test_vmq: moves queues there and back, and says what it cost.
int vmq_methods_add(struct daemon *d);

// Ends the self-test under way, if there is one, without an answer.
void vmq_trial_end(struct vmq *v);
