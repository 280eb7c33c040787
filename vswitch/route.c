// SPDX-License-Identifier: Apache-2.0
#include "vswitch/route.h"

#include "net/csum.h"
#include "net/vlan.h"
#include "vswitch/egress.h"
#include "vswitch/icmp.h"
#include "vswitch/reply.h"
#include "vswitch/tunnel.h"

// One hop less. False: it was the last one. RFC 1812, 5.3.1.
static bool hop(uint8_t *ip, bool ipv6)
{
	struct ipv4_header *v4 = (struct ipv4_header *)ip;
	struct ipv6_header *v6 = (struct ipv6_header *)ip;
	be16 before;

	if (ipv6) {
		if (v6->hop_limit <= 1)
			return false;
		v6->hop_limit--;
		return true;
	}
	if (v4->ttl <= 1)
		return false;
	before = load_be16(&v4->ttl);
	v4->ttl--;
	v4->csum = csum_update16(v4->csum, before, load_be16(&v4->ttl));
	return true;
}

// A frame whose first bytes may be written; NULL, counted, when there is no buffer for one.
static struct rte_mbuf *own(const struct frame *f)
{
	struct rte_mbuf *mine;

	if (likely(vlan_can_edit(f->m)))
		return f->m;
	mine = rte_pktmbuf_copy(f->m, f->out->pools->small, 0, UINT32_MAX);
	if (mine)
		rte_pktmbuf_free(f->m);
	else
		worker_drop(f->out, f->v->port->index, DROP_RX, DROP_RESOURCES, f->m);
	return mine;
}

// To another host.
static void leave_by_way(const struct frame *f, uint16_t way)
{
	const struct way_header *w = tunnel_header(f->v, way);

	if (likely(w && !key_tag(f->key) && tunnel_is_ready(f->m, w)))
		tunnel_push(f->out, f->p, w, f->m, tunnel_look(f->m, f->key));
	else
		tunnel_send(f, way);
}

static void leave_by_port(const struct frame *f, struct fdb_where where)
{
	struct rte_mbuf *m = egress_retag(f->out, f->m, (enum tag_form)f->p->form, where.tag);

	if (m)
		worker_output(f->out, where.port, m);
	else
		counter_add(&worker_counters(f->out, where.port)->drops[DROP_TX][DROP_RESOURCES],
			    1);
}

void route_frame(const struct frame *f, uint32_t dest, struct fdb_where where)
{
	bool ipv6 = f->key->w[1] >> 48 == (FORCE uint16_t)BE16(ETH_TYPE_IPV6);
	struct mac to = fdb_mac(f->c->fdb, dest);
	struct frame mine = *f;
	uint8_t *p;

	// Acquire: had the slot been given to another address, its word would differ by now.
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (unlikely(fdb_word(f->v->words, dest).gen != where.gen)) {
		worker_drop(f->out, f->v->port->index, DROP_RX, DROP_NO_NEIGHBOR, f->m);
		return;
	}
	mine.m = own(f);
	if (unlikely(!mine.m))
		return;
	p = rte_pktmbuf_mtod(mine.m, uint8_t *);
	if (unlikely(!hop(p + reply_l2_bytes(f->key), ipv6))) {
		icmp_send_error(&mine, ICMP_TTL, 0);
		worker_drop(f->out, f->v->port->index, DROP_RX, DROP_TTL_EXPIRED, mine.m);
		return;
	}
	memcpy(p, to.b, sizeof(to.b));
	memcpy(p + sizeof(to.b), f->v->snap->hnv->router_mac.b, sizeof(to.b));
	if (where.tag == TAG_WAY)
		leave_by_way(&mine, where.port);
	else
		leave_by_port(&mine, where);
}
