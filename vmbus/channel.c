// SPDX-License-Identifier: Apache-2.0
// The state machine of a channel.
#include "vmbus/channel.h"

#include "vmbus/server_impl.h"

#define RELID_WORD 64

// --- what the guest is told --------------------------------------------------------------------

void vmbus_channel_send_open_result(struct vmbus_channel *channel, uint32_t open_id, bool ok)
{
	struct vmbus_open_result message = {
		.message.type = cpu_to_le32(VMBUS_OPEN_RESULT),
		.relid = cpu_to_le32(channel->relid),
		.open_id = cpu_to_le32(open_id),
		.status = cpu_to_le32(ok ? VMBUS_STATUS_SUCCESS : VMBUS_STATUS_FAILURE),
	};

	VMBUS_SERVER_SEND(channel->device->server, message);
}

void vmbus_channel_send_modified(struct vmbus_server *server, uint32_t relid, bool ok)
{
	struct vmbus_modify_channel_response message = {
		.message.type = cpu_to_le32(VMBUS_MODIFY_CHANNEL_RESPONSE),
		.relid = cpu_to_le32(relid),
		.status = cpu_to_le32(ok ? VMBUS_STATUS_SUCCESS : VMBUS_STATUS_FAILURE),
	};

	if (server->contact.version >= VMBUS_VERSION_IRON)
		VMBUS_SERVER_SEND(server, message);
}

static void send_rescind(struct vmbus_channel *channel)
{
	struct vmbus_relid_message message = {
		.message.type = cpu_to_le32(VMBUS_RESCIND_CHANNEL_OFFER),
		.relid = cpu_to_le32(channel->relid),
	};

	VMBUS_SERVER_SEND(channel->device->server, message);
}

static uint32_t connection_id(const struct vmbus_channel *channel)
{
	return channel->relid | channel->device->server->contact.sint << 12;
}

static void send_offer(struct vmbus_channel *channel)
{
	const struct vmbus_device_cfg *cfg = &channel->device->cfg;
	struct vmbus_offer_channel message = {
		.message.type = cpu_to_le32(VMBUS_OFFER_CHANNEL),
		.flags = cpu_to_le16(cfg->flags),
		.subchannel = cpu_to_le16((uint16_t)channel->index),
		.relid = cpu_to_le32(channel->relid),
		.monitor_id = (uint8_t)channel->monitor_id,
		.monitor_allocated = channel->monitor_id != VMBUS_OFFER_NO_MONITOR,
		.dedicated_interrupt = cpu_to_le16(1),
		.connection_id = cpu_to_le32(connection_id(channel)),
	};

	memcpy(message.interface_type, cfg->type, sizeof(message.interface_type));
	memcpy(message.instance, cfg->instance, sizeof(message.instance));
	memcpy(message.user_data, cfg->user_data, sizeof(message.user_data));
	VMBUS_SERVER_SEND(channel->device->server, message);
}

// --- relids and monitor ids --------------------------------------------------------------------

// The next free one after that taken last: an old one comes back late, when nobody remembers it.
static uint32_t find_relid(const struct vmbus_server *server)
{
	uint32_t relid = server->last_relid;

	for (uint32_t i = 0; i < VMBUS_MAX_RELID; i++) {
		relid = relid % VMBUS_MAX_RELID + 1;
		if (!server->by_relid[relid])
			return relid;
	}
	return 0;
}

static uint32_t take_monitor_id(struct vmbus_server *server, const struct vmbus_device *device)
{
	if (!device->cfg.wants_monitor || !server->contact.to_host_monitor_gpa)
		return VMBUS_OFFER_NO_MONITOR;
	for (uint32_t i = 0; i < VMBUS_MONITOR_IDS; i++) {
		uint64_t bit = 1ull << i % RELID_WORD;

		if (!(server->monitors[i / RELID_WORD] & bit)) {
			server->monitors[i / RELID_WORD] |= bit;
			return i;
		}
	}
	return VMBUS_OFFER_NO_MONITOR;
}

bool vmbus_channel_offer(struct vmbus_channel *channel)
{
	struct vmbus_server *server = channel->device->server;
	uint32_t relid = find_relid(server);

	if (!relid)
		return false;
	server->by_relid[relid] = channel;
	server->last_relid = relid;
	channel->relid = relid;
	channel->monitor_id = take_monitor_id(server, channel->device);
	channel->state = VMBUS_CHANNEL_CLOSED;
	channel->offer_again = false;
	send_offer(channel);
	return true;
}

// The guest has no name for the channel any more.
static void free_ids(struct vmbus_channel *channel)
{
	struct vmbus_server *server = channel->device->server;

	if (channel->relid)
		server->by_relid[channel->relid] = NULL;
	if (channel->relid && channel->monitor_id < VMBUS_MONITOR_IDS)
		server->monitors[channel->monitor_id / RELID_WORD] &=
			~(1ull << channel->monitor_id % RELID_WORD);
	channel->relid = 0;
	channel->state = VMBUS_CHANNEL_HIDDEN;
}

void vmbus_channel_hide(struct vmbus_channel *channel)
{
	free_ids(channel);
	channel->side = VMBUS_SIDE_IDLE;
	channel->is_modifying = false;
	channel->modify_again = false;
	channel->offer_again = false;
	channel->fail_open = false;
	if (!channel->device->is_dirty)
		vmbus_channel_free_gpadls(channel);
}

// --- open --------------------------------------------------------------------------------------

void vmbus_channel_describe(const struct vmbus_channel *channel, struct vmbus_open *open)
{
	const struct vmbus_open_request *request = &channel->open;
	const struct vmbus_channel_gpadl *rings = vmbus_channel_find_rings(channel);

	*open = (struct vmbus_open){
		.downstream_page = request->downstream_page,
		.target_vp = request->target_vp,
		.relid = channel->relid,
		.connection_id = connection_id(channel),
		.monitor_id = channel->monitor_id,
	};
	if (rings)
		open->gpadl = rings->gpadl;
	memcpy(open->user_data, request->user_data, sizeof(open->user_data));
}

void vmbus_channel_ask_open(struct vmbus_channel *channel, bool resume)
{
	struct vmbus_device *device = channel->device;
	struct vmbus_open open;

	vmbus_channel_describe(channel, &open);
	open.resume = resume;
	device->is_dirty = true;
	device->cfg.ops->open(device->cfg.device, channel->index, &open);
}

bool vmbus_channel_rings_fit(const struct vmbus_channel_gpadl *entry, uint32_t downstream_page)
{
	uint32_t n_pages;

	if (!entry || !vmbus_gpadl_fits_ring(entry->gpadl))
		return false;
	// Each ring has a header and at least one page of data.
	n_pages = entry->gpadl->runs.bytes / VMBUS_PAGE_BYTES;
	return n_pages >= 4 && downstream_page >= 2 && downstream_page <= n_pages - 2;
}

// May the channel be opened so?
static bool is_open_fine(const struct vmbus_channel *channel,
			 const struct vmbus_open_request *request)
{
	struct vmbus_server *server = channel->device->server;

	if (channel->index > 0 && channel->device->channels[0].state != VMBUS_CHANNEL_OPEN)
		return false;
	if (request->target_vp >= server->cfg.n_vps && request->target_vp != VMBUS_NO_INTERRUPT) {
		server->counters.n_vp++;
		return false;
	}
	return vmbus_channel_rings_fit(vmbus_channel_find_gpadl(channel, request->gpadl),
				       request->downstream_page);
}

static void open_channel(struct vmbus_channel *channel, const struct vmbus_open_request *request)
{
	if (!is_open_fine(channel, request)) {
		channel->device->server->counters.n_open++;
		vmbus_channel_send_open_result(channel, request->open_id, false);
		return;
	}
	channel->open = *request;
	channel->state = VMBUS_CHANNEL_OPENING;
	channel->side = VMBUS_SIDE_OPENING;
	vmbus_channel_ask_open(channel, false);
}

void vmbus_channel_handle_open(struct vmbus_server *server, const void *message, uint32_t bytes)
{
	struct vmbus_open_channel open;
	struct vmbus_open_request request;
	struct vmbus_channel *channel;

	memcpy(&open, message, sizeof(open));
	channel = vmbus_server_channel(server, le32_to_cpu(open.relid));
	if (!channel)
		return;
	request = (struct vmbus_open_request){
		.open_id = le32_to_cpu(open.open_id),
		.gpadl = le32_to_cpu(open.gpadl),
		.target_vp = le32_to_cpu(open.target_vp),
		.downstream_page = le32_to_cpu(open.downstream_page),
	};
	memcpy(request.user_data, open.user_data, sizeof(request.user_data));
	switch (channel->state) {
	case VMBUS_CHANNEL_CLOSED:
		open_channel(channel, &request);
		break;
	case VMBUS_CHANNEL_CLOSING:
		channel->reopen = request;
		channel->state = VMBUS_CHANNEL_CLOSING_REOPEN;
		break;
	case VMBUS_CHANNEL_REVOKING:
	case VMBUS_CHANNEL_REVOKED:
		server->counters.n_revoked++;
		break;
	default:
		server->counters.n_state++;
	}
}

// --- close -------------------------------------------------------------------------------------

// Has the device close the channel. Questions about it are void.
static void stop_rings(struct vmbus_channel *channel)
{
	struct vmbus_device *device = channel->device;

	if (channel->is_modifying) {
		channel->is_modifying = false;
		channel->modify_again = false;
		vmbus_channel_send_modified(device->server, channel->relid, false);
	}
	if (channel->side == VMBUS_SIDE_OPENING || channel->side == VMBUS_SIDE_OPEN) {
		channel->side = VMBUS_SIDE_CLOSING;
		device->cfg.ops->close(device->cfg.device, channel->index);
	}
}

// Sub-channels live as long as the primary is open.
static void revoke_subchannels(struct vmbus_device *device)
{
	for (uint32_t i = VMBUS_DEVICE_MAX_CHANNELS; i-- > 1;)
		vmbus_channel_revoke(&device->channels[i], false);
}

void vmbus_channel_handle_close(struct vmbus_server *server, const void *message, uint32_t bytes)
{
	struct vmbus_relid_message close;
	struct vmbus_channel *channel;

	memcpy(&close, message, sizeof(close));
	channel = vmbus_server_channel(server, le32_to_cpu(close.relid));
	if (!channel)
		return;
	if (channel->state == VMBUS_CHANNEL_OPEN) {
		channel->state = VMBUS_CHANNEL_CLOSING;
		if (channel->index == 0)
			revoke_subchannels(channel->device);
		// A device may have asked for anything meanwhile, but the guest for nothing.
		if (channel->state == VMBUS_CHANNEL_CLOSING)
			stop_rings(channel);
	} else if (channel->state >= VMBUS_CHANNEL_REVOKING) {
		server->counters.n_revoked++;
	} else {
		server->counters.n_state++;
	}
}

// The guest has given up a channel that it has closed.
static void release(struct vmbus_channel *channel)
{
	struct vmbus_server *server = channel->device->server;

	vmbus_gpadls_drop_pending(server->gpadls, channel->relid);
	free_ids(channel);
	if (channel->index == 0)
		revoke_subchannels(channel->device);
	vmbus_channel_stop_gpadls(channel, false);
	vmbus_channel_settle(channel); // the primary may have waited for this one
}

void vmbus_channel_closed(struct vmbus_channel *channel)
{
	struct vmbus_open_request reopen = channel->reopen;

	channel->side = VMBUS_SIDE_IDLE;
	vmbus_channel_undefer_gpadls(channel);
	switch (channel->state) {
	case VMBUS_CHANNEL_CLOSING:
		channel->state = VMBUS_CHANNEL_CLOSED;
		break;
	case VMBUS_CHANNEL_CLOSING_REOPEN:
		channel->state = VMBUS_CHANNEL_CLOSED;
		open_channel(channel, &reopen);
		break;
	case VMBUS_CHANNEL_CLOSING_RELEASE:
		release(channel);
		break;
	default:
		vmbus_channel_settle(channel);
	}
}

// --- rescind -----------------------------------------------------------------------------------

void vmbus_channel_revoke(struct vmbus_channel *channel, bool offer_again)
{
	channel->offer_again = offer_again;
	switch (channel->state) {
	case VMBUS_CHANNEL_OPENING:
		channel->fail_open = true;
		channel->open_id = channel->open.open_id;
		break;
	case VMBUS_CHANNEL_CLOSING_REOPEN:
		channel->fail_open = true;
		channel->open_id = channel->reopen.open_id;
		break;
	case VMBUS_CHANNEL_CLOSED:
	case VMBUS_CHANNEL_OPEN:
	case VMBUS_CHANNEL_CLOSING:
		break;
	default:
		return; // there is nothing the guest has, or it knows already
	}
	channel->state = VMBUS_CHANNEL_REVOKING;
	// Guests free their memory when they see RESCIND, without waiting for any answer. So the
	// device must have let go of all of it before.
	stop_rings(channel);
	if (channel->state == VMBUS_CHANNEL_REVOKING)
		vmbus_channel_stop_gpadls(channel, true);
	vmbus_channel_settle(channel);
}

// Are all sub-channels rescinded, or never were offered?
static bool is_alone(const struct vmbus_device *device)
{
	for (uint32_t i = 1; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		if ((device->channels[i].state != VMBUS_CHANNEL_HIDDEN &&
		     device->channels[i].state != VMBUS_CHANNEL_REVOKED) ||
		    vmbus_channel_has_gpadls(&device->channels[i]))
			return false;
	return true;
}

// Has the device let go of everything of the channel's?
static bool is_settled(const struct vmbus_channel *channel)
{
	return channel->side == VMBUS_SIDE_IDLE && !vmbus_channel_has_gpadls(channel) &&
	       (channel->index > 0 || is_alone(channel->device));
}

void vmbus_channel_settle(struct vmbus_channel *channel)
{
	if (channel->state == VMBUS_CHANNEL_REVOKING && is_settled(channel)) {
		vmbus_channel_fail_pending(channel);
		if (channel->fail_open)
			vmbus_channel_send_open_result(channel, channel->open_id, false);
		channel->fail_open = false;
		channel->state = VMBUS_CHANNEL_REVOKED;
		send_rescind(channel);
	}
	if (channel->index > 0)
		vmbus_channel_settle(&channel->device->channels[0]);
}

// The guest is rid of a rescinded channel.
static void end_revoked(struct vmbus_channel *channel)
{
	bool offer = channel->offer_again && !channel->device->is_leaving;

	vmbus_gpadls_drop_pending(channel->device->server->gpadls, channel->relid);
	free_ids(channel);
	vmbus_channel_forget_gpadls(channel);
	if (offer && (channel->index == 0 ||
		      channel->device->channels[0].state == VMBUS_CHANNEL_OPEN))
		vmbus_channel_offer(channel);
}

void vmbus_channel_handle_released(struct vmbus_server *server, const void *message,
				   uint32_t bytes)
{
	struct vmbus_relid_message released;
	struct vmbus_channel *channel;

	memcpy(&released, message, sizeof(released));
	channel = vmbus_server_channel(server, le32_to_cpu(released.relid));
	if (!channel)
		return;
	switch (channel->state) {
	case VMBUS_CHANNEL_CLOSED:
		release(channel);
		break;
	case VMBUS_CHANNEL_CLOSING:
		channel->state = VMBUS_CHANNEL_CLOSING_RELEASE;
		break;
	case VMBUS_CHANNEL_REVOKED:
		end_revoked(channel);
		break;
	default:
		server->counters.n_state++;
	}
}

// --- modify ------------------------------------------------------------------------------------

void vmbus_channel_ask_modify(struct vmbus_channel *channel)
{
	struct vmbus_device *device = channel->device;

	channel->is_modifying = true;
	device->cfg.ops->modify(device->cfg.device, channel->index, channel->modify_vp);
}

// Takes the guest's wish up. False: it is refused.
static bool modify(struct vmbus_channel *channel, uint32_t target_vp)
{
	struct vmbus_server *server = channel->device->server;

	if (channel->state != VMBUS_CHANNEL_OPEN) {
		if (channel->state >= VMBUS_CHANNEL_REVOKING)
			server->counters.n_revoked++;
		else
			server->counters.n_state++;
		return false;
	}
	if (target_vp >= server->cfg.n_vps) {
		server->counters.n_vp++;
		return false;
	}
	if (!channel->is_modifying) {
		channel->modify_vp = target_vp;
		vmbus_channel_ask_modify(channel);
		return true;
	}
	// One at a time; without an answer the guest cannot know when, and the last one counts.
	if (server->contact.version >= VMBUS_VERSION_IRON) {
		server->counters.n_state++;
		return false;
	}
	channel->modify_again = true;
	channel->next_vp = target_vp;
	return true;
}

void vmbus_channel_handle_modify(struct vmbus_server *server, const void *message, uint32_t bytes)
{
	struct vmbus_modify_channel body;
	struct vmbus_channel *channel;
	uint32_t relid;

	memcpy(&body, message, sizeof(body));
	relid = le32_to_cpu(body.relid);
	channel = vmbus_server_channel(server, relid);
	if (!channel || !modify(channel, le32_to_cpu(body.target_vp)))
		vmbus_channel_send_modified(server, relid, false);
}
