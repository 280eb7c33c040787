// SPDX-License-Identifier: Apache-2.0
// The short way out of a tunnel: for what nearly every encapsulated frame is, a few comparisons
// of whole vectors say as much as a codec's pop. Whatever they do not know is left to encap_find
// and pop, which judge; here nothing is ever found wrong.
//
// Plain is an outer header over IPv4 as a codec itself would send it to one of our providers:
// no options, no fragment, no UDP checksum, no congestion mark to merge. Control makes a pattern
// for each provider and codec; vswitch/decap.h compares. RFC 7637, RFC 7348, RFC 6040 (4.2).
#pragma once

#include <immintrin.h>

#include "net/outer.h"

#define ENCAP_PLAIN_BYTES 68u // at least so many bytes of a plain frame lie in its first segment

// One provider's outer headers by one codec: bits that all have in common, and what differs.
struct encap_plain {
	uint8_t mask[64], want[64]; // of a frame's first bytes: (byte & mask) == want
	uint32_t n_bytes;           // of outer header, 0: there is no pattern, and none compares
	uint32_t l3;                // where the IP header begins
	uint32_t length_at;         // of a second length, UDP's; without one, that of the IP header
	uint32_t length_less;       // by how much it is less than the IP packet's
	uint32_t min_id, n_ids;     // identifiers that are taken, and how many
} __attribute__((aligned(64)));

// The pattern of frames that `ops` makes for `way`. An IPv6 way has none. control.
void encap_plain_make(const struct encap_ops *ops, const struct encap_way *way,
		      struct encap_plain *out);

// Does p[64] begin like the pattern?
static ALWAYS_INLINE bool encap_plain_begins(const struct encap_plain *t, const uint8_t *p)
{
	const __m256i *mask = (const __m256i *)t->mask, *want = (const __m256i *)t->want;
	__m256i a = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)p), mask[0]);
	__m256i b = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)p + 1), mask[1]);
	__m256i differs =
		_mm256_or_si256(_mm256_xor_si256(a, want[0]), _mm256_xor_si256(b, want[1]));

	return _mm256_testz_si256(differs, differs);
}

// Takes the outer header off m if it is a plain one: what pop would do, but for info, of which
// only *id and *source (IPv4, as in memory) are told. False: m is as it was. The caller
// guarantees what pop wants, and ENCAP_PLAIN_BYTES in the first segment. worker.
static ALWAYS_INLINE bool encap_plain_pop(const struct encap_plain *t, struct rte_mbuf *m,
					  uint32_t *id, uint32_t *source)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	const uint8_t *ip = p + t->l3, *inner = p + t->n_bytes;
	uint32_t total = be16_to_cpu(load_be16(ip + 2));
	be16 type = load_be16(inner + 12);

	if (unlikely(!encap_plain_begins(t, p)))
		return false;
	*id = be32_to_cpu(load_be32(inner - 4)) >> 8; // of both headers the last word but a byte
	*source = load_u32(ip + offsetof(struct ipv4_header, src));
	// No Ethernet padding, lengths that agree, an inner frame without a tag (RFC 7637, 3.3).
	if (unlikely(((m->pkt_len - t->l3) ^ total) |
		     ((be16_to_cpu(load_be16(p + t->length_at)) + t->length_less) ^ total)) ||
	    unlikely(*id - t->min_id >= t->n_ids || type == BE16(ETH_TYPE_VLAN) ||
		     type == BE16(ETH_TYPE_QINQ) || !outer_csum_is_right(ip) ||
		     (m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG))))
		return false;
	m->data_off += t->n_bytes;
	m->data_len -= t->n_bytes;
	m->pkt_len -= t->n_bytes;
	m->ol_flags &= OUTER_MEMORY_FLAGS;
	return true;
}
