// SPDX-License-Identifier: Apache-2.0
// The distributed router: between subnets of one network, on this host and to others.
#include "vswitch/test_hnv_rig.h"

static struct mac gateway(void)
{
	return hrig->hnv.router_mac;
}

// From a customer to another, by the gateway's MAC: UDP of 40 bytes unless *shape says otherwise.
static struct rte_mbuf *routed(const struct test_frame *shape, struct ip_address from,
			       struct ip_address to)
{
	struct rte_mbuf *m = test_frame_build(rig->pools.small, shape);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t n = from.family == 4 ? 4 : 16, at = from.family == 4 ? 26 : 22;

	memcpy(p, gateway().b, 6);
	memcpy(p + 6, host(from.b[n - 1]).b, 6);
	memcpy(p + at, from.b, n);
	memcpy(p + at + n, to.b, n);
	test_frame_fix(m);
	return m;
}

static const struct test_frame plain4 = { .payload_bytes = 40 };
static const struct test_frame plain6 = { .payload_bytes = 40, .ipv6 = true };

static void check_hop(const struct rte_mbuf *m, struct mac to, bool ipv6)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t bytes;

	assert_memory_equal(p, to.b, 6);
	assert_memory_equal(p + 6, gateway().b, 6);
	assert_int_equal(p[ipv6 ? 21 : 22], 63);
	test_frame_check(m, &bytes);
	assert_int_equal(bytes, 40);
}

static void routes_between_ports(void **state)
{
	for (int again = 0; again < 3; again++) {
		hnv_send(0, routed(&plain4, customer4(BLUE, 10), customer4(RED, 12)));
		expect_at("2");
		check_hop(rig->egress[2].pkts[0], host(12), false);
		hnv_send(2, routed(&plain6, customer6(RED, 12), customer6(BLUE, 11)));
		expect_at("1");
		check_hop(rig->egress[1].pkts[0], host(11), true);
	}
}

static void routes_to_other_hosts(void **state)
{
	for (int again = 0; again < 3; again++) {
		struct encap_info info;

		hnv_send(0, routed(&plain4, customer4(BLUE, 10), customer4(RED, 21)));
		expect_at("3");
		check_hop(expect_encapsulated(WAY_RED, 0, &info), host(21), false);
		assert_int_equal(info.id, RED_VSID); // of the subnet where it arrives
		hnv_send(2, routed(&plain6, customer6(RED, 12), customer6(BLUE, 20)));
		check_hop(expect_encapsulated(WAY_BLUE, 0, &info), host(20), true);
		assert_int_equal(info.id, BLUE_VSID);
	}
}

// What another host routed comes from the gateway's MAC.
static void takes_what_others_routed(void **state)
{
	hnv_send(UPLINK, encapsulated(WAY_RED, RED_VSID, frame(gateway(), host(12))));
	expect_at("2");
	hnv_send(0, frame(gateway(), host(11))); // a guest does not
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_SOURCE_MAC), 1);
}

static void follows_the_neighbour(void **state)
{
	struct encap_info info;
	struct ip_address a = customer4(RED, 12);
	struct fdb *fdb = vswitch_fdb(rig->vs);

	hnv_send(0, routed(&plain4, customer4(BLUE, 10), a));
	expect_at("2");
	hnv_rig_customer(RED, 12, WAY_RED); // moves
	hnv_send(0, routed(&plain4, customer4(BLUE, 10), a));
	expect_at("3");
	expect_encapsulated(WAY_RED, 0, &info);
	hnv_neighbors_set(hrig->hnv.neighbors, RED, &a, host(21)); // another MAC has it
	fdb_touch(fdb, RED, host(12));
	hnv_send(0, routed(&plain4, customer4(BLUE, 10), a));
	check_hop(expect_encapsulated(WAY_RED, 0, &info), host(21), false);
}

// The ICMP error that waits at `port`: its type and code.
static void expect_error(uint16_t port, uint8_t type, uint8_t code, bool ipv6)
{
	const struct rte_mbuf *m = rig->egress[port].pkts[0];
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t l4 = ipv6 ? 54 : 34;
	struct ip_address from = ipv6 ? hrig->subnets[0].gateway[1] : hrig->subnets[0].gateway[0];

	assert_int_equal(rig->egress[port].n, 1);
	assert_memory_equal(p, host(10).b, 6);
	assert_memory_equal(p + 6, gateway().b, 6);
	assert_memory_equal(p + (ipv6 ? 22 : 26), from.b, ipv6 ? 16 : 4);
	assert_int_equal(p[l4], type);
	assert_int_equal(p[l4 + 1], code);
	assert_int_equal(p[l4 + 8] >> 4, ipv6 ? 6 : 4); // the packet that it is about
	test_icmp_check(m);
}

static void says_what_is_unreachable(void **state)
{
	static const struct {
		const struct test_frame *shape;
		uint8_t to[16];
		uint8_t type, code;
		enum drop reason;
	} cases[] = {
		{ &plain4, { 172, 16, 0, 1 }, 3, 0, DROP_NO_ROUTE },
		{ &plain4, { 10, 0, 2, 99 }, 3, 1, DROP_NO_NEIGHBOR },
		{ &plain6, { 0xfd, 1 }, 1, 0, DROP_NO_ROUTE },
		{ &plain6, { 0xfd, 0, 0, 2, [15] = 99 }, 1, 3, DROP_NO_NEIGHBOR },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool ipv6 = cases[i].shape->ipv6;
		uint64_t before = drops(0, DROP_RX, cases[i].reason);

		hnv_send(0, routed(cases[i].shape, ipv6 ? customer6(BLUE, 10) : customer4(BLUE, 10),
				   ip_address_of(ipv6 ? 6 : 4, cases[i].to)));
		expect_error(0, cases[i].type, cases[i].code, ipv6);
		assert_int_equal(drops(0, DROP_RX, cases[i].reason), before + 1);
	}
}

static void unknown_becomes_known(void **state)
{
	hnv_send(0, routed(&plain4, customer4(BLUE, 10), customer4(RED, 99)));
	expect_error(0, 3, 1, false);
	hnv_rig_customer(RED, 99, 2);
	hnv_send(0, routed(&plain4, customer4(BLUE, 10), customer4(RED, 99)));
	expect_at("2");
}

static struct rte_mbuf *dying(bool ipv6)
{
	struct rte_mbuf *m = ipv6 ? routed(&plain6, customer6(BLUE, 10), customer6(RED, 12))
				  : routed(&plain4, customer4(BLUE, 10), customer4(RED, 12));

	rte_pktmbuf_mtod(m, uint8_t *)[ipv6 ? 21 : 22] = 1;
	test_frame_fix(m);
	return m;
}

static void time_runs_out(void **state)
{
	hnv_send(0, dying(false));
	expect_error(0, 11, 0, false);
	hnv_send(0, dying(true));
	expect_error(0, 3, 0, true);
	assert_int_equal(drops(0, DROP_RX, DROP_TTL_EXPIRED), 2);
}

static void errors_are_rationed(void **state)
{
	uint32_t n = 0;

	for (int i = 0; i < 1000; i++) {
		hnv_send(0, dying(false));
		n += rig->egress[0].n;
	}
	assert_int_equal(n, 100);
	rig_second();
	hnv_send(0, dying(false));
	expect_at("0");
}

static void no_error_about_an_error(void **state)
{
	struct rte_mbuf *m = dying(false);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	p[23] = IP_PROTO_ICMP;
	p[34] = ICMP_UNREACHABLE;
	hnv_send(0, m);
	expect_at("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HNV_TEST(routes_between_ports),
		HNV_TEST(routes_to_other_hosts),
		HNV_TEST(takes_what_others_routed),
		HNV_TEST(follows_the_neighbour),
		HNV_TEST(says_what_is_unreachable),
		HNV_TEST(unknown_becomes_known),
		HNV_TEST(time_runs_out),
		HNV_TEST(errors_are_rationed),
		HNV_TEST(no_error_about_an_error),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
