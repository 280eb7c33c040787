// SPDX-License-Identifier: Apache-2.0
// Control messages through the mailbox: a request waits in the ring for its answer, an answer and
// its request are one batch, notices are said when there is room for them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <cmocka.h>

#include "netvsp/nvsp.h"
#include "netvsp/test_rig.h"

static struct rig rig;
static struct rte_mbuf *got[PORT_BATCH];
static uint8_t message[8192], data[5000];

static int set_up(void **state)
{
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = test_payload(i);
	return 0;
}

static void begin(struct rig_cfg cfg) { rig_create(&rig, &cfg); }

static void end(void) { rig_destroy(&rig); }

static uint16_t receive(void) { return netvsp_channel_receive(rig.channel, got, PORT_BATCH); }

static uint32_t rndis(uint8_t *to, uint32_t bytes)
{
	const struct rig_frame frame = { .data = data, .bytes = bytes };

	return rig_rndis(to, &frame);
}

static void must_complete(uint64_t id)
{
	struct rig_packet packet;

	assert_true(rig_read(&rig, &packet));
	assert_int_equal(packet.type, VMBUS_PACKET_COMPLETION);
	assert_int_equal(packet.id, id);
	assert_int_equal(packet.status, NVSP_STATUS_SUCCESS);
}

static void must_be_asked(const uint8_t *nvsp)
{
	const struct netvsp_request *request = &rig.mailbox.request;
	eventfd_t n;

	assert_int_equal(rig.mailbox.state, NETVSP_MAIL_REQUESTED);
	assert_int_equal(eventfd_read(rig.mailbox.fd, &n), 0);
	assert_int_equal(request->transaction, 0);
	assert_true(request->wants_completion);
	assert_int_equal(request->nvsp_bytes, NVSP_MESSAGE_BYTES);
	assert_int_equal(request->rndis_bytes, 0);
	assert_memory_equal(request->nvsp, nvsp, NVSP_MESSAGE_BYTES);
}

static void a_request_waits_for_its_answer(void **state)
{
	uint8_t nvsp[NVSP_MESSAGE_BYTES] = { NVSP_INIT };
	const struct vmbus_packet_out request = {
		.type = VMBUS_PACKET_INBAND, .wants_completion = true, .transaction = 0,
		.payload = nvsp, .payload_bytes = sizeof(nvsp),
	};
	uint32_t bytes = rndis(message, 60);
	struct test_frame f = { .payload_bytes = 18 };
	struct rig_packet packet;
	struct rte_mbuf *m;
	enum drop why;

	begin((struct rig_cfg){ .primary = true });
	rig_fill_section(&rig, 0, 0, message, bytes);
	rig_send(&rig, 1, 0, bytes, NULL, 0);
	rig_put(&rig, &request);
	rig_send(&rig, 2, 0, bytes, NULL, 0);
	rig_kick(&rig);
	assert_int_equal(receive(), 1); // what stands before it
	rte_pktmbuf_free(got[0]);
	must_complete(1);
	must_be_asked(nvsp);
	assert_int_equal(receive(), 0);
	assert_false(netvsp_channel_arm(rig.channel, true)); // control will wake us
	m = test_frame_build(rig.pools.small, &f);
	assert_int_equal(netvsp_channel_transmit(rig.channel, &m, 1, &why), 1); // meanwhile
	assert_true(rig_read(&rig, &packet));
	rig.mailbox.answer = (struct netvsp_answer){
		.serial = 7, .completes = true, .completion_bytes = 40, .message_bytes = 52
	};
	rig.mailbox.answer.completion[0] = NVSP_INIT_COMPLETE;
	memset(rig.mailbox.answer.message, 0x3c, 52);
	rig.mailbox.state = NETVSP_MAIL_ANSWERED;
	assert_true(netvsp_channel_arm(rig.channel, true));
	assert_int_equal(receive(), 1); // and what stands behind it
	rte_pktmbuf_free(got[0]);
	assert_int_equal(rig.mailbox.state, NETVSP_MAIL_EMPTY);
	assert_int_equal(netvsp_channel_answered(rig.channel), 7);
	assert_true(rig_read(&rig, &packet));
	assert_int_equal(packet.type, VMBUS_PACKET_COMPLETION);
	assert_int_equal(packet.id, 0);
	assert_int_equal(packet.nvsp_type, NVSP_INIT_COMPLETE);
	assert_true(rig_read(&rig, &packet));
	assert_int_equal(packet.channel_type, NVSP_CHANNEL_CONTROL);
	assert_true(packet.id < 16); // a section kept for it
	assert_int_equal(rig_read_section(&rig, &packet, 0, message), 52);
	assert_int_equal(message[51], 0x3c);
	must_complete(2);
	rig_ack(&rig, packet.id);
	rig_kick(&rig);
	receive();
	assert_int_equal(rig.counters.bad_acks, 0);
	end();
}

static void an_rndis_request_is_gathered(void **state)
{
	struct nvsp_rndis_packet nvsp = {
		cpu_to_le32(NVSP_RNDIS_PACKET), cpu_to_le32(NVSP_CHANNEL_CONTROL),
		cpu_to_le32(2), cpu_to_le32(100),
	};
	const struct vmbus_packet_out request = {
		.type = VMBUS_PACKET_INBAND, .transaction = 9, .payload = &nvsp,
		.payload_bytes = sizeof(nvsp),
	};
	struct rig_packet packet;

	begin((struct rig_cfg){ .primary = true, .scattered = true });
	rig_fill_section(&rig, 2, 0, data, 5000);
	rig_put(&rig, &request);
	rig_kick(&rig);
	assert_int_equal(receive(), 0);
	assert_int_equal(rig.mailbox.state, NETVSP_MAIL_REQUESTED);
	assert_int_equal(rig.mailbox.request.rndis_bytes, 100);
	assert_memory_equal(rig.mailbox.request.rndis, data, 100);
	// An answer that says nothing consumes the request all the same.
	rig.mailbox.answer = (struct netvsp_answer){ .serial = 1 };
	rig.mailbox.state = NETVSP_MAIL_ANSWERED;
	nvsp.section_bytes = cpu_to_le32(4097); // more than any request has
	rig_put(&rig, &request);
	rig_kick(&rig);
	assert_int_equal(receive(), 0);
	assert_false(rig_read(&rig, &packet));
	assert_int_equal(rig.mailbox.state, NETVSP_MAIL_REQUESTED);
	assert_int_equal(rig.mailbox.request.rndis_bytes, 0);
	end();
}

static void notices_are_said(void **state)
{
	struct rig_packet packet;

	begin((struct rig_cfg){ .primary = true });
	rig.mailbox.notice = (struct netvsp_notice){ .bytes = 12, .data = { 128 } };
	rig.mailbox.notice_posted = 1;
	assert_true(netvsp_channel_arm(rig.channel, true));
	assert_int_equal(receive(), 0);
	assert_int_equal(rig.mailbox.notice_posted, 0);
	assert_true(rig_read(&rig, &packet));
	assert_int_equal(packet.type, VMBUS_PACKET_INBAND);
	assert_int_equal(packet.nvsp_type, 128);
	for (uint32_t i = 0; i < 64; i++) {
		rig.mailbox.notice = (struct netvsp_notice){ true, 20, { 7 } };
		rig.mailbox.notice_posted = 1;
		receive();
		assert_int_equal(rig.mailbox.notice_posted, 0);
		assert_true(rig_read(&rig, &packet));
		assert_int_equal(packet.channel_type, NVSP_CHANNEL_CONTROL);
	}
	// All sections are the guest's now; the last one it gives back is for the notice.
	rig.mailbox.notice_posted = 1;
	receive();
	assert_int_equal(rig.mailbox.notice_posted, 1);
	assert_false(netvsp_channel_arm(rig.channel, true)); // nothing to do but wait
	netvsp_channel_arm(rig.channel, false);
	rig_ack(&rig, packet.id);
	rig_kick(&rig);
	receive();
	receive();
	assert_int_equal(rig.mailbox.notice_posted, 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_waits_for_its_answer),
		cmocka_unit_test(an_rndis_request_is_gathered),
		cmocka_unit_test(notices_are_said),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
