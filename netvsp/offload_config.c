// SPDX-License-Identifier: Apache-2.0
// Which offloads there are and which are switched on, between bits and NDIS structures. control
// thread.
#include "netvsp/control_parts.h"

#define LSO_MAX_BYTES 0xf53c // of a segment to be cut up, headers not counted
#define LSO_MIN_SEGMENTS 2

// Where NDIS_OFFLOAD_PARAMETERS has what.
static const struct {
	uint8_t at;
	uint32_t tx, rx;
} checksums[] = {
	{ offsetof(struct ndis_offload_parameters, ipv4_csum), NETVSP_TX_IPV4, NETVSP_RX_IPV4 },
	{ offsetof(struct ndis_offload_parameters, tcpv4_csum), NETVSP_TX_TCPV4, NETVSP_RX_TCPV4 },
	{ offsetof(struct ndis_offload_parameters, udpv4_csum), NETVSP_TX_UDPV4, NETVSP_RX_UDPV4 },
	{ offsetof(struct ndis_offload_parameters, tcpv6_csum), NETVSP_TX_TCPV6, NETVSP_RX_TCPV6 },
	{ offsetof(struct ndis_offload_parameters, udpv6_csum), NETVSP_TX_UDPV6, NETVSP_RX_UDPV6 },
};

static const struct {
	uint8_t at;
	uint32_t bit;
} switches[] = {
	{ offsetof(struct ndis_offload_parameters, lso_v4), NETVSP_LSO_V4 },
	{ offsetof(struct ndis_offload_parameters, lso_v6), NETVSP_LSO_V6 },
	{ offsetof(struct ndis_offload_parameters, rsc_v4), NETVSP_RSC_V4 },
	{ offsetof(struct ndis_offload_parameters, rsc_v6), NETVSP_RSC_V6 },
};

#define TX_ALL \
	(NETVSP_TX_IPV4 | NETVSP_TX_TCPV4 | NETVSP_TX_UDPV4 | NETVSP_TX_TCPV6 | NETVSP_TX_UDPV6)
#define RX_ALL \
	(NETVSP_RX_IPV4 | NETVSP_RX_TCPV4 | NETVSP_RX_UDPV4 | NETVSP_RX_TCPV6 | NETVSP_RX_UDPV6)

uint32_t netvsp_offloads_default(void)
{
	return TX_ALL | NETVSP_LSO_V4 | NETVSP_LSO_V6;
}

uint32_t netvsp_offloads_supported(const struct netvsp_control *control)
{
	uint32_t offloads = TX_ALL | RX_ALL | NETVSP_LSO_V4 | NETVSP_LSO_V6;

	if (control->config.rsc && control->agreed.nvsp_version >= NVSP_VERSION_6_1 &&
	    control->agreed.capabilities & NVSP_CAPABILITY_RSC)
		offloads |= NETVSP_RSC_V4 | NETVSP_RSC_V6;
	return offloads;
}

uint32_t netvsp_offloads_revision(const struct netvsp_control *control)
{
	if (control->agreed.ndis_version >= NDIS_VERSION_6_30)
		return 3;
	return control->agreed.ndis_version >= NDIS_VERSION_6_1 ? 2 : 1;
}

// --- NDIS_OFFLOAD ------------------------------------------------------------------------------

// Guests take a TCP offload only together with options and extension headers.
static uint32_t checksum_caps(uint32_t offloads, uint32_t ip, uint32_t tcp, uint32_t udp)
{
	uint32_t caps = 0;

	if (offloads & ip)
		caps |= NDIS_CHECKSUM_IP | NDIS_CHECKSUM_IP_OPTIONS;
	if (offloads & tcp)
		caps |= NDIS_CHECKSUM_TCP | NDIS_CHECKSUM_TCP_OPTIONS | NDIS_CHECKSUM_IP_OPTIONS;
	if (offloads & udp)
		caps |= NDIS_CHECKSUM_UDP | NDIS_CHECKSUM_IP_OPTIONS;
	return caps;
}

static struct ndis_checksum_offload checksum_offload(uint32_t tx, uint32_t rx)
{
	return (struct ndis_checksum_offload){
		.tx_encapsulation = cpu_to_le32(tx ? NDIS_ENCAPSULATION_8023 : 0),
		.tx = cpu_to_le32(tx),
		.rx_encapsulation = cpu_to_le32(rx ? NDIS_ENCAPSULATION_8023 : 0),
		.rx = cpu_to_le32(rx),
	};
}

uint32_t netvsp_offloads_build(uint32_t offloads, uint32_t revision, struct ndis_offload *out)
{
	uint32_t bytes = revision >= 3	? sizeof(*out) :
			 revision == 2 ? NDIS_OFFLOAD_BYTES_2 :
					  NDIS_OFFLOAD_BYTES_1;

	*out = (struct ndis_offload){
		.object = { NDIS_OBJECT_OFFLOAD, (uint8_t)(revision < 3 ? revision : 3),
			    cpu_to_le16((uint16_t)bytes) },
		.ipv4 = checksum_offload(checksum_caps(offloads, NETVSP_TX_IPV4, NETVSP_TX_TCPV4,
						       NETVSP_TX_UDPV4),
					 checksum_caps(offloads, NETVSP_RX_IPV4, NETVSP_RX_TCPV4,
						       NETVSP_RX_UDPV4)),
		.ipv6 = checksum_offload(
			checksum_caps(offloads, 0, NETVSP_TX_TCPV6, NETVSP_TX_UDPV6),
			checksum_caps(offloads, 0, NETVSP_RX_TCPV6, NETVSP_RX_UDPV6)),
		.rsc_v4 = !!(offloads & NETVSP_RSC_V4),
		.rsc_v6 = !!(offloads & NETVSP_RSC_V6),
	};
	if (offloads & NETVSP_LSO_V4) {
		out->lso_v4_encapsulation = cpu_to_le32(NDIS_ENCAPSULATION_8023);
		out->lso_v4_max_bytes = cpu_to_le32(LSO_MAX_BYTES);
		out->lso_v4_min_segments = cpu_to_le32(LSO_MIN_SEGMENTS);
	}
	if (offloads & NETVSP_LSO_V6) {
		out->lso_v6_encapsulation = cpu_to_le32(NDIS_ENCAPSULATION_8023);
		out->lso_v6_max_bytes = cpu_to_le32(LSO_MAX_BYTES);
		out->lso_v6_min_segments = cpu_to_le32(LSO_MIN_SEGMENTS);
		out->lso_v6_options = cpu_to_le32(NDIS_LSO_V6_EXTENSIONS | NDIS_LSO_V6_TCP_OPTIONS);
	}
	return bytes;
}

// --- NDIS_OFFLOAD_PARAMETERS -------------------------------------------------------------------

// Applies the bytes of the structure. Returns false if one is out of range.
static bool apply(const uint8_t *parameters, uint32_t *offloads)
{
	uint32_t next = *offloads;

	for (size_t i = 0; i < ARRAY_SIZE(checksums); i++) {
		uint8_t set = parameters[checksums[i].at];

		if (set > NDIS_SET_CHECKSUM_BOTH)
			return false;
		if (set == NDIS_SET_CHECKSUM_KEEP)
			continue;
		next &= ~(checksums[i].tx | checksums[i].rx);
		if (set == NDIS_SET_CHECKSUM_TX || set == NDIS_SET_CHECKSUM_BOTH)
			next |= checksums[i].tx;
		if (set == NDIS_SET_CHECKSUM_RX || set == NDIS_SET_CHECKSUM_BOTH)
			next |= checksums[i].rx;
	}
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
		uint8_t set = parameters[switches[i].at];

		if (set > NDIS_SET_ON)
			return false;
		if (set == NDIS_SET_OFF)
			next &= ~switches[i].bit;
		else if (set == NDIS_SET_ON)
			next |= switches[i].bit;
	}
	*offloads = next;
	return true;
}

uint32_t netvsp_offloads_parse(const struct netvsp_info *info, uint32_t supported,
			       uint32_t *offloads)
{
	struct ndis_offload_parameters in = {};
	uint32_t bytes, next = *offloads;

	if (info->bytes < NDIS_OFFLOAD_PARAMETERS_MIN)
		return RNDIS_STATUS_INVALID_LENGTH;
	memcpy(&in, info->data, sizeof(in.object));
	bytes = le16_to_cpu(in.object.bytes);
	if (in.object.type != NDIS_OBJECT_DEFAULT || !in.object.revision)
		return RNDIS_STATUS_INVALID_DATA;
	if (bytes < NDIS_OFFLOAD_PARAMETERS_MIN || bytes > info->bytes)
		return RNDIS_STATUS_INVALID_LENGTH;
	memcpy(&in, info->data, bytes < sizeof(in) ? bytes : sizeof(in));
	if (!apply((const uint8_t *)&in, &next))
		return RNDIS_STATUS_INVALID_DATA;
	*offloads = next & supported;
	return RNDIS_STATUS_SUCCESS;
}

// --- control record ----------------------------------------------------------------------------

// The record keeps the structure's bytes 4…12, 22 and 23.
static void pick(const uint8_t *parameters, uint8_t bytes[16])
{
	memset(bytes, 0, 16);
	memcpy(bytes, parameters + 4, 9);
	memcpy(bytes + 9, parameters + 22, 2);
}

void netvsp_offloads_encode(uint32_t offloads, uint8_t bytes[16])
{
	uint8_t parameters[sizeof(struct ndis_offload_parameters)] = {};

	for (size_t i = 0; i < ARRAY_SIZE(checksums); i++)
		parameters[checksums[i].at] =
			(uint8_t)(NDIS_SET_CHECKSUM_OFF + !!(offloads & checksums[i].tx) +
				  2 * !!(offloads & checksums[i].rx));
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		parameters[switches[i].at] =
			offloads & switches[i].bit ? NDIS_SET_ON : NDIS_SET_OFF;
	pick(parameters, bytes);
}

bool netvsp_offloads_decode(const uint8_t bytes[16], uint32_t *offloads)
{
	uint8_t parameters[sizeof(struct ndis_offload_parameters)] = {};
	uint8_t again[16];

	memcpy(parameters + 4, bytes, 9);
	memcpy(parameters + 22, bytes + 9, 2);
	*offloads = 0;
	if (!apply(parameters, offloads))
		return false;
	netvsp_offloads_encode(*offloads, again);
	return memcmp(again, bytes, sizeof(again)) == 0;
}
