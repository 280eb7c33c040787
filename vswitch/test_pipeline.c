// SPDX-License-Identifier: Apache-2.0
// The switch from end to end: learning, flooding, frames that no switch forwards, full tables.
#include "vswitch/test_rig.h"

// --- learning and flooding ---------------------------------------------------------------------

static void floods_then_learns(void **state)
{
	rig_send(0, frame(host(1), host(2)));
	expect_at("123");
	assert_int_equal(rig->counters[1].created + rig->counters[2].created +
			 rig->counters[3].created, 2);
	rig_send(2, frame(host(2), host(1)));
	expect_at("0");
	rig_send(0, frame(host(1), host(2))); // the cached flood ends when the MAC is learnt
	expect_at("2");
}

static void mac_move_redirects_cached_flows(void **state)
{
	rig_send(1, frame(host(1), broadcast));
	rig_send(0, frame(host(9), host(1)));
	expect_at("1");
	uint64_t stale = pipeline_cache(rig->pipeline)->stats.stale;

	rig_send(3, frame(host(1), broadcast)); // it is behind port 3 now
	rig_send(0, frame(host(9), host(1)));
	expect_at("3");
	// One store: the flow itself was not decided anew.
	assert_int_equal(pipeline_cache(rig->pipeline)->stats.stale, stale);
	rig_send(1, frame(host(1), broadcast)); // and back, though its old flow is still cached
	rig_send(0, frame(host(9), host(1)));
	expect_at("1");
}

// A second passes and the clock hands look at all flows.
static void sweep(void)
{
	rig_second();
	vswitch_learn(rig->vs);
}

static void mac_moves_by_its_latest_frame(void **state)
{
	rig_send(1, frame(host(1), host(9)));
	sweep();
	rig_send(3, frame(host(1), host(9)));
	sweep(); // the flow from port 1 is still cached, and older than the move
	rig_send(0, frame(host(9), host(1)));
	expect_at("3");
	rig_send(1, frame(host(1), host(9))); // hits that flow
	sweep();
	rig_send(0, frame(host(9), host(1)));
	expect_at("1");
}

static void does_not_send_back(void **state)
{
	rig_send(0, frame(host(1), broadcast));
	rig_send(0, frame(host(2), host(1)));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_SAME_PORT), 1);
}

static void learn_limits_hold(void **state)
{
	rig->ports[0].max_macs = 2;
	rig->ports[3].move_limit = 0;
	rig_publish();
	for (uint8_t i = 1; i <= 3; i++)
		rig_send(0, frame(host(i), broadcast));
	assert_int_equal(fdb_port_count(vswitch_fdb(rig->vs), 0), 2);
	rig_send(3, frame(host(1), broadcast)); // may not move
	rig_send(1, frame(host(9), host(1)));
	expect_at("0");
}

static void static_mac_is_not_stolen(void **state)
{
	rig->ports[1].mac = host(5);
	rig->ports[1].learning = false;
	rig_publish();
	rig_send(0, frame(host(9), host(5)));
	expect_at("1");
	rig_send(3, frame(host(5), broadcast));
	rig_send(0, frame(host(9), host(5)));
	expect_at("1");
	assert_true(vswitch_stats(rig->vs)->refused_static > 0);
}

static void unseen_macs_age(void **state)
{
	vswitch_second(rig->vs, 1000);
	rig_send(1, frame(host(1), broadcast));
	rig_send(0, frame(host(9), host(1)));
	expect_at("1");
	vswitch_second(rig->vs, 1300);
	rig_send(0, frame(host(9), host(1)));
	expect_at("1");
	vswitch_second(rig->vs, 1301);
	rig_send(0, frame(host(9), host(1)));
	expect_at("123");
}

static void unknown_can_be_dropped(void **state)
{
	rig->sw.flood_unknown = false;
	rig_publish();
	rig_send(0, frame(host(1), host(2)));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_NO_DESTINATION), 1);
	rig_send(0, frame(host(1), broadcast));
	expect_at("123");
	rig_send(2, frame(host(2), broadcast)); // now it is known
	rig_send(0, frame(host(1), host(2)));
	expect_at("2");
}

static void storm_is_limited(void **state)
{
	rig->ports[0].storm_limit = 3;
	rig_publish();
	rig_second();
	for (int i = 0; i < 10; i++)
		rig_send(0, frame(host(1), broadcast));
	assert_int_equal(drops(0, DROP_RX, DROP_STORM_LIMIT), 7);
	rig_send(1, frame(host(2), broadcast)); // other ports are not
	expect_at("023");
}

// --- frames that no switch forwards ------------------------------------------------------------

static void bad_frames_are_counted(void **state)
{
	struct rte_mbuf *m;
	struct mac reserved = { .b = { 0x01, 0x80, 0xc2, 0, 0, 0x0e } };

	rig_send(0, frame(host(1), reserved));
	assert_int_equal(drops(0, DROP_RX, DROP_BRIDGE_RESERVED), 1);
	rig_send(0, frame(broadcast, host(2)));
	rig_send(0, frame((struct mac){ 0 }, host(2)));
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_SOURCE_MAC), 2);
	m = frame(host(1), host(2));
	rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - 13));
	rig_send(0, m);
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_PACKET), 1);
	m = tagged(host(1), host(2), 5);
	rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - 17));
	rig_send(0, m);
	rig_send(0, tagged(host(1), host(2), 4095));
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_VLAN_FORMAT), 2);
	expect_at("");
}

static void blocked_port_passes_nothing(void **state)
{
	rig->ports[1].ready = false;
	rig->ports[1].mac = host(1);
	rig_publish();
	rig_send(0, frame(host(9), host(1)));
	rig_send(0, frame(host(9), broadcast));
	expect_at("23");
	assert_int_equal(drops(1, DROP_TX, DROP_NOT_READY), 2);
	rig_send(1, frame(host(1), host(9)));
	assert_int_equal(drops(1, DROP_RX, DROP_NOT_READY), 1);
	rig->ports[1].ready = true;
	rig_publish();
	rig_send(0, frame(host(9), host(1)));
	expect_at("1");
}

static void unknown_port_is_not_ready(void **state)
{
	struct rte_mbuf *m = frame(host(1), host(2));

	pipeline_ops.input(rig->pipeline, &rig->out, 77, &m, 1);
	assert_int_equal(rig->out.spare.drops[DROP_RX][DROP_NOT_READY], 1);
}

static void removed_port_gets_nothing(void **state)
{
	rig_send(1, frame(host(1), broadcast));
	rig_send(0, frame(host(9), host(1)));
	expect_at("1");
	rig->plan->egress[1] = NULL; // its device closed first
	rig_send(0, frame(host(9), host(1)));
	expect_at("");
	assert_int_equal(rig->out.spare.drops[DROP_TX][DROP_DISCONNECTED], 1);
}

// --- tables that are full ----------------------------------------------------------------------

static void full_table_still_forwards(void **state)
{
	rig->ports[1].mac = host(2);
	rig_publish();
	rig_second();
	for (uint32_t i = 0; i < 6000; i++) {
		struct mac src = { .b = { 2, 1, 0, 0, (uint8_t)(i >> 8), (uint8_t)i } };

		rig_send(0, frame(src, host(2)));
		expect_at("1");
	}
	assert_true(pipeline_cache(rig->pipeline)->stats.uncached > 1000);
}

static void batches_of_everything(void **state)
{
	struct rte_mbuf *pkts[PORT_BATCH];
	uint16_t n = 0;

	for (; n < PORT_BATCH; n++)
		pkts[n] = n % 3 ? frame(host(1), host((uint8_t)n)) : tagged(host(1), host(2), 4095);
	pkts[PORT_BATCH - 1]->data_len = pkts[PORT_BATCH - 1]->pkt_len = 3;
	rig->sw.flood_unknown = false;
	rig_publish();
	pipeline_ops.input(rig->pipeline, &rig->out, 0, pkts, n);
	assert_int_equal(rig->counters[0].rx_packets, PORT_BATCH);
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_VLAN_FORMAT), 21);
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_PACKET), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(unknown_port_is_not_ready),
		RIG_TEST(floods_then_learns), RIG_TEST(mac_move_redirects_cached_flows),
		RIG_TEST(mac_moves_by_its_latest_frame),
		RIG_TEST(does_not_send_back), RIG_TEST(learn_limits_hold),
		RIG_TEST(static_mac_is_not_stolen), RIG_TEST(unseen_macs_age),
		RIG_TEST(unknown_can_be_dropped), RIG_TEST(storm_is_limited),
		RIG_TEST(bad_frames_are_counted), RIG_TEST(blocked_port_passes_nothing),
		RIG_TEST(removed_port_gets_nothing), RIG_TEST(full_table_still_forwards),
		RIG_TEST(batches_of_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
