// SPDX-License-Identifier: Apache-2.0
#include "vswitch/underlay.h"

#include <stdlib.h>

#include "net/csum.h"
#include "net/headers.h"

#define REFRESH_S 30u // a known neighbour is asked again so often …
#define FORGET_S 120u // … and given up when it has not answered for so long

// --- where packets go --------------------------------------------------------------------------

static bool has_bits(const uint8_t *a, const uint8_t *b, unsigned int bits)
{
	return memcmp(a, b, bits / 8) == 0 &&
	       (bits % 8 == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8) == 0);
}

bool underlay_route(const struct hnv_cfg *cfg, const struct ip_address *to, uint16_t *provider,
		    struct ip_address *next_hop)
{
	int best = -1;

	for (uint32_t i = 0; i < cfg->n_providers; i++) {
		const struct hnv_provider_cfg *p = &cfg->providers[i];

		if (p->address.family != to->family)
			continue;
		if (p->prefix_bits > best && has_bits(p->address.b, to->b, p->prefix_bits)) {
			best = p->prefix_bits;
			*provider = (uint16_t)i;
			*next_hop = *to;
		}
		if (best < 0 && p->gateway.family) {
			best = 0; // as a route to everywhere
			*provider = (uint16_t)i;
			*next_hop = p->gateway;
		}
	}
	for (uint32_t i = 0; i < cfg->n_provider_routes; i++) {
		const struct hnv_provider_route_cfg *r = &cfg->provider_routes[i];

		if (r->prefix.family != to->family || r->prefix.len < best ||
		    !has_bits(r->prefix.addr, to->b, r->prefix.len))
			continue;
		// A link of our own is nearer than a route of the same length.
		if (r->prefix.len == best && best > 0)
			continue;
		best = r->prefix.len;
		*provider = r->provider;
		*next_hop = r->next_hop;
	}
	return best >= 0;
}

// --- neighbours --------------------------------------------------------------------------------

static int compare_neighbors(const void *a, const void *b)
{
	const struct underlay_neighbor *x = a, *y = b;

	if (x->provider != y->provider)
		return x->provider < y->provider ? -1 : 1;
	return memcmp(&x->address, &y->address, sizeof(x->address));
}

static int compare_hops(const void *a, const void *b)
{
	const struct underlay_hop *x = a, *y = b;

	return x->neighbor < y->neighbor ? -1 : x->neighbor > y->neighbor;
}

static struct underlay_neighbor *find(const struct underlay *u, const struct underlay_neighbor *key)
{
	return u->n_neighbors ? bsearch(key, u->neighbors, u->n_neighbors, sizeof(*key),
					compare_neighbors)
			      : NULL;
}

// The MAC that the old configuration knew for a neighbour of ours on the same link.
static void inherit(const struct underlay *u, struct underlay_neighbor *n,
		    const struct underlay *old)
{
	const struct hnv_provider_cfg *p = &u->cfg->providers[n->provider];

	for (uint32_t i = 0; i < old->cfg->n_providers; i++) {
		const struct hnv_provider_cfg *q = &old->cfg->providers[i];
		struct underlay_neighbor key = { .provider = (uint16_t)i, .address = n->address };
		const struct underlay_neighbor *known = NULL;

		if (q->port == p->port && q->vid == p->vid && ip_address_equal(&p->address,
									       &q->address))
			known = find(old, &key);
		if (!known)
			continue;
		n->mac = known->mac;
		n->asked_s = known->asked_s;
		n->seen_s = known->seen_s;
	}
}

void underlay_inherit(struct underlay *to, const struct underlay *from)
{
	for (uint32_t i = 0; i < to->n_neighbors; i++)
		inherit(to, &to->neighbors[i], from);
}

uint32_t underlay_first_hop(const struct underlay *u, const struct underlay_neighbor *n)
{
	uint32_t low = 0, high = u->n_hops;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (u->hops[middle].neighbor < (uint32_t)(n - u->neighbors))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

// Sorts neighbours[n], one of each.
static uint32_t unique(struct underlay_neighbor *list, uint32_t n)
{
	uint32_t kept = 0;

	if (n)
		qsort(list, n, sizeof(*list), compare_neighbors);
	for (uint32_t i = 0; i < n; i++)
		if (!kept || compare_neighbors(&list[kept - 1], &list[i]) != 0)
			list[kept++] = list[i];
	return kept;
}

struct underlay *underlay_create(const struct hnv_cfg *cfg, const struct way *ways,
				 const uint16_t *numbers, uint32_t n, const struct underlay *old)
{
	struct underlay *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->cfg = cfg;
	u->neighbors = calloc(n + 1, sizeof(*u->neighbors));
	u->hops = calloc(n + 1, sizeof(*u->hops));
	if (!u->neighbors || !u->hops) {
		underlay_destroy(u);
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct way *w = &ways[numbers[i] - WAY_FIRST];
		struct underlay_neighbor *to = &u->neighbors[u->n_neighbors];

		u->n_neighbors += underlay_route(cfg, &w->provider, &to->provider, &to->address);
	}
	u->n_neighbors = unique(u->neighbors, u->n_neighbors);
	if (old)
		underlay_inherit(u, old);
	for (uint32_t i = 0; i < n; i++) {
		const struct way *w = &ways[numbers[i] - WAY_FIRST];
		struct underlay_neighbor key = { 0 };

		if (!underlay_route(cfg, &w->provider, &key.provider, &key.address))
			continue;
		u->hops[u->n_hops++] = (struct underlay_hop){
			numbers[i], (uint32_t)(find(u, &key) - u->neighbors) };
	}
	if (u->n_hops)
		qsort(u->hops, u->n_hops, sizeof(*u->hops), compare_hops);
	return u;
}

void underlay_destroy(struct underlay *u)
{
	if (!u)
		return;
	free(u->neighbors);
	free(u->hops);
	free(u);
}

struct underlay_neighbor *underlay_seen(struct underlay *u, uint16_t port,
					const struct ip_address *address, struct mac mac,
					uint32_t now_s)
{
	for (uint32_t i = 0; i < u->cfg->n_providers; i++) {
		struct underlay_neighbor key = { .provider = (uint16_t)i, .address = *address };
		struct underlay_neighbor *n;
		bool news;

		if (u->cfg->providers[i].port != port)
			continue;
		n = find(u, &key);
		if (!n || mac_is_group(mac) || mac_is_zero(mac) ||
		    mac_equal(mac, u->cfg->providers[i].mac)) // ours, says somebody else
			continue;
		news = !mac_equal(n->mac, mac);
		n->mac = mac;
		n->seen_s = now_s;
		if (news)
			return n;
	}
	return NULL;
}

enum underlay_task underlay_second(struct underlay_neighbor *n, uint32_t now_s)
{
	bool known = !mac_is_zero(n->mac);

	if (known && now_s - n->seen_s >= FORGET_S) {
		n->mac = (struct mac){ { 0 } };
		return UNDERLAY_FORGET;
	}
	if (n->asked_s && now_s - n->asked_s < 1)
		return UNDERLAY_NOTHING;
	if (known && now_s - n->seen_s < REFRESH_S)
		return UNDERLAY_NOTHING;
	n->asked_s = now_s;
	return UNDERLAY_ASK;
}

// --- questions ---------------------------------------------------------------------------------

static uint8_t *put_ethernet(uint8_t *p, struct mac to, const struct hnv_provider_cfg *from,
			     uint16_t type)
{
	memcpy(p, to.b, 6);
	memcpy(p + 6, from->mac.b, 6);
	p += 12;
	if (from->vid) {
		store_be16(p, BE16(ETH_TYPE_VLAN));
		store_be16(p + 2, cpu_to_be16(from->vid));
		p += 4;
	}
	store_be16(p, cpu_to_be16(type));
	return p + 2;
}

// RFC 826: Ethernet, IPv4, request.
static uint8_t *put_arp(uint8_t *p, const struct hnv_provider_cfg *from,
			const struct ip_address *target)
{
	static const uint8_t head[] = { 0, 1, 8, 0, 6, 4, 0, 1 };

	memcpy(p, head, sizeof(head));
	memcpy(p + 8, from->mac.b, 6);
	memcpy(p + 14, from->address.b, 4);
	memset(p + 18, 0, 6);
	memcpy(p + 24, target->b, 4);
	return p + 28;
}

// RFC 4861, 4.3, to the solicited-node address, with our link-layer address.
static uint8_t *put_solicitation(uint8_t *p, const struct hnv_provider_cfg *from,
				 const struct ip_address *target)
{
	static const uint8_t group[13] = { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff };
	uint8_t *icmp = p + 40;
	uint64_t sum;

	memset(p, 0, 40 + 32);
	p[0] = 0x60;
	p[5] = 32;
	p[6] = IP_PROTO_ICMPV6;
	p[7] = 255;
	memcpy(p + 8, from->address.b, 16);
	memcpy(p + 24, group, sizeof(group));
	memcpy(p + 37, target->b + 13, 3);
	icmp[0] = 135;
	memcpy(icmp + 8, target->b, 16);
	icmp[24] = 1; // option: source link-layer address, in units of 8 bytes:
	icmp[25] = 1;
	memcpy(icmp + 26, from->mac.b, 6);
	sum = csum_add(0, p + 8, 32 + 32);
	sum += (FORCE uint16_t)BE16(32) + (FORCE uint16_t)BE16(IP_PROTO_ICMPV6);
	store_be16(icmp + 2, (FORCE be16)(uint16_t)~csum_fold(sum));
	return icmp + 32;
}

uint32_t underlay_question(const struct underlay *u, const struct underlay_neighbor *n,
			   uint8_t *frame)
{
	const struct hnv_provider_cfg *from = &u->cfg->providers[n->provider];
	struct mac to = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	uint8_t *p;

	if (n->address.family == 6) {
		to = (struct mac){ { 0x33, 0x33, 0xff, n->address.b[13], n->address.b[14],
				     n->address.b[15] } };
		p = put_ethernet(frame, to, from, ETH_TYPE_IPV6);
		p = put_solicitation(p, from, &n->address);
	} else {
		p = put_ethernet(frame, to, from, ETH_TYPE_ARP);
		p = put_arp(p, from, &n->address);
	}
	return (uint32_t)(p - frame);
}
