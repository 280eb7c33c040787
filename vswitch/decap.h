// SPDX-License-Identifier: Apache-2.0
// In by a tunnel: outer headers off, before anything else looks at a batch from an underlay port.
// Called by pipeline.c; calls the codecs. Worker.
#pragma once

#include "vswitch/cache.h"

// A batch received on an underlay port.
struct decap {
	struct cache *c;
	const struct view *v;
	struct worker_out *out;
	struct rte_mbuf **pkts; // [PORT_BATCH]
	uint16_t n;
	// What decap_batch reads for each frame, so that it is one load away.
	uint16_t port;
	const struct hnv *hnv;
	const struct hnv_underlay *underlay;
	uint64_t from[PORT_BATCH]; // w[2] of the level-1 key of each frame that stays
};

// Takes off the outer header of every frame that is for a provider address of v->underlay, and
// drops and counts those whose headers are wrong. pkts[n] is what stays, in order; outer bytes are
// counted as received, the rest of the frames is not yet.
void decap_batch(struct decap *d);
