// SPDX-License-Identifier: Apache-2.0
// What changes in the tables that all images share, when one follows another: customer addresses,
// and the headers of ways. See hnv_compile.h. control.
#include "vswitch/hnv_compile.h"

#include <stdlib.h>

// --- customer addresses ------------------------------------------------------------------------

static int compare_customers(const struct hnv_record_cfg *a, const struct hnv_record_cfg *b)
{
	if (a->subnet != b->subnet)
		return a->subnet < b->subnet ? -1 : 1;
	return memcmp(&a->customer, &b->customer, sizeof(a->customer));
}

// Flows that ended at this address look again.
static void touch(struct fdb *fdb, uint16_t fid, const struct hnv_record_cfg *before)
{
	if (before)
		fdb_touch(fdb, fid, before->mac);
	else
		fdb_touch_unknown(fdb, fid);
}

static void change_neighbors(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *from,
			     const struct hnv_image *to)
{
	const struct hnv_record_cfg *o = from ? from->cfg.records : NULL;
	const struct hnv_record_cfg *o_end = from ? o + from->cfg.n_records : NULL;
	const struct hnv_record_cfg *n = to ? to->cfg.records : NULL;
	const struct hnv_record_cfg *n_end = to ? n + to->cfg.n_records : NULL;

	while (o < o_end || n < n_end) {
		int order = o == o_end ? 1 : n == n_end ? -1 : compare_customers(o, n);
		uint16_t fid = order < 0 ? from->fids[o->subnet] : to->fids[n->subnet];
		const struct hnv_record_cfg *r = order < 0 ? o : n;

		if (r->customer.family && order < 0) {
			hnv_neighbors_del(s->neighbors, fid, &o->customer);
			touch(fdb, fid, o);
		} else if (r->customer.family && (order > 0 || !mac_equal(o->mac, n->mac))) {
			// Cannot fail: room is reserved.
			hnv_neighbors_set(s->neighbors, fid, &n->customer, n->mac);
			touch(fdb, fid, order ? NULL : o);
		}
		o += order <= 0;
		n += order >= 0;
	}
}

// --- ways --------------------------------------------------------------------------------------

static struct way_header *make_header(const struct hnv_image *im, const struct way *w,
				      const struct underlay_neighbor *next_hop)
{
	const struct hnv_provider_cfg *from = &im->cfg.providers[next_hop->provider];
	const struct encap_ops *ops = im->hnv.codecs[w->encap];
	struct way_header *h = aligned_alloc(CACHE_LINE, (sizeof(*h) + CACHE_LINE - 1) /
								 CACHE_LINE * CACHE_LINE);
	bool ipv6 = from->address.family == 6;
	struct encap_way way = {
		.src = from->mac,
		.dst = next_hop->mac,
		.vid = from->vid,
		.ipv6 = ipv6,
		.ttl = 64,
		.udp_port = im->cfg.vxlan_port,
	};

	if (!h)
		return NULL;
	memset(h, 0, sizeof(*h));
	memcpy(way.source, from->address.b, sizeof(way.source));
	memcpy(way.destination, w->provider.b, sizeof(way.destination));
	h->ops = ops;
	h->uplink = from->port;
	h->mtu = from->mtu - (ipv6 ? ops->outer_bytes_v6 : ops->outer_bytes_v4);
	ops->build(&way, &h->header);
	return h;
}

static void set_header(struct hnv_shared *s, struct way *w, struct way_header *h)
{
	struct way_header *old = (struct way_header *)w->now.rcu_ptr;

	if (old && h && memcmp(old, h, sizeof(*h)) == 0) {
		free(h);
		return;
	}
	rcu_set(&w->now, h);
	if (old)
		rcu_retire(s->rcu, free, old);
}

void hnv_refresh_ways(struct hnv_shared *s, const struct hnv_image *im,
		      const struct underlay_neighbor *n)
{
	const struct underlay *u = im->underlay;
	uint32_t first = n ? underlay_first_hop(u, n) : 0;

	for (uint32_t i = first; i < u->n_hops; i++) {
		const struct underlay_neighbor *to = &u->neighbors[u->hops[i].neighbor];
		struct way *w = &s->ways[u->hops[i].way - WAY_FIRST];

		if (n && to != n)
			break;
		w->local = to->provider;
		set_header(s, w, mac_is_zero(to->mac) ? NULL : make_header(im, w, to));
	}
}

void hnv_end_ways(struct hnv_shared *s, const uint16_t *ways, uint32_t n,
		  const struct hnv_image *to)
{
	for (uint32_t i = 0; i < n; i++) {
		struct way *w = &s->ways[ways[i] - WAY_FIRST];

		if (!to || hnv_find_way(&to->hnv, w->encap, &w->provider) != ways[i])
			set_header(s, w, NULL);
	}
}

void hnv_publish(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *from,
		 const struct hnv_image *to)
{
	if (from == to)
		return;
	hnv_learnt_follow(s, fdb, to);
	change_neighbors(s, fdb, from, to);
	if (from && to) // what neighbours have said since `to` was made
		underlay_inherit(to->underlay, from->underlay);
	if (from)
		hnv_end_ways(s, from->ways, from->n_ways, to);
	if (to)
		hnv_refresh_ways(s, to, NULL);
}
