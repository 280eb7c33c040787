// SPDX-License-Identifier: Apache-2.0
#include "dataplane/vnet.h"

#include "dataplane/port_util.h"
#include "net/csum.h"

static uint64_t csum_request(const struct layers *at)
{
	uint64_t l4 = at->proto == IP_PROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;

	return l4 | (at->ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
}

// The segmentation flag for a header's GSO type, or 0 if the frame is not of that type.
static uint64_t segment_request(uint8_t gso_type, const struct layers *at)
{
	bool tcp = at->proto == IP_PROTO_TCP;

	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return tcp && !at->ipv6 ? RTE_MBUF_F_TX_TCP_SEG : 0;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return tcp && at->ipv6 ? RTE_MBUF_F_TX_TCP_SEG : 0;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return tcp ? 0 : RTE_MBUF_F_TX_UDP_SEG;
	default:
		return 0;
	}
}

bool vnet_to_mbuf(const struct vnet_header *h, struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	struct layers at;

	m->ol_flags = h->flags & VIRTIO_NET_HDR_F_DATA_VALID ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
	if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return h->gso_type == VIRTIO_NET_HDR_GSO_NONE;
	m->ol_flags = 0;
	if (!layers_find(frame, m->data_len, m->pkt_len, &at) ||
	    h->csum_start != at.l2_bytes + at.l3_bytes ||
	    (uint32_t)h->csum_start + h->csum_offset != layers_csum_offset(&at))
		return h->gso_type == VIRTIO_NET_HDR_GSO_NONE &&
		       csum_complete(m, h->csum_start, h->csum_offset);
	m->ol_flags = csum_request(&at);
	m->tx_offload = 0;
	m->l2_len = at.l2_bytes;
	m->l3_len = at.l3_bytes;
	m->l4_len = at.l4_bytes;
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	m->ol_flags |= segment_request(h->gso_type, &at);
	m->tso_segsz = h->gso_size;
	return h->gso_size && m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
}

static uint8_t gso_type(const struct rte_mbuf *m, const uint8_t *l4)
{
	uint8_t type;

	if (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG)
		return VIRTIO_NET_HDR_GSO_UDP_L4;
	type = m->ol_flags & RTE_MBUF_F_TX_IPV6 ? VIRTIO_NET_HDR_GSO_TCPV6 :
						  VIRTIO_NET_HDR_GSO_TCPV4;
	if (((const struct tcp_header *)l4)->flags & TCP_CWR)
		type |= VIRTIO_NET_HDR_GSO_ECN;
	return type;
}

void vnet_from_mbuf(struct vnet_header *h, struct rte_mbuf *m)
{
	uint64_t l4 = m->ol_flags & RTE_MBUF_F_TX_L4_MASK;
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
	struct layers at;

	*h = (struct vnet_header){ 0 };
	if (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		h->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	// The stage has checked the request; found again for the lengths that the IP header says.
	if (l4 == 0 || !layers_find(frame, m->data_len, m->pkt_len, &at))
		return;
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = at.l2_bytes + at.l3_bytes;
	h->csum_offset = layers_csum_offset(&at) - h->csum_start;
	store_u16(frame + layers_csum_offset(&at), csum_fold(csum_pseudo(frame, &at)));
	if (!(m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)))
		return;
	h->gso_type = gso_type(m, frame + h->csum_start);
	h->gso_size = m->tso_segsz;
	h->hdr_len = layers_header_bytes(&at);
}
