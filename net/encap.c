// SPDX-License-Identifier: Apache-2.0
#include "net/encap.h"

enum encap_kind encap_find_ipv6(const uint8_t *p, uint32_t len, const struct encap_where *where)
{
	const uint8_t *ip = p + where->l3, *l4 = ip + sizeof(struct ipv6_header);
	uint8_t next;
	be16 word;

	if (len < where->l3 + (uint32_t)sizeof(struct ipv6_header) + 8 || ip[0] >> 4 != 6)
		return ENCAP_KIND_NONE;
	next = ip[offsetof(struct ipv6_header, next)];
	if (next == IP_PROTO_FRAGMENT) // its first byte says of what
		return l4[0] == IP_PROTO_UDP || l4[0] == IP_PROTO_GRE ? ENCAP_KIND_FRAGMENT :
									ENCAP_KIND_NONE;
	word = load_be16(l4 + 2);
	if (next == IP_PROTO_UDP && word == cpu_to_be16(where->udp_port))
		return ENCAP_KIND_VXLAN;
	if (next == IP_PROTO_GRE && word == BE16(GRE_PROTO_ETHERNET))
		return ENCAP_KIND_NVGRE;
	return ENCAP_KIND_NONE;
}
