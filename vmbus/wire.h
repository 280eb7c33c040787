// SPDX-License-Identifier: Apache-2.0
// VMBus as bytes: channel messages, ring headers, ring packets, page ranges. All little endian.
// Included by both ends; no behaviour. Facts: the guest drivers of Linux and DPDK and OpenVMM's
// vmbus_core; TLFS, "SynIC" for what carries the messages.
#pragma once

#include "base/types.h"

#define VMBUS_PACKED __attribute__((packed))
#define VMBUS_PAGE_BYTES 4096u // whatever the guest's page size

// --- channel messages --------------------------------------------------------------------------

#define VMBUS_MAX_MESSAGE 240 // bytes of a SynIC message's payload
#define VMBUS_MESSAGE_SINT 2  // before 5.0; from then on the guest says which
#define VMBUS_MAX_RELID 2047  // event flags are numbered so; 0 is none

// To which a guest posts its messages.
enum vmbus_connection_id {
	VMBUS_CONNECTION_MESSAGE = 1,
	VMBUS_CONNECTION_EVENT = 2,
	VMBUS_CONNECTION_MONITOR = 3,
	VMBUS_CONNECTION_MULTI = 4, // INITIATE_CONTACT from 5.0 on
};

enum vmbus_version {
	VMBUS_VERSION_1 = 0x0000000d,
	VMBUS_VERSION_WIN7 = 0x00010001,
	VMBUS_VERSION_WIN8 = 0x00020004,
	VMBUS_VERSION_WIN8_1 = 0x00030000,
	VMBUS_VERSION_WIN10 = 0x00040000,
	VMBUS_VERSION_RS3 = 0x00040001,      // MODIFY_CHANNEL
	VMBUS_VERSION_RS3_1 = 0x00050000,    // connection id in VERSION_RESPONSE
	VMBUS_VERSION_RS4 = 0x00050001,
	VMBUS_VERSION_RS5 = 0x00050002,
	VMBUS_VERSION_IRON = 0x00050003,     // MODIFY_CHANNEL_RESPONSE
	VMBUS_VERSION_COPPER = 0x00060000,   // feature flags
};

enum vmbus_message_type {
	VMBUS_OFFER_CHANNEL = 1,
	VMBUS_RESCIND_CHANNEL_OFFER = 2,
	VMBUS_REQUEST_OFFERS = 3,
	VMBUS_ALL_OFFERS_DELIVERED = 4,
	VMBUS_OPEN_CHANNEL = 5,
	VMBUS_OPEN_RESULT = 6,
	VMBUS_CLOSE_CHANNEL = 7,
	VMBUS_GPADL_HEADER = 8,
	VMBUS_GPADL_BODY = 9,
	VMBUS_GPADL_CREATED = 10,
	VMBUS_GPADL_TEARDOWN = 11,
	VMBUS_GPADL_TORNDOWN = 12,
	VMBUS_RELID_RELEASED = 13,
	VMBUS_INITIATE_CONTACT = 14,
	VMBUS_VERSION_RESPONSE = 15,
	VMBUS_UNLOAD = 16,
	VMBUS_UNLOAD_COMPLETE = 17,
	VMBUS_MODIFY_CHANNEL = 22,
	VMBUS_MODIFY_CHANNEL_RESPONSE = 24,
};

#define VMBUS_STATUS_SUCCESS 0u
#define VMBUS_STATUS_FAILURE 0x8000ffffu

// The beginning of every message; REQUEST_OFFERS, ALL_OFFERS_DELIVERED, UNLOAD and
// UNLOAD_COMPLETE have nothing else.
struct VMBUS_PACKED vmbus_message {
	le32 type; // enum vmbus_message_type
	le32 padding;
};
static_assert(sizeof(struct vmbus_message) == 8);

enum vmbus_offer_flag {
	VMBUS_OFFER_ENUMERATE_DEVICE_INTERFACE = 1,
	VMBUS_OFFER_NAMED_PIPE = 0x10,
};

#define VMBUS_OFFER_NO_MONITOR 255

struct VMBUS_PACKED vmbus_offer_channel {
	struct vmbus_message message;
	uint8_t interface_type[16]; // GUIDs in Microsoft's mixed order
	uint8_t instance[16];
	uint8_t reserved[16];
	le16 flags; // enum vmbus_offer_flag
	le16 mmio_megabytes;
	uint8_t user_data[120];
	le16 subchannel; // 0: the primary
	le16 mmio_megabytes_optional;
	le32 relid;                // 1…2047
	uint8_t monitor_id;        // 0…127, or VMBUS_OFFER_NO_MONITOR
	uint8_t monitor_allocated; // bit 0
	le16 dedicated_interrupt;  // bit 0
	le32 connection_id;        // for HvCallSignalEvent
};
static_assert(sizeof(struct vmbus_offer_channel) == 196);
static_assert(offsetof(struct vmbus_offer_channel, flags) == 56);
static_assert(offsetof(struct vmbus_offer_channel, subchannel) == 180);
static_assert(offsetof(struct vmbus_offer_channel, connection_id) == 192);

// RESCIND_CHANNEL_OFFER, CLOSE_CHANNEL, RELID_RELEASED.
struct VMBUS_PACKED vmbus_relid_message {
	struct vmbus_message message;
	le32 relid;
};
static_assert(sizeof(struct vmbus_relid_message) == 12);

#define VMBUS_NO_INTERRUPT 0xffffffffu // as target_vp

struct VMBUS_PACKED vmbus_open_channel {
	struct vmbus_message message;
	le32 relid;
	le32 open_id; // returned in OPEN_RESULT
	le32 gpadl;   // of both rings, guest to host first
	le32 target_vp;
	le32 downstream_page; // at which the ring from host to guest begins
	uint8_t user_data[120];
};
static_assert(sizeof(struct vmbus_open_channel) == 148);
static_assert(offsetof(struct vmbus_open_channel, user_data) == 28);

// 6.0: the first two count only with a feature flag each.
struct VMBUS_PACKED vmbus_open_channel_copper {
	struct vmbus_open_channel open;
	le32 connection_id;
	le16 event_flag;
	le16 flags;
};
static_assert(sizeof(struct vmbus_open_channel_copper) == 156);

struct VMBUS_PACKED vmbus_open_result {
	struct vmbus_message message;
	le32 relid;
	le32 open_id;
	le32 status;
};
static_assert(sizeof(struct vmbus_open_result) == 20);

// One stretch of guest memory: bytes, where it begins in its first page, and then that many page
// numbers (le64) as it touches: ceil((byte_offset + byte_count) / 4096).
struct VMBUS_PACKED vmbus_gpa_range {
	le32 byte_count;
	le32 byte_offset; // 0…4095
};
static_assert(sizeof(struct vmbus_gpa_range) == 8);

struct VMBUS_PACKED vmbus_gpadl_header {
	struct vmbus_message message;
	le32 relid;
	le32 gpadl;
	le16 range_bytes; // length of the stream of ranges, here and in the bodies
	le16 n_ranges;
	uint8_t data[];
};
static_assert(sizeof(struct vmbus_gpadl_header) == 20);

struct VMBUS_PACKED vmbus_gpadl_body {
	struct vmbus_message message;
	le32 number; // guests leave anything here
	le32 gpadl;
	uint8_t data[];
};
static_assert(sizeof(struct vmbus_gpadl_body) == 16);

struct VMBUS_PACKED vmbus_gpadl_created {
	struct vmbus_message message;
	le32 relid;
	le32 gpadl;
	le32 status;
};
static_assert(sizeof(struct vmbus_gpadl_created) == 20);

struct VMBUS_PACKED vmbus_gpadl_teardown {
	struct vmbus_message message;
	le32 relid;
	le32 gpadl;
};
static_assert(sizeof(struct vmbus_gpadl_teardown) == 16);

struct VMBUS_PACKED vmbus_gpadl_torndown {
	struct vmbus_message message;
	le32 gpadl;
};
static_assert(sizeof(struct vmbus_gpadl_torndown) == 12);

struct VMBUS_PACKED vmbus_initiate_contact {
	struct vmbus_message message;
	le32 version;
	le32 target_vp;
	uint8_t sint, vtl; // from 5.0, 5.1; before, the GPA of an interrupt page
	le16 padding;
	le32 feature_flags; // from 6.0
	le64 to_guest_monitor_gpa, to_host_monitor_gpa;
};
static_assert(sizeof(struct vmbus_initiate_contact) == 40);

// 6.0, with the feature flag for it.
struct VMBUS_PACKED vmbus_initiate_contact_copper {
	struct vmbus_initiate_contact contact;
	uint8_t client[16]; // GUID
};
static_assert(sizeof(struct vmbus_initiate_contact_copper) == 56);

enum vmbus_connection_state {
	VMBUS_CONNECTION_OK,
	VMBUS_CONNECTION_LOW_RESOURCES,
	VMBUS_CONNECTION_FAILED,
};

struct VMBUS_PACKED vmbus_version_response {
	struct vmbus_message message;
	uint8_t supported;
	uint8_t state; // enum vmbus_connection_state; read from Win8 on
	le16 padding;
	le32 connection_id; // from 5.0; before, the version
};
static_assert(sizeof(struct vmbus_version_response) == 16);

// 6.0
struct VMBUS_PACKED vmbus_version_response_copper {
	struct vmbus_version_response response;
	le32 feature_flags; // agreed on
};
static_assert(sizeof(struct vmbus_version_response_copper) == 20);

struct VMBUS_PACKED vmbus_modify_channel {
	struct vmbus_message message;
	le32 relid;
	le32 target_vp;
};
static_assert(sizeof(struct vmbus_modify_channel) == 16);

struct VMBUS_PACKED vmbus_modify_channel_response {
	struct vmbus_message message;
	le32 relid;
	le32 status;
};
static_assert(sizeof(struct vmbus_modify_channel_response) == 16);

// --- rings -------------------------------------------------------------------------------------

#define VMBUS_RING_FEATURE_PENDING_SEND 1u // the producer sets pending_send and wants its wake-up

// First page of a ring; data pages follow. Indices are bytes into the data, multiples of 8, below
// its size; equal means empty.
struct vmbus_ring_header {
	le32 write;          // producer: w
	le32 read;           // consumer: w
	le32 interrupt_mask; // consumer: w. 1: do not ring for new packets
	le32 pending_send;   // producer: w. Free bytes it waits for, 0: none
	uint8_t reserved[48];
	le32 features; // producer: w
	uint8_t reserved2[4028];
};
static_assert(sizeof(struct vmbus_ring_header) == VMBUS_PAGE_BYTES);
static_assert(offsetof(struct vmbus_ring_header, features) == 64);

enum vmbus_packet_type {
	VMBUS_PACKET_INBAND = 6,
	VMBUS_PACKET_XFER_PAGES = 7,
	VMBUS_PACKET_GPA_DIRECT = 9,
	VMBUS_PACKET_COMPLETION = 0xb,
};

#define VMBUS_PACKET_WANTS_COMPLETION 1 // the only flag
#define VMBUS_PACKET_TRAILER_BYTES 8    // high half: where the packet began; never trusted
#define VMBUS_PACKET_MAX_BYTES (65535u * 8)

struct VMBUS_PACKED vmbus_packet_header {
	le16 type;
	le16 payload8; // where the payload begins, in 8 bytes
	le16 length8;  // header and padded payload without trailer, in 8 bytes
	le16 flags;
	le64 transaction;
};
static_assert(sizeof(struct vmbus_packet_header) == 16);

// Behind the packet header of GPA_DIRECT; then n_ranges × (struct vmbus_gpa_range, page numbers).
struct VMBUS_PACKED vmbus_gpa_direct {
	le32 reserved;
	le32 n_ranges;
};
static_assert(sizeof(struct vmbus_gpa_direct) == 8);

// Behind the packet header of XFER_PAGES; then n_ranges × struct vmbus_xfer_range.
struct VMBUS_PACKED vmbus_xfer_pages {
	le16 page_set; // the *id* given with the receive buffer
	uint8_t sender_owns, padding;
	le32 n_ranges;
};
static_assert(sizeof(struct vmbus_xfer_pages) == 8);

struct VMBUS_PACKED vmbus_xfer_range {
	le32 byte_count;
	le32 byte_offset; // in the page set
};
static_assert(sizeof(struct vmbus_xfer_range) == 8);

// --- monitor page ------------------------------------------------------------------------------

#define VMBUS_MONITOR_IDS 128

struct VMBUS_PACKED vmbus_monitor_page {
	le32 trigger_state;
	le32 reserved;
	struct VMBUS_PACKED {
		le32 pending; // bit id % 32 of group id / 32
		le32 armed;
	} groups[4];
	uint8_t reserved2[4096 - 8 - 4 * 8];
};
static_assert(sizeof(struct vmbus_monitor_page) == VMBUS_PAGE_BYTES);
