// SPDX-License-Identifier: Apache-2.0
// Outer fragments. The library behind it wants EAL, so this test starts one without huge pages.
#include <rte_eal.h>
#include <rte_errno.h>

#include "net/csum.h"
#include "vswitch/reassembly.h"
#include "vswitch/test_hnv_rig.h"

// The `bytes` of the outer payload of *m (IPv4, untagged) from `offset`, as a fragment.
static struct rte_mbuf *piece(struct rte_mbuf *m, uint32_t offset, uint32_t bytes)
{
	struct rte_mbuf *out =
		rte_pktmbuf_copy(m, rig->pools.small, 34 + offset, bytes);
	uint16_t word = (uint16_t)(offset / 8);
	struct ipv4_header *ip;

	memcpy(rte_pktmbuf_prepend(out, 34), rte_pktmbuf_mtod(m, uint8_t *), 34);
	ip = rte_pktmbuf_mtod_offset(out, struct ipv4_header *, 14);
	if (34 + offset + bytes < m->pkt_len)
		word |= IPV4_MORE_FRAGMENTS;
	ip->fragment = cpu_to_be16(word);
	ip->id = BE16(7);
	ip->total_bytes = cpu_to_be16((uint16_t)(20 + bytes));
	ip->csum = BE16(0);
	ip->csum = (FORCE be16)(uint16_t)~csum_fold(csum_add(0, ip, 20));
	return out;
}

static struct rte_mbuf *large(void)
{
	return encapsulated(WAY_BLUE, BLUE_VSID,
			    frame_with(&(struct test_frame){ .payload_bytes = 1400 }, host(20),
				       host(10)));
}

static void pieces_become_whole(void **state)
{
	for (int backwards = 0; backwards < 2; backwards++) {
		struct rte_mbuf *m = large();
		struct rte_mbuf *a = piece(m, 0, 800), *b = piece(m, 800, m->pkt_len - 834);
		uint32_t bytes;

		hnv_send(UPLINK, backwards ? b : a);
		expect_at("");
		assert_int_equal(pipeline_ops.held(rig->pipeline), 1);
		hnv_send(UPLINK, backwards ? a : b);
		expect_at("0");
		test_frame_check(rig->egress[0].pkts[0], &bytes);
		assert_int_equal(bytes, 1400);
		assert_int_equal(pipeline_ops.held(rig->pipeline), 0);
		rte_pktmbuf_free(m);
	}
	assert_int_equal(rig->counters[UPLINK].rx_packets, 4);
	assert_int_equal(rig->counters[UPLINK].consumed, 2);
}

static void pieces_that_stay_alone_are_bounded(void **state)
{
	for (uint32_t i = 0; i < 3000; i++) {
		struct rte_mbuf *m = large(), *a = piece(m, 0, 800);
		struct ipv4_header *ip = rte_pktmbuf_mtod_offset(a, struct ipv4_header *, 14);

		ip->id = cpu_to_be16((uint16_t)i);
		rte_pktmbuf_free(m);
		hnv_send(UPLINK, a);
	}
	assert_in_range(pipeline_ops.held(rig->pipeline), 1, 1024);
	assert_in_range(drops(UPLINK, DROP_RX, DROP_OUTER_FRAGMENT), 3000 - 1024, 2999);
}

static void overlapping_pieces_do_no_harm(void **state)
{
	struct rte_mbuf *m = large();

	hnv_send(UPLINK, piece(m, 0, 800));
	hnv_send(UPLINK, piece(m, 400, 800));
	hnv_send(UPLINK, piece(m, 0, 800));
	hnv_send(UPLINK, piece(m, 1200, m->pkt_len - 1234));
	rte_pktmbuf_free(m);
}

static int set_up(void **state)
{
	rig_reassembly = reassembly_create(RIG_TSC_HZ);
	assert_non_null(rig_reassembly);
	return hnv_rig_set_up(state);
}

int main(void)
{
	static char *eal[] = { "test_reassembly", "--no-huge",      "--no-shconf", "--no-pci",
			       "-m",              "64",             "-l",          "0",
			       "--no-telemetry",  "--log-level=*:4" };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pieces_become_whole, set_up, hnv_rig_tear_down),
		cmocka_unit_test_setup_teardown(pieces_that_stay_alone_are_bounded, set_up,
						hnv_rig_tear_down),
		cmocka_unit_test_setup_teardown(overlapping_pieces_do_no_harm, set_up,
						hnv_rig_tear_down),
	};

	if (rte_eal_init(ARRAY_SIZE(eal), eal) < 0) {
		fprintf(stderr, "no EAL: %s\n", rte_strerror(rte_errno));
		return 77; // skipped
	}
	return cmocka_run_group_tests_name("reassembly", tests, NULL, NULL);
}
