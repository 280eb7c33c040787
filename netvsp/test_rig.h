// SPDX-License-Identifier: Apache-2.0
// For tests and the bench: one channel on real rings in memory, and a guest's end of it that does
// what it is told, right or wrong. The guest's memory is one block; whatever the guest shares lies
// in it as a driver would have it, in one piece or page by page from the back.
#pragma once

#include "dataplane/port.h"
#include "net/test_util.h"
#include "netvsp/channel.h"
#include "netvsp/rndis.h"
#include "netvsp/sections.h"
#include "vmbus/packet.h"

#define RIG_GPA 0x100000ull    // where the guest's memory begins
#define RIG_PAGES 64u            // free pages to send from …
#define RIG_PAGES_GAP 0x40000000 // … so far behind, in two regions that follow each other
#define RIG_SECTION 6144u      // bytes of a send section
#define RIG_N_SEND 32u
#define RIG_PAGE_SET 0xcafe

struct rig_cfg {
	uint32_t ring_pages; // of each ring, header included; 0: 9
	uint32_t n_sections; // of the receive buffer; 0: 64
	uint32_t max_frame;  // 0: 1514
	bool scattered;      // every GPADL lies page by page, in reverse
	bool no_send;        // the guest has no send buffer
	bool primary;        // there is a mailbox
	unsigned int index;
	uint32_t n_mbufs; // of the small pool; 0: 512
};

struct rig {
	struct rig_cfg cfg;
	uint8_t *ram, *pages; // pages: RIG_PAGES pages at RIG_GPA + RIG_PAGES_GAP
	uint32_t ram_bytes, section_bytes;
	struct vmbus_run *runs;
	struct vmbus_runs rings, receive, send;
	struct guest_memory memory;
	struct port_pools pools;
	struct netvsp_guest guest;
	struct netvsp_mailbox mailbox;
	struct netvsp_counters counters;
	struct vmbus_state *state;
	struct vmbus_bell bell;
	struct netvsp_channel *channel;
	// The guest's ends.
	struct vmbus_writer tx;
	struct vmbus_reader rx;
};

// Makes guest, rings, buffers and a live channel. Fails the running test if it cannot.
void rig_create(struct rig *rig, const struct rig_cfg *cfg);

// The same without channel and sections: for a successor. rig_open makes them.
void rig_create_closed(struct rig *rig, const struct rig_cfg *cfg);
int rig_open(struct rig *rig, bool resume);

// Frees all of it; every mbuf must be back.
void rig_destroy(struct rig *rig);

// --- the guest sends ---------------------------------------------------------------------------

// A frame as an RNDIS packet; zeroes: no such information.
struct rig_frame {
	const void *data;
	uint32_t bytes;
	uint32_t csum, lso, vlan; // values of per-packet information, 0: none
	uint32_t hash;            // one the switch does not need
	bool align;               // length rounded up to 8: others follow
};

#define RIG_RNDIS_BYTES 128u // what the packet is longer than its frame, at most

// Writes it to to[bytes + RIG_RNDIS_BYTES]. Returns its length.
uint32_t rig_rndis(uint8_t *to, const struct rig_frame *frame);

// Byte `at` of send section `section`, and where page `page` of the second region is.
uint8_t *rig_send_section(struct rig *rig, uint32_t section, uint32_t at);
uint8_t *rig_page(struct rig *rig, uint32_t page);
uint64_t rig_page_gpa(uint32_t page);

// Puts bytes into send section `section`, however it lies.
void rig_fill_section(struct rig *rig, uint32_t section, uint32_t at, const void *from,
		      uint32_t bytes);

// A packet that carries an RNDIS message: `bytes` of a section, or NVSP_NO_SECTION; then pieces of
// memory, a range each. Not published before rig_kick.
void rig_send(struct rig *rig, uint64_t id, uint32_t section, uint32_t bytes,
	      const struct vmbus_piece *pieces, uint32_t n);

// Any packet with an NVSP payload.
void rig_put(struct rig *rig, const struct vmbus_packet_out *packet);

// The guest acknowledges packet `id`.
void rig_ack(struct rig *rig, uint64_t id);

// What was put becomes visible. Returns true if the switch must be signalled.
bool rig_kick(struct rig *rig);

// --- the guest receives ------------------------------------------------------------------------

// A packet from the switch.
struct rig_packet {
	uint16_t type; // enum vmbus_packet_type
	uint64_t id;
	uint32_t nvsp_type;
	uint32_t status;       // of a completion
	uint32_t channel_type; // of a transfer
	struct vmbus_sections sections;
};

// Reads the next one and lets the switch have its space. False: there is none.
bool rig_read(struct rig *rig, struct rig_packet *packet);

// Copies section i of a transfer, which lies in the receive buffer, to to[]; returns its bytes.
uint32_t rig_read_section(struct rig *rig, const struct rig_packet *packet, uint32_t i,
			  uint8_t *to);

// A received frame: its RNDIS packet is checked.
struct rig_received {
	uint32_t bytes, offset; // of the frame in the message
	uint32_t csum, vlan, hash, hash_kind, packet_id; // values
	uint32_t present; // bit n: per-packet information n of the five above
};
enum { RIG_CSUM = 1, RIG_VLAN = 2, RIG_HASH = 4, RIG_HASH_KIND = 8, RIG_PACKET_ID = 16 };

void rig_parse(const uint8_t *message, uint32_t bytes, struct rig_received *out);
