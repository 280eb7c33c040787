// SPDX-License-Identifier: Apache-2.0
// In by a tunnel: outer headers off, before anything else looks at a frame from an underlay port.
// Called by pipeline.c. What net/encap_plain.h knows is done here, in line; everything else in
// decap.c, by the codecs. Worker.
#pragma once

#include "vswitch/cache.h"

// Who sent the last frame by one encapsulation: frames of a batch are mostly from few hosts.
struct decap_peer {
	uint32_t source; // IPv4, as in memory
	uint64_t from;   // w[2] of its frames' level-1 keys, but for the virtual subnet
};

// What a batch received on an underlay port is looked at with.
struct decap {
	struct cache *c;
	const struct view *v;
	struct worker_out *out;
	const struct hnv *hnv;
	const struct hnv_plain *plain; // of the provider that was sent to last
	uint32_t proto_at;             // offset of the protocol in frames to it
	struct decap_peer peers[HNV_N_ENCAPS];
};

void decap_init(struct decap *d, struct cache *c, const struct view *v, struct worker_out *out);

// Any frame: its outer header off, if it is for a provider address of the port. Returns what stays
// of it, and *from, w[2] of its level-1 key; NULL: nothing, and that is counted.
struct rte_mbuf *decap_any(struct decap *d, struct rte_mbuf *m, uint64_t *from);

// w[2] of the level-1 key of a frame to virtual subnet `id` from `source`, not d's last peer.
uint64_t decap_from_stranger(struct decap *d, uint8_t encap, uint32_t id, uint32_t source);

// As decap_any, quickly if the frame is plain.
static ALWAYS_INLINE struct rte_mbuf *decap_one(struct decap *d, struct rte_mbuf *m, uint64_t *from)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct decap_peer *peer;
	uint32_t id, source;
	uint8_t encap;

	if (unlikely(m->data_len < ENCAP_PLAIN_BYTES))
		return decap_any(d, m, from);
	encap = p[d->proto_at] == IP_PROTO_UDP ? HNV_VXLAN : HNV_NVGRE;
	if (unlikely(!encap_plain_pop(&d->plain->by_encap[encap], m, &id, &source)))
		return decap_any(d, m, from);
	peer = &d->peers[encap];
	*from = likely(peer->source == source) ? peer->from | (uint64_t)id << 16
					       : decap_from_stranger(d, encap, id, source);
	return m;
}
