// SPDX-License-Identifier: Apache-2.0
// The fake guest against the simplest host there can be, in one thread: its own bring-up and
// frames, and that it notices a host that lies. What it finds out about our host is in
// test_guest_*.c.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"
#include "tests/guest/fake_driver.h"
#include "vmbus/gpadl.h"

#define RELID 5u
#define SECTION 1792u
#define MAX_HOST_GPADLS 8

// The host: one NIC with one channel, which sends every frame back.
struct host {
	struct fake_guest guest;
	struct fake_driver driver;
	struct guest_memory memory;
	struct vmbus_gpadls *gpadls;
	struct vmbus_gpadl *live[MAX_HOST_GPADLS];
	bool open;
	struct vmbus_reader in;
	struct vmbus_writer out;
	const struct vmbus_gpadl *receive, *send;
	uint32_t n_sections, next_section;
	uint32_t n_bells; // times the guest was rung
	bool mute;        // reads nothing
	uint32_t n_echoed, n_reported;
	uint32_t lie; // enum lie
	uint8_t message[65536];
};

enum lie { TRUTH, SECTION_TWICE, WRONG_SET, UNKNOWN_ID, TABLE_TOO_WIDE, OUTSIDE, NO_BELL };

static struct host host;

static struct vmbus_gpadl *find_gpadl(uint32_t id)
{
	for (uint32_t i = 0; i < MAX_HOST_GPADLS; i++)
		if (host.live[i] && host.live[i]->id == id)
			return host.live[i];
	return NULL;
}

// --- the ring ----------------------------------------------------------------------------------

static void publish(void)
{
	uint64_t *word;

	if (!vmbus_writer_commit(&host.out) || host.lie == NO_BELL)
		return;
	host.n_bells++;
	word = (uint64_t *)(fake_page_at(&host.guest.memory, host.guest.siefp[0]) +
			    256 * FAKE_SINT);
	*word |= 1ull << RELID;
}

static void complete(uint64_t id, const void *payload, uint32_t bytes)
{
	const struct vmbus_packet_out packet = { .type = VMBUS_PACKET_COMPLETION,
						 .transaction = id, .payload = payload,
						 .payload_bytes = bytes };

	assert_int_equal(vmbus_writer_put(&host.out, &packet), 0);
}

static void complete_rndis(uint64_t id)
{
	const struct nvsp_rndis_packet_complete done = { cpu_to_le32(NVSP_RNDIS_PACKET_COMPLETE),
							 cpu_to_le32(NVSP_STATUS_SUCCESS) };

	complete(id, &done, sizeof(done));
}

// An RNDIS message into the next section.
static void give(uint32_t channel_type, const void *message, uint32_t bytes)
{
	uint32_t section = host.next_section++ % host.n_sections;
	struct {
		struct vmbus_xfer_pages head;
		struct vmbus_xfer_range range;
	} extra = { { cpu_to_le16(0xcafe), 0, 0, cpu_to_le32(1) },
		    { cpu_to_le32(bytes), cpu_to_le32(section * SECTION) } };
	const struct nvsp_rndis_packet nvsp = { cpu_to_le32(NVSP_RNDIS_PACKET),
						cpu_to_le32(channel_type),
						cpu_to_le32(NVSP_NO_SECTION), 0 };
	struct vmbus_packet_out packet = { .type = VMBUS_PACKET_XFER_PAGES,
					   .wants_completion = true, .transaction = section,
					   .extra = &extra, .extra_bytes = sizeof(extra),
					   .payload = &nvsp, .payload_bytes = sizeof(nvsp) };
	uint32_t left;

	if (host.lie == WRONG_SET)
		extra.head.page_set = cpu_to_le16(0xbeef);
	if (host.lie == OUTSIDE)
		extra.range.byte_offset = cpu_to_le32(host.receive->runs.bytes - bytes + 8);
	for (uint32_t at = 0; at < bytes; at++) {
		struct vmbus_ring view = { .gpadl = host.receive->runs,
					   .size = host.receive->runs.bytes };

		*vmbus_ring_at(&view, section * SECTION + at, &left) =
			((const uint8_t *)message)[at];
	}
	assert_int_equal(vmbus_writer_put(&host.out, &packet), 0);
	if (host.lie == SECTION_TWICE)
		assert_int_equal(vmbus_writer_put(&host.out, &packet), 0);
}

static void answer_oid(const struct rndis_oid_request *request)
{
	struct {
		struct rndis_query_complete head;
		uint8_t value[156];
	} answer = { .head.request = request->request, .head.info_offset = cpu_to_le32(16) };
	const struct ndis_offload offload = { .object = { NDIS_OBJECT_OFFLOAD, 3,
							  cpu_to_le16(sizeof(offload)) } };
	const struct ndis_rss_capabilities rss = {
		.object = { NDIS_OBJECT_RSS_CAPABILITIES, 2, cpu_to_le16(sizeof(rss)) },
		.n_queues = cpu_to_le32(1), .n_entries = cpu_to_le16(128),
	};
	uint32_t bytes = 4;

	switch (le32_to_cpu(request->oid)) {
	case NDIS_OID_802_3_PERMANENT_ADDRESS: bytes = 6; break;
	case NDIS_OID_GEN_FRIENDLY_NAME: bytes = 16; break;
	case NDIS_OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES:
		bytes = sizeof(offload);
		memcpy(answer.value, &offload, sizeof(offload));
		break;
	case NDIS_OID_GEN_RECEIVE_SCALE_CAPABILITIES:
		bytes = sizeof(rss);
		memcpy(answer.value, &rss, sizeof(rss));
		break;
	default: break;
	}
	if (le32_to_cpu(request->request.header.type) == RNDIS_SET)
		bytes = 0;
	answer.head.info_bytes = cpu_to_le32(bytes);
	answer.head.request.header.type |= cpu_to_le32(RNDIS_ANSWER);
	answer.head.request.header.bytes = cpu_to_le32((uint32_t)sizeof(answer.head) + bytes);
	give(NVSP_CHANNEL_CONTROL, &answer, (uint32_t)sizeof(answer.head) + bytes);
}

static void on_rndis_control(const uint8_t *message)
{
	struct rndis_initialize_complete answer = {
		.request.header = { cpu_to_le32(RNDIS_ANSWER | RNDIS_INITIALIZE),
				    cpu_to_le32(sizeof(answer)) },
		.max_packets = cpu_to_le32(8), .align_shift = cpu_to_le32(3),
	};

	switch (load_u32(message)) {
	case RNDIS_INITIALIZE:
		memcpy(&answer.request.id, message + 8, 4);
		give(NVSP_CHANNEL_CONTROL, &answer, sizeof(answer));
		break;
	case RNDIS_QUERY:
	case RNDIS_SET: answer_oid((const struct rndis_oid_request *)message); break;
	default: break;
	}
}

// Gathers section and pages into host.message. Returns the bytes.
static uint32_t gather(const struct vmbus_packet *packet, const struct nvsp_rndis_packet *nvsp)
{
	struct vmbus_pieces pieces = { 0 };
	uint32_t bytes = 0, section = le32_to_cpu(nvsp->section);

	if (section != NVSP_NO_SECTION) {
		struct vmbus_ring view = { .gpadl = host.send->runs,
					   .size = host.send->runs.bytes };

		bytes = le32_to_cpu(nvsp->section_bytes);
		vmbus_ring_load(&view, section * 6144, host.message, bytes);
	}
	if (packet->type == VMBUS_PACKET_GPA_DIRECT)
		assert_int_equal(vmbus_packet_pieces(&host.in.ring, packet, &pieces), 0);
	for (uint32_t i = 0; i < pieces.n; i++) {
		const struct vmbus_piece *piece = &pieces.pieces[i];
		const uint8_t *from = guest_memory_at(&host.memory, piece->gpa, piece->bytes,
						      false);

		assert_non_null(from);
		memcpy(host.message + bytes, from, piece->bytes);
		bytes += piece->bytes;
	}
	return bytes;
}

static void echo(uint32_t bytes)
{
	uint32_t at = 0;

	while (at < bytes) {
		const struct rndis_packet *packet =
			(const struct rndis_packet *)(host.message + at);
		uint32_t length = le32_to_cpu(packet->header.bytes);

		assert_in_range(length, sizeof(*packet), bytes - at);
		assert_true(at % 8 == 0);
		give(NVSP_CHANNEL_DATA, packet, length);
		host.n_echoed++;
		at += length;
	}
}

static void on_nvsp(const struct vmbus_packet *packet)
{
	uint8_t message[40] = { 0 }, answer[40] = { 0 };
	struct nvsp_rndis_packet nvsp;
	uint32_t bytes = packet->payload_bytes;

	vmbus_ring_load(&host.in.ring, packet->payload_pos, message, bytes < 40 ? bytes : 40);
	switch (load_u32(message)) {
	case NVSP_INIT:
		store_u32(answer, NVSP_INIT_COMPLETE);
		store_u32(answer + 12, load_u32(message + 4) == NVSP_VERSION_5);
		break;
	case NVSP_SEND_RECV_BUF:
		host.receive = find_gpadl(load_u32(message + 4));
		host.n_sections = host.receive->runs.bytes / SECTION;
		host.next_section = 0;
		memcpy(answer, &(struct nvsp_recv_buf_complete){
			       cpu_to_le32(NVSP_RECV_BUF_COMPLETE), cpu_to_le32(1),
			       cpu_to_le32(1), 0, cpu_to_le32(SECTION),
			       cpu_to_le32(host.n_sections), 0 }, 28);
		break;
	case NVSP_SEND_SEND_BUF:
		host.send = find_gpadl(load_u32(message + 4));
		memcpy(answer, &(struct nvsp_send_buf_complete){
			       cpu_to_le32(NVSP_SEND_BUF_COMPLETE), cpu_to_le32(1),
			       cpu_to_le32(6144) }, 12);
		break;
	case NVSP_RNDIS_PACKET:
		memcpy(&nvsp, message, sizeof(nvsp));
		bytes = gather(packet, &nvsp);
		if (packet->wants_completion)
			complete_rndis(packet->transaction + (host.lie == UNKNOWN_ID ? 500 : 0));
		if (le32_to_cpu(nvsp.channel_type) == NVSP_CHANNEL_CONTROL)
			on_rndis_control(host.message);
		else
			echo(bytes);
		return;
	default: break;
	}
	if (packet->wants_completion)
		complete(packet->transaction, answer, sizeof(answer));
}

static void read_ring(void)
{
	struct vmbus_packet packet;

	while (host.open && !host.mute && vmbus_reader_next(&host.in, &packet) == 1) {
		if (packet.type == VMBUS_PACKET_COMPLETION)
			host.n_reported++;
		else
			on_nvsp(&packet);
	}
	if (host.open && vmbus_reader_commit(&host.in)) {
		uint64_t *word = (uint64_t *)(fake_page_at(&host.guest.memory,
							   host.guest.siefp[0]) +
					      256 * FAKE_SINT);

		*word |= host.lie == NO_BELL ? 0 : 1ull << RELID;
	}
	if (host.open)
		publish();
}

// --- the control plane -------------------------------------------------------------------------

static void say(const void *message, uint32_t bytes)
{
	fake_guest_deliver(&host.guest, message, bytes);
}

static void on_gpadl(const void *message, uint32_t bytes)
{
	struct vmbus_gpadl_created created = { .message.type = cpu_to_le32(VMBUS_GPADL_CREATED),
					       .relid = cpu_to_le32(RELID) };
	struct vmbus_gpadl_outcome outcome;
	uint32_t i = 0;

	if (load_u32(message) == VMBUS_GPADL_HEADER)
		vmbus_gpadls_header(host.gpadls, message, bytes, &outcome);
	else
		vmbus_gpadls_body(host.gpadls, message, bytes, &outcome);
	if (outcome.result == VMBUS_GPADL_MORE)
		return;
	assert_int_equal(outcome.result, VMBUS_GPADL_DONE);
	while (host.live[i])
		assert_true(++i < MAX_HOST_GPADLS);
	host.live[i] = outcome.gpadl;
	created.gpadl = cpu_to_le32(outcome.id);
	say(&created, sizeof(created));
}

static void on_open(const struct vmbus_open_channel *open)
{
	const struct vmbus_gpadl *gpadl = find_gpadl(le32_to_cpu(open->gpadl));
	uint32_t page = le32_to_cpu(open->downstream_page);
	const struct vmbus_open_result result = {
		.message.type = cpu_to_le32(VMBUS_OPEN_RESULT), .relid = open->relid,
		.open_id = open->open_id,
	};
	struct vmbus_ring ring;

	assert_non_null(gpadl);
	assert_int_equal(vmbus_ring_init(&ring, &gpadl->runs, 0, page), 0);
	assert_int_equal(vmbus_reader_init(&host.in, &ring), 0);
	assert_int_equal(vmbus_ring_init(&ring, &gpadl->runs, page,
					 gpadl->runs.bytes / VMBUS_PAGE_BYTES - page), 0);
	assert_int_equal(vmbus_writer_init(&host.out, &ring), 0);
	host.open = true;
	say(&result, sizeof(result));
}

static void on_teardown(const struct vmbus_gpadl_teardown *message)
{
	const struct vmbus_gpadl_torndown torndown = { .message.type =
							       cpu_to_le32(VMBUS_GPADL_TORNDOWN),
						       .gpadl = message->gpadl };

	for (uint32_t i = 0; i < MAX_HOST_GPADLS; i++) {
		if (!host.live[i] || host.live[i]->id != le32_to_cpu(message->gpadl))
			continue;
		vmbus_gpadls_forget(host.gpadls, host.live[i]);
		free(host.live[i]);
		host.live[i] = NULL;
	}
	say(&torndown, sizeof(torndown));
}

static void offer(void)
{
	struct vmbus_offer_channel message = {
		.message.type = cpu_to_le32(VMBUS_OFFER_CHANNEL),
		.interface_type = { 0x63, 0x51, 0x61, 0xf8, 0x3e, 0xdf, 0xc5, 0x46,
				    0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e },
		.relid = cpu_to_le32(RELID), .dedicated_interrupt = cpu_to_le16(1),
		.connection_id = cpu_to_le32(100),
	};
	const struct vmbus_message end = { .type = cpu_to_le32(VMBUS_ALL_OFFERS_DELIVERED) };

	say(&message, sizeof(message));
	say(&end, sizeof(end));
}

static int host_post(void *ctx, uint32_t connection, const void *message, uint32_t bytes)
{
	struct vmbus_version_response version = {
		.message.type = cpu_to_le32(VMBUS_VERSION_RESPONSE), .supported = 1,
		.connection_id = cpu_to_le32(4),
	};

	switch (load_u32(message)) {
	case VMBUS_INITIATE_CONTACT:
		version.supported = load_u32((const uint8_t *)message + 8) <= VMBUS_VERSION_RS5;
		say(&version, sizeof(version));
		break;
	case VMBUS_REQUEST_OFFERS: offer(); break;
	case VMBUS_GPADL_HEADER:
	case VMBUS_GPADL_BODY: on_gpadl(message, bytes); break;
	case VMBUS_OPEN_CHANNEL: on_open(message); break;
	case VMBUS_CLOSE_CHANNEL: host.open = false; break;
	case VMBUS_GPADL_TEARDOWN: on_teardown(message); break;
	default: fail();
	}
	return 0;
}

static void host_signal(void *ctx, uint32_t connection) { assert_int_equal(connection, 100); }

static bool host_pump(void *ctx)
{
	read_ring();
	return true;
}

static const struct fake_host_ops ops = { host_post, host_signal, host_pump, NULL };

// --- tests -------------------------------------------------------------------------------------

static uint32_t n_good;

static void receive(void *ctx, const struct fake_frame *frame)
{
	for (uint32_t i = 0; i < frame->n_bytes; i++)
		assert_int_equal(frame->bytes[i], (uint8_t)(i * 7));
	n_good++;
}

static void boot(unsigned int memory_flags, const struct fake_driver_cfg *cfg)
{
	const struct fake_guest_cfg guest = {
		.n_pages = 2048, .memory_flags = memory_flags, .ops = &ops, .max_rounds = 100
	};
	struct guest_region region = { .bytes = 2048 * VMBUS_PAGE_BYTES };

	memset(&host, 0, sizeof(host));
	n_good = 0;
	assert_int_equal(fake_guest_init(&host.guest, &guest), 0);
	region.host = host.guest.memory.ram;
	assert_int_equal(guest_memory_add(&host.memory, &region), 0);
	host.gpadls = vmbus_gpadls_create(&host.memory);
	assert_int_equal(fake_guest_connect(&host.guest), 0);
	assert_int_equal(host.guest.version, VMBUS_VERSION_RS5);
	assert_int_equal(fake_guest_request_offers(&host.guest), 0);
	fake_driver_init(&host.driver, &host.guest, 0, cfg);
	assert_int_equal(fake_driver_start(&host.driver), 0);
	assert_int_equal(host.driver.nvsp_version, NVSP_VERSION_5);
}

static void shut_down(void)
{
	fake_driver_fini(&host.driver);
	fake_guest_fini(&host.guest);
	for (uint32_t i = 0; i < MAX_HOST_GPADLS; i++)
		free(host.live[i]);
	vmbus_gpadls_destroy(host.gpadls);
}

// Frames of all sizes in all forms come back as they were.
static void frames_of_every_form(unsigned int memory_flags, bool polls)
{
	static const struct fake_cut odd[] = { { 1, 4095 }, { 7, 0 }, { 40, 4090 }, { 100, 3 } };
	static const struct fake_tx forms[] = {
		{ .form = FAKE_SECTION }, { .form = FAKE_PAGES },
		{ .form = FAKE_PAGES, .cuts = odd, .n_cuts = 4 },
		{ .form = FAKE_PARTIAL, .in_section = 44 },
		{ .form = FAKE_PARTIAL, .in_section = 61, .cuts = odd, .n_cuts = 4 },
		{ .form = FAKE_SECTION, .silent = true },
	};
	const struct fake_driver_cfg cfg = { .receive = receive, .polls = polls };
	uint8_t frame[1514];
	uint32_t n = 0, n_pages;

	boot(memory_flags, &cfg);
	n_pages = host.guest.memory.n_used;
	for (uint32_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7);
	for (uint32_t bytes = 60; bytes <= sizeof(frame); bytes += 61) {
		for (uint32_t i = 0; i < ARRAY_SIZE(forms); i++) {
			const struct fake_packet packets[3] = { { frame, bytes, 0, 0, 0, 0, 0 },
								{ frame, 60, 15, 1, 2, 3, 4 },
								{ frame, bytes, 4, 1, 2, 3, 4 } };
			struct fake_tx tx = forms[i];

			tx.packets = packets;
			tx.n = 1 + i % 3;
			n += tx.n;
			assert_int_equal(fake_driver_put(&host.driver, &tx), 0);
			if (i & 1)
				assert_int_equal(fake_driver_flush(&host.driver), 0);
		}
	}
	assert_int_equal(fake_driver_flush(&host.driver), 0);
	host_pump(NULL);
	fake_driver_poll(&host.driver);
	assert_int_equal(n_good, n);
	assert_int_equal(host.n_echoed, n);
	assert_int_equal(host.guest.memory.n_used, n_pages); // every page came back
	assert_null(fake_guest_complaint(&host.guest));
	assert_int_equal(fake_driver_stop(&host.driver), 0);
	shut_down();
}

static void frames_come_back(void **state) { frames_of_every_form(0, false); }
static void frames_come_back_polled(void **state) { frames_of_every_form(0, true); }
static void frames_from_scattered_pages(void **state)
{
	frames_of_every_form(FAKE_MEMORY_SCATTERED, false);
}

static bool has_some(void *arg) { return n_good > 0; }

static void one_frame(void)
{
	uint8_t frame[100];

	for (uint32_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7);
	assert_int_equal(fake_driver_send(&host.driver, frame, sizeof(frame)), 0);
	fake_driver_wait(&host.driver, has_some, NULL);
}

static void lies_are_noticed(void **state)
{
	static const struct {
		enum lie lie;
		const char *complaint;
	} lies[] = { { TRUTH, NULL },
		     { SECTION_TWICE, "not acknowledged yet" },
		     { WRONG_SET, "make no sense" },
		     { OUTSIDE, "make no sense" },
		     { UNKNOWN_ID, "was not sent" } };
	const struct fake_driver_cfg cfg = { .receive = receive, .ack = FAKE_ACK_HOLD };

	for (uint32_t i = 0; i < ARRAY_SIZE(lies); i++) {
		boot(0, &cfg);
		host.lie = lies[i].lie;
		one_frame();
		if (!lies[i].complaint)
			assert_null(fake_guest_complaint(&host.guest));
		else
			assert_non_null(strstr(host.guest.complaint, lies[i].complaint));
		shut_down();
	}
}

// A sleeping driver sees nothing before the bell rings.
static void lost_bells_are_noticed(void **state)
{
	const struct fake_driver_cfg cfg = { .receive = receive };

	boot(0, &cfg);
	host.lie = NO_BELL;
	one_frame();
	assert_int_equal(n_good, 0);
	host.lie = TRUTH;
	host.n_bells = 0;
	one_frame(); // finds the ring not empty: no bell for this one either
	assert_int_equal(n_good, 0);
	shut_down();
}

// A driver that found the ring full sleeps until the host has read enough.
static void senders_sleep(void **state)
{
	const struct fake_driver_cfg cfg = { .rings = { .out_pages = 2 }, .receive = receive };
	uint8_t frame[60];

	boot(0, &cfg);
	for (uint32_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(fake_driver_send(&host.driver, frame, sizeof(frame)), 0);
	assert_int_equal(fake_driver_flush(&host.driver), 0);
	host.mute = true;
	host.lie = NO_BELL;
	for (uint32_t i = 0; i < 500; i++)
		if (fake_driver_send(&host.driver, frame, sizeof(frame)) == -ETIMEDOUT)
			break;
	host.mute = false; // reads all of it, but does not ring
	assert_int_equal(fake_driver_flush(&host.driver), -ETIMEDOUT);
	shut_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_back),
		cmocka_unit_test(frames_come_back_polled),
		cmocka_unit_test(frames_from_scattered_pages),
		cmocka_unit_test(lies_are_noticed),
		cmocka_unit_test(lost_bells_are_noticed),
		cmocka_unit_test(senders_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
