// SPDX-License-Identifier: Apache-2.0
// vmbus_server_save: the state as bytes, as server_image.h lists them.
#include "vmbus/image.h"
#include "vmbus/server_image.h"
#include "vmbus/server_impl.h"

static void put_contact(struct vmbus_image_writer *w, const struct vmbus_contact *contact)
{
	vmbus_image_put_u32(w, contact->version);
	vmbus_image_put_u32(w, contact->target_vp);
	vmbus_image_put_u32(w, contact->sint);
	vmbus_image_put_u64(w, contact->to_guest_monitor_gpa);
	vmbus_image_put_u64(w, contact->to_host_monitor_gpa);
}

static void put_outbox(struct vmbus_image_writer *w, const struct vmbus_outbox *outbox)
{
	vmbus_image_put_u32(w, outbox->to.target_vp);
	vmbus_image_put_u32(w, outbox->to.sint);
	vmbus_image_put_u32(w, outbox->n);
	for (const struct vmbus_outbox_item *item = outbox->first; item; item = item->next) {
		vmbus_image_put_u32(w, item->bytes);
		vmbus_image_put(w, item->message, item->bytes);
	}
}

static void put_request(struct vmbus_image_writer *w, const struct vmbus_open_request *request)
{
	vmbus_image_put_u32(w, request->open_id);
	vmbus_image_put_u32(w, request->gpadl);
	vmbus_image_put_u32(w, request->target_vp);
	vmbus_image_put_u32(w, request->downstream_page);
	vmbus_image_put(w, request->user_data, sizeof(request->user_data));
}

static void put_gpadl(struct vmbus_image_writer *w, const struct vmbus_channel_gpadl *entry)
{
	const struct vmbus_gpadl *gpadl = entry->gpadl;

	vmbus_image_put_u32(w, entry->state);
	vmbus_image_put_u32(w, gpadl->id);
	vmbus_image_put_u32(w, gpadl->n_ranges);
	vmbus_image_put_u32(w, gpadl->first_offset);
	vmbus_image_put_u32(w, gpadl->n_pages);
	vmbus_image_put_u32(w, gpadl->runs.n);
	for (uint32_t i = 0; i < gpadl->runs.n; i++) {
		vmbus_image_put_u64(w, gpadl->runs.runs[i].gpa);
		vmbus_image_put_u32(w, gpadl->runs.runs[i].bytes);
	}
}

// Those that nobody waits for are as good as gone.
static bool is_kept(const struct vmbus_channel_gpadl *entry)
{
	return entry->state != VMBUS_GPADL_DROPPING;
}

static void put_channel(struct vmbus_image_writer *w, const struct vmbus_channel *channel)
{
	uint32_t n = 0;

	vmbus_image_put_u32(w, channel->index);
	vmbus_image_put_u32(w, channel->relid);
	vmbus_image_put_u32(w, channel->monitor_id);
	vmbus_image_put_u32(w, channel->state);
	put_request(w, &channel->open);
	put_request(w, &channel->reopen);
	vmbus_image_put_u32(w, (channel->is_modifying ? VMBUS_IMAGE_MODIFYING : 0) |
				       (channel->modify_again ? VMBUS_IMAGE_MODIFY_AGAIN : 0) |
				       (channel->offer_again ? VMBUS_IMAGE_OFFER_AGAIN : 0) |
				       (channel->fail_open ? VMBUS_IMAGE_FAIL_OPEN : 0));
	vmbus_image_put_u32(w, channel->modify_vp);
	vmbus_image_put_u32(w, channel->next_vp);
	vmbus_image_put_u32(w, channel->open_id);
	for (const struct vmbus_channel_gpadl *e = channel->gpadls; e; e = e->next)
		n += is_kept(e);
	vmbus_image_put_u32(w, n);
	for (const struct vmbus_channel_gpadl *e = channel->gpadls; e; e = e->next)
		if (is_kept(e))
			put_gpadl(w, e);
}

static void put_device(struct vmbus_image_writer *w, const struct vmbus_device *device)
{
	uint32_t n = 0;

	vmbus_image_put(w, device->cfg.type, sizeof(device->cfg.type));
	vmbus_image_put(w, device->cfg.instance, sizeof(device->cfg.instance));
	vmbus_image_put_u32(w, device->is_leaving);
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		n += device->channels[i].state != VMBUS_CHANNEL_HIDDEN;
	vmbus_image_put_u32(w, n);
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		if (device->channels[i].state != VMBUS_CHANNEL_HIDDEN)
			put_channel(w, &device->channels[i]);
}

static void put_pending(struct vmbus_image_writer *w, const struct vmbus_gpadls *gpadls)
{
	struct vmbus_gpadl_pending p;
	uint32_t n = 0;

	while (vmbus_gpadls_pending(gpadls, n, &p))
		n++;
	vmbus_image_put_u32(w, n);
	for (uint32_t i = 0; vmbus_gpadls_pending(gpadls, i, &p); i++) {
		vmbus_image_put_u32(w, p.relid);
		vmbus_image_put_u32(w, p.id);
		vmbus_image_put_u32(w, p.n_ranges);
		vmbus_image_put_u32(w, p.n_words);
		vmbus_image_put_u32(w, p.n_filled);
		vmbus_image_put(w, p.words, p.n_filled * sizeof(le64));
	}
}

int vmbus_server_save(const struct vmbus_server *server, void **image, size_t *bytes)
{
	struct vmbus_image_writer w;

	vmbus_image_begin(&w, VMBUS_SERVER_IMAGE, VMBUS_SERVER_IMAGE_VERSION);
	vmbus_image_put_u32(&w, server->state);
	put_contact(&w, &server->contact);
	vmbus_image_put_u32(&w, server->offers_sent);
	vmbus_image_put_u32(&w, server->next);
	vmbus_image_put(&w, &server->next_contact, sizeof(server->next_contact));
	vmbus_image_put_u32(&w, server->last_relid);
	put_outbox(&w, &server->outbox);
	vmbus_image_put_u32(&w, server->n_devices);
	for (const struct vmbus_device *device = server->devices; device; device = device->next)
		put_device(&w, device);
	put_pending(&w, server->gpadls);
	return vmbus_image_end(&w, image, bytes);
}
