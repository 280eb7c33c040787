// SPDX-License-Identifier: Apache-2.0
// Out by a way: the outer header in front of a frame, and the frame to the uplink. pipeline.c takes
// the usual case inline; what must be finished, copied, cut or refused before goes to tunnel.c.
// Worker.
#pragma once

#include <rte_mbuf.h>

#include "dataplane/port_util.h"
#include "dataplane/transmit.h"
#include "net/parse.h"
#include "vswitch/cache.h"

#define TUNNEL_ETH_BYTES ((uint32_t)sizeof(struct eth_header))

// What push wants to know of the inner packet.
struct tunnel_inner {
	uint32_t entropy; // a hash that all packets of a flow share
	uint8_t tos;      // 0: it is not IP
};

// The same for frames that the short cut does not take.
struct tunnel_inner tunnel_look_unusual(const struct rte_mbuf *m, const struct key *l1);

// m: untagged, its level-1 key *l1.
static ALWAYS_INLINE struct tunnel_inner tunnel_look(const struct rte_mbuf *m, const struct key *l1)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint64_t addresses, rest;

	if (unlikely(!parse_l3_plain(p, m->data_len, l1, &addresses, &rest)))
		return tunnel_look_unusual(m, l1);
	addresses = (addresses ^ rest * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;
	return (struct tunnel_inner){ (uint32_t)(addresses >> 40), p[15] };
}

// Can the header go in front of m as it is?
static ALWAYS_INLINE bool tunnel_is_ready(const struct rte_mbuf *m, const struct way_header *w)
{
	return !(m->ol_flags &
		 (PORT_REQUEST_FLAGS | RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)) &&
	       rte_mbuf_refcnt_read(m) == 1 && m->data_off >= ENCAP_HEADROOM &&
	       m->pkt_len <= TUNNEL_ETH_BYTES + w->mtu;
}

// Puts the header in front of m, which is ready, and sends it.
static ALWAYS_INLINE void tunnel_push(struct worker_out *out, const struct program *p,
				      const struct way_header *w, struct rte_mbuf *m,
				      struct tunnel_inner inner)
{
	uint32_t entropy = p->flow_id < 0 || w->ops->kind != ENCAP_KIND_NVGRE
				   ? inner.entropy
				   : (uint32_t)p->flow_id;

	w->ops->push(&w->header, m, p->vsid, entropy, inner.tos);
	worker_output(out, w->uplink, m);
}

// The header of a way as the frame's snapshot has it; NULL: its next hop is not known.
static ALWAYS_INLINE const struct way_header *tunnel_header(const struct view *v, uint16_t way)
{
	const struct hnv *hnv = v->snap->hnv;

	return likely(hnv != NULL) ? rcu_get(&hnv->ways[way - WAY_FIRST].now) : NULL;
}

// Finishes what f->m asks of the way `w`: checksums computed, a large send cut, first bytes our
// own. Returns how many frames came out, into out[TRANSMIT_MAX_SEGMENTS]; some may still lack
// headroom. What dies is counted.
uint16_t tunnel_finish(const struct frame *f, const struct way_header *w, struct rte_mbuf **out);

// Sends f->m, whatever it takes, to a way in virtual subnet f->p->vsid; its tag, if it has one, is
// taken off.
void tunnel_send(const struct frame *f, uint16_t way);
