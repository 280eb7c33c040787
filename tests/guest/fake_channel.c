// SPDX-License-Identifier: Apache-2.0
// GPADLs and channels of the fake guest: fake_guest.h.
#include "tests/guest/fake_guest.h"

#include <errno.h>

#define HEADER_PFNS 26u // in the first message
#define BODY_PFNS 28u   // in each that follows

// --- GPADLs ------------------------------------------------------------------------------------

struct fake_gpadl *fake_gpadl_find(struct fake_guest *guest, uint32_t id)
{
	for (uint32_t i = 0; i < FAKE_MAX_GPADLS; i++)
		if (guest->gpadls[i].state != FAKE_NO_GPADL && guest->gpadls[i].id == id)
			return &guest->gpadls[i];
	return NULL;
}

static struct fake_gpadl *free_gpadl(struct fake_guest *guest)
{
	for (uint32_t i = 0; i < FAKE_MAX_GPADLS; i++)
		if (guest->gpadls[i].state == FAKE_NO_GPADL)
			return &guest->gpadls[i];
	return NULL;
}

static int post_body(struct fake_guest *guest, uint32_t id, const uint64_t *pages, uint32_t n)
{
	uint8_t message[VMBUS_MAX_MESSAGE];
	struct vmbus_gpadl_body *body = (struct vmbus_gpadl_body *)message;

	*body = (struct vmbus_gpadl_body){ .message.type = cpu_to_le32(VMBUS_GPADL_BODY),
					   .gpadl = cpu_to_le32(id) };
	memcpy(body->data, pages, n * sizeof(*pages));
	return fake_guest_post(guest, message,
			       (uint32_t)(sizeof(*body) + n * sizeof(*pages)));
}

static int post_header(struct fake_guest *guest, const struct fake_gpadl_cfg *cfg, uint32_t id,
		       uint32_t n)
{
	uint8_t message[VMBUS_MAX_MESSAGE];
	struct vmbus_gpadl_header *header = (struct vmbus_gpadl_header *)message;
	uint32_t bytes = cfg->bytes ? cfg->bytes : cfg->n_pages * VMBUS_PAGE_BYTES;
	struct vmbus_gpa_range range = { cpu_to_le32(bytes), cpu_to_le32(cfg->offset) };

	*header = (struct vmbus_gpadl_header){
		.message.type = cpu_to_le32(VMBUS_GPADL_HEADER),
		.relid = cpu_to_le32(cfg->relid), .gpadl = cpu_to_le32(id),
		.range_bytes = cpu_to_le16((uint16_t)(sizeof(range) + cfg->n_pages * 8)),
		.n_ranges = cpu_to_le16(1),
	};
	memcpy(header->data, &range, sizeof(range));
	memcpy(header->data + sizeof(range), cfg->pages, n * sizeof(*cfg->pages));
	return fake_guest_post(guest, message,
			       (uint32_t)(sizeof(*header) + sizeof(range) + n * 8));
}

int fake_gpadl_post(struct fake_guest *guest, const struct fake_gpadl_cfg *cfg, uint32_t *id)
{
	struct fake_gpadl *gpadl = free_gpadl(guest);
	uint32_t at = cfg->n_pages < HEADER_PFNS ? cfg->n_pages : HEADER_PFNS;
	int ret;

	if (!gpadl)
		return -ENOSPC;
	*id = guest->next_gpadl++;
	*gpadl = (struct fake_gpadl){ FAKE_GPADL_SENT, *id, cfg->relid };
	ret = post_header(guest, cfg, *id, at);
	while (!ret && at < cfg->n_pages) {
		uint32_t n = cfg->n_pages - at < BODY_PFNS ? cfg->n_pages - at : BODY_PFNS;

		ret = post_body(guest, *id, cfg->pages + at, n);
		at += n;
	}
	return ret;
}

static bool is_settled(void *arg)
{
	const struct fake_gpadl *gpadl = arg;

	return gpadl->state != FAKE_GPADL_SENT && gpadl->state != FAKE_GPADL_LEAVING;
}

int fake_gpadl_wait(struct fake_guest *guest, struct fake_gpadl *gpadl)
{
	return fake_guest_wait(guest, is_settled, gpadl);
}

int fake_gpadl_create(struct fake_guest *guest, uint32_t relid, const struct fake_buffer *buffer,
		      uint32_t *id)
{
	const struct fake_gpadl_cfg cfg = { relid, buffer->pages, buffer->n_pages, 0, 0 };
	struct fake_gpadl *gpadl;
	int ret = fake_gpadl_post(guest, &cfg, id);

	if (ret)
		return ret;
	gpadl = fake_gpadl_find(guest, *id);
	ret = fake_gpadl_wait(guest, gpadl);
	if (!ret && gpadl->state == FAKE_GPADL_REFUSED) {
		gpadl->state = FAKE_NO_GPADL;
		ret = -EREMOTEIO;
	}
	return ret;
}

int fake_gpadl_teardown(struct fake_guest *guest, uint32_t id)
{
	struct fake_gpadl *gpadl = fake_gpadl_find(guest, id);
	struct vmbus_gpadl_teardown message = {
		.message.type = cpu_to_le32(VMBUS_GPADL_TEARDOWN),
		.gpadl = cpu_to_le32(id),
	};
	int ret;

	if (!gpadl)
		return -ENOENT;
	message.relid = cpu_to_le32(gpadl->relid);
	gpadl->state = FAKE_GPADL_LEAVING;
	ret = fake_guest_post(guest, &message, sizeof(message));
	return ret ? ret : fake_gpadl_wait(guest, gpadl);
}

// --- open, close -------------------------------------------------------------------------------

int fake_channel_attach_rings(struct fake_channel *channel)
{
	uint32_t n_pages = channel->rings.n_pages;
	struct vmbus_ring ring;
	int ret;

	channel->runs = (struct vmbus_runs){ &channel->rings.run, 1,
					     fake_buffer_bytes(&channel->rings) };
	ret = vmbus_ring_init(&ring, &channel->runs, 0, channel->in_page);
	if (!ret)
		ret = vmbus_writer_init(&channel->out, &ring);
	if (!ret)
		ret = vmbus_ring_init(&ring, &channel->runs, channel->in_page,
				      n_pages - channel->in_page);
	return ret ? ret : vmbus_reader_init(&channel->in, &ring);
}

static bool is_open_settled(void *arg)
{
	const struct fake_channel *channel = arg;

	return channel->state != FAKE_OPENING;
}

static int send_open(struct fake_channel *channel)
{
	struct vmbus_open_channel message = {
		.message.type = cpu_to_le32(VMBUS_OPEN_CHANNEL),
		.relid = cpu_to_le32(channel->relid), .open_id = cpu_to_le32(channel->relid),
		.gpadl = cpu_to_le32(channel->gpadl), .target_vp = cpu_to_le32(channel->vp),
		.downstream_page = cpu_to_le32(channel->in_page),
	};
	int ret;

	channel->state = FAKE_OPENING;
	ret = fake_guest_post(channel->guest, &message, sizeof(message));
	if (!ret)
		ret = fake_guest_wait(channel->guest, is_open_settled, channel);
	if (!ret && channel->state != FAKE_OPEN)
		ret = -EREMOTEIO;
	return ret;
}

int fake_channel_open(struct fake_channel *channel, const struct fake_open_cfg *cfg)
{
	struct fake_guest *guest = channel->guest;
	uint32_t out = cfg && cfg->out_pages ? cfg->out_pages : 128;
	uint32_t in = cfg && cfg->in_pages ? cfg->in_pages : 128;
	int ret;

	channel->vp = cfg ? cfg->vp : 0;
	channel->in_page = out;
	ret = fake_buffer_init(&channel->rings, &guest->memory, out + in);
	if (ret)
		return ret;
	ret = fake_channel_attach_rings(channel);
	if (!ret)
		ret = fake_gpadl_create(guest, channel->relid, &channel->rings, &channel->gpadl);
	if (ret)
		goto err_rings;
	ret = send_open(channel);
	if (!ret)
		return 0;
	fake_gpadl_teardown(guest, channel->gpadl);
err_rings:
	fake_buffer_fini(&channel->rings, &guest->memory);
	channel->state = FAKE_OFFERED;
	return ret;
}

int fake_channel_close(struct fake_channel *channel)
{
	struct vmbus_relid_message message = {
		.message.type = cpu_to_le32(VMBUS_CLOSE_CHANNEL),
		.relid = cpu_to_le32(channel->relid),
	};
	struct fake_guest *guest = channel->guest;
	int ret = fake_guest_post(guest, &message, sizeof(message));

	channel->state = FAKE_OFFERED;
	if (!ret)
		ret = fake_gpadl_teardown(guest, channel->gpadl);
	fake_buffer_fini(&channel->rings, &guest->memory);
	return ret;
}

struct modify_wait {
	struct fake_channel *channel;
	uint32_t before;
};

static bool is_modified(void *arg)
{
	const struct modify_wait *wait = arg;

	return wait->channel->n_modified != wait->before;
}

int fake_channel_modify(struct fake_channel *channel, uint32_t vp)
{
	struct vmbus_modify_channel message = {
		.message.type = cpu_to_le32(VMBUS_MODIFY_CHANNEL),
		.relid = cpu_to_le32(channel->relid), .target_vp = cpu_to_le32(vp),
	};
	struct modify_wait wait = { channel, channel->n_modified };
	int ret = fake_guest_post(channel->guest, &message, sizeof(message));

	if (!ret && channel->guest->version >= VMBUS_VERSION_IRON) {
		ret = fake_guest_wait(channel->guest, is_modified, &wait);
		if (!ret && channel->modify_status)
			ret = -EREMOTEIO;
	}
	if (!ret)
		channel->vp = vp;
	return ret;
}

// --- rings -------------------------------------------------------------------------------------

int fake_channel_put(struct fake_channel *channel, const struct vmbus_packet_out *packet)
{
	return vmbus_writer_put(&channel->out, packet);
}

// A guest with a monitor id sets its bit there; the host finds it.
void fake_channel_signal(struct fake_channel *channel)
{
	struct fake_guest *guest = channel->guest;

	channel->n_signals++;
	if (channel->monitor_id < VMBUS_MONITOR_IDS) {
		struct vmbus_monitor_page *page =
			(struct vmbus_monitor_page *)(guest->monitor.at + VMBUS_PAGE_BYTES);
		uint32_t *pending =
			(FORCE uint32_t *)&page->groups[channel->monitor_id / 32].pending;

		__atomic_fetch_or(pending, 1u << channel->monitor_id % 32, __ATOMIC_ACQ_REL);
		return;
	}
	guest->ops->signal(guest->ctx, channel->connection);
}

bool fake_channel_kick(struct fake_channel *channel)
{
	if (!vmbus_writer_commit(&channel->out))
		return false;
	fake_channel_signal(channel);
	return true;
}

bool fake_channel_take_event(struct fake_channel *channel)
{
	const struct fake_guest *guest = channel->guest;
	uint64_t bit = 1ull << channel->relid % 64, *word;

	if (channel->vp >= guest->n_vps || !guest->siefp[channel->vp])
		return false;
	word = (uint64_t *)(fake_page_at(&guest->memory, guest->siefp[channel->vp]) +
			    256 * FAKE_SINT) + channel->relid / 64;
	if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & bit))
		return false;
	__atomic_fetch_and(word, ~bit, __ATOMIC_ACQ_REL);
	channel->n_events++;
	return true;
}

static bool has_event(void *channel)
{
	return fake_channel_take_event(channel);
}

int fake_channel_sleep(struct fake_channel *channel)
{
	int ret = 0;

	if (vmbus_reader_arm(&channel->in)) {
		ret = fake_guest_wait(channel->guest, has_event, channel);
		vmbus_reader_disarm(&channel->in);
	}
	return ret;
}

int fake_channel_wait_room(struct fake_channel *channel, uint32_t bytes)
{
	int ret = 0;

	// An event may be for the other ring: look again.
	while (!ret && vmbus_writer_arm(&channel->out, bytes))
		ret = fake_guest_wait(channel->guest, has_event, channel);
	vmbus_writer_disarm(&channel->out);
	return ret;
}
