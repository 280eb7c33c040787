// SPDX-License-Identifier: Apache-2.0
#include "vmbus/server.h"

#include <errno.h>
#include <stdlib.h>

#include "vmbus/server_impl.h"

static const uint32_t versions[] = {
	VMBUS_VERSION_WIN8, VMBUS_VERSION_WIN8_1, VMBUS_VERSION_WIN10, VMBUS_VERSION_RS3,
	VMBUS_VERSION_RS3_1, VMBUS_VERSION_RS4, VMBUS_VERSION_RS5, VMBUS_VERSION_IRON,
	VMBUS_VERSION_COPPER,
};

bool vmbus_server_has_version(const struct vmbus_server *server, uint32_t version)
{
	if (version > server->cfg.max_version)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (versions[i] == version)
			return true;
	return false;
}

// --- making ------------------------------------------------------------------------------------

int vmbus_server_create(const struct vmbus_server_cfg *cfg, struct vmbus_server **out)
{
	struct vmbus_server *server = calloc(1, sizeof(*server));

	if (!server)
		return -ENOMEM;
	server->cfg = *cfg;
	if (!server->cfg.max_version)
		server->cfg.max_version = VMBUS_VERSION_COPPER;
	server->gpadls = vmbus_gpadls_create(cfg->memory);
	if (!server->gpadls) {
		free(server);
		return -ENOMEM;
	}
	vmbus_outbox_init(&server->outbox, cfg->ops, cfg->vmm);
	*out = server;
	return 0;
}

static void free_device(struct vmbus_device *device)
{
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		vmbus_channel_free_gpadls(&device->channels[i]);
	free(device);
}

void vmbus_server_destroy(struct vmbus_server *server)
{
	if (!server)
		return;
	while (server->devices) {
		struct vmbus_device *device = server->devices;

		server->devices = device->next;
		free_device(device);
	}
	vmbus_outbox_clear(&server->outbox);
	vmbus_gpadls_destroy(server->gpadls);
	free(server);
}

void vmbus_server_set_memory(struct vmbus_server *server, const struct guest_memory *memory)
{
	server->cfg.memory = memory;
	vmbus_gpadls_set_memory(server->gpadls, memory);
}

const struct vmbus_contact *vmbus_server_contact(const struct vmbus_server *server)
{
	return server->state == VMBUS_CONNECTED ? &server->contact : NULL;
}

const struct vmbus_server_counters *vmbus_server_counters(const struct vmbus_server *server)
{
	return &server->counters;
}

uint32_t vmbus_server_n_waiting(const struct vmbus_server *server) { return server->outbox.n; }

struct vmbus_device *vmbus_server_find(const struct vmbus_server *server, uint32_t connection_id,
				       uint32_t *channel)
{
	uint32_t relid = connection_id & 0xfff;

	if (server->state != VMBUS_CONNECTED || relid > VMBUS_MAX_RELID ||
	    connection_id >> 12 != server->contact.sint || !server->by_relid[relid])
		return NULL;
	*channel = server->by_relid[relid]->index;
	return server->by_relid[relid]->device;
}

// --- the end of a connection -------------------------------------------------------------------

void vmbus_server_disconnect(struct vmbus_server *server, enum vmbus_server_next next)
{
	server->next = next;
	if (server->state == VMBUS_DISCONNECTING)
		return;
	server->state = VMBUS_DISCONNECTING;
	server->offers_sent = false;
	vmbus_outbox_clear(&server->outbox);
	vmbus_gpadls_clear(server->gpadls);
	for (struct vmbus_device *device = server->devices; device; device = device->next) {
		for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
			vmbus_channel_hide(&device->channels[i]);
		device->reset_due = device->is_dirty;
	}
}

// Asks the next device that is to be reset. False: there is none.
static bool reset_next(struct vmbus_server *server)
{
	for (struct vmbus_device *device = server->devices; device; device = device->next)
		if (device->reset_due) {
			device->reset_due = false;
			device->is_resetting = true;
			device->cfg.ops->reset(device->cfg.device);
			return true;
		}
	return false;
}

static bool is_any_resetting(const struct vmbus_server *server)
{
	for (struct vmbus_device *device = server->devices; device; device = device->next)
		if (device->is_resetting)
			return true;
	return false;
}

// Is nothing of the device with the guest, nor of the guest with the device?
static bool is_free(const struct vmbus_device *device)
{
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		if (device->channels[i].state != VMBUS_CHANNEL_HIDDEN ||
		    device->channels[i].gpadls)
			return false;
	return !device->reset_due && !device->is_resetting;
}

// Frees the next device that was taken out and is free. False: there is none.
static bool reap_next(struct vmbus_server *server)
{
	for (struct vmbus_device **at = &server->devices; *at; at = &(*at)->next) {
		struct vmbus_device *device = *at;
		struct vmbus_device_cfg cfg = device->cfg;

		if (!device->is_leaving || !is_free(device))
			continue;
		*at = device->next;
		server->n_devices--;
		free_device(device);
		if (cfg.ops->gone)
			cfg.ops->gone(cfg.device);
		return true;
	}
	return false;
}

// --- a new connection --------------------------------------------------------------------------

static void respond(struct vmbus_server *server, uint32_t version, bool supported,
		    enum vmbus_connection_state state)
{
	struct vmbus_version_response_copper message = {
		.response = {
			.message.type = cpu_to_le32(VMBUS_VERSION_RESPONSE),
			.supported = supported,
			.state = (uint8_t)state,
		},
	};
	uint32_t bytes = sizeof(message.response);

	if (supported)
		message.response.connection_id = cpu_to_le32(
			version >= VMBUS_VERSION_RS3_1 ? VMBUS_CONNECTION_MULTI : version);
	if (version >= VMBUS_VERSION_COPPER && supported)
		bytes = sizeof(message);
	vmbus_outbox_send(&server->outbox, &message, bytes);
}

// Monitor pages: none, or both in memory.
static bool is_monitor_fine(const struct vmbus_server *server, const struct vmbus_contact *contact)
{
	uint64_t gpas[] = { contact->to_guest_monitor_gpa, contact->to_host_monitor_gpa };

	if (!gpas[0] && !gpas[1])
		return true;
	for (int i = 0; i < 2; i++)
		if (gpas[i] % VMBUS_PAGE_BYTES || !gpas[i] ||
		    !guest_memory_at(server->cfg.memory, gpas[i], VMBUS_PAGE_BYTES, true))
			return false;
	return true;
}

bool vmbus_server_is_contact_fine(const struct vmbus_server *server,
				  const struct vmbus_contact *contact)
{
	return contact->target_vp < server->cfg.n_vps && contact->sint >= 1 &&
	       contact->sint <= 15 && is_monitor_fine(server, contact);
}

// Reads INITIATE_CONTACT. False: impossible; answers then go where they may still be seen.
static bool parse_contact(const struct vmbus_server *server,
			  const struct vmbus_initiate_contact *message,
			  struct vmbus_contact *contact)
{
	uint8_t vtl = 0;
	bool fine;

	*contact = (struct vmbus_contact){
		.version = le32_to_cpu(message->version),
		.target_vp = le32_to_cpu(message->target_vp),
		.sint = VMBUS_MESSAGE_SINT,
		.to_guest_monitor_gpa = le64_to_cpu(message->to_guest_monitor_gpa),
		.to_host_monitor_gpa = le64_to_cpu(message->to_host_monitor_gpa),
	};
	if (contact->version < VMBUS_VERSION_WIN8_1)
		contact->target_vp = 0;
	if (contact->version >= VMBUS_VERSION_RS3_1)
		contact->sint = message->sint;
	if (contact->version >= VMBUS_VERSION_RS4)
		vtl = message->vtl;
	fine = vtl == 0 && vmbus_server_is_contact_fine(server, contact);
	if (contact->sint < 1 || contact->sint > 15)
		contact->sint = VMBUS_MESSAGE_SINT;
	if (contact->target_vp >= server->cfg.n_vps)
		contact->target_vp = 0;
	return fine;
}

static void connect_guest(struct vmbus_server *server)
{
	const struct vmbus_host_ops *ops = server->cfg.ops;
	struct vmbus_contact contact;
	bool fine = parse_contact(server, &server->next_contact, &contact);

	server->outbox.to = contact;
	if (!vmbus_server_has_version(server, contact.version)) {
		server->counters.n_version++;
		respond(server, contact.version, false, VMBUS_CONNECTION_OK);
		return;
	}
	if (!fine || (ops->connected && ops->connected(server->cfg.vmm, &contact) != 0)) {
		server->counters.n_contact++;
		respond(server, contact.version, true, VMBUS_CONNECTION_FAILED);
		return;
	}
	server->contact = contact;
	server->state = VMBUS_CONNECTED;
	respond(server, contact.version, true, VMBUS_CONNECTION_OK);
}

// All devices are reset.
static void finish(struct vmbus_server *server)
{
	enum vmbus_server_next next = server->next;
	struct vmbus_message unloaded = { .type = cpu_to_le32(VMBUS_UNLOAD_COMPLETE) };

	server->state = VMBUS_DISCONNECTED;
	if (server->cfg.ops->disconnected)
		server->cfg.ops->disconnected(server->cfg.vmm);
	if (server->state != VMBUS_DISCONNECTED)
		return; // the VM was reset meanwhile
	if (next == VMBUS_NEXT_UNLOADED)
		VMBUS_SERVER_SEND(server, unloaded);
	else if (next == VMBUS_NEXT_CONTACT)
		connect_guest(server);
}

// --- work of the outermost call ----------------------------------------------------------------

void vmbus_server_enter(struct vmbus_server *server) { server->depth++; }

// One thing that is due. False: nothing is.
static bool step(struct vmbus_server *server)
{
	if (server->outbox.overflowed && server->state == VMBUS_CONNECTED) {
		vmbus_server_disconnect(server, VMBUS_NEXT_NOTHING);
		return true;
	}
	if (server->state == VMBUS_DISCONNECTING) {
		if (reset_next(server))
			return true;
		if (!is_any_resetting(server)) {
			finish(server);
			return true;
		}
	}
	return reap_next(server);
}

void vmbus_server_leave(struct vmbus_server *server)
{
	if (server->depth == 1) {
		while (step(server))
			;
		server->counters.n_undelivered = server->outbox.n_lost;
	}
	server->depth--;
}

// --- messages ----------------------------------------------------------------------------------

struct vmbus_channel *vmbus_server_channel(struct vmbus_server *server, uint32_t relid)
{
	struct vmbus_channel *channel =
		relid <= VMBUS_MAX_RELID ? server->by_relid[relid] : NULL;

	if (channel && channel->state != VMBUS_CHANNEL_CLOSING_RELEASE)
		return channel;
	server->counters.n_relid++;
	return NULL;
}

// Legal in any state. A guest that is connected is first disconnected.
static void handle_contact(struct vmbus_server *server, const void *message, uint32_t bytes)
{
	memcpy(&server->next_contact, message, sizeof(server->next_contact));
	if (server->state == VMBUS_DISCONNECTED) {
		vmbus_outbox_clear(&server->outbox);
		connect_guest(server);
	} else {
		vmbus_server_disconnect(server, VMBUS_NEXT_CONTACT);
	}
}

static void handle_unload(struct vmbus_server *server, const void *message, uint32_t bytes)
{
	vmbus_server_disconnect(server, VMBUS_NEXT_UNLOADED);
}

static void handle_request_offers(struct vmbus_server *server, const void *message,
				  uint32_t bytes)
{
	struct vmbus_message done = { .type = cpu_to_le32(VMBUS_ALL_OFFERS_DELIVERED) };

	if (server->offers_sent) {
		server->counters.n_offers_twice++;
		return;
	}
	server->offers_sent = true;
	for (struct vmbus_device *device = server->devices; device; device = device->next)
		if (!device->is_leaving)
			vmbus_channel_offer(&device->channels[0]);
	VMBUS_SERVER_SEND(server, done);
}

static const struct handler {
	uint32_t type;
	uint32_t min_bytes;
	uint32_t min_version;
	void (*handle)(struct vmbus_server *server, const void *message, uint32_t bytes);
} handlers[] = {
	{ VMBUS_INITIATE_CONTACT, sizeof(struct vmbus_initiate_contact), 0, handle_contact },
	{ VMBUS_UNLOAD, sizeof(struct vmbus_message), 0, handle_unload },
	{ VMBUS_REQUEST_OFFERS, sizeof(struct vmbus_message), 0, handle_request_offers },
	{ VMBUS_OPEN_CHANNEL, sizeof(struct vmbus_open_channel), 0, vmbus_channel_handle_open },
	{ VMBUS_CLOSE_CHANNEL, sizeof(struct vmbus_relid_message), 0,
	  vmbus_channel_handle_close },
	{ VMBUS_GPADL_HEADER, sizeof(struct vmbus_gpadl_header), 0,
	  vmbus_channel_handle_gpadl_header },
	{ VMBUS_GPADL_BODY, sizeof(struct vmbus_gpadl_body), 0, vmbus_channel_handle_gpadl_body },
	{ VMBUS_GPADL_TEARDOWN, sizeof(struct vmbus_gpadl_teardown), 0,
	  vmbus_channel_handle_gpadl_teardown },
	{ VMBUS_RELID_RELEASED, sizeof(struct vmbus_relid_message), 0,
	  vmbus_channel_handle_released },
	{ VMBUS_MODIFY_CHANNEL, sizeof(struct vmbus_modify_channel), VMBUS_VERSION_RS3,
	  vmbus_channel_handle_modify },
};

static const struct handler *find_handler(uint32_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == type)
			return &handlers[i];
	return NULL;
}

// A message that is at least a header.
static int dispatch(struct vmbus_server *server, const void *message, uint32_t bytes)
{
	uint32_t type = load_u32(message);
	const struct handler *handler = find_handler(type);
	struct vmbus_server_counters *counters = &server->counters;

	if (!handler) {
		counters->n_unknown++;
		return 0;
	}
	if (bytes < handler->min_bytes) {
		counters->n_short++;
		return 0;
	}
	// These two end everything there was; INITIATE_CONTACT also begins.
	if (type != VMBUS_INITIATE_CONTACT && type != VMBUS_UNLOAD &&
	    server->outbox.n >= VMBUS_OUTBOX_FULL) {
		counters->n_busy++;
		return -EAGAIN;
	}
	counters->n_messages++;
	if (type != VMBUS_INITIATE_CONTACT && server->state != VMBUS_CONNECTED &&
	    !(type == VMBUS_UNLOAD && server->state == VMBUS_DISCONNECTING))
		counters->n_not_connected++;
	else if (handler->min_version > server->contact.version)
		counters->n_version++;
	else
		handler->handle(server, message, bytes);
	return 0;
}

int vmbus_server_post(struct vmbus_server *server, uint32_t connection_id, const void *message,
		      uint32_t bytes)
{
	int ret = 0;

	if (connection_id != VMBUS_CONNECTION_MESSAGE &&
	    (connection_id != VMBUS_CONNECTION_MULTI ||
	     server->cfg.max_version < VMBUS_VERSION_RS3_1))
		return -ENOENT;
	if (bytes > VMBUS_MAX_MESSAGE)
		return -EINVAL;
	vmbus_server_enter(server);
	if (bytes < sizeof(struct vmbus_message))
		server->counters.n_short++;
	else
		ret = dispatch(server, message, bytes);
	vmbus_server_leave(server);
	return ret;
}

void vmbus_server_flush(struct vmbus_server *server)
{
	vmbus_server_enter(server);
	vmbus_outbox_flush(&server->outbox);
	vmbus_server_leave(server);
}

void vmbus_server_reset(struct vmbus_server *server)
{
	vmbus_server_enter(server);
	vmbus_server_disconnect(server, VMBUS_NEXT_NOTHING);
	vmbus_server_leave(server);
}
