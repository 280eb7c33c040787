// SPDX-License-Identifier: Apache-2.0
#include "netvsp/test_control_rig.h"

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
}
