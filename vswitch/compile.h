// SPDX-License-Identifier: Apache-2.0
// From port wishes to what workers see: VLAN domains, port policies, flood lists, and the MACs that
// configuration puts into the FDB. Pure but for memory: nothing in force is touched, what did not
// change is shared with it. Called by vswitch.c alone. control.
#pragma once

#include "vswitch/hnv_compile.h"
#include "vswitch/vswitch.h"

// A MAC that stands in the FDB by configuration.
struct static_mac {
	uint16_t fid, port, tag;
	struct mac mac;
};

struct domain_id {
	uint16_t switch_id, vid; // DOMAIN_SUBNET: vid is the id of a virtual subnet
	bool used;
};

// What is not of one configuration but goes through all.
struct compile_state {
	uint32_t next_gen; // the next unused generation number
	struct hnv_shared hnv;
};

// One whole configuration. Its ports and domains may be shared with the one before or after.
struct compiled {
	struct snapshot *snap;
	struct domain_id *ids;       // [65536] by fid
	uint16_t *fids[SWITCH_MAX];  // [4096] by VID; NULL: no such switch
	struct sw_switch_cfg switches[SWITCH_MAX];
	struct sw_port_cfg *ports[PORT_SLOTS]; // wishes by index, without their layers
	struct static_mac *fixed;  // sorted by (fid, mac)
	uint32_t n_fixed;
	struct hnv_image *hnv; // NULL: no virtual networks
};

// Compiles cfg beside `old` (NULL: nothing is in force). Layers' policies move into the result or
// are destroyed, also on failure.
int compile(struct vswitch_cfg *cfg, const struct compiled *old, struct compile_state *state,
	    struct compiled **out, struct err *err);

// Follows state's hosts that are learnt, one of subnet `fid` having come or gone: index, neighbours
// and the subnet's floods. No other configuration may be prepared meanwhile. 0, or -ENOMEM,
// -ENOSPC: what is missing comes with the next call.
int compiled_relearn(struct compiled *c, struct compile_state *state, uint16_t fid,
		     struct snapshot_ref *ref);

// Frees the frame of c, and the ports and domains that `other` (may be NULL) does not share.
void compiled_free(struct compiled *c, const struct compiled *other);

// Frees one port with its policies; one domain. For rcu_retire.
void sw_port_free(void *port);

// Do frames that leave by the two policies suffer the same?
bool sw_port_same_egress(const struct sw_port *a, const struct sw_port *b);

// The egress tag of a member port in domain `vid`.
uint16_t port_cfg_tag(const struct sw_port_cfg *p, uint16_t vid);

static inline bool port_cfg_takes_tagged(const struct sw_port_cfg *p, uint16_t vid)
{
	return p->tagged[vid / 64] >> (vid % 64) & 1;
}

static inline bool port_cfg_is_member(const struct sw_port_cfg *p, uint16_t vid)
{
	return !p->in_subnet &&
	       (port_cfg_takes_tagged(p, vid) || (p->takes_untagged && p->native_vid == vid));
}

// Is the port a member of the domain, be it a VLAN or a subnet?
static inline bool port_cfg_is_in(const struct sw_port_cfg *p, struct domain_id id)
{
	if (id.switch_id == DOMAIN_SUBNET)
		return p->in_subnet && p->subnet == id.vid;
	return p->switch_id == id.switch_id && port_cfg_is_member(p, id.vid);
}

// The tag with which frames of the domain leave by a member.
static inline uint16_t port_cfg_tag_in(const struct sw_port_cfg *p, struct domain_id id)
{
	return id.switch_id == DOMAIN_SUBNET ? 0 : port_cfg_tag(p, id.vid);
}
