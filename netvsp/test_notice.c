// SPDX-License-Identifier: Apache-2.0
// What the guest is told unasked, and when. VF association: test_vf.c; offloads: test_settings.c.
#include "netvsp/test_control_rig.h"

#define SECOND 1000000000ull

static int set_up(void **state)
{
	rig_set_up(state);
	rig_handshake(NVSP_VERSION_6_1);
	return 0;
}

// The next notice is this indication; returns its value, which is a word or nothing.
static uint32_t expect(uint64_t now_ns, enum rndis_indication status)
{
	uint32_t bytes = status == RNDIS_INDICATE_LINK_SPEED_CHANGE ? 4 : 0;

	assert_true(rig_notice(now_ns));
	assert_true(rig.notice.in_section);
	assert_int_equal(rig.notice.bytes, 20 + bytes);
	assert_int_equal(load_u32(rig.notice.data), RNDIS_INDICATE_STATUS);
	assert_int_equal(load_u32(rig.notice.data + 4), rig.notice.bytes);
	assert_int_equal(load_u32(rig.notice.data + 8), status);
	assert_int_equal(load_u32(rig.notice.data + 12), bytes);
	assert_int_equal(load_u32(rig.notice.data + 16), bytes ? 12 : 0);
	netvsp_control_told(&rig.control);
	return bytes ? load_u32(rig.notice.data + 20) : 0;
}

static void says_nothing_without_need(void **state)
{
	assert_false(rig_notice(1));
	assert_int_equal(netvsp_control_notice_at(&rig.control), 0);
	netvsp_control_told(&rig.control); // nothing was said
	assert_false(rig_notice(1));
}

static void tells_link(void **state)
{
	uint64_t now = SECOND;

	netvsp_control_set_link(&rig.control, false, RIG_SPEED);
	expect(now, RNDIS_INDICATE_MEDIA_DISCONNECT);
	assert_false(rig_notice(now));
	netvsp_control_set_link(&rig.control, true, RIG_SPEED);
	assert_false(rig_notice(now + NETVSP_LINK_SPACING_NS - 1));
	assert_int_equal(netvsp_control_notice_at(&rig.control), now + NETVSP_LINK_SPACING_NS);
	now += NETVSP_LINK_SPACING_NS;
	expect(now, RNDIS_INDICATE_MEDIA_CONNECT);
	assert_int_equal(netvsp_control_notice_at(&rig.control), 0);
	// What came and went meanwhile was not.
	netvsp_control_set_link(&rig.control, false, RIG_SPEED);
	assert_false(rig_notice(now + 1));
	netvsp_control_set_link(&rig.control, true, RIG_SPEED);
	assert_false(rig_notice(now + NETVSP_LINK_SPACING_NS));
	assert_int_equal(netvsp_control_notice_at(&rig.control), 0);
}

// Changes while a word is on its way are said after it.
static void tells_what_changed_meanwhile(void **state)
{
	netvsp_control_set_link(&rig.control, false, RIG_SPEED);
	assert_true(rig_notice(SECOND));
	netvsp_control_set_link(&rig.control, true, RIG_SPEED);
	assert_false(rig_notice(9 * SECOND));
	assert_int_equal(netvsp_control_notice_at(&rig.control), 0);
	netvsp_control_told(&rig.control);
	expect(9 * SECOND, RNDIS_INDICATE_MEDIA_CONNECT);
}

// Who asked knows.
static void does_not_tell_who_asked(void **state)
{
	netvsp_control_set_link(&rig.control, false, 5 * RIG_SPEED);
	rig_query_u32(NDIS_OID_GEN_MEDIA_CONNECT_STATUS);
	assert_false(rig_notice(SECOND));
	netvsp_control_set_link(&rig.control, true, 5 * RIG_SPEED);
	assert_int_equal(rig_query(NDIS_OID_GEN_LINK_STATE, NULL, 0), 0);
	assert_false(rig_notice(SECOND));
}

static void tells_speed(void **state)
{
	netvsp_control_set_link(&rig.control, false, 2 * RIG_SPEED);
	expect(SECOND, RNDIS_INDICATE_MEDIA_DISCONNECT);
	assert_false(rig_notice(SECOND)); // without a link it has none
	netvsp_control_set_link(&rig.control, true, 2 * RIG_SPEED);
	expect(4 * SECOND, RNDIS_INDICATE_MEDIA_CONNECT);
	assert_int_equal(expect(4 * SECOND, RNDIS_INDICATE_LINK_SPEED_CHANGE), 2 * RIG_SPEED / 100);
	assert_false(rig_notice(4 * SECOND));
	netvsp_control_set_link(&rig.control, true, RIG_SPEED);
	assert_int_equal(expect(4 * SECOND, RNDIS_INDICATE_LINK_SPEED_CHANGE), RIG_SPEED / 100);
}

static void announces(void **state)
{
	netvsp_control_announce(&rig.control);
	netvsp_control_announce(&rig.control);
	expect(SECOND, RNDIS_INDICATE_NETWORK_CHANGE);
	assert_false(rig_notice(9 * SECOND));
	// Not while it has no link, and not right behind another word about it.
	netvsp_control_set_link(&rig.control, false, RIG_SPEED);
	expect(10 * SECOND, RNDIS_INDICATE_MEDIA_DISCONNECT);
	netvsp_control_announce(&rig.control);
	assert_false(rig_notice(20 * SECOND));
	netvsp_control_set_link(&rig.control, true, RIG_SPEED);
	expect(20 * SECOND, RNDIS_INDICATE_MEDIA_CONNECT);
	assert_false(rig_notice(21 * SECOND));
	assert_int_equal(netvsp_control_notice_at(&rig.control), 22 * SECOND);
	expect(22 * SECOND, RNDIS_INDICATE_NETWORK_CHANGE);
	netvsp_control_set_link(&rig.control, false, RIG_SPEED);
	assert_false(rig_notice(23 * SECOND));
	expect(24 * SECOND, RNDIS_INDICATE_MEDIA_DISCONNECT);
}

// Nothing before RNDIS is initialised, after it was halted, or without a place for it.
static void waits_for_the_guest(void **state)
{
	struct nvsp_revoke revoke = { cpu_to_le32(NVSP_REVOKE_RECV_BUF), cpu_to_le16(1) };
	struct rndis_request halt = { { cpu_to_le32(RNDIS_HALT), cpu_to_le32(12) }, 0 };

	rig_rndis(&halt, sizeof(halt));
	netvsp_control_set_link(&rig.control, false, RIG_SPEED);
	assert_false(rig_notice(SECOND));
	assert_int_equal(netvsp_control_notice_at(&rig.control), 0);
	rig_initialize();
	rig_nvsp(&revoke, sizeof(revoke));
	assert_false(rig_notice(SECOND));
	netvsp_control_reset(&rig.control);
	assert_false(rig_notice(SECOND));
	netvsp_control_set_open(&rig.control, 1);
	rig_handshake(NVSP_VERSION_5);
	expect(SECOND, RNDIS_INDICATE_MEDIA_DISCONNECT); // it takes a link for granted
}

static void expect_table(const uint32_t *channels, uint32_t n)
{
	assert_true(rig_notice(SECOND));
	assert_false(rig.notice.in_section);
	assert_int_equal(rig.notice.bytes, 76); // Linux misreads longer ones
	assert_int_equal(load_u32(rig.notice.data), NVSP_SEND_INDIRECTION_TABLE);
	assert_int_equal(load_u32(rig.notice.data + 4), 16);
	assert_int_equal(load_u32(rig.notice.data + 8), 12);
	for (uint32_t i = 0; i < 16; i++)
		assert_int_equal(load_u32(rig.notice.data + 12 + 4 * (size_t)i), channels[i % n]);
	netvsp_control_told(&rig.control);
	assert_false(rig_notice(SECOND));
}

static void tells_table(void **state)
{
	struct nvsp_subchannel ask = { cpu_to_le32(NVSP_SUBCHANNEL), cpu_to_le32(1),
				       cpu_to_le32(2) };

	rig_nvsp(&ask, sizeof(ask));
	assert_false(rig_notice(SECOND)); // the answer is not made yet
	netvsp_control_granted(&rig.control, 2, &rig.answer);
	assert_false(rig_notice(SECOND));
	netvsp_control_set_open(&rig.control, 3);
	assert_false(rig_notice(SECOND));
	netvsp_control_set_open(&rig.control, 7);
	expect_table((uint32_t[]){ 0, 1, 2 }, 3);
	netvsp_control_set_open(&rig.control, 5); // one was taken away
	expect_table((uint32_t[]){ 0, 2 }, 2);
	netvsp_control_set_open(&rig.control, 7);
	expect_table((uint32_t[]){ 0, 1, 2 }, 3);
	netvsp_control_set_open(&rig.control, 15); // one that was never granted
	assert_false(rig_notice(SECOND));
}

static void tells_table_of_64(void **state)
{
	static uint32_t channels[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

	rig.config.max_channels = 64;
	rig_open();
	rig_handshake(NVSP_VERSION_6_1);
	rig_subchannels(63);
	assert_int_equal(rig.control.open_channels, UINT64_MAX);
	expect_table(channels, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(says_nothing_without_need, set_up),
		cmocka_unit_test_setup(tells_link, set_up),
		cmocka_unit_test_setup(tells_what_changed_meanwhile, set_up),
		cmocka_unit_test_setup(does_not_tell_who_asked, set_up),
		cmocka_unit_test_setup(tells_speed, set_up),
		cmocka_unit_test_setup(announces, set_up),
		cmocka_unit_test_setup(waits_for_the_guest, set_up),
		cmocka_unit_test_setup(tells_table, set_up),
		cmocka_unit_test_setup(tells_table_of_64, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
