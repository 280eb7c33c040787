// SPDX-License-Identifier: Apache-2.0
#include "vswitch/too_big.h"

#include <rte_mbuf.h>

#define SEGMENT_FLAGS (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

// Bytes of the largest frame that m becomes.
static uint32_t largest(const struct rte_mbuf *m)
{
	uint32_t cut = (uint32_t)(m->l2_len + m->l3_len + m->l4_len + m->tso_segsz);

	return m->ol_flags & SEGMENT_FLAGS && cut < m->pkt_len ? cut : m->pkt_len;
}

bool too_big(const struct frame *f, const struct way_header *w)
{
	if (largest(f->m) <= sizeof(struct eth_header) + w->mtu)
		return false;
	worker_drop(f->out, f->v->port->index, DROP_RX, DROP_MTU_MISMATCH, f->m);
	return true;
}
