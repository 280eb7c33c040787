// SPDX-License-Identifier: Apache-2.0
// The switch's end of a connection: state memory, regions, GPADLs (docs/vmbus-user.md, sections
// 3.2 to 3.4).
#include "vmbus/test_peer_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "vmbus/mapping.h"

// --- section 3.2 -------------------------------------------------------------------------------

static void state_memory_is_checked(void **state)
{
	struct vmbus_user_state m = a_state(VMBUS_USER_NEW);
	struct vmbus_state_header header;

	rig_hello();
	m.bytes = cpu_to_le64(4096);
	assert_int_equal(ASK_FDS(STATE, m, rig.state), EINVAL);
	m = a_state((enum vmbus_user_origin)3);
	assert_int_equal(ASK_FDS(STATE, m, rig.state), EINVAL);
	m = a_state(VMBUS_USER_NEW);
	assert_int_equal(ASK_FDS(STATE, m, rig.ram), EPERM);
	assert_int_equal(ASK_FDS(STATE, m, rig.bells[0]), EINVAL);
	m = a_state(VMBUS_USER_KEPT);
	assert_int_equal(ASK_FDS(STATE, m, rig.state), EINVAL); // nothing was kept in it
	m = a_state(VMBUS_USER_NEW);
	rig.fails = EINVAL;
	assert_int_equal(ASK_FDS(STATE, m, rig.state), EINVAL);
	rig.fails = 0;
	assert_int_equal(pread(rig.state, &header, sizeof(header), 0), sizeof(header));
	assert_int_equal(le64_to_cpu(header.magic), 0);
	assert_int_equal(ASK_FDS(STATE, m, rig.state), 0);
	assert_int_equal(pread(rig.state, &header, sizeof(header), 0), sizeof(header));
	assert_memory_equal(&header, "WEFTNIC1\1\0\0\0\0\x50\x0e\0\x6e\xbb", 18);
	assert_int_equal(le64_to_cpu(header.instance), 0x1122334455667788);
	assert_int_equal(le64_to_cpu(header.n_adopted), 1);
	assert_int_equal(ASK_FDS(STATE, m, rig.state), EBUSY);
}

static void kept_state_memory_is_taken_up_or_refused(void **state)
{
	// What is changed in a good header: offset and value of a byte.
	static const struct {
		uint8_t at, value;
		int status;
	} rows[] = {
		{ 0, 'W', 0 }, { 0, 'w', EINVAL }, { 8, 2, EINVAL }, { 13, 0, EINVAL },
		{ 16, 0, EINVAL }, { 31, 9, EINVAL }, { 32, 9, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmbus_user_state first = a_state(VMBUS_USER_NEW);
		struct vmbus_user_state again = a_state(VMBUS_USER_KEPT);
		int fd;

		rig_restart();
		rig_hello();
		assert_int_equal(ASK_FDS(STATE, first, rig.state), 0);
		fd = rig.state;
		rig.state = -1; // outlives the connection
		rig.n_fds++;
		rig_restart();
		close(rig.state);
		rig.state = fd;
		rig_hello();
		assert_int_equal(pwrite(fd, &rows[i].value, 1, rows[i].at), 1);
		assert_int_equal(ASK_FDS(STATE, again, fd), rows[i].status);
		rig.n_fds--; // the one that was taken over is closed with this connection
	}
}

static void state_comes_before_any_open(void **state)
{
	struct vmbus_user_state m = a_state(VMBUS_USER_NEW);

	rig_hello();
	rig_load();
	rig_open_channel_0();
	assert_int_equal(ASK_FDS(STATE, m, rig.state), EBUSY);
}

// --- section 3.3 -------------------------------------------------------------------------------

static void regions_are_checked(void **state)
{
	int p[2];
	const struct {
		uint32_t number;
		uint64_t gpa, bytes, offset;
		int *fd, status;
	} rows[] = {
		{ 1, ROM, 4096, 0, &rig.ram, EEXIST },
		{ 2, LOW + RAM_BYTES - 4096, 8192, 0, &rig.ram, EEXIST },
		{ 2, LOW, 4096, 0, &rig.ram, EEXIST },
		{ 2, ROM + 1, 4096, 0, &rig.ram, EINVAL },
		{ 2, ROM, 4095, 0, &rig.ram, EINVAL },
		{ 2, ROM, 0, 0, &rig.ram, EINVAL },
		{ 2, (1ull << 52) - 4096, 8192, 0, &rig.ram, EINVAL },
		{ 2, UINT64_MAX - 4095, 4096, 0, &rig.ram, EINVAL },
		{ 2, ROM, 4096, 2048, &rig.ram, EINVAL },
		{ 2, ROM, 4096, RAM_BYTES, &rig.ram, EINVAL },
		{ 2, ROM, RAM_BYTES, 4096, &rig.ram, EINVAL },
		{ 2, ROM, 1ull << 43, 0, &rig.ram, ENOSPC },
		{ 2, ROM, UINT64_MAX - 4095, 0, &rig.ram, ENOSPC },
		{ 2, ROM, 4096, 0, &rig.bells[0], EINVAL },
		{ 2, ROM, 4096, 0, &p[0], EINVAL },
		{ 2, ROM, 4096, 4096, &rig.ram, 0 },
	};

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	rig_bring_to(SERVING);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmbus_user_region_add m =
			a_region(rows[i].number, rows[i].gpa, rows[i].bytes);
		int status;

		m.offset = cpu_to_le64(rows[i].offset);
		status = ASK_FDS(REGION_ADD, m, *rows[i].fd);
		if (status != rows[i].status)
			fail_msg("row %zu: %d: %s", i, status, rig.sent + 16);
	}
	close(p[0]);
	close(p[1]);
	assert_int_equal(rig.memory->n_regions, 2);
	assert_string_equal(rig.calls, "memory+ ");
}

static void no_more_than_64_regions(void **state)
{
	rig_bring_to(LOADING);
	for (uint32_t i = 1; i <= 64; i++) {
		struct vmbus_user_region_add m = a_region(1 + i, ROM + i * 8192, 4096);

		assert_int_equal(ASK_FDS(REGION_ADD, m, rig.ram), i < 64 ? 0 : ENOSPC);
	}
}

static void regions_in_use_stay(void **state)
{
	struct vmbus_user_region_del del = { .region = cpu_to_le32(1) };
	struct vmbus_user_gpadl_teardown gone = { .gpadl = cpu_to_le32(RINGS) };
	struct vmbus_user_region_add flags = a_region(2, ROM, 4096);
	struct gpadl_message begun = a_gpadl(7, 0, 0, 2);
	struct vmbus_user_open m = an_open(0, RINGS);
	struct vmbus_user_close closing = {};
	struct vmbus_user_monitor monitor = { .flags = cpu_to_le32(1),
					      .to_host_gpa = cpu_to_le64(ROM) };

	rig_bring_to(SERVING);
	assert_int_equal(ASK_FDS(REGION_ADD, flags, rig.ram), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	del.region = cpu_to_le32(3);
	assert_int_equal(ASK(REGION_DEL, del), ENOENT);
	del.region = cpu_to_le32(2);
	m.target.gpa = cpu_to_le64(ROM + 256);
	assert_int_equal(ASK_FDS(OPEN, m, rig.bells[0], rig.bells[1]), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	assert_non_null(strstr((char *)rig.sent + 16, "doorbell"));
	assert_int_equal(ASK(CLOSE, closing), 0);
	assert_int_equal(ASK(MONITOR, monitor), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	assert_non_null(strstr((char *)rig.sent + 16, "monitor"));
	monitor = (struct vmbus_user_monitor){};
	assert_int_equal(ASK(MONITOR, monitor), 0);
	assert_null(rig.page);
	begun.head.flags = cpu_to_le32(VMBUS_USER_GPADL_FIRST);
	begun.runs[0].gpa = cpu_to_le64(ROM);
	begun.runs[0].bytes = cpu_to_le32(4096);
	assert_int_equal(rig_ask_gpadl(&begun), 0);
	assert_int_equal(ASK(REGION_DEL, del), EBUSY);
	assert_int_equal(rig_ask_gpadl(&begun), EINVAL); // drops it
	assert_int_equal(ASK(REGION_DEL, del), 0);
	assert_int_equal(ASK(REGION_DEL, del), ENOENT);
	assert_int_equal(rig.memory->n_regions, 1);
	del.region = cpu_to_le32(1);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), 0);
	gone.gpadl = cpu_to_le32(BUFFER);
	assert_int_equal(ASK(GPADL_TEARDOWN, gone), 0);
	assert_int_equal(ASK(REGION_DEL, del), 0);
	assert_int_equal(rig.memory->n_regions, 0);
}

// --- section 3.4 -------------------------------------------------------------------------------

static void gpadls_are_checked(void **state)
{
	const struct {
		const char *what;
		uint32_t id, channel, flags, n;
		uint64_t bytes, gpa;
		uint32_t run_bytes;
		int status;
	} rows[] = {
		{ "in use", RINGS, 0, 3, 1, 4096, LOW, 4096, EEXIST },
		{ "of another channel", RINGS, 1, 3, 1, 4096, LOW, 4096, 0 },
		{ "no such channel", 5, 64, 3, 1, 4096, LOW, 4096, EINVAL },
		{ "not FIRST", 5, 0, 2, 1, 4096, LOW, 4096, EINVAL },
		{ "unknown flag", 5, 0, 7, 1, 4096, LOW, 4096, EINVAL },
		{ "no runs", 5, 0, 3, 0, 4096, LOW, 4096, EINVAL },
		{ "empty run", 5, 0, 3, 1, 4096, LOW, 0, EINVAL },
		{ "too much", 5, 0, 3, 1, 4096, LOW, 8192, EINVAL },
		{ "too little", 5, 0, 3, 1, 8192, LOW, 4096, EINVAL },
		{ "of no bytes", 5, 0, 3, 1, 0, LOW, 4096, EINVAL },
		{ "outside", 5, 0, 3, 1, 4096, LOW - 4096, 4096, EFAULT },
		{ "half outside", 5, 0, 3, 1, 8192, LOW + RAM_BYTES - 4096, 8192, EFAULT },
		{ "wraps", 5, 0, 3, 1, 8192, UINT64_MAX - 4095, 8192, EFAULT },
		{ "read-only", 5, 0, 3, 1, 4096, ROM, 4096, EFAULT },
		{ "33 MiB", 5, 0, 3, 1, 33ull << 20, LOW, 4096, ENOSPC },
		{ "2^40", 5, 0, 3, 1, 1ull << 40, LOW, 4096, ENOSPC },
		{ "odd bytes are fine", 5, 0, 3, 1, 33, LOW + 5, 33, 0 },
	};
	struct vmbus_user_region_add rom = a_region(2, ROM, 4096);

	rig_bring_to(SERVING);
	rom.flags = cpu_to_le32(VMBUS_USER_REGION_READ_ONLY);
	assert_int_equal(ASK_FDS(REGION_ADD, rom, rig.ram), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gpadl_message m = {
			.head = { .gpadl = cpu_to_le32(rows[i].id),
				  .flags = cpu_to_le32(rows[i].flags),
				  .bytes = cpu_to_le64(rows[i].bytes),
				  .n_runs = cpu_to_le32(rows[i].n),
				  .channel = cpu_to_le32(rows[i].channel) },
			.runs = { { .gpa = cpu_to_le64(rows[i].gpa),
				    .bytes = cpu_to_le32(rows[i].run_bytes) } },
		};
		int status = rig_ask_gpadl(&m);

		if (status != rows[i].status)
			fail_msg("%s: %d: %s", rows[i].what, status, rig.sent + 16);
	}
}

static void a_gpadl_takes_as_many_messages_as_it_needs(void **state)
{
	const struct vmbus_peer_gpadl *gpadl;
	struct gpadl_message m = a_gpadl(5, 0, 0, 0);
	uint32_t n = 700; // runs, every other page: none are merged

	rig_bring_to(SERVING);
	m.head.bytes = cpu_to_le64(n * 4096ull);
	for (uint32_t done = 0; done < n;) {
		uint32_t step = n - done < 254 ? n - done : 254;

		for (uint32_t i = 0; i < step; i++)
			m.runs[i] = (struct vmbus_user_run){
				.gpa = cpu_to_le64(LOW + 8192ull * (done + i)),
				.bytes = cpu_to_le32(4096) };
		m.head.n_runs = cpu_to_le32(step);
		m.head.flags = cpu_to_le32((done ? 0 : 1) | (done + step == n ? 2 : 0));
		assert_null(vmbus_peer_gpadl_find(rig.peer, 5, 0));
		assert_int_equal(rig_ask_gpadl(&m), 0);
		done += step;
	}
	gpadl = vmbus_peer_gpadl_find(rig.peer, 5, 0);
	assert_non_null(gpadl);
	assert_int_equal(gpadl->runs.n, n);
	assert_int_equal(gpadl->runs.bytes, n * 4096);
	assert_int_equal(gpadl->runs.runs[699].gpa, LOW + 8192 * 699);
	assert_ptr_equal(gpadl->runs.runs[699].host - gpadl->runs.runs[0].host, 8192 * 699);
}

static void a_broken_sequence_of_a_gpadl_is_dropped(void **state)
{
	struct gpadl_message first = a_gpadl(5, 0, 0, 1), rest, other = a_gpadl(6, 0, 9, 1);

	rig_bring_to(SERVING);
	first.head.flags = cpu_to_le32(VMBUS_USER_GPADL_FIRST);
	first.head.bytes = cpu_to_le64(8192);
	rest = first;
	rest.head.flags = cpu_to_le32(VMBUS_USER_GPADL_LAST);

	for (int change = 0; change < 4; change++) {
		struct gpadl_message wrong = rest;

		assert_int_equal(rig_ask_gpadl(&first), 0);
		switch (change) {
		case 0: wrong.head.gpadl = cpu_to_le32(6); break;
		case 1: wrong.head.channel = cpu_to_le32(1); break;
		case 2: wrong.head.bytes = cpu_to_le64(4096); break;
		case 3: wrong = other; break;
		}
		assert_int_equal(rig_ask_gpadl(&wrong), EINVAL);
		assert_int_equal(rig_ask_gpadl(&rest), EINVAL); // nothing is left of it
	}
	assert_int_equal(rig_ask_gpadl(&first), 0);
	assert_int_equal(rig_ask_gpadl(&rest), 0);
	assert_int_equal(rig_ask_gpadl(&other), 0);
}

static void runs_may_reach_over_regions(void **state)
{
	struct vmbus_user_region_add next = a_region(2, LOW + RAM_BYTES, 8192);
	struct gpadl_message m = a_gpadl(5, 0, RAM_BYTES / 4096 - 1, 2);
	const struct vmbus_peer_gpadl *gpadl;

	rig_bring_to(SERVING);
	assert_int_equal(ASK_FDS(REGION_ADD, next, rig.ram), 0);
	assert_int_equal(rig_ask_gpadl(&m), 0);
	gpadl = vmbus_peer_gpadl_find(rig.peer, 5, 0);
	assert_int_equal(gpadl->runs.bytes, 8192);
	gpadl->runs.runs[gpadl->runs.n - 1].host[gpadl->runs.runs[gpadl->runs.n - 1].bytes - 1] = 7;
	assert_int_equal(pread(rig.ram, m.runs, 1, 4095), 1); // the second region's first page
	assert_int_equal(*(uint8_t *)m.runs, 7);
}

static void gpadls_are_limited(void **state)
{
	struct gpadl_message m;

	rig_bring_to(SERVING);
	for (uint32_t i = 2; i < 192; i++) {
		m = a_gpadl(i, 3, 0, 1);
		assert_int_equal(rig_ask_gpadl(&m), 0);
	}
	m = a_gpadl(192, 3, 0, 1);
	assert_int_equal(rig_ask_gpadl(&m), ENOSPC);

	rig_restart();
	rig_bring_to(SERVING);
	for (uint32_t i = 0; i < 1024 / 16; i++) { // of 16 MiB each; two small ones exist
		m = a_gpadl(i, 3, 0, RAM_BYTES / 4096);
		assert_int_equal(rig_ask_gpadl(&m), i < 63 ? 0 : ENOSPC);
	}
}

static void runs_are_limited(void **state)
{
	struct gpadl_message m = a_gpadl(5, 0, 0, 0);
	int status = 0;

	rig_bring_to(SERVING);
	m.head.bytes = cpu_to_le64(1 << 20);
	m.head.n_runs = cpu_to_le32(254);
	for (uint32_t i = 0; i < 254; i++)
		m.runs[i] = (struct vmbus_user_run){ .gpa = cpu_to_le64(LOW + 64ull * i),
						     .bytes = cpu_to_le32(1) };
	for (uint32_t i = 0; i < 33; i++) {
		assert_int_equal(status, 0);
		m.head.flags = cpu_to_le32(i == 0);
		status = rig_ask_gpadl(&m);
	}
	assert_int_equal(status, ENOSPC); // 8192 / 254 = 32.3
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(state_memory_is_checked),
		TEST(kept_state_memory_is_taken_up_or_refused),
		TEST(state_comes_before_any_open),
		TEST(regions_are_checked),
		TEST(no_more_than_64_regions),
		TEST(regions_in_use_stay),
		TEST(gpadls_are_checked),
		TEST(a_gpadl_takes_as_many_messages_as_it_needs),
		TEST(a_broken_sequence_of_a_gpadl_is_dropped),
		TEST(runs_may_reach_over_regions),
		TEST(gpadls_are_limited),
		TEST(runs_are_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
