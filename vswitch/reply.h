// SPDX-License-Identifier: Apache-2.0
// Frames that the switch makes itself, and the frames that they answer. Worker.
#pragma once

#include <rte_mbuf.h>

#include "vswitch/cache.h"

// Bytes in front of the IP or ARP header of a frame with level-1 key *l1.
static inline uint32_t reply_l2_bytes(const struct key *l1)
{
	return sizeof(struct eth_header) + (key_tag(l1) ? sizeof(struct vlan_header) : 0);
}

static inline struct mac reply_source_mac(const struct key *l1)
{
	struct mac m;

	memcpy(m.b, (const uint8_t *)l1->w + 6, sizeof(m.b));
	return m;
}

// An untagged frame of `bytes` behind the Ethernet header, to who sent f->m, from `src`; all zeros
// behind that header. NULL: no buffer.
struct rte_mbuf *reply_create(const struct frame *f, struct mac src, be16 type, uint32_t bytes);

// Sends `reply` to the port that f->m came from, with the tag that f->m had. NULL is fine.
void reply_send(const struct frame *f, struct rte_mbuf *reply);

// f->m has served its purpose.
void reply_consume(const struct frame *f);
