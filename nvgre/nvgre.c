// SPDX-License-Identifier: Apache-2.0
#include "nvgre/nvgre.h"

#include "net/outer.h"

#define L4_BYTES ((uint8_t)sizeof(struct nvgre_header))

static void build(const struct encap_way *way, struct encap_header *out)
{
	uint8_t *l4 = outer_build(way, IP_PROTO_GRE, L4_BYTES, out);

	*(struct nvgre_header *)l4 = (struct nvgre_header){
		.flags = BE16(NVGRE_KEY),
		.protocol = BE16(GRE_PROTO_ETHERNET),
	};
	out->flow_copied = way->is_flow_fixed ? 0 : 0xff;
	out->flow_fixed = way->is_flow_fixed ? way->flow_id : 0;
}

static void push(const struct encap_header *h, struct rte_mbuf *m, uint32_t vsid, uint32_t entropy,
		 uint8_t inner_tos)
{
	uint8_t *inner = outer_push(h, m, L4_BYTES, entropy, inner_tos);
	struct nvgre_header *gre = (struct nvgre_header *)inner - 1;

	gre->key = cpu_to_be32(vsid << 8 | (entropy & h->flow_copied) | h->flow_fixed);
}

static ALWAYS_INLINE enum encap_result pop_family(struct rte_mbuf *m, uint32_t l3, bool ipv6,
						  struct encap_info *info)
{
	struct outer o = { .l3 = l3, .ipv6 = ipv6, .proto = IP_PROTO_GRE, .l4_bytes = L4_BYTES };
	enum encap_result result = outer_read(m, &o, info);
	const struct nvgre_header *gre;
	uint16_t flags;
	uint32_t key;

	if (unlikely(result != ENCAP_OK))
		return result;
	gre = rte_pktmbuf_mtod_offset(m, const struct nvgre_header *, o.l4_offset);
	flags = be16_to_cpu(gre->flags);
	if (unlikely(flags & NVGRE_FORBIDDEN))
		return ENCAP_TUNNEL_FLAGS;
	if (unlikely(gre->protocol != BE16(GRE_PROTO_ETHERNET)))
		return ENCAP_OUTER_PROTOCOL;
	if (unlikely(!(flags & NVGRE_KEY)))
		return ENCAP_TUNNEL_NO_KEY;
	key = be32_to_cpu(gre->key);
	info->id = key >> 8;
	info->flow = (uint8_t)key;
	if (unlikely(info->id - NVGRE_MIN_VSID > NVGRE_MAX_VSID - NVGRE_MIN_VSID))
		return ENCAP_VIRTUAL_SUBNET_ID;
	return outer_strip(m, &o, info);
}

static enum encap_result pop(struct rte_mbuf *m, const struct encap_where *where,
			     struct encap_info *info)
{
	return where->ipv6 ? pop_family(m, where->l3, true, info) :
			     pop_family(m, where->l3, false, info);
}

const struct encap_ops nvgre_ops = {
	.name = "nvgre",
	.kind = ENCAP_KIND_NVGRE,
	.outer_bytes_v4 = sizeof(struct eth_header) + sizeof(struct ipv4_header) + L4_BYTES,
	.outer_bytes_v6 = sizeof(struct eth_header) + sizeof(struct ipv6_header) + L4_BYTES,
	.min_id = NVGRE_MIN_VSID,
	.max_id = NVGRE_MAX_VSID,
	.plain_mask = { (NVGRE_KEY | NVGRE_FORBIDDEN) >> 8, NVGRE_FORBIDDEN & 0xff, 0xff, 0xff },
	.build = build,
	.push = push,
	.pop = pop,
};
