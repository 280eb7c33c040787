// SPDX-License-Identifier: Apache-2.0
// Values of NDIS objects that guests query and set: ndis.h has the list, docs/netvsp.md what is
// answered. control thread.
#include "netvsp/control_parts.h"

#define BUFFER_SPACE 262144
#define VENDOR_ID 0x155d
#define VENDOR_DESCRIPTION "Weft synthetic NIC"
#define DRIVER_VERSION 0x0100
#define HEADER_BYTES 14 // Ethernet's

static const struct oid {
	uint32_t number;
	enum ndis_access access;
	uint32_t min_version;
} oids[] = {
#define OID_ROW(name, number, access, version) { number, NDIS_##access, version },
	NDIS_OIDS(OID_ROW)
#undef OID_ROW
};

static_assert(sizeof(struct rndis_query_complete) + ARRAY_SIZE(oids) * 4 < NETVSP_MAX_MESSAGE);

// Whether the guest may do this to that object. Returns enum rndis_status.
static uint32_t admit(struct netvsp_control *control, uint32_t number, enum ndis_access access)
{
	for (size_t i = 0; i < ARRAY_SIZE(oids); i++)
		if (oids[i].number == number && oids[i].access & access)
			return control->agreed.ndis_version >= oids[i].min_version ?
				       RNDIS_STATUS_SUCCESS :
				       RNDIS_STATUS_BAD_VERSION;
	control->counters.n_unknown++;
	return RNDIS_STATUS_NOT_SUPPORTED;
}

static void put(struct netvsp_value *value, const void *data, uint32_t bytes)
{
	memcpy(value->data, data, bytes);
	value->bytes = bytes;
}

// --- numbers -----------------------------------------------------------------------------------

// The guest has asked, and so it knows.
static uint32_t tell_link(struct netvsp_control *control)
{
	control->told.link_up = control->config.link_up;
	return control->config.link_up ? NDIS_MEDIA_CONNECTED : NDIS_MEDIA_DISCONNECTED;
}

static uint32_t tell_speed(struct netvsp_control *control)
{
	control->told.speed = netvsp_link_speed(control);
	return control->told.speed;
}

// Returns false if the object's value is not a number.
static bool get_u32(struct netvsp_control *control, uint32_t number, uint32_t *out)
{
	switch (number) {
	case NDIS_OID_GEN_HARDWARE_STATUS: // ready
	case NDIS_OID_GEN_MEDIA_SUPPORTED: // 802.3
	case NDIS_OID_GEN_MEDIA_IN_USE:
	case NDIS_OID_802_3_MAXIMUM_LIST_SIZE:
	case NDIS_OID_802_3_RCV_ERROR_ALIGNMENT:
	case NDIS_OID_802_3_XMIT_ONE_COLLISION:
	case NDIS_OID_802_3_XMIT_MORE_COLLISIONS: *out = 0; return true;
	case NDIS_OID_GEN_MAXIMUM_LOOKAHEAD:
	case NDIS_OID_GEN_CURRENT_LOOKAHEAD:
	case NDIS_OID_GEN_MAXIMUM_FRAME_SIZE:
		*out = netvsp_control_max_frame(control) - HEADER_BYTES;
		return true;
	case NDIS_OID_GEN_TRANSMIT_BLOCK_SIZE:
	case NDIS_OID_GEN_RECEIVE_BLOCK_SIZE:
	case NDIS_OID_GEN_MAXIMUM_TOTAL_SIZE: *out = netvsp_control_max_frame(control); return true;
	case NDIS_OID_GEN_TRANSMIT_BUFFER_SPACE:
	case NDIS_OID_GEN_RECEIVE_BUFFER_SPACE: *out = BUFFER_SPACE; return true;
	case NDIS_OID_GEN_LINK_SPEED: *out = tell_speed(control); return true;
	case NDIS_OID_GEN_VENDOR_ID: *out = VENDOR_ID; return true;
	case NDIS_OID_GEN_CURRENT_PACKET_FILTER: *out = control->agreed.packet_filter; return true;
	case NDIS_OID_GEN_MAC_OPTIONS:
		*out = NDIS_MAC_COPY_LOOKAHEAD | NDIS_MAC_TRANSFERS_NOT_PEND |
		       NDIS_MAC_NO_LOOPBACK | NDIS_MAC_8021P | NDIS_MAC_8021Q;
		return true;
	case NDIS_OID_GEN_MEDIA_CONNECT_STATUS: *out = tell_link(control); return true;
	case NDIS_OID_GEN_MAXIMUM_SEND_PACKETS: *out = UINT32_MAX; return true;
	default: return false;
	}
}

static uint64_t n_frames(const struct netvsp_totals_way *way)
{
	return way->n_unicast + way->n_multicast + way->n_broadcast;
}

static uint64_t n_bytes(const struct netvsp_totals_way *way)
{
	return way->unicast_bytes + way->multicast_bytes + way->broadcast_bytes;
}

// Returns false if the object is not a statistic.
static bool get_statistic(const struct netvsp_totals *totals, uint32_t number, uint64_t *out)
{
	const struct netvsp_totals_way *in = &totals->in, *sent = &totals->out;

	switch (number) {
	case NDIS_OID_GEN_XMIT_OK: *out = n_frames(sent); return true;
	case NDIS_OID_GEN_RCV_OK: *out = n_frames(in); return true;
	case NDIS_OID_GEN_XMIT_ERROR: *out = sent->n_errors; return true;
	case NDIS_OID_GEN_RCV_ERROR: *out = in->n_errors; return true;
	case NDIS_OID_GEN_RCV_NO_BUFFER:
	case NDIS_OID_GEN_RCV_DISCARDS: *out = in->n_discards; return true;
	case NDIS_OID_GEN_XMIT_DISCARDS: *out = sent->n_discards; return true;
	case NDIS_OID_GEN_DIRECTED_BYTES_XMIT: *out = sent->unicast_bytes; return true;
	case NDIS_OID_GEN_DIRECTED_FRAMES_XMIT: *out = sent->n_unicast; return true;
	case NDIS_OID_GEN_MULTICAST_BYTES_XMIT: *out = sent->multicast_bytes; return true;
	case NDIS_OID_GEN_MULTICAST_FRAMES_XMIT: *out = sent->n_multicast; return true;
	case NDIS_OID_GEN_BROADCAST_BYTES_XMIT: *out = sent->broadcast_bytes; return true;
	case NDIS_OID_GEN_BROADCAST_FRAMES_XMIT: *out = sent->n_broadcast; return true;
	case NDIS_OID_GEN_DIRECTED_BYTES_RCV: *out = in->unicast_bytes; return true;
	case NDIS_OID_GEN_DIRECTED_FRAMES_RCV: *out = in->n_unicast; return true;
	case NDIS_OID_GEN_MULTICAST_BYTES_RCV: *out = in->multicast_bytes; return true;
	case NDIS_OID_GEN_MULTICAST_FRAMES_RCV: *out = in->n_multicast; return true;
	case NDIS_OID_GEN_BROADCAST_BYTES_RCV: *out = in->broadcast_bytes; return true;
	case NDIS_OID_GEN_BROADCAST_FRAMES_RCV: *out = in->n_broadcast; return true;
	case NDIS_OID_GEN_BYTES_RCV: *out = n_bytes(in); return true;
	case NDIS_OID_GEN_BYTES_XMIT: *out = n_bytes(sent); return true;
	default: return false;
	}
}

// A statistic has the width for which the guest left room.
static void put_statistic(struct netvsp_value *value, const struct netvsp_info *info, uint64_t n)
{
	put(value, &n, info->bytes == sizeof(uint32_t) ? sizeof(uint32_t) : sizeof(n));
}

// --- structures --------------------------------------------------------------------------------

static struct ndis_object object(enum ndis_object_type type, uint8_t revision, size_t bytes)
{
	return (struct ndis_object){ (uint8_t)type, revision, cpu_to_le16((uint16_t)bytes) };
}

static void put_statistics(struct netvsp_value *value, const struct netvsp_totals *totals)
{
	const struct netvsp_totals_way *in = &totals->in, *sent = &totals->out;
	struct ndis_statistics out = {
		.object = object(NDIS_OBJECT_DEFAULT, 1, sizeof(out)),
		.supported = cpu_to_le32(NDIS_STATISTIC_ALL),
		.in_discards = cpu_to_le64(in->n_discards),
		.in_errors = cpu_to_le64(in->n_errors),
		.in_bytes = cpu_to_le64(n_bytes(in)),
		.in_unicast = cpu_to_le64(in->n_unicast),
		.in_multicast = cpu_to_le64(in->n_multicast),
		.in_broadcast = cpu_to_le64(in->n_broadcast),
		.out_bytes = cpu_to_le64(n_bytes(sent)),
		.out_unicast = cpu_to_le64(sent->n_unicast),
		.out_multicast = cpu_to_le64(sent->n_multicast),
		.out_broadcast = cpu_to_le64(sent->n_broadcast),
		.out_errors = cpu_to_le64(sent->n_errors),
		.out_discards = cpu_to_le64(sent->n_discards),
		.in_unicast_bytes = cpu_to_le64(in->unicast_bytes),
		.in_multicast_bytes = cpu_to_le64(in->multicast_bytes),
		.in_broadcast_bytes = cpu_to_le64(in->broadcast_bytes),
		.out_unicast_bytes = cpu_to_le64(sent->unicast_bytes),
		.out_multicast_bytes = cpu_to_le64(sent->multicast_bytes),
		.out_broadcast_bytes = cpu_to_le64(sent->broadcast_bytes),
	};

	put(value, &out, sizeof(out));
}

static void put_supported(struct netvsp_value *value, uint32_t ndis_version)
{
	value->bytes = 0;
	for (size_t i = 0; i < ARRAY_SIZE(oids); i++) {
		if (ndis_version < oids[i].min_version)
			continue;
		store_u32(value->data + value->bytes, oids[i].number);
		value->bytes += sizeof(uint32_t);
	}
}

static void put_link_state(struct netvsp_value *value, struct netvsp_control *control)
{
	le64 speed = cpu_to_le64(control->config.link_speed);
	struct ndis_link_state out = {
		.object = object(NDIS_OBJECT_DEFAULT, 1, sizeof(out)),
		.connect = cpu_to_le32(control->config.link_up ? NDIS_LINK_UP : NDIS_LINK_DOWN),
		.tx_speed = speed,
		.rx_speed = speed,
	};

	tell_link(control);
	tell_speed(control);
	put(value, &out, sizeof(out));
}

// The guest may ask for an older revision than its NDIS version has: Linux refuses an answer that
// is longer than what it asked with.
static void put_offloads(struct netvsp_value *value, const struct netvsp_control *control,
			 const struct netvsp_info *info, uint32_t offloads)
{
	uint32_t revision = netvsp_offloads_revision(control);
	struct ndis_object asked;
	struct ndis_offload out = {};

	if (info->bytes >= sizeof(asked)) {
		memcpy(&asked, info->data, sizeof(asked));
		if (asked.type == NDIS_OBJECT_OFFLOAD && asked.revision &&
		    asked.revision < revision)
			revision = asked.revision;
	}
	put(value, &out, netvsp_offloads_build(offloads, revision, &out));
}

static void put_encapsulation(struct netvsp_value *value)
{
	struct ndis_offload_encapsulation out = {
		.object = object(NDIS_OBJECT_OFFLOAD_ENCAPSULATION, 1, sizeof(out)),
		.v4_enabled = cpu_to_le32(1),
		.v4_encapsulation = cpu_to_le32(NDIS_ENCAPSULATION_8023),
		.v4_header_bytes = cpu_to_le32(HEADER_BYTES),
		.v6_enabled = cpu_to_le32(1),
		.v6_encapsulation = cpu_to_le32(NDIS_ENCAPSULATION_8023),
		.v6_header_bytes = cpu_to_le32(HEADER_BYTES),
	};

	put(value, &out, sizeof(out));
}

static void put_rss_capabilities(struct netvsp_value *value, uint32_t n_channels)
{
	struct ndis_rss_capabilities out = {};

	netvsp_rss_capabilities(n_channels, &out);
	put(value, &out, sizeof(out));
}

static void put_max_speed(struct netvsp_value *value, uint64_t speed)
{
	struct ndis_link_speed out = { cpu_to_le64(speed), cpu_to_le64(speed) };

	put(value, &out, sizeof(out));
}

// --- query -------------------------------------------------------------------------------------

// What is neither a number nor a statistic.
static void query_structure(struct netvsp_control *control, const struct netvsp_info *info,
			    struct netvsp_value *value)
{
	le16 version = cpu_to_le16(DRIVER_VERSION);

	switch (info->oid) {
	case NDIS_OID_GEN_SUPPORTED_LIST:
		put_supported(value, control->agreed.ndis_version);
		break;
	case NDIS_OID_GEN_VENDOR_DESCRIPTION:
		put(value, VENDOR_DESCRIPTION, sizeof(VENDOR_DESCRIPTION));
		break;
	case NDIS_OID_GEN_DRIVER_VERSION:
	case NDIS_OID_GEN_VENDOR_DRIVER_VERSION: put(value, &version, sizeof(version)); break;
	case NDIS_OID_GEN_FRIENDLY_NAME: put(value, control->name, sizeof(control->name)); break;
	case NDIS_OID_802_3_PERMANENT_ADDRESS:
	case NDIS_OID_802_3_CURRENT_ADDRESS:
		put(value, &control->config.mac, sizeof(control->config.mac));
		break;
	case NDIS_OID_GEN_LINK_STATE: put_link_state(value, control); break;
	case NDIS_OID_GEN_MAX_LINK_SPEED: put_max_speed(value, control->config.link_speed); break;
	case NDIS_OID_TCP_OFFLOAD_CURRENT_CONFIG:
		put_offloads(value, control, info, control->agreed.offloads);
		break;
	case NDIS_OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES:
		put_offloads(value, control, info, netvsp_offloads_supported(control));
		break;
	case NDIS_OID_OFFLOAD_ENCAPSULATION: put_encapsulation(value); break;
	case NDIS_OID_GEN_RECEIVE_SCALE_CAPABILITIES:
		put_rss_capabilities(value, control->config.max_channels);
		break;
	default: assert(!"an OID of the table without a value"); break;
	}
}

uint32_t netvsp_oid_query(struct netvsp_control *control, const struct netvsp_info *info,
			  struct netvsp_value *value)
{
	uint32_t status = admit(control, info->oid, NDIS_QUERY);
	struct netvsp_totals totals;
	uint64_t n64;
	uint32_t n;

	if (status != RNDIS_STATUS_SUCCESS)
		return status;
	if (get_u32(control, info->oid, &n)) {
		put(value, &n, sizeof(n));
		return RNDIS_STATUS_SUCCESS;
	}
	control->config.ops->totals(control->config.ctx, &totals);
	if (info->oid == NDIS_OID_GEN_STATISTICS)
		put_statistics(value, &totals);
	else if (get_statistic(&totals, info->oid, &n64))
		put_statistic(value, info, n64);
	else
		query_structure(control, info, value);
	return RNDIS_STATUS_SUCCESS;
}

// --- set ---------------------------------------------------------------------------------------

static uint32_t set_filter(struct netvsp_control *control, const struct netvsp_info *info,
			   uint32_t *effects)
{
	if (info->bytes < sizeof(uint32_t))
		return RNDIS_STATUS_INVALID_LENGTH;
	control->agreed.packet_filter = load_u32(info->data);
	*effects = NETVSP_SET_PATH;
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t set_offloads(struct netvsp_control *control, const struct netvsp_info *info,
			     uint32_t *effects)
{
	uint32_t status = netvsp_offloads_parse(info, netvsp_offloads_supported(control),
						&control->agreed.offloads);

	if (status != RNDIS_STATUS_SUCCESS)
		return status;
	control->told.offloads = false;
	if (control->agreed.offloads != control->before.offloads)
		*effects = NETVSP_SET_PATH;
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t set_encapsulation(const struct netvsp_info *info)
{
	struct ndis_offload_encapsulation in;

	if (info->bytes < sizeof(in))
		return RNDIS_STATUS_INVALID_LENGTH;
	memcpy(&in, info->data, sizeof(in));
	return in.object.type == NDIS_OBJECT_OFFLOAD_ENCAPSULATION ? RNDIS_STATUS_SUCCESS :
								     RNDIS_STATUS_INVALID_DATA;
}

static uint32_t set_rss(struct netvsp_control *control, const struct netvsp_info *info,
			uint32_t *effects)
{
	struct netvsp_rss *rss = &control->agreed.rss;
	uint32_t status = netvsp_rss_parse(info, netvsp_open_channels(control), rss);

	if (memcmp(rss, &control->before.rss, sizeof(*rss)) != 0)
		*effects = NETVSP_SET_RSS;
	return status;
}

uint32_t netvsp_oid_set(struct netvsp_control *control, const struct netvsp_info *info,
			uint32_t *effects)
{
	uint32_t status = admit(control, info->oid, NDIS_SET);

	if (status != RNDIS_STATUS_SUCCESS)
		return status;
	switch (info->oid) {
	case NDIS_OID_GEN_CURRENT_PACKET_FILTER: return set_filter(control, info, effects);
	case NDIS_OID_TCP_OFFLOAD_PARAMETERS: return set_offloads(control, info, effects);
	case NDIS_OID_OFFLOAD_ENCAPSULATION: return set_encapsulation(info);
	case NDIS_OID_GEN_RECEIVE_SCALE_PARAMETERS: return set_rss(control, info, effects);
	case NDIS_OID_GEN_RNDIS_CONFIG_PARAMETER:
		return netvsp_config_parameter_set(control, info, effects);
	default: // addresses, multicast list, look-ahead, protocol options: nothing depends on them
		return RNDIS_STATUS_SUCCESS;
	}
}
