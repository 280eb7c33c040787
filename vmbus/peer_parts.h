// SPDX-License-Identifier: Apache-2.0
// What peer.c, peer_memory.c and peer_channel.c share: one connection. Control.
#pragma once

#include <errno.h>

#include "vmbus/gpadl.h"
#include "vmbus/mapping.h"
#include "vmbus/peer.h"

// Section 2.1. A dead one is hung up on, and so needs no state here.
enum peer_state { PEER_NEW, PEER_LOADING, PEER_SERVING, PEER_PAUSED, PEER_N_STATES };

struct peer_region {
	uint32_t number; // the VMM's
	uint64_t gpa;
	struct vmbus_mapping mapping; // at NULL: the place is free
};

// A GPADL that is complete, or in the making.
struct peer_gpadl {
	struct vmbus_peer_gpadl seen; // by the device
	uint32_t bytes;               // announced
	struct vmbus_run_list list;   // its runs; list.runs is storage
	struct vmbus_run storage[];
};

struct peer_channel {
	bool open; // until CLOSE, also when it has failed
	const struct peer_gpadl *gpadl;
	struct vmbus_user_target target;
};

// Our own SUBCHANNELS request.
struct peer_ask {
	enum { ASK_NOTHING, ASK_UNSENT, ASK_SENT, ASK_ANSWERED } state;
	uint32_t serial, n_wanted;
	bool stale; // channel 0 has closed since
};

struct vmbus_peer {
	struct vmbus_peer_cfg cfg;
	enum peer_state state;
	struct vmbus_peer_welcome welcome; // from HELLO on
	uint64_t features;                 // agreed on

	// The request that is being carried out.
	const struct peer_rule *rule; // not NULL: the device has not finished it
	struct vmbus_user_header request;
	uint32_t n_failed; // in a row

	// A reply that waits for room.
	uint32_t out_bytes; // 0: none
	uint8_t out[sizeof(struct vmbus_user_reply) + 240];

	// For the end of the request: which thing it is about, and what it will be like.
	uint32_t subject;
	uint64_t subject_gpa;
	struct vmbus_user_target subject_target;
	struct vmbus_mapping subject_mapping;
	struct vmbus_peer_recovery recovery;

	struct vmbus_mapping state_memory, dirty;
	struct guest_memory memory;
	struct peer_region regions[VMBUS_USER_MAX_REGIONS];
	uint64_t region_bytes; // of all
	bool monitor_on;
	uint64_t monitor_gpa;

	struct peer_gpadl *gpadls[VMBUS_USER_MAX_GPADLS]; // [n_gpadls]
	uint32_t n_gpadls;
	uint64_t gpadl_bytes; // of all
	struct peer_gpadl *making; // NULL: none

	struct peer_channel channels[VMBUS_USER_MAX_CHANNELS];
	uint32_t n_granted; // sub-channels 1 … n_granted may be opened
	bool opened;        // some channel has been
	struct peer_ask ask;
};

// A request: begin, in which all checks are made, and what the device's success leads to.
typedef int peer_begin_fn(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram,
			  struct err *err);
typedef void peer_finish_fn(struct vmbus_peer *peer);

peer_begin_fn peer_state_begin, peer_region_add, peer_region_del, peer_gpadl, peer_gpadl_teardown,
	peer_dirty_log, peer_monitor;
peer_finish_fn peer_region_del_finish, peer_gpadl_teardown_finish, peer_dirty_log_finish,
	peer_monitor_finish;

peer_begin_fn peer_open, peer_close, peer_target, peer_reset;
peer_finish_fn peer_open_finish, peer_close_finish, peer_target_finish, peer_reset_finish;

// Frees what of a GPADL has come so far, if any; all GPADLs; everything that is mapped.
void peer_making_drop(struct vmbus_peer *peer);
void peer_gpadls_drop(struct vmbus_peer *peer);
void peer_memory_drop(struct vmbus_peer *peer);

// The complete GPADL of that key, or NULL.
struct peer_gpadl *peer_gpadl_find(const struct vmbus_peer *peer, uint32_t id, uint32_t channel);

// 0, or -EINVAL with a sentence for a field that must be zero.
static inline int peer_check_zero(uint64_t value, struct err *err)
{
	return value ? err_set(err, EINVAL, "a reserved field is not zero") : 0;
}

// 0, or -EINVAL with a sentence for flags that do not exist.
static inline int peer_check_flags(uint32_t flags, uint32_t known, struct err *err)
{
	return flags & ~known ? err_set(err, EINVAL, "flags 0x%x: only 0x%x exist", flags, known)
			      : 0;
}

// 0, or -EINVAL with a sentence for a channel that this NIC cannot have.
static inline int peer_check_channel(const struct vmbus_peer *peer, uint32_t channel,
				     struct err *err)
{
	if (channel < peer->welcome.max_channels)
		return 0;
	return err_set(err, EINVAL, "channel %u: this NIC has channels 0 to %u", channel,
		       peer->welcome.max_channels - 1u);
}
