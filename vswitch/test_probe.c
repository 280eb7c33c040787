// SPDX-License-Identifier: Apache-2.0
// Echo requests of control's own: how they are made, and which answers reach control instead of a
// guest.
#include <errno.h>

#include "net/csum.h"
#include "vswitch/probe.h"
#include "vswitch/test_hnv_rig.h"

#define ID 0x1234

static struct probe_table table;
static uint8_t bytes[PROBE_FRAME_MAX];

static void begin(void)
{
	table = (struct probe_table){ 0 };
	hrig->hnv.probes = &table;
	hnv_rig_publish();
}

static void touch(uint8_t n)
{
	fdb_touch(vswitch_fdb(rig->vs), BLUE, host(n));
}

// A request from customer 20 behind the way to customer 10 here, as bytes[…].
static struct probe_request from_20(bool ipv6)
{
	return (struct probe_request){
		.src = host(20),
		.dst = host(10),
		.from = ipv6 ? customer6(BLUE, 20) : customer4(BLUE, 20),
		.to = ipv6 ? customer6(BLUE, 10) : customer4(BLUE, 10),
		.id = ID,
		.sequence = 7,
		.payload_bytes = 56,
	};
}

static struct rte_mbuf *frame_of(const struct probe_request *r)
{
	uint32_t n = probe_build(r, bytes);
	struct rte_mbuf *m = rte_pktmbuf_alloc(rig->pools.small);

	assert_true(n > 0);
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), bytes, n);
	return m;
}

// The answer to a request of ours, of that ICMP type.
static struct rte_mbuf *reply(const struct probe_request *r, uint8_t type)
{
	struct rte_mbuf *m = frame_of(r);

	rte_pktmbuf_mtod(m, uint8_t *)[r->to.family == 6 ? 54 : 34] = type;
	test_frame_fix(m);
	return m;
}

static void from_peer(struct rte_mbuf *m)
{
	hnv_send(UPLINK, encapsulated(WAY_BLUE, BLUE_VSID, m));
}

static void requests_are_what_hosts_answer(void **state)
{
	struct probe_request r = from_20(false);

	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		r = from_20(ipv6);
		r.vid = 0;
		assert_int_equal(probe_build(&r, bytes), 14 + (ipv6 ? 40 : 20) + 8 + 56);
		// To the gateway of a guest here: it answers what is whole.
		r.src = host(10);
		r.dst = hrig->hnv.router_mac;
		r.from = ipv6 ? customer6(BLUE, 10) : customer4(BLUE, 10);
		r.to = ipv6 ? customer6(BLUE, 1) : customer4(BLUE, 1);
		hnv_send(0, frame_of(&r));
		expect_at("0");
	}
	r = from_20(false);
	probe_build(&r, bytes);
	assert_int_equal(csum_fold(csum_add(0, bytes + 14, 20)), 0xffff);
	assert_int_equal(csum_fold(csum_add(0, bytes + 34, 64)), 0xffff);
	assert_int_equal(bytes[20] & 0x40, 0x40); // DF
	r.vid = 100;
	assert_int_equal(probe_build(&r, bytes), 18 + 20 + 8 + 56);
	assert_int_equal(bytes[15], 100);
	r.payload_bytes = PROBE_FRAME_MAX;
	assert_int_equal(probe_build(&r, bytes), 0);
}

static void slots_are_few_and_ids_unique(void **state)
{
	table = (struct probe_table){ 0 };
	for (uint16_t i = 0; i < PROBE_MAX; i++)
		assert_int_equal(probe_begin(&table, i, i, i % 2), 0);
	assert_int_equal(probe_begin(&table, 1, 3, true), -EEXIST);
	assert_int_equal(probe_begin(&table, 1, 99, true), -ENOSPC);
	assert_true(probe_watches(&table, 3));
	assert_false(probe_watches(&table, 2)); // an uplink's
	assert_false(probe_watches(NULL, 3));
	probe_end(&table, 3);
	assert_false(probe_watches(&table, 3));
	assert_int_equal(probe_begin(&table, 1, 3, true), 0);
}

static void guests_keep_what_is_theirs(void **state)
{
	struct probe_request r = from_20(false), other = r;

	begin();
	other.id = ID + 1;
	from_peer(reply(&r, ICMP_ECHO_REPLY)); // nobody waits: cached so
	expect_at("0");
	assert_int_equal(probe_begin(&table, 0, ID, true), 0);
	touch(10);
	for (int again = 0; again < 2; again++) {
		from_peer(reply(&r, ICMP_ECHO_REPLY));
		expect_at("");
		assert_int_equal(hrig->n_reports, 1);
		assert_int_equal(hrig->reports[0].kind, LEARN_ECHO);
		assert_int_equal(hrig->reports[0].encap, PROBE_REPLY);
		assert_int_equal(hrig->reports[0].echo.id, ID);
		assert_int_equal(hrig->reports[0].echo.sequence, 7);
		assert_memory_equal(hrig->reports[0].address.b, r.from.b, 16);
		from_peer(reply(&other, ICMP_ECHO_REPLY));
		expect_at("0");
		from_peer(reply(&r, ICMP_ECHO)); // somebody pings the guest
		expect_at("0");
		from_peer(frame(host(20), host(10)));
		expect_at("0");
		assert_int_equal(hrig->n_reports, 0);
	}
	probe_end(&table, ID);
	touch(10);
	from_peer(reply(&r, ICMP_ECHO_REPLY));
	expect_at("0");
}

static void answers_come_by_ipv6_too(void **state)
{
	struct probe_request r = from_20(true);

	begin();
	assert_int_equal(probe_begin(&table, 0, ID, true), 0);
	from_peer(reply(&r, ICMPV6_ECHO_REPLY));
	expect_at("");
	assert_int_equal(hrig->n_reports, 1);
	assert_int_equal(hrig->reports[0].echo.id, ID);
	assert_memory_equal(hrig->reports[0].address.b, r.from.b, 16);
}

// An error about a request from the provider address to 192.0.2.9, whose quote ends after `quoted`
// bytes.
static struct rte_mbuf *error(uint8_t type, uint8_t code, uint16_t mtu, uint32_t quoted)
{
	struct probe_request r = { .src = host(9),
				   .dst = hrig->provider.mac,
				   .from = ip4(192, 0, 2, 9),
				   .to = hrig->provider.address,
				   .id = ID,
				   .sequence = 2,
				   .payload_bytes = 28 };
	struct rte_mbuf *m = frame_of(&r);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	r.from = hrig->provider.address;
	r.to = ip4(192, 0, 2, 9);
	r.payload_bytes = 0;
	probe_build(&r, bytes);
	p[34] = type;
	p[35] = code;
	store_be16(p + 38, BE16(0));
	store_be16(p + 40, cpu_to_be16(mtu));
	memcpy(p + 42, bytes + 14, quoted);
	rte_pktmbuf_trim(m, (uint16_t)(28 - quoted));
	test_frame_fix(m);
	return m;
}

static void routers_of_the_underlay_are_heard(void **state)
{
	static const struct {
		uint8_t type, code;
		enum probe_answer what;
		uint16_t mtu;
	} cases[] = { { ICMP_UNREACHABLE, ICMP_CODE_TOO_BIG, PROBE_TOO_BIG, 1500 },
		      { ICMP_UNREACHABLE, ICMP_CODE_HOST, PROBE_UNREACHABLE, 0 },
		      { ICMP_TIME_EXCEEDED, 0, PROBE_TTL, 0 } };

	begin();
	assert_int_equal(probe_begin(&table, UPLINK, ID, false), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		hnv_send(UPLINK, error(cases[i].type, cases[i].code, cases[i].mtu, 28));
		expect_at("");
		assert_int_equal(hrig->n_reports, 1);
		assert_int_equal(hrig->reports[0].kind, LEARN_ECHO);
		assert_int_equal(hrig->reports[0].encap, cases[i].what);
		assert_int_equal(hrig->reports[0].echo.mtu, cases[i].mtu);
		assert_int_equal(hrig->reports[0].echo.sequence, 2);
	}
	for (uint32_t quoted = 0; quoted < 28; quoted++)
		hnv_send(UPLINK, error(ICMP_UNREACHABLE, ICMP_CODE_HOST, 0, quoted));
	assert_int_equal(hrig->n_reports, 0);
	assert_int_equal(drops(UPLINK, DROP_RX, DROP_NOT_FOR_US), 28);
	assert_int_equal(probe_begin(&table, 0, ID + 1, true), 0);
	probe_end(&table, ID);
	hnv_send(UPLINK, error(ICMP_UNREACHABLE, ICMP_CODE_HOST, 0, 28)); // nobody waits now
	assert_int_equal(drops(UPLINK, DROP_RX, DROP_NOT_FOR_US), 29);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HNV_TEST(requests_are_what_hosts_answer),
		cmocka_unit_test(slots_are_few_and_ids_unique),
		HNV_TEST(guests_keep_what_is_theirs),
		HNV_TEST(answers_come_by_ipv6_too),
		HNV_TEST(routers_of_the_underlay_are_heard),
	};

	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
