// SPDX-License-Identifier: Apache-2.0
// NVSP: what is taken when, buffers, sub-channels, data path, and failures of guest and host.
#include "netvsp/test_control_rig.h"

#define LE(v) cpu_to_le32(v)

// --- gates -------------------------------------------------------------------------------------

// How far the guest has come before it sends the message in question.
enum stage { CLOSED, INITED, CONFIGURED, BUFFERED, RUNNING };

static void reach(enum stage stage, uint32_t version)
{
	rig_open();
	if (stage >= INITED)
		rig_init(version);
	if (stage >= CONFIGURED)
		rig_ndis(NDIS_VERSION_6_30);
	if (stage >= BUFFERED)
		rig_buffers();
	if (stage >= RUNNING)
		rig_initialize();
}

static const struct {
	const char *name;
	enum stage stage;
	uint32_t version;
	uint32_t words[3];
	uint32_t type, status_at; // of the answer; 0: an empty completion
} refused[] = {
	{ "version first", CLOSED, 0, { 100, 6, 30 }, 108, 4 },
	{ "config first", CLOSED, 0, { 125, 1514 }, 108, 4 },
	{ "receive buffer first", CLOSED, 0, { 101, RIG_RECEIVE_GPADL, 1 }, 102, 4 },
	{ "send buffer first", CLOSED, 0, { 104, RIG_SEND_GPADL, 1 }, 105, 4 },
	{ "RNDIS first", CLOSED, 0, { 107, 1 }, 108, 4 },
	{ "revoke first", CLOSED, 0, { 103, 1 }, 108, 4 },
	{ "sub-channels first", CLOSED, 0, { 133, 1, 1 }, 133, 4 },
	{ "data path first", CLOSED, 0, { 129, 1 }, 0, 0 },
	{ "init twice", INITED, 0x60001, { 1, 0x60001, 0x60001 }, 2, 12 },
	{ "init when running", RUNNING, 0x60001, { 1, 2, 2 }, 2, 12 },
	{ "buffer before config", INITED, 0x60001, { 101, RIG_RECEIVE_GPADL, 1 }, 102, 4 },
	{ "no config in 1", INITED, 2, { 125, 1514 }, 108, 4 },
	{ "config twice", CONFIGURED, 0x60001, { 125, 9014 }, 108, 4 },
	{ "version twice", CONFIGURED, 0x60001, { 100, 6, 1 }, 108, 4 },
	{ "version 0", INITED, 0x60001, { 100, 0, 1 }, 108, 4 },
	{ "version too big", INITED, 0x60001, { 100, 6, 0x10000 }, 108, 4 },
	{ "no such GPADL", CONFIGURED, 0x60001, { 101, 77, 1 }, 102, 4 },
	{ "no such send GPADL", CONFIGURED, 0x60001, { 104, 77, 1 }, 105, 4 },
	{ "buffer twice", BUFFERED, 0x60001, { 101, RIG_RECEIVE_GPADL, 1 }, 102, 4 },
	{ "send buffer twice", BUFFERED, 0x60001, { 104, RIG_SEND_GPADL, 1 }, 105, 4 },
	{ "buffer when running", RUNNING, 0x60001, { 101, RIG_RECEIVE_GPADL, 1 }, 102, 4 },
	{ "config when running", RUNNING, 0x60001, { 125, 9014 }, 108, 4 },
	{ "frames on control's way", RUNNING, 0x60001, { 107, 0 }, 108, 4 },
	{ "no channel type", RUNNING, 0x60001, { 107, 2 }, 108, 4 },
	{ "RNDIS without a message", RUNNING, 0x60001, { 107, 1 }, 108, 4 },
	{ "sub-channels too early", BUFFERED, 0x60001, { 133, 1, 1 }, 133, 4 },
	{ "sub-channels of 4", RUNNING, 0x40000, { 133, 1, 1 }, 133, 4 },
	{ "sub-channels, other op", RUNNING, 0x60001, { 133, 2, 1 }, 133, 4 },
	{ "as many as channels", RUNNING, 0x60001, { 133, 1, 4 }, 133, 4 },
	{ "wraps to 0", RUNNING, 0x60001, { 133, 1, 0xffffffff }, 133, 4 },
	{ "chimney", RUNNING, 0x60001, { 109 }, 108, 4 },
	{ "VM queue", RUNNING, 0x60001, { 124 }, 108, 4 },
	{ "an answer", RUNNING, 0x60001, { 108, 1 }, 108, 4 },
	{ "VF association", RUNNING, 0x60001, { 128, 1, 7 }, 108, 4 },
	{ "PD API", RUNNING, 0x60001, { 135 }, 108, 4 },
	{ "type 0", RUNNING, 0x60001, { 0 }, 108, 4 },
	{ "type of all ones", RUNNING, 0x60001, { 0xffffffff }, 108, 4 },
};

// Wrong order, unknown, cut short: refused in the form that the guest waits for, counted, and
// everything is as it was.
static void refuses(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct netvsp_agreed before;

		print_message("%s\n", refused[i].name);
		reach(refused[i].stage, refused[i].version);
		before = rig.control.agreed;
		assert_int_equal(rig_nvsp(refused[i].words, sizeof(refused[i].words)), 0);
		assert_true(rig.answer.completes);
		assert_int_equal(rig.answer.message_bytes, 0);
		if (refused[i].type) {
			assert_int_equal(rig_completion(0), refused[i].type);
			assert_int_equal(rig_completion(refused[i].status_at), NVSP_STATUS_FAILURE);
		} else {
			assert_int_equal(rig.answer.completion_bytes, 0);
		}
		assert_memory_equal(&rig.control.agreed, &before, sizeof(before));
		assert_int_equal(rig.control.counters.n_refused + rig.control.counters.n_unknown +
					 rig.control.counters.n_malformed,
				 1);
		// Without the flag nobody is answered.
		rig_nvsp_unflagged(refused[i].words, sizeof(refused[i].words));
		assert_memory_equal(&rig.control.agreed, &before, sizeof(before));
	}
}

static void refuses_short_ones(void **state)
{
	static const struct {
		uint32_t type, bytes; // at least
	} cases[] = { { 1, 12 },   { 100, 12 }, { 125, 20 }, { 101, 10 }, { 104, 10 },
		      { 103, 6 },  { 106, 6 },	{ 107, 16 }, { 129, 8 },  { 133, 12 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (uint32_t bytes = 0; bytes < cases[i].bytes; bytes++) {
			reach(RUNNING, NVSP_VERSION_6_1);
			memset(rig.request.nvsp, 0, sizeof(rig.request.nvsp));
			store_u32(rig.request.nvsp, cases[i].type);
			rig.request.nvsp_bytes = bytes;
			assert_int_equal(netvsp_control_handle(&rig.control, &rig.request,
							       &rig.answer),
					 0);
			assert_int_equal(rig.control.counters.n_malformed, 1);
			assert_int_equal(rig.control.agreed.phase, VMBUS_STATE_OPERATIONAL);
		}
}

static void refuses_oid_query_ex(void **state)
{
	struct nvsp_init query = { LE(NVSP_OID_QUERY_EX), LE(0), LE(0) };

	rig_handshake(NVSP_VERSION_5);
	rig_nvsp(&query, sizeof(query));
	assert_int_equal(rig_completion(0), NVSP_OID_QUERY_EX_COMPLETE);
	assert_int_equal(rig_completion(4), RNDIS_STATUS_NOT_SUPPORTED);
	assert_int_equal(rig_completion(8), 0);
}

// --- MTU and buffers ---------------------------------------------------------------------------

static void takes_mtus(void **state)
{
	static const struct {
		uint32_t asked, agreed, section_bytes;
	} cases[] = {
		{ 1514, 1514, 1856 }, { 9014, 9014, 9344 },	  { 9216, 9216, 9536 },
		{ 1513, 1514, 1856 }, { 0, 1514, 1856 },	  { 9217, 1514, 1856 },
		{ 1516, 1516, 1856 }, { 0xffffffff, 1514, 1856 }, { 1564, 1564, 1856 },
		{ 1565, 1565, 1920 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nvsp_ndis_config config = { .type = LE(NVSP_SEND_NDIS_CONFIG),
						   .mtu = LE(cases[i].asked) };

		rig_open();
		rig_init(NVSP_VERSION_6_1);
		assert_int_equal(rig_nvsp_unflagged(&config, sizeof(config)), NETVSP_SET_PATH);
		assert_int_equal(rig.control.agreed.mtu, cases[i].agreed);
		rig_buffers();
		assert_int_equal(rig.control.agreed.receive.section_bytes, cases[i].section_bytes);
		assert_true(rig.control.agreed.receive.section_bytes >= 256 + cases[i].agreed + 36);
	}
	assert_int_equal(netvsp_control_max_frame(&rig.control), 1514); // the port's limit
	rig.control.config.mtu = 9014;
	assert_int_equal(netvsp_control_max_frame(&rig.control), 1565);
}

static void takes_receive_buffers(void **state)
{
	static const struct {
		uint64_t bytes;
		uint32_t n_sections; // 0: refused
	} cases[] = {
		{ 0, 0 },
		{ 1, 0 },
		{ 32 * 1856 - 1, 0 },
		{ 32 * 1856, 32 },
		{ 33 * 1856 - 1, 32 },
		{ 31u << 20, 17513 },
		{ 32767ull * 1856, 32767 },
		{ 32768ull * 1856, 32767 },
		{ UINT64_MAX, 32767 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nvsp_buffer buffer = { LE(NVSP_SEND_RECV_BUF), LE(RIG_RECEIVE_GPADL),
					      cpu_to_le16(RIG_RECEIVE_ID) };

		rig.receive_bytes = cases[i].bytes;
		reach(CONFIGURED, NVSP_VERSION_6_1);
		assert_int_equal(rig_nvsp(&buffer, sizeof(buffer)),
				 cases[i].n_sections ? NETVSP_SET_RECEIVE : 0);
		assert_int_equal(rig_completion(0), NVSP_RECV_BUF_COMPLETE);
		assert_int_equal(rig_completion(4), cases[i].n_sections ? NVSP_STATUS_SUCCESS :
									  NVSP_STATUS_FAILURE);
		assert_int_equal(rig_completion(20), cases[i].n_sections);
		assert_int_equal(rig.control.agreed.receive.n_sections, cases[i].n_sections);
	}
}

static void takes_send_buffers(void **state)
{
	static const struct {
		uint64_t bytes;
		uint32_t n_sections; // 0: refused
	} cases[] = { { 0, 0 },	       { 6143, 0 },	{ 6144, 1 },
		      { 12287, 1 },    { 15u << 20, 2560 }, { 1ull << 50, 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nvsp_buffer buffer = { LE(NVSP_SEND_SEND_BUF), LE(RIG_SEND_GPADL),
					      cpu_to_le16(0xface) };

		rig.send_bytes = cases[i].bytes;
		reach(CONFIGURED, NVSP_VERSION_6_1);
		rig_nvsp(&buffer, sizeof(buffer));
		assert_int_equal(rig_completion(4), cases[i].n_sections ? NVSP_STATUS_SUCCESS :
									  NVSP_STATUS_FAILURE);
		assert_int_equal(rig.control.agreed.send.n_sections, cases[i].n_sections);
		assert_int_equal(rig.control.agreed.send.id, cases[i].n_sections ? 0xface : 0);
	}
}

// RNDIS may begin without a send buffer, and only without that.
static void begins_when_all_is_there(void **state)
{
	for (int left_out = 0; left_out < 4; left_out++) {
		struct nvsp_ndis_config config = { .type = LE(NVSP_SEND_NDIS_CONFIG),
						   .mtu = LE(1514) };
		struct nvsp_ndis_version ndis = { LE(NVSP_SEND_NDIS_VERSION), LE(6), LE(30) };
		struct nvsp_buffer buffer = { LE(NVSP_SEND_RECV_BUF), LE(RIG_RECEIVE_GPADL),
					      cpu_to_le16(0) };
		struct rndis_initialize initialize = {
			.request.header = { LE(RNDIS_INITIALIZE), LE(sizeof(initialize)) },
			.major = LE(1),
		};

		rig_open();
		rig_init(NVSP_VERSION_6_1);
		if (left_out != 1)
			rig_nvsp(&ndis, sizeof(ndis));
		if (left_out != 2)
			rig_nvsp(&config, sizeof(config));
		if (left_out != 3)
			rig_nvsp(&buffer, sizeof(buffer));
		rig_rndis_any(&initialize, sizeof(initialize));
		assert_int_equal(rig.control.agreed.phase, left_out == 0 ? VMBUS_STATE_OPERATIONAL :
									   VMBUS_STATE_VERSION);
		assert_int_equal(rig_was_refused(), left_out != 0);
	}
}

static void revokes_buffers(void **state)
{
	struct nvsp_revoke revoke = { LE(NVSP_REVOKE_RECV_BUF), cpu_to_le16(RIG_RECEIVE_ID) };
	struct rndis_request keepalive = { { LE(RNDIS_KEEPALIVE), LE(12) }, LE(9) };
	struct nvsp_buffer buffer = { LE(NVSP_SEND_RECV_BUF), LE(RIG_RECEIVE_GPADL),
				      cpu_to_le16(1) };

	rig_handshake(NVSP_VERSION_6_1);
	assert_int_equal(rig_nvsp_unflagged(&revoke, sizeof(revoke)), NETVSP_SET_RECEIVE);
	assert_int_equal(rig.control.agreed.receive.n_sections, 0);
	assert_int_equal(rig_nvsp(&revoke, sizeof(revoke)), 0); // nothing to revoke
	assert_true(rig.answer.completes);
	assert_int_equal(rig.answer.completion_bytes, 0);
	revoke.type = LE(NVSP_REVOKE_SEND_BUF);
	assert_int_equal(rig_nvsp(&revoke, sizeof(revoke)), NETVSP_SET_SEND);
	assert_int_equal(rig.control.agreed.send.n_sections, 0);
	// New ones are for a driver that was halted.
	rig_nvsp(&buffer, sizeof(buffer));
	assert_int_equal(rig_completion(0), NVSP_RECV_BUF_COMPLETE);
	assert_int_equal(rig_completion(4), NVSP_STATUS_FAILURE);
	// There is no place left for an RNDIS answer.
	rig_rndis_any(&keepalive, sizeof(keepalive));
	assert_true(rig_was_refused());
}

// DPDK's order: the buffers go before RNDIS is halted.
static void halts_without_buffers(void **state)
{
	struct nvsp_revoke revoke = { LE(NVSP_REVOKE_RECV_BUF), cpu_to_le16(RIG_RECEIVE_ID) };
	struct rndis_request halt = { { LE(RNDIS_HALT), LE(12) }, LE(0) };

	rig_handshake(NVSP_VERSION_6_1);
	rig_nvsp(&revoke, sizeof(revoke));
	assert_int_equal(rig_rndis(&halt, sizeof(halt)), NETVSP_SET_PATH);
	assert_int_equal(rig.answer.message_bytes, 0);
	assert_int_equal(rig.control.agreed.phase, VMBUS_STATE_HALTED);
}

static void forgets_gpadls(void **state)
{
	rig_handshake(NVSP_VERSION_6_1);
	assert_int_equal(netvsp_control_forget_gpadl(&rig.control, 77), 0);
	assert_int_equal(netvsp_control_forget_gpadl(&rig.control, RIG_RECEIVE_GPADL),
			 NETVSP_SET_RECEIVE);
	assert_int_equal(netvsp_control_forget_gpadl(&rig.control, RIG_SEND_GPADL),
			 NETVSP_SET_SEND);
	assert_int_equal(rig.control.agreed.receive.n_sections, 0);
	assert_int_equal(rig.control.agreed.send.n_sections, 0);
}

// What lies behind NVSP 107 is not looked at when it is said to be frames.
static void keeps_frames_out(void **state)
{
	struct rndis_request keepalive = { { LE(RNDIS_KEEPALIVE), LE(12) }, LE(9) };

	rig_handshake(NVSP_VERSION_6_1);
	rig_rndis(&keepalive, sizeof(keepalive));
	store_u32(rig.request.nvsp + 4, NVSP_CHANNEL_DATA);
	assert_int_equal(netvsp_control_handle(&rig.control, &rig.request, &rig.answer), 0);
	assert_true(rig_was_refused());
}

// --- sub-channels ------------------------------------------------------------------------------

static void grants_subchannels(void **state)
{
	static const struct {
		uint32_t asked, given, status, answered;
	} cases[] = { { 3, 3, NVSP_STATUS_SUCCESS, 3 },
		      { 3, 1, NVSP_STATUS_SUCCESS, 1 },
		      { 2, 9, NVSP_STATUS_SUCCESS, 2 },
		      { 3, 0, NVSP_STATUS_FAILURE, 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nvsp_subchannel ask = { LE(NVSP_SUBCHANNEL), LE(1), LE(cases[i].asked) };

		reach(RUNNING, NVSP_VERSION_6_1);
		assert_int_equal(rig_nvsp(&ask, sizeof(ask)), NETVSP_ASK_CHANNELS);
		netvsp_control_granted(&rig.control, cases[i].given, &rig.answer);
		assert_int_equal(rig_completion(4), cases[i].status);
		assert_int_equal(rig_completion(8), cases[i].answered);
		assert_int_equal(rig.control.agreed.n_subchannels, cases[i].answered);
	}
	// Late news changes nothing.
	netvsp_control_granted(&rig.control, 3, &rig.answer);
	assert_int_equal(rig.control.agreed.n_subchannels, 0);
}

static void asks_for_subchannels_once(void **state)
{
	struct nvsp_subchannel ask = { LE(NVSP_SUBCHANNEL), LE(1), LE(0) };

	rig_handshake(NVSP_VERSION_6_1);
	assert_int_equal(rig_nvsp(&ask, sizeof(ask)), 0); // none are none
	assert_int_equal(rig_completion(4), NVSP_STATUS_SUCCESS);
	rig_subchannels(2);
	ask.n = LE(1);
	rig_nvsp(&ask, sizeof(ask));
	assert_int_equal(rig_completion(4), NVSP_STATUS_FAILURE);
	assert_int_equal(rig.control.agreed.n_subchannels, 2);
}

// Each channel needs sections of its own besides those that are reserved.
static void grants_what_sections_suffice_for(void **state)
{
	struct nvsp_subchannel ask = { LE(NVSP_SUBCHANNEL), LE(1), LE(15) };

	rig.receive_bytes = 32 * 1856;
	rig.config.max_channels = 64;
	rig_open();
	rig_handshake(NVSP_VERSION_6_1);
	ask.n = LE(16); // 17 channels and 16 reserved
	assert_int_equal(rig_nvsp(&ask, sizeof(ask)), 0);
	assert_int_equal(rig_completion(4), NVSP_STATUS_FAILURE);
	ask.n = LE(15);
	assert_int_equal(rig_nvsp(&ask, sizeof(ask)), NETVSP_ASK_CHANNELS);
}

// --- failures of the host ----------------------------------------------------------------------

static void undoes(void **state)
{
	struct nvsp_buffer buffer = { LE(NVSP_SEND_RECV_BUF), LE(RIG_RECEIVE_GPADL),
				      cpu_to_le16(0) };
	struct nvsp_subchannel ask = { LE(NVSP_SUBCHANNEL), LE(1), LE(3) };
	struct netvsp_agreed before;

	reach(CONFIGURED, NVSP_VERSION_6_1);
	before = rig.control.agreed;
	rig_nvsp(&buffer, sizeof(buffer));
	netvsp_control_failed(&rig.control, &rig.answer);
	assert_int_equal(rig_completion(0), NVSP_RECV_BUF_COMPLETE);
	assert_int_equal(rig_completion(4), NVSP_STATUS_FAILURE);
	assert_int_equal(rig_completion(20), 0);
	assert_memory_equal(&rig.control.agreed, &before, sizeof(before));
	rig_buffers();
	rig_initialize();
	before = rig.control.agreed;
	assert_int_equal(rig_set_rss(0, 0x1701, (uint32_t[]){ 0 }, 1), RNDIS_STATUS_SUCCESS);
	netvsp_control_failed(&rig.control, &rig.answer);
	assert_int_equal(rig_completion(4), NVSP_STATUS_SUCCESS); // of the packet
	assert_int_equal(rig_message(12), RNDIS_STATUS_FAILURE);
	assert_memory_equal(&rig.control.agreed, &before, sizeof(before));
	rig_nvsp(&ask, sizeof(ask));
	netvsp_control_failed(&rig.control, &rig.answer);
	assert_int_equal(rig_completion(0), NVSP_SUBCHANNEL);
	assert_int_equal(rig_completion(4), NVSP_STATUS_FAILURE);
	rig_subchannels(3); // it may try again
	rig_initialize();
	netvsp_control_failed(&rig.control, &rig.answer);
	assert_int_equal(rig_message(12), RNDIS_STATUS_FAILURE);
}

// --- data path ---------------------------------------------------------------------------------

static void switches_paths(void **state)
{
	struct nvsp_switch_data_path path = { LE(NVSP_SWITCH_DATA_PATH), LE(NVSP_PATH_VF) };

	rig_handshake(NVSP_VERSION_6_1);
	assert_int_equal(rig_nvsp(&path, sizeof(path)), 0); // no VF: answered, nothing moves
	assert_true(rig.answer.completes);
	assert_int_equal(rig.answer.completion_bytes, 0);
	netvsp_vf_offer(&rig.control.vf, 5);
	assert_true(rig_notice(1));
	netvsp_control_told(&rig.control);
	assert_int_equal(rig_nvsp_unflagged(&path, sizeof(path)), NETVSP_SET_PATH);
	assert_true(rig.control.vf.switched);
	assert_int_equal(rig_nvsp(&path, sizeof(path)), 0);
	path.active = LE(2);
	assert_int_equal(rig_nvsp(&path, sizeof(path)), 0); // no such path
	path.active = LE(NVSP_PATH_SYNTHETIC);
	assert_int_equal(rig_nvsp(&path, sizeof(path)), NETVSP_SET_PATH);
	assert_false(rig.control.vf.switched);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(refuses, rig_set_up),
		cmocka_unit_test_setup(refuses_short_ones, rig_set_up),
		cmocka_unit_test_setup(refuses_oid_query_ex, rig_set_up),
		cmocka_unit_test_setup(takes_mtus, rig_set_up),
		cmocka_unit_test_setup(takes_receive_buffers, rig_set_up),
		cmocka_unit_test_setup(takes_send_buffers, rig_set_up),
		cmocka_unit_test_setup(begins_when_all_is_there, rig_set_up),
		cmocka_unit_test_setup(revokes_buffers, rig_set_up),
		cmocka_unit_test_setup(halts_without_buffers, rig_set_up),
		cmocka_unit_test_setup(forgets_gpadls, rig_set_up),
		cmocka_unit_test_setup(keeps_frames_out, rig_set_up),
		cmocka_unit_test_setup(grants_subchannels, rig_set_up),
		cmocka_unit_test_setup(asks_for_subchannels_once, rig_set_up),
		cmocka_unit_test_setup(grants_what_sections_suffice_for, rig_set_up),
		cmocka_unit_test_setup(undoes, rig_set_up),
		cmocka_unit_test_setup(switches_paths, rig_set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
