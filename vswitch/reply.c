// SPDX-License-Identifier: Apache-2.0
#include "vswitch/reply.h"

#include "net/vlan.h"

struct rte_mbuf *reply_create(const struct frame *f, struct mac src, be16 type, uint32_t bytes)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->out->pools->small);
	struct eth_header *eth;

	if (!m)
		return NULL;
	eth = (struct eth_header *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*eth) + bytes));
	if (!eth) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	memset(eth + 1, 0, bytes);
	*eth = (struct eth_header){ reply_source_mac(f->key), src, type };
	return m;
}

void reply_send(const struct frame *f, struct rte_mbuf *reply)
{
	uint16_t port = f->v->port->index, tag = key_tag(f->key);

	if (!reply)
		return;
	counter_add(&worker_counters(f->out, port)->created, 1);
	if (tag & VID_MASK)
		vlan_push(reply, tag & VID_MASK); // one of ours has headroom
	worker_output(f->out, port, reply);
}

void reply_consume(const struct frame *f)
{
	counter_add(&worker_counters(f->out, f->v->port->index)->consumed, 1);
	rte_pktmbuf_free(f->m);
}
