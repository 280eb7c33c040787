// SPDX-License-Identifier: Apache-2.0
// A NIC and a VMM that uses vmbus/client.h: both ends of vmbus-user as they are.
#include "netvsp/test_nic_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void bring_up(void)
{
	vmm_destroy(&vmm);
	vmm_client_create(&vmm, true);
	vmm_client_attach(&vmm);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
}

// Until the client is attached again.
static void await_attached(uint32_t n)
{
	for (int i = 0; i < 2000 && vmm.n_attached < n; i++) {
		vmbus_client_run(vmm.client);
		sw_work();
		usleep(1000);
	}
	assert_int_equal(vmm.n_attached, n);
}

static void both_ends_agree(void **state)
{
	bring_up();
	for (uint32_t i = 0; i < 50; i++)
		nic_expect_frames(0, 10 * i);
	assert_int_equal(vmbus_client_pause(vmm.client, ++vmm.cookie), 0);
	assert_int_equal(vmm_client_wait(&vmm), 0);
	assert_int_equal(vmbus_client_resume(vmm.client, ++vmm.cookie), 0);
	assert_int_equal(vmm_client_wait(&vmm), 0);
	nic_expect_frames(0, 5);
	assert_int_equal(vmbus_client_close(vmm.client, 0, ++vmm.cookie), 0);
	assert_int_equal(vmm_client_wait(&vmm), 0);
	assert_int_equal(sw_info().n_channels, 0);
}

static void the_client_comes_back_by_itself(void **state)
{
	bring_up();
	for (uint32_t i = 0; i < 3; i++) {
		nic_expect_frames(0, 5);
		driver_send(&driver, 0, 40);
		assert_int_equal(sw_transmit(0, 41), 1);
		sw_stop();
		vmbus_client_run(vmm.client);
		sw_start(2);
		await_attached(2 + i);
		sw_work();
		assert_int_equal(sw.n_got, 1);
		sw_free_got();
		assert_int_equal(driver_receive(&driver, 0), 41);
		assert_int_equal(vmm.n_lost, 0);
		assert_true(sw_info().ready);
	}
	nic_expect_frames(0, 5);
}

// The buffers' GPADLs, which are loaded with the rest.
static void want_buffers(void)
{
	static const uint32_t rows[2][3] = {
		{ VMM_RECEIVE_GPADL, VMM_RECEIVE_PAGE, VMM_RECEIVE_PAGES },
		{ VMM_SEND_GPADL, VMM_SEND_PAGE, VMM_SEND_PAGES },
	};

	for (int i = 0; i < 2; i++) {
		struct vmbus_run run = { NULL, VMM_RAM_GPA + rows[i][1] * 4096ull, 0,
					 rows[i][2] * 4096 };
		const struct vmbus_runs runs = { &run, 1, run.bytes };

		assert_int_equal(vmbus_client_gpadl_add(vmm.client, 0, rows[i][0], &runs,
							++vmm.cookie), 0);
	}
}

static void a_guest_moves_to_another_switch(void **state)
{
	uint8_t *ram = malloc(VMM_RAM_BYTES);
	void *image;
	size_t bytes;

	bring_up();
	nic_expect_frames(0, 5);
	driver_send(&driver, 0, 40);
	assert_int_equal(sw_transmit(0, 41), 1);
	assert_int_equal(vmbus_client_pause(vmm.client, ++vmm.cookie), 0);
	assert_int_equal(vmm_client_wait(&vmm), 0);
	assert_int_equal(vmbus_client_save(vmm.client, ++vmm.cookie), 0);
	assert_int_equal(vmm_client_wait(&vmm), 0);
	assert_int_equal(vmbus_client_image(vmm.client, &image, &bytes), 0);
	memcpy(ram, vmm.ram, VMM_RAM_BYTES);
	sw_free_got(); // what was read before the pause was forwarded there
	vmm_destroy(&vmm);
	sw_stop();
	sw_start(2);

	vmm_client_create(&vmm, true);
	memcpy(vmm.ram, ram, VMM_RAM_BYTES);
	free(ram);
	assert_int_equal(vmbus_client_restore(vmm.client, image, bytes), 0);
	free(image);
	vmm_client_load(&vmm);
	want_buffers();
	vmm_client_open(&vmm, true);
	assert_int_equal(vmbus_client_start(vmm.client, ++vmm.cookie), 0);
	assert_int_equal(vmm_client_wait(&vmm), 0);
	driver_move(&driver, &vmm);
	assert_int_equal(driver_receive(&driver, 0), 41);
	sw_work();
	sw_free_got();
	nic_expect_frames(0, 5);
	assert_true(sw_info().ready);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_ends_agree),
		TEST(the_client_comes_back_by_itself),
		TEST(a_guest_moves_to_another_switch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
