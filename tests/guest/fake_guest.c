// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/fake_guest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// The interface type of synthetic NICs, in Microsoft's mixed byte order.
static const uint8_t nic_type[16] = { 0x63, 0x51, 0x61, 0xf8, 0x3e, 0xdf, 0xc5, 0x46,
				      0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e };

#define FIRST_CONNECTION 1u // of INITIATE_CONTACT below 5.0, and of all that follows
#define MULTI_CONNECTION 4u // from 5.0 on

int fake_guest_init(struct fake_guest *guest, const struct fake_guest_cfg *cfg)
{
	int ret;

	*guest = (struct fake_guest){
		.ops = cfg->ops, .ctx = cfg->ctx, .n_vps = cfg->n_vps ? cfg->n_vps : 1,
		.max_rounds = cfg->max_rounds ? cfg->max_rounds : 10000,
		.next_gpadl = FAKE_FIRST_GPADL,
	};
	ret = fake_memory_init(&guest->memory, cfg->n_pages, cfg->memory_flags);
	if (ret < 0)
		return ret;
	for (uint32_t vp = 0; vp < guest->n_vps; vp++) {
		guest->siefp[vp] = fake_page_get(&guest->memory);
		if (!guest->siefp[vp])
			goto err;
		memset(fake_page_at(&guest->memory, guest->siefp[vp]), 0, VMBUS_PAGE_BYTES);
	}
	if (cfg->monitor && fake_buffer_init(&guest->monitor, &guest->memory, 2) < 0)
		goto err;
	return 0;
err:
	fake_guest_fini(guest);
	return -ENOMEM;
}

static void free_channel(struct fake_channel *channel)
{
	struct fake_guest *guest = channel->guest;

	guest->channels[channel->relid] = NULL;
	fake_buffer_fini(&channel->rings, &guest->memory);
	free(channel);
}

static void free_channels(struct fake_guest *guest)
{
	for (uint32_t i = 0; i < FAKE_MAX_RELID; i++)
		if (guest->channels[i])
			free_channel(guest->channels[i]);
	memset(guest->gpadls, 0, sizeof(guest->gpadls));
}

void fake_guest_fini(struct fake_guest *guest)
{
	free_channels(guest);
	fake_buffer_fini(&guest->monitor, &guest->memory);
	fake_memory_fini(&guest->memory);
}

const char *fake_guest_complaint(const struct fake_guest *guest)
{
	return guest->complaint[0] ? guest->complaint : NULL;
}

void fake_guest_complain(struct fake_guest *guest, const char *format, ...)
{
	va_list args;

	if (guest->complaint[0])
		return;
	va_start(args, format);
	vsnprintf(guest->complaint, sizeof(guest->complaint), format, args);
	va_end(args);
}

int fake_guest_wait(struct fake_guest *guest, bool (*done)(void *arg), void *arg)
{
	for (uint32_t i = 0; i < guest->max_rounds; i++) {
		if (done(arg))
			return 0;
		if (!guest->ops->pump(guest->ctx))
			break;
	}
	return done(arg) ? 0 : -ETIMEDOUT;
}

// --- what the host says ------------------------------------------------------------------------

static void on_offer(struct fake_guest *guest, const void *message)
{
	const struct vmbus_offer_channel *offer = message;
	uint32_t relid = le32_to_cpu(offer->relid);
	struct fake_channel *channel;

	if (!relid || relid >= FAKE_MAX_RELID || guest->channels[relid]) {
		fake_guest_complain(guest, "offer with relid %u, which is in use or none", relid);
		return;
	}
	if (guest->version >= VMBUS_VERSION_WIN8 && !(le16_to_cpu(offer->dedicated_interrupt) & 1))
		fake_guest_complain(guest, "offer of relid %u without an interrupt of its own",
				    relid);
	channel = calloc(1, sizeof(*channel));
	if (!channel)
		return;
	*channel = (struct fake_channel){
		.guest = guest, .state = FAKE_OFFERED, .relid = relid,
		.connection = le32_to_cpu(offer->connection_id),
		.subchannel = le16_to_cpu(offer->subchannel),
		.monitor_id = offer->monitor_allocated & 1 ? offer->monitor_id
							    : VMBUS_OFFER_NO_MONITOR,
	};
	memcpy(channel->type, offer->interface_type, 16);
	memcpy(channel->instance, offer->instance, 16);
	if (channel->monitor_id != VMBUS_OFFER_NO_MONITOR && !guest->monitor.n_pages)
		fake_guest_complain(guest, "offer with a monitor id, but there is no page");
	guest->channels[relid] = channel;
	guest->n_offers++;
}

static struct fake_channel *channel_of(struct fake_guest *guest, le32 relid)
{
	uint32_t i = le32_to_cpu(relid);

	return i < FAKE_MAX_RELID ? guest->channels[i] : NULL;
}

static void on_rescind(struct fake_guest *guest, const void *message)
{
	const struct vmbus_relid_message *rescind = message;
	struct fake_channel *channel = channel_of(guest, rescind->relid);

	if (!channel || channel->rescinded)
		fake_guest_complain(guest, "relid %u is rescinded, but not offered",
				    le32_to_cpu(rescind->relid));
	else
		channel->rescinded = true;
}

static void on_open_result(struct fake_guest *guest, const void *message)
{
	const struct vmbus_open_result *result = message;
	struct fake_channel *channel = channel_of(guest, result->relid);

	if (!channel || channel->state != FAKE_OPENING ||
	    le32_to_cpu(result->open_id) != channel->relid) {
		fake_guest_complain(guest, "OPEN_RESULT for relid %u, which is not opening",
				    le32_to_cpu(result->relid));
		return;
	}
	channel->open_status = le32_to_cpu(result->status);
	channel->state = channel->open_status ? FAKE_OFFERED : FAKE_OPEN;
}

static void on_gpadl_created(struct fake_guest *guest, const void *message)
{
	const struct vmbus_gpadl_created *created = message;
	struct fake_gpadl *gpadl = fake_gpadl_find(guest, le32_to_cpu(created->gpadl));

	if (!gpadl || gpadl->state != FAKE_GPADL_SENT ||
	    gpadl->relid != le32_to_cpu(created->relid))
		fake_guest_complain(guest, "GPADL_CREATED for %u, which was not sent",
				    le32_to_cpu(created->gpadl));
	else
		gpadl->state = le32_to_cpu(created->status) ? FAKE_GPADL_REFUSED : FAKE_GPADL_LIVE;
}

static void on_gpadl_torndown(struct fake_guest *guest, const void *message)
{
	const struct vmbus_gpadl_torndown *torndown = message;
	struct fake_gpadl *gpadl = fake_gpadl_find(guest, le32_to_cpu(torndown->gpadl));

	if (!gpadl || gpadl->state != FAKE_GPADL_LEAVING)
		fake_guest_complain(guest, "GPADL_TORNDOWN for %u, which was not torn down",
				    le32_to_cpu(torndown->gpadl));
	else
		gpadl->state = FAKE_NO_GPADL;
}

static void on_version(struct fake_guest *guest, const void *message)
{
	const struct vmbus_version_response *response = message;

	guest->got_version = true;
	guest->supported = response->supported;
	guest->contact_state = response->state;
	// Below 5.0 the field is the version, and the connection is the first one.
	if (guest->version >= VMBUS_VERSION_RS3_1)
		guest->connection = le32_to_cpu(response->connection_id);
	else if (response->supported && le32_to_cpu(response->connection_id) != guest->version)
		fake_guest_complain(guest, "VERSION_RESPONSE does not repeat the version");
}

static void on_modified(struct fake_guest *guest, const void *message)
{
	const struct vmbus_modify_channel_response *response = message;
	struct fake_channel *channel = channel_of(guest, response->relid);

	if (!channel || guest->version < VMBUS_VERSION_IRON) {
		fake_guest_complain(guest, "MODIFY_CHANNEL_RESPONSE that nobody asked for");
		return;
	}
	channel->modify_status = le32_to_cpu(response->status);
	channel->n_modified++;
}

static void on_all_offers(struct fake_guest *guest, const void *) { guest->got_all_offers = true; }
static void on_unload(struct fake_guest *guest, const void *) { guest->got_unload = true; }

void fake_guest_deliver(struct fake_guest *guest, const void *message, uint32_t bytes)
{
	// The least that Linux takes of each.
	static const struct {
		void (*handle)(struct fake_guest *guest, const void *message);
		uint32_t bytes;
	} messages[] = {
		[VMBUS_OFFER_CHANNEL] = { on_offer, 196 },
		[VMBUS_RESCIND_CHANNEL_OFFER] = { on_rescind, 12 },
		[VMBUS_ALL_OFFERS_DELIVERED] = { on_all_offers, 8 },
		[VMBUS_OPEN_RESULT] = { on_open_result, 20 },
		[VMBUS_GPADL_CREATED] = { on_gpadl_created, 20 },
		[VMBUS_GPADL_TORNDOWN] = { on_gpadl_torndown, 12 },
		[VMBUS_VERSION_RESPONSE] = { on_version, 16 },
		[VMBUS_UNLOAD_COMPLETE] = { on_unload, 8 },
		[VMBUS_MODIFY_CHANNEL_RESPONSE] = { on_modified, 16 },
	};
	uint32_t type = bytes >= 8 ? load_u32(message) : 0;

	guest->n_messages++;
	if (bytes > VMBUS_MAX_MESSAGE || type >= ARRAY_SIZE(messages) || !messages[type].handle ||
	    bytes < messages[type].bytes)
		fake_guest_complain(guest, "message %u of %u bytes", type, bytes);
	else
		messages[type].handle(guest, message);
}

// --- what the guest says -----------------------------------------------------------------------

int fake_guest_post(struct fake_guest *guest, const void *message, uint32_t bytes)
{
	int ret = -ETIMEDOUT;

	for (uint32_t i = 0; i < guest->max_rounds; i++) {
		ret = guest->ops->post(guest->ctx, guest->connection, message, bytes);
		if (ret != -EAGAIN || !guest->ops->pump(guest->ctx))
			break;
	}
	return ret;
}

static int post_plain(struct fake_guest *guest, uint32_t type)
{
	struct vmbus_message message = { .type = cpu_to_le32(type) };

	return fake_guest_post(guest, &message, sizeof(message));
}

static bool is_true(void *flag)
{
	return *(bool *)flag;
}

int fake_guest_contact(struct fake_guest *guest, uint32_t version)
{
	struct vmbus_initiate_contact contact = {
		.message.type = cpu_to_le32(VMBUS_INITIATE_CONTACT),
		.version = cpu_to_le32(version),
	};
	int ret;

	if (version >= VMBUS_VERSION_RS3_1)
		contact.sint = FAKE_SINT;
	if (guest->monitor.n_pages) {
		contact.to_guest_monitor_gpa = cpu_to_le64(fake_buffer_gpa(&guest->monitor, 0));
		contact.to_host_monitor_gpa =
			cpu_to_le64(fake_buffer_gpa(&guest->monitor, VMBUS_PAGE_BYTES));
	}
	free_channels(guest); // whatever there was, the host resets it
	guest->version = version;
	guest->got_version = false;
	guest->n_offers = 0;
	guest->connection = version >= VMBUS_VERSION_RS3_1 ? MULTI_CONNECTION : FIRST_CONNECTION;
	ret = fake_guest_post(guest, &contact, sizeof(contact));
	if (!ret)
		ret = fake_guest_wait(guest, is_true, &guest->got_version);
	if (!ret && !guest->supported)
		ret = -EPROTONOSUPPORT;
	if (!ret && guest->contact_state && version >= VMBUS_VERSION_WIN8)
		ret = -EIO;
	if (ret)
		guest->version = 0;
	return ret;
}

int fake_guest_connect(struct fake_guest *guest)
{
	static const uint32_t versions[] = {
		VMBUS_VERSION_IRON, VMBUS_VERSION_RS5, VMBUS_VERSION_RS4, VMBUS_VERSION_RS3_1,
		VMBUS_VERSION_RS3, VMBUS_VERSION_WIN10, VMBUS_VERSION_WIN8_1, VMBUS_VERSION_WIN8,
	};
	int ret = -EPROTONOSUPPORT;

	for (uint32_t i = 0; i < ARRAY_SIZE(versions) && ret == -EPROTONOSUPPORT; i++)
		ret = fake_guest_contact(guest, versions[i]);
	return ret;
}

int fake_guest_request_offers(struct fake_guest *guest)
{
	int ret;

	guest->got_all_offers = false;
	ret = post_plain(guest, VMBUS_REQUEST_OFFERS);
	return ret ? ret : fake_guest_wait(guest, is_true, &guest->got_all_offers);
}

int fake_guest_unload(struct fake_guest *guest)
{
	int ret;

	guest->got_unload = false;
	ret = post_plain(guest, VMBUS_UNLOAD);
	if (!ret)
		ret = fake_guest_wait(guest, is_true, &guest->got_unload);
	free_channels(guest);
	guest->version = 0;
	return ret;
}

struct fake_channel *fake_guest_nic(struct fake_guest *guest, uint32_t n, uint16_t subchannel)
{
	const uint8_t *instance = NULL;

	for (uint32_t i = 0; i < FAKE_MAX_RELID && !instance; i++) {
		struct fake_channel *channel = guest->channels[i];

		if (channel && !channel->subchannel && !channel->rescinded &&
		    !memcmp(channel->type, nic_type, 16) && n-- == 0)
			instance = channel->instance;
	}
	for (uint32_t i = 0; i < FAKE_MAX_RELID && instance; i++) {
		struct fake_channel *channel = guest->channels[i];

		if (channel && channel->subchannel == subchannel && !channel->rescinded &&
		    !memcmp(channel->type, nic_type, 16) &&
		    !memcmp(channel->instance, instance, 16))
			return channel;
	}
	return NULL;
}

int fake_channel_release(struct fake_channel *channel)
{
	struct vmbus_relid_message message = {
		.message.type = cpu_to_le32(VMBUS_RELID_RELEASED),
		.relid = cpu_to_le32(channel->relid),
	};
	struct fake_guest *guest = channel->guest;

	free_channel(channel); // first: the answer may be an offer with the same number
	return fake_guest_post(guest, &message, sizeof(message));
}
