// SPDX-License-Identifier: Apache-2.0
// Any bytes as a frame from the wire: found, popped by each codec, and what was popped pushed and
// popped again: that must be the identity. The first byte says how the frame is cut into two
// mbufs (0: one) and what flags a device gave it.
#include <assert.h>
#include <stdlib.h>

#include "net/encap_plain.h"
#include "net/key.h"
#include "net/test_util.h"
#include "nvgre/nvgre.h"
#include "vxlan/vxlan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;

// Ends where its memory does, so that AddressSanitizer sees a read past it.
static struct rte_mbuf *frame(const uint8_t *p, uint32_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	m->data_off = (uint16_t)(m->buf_len - n);
	m->data_len = (uint16_t)n;
	m->pkt_len = n;
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), p, n);
	return m;
}

static struct rte_mbuf *chain(const uint8_t *p, uint32_t n, uint32_t first)
{
	struct rte_mbuf *m;

	if (first == 0 || first >= n)
		return frame(p, n);
	m = frame(p, first);
	m->next = frame(p + first, n - first);
	m->nb_segs = 2;
	m->pkt_len = n;
	return m;
}

// What came off m goes on again, by the same provider, and comes off again.
static void again(const struct encap_ops *ops, struct rte_mbuf *m, const struct encap_info *was)
{
	struct encap_way way = { .ipv6 = was->ipv6, .ttl = 1, .udp_port = VXLAN_PORT };
	struct encap_where where = { 14, way.ipv6, VXLAN_PORT }, found;
	uint32_t bytes = m->pkt_len;
	uint8_t *before = test_flat(m), *after;
	struct encap_header h;
	struct encap_info is;
	enum encap_kind kind;

	memcpy(way.source, was->source, 16);
	memcpy(way.destination, was->destination, 16);
	ops->build(&way, &h);
	ops->push(&h, m, was->id, was->flow, was->tos & 0xfc);
	assert(m->pkt_len == bytes + h.n_bytes);
	kind = encap_find(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, VXLAN_PORT, &found);
	assert(kind == ops->kind && memcmp(&found, &where, sizeof(found)) == 0);
	assert(ops->pop(m, &where, &is) == ENCAP_OK);
	assert(is.id == was->id && is.n_bytes == h.n_bytes && is.tos == (was->tos & 0xfc));
	assert(is.flow == (was->flow | (ops == &vxlan_ops ? VXLAN_FIRST_SOURCE : 0)));
	assert(memcmp(is.source, was->source, 16) == 0 && m->pkt_len == bytes);
	after = test_flat(m);
	assert(memcmp(before, after, bytes) == 0);
	free(before);
	free(after);
}

// Do the segments add up to what the first one says?
static bool is_whole(const struct rte_mbuf *m)
{
	uint32_t bytes = 0, n = 0;

	for (const struct rte_mbuf *s = m; s; s = s->next, n++)
		bytes += s->data_len;
	return bytes == m->pkt_len && n == m->nb_segs;
}

// What the short way takes, of whatever is sent to wherever this frame goes, pop takes, too.
static void plain(const struct encap_ops *ops, const struct rte_mbuf *m,
		  const struct encap_where *where)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	struct encap_way way = { .ttl = 1, .udp_port = VXLAN_PORT };
	struct rte_mbuf *a, *b;
	struct encap_plain pattern = { 0 };
	struct encap_info info;
	uint32_t id, source;

	if (m->data_len < ENCAP_PLAIN_BYTES)
		return;
	memcpy(way.dst.b, p, sizeof(way.dst.b));
	way.vid = where->l3 == 18 ? be16_to_cpu(load_be16(p + 14)) % VID_MAX : 0;
	memcpy(way.destination, p + where->l3 + 16, 4);
	encap_plain_make(ops, &way, &pattern);
	a = chain(p, m->data_len, 0);
	b = chain(p, m->data_len, 0);
	a->ol_flags = b->ol_flags = m->ol_flags;
	if (encap_plain_pop(&pattern, a, &id, &source)) {
		struct encap_where at = { way.vid ? 18 : 14, false, VXLAN_PORT };

		assert(ops->pop(b, &at, &info) == ENCAP_OK && info.id == id);
		assert(a->pkt_len == b->pkt_len && a->data_off == b->data_off);
		assert(a->ol_flags == b->ol_flags && memcmp(&source, info.source, 4) == 0);
	}
	rte_pktmbuf_free(a);
	rte_pktmbuf_free(b);
}

static void pop(const struct encap_ops *ops, struct rte_mbuf *m, const struct encap_where *where)
{
	uint32_t bytes = m->pkt_len;
	struct encap_info info;

	if (ops->pop(m, where, &info) != ENCAP_OK) {
		assert(m->pkt_len == bytes);
		return;
	}
	assert(info.id >= ops->min_id && info.id <= ops->max_id);
	assert(m->pkt_len >= sizeof(struct eth_header) && m->pkt_len + info.n_bytes <= bytes);
	assert(is_whole(m));
	if (rte_pktmbuf_headroom(m) >= ENCAP_HEADROOM)
		again(ops, m, &info);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct encap_ops *const codecs[] = { &nvgre_ops, &vxlan_ops };
	static const uint64_t flags[] = { 0, RTE_MBUF_F_RX_IP_CKSUM_GOOD,
					  RTE_MBUF_F_RX_IP_CKSUM_GOOD |
						  RTE_MBUF_F_RX_L4_CKSUM_GOOD,
					  RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4 };

	if (!pool)
		pool = test_pool_create(4, TEST_SMALL_ROOM);
	if (size < 15 || size > TEST_SMALL_ROOM)
		return 0;
	for (unsigned int i = 0; i < 4; i++) {
		struct rte_mbuf *m = chain(data + 1, (uint32_t)size - 1, data[0] >> 2);
		struct encap_where where = { i & 2 ? 18 : 14, data[0] & 1, VXLAN_PORT }, found;
		const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
		enum encap_kind kind = encap_find(p, m->data_len, VXLAN_PORT, &found);

		// As found, and as it is not.
		if (kind != ENCAP_KIND_NONE)
			where = found;
		m->ol_flags = flags[data[0] & 3];
		plain(codecs[i & 1], m, &where);
		if (where.l3 <= m->data_len)
			pop(codecs[i & 1], m, &where);
		rte_pktmbuf_free(m);
	}
	return 0;
}
