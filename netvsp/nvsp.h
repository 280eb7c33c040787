// SPDX-License-Identifier: Apache-2.0
// NVSP, the protocol between a synthetic NIC's driver and its host, as bytes: payloads of ring
// packets on the primary channel, and of the 107 and 108 that carry frames on any. All little
// endian; every message begins with its type. Included by both ends; no behaviour. Facts: the
// guest drivers of Linux and DPDK and OpenVMM's netvsp.
#pragma once

#include "base/types.h"

#define NVSP_PACKED __attribute__((packed))

enum nvsp_version {
	NVSP_VERSION_1 = 0x00002,
	NVSP_VERSION_2 = 0x30002,   // NDIS_CONFIG
	NVSP_VERSION_4 = 0x40000,   // VF association, data path
	NVSP_VERSION_5 = 0x50000,   // sub-channels, send indirection table
	NVSP_VERSION_6 = 0x60000,   // PD API
	NVSP_VERSION_6_1 = 0x60001, // RSC over VMBus
};

enum nvsp_type {
	NVSP_INIT = 1,
	NVSP_INIT_COMPLETE = 2,
	NVSP_SEND_NDIS_VERSION = 100,
	NVSP_SEND_RECV_BUF = 101,
	NVSP_RECV_BUF_COMPLETE = 102,
	NVSP_REVOKE_RECV_BUF = 103,
	NVSP_SEND_SEND_BUF = 104,
	NVSP_SEND_BUF_COMPLETE = 105,
	NVSP_REVOKE_SEND_BUF = 106,
	NVSP_RNDIS_PACKET = 107,
	NVSP_RNDIS_PACKET_COMPLETE = 108,
	NVSP_FIRST_OLD = 109, // chimney and VM queues: nobody sends them any more
	NVSP_LAST_OLD = 124,
	NVSP_SEND_NDIS_CONFIG = 125,
	NVSP_SEND_VF_ASSOCIATION = 128,
	NVSP_SWITCH_DATA_PATH = 129,
	NVSP_OID_QUERY_EX = 131,
	NVSP_OID_QUERY_EX_COMPLETE = 132,
	NVSP_SUBCHANNEL = 133, // request and answer
	NVSP_SEND_INDIRECTION_TABLE = 134,
	NVSP_PD_API = 135,
	NVSP_PD_POST_BATCH = 136,
};

enum nvsp_status {
	NVSP_STATUS_NONE = 0,
	NVSP_STATUS_SUCCESS = 1,
	NVSP_STATUS_FAILURE = 2,
	NVSP_STATUS_TOO_NEW = 3,
	NVSP_STATUS_TOO_OLD = 4,
	NVSP_STATUS_INVALID_RNDIS = 5,
	NVSP_STATUS_BUSY = 6,
	NVSP_STATUS_UNSUPPORTED = 7,
};

// A control message as guests lay it out in the ring, zero-filled; the ring pads it to 8.
#define NVSP_MESSAGE_BYTES 40     // from 6.1 on
#define NVSP_MESSAGE_OLD_BYTES 32 // before; 28 and padding

struct NVSP_PACKED nvsp_init {
	le32 type; // NVSP_INIT
	le32 min_version, max_version;
};
static_assert(sizeof(struct nvsp_init) == 12);

#define NVSP_MAX_MDL_CHAIN 34

struct NVSP_PACKED nvsp_init_complete {
	le32 type; // NVSP_INIT_COMPLETE
	le32 version; // deprecated
	le32 max_mdl_chain;
	le32 status; // enum nvsp_status
};
static_assert(sizeof(struct nvsp_init_complete) == 16);

struct NVSP_PACKED nvsp_ndis_version {
	le32 type; // NVSP_SEND_NDIS_VERSION
	le32 major, minor;
};
static_assert(sizeof(struct nvsp_ndis_version) == 12);

enum nvsp_capability {
	NVSP_CAPABILITY_VMQ = 1 << 0,
	NVSP_CAPABILITY_CHIMNEY = 1 << 1,
	NVSP_CAPABILITY_SRIOV = 1 << 2,
	NVSP_CAPABILITY_8021Q = 1 << 3,
	NVSP_CAPABILITY_CORRELATION_ID = 1 << 4,
	NVSP_CAPABILITY_TEAMING = 1 << 5,
	NVSP_CAPABILITY_VSID = 1 << 6,
	NVSP_CAPABILITY_RSC = 1 << 7,
};

struct NVSP_PACKED nvsp_ndis_config {
	le32 type; // NVSP_SEND_NDIS_CONFIG
	le32 mtu; // frame without FCS, bytes
	le32 reserved;
	le64 capabilities; // enum nvsp_capability
};
static_assert(sizeof(struct nvsp_ndis_config) == 20);

// SEND_RECV_BUF, SEND_SEND_BUF.
struct NVSP_PACKED nvsp_buffer {
	le32 type;
	le32 gpadl;
	le16 id; // of the receive buffer: the page set of XFER_PAGES packets
};
static_assert(sizeof(struct nvsp_buffer) == 10);

// REVOKE_RECV_BUF, REVOKE_SEND_BUF.
struct NVSP_PACKED nvsp_revoke {
	le32 type;
	le16 id;
};
static_assert(sizeof(struct nvsp_revoke) == 6);

struct NVSP_PACKED nvsp_recv_buf_complete {
	le32 type; // NVSP_RECV_BUF_COMPLETE
	le32 status;
	le32 n_areas; // 1: guests take no other number
	le32 offset;  // of the first section
	le32 section_bytes;
	le32 n_sections;
	le32 end; // offset behind the last
};
static_assert(sizeof(struct nvsp_recv_buf_complete) == 28);
static_assert(offsetof(struct nvsp_recv_buf_complete, offset) == 12);

struct NVSP_PACKED nvsp_send_buf_complete {
	le32 type; // NVSP_SEND_BUF_COMPLETE
	le32 status;
	le32 section_bytes;
};
static_assert(sizeof(struct nvsp_send_buf_complete) == 12);

enum nvsp_channel_type { NVSP_CHANNEL_DATA = 0, NVSP_CHANNEL_CONTROL = 1 };

#define NVSP_NO_SECTION 0xffffffffu

// Carries RNDIS messages: in a section of the send buffer, in pages, or in sections of the
// receive buffer.
struct NVSP_PACKED nvsp_rndis_packet {
	le32 type; // NVSP_RNDIS_PACKET
	le32 channel_type; // enum nvsp_channel_type
	le32 section; // of the send buffer, or NVSP_NO_SECTION
	le32 section_bytes;
};
static_assert(sizeof(struct nvsp_rndis_packet) == 16);

struct NVSP_PACKED nvsp_rndis_packet_complete {
	le32 type; // NVSP_RNDIS_PACKET_COMPLETE
	le32 status;
};
static_assert(sizeof(struct nvsp_rndis_packet_complete) == 8);

struct NVSP_PACKED nvsp_vf_association {
	le32 type; // NVSP_SEND_VF_ASSOCIATION
	le32 allocated; // 0 or 1
	le32 serial;    // by which the guest knows the VF's PCI device
};
static_assert(sizeof(struct nvsp_vf_association) == 12);

enum nvsp_data_path { NVSP_PATH_SYNTHETIC = 0, NVSP_PATH_VF = 1 };

struct NVSP_PACKED nvsp_switch_data_path {
	le32 type; // NVSP_SWITCH_DATA_PATH
	le32 active; // enum nvsp_data_path
};
static_assert(sizeof(struct nvsp_switch_data_path) == 8);

struct NVSP_PACKED nvsp_oid_query_ex_complete {
	le32 type; // NVSP_OID_QUERY_EX_COMPLETE
	le32 status; // enum rndis_status
	le32 bytes;
};
static_assert(sizeof(struct nvsp_oid_query_ex_complete) == 12);

#define NVSP_SUBCHANNEL_ALLOCATE 1

struct NVSP_PACKED nvsp_subchannel {
	le32 type; // NVSP_SUBCHANNEL
	le32 op; // request: NVSP_SUBCHANNEL_ALLOCATE; answer: enum nvsp_status
	le32 n;
};
static_assert(sizeof(struct nvsp_subchannel) == 12);

#define NVSP_INDIRECTION_ENTRIES 16

struct NVSP_PACKED nvsp_indirection_table {
	le32 type; // NVSP_SEND_INDIRECTION_TABLE
	le32 n; // NVSP_INDIRECTION_ENTRIES
	le32 offset; // of the table, from the message's first byte
	le32 channels[NVSP_INDIRECTION_ENTRIES];
};
static_assert(sizeof(struct nvsp_indirection_table) == 76);
static_assert(offsetof(struct nvsp_indirection_table, channels) == 12);
