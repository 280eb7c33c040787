// SPDX-License-Identifier: Apache-2.0
// What devices call: channel.h.
#include "vmbus/channel.h"

#include <errno.h>
#include <stdlib.h>

#include "vmbus/server_impl.h"

static int compare(const struct vmbus_device_cfg *a, const struct vmbus_device_cfg *b)
{
	int order = memcmp(a->type, b->type, sizeof(a->type));

	return order ? order : memcmp(a->instance, b->instance, sizeof(a->instance));
}

int vmbus_device_add(struct vmbus_server *server, const struct vmbus_device_cfg *cfg,
		     struct vmbus_device **out)
{
	struct vmbus_device **at = &server->devices, *device;

	if (server->n_devices == VMBUS_MAX_RELID)
		return -ENOSPC;
	// The order of offers is the same for each connection: resume from hibernation wants it.
	while (*at && compare(&(*at)->cfg, cfg) < 0)
		at = &(*at)->next;
	if (*at && compare(&(*at)->cfg, cfg) == 0)
		return -EEXIST;
	device = calloc(1, sizeof(*device));
	if (!device)
		return -ENOMEM;
	device->server = server;
	device->cfg = *cfg;
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++) {
		device->channels[i].device = device;
		device->channels[i].index = i;
	}
	vmbus_server_enter(server);
	if (vmbus_server_offers(server) && !vmbus_channel_offer(&device->channels[0])) {
		free(device);
		device = NULL;
	} else {
		device->next = *at;
		*at = device;
		server->n_devices++;
	}
	vmbus_server_leave(server);
	*out = device;
	return device ? 0 : -ENOSPC;
}

// Sub-channels first: guests demand it.
static void revoke_all(struct vmbus_device *device, bool offer_again)
{
	for (uint32_t i = VMBUS_DEVICE_MAX_CHANNELS; i-- > 0;)
		vmbus_channel_revoke(&device->channels[i], offer_again && i == 0);
}

void vmbus_device_remove(struct vmbus_device *device)
{
	struct vmbus_server *server = device->server;

	vmbus_server_enter(server);
	device->is_leaving = true;
	revoke_all(device, false);
	vmbus_server_leave(server);
}

void vmbus_device_reoffer(struct vmbus_device *device)
{
	struct vmbus_server *server = device->server;

	vmbus_server_enter(server);
	if (!device->is_leaving)
		revoke_all(device, true);
	vmbus_server_leave(server);
}

// Offers one, if it is not there. False: it cannot be.
static bool offer_subchannel(struct vmbus_channel *channel)
{
	if (channel->state == VMBUS_CHANNEL_HIDDEN)
		return vmbus_channel_offer(channel);
	if (channel->state >= VMBUS_CHANNEL_REVOKING)
		channel->offer_again = true;
	return channel->state != VMBUS_CHANNEL_CLOSING_RELEASE;
}

uint32_t vmbus_device_offer_subchannels(struct vmbus_device *device, uint32_t n)
{
	struct vmbus_server *server = device->server;
	uint32_t i = 0;

	vmbus_server_enter(server);
	if (device->channels[0].state == VMBUS_CHANNEL_OPEN)
		while (i < n && i + 1 < VMBUS_DEVICE_MAX_CHANNELS &&
		       offer_subchannel(&device->channels[i + 1]))
			i++;
	vmbus_server_leave(server);
	return i;
}

// --- answers -----------------------------------------------------------------------------------

// The channel, if an answer about it is waited for at all.
static struct vmbus_channel *answered(struct vmbus_device *device, uint32_t channel)
{
	vmbus_server_enter(device->server);
	assert(channel < VMBUS_DEVICE_MAX_CHANNELS);
	if (!device->is_resetting && !device->reset_due)
		return &device->channels[channel];
	device->server->counters.n_stale++;
	return NULL;
}

void vmbus_device_gpadl_done(struct vmbus_device *device, uint32_t channel, uint32_t gpadl,
			     bool ok)
{
	struct vmbus_server *server = device->server;
	struct vmbus_channel *c = answered(device, channel);

	if (c)
		vmbus_channel_gpadl_made(c, gpadl, ok);
	vmbus_server_leave(server);
}

void vmbus_device_gpadl_teardown_done(struct vmbus_device *device, uint32_t channel,
				      uint32_t gpadl)
{
	struct vmbus_server *server = device->server;
	struct vmbus_channel *c = answered(device, channel);

	if (c)
		vmbus_channel_gpadl_gone(c, gpadl);
	vmbus_server_leave(server);
}

void vmbus_device_open_done(struct vmbus_device *device, uint32_t channel, bool ok)
{
	struct vmbus_server *server = device->server;
	struct vmbus_channel *c = answered(device, channel);

	if (c && c->side == VMBUS_SIDE_OPENING) {
		c->side = ok ? VMBUS_SIDE_OPEN : VMBUS_SIDE_IDLE;
		c->state = ok ? VMBUS_CHANNEL_OPEN : VMBUS_CHANNEL_CLOSED;
		vmbus_channel_send_open_result(c, c->open.open_id, ok);
		if (!ok)
			vmbus_channel_undefer_gpadls(c);
	} else if (c) {
		server->counters.n_stale++;
	}
	vmbus_server_leave(server);
}

void vmbus_device_close_done(struct vmbus_device *device, uint32_t channel)
{
	struct vmbus_server *server = device->server;
	struct vmbus_channel *c = answered(device, channel);

	if (c && c->side == VMBUS_SIDE_CLOSING)
		vmbus_channel_closed(c);
	else if (c)
		server->counters.n_stale++;
	vmbus_server_leave(server);
}

void vmbus_device_modify_done(struct vmbus_device *device, uint32_t channel, bool ok)
{
	struct vmbus_server *server = device->server;
	struct vmbus_channel *c = answered(device, channel);

	if (!c || !c->is_modifying) {
		server->counters.n_stale += c != NULL;
		vmbus_server_leave(server);
		return;
	}
	c->is_modifying = false;
	if (ok)
		c->open.target_vp = c->modify_vp;
	vmbus_channel_send_modified(server, c->relid, ok);
	if (c->modify_again) {
		c->modify_again = false;
		c->modify_vp = c->next_vp;
		vmbus_channel_ask_modify(c);
	}
	vmbus_server_leave(server);
}

void vmbus_device_reset_done(struct vmbus_device *device)
{
	struct vmbus_server *server = device->server;

	vmbus_server_enter(server);
	if (device->is_resetting) {
		device->is_resetting = false;
		device->is_dirty = false;
		for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
			vmbus_channel_free_gpadls(&device->channels[i]);
	} else {
		server->counters.n_stale++;
	}
	vmbus_server_leave(server);
}

// --- looking -----------------------------------------------------------------------------------

bool vmbus_device_is_open(const struct vmbus_device *device, uint32_t channel,
			  struct vmbus_open *open)
{
	const struct vmbus_channel *c = &device->channels[channel];

	assert(channel < VMBUS_DEVICE_MAX_CHANNELS);
	if (c->state != VMBUS_CHANNEL_OPEN)
		return false;
	vmbus_channel_describe(c, open);
	return true;
}

uint32_t vmbus_device_relid(const struct vmbus_device *device, uint32_t channel)
{
	assert(channel < VMBUS_DEVICE_MAX_CHANNELS);
	return device->channels[channel].relid;
}
