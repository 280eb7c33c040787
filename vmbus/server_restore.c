// SPDX-License-Identifier: Apache-2.0
// vmbus_server_restore: an image (server_image.h) becomes the state. It may be a lie: every field
// is checked before any device hears of it, and a refusal leaves a server as new.
#include <errno.h>
#include <stdlib.h>

#include "vmbus/image.h"
#include "vmbus/server_image.h"
#include "vmbus/server_impl.h"

static bool get_bool(struct vmbus_image_reader *r)
{
	uint32_t v = vmbus_image_get_u32(r);

	if (v > 1)
		r->failed = true;
	return v == 1;
}

// A number below `end`; anything else is a failure.
static uint32_t get_below(struct vmbus_image_reader *r, uint32_t end)
{
	uint32_t v = vmbus_image_get_u32(r);

	if (v < end)
		return v;
	r->failed = true;
	return 0;
}

// --- connection and messages -------------------------------------------------------------------

static int get_connection(struct vmbus_server *server, struct vmbus_image_reader *r)
{
	struct vmbus_contact *contact = &server->contact;

	server->state = get_below(r, VMBUS_DISCONNECTING + 1);
	contact->version = vmbus_image_get_u32(r);
	contact->target_vp = vmbus_image_get_u32(r);
	contact->sint = vmbus_image_get_u32(r);
	contact->to_guest_monitor_gpa = vmbus_image_get_u64(r);
	contact->to_host_monitor_gpa = vmbus_image_get_u64(r);
	server->offers_sent = get_bool(r);
	server->next = get_below(r, VMBUS_NEXT_UNLOADED + 1);
	vmbus_image_get(r, &server->next_contact, sizeof(server->next_contact));
	server->last_relid = get_below(r, VMBUS_MAX_RELID + 1);
	if (r->failed || (server->offers_sent && server->state != VMBUS_CONNECTED))
		return -EINVAL;
	if (server->state == VMBUS_CONNECTED &&
	    (!vmbus_server_has_version(server, contact->version) ||
	     !vmbus_server_is_contact_fine(server, contact)))
		return -EINVAL;
	return 0;
}

static int get_outbox(struct vmbus_server *server, struct vmbus_image_reader *r)
{
	struct vmbus_outbox *outbox = &server->outbox;
	uint32_t n;

	outbox->to = server->contact;
	outbox->to.target_vp = vmbus_image_get_u32(r);
	outbox->to.sint = get_below(r, 16);
	n = get_below(r, VMBUS_OUTBOX_MAX + 1);
	if (n > 0 && outbox->to.target_vp >= server->cfg.n_vps)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t bytes = get_below(r, VMBUS_MAX_MESSAGE + 1);
		const void *message = vmbus_image_skip(r, bytes);

		if (!message || bytes < sizeof(struct vmbus_message))
			return -EINVAL;
		if (vmbus_outbox_keep(outbox, message, bytes) < 0)
			return -ENOMEM;
	}
	return r->failed ? -EINVAL : 0;
}

// --- channels ----------------------------------------------------------------------------------

// In which states of its channel may a GPADL be in that state? Bits.
static const uint32_t gpadl_fits[VMBUS_GPADL_N_STATES] = {
#define BIT(state) (1u << VMBUS_CHANNEL_##state)
#define RINGS (BIT(OPENING) | BIT(OPEN) | BIT(CLOSING) | BIT(CLOSING_REOPEN) | BIT(CLOSING_RELEASE))
#define GOING (BIT(REVOKING) | BIT(REVOKED))
	[VMBUS_GPADL_OFFERED] = BIT(CLOSED) | RINGS,
	[VMBUS_GPADL_ACCEPTED] = BIT(CLOSED) | RINGS,
	[VMBUS_GPADL_DEFERRED] = RINGS,
	[VMBUS_GPADL_TEARING] = BIT(CLOSED) | RINGS | BIT(REVOKING),
	[VMBUS_GPADL_REFUSING] = BIT(REVOKING),
	[VMBUS_GPADL_DETACHING] = BIT(REVOKING),
	[VMBUS_GPADL_DETACHED] = GOING,
};

// Runs of a GPADL, in memory of its own.
static struct vmbus_run *get_runs(struct vmbus_image_reader *r, uint32_t n)
{
	struct vmbus_run *runs = NULL;

	// Each takes 12 bytes of the image: a lie about n costs nothing.
	if (n > 0 && n <= VMBUS_GPADL_MAX_PAGES && (r->size - r->used) / 12 >= n)
		runs = calloc(n, sizeof(*runs));
	for (uint32_t i = 0; runs && i < n; i++) {
		runs[i].gpa = vmbus_image_get_u64(r);
		runs[i].bytes = vmbus_image_get_u32(r);
	}
	return runs;
}

static int get_gpadl(struct vmbus_channel *channel, struct vmbus_image_reader *r)
{
	struct vmbus_gpadls *gpadls = channel->device->server->gpadls;
	enum vmbus_gpadl_state state = get_below(r, VMBUS_GPADL_N_STATES);
	struct vmbus_gpadl like = {
		.relid = channel->relid,
		.id = vmbus_image_get_u32(r),
		.n_ranges = vmbus_image_get_u32(r),
		.first_offset = vmbus_image_get_u32(r),
		.n_pages = vmbus_image_get_u32(r),
		.runs.n = vmbus_image_get_u32(r),
	};
	struct vmbus_run *runs = get_runs(r, like.runs.n);
	struct vmbus_gpadl *gpadl = NULL;
	int ret = -EINVAL;

	like.runs.runs = runs;
	if (runs && !r->failed && (gpadl_fits[state] & 1u << channel->state))
		ret = vmbus_gpadls_restore(gpadls, &like, &gpadl);
	free(runs);
	if (ret < 0)
		return ret;
	if (!vmbus_channel_add_gpadl(channel, gpadl, state)) {
		free(gpadl);
		return -ENOMEM;
	}
	return 0;
}

static void get_request(struct vmbus_image_reader *r, struct vmbus_open_request *request)
{
	request->open_id = vmbus_image_get_u32(r);
	request->gpadl = vmbus_image_get_u32(r);
	request->target_vp = vmbus_image_get_u32(r);
	request->downstream_page = vmbus_image_get_u32(r);
	vmbus_image_get(r, request->user_data, sizeof(request->user_data));
}

// The ids are free and become the channel's.
static int take_ids(struct vmbus_channel *channel)
{
	struct vmbus_server *server = channel->device->server;
	uint32_t id = channel->monitor_id;

	if (!channel->relid || channel->relid > VMBUS_MAX_RELID || server->by_relid[channel->relid])
		return -EINVAL;
	server->by_relid[channel->relid] = channel;
	if (id == VMBUS_OFFER_NO_MONITOR)
		return 0;
	if (id >= VMBUS_MONITOR_IDS || !server->contact.to_host_monitor_gpa ||
	    (server->monitors[id / 64] & 1ull << id % 64))
		return -EINVAL;
	server->monitors[id / 64] |= 1ull << id % 64;
	return 0;
}

static bool is_vp_fine(const struct vmbus_server *server, uint32_t vp)
{
	return vp < server->cfg.n_vps || vp == VMBUS_NO_INTERRUPT;
}

// Do the parts of the channel fit each other?
static bool is_consistent(const struct vmbus_channel *channel)
{
	const struct vmbus_server *server = channel->device->server;
	const struct vmbus_channel_gpadl *rings = vmbus_channel_find_rings(channel);
	bool has_rings = channel->state == VMBUS_CHANNEL_OPENING ||
			 channel->state == VMBUS_CHANNEL_OPEN;

	if (channel->fail_open && channel->state != VMBUS_CHANNEL_REVOKING)
		return false;
	if (channel->index > 0 && has_rings &&
	    channel->device->channels[0].state != VMBUS_CHANNEL_OPEN)
		return false;
	if (has_rings && (!vmbus_channel_rings_fit(rings, channel->open.downstream_page) ||
			  !is_vp_fine(server, channel->open.target_vp)))
		return false;
	if (channel->is_modifying &&
	    (channel->state != VMBUS_CHANNEL_OPEN || !is_vp_fine(server, channel->modify_vp)))
		return false;
	return !channel->modify_again ||
	       (channel->is_modifying && is_vp_fine(server, channel->next_vp));
}

static int get_channel(struct vmbus_device *device, struct vmbus_image_reader *r)
{
	struct vmbus_channel *channel =
		&device->channels[get_below(r, VMBUS_DEVICE_MAX_CHANNELS)];
	uint32_t flags, n;
	int ret;

	if (r->failed || channel->state != VMBUS_CHANNEL_HIDDEN)
		return -EINVAL;
	channel->relid = vmbus_image_get_u32(r);
	channel->monitor_id = vmbus_image_get_u32(r);
	channel->state = get_below(r, VMBUS_CHANNEL_N_STATES);
	get_request(r, &channel->open);
	get_request(r, &channel->reopen);
	flags = get_below(r, VMBUS_IMAGE_FAIL_OPEN << 1);
	channel->is_modifying = flags & VMBUS_IMAGE_MODIFYING;
	channel->modify_again = flags & VMBUS_IMAGE_MODIFY_AGAIN;
	channel->offer_again = flags & VMBUS_IMAGE_OFFER_AGAIN;
	channel->fail_open = flags & VMBUS_IMAGE_FAIL_OPEN;
	channel->modify_vp = vmbus_image_get_u32(r);
	channel->next_vp = vmbus_image_get_u32(r);
	channel->open_id = vmbus_image_get_u32(r);
	n = get_below(r, VMBUS_GPADL_MAX_CHANNEL + 1);
	if (r->failed || channel->state == VMBUS_CHANNEL_HIDDEN)
		return -EINVAL;
	ret = take_ids(channel);
	for (uint32_t i = 0; i < n && ret == 0; i++)
		ret = get_gpadl(channel, r);
	return ret == 0 && !is_consistent(channel) ? -EINVAL : ret;
}

// --- devices -----------------------------------------------------------------------------------

static struct vmbus_device *find_device(struct vmbus_server *server,
					struct vmbus_image_reader *r)
{
	uint8_t type[16], instance[16];
	struct vmbus_device *device = server->devices;

	vmbus_image_get(r, type, sizeof(type));
	vmbus_image_get(r, instance, sizeof(instance));
	while (device && (memcmp(device->cfg.type, type, sizeof(type)) ||
			  memcmp(device->cfg.instance, instance, sizeof(instance))))
		device = device->next;
	return device;
}

static int get_devices(struct vmbus_server *server, struct vmbus_image_reader *r, struct err *err)
{
	uint32_t n = get_below(r, VMBUS_MAX_RELID + 1);
	int ret = 0;

	for (uint32_t i = 0; i < n && ret == 0 && !r->failed; i++) {
		struct vmbus_device *device = find_device(server, r);
		bool is_leaving = get_bool(r);
		uint32_t n_channels = get_below(r, VMBUS_DEVICE_MAX_CHANNELS + 1);

		if (r->failed || (n_channels > 0 && server->state != VMBUS_CONNECTED))
			return -EINVAL;
		if (!device)
			return err_set(err, ENOENT, "the image has a device that was not added");
		device->is_leaving = is_leaving;
		device->is_known = true;
		for (uint32_t k = 0; k < n_channels && ret == 0; k++)
			ret = get_channel(device, r);
	}
	return r->failed ? -EINVAL : ret;
}

static int get_pending(struct vmbus_server *server, struct vmbus_image_reader *r)
{
	uint32_t n = get_below(r, VMBUS_GPADL_MAX_PENDING + 1);
	int ret = 0;

	for (uint32_t i = 0; i < n && ret == 0; i++) {
		struct vmbus_gpadl_pending p = {
			.relid = get_below(r, VMBUS_MAX_RELID + 1),
			.id = vmbus_image_get_u32(r),
			.n_ranges = vmbus_image_get_u32(r),
			.n_words = vmbus_image_get_u32(r),
			.n_filled = get_below(r, UINT16_MAX / sizeof(le64)),
		};

		p.words = vmbus_image_skip(r, p.n_filled * sizeof(le64));
		if (r->failed || !server->by_relid[p.relid] ||
		    server->by_relid[p.relid]->state == VMBUS_CHANNEL_CLOSING_RELEASE)
			return -EINVAL;
		ret = vmbus_gpadls_restore_pending(server->gpadls, &p);
	}
	return r->failed ? -EINVAL : ret;
}

// --- both ways out -----------------------------------------------------------------------------

// As new.
static void undo(struct vmbus_server *server)
{
	vmbus_outbox_clear(&server->outbox);
	vmbus_gpadls_clear(server->gpadls);
	memset(server->by_relid, 0, sizeof(server->by_relid));
	memset(server->monitors, 0, sizeof(server->monitors));
	server->contact = (struct vmbus_contact){};
	server->state = VMBUS_DISCONNECTED;
	server->offers_sent = false;
	server->next = VMBUS_NEXT_NOTHING;
	server->last_relid = 0;
	for (struct vmbus_device *device = server->devices; device; device = device->next) {
		device->is_leaving = false;
		device->is_known = false;
		for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++) {
			struct vmbus_channel *channel = &device->channels[i];

			vmbus_channel_free_gpadls(channel);
			*channel = (struct vmbus_channel){ .device = device, .index = i };
		}
	}
}

static void tell_channel(struct vmbus_channel *channel)
{
	vmbus_channel_tell_gpadls(channel, true);
	if (channel->state == VMBUS_CHANNEL_OPEN) {
		channel->side = VMBUS_SIDE_OPEN;
		vmbus_channel_ask_open(channel, true);
	}
}

// What the device had not answered: it is asked again, or has done it.
static void ask_channel(struct vmbus_channel *channel)
{
	vmbus_channel_tell_gpadls(channel, false);
	vmbus_channel_end_gpadls(channel);
	switch (channel->state) {
	case VMBUS_CHANNEL_OPENING:
		channel->side = VMBUS_SIDE_OPENING;
		vmbus_channel_ask_open(channel, false);
		break;
	case VMBUS_CHANNEL_OPEN:
		if (channel->is_modifying)
			vmbus_channel_ask_modify(channel);
		break;
	case VMBUS_CHANNEL_CLOSING:
	case VMBUS_CHANNEL_CLOSING_REOPEN:
	case VMBUS_CHANNEL_CLOSING_RELEASE:
		vmbus_channel_closed(channel);
		break;
	default:
		vmbus_channel_settle(channel);
	}
}

// All was checked: devices hear of what is theirs, primaries before sub-channels.
static void tell_devices(struct vmbus_server *server)
{
	for (struct vmbus_device *device = server->devices; device; device = device->next)
		for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
			tell_channel(&device->channels[i]);
	for (struct vmbus_device *device = server->devices; device; device = device->next)
		for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
			ask_channel(&device->channels[i]);
}

// Devices that the image does not know are new to the guest.
static void offer_new(struct vmbus_server *server)
{
	for (struct vmbus_device *device = server->devices; device; device = device->next)
		if (!device->is_known && vmbus_server_offers(server))
			vmbus_channel_offer(&device->channels[0]);
}

static int get_all(struct vmbus_server *server, struct vmbus_image_reader *r, struct err *err)
{
	int ret = get_connection(server, r);

	if (ret == 0)
		ret = get_outbox(server, r);
	if (ret == 0)
		ret = get_devices(server, r, err);
	if (ret == 0)
		ret = get_pending(server, r);
	if (ret == 0 && !vmbus_image_is_done(r))
		ret = -EINVAL;
	return ret;
}

int vmbus_server_restore(struct vmbus_server *server, const void *image, size_t bytes,
			 struct err *err)
{
	struct vmbus_image_reader r;
	int ret;

	if (server->state != VMBUS_DISCONNECTED || server->outbox.first || server->depth)
		return err_set(err, EBUSY, "only a server that no guest has talked to is restored");
	if (vmbus_image_open(&r, image, bytes, VMBUS_SERVER_IMAGE, VMBUS_SERVER_IMAGE_VERSION) < 0)
		return err_set(err, EINVAL, "not an image of a VMBus server, version %d, or broken",
			       VMBUS_SERVER_IMAGE_VERSION);
	ret = get_all(server, &r, err);
	if (ret < 0)
		undo(server);
	if (ret == -EINVAL)
		err_set(err, EINVAL, "the image has a field that is impossible, at byte %zu",
			r.used);
	if (ret == -EFAULT)
		return err_set(err, ENOENT, "a GPADL of the image lies outside the guest's memory");
	if (ret < 0)
		return ret;
	vmbus_server_enter(server);
	tell_devices(server);
	offer_new(server);
	vmbus_server_leave(server);
	return 0;
}
