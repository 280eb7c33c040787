// SPDX-License-Identifier: Apache-2.0
// The tables of network virtualisation: index, routes against a linear search, neighbours against
// a plain list.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vswitch/hnv_tables.h"

static uint32_t random_state = 1;

static uint32_t random_u32(void)
{
	random_state = random_state * 1664525u + 1013904223u;
	return random_state >> 8 ^ random_state << 16;
}

static struct ip_address address4(uint32_t host_order)
{
	struct ip_address a = { .family = 4 };

	store_be32(a.b, cpu_to_be32(host_order));
	return a;
}

static struct ip_address address6(uint32_t high, uint32_t low)
{
	struct ip_address a = { .family = 6, .b = { 0xfd } };

	store_be32(a.b + 4, cpu_to_be32(high));
	store_be32(a.b + 12, cpu_to_be32(low));
	return a;
}

// --- index -------------------------------------------------------------------------------------

#define N_SUBNETS 500
#define N_WAYS 300

static void index_finds_subnets_and_ways(void **state)
{
	static struct hnv_subnet subnets[N_SUBNETS];
	static const struct hnv_subnet *list[N_SUBNETS];
	static struct way ways[N_WAYS];
	static uint16_t numbers[N_WAYS];
	struct hnv hnv = { .ways = ways };
	struct ip_address nobody = address4(0x7f000001);

	for (uint32_t i = 0; i < N_SUBNETS; i++) {
		subnets[i] = (struct hnv_subnet){ .vsid = 5000 + i / 2, .encap = i % 2 };
		list[i] = &subnets[i];
	}
	subnets[0].vsid = 9000; // its number is nobody's by the other encapsulation
	subnets[0].other_encaps = 1 << 1;
	subnets[2].other_encaps = 1 << 1; // subnets[3] has the number
	for (uint16_t i = 0; i < N_WAYS; i++) {
		ways[i].provider = i % 3 ? address4(0x0a000000u + i / 2) : address6(1, i / 2);
		ways[i].encap = i % 2;
		numbers[i] = WAY_FIRST + i;
	}
	hnv.index.rcu_ptr = hnv_index_create(list, N_SUBNETS, ways, numbers, N_WAYS);
	assert_non_null(hnv.index.rcu_ptr);
	for (uint32_t i = 0; i < N_SUBNETS; i++)
		assert_ptr_equal(hnv_find_subnet(&hnv, subnets[i].encap, subnets[i].vsid),
				 &subnets[i]);
	assert_null(hnv_find_subnet(&hnv, 0, 4999));
	assert_ptr_equal(hnv_find_subnet(&hnv, 1, 9000), &subnets[0]);
	for (uint16_t i = 0; i < N_WAYS; i++) {
		uint16_t way = hnv_find_way(&hnv, ways[i].encap, &ways[i].provider);

		assert_true(way_is(way));
		assert_int_equal(ways[way - WAY_FIRST].encap, ways[i].encap);
		assert_memory_equal(ways[way - WAY_FIRST].provider.b, ways[i].provider.b, 16);
	}
	assert_int_equal(hnv_find_way(&hnv, 0, &nobody), 0);
	free((void *)hnv.index.rcu_ptr);
}

// --- routes ------------------------------------------------------------------------------------

#define N_ROUTES 2000

static bool covers(const struct ip_prefix *p, const struct ip_address *a)
{
	if (p->family != a->family)
		return false;
	for (uint8_t bit = 0; bit < p->len; bit++)
		if ((p->addr[bit / 8] ^ a->b[bit / 8]) >> (7 - bit % 8) & 1)
			return false;
	return true;
}

static const struct hnv_network_route *linear(const struct hnv_network_route *routes, uint32_t n,
					      const struct ip_address *a)
{
	const struct hnv_network_route *best = NULL;

	for (uint32_t i = 0; i < n; i++)
		if (covers(&routes[i].prefix, a) &&
		    (!best || routes[i].prefix.len > best->prefix.len ||
		     (routes[i].prefix.len == best->prefix.len &&
		      routes[i].metric < best->metric)))
			best = &routes[i];
	return best;
}

// Few distinct bits, so that prefixes contain each other and repeat.
static struct ip_address crowded_address(bool ipv6)
{
	uint32_t r = random_u32();

	if (!ipv6)
		return address4((r & 0xc0000000u) | (r & 0xf00u) << 8 | (r & 0xf0u));
	return address6(r & 0xf000000fu, random_u32() & 0xc0000003u);
}

static struct ip_prefix prefix_of(struct ip_address a, uint8_t len)
{
	struct ip_prefix p = { .family = a.family, .len = len };

	memcpy(p.addr, a.b, sizeof(p.addr));
	for (unsigned int bit = len; bit < 128; bit++)
		p.addr[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
	return p;
}

static void routes_match_a_linear_search(void **state)
{
	static struct hnv_network_route routes[N_ROUTES];
	static struct hnv_subnet subnets[N_ROUTES];

	for (int round = 0; round < 20; round++) {
		uint32_t n = random_u32() % N_ROUTES;
		struct hnv_network *net;

		for (uint32_t i = 0; i < n; i++) {
			bool ipv6 = random_u32() % 2;

			routes[i] = (struct hnv_network_route){
				.prefix = prefix_of(crowded_address(ipv6),
						    (uint8_t)(random_u32() % (ipv6 ? 129 : 33))),
				.metric = i, // all differ
				.subnet = &subnets[i],
			};
		}
		net = hnv_network_create(routes, n);
		assert_non_null(net);
		for (int i = 0; i < 2000; i++) {
			struct ip_address a = crowded_address(i % 2);
			const struct hnv_network_route *want = linear(routes, n, &a);
			struct hnv_hop hop;

			assert_int_equal(hnv_route(net, &a, &hop), want != NULL);
			if (want)
				assert_ptr_equal(hop.subnet, want->subnet);
		}
		free(net);
	}
}

static void a_next_hop_takes_the_destinations_place(void **state)
{
	struct hnv_subnet s = { 0 };
	struct ip_address via = address4(0x0a000001), to = address4(0xc0a80101);
	struct hnv_network_route routes[] = {
		{ .prefix = { .family = 4, .len = 8, .addr = { 10 } }, .subnet = &s },
		{ .prefix = { .family = 4 }, .subnet = &s, .next_hop = via },
	};
	struct hnv_network *net = hnv_network_create(routes, ARRAY_SIZE(routes));
	struct hnv_hop hop;

	assert_true(hnv_route(net, &to, &hop));
	assert_memory_equal(hop.next.b, via.b, 16);
	to = address4(0x0a010203);
	assert_true(hnv_route(net, &to, &hop));
	assert_memory_equal(hop.next.b, to.b, 16);
	free(net);
}

// --- neighbours --------------------------------------------------------------------------------

#define N_NEIGHBORS 20000

static struct ip_address neighbor(uint32_t i)
{
	return i % 3 ? address4(0x0a000000u + i / 2) : address6(7, i / 2);
}

static bool count(void *arg, uint16_t fid, const struct ip_address *customer, struct mac mac)
{
	++*(uint32_t *)arg;
	return true;
}

static void neighbors_come_change_and_go(void **state)
{
	struct rcu *rcu = rcu_create();
	struct hnv hnv = { 0 };
	struct err err;
	struct mac mac;
	uint32_t n = 0, seen = 0;

	assert_int_equal(hnv_neighbors_create(rcu, &hnv.neighbors, &err), 0);
	for (uint32_t i = 0; i < N_NEIGHBORS; i++) {
		struct ip_address a = neighbor(i);

		// Fid 0 is never used; the same address lives in two domains.
		assert_int_equal(hnv_neighbors_set(hnv.neighbors, 1 + i % 2, &a,
						   mac_from_u64(i)), 0);
	}
	for (uint32_t i = 0; i < N_NEIGHBORS; i += 5) {
		struct ip_address a = neighbor(i);

		hnv_neighbors_del(hnv.neighbors, 1 + i % 2, &a);
		hnv_neighbors_del(hnv.neighbors, 1 + i % 2, &a); // nothing
	}
	for (uint32_t i = 0; i < N_NEIGHBORS; i += 7) {
		struct ip_address a = neighbor(i);

		hnv_neighbors_set(hnv.neighbors, 1 + i % 2, &a, mac_from_u64(i + N_NEIGHBORS));
	}
	for (uint32_t i = 0; i < N_NEIGHBORS; i++) {
		struct ip_address a = neighbor(i);
		bool found = hnv_find_neighbor(&hnv, 1 + i % 2, &a, &mac);

		assert_int_equal(found, i % 7 == 0 || i % 5 != 0);
		if (found)
			assert_int_equal(mac_to_u64(mac), i % 7 ? i : i + N_NEIGHBORS);
		n += found;
		assert_false(hnv_find_neighbor(&hnv, 3, &a, &mac));
	}
	hnv_neighbors_each(hnv.neighbors, count, &seen);
	assert_int_equal(seen, n);
	hnv_neighbors_destroy(hnv.neighbors);
	rcu_destroy(rcu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(index_finds_subnets_and_ways),
		cmocka_unit_test(routes_match_a_linear_search),
		cmocka_unit_test(a_next_hop_takes_the_destinations_place),
		cmocka_unit_test(neighbors_come_change_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
