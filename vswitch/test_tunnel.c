// SPDX-License-Identifier: Apache-2.0
// Frames of virtual subnets: between ports, to other hosts and from them.
#include "net/test_encap.h"
#include "vswitch/test_hnv_rig.h"

// --- to other hosts ----------------------------------------------------------------------------

static void stays_in_its_subnet(void **state)
{
	hnv_send(0, frame(host(10), host(11)));
	expect_at("1");
	hnv_send(0, frame(host(10), host(12))); // red's
	expect_at("");
	hnv_send(0, tagged(host(10), host(11), 6));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_UNAUTHORIZED_VLAN), 1);
	assert_int_equal(drops(0, DROP_RX, DROP_NO_DESTINATION), 1);
}

static void goes_encapsulated(void **state)
{
	static const struct {
		uint16_t port, way;
		uint8_t from, to;
		uint32_t vsid;
	} cases[] = { { 0, WAY_BLUE, 10, 20, BLUE_VSID }, { 2, WAY_RED, 12, 21, RED_VSID } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int again = 0; again < 3; again++) {
			struct encap_info info;
			struct rte_mbuf *m;
			uint32_t bytes;

			hnv_send(cases[i].port, frame(host(cases[i].from), host(cases[i].to)));
			expect_at("3");
			m = expect_encapsulated(cases[i].way, 0, &info);
			assert_int_equal(info.id, cases[i].vsid);
			test_frame_check(m, &bytes);
			assert_int_equal(bytes, 40);
		}
	}
}

static void entropy_is_the_flows(void **state)
{
	bool seen[65536] = { false };
	uint32_t n = 0;

	for (uint16_t i = 0; i < 1000; i++) {
		struct rte_mbuf *m = frame(host(12), host(21));
		struct encap_info info[2];

		store_be16(rte_pktmbuf_mtod_offset(m, uint8_t *, 34), cpu_to_be16(i));
		for (int again = 0; again < 2; again++) {
			hnv_send(2, rte_pktmbuf_copy(m, rig->pools.small, 0, UINT32_MAX));
			expect_encapsulated(WAY_RED, 0, &info[again]);
		}
		rte_pktmbuf_free(m);
		assert_int_equal(info[0].flow, info[1].flow);
		n += !seen[info[0].flow];
		seen[info[0].flow] = true;
	}
	assert_in_range(n, 900, 1000);
}

static void flow_id_may_be_fixed(void **state)
{
	struct encap_info info;

	hrig->subnets[0].flow_id = 77;
	hnv_rig_publish();
	hnv_send(0, frame(host(10), host(20)));
	expect_encapsulated(WAY_BLUE, 0, &info);
	assert_int_equal(info.flow, 77);
}

static void requests_are_finished_first(void **state)
{
	static const struct test_frame frames[] = {
		{ .payload_bytes = 100, .request = true },
		{ .payload_bytes = 100, .request = true, .ipv6 = true, .tcp = true },
		{ .payload_bytes = 1300, .split = 500, .tcp = true, .request = true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		struct encap_info info;
		uint32_t bytes;

		hnv_send(0, frame_with(&frames[i], host(10), host(20)));
		expect_at("3");
		test_frame_check(expect_encapsulated(WAY_BLUE, 0, &info), &bytes);
		assert_int_equal(bytes, frames[i].payload_bytes);
	}
}

static void large_send_is_cut(void **state)
{
	static const struct test_frame large = {
		.payload_bytes = 14000, .mss = 1400, .tcp = true, .request = true
	};

	hnv_send(0, frame_with(&large, host(10), host(20)));
	assert_int_equal(rig->egress[UPLINK].n, 10);
	assert_int_equal(rig->counters[UPLINK].created, 9);
	for (uint16_t i = 0; i < 10; i++) {
		struct encap_info info;
		uint32_t bytes;

		test_frame_check(expect_encapsulated(WAY_BLUE, i, &info), &bytes);
		assert_int_equal(bytes, 1400);
	}
}

// Memory that others share, or without room in front.
static void unfit_memory_is_copied(void **state)
{
	struct rte_mbuf *m = frame(host(10), host(20)), *other;
	struct encap_info info;
	uint32_t bytes;

	rte_pktmbuf_prepend(m, 100);
	memmove(rte_pktmbuf_mtod(m, uint8_t *), rte_pktmbuf_mtod_offset(m, uint8_t *, 100),
		m->pkt_len - 100);
	rte_pktmbuf_trim(m, 100);
	hnv_send(0, m);
	test_frame_check(expect_encapsulated(WAY_BLUE, 0, &info), &bytes);
	other = m = frame(host(10), host(20));
	rte_mbuf_refcnt_update(m, 1);
	hnv_send(0, m);
	test_frame_check(expect_encapsulated(WAY_BLUE, 0, &info), &bytes);
	test_frame_check(other, &bytes); // untouched
	assert_ptr_not_equal(rig->egress[UPLINK].pkts[0], other);
	rte_pktmbuf_free(other);
}

static void unresolved_way_drops(void **state)
{
	rcu_set(&hrig->ways[0].now, NULL);
	hnv_send(0, frame(host(10), host(20)));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_NEIGHBOR_UNRESOLVED), 1);
	rcu_set(&hrig->ways[0].now, &hrig->headers[0]);
	hnv_send(0, frame(host(10), host(20)));
	expect_at("3");
}

static void too_big_is_dropped(void **state)
{
	hnv_send(0, frame_with(&(struct test_frame){ .payload_bytes = WAY_MTU - 28 }, host(10),
			       host(20)));
	expect_at("3");
}

static void customer_may_move(void **state)
{
	struct encap_info info;

	hnv_send(0, frame(host(10), host(11)));
	expect_at("1");
	hnv_rig_customer(BLUE, 11, WAY_BLUE);
	hnv_send(0, frame(host(10), host(11)));
	expect_at("3");
	expect_encapsulated(WAY_BLUE, 0, &info);
	hnv_rig_customer(BLUE, 11, 1);
	hnv_send(0, frame(host(10), host(11)));
	expect_at("1");
}

// --- from other hosts --------------------------------------------------------------------------

static void comes_decapsulated(void **state)
{
	uint32_t bytes;

	for (int again = 0; again < 3; again++) {
		hnv_send(UPLINK, encapsulated(WAY_BLUE, BLUE_VSID, frame(host(20), host(10))));
		expect_at("0");
		test_frame_check(rig->egress[0].pkts[0], &bytes);
		assert_int_equal(bytes, 40);
		hnv_send(UPLINK, encapsulated(WAY_RED, RED_VSID, frame(host(21), host(12))));
		expect_at("2");
	}
	assert_int_equal(rig->counters[UPLINK].rx_packets, 6);
}

// Encapsulations, peers, plain frames and others, in one batch: each as if it were alone.
static void comes_mixed(void **state)
{
	static const struct {
		uint16_t way;
		uint32_t vsid;
		uint8_t from, to; // hosts
		uint8_t tos;      // of the outer header; ECT(1) is not plain
	} batch[] = {
		{ WAY_BLUE, BLUE_VSID, 20, 10, 0 }, { WAY_RED, RED_VSID, 21, 12, 0 },
		{ WAY_RED, RED_VSID, 21, 12, 1 },   { WAY_BLUE, BLUE_VSID, 20, 11, 0 },
		{ WAY_BLUE, BLUE_VSID, 20, 10, 1 }, { WAY_BLUE, BLUE_VSID, 20, 10, 2 },
		{ WAY_RED, RED_VSID, 21, 12, 0 },   { WAY_BLUE, BLUE_VSID, 20, 11, 0 },
	};
	struct rte_mbuf *pkts[ARRAY_SIZE(batch)];

	for (size_t i = 0; i < ARRAY_SIZE(batch); i++) {
		uint8_t *ip;

		pkts[i] = encapsulated(batch[i].way, batch[i].vsid,
				       frame(host(batch[i].from), host(batch[i].to)));
		ip = rte_pktmbuf_mtod_offset(pkts[i], uint8_t *, 14);
		ip[1] = batch[i].tos;
		test_encap_csum(ip);
	}
	rig_forget();
	pipeline_ops.input(rig->pipeline, &rig->out, UPLINK, pkts, ARRAY_SIZE(batch));
	assert_int_equal(rig->egress[0].n, 3);
	assert_int_equal(rig->egress[1].n, 2);
	assert_int_equal(rig->egress[2].n, 3);
	assert_int_equal(rig->counters[UPLINK].rx_packets, ARRAY_SIZE(batch));
}

static void strict_source_is_checked(void **state)
{
	static const struct {
		uint16_t way;
		uint32_t vsid;
		uint8_t from, to;
		enum drop reason;
	} cases[] = {
		{ WAY_BLUE, BLUE_VSID, 99, 10, DROP_SOURCE_MISMATCH }, // nobody's
		{ WAY_BLUE, BLUE_VSID, 11, 10, DROP_SOURCE_MISMATCH }, // ours
		{ WAY_BLUE, BLUE_VSID + 1, 20, 10, DROP_VIRTUAL_SUBNET_ID },
		{ WAY_RED, BLUE_VSID, 20, 10, DROP_VIRTUAL_SUBNET_ID }, // wrong encapsulation
		{ WAY_BLUE, BLUE_VSID, 20, 12, DROP_NO_DESTINATION },   // red's
		{ WAY_BLUE, BLUE_VSID, 20, 20, DROP_TUNNEL_TO_TUNNEL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t before = drops(UPLINK, DROP_RX, cases[i].reason);

		hnv_send(UPLINK, encapsulated(cases[i].way, cases[i].vsid,
					      frame(host(cases[i].from), host(cases[i].to))));
		expect_at("");
		assert_int_equal(drops(UPLINK, DROP_RX, cases[i].reason), before + 1);
	}
}

static void unknown_peer_is_refused_or_reported(void **state)
{
	struct ip_address known = hrig->ways[0].provider;

	hrig->ways[0].provider = ip4(192, 0, 2, 99); // in the index by its old address alone
	hnv_send(UPLINK, encapsulated(WAY_BLUE, BLUE_VSID, frame(host(20), host(10))));
	expect_at("");
	assert_int_equal(drops(UPLINK, DROP_RX, DROP_PROVIDER_UNKNOWN), 1);
	assert_int_equal(hrig->n_reports, 0);
	hrig->subnets[0].learning = true;
	hnv_rig_publish();
	hnv_send(UPLINK, encapsulated(WAY_BLUE, BLUE_VSID, frame(host(20), host(10))));
	expect_at("0");
	assert_int_equal(hrig->n_reports, 1);
	assert_int_equal(hrig->reports[0].kind, LEARN_PEER);
	assert_int_equal(hrig->reports[0].fid, BLUE);
	assert_memory_equal(hrig->reports[0].address.b, ((uint8_t[]){ 192, 0, 2, 99 }), 4);
	hrig->ways[0].provider = known;
}

static void learning_subnet_learns_macs_of_ways(void **state)
{
	hrig->subnets[0].learning = true;
	hnv_rig_publish();
	hnv_send(UPLINK, encapsulated(WAY_BLUE, BLUE_VSID, frame(host(30), host(10))));
	expect_at("0");
	assert_int_equal(hrig->n_reports, 1);
	assert_int_equal(hrig->reports[0].kind, LEARN_MAC);
	assert_int_equal(hrig->reports[0].port, WAY_BLUE);
	assert_memory_equal(hrig->reports[0].mac.b, host(30).b, 6);
}

static void malformed_is_refused(void **state)
{
	static const struct {
		uint32_t at;
		uint8_t byte;
		enum drop reason;
	} cases[] = {
		{ 17, 255, DROP_OUTER_INVALID },     // longer than the frame
		{ 24, 0, DROP_OUTER_CHECKSUM },
		{ 34, 0x00, DROP_TUNNEL_NO_KEY },
		{ 34, 0xa0, DROP_TUNNEL_FLAGS },     // a checksum
		{ 20, 0x20, DROP_OUTER_FRAGMENT },   // more fragments
		{ 54, 0x81, DROP_INNER_VLAN },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rte_mbuf *m =
			encapsulated(WAY_BLUE, BLUE_VSID, frame(host(20), host(10)));
		uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

		p[cases[i].at] = cases[i].byte;
		if (cases[i].at == 54)
			p[55] = 0;
		hnv_send(UPLINK, m);
		expect_at("");
		if (!drops(UPLINK, DROP_RX, cases[i].reason))
			fail_msg("case %zu", i);
	}
}

// What is not for the provider is switched as ever.
static void others_pass_the_uplink(void **state)
{
	struct rte_mbuf *m = encapsulated(WAY_BLUE, BLUE_VSID, frame(host(20), host(10)));

	memcpy(rte_pktmbuf_mtod(m, uint8_t *), host(77).b, 6);
	hnv_send(UPLINK, m);
	expect_at("012"); // unknown in the VLAN that the ports were in; nothing was decapsulated
	assert_true(load_be16(rte_pktmbuf_mtod_offset(rig->egress[0].pkts[0], uint8_t *, 12)) ==
		    BE16(ETH_TYPE_IPV4));
}

static void floods_by_head_end_replication(void **state)
{
	struct encap_info info;

	hnv_send(0, frame(host(10), broadcast));
	expect_at("13");
	expect_encapsulated(WAY_BLUE, 0, &info);
	assert_int_equal(info.id, BLUE_VSID);
	hnv_send(UPLINK, encapsulated(WAY_BLUE, BLUE_VSID, frame(host(20), broadcast)));
	expect_at("01"); // not back to a host
	assert_int_equal(drops(UPLINK, DROP_RX, DROP_TUNNEL_TO_TUNNEL), 0); // not even tried
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HNV_TEST(stays_in_its_subnet),
		HNV_TEST(goes_encapsulated),
		HNV_TEST(entropy_is_the_flows),
		HNV_TEST(flow_id_may_be_fixed),
		HNV_TEST(requests_are_finished_first),
		HNV_TEST(large_send_is_cut),
		HNV_TEST(unfit_memory_is_copied),
		HNV_TEST(unresolved_way_drops),
		HNV_TEST(too_big_is_dropped),
		HNV_TEST(customer_may_move),
		HNV_TEST(comes_decapsulated),
		HNV_TEST(comes_mixed),
		HNV_TEST(strict_source_is_checked),
		HNV_TEST(unknown_peer_is_refused_or_reported),
		HNV_TEST(learning_subnet_learns_macs_of_ways),
		HNV_TEST(malformed_is_refused),
		HNV_TEST(others_pass_the_uplink),
		HNV_TEST(floods_by_head_end_replication),
	};

	return cmocka_run_group_tests_name("tunnel", tests, NULL, NULL);
}
