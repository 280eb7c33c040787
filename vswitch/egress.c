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
		cache_report(c, fid, p);
}

// Would `member` get a copy, rules aside?
static const struct sw_port *receiver(const struct view *v, const struct sw_member *member)
{
	return member->port == v->port->index ? NULL : v->snap->ports[member->port];
}

static void send_to(struct worker_out *out, const struct sw_member *to, enum tag_form form,
		    const struct verdict *verdict, struct rte_mbuf *m)
{
	if (verdict->reason != DROP_NONE) {
		const struct drop_cause cause = { to->port, DROP_TX, (uint8_t)verdict->reason,
						  verdict->rule };

		worker_drop_for(out, &cause, m);
		return;
	}
	m = egress_retag(out, m, form, to->tag);
	if (m)
		worker_output(out, to->port, m);
	else
		counter_add(&worker_counters(out, to->port)->drops[DROP_TX][DROP_RESOURCES], 1);
}

// One more receiver than frames: a copy is made, or counted as the one that could not be.
static void send_copy(struct worker_out *out, const struct sw_member *to, enum tag_form form,
		      const struct verdict *verdict, struct rte_mbuf *m)
{
	struct port_counters *counters = worker_counters(out, to->port);

	counter_add(&counters->created, 1);
	if (verdict->reason != DROP_NONE) {
		counter_add(&counters->drops[DROP_TX][verdict->reason], 1);
		return;
	}
	m = copy(out, m);
	if (m)
		send_to(out, to, form, verdict, m);
	else
		counter_add(&counters->drops[DROP_TX][DROP_RESOURCES], 1);
}

void egress_flood(struct cache *c, const struct view *v, struct worker_out *out,
		  const struct program *p, const struct key *key, struct rte_mbuf *m)
{
	const struct sw_domain *domain = v->snap->domains[p->fid];
	const struct sw_member *last = NULL;
	struct verdict verdict, last_verdict = { 0 };
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
	// The original goes to the last receiver, so that one receiver costs no copy.
	for (uint16_t i = 0; domain && i < domain->n; i++) {
		const struct sw_port *to = receiver(v, &domain->members[i]);

		if (!to)
			continue;
		classify_flood_copy(to, &pkt, &verdict);
		if (last)
			send_copy(out, last, (enum tag_form)p->form, &last_verdict, m);
		last = &domain->members[i];
		last_verdict = verdict;
	}
	if (last)
		send_to(out, last, (enum tag_form)p->form, &last_verdict, m);
	else
		worker_drop(out, v->port->index, DROP_RX, DROP_NO_DESTINATION, m);
}
