// SPDX-License-Identifier: Apache-2.0
#include "vswitch/reassembly.h"

#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_ip_frag.h>
#include <rte_mbuf.h>

#define BUCKETS 256u
#define PACKETS 1024u    // put together at a time
#define TIMEOUT_S 2u     // on an underlay, fragments follow each other closely
#define FIRST 0xfffeu    // in `port` of a fragment's first mbuf, to count fragments in a chain

struct reassembly {
	struct rte_ip_frag_tbl *table;
	struct rte_ip_frag_death_row dead; // given up by the table, still to be counted
	uint64_t held;                     // worker: w, any: r
};

struct reassembly *reassembly_create(uint64_t tsc_hz)
{
	struct reassembly *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->table = rte_ip_frag_table_create(BUCKETS, 4, PACKETS, TIMEOUT_S * tsc_hz, -1);
	if (r->table)
		return r;
	free(r);
	return NULL;
}

void reassembly_destroy(struct reassembly *r)
{
	if (!r)
		return;
	rte_ip_frag_table_destroy(r->table);
	free(r);
}

uint64_t reassembly_held(const struct reassembly *r)
{
	return counter_get(&r->held);
}

static void count_dead(struct reassembly *r, struct worker_out *out, uint16_t port)
{
	for (uint32_t i = 0; i < r->dead.cnt; i++)
		worker_drop(out, port, DROP_RX, DROP_OUTER_FRAGMENT, r->dead.row[i]);
	counter_add(&r->held, -(uint64_t)r->dead.cnt);
	r->dead.cnt = 0;
}

static struct rte_mbuf *put_ipv4(struct reassembly *r, struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip =
		rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, m->l2_len);

	m->l3_len = sizeof(*ip);
	return rte_ipv4_frag_reassemble_packet(r->table, &r->dead, m, rte_rdtsc(), ip);
}

static struct rte_mbuf *put_ipv6(struct reassembly *r, struct rte_mbuf *m)
{
	struct rte_ipv6_hdr *ip =
		rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, m->l2_len);
	struct rte_ipv6_fragment_ext *f = (struct rte_ipv6_fragment_ext *)(ip + 1);

	m->l3_len = sizeof(*ip) + sizeof(*f);
	return rte_ipv6_frag_reassemble_packet(r->table, &r->dead, m, rte_rdtsc(), ip, f);
}

static uint32_t count_fragments(const struct rte_mbuf *m)
{
	uint32_t n = 0;

	for (; m; m = m->next)
		n += m->port == FIRST;
	return n;
}

struct rte_mbuf *reassembly_put(struct reassembly *r, const struct view *v, struct worker_out *out,
				struct rte_mbuf *m, const struct encap_where *where)
{
	struct port_counters *counters = worker_counters(out, v->port->index);
	struct rte_mbuf *whole;
	uint32_t n;

	for (struct rte_mbuf *s = m->next; s; s = s->next)
		s->port = 0;
	m->port = FIRST;
	m->l2_len = where->l3;
	counter_add(&r->held, 1);
	whole = where->ipv6 ? put_ipv6(r, m) : put_ipv4(r, m);
	count_dead(r, out, v->port->index);
	if (!whole)
		return NULL;
	n = count_fragments(whole);
	counter_add(&r->held, -(uint64_t)n);
	counter_add(&counters->consumed, n - 1);
	whole->port = 0;
	// The library leaves no checksum behind; it has looked at what there was in no way.
	whole->ol_flags = whole->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL);
	if (!where->ipv6)
		whole->ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	return whole;
}
