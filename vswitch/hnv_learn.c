// SPDX-License-Identifier: Apache-2.0
#include "vswitch/hnv_learn.h"

#include "vswitch/hnv_compile.h"

#define CUSTOMERS_A_SECOND (HNV_CUSTOMERS_MAX / 64)

static const struct hnv_subnet_cfg *subnet_of(const struct hnv_image *im, uint16_t fid)
{
	const struct hnv_subnet *s = im ? im->by_fid[fid] : NULL;

	return s ? &im->cfg.subnets[s - im->subnets] : NULL;
}

// --- hosts -------------------------------------------------------------------------------------

bool hnv_learnt_stays(const struct hnv_image *im, const struct hnv_peer *p)
{
	const struct hnv_subnet_cfg *s = subnet_of(im, im->fids[p->subnet]);

	return s && s->learning && !hnv_cfg_is_ours(&im->cfg, &p->provider);
}

static bool same_peer(const struct hnv_peer *a, const struct hnv_peer *b)
{
	return a->subnet == b->subnet && a->encap == b->encap &&
	       ip_address_equal(&a->provider, &b->provider);
}

bool hnv_learn_peer(struct hnv_shared *s, const struct hnv_image *im, const struct hnv_peer *p)
{
	struct hnv_learnt *l = &s->learnt;
	struct ip_address next_hop;
	uint16_t provider;

	for (uint32_t i = 0; i < l->n_peers; i++)
		if (same_peer(&l->peers[i], p))
			return false;
	if (l->n_peers == HNV_PEERS_MAX || !hnv_learnt_stays(im, p) ||
	    !underlay_route(&im->cfg, &p->provider, &provider, &next_hop))
		return false;
	l->peers[l->n_peers] = *p;
	l->peers[l->n_peers++].way = hnv_find_way(&im->hnv, p->encap, &p->provider);
	return true;
}

void hnv_learnt_drop(struct hnv_shared *s) { s->learnt.n_peers--; }

void hnv_age_peers(struct hnv_shared *s, const struct fdb *fdb)
{
	for (uint32_t i = 0; i < s->learnt.n_peers; i++) {
		struct hnv_peer *p = &s->learnt.peers[i];

		p->idle_s = fdb_port_count(fdb, p->way) ? 0 : p->idle_s + 1;
	}
}

int hnv_forget_peer(struct hnv_shared *s)
{
	struct hnv_learnt *l = &s->learnt;

	for (uint32_t i = 0; i < l->n_peers; i++) {
		struct hnv_peer *p = &l->peers[i];
		uint16_t subnet = p->subnet;

		if (p->idle_s < HNV_PEER_IDLE_S)
			continue;
		*p = l->peers[--l->n_peers];
		return subnet;
	}
	return -1;
}

// --- customers ---------------------------------------------------------------------------------

// Some host's address in the subnet, and not the gateway's.
static bool is_customer(const struct hnv_subnet_cfg *s, const struct ip_address *a)
{
	bool v6 = a->family == 6;

	return ip_prefix_has(&s->prefix[v6], a) && !ip_address_equal(&s->gateway[v6], a);
}

void hnv_learn_customer(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *im,
			const struct hnv_record_cfg *c)
{
	struct hnv_learnt *l = &s->learnt;
	uint16_t fid = im->fids[c->subnet];
	const struct hnv_subnet_cfg *subnet = subnet_of(im, fid);
	struct fdb_where where;
	struct mac before;
	bool known;

	if (!subnet || !subnet->learning || !is_customer(subnet, &c->customer) ||
	    !fdb_find(fdb, fid, c->mac, &where) ||
	    hnv_image_has_record(im, c->subnet, &c->customer))
		return;
	known = hnv_find_neighbor(&im->hnv, fid, &c->customer, &before);
	if (known ? mac_equal(before, c->mac) : l->n_customers == HNV_CUSTOMERS_MAX)
		return;
	if (hnv_neighbors_set(s->neighbors, fid, &c->customer, c->mac))
		return;
	if (!known)
		l->customers[l->n_customers++] = (struct hnv_customer){ fid, c->customer };
	if (known)
		fdb_touch(fdb, fid, before);
	else
		fdb_touch_unknown(fdb, fid);
}

// Takes customer i from the list, and from the table unless a record has taken the address over.
static void forget_customer(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *im,
			    uint32_t i)
{
	struct hnv_learnt *l = &s->learnt;
	struct hnv_customer c = l->customers[i];
	const struct hnv_subnet_cfg *subnet = subnet_of(im, c.fid);

	l->customers[i] = l->customers[--l->n_customers];
	if (subnet && hnv_image_has_record(im, subnet->id, &c.address))
		return;
	hnv_neighbors_del(s->neighbors, c.fid, &c.address);
	fdb_touch_unknown(fdb, c.fid);
}

void hnv_age_customers(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *im)
{
	struct hnv_learnt *l = &s->learnt;

	for (uint32_t n = 0; n < CUSTOMERS_A_SECOND && n < l->n_customers; n++) {
		const struct hnv_customer *c;
		struct fdb_where where;
		struct mac mac;

		if (l->next_customer >= l->n_customers)
			l->next_customer = 0;
		c = &l->customers[l->next_customer];
		if (hnv_find_neighbor(&im->hnv, c->fid, &c->address, &mac) &&
		    fdb_find(fdb, c->fid, mac, &where))
			l->next_customer++;
		else
			forget_customer(s, fdb, im, l->next_customer);
	}
}

// --- the whole ---------------------------------------------------------------------------------

void hnv_learnt_follow(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *to)
{
	struct hnv_learnt *l = &s->learnt;

	for (uint32_t i = l->n_peers; i-- > 0;)
		if (!to || !hnv_learnt_stays(to, &l->peers[i]))
			l->peers[i] = l->peers[--l->n_peers];
	for (uint32_t i = l->n_customers; i-- > 0;) {
		const struct hnv_subnet_cfg *subnet = subnet_of(to, l->customers[i].fid);

		if (!subnet || !subnet->learning || !is_customer(subnet, &l->customers[i].address))
			forget_customer(s, fdb, to, i);
	}
}
