// SPDX-License-Identifier: Apache-2.0
// Receive side scaling: which channel a frame goes to, by the Toeplitz hash and the indirection
// table that the guest chose. Microsoft's "Introduction to Receive Side Scaling", RSS hash types.
#pragma once

#include <rte_mbuf.h>

#include "netvsp/control.h"

#define NETVSP_HASH_INPUT 36 // bytes: two IPv6 addresses and two ports

// Made by control, published by RCU (guest.h), read by workers.
struct netvsp_spread {
	uint32_t hash; // enum ndis_hash
	uint32_t mask; // of the hash, for `table`
	uint8_t table[NDIS_RSS_MAX_ENTRIES]; // channels
	// What each half byte of the input adds to the hash, by its place and value.
	uint32_t nibbles[2 * NETVSP_HASH_INPUT][16];
};

// Makes what workers need of what was agreed on; entries beyond the table repeat it.
void netvsp_rss_init(struct netvsp_spread *spread, const struct netvsp_rss *agreed);

// The hash of frame p[bytes] (the contiguous start of it), and in *kind the bit of enum ndis_hash
// that says of what; 0 and hash 0: of nothing. worker.
uint32_t netvsp_rss_hash(const struct netvsp_spread *spread, const uint8_t *p, uint32_t bytes,
			 uint32_t *kind);

// Finds the channel of each of pkts[n] (n ≤ PORT_BATCH): queues[n]. Frames that are nobody else's
// also carry the hash afterwards (RX_RSS_HASH), for netvsp_offload_to_guest. worker.
void netvsp_rss_select(const struct netvsp_spread *spread, struct rte_mbuf *const *pkts, uint16_t n,
		       uint8_t *queues);

// Of what the hash is that m carries, as netvsp_rss_select left it, with the function's bit.
static inline uint32_t netvsp_rss_kind(const struct rte_mbuf *m) { return m->hash.fdir.hi; }
