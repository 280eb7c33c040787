// SPDX-License-Identifier: Apache-2.0
// The fake driver's way out: RNDIS messages, the pages and sections they lie in, acknowledgements.
#include "tests/guest/fake_driver.h"

#include <errno.h>

#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"

// --- messages ----------------------------------------------------------------------------------

static uint32_t put_ppi(uint8_t *to, uint32_t type, uint32_t value)
{
	struct rndis_ppi_u32 ppi = {
		.ppi = { .bytes = cpu_to_le32(sizeof(ppi)), .type = cpu_to_le32(type),
			 .offset = cpu_to_le32(sizeof(struct rndis_ppi)) },
		.value = cpu_to_le32(value),
	};

	memcpy(to, &ppi, sizeof(ppi));
	return sizeof(ppi);
}

uint32_t fake_packet_build(const struct fake_packet *packet, bool last, uint8_t *to, uint32_t room)
{
	uint8_t ppis[4 * sizeof(struct rndis_ppi_u32)];
	uint32_t n = 0, at, bytes;
	struct rndis_packet message = { .header.type = cpu_to_le32(RNDIS_PACKET) };

	if (packet->ppis & FAKE_PPI_HASH)
		n += put_ppi(ppis + n, RNDIS_PPI_HASH_VALUE, packet->hash);
	if (packet->ppis & FAKE_PPI_VLAN)
		n += put_ppi(ppis + n, RNDIS_PPI_VLAN, packet->vlan);
	if (packet->ppis & FAKE_PPI_LSO)
		n += put_ppi(ppis + n, RNDIS_PPI_LSO, packet->lso);
	if (packet->ppis & FAKE_PPI_CSUM)
		n += put_ppi(ppis + n, RNDIS_PPI_CHECKSUM, packet->csum);
	at = (uint32_t)sizeof(message) + n;
	bytes = at + packet->bytes;
	if (!last)
		bytes = (bytes + 7) & ~7u;
	if (bytes > room)
		return 0;
	message.header.bytes = cpu_to_le32(bytes);
	message.data_offset = cpu_to_le32(at - RNDIS_OFFSET_BASE);
	message.data_bytes = cpu_to_le32(packet->bytes);
	if (n) {
		message.ppi_offset = cpu_to_le32(sizeof(message) - RNDIS_OFFSET_BASE);
		message.ppi_bytes = cpu_to_le32(n);
	}
	memcpy(to, &message, sizeof(message));
	memcpy(to + sizeof(message), ppis, n);
	memcpy(to + at, packet->frame, packet->bytes);
	memset(to + at + packet->bytes, 0, bytes - at - packet->bytes);
	return bytes;
}

// --- where they lie ----------------------------------------------------------------------------

static void free_slot(struct fake_driver *driver, struct fake_tx_slot *slot)
{
	for (uint32_t i = 0; i < slot->n_pages; i++)
		fake_page_put(&driver->guest->memory, slot->pages[i]);
	if (slot->section != NVSP_NO_SECTION)
		driver->send_used[slot->section] = 0;
	slot->used = false;
	driver->n_slots--;
}

// What asked for no completion is free when the host has read all there was.
static void free_silent(struct fake_driver *driver)
{
	for (uint32_t i = 0; i < driver->n_channels; i++) {
		struct fake_channel *channel = driver->channels[i];

		if (load_u32(&fake_channel_out_header(channel)->read) != channel->out.published)
			return;
	}
	for (uint32_t i = 0; i < FAKE_MAX_TX; i++)
		if (driver->slots[i].used && driver->slots[i].silent)
			free_slot(driver, &driver->slots[i]);
}

static struct fake_tx_slot *take_slot(struct fake_driver *driver)
{
	if (driver->n_slots == FAKE_MAX_TX)
		free_silent(driver);
	for (uint32_t i = 0; i < FAKE_MAX_TX && driver->n_slots < FAKE_MAX_TX; i++) {
		struct fake_tx_slot *slot = &driver->slots[driver->next_slot++ % FAKE_MAX_TX];

		if (slot->used)
			continue;
		slot->used = true;
		slot->silent = false;
		slot->section = NVSP_NO_SECTION;
		slot->n_pages = 0;
		driver->n_slots++;
		return slot;
	}
	return NULL;
}

static bool take_section(struct fake_driver *driver, struct fake_tx_slot *slot)
{
	for (uint32_t i = 0; i < driver->n_send_sections; i++) {
		if (driver->send_used[i])
			continue;
		driver->send_used[i] = 1;
		slot->section = i;
		return true;
	}
	return false;
}

void fake_driver_complete(struct fake_driver *driver, uint64_t id, uint32_t status)
{
	uint64_t n = id - driver->cfg.tx_id;

	if (n >= FAKE_MAX_TX || !driver->slots[n].used || driver->slots[n].silent) {
		fake_guest_complain(driver->guest, "completion of %#llx, which was not sent",
				    (unsigned long long)id);
		return;
	}
	driver->last_status = status;
	if (status == NVSP_STATUS_SUCCESS)
		driver->n_completed++;
	else
		driver->n_failed++;
	free_slot(driver, &driver->slots[n]);
}

// The list of pages of a packet, as it stands between header and payload.
struct page_list {
	uint32_t n_ranges, bytes;
	uint8_t data[sizeof(struct vmbus_gpa_direct) +
		     VMBUS_MAX_PAGES * (sizeof(struct vmbus_gpa_range) + sizeof(le64))];
};

// One piece of the message, in pages of its own.
static int place(struct fake_driver *driver, struct fake_tx_slot *slot, struct page_list *list,
		 const uint8_t *from, const struct fake_cut *cut)
{
	struct fake_memory *memory = &driver->guest->memory;
	struct vmbus_gpa_range range = { cpu_to_le32(cut->bytes), cpu_to_le32(cut->offset) };
	uint32_t at = cut->offset, left = cut->bytes;
	uint32_t n = (at + left + VMBUS_PAGE_BYTES - 1) / VMBUS_PAGE_BYTES;

	if (slot->n_pages + n > VMBUS_MAX_PAGES)
		return -EMSGSIZE;
	memcpy(list->data + list->bytes, &range, sizeof(range));
	list->bytes += (uint32_t)sizeof(range);
	list->n_ranges++;
	for (; left > 0; at = 0) {
		uint32_t page = fake_page_get(memory), bytes = VMBUS_PAGE_BYTES - at;
		uint64_t number = page;

		if (!page)
			return -ENOSPC;
		bytes = left < bytes ? left : bytes;
		memcpy(fake_page_at(memory, page) + at, from, bytes);
		slot->pages[slot->n_pages++] = page;
		memcpy(list->data + list->bytes, &number, sizeof(number));
		list->bytes += (uint32_t)sizeof(number);
		from += bytes;
		left -= bytes;
	}
	return 0;
}

static int place_all(struct fake_driver *driver, struct fake_tx_slot *slot, struct page_list *list,
		     const struct fake_tx *how, const struct fake_raw *rest)
{
	const uint8_t *from = rest->message;
	uint32_t left = rest->bytes, i = 0;
	int ret = 0;

	list->bytes = sizeof(struct vmbus_gpa_direct);
	list->n_ranges = 0;
	while (!ret && left > 0) {
		struct fake_cut cut = { VMBUS_PAGE_BYTES, 0 };

		if (i < how->n_cuts)
			cut = how->cuts[i++];
		cut.bytes = left < cut.bytes ? left : cut.bytes;
		ret = place(driver, slot, list, from, &cut);
		from += cut.bytes;
		left -= cut.bytes;
	}
	store_u32(list->data, 0);
	store_u32(list->data + 4, list->n_ranges);
	return ret;
}

// The first part of the message into a section. Returns its bytes or -errno.
static int64_t fill_section(struct fake_driver *driver, struct fake_tx_slot *slot,
			    const struct fake_tx *how, const struct fake_raw *raw)
{
	uint32_t bytes = how->form == FAKE_PARTIAL ? how->in_section : raw->bytes;

	if (how->form == FAKE_PAGES)
		return 0;
	if (bytes > raw->bytes || bytes > driver->send_section_bytes)
		return -EMSGSIZE;
	if (!take_section(driver, slot))
		return -ENOSPC;
	memcpy(driver->send.at + (size_t)slot->section * driver->send_section_bytes, raw->message,
	       bytes);
	return bytes;
}

int fake_driver_put_raw(struct fake_driver *driver, const struct fake_tx *how,
			const struct fake_raw *raw)
{
	struct fake_tx_slot *slot = take_slot(driver);
	struct page_list list = { 0 };
	struct nvsp_rndis_packet nvsp = { .type = cpu_to_le32(NVSP_RNDIS_PACKET),
					  .channel_type = cpu_to_le32(raw->channel_type) };
	struct vmbus_packet_out packet = { .type = VMBUS_PACKET_INBAND, .payload = &nvsp,
					   .payload_bytes = sizeof(nvsp) };
	int64_t in_section;
	int ret;

	if (!slot)
		return -ENOSPC;
	in_section = fill_section(driver, slot, how, raw);
	ret = in_section < 0 ? (int)in_section : 0;
	if (!ret && in_section < raw->bytes) {
		const struct fake_raw rest = { (const uint8_t *)raw->message + in_section,
					       raw->bytes - (uint32_t)in_section, 0 };

		ret = place_all(driver, slot, &list, how, &rest);
		packet.type = VMBUS_PACKET_GPA_DIRECT;
		packet.extra = list.data;
		packet.extra_bytes = list.bytes;
	}
	nvsp.section = cpu_to_le32(slot->section);
	nvsp.section_bytes = cpu_to_le32((uint32_t)(in_section > 0 ? in_section : 0));
	packet.wants_completion = !how->silent;
	packet.transaction = driver->cfg.tx_id + (uint64_t)(slot - driver->slots);
	if (!ret)
		ret = fake_channel_put(driver->channels[how->channel], &packet);
	if (ret) {
		free_slot(driver, slot);
		return ret;
	}
	slot->silent = how->silent;
	driver->n_sent++;
	return 0;
}

int fake_driver_put(struct fake_driver *driver, const struct fake_tx *tx)
{
	static __thread uint8_t message[8 * FAKE_MAX_FRAME];
	struct fake_raw raw = { message, 0, NVSP_CHANNEL_DATA };

	for (uint32_t i = 0; i < tx->n; i++) {
		uint32_t bytes = fake_packet_build(&tx->packets[i], i + 1 == tx->n,
						   message + raw.bytes,
						   (uint32_t)sizeof(message) - raw.bytes);

		if (!bytes)
			return -EMSGSIZE;
		raw.bytes += bytes;
	}
	return fake_driver_put_raw(driver, tx, &raw);
}

void fake_driver_kick(struct fake_driver *driver)
{
	for (uint32_t i = 0; i < driver->n_channels; i++)
		fake_channel_kick(driver->channels[i]);
}

// --- room --------------------------------------------------------------------------------------

struct room_wait {
	struct fake_driver *driver;
	uint64_t n_done, n_events;
};

static bool may_have_room(void *arg)
{
	const struct room_wait *wait = arg;
	const struct fake_driver *driver = wait->driver;

	return driver->n_completed + driver->n_failed != wait->n_done ||
	       driver->channels[0]->n_events != wait->n_events || driver->cfg.polls;
}

// As Linux: the queue stops, and starts again when the host has made an eighth of the ring free.
static int wait_for_room(struct fake_driver *driver)
{
	struct fake_channel *channel = driver->channels[0];
	struct room_wait wait = { driver, driver->n_completed + driver->n_failed,
				  channel->n_events };
	int ret;

	fake_driver_kick(driver);
	vmbus_writer_arm(&channel->out, channel->out.ring.size / 8);
	ret = fake_driver_wait(driver, may_have_room, &wait);
	vmbus_writer_disarm(&channel->out);
	return ret;
}

int fake_driver_send(struct fake_driver *driver, const void *frame, uint32_t bytes)
{
	const struct fake_packet packet = { .frame = frame, .bytes = bytes };
	const struct fake_tx tx = { .form = FAKE_PAGES, .packets = &packet, .n = 1 };
	int ret = fake_driver_put(driver, &tx);

	for (uint32_t i = 0; i < driver->guest->max_rounds && ret == -ENOSPC; i++) {
		ret = wait_for_room(driver);
		ret = ret ? ret : fake_driver_put(driver, &tx);
	}
	fake_driver_kick(driver);
	return ret;
}

static bool is_flushed(void *arg)
{
	struct fake_driver *driver = arg;

	free_silent(driver);
	return !driver->n_slots;
}

int fake_driver_flush(struct fake_driver *driver)
{
	fake_driver_kick(driver);
	return fake_driver_wait(driver, is_flushed, driver);
}

// --- acknowledgements --------------------------------------------------------------------------

int fake_driver_ack_raw(struct fake_driver *driver, uint32_t channel, uint64_t id)
{
	struct nvsp_rndis_packet_complete nvsp = {
		.type = cpu_to_le32(NVSP_RNDIS_PACKET_COMPLETE),
		.status = cpu_to_le32(NVSP_STATUS_SUCCESS),
	};
	const struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_COMPLETION, .transaction = id,
		.payload = &nvsp, .payload_bytes = sizeof(nvsp),
	};

	return fake_channel_put(driver->channels[channel], &packet);
}

static bool ack(struct fake_driver *driver, const struct fake_xfer *xfer)
{
	uint32_t id = (uint32_t)xfer->id;

	if (fake_driver_ack_raw(driver, xfer->channel, xfer->id) < 0)
		return false;
	for (uint32_t section = driver->head[id] - 1;; section = driver->chain[section]) {
		driver->held[section] = 0;
		if (driver->chain[section] == section)
			break;
	}
	driver->head[id] = 0;
	return true;
}

uint32_t fake_driver_ack(struct fake_driver *driver, uint32_t n)
{
	uint32_t done = 0;

	while (done < n && done < driver->n_xfers && ack(driver, &driver->xfers[done]))
		done++;
	driver->n_xfers -= done;
	memmove(driver->xfers, driver->xfers + done, driver->n_xfers * sizeof(*driver->xfers));
	return done;
}

bool fake_driver_ack_nth(struct fake_driver *driver, uint32_t nth)
{
	if (nth >= driver->n_xfers || !ack(driver, &driver->xfers[nth]))
		return false;
	driver->n_xfers--;
	memmove(driver->xfers + nth, driver->xfers + nth + 1,
		(driver->n_xfers - nth) * sizeof(*driver->xfers));
	return true;
}
