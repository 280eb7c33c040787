// SPDX-License-Identifier: Apache-2.0
// A guest posts any messages in any order, devices answer when they like, come and go, and now and
// then the whole server is saved and restored. Devices are asked only what makes sense; every saved
// state can be restored.
//
// Input: steps. Each is a byte of kind, and then for a message its length and bytes, else two
// bytes of arguments.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "vmbus/channel.h"

#define DEVICES 3
#define CHANNELS VMBUS_DEVICE_MAX_CHANNELS
#define MAX_GPADLS 1200 // of a device; a connection has 1024
#define MAX_STEPS 400

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What a device has been told, to hold the next question against.
struct device {
	struct vmbus_device *device; // NULL: not there
	bool holds;
	bool is_open[CHANNELS], is_opening[CHANNELS], is_closing[CHANNELS], is_resetting;
	uint32_t n_gpadls;
	struct {
		uint32_t channel, id;
		bool is_answered, is_going;
	} gpadls[MAX_GPADLS];
};

static struct guest_memory memory;
static struct vmbus_server *server;
static struct device devices[DEVICES];
static bool slot_busy;

static int on_send(void *vmm, const struct vmbus_contact *to, const void *message, uint32_t bytes)
{
	assert(to->target_vp < 4 && to->sint > 0 && to->sint < 16);
	assert(bytes >= 8 && bytes <= VMBUS_MAX_MESSAGE);
	return slot_busy ? -EAGAIN : 0;
}

static const struct vmbus_host_ops host_ops = { .send = on_send };

// --- devices -----------------------------------------------------------------------------------

// The oldest GPADL with this key in that state, or -1.
static int find(const struct device *d, uint32_t channel, uint32_t id, bool is_going)
{
	for (uint32_t i = 0; i < d->n_gpadls; i++)
		if (d->gpadls[i].channel == channel && d->gpadls[i].id == id &&
		    d->gpadls[i].is_going == is_going)
			return (int)i;
	return -1;
}

static void drop(struct device *d, int i)
{
	d->n_gpadls--;
	memmove(&d->gpadls[i], &d->gpadls[i + 1],
		(d->n_gpadls - (uint32_t)i) * sizeof(d->gpadls[0]));
}

static void answer_teardown(struct device *d, uint32_t channel, uint32_t id)
{
	int i = find(d, channel, id, true);

	if (i < 0)
		return;
	drop(d, i);
	vmbus_device_gpadl_teardown_done(d->device, channel, id);
}

static void answer_close(struct device *d, uint32_t channel)
{
	if (!d->is_closing[channel])
		return;
	d->is_closing[channel] = d->is_open[channel] = d->is_opening[channel] = false;
	vmbus_device_close_done(d->device, channel);
}

// Also when nobody has asked, or asks any more.
static void answer_open(struct device *d, uint32_t channel, bool ok)
{
	if (d->is_opening[channel] && !d->is_closing[channel]) {
		d->is_opening[channel] = false;
		d->is_open[channel] = ok;
	}
	vmbus_device_open_done(d->device, channel, ok);
}

static void answer_gpadl(struct device *d, uint32_t channel, uint32_t id, bool ok)
{
	int i = find(d, channel, id, false);

	if (i >= 0 && !d->gpadls[i].is_answered && !ok)
		drop(d, i);
	else if (i >= 0)
		d->gpadls[i].is_answered = true;
	vmbus_device_gpadl_done(d->device, channel, id, ok);
}

static void on_gpadl(void *arg, uint32_t channel, const struct vmbus_gpadl *gpadl, bool resume)
{
	struct device *d = arg;

	assert(!d->is_resetting && find(d, channel, gpadl->id, false) < 0);
	assert(gpadl->runs.n >= 1 && gpadl->runs.bytes > 0);
	assert(d->n_gpadls < MAX_GPADLS);
	d->gpadls[d->n_gpadls].channel = channel;
	d->gpadls[d->n_gpadls].id = gpadl->id;
	d->gpadls[d->n_gpadls].is_answered = resume;
	d->gpadls[d->n_gpadls++].is_going = false;
	if (!d->holds && !resume)
		answer_gpadl(d, channel, gpadl->id, true);
}

static void on_teardown(void *arg, uint32_t channel, uint32_t gpadl)
{
	struct device *d = arg;
	int i = find(d, channel, gpadl, false);

	assert(i >= 0 && !d->is_resetting);
	d->gpadls[i].is_going = true;
	if (!d->holds)
		answer_teardown(d, channel, gpadl);
}

static void on_open(void *arg, uint32_t channel, const struct vmbus_open *open)
{
	struct device *d = arg;

	assert(!d->is_open[channel] && !d->is_closing[channel] && !d->is_resetting);
	assert(channel == 0 || d->is_open[0]);
	assert(open->gpadl && vmbus_gpadl_fits_ring(open->gpadl));
	assert(open->downstream_page >= 2);
	assert((uint64_t)(open->downstream_page + 2) * VMBUS_PAGE_BYTES <= open->gpadl->runs.bytes);
	assert(open->relid >= 1 && open->relid <= VMBUS_MAX_RELID);
	d->is_open[channel] = true;
	d->is_opening[channel] = !open->resume;
	if (!d->holds && !open->resume)
		answer_open(d, channel, true);
}

static void on_close(void *arg, uint32_t channel)
{
	struct device *d = arg;

	assert(d->is_open[channel] && !d->is_closing[channel] && !d->is_resetting);
	for (uint32_t i = 1; channel == 0 && i < CHANNELS; i++)
		assert(!d->is_open[i] || d->is_closing[i]);
	d->is_closing[channel] = true;
	if (!d->holds)
		answer_close(d, channel);
}

static void on_modify(void *arg, uint32_t channel, uint32_t target_vp)
{
	struct device *d = arg;

	assert(d->is_open[channel] && !d->is_closing[channel] && target_vp < 4);
	if (!d->holds)
		vmbus_device_modify_done(d->device, channel, true);
}

static void forget(struct device *d)
{
	memset(d->is_open, 0, sizeof(d->is_open));
	memset(d->is_opening, 0, sizeof(d->is_opening));
	memset(d->is_closing, 0, sizeof(d->is_closing));
	d->n_gpadls = 0;
	d->is_resetting = false;
}

static void on_reset(void *arg)
{
	struct device *d = arg;

	assert(!d->is_resetting);
	d->is_resetting = true;
	if (!d->holds) {
		forget(d);
		vmbus_device_reset_done(d->device);
	}
}

static void on_gone(void *arg)
{
	struct device *d = arg;

	for (uint32_t i = 0; i < CHANNELS; i++)
		assert(!d->is_open[i]);
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

static void add(uint32_t i)
{
	struct vmbus_device_cfg cfg = { .instance = { (uint8_t)i }, .wants_monitor = i != 1,
					.ops = &device_ops, .device = &devices[i] };

	if (devices[i].device)
		return;
	devices[i].holds = false;
	forget(&devices[i]);
	if (vmbus_device_add(server, &cfg, &devices[i].device) < 0)
		devices[i].device = NULL;
}

// --- steps -------------------------------------------------------------------------------------

static void make_server(void)
{
	struct vmbus_server_cfg cfg = { .memory = &memory, .n_vps = 4, .ops = &host_ops };

	if (vmbus_server_create(&cfg, &server) < 0)
		abort();
}

static void move(void)
{
	bool was_there[DEVICES];
	void *image;
	size_t bytes;

	if (vmbus_server_save(server, &image, &bytes) < 0)
		abort();
	vmbus_server_destroy(server);
	make_server();
	for (uint32_t i = 0; i < DEVICES; i++) {
		was_there[i] = devices[i].device;
		devices[i].device = NULL;
		if (was_there[i])
			add(i);
	}
	if (vmbus_server_restore(server, image, bytes, NULL) != 0)
		abort();
	free(image);
}

// Device (a) is told or answers (b), about the channel and GPADL that b names.
static void act(uint8_t kind, uint8_t a, uint8_t b)
{
	struct device *d = &devices[a % DEVICES];
	uint32_t channel = a / DEVICES % 4, id = b % 8;

	if (kind == 0)
		add(a % DEVICES);
	if (!d->device)
		return;
	switch (kind) {
	case 1: vmbus_device_remove(d->device); break;
	case 2: vmbus_device_reoffer(d->device); break;
	case 3: vmbus_device_offer_subchannels(d->device, b % 8); break;
	case 4: d->holds = true; break;
	case 5: d->holds = false; break;
	case 6: answer_gpadl(d, channel, id, b & 8); break;
	case 7: answer_teardown(d, channel, id); break;
	case 8: answer_open(d, channel, b & 1); break;
	case 9: answer_close(d, channel); break;
	case 10: vmbus_device_modify_done(d->device, channel, b & 1); break;
	case 11:
		if (d->is_resetting) {
			forget(d);
			vmbus_device_reset_done(d->device);
		}
		break;
	}
}

static void step(uint8_t kind, uint8_t a, uint8_t b)
{
	switch (kind) {
	case 12: slot_busy = true; break;
	case 13:
		slot_busy = false;
		vmbus_server_flush(server);
		break;
	case 14: vmbus_server_reset(server); break;
	case 15: move(); break;
	default: act(kind, a, b);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_region region = { 0, 1 << 20, (uint8_t *)0x10000000, false };

	memory.n_regions = 0;
	memset(devices, 0, sizeof(devices));
	guest_memory_add(&memory, &region);
	slot_busy = false;
	make_server();
	add(0);
	for (uint32_t i = 0; i < MAX_STEPS && size >= 3; i++) {
		uint8_t kind = data[0], message[VMBUS_MAX_MESSAGE];
		uint32_t bytes = data[1] % (VMBUS_MAX_MESSAGE + 1);

		if (kind < 16) {
			step(kind, data[1], data[2]);
			data += 3;
			size -= 3;
			continue;
		}
		data += 2;
		size -= 2;
		bytes = bytes < size ? bytes : (uint32_t)size;
		memcpy(message, data, bytes);
		data += bytes;
		size -= bytes;
		vmbus_server_post(server, kind & 1 ? 1 : 4, message, bytes);
	}
	vmbus_server_destroy(server);
	return 0;
}
