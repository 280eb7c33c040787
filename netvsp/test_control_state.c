// SPDX-License-Identifier: Apache-2.0
// The control machine through the state memory and back, and what a lying VMM may try.
#include <errno.h>

#include "netvsp/test_control_rig.h"

static struct vmbus_state_record record;
static struct netvsp_answer answer; // decoded
static struct netvsp_control next;  // into which it was decoded
static struct err err;

// rig.control → record → next.
static int pass_on(void)
{
	memset(&record, 0xee, sizeof(record));
	netvsp_control_encode(&rig.control, rig.control.answer_serial ? &rig.answer : NULL,
			      &record);
	netvsp_control_init(&next, &rig.config);
	return netvsp_control_decode(&next, &record, &answer, &err);
}

static void expect_same_agreed(void)
{
	const struct netvsp_agreed *a = &rig.control.agreed, *b = &next.agreed;

	assert_int_equal(a->phase, b->phase);
	assert_int_equal(a->nvsp_version, b->nvsp_version);
	assert_int_equal(a->ndis_version, b->ndis_version);
	assert_int_equal(a->mtu, b->mtu);
	assert_int_equal(a->capabilities, b->capabilities);
	assert_memory_equal(&a->receive, &b->receive, sizeof(a->receive));
	assert_memory_equal(&a->send, &b->send, sizeof(a->send));
	assert_int_equal(a->packet_filter, b->packet_filter);
	assert_int_equal(a->n_subchannels, b->n_subchannels);
	assert_int_equal(a->offloads, b->offloads);
	assert_memory_equal(&a->rss, &b->rss, sizeof(a->rss));
}

// The machine and the last answer are the same on the other side, and so is their record.
static void expect_passed_on(void)
{
	static struct vmbus_state_record again;

	assert_int_equal(pass_on(), 0);
	expect_same_agreed();
	assert_int_equal(next.answer_serial, rig.control.answer_serial);
	assert_int_equal(answer.serial, rig.control.answer_serial);
	if (answer.serial) {
		assert_int_equal(answer.transaction, rig.answer.transaction);
		assert_int_equal(answer.completes, rig.answer.completes);
		assert_int_equal(answer.completion_bytes, rig.answer.completion_bytes);
		assert_memory_equal(answer.completion, rig.answer.completion,
				    rig.answer.completion_bytes);
		assert_int_equal(answer.message_bytes, rig.answer.message_bytes);
		assert_memory_equal(answer.message, rig.answer.message, rig.answer.message_bytes);
	}
	again.serial = record.serial;
	netvsp_control_encode(&next, &answer, &again);
	assert_memory_equal(&again, &record, sizeof(record));
}

// After each step of a driver's life.
static void passes_on_every_phase(void **state)
{
	static const uint32_t versions[] = { NVSP_VERSION_1, NVSP_VERSION_4, NVSP_VERSION_6_1 };
	struct rndis_request halt = { { cpu_to_le32(RNDIS_HALT), cpu_to_le32(12) }, 0 };
	struct nvsp_revoke revoke = { cpu_to_le32(NVSP_REVOKE_RECV_BUF), cpu_to_le16(1) };

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		rig_open();
		expect_passed_on();
		rig_init(versions[i]);
		expect_passed_on(); // a completion
		rig_ndis(NDIS_VERSION_6_30);
		expect_passed_on(); // no answer at all
		rig_buffers();
		expect_passed_on();
		rig_initialize();
		expect_passed_on(); // a message and a completion
		rig_set(NDIS_OID_GEN_CURRENT_PACKET_FILTER, &(uint32_t){ 0x0d }, 4);
		expect_passed_on();
		rig_query(NDIS_OID_GEN_SUPPORTED_LIST, NULL, 0);
		expect_passed_on();
		rig_set_rss(0, 0x1701, (uint32_t[]){ 0 }, 1);
		expect_passed_on();
		if (versions[i] >= NVSP_VERSION_5) {
			rig_subchannels(3);
			expect_passed_on();
			rig_set_rss(0, 0x1701, (uint32_t[]){ 3, 2, 1, 0 }, 4);
			expect_passed_on();
		}
		rig_rndis(&halt, sizeof(halt));
		expect_passed_on();
		rig_nvsp(&revoke, sizeof(revoke));
		expect_passed_on(); // an empty completion
	}
}

// A message whose packet asked for no completion.
static void passes_on_a_message_alone(void **state)
{
	rig_handshake(NVSP_VERSION_6_1);
	rig.request.wants_completion = false;
	netvsp_control_handle(&rig.control, &rig.request, &rig.answer);
	assert_int_equal(rig.answer.message_bytes, 52);
	assert_false(rig.answer.completes);
	memset(rig.answer.message + 52, 0, 100);
	expect_passed_on();
}

// The other side knows what was said, and says the rest.
static void passes_on_what_was_told(void **state)
{
	struct netvsp_notice notice;

	rig_handshake(NVSP_VERSION_6_1);
	rig_subchannels(2);
	assert_true(rig_notice(1)); // the table
	netvsp_control_told(&rig.control);
	netvsp_vf_offer(&rig.control.vf, 7);
	assert_true(rig_notice(1));
	netvsp_control_told(&rig.control);
	assert_true(netvsp_vf_switch(&rig.control.vf, NVSP_PATH_VF));
	netvsp_control_set_link(&rig.control, false, RIG_SPEED);
	assert_true(rig_notice(1));
	netvsp_control_told(&rig.control);
	expect_passed_on();
	netvsp_control_set_open(&next, 7);
	netvsp_vf_offer(&next.vf, 7); // the serial is used again
	assert_true(next.vf.switched);
	assert_int_equal(netvsp_vf_state(&next.vf), NETVSP_VF_SWITCHED);
	// The link is up there, and that is all there is to say.
	assert_true(netvsp_control_notice(&next, 1, &notice));
	assert_int_equal(load_u32(notice.data + 8), RNDIS_INDICATE_MEDIA_CONNECT);
	netvsp_control_told(&next);
	assert_false(netvsp_control_notice(&next, 1, &notice));
	// A host without that VF takes it back first.
	assert_int_equal(pass_on(), 0);
	assert_int_equal(netvsp_vf_state(&next.vf), NETVSP_VF_RESTORING);
	assert_true(netvsp_control_notice(&next, 1, &notice));
	assert_int_equal(load_u32(notice.data), NVSP_SEND_VF_ASSOCIATION);
	assert_int_equal(load_u32(notice.data + 4), 0);
	assert_int_equal(load_u32(notice.data + 8), 7);
}

// Tables of sub-channels that did not come back.
static void tells_a_reduced_table(void **state)
{
	struct netvsp_notice notice;

	rig_handshake(NVSP_VERSION_6_1);
	rig_subchannels(3);
	assert_true(rig_notice(1));
	netvsp_control_told(&rig.control);
	assert_int_equal(pass_on(), 0);
	netvsp_control_set_open(&next, 3);
	assert_true(netvsp_control_notice(&next, 1, &notice));
	assert_int_equal(load_u32(notice.data), NVSP_SEND_INDIRECTION_TABLE);
	assert_int_equal(load_u32(notice.data + 12 + 4 * 3), 1);
}

// An old answer stays in the record when its place is gone.
static void drops_a_message_without_a_place(void **state)
{
	rig_handshake(NVSP_VERSION_6_1);
	netvsp_control_forget_gpadl(&rig.control, RIG_RECEIVE_GPADL);
	assert_int_equal(pass_on(), 0);
	assert_int_equal(answer.message_bytes, 0);
	assert_true(answer.completes);
	assert_int_equal(next.agreed.receive.n_sections, 0);
}

static void says_offloads_again(void **state)
{
	uint8_t on[28] = { 0x80, 3, 28, 0, 4 };
	struct netvsp_notice notice;

	rig_handshake(NVSP_VERSION_6_1);
	rig_set(NDIS_OID_TCP_OFFLOAD_PARAMETERS, on, sizeof(on));
	expect_passed_on();
	assert_true(netvsp_control_notice(&next, 1, &notice));
	assert_int_equal(load_u32(notice.data + 8), RNDIS_INDICATE_OFFLOAD_CONFIG);
}

// --- lies --------------------------------------------------------------------------------------

#define AT(member) offsetof(struct vmbus_state_record, member)

// What is changed in a good record, and what the sentence then names.
static const struct {
	const char *name;
	size_t at, bytes;
	uint64_t value;
} lies[] = {
	{ "phase", AT(phase), 4, 5 },
	{ "NVSP version", AT(phase), 4, 0 },
	{ "NVSP version", AT(nvsp_version), 4, 0 },
	{ "NVSP version", AT(nvsp_version), 4, 0x60002 },
	{ "phase", AT(ndis_version), 4, 0 },
	{ "address 020103000203", AT(mac), 4, 0x030102 },
	{ "MTU", AT(mtu), 4, 1513 },
	{ "MTU", AT(mtu), 4, 9217 },
	{ "phase", AT(mtu), 4, 0 },
	{ "section size", AT(mtu), 4, 9014 },
	{ "number of sections", AT(receive.gpadl), 4, 77 },
	{ "buffer's id", AT(receive.id), 4, 0x10000 },
	{ "section size", AT(receive.section_bytes), 4, 0 },
	{ "section size", AT(receive.section_bytes), 4, 1857 },
	{ "number of sections", AT(receive.n_sections), 4, RIG_RECEIVE_BYTES / 1856 + 1 },
	{ "number of sections", AT(receive.n_sections), 4, 0xffffffff },
	{ "number of sections", AT(receive.n_sections), 4, 1u << 26 }, // × 1856 is 0 in 32 bits
	{ "number of receive sections", AT(receive.n_sections), 4, 31 },
	{ "number of sections", AT(send.gpadl), 4, 77 },
	{ "buffer's id", AT(send.id), 4, 0x10000 },
	{ "section size", AT(send.section_bytes), 4, 6145 },
	{ "number of sections", AT(send.n_sections), 4, 171 },
	{ "number of sub-channels", AT(n_subchannels), 4, 64 },
	{ "number of sub-channels", AT(n_subchannels), 4, 0xffffffff },
	{ "link told", AT(link_told), 4, 2 },
	{ "data path", AT(data_path), 4, 2 },
	{ "offloads", AT(offloads), 1, 0 },
	{ "offloads", AT(offloads), 1, 5 },
	{ "offloads", AT(offloads) + 5, 1, 1 },
	{ "offloads", AT(offloads) + 7, 1, 3 },
	{ "offloads", AT(offloads) + 11, 1, 1 },
	{ "RSS hash info", AT(rss_hash_info), 4, 0x1702 },
	{ "RSS hash info", AT(n_rss_entries), 4, 0 },
	{ "RSS hash info", AT(n_rss_entries), 4, 3 },
	{ "RSS hash info", AT(n_rss_entries), 4, 512 },
	{ "RSS hash info", AT(rss_table) + 1, 1, 4 },
	{ "RSS hash info", AT(rss_table) + 1, 1, 255 },
	{ "RSS hash info", AT(n_subchannels), 4, 2 },
	{ "told", AT(told), 4, 2 },
	{ "kind of answer", AT(answer_kind), 4, 3 },
	{ "bytes of the answer", AT(answer_bytes), 4, 7 },
	{ "bytes of the answer", AT(answer_bytes), 4, 1857 },
	{ "bytes of the answer", AT(answer_bytes), 4, 0xffffffff },
	{ "bytes of the completion", AT(answer_kind), 4, 1 }, // of 52 bytes
};

static void finds_lies(void **state)
{
	rig_handshake(NVSP_VERSION_6_1);
	rig_subchannels(3);
	rig_set_rss(0, 0x1701, (uint32_t[]){ 0, 3 }, 2);
	rig_initialize();
	rig_set_rss(0, 0x1701, (uint32_t[]){ 0, 3 }, 2);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct netvsp_control before;

		print_message("%s\n", lies[i].name);
		rig.answer.message_bytes = 52;
		memset(&record, 0, sizeof(record));
		netvsp_control_encode(&rig.control, &rig.answer, &record);
		memcpy((uint8_t *)&record + lies[i].at, &lies[i].value, lies[i].bytes);
		netvsp_control_init(&next, &rig.config);
		before = next;
		err.text[0] = '\0';
		assert_int_equal(netvsp_control_decode(&next, &record, &answer, &err), -EINVAL);
		if (!strstr(err.text, lies[i].name))
			fail_msg("\"%s\" does not name %s", err.text, lies[i].name);
		assert_memory_equal(&next, &before, sizeof(before));
	}
}

// Fields that say too much for the phase.
static void finds_lies_of_a_closed_one(void **state)
{
	static const struct {
		size_t at;
		uint32_t value;
	} cases[] = { { AT(nvsp_version), 0x60001 },
		      { AT(mtu), 1514 },
		      { AT(ndis_version), NDIS_VERSION_6_30 },
		      { AT(packet_filter), 0xd },
		      { AT(n_subchannels), 1 },
		      { AT(rss_hash_info), 0x1701 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		netvsp_control_encode(&rig.control, NULL, &record);
		record.n_rss_entries = cpu_to_le32(1);
		store_u32((uint8_t *)&record + cases[i].at, cases[i].value);
		netvsp_control_init(&next, &rig.config);
		assert_int_equal(netvsp_control_decode(&next, &record, &answer, &err), -EINVAL);
	}
	netvsp_control_encode(&rig.control, NULL, &record);
	record.send = (struct vmbus_state_buffer){ cpu_to_le32(RIG_SEND_GPADL), 0,
						   cpu_to_le32(6144), cpu_to_le32(1) };
	assert_int_equal(netvsp_control_decode(&next, &record, &answer, &err), -EINVAL);
	record.send = (struct vmbus_state_buffer){};
	record.receive = (struct vmbus_state_buffer){ cpu_to_le32(RIG_RECEIVE_GPADL), 0,
						      cpu_to_le32(netvsp_section_bytes(0)),
						      cpu_to_le32(32) };
	assert_int_equal(netvsp_control_decode(&next, &record, &answer, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(passes_on_every_phase, rig_set_up),
		cmocka_unit_test_setup(passes_on_a_message_alone, rig_set_up),
		cmocka_unit_test_setup(passes_on_what_was_told, rig_set_up),
		cmocka_unit_test_setup(tells_a_reduced_table, rig_set_up),
		cmocka_unit_test_setup(drops_a_message_without_a_place, rig_set_up),
		cmocka_unit_test_setup(says_offloads_again, rig_set_up),
		cmocka_unit_test_setup(finds_lies, rig_set_up),
		cmocka_unit_test_setup(finds_lies_of_a_closed_one, rig_set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
