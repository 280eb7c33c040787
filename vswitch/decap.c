// SPDX-License-Identifier: Apache-2.0
#include "vswitch/decap.h"

#include <rte_mbuf.h>

#include "net/key.h"
#include "vswitch/reassembly.h"

#define AHEAD 4 // frames whose bytes are fetched before they are looked at

// Frames of one batch are mostly from few hosts.
struct last_peer {
	struct ip_address address;
	uint16_t way;
	uint8_t encap;
};

static struct ip_address source_of(const struct encap_info *info)
{
	return ip_address_of(info->ipv6 ? 6 : 4, info->source);
}

static ALWAYS_INLINE bool same_mac(const uint8_t *a, const uint8_t *b)
{
	return load_u32(a) == load_u32(b) && load_u16(a + 4) == load_u16(b + 4);
}

static ALWAYS_INLINE bool same_16(const uint8_t *a, const uint8_t *b)
{
	return !((load_u64(a) ^ load_u64(b)) | (load_u64(a + 8) ^ load_u64(b + 8)));
}

// Is the outer header at p for this one, by MAC, VLAN and address?
static ALWAYS_INLINE bool is_for(const struct hnv_provider_cfg *c, const uint8_t *p,
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

static ALWAYS_INLINE bool is_ours(const struct hnv_underlay *u, const uint8_t *p,
				  const struct encap_where *where)
{
	for (uint16_t i = 0; i < u->n; i++)
		if (is_for(&u->providers[i], p, where))
			return true;
	return false;
}

// Nobody knows who sent this; who learns may want to.
static void report_peer(struct decap *d, const struct hnv_subnet *subnet, uint8_t encap,
			const struct encap_info *info)
{
	struct learn_report r = { .kind = LEARN_PEER,
				  .encap = encap,
				  .fid = subnet->fid,
				  .port = d->v->port->index,
				  .tick = d->c->tick,
				  .address = source_of(info) };

	cache_tell(d->c, r.port, &r);
}

static ALWAYS_INLINE bool same_source(const struct last_peer *last, uint8_t encap,
				      const struct encap_info *info)
{
	if (last->encap != encap || last->address.family != (info->ipv6 ? 6 : 4))
		return false;
	// Not 16 bytes of an IPv4 address: a wide load of what was just written by narrow stores.
	return info->ipv6 ? same_16(last->address.b, info->source)
			  : load_u32(last->address.b) == load_u32(info->source);
}

static ALWAYS_INLINE uint16_t way_of(struct decap *d, struct last_peer *last, uint8_t encap,
				     const struct encap_info *info)
{
	const struct hnv *hnv = d->v->snap->hnv;
	const struct hnv_subnet *subnet;

	if (unlikely(!same_source(last, encap, info))) {
		last->address = source_of(info);
		last->encap = encap;
		last->way = hnv_find_way(hnv, encap, &last->address);
	}
	if (likely(last->way))
		return last->way;
	subnet = hnv_find_subnet(hnv, encap, info->id);
	if (subnet && subnet->learning)
		report_peer(d, subnet, encap, info);
	return 0;
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
		*kind = encap_find(rte_pktmbuf_mtod(m, uint8_t *), m->data_len,
				   d->v->snap->hnv->vxlan_port, where);
	return m;
}

// The frame's outer header off, if it is one of ours. Returns what stays of it, NULL: nothing, and
// that is counted.
static ALWAYS_INLINE struct rte_mbuf *decap_one(struct decap *d, struct last_peer *last,
						struct rte_mbuf *m, uint64_t *from)
{
	const struct hnv *hnv = d->hnv;
	uint16_t port = d->port;
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	struct encap_where where;
	enum encap_kind kind = encap_find(p, m->data_len, hnv->vxlan_port, &where);
	enum encap_result result;
	struct encap_info info;
	uint8_t encap;

	*from = port;
	if (kind == ENCAP_KIND_NONE || !is_ours(d->underlay, p, &where))
		return m;
	if (unlikely(kind == ENCAP_KIND_FRAGMENT)) {
		m = reassemble(d, m, &where, &kind);
		if (!m || kind == ENCAP_KIND_NONE) // whole, and for somebody else here
			return m;
	}
	encap = kind == ENCAP_KIND_NVGRE ? HNV_NVGRE : HNV_VXLAN;
	result = hnv->codecs[encap]->pop(m, &where, &info);
	if (unlikely(result != ENCAP_OK)) {
		worker_drop(d->out, port, DROP_RX, drop_of_encap(result), m);
		return NULL;
	}
	*from = key_from_tunnel(port, info.id, way_of(d, last, encap, &info), encap);
	return m;
}

void decap_batch(struct decap *d)
{
	struct port_counters *counters = worker_counters(d->out, d->v->port->index);
	uint64_t bytes = 0, kept_bytes = 0;
	struct last_peer last = { 0 };
	uint16_t kept = 0;

	d->hnv = d->v->snap->hnv;
	d->underlay = d->v->underlay;
	d->port = d->v->port->index;
	for (uint32_t i = 0; i < AHEAD && i < d->n; i++)
		__builtin_prefetch(rte_pktmbuf_mtod(d->pkts[i], void *));
	for (uint32_t i = 0; i < d->n; i++) {
		struct rte_mbuf *m = d->pkts[i];

		if (i + AHEAD < d->n)
			__builtin_prefetch(rte_pktmbuf_mtod(d->pkts[i + AHEAD], void *));
		bytes += m->pkt_len;
		m = decap_one(d, &last, m, &d->from[kept]);
		if (unlikely(!m))
			continue;
		kept_bytes += m->pkt_len;
		d->pkts[kept++] = m;
	}
	counter_add(&counters->rx_packets, (uint64_t)(d->n - kept));
	counter_add(&counters->rx_bytes, bytes - kept_bytes);
	d->n = kept;
}
