// SPDX-License-Identifier: Apache-2.0
// RNDIS control messages of the guest: [MS-RNDIS], "Control Messages". One message comes with an
// NVSP packet; its answer goes into a section of the receive buffer. control thread.
#include "netvsp/control_parts.h"

#define STATUS_AT offsetof(struct rndis_complete, status) // also in the longer answers

static_assert(offsetof(struct rndis_initialize_complete, status) == STATUS_AT);
static_assert(offsetof(struct rndis_query_complete, status) == STATUS_AT);

// A message whose header was checked: `bytes` of the request's copy.
struct message {
	const uint8_t *data;
	uint32_t bytes;
	le32 id;
};

static void put(struct netvsp_answer *answer, const void *message, uint32_t bytes)
{
	memcpy(answer->message, message, bytes);
	answer->message_bytes = bytes;
}

static struct rndis_request answer_head(const struct message *in, enum rndis_type type,
					uint32_t bytes)
{
	return (struct rndis_request){
		.header.type = cpu_to_le32(RNDIS_ANSWER | type),
		.header.bytes = cpu_to_le32(bytes),
		.id = in->id,
	};
}

static void put_status(struct netvsp_answer *answer, const struct message *in,
		       enum rndis_type type, uint32_t status)
{
	struct rndis_complete out = { .request = answer_head(in, type, sizeof(out)),
				      .status = cpu_to_le32(status) };

	put(answer, &out, sizeof(out));
}

void netvsp_rndis_fail(struct netvsp_answer *answer)
{
	if (load_u32(answer->message) != (RNDIS_ANSWER | RNDIS_RESET))
		store_u32(answer->message + STATUS_AT, RNDIS_STATUS_FAILURE);
}

// What the guest had set is gone: filter, offloads, RSS. Returns what has to be done.
static uint32_t enter(struct netvsp_agreed *agreed, enum vmbus_state_phase phase)
{
	uint32_t effects = NETVSP_SET_PATH | (agreed->rss.hash ? NETVSP_SET_RSS : 0);

	agreed->phase = phase;
	agreed->packet_filter = 0;
	agreed->offloads = netvsp_offloads_default();
	agreed->rss = (struct netvsp_rss){};
	return effects;
}

static uint32_t handle_initialize(struct netvsp_control *control, const struct message *in,
				  struct netvsp_answer *answer)
{
	struct rndis_initialize_complete out = {
		.request = answer_head(in, RNDIS_INITIALIZE, sizeof(out)),
		.status = cpu_to_le32(RNDIS_STATUS_SUCCESS),
		.major = cpu_to_le32(1),
		.device_flags = cpu_to_le32(1),
		.max_packets = cpu_to_le32(RNDIS_MAX_PACKETS),
		.max_transfer = cpu_to_le32(RNDIS_MAX_TRANSFER),
		.align_shift = cpu_to_le32(RNDIS_ALIGN_SHIFT),
	};
	struct rndis_initialize initialize;

	memcpy(&initialize, in->data, sizeof(initialize));
	if (le32_to_cpu(initialize.major) != 1) {
		control->counters.n_refused++;
		out.status = cpu_to_le32(RNDIS_STATUS_BAD_VERSION);
		put(answer, &out, sizeof(out));
		return 0;
	}
	put(answer, &out, sizeof(out));
	netvsp_notice_begin(control);
	return enter(&control->agreed, VMBUS_STATE_OPERATIONAL);
}

static uint32_t handle_halt(struct netvsp_control *control, const struct message *in,
			    struct netvsp_answer *answer)
{
	return enter(&control->agreed, VMBUS_STATE_HALTED);
}

// Finds the value of a QUERY or SET. Returns enum rndis_status.
static uint32_t find_info(const struct message *in, const struct rndis_oid_request *oid,
			  struct netvsp_info *info)
{
	uint64_t begin = (uint64_t)le32_to_cpu(oid->info_offset) + RNDIS_OFFSET_BASE;
	uint32_t bytes = le32_to_cpu(oid->info_bytes);

	*info = (struct netvsp_info){ .oid = le32_to_cpu(oid->oid) };
	if (!bytes)
		return RNDIS_STATUS_SUCCESS;
	if (begin + bytes > in->bytes)
		return RNDIS_STATUS_INVALID_LENGTH;
	if (begin < sizeof(*oid))
		return RNDIS_STATUS_INVALID_DATA;
	info->bytes = bytes;
	info->data = in->data + begin;
	return RNDIS_STATUS_SUCCESS;
}

static bool is_operational(const struct netvsp_control *control)
{
	return control->agreed.phase == VMBUS_STATE_OPERATIONAL;
}

static uint32_t handle_query(struct netvsp_control *control, const struct message *in,
			     struct netvsp_answer *answer)
{
	struct rndis_query_complete out = {};
	struct netvsp_value value = { .data = answer->message + sizeof(out) };
	struct rndis_oid_request oid;
	struct netvsp_info info;
	uint32_t status;

	memcpy(&oid, in->data, sizeof(oid));
	status = find_info(in, &oid, &info);
	if (status == RNDIS_STATUS_SUCCESS)
		status = is_operational(control) ? netvsp_oid_query(control, &info, &value) :
						   RNDIS_STATUS_FAILURE;
	if (status != RNDIS_STATUS_SUCCESS) {
		value.bytes = 0;
		control->counters.n_refused++;
	}
	out.request = answer_head(in, RNDIS_QUERY, (uint32_t)sizeof(out) + value.bytes);
	out.status = cpu_to_le32(status);
	out.info_bytes = cpu_to_le32(value.bytes);
	out.info_offset = cpu_to_le32(value.bytes ? sizeof(out) - RNDIS_OFFSET_BASE : 0);
	put(answer, &out, sizeof(out));
	answer->message_bytes += value.bytes;
	return 0;
}

static uint32_t handle_set(struct netvsp_control *control, const struct message *in,
			   struct netvsp_answer *answer)
{
	struct rndis_oid_request oid;
	struct netvsp_info info;
	uint32_t status, effects = 0;

	memcpy(&oid, in->data, sizeof(oid));
	status = find_info(in, &oid, &info);
	if (status == RNDIS_STATUS_SUCCESS)
		status = is_operational(control) ? netvsp_oid_set(control, &info, &effects) :
						   RNDIS_STATUS_FAILURE;
	if (status != RNDIS_STATUS_SUCCESS)
		control->counters.n_refused++;
	put_status(answer, in, RNDIS_SET, status);
	return effects;
}

static uint32_t handle_reset(struct netvsp_control *control, const struct message *in,
			     struct netvsp_answer *answer)
{
	struct rndis_reset_complete out = {
		.header.type = cpu_to_le32(RNDIS_ANSWER | RNDIS_RESET),
		.header.bytes = cpu_to_le32(sizeof(out)),
		.status = cpu_to_le32(RNDIS_STATUS_SUCCESS),
	};

	put(answer, &out, sizeof(out));
	return 0;
}

static uint32_t handle_keepalive(struct netvsp_control *control, const struct message *in,
				 struct netvsp_answer *answer)
{
	put_status(answer, in, RNDIS_KEEPALIVE,
		   is_operational(control) ? RNDIS_STATUS_SUCCESS : RNDIS_STATUS_FAILURE);
	return 0;
}

static const struct handler {
	uint32_t type;
	uint32_t bytes; // at least
	bool answers;   // in a section of the receive buffer
	uint32_t (*handle)(struct netvsp_control *, const struct message *, struct netvsp_answer *);
} handlers[] = {
	{ RNDIS_INITIALIZE, sizeof(struct rndis_initialize), true, handle_initialize },
	{ RNDIS_HALT, sizeof(struct rndis_request), false, handle_halt },
	{ RNDIS_QUERY, sizeof(struct rndis_oid_request), true, handle_query },
	{ RNDIS_SET, sizeof(struct rndis_oid_request), true, handle_set },
	{ RNDIS_RESET, sizeof(struct rndis_request), true, handle_reset },
	{ RNDIS_KEEPALIVE, sizeof(struct rndis_request), true, handle_keepalive },
};

static const struct handler *find_handler(uint32_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == type)
			return &handlers[i];
	return NULL;
}

// The first RNDIS message ends the time of buffers and versions: all must be there, but for the
// send buffer, without which a guest can do.
static bool begins(struct netvsp_agreed *agreed)
{
	if (agreed->phase != VMBUS_STATE_VERSION)
		return true;
	if (!agreed->ndis_version || !agreed->mtu || !agreed->receive.n_sections)
		return false;
	agreed->phase = VMBUS_STATE_RNDIS;
	return true;
}

uint32_t netvsp_rndis_handle(struct netvsp_control *control, const struct netvsp_request *request,
			     struct netvsp_answer *answer)
{
	struct message in = { .data = request->rndis };
	struct rndis_request head;
	const struct handler *handler;

	if (!begins(&control->agreed))
		return NETVSP_REFUSED;
	if (request->rndis_bytes < sizeof(head))
		return NETVSP_MALFORMED;
	memcpy(&head, request->rndis, sizeof(head));
	in.bytes = le32_to_cpu(head.header.bytes);
	in.id = head.id;
	handler = find_handler(le32_to_cpu(head.header.type));
	if (!handler) { // SET_EX, INDICATE_STATUS, frames, answers, anything
		control->counters.n_unknown++;
		return NETVSP_REFUSED;
	}
	if (in.bytes > request->rndis_bytes || in.bytes < handler->bytes)
		return NETVSP_MALFORMED;
	if (handler->answers && !control->agreed.receive.n_sections)
		return NETVSP_REFUSED;
	return handler->handle(control, &in, answer);
}
