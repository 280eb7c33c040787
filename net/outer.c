// SPDX-License-Identifier: Apache-2.0
#include "net/outer.h"

#include "net/key.h"

// All that differs from frame to frame is left zero: push fills it in.
static void build_ipv4(const struct encap_way *way, uint8_t proto, struct ipv4_header *ip,
		       struct encap_header *out)
{
	*ip = (struct ipv4_header){
		.version_ihl = 0x45,
		.fragment = BE16(IPV4_DONT_FRAGMENT),
		.ttl = way->ttl,
		.proto = proto,
	};
	memcpy(&ip->src, way->source, sizeof(ip->src));
	memcpy(&ip->dst, way->destination, sizeof(ip->dst));
	out->csum = csum_fold(csum_add(0, ip, sizeof(*ip)));
}

static void build_ipv6(const struct encap_way *way, uint8_t proto, struct ipv6_header *ip)
{
	*ip = (struct ipv6_header){ .next = proto, .hop_limit = way->ttl };
	memcpy(ip->src, way->source, sizeof(ip->src));
	memcpy(ip->dst, way->destination, sizeof(ip->dst));
}

static void build_eth(const struct encap_way *way, uint8_t *eth)
{
	uint8_t *type = eth + offsetof(struct eth_header, type);

	memcpy(eth, &way->dst, sizeof(way->dst));
	memcpy(eth + sizeof(way->dst), &way->src, sizeof(way->src));
	if (way->vid) {
		store_be16(type, BE16(ETH_TYPE_VLAN));
		store_be16(type + 2, cpu_to_be16((uint16_t)(way->priority << 13 | way->vid)));
		type += sizeof(struct vlan_header);
	}
	store_be16(type, way->ipv6 ? BE16(ETH_TYPE_IPV6) : BE16(ETH_TYPE_IPV4));
}

uint8_t *outer_build(const struct encap_way *way, uint8_t proto, uint8_t l4_bytes,
		     struct encap_header *out)
{
	uint8_t *l4 = out->bytes + sizeof(out->bytes) - l4_bytes, *l2;
	uint8_t l3_bytes = way->ipv6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header);
	uint8_t l2_bytes = sizeof(struct eth_header) + (way->vid ? sizeof(struct vlan_header) : 0);
	bool uniform = way->dscp_mode == ENCAP_DSCP_UNIFORM;

	assert(way->vid <= VID_MAX && way->priority <= 7 && way->ttl > 0 && way->dscp <= 63);
	*out = (struct encap_header){
		.n_bytes = l2_bytes + l3_bytes + l4_bytes,
		.ipv6 = way->ipv6,
		.tos_copied = uniform ? 0xff : OUTER_ECN,
		.tos_fixed = uniform ? 0 : (uint8_t)(way->dscp << 2),
	};
	if (way->ipv6)
		build_ipv6(way, proto, (struct ipv6_header *)l4 - 1);
	else
		build_ipv4(way, proto, (struct ipv4_header *)l4 - 1, out);
	l2 = out->bytes + sizeof(out->bytes) - out->n_bytes;
	build_eth(way, l2);
	return l4;
}

// What becomes of the inner ECN field: [outer][inner], both 0 not capable, 1 ECT(1), 2 ECT(0),
// 3 congestion experienced.
#define ECN_DROP 4
static const uint8_t ecn_merged[4][4] = {
	{ 0, 1, 2, 3 },
	{ 0, 1, 1, 3 },
	{ 0, 1, 2, 3 },
	{ ECN_DROP, 3, 3, 3 },
};

static bool merge_ipv4(struct ipv4_header *ip, uint8_t tos)
{
	uint8_t merged = ecn_merged[tos & OUTER_ECN][ip->tos & OUTER_ECN];
	be16 before = load_be16(ip);

	if (merged == ECN_DROP)
		return false;
	ip->tos = (uint8_t)((ip->tos & ~OUTER_ECN) | merged);
	ip->csum = csum_update16(ip->csum, before, load_be16(ip));
	return true;
}

// The two bits are bits 4 and 5 of the second byte.
static bool merge_ipv6(uint8_t *ip, uint8_t tos)
{
	uint8_t merged = ecn_merged[tos & OUTER_ECN][ip[1] >> 4 & OUTER_ECN];

	if (merged == ECN_DROP)
		return false;
	ip[1] = (uint8_t)((ip[1] & ~(OUTER_ECN << 4)) | merged << 4);
	return true;
}

bool outer_merge_ecn(uint8_t *inner, uint32_t bytes, uint8_t tos)
{
	be16 type = load_be16(inner + offsetof(struct eth_header, type));
	uint8_t *ip = inner + sizeof(struct eth_header);

	bytes -= (uint32_t)sizeof(struct eth_header);
	if (type == BE16(ETH_TYPE_IPV4) && bytes >= sizeof(struct ipv4_header))
		return merge_ipv4((struct ipv4_header *)ip, tos);
	if (type == BE16(ETH_TYPE_IPV6) && bytes >= sizeof(struct ipv6_header))
		return merge_ipv6(ip, tos);
	return true;
}

void outer_trim(struct rte_mbuf *m, uint32_t bytes)
{
	struct rte_mbuf *last = m;
	uint16_t n = 1;

	m->pkt_len = bytes;
	for (; bytes > last->data_len; last = last->next, n++)
		bytes -= last->data_len;
	last->data_len = (uint16_t)bytes;
	rte_pktmbuf_free(last->next);
	last->next = NULL;
	m->nb_segs = n;
}
