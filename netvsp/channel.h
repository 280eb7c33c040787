// SPDX-License-Identifier: Apache-2.0
// One open channel: two rings, their journal, and the frames that cross them. From OPEN to CLOSE.
//
// Control makes it, publishes it to the worker of its queue, and takes it back (a grace period)
// before it touches or frees it. While it is live it is its worker's alone.
// docs/vmbus-user.md, section 8: each call of receive and of transmit is one batch.
#pragma once

#include "dataplane/drop.h"
#include "netvsp/guest.h"
#include "netvsp/mailbox.h"
#include "vmbus/bell.h"
#include "vmbus/ring.h"
#include "vmbus/state.h"

struct netvsp_channel;
struct rte_mbuf;

// Frames of one direction: all of them, and those to groups.
struct netvsp_traffic {
	uint64_t bytes; // without FCS
	uint64_t multicast, multicast_bytes, broadcast, broadcast_bytes;
};

// What a queue counted, by counter_add; survives close and reopen. worker: w, control: r.
struct netvsp_counters {
	struct netvsp_traffic rx, tx; // from the guest, to it
	uint64_t rx_bad;     // frames or messages of the guest that were refused
	uint64_t rx_no_mbuf; // receive calls that found no buffer and left packets in the ring
	uint64_t rx_packets, rx_frames; // ring packets with data; frames in them
	uint64_t tx_packets, tx_frames; // likewise, to the guest
	uint64_t tx_no_section, tx_no_room; // frames not taken: receive buffer or ring full
	uint64_t acks, bad_acks;        // packets acknowledged; ids that made no sense
	uint64_t bells;                 // times the guest was signalled …
	uint64_t bell_calls;            // … of which a system call was needed
	uint64_t guest_bells;           // times the guest rang
	uint64_t batches;
	uint64_t ring_cycles, rndis_cycles, copy_cycles, signal_cycles; // TSC, by stage
};

struct netvsp_channel_cfg {
	unsigned int index;      // 0: the primary
	struct vmbus_ring in, out; // guest → host, host → guest
	bool resume;             // the rings are in use; the channel was recovered (recover.h)
	struct netvsp_guest *guest;
	struct netvsp_mailbox *mailbox; // channel 0, else NULL
	struct vmbus_state_channel *block; // its journal; its open_serial is set already
	struct netvsp_counters *counters;
};

// Makes a channel, not live yet. Returns 0, -EBADMSG (an index makes no sense) or -ENOMEM. control.
int netvsp_channel_create(const struct netvsp_channel_cfg *cfg, struct netvsp_channel **out);

// Frees it; no worker has it. What the guest holds of the receive buffer through it becomes free,
// and 0 is stored to its journal's batch, unless `keep` (the state memory stays for a successor).
// NULL is fine. control.
void netvsp_channel_destroy(struct netvsp_channel *channel, bool keep);

// The guest's bell, and the one that was there before; the caller retires it. control, any time.
const struct vmbus_bell *netvsp_channel_set_bell(struct netvsp_channel *channel,
						 const struct vmbus_bell *bell);

// Before it is live again after a pause: looks at indices anew. Returns 0 or -EBADMSG. control.
int netvsp_channel_resume(struct netvsp_channel *channel);

// While it is not live: seals an empty batch, so that the journal names no section. control.
void netvsp_channel_seal(struct netvsp_channel *channel);

// Serial of the last answer that was published through it: a stored answer beyond that is still
// to be given (docs/vmbus-user.md, section 8.6). control, while it is not live.
uint64_t netvsp_channel_answered(const struct netvsp_channel *channel);

// Why it has stopped (enum vmbus_user_failure), 0: it has not. Any thread.
unsigned int netvsp_channel_failure(const struct netvsp_channel *channel);

// Takes up to n (≤ PORT_BATCH) frames of the guest, as port_ops.rx; publishes its answers, notices,
// completions; frees what the guest acknowledged. A ring packet is taken whole or not at all: with
// n < PORT_BATCH one of several frames may have to wait for a larger n. worker.
uint16_t netvsp_channel_receive(struct netvsp_channel *channel, struct rte_mbuf **pkts, uint16_t n);

// Gives frames to the guest, as port_ops.tx; *why says why not all were taken, DROP_NONE: they
// were. With DROP_MTU_MISMATCH the first that was not is to blame, and may be dropped alone.
// worker.
uint16_t netvsp_channel_transmit(struct netvsp_channel *channel, struct rte_mbuf **pkts, uint16_t n,
				 enum drop *why);

// Before its worker sleeps, and after; as port_ops.arm. worker.
bool netvsp_channel_arm(struct netvsp_channel *channel, bool armed);

// Rings the guest in any case: after OPEN, RESUME, recovery, a new bell. worker.
void netvsp_channel_ring(struct netvsp_channel *channel);
