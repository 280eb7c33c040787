// SPDX-License-Identifier: Apache-2.0
// C-tags in and out of frames. IEEE 802.1Q, 9.6. Workers; no EAL.
#pragma once

#include <errno.h>

#include <rte_mbuf.h>

#include "net/key.h"

#define VLAN_TAG_BYTES ((uint16_t)sizeof(struct vlan_header))

// May the first bytes of m be edited in place?
static inline bool vlan_can_edit(const struct rte_mbuf *m)
{
	return RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1;
}

// The caller has checked that m is editable and at least an Ethernet header long.

// Takes the tag out; the frame has one, whole, in its first segment.
static inline void vlan_pop(struct rte_mbuf *m)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	memmove(p + VLAN_TAG_BYTES, p, 12);
	rte_pktmbuf_adj(m, VLAN_TAG_BYTES);
	if (m->l2_len >= VLAN_TAG_BYTES)
		m->l2_len -= VLAN_TAG_BYTES;
}

// Puts a tag in front: VID, and priority 0. -ENOSPC: no headroom.
static inline int vlan_push(struct rte_mbuf *m, uint16_t vid)
{
	uint8_t *p = (uint8_t *)rte_pktmbuf_prepend(m, VLAN_TAG_BYTES);

	if (!p)
		return -ENOSPC;
	memmove(p, p + VLAN_TAG_BYTES, 12);
	store_be16(p + 12, BE16(ETH_TYPE_VLAN));
	store_be16(p + 14, cpu_to_be16(vid));
	if (m->l2_len)
		m->l2_len += VLAN_TAG_BYTES;
	return 0;
}

// Writes the VID into the tag it has; priority stays.
static inline void vlan_set_vid(struct rte_mbuf *m, uint16_t vid)
{
	uint8_t *tci = rte_pktmbuf_mtod_offset(m, uint8_t *, 14);

	store_be16(tci, cpu_to_be16((be16_to_cpu(load_be16(tci)) & 0xf000) | vid));
}
