// SPDX-License-Identifier: Apache-2.0
#include "vmbus/test_switch.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

const uint8_t test_guid[16] = { 1, 2, 3 };
struct test_switch the_switch;

void switch_listen(void)
{
	the_switch.listener = vmbus_user_listen(the_switch.path);
	assert_true(the_switch.listener >= 0);
}

void switch_unlisten(void)
{
	close(the_switch.listener);
	the_switch.listener = -1;
}

void switch_begin(int (*fd)(void), void (*run)(void))
{
	static int n;

	the_switch = (struct test_switch){ .peer = -1, .features = TEST_FEATURES, .fd = fd,
					   .run = run };
	snprintf(the_switch.path, sizeof(the_switch.path), "@weft-test-%d-%d", getpid(), n++);
	switch_listen();
}

void switch_end(void)
{
	vmbus_user_datagram_close(&the_switch.got);
	if (the_switch.listener >= 0)
		close(the_switch.listener);
	if (the_switch.peer >= 0)
		close(the_switch.peer);
}

bool switch_other_is_due(int timeout_ms)
{
	struct pollfd p = { .fd = the_switch.fd(), .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

void switch_run_other(void)
{
	while (switch_other_is_due(0))
		the_switch.run();
}

void switch_accept(void)
{
	if (the_switch.peer >= 0)
		close(the_switch.peer);
	// The other end may have delays of its own between its tries.
	for (int i = 0; i < 100; i++) {
		the_switch.peer = vmbus_user_accept(the_switch.listener);
		if (the_switch.peer != -EAGAIN)
			break;
		assert_true(switch_other_is_due(3000));
		the_switch.run();
	}
	assert_true(the_switch.peer >= 0);
	switch_run_other();
}

void switch_hang_up(void)
{
	close(the_switch.peer);
	the_switch.peer = -1;
	switch_run_other();
}

void switch_expect(uint16_t type)
{
	vmbus_user_datagram_close(&the_switch.got);
	switch_run_other();
	if (vmbus_user_receive(the_switch.peer, &the_switch.got) <= 0)
		fail_msg("no message, where one of type %u should be", type);
	assert_int_equal(load_u16(the_switch.got.message), type);
	assert_int_equal(load_u16(the_switch.got.message + 2), 0);
}

void switch_expect_nothing(void)
{
	switch_run_other();
	assert_int_equal(vmbus_user_receive(the_switch.peer, &the_switch.got), -EAGAIN);
}

void switch_sends(const void *message, uint32_t bytes)
{
	assert_int_equal(vmbus_user_send(the_switch.peer, message, bytes, NULL, 0), 0);
}

void switch_answer(uint32_t status, uint32_t bytes)
{
	uint8_t reply[256] = {};

	memcpy(reply, the_switch.got.message, sizeof(struct vmbus_user_header));
	reply[2] = VMBUS_USER_REPLY;
	store_u32(reply + 8, status);
	if (status) {
		memcpy(reply + 16, "no", 2);
		bytes = 18;
	}
	switch_sends(reply, bytes);
	switch_run_other();
}

void switch_serve(uint16_t type, uint32_t status)
{
	switch_expect(type);
	switch_answer(status, type == VMBUS_USER_TYPE_START ? 32 : 16);
}

struct vmbus_user_hello_reply switch_hello_reply(void)
{
	bool has_state = the_switch.features & VMBUS_USER_STATE;
	struct vmbus_user_hello_reply reply = {
		.head.header = { cpu_to_le16(VMBUS_USER_TYPE_HELLO),
				 cpu_to_le16(VMBUS_USER_REPLY),
				 cpu_to_le32(load_u32(the_switch.got.message + 4)) },
		.version = cpu_to_le16(1),
		.max_channels = cpu_to_le16(64),
		.max_regions = cpu_to_le32(64),
		.features = cpu_to_le64(the_switch.features),
		.instance = cpu_to_le64(77),
		.state_bytes = cpu_to_le64(has_state ? TEST_STATE_BYTES : 0),
		.state_layout_min = cpu_to_le16(1),
		.state_layout_max = cpu_to_le16(1),
	};

	memcpy(reply.guid, test_guid, sizeof(reply.guid));
	return reply;
}

void switch_serve_hello(void)
{
	struct vmbus_user_hello_reply reply;

	switch_expect(VMBUS_USER_TYPE_HELLO);
	reply = switch_hello_reply();
	switch_sends(&reply, sizeof(reply));
	switch_run_other();
}

void switch_serve_state(uint32_t origin)
{
	switch_serve(VMBUS_USER_TYPE_STATE, TEST_OK);
	assert_int_equal(load_u32(the_switch.got.message + 8), origin);
}

void switch_serve_save(void)
{
	struct vmbus_user_save_reply m = { .bytes = cpu_to_le64(TEST_STATE_BYTES) };

	switch_expect(VMBUS_USER_TYPE_SAVE);
	memcpy(&m, the_switch.got.message, sizeof(m.head.header));
	m.head.header.flags = cpu_to_le16(VMBUS_USER_REPLY);
	switch_sends(&m, sizeof(m));
	switch_run_other();
}
