// SPDX-License-Identifier: Apache-2.0
#include "net/parse.h"

#define ETH_BYTES ((uint32_t)sizeof(struct eth_header))
#define TAGGED_BYTES ((uint32_t)(sizeof(struct eth_header) + sizeof(struct vlan_header)))
#define MAX_EXTENSIONS 8 // IPv6 headers walked before giving up

enum parse_result parse_l2_unusual(const uint8_t *p, uint32_t len, uint64_t from, struct key *key)
{
	be16 type = load_be16(p + 12);
	uint16_t tag = 0;

	if (type == BE16(ETH_TYPE_VLAN)) {
		if (len < TAGGED_BYTES)
			return PARSE_BAD_VLAN;
		tag = be16_to_cpu(load_be16(p + 14)) & VID_MASK;
		if (tag == VID_MASK)
			return PARSE_BAD_VLAN;
		tag |= TAG_PRESENT;
		type = load_be16(p + 16);
	}
	if (be16_to_cpu(type) < 0x0600)
		type = BE16(0); // a length: one flow, not one per length
	key->w[0] = load_u64(p);
	key->w[1] = load_u32(p + 8) | (uint64_t)tag << 32 | (uint64_t)(FORCE uint16_t)type << 48;
	key->w[2] = from;
	return PARSE_OK;
}

// What both IP versions tell about the packet.
struct ip_info {
	uint32_t l4;      // offset of the transport header from the frame's start
	uint8_t protocol; // of the transport header
	uint8_t bits;     // enum packet_bit
};

static bool icmp_is_error(uint8_t protocol, uint8_t type)
{
	if (protocol == IP_PROTO_ICMPV6)
		return type < 128; // RFC 4443, 2.1
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12; // RFC 792
}

// Ports, or the ICMP type in place of the destination port, into the low half of `rest`.
static uint64_t transport_ports(const uint8_t *p, uint32_t len, struct ip_info *ip)
{
	if (ip->bits & (PACKET_LATER_FRAGMENT | PACKET_MALFORMED))
		return 0;
	switch (ip->protocol) {
	case IP_PROTO_TCP:
	case IP_PROTO_UDP:
	case IP_PROTO_SCTP:
	case IP_PROTO_UDPLITE:
		if (len - ip->l4 < 4)
			break;
		return load_u32(p + ip->l4);
	case IP_PROTO_ICMP:
	case IP_PROTO_ICMPV6:
		if (len - ip->l4 < 1)
			break;
		if (icmp_is_error(ip->protocol, p[ip->l4]))
			ip->bits |= PACKET_ICMP_ERROR;
		return (uint32_t)p[ip->l4] << 24; // low byte of a big-endian port
	default:
		return 0;
	}
	ip->bits |= PACKET_MALFORMED;
	return 0;
}

static void parse_ipv4(const uint8_t *p, uint32_t len, uint32_t l3, struct key_l3 *out)
{
	struct ip_info ip = { 0 };
	uint32_t header;
	uint16_t fragment;

	if (len < l3 + (uint32_t)sizeof(struct ipv4_header) || p[l3] >> 4 != 4) {
		out->rest = (uint64_t)PACKET_MALFORMED << 40;
		return;
	}
	header = (p[l3] & 0xfu) * 4;
	out->addresses = load_u64(p + l3 + 12);
	ip.protocol = p[l3 + 9];
	fragment = be16_to_cpu(load_be16(p + l3 + 6));
	if (fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK))
		ip.bits |= PACKET_FRAGMENT;
	if (fragment & IPV4_OFFSET_MASK)
		ip.bits |= PACKET_LATER_FRAGMENT;
	if (header < (uint32_t)sizeof(struct ipv4_header) || len < l3 + header)
		ip.bits |= PACKET_MALFORMED;
	ip.l4 = l3 + header;
	out->rest = transport_ports(p, len, &ip);
	out->rest |= (uint64_t)ip.protocol << 32 | (uint64_t)ip.bits << 40;
}

// Steps over extension headers. RFC 8200, 4.1; RFC 4302 for AH's length unit.
static void walk_extensions(const uint8_t *p, uint32_t len, struct ip_info *ip)
{
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		uint32_t size;

		switch (ip->protocol) {
		case IP_PROTO_HOPOPTS:
		case IP_PROTO_ROUTING:
		case IP_PROTO_DSTOPTS:
			size = len - ip->l4 < 2 ? 0 : (p[ip->l4 + 1] + 1u) * 8;
			break;
		case IP_PROTO_AH:
			size = len - ip->l4 < 2 ? 0 : (p[ip->l4 + 1] + 2u) * 4;
			break;
		case IP_PROTO_FRAGMENT:
			size = 8;
			break;
		default:
			return;
		}
		if (size == 0 || len - ip->l4 < size) {
			ip->bits |= PACKET_MALFORMED;
			return;
		}
		if (ip->protocol == IP_PROTO_FRAGMENT) {
			uint16_t offset = be16_to_cpu(load_be16(p + ip->l4 + 2)) & 0xfff8;

			ip->bits |= PACKET_FRAGMENT | (offset ? PACKET_LATER_FRAGMENT : 0);
		}
		ip->protocol = p[ip->l4];
		ip->l4 += size;
		if (ip->bits & PACKET_LATER_FRAGMENT)
			return; // what follows is data
	}
	ip->bits |= PACKET_MALFORMED; // a chain this long has no honest sender
}

static void parse_ipv6(const uint8_t *p, uint32_t len, uint32_t l3, struct key_l3 *out)
{
	struct ip_info ip = { .bits = PACKET_IPV6 };

	if (len < l3 + (uint32_t)sizeof(struct ipv6_header) || p[l3] >> 4 != 6) {
		out->rest = (uint64_t)(PACKET_IPV6 | PACKET_MALFORMED) << 40;
		return;
	}
	memcpy(out->v6.w, p + l3 + 8, sizeof(out->v6.w));
	ip.protocol = p[l3 + 6];
	ip.l4 = l3 + (uint32_t)sizeof(struct ipv6_header);
	walk_extensions(p, len, &ip);
	out->rest = transport_ports(p, len, &ip);
	out->rest |= (uint64_t)ip.protocol << 32 | (uint64_t)ip.bits << 40;
}

void parse_l3(const uint8_t *p, uint32_t len, const struct key *l1, struct key_l3 *out)
{
	be16 type = (FORCE be16)(uint16_t)(l1->w[1] >> 48);
	uint32_t l3 = key_tag(l1) ? TAGGED_BYTES : ETH_BYTES;

	*out = (struct key_l3){ 0 };
	if (type == BE16(ETH_TYPE_IPV4))
		parse_ipv4(p, len, l3, out);
	else if (type == BE16(ETH_TYPE_IPV6))
		parse_ipv6(p, len, l3, out);
}

#define MASK(fields)                                                                               \
	[fields] = { ((fields) & FIELD_SOURCE ? 0xffffffffull : 0) |                               \
			     ((fields) & FIELD_DESTINATION ? 0xffffffffull << 32 : 0),             \
		     ((fields) & FIELD_SOURCE_PORT ? 0xffffull : 0) |                              \
			     ((fields) & FIELD_DESTINATION_PORT ? 0xffffull << 16 : 0) |           \
			     ((fields) & FIELD_PROTOCOL ? 0xffull << 32 : 0) | 0xffull << 40 }
#define MASKS4(f) MASK(f), MASK((f) + 1), MASK((f) + 2), MASK((f) + 3)
#define MASKS16(f) MASKS4(f), MASKS4((f) + 4), MASKS4((f) + 8), MASKS4((f) + 12)

const struct field_mask field_masks[FIELD_ALL + 1] = { MASKS16(0), MASKS16(16) };

struct key6 key6_l2(const struct key_l3 *k, uint8_t fields)
{
	uint64_t source = fields & FIELD_SOURCE ? ~0ull : 0;
	uint64_t destination = fields & FIELD_DESTINATION ? ~0ull : 0;

	return (struct key6){ { k->v6.w[0] & source, k->v6.w[1] & source,
				k->v6.w[2] & destination, k->v6.w[3] & destination } };
}

void packet_from_keys(const struct key *l1, const struct key_l3 *l3, struct packet *out)
{
	*out = (struct packet){ .in_port = (uint16_t)l1->w[2],
				.tag = key_tag(l1),
				.vsid = l1->w[2] >> 16 & 0xffffff,
				.way = (uint16_t)(l1->w[2] >> 40),
				.encap = l1->w[2] >> 56 & 3 };
	out->ethertype = (FORCE be16)(uint16_t)(l1->w[1] >> 48);
	memcpy(out->dst.b, l1->w, 6);
	memcpy(out->src.b, (const uint8_t *)l1->w + 6, 6);
	if (out->ethertype == BE16(ETH_TYPE_IPV4))
		out->version = 4, out->addr_bytes = 4;
	else if (out->ethertype == BE16(ETH_TYPE_IPV6))
		out->version = 6, out->addr_bytes = 16;
	if (!l3 || !out->version)
		return;
	out->bits = (uint8_t)(l3->rest >> 40);
	out->protocol = (uint8_t)(l3->rest >> 32);
	out->source_port = __builtin_bswap16((uint16_t)l3->rest);
	out->destination_port = __builtin_bswap16((uint16_t)(l3->rest >> 16));
	if (out->version == 6) {
		memcpy(out->source, l3->v6.w, 16);
		memcpy(out->destination, l3->v6.w + 2, 16);
	} else {
		memcpy(out->source, &l3->addresses, 4);
		memcpy(out->destination, (const uint8_t *)&l3->addresses + 4, 4);
	}
}
