// SPDX-License-Identifier: Apache-2.0
// The state memory of a NIC, layout 1, as bytes: docs/vmbus-user.md, section 7. A VMM keeps it, the
// running switch only writes it, and reads it once after a restart, as hostile as any guest's
// memory. No behaviour.
#pragma once

#include "vmbus/user.h"

#define VMBUS_STATE_MAGIC 0x3143494e54464557ull // the bytes "WEFTNIC1"
#define VMBUS_STATE_LAYOUT 1
#define VMBUS_STATE_SECTIONS 32768
#define VMBUS_STATE_MAX_ENTRIES 2016 // n_freed + n_taken of a batch

// 7.2, control thread
struct VMBUS_USER_PACKED vmbus_state_header {
	le64 magic; // stored last when the memory is made
	le32 layout;
	le32 bytes; // of the whole memory
	uint8_t guid[16];
	le64 instance;   // of the switch that serves the NIC
	le64 n_adopted;  // times
	le64 record;     // serial of the current control record; its copy is serial % 2; release
	uint8_t reserved[4040];
};
static_assert(sizeof(struct vmbus_state_header) == 4096);
static_assert(offsetof(struct vmbus_state_header, record) == 48);

enum vmbus_state_phase {
	VMBUS_STATE_NOTHING,
	VMBUS_STATE_VERSION,     // NVSP version agreed on
	VMBUS_STATE_RNDIS,       // RNDIS packets seen
	VMBUS_STATE_OPERATIONAL, // RNDIS initialised
	VMBUS_STATE_HALTED,
};

enum vmbus_state_answer { VMBUS_STATE_NO_ANSWER, VMBUS_STATE_COMPLETION, VMBUS_STATE_RNDIS_ANSWER };

// A receive or send buffer. n_sections 0: none.
struct VMBUS_USER_PACKED vmbus_state_buffer {
	le32 gpadl;
	le32 id;
	le32 section_bytes;
	le32 n_sections;
};

// 7.3, control thread; never changed in place
struct VMBUS_USER_PACKED vmbus_state_record {
	le64 serial;
	le32 phase; // enum vmbus_state_phase
	le32 nvsp_version;
	le32 ndis_version; // major in the upper half
	le32 mtu;          // NDIS_CONFIG: frame without FCS, bytes
	le64 capabilities; // NDIS_CONFIG
	struct vmbus_state_buffer receive, send;
	le32 packet_filter;
	le32 n_subchannels; // granted
	le32 link_told;     // bit 0: up
	le32 speed_told;    // 100 bit/s
	le32 data_path;     // 0 synthetic, 1 VF
	le32 vf_serial_told;
	uint8_t offloads[16];
	le32 rss_hash_info; // 0: RSS is off
	le32 n_rss_entries; // 0…256
	uint8_t rss_key[40];
	uint8_t rss_table[256]; // channels
	le32 told;              // bit 0: send indirection table
	le32 reserved;
	le64 answer; // serial of the last answer made, +1 each; its content follows. 0: none
	le64 answer_transaction;
	le32 answer_kind;  // enum vmbus_state_answer
	le32 answer_bytes; // 0…4096
	uint8_t answer_completion[40];
	uint8_t mac[6]; // the NIC's own, of which the driver knows; zeros: not noted
	uint8_t reserved2[26];
	uint8_t answer_message[4096];
	uint8_t reserved3[3584];
};
static_assert(sizeof(struct vmbus_state_record) == 8192);
static_assert(offsetof(struct vmbus_state_record, receive) == 32);
static_assert(offsetof(struct vmbus_state_record, offloads) == 88);
static_assert(offsetof(struct vmbus_state_record, rss_table) == 152);
static_assert(offsetof(struct vmbus_state_record, answer) == 416);
static_assert(offsetof(struct vmbus_state_record, mac) == 480);
static_assert(offsetof(struct vmbus_state_record, answer_message) == 512);

// 7.4: parts of an entry of the section table.
#define VMBUS_STATE_NEXT 0xffffu     // next section of the packet, or VMBUS_STATE_LAST
#define VMBUS_STATE_LAST 0xffffu
#define VMBUS_STATE_HOLDER_SHIFT 16  // channel + 1, 8 bits; 0: free
#define VMBUS_STATE_FIRST (1u << 24) // its number is the packet's transaction id

#define VMBUS_STATE_TAKEN_FIRST 0x8000u // of a taken section in a slot: first of its packet

// 7.5: the journal of one batch; channel's worker
struct VMBUS_USER_PACKED vmbus_state_slot {
	le64 number;
	le32 in_from, in_to;   // read index of the ring from the guest
	le32 out_from, out_to; // write index of the ring to the guest
	le16 n_freed, n_taken;
	le16 n_frames_in, n_frames_out;
	le64 answered; // serial of the last answer published, by this batch or before
	uint8_t reserved[24];
	le16 entries[VMBUS_STATE_MAX_ENTRIES]; // n_freed heads, then n_taken sections
};
static_assert(sizeof(struct vmbus_state_slot) == 4096);
static_assert(offsetof(struct vmbus_state_slot, answered) == 32);
static_assert(offsetof(struct vmbus_state_slot, entries) == 64);

// 7.5: a channel's block; channel's worker
struct VMBUS_USER_PACKED vmbus_state_channel {
	le64 batch;       // number of the last sealed batch, 0: none; its slot is number % 2;
			  // release
	le32 open_serial; // of the OPEN the block belongs to
	le32 reserved;
	le64 n_frames_in, n_frames_out;
	uint8_t reserved2[4064];
	struct vmbus_state_slot slots[2];
};
static_assert(sizeof(struct vmbus_state_channel) == 12288);

// 7.1: the whole of it
struct VMBUS_USER_PACKED vmbus_state {
	struct vmbus_state_header header;
	struct vmbus_state_record records[2];
	le32 sections[VMBUS_STATE_SECTIONS];
	struct vmbus_state_channel channels[VMBUS_USER_MAX_CHANNELS];
};
static_assert(offsetof(struct vmbus_state, sections) == 0x5000);
static_assert(offsetof(struct vmbus_state, channels) == 0x25000);
static_assert(sizeof(struct vmbus_state) == 0xe5000);
