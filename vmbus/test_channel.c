// SPDX-License-Identifier: Apache-2.0
// Channels of the VMBus server: every state and what may happen in it, GPADLs, sub-channels.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vmbus/test_vm.h"

#define RING 5u // id of the GPADL that every test makes
#define OTHER 6u

static struct test_vm vm;
static struct test_device *const dev = &vm.devices[0];

static int set_up(void **state)
{
	test_vm_init(&vm);
	return 0;
}

static int tear_down(void **state)
{
	test_vm_fini(&vm);
	return 0;
}

static uint64_t n_state(void) { return vmbus_server_counters(vm.server)->n_state; }
static uint64_t n_revoked(void) { return vmbus_server_counters(vm.server)->n_revoked; }
static uint64_t n_relid(void) { return vmbus_server_counters(vm.server)->n_relid; }

// A connected guest with a ring GPADL on relid 1.
static void begin(uint32_t version)
{
	guest_begin(&vm, version);
	guest_gpadl(&vm, 1, RING, 10);
	test_vm_expect(&vm, "dev gpadl 0 5; created 1 5 ok");
}

// --- the table of states -----------------------------------------------------------------------

enum at {
	HIDDEN,
	CLOSED,
	OPENING,
	OPEN,
	CLOSING,
	CLOSING_REOPEN,
	CLOSING_RELEASE,
	REVOKED,
	REOFFERED
};

// Brings relid 1 there. In the states that wait for the device it holds its answers.
static void go_to(enum at at)
{
	begin(VMBUS_VERSION_IRON);
	dev->holds = at == OPENING;
	if (at >= OPENING && at <= CLOSING_RELEASE)
		guest_open(&vm, 1, RING, 5);
	dev->holds = dev->holds || (at >= CLOSING && at <= CLOSING_RELEASE);
	if (at >= CLOSING && at <= CLOSING_RELEASE)
		guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1);
	if (at == CLOSING_REOPEN)
		guest_open(&vm, 1, RING, 6);
	if (at == CLOSING_RELEASE || at == HIDDEN)
		guest_relid(&vm, VMBUS_RELID_RELEASED, 1);
	if (at == REVOKED)
		vmbus_device_remove(dev->device);
	if (at == REOFFERED)
		vmbus_device_reoffer(dev->device);
	test_vm_forget(&vm);
}

enum event { DO_OPEN, DO_CLOSE, DO_REVOKE, DO_RELEASE };

static void happen(enum event event)
{
	switch (event) {
	case DO_OPEN: guest_open(&vm, 1, RING, 7); break;
	case DO_CLOSE: guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1); break;
	case DO_REVOKE: vmbus_device_reoffer(dev->device); break;
	case DO_RELEASE: guest_relid(&vm, VMBUS_RELID_RELEASED, 1); break;
	}
}

// Answers whatever the device was asked and has not answered: all that fits nothing is ignored.
static void answer(void)
{
	dev->holds = false;
	vmbus_device_open_done(dev->device, 0, true);
	vmbus_device_close_done(dev->device, 0);
	vmbus_device_gpadl_teardown_done(dev->device, 0, RING);
}

static const struct row {
	enum at at;
	enum event event;
	const char *first; // happens at once
	const char *then;  // when the device has answered
	char counts;       // as what it is counted: 's'tate, 'r'evoked, 'i'd, or 0
} rows[] = {
	{ CLOSED, DO_OPEN, "dev open 0; opened 1 101 ok", "", 0 },
	{ CLOSED, DO_CLOSE, "", "", 's' },
	{ CLOSED, DO_REVOKE, "dev teardown 0 5; rescind 1", "", 0 },
	{ CLOSED, DO_RELEASE, "dev teardown 0 5", "", 0 },
	{ OPENING, DO_OPEN, "", "opened 1 101 ok", 's' },
	{ OPENING, DO_CLOSE, "", "opened 1 101 ok", 's' },
	{ OPENING, DO_REVOKE, "dev close 0; dev teardown 0 5", "opened 1 101 failed; rescind 1",
	  0 },
	{ OPENING, DO_RELEASE, "", "opened 1 101 ok", 's' },
	{ OPEN, DO_OPEN, "", "", 's' },
	{ OPEN, DO_CLOSE, "dev close 0", "", 0 },
	{ OPEN, DO_REVOKE, "dev close 0; dev teardown 0 5; rescind 1", "", 0 },
	{ OPEN, DO_RELEASE, "", "", 's' },
	{ CLOSING, DO_OPEN, "", "dev open 0; opened 1 101 ok", 0 },
	{ CLOSING, DO_CLOSE, "", "", 's' },
	{ CLOSING, DO_REVOKE, "dev teardown 0 5", "rescind 1", 0 },
	{ CLOSING, DO_RELEASE, "", "dev teardown 0 5", 0 },
	{ CLOSING_REOPEN, DO_OPEN, "", "dev open 0; opened 1 101 ok", 's' },
	{ CLOSING_REOPEN, DO_CLOSE, "", "dev open 0; opened 1 101 ok", 's' },
	{ CLOSING_REOPEN, DO_REVOKE, "dev teardown 0 5", "opened 1 101 failed; rescind 1", 0 },
	{ CLOSING_REOPEN, DO_RELEASE, "", "dev open 0; opened 1 101 ok", 's' },
	{ REVOKED, DO_OPEN, "", "", 'r' },
	{ REVOKED, DO_CLOSE, "", "", 'r' },
	{ REVOKED, DO_REVOKE, "", "", 0 },
	{ REOFFERED, DO_OPEN, "", "", 'r' },
	{ REOFFERED, DO_CLOSE, "", "", 'r' },
	{ REOFFERED, DO_REVOKE, "", "", 0 },
	{ REOFFERED, DO_RELEASE, "offer 2.0", "", 0 },
	{ HIDDEN, DO_OPEN, "", "", 'i' },
	{ HIDDEN, DO_CLOSE, "", "", 'i' },
	{ HIDDEN, DO_REVOKE, "", "", 0 },
	{ HIDDEN, DO_RELEASE, "", "", 'i' },
	{ CLOSING_RELEASE, DO_OPEN, "", "dev teardown 0 5", 'i' },
	{ CLOSING_RELEASE, DO_CLOSE, "", "dev teardown 0 5", 'i' },
	{ CLOSING_RELEASE, DO_REVOKE, "", "dev teardown 0 5", 0 },
	{ CLOSING_RELEASE, DO_RELEASE, "", "dev teardown 0 5", 'i' },
};

static void every_row_of_the_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		uint64_t states, revoked, ids;

		test_vm_init(&vm);
		go_to(row->at);
		states = n_state();
		revoked = n_revoked();
		ids = n_relid();
		happen(row->event);
		test_vm_expect(&vm, row->first);
		assert_int_equal(n_state() - states, row->counts == 's');
		assert_int_equal(n_revoked() - revoked, row->counts == 'r');
		assert_int_equal(n_relid() - ids, row->counts == 'i');
		answer();
		test_vm_expect(&vm, row->then);
		// Whatever happened, the connection lives on, and ends in good order.
		guest_plain(&vm, VMBUS_UNLOAD);
		assert_non_null(strstr(vm.log, "disconnected; "));
		assert_non_null(strstr(vm.log, "unloaded"));
		test_vm_fini(&vm);
	}
	test_vm_init(&vm);
}

static void a_removed_device_goes_with_its_relid(void **state)
{
	go_to(REVOKED);
	guest_relid(&vm, VMBUS_RELID_RELEASED, 1);
	test_vm_expect(&vm, "dev gone");
	guest_relid(&vm, VMBUS_RELID_RELEASED, 1);
	assert_int_equal(n_relid(), 1);
}

static void a_removed_device_goes_with_the_guest(void **state)
{
	go_to(REVOKED);
	guest_plain(&vm, VMBUS_UNLOAD);
	test_vm_expect(&vm, "dev reset; disconnected; unloaded; dev gone");
}

static void a_released_channel_is_offered_to_the_next_guest(void **state)
{
	go_to(HIDDEN);
	guest_begin(&vm, VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_device_relid(dev->device, 0), 2);
}

// --- opening -----------------------------------------------------------------------------------

static void the_device_is_told_how(void **state)
{
	struct vmbus_open open;

	begin(VMBUS_VERSION_COPPER);
	assert_false(vmbus_device_is_open(dev->device, 0, &open));
	guest_open(&vm, 1, RING, 4);
	assert_true(vmbus_device_is_open(dev->device, 0, &open));
	assert_int_equal(open.gpadl->id, RING);
	assert_int_equal(open.downstream_page, 4);
	assert_int_equal(open.target_vp, 2);
	assert_int_equal(open.relid, 1); // what 6.0 adds is not looked at
	assert_int_equal(open.connection_id, 0x2001);
	assert_int_equal(open.monitor_id, 0);
	assert_string_equal(open.user_data, "user");
}

static void rings_must_fit(void **state)
{
	static const struct {
		uint32_t gpadl, page;
		bool ok;
	} cases[] = {
		{ RING, 0, false },  { RING, 1, false },   { RING, 2, true },
		{ RING, 8, true },   { RING, 9, false },   { RING, 10, false },
		{ RING, 11, false }, { RING, ~0u, false }, { 77, 5, false },
		{ OTHER, 5, false }, // another channel's
	};

	assert_int_equal(test_vm_add(&vm, 1), 0);
	begin(VMBUS_VERSION_IRON);
	guest_gpadl(&vm, 2, OTHER, 10);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		test_vm_forget(&vm);
		guest_open(&vm, 1, cases[i].gpadl, cases[i].page);
		test_vm_expect(&vm, cases[i].ok ? "dev open 0; opened 1 101 ok" :
						  "opened 1 101 failed");
		if (cases[i].ok)
			guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1);
	}
	assert_int_equal(vmbus_server_counters(vm.server)->n_open, 8);
}

static void a_device_may_refuse(void **state)
{
	begin(VMBUS_VERSION_IRON);
	dev->refuses = true;
	guest_gpadl(&vm, 1, OTHER, 4);
	guest_open(&vm, 1, RING, 5);
	test_vm_expect(&vm, "dev gpadl 0 6; created 1 6 failed; dev open 0; opened 1 101 failed");
	dev->refuses = false;
	guest_gpadl(&vm, 1, OTHER, 4);
	guest_open(&vm, 1, RING, 5);
	test_vm_expect(&vm, "dev gpadl 0 6; created 1 6 ok; dev open 0; opened 1 101 ok");
}

static void a_reopening_is_checked_when_its_time_comes(void **state)
{
	go_to(CLOSING_REOPEN);
	guest_teardown(&vm, 1, RING); // the rings of the opening that waits, too
	test_vm_expect(&vm, "");
	answer();
	test_vm_expect(&vm, "dev teardown 0 5; torndown 5; opened 1 101 failed");
}

// --- GPADLs ------------------------------------------------------------------------------------

static void a_long_one_takes_bodies(void **state)
{
	guest_begin(&vm, VMBUS_VERSION_IRON);
	guest_gpadl_header(&vm, 1, RING, 100);
	test_vm_expect(&vm, "");
	guest_gpadl_rest(&vm, RING, 100);
	test_vm_expect(&vm, "dev gpadl 0 5; created 1 5 ok");
	guest_gpadl(&vm, 1, RING, 4);
	test_vm_expect(&vm, "created 1 5 failed"); // the id is taken
	guest_gpadl(&vm, 7, OTHER, 4);
	test_vm_expect(&vm, "created 7 6 failed"); // no such channel
	vm.n_pages_posted = 0;
	guest_gpadl_rest(&vm, 99, 4);
	test_vm_expect(&vm, "");
	assert_int_equal(vmbus_server_counters(vm.server)->n_gpadl_unknown, 1);
}

static void teardown_waits_for_the_device(void **state)
{
	begin(VMBUS_VERSION_IRON);
	dev->holds = true;
	guest_teardown(&vm, 1, RING);
	test_vm_expect(&vm, "dev teardown 0 5");
	guest_teardown(&vm, 1, RING);
	guest_open(&vm, 1, RING, 5);
	guest_gpadl(&vm, 1, RING, 4);
	test_vm_expect(&vm, "opened 1 101 failed; created 1 5 failed");
	vmbus_device_gpadl_teardown_done(dev->device, 0, RING);
	test_vm_expect(&vm, "torndown 5");
	guest_gpadl(&vm, 1, RING, 4);
	test_vm_expect(&vm, "dev gpadl 0 5");
	guest_teardown(&vm, 1, RING); // not created yet
	test_vm_expect(&vm, "");
	assert_int_equal(vmbus_server_counters(vm.server)->n_gpadl_unknown, 2);
}

static void rings_in_use_are_torn_down_after_close(void **state)
{
	begin(VMBUS_VERSION_IRON);
	guest_open(&vm, 1, RING, 5);
	test_vm_forget(&vm);
	guest_teardown(&vm, 1, RING);
	test_vm_expect(&vm, "");
	dev->holds = true;
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1);
	test_vm_expect(&vm, "dev close 0");
	vmbus_device_close_done(dev->device, 0);
	test_vm_expect(&vm, "dev teardown 0 5");
	vmbus_device_gpadl_teardown_done(dev->device, 0, RING);
	test_vm_expect(&vm, "torndown 5");
}

static void rescind_comes_after_all_answers(void **state)
{
	begin(VMBUS_VERSION_IRON);
	guest_open(&vm, 1, RING, 5);
	guest_gpadl(&vm, 1, 8, 4);
	dev->holds = true;
	guest_gpadl(&vm, 1, 9, 4);
	guest_gpadl_header(&vm, 1, 10, 100);
	guest_teardown(&vm, 1, 8);
	guest_modify(&vm, 1, 3);
	test_vm_forget(&vm);
	vmbus_device_reoffer(dev->device);
	test_vm_expect(&vm, "modified 1 failed; dev close 0; dev teardown 0 9; dev teardown 0 5");
	vmbus_device_close_done(dev->device, 0);
	vmbus_device_gpadl_teardown_done(dev->device, 0, 9);
	vmbus_device_gpadl_teardown_done(dev->device, 0, RING);
	test_vm_expect(&vm, "created 1 9 failed");
	vmbus_device_gpadl_teardown_done(dev->device, 0, 8);
	test_vm_expect(&vm, "torndown 8; created 1 10 failed; rescind 1");
	// The guest cleans up, and may race with new wishes.
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1);
	guest_teardown(&vm, 1, RING);
	guest_gpadl(&vm, 1, 11, 4);
	guest_teardown(&vm, 1, 11);
	guest_gpadl(&vm, 1, 12, 4);
	guest_relid(&vm, VMBUS_RELID_RELEASED, 1);
	test_vm_expect(&vm, "torndown 5; created 1 11 ok; torndown 11; created 1 12 ok; "
			    "offer 2.0");
}

static void stale_answers_are_nothing(void **state)
{
	begin(VMBUS_VERSION_IRON);
	vmbus_device_gpadl_done(dev->device, 0, RING, false);
	vmbus_device_gpadl_teardown_done(dev->device, 0, RING);
	vmbus_device_open_done(dev->device, 0, true);
	vmbus_device_close_done(dev->device, 0);
	vmbus_device_modify_done(dev->device, 0, true);
	vmbus_device_reset_done(dev->device);
	test_vm_expect(&vm, "");
	assert_int_equal(vmbus_server_counters(vm.server)->n_stale, 6);
}

// --- modify ------------------------------------------------------------------------------------

static void modify_is_answered_from_iron_on(void **state)
{
	struct vmbus_open open;

	begin(VMBUS_VERSION_IRON);
	guest_modify(&vm, 1, 3);
	test_vm_expect(&vm, "modified 1 failed"); // not open
	guest_open(&vm, 1, RING, 5);
	test_vm_forget(&vm);
	guest_modify(&vm, 1, 4);
	guest_modify(&vm, 1, VMBUS_NO_INTERRUPT);
	guest_modify(&vm, 9, 3);
	test_vm_expect(&vm, "modified 1 failed; modified 1 failed; modified 9 failed");
	guest_modify(&vm, 1, 3);
	test_vm_expect(&vm, "dev modify 0 3; modified 1 ok");
	assert_true(vmbus_device_is_open(dev->device, 0, &open));
	assert_int_equal(open.target_vp, 3);
	dev->holds = true;
	guest_modify(&vm, 1, 0);
	guest_modify(&vm, 1, 1); // one at a time
	test_vm_expect(&vm, "dev modify 0 0; modified 1 failed");
	vmbus_device_modify_done(dev->device, 0, false);
	test_vm_expect(&vm, "modified 1 failed");
	assert_true(vmbus_device_is_open(dev->device, 0, &open));
	assert_int_equal(open.target_vp, 3);
}

static void before_iron_the_last_wish_counts(void **state)
{
	begin(VMBUS_VERSION_RS5);
	guest_open(&vm, 1, RING, 5);
	test_vm_forget(&vm);
	dev->holds = true;
	guest_modify(&vm, 1, 3);
	guest_modify(&vm, 1, 0);
	guest_modify(&vm, 1, 1);
	guest_modify(&vm, 1, 99);
	test_vm_expect(&vm, "dev modify 0 3");
	vmbus_device_modify_done(dev->device, 0, true);
	test_vm_expect(&vm, "dev modify 0 1");
	vmbus_device_modify_done(dev->device, 0, true);
	vmbus_device_modify_done(dev->device, 0, true);
	test_vm_expect(&vm, "");
}

static void old_guests_cannot_modify(void **state)
{
	begin(VMBUS_VERSION_WIN10);
	guest_open(&vm, 1, RING, 5);
	test_vm_forget(&vm);
	guest_modify(&vm, 1, 3);
	test_vm_expect(&vm, "");
	assert_int_equal(vmbus_server_counters(vm.server)->n_version, 1);
}

// --- sub-channels ------------------------------------------------------------------------------

static void begin_subchannels(uint32_t n)
{
	begin(VMBUS_VERSION_IRON);
	guest_open(&vm, 1, RING, 5);
	assert_int_equal(vmbus_device_offer_subchannels(dev->device, n), n);
	for (uint32_t i = 1; i <= n; i++) {
		guest_gpadl(&vm, 1 + i, RING + i, 4);
		guest_open(&vm, 1 + i, RING + i, 2);
	}
	test_vm_forget(&vm);
}

static void subchannels_need_an_open_primary(void **state)
{
	begin(VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_device_offer_subchannels(dev->device, 2), 0);
	guest_open(&vm, 1, RING, 5);
	test_vm_forget(&vm);
	assert_int_equal(vmbus_device_offer_subchannels(dev->device, 2), 2);
	test_vm_expect(&vm, "offer 2.1; offer 3.2");
	assert_int_equal(vmbus_device_offer_subchannels(dev->device, 3), 3);
	test_vm_expect(&vm, "offer 4.3");
	assert_int_equal(vmbus_device_offer_subchannels(dev->device, 999), 63);
}

static void subchannels_go_with_the_primary(void **state)
{
	begin_subchannels(2);
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 3); // as Linux does; one is still open
	test_vm_expect(&vm, "dev close 2");
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1);
	test_vm_expect(&vm, "dev teardown 2 7; rescind 3; dev close 1; dev teardown 1 6; "
			    "rescind 2; dev close 0");
	// The primary opens again before the guest has released them.
	guest_open(&vm, 1, RING, 5);
	test_vm_forget(&vm);
	assert_int_equal(vmbus_device_offer_subchannels(dev->device, 2), 2);
	test_vm_expect(&vm, "");
	guest_relid(&vm, VMBUS_RELID_RELEASED, 2);
	guest_relid(&vm, VMBUS_RELID_RELEASED, 3);
	test_vm_expect(&vm, "offer 4.1; offer 5.2");
}

static void subchannels_are_rescinded_first(void **state)
{
	begin_subchannels(2);
	dev->holds = true;
	vmbus_device_remove(dev->device);
	test_vm_expect(&vm, "dev close 2; dev teardown 2 7; dev close 1; dev teardown 1 6; "
			    "dev close 0; dev teardown 0 5");
	vmbus_device_close_done(dev->device, 0);
	vmbus_device_gpadl_teardown_done(dev->device, 0, 5);
	vmbus_device_close_done(dev->device, 1);
	vmbus_device_gpadl_teardown_done(dev->device, 1, 6);
	test_vm_expect(&vm, "rescind 2");
	vmbus_device_close_done(dev->device, 2);
	vmbus_device_gpadl_teardown_done(dev->device, 2, 7);
	test_vm_expect(&vm, "rescind 3; rescind 1");
	guest_relid(&vm, VMBUS_RELID_RELEASED, 1);
	guest_relid(&vm, VMBUS_RELID_RELEASED, 2);
	test_vm_expect(&vm, "");
	guest_relid(&vm, VMBUS_RELID_RELEASED, 3);
	test_vm_expect(&vm, "dev gone");
}

static void a_subchannel_opens_beside_its_primary_only(void **state)
{
	begin_subchannels(1);
	dev->holds = true;
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 2);
	vmbus_device_close_done(dev->device, 1);
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1);
	test_vm_forget(&vm);
	guest_open(&vm, 2, RING + 1, 2);
	test_vm_expect(&vm, ""); // being rescinded
	assert_int_equal(n_revoked(), 1);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_row_of_the_table, tear_down),
		T(a_removed_device_goes_with_its_relid),
		T(a_removed_device_goes_with_the_guest),
		T(a_released_channel_is_offered_to_the_next_guest),
		T(the_device_is_told_how),
		T(rings_must_fit),
		T(a_device_may_refuse),
		T(a_reopening_is_checked_when_its_time_comes),
		T(a_long_one_takes_bodies),
		T(teardown_waits_for_the_device),
		T(rings_in_use_are_torn_down_after_close),
		T(rescind_comes_after_all_answers),
		T(stale_answers_are_nothing),
		T(modify_is_answered_from_iron_on),
		T(before_iron_the_last_wish_counts),
		T(old_guests_cannot_modify),
		T(subchannels_need_an_open_primary),
		T(subchannels_go_with_the_primary),
		T(subchannels_are_rescinded_first),
		T(a_subchannel_opens_beside_its_primary_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
