// SPDX-License-Identifier: Apache-2.0
// The fake guest's driver of a synthetic NIC: NVSP and RNDIS from the guest's side, small and
// complete. Every step of a bring-up is a call of its own; fake_driver_start makes them all in the
// order of Linux's netvsc. It checks the host as strictly as the strictest driver known (Linux's
// netvsc.c and rndis_filter.c, DPDK's hn_rxtx.c) and complains through the guest.
//
// Like fake_guest.h: no threads; what it asks for it waits for by letting the host work. It sleeps
// as Linux does, with its interrupt unmasked and nothing looked at until the event flag is set,
// so that a lost wake-up is a time-out; or it polls.
#pragma once

#include "tests/guest/fake_guest.h"

#define FAKE_MAX_CHANNELS 64
#define FAKE_MAX_TX 1024          // packets without completion
#define FAKE_MAX_SECTIONS 65536
#define FAKE_MAX_FRAME 66000      // received, coalesced ones too
#define FAKE_MAX_MESSAGE 8192     // RNDIS control

// A frame as it was received. Valid during the call.
struct fake_frame {
	const uint8_t *bytes;
	uint32_t n_bytes;
	uint32_t channel;
	uint32_t n_pieces; // RNDIS messages it came in
	bool has_csum, has_vlan, has_hash, has_hash_info;
	uint32_t csum; // enum rndis_rx_checksum
	uint32_t vlan, hash, hash_info;
};

enum fake_ack {
	FAKE_ACK_NOW,  // when the ring has been drained
	FAKE_ACK_HOLD, // when fake_driver_ack or fake_driver_ack_nth says so
};

// Zeros: as Linux does it.
struct fake_driver_cfg {
	const uint32_t *versions; // NVSP, in the order in which they are tried
	uint32_t n_versions;
	uint32_t mtu;          // of NDIS_CONFIG, with the Ethernet header; 0: 1514
	uint64_t capabilities; // of NDIS_CONFIG; 0: 802.1Q
	struct fake_open_cfg rings;
	uint32_t receive_pages; // 0: 256 (1 MiB)
	uint32_t send_pages;    // 0: 64 (256 KiB)
	bool no_send_buffer;
	uint16_t receive_id, send_id; // 0: 0xcafe; 0
	uint32_t n_subchannels;       // to ask for
	uint64_t control_id;          // transaction id of control requests; DPDK: 0
	uint64_t tx_id;               // of the first packet slot; the others follow
	enum fake_ack ack;
	bool polls; // never unmasks, never sleeps
	void (*receive)(void *ctx, const struct fake_frame *frame); // NULL: frames are only counted
	void *ctx;
};

// A packet of which the completion is missing.
struct fake_tx_slot {
	bool used;
	bool silent;      // no completion was asked for
	uint32_t section; // NVSP_NO_SECTION: none
	uint32_t n_pages;
	uint32_t pages[VMBUS_MAX_PAGES + 1];
};

struct fake_xfer {
	uint32_t channel;
	uint64_t id;
};

struct fake_driver {
	struct fake_guest *guest;
	struct fake_driver_cfg cfg;
	uint32_t nic;
	uint32_t n_channels;
	struct fake_channel *channels[FAKE_MAX_CHANNELS]; // open ones, by index
	bool awake[FAKE_MAX_CHANNELS];

	// What was agreed on.
	uint32_t nvsp_version;
	uint32_t receive_gpadl, section_bytes, n_sections;
	uint32_t send_gpadl, send_section_bytes, n_send_sections;
	struct fake_buffer receive, send;
	uint32_t max_packets, align_shift; // of INITIALIZE's answer
	uint32_t max_transfer;
	uint8_t mac[6];

	// What the host told.
	uint32_t n_connects, n_disconnects, n_changes, n_speeds, n_offload_configs;
	uint32_t speed; // units of 100 bit/s
	uint32_t n_vf, vf_allocated, vf_serial;
	uint32_t n_tables, table[16]; // send indirection table

	// Control: the completion waited for, and the last RNDIS answer.
	bool got_completion;
	uint32_t completion_bytes;
	uint8_t completion[64];
	uint32_t request_id;
	uint32_t answer_type; // waited for; 0: none
	bool got_answer;
	uint32_t answer_bytes;
	uint8_t answer[FAKE_MAX_MESSAGE];
	bool control_busy; // the request's own completion is missing
	uint32_t control_page; // where RNDIS requests lie

	struct fake_tx_slot slots[FAKE_MAX_TX];
	uint32_t next_slot, n_slots;
	uint8_t send_used[FAKE_MAX_SECTIONS];
	uint8_t held[FAKE_MAX_SECTIONS];      // receive sections that are the guest's now
	uint32_t head[FAKE_MAX_SECTIONS];     // sections of the XFER_PAGES of that id; 0: none
	uint32_t chain[FAKE_MAX_SECTIONS];    // next section of the packet, or the last: itself
	struct fake_xfer xfers[FAKE_MAX_SECTIONS]; // not acknowledged
	uint32_t n_xfers;

	uint8_t frame[FAKE_MAX_FRAME]; // being put together
	uint32_t frame_bytes, frame_id;
	bool in_frame;
	struct fake_frame coalesced;

	uint64_t n_completed, n_failed; // packets, by NVSP status
	uint32_t last_status;           // of the last packet completed
	uint64_t n_frames, n_bytes;     // received
	uint64_t n_xfer;                // XFER_PAGES packets received
	uint64_t n_sent;                // packets put into rings
};

// The driver of the guest's nic-th NIC. cfg NULL: zeros.
void fake_driver_init(struct fake_driver *driver, struct fake_guest *guest, uint32_t nic,
		      const struct fake_driver_cfg *cfg);

// Forgets everything, tells the host nothing (the guest has crashed, or the channels are gone).
void fake_driver_fini(struct fake_driver *driver);

// --- bring-up, step by step: 0 or -errno each (-EREMOTEIO: the host refused) ---------------------

int fake_driver_open(struct fake_driver *driver);      // channel 0
int fake_driver_open_channel(struct fake_driver *driver, uint32_t index); // any that is offered
int fake_driver_negotiate(struct fake_driver *driver); // INIT
int fake_driver_configure(struct fake_driver *driver); // NDIS_CONFIG, NDIS_VERSION
int fake_driver_share_buffers(struct fake_driver *driver);
int fake_driver_initialize(struct fake_driver *driver); // RNDIS INITIALIZE
int fake_driver_query_all(struct fake_driver *driver);  // what Linux asks; offloads on
int fake_driver_add_subchannels(struct fake_driver *driver, uint32_t n); // returns those granted
int fake_driver_set_filter(struct fake_driver *driver, uint32_t filter);

int fake_driver_start(struct fake_driver *driver); // all of it
int fake_driver_stop(struct fake_driver *driver);  // and back: as Linux's remove

// INIT with one version: 0, -EPROTONOSUPPORT or -ETIMEDOUT.
int fake_driver_try_version(struct fake_driver *driver, uint32_t version);

int fake_driver_halt(struct fake_driver *driver);
int fake_driver_revoke(struct fake_driver *driver);    // both buffers, NVSP only
int fake_driver_close(struct fake_driver *driver); // all channels, sub-channels first; those go
int fake_driver_unshare(struct fake_driver *driver);   // GPADLs of both buffers
int fake_driver_keepalive(struct fake_driver *driver);

// RSS on: queue of entry i is table[i % n]. n 0: off.
int fake_driver_set_rss(struct fake_driver *driver, const uint32_t *table, uint32_t n);

// The host has rescinded the primary channel: closes and releases all there is. The driver is as
// after fake_driver_init.
int fake_driver_leave(struct fake_driver *driver);

// SWITCH_DATA_PATH; waits for the completion.
int fake_driver_switch_path(struct fake_driver *driver, bool vf);

// --- control by hand ---------------------------------------------------------------------------

// Sends an NVSP message on channel 0; `wants`: with a completion, which is waited for and is in
// driver->completion[completion_bytes] then.
int fake_driver_nvsp(struct fake_driver *driver, const void *message, uint32_t bytes, bool wants);

// Sends an RNDIS message[bytes ≤ 4096] from a page; waits for its completion, and for the answer
// of that type (0: none) in driver->answer[answer_bytes].
int fake_driver_rndis(struct fake_driver *driver, const void *message, uint32_t bytes,
		      uint32_t answer_type);

// The value of an OID, at most *bytes of it. Returns 0, -EREMOTEIO (*status tells) or -ETIMEDOUT.
int fake_driver_query(struct fake_driver *driver, uint32_t oid, void *value, uint32_t *bytes,
		      uint32_t *status);
int fake_driver_set(struct fake_driver *driver, uint32_t oid, const void *value, uint32_t bytes,
		    uint32_t *status);

// --- frames ------------------------------------------------------------------------------------

enum fake_ppi {
	FAKE_PPI_CSUM = 1 << 0,
	FAKE_PPI_LSO = 1 << 1,
	FAKE_PPI_VLAN = 1 << 2,
	FAKE_PPI_HASH = 1 << 3,
};

struct fake_packet {
	const void *frame;
	uint32_t bytes;
	uint32_t ppis; // enum fake_ppi
	uint32_t csum, lso, vlan, hash;
};

// The RNDIS message for it, into to[room]. Returns its bytes, 0 if it is too long. `last`: not
// padded.
uint32_t fake_packet_build(const struct fake_packet *packet, bool last, uint8_t *to, uint32_t room);

enum fake_form {
	FAKE_SECTION, // all in a section of the send buffer
	FAKE_PAGES,   // all in pages, cut as said
	FAKE_PARTIAL, // the first part in a section, the rest in pages
};

// A piece of the message: so many bytes from that place in its first page on.
struct fake_cut {
	uint32_t bytes, offset;
};

struct fake_tx {
	uint32_t channel;
	enum fake_form form;
	const struct fake_packet *packets;
	uint32_t n;
	const struct fake_cut *cuts; // of what lies in pages; what is left over: a page each
	uint32_t n_cuts;
	uint32_t in_section; // FAKE_PARTIAL: bytes of the first part
	bool silent;         // ask for no completion
};

// Puts it into the ring, does not let the host see it yet. Returns 0, -ENOSPC (no room, slot or
// section now), -EMSGSIZE.
int fake_driver_put(struct fake_driver *driver, const struct fake_tx *tx);

// The same for a message as it stands, data or control.
struct fake_raw {
	const void *message;
	uint32_t bytes;
	uint32_t channel_type; // enum nvsp_channel_type
};
int fake_driver_put_raw(struct fake_driver *driver, const struct fake_tx *how,
			const struct fake_raw *raw);

// Lets the host see what was put into all channels, and signals where it must.
void fake_driver_kick(struct fake_driver *driver);

// One frame, put and kicked; waits for room.
int fake_driver_send(struct fake_driver *driver, const void *frame, uint32_t bytes);

// Handles what came: in all channels when it polls, else where an event came or it is still awake.
// Returns packets handled.
uint32_t fake_driver_poll(struct fake_driver *driver);

// Polls and lets the host work until `done`. Returns 0 or -ETIMEDOUT.
int fake_driver_wait(struct fake_driver *driver, bool (*done)(void *arg), void *arg);

// Until every packet sent has its completion.
int fake_driver_flush(struct fake_driver *driver);

// Acknowledges the first n packets held, or the nth. Returns how many it could.
uint32_t fake_driver_ack(struct fake_driver *driver, uint32_t n);
bool fake_driver_ack_nth(struct fake_driver *driver, uint32_t nth);

// An acknowledgement of any id.
int fake_driver_ack_raw(struct fake_driver *driver, uint32_t channel, uint64_t id);

// --- between the driver's own files --------------------------------------------------------------

// The host is done with a packet.
void fake_driver_complete(struct fake_driver *driver, uint64_t id, uint32_t status);
