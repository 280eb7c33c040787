// SPDX-License-Identifier: Apache-2.0
// Neighbours on the underlay: where packets go, when it is asked and how, and what is believed.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include <cmocka.h>

#include "net/csum.h"
#include "net/headers.h"
#include "vswitch/underlay.h"

static struct ip_address address(const char *text)
{
	struct ip_address a = { .family = strchr(text, ':') ? 6 : 4 };

	assert_int_equal(inet_pton(a.family == 6 ? AF_INET6 : AF_INET, text, a.b), 1);
	return a;
}

static struct ip_prefix prefix(const char *text, uint8_t len)
{
	struct ip_address a = address(text);
	struct ip_prefix p = { .family = a.family, .len = len };

	memcpy(p.addr, a.b, sizeof(p.addr));
	return p;
}

static struct mac mac(uint8_t n) { return (struct mac){ { 2, 0, 0, 0, 0, n } }; }

static struct hnv_provider_cfg providers[4];
static struct hnv_provider_route_cfg routes[3];
static struct hnv_cfg cfg = { .providers = providers, .provider_routes = routes };

static int set_up(void **state)
{
	providers[0] = (struct hnv_provider_cfg){ .port = 1, .address = address("192.0.2.1"),
						  .prefix_bits = 24, .mac = mac(1),
						  .gateway = address("192.0.2.254") };
	providers[1] = (struct hnv_provider_cfg){ .port = 1, .vid = 7,
						  .address = address("192.0.2.129"),
						  .prefix_bits = 25,
						  .mac = mac(2) };
	providers[2] = (struct hnv_provider_cfg){
		.port = 2, .address = address("fd00::1"), .prefix_bits = 64, .mac = mac(3)
	};
	providers[3] = (struct hnv_provider_cfg){ .port = 2,
						  .address = address("10.0.0.1"),
						  .prefix_bits = 8,
						  .mac = mac(4),
						  .gateway = address("10.0.0.254") };
	routes[0] = (struct hnv_provider_route_cfg){ 3, prefix("198.51.100.0", 24),
						     address("10.0.0.2") };
	routes[1] = (struct hnv_provider_route_cfg){ 3, prefix("192.0.2.0", 24),
						     address("10.0.0.3") };
	routes[2] = (struct hnv_provider_route_cfg){ 3, prefix("192.0.2.160", 28),
						     address("10.0.0.4") };
	cfg.n_providers = 4;
	cfg.n_provider_routes = 3;
	return 0;
}

static void longest_prefix_leads(void **state)
{
	static const struct {
		const char *to, *next_hop; // NULL: nowhere
		uint16_t provider;
	} cases[] = {
		{ "192.0.2.2", "192.0.2.2", 0 },     // our link before a route of the same length
		{ "192.0.2.130", "192.0.2.130", 1 }, // the narrower link
		{ "192.0.2.161", "10.0.0.4", 3 },    // a route narrower than both
		{ "198.51.100.9", "10.0.0.2", 3 },
		{ "10.1.2.3", "10.1.2.3", 3 },
		{ "203.0.113.1", "192.0.2.254", 0 }, // the first gateway
		{ "fd00::2", "fd00::2", 2 },
		{ "fd01::2", NULL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip_address to = address(cases[i].to), next = { 0 }, want;
		uint16_t provider = 99;

		assert_int_equal(underlay_route(&cfg, &to, &provider, &next),
				 cases[i].next_hop != NULL);
		if (!cases[i].next_hop)
			continue;
		want = address(cases[i].next_hop);
		assert_int_equal(provider, cases[i].provider);
		assert_true(ip_address_equal(&next, &want));
	}
}

static struct way ways[4];
static const uint16_t numbers[] = { WAY_FIRST, WAY_FIRST + 1, WAY_FIRST + 2, WAY_FIRST + 3 };

// Two hosts behind one router, one on a link, one nowhere.
static struct underlay *make(const struct underlay *old)
{
	struct underlay *u;

	ways[0].provider = address("198.51.100.7");
	ways[1].provider = address("192.0.2.2");
	ways[2].provider = address("198.51.100.8");
	ways[3].provider = address("fd99::1");
	u = underlay_create(&cfg, ways, numbers, 4, old);
	assert_non_null(u);
	return u;
}

static void ways_share_a_next_hop(void **state)
{
	struct underlay *u = make(NULL);
	uint16_t of_router = 0;

	assert_int_equal(u->n_neighbors, 2);
	assert_int_equal(u->n_hops, 3);
	for (uint32_t i = 0; i < u->n_neighbors; i++) {
		uint32_t at = underlay_first_hop(u, &u->neighbors[i]);

		assert_int_equal(u->hops[at].neighbor, i);
		assert_true(at == 0 || u->hops[at - 1].neighbor < i);
		if (u->neighbors[i].provider == 3)
			while (at + of_router < u->n_hops && u->hops[at + of_router].neighbor == i)
				of_router++;
	}
	assert_int_equal(of_router, 2);
	underlay_destroy(u);
}

static void asks_once_a_second_and_refreshes(void **state)
{
	struct underlay_neighbor n = { .address = address("192.0.2.2") };

	// Nobody answers: once a second.
	assert_int_equal(underlay_second(&n, 100), UNDERLAY_ASK);
	assert_int_equal(underlay_second(&n, 100), UNDERLAY_NOTHING);
	assert_int_equal(underlay_second(&n, 101), UNDERLAY_ASK);
	// Known: not for 30 s, then every second, and after 120 it is lost.
	n.mac = mac(9);
	n.seen_s = 101;
	for (uint32_t t = 102; t < 131; t++)
		assert_int_equal(underlay_second(&n, t), UNDERLAY_NOTHING);
	for (uint32_t t = 131; t < 221; t++)
		assert_int_equal(underlay_second(&n, t), UNDERLAY_ASK);
	assert_int_equal(underlay_second(&n, 221), UNDERLAY_FORGET);
	assert_true(mac_is_zero(n.mac));
	assert_int_equal(underlay_second(&n, 221), UNDERLAY_ASK);
	assert_int_equal(underlay_second(&n, 222), UNDERLAY_ASK);
}

static void hostile_claims_are_not_heard(void **state)
{
	struct underlay *u = make(NULL);
	struct ip_address host = address("192.0.2.2"), other = address("192.0.2.3");
	struct underlay_neighbor *n;

	assert_null(underlay_seen(u, 1, &other, mac(9), 5)); // who asked for it?
	assert_null(underlay_seen(u, 2, &host, mac(9), 5));  // another uplink
	assert_null(underlay_seen(u, 1, &host, (struct mac){ { 1 } }, 5)); // a group
	assert_null(underlay_seen(u, 1, &host, (struct mac){ { 0 } }, 5));
	assert_null(underlay_seen(u, 1, &host, mac(1), 5)); // our own
	n = underlay_seen(u, 1, &host, mac(9), 5);
	assert_non_null(n);
	assert_true(mac_equal(n->mac, mac(9)));
	assert_null(underlay_seen(u, 1, &host, mac(9), 50)); // no news, but heard
	assert_int_equal(n->seen_s, 50);
	assert_ptr_equal(underlay_seen(u, 1, &host, mac(10), 51), n);
	underlay_destroy(u);
}

static void knowledge_outlives_a_change(void **state)
{
	struct hnv_provider_cfg before[4];
	struct hnv_cfg cfg_before = cfg;
	struct ip_address host = address("192.0.2.2"), router = address("10.0.0.2");
	struct underlay *old = make(NULL), *u;

	memcpy(before, providers, sizeof(before));
	cfg_before.providers = before;
	old->cfg = &cfg_before;
	underlay_seen(old, 1, &host, mac(9), 5);
	underlay_seen(old, 2, &router, mac(10), 6);
	providers[0].vid = 9; // another link: what was heard there does not count
	// providers[1] goes: the router's provider moves up.
	providers[1] = providers[2];
	providers[2] = providers[3];
	cfg.n_providers = 3;
	for (int i = 0; i < 3; i++)
		routes[i].provider = 2;
	u = make(old);
	assert_int_equal(u->n_neighbors, 2);
	for (uint32_t i = 0; i < u->n_neighbors; i++)
		if (ip_address_equal(&u->neighbors[i].address, &router))
			assert_true(mac_equal(u->neighbors[i].mac, mac(10)));
		else
			assert_true(mac_is_zero(u->neighbors[i].mac));
	underlay_destroy(old);
	underlay_destroy(u);
}

static void questions_are_well_formed(void **state)
{
	static const uint8_t arp[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,   0, 0,   0,  0, 2,
				       0x81, 0,    0,    7,    8,    6,    0,   1, 8,   0,  6, 4,
				       0,    1,    2,    0,    0,    0,    0,   2, 192, 0,  2, 129,
				       0,    0,    0,    0,    0,    0,    192, 0, 2,   130 };
	static const uint8_t nd_to[] = { 0x33, 0x33, 0xff, 2, 3, 4, 2, 0, 0, 0, 0, 3, 0x86, 0xdd };
	struct underlay u = { .cfg = &cfg };
	struct underlay_neighbor v4 = { .provider = 1, .address = address("192.0.2.130") };
	struct underlay_neighbor v6 = { .provider = 2, .address = address("fd00::1:2:3:4") };
	uint8_t frame[UNDERLAY_FRAME_MAX];
	struct ip_address group = address("ff02::1:ff02:304");
	uint64_t sum;

	v6.address = address("fd00::502:304");
	assert_int_equal(underlay_question(&u, &v4, frame), sizeof(arp));
	assert_memory_equal(frame, arp, sizeof(arp));
	assert_int_equal(underlay_question(&u, &v6, frame), 14 + 40 + 32);
	assert_memory_equal(frame, nd_to, sizeof(nd_to));
	assert_memory_equal(frame + 14 + 24, group.b, 16);
	assert_int_equal(frame[14 + 7], 255); // hop limit. RFC 4861, 7.1.1
	assert_int_equal(frame[54], 135);
	assert_memory_equal(frame + 62, v6.address.b, 16);
	assert_memory_equal(frame + 80, mac(3).b, 6);
	sum = csum_add(0, frame + 14 + 8, 32 + 32);
	sum += (FORCE uint16_t)BE16(32) + (FORCE uint16_t)BE16(IP_PROTO_ICMPV6);
	assert_int_equal((uint16_t)~csum_fold(sum), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(longest_prefix_leads, set_up),
		cmocka_unit_test_setup(ways_share_a_next_hop, set_up),
		cmocka_unit_test_setup(asks_once_a_second_and_refreshes, set_up),
		cmocka_unit_test_setup(hostile_claims_are_not_heard, set_up),
		cmocka_unit_test_setup(knowledge_outlives_a_change, set_up),
		cmocka_unit_test_setup(questions_are_well_formed, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
