// SPDX-License-Identifier: Apache-2.0
// What the files of the control machine need of each other; see control.h. control.c: NVSP.
// rndis_control.c: RNDIS. oid.c: its objects, with offload_config.c, rss_config.c and
// config_parameter.c for the long ones. notice.c, control_state.c: as in control.h.
#pragma once

#include "netvsp/control.h"
#include "netvsp/rndis.h"

// Among the effects of a handler: nothing was done, and the guest is to be told so.
#define NETVSP_REFUSED (1u << 30)
#define NETVSP_MALFORMED (1u << 31)

// --- control.c ---------------------------------------------------------------------------------

bool netvsp_is_version(uint32_t version);

// Guests take fixed sizes out of answers, whatever the message: a completion is as long as the
// version's longest message. version 0: none was agreed on.
uint32_t netvsp_completion_bytes(uint32_t version);

// The primary and n ≤ 63 sub-channels, a bit each.
static inline uint64_t netvsp_channel_mask(uint32_t n)
{
	return UINT64_MAX >> (VMBUS_USER_MAX_CHANNELS - 1 - n);
}

// The channels that are open, of those that were granted and the primary; a bit each.
uint64_t netvsp_open_channels(const struct netvsp_control *control);

// --- rndis_control.c ---------------------------------------------------------------------------

// The RNDIS message of an NVSP 107. Returns effects, or one of the two above.
uint32_t netvsp_rndis_handle(struct netvsp_control *control, const struct netvsp_request *request,
			     struct netvsp_answer *answer);

// Turns an RNDIS answer into a failure.
void netvsp_rndis_fail(struct netvsp_answer *answer);

// --- notice.c ----------------------------------------------------------------------------------

// The guest has initialised RNDIS: it knows nothing yet, and will ask.
void netvsp_notice_begin(struct netvsp_control *control);

// A link speed as RNDIS has it, in units of 100 bit/s.
uint32_t netvsp_link_speed(const struct netvsp_control *control);

// --- oid.c -------------------------------------------------------------------------------------

// A value that came with a QUERY or SET: inside the request's private copy.
struct netvsp_info {
	uint32_t oid;
	uint32_t bytes;
	const uint8_t *data; // [bytes]
};

#define NETVSP_MAX_VALUE (NETVSP_MAX_MESSAGE - (uint32_t)sizeof(struct rndis_query_complete))

// The value of an object.
struct netvsp_value {
	uint8_t *data; // [NETVSP_MAX_VALUE]
	uint32_t bytes;
};

// Both return enum rndis_status; the value has 0 bytes if it is not success.
uint32_t netvsp_oid_query(struct netvsp_control *control, const struct netvsp_info *info,
			  struct netvsp_value *value);
uint32_t netvsp_oid_set(struct netvsp_control *control, const struct netvsp_info *info,
			uint32_t *effects);

// --- offload_config.c --------------------------------------------------------------------------

// Bits of enum netvsp_offload. Until a guest says that it reads the reports, it gets finished
// checksums.
uint32_t netvsp_offloads_default(void);
uint32_t netvsp_offloads_supported(const struct netvsp_control *control);

// Fills *out with these offloads. Returns the bytes that the revision (1…3) has.
uint32_t netvsp_offloads_build(uint32_t offloads, uint32_t revision, struct ndis_offload *out);

// The revision that the guest's NDIS version asks for.
uint32_t netvsp_offloads_revision(const struct netvsp_control *control);

// Applies OID_TCP_OFFLOAD_PARAMETERS. Returns enum rndis_status; on failure *offloads is as it
// was. What is not supported stays off.
uint32_t netvsp_offloads_parse(const struct netvsp_info *info, uint32_t supported,
			       uint32_t *offloads);

// To and from the bytes of a control record. Returns false if one is out of range.
void netvsp_offloads_encode(uint32_t offloads, uint8_t bytes[16]);
bool netvsp_offloads_decode(const uint8_t bytes[16], uint32_t *offloads);

// --- rss_config.c ------------------------------------------------------------------------------

void netvsp_rss_capabilities(uint32_t n_channels, struct ndis_rss_capabilities *out);

// Applies OID_GEN_RECEIVE_SCALE_PARAMETERS. channels: those that are open, a bit each. Returns
// enum rndis_status; on failure *rss is as it was.
uint32_t netvsp_rss_parse(const struct netvsp_info *info, uint64_t channels,
			  struct netvsp_rss *rss);

// Whether hash info, key and table could have come from netvsp_rss_parse.
bool netvsp_rss_is_valid(const struct netvsp_rss *rss, uint64_t channels);

// --- config_parameter.c ------------------------------------------------------------------------

// OID_GEN_RNDIS_CONFIG_PARAMETER. Returns enum rndis_status.
uint32_t netvsp_config_parameter_set(struct netvsp_control *control,
				     const struct netvsp_info *info, uint32_t *effects);
