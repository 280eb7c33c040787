// SPDX-License-Identifier: Apache-2.0
// The client of vmbus-user: pause and images, what the switch asks for, and a switch that lies.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmbus/test_vmm.h"

// --- pause, save, restore ----------------------------------------------------------------------

static void a_paused_guest_is_left_alone(void **state)
{
	vmm_attach_open();
	vmbus_client_pause(the_client, 5);
	switch_run_other();
	switch_hang_up(); // before the answer
	vmm_expect_events("detached; done 5");
	assert_false(switch_other_is_due(50));
	vmbus_client_save(the_client, 6);
	switch_run_other();
	vmm_expect_events("done 6 -11 ");
	vmbus_client_resume(the_client, 7);
	vmm_reattach_open();
	switch_serve(VMBUS_USER_TYPE_RESUME, TEST_OK);
	vmm_expect_events("attached again; done 7");
}

static void a_saved_nic_is_restored(void **state)
{
	struct vmbus_client_open open = vmm_opening(0);
	void *image = NULL;
	size_t bytes;
	uint8_t byte = 0x5a, id[16];

	vmm_attach_open();
	assert_int_equal(vmbus_client_image(the_client, &image, &bytes), -EAGAIN);
	vmbus_client_pause(the_client, 5);
	vmbus_client_save(the_client, 6);
	switch_serve(VMBUS_USER_TYPE_PAUSE, TEST_OK);
	switch_serve_save();
	vmm_expect_events("done 5; done 6");
	assert_int_equal(vmbus_client_image(the_client, &image, &bytes), 0);
	assert_int_equal(vmbus_client_restore(the_client, image, bytes), -EBUSY);
	vmbus_client_destroy(the_client);
	vmm_make_client();
	((uint8_t *)image)[bytes / 2] ^= 1;
	assert_int_equal(vmbus_client_restore(the_client, image, bytes), -EINVAL);
	((uint8_t *)image)[bytes / 2] ^= 1;
	assert_false(vmbus_client_guid(the_client, id));
	assert_int_equal(vmbus_client_restore(the_client, image, bytes), 0);
	assert_true(vmbus_client_guid(the_client, id));
	assert_memory_equal(id, test_guid, sizeof(test_guid));
	free(image);
	vmm_want_region(1, 1);
	vmm_want_gpadl(0, 10, 1, 2);
	open.resume = true;
	assert_int_equal(vmbus_client_open(the_client, &open, 3), 0);
	vmbus_client_start(the_client, 4);
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_IMAGE);
	assert_int_equal(pread(the_switch.got.fds[0], &byte, 1, 0), 1);
	assert_int_equal(byte, 0);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	assert_int_equal(switch_got(24), 1); // its serial, from the image
	assert_int_equal(switch_got(28), VMBUS_USER_OPEN_RESUME);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	vmm_expect_events("found; done 1; done 2; done 3; attached; done 4");
	switch_hang_up();
	vmm_reattach_open();
}

static void an_image_that_does_not_fit_is_lost(void **state)
{
	struct vmbus_client_open open = vmm_opening(0);
	void *image;
	size_t bytes;

	vmm_attach_open();
	vmbus_client_pause(the_client, 5);
	switch_serve(VMBUS_USER_TYPE_PAUSE, TEST_OK);
	vmbus_client_save(the_client, 6);
	switch_serve_save();
	assert_int_equal(vmbus_client_image(the_client, &image, &bytes), 0);
	vmbus_client_destroy(the_client);
	vmm_make_client();
	assert_int_equal(vmbus_client_restore(the_client, image, bytes), 0);
	free(image);
	vmm_events[0] = 0;
	open.resume = true;
	vmbus_client_open(the_client, &open, 3);
	vmbus_client_start(the_client, 4);
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_IMAGE);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_START, EINVAL);
	vmm_expect_events("found; done 3; lost; detached");
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	vmm_expect_events("attached; done 4");
}

// --- what the switch asks, and lies ------------------------------------------------------------

static void subchannels_are_granted_once(void **state)
{
	struct vmbus_user_subchannels m = {
		.header = { cpu_to_le16(VMBUS_USER_TYPE_SUBCHANNELS), cpu_to_le16(0),
			    cpu_to_le32(9) },
		.n_wanted = cpu_to_le32(4),
	};

	vmm_attach_open();
	switch_sends(&m, sizeof(m));
	switch_run_other();
	vmm_expect_events("subchannels 4");
	switch_expect_nothing();
	switch_sends(&m, sizeof(m)); // one at a time
	switch_run_other();
	assert_int_equal(vmbus_user_receive(the_switch.peer, &the_switch.got), 16);
	assert_int_equal(switch_got(8), EBUSY);
	vmbus_client_grant(the_client, 7);
	assert_int_equal(vmbus_user_receive(the_switch.peer, &the_switch.got), 24);
	assert_int_equal(load_u16(the_switch.got.message), VMBUS_USER_TYPE_SUBCHANNELS);
	assert_int_equal(load_u16(the_switch.got.message + 2), VMBUS_USER_REPLY);
	assert_int_equal(switch_got(4), 9);
	assert_int_equal(switch_got(16), 4); // no more than wanted
	vmbus_client_grant(the_client, 7);                   // for nobody
	switch_expect_nothing();
	m.n_wanted = cpu_to_le32(64);
	switch_sends(&m, sizeof(m));
	switch_run_other();
	assert_int_equal(vmbus_user_receive(the_switch.peer, &the_switch.got), 16);
	assert_int_equal(switch_got(8), EINVAL);
	m.header.type = cpu_to_le16(200);
	switch_sends(&m, sizeof(m));
	switch_run_other();
	assert_int_equal(vmbus_user_receive(the_switch.peer, &the_switch.got), 16);
	assert_int_equal(switch_got(8), EOPNOTSUPP);
}

static void failed_channels_are_told(void **state)
{
	struct vmbus_user_channel_failed m = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_CHANNEL_FAILED),
		.channel = cpu_to_le32(5),
		.reason = cpu_to_le32(VMBUS_USER_FAILED_INDEX),
		.text = "index",
	};

	vmm_attach_open();
	switch_sends(&m, sizeof(m)); // not open
	m.channel = cpu_to_le32(0);
	switch_sends(&m, sizeof(m));
	switch_run_other();
	vmm_expect_events("failed 0 1 index");
}

static const struct lie {
	uint16_t type, flags;
	int serial; // more than that of the request
	uint32_t status, reserved, bytes;
} lies[] = {
	{ VMBUS_USER_TYPE_CLOSE, 1, 1, 0, 0, 16 },         // serial
	{ VMBUS_USER_TYPE_CLOSE, 1, -1, 0, 0, 16 },
	{ VMBUS_USER_TYPE_OPEN, 1, 0, 0, 0, 16 },          // type
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 1, 16 },         // reserved field
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 4096, 0, 16 },      // status
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, ~0u, 0, 16 },
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 0, 15 },         // size
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 0, 17 },
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 0, 4096 },
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 5, 0, 257 },
	{ VMBUS_USER_TYPE_CLOSE, 3, 0, 0, 0, 16 },         // flag
	{ VMBUS_USER_TYPE_CLOSE, 1, 0, 0, 0, 7 },
	{ VMBUS_USER_TYPE_SUBCHANNELS, 0, 0, 4, 0, 17 },
	{ VMBUS_USER_TYPE_CHANNEL_FAILED, 0, 0, 64, 0, 80 },
	{ VMBUS_USER_TYPE_CHANNEL_FAILED, 0, 0, 0, 0, 79 },
	{ VMBUS_USER_TYPE_LEAVING, 0, 0, 0, 0, 81 },
};

static void lies_end_the_connection(void **state)
{
	static uint8_t m[VMBUS_USER_MAX_MESSAGE];

	vmm_attach_open();
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		vmbus_client_close(the_client, 9, 50);
		switch_expect(VMBUS_USER_TYPE_CLOSE);
		memset(m, 0, sizeof(m));
		store_u16(m, lies[i].type);
		store_u16(m + 2, lies[i].flags);
		store_u32(m + 4, switch_got(4) + (uint32_t)lies[i].serial);
		store_u32(m + 8, lies[i].status);
		store_u32(m + 12, lies[i].reserved);
		vmm_events[0] = 0;
		switch_sends(m, lies[i].bytes);
		switch_run_other();
		vmm_expect_events("detached; done 50");
		vmm_reattach_open();
	}
	// An answer to nothing.
	vmm_events[0] = 0;
	memset(m, 0, sizeof(m));
	store_u16(m, VMBUS_USER_TYPE_CLOSE);
	store_u16(m + 2, VMBUS_USER_REPLY);
	switch_sends(m, 16);
	switch_run_other();
	vmm_expect_events("detached");
	// Descriptors.
	vmm_reattach_open();
	vmm_events[0] = 0;
	assert_int_equal(vmbus_user_send(the_switch.peer, m, 16, &vmm_bell, 1), 0);
	switch_run_other();
	vmm_expect_events("detached");
}

static void hellos_that_lie_are_not_believed(void **state)
{
	for (int i = 0; i < 10; i++) {
		struct vmbus_user_hello_reply m;

		switch_accept();
		switch_expect(VMBUS_USER_TYPE_HELLO);
		m = switch_hello_reply();
		switch (i) {
		case 0: m.version = cpu_to_le16(2); break;
		case 1: m.max_channels = cpu_to_le16(0); break;
		case 2: m.max_channels = cpu_to_le16(65); break;
		case 3: m.max_regions = cpu_to_le32(0); break;
		case 4: m.features = cpu_to_le64(TEST_FEATURES | 1 << 5); break;
		case 5: m.instance = cpu_to_le64(0); break;
		case 6: m.state_bytes = cpu_to_le64(0); break;
		case 7: m.state_bytes = cpu_to_le64(1ull << 40); break;
		case 8: m.features = cpu_to_le64(0); break;
		case 9: m.state_layout_min = cpu_to_le16(2); break;
		}
		switch_sends(&m, sizeof(m));
		switch_run_other();
		vmm_expect_events("detached");
	}
	switch_accept();
	switch_serve_hello();
	vmm_expect_events("found");
}

static void another_nic_is_not_taken(void **state)
{
	struct vmbus_user_hello_reply m;

	vmm_attach_open();
	switch_hang_up();
	switch_accept();
	switch_expect(VMBUS_USER_TYPE_HELLO);
	m = switch_hello_reply();
	m.guid[15] = 1;
	switch_sends(&m, sizeof(m));
	switch_run_other();
	vmm_reattach_open();
	vmm_expect_events("detached; detached; attached again");
}

static void a_switch_that_does_not_read_is_waited_for(void **state)
{
	vmm_attach();
	// The socket is full long before 64 messages of 4 KiB are out, or not; either way:
	for (uint32_t i = 0; i < 100; i++)
		vmm_want_gpadl(0, i, 254, i);
	switch_run_other();
	for (uint32_t i = 0; i < 100; i++)
		switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_expect_nothing();
	assert_non_null(strstr(vmm_events, "done 99"));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, test_vmm_begin, test_vmm_end)
	const struct CMUnitTest tests[] = {
		T(a_paused_guest_is_left_alone),
		T(a_saved_nic_is_restored),
		T(an_image_that_does_not_fit_is_lost),
		T(subchannels_are_granted_once),
		T(failed_channels_are_told),
		T(lies_end_the_connection),
		T(hellos_that_lie_are_not_believed),
		T(another_nic_is_not_taken),
		T(a_switch_that_does_not_read_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
