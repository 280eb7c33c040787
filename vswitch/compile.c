// SPDX-License-Identifier: Apache-2.0
#include "vswitch/compile.h"

#include <errno.h>
#include <stdlib.h>

#include "base/keyed.h"

#define N_FIDS 65536u

uint16_t port_cfg_tag(const struct sw_port_cfg *p, uint16_t vid)
{
	return p->takes_untagged && p->native_vid == vid ? 0 : TAG_PRESENT | vid;
}

// --- domains -----------------------------------------------------------------------------------

// How many ports of the switch are in each VLAN, into count[4096].
static void count_members(const struct vswitch_cfg *cfg, uint16_t switch_id, uint16_t *count)
{
	for (uint32_t i = 0; i < cfg->n_ports; i++) {
		const struct sw_port_cfg *p = &cfg->ports[i];

		if (p->switch_id != switch_id)
			continue;
		for (uint16_t vid = 0; vid <= VID_MAX; vid++)
			count[vid] += port_cfg_is_member(p, vid);
	}
}

// A number that neither configuration uses, so that adding and removing never meet in one.
static uint16_t fresh_fid(const struct compiled *c, const struct compiled *old, uint32_t *hint)
{
	for (; *hint < N_FIDS; ++*hint)
		if (!c->ids[*hint].used && !(old && old->ids[*hint].used))
			return (uint16_t)*hint;
	return 0;
}

static void use_domain(struct compiled *c, uint16_t fid, uint16_t switch_id, uint16_t vid)
{
	c->ids[fid] = (struct domain_id){ .switch_id = switch_id, .vid = vid, .used = true };
	if (fid >= c->snap->n_domains)
		c->snap->n_domains = fid + 1u;
}

static int add_domain(struct compiled *c, const struct compiled *old, uint16_t switch_id,
		      uint16_t vid, uint32_t *hint)
{
	const uint16_t *old_row = old ? old->fids[switch_id] : NULL;
	uint16_t fid = old_row && old_row[vid] ? old_row[vid] : fresh_fid(c, old, hint);

	if (!fid)
		return -ENOSPC;
	c->fids[switch_id][vid] = fid;
	use_domain(c, fid, switch_id, vid);
	return 0;
}

// Domains of the virtual subnets, by id, into fids[65536].
static int number_subnets(struct compiled *c, const struct hnv_cfg *cfg, const struct compiled *old,
			  uint16_t *fids)
{
	const struct hnv_image *before = old ? old->hnv : NULL;
	uint32_t hint = 1;

	for (uint32_t i = 0; i < cfg->n_subnets; i++) {
		uint16_t id = cfg->subnets[i].id, fid = before ? before->fids[id] : 0;

		if (!fid)
			fid = fresh_fid(c, old, &hint);
		if (!fid)
			return -ENOSPC;
		fids[id] = fid;
		use_domain(c, fid, DOMAIN_SUBNET, id);
	}
	return 0;
}

// The virtual networks; the image in force if it is the same.
static int make_hnv(struct compiled *c, const struct hnv_cfg *cfg, const struct compiled *old,
		    struct compile_state *state, struct err *err)
{
	uint16_t *fids;
	int ret;

	if (!cfg)
		return 0;
	fids = calloc(N_FIDS, sizeof(*fids));
	ret = fids ? number_subnets(c, cfg, old, fids) : -ENOMEM;
	if (ret || (old && old->hnv && hnv_image_is(old->hnv, cfg))) {
		free(fids);
		c->hnv = ret ? NULL : old->hnv;
	} else {
		ret = hnv_image_create(cfg, fids, &state->hnv, old ? old->hnv : NULL, &c->hnv);
	}
	if (ret == -ENOSPC)
		return err_set(err, ENOSPC, "more than %u VLANs and virtual subnets, or more than "
			       "%u hosts in records", N_FIDS - 1, WAY_MAX);
	if (ret)
		return err_set(err, ENOMEM, "no memory for virtual networks");
	c->snap->hnv = &c->hnv->hnv;
	return 0;
}

// A VLAN with fewer than two members leads nowhere and needs no domain.
static int number_domains(struct compiled *c, const struct vswitch_cfg *cfg,
			  const struct compiled *old, struct err *err)
{
	uint32_t hint = 1;

	for (uint32_t s = 0; s < cfg->n_switches; s++) {
		uint16_t id = cfg->switches[s].id, count[4096] = { 0 };

		c->switches[id] = cfg->switches[s];
		c->fids[id] = calloc(4096, sizeof(uint16_t));
		if (!c->fids[id])
			return err_set(err, ENOMEM, "no memory for VLAN domains");
		count_members(cfg, id, count);
		for (uint16_t vid = 0; vid <= VID_MAX; vid++)
			if (count[vid] >= 2 && add_domain(c, old, id, vid, &hint))
				return err_set(err, ENOSPC,
					       "more than %u VLANs over all switches; narrow "
					       "allowed_vlans of trunk ports",
					       N_FIDS - 1);
	}
	return 0;
}

static bool domain_equal(const struct sw_domain *a, const struct sw_domain *b)
{
	return a && b && a->n == b->n && a->vid == b->vid &&
	       memcmp(a->members, b->members, a->n * sizeof(a->members[0])) == 0;
}

// Ways by which floods of a subnet go to other hosts, behind its ports.
static bool add_ways(const struct compiled *c, const struct hnv_learnt *learnt,
		     struct domain_id id, struct sw_domain **d)
{
	uint16_t *ways;
	struct sw_domain *more;
	uint32_t n;

	if (id.switch_id != DOMAIN_SUBNET || !c->hnv->n_ways)
		return true;
	ways = calloc(c->hnv->n_ways, sizeof(*ways));
	n = ways ? hnv_image_flood(c->hnv, learnt, id.vid, ways) : 0;
	more = ways ? realloc(*d, sizeof(**d) + ((*d)->n + n) * sizeof((*d)->members[0])) : NULL;
	for (uint32_t i = 0; more && i < n; i++)
		more->members[more->n++] = (struct sw_member){ ways[i], TAG_WAY };
	free(ways);
	if (more)
		*d = more;
	return more;
}

// The members of domain `fid`; the one in force if it is the same.
static const struct sw_domain *make_domain(const struct compiled *c, const struct vswitch_cfg *cfg,
					   const struct compiled *old,
					   const struct hnv_learnt *learnt, uint16_t fid)
{
	struct domain_id id = c->ids[fid];
	struct sw_domain *d = malloc(sizeof(*d) + cfg->n_ports * sizeof(d->members[0]));

	if (!d)
		return NULL;
	*d = (struct sw_domain){ .fid = fid, .vid = id.vid };
	for (uint32_t i = 0; i < cfg->n_ports; i++) {
		const struct sw_port_cfg *p = &cfg->ports[i];

		if (port_cfg_is_in(p, id))
			d->members[d->n++] =
				(struct sw_member){ p->index, port_cfg_tag_in(p, id) };
	}
	if (!add_ways(c, learnt, id, &d)) {
		free(d);
		return NULL;
	}
	if (old && fid < old->snap->n_domains && domain_equal(old->snap->domains[fid], d)) {
		free(d);
		return old->snap->domains[fid];
	}
	return d;
}

static int make_domains(struct compiled *c, const struct vswitch_cfg *cfg,
			const struct compiled *old, const struct compile_state *state,
			struct err *err)
{
	const struct sw_domain **domains = calloc(c->snap->n_domains + 1, sizeof(*domains));

	c->snap->domains = domains;
	for (uint32_t fid = 1; domains && fid < c->snap->n_domains; fid++) {
		if (!c->ids[fid].used)
			continue;
		domains[fid] = make_domain(c, cfg, old, &state->hnv.learnt, (uint16_t)fid);
		if (!domains[fid])
			domains = NULL;
	}
	return domains ? 0 : err_set(err, ENOMEM, "no memory for VLAN domains");
}

// --- ports -------------------------------------------------------------------------------------

static void free_layers(struct layer *layers, uint8_t n)
{
	for (uint8_t i = 0; i < n; i++)
		layers[i].ops->destroy(layers[i].policy);
}

void sw_port_free(void *port)
{
	struct sw_port *p = port;

	free_layers(p->in, p->n_in);
	free_layers(p->out, p->n_out);
	free((void *)p->vlans);
	free(p);
}

static bool layers_equal(const struct layer *a, uint8_t n_a, const struct layer *b, uint8_t n_b)
{
	if (n_a != n_b)
		return false;
	for (uint8_t i = 0; i < n_a; i++)
		if (a[i].ops != b[i].ops || !a[i].ops->equal(a[i].policy, b[i].policy))
			return false;
	return true;
}

bool sw_port_same_egress(const struct sw_port *a, const struct sw_port *b)
{
	return a->ready == b->ready && layers_equal(a->out, a->n_out, b->out, b->n_out);
}

static bool vlans_equal(const struct sw_vlans *a, const struct sw_vlans *b)
{
	return a == b || (a && b && memcmp(a, b, sizeof(*a)) == 0);
}

// All but the generation.
static bool port_equal(const struct sw_port *a, const struct sw_port *b)
{
	return a->native_fid == b->native_fid && a->native_vid == b->native_vid &&
	       a->takes_untagged == b->takes_untagged && a->learning == b->learning &&
	       a->flood_unknown == b->flood_unknown && a->storm_limit == b->storm_limit &&
	       a->miss_budget == b->miss_budget && vlans_equal(a->vlans, b->vlans) &&
	       layers_equal(a->in, a->n_in, b->in, b->n_in) && sw_port_same_egress(a, b);
}

// What the port takes tagged; *failed when memory is short.
static struct sw_vlans *make_vlans(const struct compiled *c, const struct sw_port_cfg *p,
				   bool *failed)
{
	static const uint64_t none[ARRAY_SIZE(p->tagged)];
	struct sw_vlans *v;

	if (memcmp(p->tagged, none, sizeof(none)) == 0)
		return NULL;
	v = calloc(1, sizeof(*v));
	*failed = !v;
	if (!v)
		return NULL;
	memcpy(v->member, p->tagged, sizeof(v->member));
	for (uint16_t vid = 1; vid <= VID_MAX; vid++)
		if (port_cfg_takes_tagged(p, vid))
			v->fid[vid] = c->fids[p->switch_id][vid];
	return v;
}

static uint16_t native_fid(const struct compiled *c, const struct sw_port_cfg *p)
{
	if (p->in_subnet)
		return c->hnv ? c->hnv->fids[p->subnet] : 0;
	return p->takes_untagged ? c->fids[p->switch_id][p->native_vid] : 0;
}

// Does what flows from the port cached depend on virtual networks that change?
static bool hnv_changes(const struct compiled *c, const struct compiled *old,
			const struct sw_port_cfg *p)
{
	return old->hnv != c->hnv && (p->in_subnet || hnv_image_has_underlay(old->hnv, p->index) ||
				      hnv_image_has_underlay(c->hnv, p->index));
}

// Moves p's layers into a new port, or frees them if the one in force is the same.
static const struct sw_port *make_port(const struct compiled *c, struct sw_port_cfg *p,
				       const struct compiled *old, uint32_t *next_gen)
{
	const struct sw_port *in_force = old ? old->snap->ports[p->index] : NULL;
	struct sw_port *port = malloc(sizeof(*port));
	bool failed = !port;

	if (!port)
		return NULL;
	*port = (struct sw_port){
		.index = p->index,
		.native_vid = p->native_vid,
		.native_fid = native_fid(c, p),
		.takes_untagged = p->takes_untagged,
		.ready = p->ready,
		.learning = p->learning,
		.flood_unknown = c->switches[p->switch_id].flood_unknown,
		.storm_limit = p->storm_limit,
		.miss_budget = p->miss_budget,
		.vlans = make_vlans(c, p, &failed),
		.n_in = p->n_in,
		.n_out = p->n_out,
	};
	memcpy(port->in, p->in, sizeof(port->in));
	memcpy(port->out, p->out, sizeof(port->out));
	p->n_in = p->n_out = 0;
	if (failed ||
	    (in_force && port_equal(in_force, port) && !hnv_changes(c, old, p))) {
		sw_port_free(port);
		return failed ? NULL : in_force;
	}
	port->gen = (*next_gen)++;
	return port;
}

static int make_ports(struct compiled *c, const struct vswitch_cfg *cfg, const struct compiled *old,
		      uint32_t *next_gen, struct err *err)
{
	for (uint32_t i = 0; i < cfg->n_ports; i++) {
		struct sw_port_cfg *p = &cfg->ports[i], *keep = malloc(sizeof(*keep));
		uint16_t index = p->index;

		c->ports[index] = keep;
		if (index >= c->snap->n_ports)
			c->snap->n_ports = index + 1u;
		c->snap->ports[index] =
			make_port(c, p, old, next_gen);
		if (!keep || !c->snap->ports[index])
			return err_set(err, ENOMEM, "no memory for ports");
		*keep = *p;
	}
	return 0;
}

// --- static MACs -------------------------------------------------------------------------------

// A list that grows.
static int add_fixed(struct compiled *c, uint32_t *room, struct static_mac fixed)
{
	if (c->n_fixed == *room) {
		uint32_t more = *room ? 2 * *room : 64;
		void *list = realloc(c->fixed, more * sizeof(*c->fixed));

		if (!list)
			return -ENOMEM;
		c->fixed = list;
		*room = more;
	}
	c->fixed[c->n_fixed++] = fixed;
	return 0;
}

// A port's own address is known in every domain that it is a member of.
static int fix_port(struct compiled *c, const struct sw_port_cfg *p, uint32_t *room)
{
	int ret = 0;

	if (mac_is_zero(p->mac))
		return 0;
	if (p->in_subnet && native_fid(c, p))
		return add_fixed(c, room,
				 (struct static_mac){ native_fid(c, p), p->index, 0, p->mac });
	for (uint16_t vid = 0; !ret && vid <= VID_MAX; vid++) {
		uint16_t fid = c->fids[p->switch_id][vid];

		if (fid && port_cfg_is_member(p, vid))
			ret = add_fixed(c, room,
					(struct static_mac){ fid, p->index, port_cfg_tag(p, vid),
							     p->mac });
	}
	return ret;
}

// Takes s into the sorted addresses before *next; same: the last of them has its (fid, mac).
static int put_fixed(struct static_mac **next, const struct static_mac *s, bool same,
		     struct err *err)
{
	struct static_mac *last = *next - 1;

	if (!same) {
		*(*next)++ = *s;
		return 0;
	}
	if (last->tag == TAG_WAY && last->port != s->port)
		return err_set(err, EEXIST,
			       "mac: records of one subnet put %02x:%02x:%02x:%02x:%02x:%02x on "
			       "two hosts",
			       s->mac.b[0], s->mac.b[1], s->mac.b[2], s->mac.b[3], s->mac.b[4],
			       s->mac.b[5]);
	if (s->port < last->port)
		*last = *s;
	return 0;
}

// Sorted; where records and a port have one address, the port has it, and of ports the first.
// Records that put an address on two hosts contradict each other.
static int sort_fixed(struct compiled *c, struct err *err)
{
	struct keyed *order = malloc(c->n_fixed * sizeof(*order) + 1);
	struct static_mac *sorted = malloc(c->n_fixed * sizeof(*sorted) + 1), *next = sorted;
	int ret = 0;

	for (uint32_t i = 0; order && i < c->n_fixed; i++)
		order[i] = (struct keyed){
			(uint64_t)c->fixed[i].fid << 48 | mac_to_u64(c->fixed[i].mac), i
		};
	if (!order || !sorted || keyed_sort(order, c->n_fixed, NULL, NULL))
		ret = err_set(err, ENOMEM, "no memory for MAC addresses");
	for (uint32_t i = 0; !ret && i < c->n_fixed; i++)
		ret = put_fixed(&next, &c->fixed[order[i].at],
				i && order[i].key == order[i - 1].key, err);
	free(order);
	if (ret) {
		free(sorted);
		return ret;
	}
	free(c->fixed);
	c->fixed = sorted;
	c->n_fixed = (uint32_t)(next - sorted);
	return 0;
}

static int make_fixed(struct compiled *c, const struct vswitch_cfg *cfg, struct err *err)
{
	const struct hnv_image *im = c->hnv;
	uint32_t room = 0;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < cfg->n_ports; i++)
		ret = fix_port(c, &cfg->ports[i], &room);
	for (uint32_t i = 0; !ret && im && i < im->cfg.n_records; i++) {
		const struct hnv_record_cfg *r = &im->cfg.records[i];

		if (im->record_ways[i])
			ret = add_fixed(c, &room,
					(struct static_mac){ im->fids[r->subnet],
							     im->record_ways[i], TAG_WAY, r->mac });
	}
	if (ret)
		return err_set(err, ENOMEM, "no memory for MAC addresses");
	return sort_fixed(c, err);
}

void vswitch_cfg_drop(struct vswitch_cfg *cfg)
{
	for (uint32_t i = 0; i < cfg->n_ports; i++) {
		free_layers(cfg->ports[i].in, cfg->ports[i].n_in);
		free_layers(cfg->ports[i].out, cfg->ports[i].n_out);
		cfg->ports[i].n_in = cfg->ports[i].n_out = 0;
	}
}

// --- the whole ---------------------------------------------------------------------------------

void compiled_free(struct compiled *c, const struct compiled *other)
{
	if (!c)
		return;
	for (uint32_t i = 0; c->snap && i < PORT_SLOTS; i++) {
		if (c->snap->ports[i] && !(other && other->snap->ports[i] == c->snap->ports[i]))
			sw_port_free((void *)c->snap->ports[i]);
		free(c->ports[i]);
	}
	for (uint32_t i = 0; c->snap && c->snap->domains && i < c->snap->n_domains; i++)
		if (!(other && i < other->snap->n_domains &&
		      other->snap->domains[i] == c->snap->domains[i]))
			free((void *)c->snap->domains[i]);
	if (c->snap)
		free((void *)c->snap->domains);
	for (uint32_t i = 0; i < SWITCH_MAX; i++)
		free(c->fids[i]);
	if (!(other && other->hnv == c->hnv))
		hnv_image_destroy(c->hnv);
	free(c->snap);
	free(c->ids);
	free(c->fixed);
	free(c);
}

int compile(struct vswitch_cfg *cfg, const struct compiled *old, struct compile_state *state,
	    struct compiled **out, struct err *err)
{
	struct compiled *c = calloc(1, sizeof(*c));
	int ret = 0;

	if (c) {
		c->snap = calloc(1, sizeof(*c->snap));
		c->ids = calloc(N_FIDS, sizeof(*c->ids));
	}
	if (!c || !c->snap || !c->ids)
		ret = err_set(err, ENOMEM, "no memory for a configuration");
	if (!ret)
		ret = number_domains(c, cfg, old, err);
	if (!ret)
		ret = make_hnv(c, cfg->hnv, old, state, err);
	if (!ret)
		ret = make_domains(c, cfg, old, state, err);
	if (!ret)
		ret = make_ports(c, cfg, old, &state->next_gen, err);
	if (!ret)
		ret = make_fixed(c, cfg, err);
	if (ret) {
		vswitch_cfg_drop(cfg); // what no port took over
		compiled_free(c, old);
		return ret;
	}
	c->snap->version = old ? old->snap->version + 1 : 1;
	*out = c;
	return 0;
}

// --- a host that is learnt, or forgotten -------------------------------------------------------

// The domain's ports, and the ways that it has now.
static struct sw_domain *domain_anew(const struct compiled *c, const struct compile_state *state,
				     uint16_t fid)
{
	const struct sw_domain *now = c->snap->domains[fid];
	struct sw_domain *d = malloc(sizeof(*d) + now->n * sizeof(d->members[0]));

	if (!d)
		return NULL;
	*d = *now;
	d->n = 0;
	for (uint16_t i = 0; i < now->n; i++)
		if (now->members[i].tag != TAG_WAY)
			d->members[d->n++] = now->members[i];
	if (add_ways(c, &state->hnv.learnt, c->ids[fid], &d))
		return d;
	free(d);
	return NULL;
}

static void *copy_of(const void *from, size_t size)
{
	void *copy = malloc(size);

	return copy ? memcpy(copy, from, size) : NULL;
}

int compiled_relearn(struct compiled *c, struct compile_state *state, uint16_t fid,
		     struct snapshot_ref *ref)
{
	struct snapshot *before = c->snap, *snap = copy_of(before, sizeof(*before));
	const struct sw_domain **domains =
		copy_of(before->domains, (before->n_domains + 1) * sizeof(*domains));
	struct rcu *rcu = state->hnv.rcu;
	int ret = snap && domains ? hnv_image_relearn(c->hnv, &state->hnv) : -ENOMEM;

	if (!ret)
		domains[fid] = domain_anew(c, state, fid);
	if (ret || !domains[fid]) {
		free(snap);
		free(domains);
		return ret ? ret : -ENOMEM;
	}
	snap->domains = domains;
	snap->version++;
	rcu_set(&ref->now, snap);
	c->snap = snap;
	rcu_retire(rcu, free, (void *)before->domains[fid]);
	rcu_retire(rcu, free, (void *)before->domains);
	rcu_retire(rcu, free, before);
	return 0;
}
