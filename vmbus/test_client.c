// SPDX-License-Identifier: Apache-2.0
// The client of vmbus-user: attaching, asking, and a switch that comes and goes.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmbus/test_vmm.h"

// --- attaching ---------------------------------------------------------------------------------

static void hello_says_who(void **state)
{
	const struct vmbus_user_hello *m = (const void *)the_switch.got.message;

	switch_accept();
	switch_expect(VMBUS_USER_TYPE_HELLO);
	assert_int_equal(the_switch.got.bytes, sizeof(*m));
	assert_int_equal(le32_to_cpu(m->magic), VMBUS_USER_MAGIC);
	assert_int_equal(le16_to_cpu(m->version_min), 1);
	assert_int_equal(le16_to_cpu(m->version_max), 1);
	assert_int_equal(le64_to_cpu(m->features), TEST_FEATURES);
	assert_string_equal(m->name, "web0");
	assert_memory_equal(m->token, vmm_token, sizeof(vmm_token));
	switch_expect_nothing(); // before the answer
	vmm_expect_events("");
}

static void the_state_memory_is_sealed(void **state)
{
	struct stat st;

	switch_accept();
	switch_serve_hello();
	switch_expect(VMBUS_USER_TYPE_STATE);
	assert_int_equal(switch_got(8), VMBUS_USER_NEW);
	assert_int_equal(switch_got(16), TEST_STATE_BYTES);
	assert_int_equal(the_switch.got.n_fds, 1);
	assert_int_equal(fstat(the_switch.got.fds[0], &st), 0);
	assert_int_equal(st.st_size, TEST_STATE_BYTES);
	assert_true((fcntl(the_switch.got.fds[0], F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW)) ==
		    (F_SEAL_SHRINK | F_SEAL_GROW));
	switch_expect_nothing(); // nobody has said what there is
}

static void requests_have_their_fields(void **state)
{
	struct vmbus_client_target none = { .mode = VMBUS_USER_MODE_NONE, .fd = -1 };

	vmm_attach();
	vmm_want_gpadl(0, 10, 1, 3);
	vmm_want_open(0, 4);
	assert_int_equal(vmbus_client_set_target(the_client, 0, &none, 5), 0);
	assert_int_equal(vmbus_client_set_monitor(the_client, 0x5000, 0x6000, 6), 0);
	assert_int_equal(vmbus_client_dirty_log(the_client, vmm_bell, 4096, 7), 0);
	assert_int_equal(vmbus_client_dirty_log(the_client, -1, 0, 8), 0);
	assert_int_equal(vmbus_client_close(the_client, 0, 9), 0);
	assert_int_equal(vmbus_client_gpadl_teardown(the_client, 0, 10, 10), 0);
	assert_int_equal(vmbus_client_region_del(the_client, 1, 11), 0);
	assert_int_equal(vmbus_client_reset(the_client, 12), 0);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	assert_int_equal(the_switch.got.bytes, 48);
	assert_int_equal(switch_got(12), 3); // FIRST | LAST
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	assert_int_equal(the_switch.got.bytes, 96);
	assert_int_equal(the_switch.got.n_fds, 2);
	assert_int_equal(switch_got(12), 1); // relid
	assert_int_equal(switch_got(16), 10);
	assert_int_equal(switch_got(52), 1); // flag
	assert_int_equal(switch_got(56), 0x3ff200);
	switch_serve(VMBUS_USER_TYPE_TARGET, TEST_OK);
	assert_int_equal(the_switch.got.n_fds, 0);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	assert_int_equal(switch_got(16), 0x5000);
	assert_int_equal(switch_got(24), 0x6000);
	switch_serve(VMBUS_USER_TYPE_DIRTY_LOG, TEST_OK);
	assert_int_equal(the_switch.got.n_fds, 1);
	switch_serve(VMBUS_USER_TYPE_DIRTY_LOG, TEST_OK);
	assert_int_equal(the_switch.got.n_fds, 0);
	switch_serve(VMBUS_USER_TYPE_CLOSE, TEST_OK);
	assert_int_equal(switch_got(8), 0);
	switch_serve(VMBUS_USER_TYPE_GPADL_TEARDOWN, TEST_OK);
	assert_int_equal(switch_got(8), 10);
	switch_serve(VMBUS_USER_TYPE_REGION_DEL, TEST_OK);
	assert_int_equal(switch_got(8), 1);
	switch_serve(VMBUS_USER_TYPE_RESET, TEST_OK);
	vmm_expect_events("done 3; done 4; done 5; done 6; done 7; done 8; done 9; done 10; "
			  "done 11; done 12");
}

static void impossible_requests_are_refused(void **state)
{
	struct vmbus_client_region region = { .gpa = 1, .bytes = 4096, .fd = vmm_bell };
	struct vmbus_client_open open = vmm_opening(64);
	struct vmbus_runs none = {};
	struct vmbus_client_cfg cfg = { .path = the_switch.path, .name = "",
					.ops = &vmm_client_ops };
	struct vmbus_client *other;

	assert_int_equal(vmbus_client_create(&cfg, &other), -EINVAL);
	assert_int_equal(vmbus_client_region_add(the_client, &region, 1), -EINVAL);
	region = (struct vmbus_client_region){ .bytes = 4096, .fd = -1 };
	assert_int_equal(vmbus_client_region_add(the_client, &region, 1), -EBADF);
	assert_int_equal(vmbus_client_gpadl_add(the_client, 0, 1, &none, 1), -EINVAL);
	assert_int_equal(vmbus_client_open(the_client, &open, 1), -EINVAL);
	assert_int_equal(vmbus_client_close(the_client, 64, 1), -EINVAL);
	open.channel = 0;
	open.resume = true; // of what?
	assert_int_equal(vmbus_client_open(the_client, &open, 1), -EINVAL);
	open.resume = false;
	open.target.mode = 3;
	assert_int_equal(vmbus_client_open(the_client, &open, 1), -EINVAL);
	switch_run_other();
	vmm_expect_events("");
}

static void a_long_gpadl_goes_in_parts(void **state)
{
	vmm_attach();
	vmm_want_gpadl(3, 10, 600, 5);
	for (uint32_t part = 0; part < 3; part++) {
		vmm_expect_events("");
		switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
		assert_int_equal(switch_got(12),
				 (part == 0 ? 1u : 0) | (part == 2 ? 2u : 0));
		assert_int_equal(switch_got(24), part == 2 ? 600 - 2 * 254 : 254);
		assert_int_equal(switch_got(28), 3);
		assert_int_equal(switch_got(32), 8192 * 254 * part);
	}
	vmm_expect_events("done 5");
	vmm_want_gpadl(3, 11, 600, 6);
	switch_serve(VMBUS_USER_TYPE_GPADL, EFAULT);
	switch_serve(VMBUS_USER_TYPE_GPADL, EINVAL);
	switch_serve(VMBUS_USER_TYPE_GPADL, EINVAL);
	vmm_expect_events("done 6 -14 no");
}

static void no_more_than_64_are_out(void **state)
{
	vmm_attach();
	for (uint32_t i = 0; i < 70; i++)
		assert_int_equal(vmbus_client_close(the_client, 1, 100 + i), 0);
	for (uint32_t i = 0; i < 64; i++)
		switch_expect(VMBUS_USER_TYPE_CLOSE);
	switch_expect_nothing();
	the_switch.got.message[2] = VMBUS_USER_REPLY;
	for (uint32_t i = 0; i < 64; i++) {
		// The first one has the serial of START plus 1.
		uint8_t reply[16] = { VMBUS_USER_TYPE_CLOSE, 0, VMBUS_USER_REPLY };

		store_u32(reply + 4, 5 + i);
		switch_sends(reply, sizeof(reply));
	}
	for (uint32_t i = 0; i < 6; i++)
		switch_expect(VMBUS_USER_TYPE_CLOSE);
	switch_expect_nothing();
}

// --- the switch comes and goes -----------------------------------------------------------------

static void a_new_switch_is_loaded(void **state)
{
	vmm_attach_open();
	vmm_want_gpadl(1, 11, 300, 5);
	vmm_want_open(1, 6);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	vmbus_client_set_monitor(the_client, 0x5000, 0x6000, 7);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	vmm_expect_events("done 5; done 6; done 7");
	switch_hang_up();
	vmm_expect_events("detached");
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_KEPT);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK); // whichever comes first
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	for (uint32_t i = 0; i < 2; i++) {
		switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
		assert_int_equal(switch_got(8), i);
		assert_int_equal(switch_got(24), 1);
		assert_int_equal(switch_got(28), VMBUS_USER_OPEN_RESUME);
		assert_int_equal(the_switch.got.n_fds, 2);
	}
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	vmm_expect_events("attached again");
	switch_expect_nothing();
	// Twice is no different.
	switch_hang_up();
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_KEPT);
}

static void a_target_that_was_changed_is_loaded(void **state)
{
	struct vmbus_client_target target = { VMBUS_USER_MODE_CALL, 1, 0, 5, 0, vmm_bell };

	vmm_attach_open();
	assert_int_equal(vmbus_client_set_target(the_client, 0, &target, 5), 0);
	switch_serve(VMBUS_USER_TYPE_TARGET, TEST_OK);
	switch_hang_up();
	vmm_reattach_open();
	vmm_expect_events("done 5; detached; attached again");
}

// Which of the requests without answer are done, and which wait.
static void the_unanswered_end_or_wait(void **state)
{
	struct vmbus_client_target target = { VMBUS_USER_MODE_CALL, 1, 0, 5, 0, vmm_bell };

	vmm_attach_open();
	vmm_want_gpadl(0, 20, 1, 5);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	vmm_want_region(2, 6);
	vmm_want_gpadl(0, 21, 1, 7);
	vmbus_client_set_target(the_client, 0, &target, 8);
	vmbus_client_gpadl_teardown(the_client, 0, 20, 9);
	vmm_want_gpadl(1, 11, 1, 10);
	vmm_want_open(1, 11);
	switch_run_other();
	vmm_events[0] = 0;
	switch_hang_up();
	vmm_expect_events("detached; done 8; done 9");
	vmm_reattach_open();
	vmm_expect_events("attached again");
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	assert_int_equal(switch_got(8), 21);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	assert_int_equal(switch_got(8), 1);
	// a new serial: it was sent once before
	assert_int_equal(switch_got(24), 2);
	assert_int_equal(switch_got(28), 0);
	vmm_expect_events("done 6; done 7; done 10; done 11");
}

static void while_away_some_is_done_and_some_waits(void **state)
{
	vmm_attach_open();
	switch_unlisten();
	switch_hang_up();
	vmm_expect_events("detached");
	vmm_want_gpadl(1, 11, 1, 5);
	vmm_want_open(1, 6);
	vmm_want_gpadl(0, 21, 1, 7);
	switch_run_other();
	vmm_expect_events("");
	vmbus_client_close(the_client, 1, 8);
	vmbus_client_gpadl_teardown(the_client, 1, 11, 9);
	vmbus_client_region_del(the_client, 1, 10);
	switch_run_other();
	vmm_expect_events("done 6 -125 ; done 8; done 5 -125 ; done 9; done 10");
	vmbus_client_reset(the_client, 11);
	switch_run_other();
	vmm_expect_events("done 7 -125 ; done 11");
	// And nothing of it is left to be loaded; a new state memory will do.
	switch_listen();
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	vmm_expect_events("attached again");
}

static void the_first_hello_decides(void **state)
{
	vmbus_client_start(the_client, 1);
	switch_accept();
	switch_serve(VMBUS_USER_TYPE_HELLO, EACCES);
	switch_run_other();
	vmm_expect_events("detached for good");
	assert_false(switch_other_is_due(50));
}

// Its hang-up may not have been noticed yet.
static void a_predecessor_is_waited_for(void **state)
{
	vmbus_client_start(the_client, 1);
	switch_accept();
	switch_serve(VMBUS_USER_TYPE_HELLO, EBUSY);
	switch_run_other();
	vmm_expect_events("detached");
	assert_true(switch_other_is_due(1000));
	vmbus_client_run(the_client);
	switch_accept();
	switch_serve_hello();
}

static void later_hellos_are_repeated(void **state)
{
	vmm_attach_open();
	switch_hang_up();
	for (int i = 0; i < 2; i++) {
		switch_accept();
		switch_serve(VMBUS_USER_TYPE_HELLO, i ? EBUSY : ENOENT);
	}
	vmm_reattach_open();
	vmm_expect_events("detached; detached; detached; attached again");
}

static void nobody_is_there_at_first(void **state)
{
	switch_unlisten();
	vmm_want_region(1, 1);
	vmbus_client_start(the_client, 2);
	for (int i = 0; i < 3; i++) {
		assert_true(switch_other_is_due(3000));
		vmbus_client_run(the_client);
	}
	vmm_expect_events("detached");
	switch_listen();
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	vmm_expect_events("found; done 1; attached; done 2");
}

// The switch dies at each step of the loading.
static void loading_begins_again(void **state)
{
	vmm_want_region(1, 1);
	vmbus_client_start(the_client, 2);
	for (int steps = 0; steps < 3; steps++) {
		switch_accept();
		switch_expect(VMBUS_USER_TYPE_HELLO);
		if (steps > 0) {
			struct vmbus_user_hello_reply reply = switch_hello_reply();

			switch_sends(&reply, sizeof(reply));
		}
		if (steps > 1)
			switch_serve_state(VMBUS_USER_NEW);
		switch_hang_up();
	}
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_hang_up();
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	vmm_expect_events("detached; found; detached; detached; done 1; detached; attached; "
			  "done 2");
}

static void leaving_is_believed(void **state)
{
	struct vmbus_user_leaving_notice m = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_LEAVING),
		.reason = cpu_to_le32(VMBUS_USER_LEAVING_RESTART),
		.back_in_ms = cpu_to_le32(30),
		.text = "back\nsoon",
	};

	vmm_attach_open();
	switch_sends(&m, sizeof(m));
	switch_hang_up();
	vmm_expect_events("leaving 1 back?soon; detached");
	assert_false(switch_other_is_due(0));
	vmm_reattach_open();
	vmm_events[0] = 0;
	m.back_in_ms = cpu_to_le32(~0u);
	m.reason = cpu_to_le32(VMBUS_USER_LEAVING_REMOVED);
	memset(m.text, 'x', sizeof(m.text));
	switch_sends(&m, sizeof(m));
	switch_hang_up();
	assert_non_null(strstr(vmm_events, "; detached for good"));
	assert_false(switch_other_is_due(50));
}

static void what_cannot_go_on_is_lost(void **state)
{
	vmm_attach_open();
	vmm_want_gpadl(0, 30, 1, 5);
	switch_run_other();
	switch_hang_up();
	switch_accept();
	switch_serve_hello();
	switch_serve(VMBUS_USER_TYPE_STATE, EINVAL);
	switch_run_other();
	vmm_expect_events("detached; lost; detached; done 5 -125 ");
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	switch_expect_nothing();
	vmm_expect_events("attached again");
}

static void recovery_that_fails_is_told(void **state)
{
	vmm_attach_open();
	switch_hang_up();
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_KEPT);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, EINVAL);
	vmm_expect_events("detached; failed 0 3 no");
	switch_serve(VMBUS_USER_TYPE_START, EINVAL);
	vmm_expect_events("lost; detached");
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
}

static void without_state_memory_all_is_lost(void **state)
{
	the_switch.features = VMBUS_USER_DIRECT;
	vmm_want_region(1, 1);
	vmbus_client_start(the_client, 2);
	switch_accept();
	switch_serve_hello();
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	vmm_want_gpadl(0, 10, 1, 3);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	vmm_events[0] = 0;
	switch_hang_up();
	vmm_expect_events("lost; detached");
	switch_accept();
	switch_serve_hello();
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, test_vmm_begin, test_vmm_end)
	const struct CMUnitTest tests[] = {
		T(hello_says_who),
		T(the_state_memory_is_sealed),
		T(requests_have_their_fields),
		T(impossible_requests_are_refused),
		T(a_long_gpadl_goes_in_parts),
		T(no_more_than_64_are_out),
		T(a_new_switch_is_loaded),
		T(a_target_that_was_changed_is_loaded),
		T(the_unanswered_end_or_wait),
		T(while_away_some_is_done_and_some_waits),
		T(the_first_hello_decides),
		T(a_predecessor_is_waited_for),
		T(later_hellos_are_repeated),
		T(nobody_is_there_at_first),
		T(loading_begins_again),
		T(leaving_is_believed),
		T(what_cannot_go_on_is_lost),
		T(recovery_that_fails_is_told),
		T(without_state_memory_all_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
