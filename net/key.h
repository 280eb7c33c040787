// SPDX-License-Identifier: Apache-2.0
// Flow keys: what the caches look frames up by, and what the layers of a port judge.
//
// `struct key` is 24 packed bytes, compared and hashed as three words. A level-1 key is made from
// the Ethernet header alone; a level-2 key from the level-1 entry's serial number and the fields
// that its layers read. IPv6 addresses do not fit and follow in `struct key6`. `struct packet`
// is the same frame spelt out, for the slow path.
#pragma once

#include "net/headers.h"

#define VID_MASK 0x0fffu
#define VID_MAX 4094u
#define TAG_PRESENT 0x1000u // in a tag word: the frame has a C-tag; the low 12 bits are its VID

// Level 1: w[0..1] = destination MAC, source MAC, tag word, EtherType; w[2] = where it came from:
// see key_from_tunnel.
// Level 2: w[0] = IPv4 addresses, w[1] = ports, protocol, bits; w[2] = serial, fields.
struct key {
	uint64_t w[3];
};

struct key6 {
	uint64_t w[4]; // source, destination
};

// w[2] of a level-1 key: the ingress port alone, or for a frame that arrived encapsulated also the
// virtual subnet (24 bits, not 0), who sent it (a number, 16 bits, 0: unknown), and by which
// encapsulation (2 bits): one look-up decides about all of it.
static inline uint64_t key_from_tunnel(uint16_t port, uint32_t vsid, uint16_t way, uint8_t encap)
{
	return port | (uint64_t)vsid << 16 | (uint64_t)way << 40 | (uint64_t)encap << 56;
}

static inline uint16_t key_way(const struct key *key) { return (uint16_t)(key->w[2] >> 40); }

// Header fields that a layer may read beyond the level-1 key. Fragment and ICMP-error bits are
// always part of a level-2 key.
enum packet_field {
	FIELD_PROTOCOL = 1 << 0,
	FIELD_SOURCE = 1 << 1,
	FIELD_DESTINATION = 1 << 2,
	FIELD_SOURCE_PORT = 1 << 3,
	FIELD_DESTINATION_PORT = 1 << 4,
	FIELD_ALL = (1 << 5) - 1,
};

// Bits of a level-2 key, beside the fields.
enum packet_bit {
	PACKET_IPV6 = 1 << 0,
	PACKET_FRAGMENT = 1 << 1,       // any fragment
	PACKET_LATER_FRAGMENT = 1 << 2, // not the first: has no ports
	PACKET_ICMP_ERROR = 1 << 3,     // quotes another packet
	PACKET_MALFORMED = 1 << 4,      // IP header cut short or contradicting itself
};

// One frame for the slow path. Fields that it does not have are zero.
struct packet {
	uint16_t in_port;
	uint16_t tag;        // as the frame has it: 0, or TAG_PRESENT | VID
	uint16_t vid;        // VLAN it belongs to after the port's VLAN mode; 0: none
	uint32_t vsid;       // it came encapsulated, for this virtual subnet; 0: it did not …
	uint16_t way;        // … from there; 0: from nobody we know
	uint8_t encap;       // … and how
	be16 ethertype;      // below 0x0600 (802.3 lengths): 0
	struct mac dst, src;
	uint8_t version;     // 4, 6 or 0
	uint8_t bits;        // enum packet_bit
	uint8_t protocol;    // last header found; ICMP types stand in the destination port
	uint8_t addr_bytes;  // 4 or 16 of each address are used
	uint8_t source[16], destination[16];
	uint16_t source_port, destination_port; // host order
};
