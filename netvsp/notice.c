// SPDX-License-Identifier: Apache-2.0
// What is said to a guest unasked, and when. A word is believed told when it was published; until
// then no other one is made, so that what changes meanwhile is said afterwards. control thread.
#include "netvsp/control_parts.h"

// In the order of urgency.
enum what { NOTHING, VF, LINK, SPEED, RENEW, OFFLOADS, TABLE };

uint32_t netvsp_link_speed(const struct netvsp_control *control)
{
	uint64_t speed = control->config.link_speed / 100;

	return speed < UINT32_MAX ? (uint32_t)speed : UINT32_MAX;
}

void netvsp_notice_begin(struct netvsp_control *control)
{
	control->told.link_up = true; // which guests take for granted
	control->told.speed = netvsp_link_speed(control);
	control->told.offloads = true;
	control->told.announced = true;
}

void netvsp_control_announce(struct netvsp_control *control)
{
	control->told.announced = false;
}

// --- what is to be said ------------------------------------------------------------------------

static bool can_have_vf(const struct netvsp_control *control)
{
	return control->agreed.nvsp_version >= NVSP_VERSION_4 &&
	       control->agreed.capabilities & NVSP_CAPABILITY_SRIOV;
}

// The channels over which the guest should spread what it sends; 0: it need not be told. The
// first time all that were granted must be open.
static uint64_t table_channels(const struct netvsp_control *control)
{
	uint32_t n = control->agreed.n_subchannels;
	uint64_t channels = netvsp_open_channels(control);

	if (!n || (control->told.table ? channels == control->told.table_channels :
					 channels != netvsp_channel_mask(n)))
		return 0;
	return channels;
}

static uint64_t link_due_ns(const struct netvsp_control *control)
{
	return control->last_link_ns ? control->last_link_ns + NETVSP_LINK_SPACING_NS : 0;
}

// Something about the link that guests take only now and then.
static enum what next_link(const struct netvsp_control *control)
{
	if (control->told.link_up != control->config.link_up)
		return LINK;
	return !control->told.announced && control->config.link_up ? RENEW : NOTHING;
}

static bool takes_notices(const struct netvsp_control *control)
{
	return control->agreed.phase == VMBUS_STATE_OPERATIONAL && !control->saying.what;
}

static enum what next_what(struct netvsp_control *control, uint64_t now_ns)
{
	struct netvsp_saying *saying = &control->saying;

	if (can_have_vf(control) && netvsp_vf_next_word(&control->vf, &saying->vf))
		return VF;
	saying->channels = table_channels(control);
	if (!control->agreed.receive.n_sections)
		return saying->channels ? TABLE : NOTHING;
	if (next_link(control) && now_ns >= link_due_ns(control))
		return next_link(control);
	if (control->config.link_up && control->told.speed != netvsp_link_speed(control))
		return SPEED;
	if (!control->told.offloads)
		return OFFLOADS;
	return saying->channels ? TABLE : NOTHING;
}

uint64_t netvsp_control_notice_at(const struct netvsp_control *control)
{
	if (!takes_notices(control) || !control->agreed.receive.n_sections || !next_link(control))
		return 0;
	return link_due_ns(control);
}

// --- as bytes ----------------------------------------------------------------------------------

static void put(struct netvsp_notice *out, const void *data, uint32_t bytes)
{
	memcpy(out->data + out->bytes, data, bytes);
	out->bytes += bytes;
}

static void put_indication(struct netvsp_notice *out, enum rndis_indication status,
			   const void *buffer, uint32_t bytes)
{
	struct rndis_indicate_status head = {
		.header.type = cpu_to_le32(RNDIS_INDICATE_STATUS),
		.header.bytes = cpu_to_le32((uint32_t)sizeof(head) + bytes),
		.status = cpu_to_le32(status),
		.buffer_bytes = cpu_to_le32(bytes),
		.buffer_offset = cpu_to_le32(bytes ? sizeof(head) - RNDIS_OFFSET_BASE : 0),
	};

	out->in_section = true;
	put(out, &head, sizeof(head));
	if (bytes)
		put(out, buffer, bytes);
}

static void put_offloads(struct netvsp_notice *out, const struct netvsp_control *control)
{
	struct ndis_offload offload;
	uint32_t bytes = netvsp_offloads_build(control->agreed.offloads,
					       netvsp_offloads_revision(control), &offload);

	static_assert(sizeof(struct rndis_indicate_status) + sizeof(offload) <= sizeof(out->data));
	put_indication(out, RNDIS_INDICATE_OFFLOAD_CONFIG, &offload, bytes);
}

static void put_vf(struct netvsp_notice *out, const struct netvsp_vf_word *word)
{
	uint8_t message[NVSP_MESSAGE_OLD_BYTES] = {};
	struct nvsp_vf_association vf = { cpu_to_le32(NVSP_SEND_VF_ASSOCIATION),
					  cpu_to_le32(word->allocated), cpu_to_le32(word->serial) };

	memcpy(message, &vf, sizeof(vf));
	put(out, message, sizeof(message));
}

static void put_table(struct netvsp_notice *out, uint64_t channels)
{
	struct nvsp_indirection_table table = {
		.type = cpu_to_le32(NVSP_SEND_INDIRECTION_TABLE),
		.n = cpu_to_le32(NVSP_INDIRECTION_ENTRIES),
		.offset = cpu_to_le32(offsetof(struct nvsp_indirection_table, channels)),
	};
	uint64_t left = channels;

	for (int i = 0; i < NVSP_INDIRECTION_ENTRIES; i++) {
		if (!left)
			left = channels;
		table.channels[i] = cpu_to_le32((uint32_t)__builtin_ctzll(left));
		left &= left - 1;
	}
	put(out, &table, sizeof(table));
}

bool netvsp_control_notice(struct netvsp_control *control, uint64_t now_ns,
			   struct netvsp_notice *out)
{
	struct netvsp_saying *saying = &control->saying;
	le32 speed;

	if (!takes_notices(control))
		return false;
	saying->what = next_what(control, now_ns);
	saying->link_up = control->config.link_up;
	saying->speed = netvsp_link_speed(control);
	saying->now_ns = now_ns;
	speed = cpu_to_le32(saying->speed);
	out->in_section = false;
	out->bytes = 0;
	switch ((enum what)saying->what) {
	case NOTHING: return false;
	case VF: put_vf(out, &saying->vf); break;
	case LINK:
		put_indication(out,
			       saying->link_up ? RNDIS_INDICATE_MEDIA_CONNECT :
						 RNDIS_INDICATE_MEDIA_DISCONNECT,
			       NULL, 0);
		break;
	case SPEED:
		put_indication(out, RNDIS_INDICATE_LINK_SPEED_CHANGE, &speed, sizeof(speed));
		break;
	case RENEW: put_indication(out, RNDIS_INDICATE_NETWORK_CHANGE, NULL, 0); break;
	case OFFLOADS:
		put_offloads(out, control);
		control->told.offloads = true; // a later SET makes it false again
		break;
	case TABLE: put_table(out, saying->channels); break;
	}
	return true;
}

void netvsp_control_told(struct netvsp_control *control)
{
	struct netvsp_told *told = &control->told;
	const struct netvsp_saying *saying = &control->saying;

	switch ((enum what)saying->what) {
	case NOTHING:
	case OFFLOADS: break;
	case VF: netvsp_vf_said(&control->vf, &saying->vf); break;
	case LINK:
		told->link_up = saying->link_up;
		control->last_link_ns = saying->now_ns;
		break;
	case SPEED: told->speed = saying->speed; break;
	case RENEW:
		told->announced = true;
		control->last_link_ns = saying->now_ns;
		break;
	case TABLE:
		told->table = true;
		told->table_channels = saying->channels;
		break;
	}
	control->saying.what = NOTHING;
}
