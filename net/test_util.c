// SPDX-License-Identifier: Apache-2.0
#include "net/test_util.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define OBJECT_HEADER RTE_CACHE_LINE_ROUNDUP(sizeof(struct rte_mempool_objhdr))

struct test_pool {
	struct rte_mempool mp; // DPDK finds `priv` right behind it
	struct rte_pktmbuf_pool_private priv;
	pthread_mutex_t lock;
	uint32_t n_free, n;
	void *free[];
};
static_assert(offsetof(struct test_pool, priv) == sizeof(struct rte_mempool));

static int enqueue(struct rte_mempool *mp, void *const *objects, unsigned int n)
{
	struct test_pool *pool = (struct test_pool *)mp;

	pthread_mutex_lock(&pool->lock);
	assert_true(pool->n_free + n <= pool->n);
	memcpy(pool->free + pool->n_free, objects, n * sizeof(*objects));
	pool->n_free += n;
	pthread_mutex_unlock(&pool->lock);
	return 0;
}

static int dequeue(struct rte_mempool *mp, void **objects, unsigned int n)
{
	struct test_pool *pool = (struct test_pool *)mp;
	int ret = -ENOENT;

	pthread_mutex_lock(&pool->lock);
	if (pool->n_free >= n) {
		pool->n_free -= n;
		memcpy(objects, pool->free + pool->n_free, n * sizeof(*objects));
		ret = 0;
	}
	pthread_mutex_unlock(&pool->lock);
	return ret;
}

static int nothing(struct rte_mempool *mp) { return 0; }
static unsigned int count(const struct rte_mempool *mp)
{
	return ((const struct test_pool *)mp)->n_free;
}

static int ops_index(void)
{
	static const struct rte_mempool_ops ops = {
		.name = "weft_test",
		.alloc = nothing,
		.enqueue = enqueue,
		.dequeue = dequeue,
		.get_count = count,
	};
	static int index = -1;

	if (index < 0)
		index = rte_mempool_register_ops(&ops);
	assert_true(index >= 0);
	return index;
}

struct rte_mempool *test_pool_create(uint32_t n, uint32_t room)
{
	size_t size = sizeof(struct test_pool) + n * sizeof(void *);
	size_t object = OBJECT_HEADER + sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM + room;
	struct test_pool *pool = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_CACHE_LINE_ROUNDUP(size));

	assert_non_null(pool);
	memset(pool, 0, size);
	pool->mp.ops_index = ops_index();
	pool->mp.elt_size = (uint32_t)(object - OBJECT_HEADER);
	pool->mp.header_size = OBJECT_HEADER;
	pool->mp.size = n;
	pool->mp.private_data_size = sizeof(pool->priv);
	pool->priv.mbuf_data_room_size = (uint16_t)(RTE_PKTMBUF_HEADROOM + room);
	pool->n = n;
	pthread_mutex_init(&pool->lock, NULL);
	for (uint32_t i = 0; i < n; i++) {
		char *memory = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_CACHE_LINE_ROUNDUP(object));
		struct rte_mempool_objhdr *header;

		assert_non_null(memory);
		header = (struct rte_mempool_objhdr *)(memory + OBJECT_HEADER) - 1;
		*header = (struct rte_mempool_objhdr){ .mp = &pool->mp };
		rte_pktmbuf_init(&pool->mp, NULL, memory + OBJECT_HEADER, i);
		pool->free[pool->n_free++] = memory + OBJECT_HEADER;
	}
	return &pool->mp;
}

void test_pool_destroy(struct rte_mempool *mp)
{
	struct test_pool *pool = (struct test_pool *)mp;

	assert_int_equal(pool->n_free, pool->n);
	for (uint32_t i = 0; i < pool->n; i++)
		free((char *)pool->free[i] - OBJECT_HEADER);
	free(pool);
}

uint32_t test_pool_out(struct rte_mempool *mp)
{
	return ((struct test_pool *)mp)->n - count(mp);
}

uint8_t test_payload(uint32_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

static uint8_t *put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *put_l2(uint8_t *p, const struct test_frame *f)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };

	memcpy(p, macs, sizeof(macs));
	p += sizeof(macs);
	for (uint16_t i = f->n_tags; i > 0; i--) {
		p = put16(p, i > 1 ? 0x88a8 : 0x8100);
		p = put16(p, 0x6000 + i);
	}
	return put16(p, f->ipv6 ? 0x86dd : 0x0800);
}

static uint8_t *put_l3(uint8_t *p, const struct test_frame *f, uint32_t l4_total)
{
	uint8_t proto = f->tcp ? 6 : 17;

	if (f->ipv6) {
		p[0] = 0x60;
		put16(p + 4, f->option_bytes + l4_total);
		p[6] = f->option_bytes ? 60 : proto;
		p[7] = 64;
		for (uint8_t i = 0; i < 32; i++)
			p[8 + i] = (uint8_t)(0xfd + i * 3);
		if (f->option_bytes) {
			p[40] = proto;
			p[41] = (uint8_t)(f->option_bytes / 8 - 1);
		}
		return p + 40 + f->option_bytes;
	}
	p[0] = (uint8_t)(0x45 + f->option_bytes / 4);
	put16(p + 2, 20 + f->option_bytes + l4_total);
	put16(p + 4, TEST_IP_ID);
	put16(p + 6, 0x4000);
	p[8] = 64;
	p[9] = proto;
	put16(p + 12, 0x0a09);
	put16(p + 14, 0x0001);
	put16(p + 16, 0x0a09);
	put16(p + 18, 0x0002);
	memset(p + 20, 1, f->option_bytes);
	return p + 20 + f->option_bytes;
}

static uint8_t *put_l4(uint8_t *p, const struct test_frame *f, uint32_t l4_total)
{
	put16(p, 40000);
	put16(p + 2, 5201);
	if (!f->tcp) {
		put16(p + 4, l4_total);
		return p + 8;
	}
	put16(p + 4, TEST_SEQ >> 16);
	put16(p + 6, TEST_SEQ);
	p[12] = (uint8_t)((20 + f->tcp_options) / 4 << 4);
	p[13] = f->tcp_flags;
	put16(p + 14, 1000);
	memset(p + 20, 1, f->tcp_options);
	return p + 20 + f->tcp_options;
}

static uint32_t slow_sum(uint32_t sum, const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static uint32_t slow_l4_sum(const uint8_t *l3, const uint8_t *l4, uint32_t l4_total, uint8_t proto)
{
	bool ipv6 = l3[0] >> 4 == 6;
	uint32_t sum = slow_sum(proto, l3 + (ipv6 ? 8 : 12), ipv6 ? 32 : 8);

	sum += l4_total;
	return slow_sum((sum & 0xffff) + (sum >> 16), l4, l4_total);
}

static void set_csums(uint8_t *l3, uint8_t *l4, const struct test_frame *f, uint32_t l4_total)
{
	uint8_t *field = l4 + (f->tcp ? 16 : 6);
	uint32_t sum;

	if (!f->ipv6)
		put16(l3 + 10, ~slow_sum(0, l3, 20 + f->option_bytes));
	if (f->request) {
		put16(field, 0xdead);
		return;
	}
	sum = (uint16_t)~slow_l4_sum(l3, l4, l4_total, f->tcp ? 6 : 17);
	put16(field, sum || f->tcp ? sum : 0xffff);
}

static void set_request(struct rte_mbuf *m, const struct test_frame *f)
{
	m->l2_len = 14 + 4 * f->n_tags;
	m->l3_len = (f->ipv6 ? 40 : 20) + f->option_bytes;
	m->l4_len = f->tcp ? 20 + f->tcp_options : 8;
	m->ol_flags = f->tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	m->ol_flags |= f->ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	if (f->mss)
		m->ol_flags |= f->tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
	m->tso_segsz = f->mss;
}

// Spreads bytes[len] over a chain.
static struct rte_mbuf *chain(struct rte_mempool *pool, const uint8_t *bytes, uint32_t len,
			      uint32_t split)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(pool), *m = head;

	assert_non_null(head);
	for (uint32_t at = 0;;) {
		uint32_t n = RTE_MIN(len - at, (uint32_t)rte_pktmbuf_tailroom(m));

		n = split && at ? RTE_MIN(n, split) : n;
		if (split && at == 0) // headers stay together
			n = RTE_MIN(n, RTE_MAX(split, 192u));
		memcpy(rte_pktmbuf_mtod(m, uint8_t *), bytes + at, n);
		m->data_len = (uint16_t)n;
		head->pkt_len += n;
		at += n;
		if (at == len)
			return head;
		m->next = rte_pktmbuf_alloc(pool);
		assert_non_null(m->next);
		m = m->next;
		head->nb_segs++;
	}
}

struct rte_mbuf *test_frame_build(struct rte_mempool *pool, const struct test_frame *f)
{
	uint32_t l4_total = (f->tcp ? 20u + f->tcp_options : 8u) + f->payload_bytes;
	uint8_t *bytes = calloc(1, 512 + f->payload_bytes + f->padding_bytes), *l3, *l4, *p;
	struct rte_mbuf *m;

	l3 = put_l2(bytes, f);
	l4 = put_l3(l3, f, l4_total);
	p = put_l4(l4, f, l4_total);
	for (uint32_t i = 0; i < f->payload_bytes; i++)
		*p++ = test_payload(i);
	set_csums(l3, l4, f, l4_total);
	m = chain(pool, bytes, (uint32_t)(p - bytes) + f->padding_bytes, f->split);
	free(bytes);
	if (f->request)
		set_request(m, f);
	return m;
}

uint8_t *test_flat(const struct rte_mbuf *m)
{
	uint8_t *flat = malloc(m->pkt_len ? m->pkt_len : 1);
	uint32_t at = 0;

	for (; m; m = m->next) {
		memcpy(flat + at, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
		at += m->data_len;
	}
	return flat;
}

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

uint32_t test_frame_check(const struct rte_mbuf *m, uint32_t *payload_bytes)
{
	uint8_t *frame = test_flat(m), *l3 = frame + 14, *l4, proto;
	uint32_t l4_total, offset;

	while (get16(l3 - 2) == 0x8100 || get16(l3 - 2) == 0x88a8)
		l3 += 4;
	if (get16(l3 - 2) == 0x86dd) {
		proto = l3[6];
		l4 = l3 + 40;
		if (proto == 60) {
			proto = l4[0];
			l4 += (l4[1] + 1) * 8;
		}
		l4_total = get16(l3 + 4) - (uint32_t)(l4 - l3 - 40);
	} else {
		proto = l3[9];
		l4 = l3 + (l3[0] & 15) * 4;
		l4_total = get16(l3 + 2) - (uint32_t)(l4 - l3);
		assert_int_equal(slow_sum(0, l3, (uint32_t)(l4 - l3)), 0xffff);
	}
	assert_true((uint32_t)(l4 - frame) + l4_total <= m->pkt_len);
	assert_int_equal(slow_l4_sum(l3, l4, l4_total, proto), 0xffff);
	if (proto == 17) {
		assert_int_equal(get16(l4 + 4), l4_total);
		assert_int_not_equal(get16(l4 + 6), 0);
	}
	offset = (uint32_t)(l4 - frame) + (proto == 17 ? 8u : (uint32_t)(l4[12] >> 4) * 4);
	*payload_bytes = (uint32_t)(l4 - frame) + l4_total - offset;
	free(frame);
	return offset;
}

void test_frame_fix(struct rte_mbuf *m)
{
	uint8_t *l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, 14);
	bool ipv6 = l3[0] >> 4 == 6;
	uint8_t *l4 = l3 + (ipv6 ? 40 : (l3[0] & 15) * 4), proto = ipv6 ? l3[6] : l3[9];
	uint32_t l4_total = ipv6 ? get16(l3 + 4) : get16(l3 + 2) - (uint32_t)(l4 - l3);
	uint8_t *field = l4 + (proto == 6 ? 16 : proto == 17 ? 6 : 2);

	assert_int_equal(m->nb_segs, 1);
	if (!ipv6) {
		put16(l3 + 10, 0);
		put16(l3 + 10, ~slow_sum(0, l3, (uint32_t)(l4 - l3)));
	}
	if (m->ol_flags)
		return; // somebody else computes it
	put16(field, 0);
	put16(field, proto == 1 ? ~slow_sum(0, l4, l4_total)
				: ~slow_l4_sum(l3, l4, l4_total, proto));
}

void test_icmp_check(const struct rte_mbuf *m)
{
	const uint8_t *l3 = rte_pktmbuf_mtod_offset(m, const uint8_t *, 14);
	bool ipv6 = l3[0] >> 4 == 6;
	const uint8_t *l4 = l3 + (ipv6 ? 40 : 20);
	uint32_t l4_total = m->pkt_len - 14 - (ipv6 ? 40 : 20);

	assert_int_equal(m->nb_segs, 1);
	if (ipv6) {
		assert_int_equal(get16(l3 + 4), l4_total);
		assert_int_equal(l3[6], 58);
		assert_int_equal(slow_l4_sum(l3, l4, l4_total, 58), 0xffff);
		return;
	}
	assert_int_equal(l3[0], 0x45);
	assert_int_equal(get16(l3 + 2), l4_total + 20);
	assert_int_equal(l3[9], 1);
	assert_int_equal(slow_sum(0, l3, 20), 0xffff);
	assert_int_equal(slow_sum(0, l4, l4_total), 0xffff);
}
