// SPDX-License-Identifier: Apache-2.0
// The two mbuf pools that every port receives into: 2 KiB rooms for nearly everything (larger
// frames are chains), 9.5 KiB rooms where a frame must lie in one mbuf.
//
// Made once at start, after rte_eal_init, shared by all workers. Each worker has a cache of its
// own in either pool, so that taking and giving back an mbuf is a few cycles and no atomics.
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "dataplane/port.h"

#define POOLS_SMALL_ROOM 2048u // bytes for data behind the headroom, small pool
#define POOLS_LARGE_ROOM 9728u // the same, large pool: PORT_MAX_FRAME and an outer header
#define POOLS_CACHE 256u       // mbufs that a worker may keep to itself, per pool

// How many mbufs each pool holds. A port queue needs its descriptors (1024 by default) and a
// worker POOLS_CACHE more; what is in rings and in guests comes on top.
struct pools_cfg {
	uint32_t n_small; // 2 × POOLS_CACHE … ; 2^k-1 wastes no ring slot
	uint32_t n_large; // the same
};

// Makes both pools on the caller's NUMA node. Start-up, EAL running.
// Returns 0, -EINVAL, or -ENOMEM with a sentence that says how much memory they want.
int pools_create(const struct pools_cfg *cfg, struct port_pools *pools, struct err *err);

// Frees both; every mbuf must be back. Members may be NULL.
void pools_destroy(struct port_pools *pools);
