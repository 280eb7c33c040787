// SPDX-License-Identifier: Apache-2.0
// The VMBus server saved in every state and restored elsewhere: the guest notices nothing. And
// images that are broken, or lie.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vmbus/test_vm.h"

static struct test_vm vm;
static struct test_device *const dev = &vm.devices[0];
static void *image;
static size_t image_bytes;

static int set_up(void **state)
{
	test_vm_init(&vm);
	return 0;
}

static int tear_down(void **state)
{
	test_vm_fini(&vm);
	free(image);
	image = NULL;
	return 0;
}

// Saves, and goes on with another server that has the same devices.
static void move(void)
{
	struct err err = {};

	free(image);
	assert_int_equal(vmbus_server_save(vm.server, &image, &image_bytes), 0);
	test_vm_forget(&vm);
	test_vm_replace(&vm);
	assert_int_equal(vmbus_server_restore(vm.server, image, image_bytes, &err), 0);
	assert_string_equal(err.text, "");
}

static void open_one(uint32_t version)
{
	guest_begin(&vm, version);
	guest_gpadl(&vm, 1, 5, 10);
	guest_open(&vm, 1, 5, 5);
	test_vm_forget(&vm);
}

static void before_the_guest_connects(void **state)
{
	move();
	test_vm_expect(&vm, "");
	guest_contact(&vm, VMBUS_VERSION_IRON);
	test_vm_expect(&vm, "connected 0x50003; version 1 0 0x4 16");
}

static void before_offers_are_requested(void **state)
{
	guest_contact(&vm, VMBUS_VERSION_RS5);
	move();
	test_vm_expect(&vm, "");
	assert_int_equal(vmbus_server_contact(vm.server)->version, VMBUS_VERSION_RS5);
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	test_vm_expect(&vm, "offer 1.0; all-offers");
	assert_int_equal(vm.vp, 1);
}

static void with_an_open_channel(void **state)
{
	struct vmbus_open open;

	open_one(VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_device_offer_subchannels(dev->device, 2), 2);
	guest_gpadl(&vm, 2, 6, 100);
	guest_open(&vm, 2, 6, 50);
	guest_modify(&vm, 1, 3);
	move();
	test_vm_expect(&vm, "dev gpadl 0 5 again; dev open 0 again; dev gpadl 1 6 again; "
			    "dev open 1 again");
	assert_true(vmbus_device_is_open(dev->device, 0, &open));
	assert_int_equal(open.target_vp, 3);
	assert_int_equal(open.downstream_page, 5);
	assert_string_equal(open.user_data, "user");
	assert_int_equal(vmbus_device_relid(dev->device, 2), 3);
	// And all goes on.
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	assert_int_equal(vmbus_server_counters(vm.server)->n_offers_twice, 1);
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 2);
	guest_teardown(&vm, 2, 6);
	test_vm_expect(&vm, "dev close 1; dev teardown 1 6; torndown 6");
	guest_gpadl(&vm, 1, 5, 10);
	test_vm_expect(&vm, "created 1 5 failed");
	assert_int_equal(test_vm_add(&vm, 1), 0);
	test_vm_expect(&vm, "offer 4.0");
}

static void twice(void **state)
{
	open_one(VMBUS_VERSION_COPPER);
	move();
	test_vm_expect(&vm, "dev gpadl 0 5 again; dev open 0 again");
	move();
	test_vm_expect(&vm, "dev gpadl 0 5 again; dev open 0 again");
	guest_plain(&vm, VMBUS_UNLOAD);
	test_vm_expect(&vm, "dev reset; disconnected; unloaded");
}

static void with_a_gpadl_half_way(void **state)
{
	guest_begin(&vm, VMBUS_VERSION_IRON);
	guest_gpadl_header(&vm, 1, 5, 100);
	move();
	test_vm_expect(&vm, "");
	guest_gpadl_rest(&vm, 5, 100);
	test_vm_expect(&vm, "dev gpadl 0 5; created 1 5 ok");
}

static void with_messages_that_wait(void **state)
{
	vm.slot_busy = true;
	guest_contact(&vm, VMBUS_VERSION_IRON);
	guest_plain(&vm, VMBUS_REQUEST_OFFERS);
	move();
	vm.slot_busy = false;
	vmbus_server_flush(vm.server);
	test_vm_expect(&vm, "version 1 0 0x4 16; offer 1.0; all-offers");
	assert_int_equal(vm.vp, 1);
	assert_int_equal(vm.sint, 2);
}

// What the device has not answered: asked again, or taken as done.
static void with_questions_open(void **state)
{
	guest_begin(&vm, VMBUS_VERSION_IRON);
	guest_gpadl(&vm, 1, 5, 10);
	guest_gpadl(&vm, 1, 8, 10);
	dev->holds = true;
	guest_gpadl(&vm, 1, 6, 10);
	guest_open(&vm, 1, 5, 5);
	guest_teardown(&vm, 1, 8);
	dev->holds = false;
	move();
	test_vm_expect(&vm, "dev gpadl 0 5 again; dev gpadl 0 6; created 1 6 ok; torndown 8; "
			    "dev open 0; opened 1 101 ok");
	dev->holds = true;
	guest_modify(&vm, 1, 3);
	dev->holds = false;
	move();
	test_vm_expect(&vm, "dev gpadl 0 6 again; dev gpadl 0 5 again; dev open 0 again; "
			    "dev modify 0 3; modified 1 ok");
}

static void while_closing(void **state)
{
	open_one(VMBUS_VERSION_IRON);
	dev->holds = true;
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1);
	guest_open(&vm, 1, 5, 5);
	dev->holds = false;
	move();
	test_vm_expect(&vm, "dev gpadl 0 5 again; dev open 0; opened 1 101 ok");
	guest_teardown(&vm, 1, 5);
	move();
	test_vm_expect(&vm, "dev gpadl 0 5 again; dev open 0 again");
	dev->holds = true;
	guest_relid(&vm, VMBUS_CLOSE_CHANNEL, 1);
	guest_relid(&vm, VMBUS_RELID_RELEASED, 1);
	dev->holds = false;
	move();
	test_vm_expect(&vm, "dev gpadl 0 5 again; dev teardown 0 5; torndown 5");
	assert_int_equal(vmbus_device_relid(dev->device, 0), 0);
}

static void while_rescinding(void **state)
{
	open_one(VMBUS_VERSION_IRON);
	dev->holds = true;
	vmbus_device_reoffer(dev->device);
	dev->holds = false;
	move();
	test_vm_expect(&vm, "rescind 1");
	guest_gpadl(&vm, 1, 6, 4);
	move();
	guest_teardown(&vm, 1, 5);
	guest_relid(&vm, VMBUS_RELID_RELEASED, 1);
	test_vm_expect(&vm, "torndown 5; offer 2.0");
	vmbus_device_remove(dev->device);
	move();
	guest_relid(&vm, VMBUS_RELID_RELEASED, 2);
	test_vm_expect(&vm, "dev gone");
}

static void while_disconnecting(void **state)
{
	open_one(VMBUS_VERSION_IRON);
	dev->holds = true;
	guest_plain(&vm, VMBUS_UNLOAD);
	move();
	test_vm_expect(&vm, "disconnected; unloaded");
	test_vm_fini(&vm);
	test_vm_init(&vm);
	open_one(VMBUS_VERSION_IRON);
	dev->holds = true;
	guest_contact(&vm, VMBUS_VERSION_WIN10);
	move();
	test_vm_expect(&vm, "disconnected; connected 0x40000; version 1 0 0x40000 16");
}

static void a_channel_given_up_stays_so(void **state)
{
	guest_begin(&vm, VMBUS_VERSION_IRON);
	guest_relid(&vm, VMBUS_RELID_RELEASED, 1);
	move();
	test_vm_expect(&vm, "");
}

static void devices_of_the_new_host_are_offered(void **state)
{
	struct err err = {};

	open_one(VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_server_save(vm.server, &image, &image_bytes), 0);
	test_vm_forget(&vm);
	test_vm_replace(&vm);
	assert_int_equal(test_vm_add(&vm, 1), 0);
	assert_int_equal(vmbus_server_restore(vm.server, image, image_bytes, &err), 0);
	test_vm_expect(&vm, "dev gpadl 0 5 again; dev open 0 again; offer 2.0");
	assert_int_equal(vmbus_server_restore(vm.server, image, image_bytes, &err), -EBUSY);
	assert_int_not_equal(err.text[0], 0);
}

// --- refusals ----------------------------------------------------------------------------------

// It was refused and the server is as new: a guest connects.
static void expect_refusal(int error)
{
	struct err err = {};

	assert_int_equal(vmbus_server_restore(vm.server, image, image_bytes, &err), error);
	assert_int_not_equal(err.text[0], 0);
	test_vm_expect(&vm, "");
	assert_null(vmbus_server_contact(vm.server));
}

static void what_the_host_lacks_is_refused(void **state)
{
	open_one(VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_server_save(vm.server, &image, &image_bytes), 0);
	test_vm_replace(&vm);
	vmbus_device_remove(dev->device);
	test_vm_forget(&vm);
	expect_refusal(-ENOENT); // device
	assert_int_equal(test_vm_add(&vm, 0), 0);
	vm.memory.regions[0].bytes = 0x20000;
	expect_refusal(-ENOENT); // memory of the GPADL
	vm.memory.regions[0].bytes = 0x1000;
	expect_refusal(-EINVAL); // monitor pages
	vm.memory.regions[0].bytes = 64 << 20;
	vm.max_version = VMBUS_VERSION_RS5;
	test_vm_replace(&vm);
	expect_refusal(-EINVAL);
	vm.max_version = 0;
	test_vm_replace(&vm);
	assert_int_equal(vmbus_server_restore(vm.server, image, image_bytes, NULL), 0);
}

// Every byte changed, and every length: the checksum finds them all.
static void damage_is_found(void **state)
{
	uint8_t *bytes;
	size_t full;

	open_one(VMBUS_VERSION_IRON);
	assert_int_equal(vmbus_server_save(vm.server, &image, &image_bytes), 0);
	test_vm_replace(&vm);
	bytes = image;
	full = image_bytes;
	for (size_t i = 0; i < full; i++) {
		bytes[i] ^= 0x40;
		expect_refusal(-EINVAL);
		bytes[i] ^= 0x40;
	}
	for (image_bytes = 0; image_bytes < full; image_bytes++)
		expect_refusal(-EINVAL);
}

// FNV-1a over all but the checksum: whoever lies makes it fit.
static void seal(uint8_t *bytes, size_t size)
{
	uint64_t sum = 0xcbf29ce484222325ull;

	memset(bytes + 24, 0, 8);
	for (size_t i = 0; i < size; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3ull;
	memcpy(bytes + 24, &sum, 8);
}

// Every byte changed in several ways under a fitting checksum: refused, or taken without harm. What
// harm is, the sanitizers say.
static void lies_do_no_harm(void **state)
{
	static const uint8_t changes[] = { 1, 2, 4, 0x80, 0xff };
	uint32_t n_refused = 0, n_taken = 0;
	uint8_t *bytes;

	open_one(VMBUS_VERSION_IRON);
	guest_gpadl_header(&vm, 1, 7, 60);
	vmbus_device_offer_subchannels(dev->device, 1);
	assert_int_equal(vmbus_server_save(vm.server, &image, &image_bytes), 0);
	bytes = image;
	for (size_t i = 32; i < image_bytes; i++)
		for (size_t k = 0; k < ARRAY_SIZE(changes); k++) {
			uint8_t old = bytes[i];

			test_vm_replace(&vm);
			test_vm_forget(&vm);
			bytes[i] ^= changes[k];
			seal(bytes, image_bytes);
			if (vmbus_server_restore(vm.server, bytes, image_bytes, NULL) == 0)
				n_taken++;
			else
				n_refused++;
			guest_begin(&vm, VMBUS_VERSION_IRON);
			assert_non_null(vmbus_server_contact(vm.server));
			bytes[i] = old;
		}
	assert_true(n_refused > 500);
	assert_true(n_taken > 100);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(before_the_guest_connects),
		T(before_offers_are_requested),
		T(with_an_open_channel),
		T(twice),
		T(with_a_gpadl_half_way),
		T(with_messages_that_wait),
		T(with_questions_open),
		T(while_closing),
		T(while_rescinding),
		T(while_disconnecting),
		T(a_channel_given_up_stays_so),
		T(devices_of_the_new_host_are_offered),
		T(what_the_host_lacks_is_refused),
		T(damage_is_found),
		T(lies_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
