// SPDX-License-Identifier: Apache-2.0
#include "vswitch/egress.h"

#include <rte_mbuf.h>

#include "net/vlan.h"
#include "vswitch/tunnel.h"

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
static void look_at_source(const struct frame *f, const struct packet *p)
{
	uint16_t at = p->way ? p->way : p->in_port;
	struct fdb_where where;

	if (!p->vsid && f->v->port->learning &&
	    (!fdb_find(f->c->fdb, f->p->fid, p->src, &where) || where.port != at))
		cache_report(f->c, f->p->fid, p, f->c->tick);
}

// A receiver, and whether its own policy lets the frame out.
struct receiver {
	const struct sw_member *to;
	uint16_t counted_at; // port that its frames are counted for
	struct verdict verdict;
};

static bool denied(const struct frame *f, const struct receiver *r, struct rte_mbuf *m)
{
	const struct drop_cause cause = { r->counted_at, DROP_TX, (uint8_t)r->verdict.reason,
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

static void send_to(const struct frame *f, const struct receiver *r, struct rte_mbuf *m)
{
	struct frame copy = *f;

	copy.m = m;
	if (denied(f, r, m))
		return;
	if (r->to->tag == TAG_WAY) {
		tunnel_send(&copy, r->to->port);
		return;
	}
	m = egress_retag(f->out, m, (enum tag_form)f->p->form, r->to->tag);
	if (m)
		worker_output(f->out, r->to->port, m);
	else
		counter_add(&worker_counters(f->out, r->to->port)->drops[DROP_TX][DROP_RESOURCES],
			    1);
}

// One more receiver than frames: a copy is made, or counted as the one that could not be.
static void send_copy(const struct frame *f, const struct receiver *r)
{
	struct port_counters *counters = worker_counters(f->out, r->counted_at);
	struct rte_mbuf *m;

	counter_add(&counters->created, 1);
	if (denied(f, r, NULL))
		return;
	m = copy(f->out, f->m);
	if (m)
		send_to(f, r, m);
	else
		counter_add(&counters->drops[DROP_TX][DROP_RESOURCES], 1);
}

// False: this member gets no frame from here.
static bool receives(const struct frame *f, const struct packet *p, struct receiver *r)
{
	const struct sw_port *port;

	r->counted_at = f->v->port->index;
	r->verdict = (struct verdict){ .reason = DROP_NONE };
	if (r->to->tag == TAG_WAY)
		return !p->vsid;
	port = f->v->snap->ports[r->to->port];
	if (r->to->port == f->v->port->index || !port)
		return false;
	r->counted_at = r->to->port;
	classify_flood_copy(port, p, &r->verdict);
	return true;
}

static void send_to_all(const struct frame *f, const struct sw_domain *domain,
			const struct packet *p)
{
	struct receiver last = { 0 }, next;

	// The original goes to the last receiver, so that one receiver costs no copy.
	for (uint16_t i = 0; domain && i < domain->n; i++) {
		next.to = &domain->members[i];
		if (!receives(f, p, &next))
			continue;
		if (last.to)
			send_copy(f, &last);
		last = next;
	}
	if (last.to)
		send_to(f, &last, f->m);
	else
		worker_drop(f->out, f->v->port->index, DROP_RX, DROP_NO_DESTINATION, f->m);
}

void egress_flood(const struct frame *f)
{
	const struct snapshot *snap = f->v->snap;
	const struct sw_domain *domain =
		f->p->fid < snap->n_domains ? snap->domains[f->p->fid] : NULL;
	const struct sw_port *in = f->v->port;
	struct key_l3 l3;
	struct packet pkt;

	if (in->storm_limit && !token_take(&f->c->ports[in->index].storm, in->storm_limit,
					   f->c->now_tsc, f->c->tsc_hz)) {
		worker_drop(f->out, in->index, DROP_RX, DROP_STORM_LIMIT, f->m);
		return;
	}
	parse_l3(rte_pktmbuf_mtod(f->m, uint8_t *), f->m->data_len, f->key, &l3);
	packet_from_keys(f->key, &l3, &pkt);
	look_at_source(f, &pkt);
	send_to_all(f, domain, &pkt);
}

void egress_by_mac(const struct frame *f)
{
	struct fdb_where where;
	struct sw_member to;
	struct receiver r = { .to = &to };
	struct packet p;

	packet_from_keys(f->key, NULL, &p);
	if (mac_is_group(p.dst) || !fdb_find(f->c->fdb, f->p->fid, p.dst, &where)) {
		egress_flood(f);
		return;
	}
	to = (struct sw_member){ where.port, where.tag };
	if ((where.tag == TAG_WAY || where.port < PORT_MAX) && receives(f, &p, &r))
		send_to(f, &r, f->m);
	else
		worker_drop(f->out, f->v->port->index, DROP_RX, DROP_NO_DESTINATION, f->m);
}
