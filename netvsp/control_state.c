// SPDX-License-Identifier: Apache-2.0
// A control machine to and from the control record of the state memory: docs/vmbus-user.md, 7.3.
// What is read may be anybody's lie. control thread.
#include <errno.h>

#include "netvsp/control_parts.h"

#define TOLD_TABLE 1u // of `told`
#define LINK_UP 1u    // of `link_told`

// --- encode ------------------------------------------------------------------------------------

static struct vmbus_state_buffer encode_buffer(const struct netvsp_buffer *buffer)
{
	return (struct vmbus_state_buffer){
		cpu_to_le32(buffer->gpadl),
		cpu_to_le32(buffer->id),
		cpu_to_le32(buffer->section_bytes),
		cpu_to_le32(buffer->n_sections),
	};
}

static void encode_answer(const struct netvsp_answer *answer, struct vmbus_state_record *record)
{
	enum vmbus_state_answer kind = answer->message_bytes ? VMBUS_STATE_RNDIS_ANSWER :
				       answer->completes     ? VMBUS_STATE_COMPLETION :
							       VMBUS_STATE_NO_ANSWER;

	record->answer = cpu_to_le64(answer->serial);
	record->answer_transaction = cpu_to_le64(answer->transaction);
	record->answer_kind = cpu_to_le32(kind);
	record->answer_bytes = cpu_to_le32(answer->message_bytes ?: answer->completion_bytes);
	memcpy(record->answer_completion, answer->completion, answer->completion_bytes);
	memcpy(record->answer_message, answer->message, answer->message_bytes);
}

void netvsp_control_encode(const struct netvsp_control *control,
			   const struct netvsp_answer *answer, struct vmbus_state_record *record)
{
	const struct netvsp_agreed *agreed = &control->agreed;

	*record = (struct vmbus_state_record){
		.serial = record->serial,
		.phase = cpu_to_le32(agreed->phase),
		.nvsp_version = cpu_to_le32(agreed->nvsp_version),
		.ndis_version = cpu_to_le32(agreed->ndis_version),
		.mtu = cpu_to_le32(agreed->mtu),
		.capabilities = cpu_to_le64(agreed->capabilities),
		.receive = encode_buffer(&agreed->receive),
		.send = encode_buffer(&agreed->send),
		.packet_filter = cpu_to_le32(agreed->packet_filter),
		.n_subchannels = cpu_to_le32(agreed->n_subchannels),
		.link_told = cpu_to_le32(control->told.link_up ? LINK_UP : 0),
		.speed_told = cpu_to_le32(control->told.speed),
		.data_path = cpu_to_le32(control->vf.switched ? NVSP_PATH_VF :
								NVSP_PATH_SYNTHETIC),
		.vf_serial_told = cpu_to_le32(control->vf.told),
		.rss_hash_info = cpu_to_le32(agreed->rss.hash),
		.n_rss_entries = cpu_to_le32(agreed->rss.n_entries),
		.told = cpu_to_le32(control->told.table ? TOLD_TABLE : 0),
		.answer = cpu_to_le64(control->answer_serial),
	};
	netvsp_offloads_encode(agreed->offloads, record->offloads);
	memcpy(record->rss_key, agreed->rss.key, sizeof(record->rss_key));
	memcpy(record->rss_table, agreed->rss.table, sizeof(record->rss_table));
	memcpy(record->mac, &control->config.mac, sizeof(record->mac));
	if (answer)
		encode_answer(answer, record);
}

// --- decode ------------------------------------------------------------------------------------

static int bad(struct err *err, const char *field, uint64_t value, const char *allowed)
{
	return err_set(err, EINVAL, "control record: %s is %llu, may be %s", field,
		       (unsigned long long)value, allowed);
}

static int decode_versions(const struct vmbus_state_record *record, struct netvsp_agreed *agreed,
			   struct err *err)
{
	uint32_t phase = le32_to_cpu(record->phase);

	agreed->nvsp_version = le32_to_cpu(record->nvsp_version);
	agreed->ndis_version = le32_to_cpu(record->ndis_version);
	agreed->mtu = le32_to_cpu(record->mtu);
	agreed->capabilities = le64_to_cpu(record->capabilities);
	agreed->packet_filter = le32_to_cpu(record->packet_filter);
	if (phase > VMBUS_STATE_HALTED)
		return bad(err, "phase", phase, "0 to 4");
	agreed->phase = (enum vmbus_state_phase)phase;
	if (phase ? !netvsp_is_version(agreed->nvsp_version) : agreed->nvsp_version != 0)
		return bad(err, "NVSP version", agreed->nvsp_version, "one that was agreed on");
	if (agreed->mtu && (agreed->mtu < NETVSP_MIN_MTU || agreed->mtu > NETVSP_MAX_MTU))
		return bad(err, "MTU", agreed->mtu, "0 or 1514 to 9216");
	if (phase == VMBUS_STATE_NOTHING &&
	    (agreed->ndis_version || agreed->mtu || agreed->packet_filter))
		return bad(err, "phase", phase, "1 to 4 with what else was agreed on");
	if (phase > VMBUS_STATE_VERSION && (!agreed->ndis_version || !agreed->mtu))
		return bad(err, "phase", phase, "0 or 1 without MTU and NDIS version");
	return 0;
}

// A driver keeps the address that it was told: with another one it must be loaded anew.
static int decode_address(const struct netvsp_control *control,
			  const struct vmbus_state_record *record, enum vmbus_state_phase phase,
			  struct err *err)
{
	struct mac mac;

	memcpy(&mac, record->mac, sizeof(mac));
	if (phase < VMBUS_STATE_RNDIS || mac_is_zero(mac) ||
	    mac_to_u64(mac) == mac_to_u64(control->config.mac))
		return 0;
	return err_set(err, EINVAL, "the driver knows it by address %012llx, now it is %012llx",
		       (unsigned long long)mac_to_u64(mac),
		       (unsigned long long)mac_to_u64(control->config.mac));
}

// section_bytes: what it must be.
static int decode_buffer(const struct netvsp_control *control,
			 const struct vmbus_state_buffer *record, uint32_t section_bytes,
			 struct netvsp_buffer *buffer, struct err *err)
{
	uint64_t bytes;

	*buffer = (struct netvsp_buffer){
		le32_to_cpu(record->gpadl),
		le32_to_cpu(record->id),
		le32_to_cpu(record->section_bytes),
		le32_to_cpu(record->n_sections),
	};
	if (!buffer->n_sections) {
		*buffer = (struct netvsp_buffer){};
		return 0;
	}
	if (buffer->id > UINT16_MAX)
		return bad(err, "buffer's id", buffer->id, "0 to 65535");
	if (buffer->section_bytes != section_bytes)
		return bad(err, "section size", buffer->section_bytes, "what the MTU asks for");
	bytes = control->config.ops->gpadl_bytes(control->config.ctx, buffer->gpadl);
	if ((uint64_t)buffer->n_sections * section_bytes > bytes)
		return bad(err, "number of sections", buffer->n_sections,
			   "as many as the GPADL has room for");
	return 0;
}

static int decode_buffers(const struct netvsp_control *control,
			  const struct vmbus_state_record *record, struct netvsp_agreed *agreed,
			  struct err *err)
{
	int ret = decode_buffer(control, &record->receive, netvsp_section_bytes(agreed->mtu),
				&agreed->receive, err);

	if (ret == 0)
		ret = decode_buffer(control, &record->send, NETVSP_SEND_SECTION, &agreed->send,
				    err);
	if (ret < 0)
		return ret;
	if ((agreed->receive.n_sections && !agreed->mtu) ||
	    (agreed->send.n_sections && agreed->phase == VMBUS_STATE_NOTHING))
		return bad(err, "phase", agreed->phase, "one that has buffers");
	if (agreed->receive.n_sections && (agreed->receive.n_sections < NETVSP_MIN_SECTIONS ||
					   agreed->receive.n_sections > VMBUS_USER_MAX_SECTIONS))
		return bad(err, "number of receive sections", agreed->receive.n_sections,
			   "0 or 32 to 32767");
	return 0;
}

// Sub-channels, offloads, RSS.
static int decode_settings(const struct vmbus_state_record *record, struct netvsp_agreed *agreed,
			   struct err *err)
{
	struct netvsp_rss *rss = &agreed->rss;
	uint32_t n = le32_to_cpu(record->n_subchannels);

	agreed->n_subchannels = n;
	if (n >= VMBUS_USER_MAX_CHANNELS)
		return bad(err, "number of sub-channels", n, "0 to 63");
	if (n && (agreed->phase < VMBUS_STATE_OPERATIONAL || agreed->nvsp_version < NVSP_VERSION_5))
		return bad(err, "number of sub-channels", n, "0 for this version and phase");
	if (!netvsp_offloads_decode(record->offloads, &agreed->offloads))
		return bad(err, "offloads", record->offloads[0], "as OFFLOAD_PARAMETERS has them");
	rss->hash = le32_to_cpu(record->rss_hash_info);
	rss->n_entries = le32_to_cpu(record->n_rss_entries);
	memcpy(rss->key, record->rss_key, sizeof(rss->key));
	memcpy(rss->table, record->rss_table, sizeof(rss->table));
	if (!rss->hash)
		*rss = (struct netvsp_rss){};
	else if (agreed->phase != VMBUS_STATE_OPERATIONAL ||
		 !netvsp_rss_is_valid(rss, netvsp_channel_mask(n)))
		return bad(err, "RSS hash info", rss->hash, "0, or its table is wrong");
	return 0;
}

static int decode_told(const struct vmbus_state_record *record, struct netvsp_control *control,
		       struct err *err)
{
	struct netvsp_told *told = &control->told;
	uint32_t link = le32_to_cpu(record->link_told), bits = le32_to_cpu(record->told);
	uint32_t path = le32_to_cpu(record->data_path);

	if (link > LINK_UP)
		return bad(err, "link told", link, "0 or 1");
	if (bits > TOLD_TABLE)
		return bad(err, "told", bits, "0 or 1");
	if (path > NVSP_PATH_VF)
		return bad(err, "data path", path, "0 or 1");
	told->link_up = link;
	told->speed = le32_to_cpu(record->speed_told);
	told->table = bits & TOLD_TABLE;
	told->table_channels = netvsp_channel_mask(control->agreed.n_subchannels);
	// Nobody knows whether this was said: once more does no harm.
	told->offloads = control->agreed.offloads == netvsp_offloads_default();
	control->vf.told = le32_to_cpu(record->vf_serial_told);
	control->vf.switched = path == NVSP_PATH_VF;
	return 0;
}

static int decode_answer(const struct vmbus_state_record *record,
			 const struct netvsp_agreed *agreed, struct netvsp_answer *answer,
			 struct err *err)
{
	uint32_t kind = le32_to_cpu(record->answer_kind);
	uint32_t bytes = le32_to_cpu(record->answer_bytes);

	*answer = (struct netvsp_answer){
		.serial = le64_to_cpu(record->answer),
		.transaction = le64_to_cpu(record->answer_transaction),
	};
	memcpy(answer->completion, record->answer_completion, sizeof(answer->completion));
	switch (kind) {
	case VMBUS_STATE_NO_ANSWER: return 0;
	case VMBUS_STATE_COMPLETION:
		if (bytes > sizeof(answer->completion))
			return bad(err, "bytes of the completion", bytes, "0 to 40");
		answer->completes = true;
		answer->completion_bytes = bytes;
		return 0;
	case VMBUS_STATE_RNDIS_ANSWER:
		if (bytes < sizeof(struct rndis_header) || bytes > sizeof(answer->message) ||
		    bytes > netvsp_section_bytes(agreed->mtu))
			return bad(err, "bytes of the answer", bytes, "8 to a section's size");
		// The guest may have taken its buffer away since.
		answer->message_bytes = agreed->receive.n_sections ? bytes : 0;
		memcpy(answer->message, record->answer_message, bytes);
		// The completion beside a message is never empty.
		answer->completes = load_u32(answer->completion) != 0;
		if (answer->completes)
			answer->completion_bytes = netvsp_completion_bytes(agreed->nvsp_version);
		return 0;
	default: return bad(err, "kind of answer", kind, "0 to 2");
	}
}

int netvsp_control_decode(struct netvsp_control *control, const struct vmbus_state_record *record,
			  struct netvsp_answer *answer, struct err *err)
{
	struct netvsp_control next = *control;
	int ret = decode_versions(record, &next.agreed, err);

	if (ret == 0)
		ret = decode_address(&next, record, next.agreed.phase, err);
	if (ret == 0)
		ret = decode_buffers(&next, record, &next.agreed, err);
	if (ret == 0)
		ret = decode_settings(record, &next.agreed, err);
	if (ret == 0)
		ret = decode_told(record, &next, err);
	if (ret == 0)
		ret = decode_answer(record, &next.agreed, answer, err);
	if (ret < 0)
		return ret;
	next.answer_serial = answer->serial;
	next.before = next.agreed;
	*control = next;
	return 0;
}
