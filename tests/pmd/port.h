// SPDX-License-Identifier: Apache-2.0
// A guest's driver: an ethdev of DPDK, netvsc or another for comparison. Main thread.
#pragma once

#include <rte_ethdev.h>

#include "base/err.h"
#include "tests/pmd/nic.h"

struct port_cfg {
	uint32_t n_queues;
	uint32_t n_descriptors; // frames or NVSP messages under way in a transmit queue
	uint32_t n_staged;      // frames a receive queue may hold between two looks
	uint32_t mtu;
	uint64_t tx_offloads, rx_offloads; // RTE_ETH_*_OFFLOAD_*; what is not there fails
	const char *devargs;               // of the driver, NULL: none
	struct rte_mempool *pool;
};

struct port {
	uint16_t id;
	bool open, started;
	uint32_t n_queues;
	uint32_t n_descriptors;
	struct mac mac;
};

// Lets DPDK find the device of a plugged NIC and its driver greet the switch; then as port_setup.
int port_probe(struct port *port, const struct nic *nic, const struct port_cfg *cfg,
	       struct err *err);

// Configures the ethdev of that name, and starts it. Returns 0 or -errno.
int port_setup(struct port *port, const char *name, const struct port_cfg *cfg, struct err *err);

int port_start(struct port *port, struct err *err);
int port_stop(struct port *port, struct err *err);
int port_close(struct port *port, struct err *err);

// Descriptors of a transmit queue that are free now, or -ENOENT: another driver's.
int port_free_descriptors(const struct port *port, uint32_t queue);

// Spreads all hash values over queues first … first + n - 1.
int port_spread(struct port *port, uint32_t first, uint32_t n, struct err *err);
