// SPDX-License-Identifier: Apache-2.0
#include "vswitch/hnv_compile.h"

#include <errno.h>
#include <stdlib.h>

#include "base/keyed.h"

#define N_FIDS 65536u

int hnv_shared_init(struct hnv_shared *s, struct rcu *rcu, struct err *err)
{
	*s = (struct hnv_shared){ .rcu = rcu, .ways = calloc(WAY_MAX, sizeof(*s->ways)) };
	if (!s->ways)
		return err_set(err, ENOMEM, "no memory for ways");
	return hnv_neighbors_create(rcu, &s->neighbors, err);
}

void hnv_shared_fini(struct hnv_shared *s)
{
	for (uint32_t i = 0; s->ways && i < WAY_MAX; i++)
		free((void *)s->ways[i].now.rcu_ptr);
	free(s->ways);
	hnv_neighbors_destroy(s->neighbors);
}

// --- the copy of what was asked for ------------------------------------------------------------

static bool copy_array(const void **to, const void *from, uint32_t n, size_t size)
{
	void *copy = malloc((n + 1) * size);

	if (copy && n)
		memcpy(copy, from, n * size);
	*to = copy;
	return copy;
}

#define COPY(member)                                                                               \
	copy_array((const void **)&to->member, from->member, from->n_##member,                     \
		   sizeof(*from->member))
#define SAME(member)                                                                               \
	(a->n_##member == b->n_##member &&                                                         \
	 (!a->n_##member || memcmp(a->member, b->member, a->n_##member * sizeof(*a->member)) == 0))

static bool copy_cfg(struct hnv_cfg *to, const struct hnv_cfg *from)
{
	bool ok;

	*to = *from;
	ok = COPY(subnets);
	ok &= COPY(records);
	ok &= COPY(routes);
	ok &= COPY(providers);
	ok &= COPY(provider_routes);
	return ok;
}

static void free_cfg(struct hnv_cfg *c)
{
	free((void *)c->subnets);
	free((void *)c->records);
	free((void *)c->routes);
	free((void *)c->providers);
	free((void *)c->provider_routes);
}

bool hnv_image_is(const struct hnv_image *image, const struct hnv_cfg *b)
{
	const struct hnv_cfg *a = &image->cfg;

	return mac_equal(a->router_mac, b->router_mac) && a->vxlan_port == b->vxlan_port &&
	       SAME(subnets) && SAME(records) && SAME(routes) && SAME(providers) &&
	       SAME(provider_routes);
}

// --- subnets and networks ----------------------------------------------------------------------

static bool make_subnets(struct hnv_image *im)
{
	im->subnets = calloc(im->cfg.n_subnets + 1, sizeof(*im->subnets));
	im->by_fid = calloc(N_FIDS, sizeof(*im->by_fid));
	if (!im->subnets || !im->by_fid)
		return false;
	for (uint32_t i = 0; i < im->cfg.n_subnets; i++) {
		const struct hnv_subnet_cfg *s = &im->cfg.subnets[i];

		im->subnets[i] = (struct hnv_subnet){
			.fid = im->fids[s->id],
			.vsid = s->vsid,
			.encap = (uint8_t)s->encap,
			.flow_id = s->flow_id,
			.learning = s->learning,
			.prefix = { s->prefix[0], s->prefix[1] },
			.gateway = { s->gateway[0], s->gateway[1] },
		};
		im->by_fid[im->subnets[i].fid] = &im->subnets[i];
	}
	return true;
}

static bool prefix_has(const struct ip_prefix *p, const struct ip_address *a)
{
	uint8_t rest = p->len % 8;

	return p->family == a->family && memcmp(p->addr, a->b, p->len / 8) == 0 &&
	       (!rest || (p->addr[p->len / 8] ^ a->b[p->len / 8]) >> (8 - rest) == 0);
}

// One line of a network's table on its way there.
struct network_line {
	uint16_t network;
	struct hnv_network_route route;
};

static int compare_lines(const void *a, const void *b)
{
	const struct network_line *x = a, *y = b;

	return x->network < y->network ? -1 : x->network > y->network;
}

// The subnets' own prefixes, connected[n] sorted by network.
static uint32_t connect_subnets(const struct hnv_image *im, struct network_line *lines)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < im->cfg.n_subnets; i++)
		for (int v6 = 0; v6 < 2; v6++)
			if (im->subnets[i].prefix[v6].family)
				lines[n++] = (struct network_line){
					im->cfg.subnets[i].network,
					{ .prefix = im->subnets[i].prefix[v6],
					  .subnet = &im->subnets[i] } };
	if (n)
		qsort(lines, n, sizeof(*lines), compare_lines);
	return n;
}

// In which of the n connected subnets of the network the next hop is; NULL: none.
static const struct hnv_subnet *hop_subnet(const struct network_line *lines, uint32_t n,
					   const struct hnv_route_cfg *r)
{
	uint32_t low = 0, high = n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (lines[middle].network < r->network)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < n && lines[low].network == r->network; low++)
		if (prefix_has(&lines[low].route.prefix, &r->next_hop))
			return lines[low].route.subnet;
	return NULL;
}

// Connected prefixes and routes of all networks, together by network.
static uint32_t make_lines(const struct hnv_image *im, struct network_line *lines)
{
	uint32_t n_connected = connect_subnets(im, lines), n = n_connected;

	for (uint32_t i = 0; i < im->cfg.n_routes; i++) {
		const struct hnv_route_cfg *r = &im->cfg.routes[i];
		const struct hnv_subnet *s = hop_subnet(lines, n_connected, r);

		if (!s)
			continue; // its subnet is gone: leads nowhere
		lines[n++] = (struct network_line){ r->network,
						    { .prefix = r->prefix,
						      .metric = r->metric,
						      .subnet = s,
						      .next_hop = r->next_hop } };
	}
	if (n)
		qsort(lines, n, sizeof(*lines), compare_lines);
	return n;
}

static bool make_network(struct hnv_image *im, const struct network_line *lines, uint32_t n)
{
	struct hnv_network_route *routes = calloc(n, sizeof(*routes));
	struct hnv_network *network;

	if (!routes)
		return false;
	for (uint32_t i = 0; i < n; i++)
		routes[i] = lines[i].route;
	network = hnv_network_create(routes, n);
	free(routes);
	if (!network)
		return false;
	im->networks[im->n_networks++] = network;
	for (uint32_t i = 0; i < n; i++)
		if (!lines[i].route.next_hop.family)
			im->subnets[lines[i].route.subnet - im->subnets].network = network;
	return true;
}

static bool make_networks(struct hnv_image *im)
{
	uint32_t room = 2 * im->cfg.n_subnets + im->cfg.n_routes + 1, n;
	struct network_line *lines = calloc(room, sizeof(*lines));
	bool ok = lines;

	im->networks = calloc(im->cfg.n_subnets + 1, sizeof(struct hnv_network *));
	if (!lines || !im->networks) {
		free(lines);
		return false;
	}
	n = make_lines(im, lines);
	for (uint32_t first = 0, end; ok && first < n; first = end) {
		for (end = first + 1; end < n && lines[end].network == lines[first].network; end++)
			;
		ok = make_network(im, lines + first, end - first);
	}
	free(lines);
	return ok;
}

// --- ways --------------------------------------------------------------------------------------

// The order of two records among those of one key.
static int compare_providers(const void *records, uint32_t a, uint32_t b)
{
	const struct hnv_record_cfg *x = (const struct hnv_record_cfg *)records + a;
	const struct hnv_record_cfg *y = (const struct hnv_record_cfg *)records + b;
	int order = memcmp(&x->provider, &y->provider, sizeof(x->provider));

	return order ? order : x->encap - y->encap;
}

// Records of one way have one key; of IPv6 ways, several may.
static uint64_t provider_key(const struct hnv_record_cfg *r)
{
	return r->provider.family == 4 ? (uint64_t)load_u32(r->provider.b) << 1 | r->encap
				       : load_u64(r->provider.b + 8) | 1ull << 63;
}

static bool is_ours(const struct hnv_cfg *cfg, const struct ip_address *a)
{
	for (uint32_t i = 0; i < cfg->n_providers; i++)
		if (ip_address_equal(&cfg->providers[i].address, a))
			return true;
	return false;
}

// A number that neither image uses. 0: none.
static uint16_t fresh_way(struct hnv_shared *s, const uint8_t *taken)
{
	for (uint32_t i = 0; i < WAY_MAX; i++) {
		uint32_t at = (s->next_way + i) % WAY_MAX;

		if (taken[at])
			continue;
		s->next_way = (at + 1) % WAY_MAX;
		return (uint16_t)(WAY_FIRST + at);
	}
	return 0;
}

// Numbers for the records keys[n], sorted by their ways: those of `old` where it has them.
static int number_ways(struct hnv_image *im, const struct keyed *keys, uint32_t n,
		       struct hnv_shared *s, const struct hnv_image *old)
{
	uint8_t *taken = calloc(WAY_MAX, 1);
	uint16_t way = 0;

	if (!taken)
		return -ENOMEM;
	for (uint32_t i = 0; old && i < old->n_ways; i++)
		taken[old->ways[i] - WAY_FIRST] = 1;
	for (uint32_t i = 0; i < n; i++) {
		const struct hnv_record_cfg *k = &im->cfg.records[keys[i].at];

		if (i == 0 ||
		    compare_providers(im->cfg.records, keys[i - 1].at, keys[i].at) != 0) {
			way = old ? hnv_find_way(&old->hnv, k->encap, &k->provider) : 0;
			if (!way)
				way = fresh_way(s, taken);
			if (!way) {
				free(taken);
				return -ENOSPC;
			}
			taken[way - WAY_FIRST] = 1;
			// Nobody looks at a fresh number before it is published.
			s->ways[way - WAY_FIRST].provider = k->provider;
			s->ways[way - WAY_FIRST].encap = k->encap;
			im->ways[im->n_ways++] = way;
		}
		im->record_ways[keys[i].at] = way;
	}
	free(taken);
	return 0;
}

static int make_ways(struct hnv_image *im, struct hnv_shared *s, const struct hnv_image *old)
{
	struct keyed *keys = calloc(im->cfg.n_records + 1, sizeof(*keys));
	uint32_t n = 0;
	int ret;

	im->record_ways = calloc(im->cfg.n_records + 1, sizeof(*im->record_ways));
	im->ways = calloc(im->cfg.n_records + 1, sizeof(*im->ways));
	if (!keys || !im->record_ways || !im->ways) {
		free(keys);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < im->cfg.n_records; i++) {
		const struct hnv_record_cfg *r = &im->cfg.records[i];

		if (r->provider.family && !is_ours(&im->cfg, &r->provider))
			keys[n++] = (struct keyed){ provider_key(r), i };
	}
	ret = keyed_sort(keys, n, compare_providers, im->cfg.records);
	if (!ret)
		ret = number_ways(im, keys, n, s, old);
	free(keys);
	return ret;
}

static int compare_ways(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

uint32_t hnv_image_flood(const struct hnv_image *im, uint16_t subnet, uint16_t *ways)
{
	uint32_t low = 0, high = im->cfg.n_records, n = 0, kept = 0;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (im->cfg.records[middle].subnet < subnet)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < im->cfg.n_records && im->cfg.records[low].subnet == subnet; low++)
		if (im->record_ways[low] && (!n || ways[n - 1] != im->record_ways[low])) {
			ways[n++] = im->record_ways[low];
			if (n < im->n_ways)
				continue;
			// As many as there can be: time to leave out those that are there twice.
			qsort(ways, n, sizeof(*ways), compare_ways);
			kept = 0;
			for (uint32_t i = 0; i < n; i++)
				if (!kept || ways[kept - 1] != ways[i])
					ways[kept++] = ways[i];
			if (kept == im->n_ways)
				return kept; // all of them
			n = kept;
		}
	if (n)
		qsort(ways, n, sizeof(*ways), compare_ways);
	for (uint32_t i = kept = 0; i < n; i++)
		if (!kept || ways[kept - 1] != ways[i])
			ways[kept++] = ways[i];
	return kept;
}

// --- the whole ---------------------------------------------------------------------------------

static bool make_underlays(struct hnv_image *im)
{
	const struct hnv_provider_cfg *p = im->cfg.providers;

	im->underlays = calloc(PORT_SLOTS, sizeof(*im->underlays));
	im->underlay_list = calloc(im->cfg.n_providers + 1, sizeof(*im->underlay_list));
	im->plain = hnv_plain_create(&im->cfg);
	if (!im->underlays || !im->underlay_list || !im->plain)
		return false;
	for (uint32_t i = 0; i < im->cfg.n_providers; i++) {
		struct hnv_underlay *u = (struct hnv_underlay *)im->underlays[p[i].port];

		if (!u) {
			u = &im->underlay_list[i];
			u->providers = &p[i];
			u->plain = &im->plain[i];
			im->underlays[p[i].port] = u;
		}
		u->n++;
	}
	return true;
}

static int make_image(struct hnv_image *im, struct hnv_shared *s, const struct hnv_image *old)
{
	const struct hnv_subnet **list;
	int ret;

	if (!make_subnets(im) || !make_networks(im) || !make_underlays(im))
		return -ENOMEM;
	ret = make_ways(im, s, old);
	if (ret)
		return ret;
	im->underlay = underlay_create(&im->cfg, s->ways, im->ways, im->n_ways,
				       old ? old->underlay : NULL);
	list = calloc(im->cfg.n_subnets + 1, sizeof(*list));
	for (uint32_t i = 0; list && i < im->cfg.n_subnets; i++)
		list[i] = &im->subnets[i];
	im->hnv = (struct hnv){
		.router_mac = im->cfg.router_mac,
		.vxlan_port = im->cfg.vxlan_port,
		.codecs = { im->cfg.codecs[0], im->cfg.codecs[1] },
		.by_fid = im->by_fid,
		.underlays = im->underlays,
		.index = list ? hnv_index_create(list, im->cfg.n_subnets, s->ways, im->ways,
						 im->n_ways)
			      : NULL,
		.neighbors = s->neighbors,
		.ways = s->ways,
	};
	free(list);
	return im->hnv.index && im->underlay ? 0 : -ENOMEM;
}

int hnv_image_create(const struct hnv_cfg *cfg, uint16_t *fids, struct hnv_shared *shared,
		     const struct hnv_image *old, struct hnv_image **out)
{
	struct hnv_image *im = calloc(1, sizeof(*im));
	uint32_t count[2] = { 0, 0 };
	int ret;

	if (!im) {
		free(fids);
		return -ENOMEM;
	}
	im->fids = fids;
	ret = copy_cfg(&im->cfg, cfg) ? make_image(im, shared, old) : -ENOMEM;
	for (uint32_t i = 0; i < cfg->n_records; i++)
		count[cfg->records[i].customer.family == 6]++;
	if (!ret)
		ret = hnv_neighbors_reserve(shared->neighbors, count[0], count[1]);
	if (ret) {
		hnv_image_destroy(im);
		return ret;
	}
	*out = im;
	return 0;
}

void hnv_image_destroy(void *arg)
{
	struct hnv_image *im = arg;

	if (!im)
		return;
	free_cfg(&im->cfg);
	free(im->fids);
	free(im->subnets);
	free(im->by_fid);
	free(im->underlays);
	free(im->underlay_list);
	free(im->plain);
	for (uint32_t i = 0; i < im->n_networks; i++)
		free(im->networks[i]);
	free(im->networks);
	free(im->ways);
	free(im->record_ways);
	free((void *)im->hnv.index);
	underlay_destroy(im->underlay);
	free(im);
}
