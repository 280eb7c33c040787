// SPDX-License-Identifier: Apache-2.0
// Virtual networks through a whole switch core without workers: what is compiled and published, how
// ways follow their neighbours, and what subnets learn from reports.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "nvgre/nvgre.h"
#include "vswitch/cache.h"
#include "vswitch/hnv_compile.h"
#include "vswitch/vswitch.h"
#include "vxlan/vxlan.h"

enum { GUEST, UPLINK, N_PORTS };
enum { STRICT = 3, OPEN = 5 }; // ids of subnets

static struct world {
	struct rcu *rcu;
	struct vswitch *vs;
	struct hnv_subnet_cfg subnets[2];
	struct hnv_record_cfg records[8];
	struct hnv_provider_cfg provider;
	struct hnv_cfg cfg;
	uint32_t n_asked, n_unknown, now_s;
	int event_fd;
} w;

static struct ip_address v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct ip_address){ .family = 4, .b = { a, b, c, d } };
}

static struct ip_address pa(uint8_t n) { return v4(192, 0, 2, n); }
static struct ip_address ca(uint16_t subnet, uint8_t n) { return v4(10, (uint8_t)subnet, 0, n); }
static struct mac mac(uint8_t n) { return (struct mac){ { 2, 0, 0, 0, 0, n } }; }

static void on_unknown(void *ctx, uint16_t subnet, uint16_t port, const struct ip_address *a)
{
	assert_int_equal(subnet, STRICT);
	w.n_unknown++;
}

static void on_send(void *ctx, uint16_t port, const uint8_t *frame, uint32_t bytes)
{
	assert_int_equal(port, UPLINK);
	w.n_asked++;
}

// Sorted as hnv_cfg wants them: the caller adds in order.
static void add_record(uint16_t subnet, uint8_t n, uint8_t provider)
{
	struct hnv_record_cfg *r = &w.records[w.cfg.n_records++];

	memset(r, 0, sizeof(*r));
	r->subnet = subnet;
	r->encap = subnet == STRICT ? HNV_NVGRE : HNV_VXLAN;
	r->customer = ca(subnet, n);
	r->mac = mac(n);
	if (provider)
		r->provider = pa(provider);
}

static int prepare(struct vswitch_plan **plan)
{
	struct sw_switch_cfg sw = { .flood_unknown = true, .ageing_s = 300 };
	struct sw_port_cfg ports[N_PORTS] = {
		{ .index = GUEST, .ready = true, .learning = true, .takes_untagged = true,
		  .in_subnet = true, .subnet = OPEN, .mac = mac(1), .max_macs = 10 },
		{ .index = UPLINK, .ready = true, .takes_untagged = true },
	};
	struct vswitch_cfg cfg = {
		.switches = &sw, .ports = ports, .n_switches = 1, .n_ports = N_PORTS, .hnv = &w.cfg
	};
	struct err err;

	return vswitch_prepare(w.vs, &cfg, plan, &err);
}

static void publish(void)
{
	struct vswitch_plan *plan;

	assert_int_equal(prepare(&plan), 0);
	vswitch_publish(w.vs, plan);
	rcu_poll(w.rcu);
}

static void seconds(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vswitch_second(w.vs, ++w.now_s);
	rcu_poll(w.rcu);
}

static int set_up(void **state)
{
	const struct vswitch_hooks hooks = { .send = on_send, .unknown = on_unknown };
	struct err err;

	memset(&w, 0, sizeof(w));
	w.rcu = rcu_create();
	w.event_fd = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(vswitch_create(w.rcu, 1, w.event_fd, &w.vs, &err), 0);
	vswitch_set_hooks(w.vs, &hooks);
	for (int i = 0; i < 2; i++) {
		struct hnv_subnet_cfg *s = &w.subnets[i];

		s->id = i ? OPEN : STRICT;
		s->vsid = 5000 + s->id;
		s->encap = i ? HNV_VXLAN : HNV_NVGRE;
		s->flow_id = -1;
		s->learning = i;
		s->prefix[0] = (struct ip_prefix){ .family = 4, .len = 24,
						   .addr = { 10, (uint8_t)s->id } };
		s->gateway[0] = ca(s->id, 254);
	}
	w.provider = (struct hnv_provider_cfg){
		.port = UPLINK, .address = pa(1), .prefix_bits = 24, .mac = mac(101), .mtu = 1660
	};
	w.cfg = (struct hnv_cfg){ .subnets = w.subnets,
				  .records = w.records,
				  .providers = &w.provider,
				  .n_subnets = 2,
				  .n_providers = 1,
				  .router_mac = mac(254),
				  .vxlan_port = 4789,
				  .codecs = { &nvgre_ops, &vxlan_ops } };
	seconds(1);
	return 0;
}

static int tear_down(void **state)
{
	rcu_destroy(w.rcu);
	vswitch_destroy(w.vs);
	close(w.event_fd);
	return 0;
}

static const struct hnv *hnv(void) { return &vswitch_hnv(w.vs)->hnv; }
static uint16_t fid(uint16_t subnet) { return vswitch_hnv(w.vs)->fids[subnet]; }

static uint16_t way(enum hnv_encap encap, uint8_t provider)
{
	struct ip_address a = pa(provider);

	return hnv_find_way(hnv(), encap, &a);
}

// Where the FDB says that MAC n of the subnet is.
static uint16_t place(uint16_t subnet, uint8_t n)
{
	struct fdb_where where;

	return fdb_find(vswitch_fdb(w.vs), fid(subnet), mac(n), &where) ? where.port
									: FDB_PORT_NONE;
}

static bool knows(uint16_t subnet, uint8_t n, uint8_t is)
{
	struct ip_address a = ca(subnet, n);
	struct mac m;

	return hnv_find_neighbor(hnv(), fid(subnet), &a, &m) && mac_equal(m, mac(is));
}

// The ways in the subnet's floods, as many as there are.
static uint32_t floods(uint16_t subnet, uint16_t *ways)
{
	const struct snapshot *snap = rcu_get(&vswitch_snapshot(w.vs)->now);
	const struct sw_domain *d = snap->domains[fid(subnet)];
	uint32_t n = 0;

	for (uint16_t i = 0; i < d->n; i++)
		if (d->members[i].tag == TAG_WAY)
			ways[n++] = d->members[i].port;
	return n;
}

static void report(struct learn_report r)
{
	assert_int_equal(rte_ring_sp_enqueue_elem(vswitch_learn_queue(w.vs, 0)->ring, &r,
						  sizeof(r)), 0);
	vswitch_learn(w.vs);
	rcu_poll(w.rcu);
}

static void peer_seen(uint8_t provider)
{
	report((struct learn_report){ .kind = LEARN_PEER, .encap = HNV_VXLAN, .fid = fid(OPEN),
				      .port = UPLINK, .address = pa(provider) });
}

static void customer_seen(uint16_t at, uint8_t n, uint8_t has)
{
	report((struct learn_report){ .kind = LEARN_CUSTOMER, .fid = fid(OPEN), .port = at,
				      .mac = mac(has), .address = ca(OPEN, n) });
}

// --- configuration -----------------------------------------------------------------------------

static void records_become_macs_neighbours_and_floods(void **state)
{
	uint16_t ways[8], red;

	add_record(STRICT, 10, 2);
	add_record(STRICT, 11, 2);
	add_record(STRICT, 12, 3);
	add_record(OPEN, 1, 0); // here
	publish();
	red = way(HNV_NVGRE, 2);
	assert_true(way_is(red));
	assert_int_equal(place(STRICT, 10), red);
	assert_int_equal(place(STRICT, 12), way(HNV_NVGRE, 3));
	assert_int_equal(place(OPEN, 1), GUEST);
	assert_true(knows(STRICT, 10, 10) && knows(OPEN, 1, 1) && !knows(OPEN, 10, 10));
	assert_int_equal(floods(STRICT, ways), 2);
	assert_int_equal(floods(OPEN, ways), 0);
	// One goes, one moves, one has another MAC; numbers stay.
	w.cfg.n_records = 0;
	add_record(STRICT, 11, 3);
	add_record(STRICT, 12, 3);
	w.records[1].mac = mac(13);
	publish();
	assert_int_equal(place(STRICT, 10), FDB_PORT_NONE);
	assert_int_equal(place(STRICT, 11), way(HNV_NVGRE, 3));
	assert_false(knows(STRICT, 10, 10));
	assert_true(knows(STRICT, 12, 13));
	assert_int_equal(way(HNV_NVGRE, 2), 0);
	assert_int_equal(floods(STRICT, ways), 1);
	// The same again is the same image.
	const struct hnv_image *now = vswitch_hnv(w.vs);

	publish();
	assert_ptr_equal(vswitch_hnv(w.vs), now);
}

static void record_has_another_encap(void **state)
{
	uint16_t ways[8];

	add_record(STRICT, 10, 2);
	publish();
	assert_null(hnv_find_subnet(hnv(), HNV_VXLAN, 5000 + STRICT));
	w.records[0].encap = HNV_VXLAN;
	publish();
	assert_int_equal(place(STRICT, 10), way(HNV_VXLAN, 2));
	assert_int_equal(floods(STRICT, ways), 1);
	assert_int_equal(hnv_find_subnet(hnv(), HNV_VXLAN, 5000 + STRICT)->fid, fid(STRICT));
	assert_int_equal(hnv_find_subnet(hnv(), HNV_NVGRE, 5000 + STRICT)->fid, fid(STRICT));
}

static void mac_on_two_hosts_is_refused(void **state)
{
	struct vswitch_plan *plan;

	add_record(STRICT, 10, 2);
	add_record(STRICT, 11, 3);
	w.records[1].mac = mac(10);
	assert_int_equal(prepare(&plan), -EEXIST);
}

static void ways_follow_their_neighbour(void **state)
{
	const struct way *to;

	add_record(STRICT, 10, 2);
	publish();
	to = &hnv()->ways[way(HNV_NVGRE, 2) - WAY_FIRST];
	assert_null(rcu_get(&to->now));
	assert_int_equal(w.n_asked, 1); // at once
	seconds(3);
	assert_int_equal(w.n_asked, 4); // then once a second
	report((struct learn_report){ .kind = LEARN_UNDERLAY, .port = UPLINK, .mac = mac(102),
				      .address = pa(2) });
	assert_non_null(rcu_get(&to->now));
	assert_int_equal(rcu_get(&to->now)->mtu, 1660 - nvgre_ops.outer_bytes_v4);
	seconds(29);
	assert_int_equal(w.n_asked, 4);
	seconds(100); // and lost
	assert_null(rcu_get(&to->now));
}

static void neighbour_heard_meanwhile_is_kept(void **state)
{
	struct vswitch_plan *plan;

	add_record(STRICT, 10, 2);
	publish();
	w.provider.mtu = 1500;
	assert_int_equal(prepare(&plan), 0);
	report((struct learn_report){ .kind = LEARN_UNDERLAY, .port = UPLINK, .mac = mac(102),
				      .address = pa(2) });
	vswitch_publish(w.vs, plan);
	assert_non_null(rcu_get(&hnv()->ways[way(HNV_NVGRE, 2) - WAY_FIRST].now));
}

// --- learning ----------------------------------------------------------------------------------

static void learns_a_host_and_forgets_it(void **state)
{
	uint16_t ways[8], number;

	publish();
	peer_seen(1); // ourselves
	assert_int_equal(way(HNV_VXLAN, 1), 0);
	report((struct learn_report){ .kind = LEARN_PEER, .encap = HNV_NVGRE, .fid = fid(STRICT),
				      .port = UPLINK, .address = pa(2) });
	assert_int_equal(way(HNV_NVGRE, 2), 0); // a strict subnet
	peer_seen(2);
	number = way(HNV_VXLAN, 2);
	assert_true(way_is(number));
	assert_int_equal(floods(OPEN, ways), 1);
	assert_int_equal(ways[0], number);
	assert_int_equal(floods(STRICT, ways), 0);
	peer_seen(2); // again
	assert_int_equal(floods(OPEN, ways), 1);
	customer_seen(number, 20, 20);
	assert_int_equal(place(OPEN, 20), number);
	assert_true(knows(OPEN, 20, 20));
	// A change elsewhere keeps it, by the same number.
	add_record(STRICT, 10, 2);
	publish();
	assert_int_equal(way(HNV_VXLAN, 2), number);
	assert_int_equal(floods(OPEN, ways), 1);
	// Its MAC ages away, then itself, then the customer.
	seconds(300 + HNV_PEER_IDLE_S + 70);
	assert_int_equal(place(OPEN, 20), FDB_PORT_NONE);
	assert_false(knows(OPEN, 20, 20));
	assert_int_equal(floods(OPEN, ways), 0);
	assert_true(knows(STRICT, 10, 10));
}

static void learnt_goes_with_the_will_to_learn(void **state)
{
	uint16_t ways[8];

	publish();
	peer_seen(2);
	customer_seen(way(HNV_VXLAN, 2), 20, 20);
	customer_seen(GUEST, 1, 1);
	assert_true(knows(OPEN, 1, 1));
	w.subnets[1].learning = false;
	publish();
	assert_int_equal(place(OPEN, 20), FDB_PORT_NONE);
	assert_false(knows(OPEN, 20, 20) || knows(OPEN, 1, 1));
	assert_int_equal(way(HNV_VXLAN, 2), 0);
	assert_int_equal(floods(OPEN, ways), 0);
}

static void records_win(void **state)
{
	add_record(OPEN, 20, 2);
	publish();
	peer_seen(3);
	customer_seen(way(HNV_VXLAN, 3), 21, 20); // the MAC of another
	assert_int_equal(place(OPEN, 20), way(HNV_VXLAN, 2));
	customer_seen(way(HNV_VXLAN, 3), 20, 30); // its address
	assert_true(knows(OPEN, 20, 20));
	customer_seen(way(HNV_VXLAN, 3), 254, 30); // the gateway's
	assert_false(knows(OPEN, 254, 30));
	report((struct learn_report){ .kind = LEARN_CUSTOMER, .fid = fid(OPEN),
				      .port = way(HNV_VXLAN, 3), .mac = mac(30),
				      .address = v4(172, 16, 0, 1) }); // of no subnet
	assert_int_equal(place(OPEN, 30), way(HNV_VXLAN, 3));
	// A record takes over what was learnt, and stays when the MAC has gone.
	customer_seen(way(HNV_VXLAN, 3), 30, 30);
	assert_true(knows(OPEN, 30, 30));
	add_record(OPEN, 30, 2);
	publish();
	assert_int_equal(place(OPEN, 30), way(HNV_VXLAN, 2));
	seconds(1000);
	assert_true(knows(OPEN, 30, 30));
}

static void hosts_that_are_learnt_are_bounded(void **state)
{
	static uint16_t ways[2 * HNV_PEERS_MAX];

	w.provider.prefix_bits = 8;
	publish();
	for (uint32_t i = 0; i < HNV_PEERS_MAX + 5; i++)
		report((struct learn_report){ .kind = LEARN_PEER, .encap = HNV_VXLAN,
					      .fid = fid(OPEN), .port = UPLINK,
					      .address = v4(192, 1, (uint8_t)(i >> 8),
							    (uint8_t)i) });
	assert_int_equal(floods(OPEN, ways), HNV_PEERS_MAX);
	seconds(HNV_PEER_IDLE_S + 1); // nobody was behind them
	assert_int_equal(floods(OPEN, ways), 0);
}

static void unknown_addresses_are_told_within_limits(void **state)
{
	publish();
	for (int i = 0; i < 1000; i++)
		report((struct learn_report){ .kind = LEARN_UNKNOWN, .fid = fid(STRICT),
					      .port = GUEST, .address = ca(STRICT, 77) });
	assert_int_equal(w.n_unknown, 100);
	seconds(1);
	report((struct learn_report){ .kind = LEARN_UNKNOWN, .fid = fid(STRICT), .port = GUEST,
				      .address = ca(STRICT, 77) });
	assert_int_equal(w.n_unknown, 101);
}

static void nothing_is_learnt_beside_a_plan(void **state)
{
	struct vswitch_plan *plan;
	uint16_t ways[8];

	publish();
	w.provider.mtu = 1500;
	assert_int_equal(prepare(&plan), 0);
	peer_seen(2);
	assert_int_equal(way(HNV_VXLAN, 2), 0);
	vswitch_abort(plan);
	peer_seen(2);
	assert_int_equal(floods(OPEN, ways), 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(records_become_macs_neighbours_and_floods),
		TEST(record_has_another_encap),
		TEST(mac_on_two_hosts_is_refused),
		TEST(ways_follow_their_neighbour),
		TEST(neighbour_heard_meanwhile_is_kept),
		TEST(learns_a_host_and_forgets_it),
		TEST(learnt_goes_with_the_will_to_learn),
		TEST(records_win),
		TEST(hosts_that_are_learnt_are_bounded),
		TEST(unknown_addresses_are_told_within_limits),
		TEST(nothing_is_learnt_beside_a_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
