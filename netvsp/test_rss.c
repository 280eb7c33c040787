// SPDX-License-Identifier: Apache-2.0
// The Toeplitz hash against the vectors that Microsoft publishes ("Verifying the RSS hash
// calculation"), hash types as asked for, and the way from hash to channel.
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "net/headers.h"
#include "net/test_util.h"
#include "netvsp/rss.h"

static const uint8_t key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

#define ALL                                                                                        \
	(NDIS_HASH_TOEPLITZ | NDIS_HASH_IPV4 | NDIS_HASH_TCP_V4 | NDIS_HASH_IPV6 |                 \
	 NDIS_HASH_TCP_V6 | NDIS_HASH_UDP_V4 | NDIS_HASH_UDP_V6)

static struct netvsp_spread spread;

static void make(uint32_t hash, uint32_t n_entries)
{
	struct netvsp_rss rss = { .hash = hash, .n_entries = n_entries };

	memcpy(rss.key, key, sizeof(key));
	for (uint32_t i = 0; i < n_entries; i++)
		rss.table[i] = (uint8_t)(i * 7 % 61);
	netvsp_rss_init(&spread, &rss);
}

struct vector {
	const char *src, *dst;
	uint16_t src_port, dst_port;
	uint32_t addresses, ports; // hash over those alone, and with ports
};

static const struct vector vectors[] = {
	{ "66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178 },
	{ "199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea },
	{ "24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a },
	{ "38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f },
	{ "153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2 },
	{ "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d },
	{ "3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf },
	{ "3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024,
	  0x4b61e985, 0x02d1feef },
};

// A frame of the vector; returns its length.
static uint32_t frame(uint8_t *p, const struct vector *v, uint8_t proto, uint32_t n_tags)
{
	bool ipv6 = strchr(v->src, ':');
	uint8_t *l3 = p + 14 + 4 * n_tags, *l4 = l3 + (ipv6 ? 40 : 20);

	memset(p, 0, 128);
	for (uint32_t i = 0; i < n_tags; i++)
		store_be16(p + 12 + 4 * i, BE16(ETH_TYPE_VLAN));
	store_be16(l3 - 2, ipv6 ? BE16(ETH_TYPE_IPV6) : BE16(ETH_TYPE_IPV4));
	l3[0] = ipv6 ? 0x60 : 0x45;
	l3[ipv6 ? 6 : 9] = proto;
	assert_int_equal(inet_pton(ipv6 ? AF_INET6 : AF_INET, v->src, l3 + (ipv6 ? 8 : 12)), 1);
	assert_int_equal(inet_pton(ipv6 ? AF_INET6 : AF_INET, v->dst, l3 + (ipv6 ? 24 : 16)), 1);
	store_be16(l4, cpu_to_be16(v->src_port));
	store_be16(l4 + 2, cpu_to_be16(v->dst_port));
	return (uint32_t)(l4 + 20 - p);
}

static void hashes_are_as_published(void **state)
{
	uint8_t p[128];
	uint32_t kind;

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		bool ipv6 = strchr(v->src, ':');

		for (uint32_t n_tags = 0; n_tags < 3; n_tags++) {
			uint32_t bytes = frame(p, v, IP_PROTO_TCP, n_tags);

			make(ALL, 128);
			assert_int_equal(netvsp_rss_hash(&spread, p, bytes, &kind), v->ports);
			assert_int_equal(kind, ipv6 ? NDIS_HASH_TCP_V6 : NDIS_HASH_TCP_V4);
			make(ALL & ~(NDIS_HASH_TCP_V4 | NDIS_HASH_TCP_V6), 128);
			assert_int_equal(netvsp_rss_hash(&spread, p, bytes, &kind), v->addresses);
			assert_int_equal(kind, ipv6 ? NDIS_HASH_IPV6 : NDIS_HASH_IPV4);
			make(NDIS_HASH_TOEPLITZ | NDIS_HASH_UDP_V4, 128);
			assert_int_equal(netvsp_rss_hash(&spread, p, bytes, &kind), 0);
			assert_int_equal(kind, 0);
		}
		make(ALL, 128);
		assert_int_equal(netvsp_rss_hash(&spread, p, frame(p, v, IP_PROTO_UDP, 0), &kind),
				 v->ports);
		assert_int_equal(kind, ipv6 ? NDIS_HASH_UDP_V6 : NDIS_HASH_UDP_V4);
		assert_int_equal(netvsp_rss_hash(&spread, p, frame(p, v, IP_PROTO_ICMP, 0), &kind),
				 v->addresses);
	}
}

static void fragments_go_by_addresses(void **state)
{
	uint32_t bytes, kind;
	uint8_t p[128];

	make(ALL, 128);
	bytes = frame(p, &vectors[0], IP_PROTO_TCP, 0);
	p[20] = 0x20; // more fragments: later ones have no ports
	assert_int_equal(netvsp_rss_hash(&spread, p, bytes, &kind), vectors[0].addresses);
	p[20] = 0;
	p[21] = 1;
	assert_int_equal(netvsp_rss_hash(&spread, p, bytes, &kind), vectors[0].addresses);
	assert_int_equal(kind, NDIS_HASH_IPV4);
}

static void extensions_are_stepped_over(void **state)
{
	uint32_t bytes, kind;
	uint8_t p[160] = {};

	bytes = frame(p, &vectors[5], IP_PROTO_TCP, 0) + 16;
	memmove(p + 54 + 16, p + 54, 20);
	memset(p + 54, 0, 16);
	p[20] = IP_PROTO_DSTOPTS;
	p[54] = IP_PROTO_TCP;
	p[55] = 1; // 16 bytes
	make(ALL, 128);
	assert_int_equal(netvsp_rss_hash(&spread, p, bytes, &kind), vectors[5].ports);
	assert_int_equal(kind, NDIS_HASH_TCP_V6);
	make(ALL | NDIS_HASH_TCP_V6_EX, 128);
	assert_int_equal(netvsp_rss_hash(&spread, p, bytes, &kind), vectors[5].ports);
	assert_int_equal(kind, NDIS_HASH_TCP_V6_EX);
	// Cut anywhere: never beyond the end (AddressSanitizer looks), and no ports unless there.
	for (uint32_t n = 0; n < bytes; n++) {
		uint8_t *copy = malloc(n + 1);

		memcpy(copy, p, n);
		netvsp_rss_hash(&spread, copy, n, &kind);
		assert_true(kind == NDIS_HASH_TCP_V6_EX ? n >= 54 + 16 + 4 : true);
		free(copy);
	}
}

static void tables_of_any_size(void **state)
{
	struct rte_mempool *pool = test_pool_create(64, TEST_SMALL_ROOM);
	const struct test_frame f = { .payload_bytes = 30, .tcp = true };
	struct rte_mbuf *pkts[2] = { test_frame_build(pool, &f), test_frame_build(pool, &f) };
	static const uint32_t sizes[] = { 1, 2, 3, 16, 100, 128, 129, 256 };
	uint8_t queues[2];
	uint32_t kind, hash;

	rte_pktmbuf_refcnt_update(pkts[1], 1);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t places = 1;

		make(ALL, sizes[i]);
		while (places < sizes[i])
			places *= 2;
		hash = netvsp_rss_hash(&spread, rte_pktmbuf_mtod(pkts[0], uint8_t *),
				       pkts[0]->data_len, &kind);
		netvsp_rss_select(&spread, pkts, 2, queues);
		assert_int_equal(queues[0], hash % places % sizes[i] * 7 % 61);
		assert_int_equal(queues[1], queues[0]);
		assert_int_equal(pkts[0]->hash.rss, hash);
		assert_true(pkts[0]->ol_flags & RTE_MBUF_F_RX_RSS_HASH);
		assert_int_equal(netvsp_rss_kind(pkts[0]), NDIS_HASH_TCP_V4 | NDIS_HASH_TOEPLITZ);
		assert_false(pkts[1]->ol_flags & RTE_MBUF_F_RX_RSS_HASH); // others look at it
	}
	make(ALL, 0);
	netvsp_rss_select(&spread, pkts, 2, queues);
	assert_int_equal(queues[0], 0);
	rte_pktmbuf_refcnt_update(pkts[1], -1);
	rte_pktmbuf_free_bulk(pkts, 2);
	test_pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_are_as_published),
		cmocka_unit_test(fragments_go_by_addresses),
		cmocka_unit_test(extensions_are_stepped_over),
		cmocka_unit_test(tables_of_any_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
