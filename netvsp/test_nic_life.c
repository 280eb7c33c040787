// SPDX-License-Identifier: Apache-2.0
// Restarts of the switch, ports that come and go, guests and VMMs that misbehave. One thread.
#include "netvsp/test_nic_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/drop.h"
#include "vmbus/mapping.h"

// --- restarts ----------------------------------------------------------------------------------

// The socket of a switch that is gone.
static void vmm_forget(void)
{
	close(vmm.fd);
	vmm.fd = -1;
}

static enum vmbus_user_origin origin = VMBUS_USER_KEPT;

// dirty: a bitmap that the VMM had given to the switch before, or -1. Returns what START did.
static int re_adopt_until_start(int dirty)
{
	struct vmbus_user_dirty_log m = { .flags = cpu_to_le32(1), .bytes = cpu_to_le64(4096) };

	vmm_connect(&vmm);
	assert_int_equal(vmm_hello(&vmm, "web0", NULL), 0);
	assert_int_equal(vmm_state(&vmm, origin), 0);
	assert_int_equal(vmm_region(&vmm, 0, VMM_RAM_GPA, VMM_RAM_BYTES), 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 0, VMM_RINGS_PAGE(0), VMM_RING_PAGES), 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RECEIVE_GPADL, 0, VMM_RECEIVE_PAGE, VMM_RECEIVE_PAGES),
			 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_SEND_GPADL, 0, VMM_SEND_PAGE, VMM_SEND_PAGES), 0);
	if (dirty >= 0)
		assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_DIRTY_LOG, &m, sizeof(m), &dirty, 1),
				 0);
	assert_int_equal(vmm_open(&vmm, 0, true, VMBUS_USER_NO_MONITOR), 0);
	return vmm_ask_plain(&vmm, VMBUS_USER_TYPE_START);
}

static void re_adopt(void) { assert_int_equal(re_adopt_until_start(-1), 0); }

static void a_guest_outlives_the_switch(void **state)
{
	nic_bring_up();
	nic_expect_frames(0, 5);
	for (int i = 0; i < 3; i++) {
		driver_send(&driver, 0, 40);
		assert_int_equal(sw_transmit(0, 41), 1);
		sw_stop();
		vmm_listen(&vmm);
		vmm_forget();
		sw_start(2);
		re_adopt();
		sw_work();
		assert_int_equal(sw.n_got, 1); // it waited in the ring
		sw_free_got();
		assert_int_equal(driver_receive(&driver, 0), 41);
		sw_work();
		assert_true(sw_info().ready);
		for (uint32_t j = 0; j < 20; j++)
			nic_expect_frames(0, 100 * j);
	}
}

// Is page `page` of the guest's RAM marked?
static bool is_dirty(const uint64_t *words, uint32_t page)
{
	uint64_t p = VMM_RAM_GPA / 4096 + page;

	return words[p / 64] >> (p % 64) & 1;
}

static void what_a_killed_switch_wrote_is_marked_by_the_next(void **state)
{
	int fd = memfd_create("dirty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t words[512];

	assert_int_equal(ftruncate(fd, sizeof(words)), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	nic_bring_up();
	sw_stop();
	vmm_forget();
	sw_start(2);
	assert_int_equal(re_adopt_until_start(fd), 0);
	assert_int_equal(pread(fd, words, sizeof(words), 0), sizeof(words));
	assert_true(is_dirty(words, VMM_FLAGS_PAGE));
	for (uint32_t i = 0; i < VMM_RING_PAGES; i++)
		assert_true(is_dirty(words, VMM_RINGS_PAGE(0) + i));
	for (uint32_t i = 0; i < VMM_RECEIVE_PAGES; i++)
		assert_true(is_dirty(words, VMM_RECEIVE_PAGE + i));
	assert_false(is_dirty(words, VMM_SEND_PAGE)); // is only read
	close(fd);
}

static void on_drained(void *arg) { *(bool *)arg = true; }

static void a_planned_restart_reads_no_more(void **state)
{
	bool is_drained = false;

	nic_bring_up();
	netvsp_service_drain(sw.service, on_drained, &is_drained);
	sw_run();
	assert_true(is_drained);
	driver_send(&driver, 0, 40);
	sw_work();
	assert_int_equal(sw.n_got, 0);
	assert_int_equal(sw_transmit(0, 41), 1); // what was under way is delivered
	assert_int_equal(driver_receive(&driver, 0), 41);
	sw_close_port();
	sw_run();
	vmm_listen(&vmm);
	assert_int_equal(vmm.left_why, VMBUS_USER_LEAVING_RESTART);
	assert_false(netvsp_service_busy(sw.service));
	sw_stop();
	vmm_forget();
	sw_start(2);
	re_adopt();
	sw_work();
	assert_int_equal(sw.n_got, 1);
	sw_free_got();
	nic_expect_frames(0, 5);
}

static void a_port_that_is_opened_again_keeps_its_guest(void **state)
{
	nic_bring_up();
	sw_close_port();
	sw_run();
	vmm_listen(&vmm);
	assert_int_equal(vmm.left_why, 0); // it may come back
	sw_open_port(2);
	sw_run();
	vmm_listen(&vmm);
	assert_int_equal(vmm.left_why, VMBUS_USER_LEAVING_RESTART);
	vmm_hang_up(&vmm);
	re_adopt();
	nic_expect_frames(0, 5);
}

static void a_port_of_another_address_begins_anew(void **state)
{
	nic_bring_up();
	sw_close_port();
	sw_run();
	sw.more.mac = mac_from_u64(0x00155d000042);
	sw_open_port(2);
	sw_run();
	vmm_hang_up(&vmm);
	assert_int_equal(re_adopt_until_start(-1), EINVAL);
	assert_non_null(strstr((char *)vmm.reply.message + 16, "00155d000042"));
	vmm_hang_up(&vmm);
	// The VMM rescinds the channel, offers it again, and the driver is loaded anew.
	vmm_destroy(&vmm);
	driver_free();
	vmm_create(&vmm, true);
	nic_bring_up();
	nic_expect_frames(0, 5);
}

// Takes the frames that the NIC sent until now, all of them announcements. Returns how many.
static uint32_t n_announcements(void)
{
	uint32_t n = sw.n_got;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *frame = rte_pktmbuf_mtod(sw.got[i], const uint8_t *);

		assert_int_equal(rte_pktmbuf_pkt_len(sw.got[i]), 60);
		assert_int_equal(load_u32(frame), UINT32_MAX);
		assert_memory_equal(frame + 6, &sw.more.mac, sizeof(sw.more.mac));
		assert_memory_equal(frame + 12, "\x80\x35\x00\x01\x08\x00\x06\x04\x00\x03", 10);
		assert_memory_equal(frame + 22, frame + 6, 6);
		assert_memory_equal(frame + 28, "\0\0\0\0", 4);
		assert_memory_equal(frame + 32, frame + 6, 6);
	}
	sw_free_got();
	return n;
}

static void a_restored_nic_tells_its_network(void **state)
{
	uint32_t n = 0;

	sw.more.mac = mac_from_u64(0x00155d000042);
	sw_stop();
	sw_start(2);
	nic_bring_up();
	vmm_hang_up(&vmm);
	origin = VMBUS_USER_IMAGE;
	re_adopt();
	origin = VMBUS_USER_KEPT;
	for (int i = 0; i < 400 && n < 3; i++) {
		sw_work();
		n += n_announcements();
		usleep(10000);
	}
	assert_int_equal(n, 3);
	vmm_hang_up(&vmm);
	re_adopt(); // by a restart nobody is moved
	sw_work();
	assert_int_equal(n_announcements(), 0);
	nic_expect_frames(0, 5);
}

static void a_removed_port_says_goodbye(void **state)
{
	nic_bring_up();
	sw_close_port();
	for (int i = 0; i < 400 && !vmm.left_why; i++) {
		usleep(10000);
		sw_run();
		vmm_listen(&vmm);
	}
	assert_int_equal(vmm.left_why, VMBUS_USER_LEAVING_REMOVED);
}

static void state_memory_that_does_not_fit_is_refused(void **state)
{
	nic_bring_up();
	vmm_hang_up(&vmm);
	vmm_connect(&vmm);
	assert_int_equal(vmm_hello(&vmm, "web0", NULL), 0);
	assert_int_equal(vmm_state(&vmm, VMBUS_USER_KEPT), 0);
	assert_int_equal(vmm_region(&vmm, 0, VMM_RAM_GPA, VMM_RAM_BYTES), 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 0, VMM_RINGS_PAGE(0), VMM_RING_PAGES), 0);
	assert_int_equal(vmm_open(&vmm, 0, true, VMBUS_USER_NO_MONITOR), 0);
	// The receive buffer's GPADL is missing.
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_START), EINVAL);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RECEIVE_GPADL, 0, VMM_RECEIVE_PAGE, VMM_RECEIVE_PAGES),
			 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_SEND_GPADL, 0, VMM_SEND_PAGE, VMM_SEND_PAGES), 0);
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_START), 0);
	nic_expect_frames(0, 5);
}

static void resuming_without_memory_is_refused(void **state)
{
	vmm.features = VMBUS_USER_DIRECT;
	vmm_connect(&vmm);
	assert_int_equal(vmm_hello(&vmm, "web0", NULL), 0);
	assert_int_equal(vmm_region(&vmm, 0, VMM_RAM_GPA, VMM_RAM_BYTES), 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 0, VMM_RINGS_PAGE(0), VMM_RING_PAGES), 0);
	vmm.open_serials[0] = 1;
	assert_int_equal(vmm_open(&vmm, 0, true, VMBUS_USER_NO_MONITOR), EINVAL);
	assert_int_equal(vmm_open(&vmm, 0, false, VMBUS_USER_NO_MONITOR), 0);
}

// --- misbehaviour ------------------------------------------------------------------------------

static void a_corrupt_ring_fails_its_channel_alone(void **state)
{
	struct vmbus_ring_header *ring = (void *)(vmm.ram + 4096 * VMM_RINGS_PAGE(0));

	nic_bring_up();
	ring->write = cpu_to_le32(0xfffffff0);
	for (int i = 0; i < 5; i++)
		sw_work();
	vmm_listen(&vmm);
	assert_int_equal(vmm.failed, 1);
	assert_non_null(strchr(sw.events, 'F'));
	assert_int_equal(sw_transmit(0, 1), 0);
	assert_string_equal(sw_info().state, "its channel has failed");
	assert_int_equal(vmm_close(&vmm, 0), 0);
	memset(vmm.ram + 4096 * VMM_RINGS_PAGE(0), 0, 4096 * VMM_RING_PAGES);
	assert_int_equal(vmm_teardown(&vmm, VMM_RECEIVE_GPADL, 0), 0);
	assert_int_equal(vmm_teardown(&vmm, VMM_SEND_GPADL, 0), 0);
	assert_int_equal(vmm_open(&vmm, 0, false, VMBUS_USER_NO_MONITOR), 0);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
	nic_expect_frames(0, 5);
}

static void truncated_memory_ends_its_guest(void **state)
{
	assert_int_equal(vmbus_mapping_install(), 0); // in place of the test library's
	vmm_destroy(&vmm);
	vmm_create(&vmm, false);
	nic_bring_up();
	nic_expect_frames(0, 5);
	assert_int_equal(ftruncate(vmm.ram_fd, 0), 0);
	for (int i = 0; i < 5; i++) {
		sw_transmit(0, 1);
		sw_work();
	}
	vmm_listen(&vmm);
	assert_int_equal(vmm.left_why, VMBUS_USER_LEAVING_FAULT);
	assert_int_equal(sw_transmit(0, 1), 0);
	assert_false(sw_info().attached);
	sw_free_got();
}

// Nobody polls yet: control itself meets the hole.
static void truncated_memory_is_met_by_control(void **state)
{
	assert_int_equal(vmbus_mapping_install(), 0);
	vmm_destroy(&vmm);
	vmm_create(&vmm, false);
	vmm_connect(&vmm);
	assert_int_equal(vmm_hello(&vmm, "web0", NULL), 0);
	assert_int_equal(vmm_region(&vmm, 0, VMM_RAM_GPA, VMM_RAM_BYTES), 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 0, VMM_RINGS_PAGE(0), VMM_RING_PAGES), 0);
	assert_int_equal(ftruncate(vmm.ram_fd, 0), 0);
	vmm_open(&vmm, 0, false, VMBUS_USER_NO_MONITOR);
	sw_run();
	vmm_listen(&vmm);
	assert_int_equal(vmm.left_why, VMBUS_USER_LEAVING_FAULT);
	assert_false(sw_info().attached);
}

static void vmms_may_leave_at_any_moment(void **state)
{
	for (int stage = 0; stage < 8; stage++) {
		struct vmbus_user_plain pause = {
			.header.type = cpu_to_le16(VMBUS_USER_TYPE_PAUSE),
		};

		vmm_destroy(&vmm);
		vmm_create(&vmm, true);
		driver_free();
		vmm_connect(&vmm);
		if (stage == 1)
			vmm_hello(&vmm, "web0", NULL);
		if (stage == 2) {
			vmm_hello(&vmm, "web0", NULL);
			vmm_state(&vmm, VMBUS_USER_NEW);
			vmm_region(&vmm, 0, VMM_RAM_GPA, VMM_RAM_BYTES);
		}
		if (stage >= 3) {
			close(vmm.fd);
			sw_run();
			nic_bring_up();
		}
		if (stage == 4) // a request that is never read
			vmbus_user_send(vmm.fd, &pause, sizeof(pause), NULL, 0);
		if (stage == 5 || stage == 6) { // one that waits for a grace period
			rcu_reader_online(sw.rcu, 0);
			rcu_quiescent(sw.rcu, 0);
			sw.worker_stuck = true;
			vmbus_user_send(vmm.fd, &pause, sizeof(pause), NULL, 0);
			sw_run();
		}
		if (stage == 7) // a frame, and a request of the driver
			driver_send(&driver, 0, 1);
		close(vmm.fd);
		vmm.fd = -1;
		sw_run();
		if (sw.worker_stuck) {
			assert_true(sw_info().attached); // nobody may come before it is over
			rcu_reader_offline(sw.rcu, 0);
			sw.worker_stuck = false;
			sw_run();
		}
		assert_false(sw_info().attached);
		sw_work();
		assert_int_equal(sw.n_got, 0);
	}
}

static void strangers_are_limited(void **state)
{
	uint8_t byte;
	int fds[80];

	for (int i = 0; i < 80; i++) {
		vmm_connect(&vmm);
		fds[i] = vmm.fd;
		sw_run();
	}
	vmm_connect(&vmm); // others say nothing: it is heard
	assert_int_equal(vmm_hello(&vmm, "web0", NULL), 0);
	vmm_hang_up(&vmm);
	for (int i = 0; i < 80; i++) {
		bool is_hung_up = recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;

		assert_int_equal(is_hung_up, i < 80 - 63);
		close(fds[i]);
	}
	for (int i = 0; i < 20; i++)
		sw_run();
	vmm_connect(&vmm);
	assert_int_equal(vmm_hello(&vmm, "web0", NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_guest_outlives_the_switch),
		TEST(what_a_killed_switch_wrote_is_marked_by_the_next),
		TEST(a_planned_restart_reads_no_more),
		TEST(a_port_that_is_opened_again_keeps_its_guest),
		TEST(a_port_of_another_address_begins_anew),
		TEST(a_restored_nic_tells_its_network),
		TEST(a_removed_port_says_goodbye),
		TEST(state_memory_that_does_not_fit_is_refused),
		TEST(resuming_without_memory_is_refused),
		TEST(a_corrupt_ring_fails_its_channel_alone),
		TEST(truncated_memory_ends_its_guest),
		TEST(truncated_memory_is_met_by_control),
		TEST(vmms_may_leave_at_any_moment),
		TEST(strangers_are_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
