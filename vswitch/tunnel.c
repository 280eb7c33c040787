// SPDX-License-Identifier: Apache-2.0
#include "vswitch/tunnel.h"

#include "vswitch/egress.h"
#include "vswitch/too_big.h"

static uint32_t mix(uint64_t a, uint64_t b)
{
	a = (a ^ b * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;
	return (uint32_t)(a >> 40);
}

struct tunnel_inner tunnel_look_unusual(const struct rte_mbuf *m, const struct key *l1)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	struct tunnel_inner inner = { .entropy = mix(l1->w[0], l1->w[1]) };
	struct key_l3 l3;
	uint8_t bits;

	parse_l3(p, m->data_len, l1, &l3);
	bits = (uint8_t)(l3.rest >> 40);
	if (bits & PACKET_MALFORMED || !(l3.addresses | l3.rest))
		return inner;
	// Fragments have ports or not; all of a packet take one way.
	if (bits & PACKET_FRAGMENT)
		l3.rest = l3.rest >> 32 & 0xff;
	if (key_l3_is_v6(&l3)) {
		inner.tos = (uint8_t)(be16_to_cpu(load_be16(p + TUNNEL_ETH_BYTES)) >> 4);
		inner.entropy = mix(l3.v6.w[0] + l3.v6.w[2] * 3, l3.v6.w[1] + l3.v6.w[3] * 3) ^
				mix(0, l3.rest);
	} else {
		inner.tos = p[TUNNEL_ETH_BYTES + 1];
		inner.entropy = mix(l3.addresses, l3.rest & 0xffffffffffull);
	}
	return inner;
}

// Counts against `port` what the transmit stage did.
static void count(const struct frame *f, uint16_t port, const struct transmit_result *r)
{
	struct port_counters *counters = worker_counters(f->out, port);

	counter_add(&counters->created, r->created);
	for (int i = 0; i < DROP_N_REASONS; i++)
		counter_add(&counters->drops[DROP_TX][i], r->drops[i]);
}

uint16_t tunnel_finish(const struct frame *f, const struct way_header *w, struct rte_mbuf **out)
{
	static const struct port_dev nothing = { .offloads = PORT_OFFLOAD_MULTI_SEG,
						 .max_frame = UINT16_MAX };
	struct transmit_result result = { 0 };
	struct rte_mbuf *m = f->m;
	uint16_t done, n;

	n = transmit_finish(&nothing, f->out->pools, &m, 1, &done, out, TRANSMIT_MAX_SEGMENTS,
			    &result);
	count(f, w->uplink, &result);
	return n;
}

// Room for the header; NULL, counted, when there is no buffer.
static struct rte_mbuf *with_headroom(const struct frame *f, const struct way_header *w,
				      struct rte_mbuf *m)
{
	struct rte_mbuf *mine = m;

	if (m->data_off >= ENCAP_HEADROOM)
		return m;
	mine = rte_pktmbuf_copy(m, f->out->pools->small, 0, UINT32_MAX);
	if (mine)
		rte_pktmbuf_free(m);
	else
		worker_drop(f->out, w->uplink, DROP_TX, DROP_RESOURCES, m);
	return mine;
}

void tunnel_send(const struct frame *f, uint16_t way)
{
	const struct way_header *w = tunnel_header(f->v, way);
	uint16_t in = f->v->port->index, n;
	struct rte_mbuf *out[TRANSMIT_MAX_SEGMENTS];
	struct frame mine = *f;
	struct key key;

	if (!w || !f->p->vsid) {
		worker_drop(f->out, in, DROP_RX,
			    w ? DROP_TUNNEL_TO_TUNNEL : DROP_NEIGHBOR_UNRESOLVED, f->m);
		return;
	}
	mine.m = egress_retag(f->out, f->m, key_tag(f->key) ? TAG_PRIORITY : TAG_NONE, 0);
	if (!mine.m) {
		counter_add(&worker_counters(f->out, in)->drops[DROP_RX][DROP_RESOURCES], 1);
		return;
	}
	// As the frame came, without its tag: one that was routed bears the gateway's MAC by now,
	// and what it is told must go to who sent it.
	key = *f->key;
	key.w[1] &= ~(0xffffull << 32);
	mine.key = &key;
	if (too_big(&mine, w))
		return;
	n = tunnel_finish(&mine, w, out);
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = with_headroom(&mine, w, out[i]);

		if (m)
			tunnel_push(f->out, f->p, w, m, tunnel_look(m, &key));
	}
}
