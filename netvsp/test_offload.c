// SPDX-License-Identifier: Apache-2.0
// Requests of a guest become the offload contract, whose finish gives frames that are right to the
// last checksum; and what the contract says reaches a guest.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dataplane/transmit.h"
#include "net/test_util.h"
#include "netvsp/offload.h"
#include "netvsp/rss.h"

static struct port_pools pools;
static struct netvsp_guest guest;

static int set_up(void **state)
{
	pools.small = test_pool_create(512, TEST_SMALL_ROOM);
	pools.large = test_pool_create(16, TEST_LARGE_ROOM);
	return 0;
}

static int tear_down(void **state)
{
	test_pool_destroy(pools.small);
	test_pool_destroy(pools.large);
	return 0;
}

// A frame as a guest's stack hands it down: checksums not computed, and for a large send no length.
static struct rte_mbuf *sent(const struct test_frame *f, bool large)
{
	struct test_frame whole = *f;
	struct rte_mbuf *m;
	uint8_t *l3;

	whole.request = false;
	m = test_frame_build(pools.small, &whole);
	l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, 14 + 4 * f->n_tags);
	if (large)
		memset(l3 + (f->ipv6 ? 4 : 2), 0, 2);
	if (large && !f->ipv6)
		memset(l3 + 10, 0, 2);
	return m;
}

// Finishes m for a port without offloads; every frame that comes out is checked. Returns how many.
static uint32_t finish(struct rte_mbuf *m, uint32_t *payload_bytes)
{
	const struct port_dev dev = { .max_frame = 1522 };
	struct rte_mbuf *out[TRANSMIT_MAX_SEGMENTS];
	struct transmit_result result = {};
	uint16_t n_done, n = transmit_finish(&dev, &pools, &m, 1, &n_done, out,
					     TRANSMIT_MAX_SEGMENTS, &result);
	uint32_t bytes;

	*payload_bytes = 0;
	for (uint16_t i = 0; i < n; i++) {
		test_frame_check(out[i], &bytes);
		*payload_bytes += bytes;
	}
	rte_pktmbuf_free_bulk(out, n);
	return n;
}

static uint32_t csum_of(const struct test_frame *f, uint32_t l4_offset)
{
	return (f->ipv6 ? RNDIS_TX_IS_IPV6 : RNDIS_TX_IS_IPV4 | RNDIS_TX_IP_HEADER) |
	       (f->tcp ? RNDIS_TX_TCP : RNDIS_TX_UDP) | l4_offset << RNDIS_TX_L4_OFFSET_SHIFT;
}

static const struct test_frame shapes[] = {
	{ .payload_bytes = 18 },
	{ .payload_bytes = 18, .tcp = true },
	{ .payload_bytes = 100, .tcp = true, .tcp_options = 12 },
	{ .payload_bytes = 100, .ipv6 = true },
	{ .payload_bytes = 101, .ipv6 = true, .tcp = true, .option_bytes = 16 },
	{ .payload_bytes = 33, .option_bytes = 8, .tcp = true },
	{ .payload_bytes = 500, .n_tags = 1, .tcp = true },
	{ .payload_bytes = 700, .n_tags = 2, .ipv6 = true },
	{ .payload_bytes = 1, .padding_bytes = 17 },
	{ .payload_bytes = 1000, .tcp = true, .split = 256 },
};

static void checksums_are_asked_for(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (uint32_t told = 0; told < 2; told++) { // the L4 offset, or not
			struct rte_mbuf *m = sent(&shapes[i], false);
			struct netvsp_frame frame = {
				.info = NETVSP_FRAME_CSUM,
				.csum = csum_of(&shapes[i], told ? 34 : 0),
			};
			uint32_t bytes;

			assert_true(netvsp_offload_from_guest(&frame, m));
			assert_int_equal(!!(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM), !shapes[i].ipv6);
			assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_L4_MASK,
					 shapes[i].tcp ? RTE_MBUF_F_TX_TCP_CKSUM :
							 RTE_MBUF_F_TX_UDP_CKSUM);
			assert_int_equal(m->l2_len, 14 + 4 * shapes[i].n_tags);
			assert_int_equal(finish(m, &bytes), 1);
			assert_int_equal(bytes, shapes[i].payload_bytes);
		}
	}
}

static void large_sends_get_their_lengths(void **state)
{
	static const struct test_frame large[] = {
		{ .payload_bytes = 14600, .tcp = true },
		{ .payload_bytes = 62000, .tcp = true, .tcp_options = 12 },
		{ .payload_bytes = 20000, .tcp = true, .ipv6 = true },
		{ .payload_bytes = 5000, .tcp = true, .n_tags = 1 },
		{ .payload_bytes = 30000, .tcp = true, .option_bytes = 8, .ipv6 = true },
		{ .payload_bytes = 100, .tcp = true }, // smaller than a segment
	};

	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		for (uint32_t v1 = 0; v1 < (large[i].ipv6 ? 1 : 2); v1++) {
			struct rte_mbuf *m = sent(&large[i], true);
			struct netvsp_frame frame = { .info = NETVSP_FRAME_LSO, .lso = 1000 };
			uint32_t bytes;

			frame.lso |= v1 ? 0 : RNDIS_LSO_V2;
			frame.lso |= large[i].ipv6 ? RNDIS_LSO_IPV6 : 0;
			assert_true(netvsp_offload_from_guest(&frame, m));
			assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
			assert_int_equal(m->tso_segsz, 1000);
			assert_int_equal(finish(m, &bytes), (large[i].payload_bytes + 999) / 1000);
			assert_int_equal(bytes, large[i].payload_bytes);
		}
	}
}

static void a_tag_is_put_in(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct rte_mbuf *m = sent(&shapes[i], false);
		struct netvsp_frame frame = {
			.info = NETVSP_FRAME_CSUM | NETVSP_FRAME_VLAN,
			.csum = csum_of(&shapes[i], 0),
			.vlan = 5 | RNDIS_VLAN_CFI | 0xabc << RNDIS_VLAN_ID_SHIFT,
		};
		uint32_t bytes;

		assert_true(netvsp_offload_from_guest(&frame, m));
		assert_int_equal(load_u32(rte_pktmbuf_mtod_offset(m, uint8_t *, 12)), 0xbcba0081);
		assert_int_equal(finish(m, &bytes), 1);
		assert_int_equal(bytes, shapes[i].payload_bytes);
	}
}

static void requests_that_do_not_fit_are_refused(void **state)
{
	static const struct test_frame udp = { .payload_bytes = 200 };
	static const struct test_frame tcp = { .payload_bytes = 200, .tcp = true };
	static const struct {
		const struct test_frame *f;
		struct netvsp_frame frame;
	} cases[] = {
		{ &udp, { .info = NETVSP_FRAME_LSO, .lso = RNDIS_LSO_V2 | 100 } }, // no TCP
		{ &tcp, { .info = NETVSP_FRAME_LSO, .lso = RNDIS_LSO_V2 } },       // no MSS
		{ &tcp, { .info = NETVSP_FRAME_LSO, .lso = RNDIS_LSO_V2 | 0x10000 } },
		{ &tcp, { .info = NETVSP_FRAME_LSO, .lso = RNDIS_LSO_V2 | RNDIS_LSO_IPV6 | 100 } },
		{ &udp, { .info = NETVSP_FRAME_CSUM, .csum = RNDIS_TX_TCP | RNDIS_TX_IS_IPV4 } },
		{ &tcp, { .info = NETVSP_FRAME_CSUM, .csum = RNDIS_TX_UDP | 500u << 16 } },
		{ &tcp, { .info = NETVSP_FRAME_CSUM, .csum = RNDIS_TX_UDP | 13u << 16 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rte_mbuf *m = sent(cases[i].f, false);

		if (netvsp_offload_from_guest(&cases[i].frame, m))
			fail_msg("case %zu", i);
		rte_pktmbuf_free(m);
	}
}

// Of what the contract does not know, a tunnel say: the guest left the pseudo header's sum.
static void partial_checksums_are_completed(void **state)
{
	for (uint32_t tag = 0; tag < 2; tag++) {
		const struct test_frame f = { .payload_bytes = 64 };
		struct rte_mbuf *m = sent(&f, false);
		uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
		struct netvsp_frame frame = {
			.info = NETVSP_FRAME_CSUM | (tag ? NETVSP_FRAME_VLAN : 0), .vlan = 0x10,
			.csum = RNDIS_TX_IS_IPV4 | RNDIS_TX_UDP | 34u << RNDIS_TX_L4_OFFSET_SHIFT,
		};
		uint32_t sum = 0;

		p[23] = 200; // a protocol nobody knows
		p[40] = p[41] = 0;
		assert_true(netvsp_offload_from_guest(&frame, m));
		assert_int_equal(m->ol_flags, 0);
		p = rte_pktmbuf_mtod(m, uint8_t *);
		for (uint32_t i = 34 + 4 * tag; i + 1 < m->pkt_len; i += 2)
			sum += load_u16(p + i);
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		assert_int_equal(sum, 0xffff);
		rte_pktmbuf_free(m);
	}
}

static void a_frame_without_request_is_left_alone(void **state)
{
	const struct test_frame f = { .payload_bytes = 64, .tcp = true };
	struct rte_mbuf *m = sent(&f, false);
	struct netvsp_frame frame = {};
	uint8_t *before = test_flat(m);

	assert_true(netvsp_offload_from_guest(&frame, m));
	assert_int_equal(m->ol_flags, 0);
	assert_memory_equal(before, rte_pktmbuf_mtod(m, uint8_t *), m->pkt_len);
	frame = (struct netvsp_frame){ .info = NETVSP_FRAME_CSUM, .csum = RNDIS_TX_IS_IPV4 };
	assert_true(netvsp_offload_from_guest(&frame, m));
	assert_int_equal(m->ol_flags, 0);
	free(before);
	rte_pktmbuf_free(m);
}

// --- to a guest --------------------------------------------------------------------------------

static uint32_t report(struct rte_mbuf *m, uint32_t *types, uint32_t *values)
{
	struct rndis_ppi_u32 ppis[NETVSP_MAX_PPIS];
	struct netvsp_frame_out out = { ppis, 0, false };
	uint32_t n;

	netvsp_offload_to_guest(&guest, m, &out);
	n = out.ppi_bytes / 16;
	for (uint32_t i = 0; i < n; i++) {
		types[i] = le32_to_cpu(ppis[i].ppi.type);
		values[i] = le32_to_cpu(ppis[i].value);
	}
	return n;
}

static void what_is_known_is_told(void **state)
{
	static const struct {
		uint64_t flags;
		bool tcp, ipv6;
		uint32_t told; // 0: nothing
	} cases[] = {
		{ 0, true, false, 0 },
		{ RTE_MBUF_F_RX_L4_CKSUM_GOOD, true, false, RNDIS_RX_TCP_GOOD },
		{ RTE_MBUF_F_RX_L4_CKSUM_GOOD, false, false, RNDIS_RX_UDP_GOOD },
		{ RTE_MBUF_F_RX_L4_CKSUM_GOOD, true, true, RNDIS_RX_TCP_GOOD },
		{ RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD, false, false,
		  RNDIS_RX_UDP_GOOD | RNDIS_RX_IP_GOOD },
		{ RTE_MBUF_F_RX_IP_CKSUM_GOOD, false, false, RNDIS_RX_IP_GOOD },
	};
	uint32_t types[NETVSP_MAX_PPIS], values[NETVSP_MAX_PPIS];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (uint16_t n_tags = 0; n_tags < 2; n_tags++) {
			const struct test_frame f = { .payload_bytes = 30, .tcp = cases[i].tcp,
						      .ipv6 = cases[i].ipv6, .n_tags = n_tags };
			struct rte_mbuf *m = test_frame_build(pools.small, &f);
			uint32_t n;

			m->ol_flags = cases[i].flags;
			guest = (struct netvsp_guest){ .report_csum = true };
			n = report(m, types, values);
			assert_int_equal(n, !!cases[i].told + n_tags);
			if (cases[i].told) {
				assert_int_equal(types[0], RNDIS_PPI_CHECKSUM);
				assert_int_equal(values[0], cases[i].told);
			}
			if (n_tags)
				assert_int_equal(types[n - 1], RNDIS_PPI_VLAN);
			guest.report_csum = false;
			assert_int_equal(report(m, types, values), n_tags);
			rte_pktmbuf_free(m);
		}
	}
}

// From guest to guest nobody computes an L4 checksum, unless the receiver looks at it.
static void nobody_computes_what_nobody_needs(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (uint32_t wants = 0; wants < 2; wants++) {
			uint32_t types[NETVSP_MAX_PPIS], values[NETVSP_MAX_PPIS], bytes;
			struct test_frame f = shapes[i];
			struct rte_mbuf *m;
			uint8_t *before, *after;

			f.request = true;
			m = test_frame_build(pools.small, &f);
			before = test_flat(m);
			guest = (struct netvsp_guest){ .report_csum = wants };
			assert_int_equal(report(m, types, values), wants + (f.n_tags == 1));
			after = test_flat(m);
			if (wants) {
				assert_true(values[0] & (f.tcp ? RNDIS_RX_TCP_GOOD :
								 RNDIS_RX_UDP_GOOD));
				assert_int_equal(!!(values[0] & RNDIS_RX_IP_GOOD),
						 !!(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM));
				assert_int_equal(!!(values[0] & RNDIS_RX_TCP_VALUE_INVALID), f.tcp);
				// Behind the IP header nothing changed.
				assert_memory_equal(before + m->l2_len + m->l3_len,
						    after + m->l2_len + m->l3_len,
						    m->pkt_len - m->l2_len - m->l3_len);
			} else {
				test_frame_check(m, &bytes);
			}
			free(before);
			free(after);
			rte_pktmbuf_free(m);
		}
	}
}

static void the_hash_is_told(void **state)
{
	static const struct netvsp_rss rss = {
		NDIS_HASH_TOEPLITZ | NDIS_HASH_TCP_V4, 1, { 1 }, {}
	};
	static struct netvsp_spread spread;
	const struct test_frame f = { .payload_bytes = 30, .tcp = true };
	struct rte_mbuf *m = test_frame_build(pools.small, &f);
	uint32_t types[NETVSP_MAX_PPIS], values[NETVSP_MAX_PPIS];
	uint8_t queue;

	netvsp_rss_init(&spread, &rss);
	netvsp_rss_select(&spread, &m, 1, &queue);
	guest = (struct netvsp_guest){ .report_hash = true };
	assert_int_equal(report(m, types, values), 2);
	assert_int_equal(types[0], RNDIS_PPI_HASH_INFO);
	assert_int_equal(values[0], NDIS_HASH_TOEPLITZ | NDIS_HASH_TCP_V4);
	assert_int_equal(types[1], RNDIS_PPI_HASH_VALUE);
	assert_int_equal(values[1], m->hash.rss);
	guest.report_hash = false;
	assert_int_equal(report(m, types, values), 0);
	rte_pktmbuf_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums_are_asked_for),
		cmocka_unit_test(large_sends_get_their_lengths),
		cmocka_unit_test(a_tag_is_put_in),
		cmocka_unit_test(requests_that_do_not_fit_are_refused),
		cmocka_unit_test(partial_checksums_are_completed),
		cmocka_unit_test(a_frame_without_request_is_left_alone),
		cmocka_unit_test(what_is_known_is_told),
		cmocka_unit_test(nobody_computes_what_nobody_needs),
		cmocka_unit_test(the_hash_is_told),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
