// SPDX-License-Identifier: Apache-2.0
// Frames in what a guest sends: RNDIS packets are found in a message that lies in pieces of guest
// memory, checked, and gathered into mbufs. [MS-RNDIS], REMOTE_NDIS_PACKET_MSG.
//
// The memory is the guest's and may change at any moment: header and per-packet information are
// copied once, the copy is checked and used. A frame's bytes are copied once as well; whatever is
// in them is for the switch to judge. worker.
#pragma once

#include <rte_mbuf.h>

#include "dataplane/pools.h"
#include "netvsp/copy.h"
#include "netvsp/rndis.h"

// Guest memory as it is mapped here; a message is several of them in order.
struct netvsp_span {
	const uint8_t *host;
	uint32_t bytes; // not 0
};

struct netvsp_message {
	const struct netvsp_span *spans;
	uint32_t bytes; // of all of them
};

// A place in a message: `at` bytes into a span. At a span's end it stands for the next one's start.
struct netvsp_cursor {
	const struct netvsp_span *span;
	uint32_t at;
};

enum netvsp_frame_info {
	NETVSP_FRAME_CSUM = 1 << 0, // csum is given
	NETVSP_FRAME_LSO = 1 << 1,
	NETVSP_FRAME_VLAN = 1 << 2,
};

// A frame that was found. Its numbers are checked against the message.
struct netvsp_frame {
	struct netvsp_cursor at; // where its bytes begin
	uint32_t bytes;
	uint32_t info; // enum netvsp_frame_info
	uint32_t csum; // enum rndis_tx_checksum
	uint32_t lso;  // RNDIS_LSO_*
	uint32_t vlan; // RNDIS_VLAN_*
};

#define NETVSP_MAX_HEAD 512u // header and per-packet information of one frame, bytes
#define NETVSP_MAX_LSO (0xffffu + 22) // bytes of a frame to be segmented, two VLAN tags included
#define NETVSP_MAX_MBUFS 33           // of one frame

// mbufs of the small pool that a frame of so many bytes takes.
static inline uint32_t netvsp_frame_mbufs(uint32_t bytes)
{
	return (bytes + POOLS_SMALL_ROOM - 1) / POOLS_SMALL_ROOM;
}

// Moves on; the message has so many bytes left.
static ALWAYS_INLINE void netvsp_cursor_skip(struct netvsp_cursor *c, uint32_t bytes)
{
	while (unlikely(bytes > c->span->bytes - c->at)) {
		bytes -= c->span->bytes - c->at;
		c->span++;
		c->at = 0;
	}
	c->at += bytes;
}

// Copies the next bytes out and moves on; the message has so many left.
void netvsp_cursor_read(struct netvsp_cursor *c, void *to, uint32_t bytes);

// Finds the frames of a message; max_frame as in guest.h. At most `max` go to frames[], *n is
// their number. Returns 0, or -EINVAL for an RNDIS packet that makes no sense, or one too many:
// those before it stand.
int netvsp_frames_find(const struct netvsp_message *message, uint32_t max_frame, uint32_t max,
		       struct netvsp_frame *frames, uint32_t *n);

// Gathers a frame into mbufs[netvsp_frame_mbufs(bytes)], fresh from the small pool, and makes one
// chain of them, of which it returns the first.
struct rte_mbuf *netvsp_frame_gather(const struct netvsp_frame *frame, struct rte_mbuf **mbufs);
