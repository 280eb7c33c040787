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

// Which of our providers the outer header at p is for, by MAC, VLAN and address; NULL: none.
static const struct hnv_provider_cfg *provider_of(const struct hnv_underlay *u, const uint8_t *p,
						  const struct encap_where *where)
{
	uint16_t vid = where->l3 == sizeof(struct eth_header)
			       ? 0
			       : be16_to_cpu(load_be16(p + 14)) & VID_MASK;
	const uint8_t *to = p + where->l3 + (where->ipv6 ? offsetof(struct ipv6_header, dst)
							 : offsetof(struct ipv4_header, dst));

	for (uint16_t i = 0; i < u->n; i++) {
		const struct hnv_provider_cfg *c = &u->providers[i];

		if (c->vid == vid && memcmp(p, c->mac.b, sizeof(c->mac.b)) == 0 &&
		    c->address.family == (where->ipv6 ? 6 : 4) &&
		    memcmp(to, c->address.b, where->ipv6 ? 16 : 4) == 0)
			return c;
	}
	return NULL;
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

static uint16_t way_of(struct decap *d, struct last_peer *last, uint8_t encap,
		       const struct encap_info *info)
{
	const struct hnv *hnv = d->v->snap->hnv;
	const struct hnv_subnet *subnet;

	if (unlikely(last->encap != encap || last->address.family != (info->ipv6 ? 6 : 4) ||
		     memcmp(last->address.b, info->source, sizeof(info->source)) != 0)) {
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
static struct rte_mbuf *decap_one(struct decap *d, struct last_peer *last, struct rte_mbuf *m,
				  uint64_t *from)
{
	const struct hnv *hnv = d->v->snap->hnv;
	uint16_t port = d->v->port->index;
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	struct encap_where where;
	enum encap_kind kind = encap_find(p, m->data_len, hnv->vxlan_port, &where);
	enum encap_result result;
	struct encap_info info;
	uint8_t encap;

	*from = port;
	if (kind == ENCAP_KIND_NONE || !provider_of(d->v->underlay, p, &where))
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
