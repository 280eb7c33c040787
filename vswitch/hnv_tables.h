// SPDX-License-Identifier: Apache-2.0
// The tables behind vswitch/hnv.h: how they are made. Index and networks are immutable; neighbours
// have one writer and readers that never wait. All functions: control; the look-ups are in hnv.h.
#pragma once

#include "base/err.h"
#include "vswitch/hnv.h"

// --- VSID → subnet, provider → way ---------------------------------------------------------------

// Makes an index of subnets[n_subnets] (borrowed) and of the ways that `numbers` lists by their
// number. NULL: no memory. free() it.
struct hnv_index *hnv_index_create(const struct hnv_subnet *const *subnets, uint32_t n_subnets,
				   const struct way *ways, const uint16_t *numbers,
				   uint32_t n_ways);

// --- providers -----------------------------------------------------------------------------------

// Patterns for each of cfg->providers, for hnv_underlay.plain. NULL: no memory. free() it.
struct hnv_plain *hnv_plain_create(const struct hnv_cfg *cfg);

// --- routes --------------------------------------------------------------------------------------

// One route of a network, or one of its subnets' prefixes (next_hop.family 0).
struct hnv_network_route {
	struct ip_prefix prefix;
	uint32_t metric;
	const struct hnv_subnet
		*subnet; // in which next_hop, or the destination itself, is; borrowed
	struct ip_address next_hop;
};

// Makes the table of routes[n], which it sorts. Among equal prefixes the smallest metric
// wins. 8 bytes a boundary for IPv4, 24 for IPv6; n routes have 2n + 1 of them at
// most. NULL: no memory. free() it.
struct hnv_network *hnv_network_create(struct hnv_network_route *routes, uint32_t n);

// --- neighbours ----------------------------------------------------------------------------------

int hnv_neighbors_create(struct rcu *rcu, struct hnv_neighbors **out, struct err *err);
void hnv_neighbors_destroy(struct hnv_neighbors *n); // workers have stopped; NULL is fine

// Sets the MAC of (fid, customer address). Returns 0 or -ENOMEM.
int hnv_neighbors_set(struct hnv_neighbors *n, uint16_t fid, const struct ip_address *customer,
		      struct mac mac);
void hnv_neighbors_del(struct hnv_neighbors *n, uint16_t fid, const struct ip_address *customer);

// Makes sure that n4 IPv4 and n6 IPv6 addresses more can be set without failing: 0 or -ENOMEM.
int hnv_neighbors_reserve(struct hnv_neighbors *n, uint32_t n4, uint32_t n6);

// Calls fn for each, until it returns false.
void hnv_neighbors_each(const struct hnv_neighbors *n,
			bool (*fn)(void *arg, uint16_t fid, const struct ip_address *customer,
				   struct mac mac),
			void *arg);
