// SPDX-License-Identifier: Apache-2.0
// RNDIS as bytes: what NVSP's message 107 carries. All little endian; every message begins with
// type and length. Offsets named so in a comment count from byte 8, behind the header. Included
// by both ends; no behaviour. [MS-RNDIS]; per-packet information as Hyper-V's guests know it.
#pragma once

#include "base/types.h"

#define RNDIS_PACKED __attribute__((packed))

enum rndis_type {
	RNDIS_PACKET = 1,
	RNDIS_INITIALIZE = 2,
	RNDIS_HALT = 3,
	RNDIS_QUERY = 4,
	RNDIS_SET = 5,
	RNDIS_RESET = 6,
	RNDIS_INDICATE_STATUS = 7,
	RNDIS_KEEPALIVE = 8,
	RNDIS_SET_EX = 9,
	RNDIS_ANSWER = 0x80000000, // in the type of an answer; the rest is the request's
};

enum rndis_status {
	RNDIS_STATUS_SUCCESS = 0,
	RNDIS_STATUS_FAILURE = 0xc0000001,
	RNDIS_STATUS_NOT_SUPPORTED = 0xc00000bb,
	RNDIS_STATUS_BAD_VERSION = 0xc0010004,
	RNDIS_STATUS_INVALID_LENGTH = 0xc0010014,
	RNDIS_STATUS_INVALID_DATA = 0xc0010015,
	RNDIS_STATUS_BUFFER_TOO_SHORT = 0xc0010016,
};

// Status of RNDIS_INDICATE_STATUS.
enum rndis_indication {
	RNDIS_INDICATE_MEDIA_CONNECT = 0x4001000b,
	RNDIS_INDICATE_MEDIA_DISCONNECT = 0x4001000c,
	RNDIS_INDICATE_LINK_SPEED_CHANGE = 0x40010013, // le32, units of 100 bit/s
	RNDIS_INDICATE_NETWORK_CHANGE = 0x40010018,
	RNDIS_INDICATE_OFFLOAD_CONFIG = 0x40020006, // struct ndis_offload
};

struct RNDIS_PACKED rndis_header {
	le32 type;  // enum rndis_type
	le32 bytes; // of the message, header included
};
static_assert(sizeof(struct rndis_header) == 8);

#define RNDIS_OFFSET_BASE 8 // where offsets count from

// --- control -----------------------------------------------------------------------------------

// What every request and answer but HALT begins with; all of HALT, RESET and KEEPALIVE.
struct RNDIS_PACKED rndis_request {
	struct rndis_header header;
	le32 id; // of RESET: reserved
};
static_assert(sizeof(struct rndis_request) == 12);

struct RNDIS_PACKED rndis_initialize {
	struct rndis_request request;
	le32 major, minor;
	le32 max_transfer; // bytes
};
static_assert(sizeof(struct rndis_initialize) == 24);

#define RNDIS_MAX_PACKETS 8 // in an NVSP message
#define RNDIS_MAX_TRANSFER 0xefffffffu
#define RNDIS_ALIGN_SHIFT 3 // packets in an NVSP message begin at multiples of 1 << 3

struct RNDIS_PACKED rndis_initialize_complete {
	struct rndis_request request;
	le32 status;
	le32 major, minor;
	le32 device_flags; // 1: connectionless
	le32 medium;       // 0: 802.3
	le32 max_packets;  // in a message
	le32 max_transfer;
	le32 align_shift;
	le32 reserved[2];
};
static_assert(sizeof(struct rndis_initialize_complete) == 52);

// QUERY and SET; the information buffer follows, mostly.
struct RNDIS_PACKED rndis_oid_request {
	struct rndis_request request;
	le32 oid; // ndis.h
	le32 info_bytes;
	le32 info_offset; // from byte 8
	le32 vc;          // 0
};
static_assert(sizeof(struct rndis_oid_request) == 28);

struct RNDIS_PACKED rndis_query_complete {
	struct rndis_request request;
	le32 status;
	le32 info_bytes;
	le32 info_offset; // from byte 8: 16
};
static_assert(sizeof(struct rndis_query_complete) == 24);

// Answers to SET and KEEPALIVE.
struct RNDIS_PACKED rndis_complete {
	struct rndis_request request;
	le32 status;
};
static_assert(sizeof(struct rndis_complete) == 16);

struct RNDIS_PACKED rndis_reset_complete {
	struct rndis_header header;
	le32 status;
	le32 addressing_reset; // 1: the guest must send filter and multicast list again
};
static_assert(sizeof(struct rndis_reset_complete) == 16);

struct RNDIS_PACKED rndis_indicate_status {
	struct rndis_header header;
	le32 status; // enum rndis_indication
	le32 buffer_bytes;
	le32 buffer_offset; // from byte 8
};
static_assert(sizeof(struct rndis_indicate_status) == 20);

// Value of OID_GEN_RNDIS_CONFIG_PARAMETER; offsets from its first byte.
struct RNDIS_PACKED rndis_config_parameter {
	le32 name_offset, name_bytes; // UTF-16
	le32 type;                    // enum rndis_config_type
	le32 value_offset, value_bytes;
};
static_assert(sizeof(struct rndis_config_parameter) == 20);

enum rndis_config_type { RNDIS_CONFIG_INTEGER = 0, RNDIS_CONFIG_STRING = 2 };

// --- frames ------------------------------------------------------------------------------------

struct RNDIS_PACKED rndis_packet {
	struct rndis_header header;
	le32 data_offset, data_bytes; // from byte 8; the frame
	le32 oob_offset, oob_bytes, n_oob;
	le32 ppi_offset, ppi_bytes; // from byte 8; elements of per-packet information
	le32 vc;
	le32 reserved;
};
static_assert(sizeof(struct rndis_packet) == 44);
static_assert(offsetof(struct rndis_packet, ppi_offset) == 28);

enum rndis_ppi_type {
	RNDIS_PPI_CHECKSUM = 0, // enum rndis_tx_checksum, enum rndis_rx_checksum
	RNDIS_PPI_IPSEC = 1,
	RNDIS_PPI_LSO = 2,
	RNDIS_PPI_CLASSIFY = 3,
	RNDIS_PPI_SG_LIST = 5,
	RNDIS_PPI_VLAN = 6,
	RNDIS_PPI_ORIGINAL_PACKET = 7,
	RNDIS_PPI_HASH_VALUE = 8,
	RNDIS_PPI_HASH_INFO = 9, // as enum ndis_hash
	RNDIS_PPI_INTERNAL = 0x80000000,
	RNDIS_PPI_PACKET_ID = RNDIS_PPI_INTERNAL | 1, // struct rndis_packet_id
};

// One element; its data follows at `offset`, mostly a le32. The next one begins at `bytes`.
struct RNDIS_PACKED rndis_ppi {
	le32 bytes;  // of the element
	le32 type;   // enum rndis_ppi_type
	le32 offset; // of the data in the element: 12
};
static_assert(sizeof(struct rndis_ppi) == 12);

// An element as most are.
struct RNDIS_PACKED rndis_ppi_u32 {
	struct rndis_ppi ppi;
	le32 value;
};
static_assert(sizeof(struct rndis_ppi_u32) == 16);

// RNDIS_PPI_CHECKSUM from the guest: what is to be computed.
enum rndis_tx_checksum {
	RNDIS_TX_IS_IPV4 = 1 << 0,
	RNDIS_TX_IS_IPV6 = 1 << 1,
	RNDIS_TX_TCP = 1 << 2,
	RNDIS_TX_UDP = 1 << 3,
	RNDIS_TX_IP_HEADER = 1 << 4,
};
#define RNDIS_TX_L4_OFFSET_SHIFT 16 // of the TCP or UDP header in the frame; 0: look for it
#define RNDIS_TX_L4_OFFSET_MASK 0x3ffu

// RNDIS_PPI_CHECKSUM to the guest: what was found.
enum rndis_rx_checksum {
	RNDIS_RX_TCP_FAILED = 1 << 0,
	RNDIS_RX_UDP_FAILED = 1 << 1,
	RNDIS_RX_IP_FAILED = 1 << 2,
	RNDIS_RX_TCP_GOOD = 1 << 3,
	RNDIS_RX_UDP_GOOD = 1 << 4,
	RNDIS_RX_IP_GOOD = 1 << 5,
	RNDIS_RX_LOOPBACK = 1 << 6,
	RNDIS_RX_TCP_VALUE_INVALID = 1 << 7, // the field in the header is not filled in
	RNDIS_RX_IP_VALUE_INVALID = 1 << 8,
};

// RNDIS_PPI_LSO.
#define RNDIS_LSO_MSS_MASK 0xfffffu
#define RNDIS_LSO_TCP_OFFSET_SHIFT 20 // of the TCP header in the frame
#define RNDIS_LSO_TCP_OFFSET_MASK 0x3ffu
#define RNDIS_LSO_V2 (1u << 30)   // else version 1
#define RNDIS_LSO_IPV6 (1u << 31) // version 2 only

// RNDIS_PPI_VLAN.
#define RNDIS_VLAN_PRIORITY_MASK 7u
#define RNDIS_VLAN_CFI (1u << 3)
#define RNDIS_VLAN_ID_SHIFT 4
#define RNDIS_VLAN_ID_MASK 0xfffu

enum rndis_packet_id_flag {
	RNDIS_PACKET_ID_SUB_ALLOCATION = 1,
	RNDIS_PACKET_ID_FIRST = 2,
	RNDIS_PACKET_ID_LAST = 4,
};

// RNDIS_PPI_PACKET_ID: pieces of one coalesced frame (RSC) carry the same id.
struct RNDIS_PACKED rndis_packet_id {
	uint8_t version; // 1
	uint8_t flags;   // enum rndis_packet_id_flag
	le16 id;
};
static_assert(sizeof(struct rndis_packet_id) == 4);
