// SPDX-License-Identifier: Apache-2.0
// The Internet checksum (RFC 1071) over memory and over mbuf chains, and its change when a field
// changes (RFC 1624). Called from segmentation, the transmit stage, kernel ports, and whatever
// rewrites headers. Any thread; nothing here fails or allocates.
//
// A running sum is a uint64_t of 16-bit words as they lie in memory; add parts in any order as
// long as each starts at an even offset of what is summed. csum_fold makes the 16 bits of it.
#pragma once

#include <rte_mbuf.h>

#include "base/types.h"
#include "net/layers.h"

// The sum of len bytes at p, added to `sum`. An odd last byte counts as if a zero followed.
uint64_t csum_add(uint64_t sum, const void *p, size_t len);

// The same for len bytes from `offset` of a frame, which must have them.
uint64_t csum_add_frame(uint64_t sum, const struct rte_mbuf *m, uint32_t offset, uint32_t len);

// The 16 bits of a sum, not complemented, as they are to be stored.
static inline uint16_t csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

// The sum of the pseudo header (RFC 9293 and RFC 768; RFC 8200, "Upper-Layer Checksums") of the
// packet at `frame`, for the L4 length that `at` says.
uint64_t csum_pseudo(const uint8_t *frame, const struct layers *at);

// Computes and stores the IPv4 header's checksum.
void csum_set_ipv4(uint8_t *frame, const struct layers *at);

// Computes and stores the L4 checksum of a whole frame, whatever its field holds. UDP's zero is
// written as 0xffff: zero means "none". Headers must be in the first segment, and writable.
void csum_set_l4(struct rte_mbuf *m, const struct layers *at);

// Completes a checksum whose field at `start + offset` holds the pseudo header's sum, over all
// from `start` to the end of the frame: for protocols that layers_find does not know. False,
// nothing changed, if the field is not in the first segment.
bool csum_complete(struct rte_mbuf *m, uint32_t start, uint32_t offset);

// The checksum after one 16-bit word it covers changed (RFC 1624, equation 3). A UDP checksum of
// zero ("none") must be left alone by the caller.
static inline be16 csum_update16(be16 csum, be16 from, be16 to)
{
	uint32_t sum = (uint16_t)~(FORCE uint16_t)csum;

	sum += (uint16_t)~(FORCE uint16_t)from;
	sum += (FORCE uint16_t)to;
	return (FORCE be16)(uint16_t)~csum_fold(sum);
}

// The same for a 32-bit field at an even offset.
static inline be16 csum_update32(be16 csum, be32 from, be32 to)
{
	uint64_t sum = (uint16_t)~(FORCE uint16_t)csum;

	sum += (uint32_t)~(FORCE uint32_t)from;
	sum += (FORCE uint32_t)to;
	return (FORCE be16)(uint16_t)~csum_fold(sum);
}
