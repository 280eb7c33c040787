// SPDX-License-Identifier: Apache-2.0
#include "vswitch/subnet.h"

static bool deny(struct decision *d, enum drop reason)
{
	d->op = OP_DROP;
	d->verdict.reason = reason;
	d->dest = 0;
	d->where = (struct fdb_where){ 0 };
	return false;
}

// 33:33:ff:00:00:00 … 33:33:ff:ff:ff:ff. RFC 4861, 7.2.2; RFC 2464, 7.
static bool is_solicited_node(struct mac m)
{
	return mac_to_u64(m) >> 24 == 0x3333ff;
}

bool subnet_enter(const struct scene *s, const struct packet *p, struct decision *d)
{
	const struct hnv *hnv = s->snap->hnv;
	const struct hnv_subnet *subnet = hnv ? hnv_find_subnet(hnv, p->encap, p->vsid) : NULL;
	struct fdb_where source;
	bool there;

	if (!subnet)
		return deny(d, DROP_VIRTUAL_SUBNET_ID);
	if (!p->way && !subnet->learning)
		return deny(d, DROP_PROVIDER_UNKNOWN);
	d->fid = subnet->fid;
	// What another host has routed comes from the gateway, which is everywhere.
	if (mac_equal(p->src, hnv->router_mac))
		return true;
	there = fdb_find(s->fdb, d->fid, p->src, &source) && source.port == p->way;
	if (!there && !subnet->learning)
		return deny(d, DROP_SOURCE_MISMATCH);
	d->learn = !there && p->way;
	return true;
}

// --- underlay ----------------------------------------------------------------------------------

bool subnet_underlay(const struct scene *s, const struct packet *p, struct decision *d)
{
	const struct hnv_underlay *u = s->snap->hnv->underlays[s->port->index];
	bool asks = p->ethertype == BE16(ETH_TYPE_ARP) ? mac_is_group(p->dst)
						       : is_solicited_node(p->dst);

	for (uint16_t i = 0; u && i < u->n; i++) {
		const struct hnv_provider_cfg *provider = &u->providers[i];

		if (provider->vid != (p->tag & VID_MASK) ||
		    !(asks || mac_equal(provider->mac, p->dst)))
			continue;
		d->op = OP_ANSWER;
		d->answer = asks ? ANSWER_UNDERLAY : ANSWER_PROVIDER;
		d->verdict.reason = DROP_NOT_FOR_US;
		d->dest = 0;
		return true;
	}
	return false;
}

// --- the gateway -------------------------------------------------------------------------------

// A decision that ends when the domain gets to know another address.
static void bind_to_unknown(const struct scene *s, uint16_t fid, struct decision *d)
{
	d->dest = fdb_find_flood(s->fdb, fid, false, &d->where);
}

static bool answer(struct decision *d, enum answer what, enum drop reason)
{
	d->op = OP_ANSWER;
	d->answer = what;
	d->verdict.reason = reason;
	return true;
}

// Whoever a routed packet turns out to be for, its policy may read these fields.
static uint8_t receivers_read(const struct scene *s, const struct packet *p)
{
	uint8_t fields = 0;

	for (uint32_t i = 0; i < s->snap->n_ports; i++) {
		const struct sw_port *to = s->snap->ports[i];
		const struct hnv_subnet *subnet = to ? s->snap->hnv->by_fid[to->native_fid] : NULL;

		if (!subnet || subnet->network != s->subnet->network)
			continue;
		for (uint8_t j = 0; j < to->n_out; j++)
			fields |= to->out[j].ops->reads(to->out[j].policy, p);
	}
	return fields;
}

static bool is_gateway(const struct hnv_subnet *subnet, const struct ip_address *a)
{
	return ip_address_equal(&subnet->gateway[a->family == 6], a);
}

// fe80::/10, ff00::/8: never routed. RFC 4291, 2.5.6 and 2.7.
static bool is_on_link(const struct ip_address *a)
{
	return a->family == 6 && (a->b[0] == 0xff || (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80));
}

static bool route(const struct scene *s, const struct packet *p, bool deep, struct decision *d)
{
	struct ip_address to = ip_address_of(p->version, p->destination);
	struct hnv_hop hop;
	struct mac mac;

	bind_to_unknown(s, d->fid, d);
	if (!deep) {
		d->fields = FIELD_PROTOCOL | FIELD_DESTINATION | receivers_read(s, p);
		return true;
	}
	if (p->bits & PACKET_MALFORMED) {
		deny(d, DROP_INVALID_PACKET);
		return true;
	}
	if (is_gateway(s->subnet, &to) || is_on_link(&to))
		return answer(d, ANSWER_GATEWAY, DROP_NOT_FOR_US);
	if (!s->subnet->network || !hnv_route(s->subnet->network, &to, &hop))
		return answer(d, ANSWER_UNREACHABLE, DROP_NO_ROUTE);
	if (is_gateway(hop.subnet, &to))
		return answer(d, ANSWER_GATEWAY, DROP_NOT_FOR_US);
	d->dest = 0;
	if (hnv_find_neighbor(s->snap->hnv, hop.subnet->fid, &hop.next, &mac))
		d->dest = fdb_find(s->fdb, hop.subnet->fid, mac, &d->where);
	if (!d->dest || (d->where.tag != TAG_WAY &&
			 (d->where.port >= PORT_MAX || !s->snap->ports[d->where.port]))) {
		bind_to_unknown(s, hop.subnet->fid, d);
		return answer(d, ANSWER_UNREACHABLE, DROP_NO_NEIGHBOR);
	}
	d->op = OP_ROUTE;
	d->to_fid = hop.subnet->fid;
	d->vsid = hop.subnet->vsid;
	d->flow_id = hop.subnet->flow_id;
	return true;
}

bool subnet_looks(const struct scene *s, const struct packet *p, struct decision *d)
{
	bool group = mac_is_group(p->dst);

	// What a port asks is answered, not forwarded.
	if (!s->subnet->learning || p->ethertype != BE16(ETH_TYPE_ARP) || (group && !p->vsid) ||
	    mac_equal(p->dst, s->snap->hnv->router_mac))
		return false;
	if (!p->vsid) {
		d->vsid = s->subnet->vsid;
		d->flow_id = s->subnet->flow_id;
	}
	return answer(d, ANSWER_LOOK, DROP_NONE);
}

bool subnet_decide(const struct scene *s, const struct packet *p, bool deep, struct decision *d)
{
	bool to_router = mac_equal(p->dst, s->snap->hnv->router_mac);

	d->vsid = s->subnet->vsid;
	d->flow_id = s->subnet->flow_id;
	if (mac_equal(p->src, s->snap->hnv->router_mac)) {
		d->learn = false;
		deny(d, DROP_INVALID_SOURCE_MAC);
		return true;
	}
	if (p->ethertype == BE16(ETH_TYPE_ARP) && (to_router || mac_is_group(p->dst)))
		return answer(d, ANSWER_ARP, DROP_NO_NEIGHBOR);
	if (to_router && p->version)
		return route(s, p, deep, d);
	if (p->version == 6 && is_solicited_node(p->dst)) {
		if (!deep)
			d->fields = FIELD_PROTOCOL | FIELD_DESTINATION_PORT;
		else if (p->protocol == IP_PROTO_ICMPV6 && p->destination_port == ICMPV6_SOLICIT)
			return answer(d, ANSWER_SOLICIT, DROP_NO_NEIGHBOR);
	}
	return false;
}
