// SPDX-License-Identifier: Apache-2.0
// The switch's end of a connection: who may send what when, framing, HELLO
// (docs/vmbus-user.md, sections 1, 2.3 and 3.1).
#include "vmbus/test_peer_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "vmbus/mapping.h"

// --- section 2.3 -------------------------------------------------------------------------------

static void each_state_takes_what_it_may(void **state)
{
	static const struct {
		enum vmbus_user_type type;
		int status[4];
	} rows[] = {
		{ VMBUS_USER_TYPE_HELLO, { 0, EALREADY, EALREADY, EALREADY } },
		{ VMBUS_USER_TYPE_STATE, { EPROTO, EBUSY, EBUSY, EBUSY } }, // came already
		{ VMBUS_USER_TYPE_REGION_ADD, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_REGION_DEL, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_GPADL, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_GPADL_TEARDOWN, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_OPEN, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_CLOSE, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_TARGET, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_MONITOR, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_START, { EPROTO, 0, EALREADY, EALREADY } },
		{ VMBUS_USER_TYPE_PAUSE, { EPROTO, EAGAIN, 0, 0 } },
		{ VMBUS_USER_TYPE_RESUME, { EPROTO, EAGAIN, 0, 0 } },
		{ VMBUS_USER_TYPE_SAVE, { EPROTO, EAGAIN, EAGAIN, 0 } },
		{ VMBUS_USER_TYPE_DIRTY_LOG, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_RESET, { EPROTO, 0, 0, 0 } },
		{ VMBUS_USER_TYPE_SUBCHANNELS, { EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP } },
		{ (enum vmbus_user_type)17, { EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP } },
		{ (enum vmbus_user_type)0, { EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int s = NEW; s <= PAUSED; s++) {
			int status;

			rig_restart();
			rig_bring_to((enum stage)s);
			status = rig_ask_right(rows[i].type);
			if (status != rows[i].status[s])
				fail_msg("type %d in state %d: %d, not %d", rows[i].type, s, status,
					 rows[i].status[s]);
			assert_false(rig.hung_up);
		}
}

static void pausing_twice_and_resuming_what_runs_do_nothing(void **state)
{
	rig_bring_to(PAUSED);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), 0);
	assert_string_equal(rig.calls, "");
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_RESUME), 0);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_RESUME), 0);
	assert_string_equal(rig.calls, "resume ");
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_SAVE), EAGAIN);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), 0);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_SAVE), 0);
	assert_string_equal(rig.calls, "resume pause save ");
	assert_int_equal(rig.sent_bytes, 32);
	assert_int_equal(load_u64(rig.sent + 16), sizeof(struct vmbus_state));
	assert_int_equal(rig.sent[24], VMBUS_STATE_LAYOUT);
}

// --- framing -----------------------------------------------------------------------------------

static void wrong_sizes_end_the_connection(void **state)
{
	static const uint16_t sizes[] = { [1] = 128, 24, 48, 16, 48, 16, 96, 16, 48, 32, 16, 16,
					  16, 16, 32, 16 };

	for (int type = 1; type < (int)ARRAY_SIZE(sizes); type++)
		for (int delta = -1; delta <= 1; delta += 2) {
			uint8_t message[256] = { (uint8_t)type };

			rig_restart();
			if (type == VMBUS_USER_TYPE_GPADL)
				message[24] = 1;
			assert_false(rig_feed(message, (uint32_t)(sizes[type] + delta), NULL, 0));
			assert_int_equal(rig.sent[0], VMBUS_USER_TYPE_LEAVING);
			assert_int_equal(rig.sent[8], VMBUS_USER_LEAVING_PROTOCOL);
		}
	for (uint32_t bytes = 1; bytes < 8; bytes++) {
		rig_restart();
		assert_false(rig_feed("\1\0\0\0\0\0\0", bytes, NULL, 0));
	}
	// n says nothing that the size does not: no sum of it wraps.
	rig_restart();
	rig_bring_to(LOADING);
	struct gpadl_message m = a_gpadl(9, 0, 0, 1);
	m.head.header.type = cpu_to_le16(VMBUS_USER_TYPE_GPADL);
	m.head.n_runs = cpu_to_le32(0x10000001);
	assert_false(rig_feed(&m, sizeof(m.head) + sizeof(m.runs[0]), NULL, 0));
}

static void fields_that_must_be_zero_are(void **state)
{
	// Type, and the offset of a reserved byte of it.
	static const struct {
		enum vmbus_user_type type;
		uint8_t at, bytes;
	} rows[] = {
		{ VMBUS_USER_TYPE_STATE, 12, 24 },	  { VMBUS_USER_TYPE_REGION_ADD, 40, 48 },
		{ VMBUS_USER_TYPE_REGION_DEL, 12, 16 },	  { VMBUS_USER_TYPE_OPEN, 80, 96 },
		{ VMBUS_USER_TYPE_OPEN, 95, 96 },	  { VMBUS_USER_TYPE_OPEN, 79, 96 },
		{ VMBUS_USER_TYPE_CLOSE, 15, 16 },	  { VMBUS_USER_TYPE_TARGET, 12, 48 },
		{ VMBUS_USER_TYPE_TARGET, 40, 48 },	  { VMBUS_USER_TYPE_MONITOR, 12, 32 },
		{ VMBUS_USER_TYPE_START, 8, 16 },	  { VMBUS_USER_TYPE_RESET, 15, 16 },
		{ VMBUS_USER_TYPE_DIRTY_LOG, 12, 32 },	  { VMBUS_USER_TYPE_DIRTY_LOG, 31, 32 },
		{ VMBUS_USER_TYPE_REGION_ADD, 13, 48 },	  { VMBUS_USER_TYPE_MONITOR, 11, 32 },
		{ VMBUS_USER_TYPE_DIRTY_LOG, 9, 32 },	  { VMBUS_USER_TYPE_OPEN, 29, 96 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t m[128] = {};
		const int fds[] = { rig.ram };
		uint32_t n = rows[i].type == VMBUS_USER_TYPE_STATE ||
			     rows[i].type == VMBUS_USER_TYPE_REGION_ADD ||
			     rows[i].type == VMBUS_USER_TYPE_OPEN;

		rig_restart();
		rig_hello();
		m[rows[i].at] = 1;
		if (rig_ask(rows[i].type, m, rows[i].bytes, fds, n) != EINVAL)
			fail_msg("row %zu", i);
	}
	for (int bit = 1; bit < 16; bit++) { // header flags
		struct vmbus_user_plain m = { .header.flags = cpu_to_le16(1 << bit) };

		rig_restart();
		rig_bring_to(LOADING);
		assert_int_equal(ASK(START, m), EINVAL);
	}
	rig_restart();
	struct vmbus_user_hello m = a_hello();
	m.reserved = cpu_to_le64(1);
	assert_int_equal(ASK(HELLO, m), EINVAL);
}

static void a_thousand_failures_are_enough(void **state)
{
	rig_bring_to(LOADING);
	for (int i = 0; i < 999; i++)
		assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), EAGAIN);
	assert_int_equal(rig_ask_right(VMBUS_USER_TYPE_CLOSE), 0);
	for (int i = 0; i < 999; i++)
		assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), EAGAIN);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), HUNG_UP);
}

static void a_full_socket_stops_everything(void **state)
{
	rig_bring_to(SERVING);
	rig.full = true;
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), SILENT);
	assert_false(vmbus_peer_ready(rig.peer));
	assert_true(vmbus_peer_wants_room(rig.peer));
	assert_int_equal(vmbus_peer_flush(rig.peer), 0);
	assert_false(vmbus_peer_ready(rig.peer));
	vmbus_peer_channel_failed(rig.peer, 0, VMBUS_USER_FAILED_INDEX, "dropped");
	rig.full = false;
	assert_int_equal(vmbus_peer_flush(rig.peer), 0);
	assert_int_equal(rig_last_status(), 0);
	assert_int_equal(rig.sent[0], VMBUS_USER_TYPE_PAUSE);
	assert_true(vmbus_peer_ready(rig.peer));
	assert_false(vmbus_peer_wants_room(rig.peer));
}

static void what_is_done_later_is_answered_later(void **state)
{
	static const enum vmbus_user_type types[] = {
		VMBUS_USER_TYPE_GPADL_TEARDOWN, VMBUS_USER_TYPE_OPEN, VMBUS_USER_TYPE_MONITOR,
		VMBUS_USER_TYPE_PAUSE, VMBUS_USER_TYPE_DIRTY_LOG, VMBUS_USER_TYPE_RESET,
	};
	const struct err no = { "it did not work" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		for (int fails = 0; fails <= 1; fails++) {
			rig_restart();
			rig_bring_to(SERVING);
			rig.later = true;
			assert_int_equal(rig_ask_right(types[i]), SILENT);
			assert_false(vmbus_peer_ready(rig.peer));
			assert_int_equal(vmbus_peer_done(rig.peer, fails ? -ENOMEM : 0, &no), 0);
			assert_int_equal(rig_last_status(), fails ? ENOMEM : 0);
			assert_true(vmbus_peer_ready(rig.peer));
			rig.later = false;
			// A failed request might as well not have been sent.
			if (types[i] == VMBUS_USER_TYPE_OPEN)
				assert_int_equal(rig_ask_right(types[i]), fails ? 0 : EEXIST);
			if (types[i] == VMBUS_USER_TYPE_GPADL_TEARDOWN)
				assert_int_equal(rig_ask_right(types[i]), fails ? 0 : ENOENT);
		}
}

// --- section 3.1 -------------------------------------------------------------------------------

static void hello_is_checked(void **state)
{
	struct vmbus_user_hello right = a_hello(), m;
	static const char *const bad_names[] = {
		"", "\xff", "a\xc0\x80", "\xed\xa0\x80", "a\xc3", "\xf4\x90\x80\x80", "\xe0\x80\x80"
	};

	m = right;
	m.magic = cpu_to_le32(1);
	assert_int_equal(ASK(HELLO, m), EINVAL);
	assert_true(rig.hung_up);
	rig_restart();
	m = right;
	m.version_min = cpu_to_le16(2);
	m.version_max = cpu_to_le16(1);
	assert_int_equal(ASK(HELLO, m), EINVAL);
	rig_restart();
	m = right;
	m.version_min = m.version_max = cpu_to_le16(2);
	assert_int_equal(ASK(HELLO, m), EPROTONOSUPPORT);
	assert_non_null(strstr((char *)rig.sent + 16, "1 to 1"));
	rig_restart();
	m = right;
	m.version_min = cpu_to_le16(0);
	m.version_max = cpu_to_le16(9);
	assert_int_equal(ASK(HELLO, m), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
		rig_restart();
		m = right;
		memset(m.name, 0, sizeof(m.name));
		memcpy(m.name, bad_names[i], strlen(bad_names[i]));
		assert_int_equal(ASK(HELLO, m), EINVAL);
	}
	rig_restart();
	m = right;
	m.name[40] = 'x';
	assert_int_equal(ASK(HELLO, m), EINVAL);
	rig_restart();
	memset(m.name, 'x', sizeof(m.name));
	assert_int_equal(ASK(HELLO, m), ENOENT);
	rig_restart();
	rig.fails = EBUSY;
	assert_int_equal(ASK(HELLO, right), EBUSY);
	assert_true(rig.hung_up);
	rig_restart();
	assert_int_equal(ASK_FDS(HELLO, right, rig.ram), EINVAL); // a descriptor nobody asked for
}

static void features_that_were_not_agreed_on_do_not_exist(void **state)
{
	struct vmbus_user_open with_id = an_open(0, RINGS), direct = an_open(0, RINGS);

	rig.features = 0;
	rig_bring_to(LOADING);
	assert_int_equal(rig_ask_right(VMBUS_USER_TYPE_STATE), EOPNOTSUPP);
	assert_int_equal(rig_ask_right(VMBUS_USER_TYPE_MONITOR), EOPNOTSUPP);
	assert_int_equal(rig_ask_right(VMBUS_USER_TYPE_DIRTY_LOG), EOPNOTSUPP);
	assert_int_equal(ASK_FDS(OPEN, direct, rig.bells[0], rig.bells[1]), EOPNOTSUPP);
	with_id.target = (struct vmbus_user_target){ .mode = cpu_to_le32(1) };
	with_id.monitor_id = cpu_to_le32(3);
	assert_int_equal(ASK_FDS(OPEN, with_id, rig.bells[0], rig.bells[1]), EOPNOTSUPP);
	with_id.monitor_id = cpu_to_le32(VMBUS_USER_NO_MONITOR);
	assert_int_equal(ASK_FDS(OPEN, with_id, rig.bells[0], rig.bells[1]), 0);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_START), 0);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), 0);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_SAVE), EOPNOTSUPP);
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 3), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_state_takes_what_it_may),
		TEST(pausing_twice_and_resuming_what_runs_do_nothing),
		TEST(wrong_sizes_end_the_connection),
		TEST(fields_that_must_be_zero_are),
		TEST(a_thousand_failures_are_enough),
		TEST(a_full_socket_stops_everything),
		TEST(what_is_done_later_is_answered_later),
		TEST(hello_is_checked),
		TEST(features_that_were_not_agreed_on_do_not_exist),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
