// SPDX-License-Identifier: Apache-2.0
// In by a tunnel: outer headers off, before anything else looks at a frame from an underlay port.
// Called by pipeline.c. What net/encap_plain.h knows is done here, in line; everything else in
// decap.c, by the codecs. Worker.
#pragma once

#include "vswitch/cache.h"

// The last frame by one encapsulation: those of a batch are mostly from few hosts, to one address.
struct decap_last {
	const struct encap_plain *plain; // the provider it was for
	uint32_t source;                 // IPv4, as in memory
	uint8_t encap;
	uint64_t from; // w[2] of the level-1 keys of such frames, but for the virtual subnet
};

// Who sent the last frame that was not plain.
struct decap_peer {
	struct ip_address address; // family 0: nobody yet
	uint16_t way;              // 0: nobody knows them
	uint8_t encap;
};

// What a batch received on an underlay port is looked at with.
struct decap {
	struct cache *c;
	const struct view *v;
	struct worker_out *out;
	const struct hnv *hnv;
	struct decap_last *likely; // of last[]; a guess: to look at the frame first takes longer
	struct decap_last last[HNV_N_ENCAPS];
	struct decap_peer peer;
};

void decap_init(struct decap *d, struct cache *c, const struct view *v, struct worker_out *out);

// Any frame: its outer header off, if it is for a provider address of the port. Returns what stays
// of it, and *from, w[2] of its level-1 key; NULL: nothing, and that is counted.
struct rte_mbuf *decap_any(struct decap *d, struct rte_mbuf *m, uint64_t *from);

// w[2] of the level-1 key of a frame to virtual subnet `id` from `source`, not the last one's.
uint64_t decap_from_other(struct decap *d, struct decap_last *last, uint32_t id, uint32_t source);

// Is it a frame like the last one? Then its outer header comes off.
static ALWAYS_INLINE bool decap_like_last(struct decap *d, struct decap_last *last,
					  struct rte_mbuf *m, uint64_t *from)
{
	uint32_t id, source;

	if (unlikely(m->data_len < ENCAP_PLAIN_BYTES ||
		     !encap_plain_pop(last->plain, m, &id, &source)))
		return false;
	*from = likely(last->source == source) ? last->from | (uint64_t)id << 16
					       : decap_from_other(d, last, id, source);
	return true;
}

// As decap_any, quickly if the frame is like the last one.
static ALWAYS_INLINE struct rte_mbuf *decap_one(struct decap *d, struct rte_mbuf *m, uint64_t *from)
{
	return likely(decap_like_last(d, d->likely, m, from)) ? m : decap_any(d, m, from);
}
