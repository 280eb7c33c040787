// SPDX-License-Identifier: Apache-2.0
#include "net/layers.h"

#define MAX_TAGS 4
#define MAX_EXTENSIONS 8

// What is left of the head while we walk: `at` may be read up to `end`.
struct cursor {
	const uint8_t *at;
	const uint8_t *end;
};

static const void *peek(const struct cursor *c, size_t bytes)
{
	return (size_t)(c->end - c->at) >= bytes ? c->at : NULL;
}

// Steps over Ethernet and VLAN headers. Returns the EtherType behind them, 0 if cut short.
static uint16_t walk_l2(struct cursor *c)
{
	const struct eth_header *eth = peek(c, sizeof(*eth));
	uint16_t type;

	if (!eth)
		return 0;
	type = be16_to_cpu(eth->type);
	c->at += sizeof(*eth);
	for (int i = 0; i < MAX_TAGS && (type == ETH_TYPE_VLAN || type == ETH_TYPE_QINQ); i++) {
		const struct vlan_header *vlan = peek(c, sizeof(*vlan));

		if (!vlan)
			return 0;
		type = be16_to_cpu(vlan->type);
		c->at += sizeof(*vlan);
	}
	return type;
}

// Each returns the bytes from the start of L4 to the end of the IP packet, 0 if it does not fit.
static uint32_t walk_ipv4(struct cursor *c, struct layers *at)
{
	const struct ipv4_header *ip = peek(c, sizeof(*ip));
	uint32_t total;

	if (!ip || ip->version_ihl >> 4 != 4)
		return 0;
	at->l3_bytes = (ip->version_ihl & 15) * 4;
	at->proto = ip->proto;
	total = be16_to_cpu(ip->total_bytes);
	if (at->l3_bytes < sizeof(*ip) || !peek(c, at->l3_bytes) || total < at->l3_bytes)
		return 0;
	if (be16_to_cpu(ip->fragment) & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK))
		return 0;
	c->at += at->l3_bytes;
	return total - at->l3_bytes;
}

static uint32_t walk_ipv6(struct cursor *c, struct layers *at)
{
	const struct ipv6_header *ip = peek(c, sizeof(*ip));
	uint32_t total;

	if (!ip || be32_to_cpu(ip->version_class_flow) >> 28 != 6)
		return 0;
	total = (uint32_t)sizeof(*ip) + be16_to_cpu(ip->payload_bytes);
	at->ipv6 = true;
	at->proto = ip->next;
	at->l3_bytes = sizeof(*ip);
	c->at += sizeof(*ip);
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		const struct ipv6_extension *ext = peek(c, sizeof(*ext));
		uint32_t bytes;

		if (at->proto != IP_PROTO_HOPOPTS && at->proto != IP_PROTO_ROUTING &&
		    at->proto != IP_PROTO_DSTOPTS)
			break;
		// A packet still on its way along a route has another final destination than its
		// header says, and so another checksum.
		if (!ext || (at->proto == IP_PROTO_ROUTING && ext->left))
			return 0;
		bytes = (ext->units + 1u) * 8;
		if (!peek(c, bytes))
			return 0;
		at->proto = ext->next;
		at->l3_bytes += bytes;
		c->at += bytes;
	}
	return total > at->l3_bytes ? total - at->l3_bytes : 0;
}

// The L4 header's length in an IP payload of `total` bytes; 0 if it is neither TCP nor UDP, cut
// short, or a UDP packet that does not fill its IP packet.
static uint16_t walk_l4(const struct cursor *c, const struct layers *at, uint32_t total)
{
	const struct udp_header *udp = peek(c, sizeof(*udp));
	const struct tcp_header *tcp = peek(c, sizeof(*tcp));
	uint16_t bytes;

	if (at->proto == IP_PROTO_UDP)
		return udp && be16_to_cpu(udp->bytes) == total ? sizeof(*udp) : 0;
	if (at->proto != IP_PROTO_TCP || !tcp)
		return 0;
	bytes = (tcp->offset >> 4) * 4;
	return bytes >= sizeof(*tcp) && bytes <= total && peek(c, bytes) ? bytes : 0;
}

bool layers_find(const uint8_t *frame, uint32_t head_bytes, uint32_t frame_bytes,
		 struct layers *at)
{
	struct cursor c = { frame, frame + head_bytes };
	uint16_t type = walk_l2(&c);
	uint32_t l4_total = 0;

	*at = (struct layers){ .l2_bytes = (uint16_t)(c.at - frame) };
	if (type == ETH_TYPE_IPV4)
		l4_total = walk_ipv4(&c, at);
	else if (type == ETH_TYPE_IPV6)
		l4_total = walk_ipv6(&c, at);
	if (l4_total == 0)
		return false;
	at->l4_bytes = walk_l4(&c, at, l4_total);
	if (at->l4_bytes == 0)
		return false;
	at->payload_bytes = l4_total - at->l4_bytes;
	return (uint32_t)at->l2_bytes + at->l3_bytes + l4_total <= frame_bytes;
}
