// SPDX-License-Identifier: Apache-2.0
// The control side of the switch core: from a plain description of all switches and ports to what
// workers see. prepare does everything that can fail; publish is one store and the FDB's own small
// stores; nothing is ever rolled back. Also takes in what workers learnt, and ages it.
//
// Called by vswitch_ctl.c and the daemon, on the control thread only; knows nothing of requests,
// names or devices.
#pragma once

#include "base/err.h"
#include "base/rcu.h"
#include "vswitch/cache.h"
#include "vswitch/pipeline.h"

#define SWITCH_MAX 256 // switches of one daemon; ids are 0 … SWITCH_MAX-1

struct hnv_image;    // vswitch/hnv_compile.h
struct vswitch;      // all switches of the daemon
struct vswitch_plan; // a prepared step

// A port's wishes. `index` stays the same as long as the port lives.
struct sw_port_cfg {
	uint16_t index;     // 0 … PORT_MAX-1
	uint16_t switch_id;
	bool ready;         // policy complete
	bool learning;
	bool takes_untagged;
	uint16_t native_vid;      // of untagged frames, 0 … 4094; 0: no VLAN
	uint64_t tagged[4096 / 64]; // VIDs that it takes and gives tagged
	bool in_subnet;   // its untagged frames are of virtual subnet `subnet` (its id), no VLAN
	uint16_t subnet;
	struct mac mac;           // static address behind it; zero: none
	uint32_t storm_limit, miss_budget; // per second
	uint32_t max_macs;        // learnt MACs, at most
	uint32_t move_limit;      // MACs that may move to this port, per second
	uint8_t n_in, n_out;
	struct layer in[LAYER_MAX], out[LAYER_MAX]; // policies are taken over by prepare
};

struct sw_switch_cfg {
	uint16_t id;
	bool flood_unknown;
	uint32_t ageing_s; // learnt MACs unseen for so long are forgotten
};

struct vswitch_cfg {
	const struct sw_switch_cfg *switches;
	struct sw_port_cfg *ports; // sorted by nothing; indices are unique
	uint32_t n_switches, n_ports;
	const struct hnv_cfg *hnv; // virtual networks; NULL: none
};

// n_workers: how many learn queues; event_fd: control's, rung for reports.
int vswitch_create(struct rcu *rcu, unsigned int n_workers, int event_fd, struct vswitch **out,
		   struct err *err);
void vswitch_destroy(struct vswitch *vs); // workers have stopped

// What the switch core has others do. All may be NULL. control.
struct vswitch_hooks {
	// Sends frame[bytes] out of a port.
	void (*send)(void *ctx, uint16_t port, const uint8_t *frame, uint32_t bytes);
	// Somebody on `port` in a virtual subnet wants a customer address that no record names.
	void (*unknown)(void *ctx, uint16_t subnet, uint16_t port,
			const struct ip_address *customer);
	// An answer to a request that vswitch_probe_begin announced: LEARN_ECHO.
	void (*answer)(void *ctx, const struct learn_report *r);
	void *ctx;
};
void vswitch_set_hooks(struct vswitch *vs, const struct vswitch_hooks *hooks);

// The clock of vswitch_second, which neighbours' ages are told by. control.
uint32_t vswitch_now_s(const struct vswitch *vs);

// The virtual networks in force, or NULL. control.
const struct hnv_image *vswitch_hnv(const struct vswitch *vs);

// Somebody whose requests begin with this id is going to be asked for an echo; answers come to the
// hook. port: where they arrive; guest: MAC and domain of the guest there, NULL: it is an uplink.
// 0, -EEXIST the id is in use, -ENOSPC too many are under way.
struct vswitch_guest {
	uint16_t fid;
	struct mac mac;
};
int vswitch_probe_begin(struct vswitch *vs, uint16_t port, uint16_t id,
			const struct vswitch_guest *guest);
void vswitch_probe_end(struct vswitch *vs, uint16_t id, const struct vswitch_guest *guest);

// Destroys the policies that cfg's ports still have. control.
void vswitch_cfg_drop(struct vswitch_cfg *cfg);

// Compiles cfg against what is in force. Takes over the layers' policies, also when it fails.
// Returns 0 and *plan, or -errno: -ENOSPC more than 65535 VLAN domains or a full FDB, -ENOMEM.
int vswitch_prepare(struct vswitch *vs, struct vswitch_cfg *cfg, struct vswitch_plan **plan,
		    struct err *err);
void vswitch_publish(struct vswitch *vs, struct vswitch_plan *plan);
void vswitch_abort(struct vswitch_plan *plan);

// Takes in learn reports, at most a few thousand a call. True: there are more.
bool vswitch_learn(struct vswitch *vs);

// Arms the doorbells of the learn queues; true: reports wait already, do not sleep.
bool vswitch_arm(struct vswitch *vs);

// Clock and ageing; call once a second. now_s: CLOCK_MONOTONIC.
void vswitch_second(struct vswitch *vs, uint32_t now_s);

// What pipelines are made with.
const struct snapshot_ref *vswitch_snapshot(const struct vswitch *vs);
struct fdb *vswitch_fdb(const struct vswitch *vs);
struct learn_queue *vswitch_learn_queue(struct vswitch *vs, unsigned int worker);

#define DOMAIN_SUBNET 0xffffu // in place of a switch: the VID is the id of a virtual subnet

// Which switch and VLAN a domain is; false: no such domain.
bool vswitch_domain(const struct vswitch *vs, uint16_t fid, uint16_t *switch_id, uint16_t *vid);

struct vswitch_stats {
	uint64_t learnt, moved, refused_limit, refused_static, aged;
};
const struct vswitch_stats *vswitch_stats(const struct vswitch *vs);
