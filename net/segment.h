// SPDX-License-Identifier: Apache-2.0
// Software segmentation: one large TCP or UDP send becomes frames of at most `mss` payload bytes.
//
// DPDK 22.11's rte_gso knows neither IPv6 nor UDP segmentation (its UDP mode makes IP fragments)
// and returns indirect mbufs, which devices without multi-segment support cannot take; hence ours.
// Segments are flat copies: up to a few KiB each, in cache, cheaper than reference counts.
#pragma once

#include <rte_mbuf.h>

#include "net/layers.h"

#define SEGMENT_MAX 128 // segments of one large send: 64 KiB by 512 bytes

// How many segments a frame makes: 1 … ; SEGMENT_MAX+1 stands for "too many". mss: 1 … 65535.
uint32_t segment_count(const struct layers *at, uint16_t mss);

// Cuts m into segment_count(at, mss) flat frames, out[SEGMENT_MAX], taken from `pool`, whose rooms
// hold all headers plus mss bytes. There must not be too many. m's headers are in its first
// segment.
//
// Each segment has VLAN tags, IP and L4 headers of m, with lengths, IPv4 id (counted up) and TCP
// sequence number its own; FIN and PSH on the last only, CWR on the first only (RFC 3168, 6.1.2).
// Checksums are not computed: ol_flags request them (IPv4 header and L4), with l2/l3/l4_len set.
// The other metadata (port, hash, dynamic fields) is copied. m is read only, still the caller's.
// Returns the number of segments, or 0, nothing taken, if the pool is short. worker.
uint32_t segment_cut(const struct rte_mbuf *m, const struct layers *at, uint16_t mss,
		     struct rte_mempool *pool, struct rte_mbuf **out);
