// SPDX-License-Identifier: Apache-2.0
// The headers that the switch reads, as the wire has them. No behaviour.
//
// All are packed and may lie at any address. IEEE 802.3 and 802.1Q, RFC 791 (IPv4), RFC 8200
// (IPv6), RFC 9293 (TCP), RFC 768 (UDP), RFC 792 (ICMP), RFC 4443 (ICMPv6).
#pragma once

#include <assert.h>

#include "base/types.h"

#define PACKED __attribute__((packed))

#define ETH_TYPE_IPV4 0x0800
#define ETH_TYPE_ARP 0x0806
#define ETH_TYPE_RARP 0x8035
#define ETH_TYPE_VLAN 0x8100 // 802.1Q C-tag
#define ETH_TYPE_QINQ 0x88a8 // 802.1Q S-tag
#define ETH_TYPE_IPV6 0x86dd

struct eth_header {
	struct mac dst;
	struct mac src;
	be16 type;
} PACKED;
static_assert(sizeof(struct eth_header) == 14);

// What follows an EtherType of ETH_TYPE_VLAN or ETH_TYPE_QINQ.
struct vlan_header {
	be16 tci;  // priority 3 bits, drop eligible 1 bit, VID 12 bits
	be16 type; // of what follows
} PACKED;
static_assert(sizeof(struct vlan_header) == 4);

#define IP_PROTO_HOPOPTS 0 // IPv6 hop-by-hop options
#define IP_PROTO_ICMP 1
#define IP_PROTO_TCP 6
#define IP_PROTO_UDP 17
#define IP_PROTO_ROUTING 43  // IPv6 routing header
#define IP_PROTO_FRAGMENT 44 // IPv6 fragment header
#define IP_PROTO_GRE 47
#define IP_PROTO_ESP 50
#define IP_PROTO_AH 51
#define IP_PROTO_ICMPV6 58
#define IP_PROTO_DSTOPTS 60 // IPv6 destination options
#define IP_PROTO_SCTP 132
#define IP_PROTO_UDPLITE 136

#define IPV4_DONT_FRAGMENT 0x4000
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET_MASK 0x1fff // in units of 8 bytes

struct ipv4_header {
	uint8_t version_ihl; // 4, and the header length in units of 4 bytes
	uint8_t tos;
	be16 total_bytes; // header and payload
	be16 id;
	be16 fragment; // IPV4_* flags and offset
	uint8_t ttl;
	uint8_t proto;
	be16 csum; // of the header
	be32 src;
	be32 dst;
} PACKED;
static_assert(sizeof(struct ipv4_header) == 20);
static_assert(offsetof(struct ipv4_header, csum) == 10);

struct ipv6_header {
	be32 version_class_flow; // 6, traffic class 8 bits, flow label 20 bits
	be16 payload_bytes;      // all that follows this header
	uint8_t next;            // IP_PROTO_*
	uint8_t hop_limit;
	uint8_t src[16];
	uint8_t dst[16];
} PACKED;
static_assert(sizeof(struct ipv6_header) == 40);

// The start that the extension headers hop-by-hop, routing and destination options share.
struct ipv6_extension {
	uint8_t next;
	uint8_t units; // length in units of 8 bytes, the first 8 not counted
	uint8_t type;  // routing: its type
	uint8_t left;  // routing: segments still to visit
} PACKED;
static_assert(sizeof(struct ipv6_extension) == 4);

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

struct tcp_header {
	be16 src;
	be16 dst;
	be32 seq;
	be32 ack;
	uint8_t offset; // high 4 bits: header length in units of 4 bytes
	uint8_t flags;  // TCP_*
	be16 window;
	be16 csum;
	be16 urgent;
} PACKED;
static_assert(sizeof(struct tcp_header) == 20);
static_assert(offsetof(struct tcp_header, csum) == 16);

struct udp_header {
	be16 src;
	be16 dst;
	be16 bytes; // header and payload
	be16 csum;  // zero over IPv4: not computed
} PACKED;
static_assert(sizeof(struct udp_header) == 8);
static_assert(offsetof(struct udp_header, csum) == 6);

#define ARP_REQUEST 1
#define ARP_REPLY 2
#define ARP_REVERSE 3 // of RARP: who am I? RFC 903

// ARP for IPv4 over Ethernet, and RARP. RFC 826.
struct arp_header {
	be16 hardware;  // 1
	be16 protocol;  // ETH_TYPE_IPV4
	uint8_t hardware_bytes, protocol_bytes; // 6, 4
	be16 op;        // ARP_REQUEST, ARP_REPLY, ARP_REVERSE
	struct mac sender_mac;
	uint8_t sender[4];
	struct mac target_mac;
	uint8_t target[4];
} PACKED;
static_assert(sizeof(struct arp_header) == 28);

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_CODE_NET 0         // of ICMP_UNREACHABLE (RFC 792) …
#define ICMP_CODE_HOST 1
#define ICMP_CODE_TOO_BIG 4     // … the MTU is in the low half of `rest` (RFC 1191, 4)
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_TOO_BIG 2
#define ICMPV6_TIME_EXCEEDED 3
#define ICMPV6_ECHO 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_SOLICIT 135
#define ICMPV6_ADVERT 136
#define ICMPV6_CODE_NO_ROUTE 0  // of ICMPV6_UNREACHABLE (RFC 4443, 3.1)
#define ICMPV6_CODE_ADDRESS 3

// ICMP and ICMPv6 alike.
struct icmp_header {
	uint8_t type;
	uint8_t code;
	be16 csum;
	be32 rest; // by type
} PACKED;
static_assert(sizeof(struct icmp_header) == 8);

#define ND_ROUTER 0x80000000u    // in `rest` of an advertisement (RFC 4861, 4.4)
#define ND_SOLICITED 0x40000000u
#define ND_OVERRIDE 0x20000000u
#define ND_OPTION_SOURCE 1 // the sender's MAC (RFC 4861, 4.6.1)
#define ND_OPTION_TARGET 2 // the target's

// Neighbour solicitation or advertisement, with the one option that Ethernet wants.
struct nd_header {
	struct icmp_header icmp;
	uint8_t target[16];
	uint8_t option; // from here on it may be missing
	uint8_t option_units; // of 8 bytes
	struct mac mac;
} PACKED;
static_assert(sizeof(struct nd_header) == 32);
