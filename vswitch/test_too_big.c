// SPDX-License-Identifier: Apache-2.0
// Packets larger than a way takes: told, fragmented, or cut.
#include "net/csum.h"
#include "vswitch/test_hnv_rig.h"

// UDP with `ip_bytes` of IP packet from blue 10 to blue 20.
static struct rte_mbuf *packet(uint32_t ip_bytes, bool ipv6, bool may_fragment)
{
	struct test_frame shape = { .ipv6 = ipv6, .payload_bytes = ip_bytes - (ipv6 ? 48 : 28) };
	struct rte_mbuf *m = frame_with(&shape, host(10), host(20));
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	struct ip_address from = ipv6 ? customer6(BLUE, 10) : customer4(BLUE, 10);

	memcpy(p + (ipv6 ? 22 : 26), from.b, ipv6 ? 16 : 4);
	if (may_fragment)
		store_be16(p + 20, BE16(0));
	test_frame_fix(m);
	return m;
}

// The right MTU, from the gateway, with the packet's start.
static void expect_told(bool ipv6, uint16_t mtu)
{
	const struct rte_mbuf *m = rig->egress[0].pkts[0];
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *), *l4 = p + (ipv6 ? 54 : 34);

	expect_at("0");
	test_icmp_check(m);
	assert_int_equal(l4[0], ipv6 ? ICMPV6_TOO_BIG : ICMP_UNREACHABLE);
	assert_int_equal(l4[1], ipv6 ? 0 : ICMP_CODE_TOO_BIG);
	assert_int_equal(be32_to_cpu(load_be32(l4 + 4)), mtu);
	assert_memory_equal(p + 6, hrig->hnv.router_mac.b, 6);
	assert_int_equal(l4[8] >> 4, ipv6 ? 6 : 4);
}

static void exact_size_passes(void **state)
{
	struct encap_info info;

	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		hnv_send(0, packet(WAY_MTU, ipv6, false));
		expect_at("3");
		expect_encapsulated(WAY_BLUE, 0, &info);
	}
}

static void sender_is_told(void **state)
{
	hnv_send(0, packet(WAY_MTU + 1, false, false));
	expect_told(false, WAY_MTU);
	hnv_send(0, packet(WAY_MTU + 1, true, false));
	expect_told(true, WAY_MTU);
	assert_int_equal(drops(0, DROP_RX, DROP_MTU_MISMATCH), 2);
}

// Its frame bears the gateway's MAC by the time that it turns out to be too large.
static void sender_is_told_by_its_router(void **state)
{
	struct rte_mbuf *m = packet(WAY_MTU + 1, false, false);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	memcpy(p, hrig->hnv.router_mac.b, 6);
	memcpy(p + 30, customer4(RED, 21).b, 4);
	test_frame_fix(m);
	hnv_send(0, m);
	expect_told(false, WAY_MTU);
	assert_memory_equal(rte_pktmbuf_mtod(rig->egress[0].pkts[0], uint8_t *), host(10).b, 6);
}

static void large_send_is_judged_by_its_segments(void **state)
{
	struct test_frame f = {
		.payload_bytes = 5000, .mss = WAY_MTU - 40, .tcp = true, .request = true
	};

	hnv_send(0, frame_with(&f, host(10), host(20)));
	assert_int_equal(rig->egress[UPLINK].n, 4);
	f.mss++;
	hnv_send(0, frame_with(&f, host(10), host(20)));
	expect_told(false, WAY_MTU);
}

// The inner fragments that wait at the uplink make up the payload of `original`.
static void expect_fragments(const struct rte_mbuf *original, uint16_t n)
{
	uint8_t *want = test_flat(original);
	uint32_t offset = 0;
	uint16_t source = 0;

	assert_int_equal(rig->egress[UPLINK].n, n);
	for (uint16_t i = 0; i < n; i++) {
		struct encap_info info;
		struct rte_mbuf *m = expect_encapsulated(WAY_BLUE, i, &info);
		uint8_t *got = test_flat(m);
		uint16_t word = be16_to_cpu(load_be16(got + 20));
		uint32_t bytes = be16_to_cpu(load_be16(got + 16)) - 20u;

		assert_in_range(m->pkt_len, 34, WAY_MTU + 14);
		assert_int_equal(csum_fold(csum_add(0, got + 14, 20)), 0xffff);
		assert_int_equal((word & IPV4_OFFSET_MASK) * 8, offset);
		assert_int_equal(!!(word & IPV4_MORE_FRAGMENTS), i + 1 < n);
		assert_memory_equal(got + 34, want + 34 + offset, bytes);
		assert_memory_equal(got, want, 16);
		assert_memory_equal(got + 26, want + 26, 8);
		offset += bytes;
		source = i ? source : info.flow;
		assert_int_equal(info.flow, source); // one way for all
		free(got);
	}
	assert_int_equal(offset, original->pkt_len - 34);
	free(want);
}

static void fragments_if_it_may(void **state)
{
	static const struct {
		uint32_t bytes;
		uint16_t n;
	} cases[] = { { WAY_MTU + 1, 2 }, { 4000, 3 }, { 9000, 7 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct test_frame shape = { .payload_bytes = cases[i].bytes - 28, .split = 1000 };
		struct rte_mbuf *m = frame_with(&shape, host(10), host(20)), *original;
		uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

		store_be16(p + 20, BE16(0));
		store_be16(p + 24, BE16(0));
		store_be16(p + 24, (FORCE be16)(uint16_t)~csum_fold(csum_add(0, p + 14, 20)));
		original = rte_pktmbuf_copy(m, rig->pools.small, 0, UINT32_MAX);
		hnv_send(0, m);
		expect_fragments(original, cases[i].n);
		rte_pktmbuf_free(original);
	}
}

static void checksum_is_computed_before(void **state)
{
	struct test_frame shape = { .payload_bytes = 1700, .request = true };
	struct rte_mbuf *m = frame_with(&shape, host(10), host(20)), *whole;
	struct encap_info info;
	uint32_t bytes;

	store_be16(rte_pktmbuf_mtod_offset(m, uint8_t *, 20), BE16(0));
	hnv_send(0, m);
	assert_int_equal(rig->egress[UPLINK].n, 2);
	whole = rte_pktmbuf_copy(expect_encapsulated(WAY_BLUE, 0, &info), rig->pools.small, 0,
				 UINT32_MAX);
	m = expect_encapsulated(WAY_BLUE, 1, &info);
	memcpy(rte_pktmbuf_append(whole, (uint16_t)(m->pkt_len - 34)),
	       rte_pktmbuf_mtod_offset(m, uint8_t *, 34), m->pkt_len - 34);
	store_be16(rte_pktmbuf_mtod_offset(whole, uint8_t *, 16), cpu_to_be16(1728));
	store_be16(rte_pktmbuf_mtod_offset(whole, uint8_t *, 20), BE16(0));
	whole->ol_flags = RTE_MBUF_F_TX_UDP_CKSUM; // only the IP header's is made anew
	test_frame_fix(whole);
	test_frame_check(whole, &bytes);
	assert_int_equal(bytes, 1700);
	rte_pktmbuf_free(whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HNV_TEST(exact_size_passes),
		HNV_TEST(sender_is_told),
		HNV_TEST(sender_is_told_by_its_router),
		HNV_TEST(large_send_is_judged_by_its_segments),
		HNV_TEST(fragments_if_it_may),
		HNV_TEST(checksum_is_computed_before),
	};

	return cmocka_run_group_tests_name("too_big", tests, NULL, NULL);
}
