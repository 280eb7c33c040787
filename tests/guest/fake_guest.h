// SPDX-License-Identifier: Apache-2.0
// A guest of our own, as far as VMBus goes: RAM, SynIC pages, channel messages, rings. It behaves,
// unless it is told not to: every call that a good guest makes is here, and so is what one needs
// to write any byte anywhere.
//
// It has no threads. What it asks for it waits for by letting the host work (ops->pump), so that
// host and guest can share a thread, or be in two processes. What the host says is checked as
// strictly as the strictest guest known would (Linux's vmbus_drv.c and channel_mgmt.c); a breach is
// noted, and fake_guest_complaint tells the first one.
//
// fake_vmm.h joins it to a VMBus server and the switch, fake_driver.h is the NIC's driver above it.
#pragma once

#include "tests/guest/fake_memory.h"
#include "vmbus/ring.h"

#define FAKE_MAX_VPS 64
#define FAKE_MAX_RELID 2048
#define FAKE_MAX_GPADLS 256
#define FAKE_SINT 2
#define FAKE_FIRST_GPADL 0xe1e10 // as Linux counts

// What the guest stands on.
struct fake_host_ops {
	// HvCallPostMessage. Returns 0 or -EAGAIN (no buffers: try again). Others are failures.
	int (*post)(void *ctx, uint32_t connection, const void *message, uint32_t bytes);
	// HvCallSignalEvent.
	void (*signal)(void *ctx, uint32_t connection);
	// The guest waits: the host may work, and deliver messages. False: waiting is in vain.
	bool (*pump)(void *ctx);
	// The guest has moved its SynIC pages, or a VP's SINT is masked or not: NULL is fine.
	void (*synic_changed)(void *ctx, uint32_t vp);
};

enum fake_channel_state {
	FAKE_NO_CHANNEL,
	FAKE_OFFERED,
	FAKE_OPENING,
	FAKE_OPEN,
};

struct fake_channel {
	struct fake_guest *guest;
	enum fake_channel_state state;
	bool rescinded;
	uint32_t relid, connection;
	uint16_t subchannel;
	uint8_t monitor_id; // VMBUS_OFFER_NO_MONITOR
	uint8_t type[16], instance[16];

	uint32_t vp;        // where its events go, or VMBUS_NO_INTERRUPT
	uint32_t open_status; // of the last OPEN_RESULT
	uint32_t modify_status, n_modified; // of the last MODIFY_CHANNEL_RESPONSE; those received
	uint32_t gpadl;     // of the rings
	uint32_t in_page;   // where the ring to the guest begins
	struct fake_buffer rings;
	struct vmbus_runs runs;
	struct vmbus_writer out; // to the host
	struct vmbus_reader in;

	uint64_t n_signals; // calls to ops->signal for it
	uint64_t n_events;  // event flags taken
};

enum fake_gpadl_state {
	FAKE_NO_GPADL,
	FAKE_GPADL_SENT,
	FAKE_GPADL_LIVE,
	FAKE_GPADL_REFUSED,
	FAKE_GPADL_LEAVING, // TEARDOWN was posted
};

struct fake_gpadl {
	enum fake_gpadl_state state;
	uint32_t id, relid;
};

struct fake_guest {
	struct fake_memory memory;
	const struct fake_host_ops *ops;
	void *ctx;
	uint32_t n_vps;
	uint32_t max_rounds; // of ops->pump in one wait

	uint32_t siefp[FAKE_MAX_VPS]; // page with the event flags of each VP, 0: none
	uint64_t sint_masked;         // bit v: VP v takes no events

	uint32_t version;    // agreed on, 0: not connected
	uint32_t connection; // to post to
	uint8_t supported, contact_state;
	bool got_version, got_all_offers, got_unload;
	uint32_t n_offers; // since they were asked for
	uint32_t next_gpadl;
	struct fake_gpadl gpadls[FAKE_MAX_GPADLS];
	struct fake_channel *channels[FAKE_MAX_RELID]; // by relid
	struct fake_buffer monitor; // two pages, to the guest and to the host; n_pages 0: none

	uint64_t n_messages; // received
	char complaint[160]; // the first one; empty: none
};

struct fake_guest_cfg {
	uint32_t n_pages;          // of RAM, a power of two
	unsigned int memory_flags; // enum fake_memory_flag
	uint32_t n_vps;            // 1 … FAKE_MAX_VPS
	bool monitor;              // it has monitor pages
	const struct fake_host_ops *ops;
	void *ctx;
	uint32_t max_rounds; // 0: 10000
};

// Returns 0 or -errno.
int fake_guest_init(struct fake_guest *guest, const struct fake_guest_cfg *cfg);
void fake_guest_fini(struct fake_guest *guest); // says nothing to the host

// What the host did that no host may do, or NULL.
const char *fake_guest_complaint(const struct fake_guest *guest);
void fake_guest_complain(struct fake_guest *guest, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

// Lets the host work until `done` says so. Returns 0 or -ETIMEDOUT.
int fake_guest_wait(struct fake_guest *guest, bool (*done)(void *arg), void *arg);

// --- messages ----------------------------------------------------------------------------------

// The host's glue calls this for each message that it has put into the guest's slot.
void fake_guest_deliver(struct fake_guest *guest, const void *message, uint32_t bytes);

// Posts any message[bytes], again while the host has no buffers. Returns 0 or -errno.
int fake_guest_post(struct fake_guest *guest, const void *message, uint32_t bytes);

// INITIATE_CONTACT with one version. Returns 0, -EPROTONOSUPPORT (refused), -EIO (supported, but it
// failed) or -ETIMEDOUT.
int fake_guest_contact(struct fake_guest *guest, uint32_t version);

// The same with Linux's versions, highest first, until one is taken.
int fake_guest_connect(struct fake_guest *guest);

// REQUEST_OFFERS, and waits for ALL_OFFERS_DELIVERED.
int fake_guest_request_offers(struct fake_guest *guest);

// UNLOAD, and waits for UNLOAD_COMPLETE. All channels are gone after it.
int fake_guest_unload(struct fake_guest *guest);

// The channel of the n-th NIC (in the order of relids) with that sub-channel index, or NULL; those
// that were rescinded do not count.
struct fake_channel *fake_guest_nic(struct fake_guest *guest, uint32_t n, uint16_t subchannel);

// RELID_RELEASED: the channel does not exist after it.
int fake_channel_release(struct fake_channel *channel);

// --- GPADLs ------------------------------------------------------------------------------------

// A GPADL as posted: n_pages PFNs of one range, the first of which begins at `offset`.
struct fake_gpadl_cfg {
	uint32_t relid;
	const uint64_t *pages;
	uint32_t n_pages;
	uint32_t offset, bytes; // 0, 0: all of the pages
};

// Posts header and bodies, does not wait. Returns 0 and its number in *id, or -errno.
int fake_gpadl_post(struct fake_guest *guest, const struct fake_gpadl_cfg *cfg, uint32_t *id);

// The same for a whole buffer, and waits for GPADL_CREATED. Returns 0, -EREMOTEIO (refused) or
// -ETIMEDOUT.
int fake_gpadl_create(struct fake_guest *guest, uint32_t relid, const struct fake_buffer *buffer,
		      uint32_t *id);

// GPADL_TEARDOWN, and waits for GPADL_TORNDOWN.
int fake_gpadl_teardown(struct fake_guest *guest, uint32_t id);

// Waits until the host has answered what was posted about it. Returns 0 or -ETIMEDOUT.
int fake_gpadl_wait(struct fake_guest *guest, struct fake_gpadl *gpadl);

// The GPADL of that number, or NULL.
struct fake_gpadl *fake_gpadl_find(struct fake_guest *guest, uint32_t id);

// --- channels ----------------------------------------------------------------------------------

struct fake_open_cfg {
	uint32_t out_pages, in_pages; // of each ring, header included; 0: 128, as Linux has it
	uint32_t vp;                  // or VMBUS_NO_INTERRUPT
};

// Makes the rings' GPADL, OPEN_CHANNEL, and waits for OPEN_RESULT. cfg NULL: defaults. Returns 0,
// -EREMOTEIO (refused) or -ETIMEDOUT. After a failure nothing is left.
int fake_channel_open(struct fake_channel *channel, const struct fake_open_cfg *cfg);

// CLOSE_CHANNEL, and the teardown of its rings' GPADL.
int fake_channel_close(struct fake_channel *channel);

// MODIFY_CHANNEL; from 5.3 on waits for the answer. Returns 0, -EREMOTEIO or -ETIMEDOUT.
int fake_channel_modify(struct fake_channel *channel, uint32_t vp);

// Both rings anew over the same memory, from the indices in it: after it was tampered with.
int fake_channel_attach_rings(struct fake_channel *channel);

// Writes a packet, not visible yet. As vmbus_writer_put.
int fake_channel_put(struct fake_channel *channel, const struct vmbus_packet_out *packet);

// Lets the host see what was written, and signals as a good guest does. True: it signalled.
bool fake_channel_kick(struct fake_channel *channel);

// Signals in any case.
void fake_channel_signal(struct fake_channel *channel);

// Takes the channel's event flag. True: it was set, an interrupt came for it.
bool fake_channel_take_event(struct fake_channel *channel);

// Sleeps, as a driver does that found the ring to it empty: unmasks, looks once more, waits for an
// event. Returns 0 (there is something to read), or -ETIMEDOUT: none came.
int fake_channel_sleep(struct fake_channel *channel);

// Sleeps, as a driver does that found the ring to the host full, until there is room for `bytes`.
// Returns 0 or -ETIMEDOUT.
int fake_channel_wait_room(struct fake_channel *channel, uint32_t bytes);

// The raw headers and data of the rings, for whoever means ill.
static inline struct vmbus_ring_header *fake_channel_out_header(struct fake_channel *channel)
{
	return (struct vmbus_ring_header *)channel->rings.at;
}

static inline struct vmbus_ring_header *fake_channel_in_header(struct fake_channel *channel)
{
	return (struct vmbus_ring_header *)(channel->rings.at +
					    channel->in_page * VMBUS_PAGE_BYTES);
}
