// SPDX-License-Identifier: Apache-2.0
#include "dataplane/transmit.h"

#include <rte_mbuf.h>

#include "dataplane/pools.h"
#include "dataplane/port_util.h"
#include "net/csum.h"

const uint64_t transmit_offload_mask = PORT_REQUEST_FLAGS;

static_assert(PORT_MAX_FRAME <= POOLS_LARGE_ROOM); // so that a copy is always flat

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
		f.shape |= SHAPE_SEGS | SHAPE_REFCNT; // a later segment may be shared
		f.flags |= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	}
	return f;
}

// What matters of a frame, or of a batch OR-ed together, so that it costs no branch a frame.
struct traits {
	uint64_t flags;
	uint64_t shape; // ^ SHAPE_PLAIN
	uint32_t longest;
};

static ALWAYS_INLINE void traits_add(struct traits *t, const struct rte_mbuf *m)
{
	t->flags |= m->ol_flags;
	t->shape |= shape(m) ^ SHAPE_PLAIN;
	t->longest = RTE_MAX(t->longest, m->pkt_len);
}

// True if the device takes such frames as they are.
static ALWAYS_INLINE bool fits(struct filter f, const struct traits *t, uint32_t max_frame)
{
	return ((t->flags & f.flags) | (t->shape & f.shape)) == 0 && t->longest <= max_frame;
}

// Another owner may read the frame's bytes, or its metadata, while we write.
static bool is_shared(const struct rte_mbuf *m)
{
	for (; m; m = m->next)
		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) > 1)
			return true;
	return false;
}

static struct rte_mempool *pool_for(const struct port_pools *pools, uint32_t bytes)
{
	uint32_t room = rte_pktmbuf_data_room_size(pools->small) - RTE_PKTMBUF_HEADROOM;

	return bytes <= room ? pools->small : pools->large;
}

// The IPv4 header alone: all that a header checksum needs, whatever it carries.
static bool ipv4_find(const struct rte_mbuf *m, struct layers *at)
{
	const uint8_t *ihl = rte_pktmbuf_mtod_offset(m, const uint8_t *, m->l2_len);

	*at = (struct layers){ .l2_bytes = m->l2_len, .l3_bytes = m->l3_len };
	return m->l2_len >= sizeof(struct eth_header) &&
	       m->l3_len >= sizeof(struct ipv4_header) && m->l2_len + m->l3_len <= m->data_len &&
	       *ihl == (0x40 | m->l3_len / 4) && (m->ol_flags & RTE_MBUF_F_TX_IPV4);
}

// Judges a frame's request against its headers. Both may be a guest's: nothing is believed that
// the other does not confirm. *at is where the headers are.
static bool request_find(const struct rte_mbuf *m, struct layers *at)
{
	uint64_t flags = m->ol_flags, l4 = flags & RTE_MBUF_F_TX_L4_MASK;
	uint64_t seg = flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
	bool tcp;

	if (l4 == 0 && seg == 0)
		return ipv4_find(m, at);
	if (!layers_find(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, at))
		return false;
	tcp = at->proto == IP_PROTO_TCP;
	if (l4 && l4 != (tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM))
		return false;
	if (seg && (seg != (tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG) || !m->tso_segsz))
		return false;
	if ((flags & PORT_FAMILY_FLAGS) != (at->ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) ||
	    (at->ipv6 && (flags & RTE_MBUF_F_TX_IP_CKSUM)))
		return false;
	return m->l2_len == at->l2_bytes && m->l3_len == at->l3_bytes && m->l4_len == at->l4_bytes;
}

// Computes the checksums that the device does not, and leaves the requests for those it does.
static void finish_csums(const struct port_dev *dev, struct rte_mbuf *m, const struct layers *at)
{
	uint64_t flags = m->ol_flags;

	if ((flags & RTE_MBUF_F_TX_IP_CKSUM) && !(dev->offloads & PORT_OFFLOAD_IP_CSUM)) {
		csum_set_ipv4(rte_pktmbuf_mtod(m, uint8_t *), at);
		flags &= ~RTE_MBUF_F_TX_IP_CKSUM;
	}
	if ((flags & RTE_MBUF_F_TX_L4_MASK) && !(dev->offloads & PORT_OFFLOAD_L4_CSUM)) {
		csum_set_l4(m, at);
		flags &= ~RTE_MBUF_F_TX_L4_MASK;
	}
	m->ol_flags = flags;
}

// A large send asks for the checksums of what it becomes; say so for those who look at that only.
static void imply_csums(struct rte_mbuf *m, const struct layers *at)
{
	m->ol_flags &= ~RTE_MBUF_F_TX_L4_MASK;
	m->ol_flags |= at->proto == IP_PROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM :
						   RTE_MBUF_F_TX_UDP_CKSUM;
	if (!at->ipv6)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
}

// What one call of transmit_finish works with.
struct stage {
	const struct port_dev *dev;
	const struct port_pools *pools;
	struct transmit_result *result;
	struct rte_mbuf **out;
	uint16_t n_out, max_out;
};

static void drop(struct stage *s, struct rte_mbuf *m, enum drop reason)
{
	s->result->drops[reason]++;
	rte_pktmbuf_free(m);
}

// A device goes by the frame's length, we by the IP header's: where they differ, we cut.
static bool device_segments(const struct port_dev *dev, const struct rte_mbuf *m,
			    const struct layers *at)
{
	uint32_t need = m->ol_flags & RTE_MBUF_F_TX_TCP_SEG ? PORT_OFFLOAD_TSO : PORT_OFFLOAD_USO;

	need |= PORT_OFFLOAD_L4_CSUM;
	if (m->nb_segs > 1)
		need |= PORT_OFFLOAD_MULTI_SEG;
	// A guest's device takes or leaves segmentation as its driver agrees.
	if ((__atomic_load_n(&dev->offloads, __ATOMIC_RELAXED) & need) != need)
		return false;
	return !is_shared(m) && layers_header_bytes(at) + at->payload_bytes == m->pkt_len;
}

// Cuts m into n frames in software.
static void cut(struct stage *s, struct rte_mbuf *m, struct layers *at)
{
	uint32_t frame = layers_header_bytes(at) + m->tso_segsz, payload = at->payload_bytes;
	struct rte_mbuf **out = s->out + s->n_out;
	uint32_t n = segment_cut(m, at, m->tso_segsz, pool_for(s->pools, frame), out);

	if (n == 0) {
		drop(s, m, DROP_RESOURCES);
		return;
	}
	for (uint32_t i = 0; i < n; i++, payload -= at->payload_bytes) {
		at->payload_bytes = RTE_MIN(payload, (uint32_t)m->tso_segsz);
		finish_csums(s->dev, out[i], at);
	}
	s->n_out += (uint16_t)n;
	s->result->created += n - 1;
	rte_pktmbuf_free(m);
}

// A request for segmentation with more payload than one frame takes. As finish_one.
static bool finish_large(struct stage *s, struct rte_mbuf *m, struct layers *at)
{
	uint32_t n = segment_count(at, m->tso_segsz);

	if (layers_header_bytes(at) + m->tso_segsz > s->dev->max_frame) {
		drop(s, m, DROP_MTU_MISMATCH);
	} else if (device_segments(s->dev, m, at)) {
		imply_csums(m, at);
		finish_csums(s->dev, m, at);
		s->out[s->n_out++] = m;
	} else if (n > SEGMENT_MAX) {
		drop(s, m, DROP_OFFLOAD_INVALID);
	} else if (n > (uint32_t)s->max_out - s->n_out) {
		return false;
	} else {
		cut(s, m, at);
	}
	return true;
}

static bool must_copy(const struct stage *s, const struct rte_mbuf *m)
{
	if (m->nb_segs > 1 && !(s->dev->offloads & PORT_OFFLOAD_MULTI_SEG))
		return true;
	return is_shared(m) && ((m->ol_flags & transmit_offload_mask) ||
				!(s->dev->offloads & PORT_OFFLOAD_INDIRECT));
}

// One frame that needs work or cannot be sent. There is room for one in out[]; false: for its
// segments there is not, nothing was done.
static bool finish_one(struct stage *s, struct rte_mbuf *m)
{
	const uint64_t seg = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;
	bool request = m->ol_flags & transmit_offload_mask;
	struct layers at;

	if (request && !request_find(m, &at)) {
		drop(s, m, DROP_OFFLOAD_INVALID);
		return true;
	}
	if ((m->ol_flags & seg) && at.payload_bytes > m->tso_segsz)
		return finish_large(s, m, &at);
	if (m->pkt_len > s->dev->max_frame) {
		drop(s, m, DROP_MTU_MISMATCH);
		return true;
	}
	if (must_copy(s, m)) {
		struct rte_mempool *pool = pool_for(s->pools, m->pkt_len);
		struct rte_mbuf *copy = rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);

		if (!copy) {
			drop(s, m, DROP_RESOURCES);
			return true;
		}
		rte_pktmbuf_free(m);
		m = copy;
	}
	if (m->ol_flags & seg) {
		imply_csums(m, &at);
		m->ol_flags &= ~seg;
	}
	if (request)
		finish_csums(s->dev, m, &at);
	s->out[s->n_out++] = m;
	return true;
}

// A batch in which some frame needs work. Returns how many of pkts[n] were consumed.
static uint16_t finish_mixed(struct stage *s, struct filter f, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t i;

	for (i = 0; i < n && s->n_out < s->max_out; i++) {
		struct traits t = { 0 };

		traits_add(&t, pkts[i]);
		if (fits(f, &t, s->dev->max_frame))
			s->out[s->n_out++] = pkts[i];
		else if (!finish_one(s, pkts[i]))
			break;
	}
	return i;
}

bool transmit_is_ready(const struct port_dev *dev, struct rte_mbuf *const *pkts, uint16_t n,
		       uint64_t *bytes)
{
	struct traits t = { 0 };
	uint64_t sum = 0;

	for (uint16_t i = 0; i < n; i++) {
		traits_add(&t, pkts[i]);
		sum += pkts[i]->pkt_len;
	}
	*bytes = sum;
	return fits(device_filter(dev), &t, dev->max_frame);
}

uint16_t transmit_finish(const struct port_dev *dev, const struct port_pools *pools,
			 struct rte_mbuf **pkts, uint16_t n, uint16_t *n_done,
			 struct rte_mbuf **out, uint16_t max_out, struct transmit_result *result)
{
	struct stage s = { dev, pools, result, out, .max_out = max_out };

	*n_done = finish_mixed(&s, device_filter(dev), pkts, n);
	return s.n_out;
}
