// SPDX-License-Identifier: Apache-2.0
#include "net/encap_plain.h"

#include "net/key.h"

// Which bits of an Ethernet and IPv4 header are the same in all plain frames; a congestion mark
// is what has ECN's lower bit (RFC 6040, figure 4: without it the inner field stays as it is).
static const uint8_t eth_mask[12] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const uint8_t tag_mask[4] = { 0xff, 0xff, VID_MASK >> 8, VID_MASK & 0xff };
static const uint8_t type_mask[2] = { 0xff, 0xff };
static const uint8_t ip_mask[20] = {
	[0] = 0xff, [1] = 0x01, [6] = 0x3f, [7] = 0xff, [9] = 0xff, // no fragment; protocol
	[16] = 0xff, 0xff, 0xff, 0xff,
};

static uint8_t *append(uint8_t *to, const uint8_t *bytes, size_t n)
{
	memcpy(to, bytes, n);
	return to + n;
}

void encap_plain_make(const struct encap_ops *ops, const struct encap_way *way,
		      struct encap_plain *out)
{
	uint32_t l4_bytes = ops->outer_bytes_v4 - sizeof(struct eth_header) -
			    sizeof(struct ipv4_header);
	uint8_t *mask = out->mask;
	struct encap_header h;

	*out = (struct encap_plain){ .want = { 0xff } }; // what no byte masked by 0 is
	if (way->ipv6)
		return;
	ops->build(way, &h);
	mask = append(mask, eth_mask, sizeof(eth_mask));
	if (way->vid)
		mask = append(mask, tag_mask, sizeof(tag_mask));
	mask = append(mask, type_mask, sizeof(type_mask));
	out->l3 = (uint32_t)(mask - out->mask);
	mask = append(mask, ip_mask, sizeof(ip_mask));
	append(mask, ops->plain_mask, l4_bytes);
	for (uint32_t i = 0; i < h.n_bytes; i++)
		out->want[i] = h.bytes[sizeof(h.bytes) - h.n_bytes + i] & out->mask[i];
	out->n_bytes = h.n_bytes;
	out->length_at = out->l3 + (ops->length_at ? sizeof(struct ipv4_header) + ops->length_at
						   : offsetof(struct ipv4_header, total_bytes));
	out->length_less = ops->length_at ? sizeof(struct ipv4_header) : 0;
	out->min_id = ops->min_id;
	out->n_ids = ops->max_id - ops->min_id + 1;
}
