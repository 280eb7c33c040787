// SPDX-License-Identifier: Apache-2.0
// What ports are configured to do: VLANs, layers and their rules, from end to end.
#include "vswitch/layer_filter.h"
#include "vswitch/test_rig.h"

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
	rig_publish();
	rig_send(0, frame(host(1), broadcast));
	expect_at("1");
	rig_send(2, frame(host(1), broadcast)); // the same MAC, another VLAN
	expect_at("3");
	rig_send(1, frame(host(2), host(1)));
	expect_at("0");
	rig_send(0, tagged(host(1), host(2), 10));
	assert_int_equal(drops(0, DROP_RX, DROP_UNAUTHORIZED_VLAN), 1);
}

static void trunk_tags_and_untags(void **state)
{
	set_access(0, 10);
	set_access(1, 20);
	set_trunk(2, 0, 10, 20);
	set_trunk(3, 0, 10, 10);
	rig->ports[3].takes_untagged = false;
	rig_publish();
	rig_send(0, frame(host(1), broadcast));
	expect_at("23");
	assert_int_equal(tag_of(rig->egress[2].pkts[0]), TAG_PRESENT | 10);
	rig_send(2, tagged(host(2), host(1), 10));
	expect_at("0");
	assert_int_equal(tag_of(rig->egress[0].pkts[0]), 0);
	rig_send(0, frame(host(1), host(2))); // unicast, pushed
	expect_at("2");
	assert_int_equal(tag_of(rig->egress[2].pkts[0]), TAG_PRESENT | 10);
	rig_send(3, tagged(host(3), host(1), 20));
	assert_int_equal(drops(3, DROP_RX, DROP_UNAUTHORIZED_VLAN), 1);
	rig_send(3, frame(host(3), host(1)));
	assert_int_equal(drops(3, DROP_RX, DROP_FILTERED_ISO_UNTAGGED), 1);
}

static void native_vlan_leaves_untagged(void **state)
{
	set_access(0, 10);
	set_trunk(1, 10, 10, 20);
	set_trunk(2, 0, 10, 20);
	rig_publish();
	rig_send(0, frame(host(1), broadcast));
	expect_at("12");
	assert_int_equal(tag_of(rig->egress[1].pkts[0]), 0);
	assert_int_equal(tag_of(rig->egress[2].pkts[0]), TAG_PRESENT | 10);
	rig_send(1, frame(host(2), host(1)));
	expect_at("0");
}

static void priority_tag_means_untagged(void **state)
{
	set_trunk(2, 0, 10, 20);
	set_trunk(3, 0, 10, 20);
	set_access(0, 10);
	rig_publish();
	rig_send(0, tagged(host(1), broadcast, 0));
	expect_at("23");
	assert_int_equal(tag_of(rig->egress[2].pkts[0]), TAG_PRESENT | 10);
	// Its priority, 5 in bits 13 to 15, is kept.
	assert_int_equal(rte_pktmbuf_mtod(rig->egress[2].pkts[0], uint8_t *)[14] >> 5, 5);
	rig_send(2, tagged(host(2), host(1), 10));
	rig_send(0, tagged(host(1), host(2), 0));
	expect_at("2");
}

static void service_tags_are_payload(void **state)
{
	struct rte_mbuf *m = frame_with(&(struct test_frame){ .n_tags = 2, .payload_bytes = 40 },
					host(1), broadcast);
	uint32_t bytes = m->pkt_len;

	rig_send(0, m);
	expect_at("123");
	assert_int_equal(rig->egress[1].pkts[0]->pkt_len, bytes);
	assert_int_equal(rte_pktmbuf_mtod(rig->egress[1].pkts[0], uint8_t *)[12], 0x88);
}

static void lone_vlan_leads_nowhere(void **state)
{
	set_access(0, 10);
	rig_publish();
	rig_send(0, frame(host(1), broadcast));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_NO_DESTINATION), 1);
	set_access(1, 10); // a second member
	rig_publish();
	rig_send(0, frame(host(1), broadcast));
	expect_at("1");
}

static void membership_change_redirects(void **state)
{
	rig_send(1, frame(host(1), broadcast));
	rig_send(0, frame(host(9), host(1)));
	expect_at("1");
	set_access(1, 10);
	set_access(2, 10);
	rig_publish();
	rig_send(0, frame(host(9), host(1))); // forgotten with the VLAN
	expect_at("3");
}

static void shared_frames_are_not_edited(void **state)
{
	struct rte_mbuf *m = frame(host(1), host(2)), *clone;

	set_access(0, 10);
	set_trunk(1, 0, 10, 10);
	rig->ports[1].mac = host(2);
	rig_publish();
	clone = rte_pktmbuf_clone(m, rig->pools.small);
	rig_send(0, clone);
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
					host(1), host(2));

	store_be16(rte_pktmbuf_mtod_offset(m, uint8_t *, ipv6 ? 56 : 36), cpu_to_be16(port));
	return m;
}

static void rule_drops_its_port_only(void **state)
{
	struct filter_rule rule = udp_rule(7, false, 53);
	const struct cache *c = pipeline_cache(rig->pipeline);

	rig->ports[1].mac = host(2);
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	rig_publish();
	for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
		rig_send(0, udp_to(53, ipv6));
		expect_at("");
		rig_send(0, udp_to(54, ipv6));
		expect_at("1");
	}
	assert_int_equal(drops(0, DROP_RX, DROP_FILTERED), 2);
	assert_int_equal(c->tables[LEVEL2].n_used, 2);
	assert_int_equal(c->tables[LEVEL2_V6].n_used, 2);
	rig_send(0, frame_with(&(struct test_frame){ .tcp = true }, host(1), host(2)));
	expect_at("1");
	rig_send(1, frame(host(2), host(1))); // the other direction has no rule: one look-up
	assert_int_equal(c->tables[LEVEL2].n_used, 3);
}

static void first_matching_rule_decides(void **state)
{
	struct filter_rule rules[] = { udp_rule(1, true, 53), udp_rule(2, false, 53),
				       udp_rule(3, false, 54) };

	rig->ports[1].mac = host(2);
	rig->ports[0].in[rig->ports[0].n_in++] = filter(rules, 3);
	rig_publish();
	rig_send(0, udp_to(53, false));
	expect_at("1");
	rig_send(0, udp_to(54, false));
	expect_at("");
}

static void egress_rule_is_the_receivers(void **state)
{
	struct filter_rule rule = udp_rule(1, false, 53);

	rig->ports[1].mac = host(2);
	rig->ports[1].out[rig->ports[1].n_out++] = filter(&rule, 1);
	rig_publish();
	rig_send(0, udp_to(53, false));
	expect_at("");
	assert_int_equal(drops(1, DROP_TX, DROP_FILTERED), 1);
	// Flooded copies obey it too, each by its own receiver's rules.
	struct rte_mbuf *m = udp_to(53, false);

	memcpy(rte_pktmbuf_mtod(m, uint8_t *), broadcast.b, 6);
	rig_send(0, m);
	expect_at("23");
	assert_int_equal(drops(1, DROP_TX, DROP_FILTERED), 2);
}

static void rule_change_holds_at_once(void **state)
{
	struct filter_rule rule = udp_rule(1, false, 53);

	rig->ports[1].mac = host(2);
	rig_publish();
	rig_send(0, udp_to(53, false)); // cached at level 1 as allowed
	expect_at("1");
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	rig_publish();
	rig_send(0, udp_to(53, false));
	expect_at("");
	rig_publish(); // without rules again
	rig_send(0, udp_to(53, false));
	expect_at("1");
}

// A layer whose first look at a packet publishes what rig->ports say: a change amid a batch.
static void publish_amid(const void *policy, const struct packet *p, struct verdict *v)
{
	static bool under_way;

	if (under_way || rig->ports[1].n_out == 0)
		return;
	under_way = true;
	rig_publish();
	under_way = false;
}

static uint8_t reads_nothing(const void *policy, const struct packet *p) { return 0; }
static bool always_equal(const void *a, const void *b) { return true; }
static void destroy_nothing(void *policy) {}

static const struct layer_ops publisher = { "publisher", reads_nothing, publish_amid, always_equal,
					    destroy_nothing };

// The rest of a batch is decided by the snapshot that it began with; the next batch is not.
static void change_amid_a_batch_holds_for_the_next(void **state)
{
	struct filter_rule rule = udp_rule(1, false, 53);
	const struct layer layer = { .ops = &publisher };
	struct rte_mbuf *pkts[2];

	rig->ports[1].mac = host(2);
	rig->ports[0].in[rig->ports[0].n_in++] = layer;
	rig_publish();
	rig_send(0, udp_to(53, false)); // cached as allowed
	expect_at("1");
	rig->ports[0].in[rig->ports[0].n_in++] = layer;
	rig->ports[1].out[rig->ports[1].n_out++] = filter(&rule, 1);
	pkts[0] = frame(host(1), host(3)); // a miss: the rule comes in force
	pkts[1] = udp_to(53, false);
	rcu_reader_online(rig->rcu, 0);
	pipeline_ops.input(rig->pipeline, &rig->out, 0, pkts, 2);
	rcu_reader_offline(rig->rcu, 0);
	rig_send(0, udp_to(53, false));
	expect_at("");
	assert_int_equal(drops(1, DROP_TX, DROP_FILTERED), 1);
}

static void refresh_is_outside_the_budget(void **state)
{
	struct filter_rule rule = udp_rule(1, false, 99);

	rig->ports[1].mac = host(2);
	rig->ports[0].miss_budget = 20;
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	rig_publish();
	rig_second();
	for (uint16_t i = 0; i < 30; i++) // one miss is level 1's
		rig_send(0, udp_to(1000 + i, false));
	assert_int_equal(drops(0, DROP_RX, DROP_MISS_BUDGET), 11);
	rule.destination_ports = (struct port_range){ 98, 98 };
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	rig_publish();
	for (uint16_t i = 0; i < 19; i++) {
		rig_send(0, udp_to(1000 + i, false));
		expect_at("1");
	}
	assert_int_equal(drops(0, DROP_RX, DROP_MISS_BUDGET), 11);
}

static void broken_ip_is_dropped_where_rules_look(void **state)
{
	struct filter_rule rule = udp_rule(1, false, 53);
	struct rte_mbuf *m;

	rig->ports[1].mac = host(2);
	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	rig_publish();
	m = udp_to(80, false);
	rte_pktmbuf_mtod(m, uint8_t *)[14] = 0x4f; // longer than the frame has room for
	rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - 40));
	rig_send(0, m);
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_PACKET), 1);
}

// The log names the rule, and holds the frame's own bytes.
static void deaths_are_noted(void **state)
{
	struct filter_rule rule = udp_rule(7, false, 53);
	struct drop_record records[DROP_LOG_RECORDS];

	rig->ports[0].in[rig->ports[0].n_in++] = filter(&rule, 1);
	rig->ports[1].mac = host(2);
	rig_publish();
	rig->out.log.budget = 2;
	rig_send(0, udp_to(53, false));
	rig_send(0, frame(broadcast, host(2)));
	rig_send(0, frame(broadcast, host(2))); // over the loop's budget
	assert_int_equal(drop_log_read(&rig->out.log, records), 2);
	assert_int_equal(records[0].cause.reason, DROP_INVALID_SOURCE_MAC);
	assert_int_equal(records[1].cause.reason, DROP_FILTERED);
	assert_int_equal(records[1].cause.rule, 7);
	assert_int_equal(records[1].head[5], 2);
	assert_int_equal(records[1].frame_bytes, 14 + 20 + 8 + 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(deaths_are_noted), RIG_TEST(access_ports_share_a_vlan),
		RIG_TEST(trunk_tags_and_untags), RIG_TEST(native_vlan_leaves_untagged),
		RIG_TEST(priority_tag_means_untagged), RIG_TEST(service_tags_are_payload),
		RIG_TEST(lone_vlan_leads_nowhere), RIG_TEST(membership_change_redirects),
		RIG_TEST(shared_frames_are_not_edited), RIG_TEST(rule_drops_its_port_only),
		RIG_TEST(first_matching_rule_decides), RIG_TEST(egress_rule_is_the_receivers),
		RIG_TEST(rule_change_holds_at_once),
		RIG_TEST(change_amid_a_batch_holds_for_the_next),
		RIG_TEST(refresh_is_outside_the_budget),
		RIG_TEST(broken_ip_is_dropped_where_rules_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
