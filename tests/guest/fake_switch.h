// SPDX-License-Identifier: Apache-2.0
// The switch's side for tests in one process: netvsp ports and the vmbus-user service, as weftd has
// them, and a worker of our own that serves all of them in the caller's thread. Above it stands a
// small switch that knows no policy: it forwards by destination address, floods what it does not
// know, and counts every frame. Without EAL.
#pragma once

#include "base/rcu.h"
#include "dataplane/port.h"
#include "netvsp/port_netvsp.h"
#include "netvsp/service.h"

#define FAKE_MAX_PORTS 8
#define FAKE_MAX_MACS 256
#define FAKE_WIRE FAKE_MAX_PORTS // the port of what tests inject and collect
#define FAKE_MAX_WIRE 4096       // frames that it collects

struct fake_switch_cfg {
	const char *path;     // of the service's socket
	const char *names[FAKE_MAX_PORTS];
	uint32_t n_ports;
	uint16_t mtu;      // of each port, 0: 1500
	uint16_t n_queues; // of each port, 0: 1
	bool wire;         // there is a wire: frames flow to it as to a port
	bool polls;        // the worker never sleeps
	bool disconnected, rsc; // of each port that is opened from now on
	uint32_t link_mbps;     // likewise
};

struct fake_port {
	struct port_dev *dev;
	bool asleep[PORT_MAX_QUEUES];
	uint32_t n_idle[PORT_MAX_QUEUES];
	uint64_t n_received, n_sent, n_full; // frames; the last: not taken
	uint64_t n_drops[DROP_N_REASONS];    // of the transmit stage
};

struct fake_switch {
	struct fake_switch_cfg cfg;
	struct rcu *rcu;
	struct netvsp_service *service;
	struct port_pools pools;
	struct fake_port ports[FAKE_MAX_PORTS];
	struct {
		struct mac mac;
		uint32_t port;
	} macs[FAKE_MAX_MACS];
	uint32_t n_macs;
	bool stalled; // the worker does nothing: as though its thread were not scheduled

	struct rte_mbuf *wire[FAKE_MAX_WIRE];
	uint32_t n_wire;

	// Frames: injected + received + created = sent + collected + dropped.
	uint64_t n_injected, n_received, n_created, n_sent, n_collected, n_dropped;
	uint64_t n_sleeps, n_wakes;
	uint64_t n_rounds;
	char event[512]; // the last one of the service
	uint32_t n_events[4]; // enum netvsp_event
};

// Opens ports and service. Returns 0 or -errno, with a sentence on standard error.
int fake_switch_init(struct fake_switch *sw, const struct fake_switch_cfg *cfg);

// Closes everything; fails the running test if an mbuf is missing.
void fake_switch_fini(struct fake_switch *sw);

// One round of control and worker. Returns true. Its argument is the switch: a fake_vmm_cfg.pump.
bool fake_switch_pump(void *sw);

// Opens or closes a port, as configuration would.
int fake_switch_open(struct fake_switch *sw, uint32_t port);
void fake_switch_close(struct fake_switch *sw, uint32_t port);

// Switches a frame as though it had come from that port (FAKE_WIRE: from the wire). It is consumed.
void fake_switch_inject(struct fake_switch *sw, uint32_t port, struct rte_mbuf *m);

// Frees what the wire has collected.
void fake_switch_forget_wire(struct fake_switch *sw);

// NULL, or a sentence that says which frames are not accounted for.
const char *fake_switch_unbalanced(const struct fake_switch *sw);

// What there is to know of a NIC, and what all its queues have counted. False: there is no such.
bool fake_switch_info(const char *nic, struct netvsp_nic_info *info, struct netvsp_counters *total);
