// SPDX-License-Identifier: Apache-2.0
// What the port kinds share: the flags of the offload contract (port.h), the care that rx owes to
// frames which come from somebody else's driver (clean ol_flags, a contiguous head), counters.
#pragma once

#include <rte_mbuf.h>

#include "base/counter.h"
#include "dataplane/port.h"

// Requests to the egress side that the contract knows, and the family that goes with them.
#define PORT_REQUEST_FLAGS                                                                         \
	(RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_SEG |                  \
	 RTE_MBUF_F_TX_UDP_SEG)
#define PORT_FAMILY_FLAGS (RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6)

// What the ingress side may say. GOOD alone: together with BAD's bit it means "unknown". Nobody
// asks for the IP header's, but clearing it would cost every frame of a NIC a store.
#define PORT_STATE_FLAGS                                                                           \
	(RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD)

// The contract's view of a frame's ol_flags; `keep` names the flags that may stay.
static inline uint64_t port_clean_flags(uint64_t flags, uint64_t keep)
{
	if ((flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) != RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK;
	return flags & keep;
}

// True if the first min(pkt_len, PORT_HEADER_BYTES) bytes are in the first segment.
static inline bool port_head_contiguous(const struct rte_mbuf *m)
{
	return m->nb_segs == 1 || m->data_len >= RTE_MIN(m->pkt_len, PORT_HEADER_BYTES);
}

// Moves bytes from the following segments into the first until the head is contiguous, and frees
// segments that became empty. Returns false, *m unchanged, when the first segment is shared or
// too small for it. The caller owns m. worker.
bool port_pull_head(struct rte_mbuf *m);

// Cleans pkts[n] with port_clean_flags(…, keep) and makes their heads contiguous; frames for which
// that is impossible are freed and left out. Returns the number of frames kept, in order. worker.
uint16_t port_rx_fix(struct rte_mbuf **pkts, uint16_t n, uint64_t keep);
