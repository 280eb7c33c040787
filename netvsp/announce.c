// SPDX-License-Identifier: Apache-2.0
#include "netvsp/announce.h"

#include <rte_mbuf.h>

#include "net/headers.h"

#define MIN_FRAME 60 // bytes without FCS

struct rte_mbuf *netvsp_announcement(struct rte_mempool *pool, struct mac mac)
{
	const struct eth_header eth = { mac_from_u64(0xffffffffffff), mac, BE16(ETH_TYPE_RARP) };
	const struct arp_header arp = {
		.hardware = BE16(1), .protocol = BE16(ETH_TYPE_IPV4), .hardware_bytes = sizeof(mac),
		.protocol_bytes = 4, .op = BE16(ARP_REVERSE), .sender_mac = mac, .target_mac = mac,
	};
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *frame;

	if (!m)
		return NULL;
	frame = rte_pktmbuf_mtod(m, uint8_t *);
	m->data_len = MIN_FRAME;
	m->pkt_len = MIN_FRAME;
	memset(frame, 0, MIN_FRAME);
	memcpy(frame, &eth, sizeof(eth));
	memcpy(frame + sizeof(eth), &arp, sizeof(arp));
	return m;
}
