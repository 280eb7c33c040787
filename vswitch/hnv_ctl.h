// SPDX-License-Identifier: Apache-2.0
// What a person configures of network virtualisation, in Hyper-V's words: networks (routing
// domains), virtual subnets, lookup records, customer routes, and provider addresses with their
// routes. The daemon turns them into a struct hnv_cfg. control.
#pragma once

#include "base/values.h"
#include "control/model.h"
#include "vswitch/hnv.h"

// The address of every gateway on every host, so that a guest that moves finds its own again.
// Locally administered: neither a vendor nor the pool 00:15:5d can have given it to somebody.
#define HNV_ROUTER_MAC "02:15:5d:00:00:fe"

// Hyper-V's EncapOverhead: bytes beyond its mtu that an uplink has room for, and that the underlay
// then carries: a tenant's 1514 are 1674 there.
#define HNV_ENCAP_OVERHEAD 160u

struct hnv_obj { // the only one
	struct object head;
	struct mac router_mac;
	uint16_t vxlan_port;
};

struct network_obj {
	struct object head;
	struct guid rdid;
};

enum subnet_flow { FLOW_HASH, FLOW_FIXED };

struct subnet_obj {
	struct object head;
	char *network;
	uint32_t vsid;
	enum hnv_encap encap;
	enum subnet_flow flow;
	uint8_t flow_id;
	struct ip_prefix prefix, prefix6;
	struct ip_address gateway, gateway6;
	bool learning;
};

enum record_encap { RECORD_AUTO, RECORD_NVGRE, RECORD_VXLAN };

struct record_obj {
	struct object head;
	char *subnet;
	struct ip_address address;
	struct mac mac;
	struct ip_address provider;
	enum record_encap encap;
};

struct route_obj {
	struct object head;
	char *network;
	struct ip_prefix prefix;
	struct ip_address next_hop;
	uint32_t metric;
};

struct provider_obj {
	struct object head;
	char *port;
	struct ip_address address;
	uint8_t prefix_length;
	uint16_t vlan;
	struct mac mac;
	struct ip_address gateway;
	uint16_t mtu;
};

struct provider_route_obj {
	struct object head;
	char *provider;
	struct ip_prefix prefix;
	struct ip_address next_hop;
};

extern const struct object_type hnv_type, network_type, subnet_type, record_type, route_type,
	provider_type, provider_route_type;
