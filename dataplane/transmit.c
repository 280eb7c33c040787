// SPDX-License-Identifier: Apache-2.0
#include "dataplane/transmit.h"

#include <rte_mbuf.h>

#include "dataplane/rx.h"

const uint64_t transmit_offload_mask = RX_REQUEST_FLAGS;

// nb_segs and refcnt of an mbuf lie in one word of its first cache line: one load looks at both.
static_assert(offsetof(struct rte_mbuf, refcnt) == offsetof(struct rte_mbuf, rearm_data) + 2);
static_assert(offsetof(struct rte_mbuf, nb_segs) == offsetof(struct rte_mbuf, rearm_data) + 4);
#define SHAPE_REFCNT 0x00000000ffff0000ull
#define SHAPE_SEGS 0x0000ffff00000000ull
#define SHAPE_PLAIN 0x0000000100010000ull // one segment, one owner

static inline uint64_t shape(const struct rte_mbuf *m)
{
	return load_u64((const char *)m + offsetof(struct rte_mbuf, rearm_data));
}

// What must be zero in a frame, in (flags, shape ^ SHAPE_PLAIN), for the device to take it as is.
struct filter {
	uint64_t flags;
	uint64_t shape;
};

static inline struct filter device_filter(const struct port_dev *dev)
{
	struct filter f = { .flags = transmit_offload_mask };

	if (!(dev->offloads & PORT_OFFLOAD_MULTI_SEG))
		f.shape |= SHAPE_SEGS;
	if (!(dev->offloads & PORT_OFFLOAD_INDIRECT)) {
		f.shape |= SHAPE_REFCNT;
		f.flags |= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	}
	return f;
}

static inline bool fits(struct filter f, const struct rte_mbuf *m, uint32_t max_frame)
{
	return ((m->ol_flags & f.flags) | ((shape(m) ^ SHAPE_PLAIN) & f.shape)) == 0 &&
	       m->pkt_len <= max_frame;
}

// One frame that needs work or cannot be sent. Returns the number of frames written to out[].
static uint16_t finish_one(const struct port_dev *dev, const struct port_pools *pools,
			   struct rte_mbuf *m, struct rte_mbuf **out,
			   struct transmit_result *result)
{
	rte_pktmbuf_free(m);
	result->drops[m->pkt_len > dev->max_frame ? DROP_MTU_MISMATCH : DROP_OFFLOAD_INVALID]++;
	return 0;
}

uint16_t transmit_finish(const struct port_dev *dev, const struct port_pools *pools,
			 struct rte_mbuf **pkts, uint16_t n, uint16_t *n_done,
			 struct rte_mbuf **out, uint16_t max_out, struct transmit_result *result)
{
	const struct filter f = device_filter(dev);
	const uint32_t max_frame = dev->max_frame;
	uint16_t n_out = 0, i;

	for (i = 0; i < n && n_out < max_out; i++) {
		if (likely(fits(f, pkts[i], max_frame)))
			out[n_out++] = pkts[i];
		else
			n_out += finish_one(dev, pools, pkts[i], out + n_out, result);
	}
	*n_done = i;
	return n_out;
}
