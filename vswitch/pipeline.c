// SPDX-License-Identifier: Apache-2.0
// The whole way of a batch through the switch, top to bottom: parse, look up, act; and once more
// for the frames of which level 1 says that level 2 must decide. Each step runs over the batch
// before the next one starts, with the next step's memory on its way; frames are not grouped by
// flow (measured: it never won). Called by dataplane/worker.c; misses and stale flows go to
// cache.c; frames leave by worker_output or worker_drop. worker.
#include "vswitch/pipeline.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_mbuf.h>

#include "vswitch/answer.h"
#include "vswitch/decap.h"
#include "vswitch/egress.h"
#include "vswitch/probe.h"
#include "vswitch/reassembly.h"
#include "vswitch/route.h"
#include "vswitch/tunnel.h"

#define AHEAD 4 // frames whose bytes are fetched before they are parsed

struct pipeline {
	struct cache cache;
};

// A batch on its way. Entries of all arrays belong to the frame of the same position.
struct batch {
	struct view view;
	struct worker_out *out;
	uint16_t n;
	struct rte_mbuf *pkts[PORT_BATCH];
	struct key keys[PORT_BATCH];
	uint32_t hashes[PORT_BATCH];
	struct flow *flows[PORT_BATCH];
};

// What level 2 adds, for the frames listed in `at`.
struct deep {
	uint16_t n;
	uint8_t at[PORT_BATCH]; // position in the batch
	bool v6[PORT_BATCH];
	struct key keys[PORT_BATCH];
	struct key6 keys6[PORT_BATCH]; // where v6
	uint32_t hashes[PORT_BATCH];
};

static const struct program *program_of(const struct cache *c, const struct flow *f)
{
	return &c->programs.programs[f->program];
}

// --- parse -------------------------------------------------------------------------------------

static enum drop parse_error(enum parse_result r)
{
	return r == PARSE_SHORT ? DROP_INVALID_PACKET : DROP_INVALID_VLAN_FORMAT;
}

// Takes pkts[n] into the batch with their level-1 keys; counts them; drops what is no frame.
// d: for a port on an underlay, where tunnels end first; else NULL, and a constant.
static ALWAYS_INLINE void parse(struct cache *c, struct batch *b, struct rte_mbuf **pkts,
				uint16_t n, struct decap *d)
{
	uint16_t port = b->view.port->index;
	struct port_counters *counters = worker_counters(b->out, port);
	const struct flow_table *t = &c->tables[LEVEL1];
	uint64_t bytes = 0, from = port;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < AHEAD && i < n; i++)
		__builtin_prefetch(rte_pktmbuf_mtod(pkts[i], void *));
	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		enum parse_result r;
		struct key key;

		if (i + AHEAD < n)
			__builtin_prefetch(rte_pktmbuf_mtod(pkts[i + AHEAD], void *));
		bytes += m->pkt_len;
		if (d) {
			m = decap_one(d, m, &from);
			if (unlikely(!m))
				continue;
		}
		r = parse_l2(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, from, &key);
		if (unlikely(r != PARSE_OK)) {
			worker_drop(b->out, port, DROP_RX, parse_error(r), m);
			continue;
		}
		b->keys[kept] = key;
		b->hashes[kept] = flow_hash(t, &key);
		flow_prefetch_bucket(t, b->hashes[kept]);
		b->pkts[kept++] = m;
	}
	b->n = (uint16_t)kept;
	counter_add(&counters->rx_packets, n);
	counter_add(&counters->rx_bytes, bytes);
}

static void decap_and_parse(struct cache *c, struct batch *b, struct rte_mbuf **pkts, uint16_t n)
{
	struct decap d;

	decap_init(&d, c, &b->view, b->out);
	parse(c, b, pkts, n, &d);
}

// --- look up -----------------------------------------------------------------------------------

static struct flow *miss_l1(struct cache *c, struct batch *b, uint32_t i)
{
	const struct miss m = { LEVEL1, b->hashes[i], &b->keys[i], NULL, &b->keys[i], NULL };

	return cache_miss(c, &b->view, &m);
}

// Every frame gets its level-1 flow, current, or NULL: over the miss budget.
static void look_up_l1(struct cache *c, struct batch *b)
{
	const struct flow_table *t = &c->tables[LEVEL1];

	for (uint32_t i = 0; i < b->n; i++)
		b->flows[i] = flow_candidate(t, sizeof(struct flow), b->hashes[i]);
	for (uint32_t i = 0; i < b->n; i++) {
		if (unlikely(!key_equal(&b->flows[i]->key, &b->keys[i])))
			b->flows[i] = miss_l1(c, b, i);
		if (likely(b->flows[i] != NULL))
			__builtin_prefetch(&b->view.words[b->flows[i]->dest]);
	}
}

static void frame_l3(const struct batch *b, uint32_t i, struct key_l3 *l3)
{
	parse_l3(rte_pktmbuf_mtod(b->pkts[i], uint8_t *), b->pkts[i]->data_len, &b->keys[i], l3);
}

// A frame that the short cut does not take.
static void parse_l2_key_unusual(struct cache *c, const struct batch *b, struct deep *deep,
				 uint32_t j, uint8_t fields)
{
	uint32_t i = deep->at[j], level = LEVEL2;
	struct key_l3 l3;

	frame_l3(b, i, &l3);
	deep->keys[j] = key_l2(l3.addresses, l3.rest, b->flows[i]->serial, fields);
	deep->v6[j] = key_l3_is_v6(&l3);
	if (deep->v6[j]) {
		level = LEVEL2_V6;
		deep->keys6[j] = key6_l2(&l3, fields);
		deep->hashes[j] = flow_hash6(&c->tables[level], &deep->keys[j], &deep->keys6[j]);
	} else {
		deep->hashes[j] = flow_hash(&c->tables[level], &deep->keys[j]);
	}
	flow_prefetch_bucket(&c->tables[level], deep->hashes[j]);
}

// The level-2 keys of the listed frames.
static void parse_l2_keys(struct cache *c, const struct batch *b, struct deep *deep)
{
	const struct flow_table *t = &c->tables[LEVEL2];

	for (uint32_t j = 0; j < deep->n; j++) {
		uint32_t i = deep->at[j];
		const struct rte_mbuf *m = b->pkts[i];
		const struct flow *f = b->flows[i];
		uint8_t fields = program_of(c, f)->fields;
		uint64_t addresses, rest;
		struct key key;

		if (unlikely(!parse_l3_plain(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len,
					     &b->keys[i], &addresses, &rest))) {
			parse_l2_key_unusual(c, b, deep, j, fields);
			continue;
		}
		key = key_l2(addresses, rest, f->serial, fields);
		deep->v6[j] = false;
		deep->keys[j] = key;
		deep->hashes[j] = flow_hash(t, &key);
		flow_prefetch_bucket(t, deep->hashes[j]);
	}
}

static struct flow *miss_l2(struct cache *c, struct batch *b, struct deep *deep, uint32_t j)
{
	const struct key6 *a = deep->v6[j] ? &deep->keys6[j] : NULL;
	struct key_l3 l3;
	const struct miss m = { a ? LEVEL2_V6 : LEVEL2, deep->hashes[j],     &deep->keys[j], a,
				&b->keys[deep->at[j]],	&l3 };

	frame_l3(b, deep->at[j], &l3);
	return cache_miss(c, &b->view, &m);
}

// Their level-2 flows take the place of their level-1 flows.
static void look_up_l2(struct cache *c, struct batch *b, struct deep *deep)
{
	for (uint32_t j = 0; j < deep->n; j++) {
		struct flow **f = &b->flows[deep->at[j]];

		if (unlikely(deep->v6[j]))
			*f = flow_candidate(&c->tables[LEVEL2_V6], sizeof(struct flow6),
					    deep->hashes[j]);
		else
			*f = flow_candidate(&c->tables[LEVEL2], sizeof(struct flow),
					    deep->hashes[j]);
	}
	for (uint32_t j = 0; j < deep->n; j++) {
		uint32_t i = deep->at[j];
		struct flow *f = b->flows[i];
		const struct key6 *a = unlikely(deep->v6[j]) ? &deep->keys6[j] : NULL;

		if (unlikely(!key_equal(&f->key, &deep->keys[j]) ||
			     (a && !key6_equal(&((struct flow6 *)f)->addresses, a))))
			f = miss_l2(c, b, deep, j);
		b->flows[i] = f;
		if (likely(f != NULL))
			__builtin_prefetch(&b->view.words[f->dest]);
	}
}

// --- act ---------------------------------------------------------------------------------------

static void drop_by_program(struct cache *c, struct batch *b, const struct flow *f,
			    struct rte_mbuf *m)
{
	const struct program *p = program_of(c, f);
	struct drop_cause cause = { b->view.port->index, p->dir, p->reason, p->rule };

	// An egress layer's drop is the destination port's.
	if (p->dir == DROP_TX)
		cause.port = fdb_word(b->view.words, f->dest).port;
	counter_add(&c->rule_drops[p->rule % CACHE_RULES], 1);
	worker_drop_for(b->out, &cause, m);
}

// Everything but plain forwarding.
static void act_rarely(struct cache *c, struct batch *b, uint32_t i, struct fdb_where where)
{
	const struct flow *f = b->flows[i];
	const struct program *p = program_of(c, f);
	uint16_t in = b->view.port->index;
	struct rte_mbuf *m = b->pkts[i];
	const struct frame frame = { c, &b->view, b->out, p, &b->keys[i], m };

	switch ((enum op)p->op) {
	case OP_PROBE:
	case OP_FORWARD:
		if (p->op == OP_PROBE && probe_take(&frame, true))
			break;
		if (where.tag == TAG_WAY) {
			tunnel_send(&frame, where.port);
			break;
		}
		if (where.port == in) {
			worker_drop(b->out, in, DROP_RX, DROP_SAME_PORT, m);
			break;
		}
		m = egress_retag(b->out, m, (enum tag_form)p->form, where.tag);
		if (m)
			worker_output(b->out, where.port, m);
		else
			counter_add(&worker_counters(b->out, where.port)
					     ->drops[DROP_TX][DROP_RESOURCES], 1);
		break;
	case OP_FLOOD:
		egress_flood(&frame);
		break;
	case OP_ROUTE:
		route_frame(&frame, f->dest, where);
		break;
	case OP_ANSWER:
		answer_frame(&frame);
		break;
	case OP_DROP:
		drop_by_program(c, b, f, m);
		break;
	case OP_LOOKUP: // a level-2 flow never says so
	case OP_NONE:
		worker_drop(b->out, in, DROP_RX, DROP_TABLE_FULL, m);
		break;
	}
}

static void refresh(struct cache *c, struct batch *b, uint32_t i, bool deep)
{
	struct key_l3 l3;

	if (deep)
		frame_l3(b, i, &l3);
	cache_refresh(c, &b->view, b->flows[i], &b->keys[i], deep ? &l3 : NULL);
}

// To another host: true if all that it takes is the header in front of the frame.
static ALWAYS_INLINE bool act_way(struct cache *c, struct batch *b, uint32_t i, uint16_t way)
{
	const struct program *p = program_of(c, b->flows[i]);
	const struct way_header *w = tunnel_header(&b->view, way);
	struct rte_mbuf *m = b->pkts[i];

	if (unlikely(!w || !p->vsid || !tunnel_is_ready(m, w)))
		return false;
	tunnel_push(b->out, p, w, m, tunnel_look(m, &b->keys[i]));
	return true;
}

// Brings the frame's flow up to date, counts the frame in it, and does what it says. False: level
// 2 must say it. deep: its flow is one of level 2.
static ALWAYS_INLINE bool act(struct cache *c, struct batch *b, uint32_t i, bool deep)
{
	struct flow *f = b->flows[i];
	struct fdb_where where;

	if (unlikely(!f)) {
		worker_drop(b->out, b->view.port->index, DROP_RX, DROP_MISS_BUDGET, b->pkts[i]);
		return true;
	}
	where = fdb_word(b->view.words, f->dest);
	if (unlikely(f->port_gen != b->view.port->gen || f->dest_gen != where.gen)) {
		refresh(c, b, i, deep);
		where = fdb_word(b->view.words, f->dest);
	}
	f->packets++;
	f->bytes += b->pkts[i]->pkt_len;
	f->stamp = c->tick;
	if (likely(f->plain && where.tag == 0 && where.port != b->view.port->index))
		worker_output(b->out, where.port, b->pkts[i]);
	else if (f->plain && where.tag == TAG_WAY && likely(act_way(c, b, i, where.port)))
		;
	else if (!deep && program_of(c, f)->op == OP_LOOKUP)
		return false;
	else
		act_rarely(c, b, i, where);
	return true;
}

// Two passes, so that frames for level 2 wait for their memory together. Frames of one flow stay
// in order: they all take the same way.
static void act_l1(struct cache *c, struct batch *b, struct deep *deep)
{
	for (uint32_t i = 0; i < b->n; i++)
		if (unlikely(!act(c, b, i, false)))
			deep->at[deep->n++] = (uint8_t)i;
}

static void act_l2(struct cache *c, struct batch *b, struct deep *deep)
{
	for (uint32_t j = 0; j < deep->n; j++)
		act(c, b, deep->at[j], true);
}

// --- the batch ---------------------------------------------------------------------------------

static void drop_all(struct worker_out *out, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct port_counters *counters = worker_counters(out, port);

	counter_add(&counters->rx_packets, n);
	for (uint32_t i = 0; i < n; i++) {
		counter_add(&counters->rx_bytes, pkts[i]->pkt_len);
		worker_drop(out, port, DROP_RX, DROP_NOT_READY, pkts[i]);
	}
}

static void input(void *ctx, struct worker_out *out, uint16_t port, struct rte_mbuf **pkts,
		  uint16_t n)
{
	struct pipeline *p = ctx;
	struct cache *c = &p->cache;
	const struct snapshot *snap = rcu_get(&c->snapshot->now);
	// Kilobytes: not to be cleared for every batch.
	struct batch b;
	struct deep deep;

	b.view = (struct view){ snap, snap->ports[port], fdb_words(c->fdb),
				snap->hnv ? snap->hnv->underlays[port] : NULL };
	b.out = out;
	b.n = 0;
	deep.n = 0;
	if (unlikely(!b.view.port)) {
		drop_all(out, port, pkts, n);
		return;
	}
	if (unlikely(b.view.underlay != NULL))
		decap_and_parse(c, &b, pkts, n);
	else
		parse(c, &b, pkts, n, NULL);
	look_up_l1(c, &b);
	act_l1(c, &b, &deep);
	if (deep.n) {
		parse_l2_keys(c, &b, &deep);
		look_up_l2(c, &b, &deep);
		act_l2(c, &b, &deep);
	}
}

static void tick(void *ctx, uint64_t now_tsc)
{
	struct pipeline *p = ctx;

	cache_sweep(&p->cache, now_tsc);
}

static uint64_t held(const void *ctx)
{
	const struct pipeline *p = ctx;

	return p->cache.reassembly ? reassembly_held(p->cache.reassembly) : 0;
}

const struct worker_ops pipeline_ops = { .input = input, .tick = tick, .held = held };

int pipeline_create(const struct pipeline_cfg *cfg, struct pipeline **out, struct err *err)
{
	struct pipeline *p = aligned_alloc(CACHE_LINE, RTE_ALIGN_CEIL(sizeof(*p), CACHE_LINE));
	int ret;

	if (!p)
		return err_set(err, ENOMEM, "no memory for a pipeline");
	memset(p, 0, sizeof(*p));
	ret = cache_init(&p->cache, &cfg->cache, err);
	if (ret) {
		free(p);
		return ret;
	}
	*out = p;
	return 0;
}

void pipeline_destroy(struct pipeline *p)
{
	if (!p)
		return;
	cache_fini(&p->cache);
	free(p);
}

const struct cache *pipeline_cache(const struct pipeline *p)
{
	return &p->cache;
}
