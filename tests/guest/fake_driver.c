// SPDX-License-Identifier: Apache-2.0
// The fake driver's control: NVSP and RNDIS, from the open channel to the first frame and back.
#include "tests/guest/fake_driver.h"

#include <errno.h>

#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"

static const uint32_t linux_versions[] = { NVSP_VERSION_6_1, NVSP_VERSION_6, NVSP_VERSION_5,
					   NVSP_VERSION_4,   NVSP_VERSION_2, NVSP_VERSION_1 };

void fake_driver_init(struct fake_driver *driver, struct fake_guest *guest, uint32_t nic,
		      const struct fake_driver_cfg *cfg)
{
	memset(driver, 0, sizeof(*driver));
	driver->guest = guest;
	driver->nic = nic;
	if (cfg)
		driver->cfg = *cfg;
	if (!driver->cfg.versions) {
		driver->cfg.versions = linux_versions;
		driver->cfg.n_versions = ARRAY_SIZE(linux_versions);
	}
	if (!driver->cfg.mtu)
		driver->cfg.mtu = 1514;
	if (!driver->cfg.capabilities)
		driver->cfg.capabilities = NVSP_CAPABILITY_8021Q;
	if (!driver->cfg.receive_pages)
		driver->cfg.receive_pages = 256;
	if (!driver->cfg.send_pages)
		driver->cfg.send_pages = 64;
	if (!driver->cfg.receive_id)
		driver->cfg.receive_id = 0xcafe;
	if (driver->cfg.tx_id == driver->cfg.control_id)
		driver->cfg.tx_id++;
	driver->control_page = fake_page_get(&guest->memory);
}

// What a life of channel 0 leaves behind.
static void forget(struct fake_driver *driver)
{
	struct fake_memory *memory = &driver->guest->memory;

	for (uint32_t i = 0; i < FAKE_MAX_TX; i++) {
		struct fake_tx_slot *slot = &driver->slots[i];

		for (uint32_t p = 0; slot->used && p < slot->n_pages; p++)
			fake_page_put(memory, slot->pages[p]);
		slot->used = false;
	}
	fake_buffer_fini(&driver->receive, memory);
	fake_buffer_fini(&driver->send, memory);
	memset(driver->send_used, 0, sizeof(driver->send_used));
	memset(driver->held, 0, sizeof(driver->held));
	memset(driver->head, 0, sizeof(driver->head));
	driver->n_slots = driver->n_xfers = driver->n_channels = 0;
	driver->n_sections = driver->n_send_sections = 0;
	driver->nvsp_version = 0;
	driver->control_busy = driver->in_frame = false;
}

void fake_driver_fini(struct fake_driver *driver)
{
	forget(driver);
	if (driver->control_page)
		fake_page_put(&driver->guest->memory, driver->control_page);
	driver->control_page = 0;
}

// --- one request -------------------------------------------------------------------------------

// Its completion says that a message was refused: no answer follows.
static bool is_refused(const struct fake_driver *driver)
{
	return load_u32(driver->completion) != NVSP_RNDIS_PACKET_COMPLETE ||
	       load_u32(driver->completion + 4) != NVSP_STATUS_SUCCESS;
}

static bool is_answered(void *arg)
{
	const struct fake_driver *driver = arg;

	return driver->got_completion &&
	       (!driver->answer_type || driver->got_answer || is_refused(driver));
}

static bool has_room(void *arg)
{
	struct fake_driver *driver = arg;

	return vmbus_writer_room(&driver->channels[0]->out) >= 4096;
}

static int send_control(struct fake_driver *driver, const struct vmbus_packet_out *packet)
{
	int ret = fake_channel_put(driver->channels[0], packet);

	if (ret == -ENOSPC) {
		ret = fake_driver_wait(driver, has_room, driver);
		ret = ret ? ret : fake_channel_put(driver->channels[0], packet);
	}
	if (ret)
		return ret;
	driver->control_busy = packet->wants_completion;
	driver->got_completion = driver->got_answer = false;
	fake_channel_kick(driver->channels[0]);
	return packet->wants_completion ? fake_driver_wait(driver, is_answered, driver) : 0;
}

int fake_driver_nvsp(struct fake_driver *driver, const void *message, uint32_t bytes, bool wants)
{
	uint8_t payload[NVSP_MESSAGE_BYTES] = { 0 };
	const struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_INBAND, .wants_completion = wants,
		.transaction = driver->cfg.control_id,
		.payload = payload, .payload_bytes = sizeof(payload),
	};

	// Guests send the whole union, whatever the version.
	memcpy(payload, message, bytes);
	driver->answer_type = 0;
	return send_control(driver, &packet);
}

int fake_driver_rndis(struct fake_driver *driver, const void *message, uint32_t bytes,
		      uint32_t answer_type)
{
	const struct nvsp_rndis_packet nvsp = {
		.type = cpu_to_le32(NVSP_RNDIS_PACKET),
		.channel_type = cpu_to_le32(NVSP_CHANNEL_CONTROL),
		.section = cpu_to_le32(NVSP_NO_SECTION),
	};
	const struct {
		struct vmbus_gpa_direct head;
		struct vmbus_gpa_range range;
		uint64_t page;
	} extra = { { 0, cpu_to_le32(1) }, { cpu_to_le32(bytes), 0 }, driver->control_page };
	const struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_GPA_DIRECT, .wants_completion = true,
		.transaction = driver->cfg.control_id, .extra = &extra,
		.payload = &nvsp, .extra_bytes = sizeof(extra), .payload_bytes = sizeof(nvsp),
	};
	uint8_t *page = fake_page_at(&driver->guest->memory, driver->control_page);
	int ret;

	memcpy(page, message, bytes);
	if (bytes >= sizeof(struct rndis_request) && load_u32(message) != RNDIS_RESET)
		store_u32(page + offsetof(struct rndis_request, id), ++driver->request_id);
	driver->answer_type = answer_type;
	ret = send_control(driver, &packet);
	driver->answer_type = 0;
	return ret ? ret : is_refused(driver) ? -EREMOTEIO : 0;
}

static struct rndis_oid_request oid_request(uint32_t type, uint32_t oid, uint32_t bytes)
{
	return (struct rndis_oid_request){
		.request.header = { cpu_to_le32(type),
				    cpu_to_le32(sizeof(struct rndis_oid_request) + bytes) },
		.oid = cpu_to_le32(oid),
		.info_bytes = cpu_to_le32(bytes),
		.info_offset = cpu_to_le32(sizeof(struct rndis_oid_request) - RNDIS_OFFSET_BASE),
	};
}

int fake_driver_query(struct fake_driver *driver, uint32_t oid, void *value, uint32_t *bytes,
		      uint32_t *status)
{
	struct rndis_oid_request request = oid_request(RNDIS_QUERY, oid, 0);
	struct rndis_query_complete answer;
	uint32_t at, n;
	int ret = fake_driver_rndis(driver, &request, sizeof(request), RNDIS_ANSWER | RNDIS_QUERY);

	*status = UINT32_MAX;
	if (ret)
		return ret;
	memcpy(&answer, driver->answer, sizeof(answer));
	*status = le32_to_cpu(answer.status);
	if (*status)
		return -EREMOTEIO;
	at = le32_to_cpu(answer.info_offset) + RNDIS_OFFSET_BASE;
	n = le32_to_cpu(answer.info_bytes);
	if (driver->answer_bytes < sizeof(answer) || at > driver->answer_bytes ||
	    n > driver->answer_bytes - at) {
		fake_guest_complain(driver->guest, "value of OID %#x is not in the answer", oid);
		return -EREMOTEIO;
	}
	n = n < *bytes ? n : *bytes;
	memcpy(value, driver->answer + at, n);
	*bytes = n;
	return 0;
}

int fake_driver_set(struct fake_driver *driver, uint32_t oid, const void *value, uint32_t bytes,
		    uint32_t *status)
{
	struct {
		struct rndis_oid_request head;
		uint8_t value[VMBUS_PAGE_BYTES - sizeof(struct rndis_oid_request)];
	} request = { .head = oid_request(RNDIS_SET, oid, bytes) };
	int ret;

	if (bytes > sizeof(request.value))
		return -EMSGSIZE;
	memcpy(request.value, value, bytes);
	ret = fake_driver_rndis(driver, &request, (uint32_t)sizeof(request.head) + bytes,
				RNDIS_ANSWER | RNDIS_SET);
	*status = ret ? UINT32_MAX : load_u32(driver->answer + 12);
	return ret ? ret : *status ? -EREMOTEIO : 0;
}

int fake_driver_keepalive(struct fake_driver *driver)
{
	const struct rndis_request request = { .header = { cpu_to_le32(RNDIS_KEEPALIVE),
							   cpu_to_le32(sizeof(request)) } };
	int ret = fake_driver_rndis(driver, &request, sizeof(request),
				    RNDIS_ANSWER | RNDIS_KEEPALIVE);

	return ret ? ret : load_u32(driver->answer + 12) ? -EREMOTEIO : 0;
}

// --- bring-up ----------------------------------------------------------------------------------

int fake_driver_open_channel(struct fake_driver *driver, uint32_t index)
{
	struct fake_channel *channel =
		fake_guest_nic(driver->guest, driver->nic, (uint16_t)index);
	struct fake_open_cfg rings = driver->cfg.rings;
	int ret;

	if (!channel)
		return -ENODEV;
	if (rings.vp != VMBUS_NO_INTERRUPT)
		rings.vp = (rings.vp + index) % driver->guest->n_vps;
	ret = fake_channel_open(channel, &rings);
	if (ret)
		return ret;
	driver->channels[index] = channel;
	driver->awake[index] = true; // until it has looked once
	driver->n_channels = index + 1;
	return 0;
}

int fake_driver_open(struct fake_driver *driver)
{
	return fake_driver_open_channel(driver, 0);
}

int fake_driver_try_version(struct fake_driver *driver, uint32_t version)
{
	const struct nvsp_init init = { cpu_to_le32(NVSP_INIT), cpu_to_le32(version),
					cpu_to_le32(version) };
	int ret = fake_driver_nvsp(driver, &init, sizeof(init), true);

	if (ret)
		return ret;
	if (driver->completion_bytes < 28 || load_u32(driver->completion) != NVSP_INIT_COMPLETE) {
		fake_guest_complain(driver->guest, "INIT is answered by %u in %u bytes",
				    load_u32(driver->completion), driver->completion_bytes);
		return -EPROTONOSUPPORT;
	}
	if (load_u32(driver->completion + 12) != NVSP_STATUS_SUCCESS)
		return -EPROTONOSUPPORT;
	driver->nvsp_version = version;
	return 0;
}

int fake_driver_negotiate(struct fake_driver *driver)
{
	int ret = -EPROTONOSUPPORT;

	for (uint32_t i = 0; i < driver->cfg.n_versions && ret == -EPROTONOSUPPORT; i++)
		ret = fake_driver_try_version(driver, driver->cfg.versions[i]);
	return ret;
}

int fake_driver_configure(struct fake_driver *driver)
{
	const struct nvsp_ndis_config config = {
		.type = cpu_to_le32(NVSP_SEND_NDIS_CONFIG),
		.mtu = cpu_to_le32(driver->cfg.mtu),
		.capabilities = cpu_to_le64(driver->cfg.capabilities),
	};
	const struct nvsp_ndis_version version = {
		cpu_to_le32(NVSP_SEND_NDIS_VERSION), cpu_to_le32(6),
		cpu_to_le32(driver->nvsp_version <= NVSP_VERSION_4 ? 1 : 30),
	};
	int ret = 0;

	if (driver->nvsp_version >= NVSP_VERSION_2)
		ret = fake_driver_nvsp(driver, &config, sizeof(config), false);
	return ret ? ret : fake_driver_nvsp(driver, &version, sizeof(version), false);
}

static int share_receive(struct fake_driver *driver)
{
	struct nvsp_buffer message = { .type = cpu_to_le32(NVSP_SEND_RECV_BUF),
				       .id = cpu_to_le16(driver->cfg.receive_id) };
	struct nvsp_recv_buf_complete answer;
	int ret = fake_gpadl_create(driver->guest, driver->channels[0]->relid, &driver->receive,
				    &driver->receive_gpadl);

	message.gpadl = cpu_to_le32(driver->receive_gpadl);
	if (!ret)
		ret = fake_driver_nvsp(driver, &message, sizeof(message), true);
	if (ret)
		return ret;
	memcpy(&answer, driver->completion, sizeof(answer));
	if (driver->completion_bytes < sizeof(answer) ||
	    le32_to_cpu(answer.type) != NVSP_RECV_BUF_COMPLETE ||
	    le32_to_cpu(answer.status) != NVSP_STATUS_SUCCESS)
		return -EREMOTEIO;
	driver->section_bytes = le32_to_cpu(answer.section_bytes);
	driver->n_sections = le32_to_cpu(answer.n_sections);
	if (le32_to_cpu(answer.n_areas) != 1 || answer.offset || driver->section_bytes < 68 ||
	    driver->section_bytes % 4 || !driver->n_sections ||
	    driver->n_sections > FAKE_MAX_SECTIONS ||
	    (uint64_t)driver->section_bytes * driver->n_sections >
		    fake_buffer_bytes(&driver->receive)) {
		fake_guest_complain(driver->guest, "%u receive sections of %u bytes",
				    driver->n_sections, driver->section_bytes);
		return -EREMOTEIO;
	}
	return 0;
}

static int share_send(struct fake_driver *driver)
{
	struct nvsp_buffer message = { .type = cpu_to_le32(NVSP_SEND_SEND_BUF),
				       .id = cpu_to_le16(driver->cfg.send_id) };
	struct nvsp_send_buf_complete answer;
	int ret = fake_gpadl_create(driver->guest, driver->channels[0]->relid, &driver->send,
				    &driver->send_gpadl);

	message.gpadl = cpu_to_le32(driver->send_gpadl);
	if (!ret)
		ret = fake_driver_nvsp(driver, &message, sizeof(message), true);
	if (ret)
		return ret;
	memcpy(&answer, driver->completion, sizeof(answer));
	if (driver->completion_bytes < sizeof(answer) ||
	    le32_to_cpu(answer.type) != NVSP_SEND_BUF_COMPLETE ||
	    le32_to_cpu(answer.status) != NVSP_STATUS_SUCCESS)
		return -EREMOTEIO;
	driver->send_section_bytes = le32_to_cpu(answer.section_bytes);
	if (driver->send_section_bytes < 64 ||
	    driver->send_section_bytes > fake_buffer_bytes(&driver->send)) {
		fake_guest_complain(driver->guest, "send sections of %u bytes",
				    driver->send_section_bytes);
		return -EREMOTEIO;
	}
	driver->n_send_sections = fake_buffer_bytes(&driver->send) / driver->send_section_bytes;
	return 0;
}

int fake_driver_share_buffers(struct fake_driver *driver)
{
	struct fake_memory *memory = &driver->guest->memory;
	int ret = fake_buffer_init(&driver->receive, memory, driver->cfg.receive_pages);

	if (!ret)
		ret = share_receive(driver);
	if (ret || driver->cfg.no_send_buffer)
		return ret;
	ret = fake_buffer_init(&driver->send, memory, driver->cfg.send_pages);
	return ret ? ret : share_send(driver);
}

int fake_driver_initialize(struct fake_driver *driver)
{
	const struct rndis_initialize request = {
		.request.header = { cpu_to_le32(RNDIS_INITIALIZE), cpu_to_le32(sizeof(request)) },
		.major = cpu_to_le32(1), .max_transfer = cpu_to_le32(0x4000),
	};
	struct rndis_initialize_complete answer;
	int ret = fake_driver_rndis(driver, &request, sizeof(request),
				    RNDIS_ANSWER | RNDIS_INITIALIZE);

	if (ret)
		return ret;
	memcpy(&answer, driver->answer, sizeof(answer));
	if (driver->answer_bytes < sizeof(answer) || answer.status)
		return -EREMOTEIO;
	driver->max_packets = le32_to_cpu(answer.max_packets);
	driver->max_transfer = le32_to_cpu(answer.max_transfer);
	driver->align_shift = le32_to_cpu(answer.align_shift);
	return 0;
}

int fake_driver_set_filter(struct fake_driver *driver, uint32_t filter)
{
	uint32_t status;

	return fake_driver_set(driver, NDIS_OID_GEN_CURRENT_PACKET_FILTER, &filter, sizeof(filter),
			       &status);
}

#define LINUX_FILTER (NDIS_FILTER_DIRECTED | NDIS_FILTER_ALL_MULTICAST | NDIS_FILTER_BROADCAST)

int fake_driver_start(struct fake_driver *driver)
{
	int ret = fake_driver_open(driver);

	ret = ret ? ret : fake_driver_negotiate(driver);
	ret = ret ? ret : fake_driver_configure(driver);
	ret = ret ? ret : fake_driver_share_buffers(driver);
	ret = ret ? ret : fake_driver_initialize(driver);
	ret = ret ? ret : fake_driver_query_all(driver);
	if (!ret && driver->cfg.n_subchannels) {
		ret = fake_driver_add_subchannels(driver, driver->cfg.n_subchannels);
		ret = ret < 0 ? ret : 0;
	}
	return ret ? ret : fake_driver_set_filter(driver, LINUX_FILTER);
}

// --- and back ----------------------------------------------------------------------------------

int fake_driver_halt(struct fake_driver *driver)
{
	const struct rndis_request request = { .header = { cpu_to_le32(RNDIS_HALT),
							   cpu_to_le32(sizeof(request)) } };

	return fake_driver_rndis(driver, &request, sizeof(request), 0);
}

int fake_driver_revoke(struct fake_driver *driver)
{
	struct nvsp_revoke message = { .type = cpu_to_le32(NVSP_REVOKE_RECV_BUF),
				       .id = cpu_to_le16(driver->cfg.receive_id) };
	int ret = 0;

	if (driver->n_sections)
		ret = fake_driver_nvsp(driver, &message, sizeof(message), false);
	message.type = cpu_to_le32(NVSP_REVOKE_SEND_BUF);
	message.id = cpu_to_le16(driver->cfg.send_id);
	if (!ret && driver->n_send_sections)
		ret = fake_driver_nvsp(driver, &message, sizeof(message), false);
	return ret;
}

static struct fake_channel *find_subchannel(struct fake_driver *driver,
					    const struct fake_channel *primary)
{
	for (uint32_t i = 0; i < FAKE_MAX_RELID; i++) {
		struct fake_channel *channel = driver->guest->channels[i];

		if (channel && channel->subchannel &&
		    !memcmp(channel->instance, primary->instance, 16))
			return channel;
	}
	return NULL;
}

static bool is_rescinded(void *arg)
{
	const struct fake_channel *channel = arg;

	return channel->rescinded;
}

// With the primary its sub-channels go: the host rescinds them.
static int release_subchannels(struct fake_driver *driver, const struct fake_channel *primary)
{
	struct fake_channel *channel;
	int ret = 0;

	while (!ret && (channel = find_subchannel(driver, primary)) != NULL) {
		ret = fake_guest_wait(driver->guest, is_rescinded, channel);
		ret = ret ? ret : fake_channel_release(channel);
	}
	return ret;
}

int fake_driver_close(struct fake_driver *driver)
{
	const struct fake_channel *primary = driver->channels[0];
	bool any = driver->n_channels > 0;
	int ret = 0;

	while (driver->n_channels > 0) {
		int closed = fake_channel_close(driver->channels[--driver->n_channels]);

		ret = ret ? ret : closed;
	}
	return ret || !any ? ret : release_subchannels(driver, primary);
}

int fake_driver_unshare(struct fake_driver *driver)
{
	int ret = 0, send = 0;

	if (driver->receive.n_pages && fake_gpadl_find(driver->guest, driver->receive_gpadl))
		ret = fake_gpadl_teardown(driver->guest, driver->receive_gpadl);
	if (driver->send.n_pages && fake_gpadl_find(driver->guest, driver->send_gpadl))
		send = fake_gpadl_teardown(driver->guest, driver->send_gpadl);
	return ret ? ret : send;
}

int fake_driver_stop(struct fake_driver *driver)
{
	bool early = driver->guest->version < VMBUS_VERSION_WIN10; // GPADLs go before the channel
	int ret = fake_driver_set_filter(driver, 0);

	ret = ret ? ret : fake_driver_flush(driver);
	ret = ret ? ret : fake_driver_halt(driver);
	ret = ret ? ret : fake_driver_revoke(driver);
	if (!ret && early)
		ret = fake_driver_unshare(driver);
	ret = ret ? ret : fake_driver_close(driver);
	if (!ret && !early)
		ret = fake_driver_unshare(driver);
	forget(driver);
	return ret;
}

int fake_driver_leave(struct fake_driver *driver)
{
	struct fake_channel *primary = driver->channels[0];
	int ret = fake_driver_close(driver);

	ret = ret ? ret : fake_driver_unshare(driver);
	ret = ret ? ret : fake_channel_release(primary);
	forget(driver);
	return ret;
}
