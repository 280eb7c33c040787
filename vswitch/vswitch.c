// SPDX-License-Identifier: Apache-2.0
#include "vswitch/vswitch.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "vswitch/compile.h"

#define LEARN_SLOTS 4096    // reports that wait for control, per worker
#define LEARN_BATCH 1024    // reports taken in per call and worker
#define SUBNET_AGEING_S 300 // IEEE 802.1Q, 8.8.3
#define UNKNOWN_PER_S 100   // unknown customer addresses that others are told of
#define AGE_SLOTS (1u << 16) // FDB slots looked at per second

struct vswitch {
	struct rcu *rcu;
	struct fdb *fdb;
	struct snapshot_ref snapshot;
	struct compiled *now; // what is in force
	struct compile_state state;
	unsigned int n_plans; // prepared, neither published nor aborted
	struct vswitch_hooks hooks;
	uint32_t now_s;
	uint64_t now_ns;
	struct token_bucket moves[PORT_SLOTS];
	struct token_bucket unknown;
	struct vswitch_stats stats;
	unsigned int n_workers;
	struct learn_queue queues[WORKER_MAX];
};

struct vswitch_plan {
	struct compiled *next;
	struct compiled *base; // what it was prepared beside
	struct vswitch *vs;    // in whose FDB room is reserved for it
};

const struct snapshot_ref *vswitch_snapshot(const struct vswitch *vs) { return &vs->snapshot; }
struct fdb *vswitch_fdb(const struct vswitch *vs) { return vs->fdb; }
const struct vswitch_stats *vswitch_stats(const struct vswitch *vs) { return &vs->stats; }

void vswitch_set_hooks(struct vswitch *vs, const struct vswitch_hooks *hooks)
{
	vs->hooks = *hooks;
}

uint32_t vswitch_now_s(const struct vswitch *vs) { return vs->now_s; }

const struct hnv_image *vswitch_hnv(const struct vswitch *vs) { return vs->now->hnv; }

struct learn_queue *vswitch_learn_queue(struct vswitch *vs, unsigned int worker)
{
	return &vs->queues[worker];
}

bool vswitch_domain(const struct vswitch *vs, uint16_t fid, uint16_t *switch_id, uint16_t *vid)
{
	struct domain_id id = vs->now->ids[fid];

	*switch_id = id.switch_id;
	*vid = id.vid;
	return id.used;
}

static int make_queue(struct learn_queue *q, int event_fd)
{
	size_t size = (size_t)rte_ring_get_memsize_elem(sizeof(struct learn_report), LEARN_SLOTS);

	q->event_fd = event_fd;
	q->ring = aligned_alloc(CACHE_LINE, (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
	if (!q->ring)
		return -ENOMEM;
	return rte_ring_init(q->ring, "learn", LEARN_SLOTS, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

int vswitch_create(struct rcu *rcu, unsigned int n_workers, int event_fd, struct vswitch **out,
		   struct err *err)
{
	struct vswitch *vs = calloc(1, sizeof(*vs));
	struct vswitch_cfg nothing = { 0 };
	int ret = -ENOMEM;

	if (!vs)
		return err_set(err, ENOMEM, "no memory for the switch");
	vs->rcu = rcu;
	vs->state.next_gen = 1;
	vs->n_workers = n_workers;
	ret = fdb_create(rcu, &vs->fdb, err);
	if (!ret)
		ret = hnv_shared_init(&vs->state.hnv, rcu, err);
	if (!ret)
		ret = compile(&nothing, NULL, &vs->state, &vs->now, err);
	for (unsigned int i = 0; !ret && i < n_workers; i++)
		if (make_queue(&vs->queues[i], event_fd))
			ret = err_set(err, ENOMEM, "no memory for learning");
	if (ret) {
		vswitch_destroy(vs);
		return ret;
	}
	rcu_set(&vs->snapshot.now, vs->now->snap);
	*out = vs;
	return 0;
}

void vswitch_destroy(struct vswitch *vs)
{
	if (!vs)
		return;
	compiled_free(vs->now, NULL);
	fdb_destroy(vs->fdb);
	hnv_shared_fini(&vs->state.hnv);
	for (unsigned int i = 0; i < vs->n_workers; i++)
		free(vs->queues[i].ring);
	free(vs);
}

// --- a change ----------------------------------------------------------------------------------

static bool same_static(const struct static_mac *a, const struct static_mac *b)
{
	return a->fid == b->fid && mac_to_u64(a->mac) == mac_to_u64(b->mac);
}

static bool static_before(const struct static_mac *a, const struct static_mac *b)
{
	if (a->fid != b->fid)
		return a->fid < b->fid;
	return mac_to_u64(a->mac) < mac_to_u64(b->mac);
}

// Addresses and domains of `to` that `from` has not: they want slots of the FDB.
static uint32_t new_addresses(const struct compiled *from, const struct compiled *to)
{
	const struct static_mac *o = from->fixed, *end = o + from->n_fixed;
	uint32_t n = 0;

	for (uint32_t i = 0; i < to->n_fixed; i++) {
		while (o < end && static_before(o, &to->fixed[i]))
			o++;
		n += o == end || !same_static(o, &to->fixed[i]);
	}
	return n;
}

static uint32_t new_domains(const struct compiled *from, const struct compiled *to)
{
	uint32_t n = 0;

	for (uint32_t fid = 1; fid < to->snap->n_domains; fid++)
		n += to->ids[fid].used && !from->ids[fid].used;
	return n;
}

int vswitch_prepare(struct vswitch *vs, struct vswitch_cfg *cfg, struct vswitch_plan **plan,
		    struct err *err)
{
	struct vswitch_plan *p = calloc(1, sizeof(*p));
	struct compiled *next = NULL;
	int ret = compile(cfg, vs->now, &vs->state, &next, err);

	if (!p && !ret) {
		compiled_free(next, vs->now);
		ret = err_set(err, ENOMEM, "no memory for a plan");
	}
	if (!ret) {
		ret = fdb_reserve(vs->fdb, new_addresses(vs->now, next),
				  new_domains(vs->now, next));
		if (ret) {
			compiled_free(next, vs->now);
			err_set(err, -ret, "the forwarding database has no room for %u MACs",
				next->n_fixed);
		}
	}
	if (ret) {
		free(p);
		return ret;
	}
	*p = (struct vswitch_plan){ .next = next, .base = vs->now, .vs = vs };
	vs->n_plans++;
	*plan = p;
	return 0;
}

void vswitch_abort(struct vswitch_plan *plan)
{
	fdb_reserve(plan->vs->fdb, 0, 0);
	plan->vs->n_plans--;
	compiled_free(plan->next, plan->base);
	free(plan);
}

// Both lists are sorted: one walk finds what goes, what comes and what moves.
static void change_fixed(struct vswitch *vs, const struct compiled *from,
			   const struct compiled *to)
{
	const struct static_mac *o = from->fixed, *o_end = o + from->n_fixed;
	const struct static_mac *n = to->fixed, *n_end = n + to->n_fixed;

	while (o < o_end || n < n_end) {
		if (n == n_end || (o < o_end && static_before(o, n))) {
			fdb_del(vs->fdb, o->fid, o->mac);
			o++;
			continue;
		}
		bool known = o < o_end && same_static(o, n);

		if (!known || o->port != n->port || o->tag != n->tag)
			fdb_set(vs->fdb, n->fid, n->mac,
				(struct fdb_where){ .port = n->port, .tag = n->tag }, FDB_STATIC,
				true);
		o += known;
		n++;
	}
}

static bool same_vlans(const struct sw_port_cfg *a, const struct sw_port_cfg *b)
{
	return a->switch_id == b->switch_id && a->in_subnet == b->in_subnet &&
	       a->subnet == b->subnet && a->takes_untagged == b->takes_untagged &&
	       a->native_vid == b->native_vid &&
	       memcmp(a->tagged, b->tagged, sizeof(a->tagged)) == 0;
}

// What a change means for the forwarding database.
struct fates {
	const struct compiled *from, *to;
	uint8_t ports[PORT_SLOTS]; // PORT_FORGETS, PORT_TOUCHES
	bool any;
	bool routed; // a receiver of routed packets reads other fields now: gateways ask anew
	bool hosts;  // those that MACs were learnt behind may have gone
};
enum { PORT_FORGETS = 1, PORT_TOUCHES = 2 }; // what is learnt there; flows towards it

static bool domain_goes(const struct fates *f, uint16_t fid)
{
	return f->from->ids[fid].used && (fid >= f->to->snap->n_domains || !f->to->ids[fid].used);
}

// May somebody be learnt behind the way, as things are now?
static bool way_learns(const struct hnv_image *im, uint16_t fid, uint16_t way)
{
	const struct way *w;

	if (!im || !im->by_fid[fid] || !im->by_fid[fid]->learning)
		return false;
	w = &im->hnv.ways[way - WAY_FIRST];
	return hnv_find_way(&im->hnv, w->encap, &w->provider) == way;
}

static enum fdb_fate fate_of(void *arg, uint16_t fid, uint16_t port, enum fdb_state state)
{
	const struct fates *f = arg;
	uint8_t fate = port < PORT_SLOTS ? f->ports[port] : 0;

	if (domain_goes(f, fid) || (fate & PORT_FORGETS && state == FDB_LEARNT))
		return FDB_REMOVE;
	if (f->hosts && way_is(port) && state == FDB_LEARNT && !way_learns(f->to->hnv, fid, port))
		return FDB_REMOVE;
	if (f->routed && port == FDB_PORT_FLOOD)
		return FDB_TOUCH;
	return fate & PORT_TOUCHES ? FDB_TOUCH : FDB_KEEP;
}

// Removed domains, what is learnt on changed and removed ports, and flows towards them.
static void change_rest(struct vswitch *vs, const struct compiled *from, const struct compiled *to)
{
	struct fates f = { .from = from, .to = to };

	f.hosts = f.any = from->hnv != to->hnv && from->hnv && from->hnv->learns;

	for (uint32_t fid = 1; fid < from->snap->n_domains && !f.any; fid++)
		f.any = domain_goes(&f, (uint16_t)fid);
	for (uint16_t i = 0; i < PORT_SLOTS; i++) {
		const struct sw_port *a = from->snap->ports[i], *b = to->snap->ports[i];

		if (a == b || !a)
			continue;
		if (!b || !same_vlans(from->ports[i], to->ports[i]) || !b->learning)
			f.ports[i] |= PORT_FORGETS;
		if (b && !sw_port_same_egress(a, b)) {
			f.ports[i] |= PORT_TOUCHES;
			f.routed |= to->snap->hnv && to->snap->hnv->by_fid[b->native_fid];
		}
		f.any |= f.ports[i];
	}
	if (f.any)
		fdb_sweep(vs->fdb, fate_of, &f);
}

static void retire(struct vswitch *vs, struct compiled *from, const struct compiled *to)
{
	const struct snapshot *old = from->snap, *new = to->snap;

	for (uint32_t i = 0; i < PORT_SLOTS; i++)
		if (old->ports[i] && old->ports[i] != new->ports[i])
			rcu_retire(vs->rcu, sw_port_free, (void *)old->ports[i]);
	for (uint32_t i = 0; i < old->n_domains; i++)
		if (i >= new->n_domains || old->domains[i] != new->domains[i])
			rcu_retire(vs->rcu, free, (void *)old->domains[i]);
	rcu_retire(vs->rcu, free, (void *)old->domains);
	if (from->hnv != to->hnv)
		rcu_retire(vs->rcu, hnv_image_destroy, from->hnv);
	from->hnv = NULL;
	rcu_retire(vs->rcu, free, from->snap);
	from->snap = NULL;
	for (uint32_t i = 0; i < PORT_SLOTS; i++)
		free(from->ports[i]);
	compiled_free(from, NULL);
}

// Asks for the neighbours of our provider addresses, and gives up those that have gone.
static void ask_neighbors(struct vswitch *vs)
{
	struct hnv_image *im = vs->now->hnv;
	uint8_t frame[UNDERLAY_FRAME_MAX];

	for (uint32_t i = 0; im && vs->hooks.send && i < im->underlay->n_neighbors; i++) {
		struct underlay_neighbor *n = &im->underlay->neighbors[i];
		enum underlay_task task = underlay_second(n, vs->now_s);

		if (task == UNDERLAY_FORGET)
			hnv_refresh_ways(&vs->state.hnv, im, n);
		if (task == UNDERLAY_ASK)
			vs->hooks.send(vs->hooks.ctx, im->cfg.providers[n->provider].port, frame,
				       underlay_question(im->underlay, n, frame));
	}
}

int vswitch_probe_begin(struct vswitch *vs, uint16_t port, uint16_t id,
			const struct vswitch_guest *guest)
{
	int ret = probe_begin(&vs->state.hnv.probes, port, id, guest != NULL);

	// Flows to the guest look again.
	if (!ret && guest)
		fdb_touch(vs->fdb, guest->fid, guest->mac);
	return ret;
}

void vswitch_probe_end(struct vswitch *vs, uint16_t id, const struct vswitch_guest *guest)
{
	probe_end(&vs->state.hnv.probes, id);
	if (guest)
		fdb_touch(vs->fdb, guest->fid, guest->mac);
}

void vswitch_publish(struct vswitch *vs, struct vswitch_plan *plan)
{
	struct compiled *from = vs->now, *to = plan->next;

	// Domains first: who sees the snapshot must find their flood slots.
	for (uint32_t fid = 1; fid < to->snap->n_domains; fid++)
		if (to->ids[fid].used && !from->ids[fid].used)
			fdb_domain_add(vs->fdb, (uint16_t)fid);
	rcu_set(&vs->snapshot.now, to->snap);
	vs->now = to;
	// Addresses after: who flooded for want of them looks again under the new snapshot.
	change_fixed(vs, from, to);
	change_rest(vs, from, to);
	hnv_publish(&vs->state.hnv, vs->fdb, from->hnv, to->hnv);
	ask_neighbors(vs);
	fdb_reserve(vs->fdb, 0, 0);
	retire(vs, from, to);
	vs->n_plans--;
	free(plan);
}

// --- learning ----------------------------------------------------------------------------------

// May the MAC come, or move, to this port now?
static bool may_learn(struct vswitch *vs, const struct sw_port_cfg *cfg, uint32_t slot,
		      struct fdb_where where)
{
	if (fdb_port_count(vs->fdb, cfg->index) >= cfg->max_macs) {
		vs->stats.refused_limit++;
		return false;
	}
	if (slot && where.port != FDB_PORT_NONE) {
		if (!token_take(&vs->moves[cfg->index], cfg->move_limit, vs->now_ns,
				1000000000)) {
			vs->stats.refused_limit++;
			return false;
		}
		vs->stats.moved++;
	}
	return true;
}

static void learn_one(struct vswitch *vs, const struct learn_report *r)
{
	const struct compiled *c = vs->now;
	const struct sw_port *port = c->snap->ports[r->port % PORT_SLOTS], *before;
	struct domain_id id = c->ids[r->fid];
	struct fdb_where where;
	uint32_t slot;
	int ret;

	// The report may be older than the last change.
	if (!port || !port->learning || !id.used || !port_cfg_is_in(c->ports[r->port], id))
		return;
	slot = fdb_find(vs->fdb, r->fid, r->mac, &where);
	if (slot && where.port == r->port)
		return;
	if (slot && fdb_slot_state(vs->fdb, slot) == FDB_STATIC) {
		vs->stats.refused_static++;
		return;
	}
	if (!may_learn(vs, c->ports[r->port], slot, where))
		return;
	before = slot && where.port < PORT_MAX ? c->snap->ports[where.port] : NULL;
	ret = fdb_set(vs->fdb, r->fid, r->mac,
		      (struct fdb_where){ .port = r->port,
					  .tag = port_cfg_tag_in(c->ports[r->port], id) },
		      FDB_LEARNT, !before || !sw_port_same_egress(before, port));
	if (ret) {
		vs->stats.refused_limit++;
		return;
	}
	fdb_set_placed(vs->fdb, r->fid, r->mac, r->tick);
	vs->stats.learnt++;
}

// A host takes part in a subnet that learns: from now on it gets that subnet's floods. While
// another configuration is being made it is let go; its next frame tells again.
static void learn_peer(struct vswitch *vs, uint16_t fid, uint8_t encap,
		       const struct ip_address *provider)
{
	struct compiled *c = vs->now;
	struct domain_id id = c->ids[fid];
	const struct hnv_peer peer = { .subnet = id.vid, .encap = encap, .provider = *provider };

	if (vs->n_plans || !c->hnv || id.switch_id != DOMAIN_SUBNET ||
	    !hnv_learn_peer(&vs->state.hnv, c->hnv, &peer))
		return;
	if (compiled_relearn(c, &vs->state, fid, &vs->snapshot))
		hnv_learnt_drop(&vs->state.hnv);
	else
		ask_neighbors(vs);
}

static void forget_peers(struct vswitch *vs)
{
	struct compiled *c = vs->now;
	int subnet;

	hnv_age_peers(&vs->state.hnv, vs->fdb);
	if (!c->hnv || vs->n_plans)
		return;
	while ((subnet = hnv_forget_peer(&vs->state.hnv)) >= 0)
		compiled_relearn(c, &vs->state, c->hnv->fids[subnet], &vs->snapshot);
}

// Somebody has, or says to have, a customer address.
static void learn_customer(struct vswitch *vs, const struct learn_report *r)
{
	struct domain_id id = vs->now->ids[r->fid];
	const struct hnv_record_cfg customer = { .subnet = id.vid, .customer = r->address,
						 .mac = r->mac };

	if (vs->now->hnv && id.switch_id == DOMAIN_SUBNET)
		hnv_learn_customer(&vs->state.hnv, vs->fdb, vs->now->hnv, &customer);
}

// Somebody of a subnet that learns was seen behind another host.
static void learn_behind_way(struct vswitch *vs, const struct learn_report *r)
{
	const struct hnv_image *im = vs->now->hnv;
	const struct hnv_subnet *s = im ? im->by_fid[r->fid] : NULL;
	const struct way *w;
	struct fdb_where where;
	uint32_t slot;

	if (!s || !s->learning || !way_learns(im, r->fid, r->port))
		return;
	w = &im->hnv.ways[r->port - WAY_FIRST];
	learn_peer(vs, r->fid, w->encap, &w->provider);
	slot = fdb_find(vs->fdb, r->fid, r->mac, &where);
	if (slot && (where.port == r->port || fdb_slot_state(vs->fdb, slot) == FDB_STATIC))
		return;
	where = (struct fdb_where){ .port = r->port, .tag = TAG_WAY };
	if (fdb_set(vs->fdb, r->fid, r->mac, where, FDB_LEARNT, true) == 0)
		vs->stats.learnt++;
}

static void learn_underlay(struct vswitch *vs, const struct learn_report *r)
{
	struct hnv_image *im = vs->now->hnv;
	struct underlay_neighbor *n =
		im ? underlay_seen(im->underlay, r->port, &r->address, r->mac, vs->now_s) : NULL;

	if (n)
		hnv_refresh_ways(&vs->state.hnv, im, n);
}

static void tell_unknown(struct vswitch *vs, const struct learn_report *r)
{
	struct domain_id id = vs->now->ids[r->fid];

	if (vs->hooks.unknown && id.used && id.switch_id == DOMAIN_SUBNET &&
	    token_take(&vs->unknown, UNKNOWN_PER_S, vs->now_ns, 1000000000))
		vs->hooks.unknown(vs->hooks.ctx, id.vid, r->port, &r->address);
}

static void take_report(struct vswitch *vs, const struct learn_report *r)
{
	switch ((enum learn_kind)r->kind) {
	case LEARN_MAC:
	case LEARN_CUSTOMER:
		if (way_is(r->port))
			learn_behind_way(vs, r);
		else
			learn_one(vs, r);
		if (r->kind == LEARN_CUSTOMER)
			learn_customer(vs, r);
		break;
	case LEARN_PEER:
		learn_peer(vs, r->fid, r->encap, &r->address);
		break;
	case LEARN_UNDERLAY:
		learn_underlay(vs, r);
		break;
	case LEARN_ECHO:
		if (vs->hooks.answer)
			vs->hooks.answer(vs->hooks.ctx, r);
		break;
	case LEARN_UNKNOWN:
		tell_unknown(vs, r);
		break;
	}
}

bool vswitch_learn(struct vswitch *vs)
{
	bool more = false;

	for (unsigned int w = 0; w < vs->n_workers; w++) {
		struct learn_report r;
		unsigned int n = 0;

		while (n < LEARN_BATCH &&
		       rte_ring_sc_dequeue_elem(vs->queues[w].ring, &r, sizeof(r)) == 0) {
			take_report(vs, &r);
			n++;
		}
		more |= n == LEARN_BATCH;
	}
	return more;
}

bool vswitch_arm(struct vswitch *vs)
{
	bool waiting = false;

	for (unsigned int w = 0; w < vs->n_workers; w++) {
		// Armed before the look, so that a report comes either seen or rung.
		__atomic_store_n(&vs->queues[w].armed, true, __ATOMIC_SEQ_CST);
		waiting |= !rte_ring_empty(vs->queues[w].ring);
	}
	return waiting;
}

static uint32_t ageing_of(uint16_t fid, void *arg)
{
	const struct vswitch *vs = arg;
	struct domain_id id = vs->now->ids[fid];

	return id.switch_id == DOMAIN_SUBNET ? SUBNET_AGEING_S
					     : vs->now->switches[id.switch_id].ageing_s;
}

void vswitch_second(struct vswitch *vs, uint32_t now_s)
{
	vs->now_ns = now_s * 1000000000ull;
	vs->now_s = now_s;
	ask_neighbors(vs);
	fdb_set_now(vs->fdb, now_s);
	forget_peers(vs);
	if (vs->now->hnv)
		hnv_age_customers(&vs->state.hnv, vs->fdb, vs->now->hnv);
	vs->stats.aged += fdb_age(vs->fdb, AGE_SLOTS, ageing_of, vs);
}
