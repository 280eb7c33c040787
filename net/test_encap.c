// SPDX-License-Identifier: Apache-2.0
#include "net/test_encap.h"

#include <stdlib.h>

#include "net/encap_plain.h"
#include "net/test_util.h"

static struct rte_mempool *pool;

int test_encap_set_up(void **state)
{
	pool = test_pool_create(64, TEST_LARGE_ROOM);
	return 0;
}

int test_encap_tear_down(void **state)
{
	test_pool_destroy(pool);
	return 0;
}

// The inner frame, in an mbuf with the headroom that push may count on, and not a byte more.
static struct rte_mbuf *inner_frame(void)
{
	struct rte_mbuf *m = test_frame_build(pool, &(struct test_frame){ .payload_bytes = 32 });
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	assert_int_equal(m->pkt_len, TEST_ENCAP_INNER);
	memmove((uint8_t *)m->buf_addr + ENCAP_HEADROOM, p, TEST_ENCAP_INNER);
	m->data_off = ENCAP_HEADROOM;
	return m;
}

static void expect_inner(struct rte_mbuf *m)
{
	struct rte_mbuf *want = inner_frame();
	uint8_t *flat = test_flat(m);

	assert_int_equal(m->pkt_len, TEST_ENCAP_INNER);
	assert_memory_equal(flat, rte_pktmbuf_mtod(want, uint8_t *), TEST_ENCAP_INNER);
	free(flat);
	rte_pktmbuf_free(want);
}

// bytes[n] in an mbuf, the end of its memory right behind them.
static struct rte_mbuf *at_the_end(const uint8_t *bytes, uint32_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	assert_non_null(m);
	m->data_off = (uint16_t)(m->buf_len - n);
	m->data_len = (uint16_t)n;
	m->pkt_len = n;
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), bytes, n);
	return m;
}

struct rte_mbuf *test_encap_frame(const struct test_golden *g)
{
	struct rte_mbuf *inner = inner_frame(), *m;
	uint8_t bytes[ENCAP_MAX_BYTES + TEST_ENCAP_INNER];

	memcpy(bytes, g->bytes, g->n);
	memcpy(bytes + g->n, rte_pktmbuf_mtod(inner, uint8_t *), TEST_ENCAP_INNER);
	m = at_the_end(bytes, g->n + TEST_ENCAP_INNER);
	rte_pktmbuf_free(inner);
	return m;
}

struct encap_where test_encap_where(const struct test_golden *g)
{
	return (struct encap_where){ g->way.vid ? 18 : 14, g->way.ipv6, TEST_ENCAP_PORT };
}

static enum encap_result pop(const struct test_encap *t, const struct test_golden *g,
			     struct rte_mbuf *m)
{
	struct encap_where where = test_encap_where(g);
	struct encap_info info;

	return t->ops->pop(m, &where, &info);
}

// The sum of an IPv4 header, the slow way.
static uint16_t slow_sum(const uint8_t *ip)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

void test_encap_csum(uint8_t *ip)
{
	uint16_t csum;

	ip[10] = ip[11] = 0;
	csum = (uint16_t)~slow_sum(ip);
	ip[10] = (uint8_t)(csum >> 8);
	ip[11] = (uint8_t)csum;
}

void test_encap_golden(void **state)
{
	const struct test_encap *t = *state;

	for (uint32_t i = 0; i < t->n_golden; i++) {
		const struct test_golden *g = &t->golden[i];
		uint8_t expected = (g->way.ipv6 ? t->ops->outer_bytes_v6 : t->ops->outer_bytes_v4) +
				   (g->way.vid ? 4 : 0);
		struct rte_mbuf *m = inner_frame();
		struct encap_header h;

		print_message("%s\n", g->name);
		m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_RSS_HASH;
		t->ops->build(&g->way, &h);
		t->ops->push(&h, m, g->id, g->entropy, g->inner_tos);
		assert_int_equal(g->n, expected);
		assert_int_equal(h.n_bytes, g->n);
		assert_int_equal(m->pkt_len, g->n + TEST_ENCAP_INNER);
		assert_int_equal(m->data_len, m->pkt_len);
		assert_int_equal(m->ol_flags, 0);
		assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), g->bytes, g->n);
		rte_pktmbuf_adj(m, g->n);
		expect_inner(m);
		rte_pktmbuf_free(m);
	}
}

void test_encap_pop(void **state)
{
	const struct test_encap *t = *state;

	for (uint32_t i = 0; i < t->n_golden; i++) {
		const struct test_golden *g = &t->golden[i];
		struct encap_where where = test_encap_where(g);
		struct rte_mbuf *m = test_encap_frame(g);
		struct encap_info info;

		print_message("%s\n", g->name);
		memset(&info, 0xee, sizeof(info));
		m->ol_flags = RTE_MBUF_F_RX_RSS_HASH;
		assert_int_equal(t->ops->pop(m, &where, &info), ENCAP_OK);
		assert_int_equal(info.id, g->id);
		assert_int_equal(info.flow, g->flow);
		assert_int_equal(info.n_bytes, g->n);
		assert_int_equal(info.ipv6, g->way.ipv6);
		assert_memory_equal(info.source, g->way.source, 16);
		assert_memory_equal(info.destination, g->way.destination, 16);
		assert_int_equal(m->ol_flags, 0);
		expect_inner(m);
		rte_pktmbuf_free(m);
	}
}

void test_encap_cut(void **state)
{
	const struct test_encap *t = *state;

	for (uint32_t i = 0; i < t->n_golden; i++) {
		const struct test_golden *g = &t->golden[i];
		struct rte_mbuf *whole = test_encap_frame(g);

		for (uint32_t n = test_encap_where(g).l3; n < whole->pkt_len; n++) {
			struct rte_mbuf *m = at_the_end(rte_pktmbuf_mtod(whole, uint8_t *), n);

			assert_int_equal(pop(t, g, m), ENCAP_OUTER_INVALID);
			assert_int_equal(m->pkt_len, n);
			rte_pktmbuf_free(m);
		}
		rte_pktmbuf_free(whole);
	}
}

// Ethernet padding of any length is taken off.
void test_encap_padded(void **state)
{
	const struct test_encap *t = *state;

	for (uint32_t i = 0; i < t->n_golden; i++) {
		for (uint32_t n = 1; n < 50; n += 6) {
			struct rte_mbuf *m = test_encap_frame(&t->golden[i]);

			m->data_off -= 50;
			memmove(rte_pktmbuf_mtod(m, uint8_t *),
				rte_pktmbuf_mtod_offset(m, uint8_t *, 50), m->data_len);
			assert_non_null(rte_pktmbuf_append(m, (uint16_t)n));
			assert_int_equal(pop(t, &t->golden[i], m), ENCAP_OK);
			expect_inner(m);
			rte_pktmbuf_free(m);
		}
	}
}

// Splits m behind `at` bytes.
static void split(struct rte_mbuf *m, uint16_t at)
{
	struct rte_mbuf *rest = at_the_end(rte_pktmbuf_mtod_offset(m, uint8_t *, at),
					   m->data_len - at);

	rest->next = m->next;
	m->next = rest;
	m->data_len = at;
	m->nb_segs++;
}

// A frame in three mbufs, the last nothing but padding: headers must lie in the first, all
// else may be anywhere.
void test_encap_chains(void **state)
{
	const struct test_encap *t = *state;

	for (uint32_t i = 0; i < t->n_golden; i++) {
		const struct test_golden *g = &t->golden[i];

		for (uint16_t at = 18; at < g->n + TEST_ENCAP_INNER; at++) {
			struct rte_mbuf *m = test_encap_frame(g), *pad = test_encap_frame(g);
			enum encap_result want = at < g->n ? ENCAP_OUTER_INVALID :
						 at < g->n + 14 ? ENCAP_INNER_INVALID : ENCAP_OK;

			assert_int_equal(rte_pktmbuf_chain(m, pad), 0);
			split(m, at);
			assert_int_equal(pop(t, g, m), want);
			if (want == ENCAP_OK) {
				assert_int_equal(m->nb_segs, 2);
				expect_inner(m);
			}
			rte_pktmbuf_free(m);
		}
	}
}

static void expect_broken(const struct test_encap *t, const struct test_broken *b)
{
	const struct test_golden *g = &t->golden[b->golden];
	struct rte_mbuf *m = test_encap_frame(g);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	struct encap_where where = test_encap_where(g);
	uint8_t *before;

	print_message("%s\n", b->name);
	memcpy(p + b->offset, b->bytes, b->n);
	if (!g->way.ipv6 && !b->is_csum_kept)
		test_encap_csum(p + where.l3);
	before = test_flat(m);
	assert_int_equal(pop(t, g, m), b->result);
	if (b->result != ENCAP_OK) { // nothing has changed
		assert_int_equal(m->pkt_len, g->n + TEST_ENCAP_INNER);
		assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), before, m->pkt_len);
	}
	free(before);
	rte_pktmbuf_free(m);
}

// What is wrong whatever the codec: [0] is untagged IPv4, [1] untagged IPv6.
static const struct test_broken broken_outside[] = {
	{ "version 5", 0, 14, 1, { 0x55 }, false, ENCAP_OUTER_INVALID },
	{ "options", 0, 14, 1, { 0x46 }, true, ENCAP_OUTER_INVALID },
	{ "header of 16 bytes", 0, 14, 1, { 0x44 }, true, ENCAP_OUTER_INVALID },
	{ "longer than the frame", 0, 16, 2, { 0x01, 0x00 }, false, ENCAP_OUTER_INVALID },
	{ "shorter than its headers", 0, 16, 2, { 0, 27 }, false, ENCAP_OUTER_INVALID },
	{ "shorter than its IP header", 0, 16, 2, { 0, 19 }, false, ENCAP_OUTER_INVALID },
	{ "length 0", 0, 16, 2, { 0, 0 }, false, ENCAP_OUTER_INVALID },
	{ "first fragment", 0, 20, 2, { 0x20, 0 }, false, ENCAP_OUTER_FRAGMENT },
	{ "later fragment", 0, 20, 2, { 0, 1 }, false, ENCAP_OUTER_FRAGMENT },
	{ "DF clear", 0, 20, 2, { 0, 0 }, false, ENCAP_OK },
	{ "another protocol", 0, 23, 1, { 6 }, false, ENCAP_OUTER_PROTOCOL },
	{ "checksum", 0, 25, 1, { 0x12 }, true, ENCAP_OUTER_CHECKSUM },
	{ "address changed", 0, 29, 1, { 9 }, true, ENCAP_OUTER_CHECKSUM },
	{ "TTL 0 is the last hop's", 0, 22, 1, { 0 }, false, ENCAP_OK },
	{ "IPv6, version 4", 1, 14, 1, { 0x40 }, false, ENCAP_OUTER_INVALID },
	{ "IPv6, longer than the frame", 1, 18, 2, { 0x01, 0x00 }, false, ENCAP_OUTER_INVALID },
	{ "IPv6, shorter than its headers", 1, 18, 2, { 0, 7 }, false, ENCAP_OUTER_INVALID },
	{ "IPv6, a jumbogram", 1, 18, 2, { 0, 0 }, false, ENCAP_OUTER_INVALID },
	{ "IPv6, fragment", 1, 20, 1, { 44 }, false, ENCAP_OUTER_FRAGMENT },
	{ "IPv6, options", 1, 20, 1, { 60 }, false, ENCAP_OUTER_PROTOCOL },
	{ "IPv6, another protocol", 1, 20, 1, { 58 }, false, ENCAP_OUTER_PROTOCOL },
};

// The same for the inner frame; offsets from its start.
static const struct test_broken broken_inside[] = {
	{ "inner C-tag", 0, 12, 2, { 0x81, 0x00 }, false, ENCAP_INNER_VLAN },
	{ "inner S-tag", 1, 12, 2, { 0x88, 0xa8 }, false, ENCAP_INNER_VLAN },
	{ "inner ARP", 0, 12, 2, { 0x08, 0x06 }, false, ENCAP_OK },
};

void test_encap_broken(void **state)
{
	const struct test_encap *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(broken_outside); i++)
		expect_broken(t, &broken_outside[i]);
	for (size_t i = 0; i < ARRAY_SIZE(broken_inside); i++) {
		struct test_broken b = broken_inside[i];

		b.offset += t->golden[b.golden].n;
		expect_broken(t, &b);
	}
	for (uint32_t i = 0; i < t->n_broken; i++)
		expect_broken(t, &t->broken[i]);
}

// An IP packet that ends inside the inner Ethernet header.
static void expect_inner_too_short(const struct test_encap *t)
{
	for (uint8_t bytes = 0; bytes < 14; bytes++) {
		const struct test_golden *g = &t->golden[bytes % 2];
		struct rte_mbuf *m = test_encap_frame(g);
		uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
		uint8_t l4_bytes = t->ops->outer_bytes_v4 - 34;

		p[g->way.ipv6 ? 19 : 17] = (uint8_t)((g->way.ipv6 ? 0 : 20) + l4_bytes + bytes);
		if (!g->way.ipv6)
			test_encap_csum(p + 14);
		if (t->ops->kind == ENCAP_KIND_VXLAN)
			p[g->way.ipv6 ? 59 : 39] = l4_bytes + bytes;
		assert_int_equal(pop(t, g, m), ENCAP_INNER_INVALID);
		rte_pktmbuf_free(m);
	}
}

// Requests that a local sender left open, and what a device has verified.
void test_encap_requests(void **state)
{
	const struct test_encap *t = *state;
	static const struct {
		uint64_t flags;
		bool is_csum_wrong;
		enum encap_result result;
	} table[] = {
		{ RTE_MBUF_F_RX_IP_CKSUM_GOOD, true, ENCAP_OK },
		{ RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4, true, ENCAP_OK },
		{ RTE_MBUF_F_RX_L4_CKSUM_GOOD, true, ENCAP_OUTER_CHECKSUM },
		{ RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_IPV4, false, ENCAP_OUTER_INVALID },
		{ RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4, false, ENCAP_OUTER_INVALID },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct rte_mbuf *m = test_encap_frame(&t->golden[0]);

		m->ol_flags = table[i].flags;
		rte_pktmbuf_mtod(m, uint8_t *)[24] ^= table[i].is_csum_wrong;
		assert_int_equal(pop(t, &t->golden[0], m), table[i].result);
		if (table[i].result == ENCAP_OK)
			assert_int_equal(m->ol_flags, 0);
		rte_pktmbuf_free(m);
	}
	expect_inner_too_short(t);
}

// RFC 6040, figure 4, by the names of its rows and columns.
enum ecn { NOT_ECT, ECT1, ECT0, CE, DROPPED };
static const enum ecn merged[4][4] = { // [inner][outer]
	[NOT_ECT] = { [NOT_ECT] = NOT_ECT, [ECT0] = NOT_ECT, [ECT1] = NOT_ECT, [CE] = DROPPED },
	[ECT0] = { [NOT_ECT] = ECT0, [ECT0] = ECT0, [ECT1] = ECT1, [CE] = CE },
	[ECT1] = { [NOT_ECT] = ECT1, [ECT0] = ECT1, [ECT1] = ECT1, [CE] = CE },
	[CE] = { [NOT_ECT] = CE, [ECT0] = CE, [ECT1] = CE, [CE] = CE },
};

#define INNER_DSCP 0x28

static void expect_merge(const struct test_encap *t, uint8_t outer, uint8_t inner, bool ipv6)
{
	const struct test_golden *g = &t->golden[0];
	struct rte_mbuf *m = test_encap_frame(g);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *), *ip = p + g->n + 14, tos;
	enum encap_result result;

	p[15] = outer;
	test_encap_csum(p + 14);
	if (ipv6) {
		p[g->n + 12] = 0x86;
		p[g->n + 13] = 0xdd;
		ip[0] = 0x60 | INNER_DSCP >> 4;
		ip[1] = (uint8_t)(INNER_DSCP << 4 | inner << 4 | 0xf);
	} else {
		ip[1] = INNER_DSCP | inner;
		test_encap_csum(ip);
	}
	result = pop(t, g, m);
	if (merged[inner][outer] == DROPPED) {
		assert_int_equal(result, ENCAP_OUTER_CONGESTION);
	} else {
		assert_int_equal(result, ENCAP_OK);
		tos = ipv6 ? (uint8_t)(ip[0] << 4 | ip[1] >> 4) : ip[1];
		assert_int_equal(tos, INNER_DSCP | merged[inner][outer]);
		if (ipv6)
			assert_int_equal(ip[1] & 0xf, 0xf);
		else
			assert_int_equal(slow_sum(ip), 0xffff);
	}
	rte_pktmbuf_free(m);
}

void test_encap_congestion(void **state)
{
	const struct test_encap *t = *state;
	struct rte_mbuf *m = test_encap_frame(&t->golden[0]);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	for (uint8_t i = 0; i < 32; i++)
		expect_merge(t, i & 3, i >> 2 & 3, i >> 4);
	// ARP has nowhere to put a mark.
	p[15] = CE;
	p[t->golden[0].n + 13] = 0x06;
	test_encap_csum(p + 14);
	assert_int_equal(pop(t, &t->golden[0], m), ENCAP_OK);
	rte_pktmbuf_free(m);
}

// Every inner TOS, in both modes and families. RFC 2983; RFC 6040, 4.1.
void test_encap_dscp(void **state)
{
	const struct test_encap *t = *state;

	for (uint32_t i = 0; i < 4 * 256; i++) {
		struct encap_way way = t->golden[i & 1].way;
		uint8_t tos = (uint8_t)(i >> 2), want = tos;
		struct rte_mbuf *m = inner_frame();
		struct encap_header h;
		const uint8_t *p;

		if (i & 2) {
			way.dscp_mode = ENCAP_DSCP_PIPE;
			way.dscp = 46;
			want = 46 << 2 | (tos & 3);
		}
		t->ops->build(&way, &h);
		t->ops->push(&h, m, 5001, i, tos);
		p = rte_pktmbuf_mtod(m, const uint8_t *);
		assert_int_equal(way.ipv6 ? (uint8_t)(p[14] << 4 | p[15] >> 4) : p[15], want);
		if (!way.ipv6)
			assert_int_equal(slow_sum(p + 14), 0xffff);
		rte_pktmbuf_free(m);
	}
}

// Every length up to jumbo frames: lengths and the checksum built from a sum are right.
void test_encap_lengths(void **state)
{
	const struct test_encap *t = *state;
	struct rte_mbuf *m = inner_frame();
	struct encap_header h[2];

	t->ops->build(&t->golden[0].way, &h[0]);
	t->ops->build(&t->golden[1].way, &h[1]);
	for (uint16_t n = 14; n <= 9216; n++) {
		const uint8_t *p;

		m->data_len = n;
		m->pkt_len = n;
		t->ops->push(&h[n & 1], m, 5001, n, 0);
		p = rte_pktmbuf_mtod(m, const uint8_t *);
		if (n & 1) {
			assert_int_equal(p[18] << 8 | p[19], m->pkt_len - 54);
		} else {
			assert_int_equal(p[16] << 8 | p[17], m->pkt_len - 14);
			assert_int_equal(slow_sum(p + 14), 0xffff);
		}
		rte_pktmbuf_adj(m, h[n & 1].n_bytes);
	}
	rte_pktmbuf_free(m);
}

static enum encap_kind find(const struct rte_mbuf *m, struct encap_where *where)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);

	return encap_find(p, m->data_len, TEST_ENCAP_PORT, where);
}

// Golden frames are found whole, fragments are told apart, and all else is left alone.
void test_encap_find(void **state)
{
	const struct test_encap *t = *state;
	static const struct {
		uint8_t golden, offset;
		uint8_t byte;
		enum encap_kind kind;
	} table[] = {
		{ 0, 20, 0x20, ENCAP_KIND_FRAGMENT }, { 0, 21, 0x01, ENCAP_KIND_FRAGMENT },
		{ 0, 14, 0x46, ENCAP_KIND_NONE },     { 0, 23, 6, ENCAP_KIND_NONE },
		{ 0, 36, 0xee, ENCAP_KIND_NONE },     { 0, 12, 0x88, ENCAP_KIND_NONE },
		{ 1, 14, 0x40, ENCAP_KIND_NONE },     { 1, 20, 6, ENCAP_KIND_NONE },
		{ 1, 20, 60, ENCAP_KIND_NONE },       { 1, 56, 0xee, ENCAP_KIND_NONE },
	};
	struct encap_where where, want;

	for (uint32_t i = 0; i < t->n_golden; i++) {
		struct rte_mbuf *m = test_encap_frame(&t->golden[i]), *cut;
		uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

		want = test_encap_where(&t->golden[i]);
		assert_int_equal(find(m, &where), t->ops->kind);
		assert_int_equal(where.l3, want.l3);
		assert_int_equal(where.ipv6, want.ipv6);
		assert_int_equal(where.udp_port, want.udp_port);
		for (uint32_t n = 0; n < m->pkt_len; n++) {
			cut = at_the_end(p, n);
			if (find(cut, &where) != ENCAP_KIND_NONE)
				assert_true(n >= want.l3 + (want.ipv6 ? 48u : 24u));
			rte_pktmbuf_free(cut);
		}
		rte_pktmbuf_free(m);
	}
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct rte_mbuf *m = test_encap_frame(&t->golden[table[i].golden]);

		rte_pktmbuf_mtod(m, uint8_t *)[table[i].offset] = table[i].byte;
		assert_int_equal(find(m, &where), table[i].kind);
		rte_pktmbuf_free(m);
	}
}

// A golden frame with one bit flipped, and its IPv4 checksum made right again or not.
static struct rte_mbuf *flipped(const struct test_golden *g, uint32_t bit, bool mend)
{
	struct rte_mbuf *m = test_encap_frame(g);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	p[bit / 8] ^= (uint8_t)(1u << bit % 8);
	if (mend)
		test_encap_csum(p + test_encap_where(g).l3);
	return m;
}

// Is it plain? Then pop says the same of it; if not, nothing has happened to it.
static bool is_plain(const struct test_encap *t, const struct encap_plain *plain,
		     const struct test_golden *g, struct rte_mbuf *m)
{
	struct encap_where where = test_encap_where(g);
	struct rte_mbuf *other = at_the_end(rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	struct encap_info info;
	uint32_t id, source;
	bool is = encap_plain_pop(plain, m, &id, &source);

	if (is) {
		assert_int_equal(t->ops->pop(other, &where, &info), ENCAP_OK);
		assert_int_equal(id, info.id);
		assert_memory_equal(&source, info.source, 4);
	}
	assert_int_equal(m->pkt_len, other->pkt_len);
	assert_int_equal(m->data_len, other->data_len);
	assert_memory_equal(rte_pktmbuf_mtod(m, uint8_t *), rte_pktmbuf_mtod(other, uint8_t *),
			    m->data_len);
	rte_pktmbuf_free(other);
	rte_pktmbuf_free(m);
	return is;
}

// A golden frame with another type of the inner one.
static struct rte_mbuf *with_inner_type(const struct test_golden *g, uint32_t n_outer,
					uint16_t type)
{
	struct rte_mbuf *m = test_encap_frame(g);

	store_be16(rte_pktmbuf_mtod(m, uint8_t *) + n_outer + 12, cpu_to_be16(type));
	return m;
}

// Is this byte of a frame one that says whose provider it is for?
static bool is_address(const struct test_golden *g, uint32_t byte)
{
	uint32_t l3 = test_encap_where(g).l3;

	return byte < 6 || (byte >= l3 + 16 && byte < l3 + 20);
}

void test_encap_plain(void **state)
{
	static const uint16_t tags[] = { ETH_TYPE_VLAN, ETH_TYPE_QINQ };
	const struct test_encap *t = *state;
	struct encap_plain plain;
	uint32_t n_plain = 0;

	for (uint32_t i = 0; i < t->n_golden; i++) {
		const struct test_golden *g = &t->golden[i];

		encap_plain_make(t->ops, &g->way, &plain);
		assert_int_equal(is_plain(t, &plain, g, test_encap_frame(g)), !g->way.ipv6);
		for (size_t tag = 0; !g->way.ipv6 && tag < ARRAY_SIZE(tags); tag++)
			assert_false(is_plain(t, &plain, g,
					      with_inner_type(g, plain.n_bytes, tags[tag])));
		for (uint32_t bit = 0; !g->way.ipv6 && bit < (g->n + 14u) * 8; bit++) {
			bool is = is_plain(t, &plain, g, flipped(g, bit, true));

			n_plain += is;
			assert_false(is && is_address(g, bit / 8));
			is_plain(t, &plain, g, flipped(g, bit, false));
		}
	}
	// Source, TTL, inner addresses …: most bits may be anything.
	assert_in_range(n_plain, 200, UINT32_MAX);
}
