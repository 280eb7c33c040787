// SPDX-License-Identifier: Apache-2.0
// The complete GPADLs of a channel: who knows them, who waits for what.
#include <stdlib.h>

#include "vmbus/server_impl.h"

static void send_created(struct vmbus_server *server, uint32_t relid, uint32_t id, bool ok)
{
	struct vmbus_gpadl_created message = {
		.message.type = cpu_to_le32(VMBUS_GPADL_CREATED),
		.relid = cpu_to_le32(relid),
		.gpadl = cpu_to_le32(id),
		.status = cpu_to_le32(ok ? VMBUS_STATUS_SUCCESS : VMBUS_STATUS_FAILURE),
	};

	if (!ok)
		server->counters.n_gpadl++;
	VMBUS_SERVER_SEND(server, message);
}

static void send_torndown(struct vmbus_server *server, uint32_t id)
{
	struct vmbus_gpadl_torndown message = {
		.message.type = cpu_to_le32(VMBUS_GPADL_TORNDOWN),
		.gpadl = cpu_to_le32(id),
	};

	VMBUS_SERVER_SEND(server, message);
}

// --- the list ----------------------------------------------------------------------------------

static bool device_knows(const struct vmbus_channel_gpadl *entry)
{
	return entry->state != VMBUS_GPADL_DETACHED;
}

// Was the device asked to tear it down?
static bool is_going(const struct vmbus_channel_gpadl *entry)
{
	return entry->state >= VMBUS_GPADL_TEARING && entry->state <= VMBUS_GPADL_DETACHING;
}

static struct vmbus_channel_gpadl *find(const struct vmbus_channel *channel, uint32_t id,
					uint32_t states)
{
	for (struct vmbus_channel_gpadl *entry = channel->gpadls; entry; entry = entry->next)
		if (entry->gpadl->id == id && (states & 1u << entry->state))
			return entry;
	return NULL;
}

struct vmbus_channel_gpadl *vmbus_channel_find_gpadl(const struct vmbus_channel *channel,
						     uint32_t id)
{
	return find(channel, id, 1u << VMBUS_GPADL_ACCEPTED);
}

struct vmbus_channel_gpadl *vmbus_channel_find_rings(const struct vmbus_channel *channel)
{
	return find(channel, channel->open.gpadl,
		    1u << VMBUS_GPADL_ACCEPTED | 1u << VMBUS_GPADL_DEFERRED);
}

struct vmbus_channel_gpadl *vmbus_channel_add_gpadl(struct vmbus_channel *channel,
						    struct vmbus_gpadl *gpadl,
						    enum vmbus_gpadl_state state)
{
	struct vmbus_channel_gpadl *entry = malloc(sizeof(*entry));

	if (entry) {
		*entry = (struct vmbus_channel_gpadl){ channel->gpadls, gpadl, state, false };
		channel->gpadls = entry;
	}
	return entry;
}

static void drop(struct vmbus_channel *channel, struct vmbus_channel_gpadl *entry)
{
	struct vmbus_channel_gpadl **at = &channel->gpadls;

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	vmbus_gpadls_forget(channel->device->server->gpadls, entry->gpadl);
	free(entry->gpadl);
	free(entry);
}

bool vmbus_channel_has_gpadls(const struct vmbus_channel *channel)
{
	for (struct vmbus_channel_gpadl *entry = channel->gpadls; entry; entry = entry->next)
		if (device_knows(entry))
			return true;
	return false;
}

void vmbus_channel_forget_gpadls(struct vmbus_channel *channel)
{
	for (struct vmbus_channel_gpadl *entry = channel->gpadls, *next; entry; entry = next) {
		next = entry->next;
		if (!device_knows(entry))
			drop(channel, entry);
	}
}

void vmbus_channel_free_gpadls(struct vmbus_channel *channel)
{
	while (channel->gpadls) {
		struct vmbus_channel_gpadl *entry = channel->gpadls;

		channel->gpadls = entry->next;
		free(entry->gpadl);
		free(entry);
	}
}

// --- creation ----------------------------------------------------------------------------------

void vmbus_channel_ask_gpadl(struct vmbus_channel *channel, struct vmbus_channel_gpadl *entry,
			     bool resume)
{
	struct vmbus_device *device = channel->device;

	device->is_dirty = true;
	entry->is_told = true;
	device->cfg.ops->gpadl(device->cfg.device, channel->index, entry->gpadl, resume);
}

// A GPADL is complete. That of a rescinded channel is nobody's, but the guest need not know yet.
static void take(struct vmbus_channel *channel, struct vmbus_gpadl *gpadl)
{
	struct vmbus_server *server = channel->device->server;
	bool revoked = channel->state >= VMBUS_CHANNEL_REVOKING;
	struct vmbus_channel_gpadl *entry = vmbus_channel_add_gpadl(
		channel, gpadl, revoked ? VMBUS_GPADL_DETACHED : VMBUS_GPADL_OFFERED);

	if (!entry) {
		send_created(server, channel->relid, gpadl->id, false);
		vmbus_gpadls_forget(server->gpadls, gpadl);
		free(gpadl);
	} else if (revoked) {
		send_created(server, channel->relid, gpadl->id, true);
	} else {
		vmbus_channel_ask_gpadl(channel, entry, false);
	}
}

static void take_outcome(struct vmbus_server *server, const struct vmbus_gpadl_outcome *outcome)
{
	switch (outcome->result) {
	case VMBUS_GPADL_MORE:
		break;
	case VMBUS_GPADL_DONE:
		// Those in the making end with their channel's relid: it is there.
		take(server->by_relid[outcome->relid], outcome->gpadl);
		break;
	case VMBUS_GPADL_REFUSED:
		send_created(server, outcome->relid, outcome->id, false);
		break;
	case VMBUS_GPADL_IGNORED:
		server->counters.n_gpadl_unknown++;
	}
}

void vmbus_channel_handle_gpadl_header(struct vmbus_server *server, const void *message,
				       uint32_t bytes)
{
	struct vmbus_gpadl_outcome outcome;
	struct vmbus_gpadl_header header;

	memcpy(&header, message, sizeof(header));
	if (!vmbus_server_channel(server, le32_to_cpu(header.relid))) {
		send_created(server, le32_to_cpu(header.relid), le32_to_cpu(header.gpadl), false);
		return;
	}
	vmbus_gpadls_header(server->gpadls, message, bytes, &outcome);
	take_outcome(server, &outcome);
}

void vmbus_channel_handle_gpadl_body(struct vmbus_server *server, const void *message,
				     uint32_t bytes)
{
	struct vmbus_gpadl_outcome outcome;

	vmbus_gpadls_body(server->gpadls, message, bytes, &outcome);
	take_outcome(server, &outcome);
}

void vmbus_channel_gpadl_made(struct vmbus_channel *channel, uint32_t id, bool ok)
{
	struct vmbus_channel_gpadl *entry = find(channel, id, 1u << VMBUS_GPADL_OFFERED);
	struct vmbus_server *server = channel->device->server;

	if (!entry) {
		server->counters.n_stale++;
		return;
	}
	entry->state = VMBUS_GPADL_ACCEPTED;
	if (!ok)
		drop(channel, entry);
	send_created(server, channel->relid, id, ok);
}

void vmbus_channel_fail_pending(struct vmbus_channel *channel)
{
	struct vmbus_server *server = channel->device->server;
	struct vmbus_gpadl_pending pending;

	for (uint32_t i = 0; vmbus_gpadls_pending(server->gpadls, i, &pending); i++)
		if (pending.relid == channel->relid)
			send_created(server, channel->relid, pending.id, false);
	vmbus_gpadls_drop_pending(server->gpadls, channel->relid);
}

// --- teardown ----------------------------------------------------------------------------------

static void ask_teardown(struct vmbus_channel *channel, struct vmbus_channel_gpadl *entry,
			 enum vmbus_gpadl_state state)
{
	struct vmbus_device *device = channel->device;

	entry->state = state;
	device->cfg.ops->gpadl_teardown(device->cfg.device, channel->index, entry->gpadl->id);
}

// Does the device have the channel's rings in it?
static bool is_ring(const struct vmbus_channel *channel, const struct vmbus_channel_gpadl *entry)
{
	return channel->side != VMBUS_SIDE_IDLE && channel->open.gpadl == entry->gpadl->id;
}

void vmbus_channel_handle_gpadl_teardown(struct vmbus_server *server, const void *message,
					 uint32_t bytes)
{
	struct vmbus_gpadl_teardown teardown;
	struct vmbus_channel_gpadl *entry;
	struct vmbus_channel *channel;
	uint32_t id;

	memcpy(&teardown, message, sizeof(teardown));
	channel = vmbus_server_channel(server, le32_to_cpu(teardown.relid));
	if (!channel)
		return;
	id = le32_to_cpu(teardown.gpadl);
	entry = find(channel, id,
		     1u << VMBUS_GPADL_ACCEPTED | 1u << VMBUS_GPADL_DETACHING |
			     1u << VMBUS_GPADL_DETACHED);
	if (!entry) {
		server->counters.n_gpadl_unknown++;
	} else if (entry->state == VMBUS_GPADL_DETACHED) {
		drop(channel, entry);
		send_torndown(server, id);
	} else if (entry->state == VMBUS_GPADL_DETACHING) {
		entry->state = VMBUS_GPADL_TEARING;
	} else if (is_ring(channel, entry)) {
		entry->state = VMBUS_GPADL_DEFERRED;
	} else {
		ask_teardown(channel, entry, VMBUS_GPADL_TEARING);
	}
}

// The first entry in one of these states, or NULL. Ops may change the list: look anew each time.
static struct vmbus_channel_gpadl *first(const struct vmbus_channel *channel, uint32_t states)
{
	for (struct vmbus_channel_gpadl *entry = channel->gpadls; entry; entry = entry->next)
		if (states & 1u << entry->state)
			return entry;
	return NULL;
}

void vmbus_channel_undefer_gpadls(struct vmbus_channel *channel)
{
	struct vmbus_channel_gpadl *entry;

	while ((entry = first(channel, 1u << VMBUS_GPADL_DEFERRED)))
		ask_teardown(channel, entry, VMBUS_GPADL_TEARING);
}

void vmbus_channel_stop_gpadls(struct vmbus_channel *channel, bool detach)
{
	const uint32_t states = 1u << VMBUS_GPADL_OFFERED | 1u << VMBUS_GPADL_ACCEPTED |
				1u << VMBUS_GPADL_DEFERRED;
	struct vmbus_channel_gpadl *entry;

	while ((entry = first(channel, states))) {
		enum vmbus_gpadl_state to = VMBUS_GPADL_DROPPING;

		if (detach && entry->state == VMBUS_GPADL_OFFERED)
			to = VMBUS_GPADL_REFUSING;
		else if (detach && entry->state == VMBUS_GPADL_DEFERRED)
			to = VMBUS_GPADL_TEARING;
		else if (detach)
			to = VMBUS_GPADL_DETACHING;
		ask_teardown(channel, entry, to);
	}
	if (!detach)
		vmbus_channel_forget_gpadls(channel);
}

void vmbus_channel_gpadl_gone(struct vmbus_channel *channel, uint32_t id)
{
	struct vmbus_server *server = channel->device->server;
	struct vmbus_channel_gpadl *entry = NULL;
	enum vmbus_gpadl_state state;

	// Of several with this id the oldest, which is the last in the list, was asked for first.
	for (struct vmbus_channel_gpadl *e = channel->gpadls; e; e = e->next)
		if (e->gpadl->id == id && is_going(e))
			entry = e;
	if (!entry) {
		server->counters.n_stale++;
		return;
	}
	state = entry->state;
	if (state == VMBUS_GPADL_DETACHING)
		entry->state = VMBUS_GPADL_DETACHED;
	else
		drop(channel, entry);
	if (state == VMBUS_GPADL_TEARING && channel->relid)
		send_torndown(server, id);
	else if (state == VMBUS_GPADL_REFUSING)
		send_created(server, channel->relid, id, false);
	vmbus_channel_settle(channel);
}

// --- after a restore ---------------------------------------------------------------------------

// One that the device has not been told of, in one of these states.
static struct vmbus_channel_gpadl *first_untold(const struct vmbus_channel *channel,
						uint32_t states)
{
	for (struct vmbus_channel_gpadl *entry = channel->gpadls; entry; entry = entry->next)
		if (!entry->is_told && (states & 1u << entry->state))
			return entry;
	return NULL;
}

void vmbus_channel_tell_gpadls(struct vmbus_channel *channel, bool resume)
{
	const uint32_t had = 1u << VMBUS_GPADL_ACCEPTED | 1u << VMBUS_GPADL_DEFERRED;
	struct vmbus_channel_gpadl *entry;

	while ((entry = first_untold(channel, resume ? had : 1u << VMBUS_GPADL_OFFERED)))
		vmbus_channel_ask_gpadl(channel, entry, resume);
}

void vmbus_channel_end_gpadls(struct vmbus_channel *channel)
{
	const uint32_t states = 1u << VMBUS_GPADL_TEARING | 1u << VMBUS_GPADL_REFUSING |
				1u << VMBUS_GPADL_DETACHING;
	struct vmbus_channel_gpadl *entry;

	while ((entry = first(channel, states)))
		vmbus_channel_gpadl_gone(channel, entry->gpadl->id);
}
