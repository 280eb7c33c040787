// SPDX-License-Identifier: Apache-2.0
// The ways of an image: which there are, by which number, and who takes part in which subnet. Part
// of hnv_compile.h. control.
#include <errno.h>
#include <stdlib.h>

#include "base/keyed.h"
#include "vswitch/hnv_compile.h"

// --- numbers -----------------------------------------------------------------------------------

// The order of two records' providers among those of one key.
static int compare_providers(const void *records, uint32_t a, uint32_t b)
{
	const struct hnv_record_cfg *list = records;

	return memcmp(&list[a].provider, &list[b].provider, sizeof(list[a].provider));
}

// Records of one provider have one key; those of several IPv6 providers may.
static uint64_t provider_key(const struct ip_address *a)
{
	return a->family == 4 ? load_u32(a->b) : load_u64(a->b + 8) | 1ull << 63;
}

bool hnv_cfg_is_ours(const struct hnv_cfg *cfg, const struct ip_address *a)
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

enum { TAKEN_BEFORE = 1, TAKEN_NOW = 2 };

// What a step to new numbers works with.
struct numbering_ways {
	struct hnv_shared *s;
	const struct hnv_image *old; // keeps its numbers
	uint8_t taken[WAY_MAX]; // TAKEN_*
	bool in_use[HNV_N_ENCAPS]; // by any subnet or record
};

// The ways to one provider, by every encapsulation in use: what it routes to a subnet of ours
// comes by that subnet's, whatever its own records say. 0, or -ENOSPC.
static int number_provider(struct hnv_image *im, struct numbering_ways *n,
			   const struct ip_address *provider, uint16_t ways[HNV_N_ENCAPS])
{
	for (uint8_t encap = 0; encap < HNV_N_ENCAPS; encap++) {
		uint16_t way = n->old ? hnv_find_way(&n->old->hnv, encap, provider) : 0;

		if (!n->in_use[encap])
			continue;
		if (!way)
			way = fresh_way(n->s, n->taken);
		if (!way)
			return -ENOSPC;
		n->taken[way - WAY_FIRST] |= TAKEN_NOW;
		// Nobody looks at a fresh number before it is published.
		n->s->ways[way - WAY_FIRST].provider = *provider;
		n->s->ways[way - WAY_FIRST].encap = encap;
		im->ways[im->n_ways++] = way;
		ways[encap] = way;
	}
	return 0;
}

// Ways to the hosts that were learnt, behind those of records.
static int number_peers(struct hnv_image *im, struct numbering_ways *n)
{
	const struct hnv_learnt *l = &n->s->learnt;
	uint16_t ways[HNV_N_ENCAPS] = { 0 };
	int ret = 0;

	im->n_fixed_ways = im->n_ways;
	for (uint32_t i = 0; i < l->n_peers && !ret; i++) {
		struct hnv_peer *p = &l->peers[i];

		if (!hnv_learnt_stays(im, p) ||
		    (p->way && n->taken[p->way - WAY_FIRST] & TAKEN_NOW))
			continue;
		ret = number_provider(im, n, &p->provider, ways);
		p->way = ways[p->encap];
	}
	return ret;
}

static struct numbering_ways *begin_numbering(const struct hnv_image *im, struct hnv_shared *s,
					      const struct hnv_image *old)
{
	struct numbering_ways *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->s = s;
	n->old = old;
	for (uint32_t i = 0; old && i < old->n_ways; i++)
		n->taken[old->ways[i] - WAY_FIRST] = TAKEN_BEFORE;
	for (uint32_t i = 0; i < im->cfg.n_subnets; i++)
		n->in_use[im->cfg.subnets[i].encap] = true;
	return n;
}

// Numbers for the records keys[n], sorted by provider: those of `old` where it has them.
static int number_ways(struct hnv_image *im, const struct keyed *keys, uint32_t n,
		       struct hnv_shared *s, const struct hnv_image *old)
{
	struct numbering_ways *numbering = begin_numbering(im, s, old);
	const struct hnv_record_cfg *records = im->cfg.records;
	uint16_t ways[HNV_N_ENCAPS] = { 0 };
	int ret = 0;

	if (!numbering)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		numbering->in_use[records[keys[i].at].encap] = true;
	for (uint32_t i = 0; i < n && !ret; i++) {
		const struct hnv_record_cfg *r = &records[keys[i].at];

		if (i == 0 || !ip_address_equal(&records[keys[i - 1].at].provider, &r->provider))
			ret = number_provider(im, numbering, &r->provider, ways);
		im->record_ways[keys[i].at] = ways[r->encap];
	}
	if (!ret)
		ret = number_peers(im, numbering);
	free(numbering);
	return ret;
}

int hnv_image_number_ways(struct hnv_image *im, struct hnv_shared *s, const struct hnv_image *old)
{
	struct keyed *keys = calloc(im->cfg.n_records + 1, sizeof(*keys));
	uint32_t n = 0;
	int ret;

	im->record_ways = calloc(im->cfg.n_records + 1, sizeof(*im->record_ways));
	im->ways = calloc(HNV_N_ENCAPS * (im->cfg.n_records + s->learnt.n_peers + 1ul),
			  sizeof(*im->ways));
	if (!keys || !im->record_ways || !im->ways) {
		free(keys);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < im->cfg.n_records; i++) {
		const struct hnv_record_cfg *r = &im->cfg.records[i];

		if (r->provider.family && !hnv_cfg_is_ours(&im->cfg, &r->provider))
			keys[n++] = (struct keyed){ provider_key(&r->provider), i };
	}
	ret = keyed_sort(keys, n, compare_providers, im->cfg.records);
	if (!ret)
		ret = number_ways(im, keys, n, s, old);
	free(keys);
	return ret;
}

// --- floods and look-ups -----------------------------------------------------------------------

// The first record of the subnet, or where it would be.
static uint32_t first_record(const struct hnv_image *im, uint16_t subnet)
{
	uint32_t low = 0, high = im->cfg.n_records;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (im->cfg.records[middle].subnet < subnet)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int compare_customers(const void *key, const void *record)
{
	const struct hnv_record_cfg *a = key, *b = record;

	if (a->subnet != b->subnet)
		return a->subnet < b->subnet ? -1 : 1;
	return memcmp(&a->customer, &b->customer, sizeof(a->customer));
}

bool hnv_image_has_record(const struct hnv_image *im, uint16_t subnet,
			  const struct ip_address *customer)
{
	const struct hnv_record_cfg key = { .subnet = subnet, .customer = *customer };

	return im->cfg.n_records && bsearch(&key, im->cfg.records, im->cfg.n_records, sizeof(key),
					    compare_customers);
}

static int compare_ways(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

static uint32_t unique_ways(uint16_t *ways, uint32_t n)
{
	uint32_t kept = 0;

	if (n)
		qsort(ways, n, sizeof(*ways), compare_ways);
	for (uint32_t i = 0; i < n; i++)
		if (!kept || ways[kept - 1] != ways[i])
			ways[kept++] = ways[i];
	return kept;
}

uint32_t hnv_image_flood(const struct hnv_image *im, const struct hnv_learnt *learnt,
			 uint16_t subnet, uint16_t *ways)
{
	uint32_t at = first_record(im, subnet), n = 0;

	for (; at < im->cfg.n_records && im->cfg.records[at].subnet == subnet; at++) {
		if (!im->record_ways[at] || (n && ways[n - 1] == im->record_ways[at]))
			continue;
		ways[n++] = im->record_ways[at];
		if (n < im->n_ways)
			continue;
		// As many as there can be: time to leave out those that are there twice.
		n = unique_ways(ways, n);
		if (n == im->n_ways)
			return n; // all of them
	}
	for (uint32_t i = 0; i < learnt->n_peers; i++) {
		const struct hnv_peer *p = &learnt->peers[i];

		if (p->subnet != subnet || !hnv_learnt_stays(im, p))
			continue;
		if (n == im->n_ways)
			n = unique_ways(ways, n);
		if (n == im->n_ways)
			return n;
		ways[n++] = p->way;
	}
	return unique_ways(ways, n);
}

// --- hosts that are learnt ---------------------------------------------------------------------

struct hnv_index *hnv_image_make_index(const struct hnv_image *im, const struct hnv_shared *s)
{
	const struct hnv_subnet **list = calloc(im->cfg.n_subnets + 1, sizeof(*list));
	struct hnv_index *index = NULL;

	for (uint32_t i = 0; list && i < im->cfg.n_subnets; i++)
		list[i] = &im->subnets[i];
	if (list)
		index = hnv_index_create(list, im->cfg.n_subnets, s->ways, im->ways, im->n_ways);
	free(list);
	return index;
}

// Numbers, index and neighbours of `next`, which holds the ways of records.
static int relearn(struct hnv_image *next, struct hnv_shared *s, const struct hnv_image *old)
{
	struct numbering_ways *numbering = begin_numbering(old, s, old);
	int ret = -ENOMEM;

	if (numbering && next->ways) {
		memcpy(next->ways, old->ways, old->n_fixed_ways * sizeof(*next->ways));
		for (uint32_t i = 0; i < old->n_fixed_ways; i++)
			numbering->taken[old->ways[i] - WAY_FIRST] |= TAKEN_NOW;
		next->n_ways = old->n_fixed_ways;
		ret = number_peers(next, numbering);
	}
	free(numbering);
	if (ret)
		return ret;
	next->underlay = underlay_create(&old->cfg, s->ways, next->ways, next->n_ways,
					 old->underlay);
	next->hnv.index.rcu_ptr = hnv_image_make_index(next, s);
	return next->underlay && next->hnv.index.rcu_ptr ? 0 : -ENOMEM;
}

int hnv_image_relearn(struct hnv_image *im, struct hnv_shared *s)
{
	struct hnv_image next = *im, was = *im;
	int ret;

	next.ways = calloc(im->n_fixed_ways + HNV_N_ENCAPS * (s->learnt.n_peers + 1ul),
			   sizeof(*next.ways));
	next.underlay = NULL;
	next.hnv.index.rcu_ptr = NULL;
	ret = relearn(&next, s, im);
	if (ret) {
		free(next.ways);
		underlay_destroy(next.underlay);
		free((void *)next.hnv.index.rcu_ptr);
		return ret;
	}
	im->ways = next.ways;
	im->n_ways = next.n_ways;
	im->underlay = next.underlay;
	rcu_set(&im->hnv.index, next.hnv.index.rcu_ptr);
	rcu_retire(s->rcu, free, (void *)was.hnv.index.rcu_ptr);
	hnv_end_ways(s, was.ways, was.n_ways, im);
	hnv_refresh_ways(s, im, NULL);
	free(was.ways);
	underlay_destroy(was.underlay);
	return 0;
}
