// SPDX-License-Identifier: Apache-2.0
// For tests of a whole NIC in one thread: the switch's side. A service, one port of kind netvsp,
// and a worker that runs when it is told to.
#pragma once

#include "net/test_util.h"
#include "netvsp/port_netvsp.h"
#include "netvsp/service.h"

struct sw {
	struct rcu *rcu;
	struct port_pools pools;
	struct netvsp_service *service;
	struct port_dev *dev; // NIC "web0"
	struct port_cfg more; // of ports that are opened: mac and what a user may set
	bool worker_stuck;    // the worker is online and not quiescent
	bool threaded;        // … or a thread of its own, for which things may take longer
	uint64_t instance;
	char events[512];     // names of events, a letter each: A, D, F, R
	struct rte_mbuf *got[256]; // frames that rx returned
	unsigned int n_got;
};

extern struct sw sw;

void sw_create(uint16_t n_queues);
void sw_start(uint16_t n_queues); // service and port alone: what a restart makes anew
void sw_stop(void);
void sw_destroy(void);
void sw_open_port(uint16_t n_queues);
void sw_close_port(void);
void sw_run(void);       // control: until it has nothing to do
void sw_work(void);      // the worker looks at every queue, then control runs
void sw_free_got(void);

// Gives the guest a frame that carries `mark`. Returns how many frames were taken.
uint16_t sw_transmit(uint16_t queue, uint32_t mark);
struct netvsp_nic_info sw_info(void);
const char *sw_path(void); // of the socket

#define SW_MARK_AT 60 // of a frame: where its mark stands
