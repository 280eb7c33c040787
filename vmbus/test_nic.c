// SPDX-License-Identifier: Apache-2.0
// A NIC between a guest that posts VMBus messages and a switch that speaks vmbus-user: who is told
// what, and when. The guest's device "dev" has relid 1, the NIC gets relid 2.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmbus/nic.h"
#include "vmbus/test_switch.h"
#include "vmbus/test_vm.h"

#define RING 5u

static struct test_vm vm;
static struct vmbus_nic *nic;
static bool keep_failed;
static int bell = -1, n_doorbells, doorbell_error;
static enum vmbus_user_mode lower_to = VMBUS_USER_MODE_DIRECT;
static struct vmbus_client_target asked; // by `target`, last
static char told[256];                   // done, gone

static int on_doorbell(void *vmm, uint32_t channel, uint32_t connection_id)
{
	assert_int_equal(connection_id & 0xfff, channel + 2);
	if (doorbell_error)
		return doorbell_error;
	n_doorbells++;
	return bell;
}

static void on_target(void *vmm, uint32_t channel, struct vmbus_client_target *target)
{
	target->gpa = 0x8000 + target->vp * 4096 + target->sint * 256;
	target->fd = bell;
	if (lower_to < target->mode)
		target->mode = lower_to;
	asked = *target;
}

static void on_closed(void *vmm, uint32_t channel) { n_doorbells--; }

static void on_done(void *vmm, uint64_t cookie, int status)
{
	size_t used = strlen(told);

	snprintf(told + used, sizeof(told) - used, "done %llu %d; ", (unsigned long long)cookie,
		 status);
}

static void on_gone(void *vmm)
{
	strcat(told, "gone; ");
	nic = NULL;
}

static const struct vmbus_nic_ops ops = {
	.doorbell = on_doorbell,
	.target = on_target,
	.closed = on_closed,
	.done = on_done,
	.gone = on_gone,
};

static int nic_fd(void) { return nic ? vmbus_nic_fd(nic) : -1; }
static void nic_run(void) { vmbus_nic_run(nic); }

static void make_nic(void)
{
	struct vmbus_nic_cfg cfg = {
		.server = vm.server,
		.client = { .path = the_switch.path, .name = "web0", .features = TEST_FEATURES },
		.guest_os_id = 0x8100,
		.keep_failed = keep_failed,
		.ops = &ops,
	};

	assert_int_equal(vmbus_nic_create(&cfg, &nic), 0);
}

static int set_up(void **state)
{
	test_vm_init(&vm);
	switch_begin(nic_fd, nic_run);
	bell = memfd_create("bell", MFD_CLOEXEC);
	n_doorbells = doorbell_error = 0;
	lower_to = VMBUS_USER_MODE_DIRECT;
	told[0] = 0;
	make_nic();
	return 0;
}

static int tear_down(void **state)
{
	test_vm_fini(&vm);
	vmbus_nic_destroy(nic);
	nic = NULL;
	switch_end();
	close(bell);
	keep_failed = false;
	return 0;
}

static void expect_told(const char *text)
{
	switch_run_other();
	assert_string_equal(told, text);
	told[0] = 0;
}

// A guest is connected, the NIC attached and offered.
static void begin(uint32_t version)
{
	guest_begin(&vm, version);
	assert_int_equal(vmbus_nic_start(nic), 0);
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	test_vm_expect(&vm, "");
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	test_vm_expect(&vm, "offer 2.0");
}

// With channel 0 open.
static void begin_open(uint32_t version)
{
	begin(version);
	guest_gpadl(&vm, 2, RING, 10);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	guest_open(&vm, 2, RING, 5);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	test_vm_expect(&vm, "created 2 5 ok; opened 2 102 ok");
	assert_int_equal(n_doorbells, 1);
}

static void reload_open(void)
{
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_KEPT);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
}

// --- order: docs/vmbus-user.md, section 6 --------------------------------------------------------

static void the_guest_is_answered_after_the_switch(void **state)
{
	begin(VMBUS_VERSION_IRON);
	guest_gpadl(&vm, 2, RING, 10);
	switch_expect(VMBUS_USER_TYPE_GPADL);
	test_vm_expect(&vm, "");
	switch_answer(0, 16);
	test_vm_expect(&vm, "created 2 5 ok");
	guest_open(&vm, 2, RING, 5);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	switch_expect(VMBUS_USER_TYPE_OPEN);
	test_vm_expect(&vm, "");
	switch_answer(0, 16);
	test_vm_expect(&vm, "opened 2 102 ok");
	guest_modify(&vm, 2, 3);
	switch_expect(VMBUS_USER_TYPE_TARGET);
	test_vm_expect(&vm, "");
	switch_answer(0, 16);
	test_vm_expect(&vm, "modified 2 ok");
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 2);
	guest_teardown(&vm, 2, RING); // waits for CLOSE
	switch_expect(VMBUS_USER_TYPE_CLOSE);
	switch_expect_nothing();
	assert_int_equal(n_doorbells, 1);
	switch_answer(0, 16);
	assert_int_equal(n_doorbells, 0);
	switch_expect(VMBUS_USER_TYPE_GPADL_TEARDOWN);
	test_vm_expect(&vm, "");
	switch_answer(0, 16);
	test_vm_expect(&vm, "torndown 5");
	guest_plain(&vm, VMBUS_UNLOAD);
	switch_expect(VMBUS_USER_TYPE_RESET);
	test_vm_expect(&vm, "");
	switch_answer(0, 16);
	test_vm_expect(&vm, "disconnected; unloaded");
}

static void the_switch_is_told_how(void **state)
{
	const struct vmbus_user_open *m = (const void *)the_switch.got.message;

	begin(VMBUS_VERSION_RS5);
	guest_gpadl(&vm, 2, RING, 10);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	assert_int_equal(switch_got(16), 10 * 4096);
	guest_open(&vm, 2, RING, 4);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	assert_int_equal(switch_got(16), 0x11000); // guest to host
	assert_int_equal(switch_got(24), 0x10000);
	switch_expect(VMBUS_USER_TYPE_OPEN);
	assert_int_equal(le32_to_cpu(m->channel), 0);
	assert_int_equal(le32_to_cpu(m->relid), 2);
	assert_int_equal(le32_to_cpu(m->h2g_page), 4);
	assert_int_equal(le32_to_cpu(m->vmbus_version), VMBUS_VERSION_RS5);
	assert_int_equal(le32_to_cpu(m->monitor_id), 1);
	assert_int_equal(le64_to_cpu(m->guest_os_id), 0x8100);
	assert_int_equal(le32_to_cpu(m->target.mode), VMBUS_USER_MODE_DIRECT);
	assert_int_equal(le32_to_cpu(m->target.flag), 2);
	assert_int_equal(le64_to_cpu(m->target.gpa), 0x8000 + 2 * 4096 + 2 * 256);
	assert_int_equal(le32_to_cpu(m->target.vp), 2);
	assert_int_equal(le32_to_cpu(m->target.sint), 2);
}

static void failures_reach_the_guest(void **state)
{
	begin(VMBUS_VERSION_IRON);
	guest_gpadl(&vm, 2, RING, 10);
	switch_serve(VMBUS_USER_TYPE_GPADL, EFAULT);
	test_vm_expect(&vm, "created 2 5 failed");
	guest_gpadl(&vm, 2, RING, 10);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	guest_open(&vm, 2, RING, 5);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, EINVAL);
	test_vm_expect(&vm, "created 2 5 ok; opened 2 102 failed");
	assert_int_equal(n_doorbells, 0);
	doorbell_error = -EMFILE;
	guest_open(&vm, 2, RING, 5);
	switch_expect_nothing();
	test_vm_expect(&vm, "opened 2 102 failed");
	doorbell_error = 0;
	guest_open(&vm, 2, RING, 5);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	guest_modify(&vm, 2, 3);
	switch_serve(VMBUS_USER_TYPE_TARGET, EFAULT);
	test_vm_expect(&vm, "opened 2 102 ok; modified 2 failed");
}

// --- the switch is away ------------------------------------------------------------------------

static void what_needs_no_switch_goes_on(void **state)
{
	begin_open(VMBUS_VERSION_IRON);
	guest_gpadl(&vm, 2, 6, 10);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	guest_gpadl(&vm, 2, 7, 10);
	guest_teardown(&vm, 2, 6);
	switch_run_other();
	test_vm_expect(&vm, "created 2 6 ok");
	switch_unlisten();
	switch_hang_up();
	test_vm_expect(&vm, "torndown 6"); // 7 is held
	guest_modify(&vm, 2, 3);           // nobody rings anybody
	switch_run_other();
	test_vm_expect(&vm, "modified 2 ok");
	assert_int_equal(asked.vp, 3);
	switch_listen();
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_KEPT);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	assert_int_equal(switch_got(64), 3); // where events go by now
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	test_vm_expect(&vm, "");
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	test_vm_expect(&vm, "created 2 7 ok");
}

static void a_guest_may_go_meanwhile(void **state)
{
	begin_open(VMBUS_VERSION_IRON);
	switch_unlisten();
	switch_hang_up();
	guest_gpadl(&vm, 2, 7, 10);
	guest_plain(&vm, VMBUS_UNLOAD);
	switch_run_other();
	test_vm_expect(&vm, "disconnected; unloaded");
	assert_int_equal(n_doorbells, 0);
	guest_begin(&vm, VMBUS_VERSION_IRON);
	guest_gpadl(&vm, 4, RING, 10);
	switch_listen();
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	test_vm_expect(&vm, "");
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	test_vm_expect(&vm, "created 4 5 ok");
}

static void a_switch_that_cannot_go_on_begins_anew(void **state)
{
	begin_open(VMBUS_VERSION_IRON);
	switch_hang_up();
	switch_accept();
	switch_serve_hello();
	switch_serve(VMBUS_USER_TYPE_STATE, EINVAL);
	test_vm_expect(&vm, "rescind 2");
	assert_int_equal(n_doorbells, 0);
	guest_teardown(&vm, 2, RING);
	guest_relid(&vm, VMBUS_RELID_RELEASED, 2);
	test_vm_expect(&vm, "torndown 5; offer 3.0");
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_NEW);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	switch_expect_nothing();
}

// --- what the switch wants ---------------------------------------------------------------------

static void subchannels_are_offered_before_the_answer(void **state)
{
	struct vmbus_user_subchannels m = {
		.header = { cpu_to_le16(VMBUS_USER_TYPE_SUBCHANNELS), cpu_to_le16(0),
			    cpu_to_le32(9) },
		.n_wanted = cpu_to_le32(2),
	};

	begin_open(VMBUS_VERSION_IRON);
	switch_sends(&m, sizeof(m));
	switch_run_other();
	test_vm_expect(&vm, "offer 3.1; offer 4.2");
	assert_int_equal(vmbus_user_receive(the_switch.peer, &the_switch.got), 24);
	assert_int_equal(switch_got(16), 2);
	guest_gpadl(&vm, 4, 6, 10);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	assert_int_equal(switch_got(28), 2);
	guest_open(&vm, 4, 6, 5);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK); // MONITOR was told
	assert_int_equal(switch_got(8), 2);
	test_vm_expect(&vm, "created 4 6 ok; opened 4 104 ok");
}

static void fail_channel(uint32_t channel)
{
	struct vmbus_user_channel_failed m = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_CHANNEL_FAILED),
		.channel = cpu_to_le32(channel),
		.reason = cpu_to_le32(VMBUS_USER_FAILED_INDEX),
		.text = "index",
	};

	switch_sends(&m, sizeof(m));
	switch_run_other();
}

static void a_failed_channel_is_offered_again(void **state)
{
	begin_open(VMBUS_VERSION_IRON);
	fail_channel(0);
	test_vm_expect(&vm, "");
	switch_serve(VMBUS_USER_TYPE_CLOSE, TEST_OK);
	test_vm_expect(&vm, "");
	switch_serve(VMBUS_USER_TYPE_GPADL_TEARDOWN, TEST_OK);
	test_vm_expect(&vm, "rescind 2");
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 2);
	guest_teardown(&vm, 2, RING);
	guest_relid(&vm, VMBUS_RELID_RELEASED, 2);
	test_vm_expect(&vm, "torndown 5; offer 3.0");
	switch_expect_nothing();
}

static void or_it_is_left_alone(void **state)
{
	vmbus_nic_destroy(nic);
	keep_failed = true;
	make_nic();
	begin_open(VMBUS_VERSION_IRON);
	fail_channel(0);
	switch_expect_nothing();
	test_vm_expect(&vm, "");
	assert_int_equal(n_doorbells, 1);
}

static void a_nic_that_was_removed_goes(void **state)
{
	struct vmbus_user_leaving_notice m = {
		.header.type = cpu_to_le16(VMBUS_USER_TYPE_LEAVING),
		.reason = cpu_to_le32(VMBUS_USER_LEAVING_REMOVED),
		.back_in_ms = cpu_to_le32(~0u),
	};

	begin_open(VMBUS_VERSION_IRON);
	switch_sends(&m, sizeof(m));
	switch_hang_up();
	test_vm_expect(&vm, "rescind 2");
	guest_relid(&vm, VMBUS_RELID_RELEASED, 2);
	assert_string_equal(told, "gone; ");
	assert_null(nic);
}

// --- the VMM's wishes --------------------------------------------------------------------------

static void targets_follow_their_vp(void **state)
{
	begin_open(VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_nic_retarget(nic, 1, 7), 0); // nobody rings there
	lower_to = VMBUS_USER_MODE_NONE;
	assert_int_equal(vmbus_nic_retarget(nic, 2, 8), 1);
	switch_expect(VMBUS_USER_TYPE_TARGET);
	assert_int_equal(switch_got(16), VMBUS_USER_MODE_NONE);
	assert_int_equal(the_switch.got.n_fds, 0);
	expect_told("");
	switch_answer(0, 16);
	expect_told("done 8 0; ");
	lower_to = VMBUS_USER_MODE_CALL;
	assert_int_equal(vmbus_nic_retarget(nic, 2, 9), 1);
	switch_expect(VMBUS_USER_TYPE_TARGET);
	assert_int_equal(switch_got(16), VMBUS_USER_MODE_CALL);
	switch_hang_up();
	expect_told("done 9 0; ");
	assert_int_equal(vmbus_nic_retarget(nic, 2, 10), 1);
	expect_told("done 10 0; ");
	reload_open();
}

static void requests_of_the_vmm_are_answered(void **state)
{
	struct vmbus_client_region region = { .region = 3, .bytes = 4096, .fd = bell };

	begin_open(VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_nic_region_add(nic, &region, 1), 0);
	region.bytes = 1;
	assert_int_equal(vmbus_nic_region_add(nic, &region, 2), -EINVAL);
	switch_serve(VMBUS_USER_TYPE_REGION_ADD, EEXIST);
	assert_int_equal(vmbus_nic_dirty_log(nic, bell, 4096, 4), 0);
	switch_serve(VMBUS_USER_TYPE_DIRTY_LOG, TEST_OK);
	assert_int_equal(vmbus_nic_region_del(nic, 3, 5), 0);
	switch_serve(VMBUS_USER_TYPE_REGION_DEL, TEST_OK);
	expect_told("done 1 -17; done 4 0; done 5 0; ");
}

static void nic_and_server_move_together(void **state)
{
	void *nic_image, *server_image;
	size_t nic_bytes, server_bytes;

	begin_open(VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_nic_pause(nic, 1), 0);
	assert_int_equal(vmbus_nic_save(nic, 2), 0);
	switch_serve(VMBUS_USER_TYPE_PAUSE, TEST_OK);
	switch_serve_save();
	expect_told("done 1 0; done 2 0; ");
	assert_int_equal(vmbus_nic_image(nic, &nic_image, &nic_bytes), 0);
	assert_int_equal(vmbus_server_save(vm.server, &server_image, &server_bytes), 0);
	// Another host.
	test_vm_replace(&vm);
	vmbus_nic_destroy(nic);
	n_doorbells = 0;
	make_nic();
	assert_int_equal(vmbus_nic_restore(nic, nic_image, nic_bytes), 0);
	assert_int_equal(vmbus_server_restore(vm.server, server_image, server_bytes, NULL), 0);
	free(nic_image);
	free(server_image);
	test_vm_expect(&vm, "");
	assert_int_equal(vmbus_nic_start(nic), 0);
	switch_accept();
	switch_serve_hello();
	switch_serve_state(VMBUS_USER_IMAGE);
	switch_serve(VMBUS_USER_TYPE_GPADL, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_MONITOR, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_OPEN, TEST_OK);
	assert_int_equal(switch_got(24), 1);
	assert_int_equal(switch_got(28), VMBUS_USER_OPEN_RESUME);
	switch_serve(VMBUS_USER_TYPE_START, TEST_OK);
	test_vm_expect(&vm, "");
	assert_int_equal(n_doorbells, 1);
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 2);
	switch_serve(VMBUS_USER_TYPE_CLOSE, TEST_OK);
	guest_teardown(&vm, 2, RING);
	switch_serve(VMBUS_USER_TYPE_GPADL_TEARDOWN, TEST_OK);
	test_vm_expect(&vm, "torndown 5");
}

static void a_nic_that_was_never_offered_is_gone_at_once(void **state)
{
	vmbus_nic_remove(nic);
	assert_string_equal(told, "gone; ");
	assert_null(nic);
}

static void a_nic_is_removed(void **state)
{
	begin_open(VMBUS_VERSION_IRON);
	vmbus_nic_remove(nic);
	switch_serve(VMBUS_USER_TYPE_CLOSE, TEST_OK);
	switch_serve(VMBUS_USER_TYPE_GPADL_TEARDOWN, TEST_OK);
	test_vm_expect(&vm, "rescind 2");
	// The guest is reset in place of releasing it: the last answer comes from the switch.
	vmbus_server_reset(vm.server);
	switch_expect(VMBUS_USER_TYPE_RESET);
	expect_told("");
	switch_answer(0, 16);
	test_vm_expect(&vm, "disconnected");
	assert_string_equal(told, "gone; ");
	assert_null(nic);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(the_guest_is_answered_after_the_switch),
		T(the_switch_is_told_how),
		T(failures_reach_the_guest),
		T(what_needs_no_switch_goes_on),
		T(a_guest_may_go_meanwhile),
		T(a_switch_that_cannot_go_on_begins_anew),
		T(subchannels_are_offered_before_the_answer),
		T(a_failed_channel_is_offered_again),
		T(or_it_is_left_alone),
		T(a_nic_that_was_removed_goes),
		T(targets_follow_their_vp),
		T(requests_of_the_vmm_are_answered),
		T(nic_and_server_move_together),
		T(a_nic_that_was_never_offered_is_gone_at_once),
		T(a_nic_is_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
