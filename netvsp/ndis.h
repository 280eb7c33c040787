// SPDX-License-Identifier: Apache-2.0
// NDIS objects and object identifiers as bytes: the values that RNDIS QUERY and SET carry. All
// little endian. Included by both ends; no behaviour. Facts: Microsoft's documentation of the
// NDIS structures, [MS-RNDIS], and the guest drivers of Linux and DPDK.
#pragma once

#include "base/types.h"

#define NDIS_PACKED __attribute__((packed))

#define NDIS_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))
#define NDIS_VERSION_6_1 NDIS_VERSION(6, 1)
#define NDIS_VERSION_6_30 NDIS_VERSION(6, 30)

// Every OID that is answered: (name, number, what the guest may do, lowest NDIS version). In the
// order of the numbers. QUERY, SET, BOTH: enum ndis_access.
#define NDIS_OIDS(X) \
	X(GEN_SUPPORTED_LIST, 0x00010101, QUERY, 0) \
	X(GEN_HARDWARE_STATUS, 0x00010102, QUERY, 0) \
	X(GEN_MEDIA_SUPPORTED, 0x00010103, QUERY, 0) \
	X(GEN_MEDIA_IN_USE, 0x00010104, QUERY, 0) \
	X(GEN_MAXIMUM_LOOKAHEAD, 0x00010105, QUERY, 0) \
	X(GEN_MAXIMUM_FRAME_SIZE, 0x00010106, QUERY, 0) \
	X(GEN_LINK_SPEED, 0x00010107, QUERY, 0) \
	X(GEN_TRANSMIT_BUFFER_SPACE, 0x00010108, QUERY, 0) \
	X(GEN_RECEIVE_BUFFER_SPACE, 0x00010109, QUERY, 0) \
	X(GEN_TRANSMIT_BLOCK_SIZE, 0x0001010a, QUERY, 0) \
	X(GEN_RECEIVE_BLOCK_SIZE, 0x0001010b, QUERY, 0) \
	X(GEN_VENDOR_ID, 0x0001010c, QUERY, 0) \
	X(GEN_VENDOR_DESCRIPTION, 0x0001010d, QUERY, 0) \
	X(GEN_CURRENT_PACKET_FILTER, 0x0001010e, BOTH, 0) \
	X(GEN_CURRENT_LOOKAHEAD, 0x0001010f, BOTH, 0) \
	X(GEN_DRIVER_VERSION, 0x00010110, QUERY, 0) \
	X(GEN_MAXIMUM_TOTAL_SIZE, 0x00010111, QUERY, 0) \
	X(GEN_PROTOCOL_OPTIONS, 0x00010112, SET, 0) \
	X(GEN_MAC_OPTIONS, 0x00010113, QUERY, 0) \
	X(GEN_MEDIA_CONNECT_STATUS, 0x00010114, QUERY, 0) \
	X(GEN_MAXIMUM_SEND_PACKETS, 0x00010115, QUERY, 0) \
	X(GEN_VENDOR_DRIVER_VERSION, 0x00010116, QUERY, 0) \
	X(GEN_NETWORK_LAYER_ADDRESSES, 0x00010118, SET, 0) \
	X(GEN_RECEIVE_SCALE_CAPABILITIES, 0x00010203, QUERY, NDIS_VERSION_6_30) \
	X(GEN_RECEIVE_SCALE_PARAMETERS, 0x00010204, SET, NDIS_VERSION_6_30) \
	X(GEN_MAX_LINK_SPEED, 0x00010206, QUERY, NDIS_VERSION(6, 0)) \
	X(GEN_LINK_STATE, 0x00010207, QUERY, NDIS_VERSION(6, 0)) \
	X(GEN_RNDIS_CONFIG_PARAMETER, 0x0001021b, SET, 0) \
	X(GEN_XMIT_OK, 0x00020101, QUERY, 0) \
	X(GEN_RCV_OK, 0x00020102, QUERY, 0) \
	X(GEN_XMIT_ERROR, 0x00020103, QUERY, 0) \
	X(GEN_RCV_ERROR, 0x00020104, QUERY, 0) \
	X(GEN_RCV_NO_BUFFER, 0x00020105, QUERY, 0) \
	X(GEN_STATISTICS, 0x00020106, QUERY, NDIS_VERSION(6, 0)) \
	X(GEN_DIRECTED_BYTES_XMIT, 0x00020201, QUERY, 0) \
	X(GEN_DIRECTED_FRAMES_XMIT, 0x00020202, QUERY, 0) \
	X(GEN_MULTICAST_BYTES_XMIT, 0x00020203, QUERY, 0) \
	X(GEN_MULTICAST_FRAMES_XMIT, 0x00020204, QUERY, 0) \
	X(GEN_BROADCAST_BYTES_XMIT, 0x00020205, QUERY, 0) \
	X(GEN_BROADCAST_FRAMES_XMIT, 0x00020206, QUERY, 0) \
	X(GEN_DIRECTED_BYTES_RCV, 0x00020207, QUERY, 0) \
	X(GEN_DIRECTED_FRAMES_RCV, 0x00020208, QUERY, 0) \
	X(GEN_MULTICAST_BYTES_RCV, 0x00020209, QUERY, 0) \
	X(GEN_MULTICAST_FRAMES_RCV, 0x0002020a, QUERY, 0) \
	X(GEN_BROADCAST_BYTES_RCV, 0x0002020b, QUERY, 0) \
	X(GEN_BROADCAST_FRAMES_RCV, 0x0002020c, QUERY, 0) \
	X(GEN_FRIENDLY_NAME, 0x00020216, QUERY, 0) \
	X(GEN_BYTES_RCV, 0x00020219, QUERY, NDIS_VERSION(6, 0)) \
	X(GEN_BYTES_XMIT, 0x0002021a, QUERY, NDIS_VERSION(6, 0)) \
	X(GEN_RCV_DISCARDS, 0x0002021b, QUERY, NDIS_VERSION(6, 0)) \
	X(GEN_XMIT_DISCARDS, 0x0002021c, QUERY, NDIS_VERSION(6, 0)) \
	X(802_3_PERMANENT_ADDRESS, 0x01010101, QUERY, 0) \
	X(802_3_CURRENT_ADDRESS, 0x01010102, QUERY, 0) \
	X(802_3_MULTICAST_LIST, 0x01010103, SET, 0) \
	X(802_3_MAXIMUM_LIST_SIZE, 0x01010104, QUERY, 0) \
	X(OFFLOAD_ENCAPSULATION, 0x0101010a, BOTH, NDIS_VERSION(6, 0)) \
	X(802_3_RCV_ERROR_ALIGNMENT, 0x01020101, QUERY, 0) \
	X(802_3_XMIT_ONE_COLLISION, 0x01020102, QUERY, 0) \
	X(802_3_XMIT_MORE_COLLISIONS, 0x01020103, QUERY, 0) \
	X(TCP_OFFLOAD_CURRENT_CONFIG, 0xfc01020b, QUERY, NDIS_VERSION(6, 0)) \
	X(TCP_OFFLOAD_PARAMETERS, 0xfc01020c, SET, NDIS_VERSION(6, 0)) \
	X(TCP_OFFLOAD_HARDWARE_CAPABILITIES, 0xfc01020d, QUERY, NDIS_VERSION(6, 0))

enum ndis_access { NDIS_QUERY = 1, NDIS_SET = 2, NDIS_BOTH = 3 };

enum ndis_oid {
#define NDIS_OID_NUMBER(name, number, access, version) NDIS_OID_##name = number,
	NDIS_OIDS(NDIS_OID_NUMBER)
#undef NDIS_OID_NUMBER
};

// How an object begins that says itself what it is.
struct NDIS_PACKED ndis_object {
	uint8_t type; // enum ndis_object_type
	uint8_t revision;
	le16 bytes; // of the object, this included
};
static_assert(sizeof(struct ndis_object) == 4);

enum ndis_object_type {
	NDIS_OBJECT_DEFAULT = 0x80,
	NDIS_OBJECT_RSS_CAPABILITIES = 0x88,
	NDIS_OBJECT_RSS_PARAMETERS = 0x89,
	NDIS_OBJECT_OFFLOAD = 0xa7,
	NDIS_OBJECT_OFFLOAD_ENCAPSULATION = 0xa8,
};

// --- general -----------------------------------------------------------------------------------

// OID_GEN_CURRENT_PACKET_FILTER. 0: nothing is to be received.
enum ndis_packet_filter {
	NDIS_FILTER_DIRECTED = 1 << 0,
	NDIS_FILTER_MULTICAST = 1 << 1,
	NDIS_FILTER_ALL_MULTICAST = 1 << 2,
	NDIS_FILTER_BROADCAST = 1 << 3,
	NDIS_FILTER_PROMISCUOUS = 1 << 5,
};

// OID_GEN_MAC_OPTIONS.
enum ndis_mac_option {
	NDIS_MAC_COPY_LOOKAHEAD = 0x1,
	NDIS_MAC_TRANSFERS_NOT_PEND = 0x4,
	NDIS_MAC_NO_LOOPBACK = 0x8,
	NDIS_MAC_8021P = 0x40,
	NDIS_MAC_8021Q = 0x200,
};

enum ndis_media_state { NDIS_MEDIA_CONNECTED = 0, NDIS_MEDIA_DISCONNECTED = 1 };

// OID_GEN_LINK_STATE.
struct NDIS_PACKED ndis_link_state {
	struct ndis_object object; // NDIS_OBJECT_DEFAULT, revision 1
	le32 connect;              // enum ndis_link
	le32 duplex;               // 0 unknown, 1 half, 2 full
	le32 reserved;
	le64 tx_speed, rx_speed; // bit/s
	le32 pause;
	le32 auto_negotiation;
};
static_assert(sizeof(struct ndis_link_state) == 40);
static_assert(offsetof(struct ndis_link_state, tx_speed) == 16);

enum ndis_link { NDIS_LINK_UNKNOWN = 0, NDIS_LINK_UP = 1, NDIS_LINK_DOWN = 2 };

// OID_GEN_MAX_LINK_SPEED.
struct NDIS_PACKED ndis_link_speed {
	le64 tx_speed, rx_speed; // bit/s
};
static_assert(sizeof(struct ndis_link_speed) == 16);

enum ndis_statistic {
	NDIS_STATISTIC_DIRECTED_FRAMES_RCV = 1 << 0,
	NDIS_STATISTIC_MULTICAST_FRAMES_RCV = 1 << 1,
	NDIS_STATISTIC_BROADCAST_FRAMES_RCV = 1 << 2,
	NDIS_STATISTIC_BYTES_RCV = 1 << 3,
	NDIS_STATISTIC_RCV_DISCARDS = 1 << 4,
	NDIS_STATISTIC_RCV_ERROR = 1 << 5,
	NDIS_STATISTIC_DIRECTED_FRAMES_XMIT = 1 << 6,
	NDIS_STATISTIC_MULTICAST_FRAMES_XMIT = 1 << 7,
	NDIS_STATISTIC_BROADCAST_FRAMES_XMIT = 1 << 8,
	NDIS_STATISTIC_BYTES_XMIT = 1 << 9,
	NDIS_STATISTIC_XMIT_ERROR = 1 << 10,
	NDIS_STATISTIC_XMIT_DISCARDS = 1 << 15,
	NDIS_STATISTIC_DIRECTED_BYTES_RCV = 1 << 16,
	NDIS_STATISTIC_MULTICAST_BYTES_RCV = 1 << 17,
	NDIS_STATISTIC_BROADCAST_BYTES_RCV = 1 << 18,
	NDIS_STATISTIC_DIRECTED_BYTES_XMIT = 1 << 19,
	NDIS_STATISTIC_MULTICAST_BYTES_XMIT = 1 << 20,
	NDIS_STATISTIC_BROADCAST_BYTES_XMIT = 1 << 21,
	NDIS_STATISTIC_ALL = 0x3f87ff,
};

// OID_GEN_STATISTICS; "in" is to the guest.
struct NDIS_PACKED ndis_statistics {
	struct ndis_object object; // NDIS_OBJECT_DEFAULT, revision 1
	le32 supported;            // enum ndis_statistic
	le64 in_discards, in_errors;
	le64 in_bytes, in_unicast, in_multicast, in_broadcast;
	le64 out_bytes, out_unicast, out_multicast, out_broadcast;
	le64 out_errors, out_discards;
	le64 in_unicast_bytes, in_multicast_bytes, in_broadcast_bytes;
	le64 out_unicast_bytes, out_multicast_bytes, out_broadcast_bytes;
};
static_assert(sizeof(struct ndis_statistics) == 152);
static_assert(offsetof(struct ndis_statistics, out_errors) == 88);

// --- offloads ----------------------------------------------------------------------------------

#define NDIS_ENCAPSULATION_8023 2u // in every `encapsulation`

enum ndis_checksum {
	NDIS_CHECKSUM_IP_OPTIONS = 0x001, // IPv6: extension headers
	NDIS_CHECKSUM_TCP_OPTIONS = 0x004,
	NDIS_CHECKSUM_TCP = 0x010,
	NDIS_CHECKSUM_UDP = 0x040,
	NDIS_CHECKSUM_IP = 0x100, // IPv4's header
};

struct NDIS_PACKED ndis_checksum_offload {
	le32 tx_encapsulation, tx;
	le32 rx_encapsulation, rx; // enum ndis_checksum
};
static_assert(sizeof(struct ndis_checksum_offload) == 16);

enum ndis_lso_v6 { NDIS_LSO_V6_EXTENSIONS = 1, NDIS_LSO_V6_TCP_OPTIONS = 4 };

// OID_TCP_OFFLOAD_CURRENT_CONFIG, OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES. Older revisions end
// earlier.
struct NDIS_PACKED ndis_offload {
	struct ndis_object object; // NDIS_OBJECT_OFFLOAD
	struct ndis_checksum_offload ipv4, ipv6;
	le32 lso_v1[4];
	le32 ipsec_v1[7];
	le32 lso_v4_encapsulation, lso_v4_max_bytes, lso_v4_min_segments;
	le32 lso_v6_encapsulation, lso_v6_max_bytes, lso_v6_min_segments;
	le32 lso_v6_options; // enum ndis_lso_v6
	le32 flags;
	le32 ipsec_v2[8];
	uint8_t rsc_v4, rsc_v6;
	le16 reserved;
	le32 encapsulated[2];
};
static_assert(sizeof(struct ndis_offload) == 156);
static_assert(offsetof(struct ndis_offload, lso_v4_encapsulation) == 80);
static_assert(offsetof(struct ndis_offload, ipsec_v2) == 112);
static_assert(offsetof(struct ndis_offload, rsc_v4) == 144);

#define NDIS_OFFLOAD_BYTES_1 112 // of revision 1
#define NDIS_OFFLOAD_BYTES_2 144

// OID_TCP_OFFLOAD_PARAMETERS; revision 1 ends behind `flags`, Linux' for old hosts two bytes later.
struct NDIS_PACKED ndis_offload_parameters {
	struct ndis_object object;                                        // NDIS_OBJECT_DEFAULT
	uint8_t ipv4_csum, tcpv4_csum, udpv4_csum, tcpv6_csum, udpv6_csum; // enum ndis_set_checksum
	uint8_t lso_v1, ipsec_v1, lso_v4, lso_v6;                          // enum ndis_set_offload
	uint8_t connection_v4, connection_v6, reserved;
	le32 flags;
	uint8_t ipsec_v2, ipsec_v2_v4;
	uint8_t rsc_v4, rsc_v6;
	uint8_t encapsulated, encapsulation_types;
	uint8_t reserved2[2];
};
static_assert(sizeof(struct ndis_offload_parameters) == 28);
static_assert(offsetof(struct ndis_offload_parameters, rsc_v4) == 22);

#define NDIS_OFFLOAD_PARAMETERS_MIN 20 // bytes of revision 1

enum ndis_set_checksum {
	NDIS_SET_CHECKSUM_KEEP = 0,
	NDIS_SET_CHECKSUM_OFF = 1,
	NDIS_SET_CHECKSUM_TX = 2,
	NDIS_SET_CHECKSUM_RX = 3,
	NDIS_SET_CHECKSUM_BOTH = 4,
};

enum ndis_set_offload { NDIS_SET_KEEP = 0, NDIS_SET_OFF = 1, NDIS_SET_ON = 2 };

// OID_OFFLOAD_ENCAPSULATION.
struct NDIS_PACKED ndis_offload_encapsulation {
	struct ndis_object object; // NDIS_OBJECT_OFFLOAD_ENCAPSULATION, revision 1
	le32 v4_enabled, v4_encapsulation, v4_header_bytes; // 0 keep, 1 on, 2 off; …; 14
	le32 v6_enabled, v6_encapsulation, v6_header_bytes;
};
static_assert(sizeof(struct ndis_offload_encapsulation) == 28);

// --- receive side scaling ----------------------------------------------------------------------

// Not the bits of enum ndis_hash.
enum ndis_rss_capability {
	NDIS_RSS_TOEPLITZ = 0x00000001,
	NDIS_RSS_TCP_V4 = 0x00000100,
	NDIS_RSS_TCP_V6 = 0x00000200,
	NDIS_RSS_TCP_V6_EX = 0x00000400,
	NDIS_RSS_UDP_V4 = 0x00000800,
	NDIS_RSS_UDP_V6 = 0x00001000,
	NDIS_RSS_UDP_V6_EX = 0x00002000,
};

// OID_GEN_RECEIVE_SCALE_CAPABILITIES.
struct NDIS_PACKED ndis_rss_capabilities {
	struct ndis_object object; // NDIS_OBJECT_RSS_CAPABILITIES, revision 2
	le32 flags;                // enum ndis_rss_capability
	le32 n_messages;           // interrupts
	le32 n_queues;
	le16 n_entries; // of the indirection table
};
static_assert(sizeof(struct ndis_rss_capabilities) == 18);

enum ndis_rss_flag {
	NDIS_RSS_KEEP_BASE_CPU = 0x01,
	NDIS_RSS_KEEP_HASH = 0x02,
	NDIS_RSS_KEEP_TABLE = 0x04,
	NDIS_RSS_KEEP_KEY = 0x08,
	NDIS_RSS_DISABLE = 0x10,
};

// Hash function, and what is hashed.
enum ndis_hash {
	NDIS_HASH_TOEPLITZ = 0x00000001,
	NDIS_HASH_FUNCTION_MASK = 0x000000ff,
	NDIS_HASH_IPV4 = 0x00000100,
	NDIS_HASH_TCP_V4 = 0x00000200,
	NDIS_HASH_IPV6 = 0x00000400,
	NDIS_HASH_IPV6_EX = 0x00000800,
	NDIS_HASH_TCP_V6 = 0x00001000,
	NDIS_HASH_TCP_V6_EX = 0x00002000,
	NDIS_HASH_UDP_V4 = 0x00004000,
	NDIS_HASH_UDP_V6 = 0x00008000,
};

#define NDIS_RSS_KEY_BYTES 40
#define NDIS_RSS_MAX_ENTRIES 256

// OID_GEN_RECEIVE_SCALE_PARAMETERS; offsets from its first byte.
struct NDIS_PACKED ndis_rss_parameters {
	struct ndis_object object; // NDIS_OBJECT_RSS_PARAMETERS
	le16 flags;                // enum ndis_rss_flag
	le16 base_cpu;
	le32 hash; // enum ndis_hash
	le16 table_bytes;
	le16 reserved;
	le32 table_offset; // le32 each: a channel
	le16 key_bytes;
	le16 reserved2;
	le32 key_offset;
	le32 mask_offset, n_masks, mask_bytes; // revision 2
};
#define NDIS_RSS_PARAMETERS_MIN 28 // bytes of revision 1
static_assert(sizeof(struct ndis_rss_parameters) == 40);
static_assert(offsetof(struct ndis_rss_parameters, table_offset) == 16);
static_assert(offsetof(struct ndis_rss_parameters, key_offset) == 24);
