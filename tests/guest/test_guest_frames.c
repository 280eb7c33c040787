// SPDX-License-Identifier: Apache-2.0
// Frames through the rings of a fake guest, both ways: every form in which a driver may send, what
// it may ask for, acknowledgements in any order, full rings and who wakes whom. One thread (rig.h).
#include "tests/guest/rig.h"

#include <rte_mbuf.h>

#include <errno.h>

#include "net/test_util.h"
#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"

#define GUEST (&rig.vms[0].vmm.guest)
#define DRIVER (&rig.vms[0].driver)
#define CHANNEL (rig.vms[0].driver.channels[0])

// --- sending -----------------------------------------------------------------------------------

// n frames in one NVSP message, sent as `tx` says, arrive at the wire.
static void send_as(const struct fake_tx *how, uint32_t n, uint32_t bytes)
{
	static uint8_t frames[8][FAKE_MAX_FRAME];
	struct fake_packet packets[8] = { 0 };
	struct fake_tx tx = *how;
	uint32_t numbers[8];

	fake_switch_forget_wire(&rig.sw);
	for (uint32_t i = 0; i < n; i++) {
		numbers[i] = rig_frame(frames[i], bytes, rig_wire_mac(), rig_mac(0));
		packets[i].frame = frames[i];
		packets[i].bytes = bytes;
	}
	tx.packets = packets;
	tx.n = n;
	assert_int_equal(fake_driver_put(DRIVER, &tx), 0);
	assert_int_equal(fake_driver_flush(DRIVER), 0);
	for (uint32_t i = 0; i < n; i++)
		rig_expect_wire(numbers[i]);
	assert_int_equal(rig.sw.n_wire, n);
	assert_int_equal(DRIVER->n_failed, 0);
}

static void every_size_and_form(void **state)
{
	static const struct fake_tx forms[] = {
		{ .form = FAKE_PAGES },
		{ .form = FAKE_SECTION },
		{ .form = FAKE_SECTION, .silent = true },
		{ .form = FAKE_PARTIAL, .in_section = 44 },
		{ .form = FAKE_PARTIAL, .in_section = 50 },
		{ .form = FAKE_PARTIAL, .in_section = 8 },
	};

	rig_up(NULL);
	for (uint32_t i = 0; i < ARRAY_SIZE(forms); i++)
		for (uint32_t bytes = 60; bytes <= 1514; bytes += bytes < 140 ? 1 : 137)
			send_as(&forms[i], 1, bytes);
	rig_down();
}

static void many_packets_in_a_message(void **state)
{
	static const struct fake_tx forms[] = {
		{ .form = FAKE_PAGES }, { .form = FAKE_SECTION },
		{ .form = FAKE_PARTIAL, .in_section = 100 },
	};

	rig_up(NULL);
	for (uint32_t i = 0; i < ARRAY_SIZE(forms); i++)
		for (uint32_t n = 1; n <= 8; n++)
			for (uint32_t bytes = 60; bytes < 660; bytes += 61)
				send_as(&forms[i], n, bytes);
	rig_down();
}

// Linux from 6.14 on: the RNDIS header straddles pages. So may anything.
static void headers_are_split_anywhere(void **state)
{
	rig_up(NULL);
	for (uint32_t at = 1; at < 150; at++) {
		const struct fake_cut ends[] = { { at, 4096 - at }, { 2048, 0 } };
		const struct fake_cut crosses[] = { { 4096, 4096 - at } }; // two pages, one range
		const struct fake_cut crumbs[] = { { at, 17 }, { 1, 4095 }, { 1, 0 }, { 3, 4094 } };

		send_as(&(struct fake_tx){ .form = FAKE_PAGES, .cuts = ends, .n_cuts = 2 }, 1, 200);
		send_as(&(struct fake_tx){ .form = FAKE_PAGES, .cuts = crosses, .n_cuts = 1 }, 2,
			333);
		send_as(&(struct fake_tx){ .form = FAKE_PAGES, .cuts = crumbs, .n_cuts = 4 }, 3,
			120);
		send_as(&(struct fake_tx){ .form = FAKE_PARTIAL, .in_section = at, .cuts = crumbs,
					   .n_cuts = 4 }, 2, 120);
	}
	rig_down();
}

static void one_byte_pieces(void **state)
{
	struct fake_cut cuts[120];

	rig_up(NULL);
	for (uint32_t i = 0; i < ARRAY_SIZE(cuts); i++)
		cuts[i] = (struct fake_cut){ 1, (i * 37) % 4096 };
	send_as(&(struct fake_tx){ .form = FAKE_PAGES, .cuts = cuts, .n_cuts = 120 }, 1, 1000);
	rig_down();
}

// --- what a driver asks for --------------------------------------------------------------------

// Sends a frame as test_frame_build describes it, with these PPIs, from VM 0 to the wire or VM 1.
static void send_described(const struct test_frame *described, struct mac to,
			   struct fake_packet *packet)
{
	struct rte_mbuf *m = test_frame_build(rig.sw.pools.large, described);
	uint8_t *frame = test_flat(m);
	const struct fake_tx tx = { .form = FAKE_PAGES, .packets = packet, .n = 1 };

	memcpy(frame, to.b, 6);
	memcpy(frame + 6, rig_mac(0).b, 6);
	packet->frame = frame;
	packet->bytes = m->pkt_len;
	assert_int_equal(fake_driver_put(DRIVER, &tx), 0);
	assert_int_equal(fake_driver_flush(DRIVER), 0);
	free(frame);
	rte_pktmbuf_free(m);
}

static void checksum_requests(void **state)
{
	static const struct {
		struct test_frame frame;
		uint32_t csum;
		uint64_t flags;
	} requests[] = {
		{ { .tcp = true, .payload_bytes = 100 },
		  RNDIS_TX_IS_IPV4 | RNDIS_TX_TCP | 34 << 16,
		  RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4 },
		{ { .tcp = true, .payload_bytes = 100 }, // offset unknown: look for it
		  RNDIS_TX_IS_IPV4 | RNDIS_TX_TCP, RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4 },
		{ { .payload_bytes = 100 }, RNDIS_TX_IS_IPV4 | RNDIS_TX_UDP | 34 << 16,
		  RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4 },
		{ { .ipv6 = true, .tcp = true, .payload_bytes = 100 },
		  RNDIS_TX_IS_IPV6 | RNDIS_TX_TCP | 54 << 16,
		  RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV6 },
		{ { .ipv6 = true, .payload_bytes = 100 }, RNDIS_TX_IS_IPV6 | RNDIS_TX_UDP,
		  RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV6 },
		{ { .payload_bytes = 100, .option_bytes = 8 },
		  RNDIS_TX_IS_IPV4 | RNDIS_TX_UDP | 42 << 16,
		  RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4 },
	};

	rig_up(&(struct rig_cfg){ .n_vms = 2 });
	rig_check_traffic(1);
	for (uint32_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct fake_packet packet = { .ppis = FAKE_PPI_CSUM, .csum = requests[i].csum };
		struct rig_vm *other = &rig.vms[1];
		uint64_t n = other->driver.n_frames;

		fake_switch_forget_wire(&rig.sw);
		send_described(&requests[i].frame, rig_wire_mac(), &packet);
		assert_int_equal(rig.sw.n_wire, 1);
		assert_int_equal(rig.sw.wire[0]->ol_flags & requests[i].flags, requests[i].flags);
		assert_int_equal(rig.sw.wire[0]->l2_len, 14);
		// Another guest gets a frame that is right, or is told that nobody checked.
		send_described(&requests[i].frame, rig_mac(1), &packet);
		rig_rounds(5);
		assert_int_equal(other->driver.n_frames, n + 1);
		assert_true(other->last.has_csum);
		assert_true(other->last.csum & (RNDIS_RX_TCP_GOOD | RNDIS_RX_UDP_GOOD));
	}
	assert_int_equal(DRIVER->n_failed, 0);
	rig_down();
}

// A request that does not fit its frame costs that frame only.
static void impossible_checksum_requests(void **state)
{
	static const uint32_t requests[] = {
		RNDIS_TX_IS_IPV6 | RNDIS_TX_TCP | 34 << 16, // it is IPv4
		RNDIS_TX_IS_IPV4 | RNDIS_TX_TCP | 1023 << 16,
		RNDIS_TX_IS_IPV4 | RNDIS_TX_TCP | 13 << 16,
		RNDIS_TX_IS_IPV4 | RNDIS_TX_IS_IPV6 | RNDIS_TX_TCP | RNDIS_TX_UDP | 0xffffu << 16,
		0xffffffff,
	};
	const struct test_frame frame = { .payload_bytes = 20 };

	rig_up(NULL);
	for (uint32_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct fake_packet packet = { .ppis = FAKE_PPI_CSUM, .csum = requests[i] };

		send_described(&frame, rig_wire_mac(), &packet);
		rig_check_traffic(0);
	}
	rig_down();
}

static void large_sends(void **state)
{
	static const struct {
		struct test_frame frame;
		uint32_t lso;
	} sends[] = {
		{ { .tcp = true, .payload_bytes = 9000 }, RNDIS_LSO_V2 | 34 << 20 | 1460 },
		{ { .tcp = true, .payload_bytes = 9000, .ipv6 = true },
		  RNDIS_LSO_V2 | RNDIS_LSO_IPV6 | 54u << 20 | 1440 },
		{ { .tcp = true, .payload_bytes = 9000, .tcp_options = 12 },
		  RNDIS_LSO_V2 | 34 << 20 | 1448 },
		{ { .tcp = true, .payload_bytes = 1460 }, RNDIS_LSO_V2 | 34 << 20 | 1460 },
	};

	rig_up(&(struct rig_cfg){ .n_vms = 2 });
	rig_check_traffic(1);
	for (uint32_t i = 0; i < ARRAY_SIZE(sends); i++) {
		uint32_t mss = sends[i].lso & RNDIS_LSO_MSS_MASK;
		struct fake_packet packet = {
			.ppis = FAKE_PPI_LSO | FAKE_PPI_CSUM, .lso = sends[i].lso,
			.csum = RNDIS_TX_TCP |
				(sends[i].frame.ipv6 ? RNDIS_TX_IS_IPV6 : RNDIS_TX_IS_IPV4),
		};
		struct rig_vm *other = &rig.vms[1];
		uint64_t n = other->driver.n_frames;

		fake_switch_forget_wire(&rig.sw);
		send_described(&sends[i].frame, rig_wire_mac(), &packet);
		assert_int_equal(rig.sw.n_wire, 1);
		if (sends[i].frame.payload_bytes > mss) {
			assert_true(rig.sw.wire[0]->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
			assert_int_equal(rig.sw.wire[0]->tso_segsz, mss);
		}
		send_described(&sends[i].frame, rig_mac(1), &packet);
		rig_rounds(20);
		assert_in_range(other->driver.n_frames - n, 1,
				(sends[i].frame.payload_bytes + mss - 1) / mss);
	}
	assert_int_equal(DRIVER->n_failed, 0);
	rig_down();
}

// OpenVMM's lso_packet_invalid_tcp_header_offset, and worse.
static void impossible_large_sends(void **state)
{
	static const uint32_t lso[] = {
		RNDIS_LSO_V2 | 1023u << 20 | 1460, // beyond the frame
		RNDIS_LSO_V2 | 20 << 20 | 1460,    // in the IP header
		RNDIS_LSO_V2 | 34 << 20,           // MSS 0
		RNDIS_LSO_V2 | 34 << 20 | 0xfffff,
		RNDIS_LSO_V2 | RNDIS_LSO_IPV6 | 34u << 20 | 1460, // it is IPv4
		RNDIS_LSO_V2 | 1, // one byte a segment: more than a frame may become
		0xffffffff, 0,
	};
	const struct test_frame frame = { .tcp = true, .payload_bytes = 9000 };

	rig_up(NULL);
	for (uint32_t i = 0; i < ARRAY_SIZE(lso); i++) {
		struct fake_packet packet = { .ppis = FAKE_PPI_LSO, .lso = lso[i] };

		send_described(&frame, rig_wire_mac(), &packet);
		rig_check_traffic(0);
	}
	rig_down();
}

static void vlan_tags_both_ways(void **state)
{
	struct fake_packet packet = { .ppis = FAKE_PPI_VLAN, .vlan = 5 << 4 | 3 };
	const struct test_frame plain = { .payload_bytes = 100 };
	const struct test_frame tagged = { .payload_bytes = 100, .n_tags = 1 };
	struct rte_mbuf *m;
	uint64_t n;

	rig_up(NULL);
	send_described(&plain, rig_wire_mac(), &packet);
	assert_int_equal(rig.sw.n_wire, 1);
	m = rig.sw.wire[0];
	// A tag in the descriptor becomes a tag in the frame.
	assert_int_equal(m->pkt_len, 14 + 4 + 20 + 8 + 100);
	assert_memory_equal(rte_pktmbuf_mtod_offset(m, uint8_t *, 12), "\x81\x00\x60\x05", 4);
	n = DRIVER->n_frames;
	m = test_frame_build(rig.sw.pools.small, &tagged); // tag 0x6001
	memcpy(rte_pktmbuf_mtod(m, void *), rig_mac(0).b, 6);
	fake_switch_inject(&rig.sw, FAKE_WIRE, m);
	rig_rounds(10);
	assert_int_equal(DRIVER->n_frames, n + 1);
	assert_true(rig.vms[0].last.has_vlan);
	assert_int_equal(rig.vms[0].last.vlan, 1 << 4 | 3);
	assert_int_equal(rig.vms[0].last.n_bytes, 14 + 20 + 8 + 100);
	rig_down();
}

// --- receiving ---------------------------------------------------------------------------------

static void every_size_is_received(void **state)
{
	rig_up(&(struct rig_cfg){ .sw.mtu = 9000, .driver = { .mtu = 9014,
							      .receive_pages = 1024 } });
	for (uint32_t bytes = 60; bytes <= 9014; bytes += bytes < 140 ? 1 : 137)
		rig_expect(0, rig_inject(0, bytes));
	rig_expect(0, rig_inject(0, 9014));
	rig_expect(0, rig_inject(RIG_MAX_VMS, 60)); // broadcast
	rig_down();
}

// Acknowledgements late and in any order: every section comes back, none is given twice.
static void acks_in_any_order(void **state)
{
	uint32_t seed = 1;

	rig_up(&(struct rig_cfg){ .driver = { .ack = FAKE_ACK_HOLD, .receive_pages = 64 } });
	for (uint32_t n = 0; n < 3000; n++) {
		rig_inject(0, 60 + n % 1400);
		rig_rounds(n % 3);
		seed = seed * 1103515245 + 12345;
		while (DRIVER->n_xfers > (seed >> 16) % 20)
			assert_true(fake_driver_ack_nth(DRIVER, (seed >> 20) % DRIVER->n_xfers));
		fake_driver_kick(DRIVER);
	}
	rig_rounds(10);
	fake_driver_ack(DRIVER, UINT32_MAX);
	fake_driver_kick(DRIVER);
	rig_rounds(10);
	assert_int_equal(rig_info(0).n_held, 0);
	assert_int_equal(rig.vms[0].n_seen, 3000);
	rig_down();
}

// A guest that never acknowledges loses its own frames, and control still works.
static void never_acknowledging(void **state)
{
	uint32_t number;

	rig_up(&(struct rig_cfg){ .n_vms = 2, .driver = { .receive_pages = 32 } });
	DRIVER->cfg.ack = FAKE_ACK_HOLD;
	for (uint32_t n = 0; n < 500; n++) {
		rig_inject(0, 1514);
		rig_rounds(1);
	}
	assert_true(rig_counters(0).tx_no_section > 0);
	assert_true(rig_info(0).n_held <= rig_info(0).n_sections);
	rig_check_traffic(1);
	assert_int_equal(fake_driver_keepalive(DRIVER), 0); // in a section kept for it
	rig_expect_wire(rig_send(0, 100));
	DRIVER->cfg.ack = FAKE_ACK_NOW;
	fake_driver_ack(DRIVER, UINT32_MAX);
	fake_driver_kick(DRIVER);
	rig_rounds(10);
	number = rig_inject(0, 1514);
	rig_expect(0, number);
	rig_down();
}

// A guest that does not read its ring: the same, and nothing is lost of what it has sent.
static void never_reading(void **state)
{
	rig_up(&(struct rig_cfg){ .n_vms = 2, .driver = { .rings = { 0, 2, 0 },
							  .receive_pages = 512 } });
	rig_check_traffic(0);
	rig.vms[0].started = false;
	for (uint32_t n = 0; n < 500; n++)
		rig_inject(0, 60);
	rig_rounds(5);
	assert_true(rig_counters(0).tx_no_room > 0);
	rig_check_traffic(1);
	rig.vms[0].started = true;
	rig_rounds(20);
	rig_check_traffic(0);
	rig_down();
}

// --- who wakes whom ----------------------------------------------------------------------------

// The guest's ring to the host is tiny: its driver sleeps with a pending size, and is woken.
static void sender_is_woken(void **state)
{
	rig_up(&(struct rig_cfg){ .driver = { .rings = { 2, 128, 0 } } });
	for (uint32_t n = 0; n < 2000; n++) {
		fake_switch_forget_wire(&rig.sw);
		rig_send(0, 60 + n % 100);
	}
	assert_int_equal(fake_driver_flush(DRIVER), 0);
	assert_int_equal(rig.sw.n_collected, 2000);
	rig_down();
}

// The ring to the guest is tiny: completions wait in it, what asks for them is not read.
static void completions_wait_for_room(void **state)
{
	static uint8_t frame[1514];
	const struct fake_packet packet = { frame, 60, 0, 0, 0, 0, 0 };
	const struct fake_tx tx = { .form = FAKE_PAGES, .packets = &packet, .n = 1 };
	uint32_t n = 0;

	rig_up(&(struct rig_cfg){ .driver = { .rings = { 128, 2, 0 } } });
	rig.vms[0].started = false;
	for (; n < 900; n++) {
		rig_frame(frame, 60, rig_wire_mac(), rig_mac(0));
		assert_int_equal(fake_driver_put(DRIVER, &tx), 0);
	}
	fake_driver_kick(DRIVER);
	rig_rounds(100);
	assert_true(rig.sw.n_collected < n);
	rig.vms[0].started = true;
	assert_int_equal(fake_driver_flush(DRIVER), 0);
	assert_int_equal(rig.sw.n_collected, n);
	rig_down();
}

// Under load the guest polls, and the host rings no bell for each packet; nor does the guest.
static void no_bell_for_each_packet(void **state)
{
	struct netvsp_counters before, after;
	uint64_t signals;
	uint32_t n = 2000;

	rig_up(&(struct rig_cfg){ .driver.polls = true });
	rig_check_traffic(0);
	before = rig_counters(0);
	signals = CHANNEL->n_signals;
	for (uint32_t i = 0; i < n; i++) {
		rig_inject(0, 60);
		rig_send(0, 60);
		if (i % 16 == 0)
			rig_rounds(1);
		fake_switch_forget_wire(&rig.sw);
	}
	assert_int_equal(fake_driver_flush(DRIVER), 0);
	rig_rounds(10);
	after = rig_counters(0);
	assert_int_equal(rig.vms[0].n_seen, n + 2);
	assert_true(after.bells - before.bells < n / 50);
	assert_true(CHANNEL->n_signals - signals < n / 50);
	rig_down();
}

// A guest that sleeps between packets is rung once for each, whoever else is awake.
static void sleepers_are_rung(void **state)
{
	rig_up(NULL);
	for (uint32_t i = 0; i < 1000; i++) {
		rig_expect(0, rig_inject(0, 60));
		rig_rounds(10); // both asleep
	}
	assert_in_range(CHANNEL->n_events, 1000, 1200);
	for (uint32_t i = 0; i < 1000; i++) {
		fake_switch_forget_wire(&rig.sw);
		rig_expect_wire(rig_send(0, 60));
		rig_rounds(10);
	}
	rig_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_and_form),
		cmocka_unit_test(many_packets_in_a_message),
		cmocka_unit_test(headers_are_split_anywhere),
		cmocka_unit_test(one_byte_pieces),
		cmocka_unit_test(checksum_requests),
		cmocka_unit_test(impossible_checksum_requests),
		cmocka_unit_test(large_sends),
		cmocka_unit_test(impossible_large_sends),
		cmocka_unit_test(vlan_tags_both_ways),
		cmocka_unit_test(every_size_is_received),
		cmocka_unit_test(acks_in_any_order),
		cmocka_unit_test(never_acknowledging),
		cmocka_unit_test(never_reading),
		cmocka_unit_test(sender_is_woken),
		cmocka_unit_test(completions_wait_for_room),
		cmocka_unit_test(no_bell_for_each_packet),
		cmocka_unit_test(sleepers_are_rung),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
