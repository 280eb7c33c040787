// SPDX-License-Identifier: Apache-2.0
// The pure steps of moving the host's addresses: which interface devargs mean, which addresses and
// routes count, and how they look elsewhere. What the kernel does with them:
// tests/scenario/host-address.sh.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "daemon/host_address.h"
#include "daemon/host_plan.h"

#define NIC 7
#define TAP 9

static void interface_of_devargs(void **state)
{
	static const struct {
		const char *devargs, *name; // NULL: none
	} cases[] = {
		{ "net_af_packet0,iface=eth1", "eth1" },
		{ "net_af_packet0,framesz=4096,iface=eth1,qpairs=2", "eth1" },
		{ "net_pcap1,rx_pcap=a,iface=enp1s0f0np0", "enp1s0f0np0" },
		{ "net_tap0,remote=eth2", "eth2" },
		{ "net_null0", NULL },
		{ "net_null0,interface=eth1", NULL },
		{ "net_af_packet0,iface=", NULL },
		{ "net_af_packet0,iface=sixteencharacter", NULL },
		{ "ffff:ff:1f.7", NULL },
		{ "pci:ffff:ff:1f.7", NULL },
		{ "../../../etc", NULL },
		{ "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[IF_NAMESIZE] = "";

		assert_int_equal(host_address_interface(cases[i].devargs, name),
				 cases[i].name != NULL);
		if (cases[i].name)
			assert_string_equal(name, cases[i].name);
	}
}

static struct nl_addr *address(const char *text)
{
	struct nl_addr *addr;

	assert_int_equal(nl_addr_parse(text, AF_UNSPEC, &addr), 0);
	return addr;
}

static struct rtnl_addr *interface_address(const char *text, int index)
{
	struct rtnl_addr *a = rtnl_addr_alloc();
	struct nl_addr *local = address(text);

	rtnl_addr_set_ifindex(a, index);
	assert_int_equal(rtnl_addr_set_local(a, local), 0);
	nl_addr_put(local);
	return a;
}

static void addresses_that_count(void **state)
{
	static const struct {
		const char *text;
		int index;
		bool wanted;
	} cases[] = {
		{ "10.0.0.2/24", NIC, true },     { "10.0.0.2/24", TAP, false },
		{ "169.254.3.4/16", NIC, true },  { "fd00::2/64", NIC, true },
		{ "2001:db8::1/128", NIC, true }, { "fe80::1/64", NIC, false },
		{ "febf::1/10", NIC, false },     { "fec0::1/64", NIC, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rtnl_addr *a = interface_address(cases[i].text, cases[i].index);

		assert_int_equal(host_plan_wants_addr(a, NIC), cases[i].wanted);
		rtnl_addr_put(a);
	}
}

static void address_elsewhere(void **state)
{
	struct rtnl_addr *a = interface_address("fd00::2/64", NIC), *b;

	rtnl_addr_set_flags(a, IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE);
	rtnl_addr_set_valid_lifetime(a, 3600);
	rtnl_addr_set_preferred_lifetime(a, 1800);
	b = host_plan_addr_on(a, TAP);
	assert_int_equal(rtnl_addr_get_ifindex(b), TAP);
	assert_int_equal(rtnl_addr_get_prefixlen(b), 64);
	assert_int_equal(nl_addr_cmp(rtnl_addr_get_local(a), rtnl_addr_get_local(b)), 0);
	assert_int_equal(rtnl_addr_get_flags(b), IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
	assert_int_equal(rtnl_addr_get_valid_lifetime(b), 3600);
	assert_int_equal(rtnl_addr_get_preferred_lifetime(b), 1800);
	rtnl_addr_put(a);
	rtnl_addr_put(b);
}

static struct rtnl_route *route(const char *to, uint32_t table, const int hops[2])
{
	struct rtnl_route *r = rtnl_route_alloc();
	struct nl_addr *dst = address(to);

	assert_int_equal(rtnl_route_set_dst(r, dst), 0);
	rtnl_route_set_table(r, table);
	rtnl_route_set_type(r, RTN_UNICAST);
	for (int i = 0; i < 2; i++) {
		struct rtnl_nexthop *hop = hops[i] ? rtnl_route_nh_alloc() : NULL;

		if (!hop)
			continue;
		rtnl_route_nh_set_ifindex(hop, hops[i]);
		rtnl_route_add_nexthop(r, hop);
	}
	nl_addr_put(dst);
	return r;
}

static void routes_that_count(void **state)
{
	static const struct {
		const char *to;
		uint32_t table;
		int hops[2];
		bool wanted;
	} cases[] = {
		{ "0.0.0.0/0", RT_TABLE_MAIN, { NIC }, true },
		{ "10.0.0.0/24", 77, { NIC }, true },
		{ "10.0.0.0/24", 77, { TAP }, false },
		{ "10.0.0.0/24", RT_TABLE_MAIN, { TAP, NIC }, true },
		{ "10.0.0.2/32", RT_TABLE_LOCAL, { NIC }, false },
		{ "fd00::/64", RT_TABLE_MAIN, { NIC }, true },
		{ "fe80::/64", RT_TABLE_MAIN, { NIC }, false },
		{ "ff00::/8", RT_TABLE_MAIN, { NIC }, false },
		{ "10.1.0.0/16", RT_TABLE_MAIN, { 0 }, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rtnl_route *r = route(cases[i].to, cases[i].table, cases[i].hops);

		assert_int_equal(host_plan_wants_route(r, NIC), cases[i].wanted);
		rtnl_route_put(r);
	}
}

// Of a multipath route only the hops through the NIC change.
static void route_elsewhere(void **state)
{
	struct rtnl_route *a = route("10.5.0.0/16", 77, (const int[2]){ 3, NIC }), *b;

	rtnl_route_set_priority(a, 50);
	rtnl_route_set_flags(a, RTNH_F_LINKDOWN | RTNH_F_ONLINK);
	b = host_plan_route_on(a, NIC, TAP);
	assert_int_equal(rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(b, 0)), 3);
	assert_int_equal(rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(b, 1)), TAP);
	assert_int_equal(rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(a, 1)), NIC);
	assert_int_equal(rtnl_route_get_priority(b), 50);
	assert_int_equal(rtnl_route_get_table(b), 77);
	assert_int_equal(rtnl_route_get_flags(b), RTNH_F_ONLINK);
	rtnl_route_put(a);
	rtnl_route_put(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interface_of_devargs), cmocka_unit_test(addresses_that_count),
		cmocka_unit_test(address_elsewhere),    cmocka_unit_test(routes_that_count),
		cmocka_unit_test(route_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
