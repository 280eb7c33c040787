// SPDX-License-Identifier: Apache-2.0
#include "vswitch/decap.h"

#include <rte_mbuf.h>

#include "net/key.h"
#include "vswitch/reassembly.h"

// Patterns that nothing is like, for a port that has none.
static const struct hnv_plain never = { { { .want = { 0xff } }, { .want = { 0xff } } } };

static bool same_mac(const uint8_t *a, const uint8_t *b)
{
	return load_u32(a) == load_u32(b) && load_u16(a + 4) == load_u16(b + 4);
}

static bool same_16(const uint8_t *a, const uint8_t *b)
{
	return !((load_u64(a) ^ load_u64(b)) | (load_u64(a + 8) ^ load_u64(b + 8)));
}

// Is the outer header at p for this one, by MAC, VLAN and address?
static bool is_for(const struct hnv_provider_cfg *c, const uint8_t *p,
		   const struct encap_where *where)
{
	const uint8_t *ip = p + where->l3;
	uint16_t vid = where->l3 == sizeof(struct eth_header)
			       ? 0
			       : be16_to_cpu(load_be16(p + 14)) & VID_MASK;

	if (!same_mac(p, c->mac.b) || c->vid != vid ||
	    c->address.family != (where->ipv6 ? 6 : 4))
		return false;
	if (where->ipv6)
		return same_16(ip + offsetof(struct ipv6_header, dst), c->address.b);
	return load_u32(ip + offsetof(struct ipv4_header, dst)) == load_u32(c->address.b);
}

// Frames to provider i of the port are what is expected next.
static void expect(struct decap *d, uint16_t i)
{
	const struct hnv_underlay *u = d->v->underlay;
	const struct hnv_plain *plain = u->plain ? &u->plain[i] : &never;

	for (int encap = 0; encap < HNV_N_ENCAPS; encap++)
		d->last[encap].plain = &plain->by_encap[encap];
}

void decap_init(struct decap *d, struct cache *c, const struct view *v, struct worker_out *out)
{
	d->c = c;
	d->v = v;
	d->out = out;
	d->hnv = v->snap->hnv;
	d->peer.address.family = 0;
	d->likely = &d->last[HNV_VXLAN];
	for (uint8_t encap = 0; encap < HNV_N_ENCAPS; encap++)
		d->last[encap] =
			(struct decap_last){ .encap = encap,
					     .from = key_from_tunnel(v->port->index, 0, 0, encap) };
	expect(d, 0);
}

static bool is_ours(struct decap *d, const uint8_t *p, const struct encap_where *where)
{
	const struct hnv_underlay *u = d->v->underlay;

	for (uint16_t i = 0; i < u->n; i++)
		if (is_for(&u->providers[i], p, where)) {
			expect(d, i);
			return true;
		}
	return false;
}

// Nobody knows who sent this; who learns may want to.
static void report_peer(struct decap *d, uint8_t encap, uint32_t id, const struct ip_address *peer)
{
	const struct hnv_subnet *subnet = hnv_find_subnet(d->hnv, encap, id);
	struct learn_report r = { .kind = LEARN_PEER,
				  .encap = encap,
				  .port = d->v->port->index,
				  .tick = d->c->tick,
				  .address = *peer };

	if (!subnet || !subnet->learning)
		return;
	r.fid = subnet->fid;
	cache_tell(d->c, r.port, &r);
}

uint64_t decap_from_other(struct decap *d, struct decap_last *last, uint32_t id, uint32_t source)
{
	struct ip_address peer = ip_address_of(4, (const uint8_t *)&source);
	uint16_t way = hnv_find_way(d->hnv, last->encap, &peer);

	// Who is not known is not remembered: each of its frames is a reason to report it.
	if (!way) {
		report_peer(d, last->encap, id, &peer);
	} else {
		last->source = source;
		last->from = key_from_tunnel(d->v->port->index, 0, way, last->encap);
	}
	return key_from_tunnel(d->v->port->index, id, way, last->encap);
}

// A fragment of an outer packet: the whole, if this was what was missing, and what it is.
static struct rte_mbuf *reassemble(struct decap *d, struct rte_mbuf *m, struct encap_where *where,
				   enum encap_kind *kind)
{
	if (!d->c->reassembly) {
		worker_drop(d->out, d->v->port->index, DROP_RX, DROP_OUTER_FRAGMENT, m);
		return NULL;
	}
	m = reassembly_put(d->c->reassembly, d->v, d->out, m, where);
	if (m)
		*kind = encap_find(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, d->hnv->vxlan_port,
				   where);
	return m;
}

// Is it the last peer who sent this?
static bool is_peer(const struct decap_peer *last, uint8_t encap, const struct encap_info *info)
{
	if (last->encap != encap || last->address.family != (info->ipv6 ? 6 : 4))
		return false;
	// Not 16 bytes of an IPv4 address: a wide load of what was just written by narrow stores.
	return info->ipv6 ? same_16(last->address.b, info->source)
			  : load_u32(last->address.b) == load_u32(info->source);
}

// The frame m, for us: its outer header off, or an end to it.
static struct rte_mbuf *decap_ours(struct decap *d, struct rte_mbuf *m, enum encap_kind kind,
				   const struct encap_where *where, uint64_t *from)
{
	uint8_t encap = kind == ENCAP_KIND_NVGRE ? HNV_NVGRE : HNV_VXLAN;
	uint16_t port = d->v->port->index;
	struct encap_info info;
	enum encap_result result = d->hnv->codecs[encap]->pop(m, where, &info);
	struct decap_peer *peer = &d->peer;

	if (unlikely(result != ENCAP_OK)) {
		worker_drop(d->out, port, DROP_RX, drop_of_encap(result), m);
		return NULL;
	}
	if (unlikely(!is_peer(peer, encap, &info))) {
		peer->address = ip_address_of(info.ipv6 ? 6 : 4, info.source);
		peer->encap = encap;
		peer->way = hnv_find_way(d->hnv, encap, &peer->address);
	}
	if (unlikely(!peer->way))
		report_peer(d, encap, info.id, &peer->address);
	*from = key_from_tunnel(port, info.id, peer->way, encap);
	return m;
}

struct rte_mbuf *decap_any(struct decap *d, struct rte_mbuf *m, uint64_t *from)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	struct decap_last *other = &d->last[!d->likely->encap];
	struct encap_where where;
	enum encap_kind kind;

	if (decap_like_last(d, other, m, from)) {
		d->likely = other;
		return m;
	}
	*from = d->v->port->index;
	kind = encap_find(p, m->data_len, d->hnv->vxlan_port, &where);
	if (kind == ENCAP_KIND_NONE || !is_ours(d, p, &where))
		return m;
	if (unlikely(kind == ENCAP_KIND_FRAGMENT)) {
		m = reassemble(d, m, &where, &kind);
		if (!m || kind == ENCAP_KIND_NONE) // whole, and for somebody else here
			return m;
	}
	return decap_ours(d, m, kind, &where, from);
}
