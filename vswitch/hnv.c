// SPDX-License-Identifier: Apache-2.0
#include "vswitch/hnv.h"

#include <errno.h>
#include <stdlib.h>

#include "vswitch/hnv_tables.h"

bool ip_prefix_has(const struct ip_prefix *p, const struct ip_address *a)
{
	uint8_t rest = p->len % 8;

	return p->family == a->family && memcmp(p->addr, a->b, p->len / 8) == 0 &&
	       (!rest || (p->addr[p->len / 8] ^ a->b[p->len / 8]) >> (8 - rest) == 0);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t h = (a ^ 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;

	h = ((h ^ h >> 32) + b) * 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 29;
}

// Smallest power of two ≥ n.
static uint32_t power_of_two(uint32_t n)
{
	uint32_t size = 16;

	while (size < n)
		size *= 2;
	return size;
}

// --- VSID → subnet, provider → way ---------------------------------------------------------------

struct hnv_index {
	uint32_t subnet_mask, way_mask;
	const struct hnv_subnet **subnets[HNV_N_ENCAPS]; // [subnet_mask + 1], open addressing
	const struct way *ways;
	uint16_t *numbers; // [way_mask + 1], 0: empty
};

static uint64_t hash_vsid(uint32_t vsid)
{
	return mix(vsid, 0);
}

static uint64_t hash_provider(uint8_t encap, const struct ip_address *a)
{
	return mix(load_u64(a->b) + encap, load_u64(a->b + 8) + a->family);
}

// Unless the number is taken.
static void add_subnet(struct hnv_index *ix, uint8_t encap, const struct hnv_subnet *subnet)
{
	const struct hnv_subnet **table = ix->subnets[encap];
	uint64_t at = hash_vsid(subnet->vsid);

	while (table[at & ix->subnet_mask] && table[at & ix->subnet_mask]->vsid != subnet->vsid)
		at++;
	if (!table[at & ix->subnet_mask])
		table[at & ix->subnet_mask] = subnet;
}

struct hnv_index *hnv_index_create(const struct hnv_subnet *const *subnets, uint32_t n_subnets,
				   const struct way *ways, const uint16_t *numbers, uint32_t n_ways)
{
	uint32_t n_s = power_of_two(2 * n_subnets), n_w = power_of_two(2 * n_ways);
	struct hnv_index *ix =
		calloc(1, sizeof(*ix) + HNV_N_ENCAPS * n_s * sizeof(void *) + n_w * 2);

	if (!ix)
		return NULL;
	ix->subnet_mask = n_s - 1;
	ix->way_mask = n_w - 1;
	ix->subnets[0] = (const struct hnv_subnet **)(ix + 1);
	for (int encap = 1; encap < HNV_N_ENCAPS; encap++)
		ix->subnets[encap] = ix->subnets[encap - 1] + n_s;
	ix->numbers = (uint16_t *)(ix->subnets[HNV_N_ENCAPS - 1] + n_s);
	ix->ways = ways;
	for (uint32_t i = 0; i < n_subnets; i++)
		add_subnet(ix, subnets[i]->encap, subnets[i]);
	// Where records ask for another encapsulation, and nobody has the number there.
	for (uint32_t i = 0; i < n_subnets; i++)
		for (uint8_t encap = 0; encap < HNV_N_ENCAPS; encap++)
			if (subnets[i]->other_encaps & 1u << encap)
				add_subnet(ix, encap, subnets[i]);
	for (uint32_t i = 0; i < n_ways; i++) {
		const struct way *w = &ways[numbers[i] - WAY_FIRST];
		uint64_t at = hash_provider(w->encap, &w->provider);

		while (ix->numbers[at & ix->way_mask])
			at++;
		ix->numbers[at & ix->way_mask] = numbers[i];
	}
	return ix;
}

const struct hnv_subnet *hnv_find_subnet(const struct hnv *hnv, uint8_t encap, uint32_t vsid)
{
	const struct hnv_index *ix = rcu_get(&hnv->index);

	for (uint64_t at = hash_vsid(vsid);; at++) {
		const struct hnv_subnet *s = ix->subnets[encap][at & ix->subnet_mask];

		if (!s || s->vsid == vsid)
			return s;
	}
}

uint16_t hnv_find_way(const struct hnv *hnv, uint8_t encap, const struct ip_address *provider)
{
	const struct hnv_index *ix = rcu_get(&hnv->index);

	for (uint64_t at = hash_provider(encap, provider);; at++) {
		uint16_t number = ix->numbers[at & ix->way_mask];

		if (!number || (ix->ways[number - WAY_FIRST].encap == encap &&
				ip_address_equal(&ix->ways[number - WAY_FIRST].provider,
						 provider)))
			return number;
	}
}

// --- providers -----------------------------------------------------------------------------------

struct hnv_plain *hnv_plain_create(const struct hnv_cfg *cfg)
{
	struct hnv_plain *plain =
		aligned_alloc(CACHE_LINE, (cfg->n_providers + 1) * sizeof(*plain));

	for (uint32_t i = 0; plain && i < cfg->n_providers; i++) {
		const struct hnv_provider_cfg *p = &cfg->providers[i];
		struct encap_way way = { .dst = p->mac,
					 .vid = p->vid,
					 .ipv6 = p->address.family == 6,
					 .ttl = 64,
					 .udp_port = cfg->vxlan_port };

		memcpy(way.destination, p->address.b, sizeof(way.destination));
		for (int encap = 0; encap < HNV_N_ENCAPS; encap++)
			encap_plain_make(cfg->codecs[encap], &way, &plain[i].by_encap[encap]);
	}
	return plain;
}

// --- routes --------------------------------------------------------------------------------------

// Prefixes flattened into ranges: an address belongs to the last range that begins at or before
// it. Found by bisection; on misses only.
struct hnv_network {
	uint32_t n4, n6;
	struct range4 {
		uint32_t first;
		uint32_t hop; // into hops; 0: no route
	} *ranges4;
	struct range6 {
		uint64_t first[2];
		uint64_t hop;
	} *ranges6;
	struct hnv_hop *hops; // next.family 0: the destination itself
};

struct number {
	uint64_t w[2]; // an address as a number, IPv4 in the top 32 bits
};

static struct number number_of(const uint8_t *b)
{
	return (struct number){ { __builtin_bswap64(load_u64(b)),
				  __builtin_bswap64(load_u64(b + 8)) } };
}

static int number_compare(struct number a, struct number b)
{
	if (a.w[0] != b.w[0])
		return a.w[0] < b.w[0] ? -1 : 1;
	return a.w[1] < b.w[1] ? -1 : a.w[1] > b.w[1];
}

// The first address behind the prefix; all zeros when there is none.
static struct number prefix_end(const struct ip_prefix *p)
{
	struct number n = number_of(p->addr);

	if (p->len == 0)
		return (struct number){ { 0, 0 } };
	if (p->len <= 64) {
		n.w[0] += 1ull << (64 - p->len);
		return n;
	}
	n.w[1] += p->len == 128 ? 1 : 1ull << (128 - p->len);
	n.w[0] += n.w[1] == 0;
	return n;
}

// By family, then where they begin, the shorter first, the worse of equals first: whoever comes
// later lies inside of, or replaces, who came before.
static int compare_routes(const void *a, const void *b)
{
	const struct hnv_network_route *x = a, *y = b;
	int order;

	if (x->prefix.family != y->prefix.family)
		return x->prefix.family < y->prefix.family ? -1 : 1;
	order = number_compare(number_of(x->prefix.addr), number_of(y->prefix.addr));
	if (order)
		return order;
	if (x->prefix.len != y->prefix.len)
		return x->prefix.len < y->prefix.len ? -1 : 1;
	return x->metric > y->metric ? -1 : x->metric < y->metric;
}

static bool same_prefix(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->family == b->family && a->len == b->len &&
	       memcmp(a->addr, b->addr, sizeof(a->addr)) == 0;
}

static void put_range(struct hnv_network *net, uint8_t family, struct number first, uint32_t hop)
{
	if (family == 4) {
		struct range4 *last = net->n4 ? &net->ranges4[net->n4 - 1] : NULL;
		uint32_t at = (uint32_t)(first.w[0] >> 32);

		if (last && last->first == at)
			last->hop = hop;
		else if (!last || last->hop != hop)
			net->ranges4[net->n4++] = (struct range4){ at, hop };
	} else {
		struct range6 *last = net->n6 ? &net->ranges6[net->n6 - 1] : NULL;

		if (last && last->first[0] == first.w[0] && last->first[1] == first.w[1])
			last->hop = hop;
		else if (!last || last->hop != hop)
			net->ranges6[net->n6++] =
				(struct range6){ { first.w[0], first.w[1] }, hop };
	}
}

// Prefixes that contain each other, outermost first: 129 at most.
struct nest {
	uint32_t depth;
	struct {
		struct number end;
		uint32_t hop;
	} open[130];
};

// Ends those that do not reach `to` (NULL: all).
static void close_nests(struct hnv_network *net, struct nest *nest, uint8_t family,
			const struct number *to)
{
	static const struct number zero;

	while (nest->depth > 1) {
		struct number end = nest->open[nest->depth - 1].end;
		bool endless = number_compare(end, zero) == 0;

		if (to && (endless || number_compare(end, *to) > 0))
			return;
		nest->depth--;
		if (!endless)
			put_range(net, family, end, nest->open[nest->depth - 1].hop);
	}
}

static void flatten(struct hnv_network *net, const struct hnv_network_route *routes, uint32_t n)
{
	struct nest nest = { .depth = 1 };
	uint8_t family = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct number first = number_of(routes[i].prefix.addr);

		if (i + 1 < n && same_prefix(&routes[i].prefix, &routes[i + 1].prefix))
			continue; // a better one follows
		close_nests(net, &nest, family,
			    routes[i].prefix.family == family ? &first : NULL);
		family = routes[i].prefix.family;
		nest.open[nest.depth].end = prefix_end(&routes[i].prefix);
		nest.open[nest.depth++].hop = i + 1;
		put_range(net, family, first, i + 1);
	}
	close_nests(net, &nest, family, NULL);
}

struct hnv_network *hnv_network_create(struct hnv_network_route *routes, uint32_t n)
{
	uint32_t n4 = 0, n6;
	struct hnv_network *net;

	if (n)
		qsort(routes, n, sizeof(*routes), compare_routes);
	while (n4 < n && routes[n4].prefix.family == 4)
		n4++;
	n6 = n - n4;
	net = calloc(1, sizeof(*net) + (n + 1ull) * sizeof(*net->hops) +
				(2ull * n6 + 1) * sizeof(*net->ranges6) +
				(2ull * n4 + 1) * sizeof(*net->ranges4));
	if (!net)
		return NULL;
	net->hops = (struct hnv_hop *)(net + 1);
	net->ranges6 = (struct range6 *)(net->hops + n + 1);
	net->ranges4 = (struct range4 *)(net->ranges6 + 2ull * n6 + 1);
	for (uint32_t i = 0; i < n; i++)
		net->hops[i + 1] = (struct hnv_hop){ routes[i].subnet, routes[i].next_hop };
	flatten(net, routes, n);
	return net;
}

static uint32_t find4(const struct hnv_network *net, uint32_t address)
{
	uint32_t low = 0, high = net->n4;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (net->ranges4[middle].first <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? net->ranges4[low - 1].hop : 0;
}

static uint32_t find6(const struct hnv_network *net, struct number address)
{
	uint32_t low = 0, high = net->n6;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct range6 *r = &net->ranges6[middle];

		if (number_compare((struct number){ { r->first[0], r->first[1] } }, address) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? (uint32_t)net->ranges6[low - 1].hop : 0;
}

bool hnv_route(const struct hnv_network *network, const struct ip_address *to, struct hnv_hop *out)
{
	struct number n = number_of(to->b);
	uint32_t hop = to->family == 4 ? find4(network, (uint32_t)(n.w[0] >> 32))
				       : find6(network, n);

	if (!hop)
		return false;
	*out = network->hops[hop];
	if (!out->next.family)
		out->next = *to;
	return true;
}

// --- neighbours ----------------------------------------------------------------------------------

// Open addressing. A key stays until the table is made anew; a value of 0 is a key that was taken
// out. A key becomes visible after its value.
struct entry4 {
	uint64_t key;   // fid << 32 | address; 0: empty
	uint64_t value; // VALUE_SET | MAC
};

struct entry6 {
	uint64_t address[2];
	uint64_t key; // fid; 0: empty
	uint64_t value;
};

#define VALUE_SET (1ull << 63)

struct table {
	uint32_t mask;
	uint32_t n_keys; // those taken out, too. control
	bool ipv6;
	union {
		struct entry4 v4[0];
		struct entry6 v6[0];
	};
};

struct hnv_neighbors {
	struct rcu *rcu;
	RCU_POINTER(struct table) tables[2]; // IPv4, IPv6
	uint32_t n_live[2];
};

// An address in either table's terms.
struct probe {
	uint64_t key, address[2];
	uint64_t hash;
};

static struct probe probe_of(uint16_t fid, const struct ip_address *a)
{
	struct probe p = { .key = fid };

	if (a->family == 4) {
		p.key = (uint64_t)fid << 32 | load_u32(a->b);
		p.hash = mix(p.key, 0);
	} else {
		p.address[0] = load_u64(a->b);
		p.address[1] = load_u64(a->b + 8);
		p.hash = mix(p.address[1] + fid, p.address[0]);
	}
	return p;
}

// The value of the probe's entry, or where it would be: *found says which. Safe beside the writer.
static uint64_t *find_value(struct table *t, const struct probe *p, bool *found)
{
	for (uint64_t i = p->hash;; i++) {
		struct entry4 *e4 = &t->v4[i & t->mask];
		struct entry6 *e6 = &t->v6[i & t->mask];
		// Acquire: address and value were written before the key.
		uint64_t key = __atomic_load_n(t->ipv6 ? &e6->key : &e4->key, __ATOMIC_ACQUIRE);

		*found = key == p->key && (!t->ipv6 || (e6->address[0] == p->address[0] &&
							e6->address[1] == p->address[1]));
		if (*found || !key)
			return t->ipv6 ? &e6->value : &e4->value;
	}
}

static void put(struct table *t, const struct probe *p, uint64_t value)
{
	bool found;
	uint64_t *at = find_value(t, p, &found);

	__atomic_store_n(at, value, __ATOMIC_RELAXED);
	if (found)
		return;
	if (t->ipv6) {
		struct entry6 *e = container_of(at, struct entry6, value);

		e->address[0] = p->address[0];
		e->address[1] = p->address[1];
		__atomic_store_n(&e->key, p->key, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(&container_of(at, struct entry4, value)->key, p->key,
				 __ATOMIC_RELEASE);
	}
	t->n_keys++;
}

static struct table *table_create(uint32_t size, bool ipv6)
{
	struct table *t = calloc(1, sizeof(*t) + (size_t)size * (ipv6 ? sizeof(struct entry6)
								      : sizeof(struct entry4)));

	if (t) {
		t->mask = size - 1;
		t->ipv6 = ipv6;
	}
	return t;
}

int hnv_neighbors_create(struct rcu *rcu, struct hnv_neighbors **out, struct err *err)
{
	struct hnv_neighbors *n = calloc(1, sizeof(*n));

	for (int v6 = 0; n && v6 < 2; v6++)
		n->tables[v6].rcu_ptr = table_create(power_of_two(0), v6);
	if (!n || !n->tables[0].rcu_ptr || !n->tables[1].rcu_ptr) {
		hnv_neighbors_destroy(n);
		return err_set(err, ENOMEM, "no memory for customer addresses");
	}
	n->rcu = rcu;
	*out = n;
	return 0;
}

void hnv_neighbors_destroy(struct hnv_neighbors *n)
{
	if (!n)
		return;
	free(n->tables[0].rcu_ptr);
	free(n->tables[1].rcu_ptr);
	free(n);
}

// The entry at `i` if it is in use.
static bool entry_at(const struct table *t, uint32_t i, struct probe *p, uint64_t *value)
{
	const struct entry4 *e4 = &t->v4[i];
	const struct entry6 *e6 = &t->v6[i];

	*value = t->ipv6 ? e6->value : e4->value;
	if (!*value)
		return false;
	*p = t->ipv6 ? (struct probe){ .key = e6->key,
				       .address = { e6->address[0], e6->address[1] } }
		     : (struct probe){ .key = e4->key };
	p->hash = t->ipv6 ? mix(p->address[1] + p->key, p->address[0]) : mix(p->key, 0);
	return true;
}

// Room for `more` keys at a load of 3/4.
static int grow(struct hnv_neighbors *n, bool ipv6, uint32_t more)
{
	struct table *old = n->tables[ipv6].rcu_ptr, *t;
	uint64_t value;
	struct probe p;

	if (((uint64_t)old->n_keys + more) * 4 <= 3 * (old->mask + 1ull))
		return 0;
	t = table_create(power_of_two((n->n_live[ipv6] + more) / 3 * 4 + 4), ipv6);
	if (!t)
		return -ENOMEM;
	for (uint32_t i = 0; i <= old->mask; i++)
		if (entry_at(old, i, &p, &value))
			put(t, &p, value);
	rcu_set(&n->tables[ipv6], t);
	rcu_retire(n->rcu, free, old);
	return 0;
}

int hnv_neighbors_reserve(struct hnv_neighbors *n, uint32_t n4, uint32_t n6)
{
	int ret = grow(n, false, n4);

	return ret ? ret : grow(n, true, n6);
}

int hnv_neighbors_set(struct hnv_neighbors *n, uint16_t fid, const struct ip_address *customer,
		      struct mac mac)
{
	struct probe p = probe_of(fid, customer);
	bool ipv6 = customer->family == 6, found;
	uint64_t *at;

	if (grow(n, ipv6, 1))
		return -ENOMEM;
	at = find_value(n->tables[ipv6].rcu_ptr, &p, &found);
	n->n_live[ipv6] += !found || !*at;
	put(n->tables[ipv6].rcu_ptr, &p, VALUE_SET | mac_to_u64(mac));
	return 0;
}

void hnv_neighbors_del(struct hnv_neighbors *n, uint16_t fid, const struct ip_address *customer)
{
	struct probe p = probe_of(fid, customer);
	bool ipv6 = customer->family == 6, found;
	uint64_t *at = find_value(n->tables[ipv6].rcu_ptr, &p, &found);

	if (!found || !*at)
		return;
	__atomic_store_n(at, 0, __ATOMIC_RELAXED);
	n->n_live[ipv6]--;
}

bool hnv_find_neighbor(const struct hnv *hnv, uint16_t fid, const struct ip_address *customer,
		       struct mac *mac)
{
	struct probe p = probe_of(fid, customer);
	bool found;
	uint64_t *at = find_value(rcu_get(&hnv->neighbors->tables[customer->family == 6]), &p,
				  &found);
	uint64_t value = found ? __atomic_load_n(at, __ATOMIC_RELAXED) : 0;

	*mac = mac_from_u64(value & 0xffffffffffffull);
	return value != 0;
}

void hnv_neighbors_each(const struct hnv_neighbors *n,
			bool (*fn)(void *arg, uint16_t fid, const struct ip_address *customer,
				   struct mac mac),
			void *arg)
{
	for (int v6 = 0; v6 < 2; v6++) {
		const struct table *t = n->tables[v6].rcu_ptr;

		for (uint32_t i = 0; i <= t->mask; i++) {
			struct ip_address a = { .family = v6 ? 6 : 4 };
			struct probe p;
			uint64_t value;

			if (!entry_at(t, i, &p, &value))
				continue;
			if (v6)
				memcpy(a.b, p.address, 16);
			else
				store_u32(a.b, (uint32_t)p.key);
			if (!fn(arg, (uint16_t)(v6 ? p.key : p.key >> 32), &a,
				mac_from_u64(value & 0xffffffffffffull)))
				return;
		}
	}
}
