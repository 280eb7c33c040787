// SPDX-License-Identifier: Apache-2.0
#include "net/segment.h"

uint32_t segment_count(const struct layers *at, uint16_t mss)
{
	if (at->payload_bytes <= mss)
		return 1;
	if (at->payload_bytes > (uint32_t)mss * SEGMENT_MAX)
		return SEGMENT_MAX + 1;
	// One division a large send; adding up segment by segment would take longer.
	return (at->payload_bytes + mss - 1) / mss;
}

// Where the next payload byte of the large frame is.
struct cursor {
	const struct rte_mbuf *seg;
	uint32_t offset;
};

static void cursor_skip(struct cursor *c)
{
	while (c->seg->next && c->offset >= c->seg->data_len) {
		c->offset -= c->seg->data_len;
		c->seg = c->seg->next;
	}
}

static void cursor_read(struct cursor *c, uint8_t *to, uint32_t len)
{
	while (len) {
		uint32_t n;

		cursor_skip(c);
		n = RTE_MIN(c->seg->data_len - c->offset, len);
		memcpy(to, rte_pktmbuf_mtod_offset(c->seg, const uint8_t *, c->offset), n);
		c->offset += n;
		to += n;
		len -= n;
	}
}

// Writes into the copied headers what differs from segment to segment. i: its number, offset: of
// its payload in the large send, len: of its payload.
static void headers_edit(uint8_t *frame, const struct layers *at, uint32_t i, uint32_t offset,
			 uint32_t len)
{
	uint8_t *l3 = frame + at->l2_bytes, *l4 = l3 + at->l3_bytes;
	bool last = offset + len == at->payload_bytes;

	if (at->ipv6) {
		struct ipv6_header *ip = (struct ipv6_header *)l3;

		ip->payload_bytes =
			cpu_to_be16((uint16_t)(at->l3_bytes - sizeof(*ip) + at->l4_bytes + len));
	} else {
		struct ipv4_header *ip = (struct ipv4_header *)l3;

		ip->total_bytes = cpu_to_be16((uint16_t)(at->l3_bytes + at->l4_bytes + len));
		ip->id = cpu_to_be16((uint16_t)(be16_to_cpu(ip->id) + i));
	}
	if (at->proto == IP_PROTO_TCP) {
		struct tcp_header *tcp = (struct tcp_header *)l4;

		tcp->seq = cpu_to_be32(be32_to_cpu(tcp->seq) + offset);
		if (!last)
			tcp->flags &= (uint8_t)~(TCP_FIN | TCP_PSH);
		if (i > 0)
			tcp->flags &= (uint8_t)~TCP_CWR;
	} else {
		((struct udp_header *)l4)->bytes = cpu_to_be16((uint16_t)(at->l4_bytes + len));
	}
}

static void metadata_copy(struct rte_mbuf *to, const struct rte_mbuf *from, const struct layers *at)
{
	to->ol_flags = from->ol_flags & RTE_MBUF_F_RX_RSS_HASH;
	to->ol_flags |= at->proto == IP_PROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM :
						    RTE_MBUF_F_TX_UDP_CKSUM;
	to->ol_flags |= at->ipv6 ? RTE_MBUF_F_TX_IPV6 :
				   RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	to->tx_offload = 0;
	to->l2_len = at->l2_bytes;
	to->l3_len = at->l3_bytes;
	to->l4_len = at->l4_bytes;
	to->port = from->port;
	to->hash = from->hash;
	rte_mbuf_dynfield_copy(to, from);
}

uint32_t segment_cut(const struct rte_mbuf *m, const struct layers *at, uint16_t mss,
		     struct rte_mempool *pool, struct rte_mbuf **out)
{
	uint32_t header_bytes = layers_header_bytes(at), n = segment_count(at, mss);
	const uint8_t *headers = rte_pktmbuf_mtod(m, const uint8_t *);
	struct cursor payload = { m, header_bytes };

	assert(n <= SEGMENT_MAX);
	if (rte_pktmbuf_alloc_bulk(pool, out, n) != 0)
		return 0;
	for (uint32_t i = 0, offset = 0; i < n; i++, offset += mss) {
		uint32_t len = RTE_MIN(mss, at->payload_bytes - offset);
		uint8_t *frame = rte_pktmbuf_mtod(out[i], uint8_t *);

		memcpy(frame, headers, header_bytes);
		headers_edit(frame, at, i, offset, len);
		cursor_read(&payload, frame + header_bytes, len);
		out[i]->data_len = (uint16_t)(header_bytes + len);
		out[i]->pkt_len = header_bytes + len;
		metadata_copy(out[i], m, at);
	}
	return n;
}
