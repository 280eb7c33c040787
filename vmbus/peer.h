// SPDX-License-Identifier: Apache-2.0
// The switch's end of one vmbus-user connection, without the socket: datagrams come in, are held
// against every rule of docs/vmbus-user.md, and lead to calls of the device behind it and to
// replies. It owns the guest's regions, as they are mapped, and its GPADLs.
//
// A call of the device may be finished later; no further request is taken until then, so requests
// are carried out and answered in order. All functions: control.
#pragma once

#include "base/err.h"
#include "base/guest_memory.h"
#include "vmbus/bell.h"
#include "vmbus/dirty.h"
#include "vmbus/monitor.h"
#include "vmbus/ring.h"
#include "vmbus/state.h"
#include "vmbus/user_socket.h"

struct vmbus_peer;

// What a call of the device returns when it has only begun: vmbus_peer_done ends it.
#define VMBUS_PEER_LATER 1

// A GPADL; it stays as it is until gpadl_gone or reset is done.
struct vmbus_peer_gpadl {
	uint32_t id, channel;
	struct vmbus_runs runs;
};

// OPEN, checked. Both descriptors are the device's, unless the call fails at once.
struct vmbus_peer_open {
	uint32_t channel, relid, serial;
	bool resume;
	uint32_t vmbus_version;
	uint32_t monitor_id; // or VMBUS_USER_NO_MONITOR
	uint64_t guest_os_id;
	struct vmbus_ring in, out; // guest → host, host → guest
	struct vmbus_bell bell;
	int guest_fd; // eventfd that rings when the guest signals
};

// What START has recovered.
struct vmbus_peer_recovery {
	uint64_t n_batches, n_lost;
};

// The device. Each call returns 0 (done), VMBUS_PEER_LATER, or -errno with a sentence (nothing has
// changed). Calls marked "cannot fail" return 0 or VMBUS_PEER_LATER only. What was handed in, and
// is not said to be the device's, stays valid until the call that takes it back is done.
struct vmbus_peer_ops {
	// The state memory is there; of origin NEW it was made ready, else its header was
	// checked. *n_granted: sub-channels that it says were granted, 0 … 63. Not later.
	int (*state)(void *arg, struct vmbus_state *state, enum vmbus_user_origin origin,
		     uint32_t *n_granted, struct err *err);
	// The guest's memory is this from now on. The snapshot is the device's, to be free()d when
	// nobody looks at it. `wait`: some of it goes; done when nobody looks at what was before.
	int (*memory)(void *arg, const struct guest_memory *memory, bool wait);
	// A GPADL goes; done when nobody looks at it. Cannot fail.
	int (*gpadl_gone)(void *arg, const struct vmbus_peer_gpadl *gpadl);
	int (*open)(void *arg, const struct vmbus_peer_open *open, struct err *err);
	// Of a channel that is open, or has failed; with channel 0 the others close. Cannot fail.
	int (*close)(void *arg, uint32_t channel);
	// Another bell for an open channel; its descriptor is the device's, unless it fails at
	// once. Done when no event goes to the old one; the new one is rung.
	int (*target)(void *arg, uint32_t channel, const struct vmbus_bell *bell, struct err *err);
	// The guest → host page, or NULL: none any more. Done when the old one is not looked at.
	int (*monitor)(void *arg, struct vmbus_monitor_page *page, uint64_t gpa);
	int (*start)(void *arg, struct vmbus_peer_recovery *out, struct err *err);
	int (*pause)(void *arg, struct err *err);
	int (*resume)(void *arg, struct err *err);
	int (*save)(void *arg, struct err *err);
	// The bitmap, or one with words NULL: none any more. Done when the old one is not written.
	int (*dirty)(void *arg, const struct vmbus_dirty *dirty);
	// Every channel closes, every GPADL goes. Cannot fail.
	int (*reset)(void *arg);
	// The VMM's answer to vmbus_peer_ask_channels: so many it offered. Not later.
	void (*granted)(void *arg, uint32_t n);
};

// HELLO, checked.
struct vmbus_peer_hello {
	char name[65]; // UTF-8, NUL-ended
	uint8_t token[32];
	uint64_t features; // offered by the VMM
};

// What HELLO leads to.
struct vmbus_peer_welcome {
	const struct vmbus_peer_ops *ops;
	void *arg;             // for ops
	bool *dead;            // set when the guest's memory goes away under us
	uint64_t instance;     // of this life of the switch
	uint16_t max_channels; // 1 … 64
	uint8_t guid[16];
};

struct vmbus_peer_cfg {
	// Finds the device: 0, or -ENOENT, -EACCES, -EBUSY with a sentence. Not later.
	int (*hello)(void *arg, const struct vmbus_peer_hello *hello,
		     struct vmbus_peer_welcome *welcome, struct err *err);
	// Sends one message: 0, -EAGAIN (no room now, nothing was sent), or another -errno.
	int (*send)(void *arg, const void *message, uint32_t bytes);
	void *arg; // of both
};

int vmbus_peer_create(const struct vmbus_peer_cfg *cfg, struct vmbus_peer **out); // 0 or -ENOMEM

// Unmaps and frees everything; the device has let go of it. NULL is fine.
void vmbus_peer_destroy(struct vmbus_peer *peer);

// True if a request may be taken now: none is under way, no reply waits for room.
bool vmbus_peer_ready(const struct vmbus_peer *peer);

// Takes one datagram; ready only. Its descriptors are taken or closed. Returns 0, or -errno: the
// connection is at its end (what was to be said about it was sent): hang up.
int vmbus_peer_receive(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram);

// Ends a call of the device that was to be finished later: ret 0 or -errno with a sentence (which
// may be NULL). Returns as vmbus_peer_receive.
int vmbus_peer_done(struct vmbus_peer *peer, int ret, const struct err *err);

// Something waits until the socket has room; call vmbus_peer_flush then, which returns as
// vmbus_peer_receive.
bool vmbus_peer_wants_room(const struct vmbus_peer *peer);
int vmbus_peer_flush(struct vmbus_peer *peer);

// Asks the VMM for n (1 … 63) sub-channels; `granted` is called with its answer, or never, if
// channel 0 closes before. Once in a life of channel 0. Returns 0, -EOPNOTSUPP (the VMM gives
// none) or -EBUSY.
int vmbus_peer_ask_channels(struct vmbus_peer *peer, uint32_t n);

// Tells the VMM that a channel's rings are not touched any more. `text`: a sentence's worth.
void vmbus_peer_channel_failed(struct vmbus_peer *peer, uint32_t channel,
			       enum vmbus_user_failure reason, const char *text);

// Tells the VMM why the hang-up follows; back_in_ms UINT32_MAX: never come back.
void vmbus_peer_leave(struct vmbus_peer *peer, enum vmbus_user_leaving reason, uint32_t back_in_ms,
		      const char *text);

// The GPADL of that number on channel 0, whose driver names its buffers so; NULL: there is none.
const struct vmbus_peer_gpadl *vmbus_peer_gpadl_find(const struct vmbus_peer *peer, uint32_t id,
						     uint32_t channel);
