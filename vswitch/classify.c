// SPDX-License-Identifier: Apache-2.0
#include "vswitch/classify.h"

#include "vswitch/probe.h"
#include "vswitch/subnet.h"

static void deny(struct decision *d, enum drop reason)
{
	d->op = OP_DROP;
	d->verdict.reason = reason;
	d->dest = 0;
	d->where = (struct fdb_where){ 0 };
}

// 01:80:C2:00:00:00 … 0F. IEEE 802.1Q, table 8-1.
static bool is_bridge_reserved(struct mac m)
{
	return (mac_to_u64(m) & ~0xfull) == 0x0180c2000000ull;
}

// The frame's VLAN domain by the port's VLAN mode; false: it dies here.
static bool enter_vlan(const struct sw_port *port, struct packet *p, struct decision *d)
{
	uint16_t vid = p->tag & VID_MASK;

	if (!p->tag)
		d->form = TAG_NONE;
	else
		d->form = vid ? TAG_VID : TAG_PRIORITY;
	if (d->form != TAG_VID) {
		if (!port->takes_untagged) {
			deny(d, DROP_FILTERED_ISO_UNTAGGED);
			return false;
		}
		p->vid = port->native_vid;
		d->fid = port->native_fid;
	} else {
		if (!vlans_has(port->vlans, vid)) {
			deny(d, DROP_UNAUTHORIZED_VLAN);
			return false;
		}
		p->vid = vid;
		d->fid = port->vlans->fid[vid];
	}
	if (!d->fid) {
		deny(d, DROP_NO_DESTINATION);
		return false;
	}
	return true;
}

// A port that left the snapshot keeps its slots for a moment.
static bool is_place(const struct snapshot *snap, struct fdb_where where)
{
	if (where.tag == TAG_WAY)
		return way_is(where.port);
	return where.port < PORT_MAX && snap->ports[where.port];
}

static void find_destination(const struct scene *s, const struct packet *p, struct decision *d)
{
	bool group = mac_is_group(p->dst);

	d->op = OP_FORWARD;
	d->dest = group ? 0 : fdb_find(s->fdb, d->fid, p->dst, &d->where);
	if (d->dest && is_place(s->snap, d->where))
		return;
	d->op = OP_FLOOD;
	d->unknown = !group;
	d->dest = fdb_find_flood(s->fdb, d->fid, group, &d->where);
	if (!d->dest) {
		deny(d, DROP_NO_DESTINATION);
	} else if (d->unknown && !(s->subnet ? s->subnet->learning : s->port->flood_unknown)) {
		// Still bound to the flood slot, so that it ends when the MAC is learnt.
		d->op = OP_DROP;
		d->verdict.reason = DROP_NO_DESTINATION;
	}
}

static uint8_t layers_read(const struct layer *layers, uint8_t n, const struct packet *p)
{
	uint8_t fields = 0;

	for (uint8_t i = 0; i < n; i++)
		fields |= layers[i].ops->reads(layers[i].policy, p);
	return fields;
}

static void run_layers(const struct layer *layers, uint8_t n, const struct packet *p,
		       struct verdict *v)
{
	for (uint8_t i = 0; i < n && v->reason == DROP_NONE; i++) {
		layers[i].ops->classify(layers[i].policy, p, v);
		if (v->reason != DROP_NONE)
			v->layer = i + 1;
	}
}

// The frame's domain and where its source should be; false: it dies here.
static bool enter(struct scene *s, struct packet *p, struct decision *d)
{
	const struct hnv *hnv = s->snap->hnv;
	struct fdb_where source;

	if (p->vsid) {
		if (!subnet_enter(s, p, d))
			return false;
	} else {
		if (!enter_vlan(s->port, p, d))
			return hnv && subnet_underlay(s, p, d);
		d->learn = s->port->learning && (!fdb_find(s->fdb, d->fid, p->src, &source) ||
						 source.port != s->port->index);
	}
	s->subnet = hnv ? hnv->by_fid[d->fid] : NULL;
	return true;
}

// To whom, and by what operation.
static void find_op(const struct scene *s, const struct packet *p, bool deep, struct decision *d)
{
	const struct hnv *hnv = s->snap->hnv;

	if (s->subnet && subnet_looks(s, p, d))
		return;
	if (hnv && !p->vsid) {
		if (subnet_underlay(s, p, d))
			return;
		if (s->subnet && subnet_decide(s, p, deep, d))
			return;
	}
	find_destination(s, p, d);
	// Whoever encapsulated the frame meant this host: sent on, it could go round for ever.
	if (p->vsid && d->op == OP_FORWARD && d->where.tag == TAG_WAY) {
		d->op = OP_DROP;
		d->verdict.reason = DROP_TUNNEL_TO_TUNNEL;
	}
}

static void judge(const struct scene *s, const struct packet *p, bool deep, struct decision *d)
{
	bool leaves = d->op == OP_FORWARD || d->op == OP_ROUTE;
	const struct sw_port *to = leaves && d->where.tag != TAG_WAY ? s->snap->ports[d->where.port]
								     : NULL;
	bool awaited = to && s->subnet && d->op == OP_FORWARD &&
		       probe_watches(s->snap->hnv->probes, to->index);
	// What came encapsulated is not the uplink's own.
	uint8_t n_in = p->vsid ? 0 : s->port->n_in;

	if (to && !to->ready) {
		// Bound to the slot: a policy change of the destination touches it.
		d->op = OP_DROP;
		d->verdict.reason = DROP_NOT_READY;
		d->verdict.dir = DROP_TX;
		return;
	}
	if (!deep && p->version)
		d->fields |= layers_read(s->port->in, n_in, p) |
			     (to ? layers_read(to->out, to->n_out, p) : 0) |
			     (awaited ? FIELD_PROTOCOL | FIELD_DESTINATION_PORT : 0);
	if (d->fields) {
		d->op = OP_LOOKUP;
		return;
	}
	run_layers(s->port->in, n_in, p, &d->verdict);
	if (to && d->verdict.reason == DROP_NONE) {
		d->verdict.dir = DROP_TX;
		run_layers(to->out, to->n_out, p, &d->verdict);
	}
	if (d->verdict.reason != DROP_NONE)
		d->op = OP_DROP;
	else if (deep && awaited && probe_may_answer(p))
		d->op = OP_PROBE;
}

void classify(const struct snapshot *snap, const struct fdb *fdb, const struct sw_port *port,
	      struct packet *p, bool deep, struct decision *d)
{
	struct scene s = { snap, fdb, port, NULL };
	enum drop unless_answered;

	*d = (struct decision){ .verdict.reason = DROP_NONE, .flow_id = -1 };
	if (!port->ready) {
		deny(d, DROP_NOT_READY);
		return;
	}
	if (mac_is_group(p->src) || mac_is_zero(p->src)) {
		deny(d, DROP_INVALID_SOURCE_MAC);
		return;
	}
	if (is_bridge_reserved(p->dst)) {
		deny(d, DROP_BRIDGE_RESERVED);
		return;
	}
	if (!enter(&s, p, d))
		return;
	find_op(&s, p, deep, d);
	if (d->op == OP_DROP)
		return;
	unless_answered = d->verdict.reason;
	d->verdict.reason = DROP_NONE;
	judge(&s, p, deep, d);
	if (d->op == OP_ANSWER)
		d->verdict.reason = unless_answered;
}

void classify_flood_copy(const struct sw_port *to, const struct packet *p, struct verdict *v)
{
	*v = (struct verdict){ .reason = to->ready ? DROP_NONE : DROP_NOT_READY,
			       .dir = DROP_TX };
	run_layers(to->out, to->n_out, p, v);
}
