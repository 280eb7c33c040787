// SPDX-License-Identifier: Apache-2.0
// The fake driver's way in: what the host puts into the rings, checked as the strictest driver
// known checks it, and more: what no driver looks at, but every host must keep.
#include "tests/guest/fake_driver.h"

#include <errno.h>

#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"

#define complain(driver, ...) fake_guest_complain((driver)->guest, __VA_ARGS__)

// --- completions and NVSP ----------------------------------------------------------------------

static void on_completion(struct fake_driver *driver, struct fake_channel *channel,
			  const struct vmbus_packet *packet)
{
	uint8_t payload[64] = { 0 };
	uint32_t bytes = packet->payload_bytes;

	if (bytes > sizeof(payload)) {
		complain(driver, "completion with %u bytes", bytes);
		return;
	}
	vmbus_ring_load(&channel->in.ring, packet->payload_pos, payload, bytes);
	if (packet->transaction == driver->cfg.control_id && driver->control_busy) {
		driver->control_busy = false;
		driver->got_completion = true;
		driver->completion_bytes = bytes;
		memcpy(driver->completion, payload, sizeof(payload));
	} else if (bytes < 8 || load_u32(payload) != NVSP_RNDIS_PACKET_COMPLETE) {
		complain(driver, "completion of %#llx with NVSP message %u",
			 (unsigned long long)packet->transaction, load_u32(payload));
	} else {
		fake_driver_complete(driver, packet->transaction, load_u32(payload + 4));
	}
}

static void on_table(struct fake_driver *driver, const uint8_t *message, uint32_t bytes)
{
	uint32_t n = load_u32(message + 4), at = load_u32(message + 8);

	// Up to version 6 Linux takes 40 for the offset of a message of 104 bytes or more.
	if (n != NVSP_INDIRECTION_ENTRIES || at > bytes || bytes - at < sizeof(driver->table) ||
	    bytes >= 104) {
		complain(driver, "indirection table of %u entries at %u in %u bytes", n, at, bytes);
		return;
	}
	driver->n_tables++;
	memcpy(driver->table, message + at, sizeof(driver->table));
	for (uint32_t i = 0; i < NVSP_INDIRECTION_ENTRIES; i++)
		if (driver->table[i] >= driver->n_channels)
			complain(driver, "indirection table names channel %u of %u",
				 driver->table[i], driver->n_channels);
}

static void on_inband(struct fake_driver *driver, struct fake_channel *channel,
		      const struct vmbus_packet *packet)
{
	uint8_t message[128] = { 0 };
	uint32_t bytes = packet->payload_bytes;

	if (bytes < 8 || bytes > sizeof(message) || channel != driver->channels[0]) {
		complain(driver, "NVSP message of %u bytes", bytes);
		return;
	}
	vmbus_ring_load(&channel->in.ring, packet->payload_pos, message, bytes);
	switch (load_u32(message)) {
	case NVSP_SEND_VF_ASSOCIATION:
		driver->n_vf++;
		driver->vf_allocated = load_u32(message + 4);
		driver->vf_serial = load_u32(message + 8);
		break;
	case NVSP_SEND_INDIRECTION_TABLE: on_table(driver, message, bytes); break;
	default: complain(driver, "NVSP message %u, unasked", load_u32(message));
	}
}

// --- RNDIS control -----------------------------------------------------------------------------

static void on_indication(struct fake_driver *driver, const uint8_t *message, uint32_t bytes)
{
	uint32_t value = 0, n, at;

	if (bytes < sizeof(struct rndis_indicate_status)) {
		complain(driver, "indication of %u bytes", bytes);
		return;
	}
	n = load_u32(message + 12);
	at = load_u32(message + 16);
	if (n && (at > bytes - 8 || n > bytes - 8 - at)) {
		complain(driver, "indication whose buffer is elsewhere");
		return;
	}
	if (n >= 4)
		value = load_u32(message + 8 + at);
	switch (load_u32(message + 8)) {
	case RNDIS_INDICATE_MEDIA_CONNECT: driver->n_connects++; break;
	case RNDIS_INDICATE_MEDIA_DISCONNECT: driver->n_disconnects++; break;
	case RNDIS_INDICATE_NETWORK_CHANGE: driver->n_changes++; break;
	case RNDIS_INDICATE_OFFLOAD_CONFIG: driver->n_offload_configs++; break;
	case RNDIS_INDICATE_LINK_SPEED_CHANGE:
		driver->n_speeds++;
		driver->speed = value;
		break;
	default: complain(driver, "indication %#x", load_u32(message + 8));
	}
}

static void on_control(struct fake_driver *driver, const uint8_t *message, uint32_t bytes)
{
	uint32_t type = load_u32(message), length = load_u32(message + 4);

	if (length > bytes || length < 12) {
		complain(driver, "RNDIS message %#x of %u bytes in %u", type, length, bytes);
	} else if (type == RNDIS_INDICATE_STATUS) {
		on_indication(driver, message, length);
	} else if (type != driver->answer_type || driver->got_answer ||
		   length > sizeof(driver->answer) ||
		   (type != (RNDIS_ANSWER | RNDIS_RESET) &&
		    load_u32(message + 8) != driver->request_id)) {
		complain(driver, "RNDIS message %#x, unasked", type);
	} else {
		memcpy(driver->answer, message, length);
		driver->answer_bytes = length;
		driver->got_answer = true;
	}
}

// --- frames ------------------------------------------------------------------------------------

struct piece {
	struct fake_frame frame;
	bool has_id;
	uint8_t id_flags; // enum rndis_packet_id_flag
	uint32_t id;
};

static void take_ppi(struct piece *piece, uint32_t type, const uint8_t *data)
{
	struct fake_frame *frame = &piece->frame;

	switch (type) {
	case RNDIS_PPI_CHECKSUM:
		frame->has_csum = true;
		frame->csum = load_u32(data);
		break;
	case RNDIS_PPI_VLAN:
		frame->has_vlan = true;
		frame->vlan = load_u32(data);
		break;
	case RNDIS_PPI_HASH_VALUE:
		frame->has_hash = true;
		frame->hash = load_u32(data);
		break;
	case RNDIS_PPI_HASH_INFO:
		frame->has_hash_info = true;
		frame->hash_info = load_u32(data);
		break;
	case RNDIS_PPI_PACKET_ID:
		piece->has_id = true;
		piece->id_flags = data[1];
		piece->id = load_u16(data + 2);
		break;
	default: break;
	}
}

// False: the list makes no sense.
static bool take_ppis(struct piece *piece, const uint8_t *at, uint32_t left)
{
	while (left > 0) {
		uint32_t bytes, offset;

		if (left < sizeof(struct rndis_ppi_u32))
			return false;
		bytes = load_u32(at);
		offset = load_u32(at + 8);
		if (bytes > left || bytes % 4 || offset < sizeof(struct rndis_ppi) ||
		    offset > bytes || bytes - offset < 4)
			return false;
		take_ppi(piece, load_u32(at + 4), at + offset);
		at += bytes;
		left -= bytes;
	}
	return true;
}

static void deliver(struct fake_driver *driver, const struct fake_frame *frame)
{
	driver->n_frames++;
	driver->n_bytes += frame->n_bytes;
	if (driver->cfg.receive)
		driver->cfg.receive(driver->cfg.ctx, frame);
}

// A piece of a coalesced frame.
static void on_piece(struct fake_driver *driver, const struct piece *piece)
{
	bool first = piece->id_flags & RNDIS_PACKET_ID_FIRST;

	if (first == driver->in_frame || (!first && piece->id != driver->frame_id) ||
	    (!first && driver->frame_bytes + piece->frame.n_bytes > sizeof(driver->frame))) {
		complain(driver, "piece %#x of frame %u out of place", piece->id_flags, piece->id);
		return;
	}
	if (first) {
		driver->coalesced = piece->frame;
		driver->coalesced.n_pieces = 0;
		driver->frame_id = piece->id;
		driver->frame_bytes = 0;
		driver->in_frame = true;
	}
	memcpy(driver->frame + driver->frame_bytes, piece->frame.bytes, piece->frame.n_bytes);
	driver->frame_bytes += piece->frame.n_bytes;
	driver->coalesced.n_pieces++;
	if (!(piece->id_flags & RNDIS_PACKET_ID_LAST))
		return;
	driver->in_frame = false;
	driver->coalesced.bytes = driver->frame;
	driver->coalesced.n_bytes = driver->frame_bytes;
	deliver(driver, &driver->coalesced);
}

static void on_frame(struct fake_driver *driver, uint32_t channel, const uint8_t *message,
		     uint32_t bytes)
{
	struct rndis_packet head;
	struct piece piece = { .frame = { .channel = channel, .n_pieces = 1 } };
	uint64_t data, n_data, ppi, n_ppi;

	if (bytes < sizeof(head)) {
		complain(driver, "RNDIS packet of %u bytes", bytes);
		return;
	}
	memcpy(&head, message, sizeof(head));
	data = le32_to_cpu(head.data_offset) + (uint64_t)RNDIS_OFFSET_BASE;
	n_data = le32_to_cpu(head.data_bytes);
	ppi = le32_to_cpu(head.ppi_offset) + (uint64_t)RNDIS_OFFSET_BASE;
	n_ppi = le32_to_cpu(head.ppi_bytes);
	if (le32_to_cpu(head.header.bytes) > bytes || data < sizeof(head) || !n_data ||
	    data + n_data > le32_to_cpu(head.header.bytes) ||
	    (n_ppi && (ppi < sizeof(head) || ppi + n_ppi > data)) ||
	    !take_ppis(&piece, message + ppi, (uint32_t)n_ppi)) {
		complain(driver, "RNDIS packet whose parts do not fit");
		return;
	}
	piece.frame.bytes = message + data;
	piece.frame.n_bytes = (uint32_t)n_data;
	if (piece.has_id)
		on_piece(driver, &piece);
	else if (driver->in_frame)
		complain(driver, "frame between pieces of another");
	else
		deliver(driver, &piece.frame);
}

// --- transfers ---------------------------------------------------------------------------------

// Takes the sections of a transfer from the host. False: it had given one away already.
static bool hold(struct fake_driver *driver, uint64_t id, const struct vmbus_sections *sections)
{
	uint32_t last = UINT32_MAX;

	if (id >= driver->n_sections || driver->head[id]) {
		complain(driver, "transfer %llx of %u sections, or not acknowledged yet",
			 (unsigned long long)id, driver->n_sections);
		return false;
	}
	for (uint32_t i = 0; i < sections->n; i++) {
		const struct vmbus_section *range = &sections->sections[i];
		uint32_t section = range->offset / driver->section_bytes;

		if (range->offset % driver->section_bytes + range->bytes > driver->section_bytes ||
		    section >= driver->n_sections || driver->held[section] ||
		    (i == 0 && section != id)) {
			complain(driver, "range %u + %u of transfer %u is not the host's to give",
				 range->offset, range->bytes, (uint32_t)id);
			return false;
		}
		driver->held[section] = 1;
		if (i > 0)
			driver->chain[last] = section;
		driver->chain[section] = section;
		last = section;
	}
	driver->head[id] = (uint32_t)id + 1;
	return true;
}

static void on_transfer(struct fake_driver *driver, uint32_t index,
			const struct vmbus_packet *packet)
{
	struct vmbus_ring *ring = &driver->channels[index]->in.ring;
	struct vmbus_sections sections;
	struct nvsp_rndis_packet nvsp;

	if (!driver->n_sections ||
	    vmbus_packet_sections(ring, packet, fake_buffer_bytes(&driver->receive), &sections) ||
	    sections.page_set != driver->cfg.receive_id || packet->payload_bytes < sizeof(nvsp)) {
		complain(driver, "transfer whose ranges make no sense");
		return;
	}
	vmbus_ring_load(ring, packet->payload_pos, &nvsp, sizeof(nvsp));
	if (le32_to_cpu(nvsp.type) != NVSP_RNDIS_PACKET) {
		complain(driver, "transfer with NVSP message %u", le32_to_cpu(nvsp.type));
		return;
	}
	if (!hold(driver, packet->transaction, &sections))
		return;
	driver->n_xfer++;
	for (uint32_t i = 0; i < sections.n; i++) {
		const uint8_t *message = driver->receive.at + sections.sections[i].offset;
		uint32_t bytes = sections.sections[i].bytes;

		if (bytes < sizeof(struct rndis_header))
			complain(driver, "range of %u bytes", bytes);
		else if (le32_to_cpu(nvsp.channel_type) == NVSP_CHANNEL_DATA &&
			 load_u32(message) == RNDIS_PACKET)
			on_frame(driver, index, message, bytes);
		else if (le32_to_cpu(nvsp.channel_type) == NVSP_CHANNEL_CONTROL && !index)
			on_control(driver, message, bytes);
		else
			complain(driver, "RNDIS message %u of channel type %u on channel %u",
				 load_u32(message), le32_to_cpu(nvsp.channel_type), index);
	}
	driver->xfers[driver->n_xfers++] = (struct fake_xfer){ index, packet->transaction };
}

// --- rings -------------------------------------------------------------------------------------

#define BUDGET 64 // packets between two commits, as NAPI has it

static void handle(struct fake_driver *driver, uint32_t index, const struct vmbus_packet *packet)
{
	struct fake_channel *channel = driver->channels[index];

	switch (packet->type) {
	case VMBUS_PACKET_COMPLETION: on_completion(driver, channel, packet); break;
	case VMBUS_PACKET_INBAND: on_inband(driver, channel, packet); break;
	case VMBUS_PACKET_XFER_PAGES: on_transfer(driver, index, packet); break;
	default: complain(driver, "ring packet of type %u", packet->type);
	}
}

static uint32_t drain(struct fake_driver *driver, uint32_t index)
{
	struct fake_channel *channel = driver->channels[index];
	struct vmbus_packet packet;
	uint32_t n = 0;
	int ret;

	while ((ret = vmbus_reader_next(&channel->in, &packet)) == 1) {
		handle(driver, index, &packet);
		if (++n % BUDGET == 0 && vmbus_reader_commit(&channel->in))
			fake_channel_signal(channel);
	}
	if (ret < 0)
		complain(driver, "the ring of channel %u is corrupt", index);
	if (vmbus_reader_commit(&channel->in))
		fake_channel_signal(channel);
	return n;
}

uint32_t fake_driver_poll(struct fake_driver *driver)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < driver->n_channels; i++) {
		struct fake_channel *channel = driver->channels[i];
		bool rung = fake_channel_take_event(channel);

		if (!rung && !driver->awake[i] && !driver->cfg.polls)
			continue;
		vmbus_reader_disarm(&channel->in);
		n += drain(driver, i);
		if (driver->cfg.ack == FAKE_ACK_NOW)
			fake_driver_ack(driver, driver->n_xfers);
		fake_channel_kick(channel);
		// With acknowledgements that did not fit it stays awake and tries again.
		if (!driver->cfg.polls)
			driver->awake[i] = (driver->cfg.ack == FAKE_ACK_NOW && driver->n_xfers) ||
					   !vmbus_reader_arm(&channel->in);
	}
	return n;
}

int fake_driver_wait(struct fake_driver *driver, bool (*done)(void *arg), void *arg)
{
	struct fake_guest *guest = driver->guest;

	for (uint32_t i = 0; i < guest->max_rounds; i++) {
		fake_driver_poll(driver);
		if (done(arg))
			return 0;
		if (!guest->ops->pump(guest->ctx))
			break;
	}
	fake_driver_poll(driver);
	return done(arg) ? 0 : -ETIMEDOUT;
}
