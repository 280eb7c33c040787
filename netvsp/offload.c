// SPDX-License-Identifier: Apache-2.0
#include "netvsp/offload.h"

#include "dataplane/port_util.h"
#include "net/csum.h"
#include "net/vlan.h"
#include "netvsp/rss.h"

// --- from the guest ----------------------------------------------------------------------------

static uint64_t family(const struct layers *at)
{
	return at->ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
}

// In one store, where a member at a time would be as many loads and stores.
static ALWAYS_INLINE void set_lengths(struct rte_mbuf *m, const struct layers *at, uint16_t mss)
{
	m->tx_offload = rte_mbuf_tx_offload(at->l2_bytes, at->l3_bytes, at->l4_bytes, mss, 0, 0, 0);
}

// The usual frame, untagged IPv4 without options or fragmentation, seen at a glance: EtherType
// 0x0800 and 0x45, then flags and offset, as little-endian numbers.
static ALWAYS_INLINE bool find_plain(const uint8_t *frame, uint32_t bytes, struct layers *at)
{
	const uint8_t *l4 = frame + 34;
	uint32_t total;

	if (unlikely(bytes < 54 || (load_u32(frame + 12) & 0xffffff) != 0x450008 ||
		     (load_u16(frame + 20) & 0xff3f)))
		return false;
	total = be16_to_cpu(load_be16(frame + 16));
	*at = (struct layers){ .l2_bytes = 14, .l3_bytes = 20, .proto = frame[23] };
	if (at->proto == IP_PROTO_TCP)
		at->l4_bytes = (l4[12] >> 4) * 4;
	else if (at->proto == IP_PROTO_UDP)
		at->l4_bytes = be16_to_cpu(load_be16(l4 + 4)) + 20u == total ? 8 : 0;
	if (unlikely(at->l4_bytes < (at->proto == IP_PROTO_TCP ? 20 : 8) ||
		     20u + at->l4_bytes > total || total + 14 > bytes))
		return false;
	at->payload_bytes = total - 20 - at->l4_bytes;
	return true;
}

static bool find(const struct rte_mbuf *m, struct layers *at)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);

	return (m->nb_segs == 1 && likely(find_plain(frame, m->data_len, at))) ||
	       layers_find(frame, m->data_len, m->pkt_len, at);
}

// The offset of the IP header, or 0: there is none.
static uint32_t find_ip(const struct rte_mbuf *m, bool ipv6)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	be16 type = load_be16(frame + 12);
	uint32_t at = sizeof(struct eth_header);

	for (int i = 0; i < 2 && (type == BE16(ETH_TYPE_VLAN) || type == BE16(ETH_TYPE_QINQ));
	     i++, at += VLAN_TAG_BYTES) {
		if (at + VLAN_TAG_BYTES > m->data_len)
			return 0;
		type = load_be16(frame + at + 2);
	}
	if (type != (ipv6 ? BE16(ETH_TYPE_IPV6) : BE16(ETH_TYPE_IPV4)) ||
	    at + (ipv6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header)) > m->data_len)
		return 0;
	return at;
}

// A large send: guests leave the IP length zero, or as they like. It is all of the frame.
static bool fill_length(struct rte_mbuf *m, bool ipv6)
{
	uint32_t at = find_ip(m, ipv6), bytes = m->pkt_len - at;
	uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, at);

	if (!at)
		return false;
	if (ipv6)
		bytes -= (uint32_t)sizeof(struct ipv6_header);
	if (bytes > UINT16_MAX)
		return false;
	store_be16(ip + (ipv6 ? offsetof(struct ipv6_header, payload_bytes) :
				offsetof(struct ipv4_header, total_bytes)),
		   cpu_to_be16((uint16_t)bytes));
	return true;
}

static bool ask_segmentation(struct rte_mbuf *m, uint32_t lso)
{
	uint32_t mss = lso & RNDIS_LSO_MSS_MASK;
	bool ipv6 = (lso & RNDIS_LSO_V2) && (lso & RNDIS_LSO_IPV6);
	struct layers at;

	if (!mss || mss > UINT16_MAX || !fill_length(m, ipv6) || !find(m, &at) ||
	    at.proto != IP_PROTO_TCP)
		return false;
	set_lengths(m, &at, (uint16_t)mss);
	m->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | family(&at);
	if (!at.ipv6)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	return true;
}

// A request for an L4 checksum in a frame whose L4 header is not found, or another: its field
// holds the pseudo header's sum already, and its place is told, if we are lucky.
static bool complete(struct rte_mbuf *m, uint32_t csum, uint32_t tag_bytes)
{
	uint32_t l4 = csum >> RNDIS_TX_L4_OFFSET_SHIFT & RNDIS_TX_L4_OFFSET_MASK;
	uint32_t field = csum & RNDIS_TX_TCP ? offsetof(struct tcp_header, csum) :
					       offsetof(struct udp_header, csum);

	return l4 >= sizeof(struct eth_header) && csum_complete(m, l4 + tag_bytes, field);
}

// Only the IPv4 header's checksum is wanted, of any packet.
static bool ask_ip_csum(struct rte_mbuf *m)
{
	uint32_t at = find_ip(m, false), bytes;

	if (!at)
		return false;
	bytes = (*rte_pktmbuf_mtod_offset(m, const uint8_t *, at) & 15) * 4u;
	if (bytes < sizeof(struct ipv4_header) || at + bytes > m->data_len)
		return false;
	m->tx_offload = 0;
	m->l2_len = at;
	m->l3_len = bytes;
	m->ol_flags = RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4;
	return true;
}

// tag_bytes: put in since the guest counted offsets.
static bool ask_csum(struct rte_mbuf *m, uint32_t csum, uint32_t tag_bytes)
{
	uint32_t l4 = csum & (RNDIS_TX_TCP | RNDIS_TX_UDP);
	struct layers at;

	if (!l4)
		return !(csum & RNDIS_TX_IP_HEADER) || ask_ip_csum(m);
	if (unlikely(!find(m, &at) ||
		     l4 != (at.proto == IP_PROTO_TCP ? RNDIS_TX_TCP : RNDIS_TX_UDP)))
		return complete(m, csum, tag_bytes) &&
		       (!(csum & RNDIS_TX_IP_HEADER) || ask_ip_csum(m));
	set_lengths(m, &at, 0);
	m->ol_flags = (l4 == RNDIS_TX_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM) |
		      family(&at);
	if ((csum & RNDIS_TX_IP_HEADER) && !at.ipv6)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	return true;
}

bool netvsp_offload_from_guest(const struct netvsp_frame *frame, struct rte_mbuf *m)
{
	uint32_t tag_bytes = 0;

	if (unlikely(frame->info & NETVSP_FRAME_VLAN)) {
		uint32_t tag = frame->vlan;
		uint16_t tci = (uint16_t)((tag & RNDIS_VLAN_PRIORITY_MASK) << 13 |
					  (tag & RNDIS_VLAN_CFI ? 1u << 12 : 0) |
					  (tag >> RNDIS_VLAN_ID_SHIFT & RNDIS_VLAN_ID_MASK));

		if (vlan_push(m, tci) < 0)
			return false;
		tag_bytes = VLAN_TAG_BYTES;
	}
	if (unlikely(frame->info & NETVSP_FRAME_LSO))
		return ask_segmentation(m, frame->lso);
	return !(frame->info & NETVSP_FRAME_CSUM) || ask_csum(m, frame->csum, tag_bytes);
}

// --- to the guest ------------------------------------------------------------------------------

static ALWAYS_INLINE void add(struct netvsp_frame_out *out, uint32_t type, uint32_t value)
{
	struct rndis_ppi_u32 *ppi = out->ppis++;

	ppi->ppi.bytes = cpu_to_le32(sizeof(*ppi));
	ppi->ppi.type = cpu_to_le32(type);
	ppi->ppi.offset = cpu_to_le32(sizeof(ppi->ppi));
	ppi->value = cpu_to_le32(value);
	out->ppi_bytes += (uint32_t)sizeof(*ppi);
}

// Which protocol "L4 checksum good" speaks of: bits of enum rndis_rx_checksum.
static uint32_t good_l4(const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t l3 = sizeof(struct eth_header);
	uint8_t proto = 0;
	be16 type;

	if (m->data_len < sizeof(struct eth_header) + VLAN_TAG_BYTES + sizeof(struct ipv4_header))
		return 0;
	type = load_be16(frame + 12);
	if (type == BE16(ETH_TYPE_VLAN)) {
		type = load_be16(frame + 16);
		l3 += VLAN_TAG_BYTES;
	}
	if (type == BE16(ETH_TYPE_IPV4))
		proto = frame[l3 + offsetof(struct ipv4_header, proto)];
	else if (type == BE16(ETH_TYPE_IPV6))
		proto = frame[l3 + offsetof(struct ipv6_header, next)];
	return proto == IP_PROTO_TCP ? RNDIS_RX_TCP_GOOD : proto == IP_PROTO_UDP ?
				       RNDIS_RX_UDP_GOOD : 0;
}

// Computes what m asks for and the guest must not be told of. What is left of the requests: a
// checksum whose field says nothing and that is good all the same.
static uint64_t finish(const struct netvsp_guest *guest, struct rte_mbuf *m)
{
	uint64_t flags = m->ol_flags;
	struct layers at = { .l2_bytes = m->l2_len, .l3_bytes = m->l3_len };
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);

	// The stage has compared requests and lengths with the frame.
	if (flags & RTE_MBUF_F_TX_IP_CKSUM)
		csum_set_ipv4(frame, &at);
	if (!(flags & RTE_MBUF_F_TX_L4_MASK) || guest->report_csum)
		return flags;
	if (layers_find(frame, m->data_len, m->pkt_len, &at))
		csum_set_l4(m, &at);
	return flags & ~RTE_MBUF_F_TX_L4_MASK;
}

static void add_csum(const struct rte_mbuf *m, uint64_t flags, struct netvsp_frame_out *out)
{
	uint32_t report = 0;

	if (flags & RTE_MBUF_F_TX_L4_MASK)
		report |= (flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM ?
				  RNDIS_RX_TCP_GOOD | RNDIS_RX_TCP_VALUE_INVALID :
				  RNDIS_RX_UDP_GOOD;
	else if (flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		report |= good_l4(m);
	if (flags & (RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_RX_IP_CKSUM_GOOD))
		report |= RNDIS_RX_IP_GOOD;
	if (report)
		add(out, RNDIS_PPI_CHECKSUM, report);
}

static void add_vlan(const uint8_t *frame, struct netvsp_frame_out *out)
{
	uint32_t tci = be16_to_cpu(load_be16(frame + 14));

	out->tagged = true;
	add(out, RNDIS_PPI_VLAN, tci >> 13 | (tci & 1u << 12 ? RNDIS_VLAN_CFI : 0) |
					 (tci & RNDIS_VLAN_ID_MASK) << RNDIS_VLAN_ID_SHIFT);
}

void netvsp_offload_to_guest(const struct netvsp_guest *guest, struct rte_mbuf *m,
			     struct netvsp_frame_out *out)
{
	const uint64_t reported = RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD |
				  PORT_REQUEST_FLAGS;
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	uint64_t flags = m->ol_flags;

	out->tagged = false;
	if (flags & PORT_REQUEST_FLAGS)
		flags = finish(guest, m);
	if ((flags & reported) && guest->report_csum)
		add_csum(m, flags, out);
	if (unlikely(load_be16(frame + 12) == BE16(ETH_TYPE_VLAN) && m->data_len >= 18))
		add_vlan(frame, out);
	// In a frame that others have, too, it is not what netvsp_rss_select put there.
	if (guest->report_hash && (flags & RTE_MBUF_F_RX_RSS_HASH) &&
	    rte_mbuf_refcnt_read(m) == 1) {
		add(out, RNDIS_PPI_HASH_INFO, netvsp_rss_kind(m));
		add(out, RNDIS_PPI_HASH_VALUE, m->hash.rss);
	}
}
