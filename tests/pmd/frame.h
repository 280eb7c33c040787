// SPDX-License-Identifier: Apache-2.0
// Test frames that say who they are: written by a sender, checked by whoever receives them.
//
// UDP over IPv4 or IPv6, with a tag behind the headers (sender, flow, number within the flow) and a
// payload that follows from the number; or, for segmentation, TCP whose payload is the stream of
// bytes that the sequence number points to. Flow f of sender s comes from 10.s.f or fd00::s:f.
// Pure: no EAL. Any thread.
#pragma once

#include "net/headers.h"

#define FRAME_MAX_FLOWS 65536
#define FRAME_MAX_BYTES (64 * 1024)

struct frame_cfg {
	struct mac src, dst;
	uint8_t sender;    // number, the same in no other frame_cfg of a test
	uint32_t n_macs;   // MAC pairs: flow f adds f % n_macs to the low bytes of both. 0: as 1
	bool ipv6;
	bool tcp;          // one big segment of a stream, to be cut
	bool offload_csum; // leave the checksums to the NIC: L4 field holds the pseudo header's sum
	bool fill;         // write the payload; else what was in the buffer goes out
};

// Behind the UDP header.
struct PACKED frame_tag {
	le16 magic;
	uint8_t sender, queue;
	le32 flow;
	le32 number; // counts the flow's frames from 0
	le16 check;  // over the tag and the frame's size
};
static_assert(sizeof(struct frame_tag) == 14);

// The least bytes of such a frame, and of its headers without tag.
uint32_t frame_min_bytes(const struct frame_cfg *cfg);
uint32_t frame_header_bytes(const struct frame_cfg *cfg);

// Where a frame stands.
struct frame_place {
	uint32_t flow;   // 0 … FRAME_MAX_FLOWS - 1
	uint32_t number; // TCP: where its payload begins in the stream
	uint8_t queue;   // that it is sent by
};

// Writes a frame of `bytes` (frame_min_bytes … FRAME_MAX_BYTES), without FCS and VLAN tag, to to[].
void frame_write(const struct frame_cfg *cfg, const struct frame_place *place, uint32_t bytes,
		 uint8_t *to);

// Makes a frame that frame_write has made (UDP over IPv4, no checksum offload, one MAC pair) one of
// another flow. Its tag stays as it is: who receives it may only count it.
void frame_set_flow(uint8_t *frame, uint32_t flow);

enum frame_verdict {
	FRAME_OURS,
	FRAME_FOREIGN, // not from a sender like this
	FRAME_CORRUPT, // from one, but not as it was sent
	FRAME_BAD_CSUM,
};

// What the NIC says about a received frame, and what is to be looked at.
struct frame_claims {
	bool ip_good, l4_good; // checksums are right, it says: what stands in the fields may not be
	bool check_fill;       // the payload is as frame_write fills it
};

struct frame_seen {
	uint8_t sender;
	bool tcp;
	uint32_t payload; // TCP: bytes
	struct frame_place place;
};

// Checks frame[bytes] (no VLAN tag). *seen is filled for FRAME_OURS.
enum frame_verdict frame_check(const uint8_t *frame, uint32_t bytes, struct frame_claims claims,
			       struct frame_seen *seen);
