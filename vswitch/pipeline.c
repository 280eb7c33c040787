// SPDX-License-Identifier: Apache-2.0
// The whole way of a batch through the switch, top to bottom: parse, look up (level 1, and level 2
// for the frames that need it), act. Each step runs over the batch before the next one starts,
// with the next step's memory on its way; frames are not grouped by flow (measured: it never won).
// Called by dataplane/worker.c; misses and stale flows go to cache.c; frames leave by
// worker_output or worker_drop. worker.
#include "vswitch/pipeline.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_mbuf.h>

#include "vswitch/egress.h"

#define AHEAD 4 // frames whose bytes are fetched before they are parsed

struct pipeline {
	struct cache cache;
	const struct snapshot_ref *snapshot;
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
	struct key_l3 l3[PORT_BATCH];
	struct key keys[PORT_BATCH];
	struct key6 keys6[PORT_BATCH];
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
static void parse(struct cache *c, struct batch *b, uint16_t port, struct rte_mbuf **pkts,
		  uint16_t n)
{
	struct port_counters *counters = worker_counters(b->out, port);
	const struct flow_table *t = &c->tables[LEVEL1];
	uint64_t bytes = 0;
	uint16_t kept = 0;

	for (uint16_t i = 0; i < AHEAD && i < n; i++)
		__builtin_prefetch(rte_pktmbuf_mtod(pkts[i], void *));
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		enum parse_result r;
		struct key key;

		if (i + AHEAD < n)
			__builtin_prefetch(rte_pktmbuf_mtod(pkts[i + AHEAD], void *));
		bytes += m->pkt_len;
		r = parse_l2(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, port, &key);
		if (unlikely(r != PARSE_OK)) {
			worker_drop(b->out, port, DROP_RX, parse_error(r), m);
			continue;
		}
		b->keys[kept] = key;
		b->hashes[kept] = flow_hash(t, &key);
		flow_prefetch_bucket(t, b->hashes[kept]);
		b->pkts[kept++] = m;
	}
	b->n = kept;
	counter_add(&counters->rx_packets, n);
	counter_add(&counters->rx_bytes, bytes);
}

// --- look up -----------------------------------------------------------------------------------

// Every frame gets its level-1 flow, current, or NULL: over the miss budget.
static void look_up_l1(struct cache *c, struct batch *b)
{
	const struct flow_table *t = &c->tables[LEVEL1];

	for (uint16_t i = 0; i < b->n; i++)
		b->flows[i] = flow_candidate(t, b->hashes[i]);
	for (uint16_t i = 0; i < b->n; i++) {
		if (unlikely(!key_equal(&b->flows[i]->key, &b->keys[i])))
			b->flows[i] = cache_miss_l1(c, &b->view, b->hashes[i], &b->keys[i]);
		if (likely(b->flows[i] != NULL))
			__builtin_prefetch(&b->view.words[b->flows[i]->dest]);
	}
}

// Brings each flow up to date, counts the packet in it, and lists the frames for level 2.
static void settle_l1(struct cache *c, struct batch *b, struct deep *deep)
{
	for (uint16_t i = 0; i < b->n; i++) {
		struct flow *f = b->flows[i];

		if (unlikely(!f))
			continue;
		if (unlikely(!flow_is_current(f, &b->view)))
			cache_refresh(c, &b->view, f, &b->keys[i], NULL);
		f->packets++;
		f->bytes += b->pkts[i]->pkt_len;
		f->stamp = c->tick;
		if (unlikely(program_of(c, f)->op == OP_LOOKUP))
			deep->at[deep->n++] = (uint8_t)i;
	}
}

// The level-2 keys of the listed frames.
static void parse_deep(struct cache *c, struct batch *b, struct deep *deep)
{
	for (uint16_t j = 0; j < deep->n; j++) {
		uint16_t i = deep->at[j];
		struct rte_mbuf *m = b->pkts[i];
		const struct flow *f = b->flows[i];

		parse_l3(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, &b->keys[i], &deep->l3[j]);
		key_l2_build(&deep->l3[j], f->serial, program_of(c, f)->fields, &deep->keys[j],
			     &deep->keys6[j]);
		if (unlikely(key_l3_is_v6(&deep->l3[j]))) {
			deep->hashes[j] = flow_hash6(&c->tables[LEVEL2_V6], &deep->keys[j],
						     &deep->keys6[j]);
			flow_prefetch_bucket(&c->tables[LEVEL2_V6], deep->hashes[j]);
		} else {
			deep->hashes[j] = flow_hash(&c->tables[LEVEL2], &deep->keys[j]);
			flow_prefetch_bucket(&c->tables[LEVEL2], deep->hashes[j]);
		}
	}
}

// Their level-2 flows take the place of their level-1 flows.
static void look_up_l2(struct cache *c, struct batch *b, struct deep *deep)
{
	for (uint16_t j = 0; j < deep->n; j++) {
		bool v6 = key_l3_is_v6(&deep->l3[j]);

		b->flows[deep->at[j]] =
			flow_candidate(&c->tables[v6 ? LEVEL2_V6 : LEVEL2], deep->hashes[j]);
	}
	for (uint16_t j = 0; j < deep->n; j++) {
		uint16_t i = deep->at[j];
		struct flow *f = b->flows[i];
		const struct key6 *a = key_l3_is_v6(&deep->l3[j]) ? &deep->keys6[j] : NULL;

		if (unlikely(!key_equal(&f->key, &deep->keys[j]) ||
			     (a && !key6_equal(&((struct flow6 *)f)->addresses, a))))
			f = cache_miss_l2(c, &b->view, deep->hashes[j], &deep->keys[j], a,
					  &b->keys[i], &deep->l3[j]);
		b->flows[i] = f;
		if (unlikely(!f))
			continue;
		if (unlikely(!flow_is_current(f, &b->view)))
			cache_refresh(c, &b->view, f, &b->keys[i], &deep->l3[j]);
		f->packets++;
		f->bytes += b->pkts[i]->pkt_len;
		f->stamp = c->tick;
	}
}

// --- act ---------------------------------------------------------------------------------------

static void drop_by_program(struct cache *c, struct batch *b, const struct flow *f,
			    struct rte_mbuf *m)
{
	struct program *p = &c->programs.programs[f->program];
	uint16_t port = b->view.port->index;

	// An egress layer's drop is the destination port's.
	if (p->dir == DROP_TX)
		port = fdb_word(b->view.words, f->dest).port;
	counter_add(&p->packets, 1);
	worker_drop(b->out, port, (enum drop_dir)p->dir, (enum drop)p->reason, m);
}

static void act_rarely(struct cache *c, struct batch *b, uint16_t i)
{
	const struct flow *f = b->flows[i];
	const struct program *p = program_of(c, f);
	struct fdb_where where = fdb_word(b->view.words, f->dest);
	uint16_t in = b->view.port->index;
	struct rte_mbuf *m = b->pkts[i];

	switch ((enum op)p->op) {
	case OP_FORWARD:
		if (where.port == in) {
			worker_drop(b->out, in, DROP_RX, DROP_SAME_PORT, m);
			break;
		}
		m = egress_retag(b->out, m, (enum tag_form)p->form, where.tag);
		if (m)
			worker_output(b->out, where.port, m);
		else
			counter_add(&worker_counters(b->out, where.port)->drops[DROP_TX][DROP_RESOURCES], 1);
		break;
	case OP_FLOOD:
		egress_flood(c, &b->view, b->out, p, &b->keys[i], m);
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

static void act(struct cache *c, struct batch *b)
{
	uint16_t in = b->view.port->index;

	for (uint16_t i = 0; i < b->n; i++) {
		const struct flow *f = b->flows[i];
		const struct program *p;
		struct fdb_where where;

		if (unlikely(!f)) {
			worker_drop(b->out, in, DROP_RX, DROP_MISS_BUDGET, b->pkts[i]);
			continue;
		}
		p = program_of(c, f);
		where = fdb_word(b->view.words, f->dest);
		if (likely(p->op == OP_FORWARD && p->form == TAG_NONE && where.tag == 0 &&
			   where.port != in))
			worker_output(b->out, where.port, b->pkts[i]);
		else
			act_rarely(c, b, i);
	}
}

// --- the batch ---------------------------------------------------------------------------------

static void drop_all(struct worker_out *out, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct port_counters *counters = worker_counters(out, port);

	counter_add(&counters->rx_packets, n);
	for (uint16_t i = 0; i < n; i++) {
		counter_add(&counters->rx_bytes, pkts[i]->pkt_len);
		worker_drop(out, port, DROP_RX, DROP_NOT_READY, pkts[i]);
	}
}

static void input(void *ctx, struct worker_out *out, uint16_t port, struct rte_mbuf **pkts,
		  uint16_t n)
{
	struct pipeline *p = ctx;
	struct cache *c = &p->cache;
	const struct snapshot *snap = rcu_get(&p->snapshot->now);
	// Kilobytes: not to be cleared for every batch.
	struct batch b;
	struct deep deep;

	b.view = (struct view){ snap, snap->ports[port], fdb_words(c->fdb) };
	b.out = out;
	b.n = 0;
	deep.n = 0;
	if (unlikely(!b.view.port)) {
		drop_all(out, port, pkts, n);
		return;
	}
	parse(c, &b, port, pkts, n);
	look_up_l1(c, &b);
	settle_l1(c, &b, &deep);
	if (deep.n) {
		parse_deep(c, &b, &deep);
		look_up_l2(c, &b, &deep);
	}
	act(c, &b);
}

static void tick(void *ctx, uint64_t now_tsc)
{
	struct pipeline *p = ctx;

	cache_sweep(&p->cache, rcu_get(&p->snapshot->now), now_tsc);
}

const struct worker_ops pipeline_ops = { .input = input, .tick = tick };

int pipeline_create(const struct pipeline_cfg *cfg, struct pipeline **out, struct err *err)
{
	struct pipeline *p = aligned_alloc(CACHE_LINE, RTE_ALIGN_CEIL(sizeof(*p), CACHE_LINE));
	int ret;

	if (!p)
		return err_set(err, ENOMEM, "no memory for a pipeline");
	memset(p, 0, sizeof(*p));
	p->snapshot = cfg->snapshot;
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
