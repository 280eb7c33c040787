// SPDX-License-Identifier: Apache-2.0
#include "vswitch/egress.h"

#include <rte_mbuf.h>

#include "net/vlan.h"

static struct rte_mbuf *copy(struct worker_out *out, struct rte_mbuf *m)
{
	return rte_pktmbuf_copy(m, out->pools->small, 0, UINT32_MAX);
}

struct rte_mbuf *egress_retag(struct worker_out *out, struct rte_mbuf *m, enum tag_form form,
			      uint16_t tag)
{
	bool same = tag ? form == TAG_VID : form == TAG_NONE;
	bool push = tag && form == TAG_NONE;

	if (same)
		return m;
	if (!vlan_can_edit(m) || (push && rte_pktmbuf_headroom(m) < VLAN_TAG_BYTES)) {
		struct rte_mbuf *mine = copy(out, m);

		rte_pktmbuf_free(m);
		if (!mine)
			return NULL;
		m = mine;
	}
	if (push)
		vlan_push(m, tag & VID_MASK); // a fresh copy has headroom
	else if (tag)
		vlan_set_vid(m, tag & VID_MASK);
	else
		vlan_pop(m);
	return m;
}

// The source may have moved while its flow stayed cached; a flooded frame is the moment to see it.
static void look_at_source(struct cache *c, const struct view *v, uint16_t fid,
			   const struct packet *p)
{
	struct fdb_where where;

	if (v->port->learning &&
	    (!fdb_find(c->fdb, fid, p->src, &where) || where.port != p->in_port))
		cache_report(c, fid, p, c->tick);
}

// One frame on its way to many.
struct flood {
	struct cache *c;
	const struct view *v;
	struct worker_out *out;
	enum tag_form form; // in which the frame came
};

// A receiver, and whether its own policy lets the frame out.
struct receiver {
	const struct sw_member *to;
	struct verdict verdict;
};

static bool denied(struct flood *f, const struct receiver *r, struct rte_mbuf *m)
{
	const struct drop_cause cause = { r->to->port, DROP_TX, (uint8_t)r->verdict.reason,
					  r->verdict.rule };

	if (r->verdict.reason == DROP_NONE)
		return false;
	counter_add(&f->c->rule_drops[cause.rule % CACHE_RULES], 1);
	if (m)
		worker_drop_for(f->out, &cause, m);
	else
		counter_add(&worker_counters(f->out, cause.port)->drops[DROP_TX][cause.reason], 1);
	return true;
}

static void send_to(struct flood *f, const struct receiver *r, struct rte_mbuf *m)
{
	if (denied(f, r, m))
		return;
	m = egress_retag(f->out, m, f->form, r->to->tag);
	if (m)
		worker_output(f->out, r->to->port, m);
	else
		counter_add(&worker_counters(f->out, r->to->port)->drops[DROP_TX][DROP_RESOURCES],
			    1);
}

// One more receiver than frames: a copy is made, or counted as the one that could not be.
static void send_copy(struct flood *f, const struct receiver *r, struct rte_mbuf *m)
{
	struct port_counters *counters = worker_counters(f->out, r->to->port);

	counter_add(&counters->created, 1);
	if (denied(f, r, NULL))
		return;
	m = copy(f->out, m);
	if (m)
		send_to(f, r, m);
	else
		counter_add(&counters->drops[DROP_TX][DROP_RESOURCES], 1);
}

static void send_to_all(struct flood *f, const struct sw_domain *domain, const struct packet *p,
			struct rte_mbuf *m)
{
	uint16_t in = f->v->port->index;
	struct receiver last = { 0 };

	// The original goes to the last receiver, so that one receiver costs no copy.
	for (uint16_t i = 0; domain && i < domain->n; i++) {
		const struct sw_member *to = &domain->members[i];

		if (to->port == in || !f->v->snap->ports[to->port])
			continue;
		if (last.to)
			send_copy(f, &last, m);
		last.to = to;
		classify_flood_copy(f->v->snap->ports[to->port], p, &last.verdict);
	}
	if (last.to)
		send_to(f, &last, m);
	else
		worker_drop(f->out, in, DROP_RX, DROP_NO_DESTINATION, m);
}

void egress_flood(struct cache *c, const struct view *v, struct worker_out *out,
		  const struct program *p, const struct key *key, struct rte_mbuf *m)
{
	const struct sw_domain *domain =
		p->fid < v->snap->n_domains ? v->snap->domains[p->fid] : NULL;
	struct flood f = { c, v, out, (enum tag_form)p->form };
	struct key_l3 l3;
	struct packet pkt;

	if (v->port->storm_limit &&
	    !token_take(&c->ports[v->port->index].storm, v->port->storm_limit, c->now_tsc,
			c->tsc_hz)) {
		worker_drop(out, v->port->index, DROP_RX, DROP_STORM_LIMIT, m);
		return;
	}
	parse_l3(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, key, &l3);
	packet_from_keys(key, &l3, &pkt);
	look_at_source(c, v, p->fid, &pkt);
	send_to_all(&f, domain, &pkt, m);
}
