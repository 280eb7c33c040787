// SPDX-License-Identifier: Apache-2.0
// Frame → flow key. Level 1 is inline and reads 18 bytes; level 2 walks the IP header when a
// level-1 entry asks for it. Bytes come from the wire and from guests: every read is bounded by
// `len`, which must be the length of the first segment (see port.h for what that contains).
// Called from vswitch/pipeline.c; workers, unit tests and the fuzzer.
#pragma once

#include "net/key.h"

enum parse_result {
	PARSE_OK,
	PARSE_SHORT,    // no whole Ethernet header
	PARSE_BAD_VLAN, // tag cut short, or VID 4095
};

// The tagged and 802.3 forms, out of line. p[len], len ≥ 14.
enum parse_result parse_l2_unusual(const uint8_t *p, uint32_t len, uint64_t from,
				   struct key *key);

// Fills a level-1 key from p[len]. from: its w[2], the ingress port or key_from_tunnel.
// RFC 894; IEEE 802.1Q, 9.6.
static ALWAYS_INLINE enum parse_result parse_l2(const uint8_t *p, uint32_t len, uint64_t from,
						struct key *key)
{
	uint16_t type;

	if (unlikely(len < sizeof(struct eth_header)))
		return PARSE_SHORT;
	type = load_u16(p + 12);
	// 0x8100 read as a little-endian number, and lengths below 0x0600.
	if (unlikely(type == 0x0081 || (type & 0xff) < 6)) {
		struct key unusual; // so that *key's address goes nowhere: it stays in registers
		enum parse_result result = parse_l2_unusual(p, len, from, &unusual);

		*key = unusual;
		return result;
	}
	key->w[0] = load_u64(p);
	key->w[1] = load_u32(p + 8) | (uint64_t)type << 48;
	key->w[2] = from;
	return PARSE_OK;
}

// The tag word of a level-1 key.
static inline uint16_t key_tag(const struct key *key) { return (uint16_t)(key->w[1] >> 32); }

// What a level-2 key is made of. Words as in struct key, before masking.
struct key_l3 {
	uint64_t addresses; // IPv4
	uint64_t rest;      // ports, protocol, bits
	struct key6 v6;
};

// Walks the IP headers of the frame p[len] whose level-1 key is *l1. Never fails: what cannot be
// read leaves zeros and PACKET_MALFORMED. RFC 791, RFC 8200 (4), RFC 792, RFC 4443.
void parse_l3(const uint8_t *p, uint32_t len, const struct key *l1, struct key_l3 *out);

// Is the frame of this level-2 key IPv6?
static inline bool key_l3_is_v6(const struct key_l3 *k) { return k->rest >> 40 & PACKET_IPV6; }

// The same for what nearly every frame is: untagged IPv4 without options or fragmentation, and TCP
// or UDP. False: it is something else, and nothing is filled but what parse_l3 fills anyway.
static ALWAYS_INLINE bool parse_l3_plain(const uint8_t *p, uint32_t len, const struct key *l1,
					 uint64_t *addresses, uint64_t *rest)
{
	uint8_t protocol;

	// No tag, EtherType 0x0800 read as a little-endian number; 38 bytes end with the ports.
	if (unlikely(l1->w[1] >> 32 != 0x00080000 || len < 38 || p[14] != 0x45 ||
		     (load_u16(p + 20) & 0xff3f)))
		return false;
	protocol = p[23];
	*addresses = load_u64(p + 26);
	*rest = load_u32(p + 34) | (uint64_t)protocol << 32;
	return likely(protocol == IP_PROTO_UDP || protocol == IP_PROTO_TCP);
}

// What is kept of `addresses` and `rest` for each set of fields; bits are always kept.
struct field_mask {
	uint64_t addresses, rest;
};
extern const struct field_mask field_masks[FIELD_ALL + 1];

// The level-2 key of an IPv4 packet: `fields` (enum packet_field) of it, and whose they are.
static ALWAYS_INLINE struct key key_l2(uint64_t addresses, uint64_t rest, uint32_t serial,
				       uint8_t fields)
{
	const struct field_mask *mask = &field_masks[fields % (FIELD_ALL + 1)];

	return (struct key){ { addresses & mask->addresses, rest & mask->rest,
			       serial | (uint64_t)fields << 32 } };
}

// The addresses that go with the level-2 key of an IPv6 packet.
struct key6 key6_l2(const struct key_l3 *k, uint8_t fields);

// Spells out the keys for the slow path; l3 may be NULL. vid is left 0.
void packet_from_keys(const struct key *l1, const struct key_l3 *l3, struct packet *out);
