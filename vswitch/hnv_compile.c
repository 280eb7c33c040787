// SPDX-License-Identifier: Apache-2.0
#include "vswitch/hnv_compile.h"

#include <errno.h>
#include <stdlib.h>

#define N_FIDS 65536u

int hnv_shared_init(struct hnv_shared *s, struct rcu *rcu, struct err *err)
{
	*s = (struct hnv_shared){ .rcu = rcu, .ways = calloc(WAY_MAX, sizeof(*s->ways)) };
	s->learnt.peers = calloc(HNV_PEERS_MAX, sizeof(*s->learnt.peers));
	s->learnt.customers = calloc(HNV_CUSTOMERS_MAX, sizeof(*s->learnt.customers));
	if (!s->ways || !s->learnt.peers || !s->learnt.customers)
		return err_set(err, ENOMEM, "no memory for virtual networks");
	return hnv_neighbors_create(rcu, &s->neighbors, err);
}

void hnv_shared_fini(struct hnv_shared *s)
{
	for (uint32_t i = 0; s->ways && i < WAY_MAX; i++)
		free((void *)s->ways[i].now.rcu_ptr);
	free(s->ways);
	free(s->learnt.peers);
	free(s->learnt.customers);
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
		im->learns |= s->learning;
	}
	for (uint32_t i = 0; i < im->cfg.n_records; i++) {
		const struct hnv_record_cfg *r = &im->cfg.records[i];
		uint16_t fid = im->fids[r->subnet];

		if (im->by_fid[fid] && r->encap != im->by_fid[fid]->encap)
			im->subnets[im->by_fid[fid] - im->subnets].other_encaps |= 1u << r->encap;
	}
	return true;
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
		if (ip_prefix_has(&lines[low].route.prefix, &r->next_hop))
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
	int ret;

	if (!make_subnets(im) || !make_networks(im) || !make_underlays(im))
		return -ENOMEM;
	ret = hnv_image_number_ways(im, s, old);
	if (ret)
		return ret;
	im->underlay = underlay_create(&im->cfg, s->ways, im->ways, im->n_ways,
				       old ? old->underlay : NULL);
	im->hnv = (struct hnv){
		.router_mac = im->cfg.router_mac,
		.vxlan_port = im->cfg.vxlan_port,
		.codecs = { im->cfg.codecs[0], im->cfg.codecs[1] },
		.by_fid = im->by_fid,
		.underlays = im->underlays,
		.index = { hnv_image_make_index(im, s) },
		.neighbors = s->neighbors,
		.probes = &s->probes,
		.ways = s->ways,
	};
	return im->hnv.index.rcu_ptr && im->underlay ? 0 : -ENOMEM;
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
	free((void *)im->hnv.index.rcu_ptr);
	underlay_destroy(im->underlay);
	free(im);
}
