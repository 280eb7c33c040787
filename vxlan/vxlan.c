// SPDX-License-Identifier: Apache-2.0
#include "vxlan/vxlan.h"

#include "net/outer.h"

struct udp_vxlan {
	struct udp_header udp;
	struct vxlan_header vxlan;
} PACKED;

#define L4_BYTES ((uint8_t)sizeof(struct udp_vxlan))

static void build(const struct encap_way *way, struct encap_header *out)
{
	uint8_t *l4 = outer_build(way, IP_PROTO_UDP, L4_BYTES, out);

	assert(way->udp_port);
	*(struct udp_vxlan *)l4 = (struct udp_vxlan){
		.udp.dst = cpu_to_be16(way->udp_port),
		.vxlan.flags = VXLAN_I,
	};
}

static void push(const struct encap_header *h, struct rte_mbuf *m, uint32_t vni, uint32_t entropy,
		 uint8_t inner_tos)
{
	uint16_t l4_total = (uint16_t)(m->pkt_len + L4_BYTES);
	uint8_t *inner = outer_push(h, m, L4_BYTES, entropy, inner_tos);
	struct udp_vxlan *l4 = (struct udp_vxlan *)inner - 1;

	l4->udp.src = cpu_to_be16((uint16_t)(VXLAN_FIRST_SOURCE | (entropy & 0x3fff)));
	l4->udp.bytes = cpu_to_be16(l4_total);
	l4->vxlan.vni = cpu_to_be32(vni << 8);
}

// The checksum of a datagram that has one (RFC 768; RFC 8200, 8.1).
static bool csum_is_right(const struct rte_mbuf *m, const struct outer *o,
			  const struct encap_info *info)
{
	// Pseudo header: length and protocol as two 16-bit words, then the addresses.
	uint64_t sum = (uint64_t)__builtin_bswap16((uint16_t)o->l4_total) + (IP_PROTO_UDP << 8);

	sum = csum_add(sum, info->source, sizeof(info->source));
	sum = csum_add(sum, info->destination, sizeof(info->destination));
	return csum_fold(csum_add_frame(sum, m, o->l4_offset, o->l4_total)) == 0xffff;
}

// UDP as RFC 7348 uses it. A checksum of zero means "none", over IPv6 too (RFC 6935, 5).
static ALWAYS_INLINE enum encap_result read_udp(const struct rte_mbuf *m, const struct outer *o,
						uint16_t port, const struct encap_info *info)
{
	const struct udp_header *udp =
		rte_pktmbuf_mtod_offset(m, const struct udp_header *, o->l4_offset);

	if (unlikely(udp->dst != cpu_to_be16(port)))
		return ENCAP_OUTER_PROTOCOL;
	if (unlikely(be16_to_cpu(udp->bytes) != o->l4_total))
		return ENCAP_OUTER_INVALID;
	if (unlikely(udp->csum != 0) &&
	    !(m->ol_flags & (RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_TX_L4_MASK)) &&
	    !csum_is_right(m, o, info))
		return ENCAP_OUTER_CHECKSUM;
	return ENCAP_OK;
}

static ALWAYS_INLINE enum encap_result pop_family(struct rte_mbuf *m,
						  const struct encap_where *where, bool ipv6,
						  struct encap_info *info)
{
	struct outer o = {
		.l3 = where->l3, .ipv6 = ipv6, .proto = IP_PROTO_UDP, .l4_bytes = L4_BYTES
	};
	enum encap_result result = outer_read(m, &o, info);
	const struct udp_vxlan *l4;

	if (likely(result == ENCAP_OK))
		result = read_udp(m, &o, where->udp_port, info);
	if (unlikely(result != ENCAP_OK))
		return result;
	l4 = rte_pktmbuf_mtod_offset(m, const struct udp_vxlan *, o.l4_offset);
	if (unlikely(!(l4->vxlan.flags & VXLAN_I)))
		return ENCAP_TUNNEL_FLAGS;
	info->flow = be16_to_cpu(l4->udp.src);
	info->id = be32_to_cpu(l4->vxlan.vni) >> 8;
	if (unlikely(info->id < VXLAN_MIN_VNI))
		return ENCAP_VIRTUAL_SUBNET_ID;
	return outer_strip(m, &o, info);
}

static enum encap_result pop(struct rte_mbuf *m, const struct encap_where *where,
			     struct encap_info *info)
{
	return where->ipv6 ? pop_family(m, where, true, info) :
			     pop_family(m, where, false, info);
}

const struct encap_ops vxlan_ops = {
	.name = "vxlan",
	.kind = ENCAP_KIND_VXLAN,
	.outer_bytes_v4 = sizeof(struct eth_header) + sizeof(struct ipv4_header) + L4_BYTES,
	.outer_bytes_v6 = sizeof(struct eth_header) + sizeof(struct ipv6_header) + L4_BYTES,
	.min_id = VXLAN_MIN_VNI,
	.max_id = VXLAN_MAX_VNI,
	.plain_mask = { 0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, VXLAN_I }, // port, no checksum
	.length_at = offsetof(struct udp_header, bytes),
	.build = build,
	.push = push,
	.pop = pop,
};
