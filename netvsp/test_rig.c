// SPDX-License-Identifier: Apache-2.0
#include "netvsp/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "netvsp/nvsp.h"

#define PAGE VMBUS_PAGE_BYTES

static uint32_t pages_of(uint32_t bytes) { return (bytes + PAGE - 1) / PAGE; }

// A GPADL of n pages from page `first` of the guest's memory on.
static void make_gpadl(struct rig *rig, struct vmbus_runs *gpadl, struct vmbus_run *runs,
		       uint32_t first, uint32_t n)
{
	*gpadl = (struct vmbus_runs){ runs, rig->cfg.scattered ? n : 1, n * PAGE };
	for (uint32_t i = 0; i < gpadl->n; i++) {
		uint32_t page = first + (rig->cfg.scattered ? n - 1 - i : 0);

		runs[i] = (struct vmbus_run){ rig->ram + page * PAGE, RIG_GPA + page * PAGE,
					      i * PAGE, rig->cfg.scattered ? PAGE : n * PAGE };
	}
}

static void make_memory(struct rig *rig)
{
	const struct guest_region low = { RIG_GPA, rig->ram_bytes, rig->ram, false };
	const uint32_t half = RIG_PAGES / 2 * PAGE;
	const struct guest_region high = { rig_page_gpa(0), half, rig->pages, false };
	const struct guest_region higher = { rig_page_gpa(0) + half, half, rig->pages + half,
					     false };

	assert_int_equal(guest_memory_add(&rig->memory, &low), 0);
	assert_int_equal(guest_memory_add(&rig->memory, &high), 0);
	assert_int_equal(guest_memory_add(&rig->memory, &higher), 0);
	rcu_set(&rig->guest.memory, &rig->memory);
}

static void make_guest(struct rig *rig)
{
	const struct rig_cfg *cfg = &rig->cfg;

	rig->pools.small = test_pool_create(cfg->n_mbufs, TEST_SMALL_ROOM);
	rig->guest.receive = (struct netvsp_area){ rig->receive, rig->section_bytes,
						   cfg->n_sections, RIG_PAGE_SET };
	if (!cfg->no_send)
		rig->guest.send = (struct netvsp_area){ rig->send, RIG_SECTION, RIG_N_SEND, 0 };
	rig->guest.pools = &rig->pools;
	rig->guest.max_frame = cfg->max_frame;
	rig->guest.receiving = rig->guest.sending = rig->guest.report_csum = true;
}

void rig_create_closed(struct rig *rig, const struct rig_cfg *cfg)
{
	uint32_t n_rings, n_receive, n_send = pages_of(RIG_N_SEND * RIG_SECTION);

	*rig = (struct rig){ .cfg = *cfg };
	cfg = &rig->cfg;
	rig->cfg.ring_pages += cfg->ring_pages ? 0 : 9;
	rig->cfg.n_sections += cfg->n_sections ? 0 : 64;
	rig->cfg.max_frame += cfg->max_frame ? 0 : 1514;
	rig->cfg.n_mbufs += cfg->n_mbufs ? 0 : 512;
	rig->section_bytes = netvsp_section_bytes(cfg->max_frame);
	n_rings = 2 * cfg->ring_pages;
	n_receive = pages_of(cfg->n_sections * rig->section_bytes);
	rig->ram_bytes = (n_rings + n_receive + n_send) * PAGE;
	rig->ram = aligned_alloc(PAGE, rig->ram_bytes);
	rig->pages = aligned_alloc(PAGE, RIG_PAGES * PAGE);
	rig->runs = calloc(n_rings + n_receive + n_send, sizeof(*rig->runs));
	rig->state = calloc(1, sizeof(*rig->state));
	assert_true(rig->ram && rig->pages && rig->runs && rig->state);
	memset(rig->ram, 0, rig->ram_bytes);
	memset(rig->pages, 0, RIG_PAGES * PAGE);
	make_gpadl(rig, &rig->rings, rig->runs, 0, n_rings);
	make_gpadl(rig, &rig->receive, rig->runs + n_rings, n_rings, n_receive);
	make_gpadl(rig, &rig->send, rig->runs + n_rings + n_receive, n_rings + n_receive, n_send);
	make_memory(rig);
	make_guest(rig);
	rig->mailbox.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig->bell = (struct vmbus_bell){ .mode = VMBUS_USER_MODE_CALL,
					 .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
}

static void make_rings(struct rig *rig, struct vmbus_ring *in, struct vmbus_ring *out)
{
	uint32_t n = rig->cfg.ring_pages;

	assert_int_equal(vmbus_ring_init(in, &rig->rings, 0, n), 0);
	assert_int_equal(vmbus_ring_init(out, &rig->rings, n, n), 0);
}

int rig_open(struct rig *rig, bool resume)
{
	struct netvsp_channel_cfg cfg = {
		.index = rig->cfg.index, .guest = &rig->guest, .resume = resume,
		.mailbox = rig->cfg.primary ? &rig->mailbox : NULL,
		.block = &rig->state->channels[rig->cfg.index], .counters = &rig->counters,
	};
	int ret;

	make_rings(rig, &cfg.in, &cfg.out);
	if (!rig->guest.sections)
		assert_int_equal(netvsp_sections_create(rig->cfg.n_sections, rig->state->sections,
							resume, &rig->guest.sections), 0);
	ret = netvsp_channel_create(&cfg, &rig->channel);
	if (ret == 0)
		netvsp_channel_set_bell(rig->channel, &rig->bell);
	return ret;
}

void rig_create(struct rig *rig, const struct rig_cfg *cfg)
{
	struct vmbus_ring in, out;

	rig_create_closed(rig, cfg);
	assert_int_equal(rig_open(rig, false), 0);
	make_rings(rig, &in, &out);
	assert_int_equal(vmbus_writer_init(&rig->tx, &in), 0);
	assert_int_equal(vmbus_reader_init(&rig->rx, &out), 0);
}

void rig_destroy(struct rig *rig)
{
	netvsp_channel_destroy(rig->channel, false);
	netvsp_sections_destroy(rig->guest.sections);
	test_pool_destroy(rig->pools.small);
	close(rig->mailbox.fd);
	close(rig->bell.fd);
	free(rig->state);
	free(rig->runs);
	free(rig->pages);
	free(rig->ram);
}

// --- the guest sends ---------------------------------------------------------------------------

static uint8_t *put_ppi(uint8_t *p, uint32_t type, uint32_t value)
{
	const struct rndis_ppi_u32 ppi = {
		{ cpu_to_le32(sizeof(ppi)), cpu_to_le32(type), cpu_to_le32(sizeof(ppi.ppi)) },
		cpu_to_le32(value),
	};

	memcpy(p, &ppi, sizeof(ppi));
	return p + sizeof(ppi);
}

uint32_t rig_rndis(uint8_t *to, const struct rig_frame *frame)
{
	struct rndis_packet packet = { .header.type = cpu_to_le32(RNDIS_PACKET) };
	uint8_t *p = to + sizeof(packet);
	uint32_t bytes;

	if (frame->hash)
		p = put_ppi(p, RNDIS_PPI_HASH_VALUE, frame->hash);
	if (frame->vlan)
		p = put_ppi(p, RNDIS_PPI_VLAN, frame->vlan);
	if (frame->csum)
		p = put_ppi(p, RNDIS_PPI_CHECKSUM, frame->csum);
	if (frame->lso)
		p = put_ppi(p, RNDIS_PPI_LSO, frame->lso);
	if (p != to + sizeof(packet)) {
		packet.ppi_offset = cpu_to_le32(sizeof(packet) - RNDIS_OFFSET_BASE);
		packet.ppi_bytes = cpu_to_le32((uint32_t)(p - to - (long)sizeof(packet)));
	}
	packet.data_offset = cpu_to_le32((uint32_t)(p - to) - RNDIS_OFFSET_BASE);
	packet.data_bytes = cpu_to_le32(frame->bytes);
	memcpy(p, frame->data, frame->bytes);
	bytes = (uint32_t)(p - to) + frame->bytes;
	if (frame->align) {
		memset(to + bytes, 0, 7);
		bytes = (bytes + 7) & ~7u;
	}
	packet.header.bytes = cpu_to_le32(bytes);
	memcpy(to, &packet, sizeof(packet));
	return bytes;
}

uint8_t *rig_send_section(struct rig *rig, uint32_t section, uint32_t at)
{
	uint32_t last = 0;
	const struct vmbus_run *run = vmbus_runs_at(&rig->send, section * RIG_SECTION + at, &last);

	return run->host + (section * RIG_SECTION + at - run->start);
}

uint64_t rig_page_gpa(uint32_t page) { return RIG_GPA + RIG_PAGES_GAP + page * PAGE; }

uint8_t *rig_page(struct rig *rig, uint32_t page) { return rig->pages + page * PAGE; }

void rig_fill_section(struct rig *rig, uint32_t section, uint32_t at, const void *from,
		      uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		*rig_send_section(rig, section, at + i) = ((const uint8_t *)from)[i];
}

void rig_put(struct rig *rig, const struct vmbus_packet_out *packet)
{
	assert_int_equal(vmbus_writer_put(&rig->tx, packet), 0);
}

// Ranges as a driver lists them: a page number for each page that is touched.
static uint32_t put_ranges(uint8_t *to, const struct vmbus_piece *pieces, uint32_t n)
{
	const struct vmbus_gpa_direct head = { .n_ranges = cpu_to_le32(n) };
	uint8_t *p = to;

	memcpy(p, &head, sizeof(head));
	p += sizeof(head);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t offset = pieces[i].gpa % PAGE, page = pieces[i].gpa / PAGE;
		const struct vmbus_gpa_range range = { cpu_to_le32(pieces[i].bytes),
						       cpu_to_le32((uint32_t)offset) };

		memcpy(p, &range, sizeof(range));
		p += sizeof(range);
		for (uint64_t end = offset + pieces[i].bytes;
		     page * PAGE < (pieces[i].gpa - offset) + end; page++, p += 8)
			memcpy(p, &page, 8);
	}
	return (uint32_t)(p - to);
}

void rig_send(struct rig *rig, uint64_t id, uint32_t section, uint32_t bytes,
	      const struct vmbus_piece *pieces, uint32_t n)
{
	static uint8_t extra[8192];
	uint8_t payload[NVSP_MESSAGE_BYTES] = {};
	const struct nvsp_rndis_packet nvsp = {
		cpu_to_le32(NVSP_RNDIS_PACKET), cpu_to_le32(NVSP_CHANNEL_DATA),
		cpu_to_le32(section), cpu_to_le32(bytes),
	};
	struct vmbus_packet_out packet = {
		.type = n ? VMBUS_PACKET_GPA_DIRECT : VMBUS_PACKET_INBAND,
		.wants_completion = true, .transaction = id, .extra = extra,
		.payload = payload, .payload_bytes = sizeof(payload),
	};

	memcpy(payload, &nvsp, sizeof(nvsp));
	if (n)
		packet.extra_bytes = put_ranges(extra, pieces, n);
	rig_put(rig, &packet);
}

void rig_ack(struct rig *rig, uint64_t id)
{
	const struct nvsp_rndis_packet_complete nvsp = {
		cpu_to_le32(NVSP_RNDIS_PACKET_COMPLETE), cpu_to_le32(NVSP_STATUS_SUCCESS),
	};
	const struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_COMPLETION, .transaction = id,
		.payload = &nvsp, .payload_bytes = sizeof(nvsp),
	};

	rig_put(rig, &packet);
}

bool rig_kick(struct rig *rig) { return vmbus_writer_commit(&rig->tx); }

// --- the guest receives ------------------------------------------------------------------------

bool rig_read(struct rig *rig, struct rig_packet *packet)
{
	struct vmbus_packet raw;
	uint32_t nvsp[4] = {};
	int ret = vmbus_reader_next(&rig->rx, &raw);

	assert_true(ret >= 0);
	if (ret == 0)
		return false;
	packet->type = raw.type;
	packet->id = raw.transaction;
	vmbus_ring_load(&rig->rx.ring, raw.payload_pos, nvsp,
			raw.payload_bytes < 16 ? raw.payload_bytes : 16);
	packet->nvsp_type = nvsp[0];
	packet->status = packet->channel_type = nvsp[1];
	if (raw.type == VMBUS_PACKET_XFER_PAGES) {
		assert_int_equal(nvsp[0], NVSP_RNDIS_PACKET);
		assert_int_equal(nvsp[2], NVSP_NO_SECTION);
		assert_true(raw.wants_completion);
		assert_int_equal(vmbus_packet_sections(&rig->rx.ring, &raw,
						       rig->cfg.n_sections * rig->section_bytes,
						       &packet->sections), 0);
		assert_int_equal(packet->sections.page_set, RIG_PAGE_SET);
		assert_true(packet->sections.n <= 375);
		// DPDK looks the packet up by this.
		assert_int_equal(packet->id * rig->section_bytes,
				 packet->sections.sections[0].offset);
	}
	vmbus_reader_commit(&rig->rx);
	return true;
}

uint32_t rig_read_section(struct rig *rig, const struct rig_packet *packet, uint32_t i,
			  uint8_t *to)
{
	const struct vmbus_section *section = &packet->sections.sections[i];
	uint32_t last = 0;

	assert_int_equal(section->offset % rig->section_bytes, 0);
	assert_true(section->bytes <= rig->section_bytes);
	for (uint32_t j = 0; j < section->bytes; j++) {
		const struct vmbus_run *run =
			vmbus_runs_at(&rig->receive, section->offset + j, &last);

		to[j] = run->host[section->offset + j - run->start];
	}
	return section->bytes;
}

static void take_ppi(struct rig_received *out, uint32_t type, uint32_t value)
{
	switch (type) {
	case RNDIS_PPI_CHECKSUM:
		out->csum = value;
		out->present |= RIG_CSUM;
		break;
	case RNDIS_PPI_VLAN:
		out->vlan = value;
		out->present |= RIG_VLAN;
		break;
	case RNDIS_PPI_HASH_VALUE:
		out->hash = value;
		out->present |= RIG_HASH;
		break;
	case RNDIS_PPI_HASH_INFO:
		out->hash_kind = value;
		out->present |= RIG_HASH_KIND;
		break;
	case RNDIS_PPI_PACKET_ID:
		out->packet_id = value;
		out->present |= RIG_PACKET_ID;
		break;
	default: fail_msg("per-packet information %#x", type);
	}
}

void rig_parse(const uint8_t *message, uint32_t bytes, struct rig_received *out)
{
	struct rndis_packet packet;
	uint32_t at, end;

	*out = (struct rig_received){ 0 };
	assert_true(bytes >= sizeof(packet));
	memcpy(&packet, message, sizeof(packet));
	assert_int_equal(le32_to_cpu(packet.header.type), RNDIS_PACKET);
	assert_int_equal(le32_to_cpu(packet.header.bytes), bytes);
	assert_int_equal(le32_to_cpu(packet.oob_offset) | le32_to_cpu(packet.oob_bytes) |
				 le32_to_cpu(packet.n_oob) | le32_to_cpu(packet.vc) |
				 le32_to_cpu(packet.reserved),
			 0);
	out->offset = le32_to_cpu(packet.data_offset) + RNDIS_OFFSET_BASE;
	out->bytes = le32_to_cpu(packet.data_bytes);
	assert_int_equal(out->offset + out->bytes, bytes);
	assert_int_equal((out->offset + 14) % 4, 0); // the IP header is aligned
	at = le32_to_cpu(packet.ppi_offset) + RNDIS_OFFSET_BASE;
	end = at + le32_to_cpu(packet.ppi_bytes);
	if (!packet.ppi_bytes)
		return;
	assert_int_equal(at, sizeof(packet));
	assert_true(end <= out->offset);
	for (; at < end; at += 16) {
		assert_int_equal(load_u32(message + at), 16);
		assert_int_equal(load_u32(message + at + 8), 12);
		take_ppi(out, load_u32(message + at + 4), load_u32(message + at + 12));
	}
	assert_int_equal(at, end);
}
