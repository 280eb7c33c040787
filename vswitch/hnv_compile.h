// SPDX-License-Identifier: Apache-2.0
// From struct hnv_cfg to the struct hnv that workers see. An image is made beside the one in force
// and touches nothing of it; ways and customer addresses are tables that all images share, and
// change when one is published (vswitch/hnv_publish.c). Called by compile.c. control.
#pragma once

#include "vswitch/hnv_learn.h"
#include "vswitch/hnv_tables.h"
#include "vswitch/probe.h"
#include "vswitch/snapshot.h"
#include "vswitch/underlay.h"

// What outlives all images. Made by vswitch.c.
struct hnv_shared {
	struct rcu *rcu;
	struct way *ways; // [WAY_MAX]
	struct hnv_neighbors *neighbors;
	struct probe_table probes;
	uint32_t next_way; // where the search for a free number begins, less WAY_FIRST
	struct hnv_learnt learnt;
};

int hnv_shared_init(struct hnv_shared *s, struct rcu *rcu, struct err *err);
void hnv_shared_fini(struct hnv_shared *s); // workers have stopped

// One configuration of virtual networks.
struct hnv_image {
	struct hnv hnv;      // what snapshots point at
	struct hnv_cfg cfg;  // a copy of what was asked for, with its arrays
	uint16_t *fids;      // [65536] by subnet id; 0: no such subnet
	struct hnv_subnet *subnets; // in the order of cfg.subnets
	const struct hnv_subnet **by_fid;        // [65536]
	const struct hnv_underlay **underlays;   // [PORT_SLOTS]
	struct hnv_underlay *underlay_list;      // [cfg.n_providers]
	struct hnv_plain *plain;                 // [cfg.n_providers]
	struct hnv_network **networks;           // [n_networks]
	uint32_t n_networks;
	uint16_t *ways;        // numbers in use: of records, then of hosts learnt
	uint32_t n_ways, n_fixed_ways;
	bool learns;           // some subnet does
	uint16_t *record_ways; // by record; 0: on this host, or nowhere
	struct underlay *underlay;
};

// Compiles cfg beside `old` (NULL: nothing in force). fids[65536] by subnet id is taken over, also
// on failure. -ENOMEM, -ENOSPC more than WAY_MAX hosts, -EEXIST two records of one address.
int hnv_image_create(const struct hnv_cfg *cfg, uint16_t *fids, struct hnv_shared *shared,
		     const struct hnv_image *old, struct hnv_image **out);
void hnv_image_destroy(void *image); // NULL is fine; also for rcu_retire

// Is the image what cfg asks for?
bool hnv_image_is(const struct hnv_image *image, const struct hnv_cfg *cfg);

// --- ways; hnv_ways.c --------------------------------------------------------------------------

// Numbers all ways of a new image. 0, -ENOMEM or -ENOSPC.
int hnv_image_number_ways(struct hnv_image *image, struct hnv_shared *shared,
			  const struct hnv_image *old);

// The index of an image whose subnets and ways are there. NULL: no memory.
struct hnv_index *hnv_image_make_index(const struct hnv_image *image, const struct hnv_shared *s);

// Makes the image know the hosts that were learnt, and no others. The same numbers stay. 0, or
// -ENOMEM, -ENOSPC: nothing has changed.
int hnv_image_relearn(struct hnv_image *image, struct hnv_shared *shared);

// Is there a record of this customer address? subnet: its id.
bool hnv_image_has_record(const struct hnv_image *image, uint16_t subnet,
			  const struct ip_address *customer);

// Is it the address of one of our providers?
bool hnv_cfg_is_ours(const struct hnv_cfg *cfg, const struct ip_address *a);

// The ways that floods of a subnet take, into ways[n_ways]; returns how many.
uint32_t hnv_image_flood(const struct hnv_image *image, const struct hnv_learnt *learnt,
			 uint16_t subnet, uint16_t *ways);

static inline bool hnv_image_has_underlay(const struct hnv_image *image, uint16_t port)
{
	return image && image->underlays[port];
}

// --- publishing; hnv_publish.c -----------------------------------------------------------------

// Makes the shared tables what `to` says, and flows that knew otherwise look again. After the
// snapshot is published; from, to: NULL: nothing.
void hnv_publish(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *from,
		 const struct hnv_image *to);

// Makes the headers of the ways that begin with neighbour n (NULL: all) anew.
void hnv_refresh_ways(struct hnv_shared *s, const struct hnv_image *image,
		      const struct underlay_neighbor *n);

// Takes the headers from those of ways[n] that are not in image `to` (NULL: none is).
void hnv_end_ways(struct hnv_shared *s, const uint16_t *ways, uint32_t n,
		  const struct hnv_image *to);
