// SPDX-License-Identifier: Apache-2.0
#include "vmbus/test_vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#define MEMORY_BYTES (64u << 20)
#define FIRST_PAGE 0x100u
#define HEADER_PAGES 26u // page numbers in a GPADL_HEADER of one range
#define BODY_PAGES 28u

static void note(struct test_vm *vm, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct test_vm *vm, const char *fmt, ...)
{
	size_t left = sizeof(vm->log) - vm->log_used;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = snprintf(vm->log + vm->log_used, left, "%s", vm->log_used ? "; " : "");
	vm->log_used += (size_t)n < left ? (size_t)n : 0;
	left = sizeof(vm->log) - vm->log_used;
	n = vsnprintf(vm->log + vm->log_used, left, fmt, ap);
	vm->log_used += (size_t)n < left ? (size_t)n : 0;
	va_end(ap);
}

void test_vm_forget(struct test_vm *vm)
{
	vm->log_used = 0;
	vm->log[0] = 0;
}

void test_vm_expect(struct test_vm *vm, const char *text)
{
	assert_string_equal(vm->log, text);
	test_vm_forget(vm);
}

// --- the partition manager ---------------------------------------------------------------------

static const char *result(const uint8_t *status)
{
	return load_u32(status) == VMBUS_STATUS_SUCCESS ? "ok" : "failed";
}

// One message in words.
static void note_message(struct test_vm *vm, const uint8_t *m, uint32_t bytes)
{
	const struct vmbus_offer_channel *offer = (const void *)m;

	switch (load_u32(m)) {
	case VMBUS_OFFER_CHANNEL:
		note(vm, "offer %u.%u", load_u32(m + 184), le16_to_cpu(offer->subchannel));
		break;
	case VMBUS_RESCIND_CHANNEL_OFFER: note(vm, "rescind %u", load_u32(m + 8)); break;
	case VMBUS_ALL_OFFERS_DELIVERED: note(vm, "all-offers"); break;
	case VMBUS_OPEN_RESULT:
		note(vm, "opened %u %u %s", load_u32(m + 8), load_u32(m + 12), result(m + 16));
		break;
	case VMBUS_GPADL_CREATED:
		note(vm, "created %u %u %s", load_u32(m + 8), load_u32(m + 12), result(m + 16));
		break;
	case VMBUS_GPADL_TORNDOWN: note(vm, "torndown %u", load_u32(m + 8)); break;
	case VMBUS_VERSION_RESPONSE:
		note(vm, "version %u %u %#x %u", m[8], m[9], load_u32(m + 12), bytes);
		break;
	case VMBUS_UNLOAD_COMPLETE: note(vm, "unloaded"); break;
	case VMBUS_MODIFY_CHANNEL_RESPONSE:
		note(vm, "modified %u %s", load_u32(m + 8), result(m + 12));
		break;
	default: fail_msg("message of type %u", load_u32(m));
	}
}

static int on_send(void *arg, const struct vmbus_contact *to, const void *message, uint32_t bytes)
{
	struct test_vm *vm = arg;

	if (vm->slot_busy)
		return -EAGAIN;
	if (vm->send_error)
		return vm->send_error;
	assert_true(bytes >= 8 && bytes <= VMBUS_MAX_MESSAGE);
	vm->vp = to->target_vp;
	vm->sint = to->sint;
	vm->last_bytes = bytes;
	memcpy(vm->last, message, bytes);
	note_message(vm, message, bytes);
	return 0;
}

static int on_connected(void *arg, const struct vmbus_contact *contact)
{
	struct test_vm *vm = arg;

	note(vm, "connected %#x", contact->version);
	return vm->refuses_contact ? -EIO : 0;
}

static void on_disconnected(void *arg)
{
	struct test_vm *vm = arg;

	note(vm, "disconnected");
}

static const struct vmbus_host_ops host_ops = {
	.send = on_send,
	.connected = on_connected,
	.disconnected = on_disconnected,
};

// --- the device --------------------------------------------------------------------------------

static void on_gpadl(void *arg, uint32_t channel, const struct vmbus_gpadl *gpadl, bool resume)
{
	struct test_device *d = arg;

	note(d->vm, "%s gpadl %u %u%s", d->name, channel, gpadl->id, resume ? " again" : "");
	if (!d->holds && !resume)
		vmbus_device_gpadl_done(d->device, channel, gpadl->id, !d->refuses);
}

static void on_teardown(void *arg, uint32_t channel, uint32_t gpadl)
{
	struct test_device *d = arg;

	note(d->vm, "%s teardown %u %u", d->name, channel, gpadl);
	if (!d->holds)
		vmbus_device_gpadl_teardown_done(d->device, channel, gpadl);
}

static void on_open(void *arg, uint32_t channel, const struct vmbus_open *open)
{
	struct test_device *d = arg;

	assert_non_null(open->gpadl);
	assert_int_not_equal(open->relid, 0);
	note(d->vm, "%s open %u%s", d->name, channel, open->resume ? " again" : "");
	if (!d->holds && !open->resume)
		vmbus_device_open_done(d->device, channel, !d->refuses);
}

static void on_close(void *arg, uint32_t channel)
{
	struct test_device *d = arg;

	note(d->vm, "%s close %u", d->name, channel);
	if (!d->holds)
		vmbus_device_close_done(d->device, channel);
}

static void on_modify(void *arg, uint32_t channel, uint32_t target_vp)
{
	struct test_device *d = arg;

	note(d->vm, "%s modify %u %u", d->name, channel, target_vp);
	if (!d->holds)
		vmbus_device_modify_done(d->device, channel, !d->refuses);
}

static void on_reset(void *arg)
{
	struct test_device *d = arg;

	note(d->vm, "%s reset", d->name);
	if (!d->holds)
		vmbus_device_reset_done(d->device);
}

static void on_gone(void *arg)
{
	struct test_device *d = arg;

	note(d->vm, "%s gone", d->name);
	d->device = NULL;
}

static const struct vmbus_device_ops device_ops = {
	.gpadl = on_gpadl,
	.gpadl_teardown = on_teardown,
	.open = on_open,
	.close = on_close,
	.modify = on_modify,
	.reset = on_reset,
	.gone = on_gone,
};

int test_vm_add(struct test_vm *vm, uint32_t i)
{
	struct test_device *d = &vm->devices[i];
	struct vmbus_device_cfg cfg = { .type = { 0x63, 0x51, 0x61, 0xf8 },
					.instance = { (uint8_t)(0x10 + i) },
					.wants_monitor = true,
					.ops = &device_ops,
					.device = d };

	d->vm = vm;
	snprintf(d->name, sizeof(d->name), i ? "dev%u" : "dev", i);
	return vmbus_device_add(vm->server, &cfg, &d->device);
}

static void make_server(struct test_vm *vm)
{
	struct vmbus_server_cfg cfg = { .memory = &vm->memory, .n_vps = 4,
					.max_version = vm->max_version, .ops = &host_ops,
					.vmm = vm };

	assert_int_equal(vmbus_server_create(&cfg, &vm->server), 0);
}

void test_vm_init(struct test_vm *vm)
{
	struct guest_region region = { 0, MEMORY_BYTES, (uint8_t *)0x10000000, false };

	*vm = (struct test_vm){};
	assert_int_equal(guest_memory_add(&vm->memory, &region), 0);
	make_server(vm);
	assert_int_equal(test_vm_add(vm, 0), 0);
}

void test_vm_fini(struct test_vm *vm) { vmbus_server_destroy(vm->server); }

void test_vm_replace(struct test_vm *vm)
{
	vmbus_server_destroy(vm->server);
	make_server(vm);
	for (uint32_t i = 0; i < TEST_DEVICES; i++)
		if (vm->devices[i].device)
			assert_int_equal(test_vm_add(vm, i), 0);
}

// --- the guest ---------------------------------------------------------------------------------

int guest_post(struct test_vm *vm, const void *message, uint32_t bytes)
{
	return vmbus_server_post(vm->server, VMBUS_CONNECTION_MESSAGE, message, bytes);
}

void guest_contact(struct test_vm *vm, uint32_t version)
{
	struct vmbus_initiate_contact_copper message = {
		.contact = {
			.message.type = cpu_to_le32(VMBUS_INITIATE_CONTACT),
			.version = cpu_to_le32(version),
			.target_vp = cpu_to_le32(1),
			.sint = 2,
			.to_guest_monitor_gpa = cpu_to_le64(0x10000),
			.to_host_monitor_gpa = cpu_to_le64(0x11000),
		},
	};

	guest_post(vm, &message, version >= VMBUS_VERSION_COPPER ? sizeof(message) :
								   sizeof(message.contact));
}

void guest_plain(struct test_vm *vm, uint32_t type)
{
	struct vmbus_message message = { .type = cpu_to_le32(type) };

	guest_post(vm, &message, sizeof(message));
}

void guest_relid(struct test_vm *vm, uint32_t type, uint32_t relid)
{
	struct vmbus_relid_message message = { .message.type = cpu_to_le32(type),
					       .relid = cpu_to_le32(relid) };

	guest_post(vm, &message, sizeof(message));
}

void guest_open(struct test_vm *vm, uint32_t relid, uint32_t gpadl, uint32_t page)
{
	struct vmbus_open_channel_copper message = {
		.open = {
			.message.type = cpu_to_le32(VMBUS_OPEN_CHANNEL),
			.relid = cpu_to_le32(relid),
			.open_id = cpu_to_le32(relid + 100),
			.gpadl = cpu_to_le32(gpadl),
			.target_vp = cpu_to_le32(2),
			.downstream_page = cpu_to_le32(page),
			.user_data = "user",
		},
		.connection_id = cpu_to_le32(0xdeadbeef),
		.event_flag = cpu_to_le16(0xbad),
	};

	guest_post(vm, &message, sizeof(message));
}

void guest_modify(struct test_vm *vm, uint32_t relid, uint32_t vp)
{
	struct vmbus_modify_channel message = { .message.type = cpu_to_le32(VMBUS_MODIFY_CHANNEL),
						.relid = cpu_to_le32(relid),
						.target_vp = cpu_to_le32(vp) };

	guest_post(vm, &message, sizeof(message));
}

void guest_teardown(struct test_vm *vm, uint32_t relid, uint32_t gpadl)
{
	struct vmbus_gpadl_teardown message = { .message.type = cpu_to_le32(VMBUS_GPADL_TEARDOWN),
						.relid = cpu_to_le32(relid),
						.gpadl = cpu_to_le32(gpadl) };

	guest_post(vm, &message, sizeof(message));
}

void guest_gpadl_header(struct test_vm *vm, uint32_t relid, uint32_t gpadl, uint32_t n_pages)
{
	struct VMBUS_PACKED {
		struct vmbus_gpadl_header head;
		struct vmbus_gpa_range range;
		le64 pages[HEADER_PAGES];
	} message = {
		.head = {
			.message.type = cpu_to_le32(VMBUS_GPADL_HEADER),
			.relid = cpu_to_le32(relid),
			.gpadl = cpu_to_le32(gpadl),
			.range_bytes = cpu_to_le16((uint16_t)(8 + 8 * n_pages)),
			.n_ranges = cpu_to_le16(1),
		},
		.range.byte_count = cpu_to_le32(n_pages * VMBUS_PAGE_BYTES),
	};
	uint32_t n = n_pages < HEADER_PAGES ? n_pages : HEADER_PAGES;

	for (uint32_t i = 0; i < n; i++)
		message.pages[i] = cpu_to_le64(FIRST_PAGE + i);
	guest_post(vm, &message, 28 + n * (uint32_t)sizeof(le64));
	vm->n_pages_posted = n;
}

void guest_gpadl_rest(struct test_vm *vm, uint32_t gpadl, uint32_t n_pages)
{
	while (vm->n_pages_posted < n_pages) {
		uint32_t left = n_pages - vm->n_pages_posted;
		uint32_t n = left < BODY_PAGES ? left : BODY_PAGES;
		uint8_t message[VMBUS_MAX_MESSAGE] = {};

		store_u32(message, VMBUS_GPADL_BODY);
		store_u32(message + 8, 0xdeadbeef);
		store_u32(message + 12, gpadl);
		for (uint32_t i = 0; i < n; i++)
			store_u32(message + 16 + 8 * i, FIRST_PAGE + vm->n_pages_posted + i);
		guest_post(vm, message, 16 + 8 * n);
		vm->n_pages_posted += n;
	}
}

void guest_gpadl(struct test_vm *vm, uint32_t relid, uint32_t gpadl, uint32_t n_pages)
{
	guest_gpadl_header(vm, relid, gpadl, n_pages);
	guest_gpadl_rest(vm, gpadl, n_pages);
}

void guest_begin(struct test_vm *vm, uint32_t version)
{
	guest_contact(vm, version);
	guest_plain(vm, VMBUS_REQUEST_OFFERS);
	test_vm_forget(vm);
}
