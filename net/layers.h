// SPDX-License-Identifier: Apache-2.0
// Where a frame's TCP or UDP header is. Offload requests name offsets; this finds the offsets that
// the frame itself has, so that the two can be compared before anyone relies on them.
//
// Not the switch's parser (net/parse.h makes flow keys): it runs for frames with requests only.
// Called from checksums, segmentation, the transmit stage and kernel ports. Any thread.
#pragma once

#include "net/headers.h"

struct layers {
	uint16_t l2_bytes; // Ethernet header and VLAN tags
	uint16_t l3_bytes; // IPv4 header with options; IPv6 header with extension headers
	uint16_t l4_bytes; // TCP header with options, or UDP header
	uint8_t proto;     // IP_PROTO_TCP or IP_PROTO_UDP
	bool ipv6;
	uint32_t payload_bytes; // behind the L4 header, by the IP header: Ethernet padding excluded
};

// Looks through frame[head_bytes], the contiguous start of a frame of frame_bytes in all.
// True if it is an unfragmented TCP or UDP packet whose headers lie in the head and whose lengths
// agree with each other and with frame_bytes; *at is then complete. At most four VLAN tags; IPv6
// hop-by-hop, routing (nothing left to visit) and destination options are stepped over.
bool layers_find(const uint8_t *frame, uint32_t head_bytes, uint32_t frame_bytes,
		 struct layers *at);

// Bytes of all headers together.
static inline uint32_t layers_header_bytes(const struct layers *at)
{
	return (uint32_t)at->l2_bytes + at->l3_bytes + at->l4_bytes;
}

// Offset of the L4 checksum field from the start of the frame.
static inline uint32_t layers_csum_offset(const struct layers *at)
{
	return (uint32_t)at->l2_bytes + at->l3_bytes +
	       (at->proto == IP_PROTO_TCP ? offsetof(struct tcp_header, csum) :
					    offsetof(struct udp_header, csum));
}
