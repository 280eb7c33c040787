// SPDX-License-Identifier: Apache-2.0
// The control machine of one synthetic NIC: NVSP and RNDIS control messages come in as bytes,
// answers go out as bytes, and what was agreed on stands in plain members. No I/O, no memory of
// its own, no clock. Called by the NIC's owner with what a worker copied out of the primary
// channel; everything here is for the control thread.
//
//	effects = netvsp_control_handle(control, request, answer);
//	effects & NETVSP_ASK_CHANNELS: ask the VMM, then netvsp_control_granted()
//	do what the other effects say; on failure netvsp_control_failed()
//	netvsp_control_encode() → state memory; the worker publishes the answer
//
// NVSP: nvsp.h; [MS-RNDIS]; docs/netvsp.md. The guest is hostile: whatever it sends is answered
// or counted.
#pragma once

#include "base/err.h"
#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"
#include "netvsp/vf.h"
#include "vmbus/state.h"

#define NETVSP_MAX_MESSAGE 4096      // bytes of an RNDIS control message, either way
#define NETVSP_NAME_UNITS 256        // UTF-16 units of GEN_FRIENDLY_NAME
#define NETVSP_MIN_MTU 1514u         // frame without FCS; also if the guest asks for nonsense
#define NETVSP_MAX_MTU 9216u
#define NETVSP_SEND_SECTION 6144u    // bytes
#define NETVSP_RESERVED_SECTIONS 16u // of the receive buffer, for control messages
#define NETVSP_MIN_SECTIONS 32u      // a receive buffer with fewer is refused
#define NETVSP_LINK_SPACING_NS 2000000000ull // between link indications: Linux takes no more

// --- what goes in ------------------------------------------------------------------------------

// Totals of the NIC. "in" is to the guest.
struct netvsp_totals {
	struct netvsp_totals_way {
		uint64_t n_unicast, n_multicast, n_broadcast; // frames
		uint64_t unicast_bytes, multicast_bytes, broadcast_bytes;
		uint64_t n_errors;
		uint64_t n_discards; // for lack of room, or by a rule
	} in, out;
};

struct netvsp_control_ops {
	// Bytes of a GPADL that the VMM has told of. 0: there is no such.
	uint64_t (*gpadl_bytes)(void *ctx, uint32_t gpadl);
	void (*totals)(void *ctx, struct netvsp_totals *out);
};

struct netvsp_config {
	const struct netvsp_control_ops *ops; // outlives the control
	void *ctx;
	const char *name;      // UTF-8, what the guest sees as its NIC's name; copied
	struct mac mac;
	bool any_mac;          // the guest may choose another address
	bool rsc;              // offer RSC over VMBus; only if the data path coalesces
	bool link_up;
	uint64_t link_speed;   // bit/s
	uint32_t mtu;          // largest frame of the port without FCS
	uint32_t max_channels; // 1…VMBUS_USER_MAX_CHANNELS, the primary included
	uint32_t max_version;  // enum nvsp_version, 0: any
};

// One message of the primary channel: an NVSP message; behind NVSP 107 of channel type 1 the
// RNDIS message, gathered. One that does not fit, or could not be read, has rndis_bytes 0.
struct netvsp_request {
	uint64_t transaction;
	bool wants_completion;
	uint32_t nvsp_bytes;  // ≤ sizeof(nvsp), longer ones are cut
	uint32_t rndis_bytes; // ≤ NETVSP_MAX_MESSAGE
	uint8_t nvsp[128];
	uint8_t rndis[NETVSP_MAX_MESSAGE];
};

// --- what comes out ----------------------------------------------------------------------------

// What is published for a request, in one batch; also that a request has neither is an answer.
struct netvsp_answer {
	uint64_t serial; // +1 each since the primary channel was opened; 0: none was made
	uint64_t transaction;
	bool completes;            // a completion for `transaction`
	uint32_t completion_bytes; // of its payload; 0 is legal
	uint32_t message_bytes;    // 0: none; else for a receive section, under NVSP 107, type 1
	uint8_t completion[NVSP_MESSAGE_BYTES];
	uint8_t message[NETVSP_MAX_MESSAGE];
};

// What has to be done before the answer is published.
enum netvsp_effect {
	NETVSP_SET_RECEIVE = 1 << 0,  // agreed.receive: set or revoked
	NETVSP_SET_SEND = 1 << 1,     // agreed.send
	NETVSP_SET_RSS = 1 << 2,      // agreed.rss
	NETVSP_SET_PATH = 1 << 3,     // phase, filter, MTU, offloads, vf.switched
	NETVSP_ASK_CHANNELS = 1 << 4, // n_wanted sub-channels; the answer is not ready
};

// Said unasked, on the primary channel, without a completion.
struct netvsp_notice {
	bool in_section; // an RNDIS message for a receive section; else an NVSP message
	uint32_t bytes;
	uint8_t data[192];
};

// --- what was agreed on ------------------------------------------------------------------------

struct netvsp_buffer {
	uint32_t gpadl;
	uint32_t id; // of the receive buffer: the page set of XFER_PAGES
	uint32_t section_bytes;
	uint32_t n_sections; // 0: no buffer
};

// Of checksums: TX is what the guest hands over to be computed, and is computed whatever the bit
// says; RX is what is reported, and only where the bit is set may a frame be handed over with an
// unfinished checksum.
enum netvsp_offload {
	NETVSP_TX_IPV4 = 1 << 0,
	NETVSP_TX_TCPV4 = 1 << 1,
	NETVSP_TX_UDPV4 = 1 << 2,
	NETVSP_TX_TCPV6 = 1 << 3,
	NETVSP_TX_UDPV6 = 1 << 4,
	NETVSP_RX_IPV4 = 1 << 5,
	NETVSP_RX_TCPV4 = 1 << 6,
	NETVSP_RX_UDPV4 = 1 << 7,
	NETVSP_RX_TCPV6 = 1 << 8,
	NETVSP_RX_UDPV6 = 1 << 9,
	NETVSP_LSO_V4 = 1 << 10,
	NETVSP_LSO_V6 = 1 << 11,
	NETVSP_RSC_V4 = 1 << 12,
	NETVSP_RSC_V6 = 1 << 13,
};

struct netvsp_rss {
	uint32_t hash;      // enum ndis_hash; 0: RSS is off, and all else is 0
	uint32_t n_entries; // power of two ≤ NDIS_RSS_MAX_ENTRIES
	uint8_t key[NDIS_RSS_KEY_BYTES];
	uint8_t table[NDIS_RSS_MAX_ENTRIES]; // channels: open when the guest named them
};

struct netvsp_agreed {
	enum vmbus_state_phase phase;
	uint32_t nvsp_version; // enum nvsp_version
	uint32_t ndis_version; // major in the upper half
	uint32_t mtu;          // frame without FCS as the guest set it; 0: not yet
	uint64_t capabilities; // enum nvsp_capability
	struct netvsp_buffer receive, send;
	uint32_t packet_filter; // enum ndis_packet_filter
	uint32_t n_subchannels; // granted
	uint32_t offloads;      // enum netvsp_offload
	struct netvsp_rss rss;
};

// --- the machine -------------------------------------------------------------------------------

struct netvsp_control {
	// To be read by anybody on the control thread.
	struct netvsp_agreed agreed;
	struct netvsp_vf vf; // offers and withdrawals: vf.h
	uint32_t n_wanted;   // sub-channels, with NETVSP_ASK_CHANNELS
	uint64_t answer_serial;
	struct netvsp_control_counters {
		uint64_t n_requests;
		uint64_t n_refused;   // well-formed, but not now or not with these values
		uint64_t n_malformed; // cut short, or lengths lie
		uint64_t n_unknown;   // message types and OIDs
	} counters;

	// Its owner may change mac, any_mac and mtu between requests.
	struct netvsp_config config;

	// Private.
	struct netvsp_agreed before; // the last request
	uint32_t type;               // of the last request, enum nvsp_type
	uint64_t open_channels;      // bit n: channel n
	bool awaits_channels;
	struct netvsp_told {
		bool link_up, table, offloads, announced; // the last three: nothing is to be said
		uint32_t speed;                           // 100 bit/s
		uint64_t table_channels;                  // over which the table spread
	} told;
	uint64_t last_link_ns; // when a link indication was made, 0: never
	struct netvsp_saying {
		uint32_t what; // enum what in notice.c, 0: nothing
		bool link_up;
		uint32_t speed;
		uint64_t channels, now_ns;
		struct netvsp_vf_word vf;
	} saying;
	uint16_t name[NETVSP_NAME_UNITS]; // UTF-16
};

// config: copied, with its name.
void netvsp_control_init(struct netvsp_control *control, const struct netvsp_config *config);

// The primary channel was closed or the guest reset: nothing is agreed on any more. Buffers are
// void at once, serials of answers begin again. Counters go on.
void netvsp_control_reset(struct netvsp_control *control);

// Handles one message. Returns bits of enum netvsp_effect; *answer is ready unless
// NETVSP_ASK_CHANNELS is among them. No other message until then.
uint32_t netvsp_control_handle(struct netvsp_control *control,
			       const struct netvsp_request *request, struct netvsp_answer *answer);

// The VMM has offered n of the n_wanted sub-channels, 0 if it could not. Finishes *answer. Does
// nothing if nobody waits for it any more.
void netvsp_control_granted(struct netvsp_control *control, uint32_t n,
			    struct netvsp_answer *answer);

// An effect of the last message could not be had: what was agreed on is as it was before, *answer
// says so to the guest. A switch of the data path is not undone.
void netvsp_control_failed(struct netvsp_control *control, struct netvsp_answer *answer);

// The VMM tears a GPADL down. Returns NETVSP_SET_RECEIVE, NETVSP_SET_SEND or both if a buffer was
// made of it: it is none any more.
uint32_t netvsp_control_forget_gpadl(struct netvsp_control *control, uint32_t gpadl);

// Channels that are open: bit n for channel n. After each OPEN and CLOSE.
void netvsp_control_set_open(struct netvsp_control *control, uint64_t channels);

// The port's link. speed: bit/s. The guest hears of it by a notice.
void netvsp_control_set_link(struct netvsp_control *control, bool up, uint64_t speed);

// The guest woke up on another host: it should renew its addresses. Said by a notice.
void netvsp_control_announce(struct netvsp_control *control);

// Bytes of the largest frame that the guest may send or take, without FCS, VLAN tag and LSO; 0
// before it has told its MTU.
uint32_t netvsp_control_max_frame(const struct netvsp_control *control);

// Bytes of a section of the receive buffer for frames of `mtu` bytes without FCS.
uint32_t netvsp_section_bytes(uint32_t mtu);

// --- notices -----------------------------------------------------------------------------------

// What should be said now, if anything; ask again after every request, every change from outside,
// and when netvsp_control_told was called. now_ns: a clock that only goes forward, not 0. Returns
// false if there is nothing to say, or nothing yet: see netvsp_control_notice_at.
bool netvsp_control_notice(struct netvsp_control *control, uint64_t now_ns,
			   struct netvsp_notice *out);

// The notice that was given last is published.
void netvsp_control_told(struct netvsp_control *control);

// When a notice that has to wait is due, in ns of the same clock; 0: none waits.
uint64_t netvsp_control_notice_at(const struct netvsp_control *control);

// --- state memory ------------------------------------------------------------------------------

// Writes all of *record but `serial`. answer: the last one, published or not, may be NULL when
// there was none.
void netvsp_control_encode(const struct netvsp_control *control,
			   const struct netvsp_answer *answer, struct vmbus_state_record *record);

// Takes over what a record says, into a control that was initialised and not used, and the answer
// with its serial. *record is the caller's private copy; nothing in it is believed. GPADLs must
// be known by now. Returns 0 or -EINVAL, then *control is unchanged. Everything an effect could
// name is then to be done, and netvsp_control_set_open to be called.
int netvsp_control_decode(struct netvsp_control *control, const struct vmbus_state_record *record,
			  struct netvsp_answer *answer, struct err *err);
