// SPDX-License-Identifier: Apache-2.0
#include "netvsp/test_rig.h"

<<<<<<< HEAD
struct rig rig;

static uint64_t gpadl_bytes(void *ctx, uint32_t gpadl)
{
	assert_ptr_equal(ctx, &rig);
	return gpadl == RIG_RECEIVE_GPADL ? rig.receive_bytes :
	       gpadl == RIG_SEND_GPADL	  ? rig.send_bytes :
					    0;
}

static void totals(void *ctx, struct netvsp_totals *out)
{
	assert_ptr_equal(ctx, &rig);
	*out = rig.totals;
}

static const struct netvsp_control_ops ops = { gpadl_bytes, totals };

int rig_set_up(void **state)
{
	rig = (struct rig){
		.config = {
			.ops = &ops,
			.ctx = &rig,
			.name = "web0",
			.mac = RIG_MAC,
			.link_up = true,
			.link_speed = RIG_SPEED,
			.mtu = 1514,
			.max_channels = 4,
		},
		.receive_bytes = RIG_RECEIVE_BYTES,
		.send_bytes = RIG_SEND_BYTES,
	};
	rig_open();
	return 0;
}

void rig_open(void)
{
	netvsp_control_init(&rig.control, &rig.config);
	netvsp_control_set_open(&rig.control, 1);
}

static uint32_t handle(void)
{
	uint64_t serial = rig.control.answer_serial;
	uint32_t effects;

	// What the machine does not fill must not be looked at.
	memset(&rig.answer, 0xee, sizeof(rig.answer));
	effects = netvsp_control_handle(&rig.control, &rig.request, &rig.answer);
	assert_int_equal(rig.answer.serial, serial + 1);
	assert_int_equal(rig.answer.transaction, rig.request.transaction);
	assert_true(rig.answer.completion_bytes <= sizeof(rig.answer.completion));
	assert_true(rig.answer.message_bytes <= sizeof(rig.answer.message));
	return effects;
}

static uint32_t send(const void *message, uint32_t bytes, bool wants_completion)
{
	memset(rig.request.nvsp, 0, sizeof(rig.request.nvsp));
	memcpy(rig.request.nvsp, message, bytes);
	rig.request.nvsp_bytes = NVSP_MESSAGE_BYTES;
	rig.request.wants_completion = wants_completion;
	rig.request.transaction++;
	return handle();
}

uint32_t rig_nvsp(const void *message, uint32_t bytes)
{
	rig.request.rndis_bytes = 0;
	return send(message, bytes, true);
}

uint32_t rig_nvsp_unflagged(const void *message, uint32_t bytes)
{
	uint32_t effects;

	rig.request.rndis_bytes = 0;
	effects = send(message, bytes, false);
	assert_false(rig.answer.completes);
	assert_int_equal(rig.answer.completion_bytes, 0);
	return effects;
}

uint32_t rig_rndis_any(const void *message, uint32_t bytes)
{
	struct nvsp_rndis_packet packet = { cpu_to_le32(NVSP_RNDIS_PACKET),
					    cpu_to_le32(NVSP_CHANNEL_CONTROL),
					    cpu_to_le32(NVSP_NO_SECTION), cpu_to_le32(0) };

	assert_true(bytes <= sizeof(rig.request.rndis));
	memset(rig.request.rndis, 0xee, sizeof(rig.request.rndis));
	memcpy(rig.request.rndis, message, bytes);
	rig.request.rndis_bytes = bytes;
	return send(&packet, sizeof(packet), true);
}

uint32_t rig_rndis(const void *message, uint32_t bytes)
{
	uint32_t effects = rig_rndis_any(message, bytes);

	assert_true(rig.answer.completes);
	assert_int_equal(rig_completion(0), NVSP_RNDIS_PACKET_COMPLETE);
	assert_int_equal(rig_completion(4), NVSP_STATUS_SUCCESS);
	return effects;
}

static uint32_t oid_request(enum rndis_type type, uint32_t oid, const void *info, uint32_t bytes)
{
	uint8_t message[NETVSP_MAX_MESSAGE];
	struct rndis_oid_request head = {
		.request.header.type = cpu_to_le32(type),
		.request.header.bytes = cpu_to_le32((uint32_t)sizeof(head) + bytes),
		.request.id = cpu_to_le32(++rig.request_id),
		.oid = cpu_to_le32(oid),
		.info_bytes = cpu_to_le32(bytes),
		.info_offset = cpu_to_le32(sizeof(head) - RNDIS_OFFSET_BASE),
	};

	memcpy(message, &head, sizeof(head));
	if (bytes)
		memcpy(message + sizeof(head), info, bytes);
	rig_rndis(message, (uint32_t)sizeof(head) + bytes);
	assert_int_equal(rig_message(0), RNDIS_ANSWER | type);
	assert_int_equal(rig_message(4), rig.answer.message_bytes);
	assert_int_equal(rig_message(8), rig.request_id);
	return rig_message(12);
}

uint32_t rig_query(uint32_t oid, const void *info, uint32_t bytes)
{
	uint32_t status = oid_request(RNDIS_QUERY, oid, info, bytes);

	assert_int_equal(rig.answer.message_bytes, 24 + rig_message(16));
	assert_int_equal(rig_message(20), rig_message(16) ? 16 : 0);
	if (status != RNDIS_STATUS_SUCCESS)
		assert_int_equal(rig_message(16), 0);
	return status;
}

uint32_t rig_set(uint32_t oid, const void *info, uint32_t bytes)
{
	uint32_t status = oid_request(RNDIS_SET, oid, info, bytes);

	assert_int_equal(rig.answer.message_bytes, 16);
	return status;
}

const uint8_t *rig_value(void) { return rig.answer.message + 24; }
uint32_t rig_value_bytes(void) { return rig_message(16); }

uint32_t rig_query_u32(uint32_t oid)
{
	assert_int_equal(rig_query(oid, NULL, 0), RNDIS_STATUS_SUCCESS);
	assert_int_equal(rig_value_bytes(), 4);
	return load_u32(rig_value());
}

uint32_t rig_completion(uint32_t offset)
{
	assert_true(offset + 4 <= rig.answer.completion_bytes);
	return load_u32(rig.answer.completion + offset);
}

uint32_t rig_message(uint32_t offset)
{
	assert_true(offset + 4 <= rig.answer.message_bytes);
	return load_u32(rig.answer.message + offset);
}

bool rig_was_refused(void)
{
	return rig.answer.completes && rig.answer.message_bytes == 0 &&
	       rig_completion(0) == NVSP_RNDIS_PACKET_COMPLETE &&
	       rig_completion(4) == NVSP_STATUS_FAILURE;
}

// --- handshake ---------------------------------------------------------------------------------

void rig_init(uint32_t version)
{
	struct nvsp_init init = { cpu_to_le32(NVSP_INIT), cpu_to_le32(version),
				  cpu_to_le32(version) };

	assert_int_equal(rig_nvsp(&init, sizeof(init)), NETVSP_SET_PATH);
	assert_int_equal(rig_completion(0), NVSP_INIT_COMPLETE);
	assert_int_equal(rig_completion(12), NVSP_STATUS_SUCCESS);
}

void rig_ndis(uint32_t version)
{
	struct nvsp_ndis_config config = {
		.type = cpu_to_le32(NVSP_SEND_NDIS_CONFIG),
		.mtu = cpu_to_le32(1514),
		.capabilities = cpu_to_le64(NVSP_CAPABILITY_SRIOV | NVSP_CAPABILITY_8021Q |
					    NVSP_CAPABILITY_TEAMING | NVSP_CAPABILITY_RSC),
	};
	struct nvsp_ndis_version ndis = { cpu_to_le32(NVSP_SEND_NDIS_VERSION),
					  cpu_to_le32(version >> 16),
					  cpu_to_le32(version & 0xffff) };

	if (rig.control.agreed.nvsp_version >= NVSP_VERSION_2)
		rig_nvsp_unflagged(&config, sizeof(config));
	rig_nvsp_unflagged(&ndis, sizeof(ndis));
	assert_int_equal(rig.control.agreed.mtu, 1514);
	assert_int_equal(rig.control.agreed.ndis_version, version);
}

void rig_buffers(void)
{
	struct nvsp_buffer buffer = { cpu_to_le32(NVSP_SEND_RECV_BUF),
				      cpu_to_le32(RIG_RECEIVE_GPADL), cpu_to_le16(RIG_RECEIVE_ID) };

	assert_int_equal(rig_nvsp(&buffer, sizeof(buffer)), NETVSP_SET_RECEIVE);
	assert_int_equal(rig_completion(0), NVSP_RECV_BUF_COMPLETE);
	assert_int_equal(rig_completion(4), NVSP_STATUS_SUCCESS);
	buffer = (struct nvsp_buffer){ cpu_to_le32(NVSP_SEND_SEND_BUF), cpu_to_le32(RIG_SEND_GPADL),
				       cpu_to_le16(0) };
	assert_int_equal(rig_nvsp(&buffer, sizeof(buffer)), NETVSP_SET_SEND);
	assert_int_equal(rig_completion(0), NVSP_SEND_BUF_COMPLETE);
	assert_int_equal(rig_completion(4), NVSP_STATUS_SUCCESS);
}

void rig_initialize(void)
{
	struct rndis_initialize initialize = {
		.request.header.type = cpu_to_le32(RNDIS_INITIALIZE),
		.request.header.bytes = cpu_to_le32(sizeof(initialize)),
		.request.id = cpu_to_le32(++rig.request_id),
		.major = cpu_to_le32(1),
		.max_transfer = cpu_to_le32(0x4000),
	};

	assert_true(rig_rndis(&initialize, sizeof(initialize)) & NETVSP_SET_PATH);
	assert_int_equal(rig_message(0), RNDIS_ANSWER | RNDIS_INITIALIZE);
	assert_int_equal(rig_message(8), rig.request_id);
	assert_int_equal(rig_message(12), RNDIS_STATUS_SUCCESS);
	assert_int_equal(rig.control.agreed.phase, VMBUS_STATE_OPERATIONAL);
}

void rig_handshake(uint32_t version)
{
	rig_init(version);
	rig_ndis(version >= NVSP_VERSION_5 ? NDIS_VERSION_6_30 : NDIS_VERSION_6_1);
	rig_buffers();
	rig_initialize();
}

void rig_subchannels(uint32_t n)
{
	struct nvsp_subchannel subchannel = { cpu_to_le32(NVSP_SUBCHANNEL),
					      cpu_to_le32(NVSP_SUBCHANNEL_ALLOCATE),
					      cpu_to_le32(n) };

	assert_int_equal(rig_nvsp(&subchannel, sizeof(subchannel)), NETVSP_ASK_CHANNELS);
	assert_int_equal(rig.control.n_wanted, n);
	netvsp_control_granted(&rig.control, n, &rig.answer);
	assert_int_equal(rig_completion(0), NVSP_SUBCHANNEL);
	assert_int_equal(rig_completion(4), NVSP_STATUS_SUCCESS);
	assert_int_equal(rig_completion(8), n);
	netvsp_control_set_open(&rig.control, (2ull << n) - 1);
}

uint32_t rig_set_rss(uint16_t flags, uint32_t hash, const uint32_t *table, uint32_t n)
{
	uint8_t info[sizeof(struct ndis_rss_parameters) + 4 * 512 + NDIS_RSS_KEY_BYTES];
	uint32_t key_at = (uint32_t)sizeof(struct ndis_rss_parameters) + 4 * n;
	struct ndis_rss_parameters head = {
		.object = { NDIS_OBJECT_RSS_PARAMETERS, 2, cpu_to_le16(sizeof(head)) },
		.flags = cpu_to_le16(flags),
		.hash = cpu_to_le32(hash),
		.table_bytes = cpu_to_le16((uint16_t)(4 * n)),
		.table_offset = cpu_to_le32(sizeof(head)),
		.key_bytes = cpu_to_le16(NDIS_RSS_KEY_BYTES),
		.key_offset = cpu_to_le32(key_at),
	};

	assert_true(n <= 512);
	memcpy(info, &head, sizeof(head));
	for (uint32_t i = 0; i < n; i++)
		store_u32(info + sizeof(head) + 4 * (size_t)i, table[i]);
	for (uint32_t i = 0; i < NDIS_RSS_KEY_BYTES; i++)
		info[key_at + i] = (uint8_t)(0x6d + i);
	return rig_set(NDIS_OID_GEN_RECEIVE_SCALE_PARAMETERS, info, key_at + NDIS_RSS_KEY_BYTES);
}

bool rig_notice(uint64_t now_ns)
{
	memset(&rig.notice, 0xee, sizeof(rig.notice));
	return netvsp_control_notice(&rig.control, now_ns, &rig.notice);
=======
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
	rig->bell = (struct vmbus_bell){ VMBUS_USER_MODE_CALL, NULL, 0,
					 eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
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
		for (uint64_t end = offset + pieces[i].bytes; page * PAGE < (pieces[i].gpa - offset)
				+ end; page++, p += 8)
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
			 le32_to_cpu(packet.reserved), 0);
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
>>>>>>> data
}
