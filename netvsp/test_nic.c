// SPDX-License-Identifier: Apache-2.0
// A NIC from the socket to the frame: who may attach, and that whatever a VMM is promised has
// happened when it is answered. One thread.
#include "netvsp/test_nic_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/drop.h"
#include "netvsp/nic_parts.h"
#include "vmbus/mapping.h"

static void frames_cross_once_the_driver_is_up(void **state)
{
	struct port_link link;
	struct netvsp_nic_info info;

	sw.dev->ops->link(sw.dev, &link);
	assert_false(link.up);
	assert_non_null(strstr(link.reason, "attaches as web0"));
	assert_int_equal(sw_transmit(0, 1), 0);
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
		nic_expect_frames(0, 1000 * i);
	info = sw_info();
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
	nic_bring_up();
	nic_expect_frames(0, 7);
	vmm_hang_up(&vmm);
	assert_false(sw_info().attached);
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
	nic_expect_frames(0, 1); // the first one is not disturbed
	vmm_hang_up(&vmm);
	assert_string_equal(sw.events, "RARD");
	assert_int_equal(sw_transmit(0, 1), 0);
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

	nic_bring_up();
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
		nic_bring_up();
	}
}

static void a_closed_channel_is_not_touched(void **state)
{
	nic_bring_up();
	assert_int_equal(vmm_close(&vmm, 0), 0);
	driver_send(&driver, 0, 1);
	sw_work();
	assert_int_equal(sw.n_got, 0);
	assert_int_equal(sw_transmit(0, 1), 0);
	assert_int_equal(driver_receive(&driver, 0), -1);
	assert_int_equal(sw_info().n_channels, 0);
	// A new life of the driver.
	memset(vmm.ram + 4096 * VMM_RINGS_PAGE(0), 0, 4096 * VMM_RING_PAGES);
	assert_int_equal(vmm_teardown(&vmm, VMM_RECEIVE_GPADL, 0), 0);
	assert_int_equal(vmm_teardown(&vmm, VMM_SEND_GPADL, 0), 0);
	assert_int_equal(vmm_open(&vmm, 0, false, VMBUS_USER_NO_MONITOR), 0);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
	nic_expect_frames(0, 5);
}

static void a_reset_guest_may_begin_again(void **state)
{
	nic_bring_up();
	nic_expect_frames(0, 5);
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_RESET), 0);
	assert_int_equal(vmm_teardown(&vmm, VMM_RECEIVE_GPADL, 0), ENOENT);
	memset(vmm.ram, 0, VMM_RAM_BYTES);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 0, VMM_RINGS_PAGE(0), VMM_RING_PAGES), 0);
	assert_int_equal(vmm_open(&vmm, 0, false, VMBUS_USER_NO_MONITOR), 0);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
	nic_expect_frames(0, 9);
}

static void tearing_a_buffer_down_revokes_it(void **state)
{
	nic_bring_up();
	nic_expect_frames(0, 5);
	assert_int_equal(sw_transmit(0, 77), 1); // held by the guest
	assert_true(sw_info().n_held >= 1);
	assert_int_equal(vmm_teardown(&vmm, VMM_RECEIVE_GPADL, 0), 0);
	assert_int_equal(sw_info().n_sections, 0);
	assert_int_equal(sw_transmit(0, 78), 0);
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

	nic_bring_up();
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_PAUSE), 0);
	driver_send(&driver, 0, 3);
	memcpy(before, vmm.ram, VMM_RAM_BYTES);
	sw_work();
	assert_int_equal(sw.n_got, 0);
	assert_int_equal(sw_transmit(0, 1), 0);
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_SAVE), 0);
	assert_memory_equal(before, vmm.ram, VMM_RAM_BYTES);
	eventfd_read(vmm.irq_fds[0], &value);
	memset(vmm.ram, 0, 256); // the flag was seen
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_RESUME), 0);
	assert_int_equal(eventfd_read(vmm.irq_fds[0], &value), 0); // rung once
	sw_work();
	assert_int_equal(sw.n_got, 1);
	sw_free_got();
	nic_expect_frames(0, 11);
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

	nic_bring_up();
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
	nic_expect_frames(0, 11);
}

// The worker finds a request in the batch in which the VMM asks for a pause: the state memory is
// not touched before RESUME.
static void mail_that_meets_a_pause_waits(void **state)
{
	struct nvsp_ndis_version version = { cpu_to_le32(NVSP_SEND_NDIS_VERSION), cpu_to_le32(6),
					     cpu_to_le32(30) };
	struct vmbus_user_plain pause = { .header.type = cpu_to_le16(VMBUS_USER_TYPE_PAUSE) };
	struct vmbus_state *before = malloc(sizeof(*before)), *after = malloc(sizeof(*after));
	struct netvsp_channel *channel;

	nic_bring_up();
	channel = rcu_get(&port_netvsp_nic(sw.dev)->queues[0].channel);
	rcu_reader_online(sw.rcu, 0);
	rcu_quiescent(sw.rcu, 0);
	pause.header.serial = cpu_to_le32(++vmm.serial);
	assert_int_equal(vmbus_user_send(vmm.fd, &pause, sizeof(pause), NULL, 0), 0);
	sw_run();
	driver_put(&driver, &version, sizeof(version));
	assert_int_equal(netvsp_channel_receive(channel, sw.got, PORT_BATCH), 0);
	assert_int_equal(pread(vmm.state_fd, before, sizeof(*before), 0), sizeof(*before));
	rcu_reader_offline(sw.rcu, 0);
	assert_int_equal(vmm_wait(&vmm), 0);
	for (int i = 0; i < 5; i++)
		sw_work();
	assert_int_equal(pread(vmm.state_fd, after, sizeof(*after), 0), sizeof(*after));
	assert_memory_equal(before, after, sizeof(*after));
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_RESUME), 0);
	assert_true(driver_await(&driver));
	nic_expect_frames(0, 11);
	free(before);
	free(after);
}

static void a_new_target_is_rung_and_the_old_one_left_alone(void **state)
{
	struct vmbus_user_set_target m = {
		.target = { .mode = cpu_to_le32(VMBUS_USER_MODE_DIRECT), .flag = cpu_to_le32(64),
			    .gpa = cpu_to_le64(VMM_RAM_GPA + 256) },
	};
	eventfd_t value;

	nic_bring_up();
	memset(vmm.ram, 0, 4096);
	assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_TARGET, &m, sizeof(m), &vmm.irq_fds[1], 1),
			 0);
	assert_int_equal(vmm.ram[256 + 8], 1);
	assert_int_equal(eventfd_read(vmm.irq_fds[1], &value), 0);
	assert_int_equal(sw_transmit(0, 4), 1);
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
	nic_bring_up();
	assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_DIRTY_LOG, &m, sizeof(m), &fd, 1), 0);
	assert_int_equal(sw_transmit(0, 4), 1);
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
	vmm_attach(&vmm);
	assert_true(is_readable(bell)); // control has given it a channel
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
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
	assert_int_equal(sw_info().counters[0].guest_bells, 1);
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
	struct vmbus_user_dirty_log log = { .flags = cpu_to_le32(1), .bytes = cpu_to_le64(4096) };
	struct vmbus_monitor_page *page = (void *)(vmm.ram + 4096 * VMM_MONITOR_PAGE);
	const uint64_t number = VMM_RAM_GPA / 4096 + VMM_MONITOR_PAGE;
	int dirty = memfd_create("dirty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct port_queue *q = sw.dev->queues[0];
	uint64_t words[512];

	assert_int_equal(ftruncate(dirty, sizeof(words)), 0);
	assert_int_equal(fcntl(dirty, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	nic_bring_up();
	assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_DIRTY_LOG, &log, sizeof(log), &dirty, 1), 0);
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
	assert_int_equal(pread(dirty, words, sizeof(words), 0), sizeof(words));
	assert_true(words[number / 64] >> (number % 64) & 1);
	close(dirty);
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
	nic_bring_up();
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 1, VMM_RINGS_PAGE(1), VMM_RING_PAGES), 0);
	assert_int_equal(vmm_open(&vmm, 1, false, VMBUS_USER_NO_MONITOR), EPERM);
	vmm.will_grant = 1;
	assert_int_equal(ask_channels(1), 1);
	assert_int_equal(vmm.n_asked, 1);
	assert_int_equal(vmm_open(&vmm, 1, false, VMBUS_USER_NO_MONITOR), 0);
	driver_open(&driver, &vmm, 1);
	nic_expect_frames(1, 3);
	nic_expect_frames(0, 5);
	assert_int_equal(sw_info().n_channels, 2);
	assert_int_equal(vmm_close(&vmm, 0), 0); // takes the other one with it
	assert_int_equal(sw_info().n_channels, 0);
	assert_int_equal(sw_transmit(1, 3), 0);
	assert_int_equal(vmm_close(&vmm, 1), 0);
}

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
		TEST(mail_that_meets_a_pause_waits),
		TEST(a_new_target_is_rung_and_the_old_one_left_alone),
		TEST(what_is_written_is_marked_dirty),
		TEST(a_sleeping_worker_is_woken),
		TEST(bits_of_the_monitor_page_are_taken),
		TEST(granted_channels_carry_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
