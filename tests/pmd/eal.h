// SPDX-License-Identifier: Apache-2.0
// DPDK as a guest uses it: one lcore, memory that does not grow, and what NICs need of that memory.
#pragma once

#include <rte_mbuf.h>

#include "tests/pmd/nic.h"

struct eal_cfg {
	int core;          // CPU of the one lcore
	uint32_t n_mbufs;  // of the pool
	uint32_t n_more;   // of other pools, at most
	uint32_t n_queues; // of all NICs
	uint32_t room;     // bytes of data of an mbuf, without headroom
	bool no_huge;      // do without huge pages even if there are some
	const char **vdevs; // [n_vdevs] devices that DPDK makes itself
	uint32_t n_vdevs;
};

struct eal {
	bool huge; // memory is in huge pages
	struct rte_mempool *pool;
	uint32_t n_memory;
	struct nic_memory memory[NIC_MAX_MEMORY];
};

// Starts DPDK, with no device of the VMBus to be seen. Once. Returns 0 or -errno.
int eal_start(const struct eal_cfg *cfg, struct eal *eal, struct err *err);
void eal_stop(void);

// Lines that drivers and bus have logged: a driver that notices nothing says nothing.
uint32_t eal_n_messages(void);
