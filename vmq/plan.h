// SPDX-License-Identifier: Apache-2.0
// Which port gets a queue of the NIC, and which core serves each queue: a pure function from what
// there is to an assignment. No clock, no I/O, nothing kept between two calls: the same input gives
// the same plan, and what is good as it stands stays. Called by the daemon (daemon/vmq.c), which
// measures, and applies the difference in steps. control.
//
// Two questions, answered one after the other:
//   queues  A NIC has few (or, where the switch steers in software, as many as ports want). Ports
//           with more weight are served first; of equals, those that have a queue already. The
//           others share the default queue, each with a reason.
//   cores   What must stay together is a *unit*: a NIC's default queue with all ports on it; each
//           queue pair of a port that has queues of its own. Units are coalesced on as few cores as
//           their load wants, spread when one is too hot, and otherwise left where they are.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/types.h"

#define VMQ_MAX_CORES 32 // cores: bits of a uint32_t
#define VMQ_MAX_PAIRS 64 // queue pairs of one port
#define VMQ_MAX_QUEUES 64 // queues of one NIC
#define VMQ_NO_CORE 0xff // a queue pair that no core serves yet
#define VMQ_DEFAULT 0    // the NIC's queue for everything that has none of its own
#define VMQ_NO_QUEUE 0xffff // steered in software: there is no queue number

// Why a port is where it is.
enum vmq_why {
	VMQ_OWN_QUEUE,   // it has its own
	VMQ_OFF,         // its switch says vmq=off
	VMQ_NO_WEIGHT,   // vmq_weight=0
	VMQ_NO_ADDRESS,  // nothing to steer by
	VMQ_STALLED,     // its queue gave nothing
	VMQ_NO_QUEUES,   // ports of more weight, or that came first, have them all
	VMQ_NO_FILTERS,  // the NIC has no filter left
	VMQ_N_WHY,
};

// In words for people: "vmq_weight=0".
extern const char *const vmq_why_texts[VMQ_N_WHY];

struct vmq_core {
	uint16_t cpu;  // its number: CPU 0 is taken last
	uint8_t node;  // NUMA
	uint16_t load; // permille of the core used by what is not planned here
};

// A switch's way in: a NIC that steers by filters, or the switch itself in software.
struct vmq_nic {
	bool off;           // nobody gets a queue
	bool software;      // as many queues as are wanted, without numbers
	uint8_t node;
	uint16_t n_queues;  // of the NIC, with the default queue, ≤ VMQ_MAX_QUEUES; not of software
	uint16_t n_filters; // addresses that it can steer, at most
	uint32_t cores;     // those allowed, by bit; none of them there: all are
};

struct vmq_port {
	uint16_t nic;     // index
	uint8_t weight;   // 0 … 100
	bool is_nic;      // the NIC itself: its first pair is the default queue
	bool addressed;   // it has an address to steer by
	bool stalled;     // to be kept on the default queue
	uint8_t n_pairs;  // queue pairs of its device, 1 … VMQ_MAX_PAIRS
	uint8_t n_wanted; // queues and cores that it may spread over, ≥ 1
	uint16_t queue;   // as it is: its first NIC queue; VMQ_DEFAULT: none
	uint8_t n_queues; // as it is: how many
	const uint8_t *core;  // [n_pairs] as it is, or VMQ_NO_CORE
	const uint16_t *load; // [n_pairs] permille of a core
};

struct vmq_input {
	const struct vmq_core *cores; // [n_cores]
	const struct vmq_nic *nics;   // [n_nics]
	const struct vmq_port *ports; // [n_ports]
	uint32_t n_cores, n_nics, n_ports;
	bool calm; // load was low for long: queues may be coalesced on fewer cores
};

// What one port gets.
struct vmq_grant {
	enum vmq_why why;
	uint16_t queue;   // its first NIC queue; VMQ_DEFAULT; VMQ_NO_QUEUE in software
	uint8_t n_queues; // in a row; 0 on the default queue
	uint8_t n_units;  // how many cores it may use: pair i goes with pair i % n_units
	uint8_t core[VMQ_MAX_PAIRS]; // [n_pairs]
};

// Fills grants[in->n_ports]. Returns 0 or -ENOMEM.
int vmq_plan(const struct vmq_input *in, struct vmq_grant *grants);
