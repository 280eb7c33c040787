// SPDX-License-Identifier: Apache-2.0
// What the switch answers itself: ARP, ND and pings, for customers, gateways and providers.
#include "net/csum.h"
#include "vswitch/test_hnv_rig.h"

static struct mac gateway(void)
{
	return hrig->hnv.router_mac;
}

// --- ARP ---------------------------------------------------------------------------------------

static struct rte_mbuf *arp(struct mac from, struct mac to, uint16_t op,
			    const struct ip_address pair[2])
{
	struct rte_mbuf *m = frame(from, to);
	struct arp_header a = { .hardware = BE16(1),
				.protocol = BE16(ETH_TYPE_IPV4),
				.hardware_bytes = 6,
				.protocol_bytes = 4,
				.op = cpu_to_be16(op),
				.sender_mac = from };

	memcpy(a.sender, pair[0].b, 4);
	memcpy(a.target, pair[1].b, 4);
	store_be16(rte_pktmbuf_mtod_offset(m, uint8_t *, 12), BE16(ETH_TYPE_ARP));
	memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 14), &a, sizeof(a));
	return m;
}

static struct rte_mbuf *ask(uint16_t fid, uint8_t from, uint8_t to)
{
	return arp(host(from), broadcast, ARP_REQUEST,
		   (struct ip_address[]){ customer4(fid, from), customer4(fid, to) });
}

// Exactly one ARP reply waits at `port`: that `address` is at `mac`.
static void expect_arp(uint16_t port, struct ip_address address, struct mac mac)
{
	const struct rte_mbuf *m = rig->egress[port].pkts[0];
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	struct arp_header a;

	assert_int_equal(rig->egress[port].n, 1);
	memcpy(&a, p + 14, sizeof(a));
	assert_true(load_be16(p + 12) == BE16(ETH_TYPE_ARP));
	assert_true(a.op == BE16(ARP_REPLY));
	assert_memory_equal(p, a.target_mac.b, 6);
	assert_memory_equal(p + 6, mac.b, 6);
	assert_memory_equal(a.sender_mac.b, mac.b, 6);
	assert_memory_equal(a.sender, address.b, 4);
}

static void arp_is_answered_from_policy(void **state)
{
	for (int again = 0; again < 2; again++) {
		hnv_send(0, ask(BLUE, 10, 11)); // here
		expect_at("0");
		expect_arp(0, customer4(BLUE, 11), host(11));
		hnv_send(0, ask(BLUE, 10, 20)); // elsewhere
		expect_arp(0, customer4(BLUE, 20), host(20));
		hnv_send(0, ask(BLUE, 10, 1));
		expect_arp(0, customer4(BLUE, 1), gateway());
	}
	assert_int_equal(rig->counters[0].consumed, 6);
	assert_int_equal(rig->counters[0].created, 6);
}

static void arp_for_strangers_dies_unless_learnt(void **state)
{
	hnv_send(0, ask(BLUE, 10, 99));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_NO_NEIGHBOR), 1);
	assert_int_equal(hrig->n_reports, 1);
	assert_int_equal(hrig->reports[0].kind, LEARN_UNKNOWN);
	hrig->subnets[0].learning = true;
	hnv_rig_publish();
	hnv_send(0, ask(BLUE, 10, 99));
	expect_at("13");
	assert_int_equal(hrig->n_reports, 1);
}

static void arp_teaches_learning_subnets(void **state)
{
	hrig->subnets[0].learning = true;
	hnv_rig_publish();
	hnv_send(0, ask(BLUE, 50, 11));
	assert_int_equal(hrig->n_reports, 1);
	assert_int_equal(hrig->reports[0].kind, LEARN_CUSTOMER);
	assert_int_equal(hrig->reports[0].port, 0);
	assert_memory_equal(hrig->reports[0].mac.b, host(50).b, 6);
	assert_memory_equal(hrig->reports[0].address.b, customer4(BLUE, 50).b, 16);
}

// What passes between ports and hosts.
static void passing_arp_teaches_learning_subnets(void **state)
{
	const struct ip_address reply[2] = { customer4(BLUE, 51), customer4(BLUE, 20) };
	const struct ip_address question[2] = { customer4(BLUE, 20), customer4(BLUE, 51) };

	hrig->subnets[0].learning = true;
	hnv_rig_publish();
	hnv_send(UPLINK, encapsulated(WAY_BLUE, BLUE_VSID,
				      arp(host(52), broadcast, ARP_REQUEST,
					  (struct ip_address[]){ customer4(BLUE, 52),
								 customer4(BLUE, 51) })));
	expect_at("01");
	assert_int_equal(hrig->n_reports, 2); // its MAC and its address
	assert_int_equal(hrig->reports[1].kind, LEARN_CUSTOMER);
	assert_int_equal(hrig->reports[1].port, WAY_BLUE);
	hnv_send(UPLINK, encapsulated(WAY_BLUE, BLUE_VSID,
				      arp(host(20), host(10), ARP_REQUEST, question)));
	expect_at("0");
	assert_int_equal(hrig->n_reports, 0);
	hnv_send(1, arp(host(51), host(20), ARP_REPLY, reply));
	expect_at("3");
	assert_int_equal(hrig->n_reports, 1);
	assert_int_equal(hrig->reports[0].kind, LEARN_CUSTOMER);
	assert_memory_equal(hrig->reports[0].address.b, reply[0].b, 16);
}

static void announcements_stay_here(void **state)
{
	hnv_send(0, ask(BLUE, 10, 10)); // gratuitous, or a probe for one's own address
	expect_at("");
	assert_int_equal(rig->counters[0].consumed, 1);
}

static void bad_arp_is_dropped(void **state)
{
	struct rte_mbuf *m = ask(BLUE, 10, 11);

	rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - 41));
	hnv_send(0, m);
	m = ask(BLUE, 10, 11);
	rte_pktmbuf_mtod(m, uint8_t *)[18] = 8;
	hnv_send(0, m);
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_INVALID_PACKET), 2);
}

// --- ND ----------------------------------------------------------------------------------------

static struct rte_mbuf *solicit(struct mac from, struct ip_address sender, struct ip_address target)
{
	struct rte_mbuf *m = frame_with(&(struct test_frame){ .ipv6 = true, .payload_bytes = 24 },
					from, host(0));
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	struct nd_header nd = { .icmp.type = ICMPV6_SOLICIT, .option = ND_OPTION_SOURCE,
				.option_units = 1, .mac = from };

	memcpy(nd.target, target.b, 16);
	memcpy(p, ((uint8_t[]){ 0x33, 0x33, 0xff, target.b[13], target.b[14], target.b[15] }), 6);
	p[20] = IP_PROTO_ICMPV6;
	p[21] = 255;
	memcpy(p + 22, sender.b, 16);
	memcpy(p + 54, &nd, sizeof(nd));
	test_frame_fix(m);
	return m;
}

static void expect_advert(uint16_t port, struct ip_address address, struct mac mac)
{
	const struct rte_mbuf *m = rig->egress[port].pkts[0];
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	struct nd_header nd;

	assert_int_equal(rig->egress[port].n, 1);
	test_icmp_check(m);
	memcpy(&nd, p + 54, sizeof(nd));
	assert_int_equal(nd.icmp.type, ICMPV6_ADVERT);
	assert_int_equal(p[21], 255);
	assert_memory_equal(p + 22, address.b, 16);
	assert_memory_equal(nd.target, address.b, 16);
	assert_memory_equal(nd.mac.b, mac.b, 6);
	assert_int_equal(be32_to_cpu(nd.icmp.rest) & ND_ROUTER,
			 memcmp(&mac, &hrig->hnv.router_mac, 6) == 0 ? ND_ROUTER : 0);
}

static void nd_is_answered_from_policy(void **state)
{
	static const uint8_t to[] = { 11, 20, 1 };

	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		hnv_send(0, solicit(host(10), customer6(BLUE, 10), customer6(BLUE, to[i])));
		expect_at("0");
		expect_advert(0, customer6(BLUE, to[i]), to[i] == 1 ? gateway() : host(to[i]));
	}
	hnv_send(0, solicit(host(10), customer6(BLUE, 10), customer6(BLUE, 99)));
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_NO_NEIGHBOR), 1);
	hnv_send(0, solicit(host(10), (struct ip_address){ .family = 6 }, customer6(BLUE, 10)));
	expect_at(""); // its own address is free
}

// --- pings -------------------------------------------------------------------------------------

static struct rte_mbuf *ping(const struct ip_address pair[2], struct mac from, struct mac to)
{
	bool ipv6 = pair[0].family == 6;
	struct rte_mbuf *m = frame_with(
		&(struct test_frame){ .ipv6 = ipv6, .payload_bytes = 56 }, from, to);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t n = ipv6 ? 16 : 4, l4 = ipv6 ? 54 : 34;

	p[ipv6 ? 20 : 23] = ipv6 ? IP_PROTO_ICMPV6 : IP_PROTO_ICMP;
	memcpy(p + l4 - 2 * n, pair[0].b, n);
	memcpy(p + l4 - n, pair[1].b, n);
	p[l4] = ipv6 ? ICMPV6_ECHO : ICMP_ECHO;
	p[l4 + 1] = 0;
	test_frame_fix(m);
	return m;
}

static void expect_pong(uint16_t port, struct ip_address from, struct mac mac)
{
	const struct rte_mbuf *m = rig->egress[port].pkts[0];
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	bool ipv6 = from.family == 6;

	assert_int_equal(rig->egress[port].n, 1);
	test_icmp_check(m);
	assert_memory_equal(p + 6, mac.b, 6);
	assert_memory_equal(p + (ipv6 ? 22 : 26), from.b, ipv6 ? 16 : 4);
	assert_int_equal(p[ipv6 ? 54 : 34], ipv6 ? ICMPV6_ECHO_REPLY : ICMP_ECHO_REPLY);
}

static void gateways_answer_pings(void **state)
{
	const struct ip_address pairs[][2] = {
		{ customer4(BLUE, 10), customer4(BLUE, 1) },
		{ customer4(BLUE, 10), customer4(RED, 1) },
		{ customer6(BLUE, 10), customer6(BLUE, 1) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		hnv_send(0, ping(pairs[i], host(10), gateway()));
		expect_at("0");
		expect_pong(0, pairs[i][1], gateway());
	}
	hnv_send(0, frame_with(&(struct test_frame){ 0 }, host(10), gateway()));
	expect_at("0"); // 10.9.0.2: unreachable
}

static void gateways_answer_nothing_else(void **state)
{
	const struct ip_address pair[2] = { customer4(BLUE, 10), customer4(BLUE, 1) };
	struct rte_mbuf *m = ping(pair, host(10), gateway());

	rte_pktmbuf_mtod(m, uint8_t *)[23] = IP_PROTO_UDP;
	test_frame_fix(m);
	hnv_send(0, m);
	m = ping(pair, host(10), gateway());
	rte_pktmbuf_mtod(m, uint8_t *)[34] = ICMP_ECHO_REPLY;
	hnv_send(0, m);
	expect_at("");
	assert_int_equal(drops(0, DROP_RX, DROP_NOT_FOR_US), 2);
}

// --- the underlay ------------------------------------------------------------------------------

static void provider_answers(void **state)
{
	const struct ip_address pair[2] = { ip4(192, 0, 2, 9), hrig->provider.address };
	struct mac ours = hrig->provider.mac;

	hnv_send(UPLINK, arp(host(9), broadcast, ARP_REQUEST, pair));
	expect_at("3");
	expect_arp(UPLINK, pair[1], ours);
	assert_int_equal(hrig->n_reports, 1);
	assert_int_equal(hrig->reports[0].kind, LEARN_UNDERLAY);
	assert_memory_equal(hrig->reports[0].address.b, pair[0].b, 16);
	hnv_send(UPLINK, ping(pair, host(9), ours));
	expect_at("3");
	expect_pong(UPLINK, pair[1], ours);
	hnv_send(UPLINK, frame(host(9), ours)); // nothing listens
	expect_at("");
	assert_int_equal(drops(UPLINK, DROP_RX, DROP_NOT_FOR_US), 1);
}

static void underlay_replies_are_reported(void **state)
{
	const struct ip_address pair[2] = { ip4(192, 0, 2, 2), hrig->provider.address };

	hnv_send(UPLINK, arp(host(2), hrig->provider.mac, ARP_REPLY, pair));
	expect_at("");
	assert_int_equal(hrig->n_reports, 1);
	assert_memory_equal(hrig->reports[0].mac.b, host(2).b, 6);
	assert_int_equal(rig->counters[UPLINK].consumed, 1);
}

static void others_arp_passes_the_uplink(void **state)
{
	const struct ip_address pair[2] = { ip4(192, 0, 2, 9), ip4(192, 0, 2, 10) };

	hnv_send(UPLINK, arp(host(9), broadcast, ARP_REQUEST, pair));
	expect_at("012");
}

static void provider_speaks_ipv6(void **state)
{
	struct ip_address peer = { 6, { 0x20, 1, 0xd, 0xb8, [15] = 9 } }, ours = peer;

	ours.b[15] = 1;
	hrig->provider.address = ours;
	hnv_rig_publish();
	hnv_send(UPLINK, solicit(host(9), peer, ours));
	expect_at("3");
	expect_advert(UPLINK, ours, hrig->provider.mac);
	assert_int_equal(hrig->n_reports, 1);
	hnv_send(UPLINK, solicit(host(9), peer, customer6(BLUE, 1)));
	expect_at("012");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HNV_TEST(arp_is_answered_from_policy),
		HNV_TEST(arp_for_strangers_dies_unless_learnt),
		HNV_TEST(arp_teaches_learning_subnets),
		HNV_TEST(passing_arp_teaches_learning_subnets),
		HNV_TEST(announcements_stay_here),
		HNV_TEST(bad_arp_is_dropped),
		HNV_TEST(nd_is_answered_from_policy),
		HNV_TEST(gateways_answer_pings),
		HNV_TEST(gateways_answer_nothing_else),
		HNV_TEST(provider_answers),
		HNV_TEST(underlay_replies_are_reported),
		HNV_TEST(others_arp_passes_the_uplink),
		HNV_TEST(provider_speaks_ipv6),
	};

	return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
