// SPDX-License-Identifier: Apache-2.0
// Network virtualisation as workers see it: subnets, routes, customer addresses, and ways to other
// hosts. Part of the snapshot; NULL there while no subnet is configured.
//
// A subnet is a domain of the FDB, like a VLAN; a remote host is a *way*, and a way's number stands
// where a port's index stands: in FDB slots, in learn reports. Made by hnv_compile.c from struct
// hnv_cfg; what did not change is shared with the snapshot before. Big tables (neighbours, way
// headers) change entry by entry.
//
// What control owes to flows that are cached:
// - an FDB slot that changes between port and way is touched (from way to way need not be);
// - who changes a neighbour touches the FDB slot of the MAC it had; had it none, the domain's slot
//   for unknown destinations (fdb_touch, fdb_touch_unknown);
// - records that move a MAC from one way to another, and records, networks or subnets that change,
//   give the ports of these subnets, and underlay ports, new generations.
#pragma once

#include "base/rcu.h"
#include "base/values.h"
#include "net/encap_plain.h"
#include "vswitch/fdb.h"

#define WAY_FIRST 0x1000u // numbers of ways; below are ports
#define WAY_MAX 0xef00u   // ways, at most
#define TAG_WAY 0x8000u   // fdb_where.tag of a slot that leads to a way

#define HNV_MIN_VSID 1u
#define HNV_MAX_VSID 0xfffffeu

static inline bool way_is(uint16_t port) { return port >= WAY_FIRST && port < WAY_FIRST + WAY_MAX; }

static inline bool ip_address_equal(const struct ip_address *a, const struct ip_address *b)
{
	return a->family == b->family && memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

// b: 4 or 16 bytes, by the family.
static inline struct ip_address ip_address_of(uint8_t family, const uint8_t *b)
{
	struct ip_address a = { .family = family };

	memcpy(a.b, b, family == 4 ? 4 : 16);
	return a;
}

// Is the address in the prefix?
bool ip_prefix_has(const struct ip_prefix *p, const struct ip_address *a);

// --- what is asked for ---------------------------------------------------------------------------

enum hnv_encap { HNV_NVGRE, HNV_VXLAN, HNV_N_ENCAPS };

struct hnv_subnet_cfg {
	uint16_t id;      // 0 … 65535, its own as long as it lives
	uint16_t network; // id of its routing domain, likewise
	uint32_t vsid;    // HNV_MIN_VSID … HNV_MAX_VSID, unique by encapsulation
	enum hnv_encap encap;
	int16_t flow_id;  // NVGRE: fixed FlowID, -1: from the inner hash
	bool learning;    // customer addresses and where they are may be learnt
	struct ip_prefix prefix[2];    // IPv4, IPv6; family 0: none
	struct ip_address gateway[2];  // in the prefix of the same index; family 0: none
};

// A customer address. provider family 0: on this host.
struct hnv_record_cfg {
	uint16_t subnet; // id
	uint8_t encap;   // enum hnv_encap
	struct ip_address customer; // family 0: only the MAC is known
	struct mac mac;
	struct ip_address provider;
};

// Routes of a network beyond its subnets.
struct hnv_route_cfg {
	uint16_t network;
	struct ip_prefix prefix;
	struct ip_address next_hop; // a customer address in one of the network's subnets
	uint32_t metric;            // the smaller wins among equal prefixes
};

// An address of this host on an underlay.
struct hnv_provider_cfg {
	uint16_t port; // index of the uplink
	uint16_t vid;  // 0: untagged
	struct ip_address address;
	uint8_t prefix_bits;
	struct mac mac; // its own
	struct ip_address gateway; // family 0: none
	uint16_t mtu;   // of the underlay, L3 bytes
};

struct hnv_provider_route_cfg {
	uint16_t provider; // position in hnv_cfg.providers
	struct ip_prefix prefix;
	struct ip_address next_hop;
};

// All of it. Arrays sorted by nothing unless said.
struct hnv_cfg {
	const struct hnv_subnet_cfg *subnets;
	const struct hnv_record_cfg *records; // sorted by (subnet, family, address, MAC)
	const struct hnv_route_cfg *routes;
	const struct hnv_provider_cfg *providers; // those of one port together
	const struct hnv_provider_route_cfg *provider_routes;
	uint32_t n_subnets, n_records, n_routes, n_providers, n_provider_routes;
	struct mac router_mac; // of every subnet's gateway, on every host
	uint16_t vxlan_port;   // UDP
	const struct encap_ops *codecs[HNV_N_ENCAPS]; // by enum hnv_encap
};

// --- what workers see ----------------------------------------------------------------------------

enum way_state { WAY_UNRESOLVED, WAY_READY };

// What it takes to send to a way; immutable, replaced whole.
struct way_header {
	struct encap_header header; // with the next hop's MAC
	const struct encap_ops *ops;
	uint16_t uplink; // port index
	uint16_t mtu;    // largest inner IP packet
};

// A remote host by one encapsulation, from one of our addresses. Stays where it is until its
// number is free again.
struct way {
	RCU_POINTER(const struct way_header) now; // NULL: its next hop is not known yet
	struct ip_address provider;               // the peer's
	uint16_t local;                           // position of our provider address
	uint8_t encap;                            // enum hnv_encap
};

struct hnv_network; // routes of a routing domain: longest prefix match

struct hnv_subnet {
	uint16_t fid;
	uint32_t vsid;
	uint8_t encap;
	uint8_t other_encaps; // bits 1 << enum hnv_encap: records ask for these too
	int16_t flow_id;
	bool learning;
	struct ip_prefix prefix[2];
	struct ip_address gateway[2];
	const struct hnv_network *network;
};

// What plain frames to one of our addresses look like.
struct hnv_plain {
	struct encap_plain by_encap[HNV_N_ENCAPS];
};

// Our addresses on one uplink.
struct hnv_underlay {
	uint16_t n;
	const struct hnv_provider_cfg *providers; // [n]
	const struct hnv_plain *plain; // [n]; NULL: nothing is plain
};

struct probe_table;   // probe.h
struct hnv_neighbors; // (fid, customer address) → MAC
struct hnv_index;     // immutable hashes: VSID → subnet, provider → way

struct hnv {
	struct mac router_mac;
	uint16_t vxlan_port;
	const struct encap_ops *codecs[HNV_N_ENCAPS]; // by enum hnv_encap
	const struct hnv_subnet *const *by_fid; // [65536]; NULL: not a subnet
	const struct hnv_underlay *const
		*underlays; // by port index, [PORT_SLOTS]; NULL: no underlay
	RCU_POINTER(const struct hnv_index) index; // replaced when a host is learnt
	struct hnv_neighbors *neighbors; // shared by all snapshots, RCU-safe
	const struct way *ways;                // [WAY_MAX], shared by all snapshots
	const struct probe_table *probes;      // likewise; NULL: none
};

// The subnet of a VSID as it came by `encap`, or NULL. worker.
const struct hnv_subnet *hnv_find_subnet(const struct hnv *hnv, uint8_t encap, uint32_t vsid);

// The way to a provider, or 0. worker.
uint16_t hnv_find_way(const struct hnv *hnv, uint8_t encap, const struct ip_address *provider);

// The MAC of a customer address; false: unknown. worker.
bool hnv_find_neighbor(const struct hnv *hnv, uint16_t fid, const struct ip_address *customer,
		       struct mac *mac);

// Where a packet to `to` goes next: the subnet's domain, and the address to look for there (`to`
// itself, or a next hop). False: no route. worker.
struct hnv_hop {
	const struct hnv_subnet *subnet;
	struct ip_address next;
};
bool hnv_route(const struct hnv_network *network, const struct ip_address *to, struct hnv_hop *out);
