// SPDX-License-Identifier: Apache-2.0
// The VMBus server: versions, connections that come and go, offers, a guest that does not listen.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vmbus/test_vm.h"

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

static const struct vmbus_server_counters *counters(void)
{
	return vmbus_server_counters(vm.server);
}

// --- versions ----------------------------------------------------------------------------------

static void versions_are_answered(void **state)
{
	static const struct {
		uint32_t version;
		const char *log;
		uint32_t vp;
	} cases[] = {
		{ VMBUS_VERSION_1, "version 0 0 0 16", 0 },
		{ VMBUS_VERSION_WIN7, "version 0 0 0 16", 0 },
		{ VMBUS_VERSION_WIN8, "connected 0x20004; version 1 0 0x20004 16", 0 },
		{ VMBUS_VERSION_WIN8_1, "connected 0x30000; version 1 0 0x30000 16", 1 },
		{ VMBUS_VERSION_WIN10, "connected 0x40000; version 1 0 0x40000 16", 1 },
		{ VMBUS_VERSION_RS3, "connected 0x40001; version 1 0 0x40001 16", 1 },
		{ 0x00040002, "version 0 0 0 16", 1 },
		{ VMBUS_VERSION_RS3_1, "connected 0x50000; version 1 0 0x4 16", 1 },
		{ VMBUS_VERSION_RS4, "connected 0x50001; version 1 0 0x4 16", 1 },
		{ VMBUS_VERSION_RS5, "connected 0x50002; version 1 0 0x4 16", 1 },
		{ VMBUS_VERSION_IRON, "connected 0x50003; version 1 0 0x4 16", 1 },
		{ VMBUS_VERSION_COPPER, "connected 0x60000; version 1 0 0x4 20", 1 },
		{ 0x00060001, "version 0 0 0 16", 1 },
		{ 0xffffffff, "version 0 0 0 16", 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		guest_contact(&vm, cases[i].version);
		test_vm_expect(&vm, cases[i].log);
		assert_int_equal(vm.vp, cases[i].vp);
		assert_int_equal(vm.sint, 2);
		guest_plain(&vm, VMBUS_UNLOAD);
		test_vm_forget(&vm);
	}
}

static void features_of_copper_are_declined(void **state)
{
	struct vmbus_initiate_contact_copper message = {
		.contact = {
			.message.type = cpu_to_le32(VMBUS_INITIATE_CONTACT),
			.version = cpu_to_le32(VMBUS_VERSION_COPPER),
			.sint = 5,
			.feature_flags = cpu_to_le32(~0u),
		},
		.client = { 1, 2, 3 },
	};

	guest_post(&vm, &message, sizeof(message));
	test_vm_expect(&vm, "connected 0x60000; version 1 0 0x4 20");
	assert_int_equal(load_u32(vm.last + 16), 0);
	assert_int_equal(vm.sint, 5);
}

static void a_host_may_stop_at_a_version(void **state)
{
	test_vm_fini(&vm);
	test_vm_init(&vm);
	vm.max_version = VMBUS_VERSION_WIN10;
	test_vm_replace(&vm);
	guest_contact(&vm, VMBUS_VERSION_RS3);
	guest_contact(&vm, VMBUS_VERSION_WIN10);
	test_vm_expect(&vm, "version 0 0 0 16; connected 0x40000; version 1 0 0x40000 16");
	// Nobody there for several clients: guests then try lower versions.
	assert_int_equal(vmbus_server_post(vm.server, VMBUS_CONNECTION_MULTI, "", 0), -ENOENT);
}

static void impossible_contacts_fail(void **state)
{
	static const struct {
		uint32_t version, vp;
		uint8_t sint, vtl;
		uint64_t to_guest, to_host;
		bool ok;
	} cases[] = {
		{ VMBUS_VERSION_IRON, 3, 15, 0, 0x1000, 0x2000, true },
		{ VMBUS_VERSION_IRON, 3, 1, 0, 0, 0, true },
		{ VMBUS_VERSION_IRON, 4, 2, 0, 0, 0, false },          // no such VP
		{ VMBUS_VERSION_IRON, ~0u, 2, 0, 0, 0, false },
		{ VMBUS_VERSION_IRON, 0, 0, 0, 0, 0, false },          // SINT
		{ VMBUS_VERSION_IRON, 0, 16, 0, 0, 0, false },
		{ VMBUS_VERSION_IRON, 0, 2, 1, 0, 0, false },          // VTL
		{ VMBUS_VERSION_RS3_1, 0, 2, 1, 0, 0, true },          // no VTL there yet
		{ VMBUS_VERSION_RS3, 0, 77, 9, 0, 0, true },           // GPA of an interrupt page
		{ VMBUS_VERSION_WIN8, 99, 0, 0, 0, 0, true },          // always VP 0
		{ VMBUS_VERSION_IRON, 0, 2, 0, 0x1000, 0, false },     // one monitor page
		{ VMBUS_VERSION_IRON, 0, 2, 0, 0, 0x1000, false },
		{ VMBUS_VERSION_IRON, 0, 2, 0, 0x1008, 0x2000, false }, // not aligned
		{ VMBUS_VERSION_IRON, 0, 2, 0, 0x1000, 1ull << 40, false }, // not memory
		{ VMBUS_VERSION_IRON, 0, 2, 0, ~0xfffull, 0x1000, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vmbus_initiate_contact message = {
			.message.type = cpu_to_le32(VMBUS_INITIATE_CONTACT),
			.version = cpu_to_le32(cases[i].version),
			.target_vp = cpu_to_le32(cases[i].vp),
			.sint = cases[i].sint,
			.vtl = cases[i].vtl,
			.to_guest_monitor_gpa = cpu_to_le64(cases[i].to_guest),
			.to_host_monitor_gpa = cpu_to_le64(cases[i].to_host),
		};

		guest_post(&vm, &message, sizeof(message));
		assert_int_equal(vm.last[8], 1);
		assert_int_equal(vm.last[9],
				 cases[i].ok ? VMBUS_CONNECTION_OK : VMBUS_CONNECTION_FAILED);
		assert_true(vm.vp < 4 && vm.sint > 0 && vm.sint < 16);
		assert_int_equal(vmbus_server_contact(vm.server) != NULL, cases[i].ok);
	}
	vm.refuses_contact = true;
	guest_contact(&vm, VMBUS_VERSION_IRON);
	assert_int_equal(vm.last[9], VMBUS_CONNECTION_FAILED);
	assert_null(vmbus_server_contact(vm.server));
}

// --- offers ------------------------------------------------------------------------------------

static void offers_are_made_once_and_in_order(void **state)
{
	const struct vmbus_offer_channel *offer = (const void *)vm.last;

	assert_int_equal(test_vm_add(&vm, 2), 0);
	assert_int_equal(test_vm_add(&vm, 1), 0);
	assert_int_equal(test_vm_add(&vm, 1), -EEXIST);
	guest_contact(&vm, VMBUS_VERSION_IRON);
	test_vm_forget(&vm);
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	test_vm_expect(&vm, "offer 1.0; offer 2.0; offer 3.0; all-offers");
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	test_vm_expect(&vm, "");
	assert_int_equal(counters()->n_offers_twice, 1);
	vmbus_device_relid(vm.devices[1].device, 0);
	assert_int_equal(vmbus_device_relid(vm.devices[1].device, 0), 2); // by instance
	assert_int_equal(test_vm_add(&vm, 3), 0);
	test_vm_expect(&vm, "offer 4.0");
	assert_int_equal(vm.last_bytes, 196);
	assert_int_equal(offer->instance[0], 0x13);
	assert_int_equal(offer->monitor_id, 3);
	assert_int_equal(offer->monitor_allocated, 1);
	assert_int_equal(le16_to_cpu(offer->dedicated_interrupt), 1);
	assert_int_equal(le32_to_cpu(offer->connection_id), 0x2004);
}

static void early_devices_are_not_offered_unasked(void **state)
{
	guest_contact(&vm, VMBUS_VERSION_IRON);
	test_vm_forget(&vm);
	assert_int_equal(test_vm_add(&vm, 1), 0);
	vmbus_device_remove(vm.devices[1].device);
	test_vm_expect(&vm, "dev1 gone");
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	test_vm_expect(&vm, "offer 1.0; all-offers");
}

static void no_monitor_pages_no_monitor_ids(void **state)
{
	struct vmbus_initiate_contact message = {
		.message.type = cpu_to_le32(VMBUS_INITIATE_CONTACT),
		.version = cpu_to_le32(VMBUS_VERSION_WIN10),
	};
	const struct vmbus_offer_channel *offer = (const void *)vm.last;

	guest_post(&vm, &message, sizeof(message));
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	assert_int_equal(test_vm_add(&vm, 1), 0);
	assert_int_equal(offer->monitor_id, VMBUS_OFFER_NO_MONITOR);
	assert_int_equal(offer->monitor_allocated, 0);
}

// Monitor ids and relids of channels that went are used again, relids late.
static void ids_come_back(void **state)
{
	const struct vmbus_offer_channel *offer = (const void *)vm.last;
	uint32_t relid = 1;

	guest_begin(&vm, VMBUS_VERSION_IRON);
	for (uint32_t i = 0; i < 3 * VMBUS_MAX_RELID; i++) {
		vmbus_device_reoffer(dev->device);
		guest_relid(&vm, VMBUS_RELID_RELEASED, relid);
		relid = relid % VMBUS_MAX_RELID + 1;
		assert_int_equal(le32_to_cpu(offer->relid), relid);
		assert_int_equal(offer->monitor_id, 0);
		test_vm_forget(&vm);
	}
}

static void signals_find_their_channel(void **state)
{
	uint32_t channel = 9;

	assert_null(vmbus_server_find(vm.server, 0x2001, &channel));
	guest_begin(&vm, VMBUS_VERSION_IRON);
	assert_ptr_equal(vmbus_server_find(vm.server, 0x2001, &channel), dev->device);
	assert_int_equal(channel, 0);
	assert_null(vmbus_server_find(vm.server, 0x2000, &channel));
	assert_null(vmbus_server_find(vm.server, 0x2002, &channel));
	assert_null(vmbus_server_find(vm.server, 0x3001, &channel));
	assert_null(vmbus_server_find(vm.server, 1, &channel));
	assert_null(vmbus_server_find(vm.server, ~0u, &channel));
}

// --- the end -----------------------------------------------------------------------------------

static void open_one(void)
{
	guest_begin(&vm, VMBUS_VERSION_IRON);
	guest_gpadl(&vm, 1, 5, 10);
	guest_open(&vm, 1, 5, 5);
	test_vm_forget(&vm);
}

static void unload_forgets_all(void **state)
{
	open_one();
	guest_gpadl_header(&vm, 1, 6, 100); // unfinished
	guest_plain(&vm, VMBUS_UNLOAD);
	test_vm_expect(&vm, "dev reset; disconnected; unloaded");
	assert_int_equal(vm.vp, 1);
	guest_plain(&vm, VMBUS_UNLOAD);
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1);
	test_vm_expect(&vm, "");
	assert_int_equal(counters()->n_not_connected, 3);
	// The same ids again.
	guest_begin(&vm, VMBUS_VERSION_IRON);
	guest_gpadl(&vm, 2, 5, 10);
	guest_gpadl(&vm, 2, 6, 100);
	test_vm_expect(&vm, "dev gpadl 0 5; created 2 5 ok; dev gpadl 0 6; created 2 6 ok");
}

static void unload_waits_for_devices(void **state)
{
	open_one();
	dev->holds = true;
	guest_plain(&vm, VMBUS_UNLOAD);
	test_vm_expect(&vm, "dev reset");
	assert_null(vmbus_server_contact(vm.server));
	// What it was asked before is void.
	vmbus_device_open_done(dev->device, 0, true);
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	guest_plain(&vm, VMBUS_UNLOAD);
	test_vm_expect(&vm, "");
	vmbus_device_reset_done(dev->device);
	test_vm_expect(&vm, "disconnected; unloaded");
}

// In each case the last wish counts.
static void a_new_contact_resets_first(void **state)
{
	open_one();
	guest_contact(&vm, VMBUS_VERSION_WIN10);
	test_vm_expect(&vm, "dev reset; disconnected; connected 0x40000; version 1 0 0x40000 16");
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	guest_gpadl(&vm, 2, 5, 10);
	test_vm_forget(&vm);
	dev->holds = true;
	guest_contact(&vm, VMBUS_VERSION_WIN10);
	guest_contact(&vm, 0x1234);
	guest_contact(&vm, VMBUS_VERSION_IRON);
	test_vm_expect(&vm, "dev reset");
	vmbus_device_reset_done(dev->device);
	test_vm_expect(&vm, "disconnected; connected 0x50003; version 1 0 0x4 16");
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	guest_gpadl(&vm, 3, 5, 10);
	test_vm_forget(&vm);
	guest_contact(&vm, VMBUS_VERSION_IRON);
	guest_plain(&vm, VMBUS_UNLOAD);
	vmbus_device_reset_done(dev->device);
	test_vm_expect(&vm, "dev reset; disconnected; unloaded");
	guest_contact(&vm, 0x1234); // unsupported, with nothing to reset
	test_vm_expect(&vm, "version 0 0 0 16");
}

static void an_unsupported_contact_ends_the_old_one(void **state)
{
	open_one();
	guest_contact(&vm, 0x1234);
	test_vm_expect(&vm, "dev reset; disconnected; version 0 0 0 16");
	assert_null(vmbus_server_contact(vm.server));
}

static void a_reset_of_the_vm_says_nothing_to_the_guest(void **state)
{
	vmbus_server_reset(vm.server);
	test_vm_expect(&vm, "disconnected");
	open_one();
	dev->holds = true;
	guest_contact(&vm, VMBUS_VERSION_IRON);
	vmbus_server_reset(vm.server);
	test_vm_expect(&vm, "dev reset");
	vmbus_device_reset_done(dev->device);
	test_vm_expect(&vm, "disconnected");
}

static void devices_may_go_during_a_reset(void **state)
{
	assert_int_equal(test_vm_add(&vm, 1), 0);
	open_one();
	dev->holds = true;
	guest_plain(&vm, VMBUS_UNLOAD);
	vmbus_device_remove(vm.devices[1].device);
	vmbus_device_remove(dev->device);
	test_vm_expect(&vm, "dev reset; dev1 gone");
	vmbus_device_reset_done(dev->device);
	test_vm_expect(&vm, "disconnected; unloaded; dev gone");
}

// --- messages that are wrong, guests that do not listen ------------------------------------------

static void bad_messages_are_counted(void **state)
{
	static const uint8_t zeros[300];
	static const uint32_t types[] = {
		VMBUS_INITIATE_CONTACT, VMBUS_OPEN_CHANNEL, VMBUS_CLOSE_CHANNEL,
		VMBUS_GPADL_HEADER, VMBUS_GPADL_BODY, VMBUS_GPADL_TEARDOWN,
		VMBUS_RELID_RELEASED, VMBUS_MODIFY_CHANNEL,
	};

	guest_begin(&vm, VMBUS_VERSION_IRON);
	assert_int_equal(guest_post(&vm, zeros, 241), -EINVAL);
	assert_int_equal(guest_post(&vm, zeros, 0), 0);
	assert_int_equal(guest_post(&vm, zeros, 7), 0);
	assert_int_equal(counters()->n_short, 2);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		guest_plain(&vm, types[i]);
	assert_int_equal(counters()->n_short, 2 + ARRAY_SIZE(types));
	for (uint32_t type = 0; type < 40; type++) {
		uint8_t message[VMBUS_MAX_MESSAGE] = { (uint8_t)type };

		// Full length with nonsense in it: firmware pads all its messages.
		if (type != VMBUS_UNLOAD && type != VMBUS_INITIATE_CONTACT)
			assert_int_equal(guest_post(&vm, message, sizeof(message)), 0);
	}
	assert_int_equal(counters()->n_unknown, 40 - 10);
	assert_int_equal(vmbus_server_post(vm.server, 0, zeros, 8), -ENOENT);
	assert_int_equal(vmbus_server_post(vm.server, 2, zeros, 8), -ENOENT);
	assert_int_equal(vmbus_server_post(vm.server, 4, zeros, 8), 0);
	assert_non_null(vmbus_server_contact(vm.server));
}

static void messages_wait_for_a_free_slot(void **state)
{
	vm.slot_busy = true;
	guest_contact(&vm, VMBUS_VERSION_IRON);
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	test_vm_expect(&vm, "connected 0x50003");
	assert_int_equal(vmbus_server_n_waiting(vm.server), 3);
	vmbus_server_flush(vm.server);
	vm.slot_busy = false;
	assert_int_equal(test_vm_add(&vm, 1), 0);
	test_vm_expect(&vm, ""); // not out of turn
	vmbus_server_flush(vm.server);
	test_vm_expect(&vm, "version 1 0 0x4 16; offer 1.0; all-offers; offer 2.0");
	assert_int_equal(vmbus_server_n_waiting(vm.server), 0);
}

static void a_deaf_guest_is_put_off(void **state)
{
	struct vmbus_relid_message message = { .message.type = cpu_to_le32(VMBUS_CLOSE_CHANNEL) };

	guest_begin(&vm, VMBUS_VERSION_IRON);
	vm.slot_busy = true;
	for (uint32_t i = 0; i < 64; i++)
		guest_gpadl(&vm, 1, 100 + i, 4);
	assert_int_equal(vmbus_server_n_waiting(vm.server), 64);
	assert_int_equal(guest_post(&vm, &message, sizeof(message)), -EAGAIN);
	assert_int_equal(counters()->n_busy, 1);
	test_vm_forget(&vm);
	// But it may always begin anew, or leave.
	guest_contact(&vm, VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_server_n_waiting(vm.server), 1);
	guest_plain(&vm, VMBUS_UNLOAD);
	assert_int_equal(vmbus_server_n_waiting(vm.server), 1);
	for (int i = 0; i < 1000; i++)
		guest_contact(&vm, 0x1234);
	assert_int_equal(vmbus_server_n_waiting(vm.server), 1);
	vm.slot_busy = false;
	vmbus_server_flush(vm.server);
	assert_non_null(strstr(vm.log, "version 0 0 0 16"));
}

static void what_cannot_be_delivered_is_counted(void **state)
{
	vm.send_error = -ENXIO;
	guest_contact(&vm, VMBUS_VERSION_IRON);
	assert_int_equal(counters()->n_undelivered, 1);
	assert_int_equal(vmbus_server_n_waiting(vm.server), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(versions_are_answered),
		T(features_of_copper_are_declined),
		T(a_host_may_stop_at_a_version),
		T(impossible_contacts_fail),
		T(offers_are_made_once_and_in_order),
		T(early_devices_are_not_offered_unasked),
		T(no_monitor_pages_no_monitor_ids),
		T(ids_come_back),
		T(signals_find_their_channel),
		T(unload_forgets_all),
		T(unload_waits_for_devices),
		T(a_new_contact_resets_first),
		T(an_unsupported_contact_ends_the_old_one),
		T(a_reset_of_the_vm_says_nothing_to_the_guest),
		T(devices_may_go_during_a_reset),
		T(bad_messages_are_counted),
		T(messages_wait_for_a_free_slot),
		T(a_deaf_guest_is_put_off),
		T(what_cannot_be_delivered_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
