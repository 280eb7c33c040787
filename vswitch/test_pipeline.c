// SPDX-License-Identifier: Apache-2.0
// The switch from end to end, without threads, devices or EAL: a batch in, look who got what.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "net/test_util.h"
#include "vswitch/layer_filter.h"
#include "vswitch/vswitch.h"

#define N_PORTS 4
#define N_MBUFS 4096
#define TSC_HZ 1000000000ull
#define HOST(n) ((struct mac){ .b = { 2, 0, 0, 0, 0, (n) } })

static const struct mac broadcast = { .b = { 255, 255, 255, 255, 255, 255 } };

// Four ports of one switch, none with a device: egress queues are looked at directly.
struct rig {
	struct port_pools pools;
	struct rcu *rcu;
	struct vswitch *vs;
	struct pipeline *pipeline;
	struct worker_plan *plan;
	struct egress egress[N_PORTS];
	struct port_counters counters[N_PORTS];
	struct worker_out out;
	struct sw_switch_cfg sw;
	struct sw_port_cfg ports[N_PORTS];
	uint64_t now;    // TSC
	uint32_t n_sent; // frames taken off egress queues
};

static struct rig *rig;

static void publish(void)
{
	struct sw_port_cfg ports[N_PORTS];
	struct vswitch_cfg cfg = { &rig->sw, ports, 1, N_PORTS };
	struct vswitch_plan *plan;
	struct err err;

	memcpy(ports, rig->ports, sizeof(ports));
	for (int i = 0; i < N_PORTS; i++) // policies move into the switch
		rig->ports[i].n_in = rig->ports[i].n_out = 0;
	assert_int_equal(vswitch_prepare(rig->vs, &cfg, &plan, &err), 0);
	vswitch_publish(rig->vs, plan);
	rcu_poll(rig->rcu);
}

static int set_up(void **state)
{
	struct pipeline_cfg cfg = { .cache = { .entries = 4096, .tsc_hz = TSC_HZ } };
	struct err err;

	rig = calloc(1, sizeof(*rig));
	rig->pools.small = test_pool_create(N_MBUFS, TEST_SMALL_ROOM);
	rig->pools.large = rig->pools.small;
	rig->rcu = rcu_create();
	assert_int_equal(vswitch_create(rig->rcu, 1, -1, &rig->vs, &err), 0);
	cfg.snapshot = vswitch_snapshot(rig->vs);
	cfg.cache.fdb = vswitch_fdb(rig->vs);
	cfg.cache.learn = vswitch_learn_queue(rig->vs, 0);
	assert_int_equal(pipeline_create(&cfg, &rig->pipeline, &err), 0);
	rig->plan = calloc(1, sizeof(*rig->plan));
	rig->out.plan = rig->plan;
	rig->out.pools = &rig->pools;
	rig->sw = (struct sw_switch_cfg){ .flood_unknown = true, .ageing_s = 300 };
	for (uint16_t i = 0; i < N_PORTS; i++) {
		rig->egress[i].port = i;
		rig->egress[i].counters = &rig->counters[i];
		rig->plan->egress[i] = &rig->egress[i];
		rig->ports[i] = (struct sw_port_cfg){ .index = i, .ready = true, .learning = true,
						      .takes_untagged = true, .max_macs = 1000,
						      .move_limit = 1000, .miss_budget = 100000 };
	}
	publish();
	pipeline_ops.tick(rig->pipeline, rig->now += TSC_HZ);
	return 0;
}

static uint32_t waiting(void)
{
	uint32_t n = 0;

	for (int i = 0; i < N_PORTS; i++)
		n += rig->egress[i].n;
	return n;
}

// Nothing may get lost uncounted, whatever the test did.
static void check_conservation(void)
{
	uint64_t in = 0, out = rig->n_sent + waiting();

	for (int i = 0; i < N_PORTS; i++) {
		in += rig->counters[i].rx_packets + rig->counters[i].created;
		for (int r = 0; r < DROP_N_REASONS; r++)
			out += rig->counters[i].drops[DROP_RX][r] + rig->counters[i].drops[DROP_TX][r];
	}
	assert_int_equal(in, out);
}

static void take_all(void)
{
	for (int i = 0; i < N_PORTS; i++) {
		rig->n_sent += rig->egress[i].n;
		for (uint16_t j = 0; j < rig->egress[i].n; j++)
			rte_pktmbuf_free(rig->egress[i].pkts[j]);
		rig->egress[i].n = 0;
	}
	rig->out.dirty = NULL;
}

static int tear_down(void **state)
{
	check_conservation();
	take_all();
	pipeline_destroy(rig->pipeline);
	rcu_destroy(rig->rcu);
	vswitch_destroy(rig->vs);
	test_pool_destroy(rig->pools.small);
	free(rig->plan);
	free(rig);
	return 0;
}

// --- sending and looking -----------------------------------------------------------------------

static struct rte_mbuf *frame_with(const struct test_frame *f, struct mac src, struct mac dst)
{
	struct rte_mbuf *m = test_frame_build(rig->pools.small, f);

	memcpy(rte_pktmbuf_mtod(m, uint8_t *), dst.b, 6);
	memcpy(rte_pktmbuf_mtod(m, uint8_t *) + 6, src.b, 6);
	return m;
}

static struct rte_mbuf *frame(struct mac src, struct mac dst)
{
	return frame_with(&(struct test_frame){ .payload_bytes = 40 }, src, dst);
}

static struct rte_mbuf *tagged(struct mac src, struct mac dst, uint16_t vid)
{
	struct rte_mbuf *m = frame_with(&(struct test_frame){ .n_tags = 1, .payload_bytes = 40 },
					src, dst);

	store_be16(rte_pktmbuf_mtod_offset(m, uint8_t *, 14), cpu_to_be16(0xa000 | vid));
	return m;
}

// One frame in from `port`, and what was learnt taken in.
static void send(uint16_t port, struct rte_mbuf *m)
{
	take_all();
	pipeline_ops.input(rig->pipeline, &rig->out, port, &m, 1);
	vswitch_learn(rig->vs);
}

// "12": exactly ports 1 and 2 got one frame each.
static void expect_at(const char *ports)
{
	for (int i = 0; i < N_PORTS; i++)
		assert_int_equal(rig->egress[i].n, strchr(ports, '0' + i) ? 1 : 0);
}

static uint64_t drops(uint16_t port, enum drop_dir dir, enum drop reason)
{
	return rig->counters[port].drops[dir][reason];
}

static uint16_t tag_of(const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);

	if (load_be16(p + 12) != ETHERTYPE_VLAN)
		return 0;
	return TAG_PRESENT | (be16_to_cpu(load_be16(p + 14)) & VID_MASK);
}

// --- learning and flooding ---------------------------------------------------------------------

static void floods_then_learns(void **state)
{
	send(0, frame(HOST(1), HOST(2)));
	expect_at("123");
	assert_int_equal(rig->counters[1].created + rig->counters[2].created +
			 rig->counters[3].created, 2);
	send(2, frame(HOST(2), HOST(1)));
	expect_at("0");
	send(0, frame(HOST(1), HOST(2))); // the cached flood ends when the MAC is learnt
	expect_at("2");
}

static void mac_move_redirects_cached_flows(void **state)
{
	send(1, frame(HOST(1), broadcast));
	send(0, frame(HOST(9), HOST(1)));
	expect_at("1");
	uint64_t stale = pipeline_cache(rig->pipeline)->stats.stale;

	send(3, frame(HOST(1), broadcast)); // it is behind port 3 now
	send(0, frame(HOST(9), HOST(1)));
	expect_at("3");
	// One store: the flow itself was not decided anew.
	assert_int_equal(pipeline_cache(rig->pipeline)->stats.stale, stale);
	send(1, frame(HOST(1), broadcast)); // and back, though its old flow is still cached
	send(0, frame(HOST(9), HOST(1)));
	expect_at("1");
}

static void does_not_send_back(void **state)
{
	send(0, frame(HOST(1), broadcast));
	send(0, frame(HOST(2), HOST(1)));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_SAME_PORT), 1);
}

static void learn_limits_hold(void **state)
{
	rig->ports[0].max_macs = 2;
	rig->ports[3].move_limit = 0;
	publish();
	for (uint8_t i = 1; i <= 3; i++)
		send(0, frame(HOST(i), broadcast));
	assert_int_equal(fdb_port_count(vswitch_fdb(rig->vs), 0), 2);
	send(3, frame(HOST(1), broadcast)); // may not move
	send(1, frame(HOST(9), HOST(1)));
	expect_at("0");
}

static void static_mac_is_not_stolen(void **state)
{
	rig->ports[1].mac = HOST(5);
	rig->ports[1].learning = false;
	publish();
	send(0, frame(HOST(9), HOST(5)));
	expect_at("1");
	send(3, frame(HOST(5), broadcast));
	send(0, frame(HOST(9), HOST(5)));
	expect_at("1");
	assert_true(vswitch_stats(rig->vs)->refused_static > 0);
}

static void unseen_macs_age(void **state)
{
	vswitch_second(rig->vs, 1000);
	send(1, frame(HOST(1), broadcast));
	send(0, frame(HOST(9), HOST(1)));
	expect_at("1");
	vswitch_second(rig->vs, 1300);
	send(0, frame(HOST(9), HOST(1)));
	expect_at("1");
	vswitch_second(rig->vs, 1301);
	send(0, frame(HOST(9), HOST(1)));
	expect_at("123");
}

static void unknown_can_be_dropped(void **state)
{
	rig->sw.flood_unknown = false;
	publish();
	send(0, frame(HOST(1), HOST(2)));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_NO_DESTINATION), 1);
	send(0, frame(HOST(1), broadcast));
	expect_at("123");
	send(2, frame(HOST(2), broadcast)); // now it is known
	send(0, frame(HOST(1), HOST(2)));
	expect_at("2");
}

static void storm_is_limited(void **state)
{
	rig->ports[0].storm_limit = 3;
	publish();
	pipeline_ops.tick(rig->pipeline, rig->now += TSC_HZ);
	for (int i = 0; i < 10; i++)
		send(0, frame(HOST(1), broadcast));
	assert_int_equal(drops(0, DROP_RX, DROP_STORM_LIMIT), 7);
	send(1, frame(HOST(2), broadcast)); // other ports are not
	expect_at("023");
}

// --- frames that no switch forwards ------------------------------------------------------------

static void bad_frames_are_counted(void **state)
{
	struct rte_mbuf *m;
	struct mac reserved = { .b = { 0x01, 0x80, 0xc2, 0, 0, 0x0e } };

	send(0, frame(HOST(1), reserved));
	assert_int_equal(drops(0, DROP_RX, DROP_BRIDGE_RESERVED), 1);
	send(0, frame(broadcast, HOST(2)));
	send(0, frame((struct mac){ 0 }, HOST(2)));
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_SOURCE_MAC), 2);
	m = frame(HOST(1), HOST(2));
	rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - 13));
	send(0, m);
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_PACKET), 1);
	m = tagged(HOST(1), HOST(2), 5);
	rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - 17));
	send(0, m);
	send(0, tagged(HOST(1), HOST(2), 4095));
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_VLAN_FORMAT), 2);
	expect_at("");
}

static void blocked_port_passes_nothing(void **state)
{
	rig->ports[1].ready = false;
	rig->ports[1].mac = HOST(1);
	publish();
	send(0, frame(HOST(9), HOST(1)));
	send(0, frame(HOST(9), broadcast));
	expect_at("23");
	assert_int_equal(drops(1, DROP_TX, DROP_NOT_READY), 2);
	send(1, frame(HOST(1), HOST(9)));
	assert_int_equal(drops(1, DROP_RX, DROP_NOT_READY), 1);
	rig->ports[1].ready = true;
	publish();
	send(0, frame(HOST(9), HOST(1)));
	expect_at("1");
}

static void unknown_port_is_not_ready(void **state)
{
	struct rte_mbuf *m = frame(HOST(1), HOST(2));

	pipeline_ops.input(rig->pipeline, &rig->out, 77, &m, 1);
	assert_int_equal(rig->out.spare.drops[DROP_RX][DROP_NOT_READY], 1);
}

static void removed_port_gets_nothing(void **state)
{
	send(1, frame(HOST(1), broadcast));
	send(0, frame(HOST(9), HOST(1)));
	expect_at("1");
	rig->plan->egress[1] = NULL; // its device closed first
	send(0, frame(HOST(9), HOST(1)));
	expect_at("");
	assert_int_equal(rig->out.spare.drops[DROP_TX][DROP_DISCONNECTED], 1);
	rig->counters[0].drops[DROP_TX][DROP_DISCONNECTED]++; // for the check of conservation
}

// --- VLANs -------------------------------------------------------------------------------------

static void set_access(uint16_t port, uint16_t vid)
{
	rig->ports[port].native_vid = vid;
}

static void set_trunk(uint16_t port, uint16_t native, uint16_t a, uint16_t b)
{
	struct sw_port_cfg *p = &rig->ports[port];

	p->native_vid = native;
	memset(p->tagged, 0, sizeof(p->tagged));
	p->tagged[a / 64] |= 1ull << (a % 64);
	p->tagged[b / 64] |= 1ull << (b % 64);
}

static void access_ports_share_a_vlan(void **state)
{
	set_access(0, 10);
	set_access(1, 10);
	set_access(2, 20);
	set_access(3, 20);
	publish();
	send(0, frame(HOST(1), broadcast));
	expect_at("1");
	send(2, frame(HOST(1), broadcast)); // the same MAC, another VLAN
	expect_at("3");
	send(1, frame(HOST(2), HOST(1)));
	expect_at("0");
	send(0, tagged(HOST(1), HOST(2), 10));
	assert_int_equal(drops(0, DROP_RX, DROP_UNAUTHORIZED_VLAN), 1);
}

static void trunk_tags_and_untags(void **state)
{
	set_access(0, 10);
	set_access(1, 20);
	set_trunk(2, 0, 10, 20);
	set_trunk(3, 0, 10, 10);
	rig->ports[3].takes_untagged = false;
	publish();
	send(0, frame(HOST(1), broadcast));
	expect_at("23");
	assert_int_equal(tag_of(rig->egress[2].pkts[0]), TAG_PRESENT | 10);
	send(2, tagged(HOST(2), HOST(1), 10));
	expect_at("0");
	assert_int_equal(tag_of(rig->egress[0].pkts[0]), 0);
	send(0, frame(HOST(1), HOST(2))); // unicast, pushed
	expect_at("2");
	assert_int_equal(tag_of(rig->egress[2].pkts[0]), TAG_PRESENT | 10);
	send(3, tagged(HOST(3), HOST(1), 20));
	assert_int_equal(drops(3, DROP_RX, DROP_UNAUTHORIZED_VLAN), 1);
	send(3, frame(HOST(3), HOST(1)));
	assert_int_equal(drops(3, DROP_RX, DROP_FILTERED_ISO_UNTAGGED), 1);
}

static void native_vlan_leaves_untagged(void **state)
{
	set_access(0, 10);
	set_trunk(1, 10, 10, 20);
	set_trunk(2, 0, 10, 20);
	publish();
	send(0, frame(HOST(1), broadcast));
	expect_at("12");
	assert_int_equal(tag_of(rig->egress[1].pkts[0]), 0);
	assert_int_equal(tag_of(rig->egress[2].pkts[0]), TAG_PRESENT | 10);
	send(1, frame(HOST(2), HOST(1)));
	expect_at("0");
}

static void priority_tag_means_untagged(void **state)
{
	set_trunk(2, 0, 10, 20);
	set_trunk(3, 0, 10, 20);
	set_access(0, 10);
	publish();
	send(0, tagged(HOST(1), broadcast, 0));
	expect_at("23");
	assert_int_equal(tag_of(rig->egress[2].pkts[0]), TAG_PRESENT | 10);
	// Its priority, 5 in bits 13 to 15, is kept.
	assert_int_equal(rte_pktmbuf_mtod(rig->egress[2].pkts[0], uint8_t *)[14] >> 5, 5);
	send(2, tagged(HOST(2), HOST(1), 10));
	send(0, tagged(HOST(1), HOST(2), 0));
	expect_at("2");
}

static void service_tags_are_payload(void **state)
{
	struct rte_mbuf *m = frame_with(&(struct test_frame){ .n_tags = 2, .payload_bytes = 40 },
					HOST(1), broadcast);
	uint32_t bytes = m->pkt_len;

	send(0, m);
	expect_at("123");
	assert_int_equal(rig->egress[1].pkts[0]->pkt_len, bytes);
	assert_int_equal(rte_pktmbuf_mtod(rig->egress[1].pkts[0], uint8_t *)[12], 0x88);
}

static void lone_vlan_leads_nowhere(void **state)
{
	set_access(0, 10);
	publish();
	send(0, frame(HOST(1), broadcast));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_NO_DESTINATION), 1);
	set_access(1, 10); // a second member
	publish();
	send(0, frame(HOST(1), broadcast));
	expect_at("1");
}

static void membership_change_redirects(void **state)
{
	send(1, frame(HOST(1), broadcast));
	send(0, frame(HOST(9), HOST(1)));
	expect_at("1");
	set_access(1, 10);
	set_access(2, 10);
	publish();
	send(0, frame(HOST(9), HOST(1))); // forgotten with the VLAN
	expect_at("3");
}

static void shared_frames_are_not_edited(void **state)
{
	struct rte_mbuf *m = frame(HOST(1), HOST(2)), *clone;

	set_access(0, 10);
	set_trunk(1, 0, 10, 10);
	rig->ports[1].mac = HOST(2);
	publish();
	clone = rte_pktmbuf_clone(m, rig->pools.small);
	send(0, clone);
	expect_at("1");
	assert_int_equal(tag_of(rig->egress[1].pkts[0]), TAG_PRESENT | 10);
	assert_int_equal(tag_of(m), 0); // somebody else still holds this one
	rte_pktmbuf_free(m);
}

// --- layers ------------------------------------------------------------------------------------

static struct filter_rule udp_rule(uint32_t id, bool allow, uint16_t port)
{
	struct filter_rule r;

	memset(&r, 0, sizeof(r)); // padding too
	r.id = id;
	r.protocol = 17;
	r.allow = allow;
	r.destination_ports = (struct port_range){ port, port };
	return r;
}

static struct layer filter(const struct filter_rule *rules, uint32_t n)
{
	return (struct layer){ &layer_filter, filter_create(rules, n) };
}

static struct rte_mbuf *udp_to(uint16_t port, bool ipv6)
{
	struct rte_mbuf *m = frame_with(&(struct test_frame){ .ipv6 = ipv6, .payload_bytes = 40 },
					HOST(1), HOST(2));

	store_be16(rte_pktmbuf_mtod_offset(m, uint8_t *, ipv6 ? 56 : 36), cpu_to_be16(port));
	return m;
}

static void rule_drops_its_port_only(void **state)
{
	struct filter_rule rule = udp_rule(7, false, 53);
	const struct cache *c = pipeline_cache(rig->pipeline);

	rig->ports[1].mac = HOST(2);
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	publish();
	for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
		send(0, udp_to(53, ipv6));
		expect_at("");
		send(0, udp_to(54, ipv6));
		expect_at("1");
	}
	assert_int_equal(drops(0, DROP_RX, DROP_FILTERED), 2);
	assert_int_equal(c->tables[LEVEL2].n_used, 2);
	assert_int_equal(c->tables[LEVEL2_V6].n_used, 2);
	send(0, frame_with(&(struct test_frame){ .tcp = true }, HOST(1), HOST(2)));
	expect_at("1");
	send(1, frame(HOST(2), HOST(1))); // the other direction has no rule: one look-up
	assert_int_equal(c->tables[LEVEL2].n_used, 3);
}

static void first_matching_rule_decides(void **state)
{
	struct filter_rule rules[] = { udp_rule(1, true, 53), udp_rule(2, false, 53),
				       udp_rule(3, false, 54) };

	rig->ports[1].mac = HOST(2);
	rig->ports[0].in[rig->ports[0].n_in++] = filter(rules, 3);
	publish();
	send(0, udp_to(53, false));
	expect_at("1");
	send(0, udp_to(54, false));
	expect_at("");
}

static void egress_rule_is_the_receivers(void **state)
{
	struct filter_rule rule = udp_rule(1, false, 53);

	rig->ports[1].mac = HOST(2);
	rig->ports[1].out[rig->ports[1].n_out++] = filter(&rule, 1);
	publish();
	send(0, udp_to(53, false));
	expect_at("");
	assert_int_equal(drops(1, DROP_TX, DROP_FILTERED), 1);
	// Flooded copies obey it too, each by its own receiver's rules.
	struct rte_mbuf *m = udp_to(53, false);

	memcpy(rte_pktmbuf_mtod(m, uint8_t *), broadcast.b, 6);
	send(0, m);
	expect_at("23");
	assert_int_equal(drops(1, DROP_TX, DROP_FILTERED), 2);
}

static void rule_change_holds_at_once(void **state)
{
	struct filter_rule rule = udp_rule(1, false, 53);

	rig->ports[1].mac = HOST(2);
	publish();
	send(0, udp_to(53, false)); // cached at level 1 as allowed
	expect_at("1");
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	publish();
	send(0, udp_to(53, false));
	expect_at("");
	publish(); // without rules again
	send(0, udp_to(53, false));
	expect_at("1");
}

static void refresh_is_outside_the_budget(void **state)
{
	struct filter_rule rule = udp_rule(1, false, 99);

	rig->ports[1].mac = HOST(2);
	rig->ports[0].miss_budget = 20;
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	publish();
	pipeline_ops.tick(rig->pipeline, rig->now += TSC_HZ);
	for (uint16_t i = 0; i < 30; i++) // one miss is level 1's
		send(0, udp_to(1000 + i, false));
	assert_int_equal(drops(0, DROP_RX, DROP_MISS_BUDGET), 11);
	rule.destination_ports = (struct port_range){ 98, 98 };
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	publish();
	for (uint16_t i = 0; i < 19; i++) {
		send(0, udp_to(1000 + i, false));
		expect_at("1");
	}
	assert_int_equal(drops(0, DROP_RX, DROP_MISS_BUDGET), 11);
}

static void broken_ip_is_dropped_where_rules_look(void **state)
{
	struct filter_rule rule = udp_rule(1, false, 53);
	struct rte_mbuf *m;

	rig->ports[1].mac = HOST(2);
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	publish();
	m = udp_to(80, false);
	rte_pktmbuf_mtod(m, uint8_t *)[14] = 0x4f; // longer than the frame has room for
	rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - 40));
	send(0, m);
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_PACKET), 1);
}

// The log names the rule, and holds the frame's own bytes.
static void deaths_are_noted(void **state)
{
	struct filter_rule rule = udp_rule(7, false, 53);
	struct drop_record records[DROP_LOG_RECORDS];

	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	rig->ports[1].mac = HOST(2);
	publish();
	rig->out.log.budget = 2;
	send(0, udp_to(53, false));
	send(0, frame(broadcast, HOST(2)));
	send(0, frame(broadcast, HOST(2))); // over the loop's budget
	assert_int_equal(drop_log_read(&rig->out.log, records), 2);
	assert_int_equal(records[0].cause.reason, DROP_INVALID_SOURCE_MAC);
	assert_int_equal(records[1].cause.reason, DROP_FILTERED);
	assert_int_equal(records[1].cause.rule, 7);
	assert_int_equal(records[1].head[5], 2);
	assert_int_equal(records[1].frame_bytes, 14 + 20 + 8 + 40);
}

// --- tables that are full ----------------------------------------------------------------------

static void full_table_still_forwards(void **state)
{
	rig->ports[1].mac = HOST(2);
	publish();
	pipeline_ops.tick(rig->pipeline, rig->now += TSC_HZ);
	for (uint32_t i = 0; i < 6000; i++) {
		struct mac src = { .b = { 2, 1, 0, 0, (uint8_t)(i >> 8), (uint8_t)i } };

		send(0, frame(src, HOST(2)));
		expect_at("1");
	}
	assert_true(pipeline_cache(rig->pipeline)->stats.uncached > 1000);
}

static void batches_of_everything(void **state)
{
	struct rte_mbuf *pkts[PORT_BATCH];
	uint16_t n = 0;

	for (; n < PORT_BATCH; n++)
		pkts[n] = n % 3 ? frame(HOST(1), HOST((uint8_t)n)) : tagged(HOST(1), HOST(2), 4095);
	pkts[PORT_BATCH - 1]->data_len = pkts[PORT_BATCH - 1]->pkt_len = 3;
	rig->sw.flood_unknown = false;
	publish();
	pipeline_ops.input(rig->pipeline, &rig->out, 0, pkts, n);
	assert_int_equal(rig->counters[0].rx_packets, PORT_BATCH);
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_VLAN_FORMAT), 21);
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_PACKET), 1);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(floods_then_learns), CASE(mac_move_redirects_cached_flows),
		CASE(does_not_send_back), CASE(learn_limits_hold),
		CASE(static_mac_is_not_stolen), CASE(unseen_macs_age),
		CASE(unknown_can_be_dropped), CASE(storm_is_limited),
		CASE(bad_frames_are_counted), CASE(deaths_are_noted), CASE(blocked_port_passes_nothing),
		cmocka_unit_test_setup_teardown(unknown_port_is_not_ready, set_up, NULL),
		CASE(removed_port_gets_nothing), CASE(access_ports_share_a_vlan),
		CASE(trunk_tags_and_untags), CASE(native_vlan_leaves_untagged),
		CASE(priority_tag_means_untagged), CASE(service_tags_are_payload),
		CASE(lone_vlan_leads_nowhere), CASE(membership_change_redirects),
		CASE(shared_frames_are_not_edited), CASE(rule_drops_its_port_only),
		CASE(first_matching_rule_decides), CASE(egress_rule_is_the_receivers),
		CASE(rule_change_holds_at_once), CASE(refresh_is_outside_the_budget),
		CASE(broken_ip_is_dropped_where_rules_look), CASE(full_table_still_forwards),
		CASE(batches_of_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
