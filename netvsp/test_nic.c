// SPDX-License-Identifier: Apache-2.0
// A NIC from the socket to the frame: who may attach, that whatever a VMM is promised has happened
// when it is answered, restarts, and guests and VMMs that misbehave. One thread.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/drop.h"
#include "netvsp/test_vmm.h"
#include "vmbus/mapping.h"

static struct vmm vmm;
static struct driver driver;

static void driver_free(void)
{
	for (int i = 0; i < 4; i++)
		free((void *)(uintptr_t)driver.rig[i].rings.runs);
	free((void *)(uintptr_t)driver.rig[0].receive.runs);
	free((void *)(uintptr_t)driver.rig[0].send.runs);
	driver = (struct driver){};
}

static int n_fds_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int fds_before;

static int setup(void **state)
{
	fds_before = n_fds_open();
	sw_create(2);
	vmm_create(&vmm, true);
	return 0;
}

static int teardown(void **state)
{
	sw_destroy();
	vmm_destroy(&vmm);
	driver_free();
	return n_fds_open() != fds_before;
}

// A guest whose driver is up.
static void bring_up(void)
{
	vmm_attach(&vmm);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
}

// --- frames ------------------------------------------------------------------------------------

static uint16_t transmit(uint16_t queue, uint32_t mark)
{
	struct rte_mbuf *m = test_frame_build(sw.pools.small, &(struct test_frame){ .payload_bytes = 60 });
	uint16_t sent;

	store_u32(rte_pktmbuf_mtod(m, uint8_t *) + 60, mark);
	sent = sw.dev->ops->tx(sw.dev->queues[queue], &m, 1);
	if (!sent)
		rte_pktmbuf_free(m);
	return sent;
}

// Both ways, once.
static void expect_frames_cross(unsigned int channel, uint32_t mark)
{
	driver_send(&driver, channel, mark);
	sw_work();
	assert_int_equal(sw.n_got, 1);
	assert_int_equal(load_u32(rte_pktmbuf_mtod(sw.got[0], uint8_t *) + 60), mark);
	sw_free_got();
	assert_int_equal(transmit((uint16_t)channel, mark + 1), 1);
	assert_int_equal(driver_receive(&driver, channel), mark + 1);
	sw_work(); // takes the acknowledgement
}

static void info_of(void *arg, const struct netvsp_nic_info *info)
{
	*(struct netvsp_nic_info *)arg = *info;
}

static struct netvsp_nic_info get_info(void)
{
	struct netvsp_nic_info info = {};

	netvsp_nic_list(info_of, &info);
	return info;
}

static void frames_cross_once_the_driver_is_up(void **state)
{
	struct port_link link;
	struct netvsp_nic_info info;

	sw.dev->ops->link(sw.dev, &link);
	assert_false(link.up);
	assert_non_null(strstr(link.reason, "attaches as web0"));
	assert_int_equal(transmit(0, 1), 0);
	assert_int_equal(sw.dev->queues[0]->refusal, DROP_DISCONNECTED);
	vmm_attach(&vmm);
	sw.dev->ops->link(sw.dev, &link);
	assert_false(link.up);
	assert_string_equal(link.reason, "driver not ready");
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
	sw.dev->ops->link(sw.dev, &link);
	assert_true(link.up);
	for (uint32_t i = 0; i < 100; i++)
		expect_frames_cross(0, 1000 * i);
	info = get_info();
	assert_true(info.attached && info.ready);
	assert_int_equal(info.nvsp_version, NVSP_VERSION_6_1);
	assert_int_equal(info.ndis_version, 6 << 16 | 30);
	assert_int_equal(info.n_channels, 1);
	assert_int_equal(info.counters[0].rx_frames, 100);
	assert_int_equal(info.counters[0].tx_frames, 100);
	assert_true(info.n_sections >= 512);
	assert_true(info.n_held <= 2); // what was said unasked
	assert_string_equal(info.state, "ready");
}

static void without_state_memory_it_works_as_well(void **state)
{
	vmm.features = VMBUS_USER_DIRECT;
	bring_up();
	expect_frames_cross(0, 7);
	vmm_hang_up(&vmm);
	assert_false(get_info().attached);
}

// --- who may attach ----------------------------------------------------------------------------

static int try_hello(const char *name, const uint8_t *token)
{
	struct vmm other;
	int status;

	vmm_create(&other, true);
	vmm_connect(&other);
	status = vmm_hello(&other, name, token);
	vmm_destroy(&other);
	sw_run();
	return status;
}

static void one_vmm_at_a_time(void **state)
{
	assert_int_equal(try_hello("web1", NULL), ENOENT);
	assert_string_equal(sw.events, "R");
	vmm_attach(&vmm);
	assert_int_equal(try_hello("web0", NULL), EBUSY);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
	expect_frames_cross(0, 1); // the first one is not disturbed
	vmm_hang_up(&vmm);
	assert_string_equal(sw.events, "RARD");
	assert_int_equal(transmit(0, 1), 0);
	assert_int_equal(try_hello("web0", NULL), 0);
	assert_int_equal(try_hello("web0", NULL), 0);
}

static void only_who_may_attaches(void **state)
{
	static const uint8_t right[32] = { 1, 2, 3, 255 };
	uint8_t wrong[32] = { 1, 2, 3, 254 };
	char path[] = "/tmp/weft-test-token-XXXXXX", text[65] = "";
	int fd = mkstemp(path);
	struct port_cfg cfg = {
		.name = "b", .n_queues = 1, .token_file = path, .pools = &sw.pools
	};
	struct port_dev *dev, *second;
	struct err err = {};

	assert_true(fd >= 0);
	assert_int_equal(port_netvsp.open(&cfg, &dev, &err), -EINVAL); // an empty file
	for (int i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", right[i]);
	assert_int_equal(write(fd, text, 64), 64);
	assert_int_equal(port_netvsp.open(&cfg, &dev, &err), 0);
	assert_int_equal(try_hello("b", NULL), EACCES);
	assert_int_equal(try_hello("b", wrong), EACCES);
	assert_int_equal(try_hello("b", right), 0);
	port_netvsp.close(dev);
	cfg.vm_uid = geteuid() + 1;
	assert_int_equal(port_netvsp.open(&cfg, &dev, &err), 0);
	assert_int_equal(try_hello("b", right), EACCES);
	port_netvsp.close(dev);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, right, 32, 0), 32);
	cfg.vm_uid = 0;
	assert_int_equal(port_netvsp.open(&cfg, &dev, &err), 0);
	assert_int_equal(try_hello("b", right), 0);
	assert_int_equal(port_netvsp.open(&cfg, &second, &err), -EEXIST);
	port_netvsp.close(dev);
	close(fd);
	unlink(path);
	cfg.token_file = "/nonexistent/token";
	cfg.name = "c";
	assert_int_equal(port_netvsp.open(&cfg, &dev, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/token"));
}

// --- promises to the VMM -----------------------------------------------------------------------

// The worker is in the middle of a batch: none of these is answered before it has ended it.
static void answers_wait_for_the_worker(void **state)
{
	static const enum vmbus_user_type types[] = {
		VMBUS_USER_TYPE_CLOSE, VMBUS_USER_TYPE_PAUSE, VMBUS_USER_TYPE_RESET,
		VMBUS_USER_TYPE_TARGET, VMBUS_USER_TYPE_DIRTY_LOG, VMBUS_USER_TYPE_REGION_DEL,
		VMBUS_USER_TYPE_MONITOR, VMBUS_USER_TYPE_GPADL_TEARDOWN,
	};
	static const uint32_t sizes[] = { 16, 16, 16, 48, 32, 16, 32, 16 };

	bring_up();
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		uint8_t m[64] = {};

		if (types[i] == VMBUS_USER_TYPE_REGION_DEL) {
			assert_int_equal(vmm_region(&vmm, 9, 1ull << 40, 4096), 0);
			store_u32(m + 8, 9);
		}
		if (types[i] == VMBUS_USER_TYPE_GPADL_TEARDOWN)
			store_u32(m + 8, VMM_RECEIVE_GPADL);
		rcu_reader_online(sw.rcu, 0);
		rcu_quiescent(sw.rcu, 0);
		sw.worker_stuck = true;
		assert_int_equal(vmm_ask(&vmm, types[i], m, sizes[i], NULL, 0), VMM_SILENT);
		rcu_quiescent(sw.rcu, 0);
		assert_int_equal(vmm_wait(&vmm), 0);
		rcu_reader_offline(sw.rcu, 0);
		sw.worker_stuck = false;
		vmm_hang_up(&vmm);
		memset(vmm.ram, 0, VMM_RAM_BYTES);
		assert_int_equal(ftruncate(vmm.state_fd, sizeof(struct vmbus_state)), 0);
		driver_free();
		bring_up();
	}
}

static void a_closed_channel_is_not_touched(void **state)
{
	bring_up();
	assert_int_equal(vmm_close(&vmm, 0), 0);
	driver_send(&driver, 0, 1);
	sw_work();
	assert_int_equal(sw.n_got, 0);
	assert_int_equal(transmit(0, 1), 0);
	assert_int_equal(driver_receive(&driver, 0), -1);
	assert_int_equal(get_info().n_channels, 0);
	// A new life of the driver.
	memset(vmm.ram + 4096 * VMM_RINGS_PAGE(0), 0, 4096 * VMM_RING_PAGES);
	assert_int_equal(vmm_teardown(&vmm, VMM_RECEIVE_GPADL, 0), 0);
	assert_int_equal(vmm_teardown(&vmm, VMM_SEND_GPADL, 0), 0);
	assert_int_equal(vmm_open(&vmm, 0, false, VMBUS_USER_NO_MONITOR), 0);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
	expect_frames_cross(0, 5);
}

static void a_reset_guest_may_begin_again(void **state)
{
	bring_up();
	expect_frames_cross(0, 5);
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_RESET), 0);
	assert_int_equal(vmm_teardown(&vmm, VMM_RECEIVE_GPADL, 0), ENOENT);
	memset(vmm.ram, 0, VMM_RAM_BYTES);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 0, VMM_RINGS_PAGE(0), VMM_RING_PAGES), 0);
	assert_int_equal(vmm_open(&vmm, 0, false, VMBUS_USER_NO_MONITOR), 0);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
	expect_frames_cross(0, 9);
}

static void tearing_a_buffer_down_revokes_it(void **state)
{
	bring_up();
	expect_frames_cross(0, 5);
	assert_int_equal(transmit(0, 77), 1); // held by the guest
	assert_true(get_info().n_held >= 1);
	assert_int_equal(vmm_teardown(&vmm, VMM_RECEIVE_GPADL, 0), 0);
	assert_int_equal(get_info().n_sections, 0);
	assert_int_equal(transmit(0, 78), 0);
	assert_int_equal(vmm_teardown(&vmm, VMM_SEND_GPADL, 0), 0);
	driver_send(&driver, 0, 1); // names a send section that is none any more
	sw_work();
	assert_int_equal(sw.n_got, 0);
	assert_int_equal(vmm.failed, 0);
}

static void nothing_moves_while_paused(void **state)
{
	uint8_t *before = malloc(VMM_RAM_BYTES);
	eventfd_t value;

	bring_up();
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_PAUSE), 0);
	driver_send(&driver, 0, 3);
	memcpy(before, vmm.ram, VMM_RAM_BYTES);
	sw_work();
	assert_int_equal(sw.n_got, 0);
	assert_int_equal(transmit(0, 1), 0);
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_SAVE), 0);
	assert_memory_equal(before, vmm.ram, VMM_RAM_BYTES);
	eventfd_read(vmm.irq_fds[0], &value);
	memset(vmm.ram, 0, 256); // the flag was seen
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_RESUME), 0);
	assert_int_equal(eventfd_read(vmm.irq_fds[0], &value), 0); // rung once
	sw_work();
	assert_int_equal(sw.n_got, 1);
	sw_free_got();
	expect_frames_cross(0, 11);
	free(before);
}

// A request of the driver, and the VMM's PAUSE before it is answered.
static void requests_of_the_driver_survive_a_pause(void **state)
{
	struct nvsp_ndis_version version = { cpu_to_le32(NVSP_SEND_NDIS_VERSION), cpu_to_le32(6),
					     cpu_to_le32(30) };
	struct rig *rig = &driver.rig[0];
	const struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_INBAND, .wants_completion = true, .transaction = 999,
		.payload = &version, .payload_bytes = sizeof(version),
	};
	struct rig_packet answer = {};

	bring_up();
	while (rig_read(rig, &answer))
		;
	rig_put(rig, &packet);
	rig_kick(rig);
	for (uint16_t i = 0; i < 1; i++) // the worker finds it, control has not heard of it
		assert_int_equal(sw.dev->ops->rx(sw.dev->queues[0], sw.got, PORT_BATCH), 0);
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_PAUSE), 0);
	for (int i = 0; i < 5; i++)
		sw_work();
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_RESUME), 0);
	for (int i = 0; i < 10; i++)
		sw_work();
	assert_true(rig_read(rig, &answer));
	assert_int_equal(answer.type, VMBUS_PACKET_COMPLETION);
	assert_int_equal(answer.id, 999);
	expect_frames_cross(0, 11);
}

static void a_new_target_is_rung_and_the_old_one_left_alone(void **state)
{
	struct vmbus_user_set_target m = {
		.target = { .mode = cpu_to_le32(VMBUS_USER_MODE_DIRECT), .flag = cpu_to_le32(64),
			    .gpa = cpu_to_le64(VMM_RAM_GPA + 256) },
	};
	eventfd_t value;

	bring_up();
	memset(vmm.ram, 0, 4096);
	assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_TARGET, &m, sizeof(m), &vmm.irq_fds[1], 1),
			 0);
	assert_int_equal(vmm.ram[256 + 8], 1);
	assert_int_equal(eventfd_read(vmm.irq_fds[1], &value), 0);
	assert_int_equal(transmit(0, 4), 1);
	assert_int_equal(vmm.ram[256 + 8], 1);
	for (int i = 0; i < 256; i++)
		assert_int_equal(vmm.ram[i], 0);
	assert_int_equal(driver_receive(&driver, 0), 4);
}

static void what_is_written_is_marked_dirty(void **state)
{
	struct vmbus_user_dirty_log m = { .flags = cpu_to_le32(1), .bytes = cpu_to_le64(4096) };
	int fd = memfd_create("dirty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t words[512] = {};
	uint32_t n = 0;

	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	bring_up();
	assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_DIRTY_LOG, &m, sizeof(m), &fd, 1), 0);
	assert_int_equal(transmit(0, 4), 1);
	assert_int_equal(pread(fd, words, sizeof(words), 0), sizeof(words));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		n += (uint32_t)__builtin_popcountll(words[i]);
	assert_true(n >= 3); // a section, the ring's header and its data, perhaps the flag
	m = (struct vmbus_user_dirty_log){};
	assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_DIRTY_LOG, &m, sizeof(m), NULL, 0), 0);
	close(fd);
}

// --- doorbells ---------------------------------------------------------------------------------

static bool is_readable(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	bool readable;

	assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
	readable = epoll_wait(epoll, &event, 1, 0) == 1;
	close(epoll);
	return readable;
}

static void a_sleeping_worker_is_woken(void **state)
{
	struct port_queue *q = sw.dev->queues[0];
	int bell = sw.dev->ops->doorbell(q);

	assert_false(sw.dev->ops->arm(q, true));
	assert_false(is_readable(bell));
	bring_up();
	assert_true(is_readable(bell)); // control has given it a channel
	assert_int_equal(sw.dev->ops->doorbell(q), bell);
	sw.dev->ops->arm(q, false);
	assert_false(is_readable(bell));
	while (sw.dev->ops->arm(q, true)) {
		sw.dev->ops->arm(q, false);
		sw_work();
	}
	assert_false(is_readable(bell));
	eventfd_write(vmm.guest_fds[0], 1);
	assert_true(is_readable(bell));
	sw.dev->ops->arm(q, false);
	assert_false(is_readable(bell));
	assert_int_equal(get_info().counters[0].guest_bells, 1);
	eventfd_write(vmm.guest_fds[0], 1); // never read, and rings again
	assert_true(is_readable(bell));
	sw.dev->ops->arm(q, false);
	driver_send(&driver, 0, 1);
	assert_true(sw.dev->ops->arm(q, true)); // there is something to read
	sw.dev->ops->arm(q, false);
	vmm_hang_up(&vmm);
	eventfd_write(vmm.guest_fds[0], 1); // it is not ours any more
	sw.dev->ops->arm(q, false);
	assert_false(is_readable(bell));
}

static void bits_of_the_monitor_page_are_taken(void **state)
{
	struct vmbus_user_monitor m = { .flags = cpu_to_le32(1),
					.to_host_gpa = cpu_to_le64(VMM_RAM_GPA + 4096) };
	struct vmbus_monitor_page *page = (void *)(vmm.ram + 4096 * VMM_MONITOR_PAGE);
	struct port_queue *q = sw.dev->queues[0];

	bring_up();
	assert_int_equal(vmm_close(&vmm, 0), 0);
	memset(vmm.ram + 4096 * VMM_RINGS_PAGE(0), 0, 4096 * VMM_RING_PAGES);
	assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_MONITOR, &m, sizeof(m), NULL, 0), 0);
	assert_int_equal(vmm_open(&vmm, 0, false, 33), 0);
	sw.dev->ops->arm(q, false);
	page->groups[1].pending = cpu_to_le32(7);
	sw.dev->ops->arm(q, true);
	for (int i = 0; i < 2000 && !is_readable(sw.dev->ops->doorbell(q)); i++)
		usleep(100); // the timer wakes the worker: it looks
	sw.dev->ops->arm(q, false);
	assert_int_equal(le32_to_cpu(page->groups[1].pending), 5);
}

// --- sub-channels ------------------------------------------------------------------------------

static uint32_t ask_channels(uint32_t n)
{
	struct {
		le32 type, operation, n;
	} m = { cpu_to_le32(NVSP_SUBCHANNEL), cpu_to_le32(1), cpu_to_le32(n) };

	assert_true(driver_ask(&driver, &m, sizeof(m)));
	assert_int_equal(load_u32(driver.completion), NVSP_SUBCHANNEL);
	return load_u32(driver.completion + 8);
}

static void granted_channels_carry_frames(void **state)
{
	bring_up();
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 1, VMM_RINGS_PAGE(1), VMM_RING_PAGES), 0);
	assert_int_equal(vmm_open(&vmm, 1, false, VMBUS_USER_NO_MONITOR), EPERM);
	vmm.will_grant = 1;
	assert_int_equal(ask_channels(1), 1);
	assert_int_equal(vmm.n_asked, 1);
	assert_int_equal(vmm_open(&vmm, 1, false, VMBUS_USER_NO_MONITOR), 0);
	driver_open(&driver, &vmm, 1);
	expect_frames_cross(1, 3);
	expect_frames_cross(0, 5);
	assert_int_equal(get_info().n_channels, 2);
	assert_int_equal(vmm_close(&vmm, 0), 0); // takes the other one with it
	assert_int_equal(get_info().n_channels, 0);
	assert_int_equal(transmit(1, 3), 0);
	assert_int_equal(vmm_close(&vmm, 1), 0);
}

// --- restarts ----------------------------------------------------------------------------------

// The socket of a switch that is gone.
static void vmm_forget(void)
{
	close(vmm.fd);
	vmm.fd = -1;
}

static void re_adopt(void)
{
	vmm_connect(&vmm);
	assert_int_equal(vmm_hello(&vmm, "web0", NULL), 0);
	assert_int_equal(vmm_state(&vmm, VMBUS_USER_KEPT), 0);
	assert_int_equal(vmm_region(&vmm, 0, VMM_RAM_GPA, VMM_RAM_BYTES), 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 0, VMM_RINGS_PAGE(0), VMM_RING_PAGES), 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RECEIVE_GPADL, 0, VMM_RECEIVE_PAGE, VMM_RECEIVE_PAGES),
			 0);
	assert_int_equal(vmm_gpadl(&vmm, VMM_SEND_GPADL, 0, VMM_SEND_PAGE, VMM_SEND_PAGES), 0);
	assert_int_equal(vmm_open(&vmm, 0, true, VMBUS_USER_NO_MONITOR), 0);
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_START), 0);
}

static void a_guest_outlives_the_switch(void **state)
{
	bring_up();
	expect_frames_cross(0, 5);
	for (int i = 0; i < 3; i++) {
		driver_send(&driver, 0, 40);
		assert_int_equal(transmit(0, 41), 1);
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
		assert_true(get_info().ready);
		for (uint32_t j = 0; j < 20; j++)
			expect_frames_cross(0, 100 * j);
	}
}

static void on_drained(void *arg) { *(bool *)arg = true; }

static void a_planned_restart_reads_no_more(void **state)
{
	bool is_drained = false;

	bring_up();
	netvsp_service_drain(sw.service, on_drained, &is_drained);
	sw_run();
	assert_true(is_drained);
	driver_send(&driver, 0, 40);
	sw_work();
	assert_int_equal(sw.n_got, 0);
	assert_int_equal(transmit(0, 41), 1); // what was under way is delivered
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
	expect_frames_cross(0, 5);
}

static void a_port_that_is_opened_again_keeps_its_guest(void **state)
{
	bring_up();
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
	expect_frames_cross(0, 5);
}

static void a_removed_port_says_goodbye(void **state)
{
	bring_up();
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
	bring_up();
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
	expect_frames_cross(0, 5);
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

	bring_up();
	ring->write = cpu_to_le32(0xfffffff0);
	for (int i = 0; i < 5; i++)
		sw_work();
	vmm_listen(&vmm);
	assert_int_equal(vmm.failed, 1);
	assert_non_null(strchr(sw.events, 'F'));
	assert_int_equal(transmit(0, 1), 0);
	assert_string_equal(get_info().state, "its channel has failed");
	assert_int_equal(vmm_close(&vmm, 0), 0);
	memset(vmm.ram + 4096 * VMM_RINGS_PAGE(0), 0, 4096 * VMM_RING_PAGES);
	assert_int_equal(vmm_teardown(&vmm, VMM_RECEIVE_GPADL, 0), 0);
	assert_int_equal(vmm_teardown(&vmm, VMM_SEND_GPADL, 0), 0);
	assert_int_equal(vmm_open(&vmm, 0, false, VMBUS_USER_NO_MONITOR), 0);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
	expect_frames_cross(0, 5);
}

static void truncated_memory_ends_its_guest(void **state)
{
	assert_int_equal(vmbus_mapping_install(), 0); // in place of the test library's
	vmm_destroy(&vmm);
	vmm_create(&vmm, false);
	bring_up();
	expect_frames_cross(0, 5);
	assert_int_equal(ftruncate(vmm.ram_fd, 0), 0);
	for (int i = 0; i < 5; i++) {
		transmit(0, 1);
		sw_work();
	}
	vmm_listen(&vmm);
	assert_int_equal(vmm.left_why, VMBUS_USER_LEAVING_FAULT);
	assert_int_equal(transmit(0, 1), 0);
	assert_false(get_info().attached);
	sw_free_got();
}

static void vmms_may_leave_at_any_moment(void **state)
{
	for (int stage = 0; stage < 8; stage++) {
		struct vmbus_user_plain pause = { .header.type = cpu_to_le16(VMBUS_USER_TYPE_PAUSE) };

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
			bring_up();
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
			assert_true(get_info().attached); // nobody may come before it is over
			rcu_reader_offline(sw.rcu, 0);
			sw.worker_stuck = false;
			sw_run();
		}
		assert_false(get_info().attached);
		sw_work();
		assert_int_equal(sw.n_got, 0);
	}
}

static void strangers_are_limited(void **state)
{
	int fds[80];

	for (int i = 0; i < 80; i++) {
		vmm_connect(&vmm);
		fds[i] = vmm.fd;
		sw_run();
	}
	for (int i = 0; i < 80; i++)
		close(fds[i]);
	for (int i = 0; i < 20; i++)
		sw_run();
	vmm_connect(&vmm);
	assert_int_equal(vmm_hello(&vmm, "web0", NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_cross_once_the_driver_is_up),
		TEST(without_state_memory_it_works_as_well),
		TEST(one_vmm_at_a_time),
		TEST(only_who_may_attaches),
		TEST(answers_wait_for_the_worker),
		TEST(a_closed_channel_is_not_touched),
		TEST(a_reset_guest_may_begin_again),
		TEST(tearing_a_buffer_down_revokes_it),
		TEST(nothing_moves_while_paused),
		TEST(requests_of_the_driver_survive_a_pause),
		TEST(a_new_target_is_rung_and_the_old_one_left_alone),
		TEST(what_is_written_is_marked_dirty),
		TEST(a_sleeping_worker_is_woken),
		TEST(bits_of_the_monitor_page_are_taken),
		TEST(granted_channels_carry_frames),
		TEST(a_guest_outlives_the_switch),
		TEST(a_planned_restart_reads_no_more),
		TEST(a_port_that_is_opened_again_keeps_its_guest),
		TEST(a_removed_port_says_goodbye),
		TEST(state_memory_that_does_not_fit_is_refused),
		TEST(resuming_without_memory_is_refused),
		TEST(a_corrupt_ring_fails_its_channel_alone),
		TEST(truncated_memory_ends_its_guest),
		TEST(vmms_may_leave_at_any_moment),
		TEST(strangers_are_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
