// SPDX-License-Identifier: Apache-2.0
// The configuration that workers see: a small immutable root, replaced whole. Made by compile.c,
// read once per batch by pipeline.c. The big table behind it, the FDB, changes entry by entry.
#pragma once

#include "base/rcu.h"
#include "dataplane/worker.h"
#include "vswitch/hnv.h"
#include "vswitch/layer.h"

// One port's policy. Immutable; shared by all snapshots until it changes.
struct sw_port {
	uint32_t gen;         // its own number: flows resolved under another re-resolve
	uint16_t index;
	uint16_t native_fid;  // VLAN domain of untagged frames …
	uint16_t native_vid;  // … and its VID; 0: no VLAN
	bool takes_untagged;  // false: a trunk without native VLAN
	bool ready;           // false: blocked until its policy is complete
	bool learning;
	bool flood_unknown;   // of its switch: unknown unicast goes to all members, else nowhere
	uint32_t storm_limit; // group and unknown frames it may send, per second and worker; 0: any
	uint32_t miss_budget; // new flows it may make, per second and worker
	const struct sw_vlans *vlans; // what it takes tagged, or NULL: nothing
	uint8_t n_in, n_out;
	struct layer in[LAYER_MAX], out[LAYER_MAX];
};

// VID → domain for the tagged frames of a trunk. fid 0 with `member`: nobody else is in it.
struct sw_vlans {
	uint16_t fid[4096];
	uint64_t member[4096 / 64];
};

static inline bool vlans_has(const struct sw_vlans *v, uint16_t vid)
{
	return v && (v->member[vid / 64] >> (vid % 64) & 1);
}

// The members of a VLAN domain, for flooding.
struct sw_domain {
	uint16_t fid, vid;
	uint16_t n;
	struct sw_member {
		uint16_t port, tag; // tag: 0 untagged, else TAG_PRESENT | VID; TAG_WAY: to a way
	} members[];
};

struct snapshot {
	uint32_t version;
	uint32_t n_ports;                     // indices are below this
	uint32_t n_domains;                   // fids are below this
	const struct sw_domain *const *domains; // by fid; NULL: no such domain
	const struct hnv *hnv; // virtual networks, or NULL: none
	const struct sw_port *ports[PORT_SLOTS]; // by index; NULL: no such port
};

// The pointer through which control publishes snapshots to all workers.
struct snapshot_ref {
	RCU_POINTER(const struct snapshot) now;
};
