// SPDX-License-Identifier: Apache-2.0
// What happens to a NIC in its life: drivers that start again, MTUs that change, NICs that go and
// come, pauses, moves to another host, dirty pages. One thread (rig.h).
#include "tests/guest/rig.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <unistd.h>

#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"

#define VMM (&rig.vms[0].vmm)
#define GUEST (&rig.vms[0].vmm.guest)
#define DRIVER (&rig.vms[0].driver)

// --- drivers that start again ------------------------------------------------------------------

static void reopen(void **state)
{
	uint32_t n_used;

	rig_up(&(struct rig_cfg){ .sw.n_queues = 2, .driver.n_subchannels = 1 });
	n_used = GUEST->memory.n_used;
	for (uint32_t i = 0; i < 20; i++) {
		rig_check_traffic(0);
		assert_int_equal(fake_driver_stop(DRIVER), 0);
		assert_false(rig_info(0).ready);
		assert_int_equal(fake_driver_start(DRIVER), 0);
		assert_int_equal(GUEST->memory.n_used, n_used);
	}
	rig_down();
}

// Frames under way when the guest closes are lost, and only those.
static void closing_under_traffic(void **state)
{
	rig_up(&(struct rig_cfg){ .n_vms = 2 });
	rig_check_traffic(1);
	for (uint32_t i = 0; i < 20; i++) {
		for (uint32_t n = 0; n < 100; n++)
			rig_inject(0, 200);
		rig.vms[0].started = false;
		assert_int_equal(fake_driver_close(DRIVER), 0); // without a word before
		assert_int_equal(fake_driver_unshare(DRIVER), 0);
		fake_driver_fini(DRIVER);
		rig_inject(0, 200);
		fake_driver_init(DRIVER, GUEST, 0, &(struct fake_driver_cfg){
				 .receive = DRIVER->cfg.receive, .ctx = &rig.vms[0] });
		assert_int_equal(fake_driver_start(DRIVER), 0);
		rig.vms[0].started = true;
		rig_check_traffic(0);
		rig_check_traffic(1);
	}
	rig_down();
}

static void mtu_changes(void **state)
{
	static const uint32_t mtus[] = { 9014, 1514, 4000, 9014, 1514 };

	rig_up(&(struct rig_cfg){ .sw.mtu = 9000, .driver.receive_pages = 1024 });
	for (uint32_t i = 0; i < ARRAY_SIZE(mtus); i++) {
		assert_int_equal(fake_driver_stop(DRIVER), 0);
		DRIVER->cfg.mtu = mtus[i];
		assert_int_equal(fake_driver_start(DRIVER), 0);
		assert_true(DRIVER->section_bytes >= mtus[i] + 44);
		rig_check_traffic(0);
		rig_expect(0, rig_inject(0, mtus[i]));
		fake_switch_forget_wire(&rig.sw);
		rig_expect_wire(rig_send(0, mtus[i]));
	}
	rig_down();
}

static void guest_resets(void **state)
{
	rig_up(NULL);
	for (uint32_t i = 0; i < 20; i++) {
		struct fake_driver_cfg cfg = DRIVER->cfg;

		rig_check_traffic(0);
		fake_driver_fini(DRIVER);
		vmbus_server_reset(VMM->server);
		rig_rounds(10);
		assert_int_equal(fake_vmm_boot(VMM), 0);
		fake_driver_init(DRIVER, GUEST, 0, &cfg);
		assert_int_equal(fake_driver_start(DRIVER), 0);
	}
	rig_down();
}

// --- NICs that go and come ---------------------------------------------------------------------

static bool is_rescinded(void *arg)
{
	const struct fake_channel *channel = arg;

	return channel->rescinded;
}

static bool is_detached(void *arg) { return !rig_info(0).attached; }
static bool is_gone(void *arg) { return rig.vms[0].vmm.nics[0].gone; }

static void nic_is_taken_out(void **state)
{
	rig_up(&(struct rig_cfg){ .n_vms = 2 });
	rig_check_traffic(0);
	fake_vmm_remove(VMM, 0);
	rig_wait(is_rescinded, DRIVER->channels[0]);
	assert_int_equal(fake_driver_leave(DRIVER), 0);
	rig_wait(is_gone, NULL);
	rig_wait(is_detached, NULL);
	rig_inject(0, 60); // dropped, and counted
	rig_check_traffic(1);
	rig_down();
}

// The port is deleted and made again: a new NIC, to which the VMM attaches again.
static void port_is_deleted(void **state)
{
	rig_up(&(struct rig_cfg){ .n_vms = 2 });
	rig_check_traffic(0);
	fake_switch_close(&rig.sw, 0);
	rig_rounds(50);
	rig_check_traffic(1);
	rig_drop();
}

static void vmm_dies(void **state)
{
	rig_up(&(struct rig_cfg){ .n_vms = 2 });
	for (uint32_t i = 0; i < 10; i++) {
		struct fake_driver_cfg driver = DRIVER->cfg;
		struct fake_vmm_cfg vmm = VMM->cfg;

		rig_check_traffic(0);
		for (uint32_t n = 0; n < 50; n++)
			rig_inject(0, 200);
		rig.vms[0].started = false;
		fake_driver_fini(DRIVER);
		fake_vmm_fini(VMM);
		rig_inject(0, 60);
		rig_wait(is_detached, NULL);
		rig_check_traffic(1);
		assert_int_equal(fake_vmm_init(VMM, &vmm), 0);
		fake_driver_init(DRIVER, GUEST, 0, &driver);
		assert_int_equal(fake_vmm_boot(VMM), 0);
		assert_int_equal(fake_driver_start(DRIVER), 0);
		rig.vms[0].started = true;
	}
	assert_int_equal(rig_info(0).n_attached, 11);
	rig_down();
}

// --- pause, save, restore ----------------------------------------------------------------------

static void pause_and_resume(void **state)
{
	rig_up(NULL);
	for (uint32_t i = 0; i < 20; i++) {
		uint32_t sent, given;

		rig_check_traffic(0);
		assert_int_equal(fake_vmm_pause(VMM, 0), 0);
		fake_switch_forget_wire(&rig.sw);
		sent = rig_send(0, 300);
		given = rig_inject(0, 300); // nobody takes it
		rig_rounds(20);
		assert_false(rig_wire_has(sent));
		assert_int_equal(fake_vmm_resume(VMM, 0), 0);
		rig_expect_wire(sent);
		assert_false(rig_has(0, given));
	}
	rig_down();
}

// What the guest holds, and has not had completed, survives.
static void moves_to_another_host(void **state)
{
	rig_up(&(struct rig_cfg){ .sw.n_queues = 2,
				  .driver = { .n_subchannels = 1, .ack = FAKE_ACK_HOLD } });
	for (uint32_t i = 0; i < 10; i++) {
		uint32_t sent;

		for (uint32_t n = 0; n < 30; n++)
			rig_inject(0, 100 + n);
		rig_rounds(20);
		assert_int_equal(fake_vmm_pause(VMM, 0), 0);
		fake_switch_forget_wire(&rig.sw);
		sent = rig_send(0, 300);
		assert_int_equal(fake_vmm_migrate(VMM, NULL), 0);
		rig_expect_wire(sent);
		assert_int_equal(fake_driver_flush(DRIVER), 0);
		assert_int_equal(rig_info(0).n_held, DRIVER->n_xfers);
		rig_check_traffic(0);
		while (DRIVER->n_xfers > 5)
			fake_driver_ack_nth(DRIVER, DRIVER->n_xfers / 2);
		fake_driver_kick(DRIVER);
		rig_rounds(10);
		assert_int_equal(rig_info(0).n_held, DRIVER->n_xfers);
		assert_int_equal(fake_driver_keepalive(DRIVER), 0);
	}
	rig_down();
}

static void moves_before_offers(void **state)
{
	rig_up(&(struct rig_cfg){ .no_boot = true });
	while (!rig_info(0).attached)
		rig_rounds(1);
	assert_int_equal(fake_guest_connect(GUEST), 0);
	assert_int_equal(fake_vmm_migrate(VMM, NULL), 0);
	assert_int_equal(fake_guest_request_offers(GUEST), 0);
	while (!fake_guest_nic(GUEST, 0, 0))
		rig_rounds(1);
	assert_int_equal(fake_driver_start(DRIVER), 0);
	rig_check_traffic(0);
	rig_down();
}

// At every step of a bring-up.
static void moves_during_bring_up(void **state)
{
	static int (*const steps[])(struct fake_driver *driver) = {
		fake_driver_open, fake_driver_negotiate, fake_driver_configure,
		fake_driver_share_buffers, fake_driver_initialize, fake_driver_query_all,
	};

	for (uint32_t move = 0; move <= ARRAY_SIZE(steps); move++) {
		rig_up(&(struct rig_cfg){ .no_start = true });
		for (uint32_t i = 0; i <= ARRAY_SIZE(steps); i++) {
			if (i == move)
				assert_int_equal(fake_vmm_migrate(VMM, NULL), 0);
			if (i < ARRAY_SIZE(steps))
				assert_int_equal(steps[i](DRIVER), 0);
		}
		assert_int_equal(fake_driver_set_filter(DRIVER, 0xd), 0);
		rig_check_traffic(0);
		rig_down();
	}
}

// --- dirty pages -------------------------------------------------------------------------------

// Every page that differs after some traffic and was not written by the guest is marked. Guests
// write theirs as well, so that the test looks at pages only the switch writes: the receive buffer.
static void written_pages_are_marked(void **state)
{
	uint64_t *bitmap, n_bytes, n_dirty = 0;
	uint8_t *before;
	int fd = memfd_create("dirty", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	rig_up(NULL);
	rig_check_traffic(0);
	n_bytes = GUEST->memory.n_pages / 8;
	assert_int_equal(ftruncate(fd, (off_t)n_bytes), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	bitmap = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(bitmap, MAP_FAILED);
	assert_int_equal(vmbus_nic_dirty_log(VMM->nics[0].nic, fd, n_bytes, 77), 0);
	while (VMM->nics[0].cookie != 77)
		rig_rounds(1);
	assert_int_equal(VMM->nics[0].status, 0);
	before = malloc(fake_buffer_bytes(&DRIVER->receive));
	memcpy(before, DRIVER->receive.at, fake_buffer_bytes(&DRIVER->receive));
	DRIVER->cfg.ack = FAKE_ACK_HOLD; // each frame goes into another section
	for (uint32_t i = 0; i < 300; i++)
		rig_expect(0, rig_inject(0, 60 + i * 4));
	fake_driver_ack(DRIVER, UINT32_MAX);
	DRIVER->cfg.ack = FAKE_ACK_NOW;
	assert_int_equal(fake_driver_keepalive(DRIVER), 0);
	for (uint32_t i = 0; i < DRIVER->receive.n_pages; i++) {
		uint64_t page = DRIVER->receive.pages[i];
		bool marked = bitmap[page / 64] >> page % 64 & 1;

		n_dirty += marked;
		if (memcmp(before + i * 4096, DRIVER->receive.at + i * 4096, 4096))
			assert_true(marked);
	}
	assert_in_range(n_dirty, 10, DRIVER->receive.n_pages - 1);
	// Rings and event flags, too: of both rings the switch has written the header.
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t page = DRIVER->channels[0]->rings.pages[i ? DRIVER->channels[0]->in_page
								   : 0];

		assert_true(bitmap[page / 64] >> page % 64 & 1);
	}
	assert_true(bitmap[GUEST->siefp[0] / 64] >> GUEST->siefp[0] % 64 & 1);
	assert_int_equal(vmbus_nic_dirty_log(VMM->nics[0].nic, -1, 0, 78), 0);
	rig_rounds(20);
	memset(bitmap, 0, n_bytes);
	rig_check_traffic(0);
	for (uint64_t i = 0; i < n_bytes / 8; i++)
		assert_int_equal(bitmap[i], 0);
	munmap(bitmap, n_bytes);
	close(fd);
	free(before);
	rig_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reopen),
		cmocka_unit_test(closing_under_traffic),
		cmocka_unit_test(mtu_changes),
		cmocka_unit_test(guest_resets),
		cmocka_unit_test(nic_is_taken_out),
		cmocka_unit_test(port_is_deleted),
		cmocka_unit_test(vmm_dies),
		cmocka_unit_test(pause_and_resume),
		cmocka_unit_test(moves_to_another_host),
		cmocka_unit_test(moves_before_offers),
		cmocka_unit_test(moves_during_bring_up),
		cmocka_unit_test(written_pages_are_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
