// SPDX-License-Identifier: Apache-2.0
// A whole channel on real rings: frames both ways in every form a driver has for them, what is
// said back, who is signalled when, and what happens when something is full, missing or wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <cmocka.h>

#include "netvsp/nvsp.h"
#include "netvsp/test_rig.h"

static struct rig rig;
static struct rte_mbuf *got[PORT_BATCH];
static uint8_t message[16384], data[9216];

static int set_up(void **state)
{
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = test_payload(i);
	return 0;
}

static void begin(struct rig_cfg cfg) { rig_create(&rig, &cfg); }

static void end(void) { rig_destroy(&rig); }

static uint16_t receive(void) { return netvsp_channel_receive(rig.channel, got, PORT_BATCH); }

// A frame of the bytes data[], from `from` on.
static uint32_t rndis(uint8_t *to, uint32_t from, uint32_t bytes, bool align)
{
	const struct rig_frame frame = { .data = data + from, .bytes = bytes, .align = align };

	return rig_rndis(to, &frame);
}

static void must_be(struct rte_mbuf *m, uint32_t from, uint32_t bytes)
{
	uint8_t *flat = test_flat(m);

	assert_int_equal(m->pkt_len, bytes);
	assert_memory_equal(flat, data + from, bytes);
	assert_true(m->data_len >= (bytes < PORT_HEADER_BYTES ? bytes : PORT_HEADER_BYTES));
	free(flat);
	rte_pktmbuf_free(m);
}

static void must_complete(uint64_t id, uint32_t status)
{
	struct rig_packet packet;

	assert_true(rig_read(&rig, &packet));
	assert_int_equal(packet.type, VMBUS_PACKET_COMPLETION);
	assert_int_equal(packet.id, id);
	assert_int_equal(packet.nvsp_type, NVSP_RNDIS_PACKET_COMPLETE);
	assert_int_equal(packet.status, status);
}

static bool bell_rang(void)
{
	eventfd_t n;

	return eventfd_read(rig.bell.fd, &n) == 0;
}

// --- from the guest ----------------------------------------------------------------------------

static void frames_come_in_sections(void **state)
{
	for (int scattered = 0; scattered < 2; scattered++) {
		uint32_t at = 0;

		begin((struct rig_cfg){ .scattered = scattered });
		for (uint32_t i = 0; i < 8; i++)
			at += rndis(message + at, i, 60 + i * 90, i < 7);
		rig_fill_section(&rig, 3, 0, message, at);
		rig_send(&rig, 77, 3, at, NULL, 0);
		rig_kick(&rig);
		assert_int_equal(receive(), 8);
		for (uint32_t i = 0; i < 8; i++)
			must_be(got[i], i, 60 + i * 90);
		must_complete(77, NVSP_STATUS_SUCCESS);
		assert_int_equal(receive(), 0);
		assert_int_equal(rig.counters.rx_frames, 8);
		assert_int_equal(rig.counters.rx_packets, 1);
		end();
	}
}

static void frames_come_in_pages(void **state)
{
	static const uint32_t sizes[] = { 14, 60, 192, 193, 1514, 2048, 2049, 4096, 9014 };

	begin((struct rig_cfg){ .max_frame = 9014 });
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t bytes = rndis(message, 1, sizes[i], false), head = bytes - sizes[i];
		const struct vmbus_piece pieces[] = {
			{ rig_page_gpa(0) + 4096 - head, head }, // header alone
			{ rig_page_gpa(4) + 100, sizes[i] },
		};

		memcpy(rig_page(&rig, 1) - head, message, head);
		memcpy(rig_page(&rig, 4) + 100, message + head, sizes[i]);
		rig_send(&rig, i, NVSP_NO_SECTION, 0, pieces, 2);
		rig_kick(&rig);
		assert_int_equal(receive(), 1);
		must_be(got[0], 1, sizes[i]);
		must_complete(i, NVSP_STATUS_SUCCESS);
	}
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t bytes = rndis(message, 2, sizes[i], false);
		const struct vmbus_piece piece = { rig_page_gpa(7) + 8, bytes };

		memcpy(rig_page(&rig, 7) + 8, message, bytes);
		rig_send(&rig, i, NVSP_NO_SECTION, 0, &piece, 1);
		rig_kick(&rig);
		assert_int_equal(receive(), 1);
		must_be(got[0], 2, sizes[i]);
		must_complete(i, NVSP_STATUS_SUCCESS);
	}
	end();
}

static void a_section_goes_on_in_pages(void **state)
{
	uint32_t at = rndis(message, 0, 100, true), whole = at + rndis(message + at, 5, 700, false);

	begin((struct rig_cfg){ 0 });
	// Every way to cut the second packet: header in the section or not, here and there.
	for (uint32_t cut = at; cut < whole; cut++) {
		const struct vmbus_piece pieces[] = {
			{ rig_page_gpa(2) + 4095, 1 },
			{ rig_page_gpa(6), whole - cut - 1 },
		};

		rig_fill_section(&rig, 0, 0, message, cut);
		*(rig_page(&rig, 2) + 4095) = message[cut];
		memcpy(rig_page(&rig, 6), message + cut + 1, whole - cut - 1);
		rig_send(&rig, cut, 0, cut, pieces, cut + 1 < whole ? 2 : 1);
		rig_kick(&rig);
		assert_int_equal(receive(), 2);
		must_be(got[0], 0, 100);
		must_be(got[1], 5, 700);
		must_complete(cut, NVSP_STATUS_SUCCESS);
	}
	end();
}

// Page by page, over the end of a region into the next one, and across the ring's end.
static void many_pieces_make_a_frame(void **state)
{
	for (uint32_t n = 1; n < 30; n++) {
		uint32_t bytes = rndis(message, n, 9000, false), done = 0;
		struct vmbus_piece pieces[30];

		begin((struct rig_cfg){ .max_frame = 9014, .ring_pages = 2 });
		for (uint32_t i = 0; i < n; i++) {
			uint32_t left = bytes - done, here = i + 1 < n ? left / (n - i) : left;

			// From the last page of the first region on, one behind another.
			pieces[i] = (struct vmbus_piece){ rig_page_gpa(31) - 50 + done, here };
			done += here;
		}
		memcpy(rig_page(&rig, 31) - 50, message, bytes);
		for (uint32_t turn = 0; turn < 20; turn++) {
			rig_send(&rig, turn, NVSP_NO_SECTION, 0, pieces, n);
			rig_kick(&rig);
			assert_int_equal(receive(), 1);
			must_be(got[0], n, 9000);
			must_complete(turn, NVSP_STATUS_SUCCESS);
		}
		end();
	}
}

static void wrong_packets_fail_alone(void **state)
{
	const struct vmbus_piece nowhere = { 0x10, 100 };
	uint32_t bytes = rndis(message, 0, 60, false);
	uint8_t nvsp[16] = { 0x85 };
	const struct vmbus_packet_out unknown = {
		.type = VMBUS_PACKET_INBAND, .wants_completion = true, .transaction = 5,
		.payload = nvsp, .payload_bytes = sizeof(nvsp),
	};
	const struct vmbus_packet_out shorter = {
		.type = VMBUS_PACKET_INBAND, .wants_completion = true, .transaction = 6,
		.payload = nvsp, .payload_bytes = 4,
	};

	begin((struct rig_cfg){ .index = 3 });
	rig_fill_section(&rig, 0, 0, message, bytes);
	rig_fill_section(&rig, 1, 0, message + 8, bytes);
	rig_send(&rig, 0, 0, bytes, NULL, 0);
	rig_send(&rig, 1, RIG_N_SEND, bytes, NULL, 0);         // no such section
	rig_send(&rig, 2, 0, RIG_SECTION + 1, NULL, 0);        // longer than a section
	rig_send(&rig, 3, NVSP_NO_SECTION, 0, NULL, 0);        // nothing at all
	rig_send(&rig, 4, NVSP_NO_SECTION, 0, &nowhere, 1);    // not memory
	rig_put(&rig, &unknown);                               // not on this channel
	rig_put(&rig, &shorter);
	rig_send(&rig, 7, 1, bytes, NULL, 0);                  // no RNDIS packet
	rig_send(&rig, 8, 0, bytes - 1, NULL, 0);              // cut short
	rig_send(&rig, 9, 0, bytes, NULL, 0);
	rig_kick(&rig);
	assert_int_equal(receive(), 2);
	must_be(got[0], 0, 60);
	must_be(got[1], 0, 60);
	for (uint64_t id = 0; id < 10; id++)
		must_complete(id, id % 9 ? NVSP_STATUS_FAILURE : NVSP_STATUS_SUCCESS);
	assert_int_equal(rig.counters.rx_bad, 8);
	// A driver that may not send yet.
	rig.guest.sending = false;
	rig_send(&rig, 10, 0, bytes, NULL, 0);
	rig_kick(&rig);
	assert_int_equal(receive(), 0);
	must_complete(10, NVSP_STATUS_FAILURE);
	assert_int_equal(netvsp_channel_failure(rig.channel), 0);
	end();
}

static void a_corrupt_ring_is_left_alone(void **state)
{
	uint32_t before;

	begin((struct rig_cfg){ 0 });
	rig.tx.ring.header->write = cpu_to_le32(12);
	assert_int_equal(receive(), 0);
	assert_int_not_equal(netvsp_channel_failure(rig.channel), 0);
	before = le32_to_cpu(rig.tx.ring.header->read);
	rig.tx.ring.header->write = cpu_to_le32(0);
	rig_ack(&rig, 0);
	rig_kick(&rig);
	assert_int_equal(receive(), 0);
	assert_int_equal(le32_to_cpu(rig.tx.ring.header->read), before);
	assert_false(netvsp_channel_arm(rig.channel, true));
	end();
}

static void a_batch_takes_what_fits(void **state)
{
	struct rte_mbuf *more[PORT_BATCH];
	uint32_t at = 0;

	begin((struct rig_cfg){ .n_mbufs = 80 });
	for (uint32_t i = 0; i < 8; i++)
		at += rndis(message + at, i, 60, true);
	rig_fill_section(&rig, 0, 0, message, at);
	for (uint64_t id = 0; id < 12; id++)
		rig_send(&rig, id, 0, at, NULL, 0);
	rig_kick(&rig);
	assert_int_equal(netvsp_channel_receive(rig.channel, got, 7), 0); // whole or not at all
	assert_int_equal(netvsp_channel_receive(rig.channel, got, 17), 16);
	assert_int_equal(netvsp_channel_receive(rig.channel, got + 16, PORT_BATCH - 16), 48);
	assert_int_equal(rig.counters.rx_no_mbuf, 0);
	// 16 are left and 32 asked for: a packet at a time, then none.
	assert_int_equal(netvsp_channel_receive(rig.channel, more, PORT_BATCH), 8);
	assert_int_equal(netvsp_channel_receive(rig.channel, more + 8, PORT_BATCH - 8), 8);
	assert_int_equal(netvsp_channel_receive(rig.channel, more + 16, PORT_BATCH - 16), 0);
	assert_int_equal(rig.counters.rx_no_mbuf, 3);
	for (uint64_t id = 0; id < 10; id++)
		must_complete(id, NVSP_STATUS_SUCCESS);
	rte_pktmbuf_free_bulk(got, 64);
	rte_pktmbuf_free_bulk(more, 16);
	assert_int_equal(receive(), 16);
	rte_pktmbuf_free_bulk(got, 16);
	must_complete(10, NVSP_STATUS_SUCCESS);
	must_complete(11, NVSP_STATUS_SUCCESS);
	end();
}

// --- to the guest ------------------------------------------------------------------------------

static struct rte_mbuf *make(const struct test_frame *f)
{
	return test_frame_build(rig.pools.small, f);
}

static void must_take(struct rte_mbuf **pkts, uint16_t n)
{
	enum drop why;

	assert_int_equal(netvsp_channel_transmit(rig.channel, pkts, n, &why), n);
	assert_int_equal(why, DROP_NONE);
}

static void frames_go_to_sections(void **state)
{
	static const struct test_frame frames[] = {
		{ .payload_bytes = 18 },
		{ .payload_bytes = 1472 },
		{ .payload_bytes = 1472, .split = 200 },
		{ .payload_bytes = 8972, .split = 1000 },
		{ .payload_bytes = 100, .tcp = true, .ipv6 = true },
		{ .payload_bytes = 0, .n_tags = 1 },
		{ .payload_bytes = 1000, .n_tags = 1, .split = 192 },
		{ .payload_bytes = 20, .n_tags = 2 },
	};
	struct rte_mbuf *pkts[ARRAY_SIZE(frames)];
	struct rig_received received;
	struct rig_packet packet;

	for (int scattered = 0; scattered < 2; scattered++) {
		uint8_t *flat[ARRAY_SIZE(frames)];

		begin((struct rig_cfg){ .max_frame = 9014, .scattered = scattered });
		for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
			pkts[i] = make(&frames[i]);
			flat[i] = test_flat(pkts[i]);
		}
		must_take(pkts, ARRAY_SIZE(frames));
		assert_int_equal(test_pool_out(rig.pools.small), 0);
		assert_true(rig_read(&rig, &packet));
		assert_int_equal(packet.channel_type, NVSP_CHANNEL_DATA);
		assert_int_equal(packet.sections.n, ARRAY_SIZE(frames));
		for (uint32_t i = 0; i < packet.sections.n; i++) {
			uint32_t bytes = rig_read_section(&rig, &packet, i, message);
			bool tagged = frames[i].n_tags == 1;

			rig_parse(message, bytes, &received);
			assert_int_equal(received.present, tagged ? RIG_VLAN : 0);
			if (tagged) // 0x6001: priority 3, VID 1
				assert_int_equal(received.vlan, 3 | 1 << 4);
			assert_memory_equal(message + received.offset, flat[i], 12);
			assert_memory_equal(message + received.offset + 12,
					    flat[i] + (tagged ? 16 : 12), received.bytes - 12);
			free(flat[i]);
		}
		assert_false(rig_read(&rig, &packet));
		end();
	}
}

// A guest that puts segments together itself gets a large send in pieces.
static void large_sends_go_in_pieces(void **state)
{
	for (uint16_t n_tags = 0; n_tags < 2; n_tags++) {
		const struct test_frame f = { .payload_bytes = 20000, .mss = 1460, .tcp = true,
					      .request = true, .n_tags = n_tags };
		uint32_t skip = 4 * n_tags, at = 0;
		struct rig_received received;
		struct rig_packet packet;
		struct rte_mbuf *m[2];
		uint8_t *flat;

		begin((struct rig_cfg){ .scattered = n_tags });
		rig.guest.coalesce = true;
		m[0] = test_frame_build(rig.pools.small, &f);
		m[1] = test_frame_build(rig.pools.small, &f);
		must_take(m + 1, 1);
		assert_true(rig_read(&rig, &packet));
		rig_ack(&rig, packet.id);
		rig_kick(&rig);
		receive();
		flat = test_flat(m[0]);
		must_take(m, 1);
		assert_true(rig_read(&rig, &packet));
		assert_int_equal(packet.sections.n, (20000 + 54 + skip + 1513) / 1514);
		for (uint32_t i = 0; i < packet.sections.n; i++) {
			uint32_t bytes = rig_read_section(&rig, &packet, i, message);
			uint32_t flags = 1u | (i ? 0 : 2) | (i + 1 == packet.sections.n ? 4 : 0);

			rig_parse(message, bytes, &received);
			assert_int_equal(received.packet_id, 1u | flags << 8 | 1u << 16);
			assert_int_equal(received.present & ~(n_tags ? RIG_VLAN : 0u),
					 RIG_PACKET_ID | (i ? 0 : RIG_CSUM));
			if (!i) {
				assert_memory_equal(message + received.offset, flat, 12);
				at = 12 + skip;
				received.offset += 12;
				received.bytes -= 12;
			}
			if (i)
				assert_memory_equal(message + received.offset, flat + at,
						    received.bytes);
			at += received.bytes;
		}
		assert_int_equal(at, 20054 + skip);
		free(flat);
		end();
	}
}

static void sections_come_back(void **state)
{
	struct test_frame f = { .payload_bytes = 18 };
	struct rte_mbuf *pkts[PORT_BATCH];
	uint64_t ids[3];
	struct rig_packet packet;
	enum drop why;

	begin((struct rig_cfg){ .n_sections = 64 }); // 48 for frames
	for (uint32_t turn = 0; turn < 200; turn++) {
		for (uint32_t i = 0; i < 3; i++) {
			for (uint32_t j = 0; j < 20; j++)
				pkts[j] = make(&f);
			if (i < 2) {
				must_take(pkts, 20);
			} else {
				assert_int_equal(netvsp_channel_transmit(rig.channel, pkts, 20,
									 &why), 8);
				assert_int_equal(why, DROP_GUEST_NO_RXBUF);
				rte_pktmbuf_free_bulk(pkts + 8, 12);
			}
			assert_true(rig_read(&rig, &packet));
			ids[i] = packet.id;
		}
		pkts[0] = make(&f);
		assert_int_equal(netvsp_channel_transmit(rig.channel, pkts, 1, &why), 0);
		assert_int_equal(why, DROP_GUEST_NO_RXBUF);
		rte_pktmbuf_free(pkts[0]);
		// In any order, twice, and with ids that nobody gave.
		rig_ack(&rig, ids[(turn + 1) % 3]);
		rig_ack(&rig, ids[(turn + 1) % 3]);
		rig_ack(&rig, 1ull << 63);
		rig_ack(&rig, ids[turn % 3]);
		rig_ack(&rig, ids[(turn + 2) % 3]);
		rig_kick(&rig);
		assert_int_equal(receive(), 0);
		assert_int_equal(rig.counters.bad_acks, 2 * (turn + 1));
	}
	assert_int_equal(rig.counters.acks, 600);
	assert_int_equal(rig.counters.tx_no_section, 200 * 13);
	end();
}

static void a_guest_that_does_not_want_frames_gets_none(void **state)
{
	struct test_frame f = { .payload_bytes = 1473 };
	struct rte_mbuf *pkts[2];
	enum drop why;

	begin((struct rig_cfg){ 0 });
	pkts[1] = make(&f);
	f.payload_bytes = 1472;
	pkts[0] = make(&f);
	rig.guest.receiving = false;
	assert_int_equal(netvsp_channel_transmit(rig.channel, pkts, 2, &why), 0);
	assert_int_equal(why, DROP_NOT_READY);
	rig.guest.receiving = true;
	assert_int_equal(netvsp_channel_transmit(rig.channel, pkts, 2, &why), 1);
	assert_int_equal(why, DROP_MTU_MISMATCH);
	rte_pktmbuf_free(pkts[1]);
	f.n_tags = 1; // a tag does not count
	pkts[0] = make(&f);
	must_take(pkts, 1);
	end();
}

static void a_full_ring_keeps_room_for_completions(void **state)
{
	struct test_frame f = { .payload_bytes = 18 };
	uint32_t bytes = rndis(message, 0, 60, false), n = 0;
	struct rte_mbuf *pkts[1];
	struct rig_packet packet;
	enum drop why;

	begin((struct rig_cfg){ .ring_pages = 2, .n_sections = 512 });
	rig_fill_section(&rig, 0, 0, message, bytes);
	for (;; n++) {
		pkts[0] = make(&f);
		if (!netvsp_channel_transmit(rig.channel, pkts, 1, &why))
			break;
	}
	assert_int_equal(why, DROP_GUEST_RING_FULL);
	rte_pktmbuf_free(pkts[0]);
	assert_in_range(n, 30, 45);
	assert_int_equal(rig.counters.tx_no_room, 1);
	// At least an eighth of 4096 bytes is there for completions of 32 …
	for (uint64_t id = 0; id < 30; id++)
		rig_send(&rig, id, 0, bytes, NULL, 0);
	rig_kick(&rig);
	n = receive();
	assert_in_range(n, 16, 19);
	rte_pktmbuf_free_bulk(got, n);
	// … and what cannot be completed waits in the ring, for a signal.
	assert_int_equal(receive(), 0);
	assert_true(!netvsp_channel_arm(rig.channel, true));
	assert_int_not_equal(le32_to_cpu(rig.rx.ring.header->pending_send), 0);
	netvsp_channel_arm(rig.channel, false);
	assert_int_equal(le32_to_cpu(rig.rx.ring.header->pending_send), 0);
	while (rig_read(&rig, &packet)) {}
	assert_int_equal(receive(), 30 - n);
	rte_pktmbuf_free_bulk(got, 30 - n);
	while (rig_read(&rig, &packet)) {}
	assert_int_equal(packet.id, 29);
	end();
}

// --- signals -----------------------------------------------------------------------------------

static void bells_ring_when_somebody_sleeps(void **state)
{
	uint32_t bytes = rndis(message, 0, 60, false);
	struct rig_packet packet;

	begin((struct rig_cfg){ 0 });
	rig_fill_section(&rig, 0, 0, message, bytes);
	// While the switch polls its mask is 1: the guest never signals.
	assert_int_equal(le32_to_cpu(rig.tx.ring.header->interrupt_mask), 1);
	rig_send(&rig, 1, 0, bytes, NULL, 0);
	assert_false(rig_kick(&rig));
	assert_true(netvsp_channel_arm(rig.channel, true)); // there is work
	assert_int_equal(le32_to_cpu(rig.tx.ring.header->interrupt_mask), 1);
	// The guest's mask is 1 as well (its driver polls): no bell.
	assert_int_equal(receive(), 1);
	rte_pktmbuf_free(got[0]);
	assert_false(bell_rang());
	while (rig_read(&rig, &packet)) {}
	assert_false(netvsp_channel_arm(rig.channel, true));
	assert_int_equal(le32_to_cpu(rig.tx.ring.header->interrupt_mask), 0);
	rig_send(&rig, 2, 0, bytes, NULL, 0);
	assert_true(rig_kick(&rig));
	netvsp_channel_arm(rig.channel, false);
	assert_true(vmbus_reader_arm(&rig.rx)); // the guest sleeps
	assert_int_equal(receive(), 1);
	rte_pktmbuf_free(got[0]);
	assert_true(bell_rang());
	assert_int_equal(rig.counters.bells, 1);
	netvsp_channel_ring(rig.channel);
	assert_true(bell_rang());
	end();
}

static void a_guest_that_waits_for_room_is_woken(void **state)
{
	uint32_t bytes = rndis(message, 0, 60, false);
	const struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_COMPLETION, .transaction = 1ull << 40, .payload = data,
		.payload_bytes = 8,
	};
	uint32_t n;

	begin((struct rig_cfg){ .ring_pages = 2 });
	rig_fill_section(&rig, 0, 0, message, bytes);
	while (vmbus_writer_put(&rig.tx, &packet) == 0) {}
	rig_kick(&rig);
	assert_true(vmbus_writer_arm(&rig.tx, 64));
	n = receive();
	assert_int_equal(n, 0);
	assert_true(bell_rang());
	end();
}

static void dirty_pages_are_told(void **state)
{
	static uint64_t words[64];
	const struct vmbus_dirty dirty = { words, 64 * 64 };
	struct test_frame f = { .payload_bytes = 1472 };
	struct rte_mbuf *m;
	struct rig_packet packet;
	uint64_t page;

	begin((struct rig_cfg){ .scattered = true });
	rcu_set(&rig.guest.dirty, &dirty);
	memset(words, 0, sizeof(words));
	m = make(&f);
	must_take(&m, 1);
	assert_true(rig_read(&rig, &packet));
	for (uint32_t i = 0; i < packet.sections.sections[0].bytes; i++) {
		uint32_t last = 0, at = packet.sections.sections[0].offset + i;
		const struct vmbus_run *run = vmbus_runs_at(&rig.receive, at, &last);

		page = (run->gpa + at - run->start) / 4096;
		assert_true(words[page / 64] >> page % 64 & 1);
		words[page / 64] &= i + 1 < packet.sections.sections[0].bytes ?
					    ~0ull : ~(1ull << page % 64);
	}
	// The ring to the guest: header and first page of data; index and mask of the other one.
	for (uint32_t i = 0; i < 3; i++) {
		static const uint32_t pages[] = { 0, 9, 10 };
		const struct vmbus_run *run = &rig.rings.runs[pages[i]];

		page = run->gpa / 4096;
		assert_true(words[page / 64] >> page % 64 & 1);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_in_sections),
		cmocka_unit_test(frames_come_in_pages),
		cmocka_unit_test(a_section_goes_on_in_pages),
		cmocka_unit_test(many_pieces_make_a_frame),
		cmocka_unit_test(wrong_packets_fail_alone),
		cmocka_unit_test(a_corrupt_ring_is_left_alone),
		cmocka_unit_test(a_batch_takes_what_fits),
		cmocka_unit_test(frames_go_to_sections),
		cmocka_unit_test(large_sends_go_in_pieces),
		cmocka_unit_test(sections_come_back),
		cmocka_unit_test(a_guest_that_does_not_want_frames_gets_none),
		cmocka_unit_test(a_full_ring_keeps_room_for_completions),
		cmocka_unit_test(bells_ring_when_somebody_sleeps),
		cmocka_unit_test(a_guest_that_waits_for_room_is_woken),
		cmocka_unit_test(dirty_pages_are_told),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
