// SPDX-License-Identifier: Apache-2.0
// The switch's end of a connection: channels, doorbells, notices, the handshake's bytes, and what a
// hostile VMM may do (docs/vmbus-user.md, sections 3.5 to 3.11, 10 and 12).
#include "vmbus/test_peer_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "vmbus/mapping.h"

// --- sections 3.5 to 3.7 -----------------------------------------------------------------------

// A changed byte of an OPEN that is right, and what comes of it.
static void opens_are_checked(void **state)
{
	static const struct {
		const char *what;
		uint8_t at, bytes;
		uint64_t value;
		int status;
	} rows[] = {
		{ "right", 16, 4, RINGS, 0 },
		{ "channel 64", 8, 4, 64, EINVAL },
		{ "sub-channel", 8, 4, 1, EPERM },
		{ "no such GPADL", 16, 4, 77, ENOENT },
		{ "h2g of 1 page", 20, 4, 7, EINVAL },
		{ "h2g of no page", 20, 4, 8, EINVAL },
		{ "h2g far outside", 20, 4, 0xffffffff, EINVAL },
		{ "g2h of 1 page", 20, 4, 1, EINVAL },
		{ "g2h of no page", 20, 4, 0, EINVAL },
		{ "smallest", 20, 4, 2, 0 },
		{ "serial 0", 24, 4, 0, EINVAL },
		{ "flag 2", 28, 4, 2, EINVAL },
		{ "monitor id 128", 36, 4, 128, EINVAL },
		{ "monitor id 127", 36, 4, 127, 0 },
		{ "mode 3", 48, 4, 3, EINVAL },
		{ "flag 0", 52, 4, 0, EINVAL },
		{ "flag 2048", 52, 4, 2048, EINVAL },
		{ "flag 2047", 52, 4, 2047, 0 },
		{ "flag area outside", 56, 8, LOW - 256, EFAULT },
		{ "flag area cut", 56, 8, LOW + RAM_BYTES, EFAULT },
		{ "flag area askew", 56, 8, LOW + 8, EINVAL },
		{ "flag area at the end", 56, 8, LOW + RAM_BYTES - 256, 0 },
		{ "CALL needs no area", 48, 4, 1, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmbus_user_open m = an_open(0, RINGS);
		int status;

		rig_restart();
		rig_bring_to(SERVING);
		memcpy((uint8_t *)&m + rows[i].at, &rows[i].value, rows[i].bytes);
		status = ASK_FDS(OPEN, m, rig.bells[0], rig.bells[1]);
		if (status != rows[i].status)
			fail_msg("%s: %d: %s", rows[i].what, status, rig.sent + 16);
		assert_string_equal(rig.calls, status ? "" : "open ");
	}
}

static void descriptors_of_open_are_checked(void **state)
{
	struct vmbus_user_open direct = an_open(0, RINGS), none = an_open(0, RINGS);
	struct vmbus_user_close closing = {};
	uint8_t flags;
	int p[2];

	none.target = (struct vmbus_user_target){};
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	rig_bring_to(SERVING);
	assert_int_equal(ASK(OPEN, direct), EINVAL);
	assert_int_equal(ASK_FDS(OPEN, direct, rig.bells[0]), EINVAL);
	assert_int_equal(ASK_FDS(OPEN, direct, rig.bells[0], rig.bells[1], rig.ram), EINVAL);
	assert_int_equal(ASK_FDS(OPEN, direct, rig.bells[0], rig.ram), EINVAL);
	assert_int_equal(ASK_FDS(OPEN, direct, rig.bells[0], p[1]), EINVAL);
	assert_int_equal(ASK_FDS(OPEN, direct, p[0], rig.bells[1]), EINVAL);
	assert_int_equal(ASK_FDS(OPEN, none, rig.bells[0], rig.bells[1]), EINVAL);
	rig.fails = ENOMEM;
	assert_int_equal(ASK_FDS(OPEN, direct, rig.bells[0], rig.bells[1]), ENOMEM);
	rig.fails = 0;
	assert_int_equal(ASK_FDS(OPEN, none, rig.bells[0]), 0);
	assert_int_equal(rig.bell.fd, -1);
	assert_int_equal(ASK(CLOSE, closing), 0);
	assert_int_equal(ASK_FDS(OPEN, direct, rig.bells[0], rig.bells[1]), 0);
	assert_int_equal(ASK_FDS(OPEN, direct, rig.bells[0], rig.bells[1]), EEXIST);
	assert_true(fcntl(rig.bell.fd, F_GETFL) & O_NONBLOCK);
	assert_true(vmbus_bell_ring(&rig.bell, NULL));
	assert_int_equal(pread(rig.ram, &flags, 1, 512 + 8), 1);
	assert_int_equal(flags, 1 << 6); // flag 70 is bit 6 of byte 8
	close(p[0]);
	close(p[1]);
}

static void rings_begin_as_they_must(void **state)
{
	// Offsets in the RAM of the four indices: g2h at page 16, h2g at page 20.
	static const uint32_t at[] = { 16 * 4096, 16 * 4096 + 4, 20 * 4096, 20 * 4096 + 4 };
	static const struct {
		uint32_t value;
		int fresh, resumed;
	} rows[] = { { 0, 0, 0 }, { 8, EINVAL, 0 }, { 3 * 4096 - 8, EINVAL, 0 },
		     { 3 * 4096, EINVAL, EINVAL }, { 12, EINVAL, EINVAL },
		     { 0xfffffff8, EINVAL, EINVAL } };

	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		for (size_t r = 0; r < ARRAY_SIZE(rows); r++)
			for (int resume = 0; resume <= 1; resume++) {
				struct vmbus_user_open m = an_open(0, RINGS);

				rig_restart();
				rig_bring_to(LOADING);
				assert_int_equal(pwrite(rig.ram, &rows[r].value, 4, at[i]), 4);
				m.flags = cpu_to_le32((uint32_t)resume);
				assert_int_equal(ASK_FDS(OPEN, m, rig.bells[0], rig.bells[1]),
						 resume ? rows[r].resumed : rows[r].fresh);
			}
}

static void rings_and_doorbells_hold_their_gpadl(void **state)
{
	struct vmbus_user_gpadl_teardown gone = { .gpadl = cpu_to_le32(RINGS) };
	struct vmbus_user_close closing = {};

	rig_bring_to(SERVING);
	rig_open_channel_0();
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), EBUSY);
	gone.channel = cpu_to_le32(1);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), ENOENT);
	assert_int_equal(ASK(CLOSE, closing), 0);
	assert_int_equal(ASK(CLOSE, closing), 0); // of a closed channel: fine
	gone.channel = cpu_to_le32(0);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), 0);
	assert_string_equal(rig.calls, "open close0 gone ");
	closing.channel = cpu_to_le32(64);
	assert_int_equal(ASK(CLOSE, closing), EINVAL);
}

static void targets_are_checked(void **state)
{
	struct vmbus_user_set_target call = a_target(0), none = a_target(0), direct = a_target(0);
	struct vmbus_user_region_del del = { .region = cpu_to_le32(2) };
	struct vmbus_user_region_add area = a_region(2, ROM, 4096);

	rig_bring_to(SERVING);
	assert_int_equal(ASK_FDS(TARGET, call, rig.bells[0]), ENOTCONN);
	rig_open_channel_0();
	assert_int_equal(ASK(TARGET, call), EINVAL);
	assert_int_equal(ASK_FDS(TARGET, call, rig.ram), EINVAL);
	none.target.mode = cpu_to_le32(VMBUS_USER_MODE_NONE);
	assert_int_equal(ASK_FDS(TARGET, none, rig.bells[0]), EINVAL);
	assert_int_equal(ASK(TARGET, none), 0);
	direct.target.mode = cpu_to_le32(VMBUS_USER_MODE_DIRECT);
	direct.target.flag = cpu_to_le32(9);
	direct.target.gpa = cpu_to_le64(ROM);
	assert_int_equal(ASK_FDS(TARGET, direct, rig.bells[0]), EFAULT);
	assert_int_equal(ASK_FDS(REGION_ADD, area, rig.ram), 0);
	rig.fails = ENOMEM;
	assert_int_equal(ASK_FDS(TARGET, direct, rig.bells[0]), ENOMEM);
	rig.fails = 0;
	assert_int_equal(ASK_FDS(TARGET, direct, rig.bells[0]), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	assert_int_equal(ASK_FDS(TARGET, call, rig.bells[0]), 0);
	assert_int_equal(ASK(REGION_DEL, del), 0);
	call.channel = cpu_to_le32(64);
	assert_int_equal(ASK_FDS(TARGET, call, rig.bells[0]), EINVAL);
}

static void monitor_and_dirty_log_are_checked(void **state)
{
	struct vmbus_user_monitor monitor = { .flags = cpu_to_le32(1),
					      .to_host_gpa = cpu_to_le64(LOW + 4096) };
	struct vmbus_user_dirty_log log = { .flags = cpu_to_le32(1), .bytes = cpu_to_le64(4096) };
	int bitmap = rig_memfd(4096, F_SEAL_SHRINK | F_SEAL_GROW);

	rig_bring_to(SERVING);
	assert_int_equal(ASK(MONITOR, monitor), 0);
	assert_ptr_equal(rig.page, rig.memory->regions[0].host + 4096);
	monitor.to_host_gpa = cpu_to_le64(LOW + 8);
	assert_int_equal(ASK(MONITOR, monitor), EINVAL);
	monitor.to_host_gpa = cpu_to_le64(ROM);
	assert_int_equal(ASK(MONITOR, monitor), EFAULT);
	monitor.flags = cpu_to_le32(0);
	assert_int_equal(ASK(MONITOR, monitor), EINVAL);

	assert_int_equal(ASK(DIRTY_LOG, log), EINVAL);
	assert_int_equal(ASK_FDS(DIRTY_LOG, log, rig.ram), EPERM);
	log.bytes = cpu_to_le64(4095);
	assert_int_equal(ASK_FDS(DIRTY_LOG, log, bitmap), EINVAL);
	log.bytes = cpu_to_le64(0);
	assert_int_equal(ASK_FDS(DIRTY_LOG, log, bitmap), EINVAL);
	log.bytes = cpu_to_le64(2048);
	assert_int_equal(ASK_FDS(DIRTY_LOG, log, bitmap), EINVAL);
	log.bytes = cpu_to_le64(4096);
	assert_int_equal(ASK_FDS(DIRTY_LOG, log, bitmap), 0);
	assert_int_equal(rig.dirty.n_pages, 32768);
	vmbus_dirty_mark(&rig.dirty, 4096 * 9, 1);
	assert_int_equal(ASK_FDS(DIRTY_LOG, log, bitmap), 0); // another one in its place
	assert_int_equal(rig.dirty.words[0], 1 << 9);
	log.flags = cpu_to_le32(0);
	assert_int_equal(ASK_FDS(DIRTY_LOG, log, bitmap), EINVAL);
	assert_int_equal(ASK(DIRTY_LOG, log), EINVAL);
	log.bytes = cpu_to_le64(0);
	assert_int_equal(ASK(DIRTY_LOG, log), 0);
	assert_null(rig.dirty.words);
	close(bitmap);
}

static void start_tells_what_was_recovered(void **state)
{
	rig_bring_to(LOADING);
	rig.fails = EINVAL;
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_START), EINVAL);
	rig.fails = 0;
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), EAGAIN); // still loading
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_START), 0);
	assert_int_equal(rig.sent_bytes, 32);
	assert_int_equal(load_u64(rig.sent + 16), 3);
	assert_int_equal(load_u64(rig.sent + 24), 65);
}

static void reset_leaves_regions_only(void **state)
{
	struct vmbus_user_gpadl_teardown gone = { .gpadl = cpu_to_le32(BUFFER) };
	struct vmbus_user_region_del del = { .region = cpu_to_le32(1) };
	struct gpadl_message begun = a_gpadl(7, 0, 0, 2);
	struct vmbus_user_set_target target = a_target(0);

	rig_bring_to(SERVING);
	rig_open_channel_0();
	rig_ask_right(VMBUS_USER_TYPE_MONITOR);
	begun.head.flags = cpu_to_le32(VMBUS_USER_GPADL_FIRST);
	begun.head.bytes = cpu_to_le64(16384);
	assert_int_equal(rig_ask_gpadl(&begun), 0);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_RESET), 0);
	assert_int_equal(ASK_FDS(TARGET, target, rig.bells[0]), ENOTCONN);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), ENOENT);
	assert_int_equal(rig.memory->n_regions, 1);
	assert_int_equal(ASK(REGION_DEL, del), 0);
	assert_int_equal(rig_ask_plain(VMBUS_USER_TYPE_PAUSE), 0); // serving as before
}

// --- sections 3.10 and 3.11 --------------------------------------------------------------------

static bool answer_ask(uint32_t serial, uint32_t status, uint32_t n)
{
	struct vmbus_user_subchannels_reply m = {
		.head = { .header = { .type = cpu_to_le16(VMBUS_USER_TYPE_SUBCHANNELS),
				      .flags = cpu_to_le16(VMBUS_USER_REPLY),
				      .serial = cpu_to_le32(serial) },
			  .status = cpu_to_le32(status) },
		.n_granted = cpu_to_le32(n),
	};

	return rig_feed(&m, status ? 16 : sizeof(m), NULL, 0);
}

// Asks for 4 and returns the serial of what was sent.
static uint32_t ask_for_4(void)
{
	const struct vmbus_user_subchannels *sent = (const void *)rig.sent;

	rig.n_granted = ~0u;
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), 0);
	assert_int_equal(rig.sent_bytes, 16);
	assert_int_equal(le16_to_cpu(sent->header.type), VMBUS_USER_TYPE_SUBCHANNELS);
	assert_int_equal(le16_to_cpu(sent->header.flags), 0);
	assert_int_equal(le32_to_cpu(sent->n_wanted), 4);
	return le32_to_cpu(sent->header.serial);
}

static int open_sub(uint32_t channel)
{
	struct vmbus_user_open m = an_open(channel, RINGS);
	struct gpadl_message rings = a_gpadl(RINGS, channel, 32 + 8 * channel, 8);

	if (!vmbus_peer_gpadl_find(rig.peer, RINGS, channel))
		assert_int_equal(rig_ask_gpadl(&rings), 0);
	return ASK_FDS(OPEN, m, rig.bells[0], rig.bells[1]);
}

static void granted_channels_may_be_opened(void **state)
{
	struct vmbus_user_close closing = {};
	uint32_t serial;

	rig_bring_to(SERVING);
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), -EBUSY); // channel 0 is closed
	rig_open_channel_0();
	assert_int_equal(open_sub(1), EPERM);
	serial = ask_for_4();
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), -EBUSY);
	assert_true(answer_ask(serial + 1, 0, 4)); // to nothing
	assert_int_equal(rig.n_granted, ~0u);
	assert_true(answer_ask(serial, 0, 2));
	assert_int_equal(rig.n_granted, 2);
	assert_int_equal(open_sub(2), 0);
	assert_int_equal(open_sub(1), 0);
	assert_int_equal(open_sub(3), EPERM);
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), -EBUSY); // once in a life
	assert_int_equal(ASK(CLOSE, closing), 0);
	assert_int_equal(open_sub(1), EPERM);
	closing.channel = cpu_to_le32(1);
	assert_int_equal(ASK(CLOSE, closing), 0); // closed with channel 0
	rig_open_channel_0();
	serial = ask_for_4();
	assert_true(answer_ask(serial, EBUSY, 0));
	assert_int_equal(rig.n_granted, 0);
}

static void grants_that_are_too_late_or_too_large_are_none(void **state)
{
	struct vmbus_user_close closing = {};
	uint32_t serial;

	rig_bring_to(SERVING);
	rig_open_channel_0();
	serial = ask_for_4();
	assert_int_equal(ASK(CLOSE, closing), 0);
	rig_open_channel_0();
	assert_true(answer_ask(serial, 0, 4));
	assert_int_equal(rig.n_granted, ~0u);
	assert_int_equal(open_sub(1), EPERM);
	serial = ask_for_4();
	assert_true(answer_ask(serial, 0, 5));
	assert_int_equal(rig.n_granted, 0);
	assert_false(rig_feed("\x80\0\1\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, NULL, 0));
}

static void an_ask_waits_for_room(void **state)
{
	rig_bring_to(SERVING);
	rig_open_channel_0();
	rig.full = true;
	assert_int_equal(vmbus_peer_ask_channels(rig.peer, 4), 0);
	assert_true(vmbus_peer_wants_room(rig.peer));
	assert_true(vmbus_peer_ready(rig.peer)); // requests are read meanwhile
	rig.full = false;
	assert_int_equal(vmbus_peer_flush(rig.peer), 0);
	assert_int_equal(rig.sent[0], VMBUS_USER_TYPE_SUBCHANNELS);
	assert_false(vmbus_peer_wants_room(rig.peer));
}

static void restored_grants_count(void **state)
{
	struct vmbus_user_state kept = a_state(VMBUS_USER_NEW);

	rig_hello();
	rig.restored = 2;
	assert_int_equal(ASK_FDS(STATE, kept, rig.state), 0);
	rig_load();
	rig_open_channel_0();
	assert_int_equal(open_sub(2), 0);
	assert_int_equal(open_sub(3), EPERM);
}

static void notices_are_bytes_as_written(void **state)
{
	struct vmbus_user_leaving_notice want = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_CHANNEL_FAILED),
		.reason = cpu_to_le32(3),
		.back_in_ms = cpu_to_le32(2),
		.text = "the ring is broken",
	};

	rig_bring_to(SERVING);
	vmbus_peer_channel_failed(rig.peer, 3, VMBUS_USER_FAILED_PACKET, "the ring is broken");
	assert_int_equal(rig.sent_bytes, sizeof(want));
	assert_memory_equal(rig.sent, &want, sizeof(want));
	want = (struct vmbus_user_leaving_notice){
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_LEAVING),
		.reason = cpu_to_le32(VMBUS_USER_LEAVING_RESTART),
	};
	memset(want.text, 'x', 63); // é would be cut in two
	vmbus_peer_leave(rig.peer, VMBUS_USER_LEAVING_RESTART, 0,
			 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xc3\xa9");
	assert_memory_equal(rig.sent, &want, sizeof(want));
}

// --- section 12 --------------------------------------------------------------------------------

static void the_handshake_is_as_written(void **state)
{
	static const uint8_t reply[80] = {
		1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		1, 0, 0x40, 0, 0x40, 0, 0, 0, 0x15, 0, 0, 0, 0, 0, 0, 0,
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0x50, 0x0e, 0, 0, 0, 0, 0,
		1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x6e, 0xbb, 0xd5, 0x9f, 0xa1, 0x4e, 0x51, 0x4f, 0x92, 0x31, 0, 0x15, 0x5d, 0, 0, 1,
	};
	static const uint8_t plain[16] = { 2, 0, 1, 0, 2 };

	rig.features = 0x15;
	rig_hello();
	assert_int_equal(rig.sent_bytes, sizeof(reply));
	assert_memory_equal(rig.sent, reply, sizeof(reply));
	assert_int_equal(rig_ask_right(VMBUS_USER_TYPE_STATE), 0);
	assert_int_equal(rig.sent_bytes, sizeof(plain));
	assert_memory_equal(rig.sent, plain, sizeof(plain));
}

// --- section 10 --------------------------------------------------------------------------------

static void truncated_memory_is_met_with_zeros(void **state)
{
	struct vmbus_user_open m = an_open(0, RINGS);
	struct vmbus_user_region_add soft = a_region(2, ROM, 1 << 20);
	struct gpadl_message rings = a_gpadl(9, 0, 0, 8);
	int fd = rig_memfd(1 << 20, 0);

	rig_bring_to(SERVING);
	assert_int_equal(ASK_FDS(REGION_ADD, soft, fd), 0);
	rings.runs[0].gpa = cpu_to_le64(ROM);
	assert_int_equal(rig_ask_gpadl(&rings), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	m.gpadl = cpu_to_le32(9);
	assert_false(rig.dead);
	assert_int_equal(vmbus_mapping_install(), 0); // in place of the test library's
	assert_int_equal(ASK_FDS(OPEN, m, rig.bells[0], rig.bells[1]), 0);
	assert_true(rig.dead);
	close(fd);
}

static void a_vmm_may_leave_at_any_time(void **state)
{
	for (int s = NEW; s <= PAUSED; s++)
		for (int n = 0; n < 6; n++) {
			static const enum vmbus_user_type types[] = {
				VMBUS_USER_TYPE_OPEN, VMBUS_USER_TYPE_REGION_ADD,
				VMBUS_USER_TYPE_GPADL, VMBUS_USER_TYPE_DIRTY_LOG,
				VMBUS_USER_TYPE_RESET, VMBUS_USER_TYPE_TARGET
			};

			rig_restart();
			rig_bring_to((enum stage)s);
			rig.later = true;
			if (s > NEW && types[n] != VMBUS_USER_TYPE_TARGET)
				rig_ask_right(types[n]);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(opens_are_checked),
		TEST(descriptors_of_open_are_checked),
		TEST(rings_begin_as_they_must),
		TEST(rings_and_doorbells_hold_their_gpadl),
		TEST(targets_are_checked),
		TEST(monitor_and_dirty_log_are_checked),
		TEST(start_tells_what_was_recovered),
		TEST(reset_leaves_regions_only),
		TEST(granted_channels_may_be_opened),
		TEST(grants_that_are_too_late_or_too_large_are_none),
		TEST(an_ask_waits_for_room),
		TEST(restored_grants_count),
		TEST(notices_are_bytes_as_written),
		TEST(the_handshake_is_as_written),
		TEST(truncated_memory_is_met_with_zeros),
		TEST(a_vmm_may_leave_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
