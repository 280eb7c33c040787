// SPDX-License-Identifier: Apache-2.0
// What the codecs of encap.h share: the outer Ethernet and IP header, made, put in front, judged
// and taken off. Only nvgre/, vxlan/ and encap_plain.h include it. Inline where it runs per
// packet: with the length of the codec's own header a constant, all offsets are.
#pragma once

#include <rte_mbuf.h>

#include "net/csum.h"
#include "net/encap.h"

// Fills in `out` for a way but for the codec's header: `l4_bytes` of zeros at the end of
// out->bytes, `proto` in the IP header. Returns where they begin. control, any thread.
uint8_t *outer_build(const struct encap_way *way, uint8_t proto, uint8_t l4_bytes,
		     struct encap_header *out);

// Flags that say something about the packet, not about the memory it is in.
#define OUTER_MEMORY_FLAGS (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)

#define OUTER_ECN 0x03u // of TOS and traffic class (RFC 3168, 5)

// IPv4 header checksum from the sum of what is constant; sums of 16-bit words as in memory.
static ALWAYS_INLINE uint16_t outer_csum(uint16_t constant, uint8_t tos, be16 total_bytes)
{
	uint32_t sum = constant + ((uint32_t)tos << 8) + (FORCE uint16_t)total_bytes;

	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

// encap_ops.push but for the codec's own fields. Returns the inner frame: the codec's header ends
// there. *payload: bytes behind the outer IP header.
static ALWAYS_INLINE uint8_t *outer_push(const struct encap_header *h, struct rte_mbuf *m,
					 uint32_t l4_bytes, uint32_t entropy, uint8_t inner_tos)
{
	uint8_t *inner = rte_pktmbuf_mtod(m, uint8_t *), *l4 = inner - l4_bytes;
	uint32_t payload = m->pkt_len + l4_bytes;
	uint8_t tos = (inner_tos & h->tos_copied) | h->tos_fixed;

	// A constant size: three vector moves. What is too much lands in unused headroom.
	memcpy(inner - ENCAP_HEADROOM, h->bytes, ENCAP_HEADROOM);
	if (h->ipv6) {
		struct ipv6_header *ip = (struct ipv6_header *)l4 - 1;

		ip->version_class_flow = cpu_to_be32(6u << 28 | (uint32_t)tos << 20 |
						     (entropy & 0xfffff));
		ip->payload_bytes = cpu_to_be16((uint16_t)payload);
	} else {
		struct ipv4_header *ip = (struct ipv4_header *)l4 - 1;
		be16 total = cpu_to_be16((uint16_t)(payload + sizeof(*ip)));

		ip->tos = tos;
		ip->total_bytes = total;
		ip->csum = (FORCE be16)outer_csum(h->csum, tos, total);
	}
	m->data_off -= h->n_bytes;
	m->data_len += h->n_bytes;
	m->pkt_len += h->n_bytes;
	m->ol_flags &= OUTER_MEMORY_FLAGS;
	return inner;
}

// One look at an outer header: what is asked, and what was found. The inline functions below keep
// it in registers.
struct outer {
	uint32_t l3;        // where the IP header begins in the frame
	bool ipv6;          // a constant, so that each family has code of its own
	uint8_t proto;      // IP_PROTO_* of the codec
	uint8_t l4_bytes;   // length of the codec's headers behind IP
	uint32_t l4_offset; // where they begin in the frame; all in the first segment
	uint32_t l4_total;  // bytes from there to the end of the IP packet, at least l4_bytes
};

// True if the 20 bytes of an IPv4 header sum up (RFC 791, "Header Checksum"). Sums in one's
// complement may be of any width that 16 divides: of 64 bits here, and all ones in 16 is a multiple
// of 0xffff in any.
static ALWAYS_INLINE bool outer_csum_is_right(const uint8_t *ip)
{
	uint64_t a = load_u64(ip), b = load_u64(ip + 8), c = load_u32(ip + 16);

	a += b;
	a += a < b;
	a += c;
	a += a < c;
	return a % 0xffff == 0;
}

static ALWAYS_INLINE enum encap_result outer_read_ipv4(const struct rte_mbuf *m, struct outer *o,
						       struct encap_info *info)
{
	const uint8_t *p = rte_pktmbuf_mtod_offset(m, const uint8_t *, o->l3);
	const struct ipv4_header *ip = (const struct ipv4_header *)p;
	uint32_t total;

	o->l4_offset = o->l3 + (uint32_t)sizeof(*ip);
	if (unlikely(m->data_len < o->l4_offset + o->l4_bytes || ip->version_ihl != 0x45))
		return ENCAP_OUTER_INVALID;
	if (unlikely(ip->fragment & BE16(IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)))
		return ENCAP_OUTER_FRAGMENT;
	total = be16_to_cpu(ip->total_bytes);
	o->l4_total = total - (uint32_t)sizeof(*ip);
	if (unlikely(total < sizeof(*ip) + o->l4_bytes || o->l3 + total > m->pkt_len))
		return ENCAP_OUTER_INVALID;
	if (unlikely(!outer_csum_is_right(p)) &&
	    !(m->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_TX_IP_CKSUM)))
		return ENCAP_OUTER_CHECKSUM;
	if (unlikely(ip->proto != o->proto))
		return ENCAP_OUTER_PROTOCOL;
	*info = (struct encap_info){ .tos = ip->tos };
	memcpy(info->source, &ip->src, sizeof(ip->src));
	memcpy(info->destination, &ip->dst, sizeof(ip->dst));
	return ENCAP_OK;
}

static ALWAYS_INLINE enum encap_result outer_read_ipv6(const struct rte_mbuf *m, struct outer *o,
						       struct encap_info *info)
{
	const struct ipv6_header *ip =
		rte_pktmbuf_mtod_offset(m, const struct ipv6_header *, o->l3);
	uint32_t first;

	o->l4_offset = o->l3 + (uint32_t)sizeof(*ip);
	if (unlikely(m->data_len < o->l4_offset + o->l4_bytes))
		return ENCAP_OUTER_INVALID;
	first = be32_to_cpu(ip->version_class_flow);
	if (unlikely(first >> 28 != 6))
		return ENCAP_OUTER_INVALID;
	if (unlikely(ip->next == IP_PROTO_FRAGMENT))
		return ENCAP_OUTER_FRAGMENT;
	o->l4_total = be16_to_cpu(ip->payload_bytes);
	if (unlikely(o->l4_total < o->l4_bytes || o->l4_offset + o->l4_total > m->pkt_len))
		return ENCAP_OUTER_INVALID;
	if (unlikely(ip->next != o->proto))
		return ENCAP_OUTER_PROTOCOL;
	*info = (struct encap_info){ .tos = (uint8_t)(first >> 20), .ipv6 = true };
	memcpy(info->source, ip->src, sizeof(ip->src));
	memcpy(info->destination, ip->dst, sizeof(ip->dst));
	return ENCAP_OK;
}

// Judges the outer IP header of m. ENCAP_OK: *o is complete, and all of *info but id, flow and
// n_bytes. RFC 791, RFC 8200. worker.
static ALWAYS_INLINE enum encap_result outer_read(const struct rte_mbuf *m, struct outer *o,
						  struct encap_info *info)
{
	// A large send is several outer packets in one; nobody who encapsulates asks for that.
	if (unlikely(m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)))
		return ENCAP_OUTER_INVALID;
	return o->ipv6 ? outer_read_ipv6(m, o, info) : outer_read_ipv4(m, o, info);
}

// Merges the ECN bits of the outer `tos` into the packet of the frame inner[bytes]. False: that
// is a packet which must be dropped. RFC 6040, figure 4. Frames that are not IP have no such bits.
bool outer_merge_ecn(uint8_t *inner, uint32_t bytes, uint8_t tos);

// Shortens m to `bytes`, at least one and at most what it has.
void outer_trim(struct rte_mbuf *m, uint32_t bytes);

// Judges the inner frame and takes off what is in front of it: the last step of a pop, *o and
// *info from outer_read. Nothing is changed unless ENCAP_OK. worker.
static ALWAYS_INLINE enum encap_result outer_strip(struct rte_mbuf *m, const struct outer *o,
						   struct encap_info *info)
{
	uint32_t strip = o->l4_offset + o->l4_bytes, bytes = o->l4_total - o->l4_bytes;
	uint8_t *inner = rte_pktmbuf_mtod_offset(m, uint8_t *, strip);
	be16 type;

	if (bytes < sizeof(struct eth_header) ||
	    m->data_len < strip + sizeof(struct eth_header))
		return ENCAP_INNER_INVALID;
	type = load_be16(inner + offsetof(struct eth_header, type));
	if (type == BE16(ETH_TYPE_VLAN) || type == BE16(ETH_TYPE_QINQ))
		return ENCAP_INNER_VLAN;
	if (unlikely(info->tos & OUTER_ECN) &&
	    !outer_merge_ecn(inner, RTE_MIN(bytes, m->data_len - strip), info->tos))
		return ENCAP_OUTER_CONGESTION;
	info->n_bytes = (uint8_t)strip;
	m->data_off += strip;
	m->data_len -= strip;
	m->pkt_len -= strip;
	m->ol_flags &= OUTER_MEMORY_FLAGS;
	if (unlikely(m->pkt_len != bytes))
		outer_trim(m, bytes);
	return ENCAP_OK;
}
