// SPDX-License-Identifier: Apache-2.0
#include "netvsp/control.h"

#include "netvsp/control_parts.h"

// --- answers -----------------------------------------------------------------------------------

static void begin(struct netvsp_control *control, const struct netvsp_request *request,
		  struct netvsp_answer *answer)
{
	answer->serial = ++control->answer_serial;
	answer->transaction = request->transaction;
	answer->completes = request->wants_completion;
	answer->completion_bytes = 0;
	answer->message_bytes = 0;
	memset(answer->completion, 0, sizeof(answer->completion));
	control->counters.n_requests++;
	control->before = control->agreed;
}

uint32_t netvsp_completion_bytes(uint32_t version)
{
	return version && version < NVSP_VERSION_6_1 ? NVSP_MESSAGE_OLD_BYTES : NVSP_MESSAGE_BYTES;
}

// Without the flag nobody waits.
static void complete(const struct netvsp_control *control, struct netvsp_answer *answer,
		     const void *message, uint32_t bytes)
{
	if (!answer->completes)
		return;
	memset(answer->completion, 0, sizeof(answer->completion));
	memcpy(answer->completion, message, bytes);
	answer->completion_bytes = netvsp_completion_bytes(control->agreed.nvsp_version);
}

static void complete_init(const struct netvsp_control *control, struct netvsp_answer *answer,
			  enum nvsp_status status)
{
	struct nvsp_init_complete out = {
		.type = cpu_to_le32(NVSP_INIT_COMPLETE),
		.version = cpu_to_le32(control->agreed.nvsp_version == NVSP_VERSION_1
					       ? NVSP_VERSION_1
					       : 0xffffffff),
		.max_mdl_chain = cpu_to_le32(NVSP_MAX_MDL_CHAIN),
		.status = cpu_to_le32(status),
	};

	complete(control, answer, &out, sizeof(out));
}

static void complete_subchannel(const struct netvsp_control *control, struct netvsp_answer *answer,
				enum nvsp_status status, uint32_t n)
{
	struct nvsp_subchannel out = { cpu_to_le32(NVSP_SUBCHANNEL), cpu_to_le32(status),
				       cpu_to_le32(n) };

	complete(control, answer, &out, sizeof(out));
}

static void complete_packet(const struct netvsp_control *control, struct netvsp_answer *answer,
			    enum nvsp_status status)
{
	struct nvsp_rndis_packet_complete out = { cpu_to_le32(NVSP_RNDIS_PACKET_COMPLETE),
						  cpu_to_le32(status) };

	complete(control, answer, &out, sizeof(out));
}

// A failure in the form that the guest waits for; 108 where it waits for nothing in particular.
static void refuse(const struct netvsp_control *control, uint32_t type,
		   struct netvsp_answer *answer)
{
	struct nvsp_recv_buf_complete receive = { .type = cpu_to_le32(NVSP_RECV_BUF_COMPLETE),
						  .status = cpu_to_le32(NVSP_STATUS_FAILURE) };
	struct nvsp_send_buf_complete send = { .type = cpu_to_le32(NVSP_SEND_BUF_COMPLETE),
					       .status = cpu_to_le32(NVSP_STATUS_FAILURE) };

	switch (type) {
	case NVSP_INIT: complete_init(control, answer, NVSP_STATUS_FAILURE); break;
	case NVSP_SEND_RECV_BUF: complete(control, answer, &receive, sizeof(receive)); break;
	case NVSP_SEND_SEND_BUF: complete(control, answer, &send, sizeof(send)); break;
	case NVSP_SUBCHANNEL: complete_subchannel(control, answer, NVSP_STATUS_FAILURE, 0); break;
	case NVSP_SWITCH_DATA_PATH: break; // an empty completion, which is all there ever is
	default: complete_packet(control, answer, NVSP_STATUS_FAILURE); break;
	}
}

// --- NVSP --------------------------------------------------------------------------------------

bool netvsp_is_version(uint32_t version)
{
	static const uint32_t versions[] = { NVSP_VERSION_1, NVSP_VERSION_2, NVSP_VERSION_4,
					     NVSP_VERSION_5, NVSP_VERSION_6, NVSP_VERSION_6_1 };

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (versions[i] == version)
			return true;
	return false;
}

// The answer has no room to say which version of several was chosen, so it is the highest named
// or none.
static uint32_t handle_init(struct netvsp_control *control, const struct netvsp_request *request,
			    struct netvsp_answer *answer)
{
	uint32_t limit = control->config.max_version ?: NVSP_VERSION_6_1;
	enum nvsp_status status = NVSP_STATUS_SUCCESS;
	struct nvsp_init in;
	uint32_t version;

	memcpy(&in, request->nvsp, sizeof(in));
	version = le32_to_cpu(in.max_version);
	if (version > limit)
		status = NVSP_STATUS_TOO_NEW;
	else if (version < NVSP_VERSION_1)
		status = NVSP_STATUS_TOO_OLD;
	else if (!netvsp_is_version(version) || le32_to_cpu(in.min_version) > version)
		status = NVSP_STATUS_FAILURE;
	if (status != NVSP_STATUS_SUCCESS) {
		control->counters.n_refused++;
		complete_init(control, answer, status);
		return 0;
	}
	control->agreed.nvsp_version = version;
	control->agreed.phase = VMBUS_STATE_VERSION;
	if (version == NVSP_VERSION_1)
		control->agreed.mtu = NETVSP_MIN_MTU;
	complete_init(control, answer, NVSP_STATUS_SUCCESS);
	return 0;
}

static uint32_t handle_ndis_version(struct netvsp_control *control,
				    const struct netvsp_request *request,
				    struct netvsp_answer *answer)
{
	struct nvsp_ndis_version in;
	uint32_t major, minor;

	memcpy(&in, request->nvsp, sizeof(in));
	major = le32_to_cpu(in.major);
	minor = le32_to_cpu(in.minor);
	if (control->agreed.ndis_version || !major || major > UINT16_MAX || minor > UINT16_MAX)
		return NETVSP_REFUSED;
	control->agreed.ndis_version = NDIS_VERSION(major, minor);
	return 0;
}

static uint32_t handle_ndis_config(struct netvsp_control *control,
				   const struct netvsp_request *request,
				   struct netvsp_answer *answer)
{
	struct nvsp_ndis_config in;
	uint32_t mtu;

	if (control->agreed.mtu)
		return NETVSP_REFUSED;
	memcpy(&in, request->nvsp, sizeof(in));
	mtu = le32_to_cpu(in.mtu);
	control->agreed.mtu = mtu < NETVSP_MIN_MTU || mtu > NETVSP_MAX_MTU ? NETVSP_MIN_MTU : mtu;
	control->agreed.capabilities = le64_to_cpu(in.capabilities);
	return NETVSP_SET_PATH;
}

uint32_t netvsp_section_bytes(uint32_t mtu)
{
	// RNDIS header and per-packet information; the frame; 36 bytes that Windows' driver leaves
	// alone.
	return (256 + mtu + 36 + 63) & ~63u;
}

static uint64_t gpadl_bytes(const struct netvsp_control *control, uint32_t gpadl)
{
	return control->config.ops->gpadl_bytes(control->config.ctx, gpadl);
}

static uint32_t handle_receive(struct netvsp_control *control,
			       const struct netvsp_request *request, struct netvsp_answer *answer)
{
	struct netvsp_agreed *agreed = &control->agreed;
	uint32_t section_bytes = netvsp_section_bytes(agreed->mtu), gpadl;
	struct nvsp_recv_buf_complete out = {
		.type = cpu_to_le32(NVSP_RECV_BUF_COMPLETE),
		.status = cpu_to_le32(NVSP_STATUS_SUCCESS),
		.n_areas = cpu_to_le32(1),
		.section_bytes = cpu_to_le32(section_bytes),
	};
	struct nvsp_buffer in;
	uint64_t n;

	if (!agreed->mtu || agreed->receive.n_sections)
		return NETVSP_REFUSED;
	memcpy(&in, request->nvsp, sizeof(in));
	gpadl = le32_to_cpu(in.gpadl);
	n = gpadl_bytes(control, gpadl) / section_bytes;
	if (n < NETVSP_MIN_SECTIONS)
		return NETVSP_REFUSED;
	if (n > VMBUS_USER_MAX_SECTIONS)
		n = VMBUS_USER_MAX_SECTIONS;
	agreed->receive = (struct netvsp_buffer){ gpadl, le16_to_cpu(in.id), section_bytes,
							 (uint32_t)n };
	out.n_sections = cpu_to_le32((uint32_t)n);
	out.end = cpu_to_le32((uint32_t)n * section_bytes);
	complete(control, answer, &out, sizeof(out));
	return NETVSP_SET_RECEIVE;
}

static uint32_t handle_send(struct netvsp_control *control, const struct netvsp_request *request,
			    struct netvsp_answer *answer)
{
	struct nvsp_send_buf_complete out = { cpu_to_le32(NVSP_SEND_BUF_COMPLETE),
					      cpu_to_le32(NVSP_STATUS_SUCCESS),
					      cpu_to_le32(NETVSP_SEND_SECTION) };
	struct nvsp_buffer in;
	uint32_t gpadl;
	uint64_t n;

	if (control->agreed.send.n_sections)
		return NETVSP_REFUSED;
	memcpy(&in, request->nvsp, sizeof(in));
	gpadl = le32_to_cpu(in.gpadl);
	n = gpadl_bytes(control, gpadl) / NETVSP_SEND_SECTION;
	if (!n || n > UINT32_MAX)
		return NETVSP_REFUSED;
	control->agreed.send = (struct netvsp_buffer){ gpadl, le16_to_cpu(in.id),
						       NETVSP_SEND_SECTION, (uint32_t)n };
	complete(control, answer, &out, sizeof(out));
	return NETVSP_SET_SEND;
}

// A wrong id is not held against the guest: it is about to take the memory away.
static uint32_t handle_revoke_receive(struct netvsp_control *control,
				      const struct netvsp_request *request,
				      struct netvsp_answer *answer)
{
	if (!control->agreed.receive.n_sections)
		return 0;
	control->agreed.receive = (struct netvsp_buffer){};
	return NETVSP_SET_RECEIVE;
}

static uint32_t handle_revoke_send(struct netvsp_control *control,
				   const struct netvsp_request *request,
				   struct netvsp_answer *answer)
{
	if (!control->agreed.send.n_sections)
		return 0;
	control->agreed.send = (struct netvsp_buffer){};
	return NETVSP_SET_SEND;
}

static uint32_t handle_rndis(struct netvsp_control *control, const struct netvsp_request *request,
			     struct netvsp_answer *answer)
{
	struct nvsp_rndis_packet in;
	uint32_t effects;

	memcpy(&in, request->nvsp, sizeof(in));
	if (le32_to_cpu(in.channel_type) != NVSP_CHANNEL_CONTROL)
		return NETVSP_REFUSED;
	effects = netvsp_rndis_handle(control, request, answer);
	if (!(effects & (NETVSP_REFUSED | NETVSP_MALFORMED)))
		complete_packet(control, answer, NVSP_STATUS_SUCCESS);
	return effects;
}

static uint32_t handle_switch(struct netvsp_control *control, const struct netvsp_request *request,
			      struct netvsp_answer *answer)
{
	struct nvsp_switch_data_path in;

	memcpy(&in, request->nvsp, sizeof(in));
	return netvsp_vf_switch(&control->vf, le32_to_cpu(in.active)) ? NETVSP_SET_PATH : 0;
}

static uint32_t handle_query_ex(struct netvsp_control *control,
				const struct netvsp_request *request, struct netvsp_answer *answer)
{
	struct nvsp_oid_query_ex_complete out = {
		.type = cpu_to_le32(NVSP_OID_QUERY_EX_COMPLETE),
		.status = cpu_to_le32(RNDIS_STATUS_NOT_SUPPORTED),
	};

	control->counters.n_unknown++;
	complete(control, answer, &out, sizeof(out));
	return 0;
}

static uint32_t handle_subchannel(struct netvsp_control *control,
				  const struct netvsp_request *request,
				  struct netvsp_answer *answer)
{
	struct nvsp_subchannel in;
	uint64_t n_channels;

	memcpy(&in, request->nvsp, sizeof(in));
	n_channels = (uint64_t)le32_to_cpu(in.n) + 1;
	if (le32_to_cpu(in.op) != NVSP_SUBCHANNEL_ALLOCATE || control->agreed.n_subchannels ||
	    n_channels > control->config.max_channels ||
	    n_channels + NETVSP_RESERVED_SECTIONS > control->agreed.receive.n_sections)
		return NETVSP_REFUSED;
	if (n_channels == 1) {
		complete_subchannel(control, answer, NVSP_STATUS_SUCCESS, 0);
		return 0;
	}
	control->n_wanted = (uint32_t)n_channels - 1;
	control->awaits_channels = true;
	return NETVSP_ASK_CHANNELS;
}

#define IN(phase) (1u << VMBUS_STATE_##phase)
#define ONCE_BEGUN (IN(VERSION) | IN(RNDIS) | IN(OPERATIONAL) | IN(HALTED))

// What is taken in which phases. A halted driver may give buffers again.
static const struct handler {
	uint32_t type;
	uint32_t bytes; // at least
	uint32_t min_version;
	uint32_t phases;
	uint32_t (*handle)(struct netvsp_control *, const struct netvsp_request *,
			   struct netvsp_answer *);
} handlers[] = {
	{ NVSP_INIT, sizeof(struct nvsp_init), 0, IN(NOTHING), handle_init },
	{ NVSP_SEND_NDIS_VERSION, sizeof(struct nvsp_ndis_version), 0, IN(VERSION),
	  handle_ndis_version },
	{ NVSP_SEND_NDIS_CONFIG, sizeof(struct nvsp_ndis_config), NVSP_VERSION_2, IN(VERSION),
	  handle_ndis_config },
	{ NVSP_SEND_RECV_BUF, sizeof(struct nvsp_buffer), 0, IN(VERSION) | IN(HALTED),
	  handle_receive },
	{ NVSP_SEND_SEND_BUF, sizeof(struct nvsp_buffer), 0, IN(VERSION) | IN(HALTED),
	  handle_send },
	{ NVSP_REVOKE_RECV_BUF, sizeof(struct nvsp_revoke), 0, ONCE_BEGUN, handle_revoke_receive },
	{ NVSP_REVOKE_SEND_BUF, sizeof(struct nvsp_revoke), 0, ONCE_BEGUN, handle_revoke_send },
	{ NVSP_RNDIS_PACKET, sizeof(struct nvsp_rndis_packet), 0, ONCE_BEGUN, handle_rndis },
	{ NVSP_SWITCH_DATA_PATH, sizeof(struct nvsp_switch_data_path), 0, ONCE_BEGUN,
	  handle_switch },
	{ NVSP_OID_QUERY_EX, 4, NVSP_VERSION_5, ONCE_BEGUN, handle_query_ex },
	{ NVSP_SUBCHANNEL, sizeof(struct nvsp_subchannel), NVSP_VERSION_5, IN(OPERATIONAL),
	  handle_subchannel },
};

static const struct handler *find_handler(uint32_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == type)
			return &handlers[i];
	return NULL;
}

static uint32_t dispatch(struct netvsp_control *control, const struct netvsp_request *request,
			 struct netvsp_answer *answer)
{
	const struct handler *handler = find_handler(load_u32(request->nvsp));

	if (!handler) {
		control->counters.n_unknown++;
		complete_packet(control, answer, NVSP_STATUS_FAILURE);
		return 0;
	}
	if (request->nvsp_bytes < handler->bytes)
		return NETVSP_MALFORMED;
	if (!(handler->phases >> control->agreed.phase & 1) ||
	    control->agreed.nvsp_version < handler->min_version)
		return NETVSP_REFUSED;
	return handler->handle(control, request, answer);
}

uint32_t netvsp_control_handle(struct netvsp_control *control,
			       const struct netvsp_request *request, struct netvsp_answer *answer)
{
	uint32_t effects;

	assert(!control->awaits_channels);
	begin(control, request, answer);
	control->type = request->nvsp_bytes >= 4 ? load_u32(request->nvsp) : 0;
	effects = request->nvsp_bytes >= 4 ? dispatch(control, request, answer) : NETVSP_MALFORMED;
	if (effects & NETVSP_MALFORMED)
		control->counters.n_malformed++;
	else if (effects & NETVSP_REFUSED)
		control->counters.n_refused++;
	if (effects & (NETVSP_MALFORMED | NETVSP_REFUSED)) {
		control->agreed = control->before;
		answer->message_bytes = 0;
		refuse(control, control->type, answer);
		return 0;
	}
	if (control->agreed.phase != control->before.phase)
		effects |= NETVSP_SET_PATH;
	return effects;
}

void netvsp_control_granted(struct netvsp_control *control, uint32_t n,
			    struct netvsp_answer *answer)
{
	if (!control->awaits_channels)
		return;
	control->awaits_channels = false;
	if (n > control->n_wanted)
		n = control->n_wanted;
	control->agreed.n_subchannels = n;
	complete_subchannel(control, answer, n ? NVSP_STATUS_SUCCESS : NVSP_STATUS_FAILURE, n);
}

void netvsp_control_failed(struct netvsp_control *control, struct netvsp_answer *answer)
{
	control->awaits_channels = false;
	control->agreed = control->before;
	if (answer->message_bytes)
		netvsp_rndis_fail(answer);
	else
		refuse(control, control->type, answer);
}

// --- from outside ------------------------------------------------------------------------------

// One code point of UTF-8, or '?' for a byte that is none.
static uint32_t next_rune(const char **text)
{
	const uint8_t *p = (const uint8_t *)*text;
	uint32_t n = p[0] < 0x80 ? 0 : p[0] >> 5 == 6 ? 1 : p[0] >> 4 == 14 ? 2 : 3;
	uint32_t rune = n ? p[0] & (0x3fu >> n) : p[0];

	(*text)++;
	if (n == 3 && p[0] >> 3 != 30)
		return '?';
	for (uint32_t i = 1; i <= n; i++, (*text)++) {
		if (p[i] >> 6 != 2) {
			*text = (const char *)p + 1;
			return '?';
		}
		rune = rune << 6 | (p[i] & 0x3f);
	}
	return rune < 0x110000 ? rune : '?';
}

static void set_name(struct netvsp_control *control, const char *name)
{
	uint32_t n = 0;

	memset(control->name, 0, sizeof(control->name));
	while (*name && n + 2 < NETVSP_NAME_UNITS) {
		uint32_t rune = next_rune(&name);

		if (rune >= 0x10000) {
			control->name[n++] = (uint16_t)(0xd800 + ((rune - 0x10000) >> 10));
			rune = 0xdc00 + (rune & 0x3ff);
		}
		control->name[n++] = (uint16_t)rune;
	}
}

void netvsp_control_init(struct netvsp_control *control, const struct netvsp_config *config)
{
	assert(config->max_channels >= 1 && config->max_channels <= VMBUS_USER_MAX_CHANNELS);
	*control = (struct netvsp_control){ .config = *config };
	set_name(control, config->name);
	control->config.name = NULL;
	netvsp_control_reset(control);
}

void netvsp_control_reset(struct netvsp_control *control)
{
	control->agreed = (struct netvsp_agreed){ .offloads = netvsp_offloads_default() };
	control->before = control->agreed;
	control->open_channels = 0;
	control->awaits_channels = false;
	control->answer_serial = 0;
	control->told = (struct netvsp_told){ .offloads = true, .announced = true };
	control->last_link_ns = 0;
	control->saying = (struct netvsp_saying){};
	netvsp_vf_reset(&control->vf);
}

// Takes away the buffers of *agreed that were made of a GPADL. Returns what has to be done.
static uint32_t forget_gpadl(struct netvsp_agreed *agreed, uint32_t gpadl)
{
	uint32_t effects = 0;

	if (agreed->receive.n_sections && agreed->receive.gpadl == gpadl) {
		agreed->receive = (struct netvsp_buffer){};
		effects |= NETVSP_SET_RECEIVE;
	}
	if (agreed->send.n_sections && agreed->send.gpadl == gpadl) {
		agreed->send = (struct netvsp_buffer){};
		effects |= NETVSP_SET_SEND;
	}
	return effects;
}

uint32_t netvsp_control_forget_gpadl(struct netvsp_control *control, uint32_t gpadl)
{
	forget_gpadl(&control->before, gpadl);
	return forget_gpadl(&control->agreed, gpadl);
}

void netvsp_control_set_open(struct netvsp_control *control, uint64_t channels)
{
	control->open_channels = channels;
}

uint64_t netvsp_open_channels(const struct netvsp_control *control)
{
	return control->open_channels & netvsp_channel_mask(control->agreed.n_subchannels);
}

void netvsp_control_set_link(struct netvsp_control *control, bool up, uint64_t speed)
{
	control->config.link_up = up;
	control->config.link_speed = speed;
}

uint32_t netvsp_control_max_frame(const struct netvsp_control *control)
{
	return control->agreed.mtu < control->config.mtu ? control->agreed.mtu :
							   control->config.mtu;
}
