// SPDX-License-Identifier: Apache-2.0
#include "vswitch/too_big.h"

#include "net/csum.h"
#include "vswitch/icmp.h"

#define SEGMENT_FLAGS (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)
#define HEADER_BYTES ((uint32_t)(sizeof(struct eth_header) + sizeof(struct ipv4_header)))

// Bytes of the largest frame that m becomes.
static uint32_t largest(const struct rte_mbuf *m)
{
	uint32_t cut = (uint32_t)(m->l2_len + m->l3_len + m->l4_len + m->tso_segsz);

	return m->ol_flags & SEGMENT_FLAGS && cut < m->pkt_len ? cut : m->pkt_len;
}

// May f->m go in fragments? An IPv4 packet without DF and without options, whole by its header.
static bool may_fragment(const struct frame *f, const struct ipv4_header *ip)
{
	return f->key->w[1] >> 48 == (FORCE uint16_t)BE16(ETH_TYPE_IPV4) &&
	       !(f->m->ol_flags & SEGMENT_FLAGS) && f->m->data_len >= HEADER_BYTES &&
	       ip->version_ihl == 0x45 && !(ip->fragment & BE16(IPV4_DONT_FRAGMENT)) &&
	       sizeof(struct eth_header) + be16_to_cpu(ip->total_bytes) <= f->m->pkt_len &&
	       be16_to_cpu(ip->total_bytes) > sizeof(*ip);
}

// One fragment: `bytes` of the payload of *m from `offset`. NULL: no buffer.
static struct rte_mbuf *fragment(const struct frame *f, struct rte_mbuf *m, uint32_t offset,
				 uint32_t bytes)
{
	struct rte_mbuf *out = rte_pktmbuf_copy(m, f->out->pools->small, HEADER_BYTES + offset,
						bytes);
	uint32_t payload = be16_to_cpu(rte_pktmbuf_mtod_offset(m, struct ipv4_header *,
							       sizeof(struct eth_header))
					       ->total_bytes) -
			   (uint32_t)sizeof(struct ipv4_header);
	struct ipv4_header *ip;
	uint16_t word;

	if (!out)
		return NULL;
	out->ol_flags = 0;
	memcpy(rte_pktmbuf_prepend(out, HEADER_BYTES), rte_pktmbuf_mtod(m, uint8_t *),
	       HEADER_BYTES);
	ip = rte_pktmbuf_mtod_offset(out, struct ipv4_header *, sizeof(struct eth_header));
	word = (uint16_t)(be16_to_cpu(ip->fragment) + offset / 8);
	if (offset + bytes < payload)
		word |= IPV4_MORE_FRAGMENTS;
	ip->fragment = cpu_to_be16(word);
	ip->total_bytes = cpu_to_be16((uint16_t)(sizeof(*ip) + bytes));
	ip->csum = BE16(0);
	ip->csum = (FORCE be16)(uint16_t)~csum_fold(csum_add(0, ip, sizeof(*ip)));
	return out;
}

static void send_fragments(const struct frame *f, const struct way_header *w, struct rte_mbuf *m)
{
	struct port_counters *counters = worker_counters(f->out, w->uplink);
	const struct ipv4_header *ip =
		rte_pktmbuf_mtod_offset(m, struct ipv4_header *, sizeof(struct eth_header));
	uint32_t payload = be16_to_cpu(ip->total_bytes) - (uint32_t)sizeof(*ip);
	uint32_t step = (w->mtu - (uint32_t)sizeof(*ip)) & ~7u;

	for (uint32_t offset = 0; offset < payload; offset += step) {
		struct rte_mbuf *out = fragment(f, m, offset, RTE_MIN(step, payload - offset));

		counter_add(&counters->created, 1);
		if (out)
			tunnel_push(f->out, f->p, w, out, tunnel_look(out, f->key));
		else
			counter_add(&counters->drops[DROP_TX][DROP_RESOURCES], 1);
	}
	counter_add(&worker_counters(f->out, f->v->port->index)->consumed, 1);
	rte_pktmbuf_free(m);
}

bool too_big(const struct frame *f, const struct way_header *w)
{
	const struct ipv4_header *ip =
		rte_pktmbuf_mtod_offset(f->m, struct ipv4_header *, sizeof(struct eth_header));
	struct rte_mbuf *whole[TRANSMIT_MAX_SEGMENTS];

	if (likely(largest(f->m) <= sizeof(struct eth_header) + w->mtu))
		return false;
	if (may_fragment(f, ip) && w->mtu >= sizeof(*ip) + 8) {
		if (tunnel_finish(f, w, whole) == 1)
			send_fragments(f, w, whole[0]);
		return true;
	}
	icmp_send_error(f, ICMP_TOO_BIG, w->mtu);
	worker_drop(f->out, f->v->port->index, DROP_RX, DROP_MTU_MISMATCH, f->m);
	return true;
}
