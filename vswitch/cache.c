// SPDX-License-Identifier: Apache-2.0
#include "vswitch/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "vswitch/reassembly.h"

#define IDLE_S 30             // a flow without packets for this long goes …
#define IDLE_CROWDED_S 1      // … or this long, when its table is nearly full
#define SWEEP_MIN 8u          // entries under the hand in one loop, at least
#define SWEEP_MAX 1024u       // and at most, after a sleep
#define SWEEP_PER_S 200000u   // entries looked at per second
#define REPORTS_PER_S 1000u   // of one port, beside MACs
#define REFRESH_TICKS 4096u   // about 3 s: sources of flows used since are looked up again

int cache_init(struct cache *c, const struct cache_cfg *cfg, struct err *err)
{
	int ret = program_table_init(&c->programs, err);

	c->rule_drops = calloc(CACHE_RULES, sizeof(*c->rule_drops));
	if (!ret && !c->rule_drops)
		ret = err_set(err, ENOMEM, "no memory for the rules' counters");
	for (int level = 0; !ret && level < N_LEVELS; level++)
		ret = flow_table_init(&c->tables[level], cfg->entries,
				      level == LEVEL2_V6 ? sizeof(struct flow6)
							 : sizeof(struct flow),
				      err);
	c->tsc_hz = cfg->tsc_hz;
	c->snapshot = cfg->snapshot;
	c->fdb = cfg->fdb;
	c->learn = cfg->learn;
	c->reassembly = cfg->reassembly;
	if (ret)
		cache_fini(c);
	return ret;
}

void cache_fini(struct cache *c)
{
	program_table_fini(&c->programs);
	free(c->rule_drops);
	reassembly_destroy(c->reassembly);
	for (int level = 0; level < N_LEVELS; level++)
		flow_table_fini(&c->tables[level]);
}

bool token_take(struct token_bucket *b, uint32_t per_s, uint64_t now, uint64_t hz)
{
	uint64_t elapsed = now - b->stamp;

	if (!b->stamp) { // never used: full
		b->tokens = per_s;
		b->stamp = now ? now : 1;
	}
	// Refilled in steps of 1/1024 s, to keep the division off most packets.
	if (elapsed > hz >> 10) {
		uint64_t add = elapsed > hz ? per_s : elapsed * per_s / hz;

		// At low rates a step may be worth less than one token: time keeps running then.
		if (add) {
			b->tokens = b->tokens + add > per_s ? per_s : b->tokens + add;
			b->stamp = now;
		}
	}
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}

// Tokens for new flows of the port that a batch came from.
static bool miss_allowed(struct cache *c, const struct view *v)
{
	return token_take(&c->ports[v->port->index].miss, v->port->miss_budget, c->now_tsc,
			  c->tsc_hz);
}

static void report(struct cache *c, const struct learn_report *r)
{
	// The ring only reads it.
	if (rte_ring_sp_enqueue_elem(c->learn->ring, (void *)r, sizeof(*r))) {
		counter_add(&c->stats.learn_lost, 1);
		return;
	}
	// Exchange orders the report before the look at the flag; control arms, then looks again.
	if (__atomic_load_n(&c->learn->armed, __ATOMIC_SEQ_CST) &&
	    __atomic_exchange_n(&c->learn->armed, false, __ATOMIC_SEQ_CST))
		eventfd_write(c->learn->event_fd, 1);
}

void cache_report(struct cache *c, uint16_t fid, const struct packet *p, uint32_t tick)
{
	report(c, &(struct learn_report){ .kind = LEARN_MAC,
					  .fid = fid,
					  .port = p->way ? p->way : p->in_port,
					  .mac = p->src,
					  .tick = tick });
}

void cache_tell(struct cache *c, uint16_t in_port, const struct learn_report *r)
{
	if (token_take(&c->ports[in_port].report, REPORTS_PER_S, c->now_tsc, c->tsc_hz))
		report(c, r);
}

// Classifies and writes the outcome into *f, giving back the program it had.
static void decide(struct cache *c, const struct view *v, struct flow *f, const struct key *l1,
		   const struct key_l3 *l3)
{
	uint32_t old = f->program;
	struct decision d;
	struct packet p;

	packet_from_keys(l1, l3, &p);
	classify(v->snap, c->fdb, v->port, &p, l3 != NULL, &d);
	if (d.learn)
		cache_report(c, d.fid, &p, c->tick);
	// Nothing can be kept under the serial number of a flow without an entry.
	f->program = d.op == OP_LOOKUP && !f->serial ? PROGRAM_FULL
						     : program_get(&c->programs, &d);
	f->plain = d.op == OP_FORWARD && d.form == TAG_NONE;
	f->dest = d.dest;
	// A slot may be newer than our snapshot: control publishes first, then touches slots. What
	// was decided between the two is current for nobody; generation 0 is no port's.
	f->port_gen = v->snap == rcu_get(&c->snapshot->now) ? v->port->gen : 0;
	f->dest_gen = d.dest ? d.where.gen : fdb_word(v->words, 0).gen;
	program_put(&c->programs, old);
}

void cache_refresh(struct cache *c, const struct view *v, struct flow *f, const struct key *l1,
		   const struct key_l3 *l3)
{
	counter_add(&c->stats.stale, 1);
	decide(c, v, f, l1, l3);
}

// A place for a decision that cannot be kept. Its program is given back at the next batch.
static struct flow *scratch(struct cache *c)
{
	struct flow *f = &c->scratch[c->n_scratch++ % (2 * PORT_BATCH)].flow;
	uint32_t program = f->program;

	counter_add(&c->stats.uncached, 1);
	*f = (struct flow){ .program = program };
	return f;
}

struct flow *cache_miss(struct cache *c, const struct view *v, const struct miss *m)
{
	struct flow_table *t = &c->tables[m->level];
	struct flow *f = flow_find(t, m->hash, m->key, m->addresses);

	if (f)
		return f;
	counter_add(&c->stats.misses[m->level], 1);
	if (!miss_allowed(c, v))
		return NULL;
	f = flow_insert(t, m->hash, m->key, m->addresses);
	if (!f)
		f = scratch(c);
	decide(c, v, f, m->l1, m->l3);
	return f;
}

// --- the clock hands ---------------------------------------------------------------------------

// A source that moved away and came back hits its old flow: tell control where it is now. What
// the flow carried before the move says nothing.
static void look_at_source(struct cache *c, const struct snapshot *snap, const struct flow *f)
{
	const struct sw_port *port;
	struct decision d;
	struct packet p;
	uint32_t slot;

	packet_from_keys(&f->key, NULL, &p);
	port = snap->ports[p.in_port];
	if (!port || !(port->learning || p.vsid))
		return;
	classify(snap, c->fdb, port, &p, false, &d);
	slot = d.fid ? fdb_find(c->fdb, d.fid, p.src, &d.where) : 0;
	if (d.learn) {
		if (!slot || (int32_t)(f->stamp - fdb_placed(c->fdb, slot)) > 0)
			cache_report(c, d.fid, &p, f->stamp);
	} else if (slot) {
		fdb_seen(c->fdb, slot);
	}
}

static void sweep_level(struct cache *c, const struct snapshot *snap, int level, uint32_t n)
{
	struct flow_table *t = &c->tables[level];
	bool crowded = t->n_used > t->capacity - t->capacity / 8, wrapped;
	uint64_t idle_s = crowded ? IDLE_CROWDED_S : IDLE_S;
	uint32_t limit = (uint32_t)(idle_s * c->tsc_hz >> TICK_SHIFT);
	struct flow *flows[SWEEP_MAX];

	n = flow_clock(t, flows, n, &wrapped);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t idle = c->tick - flows[i]->stamp;

		if (idle > limit) {
			program_put(&c->programs, flows[i]->program);
			flow_remove(t, flows[i]);
			counter_add(&c->stats.expired, 1);
		} else if (level == LEVEL1 && idle < REFRESH_TICKS) {
			look_at_source(c, snap, flows[i]);
		}
	}
}

void cache_sweep(struct cache *c, uint64_t now_tsc)
{
	const struct snapshot *snap = rcu_get(&c->snapshot->now);
	uint64_t elapsed = c->swept_tsc ? now_tsc - c->swept_tsc : 0;
	uint64_t n = elapsed * SWEEP_PER_S / c->tsc_hz;

	c->now_tsc = now_tsc;
	c->tick = (uint32_t)(now_tsc >> TICK_SHIFT);
	if (c->swept_tsc && n < SWEEP_MIN)
		return;
	c->swept_tsc = now_tsc;
	n = n > SWEEP_MAX ? SWEEP_MAX : n;
	for (int level = 0; level < N_LEVELS; level++)
		if (c->tables[level].n_used)
			sweep_level(c, snap, level, (uint32_t)n);
}
