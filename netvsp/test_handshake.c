// SPDX-License-Identifier: Apache-2.0
// Handshakes: versions, and what the drivers of Linux, DPDK, UEFI and Windows say and check.
#include "netvsp/test_control_rig.h"

#define LE(v) cpu_to_le32(v)

static void send_words(uint32_t type, uint32_t a, uint32_t b)
{
	struct nvsp_init words = { LE(type), LE(a), LE(b) };

	rig_nvsp(&words, sizeof(words));
}

// --- versions ----------------------------------------------------------------------------------

static void negotiates_versions(void **state)
{
	static const struct {
		const char *name;
		uint32_t min, max, limit;
		uint32_t status;
		uint32_t bytes, deprecated;
	} cases[] = {
		{ "1", 2, 2, 0, NVSP_STATUS_SUCCESS, 32, 2 },
		{ "2", 0x30002, 0x30002, 0, NVSP_STATUS_SUCCESS, 32, 0xffffffff },
		{ "4", 0x40000, 0x40000, 0, NVSP_STATUS_SUCCESS, 32, 0xffffffff },
		{ "5", 0x50000, 0x50000, 0, NVSP_STATUS_SUCCESS, 32, 0xffffffff },
		{ "6", 0x60000, 0x60000, 0, NVSP_STATUS_SUCCESS, 32, 0xffffffff },
		{ "6.1", 0x60001, 0x60001, 0, NVSP_STATUS_SUCCESS, 40, 0xffffffff },
		{ "range", 2, 0x50000, 0, NVSP_STATUS_SUCCESS, 32, 0xffffffff },
		{ "too new", 0x70000, 0x70000, 0, NVSP_STATUS_TOO_NEW, 40, 0xffffffff },
		{ "too old", 1, 1, 0, NVSP_STATUS_TOO_OLD, 40, 0xffffffff },
		{ "3", 0x30003, 0x30003, 0, NVSP_STATUS_FAILURE, 40, 0xffffffff },
		{ "upside down", 0x60000, 0x50000, 0, NVSP_STATUS_FAILURE, 40, 0xffffffff },
		{ "over limit", 0x60001, 0x60001, 0x50000, NVSP_STATUS_TOO_NEW, 40, 0xffffffff },
		{ "at limit", 0x50000, 0x50000, 0x50000, NVSP_STATUS_SUCCESS, 32, 0xffffffff },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s\n", cases[i].name);
		rig.config.max_version = cases[i].limit;
		rig_open();
		send_words(NVSP_INIT, cases[i].min, cases[i].max);
		assert_int_equal(rig_completion(0), NVSP_INIT_COMPLETE);
		assert_int_equal(rig_completion(4), cases[i].deprecated);
		assert_int_equal(rig_completion(8), 34);
		assert_int_equal(rig_completion(12), cases[i].status);
		assert_int_equal(rig.answer.completion_bytes, cases[i].bytes);
		for (uint32_t at = 16; at < cases[i].bytes; at += 4)
			assert_int_equal(rig_completion(at), 0);
		assert_int_equal(rig.control.agreed.phase,
				 cases[i].status == NVSP_STATUS_SUCCESS ? VMBUS_STATE_VERSION :
									  VMBUS_STATE_NOTHING);
	}
}

// A guest goes down the list until it is served.
static void falls_back(void **state)
{
	rig.config.max_version = NVSP_VERSION_5;
	rig_open();
	send_words(NVSP_INIT, NVSP_VERSION_6_1, NVSP_VERSION_6_1);
	send_words(NVSP_INIT, NVSP_VERSION_6, NVSP_VERSION_6);
	assert_int_equal(rig.control.counters.n_refused, 2);
	rig_handshake(NVSP_VERSION_5);
}

// --- handshakes of guests ----------------------------------------------------------------------

static void serves_linux(void **state)
{
	struct nvsp_buffer buffer = { LE(NVSP_SEND_RECV_BUF), LE(RIG_RECEIVE_GPADL),
				      cpu_to_le16(RIG_RECEIVE_ID) };

	rig_init(NVSP_VERSION_6_1);
	assert_int_equal(rig.answer.completion_bytes, 40);
	rig_ndis(NDIS_VERSION_6_30);
	// What Linux checks of the receive buffer: one area at 0, sections that fit into it.
	rig_nvsp(&buffer, sizeof(buffer));
	assert_int_equal(rig.answer.completion_bytes, 40);
	assert_int_equal(rig_completion(8), 1);
	assert_int_equal(rig_completion(12), 0);
	assert_int_equal(rig_completion(16), 1856); // 256 + 1514 + 36 in 64s
	assert_int_equal(rig_completion(20), RIG_RECEIVE_BYTES / 1856);
	assert_int_equal(rig_completion(24), RIG_RECEIVE_BYTES / 1856 * 1856);
	buffer = (struct nvsp_buffer){ LE(NVSP_SEND_SEND_BUF), LE(RIG_SEND_GPADL),
				       cpu_to_le16(0) };
	rig_nvsp(&buffer, sizeof(buffer));
	assert_int_equal(rig_completion(8), 6144);
	assert_int_equal(rig.control.agreed.send.n_sections, 170);
	rig_initialize();
	assert_int_equal(rig.answer.message_bytes, 52);
	assert_int_equal(rig_message(16), 1);          // version 1.0
	assert_int_equal(rig_message(20), 0);
	assert_int_equal(rig_message(24), 1);          // connectionless
	assert_int_equal(rig_message(28), 0);          // 802.3
	assert_int_equal(rig_message(32), 8);          // packets in a message
	assert_int_equal(rig_message(36), 0xefffffff); // bytes of one
	assert_int_equal(rig_message(40), 3);          // at multiples of 8
	assert_int_equal(rig_query_u32(NDIS_OID_GEN_MAXIMUM_FRAME_SIZE), 1500);
	assert_int_equal(rig_query(NDIS_OID_802_3_PERMANENT_ADDRESS, NULL, 0), 0);
	assert_memory_equal(rig_value(), &rig.config.mac, 6);
	assert_int_equal(rig_query(NDIS_OID_GEN_FRIENDLY_NAME, NULL, 0), 0);
	assert_int_equal(rig_value_bytes(), 512);
	assert_memory_equal(rig_value(), "w\0e\0b\0000\0\0", 10);
	assert_int_equal(rig_query_u32(NDIS_OID_GEN_MEDIA_CONNECT_STATUS), 0);
	assert_int_equal(rig_query_u32(NDIS_OID_GEN_LINK_SPEED), RIG_SPEED / 100);
	assert_int_equal(rig_query(NDIS_OID_GEN_RECEIVE_SCALE_CAPABILITIES, NULL, 0), 0);
	rig_subchannels(3);
	assert_int_equal(rig_set_rss(NDIS_RSS_DISABLE, 0, NULL, 0), RNDIS_STATUS_SUCCESS);
	assert_int_equal(rig_set_rss(0, 0x1701, (uint32_t[]){ 0, 1, 2, 3 }, 4), 0);
	assert_int_equal(rig_set(NDIS_OID_GEN_CURRENT_PACKET_FILTER, &(uint32_t){ 0x0d }, 4), 0);
	assert_int_equal(rig.control.agreed.packet_filter, 0x0d);
}

// Its requests have transaction 0 and want a completion all the same.
static void serves_dpdk(void **state)
{
	struct nvsp_init init = { LE(NVSP_INIT), LE(NVSP_VERSION_6_1), LE(NVSP_VERSION_6_1) };

	rig.request.transaction = UINT64_MAX; // the next is 0
	rig_nvsp(&init, sizeof(init));
	assert_int_equal(rig.answer.transaction, 0);
	assert_true(rig.answer.completes);
	rig_ndis(NDIS_VERSION_6_30);
	rig_buffers();
	rig_initialize();
	assert_int_equal(rig_set(NDIS_OID_GEN_CURRENT_PACKET_FILTER, &(uint32_t){ 0 }, 4), 0);
	// All answers fit in its 256 bytes.
	assert_int_equal(rig_query(NDIS_OID_802_3_PERMANENT_ADDRESS, NULL, 0), 0);
	assert_int_equal(rig_query(NDIS_OID_GEN_RECEIVE_SCALE_CAPABILITIES, NULL, 0), 0);
	assert_int_equal(rig_value_bytes(), 18);
	assert_int_equal(rig_query(NDIS_OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, NULL, 0), 0);
	assert_true(rig.answer.message_bytes <= 256);
	rig_subchannels(1);
	assert_int_equal(rig_set_rss(NDIS_RSS_DISABLE, 0, NULL, 0), 0);
	assert_int_equal(rig_set_rss(0, 0x1701, (uint32_t[]){ 0, 1 }, 2), 0);
	assert_int_equal(rig_set(NDIS_OID_GEN_CURRENT_PACKET_FILTER, &(uint32_t){ 0x0d }, 4), 0);
}

// Asks for completions where there is nothing to say, and has no send buffer.
static void serves_uefi(void **state)
{
	struct nvsp_ndis_config config = { .type = LE(NVSP_SEND_NDIS_CONFIG), .mtu = LE(1514) };
	struct nvsp_ndis_version ndis = { LE(NVSP_SEND_NDIS_VERSION), LE(6), LE(1) };
	struct nvsp_buffer buffer = { LE(NVSP_SEND_RECV_BUF), LE(RIG_RECEIVE_GPADL),
				      cpu_to_le16(RIG_RECEIVE_ID) };

	rig_init(NVSP_VERSION_4);
	rig_nvsp(&config, sizeof(config));
	assert_true(rig.answer.completes);
	assert_int_equal(rig.answer.completion_bytes, 0);
	rig_nvsp(&ndis, sizeof(ndis));
	assert_true(rig.answer.completes);
	assert_int_equal(rig.answer.completion_bytes, 0);
	rig_nvsp(&buffer, sizeof(buffer));
	assert_int_equal(rig.answer.completion_bytes, 32);
	rig_initialize();
	assert_int_equal(rig.control.agreed.send.n_sections, 0);
}

static void serves_windows(void **state)
{
	rig_handshake(NVSP_VERSION_6_1);
	assert_int_equal(rig_query(NDIS_OID_GEN_SUPPORTED_LIST, NULL, 0), 0);
	for (uint32_t at = 0; at < rig_value_bytes(); at += 4)
		assert_true(load_u32(rig_value() + at) != 0);
	assert_int_equal(rig_query(NDIS_OID_TCP_OFFLOAD_CURRENT_CONFIG, NULL, 0), 0);
	assert_int_equal(rig_query(NDIS_OID_OFFLOAD_ENCAPSULATION, NULL, 0), 0);
	assert_int_equal(rig_query(NDIS_OID_GEN_LINK_STATE, NULL, 0), 0);
	assert_int_equal(rig_query(NDIS_OID_GEN_MAX_LINK_SPEED, NULL, 0), 0);
	assert_int_equal(rig_set(NDIS_OID_GEN_NETWORK_LAYER_ADDRESSES, "addresses", 9), 0);
	assert_int_equal(rig_set(NDIS_OID_GEN_CURRENT_PACKET_FILTER, &(uint32_t){ 0x0b }, 4), 0);
}

// The oldest protocol says nothing of its MTU.
static void serves_version_1(void **state)
{
	rig_handshake(NVSP_VERSION_1);
	assert_int_equal(rig.control.agreed.mtu, 1514);
	assert_int_equal(rig.control.agreed.receive.section_bytes, 1856);
}

// --- the end -----------------------------------------------------------------------------------

static void opens_again(void **state)
{
	rig_handshake(NVSP_VERSION_6_1);
	rig_subchannels(3);
	assert_int_equal(rig_set_rss(0, 0x1701, (uint32_t[]){ 0, 3 }, 2), RNDIS_STATUS_SUCCESS);
	netvsp_control_reset(&rig.control);
	assert_int_equal(rig.control.agreed.phase, VMBUS_STATE_NOTHING);
	assert_int_equal(rig.control.agreed.receive.n_sections, 0);
	assert_int_equal(rig.control.agreed.n_subchannels, 0);
	assert_int_equal(rig.control.agreed.rss.hash, 0);
	assert_int_equal(rig.control.answer_serial, 0);
	assert_true(rig.control.counters.n_requests > 0);
	netvsp_control_set_open(&rig.control, 1);
	rig_handshake(NVSP_VERSION_5); // a driver may also be older than the one before
	rig_subchannels(3);
}

// A driver may halt, give its buffers back, and begin anew without closing the channel.
static void begins_again_after_halt(void **state)
{
	struct nvsp_revoke revoke = { LE(NVSP_REVOKE_RECV_BUF), cpu_to_le16(RIG_RECEIVE_ID) };
	struct rndis_request halt = { { LE(RNDIS_HALT), LE(12) }, LE(0) };

	rig_handshake(NVSP_VERSION_6_1);
	rig_rndis(&halt, sizeof(halt));
	rig_nvsp(&revoke, sizeof(revoke));
	revoke.type = LE(NVSP_REVOKE_SEND_BUF);
	rig_nvsp(&revoke, sizeof(revoke));
	rig_buffers();
	rig_initialize();
	assert_int_equal(rig_query_u32(NDIS_OID_GEN_VENDOR_ID), 0x155d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(negotiates_versions, rig_set_up),
		cmocka_unit_test_setup(falls_back, rig_set_up),
		cmocka_unit_test_setup(serves_linux, rig_set_up),
		cmocka_unit_test_setup(serves_dpdk, rig_set_up),
		cmocka_unit_test_setup(serves_uefi, rig_set_up),
		cmocka_unit_test_setup(serves_windows, rig_set_up),
		cmocka_unit_test_setup(serves_version_1, rig_set_up),
		cmocka_unit_test_setup(opens_again, rig_set_up),
		cmocka_unit_test_setup(begins_again_after_halt, rig_set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
