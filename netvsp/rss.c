// SPDX-License-Identifier: Apache-2.0
#include "netvsp/rss.h"

#include "net/headers.h"

#define IPV4_BYTES 8u // of input for addresses
#define IPV6_BYTES 32u
#define PORT_BYTES 4u

static uint32_t key_window(const uint8_t *key, uint32_t bit)
{
	uint64_t five = 0;

	// Behind the key's last byte it goes on at the first: no input is as long.
	for (uint32_t i = 0; i < 5; i++)
		five = five << 8 | key[(bit / 8 + i) % NDIS_RSS_KEY_BYTES];
	return (uint32_t)(five >> (8 - bit % 8));
}

void netvsp_rss_init(struct netvsp_spread *spread, const struct netvsp_rss *agreed)
{
	uint32_t n = agreed->n_entries, places = 1;

	*spread = (struct netvsp_spread){ .hash = agreed->hash };
	while (places < n && places < NDIS_RSS_MAX_ENTRIES)
		places *= 2;
	spread->mask = places - 1;
	for (uint32_t i = 0; i < places && n; i++)
		spread->table[i] = agreed->table[i % n];
	for (uint32_t place = 0; place < 2 * NETVSP_HASH_INPUT; place++)
		for (uint32_t value = 0; value < 16; value++)
			for (uint32_t bit = 0; bit < 4; bit++)
				if (value & 8u >> bit)
					spread->nibbles[place][value] ^=
						key_window(agreed->key, place * 4 + bit);
}

// Adds bytes p[n] that stand at `place` of the input.
static ALWAYS_INLINE uint32_t add(const struct netvsp_spread *spread, uint32_t place,
				  const uint8_t *p, uint32_t n)
{
	const uint32_t (*nibbles)[16] = &spread->nibbles[2 * place];
	uint32_t hash = 0;

	for (uint32_t i = 0; i < n; i++)
		hash ^= nibbles[2 * i][p[i] >> 4] ^ nibbles[2 * i + 1][p[i] & 15];
	return hash;
}

// Where the IP header's contents that are hashed lie. bytes 0: not in the frame.
struct input {
	const uint8_t *addresses, *l4;
	uint8_t proto; // 0: a fragment, or what cannot be read
	bool ipv6, extended;
};

static void find_ipv4(const uint8_t *p, const uint8_t *end, struct input *in)
{
	const struct ipv4_header *ip = (const struct ipv4_header *)p;
	uint32_t bytes;

	if ((size_t)(end - p) < sizeof(*ip) || ip->version_ihl >> 4 != 4)
		return;
	in->addresses = (const uint8_t *)&ip->src;
	bytes = (ip->version_ihl & 15) * 4u;
	if (be16_to_cpu(ip->fragment) & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK) ||
	    bytes < sizeof(*ip) || (size_t)(end - p) < bytes + PORT_BYTES)
		return;
	in->proto = ip->proto;
	in->l4 = p + bytes;
}

static void find_ipv6(const uint8_t *p, const uint8_t *end, struct input *in)
{
	const struct ipv6_header *ip = (const struct ipv6_header *)p;
	uint8_t next;

	if ((size_t)(end - p) < sizeof(*ip) || p[0] >> 4 != 6)
		return;
	in->ipv6 = true;
	in->addresses = ip->src;
	next = ip->next;
	p += sizeof(*ip);
	for (int i = 0; i < 4; i++) {
		const struct ipv6_extension *ext = (const struct ipv6_extension *)p;

		if (next != IP_PROTO_HOPOPTS && next != IP_PROTO_ROUTING &&
		    next != IP_PROTO_DSTOPTS)
			break;
		if ((size_t)(end - p) < 8 || (size_t)(end - p) < (ext->units + 1u) * 8)
			return;
		in->extended = true;
		next = ext->next;
		p += (ext->units + 1u) * 8;
	}
	if ((size_t)(end - p) < PORT_BYTES)
		return;
	in->proto = next;
	in->l4 = p;
}

// Which hash applies, as enum ndis_hash; ports: whether it takes them. A type that the guest did
// not ask for is hashed over addresses alone, if it asked for that.
static uint32_t choose(uint32_t asked, const struct input *in, bool *ports)
{
	uint32_t l4 = 0;

	if (in->proto == IP_PROTO_TCP)
		l4 = in->ipv6 ? NDIS_HASH_TCP_V6 : NDIS_HASH_TCP_V4;
	else if (in->proto == IP_PROTO_UDP)
		l4 = in->ipv6 ? NDIS_HASH_UDP_V6 : NDIS_HASH_UDP_V4;
	if (in->extended && l4 == NDIS_HASH_TCP_V6 && (asked & NDIS_HASH_TCP_V6_EX))
		l4 = NDIS_HASH_TCP_V6_EX;
	*ports = asked & l4;
	if (*ports)
		return l4;
	if (in->extended && (asked & NDIS_HASH_IPV6_EX))
		return NDIS_HASH_IPV6_EX;
	return asked & (in->ipv6 ? NDIS_HASH_IPV6 : NDIS_HASH_IPV4);
}

uint32_t netvsp_rss_hash(const struct netvsp_spread *spread, const uint8_t *p, uint32_t bytes,
			 uint32_t *kind)
{
	const uint8_t *end = p + bytes;
	struct input in = {};
	uint32_t hash;
	bool ports;
	be16 type;

	*kind = 0;
	if (bytes < sizeof(struct eth_header))
		return 0;
	type = load_be16(p + 12);
	p += sizeof(struct eth_header);
	for (int i = 0;
	     i < 2 && (type == BE16(ETH_TYPE_VLAN) || type == BE16(ETH_TYPE_QINQ)) && end - p >= 4;
	     i++, p += 4)
		type = load_be16(p + 2);
	if (type == BE16(ETH_TYPE_IPV4))
		find_ipv4(p, end, &in);
	else if (type == BE16(ETH_TYPE_IPV6))
		find_ipv6(p, end, &in);
	if (!in.addresses)
		return 0;
	*kind = choose(spread->hash, &in, &ports);
	if (!*kind)
		return 0;
	hash = in.ipv6 ? add(spread, 0, in.addresses, IPV6_BYTES) :
			 add(spread, 0, in.addresses, IPV4_BYTES);
	if (ports)
		hash ^= add(spread, in.ipv6 ? IPV6_BYTES : IPV4_BYTES, in.l4, PORT_BYTES);
	return hash;
}

void netvsp_rss_select(const struct netvsp_spread *spread, struct rte_mbuf *const *pkts, uint16_t n,
		       uint8_t *queues)
{
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t kind, hash = netvsp_rss_hash(spread, rte_pktmbuf_mtod(m, const uint8_t *),
						      m->data_len, &kind);

		queues[i] = spread->table[hash & spread->mask];
		if (rte_mbuf_refcnt_read(m) != 1)
			continue;
		m->ol_flags &= ~RTE_MBUF_F_RX_RSS_HASH;
		if (kind) {
			m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
			m->hash.rss = hash;
			m->hash.fdir.hi = kind | NDIS_HASH_TOEPLITZ;
		}
	}
}
