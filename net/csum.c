// SPDX-License-Identifier: Apache-2.0
#include "net/csum.h"

uint64_t csum_add(uint64_t sum, const void *p, size_t len)
{
	const uint8_t *b = p;
	size_t i;

	// Carries stay in the upper half of 64 bits: no need to fold before 2^32 words. The
	// compiler makes vectors of this loop.
	for (i = 0; i + 4 <= len; i += 4)
		sum += load_u32(b + i);
	if (len & 2) {
		sum += load_u16(b + i);
		i += 2;
	}
	if (len & 1)
		sum += b[i];
	return sum;
}

uint64_t csum_add_frame(uint64_t sum, const struct rte_mbuf *m, uint32_t offset, uint32_t len)
{
	uint32_t done = 0;

	while (offset >= m->data_len) {
		offset -= m->data_len;
		m = m->next;
	}
	for (; done < len; m = m->next, offset = 0) {
		uint32_t n = RTE_MIN(m->data_len - offset, len - done);
		uint16_t part = csum_fold(
			csum_add(0, rte_pktmbuf_mtod_offset(m, const uint8_t *, offset), n));

		// Behind an odd number of bytes the words lie the other way round (RFC 1071, 2).
		sum += done & 1 ? __builtin_bswap16(part) : part;
		done += n;
	}
	return sum;
}

uint64_t csum_pseudo(const uint8_t *frame, const struct layers *at)
{
	const uint8_t *l3 = frame + at->l2_bytes;
	uint32_t l4_total = at->l4_bytes + at->payload_bytes;
	// Both pseudo headers end in the length and the protocol, as 32-bit words; the sum does
	// not mind that IPv4's are 16-bit.
	uint64_t sum = __builtin_bswap32(l4_total) + (uint64_t)__builtin_bswap32(at->proto);

	if (at->ipv6)
		return csum_add(sum, l3 + offsetof(struct ipv6_header, src), 32);
	return csum_add(sum, l3 + offsetof(struct ipv4_header, src), 8);
}

void csum_set_ipv4(uint8_t *frame, const struct layers *at)
{
	struct ipv4_header *ip = (struct ipv4_header *)(frame + at->l2_bytes);

	store_u16(&ip->csum, 0);
	store_u16(&ip->csum, (uint16_t)~csum_fold(csum_add(0, ip, at->l3_bytes)));
}

void csum_set_l4(struct rte_mbuf *m, const struct layers *at)
{
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
	uint8_t *field = frame + layers_csum_offset(at);
	uint64_t sum = csum_pseudo(frame, at);
	uint16_t csum;

	store_u16(field, 0);
	sum = csum_add_frame(sum, m, at->l2_bytes + at->l3_bytes, at->l4_bytes + at->payload_bytes);
	csum = (uint16_t)~csum_fold(sum);
	if (csum == 0 && at->proto == IP_PROTO_UDP)
		csum = 0xffff;
	store_u16(field, csum);
}

bool csum_complete(struct rte_mbuf *m, uint32_t start, uint32_t offset)
{
	uint16_t csum;

	if (start >= m->pkt_len || start + offset + 2 > m->data_len)
		return false;
	csum = (uint16_t)~csum_fold(csum_add_frame(0, m, start, m->pkt_len - start));
	// Zero would say "none" in UDP; all ones is the same number in every protocol.
	store_u16(rte_pktmbuf_mtod_offset(m, uint8_t *, start + offset), csum ? csum : 0xffff);
	return true;
}
