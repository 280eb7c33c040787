// SPDX-License-Identifier: Apache-2.0
#include "daemon/devices.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "base/log.h"
#include "daemon/device.h"
#include "netvsp/port_netvsp.h"
#include "vswitch/hnv_ctl.h"

#define RETRY_NS 2000000000ull     // what failed is tried again after this, doubled each time …
#define RETRY_MAX_DOUBLINGS 4      // … so often at most
#define PLANS_RETRY_NS 1000000ull  // plans for which there was no memory, or that came too soon
#define MAX_JOBS 64                // on the helper at a time; others wait here

static void step(struct device *p);
static void step_all(struct devices *d);

// --- the workers' plans ------------------------------------------------------------------------

// After the first grace period no worker has its queues, or hands frames for it to another. After
// two more each has been round a whole loop since, and through all that it was handed: nothing in
// the workers knows its index any more.
static void grace_over(void *arg)
{
	struct device *p = arg;

	if (p->n_graces++ < 3) {
		rcu_retire(p->all->cfg.rcu, grace_over, p);
		return;
	}
	p->state = LEFT;
	p->n_graces = 0;
	step(p);
}

// One set of plans, and one grace period, for all that changed since the loop last came by.
static void publish_plans(void *arg)
{
	struct devices *d = arg;
	int ret;

	loop_timer_del(d->cfg.loop, d->plans_timer);
	d->plans_timer = -1;
	ret = devices_publish_plans(d, NULL);
	if (ret) {
		if (ret != -EBUSY)
			log_error("no memory for the workers' plans; trying again");
		d->plans_timer = loop_timer_add(d->cfg.loop, PLANS_RETRY_NS, 0, publish_plans, d);
		return;
	}
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		struct device *p = d->ports[i];

		if (p && p->state == LEAVING && !p->n_graces) {
			p->n_graces = 1;
			rcu_retire(d->cfg.rcu, grace_over, p);
		}
	}
}

static void plans_changed(struct devices *d)
{
	if (d->plans_timer < 0)
		d->plans_timer = loop_timer_add(d->cfg.loop, 0, 0, publish_plans, d);
}

// --- one device ------------------------------------------------------------------------------

static struct device *device_create(struct devices *d, uint16_t port)
{
	struct device *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->all = d;
	p->plan.port = port;
	p->plan.counters = aligned_alloc(CACHE_LINE, d->cfg.n_workers * sizeof(*p->plan.counters));
	if (!p->plan.counters) {
		free(p);
		return NULL;
	}
	memset(p->plan.counters, 0, d->cfg.n_workers * sizeof(*p->plan.counters));
	return p;
}

static void device_free(struct device *p)
{
	if (!p)
		return;
	object_put(p->want);
	object_put(p->made);
	free(p->plan.counters);
	free(p);
}

// --- opening and closing -----------------------------------------------------------------------

// What a device is made of: if it differs, the device is closed and opened again.
static bool same_device(const struct port_obj *a, const struct port_obj *b)
{
	const char *const x[] = { a->ifname, a->netns,   a->devargs, a->rx_file,
				  a->tx_file, a->filter, a->peer,    a->head.name,
				  a->vm_user, a->vm_token_file };
	const char *const y[] = { b->ifname, b->netns,   b->devargs, b->rx_file,
				  b->tx_file, b->filter, b->peer,    b->head.name,
				  b->vm_user, b->vm_token_file };

	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		if ((x[i] || y[i]) && (!x[i] || !y[i] || strcmp(x[i], y[i]) != 0))
			return false;
	return a->kind == b->kind && a->mtu == b->mtu &&
	       (a->role == ROLE_UPLINK) == (b->role == ROLE_UPLINK) && a->queues == b->queues &&
	       a->loops == b->loops && mac_to_u64(a->mac) == mac_to_u64(b->mac) &&
	       a->connected == b->connected && a->link_speed == b->link_speed &&
	       a->rsc == b->rsc && a->mac_spoofing == b->mac_spoofing &&
	       host_address_same(a, b);
}

static void tell(struct device *p, const char *what)
{
	struct devices *d = p->all;
	const struct object *obj = p->want ? p->want : p->made;

	if (d->cfg.event && obj)
		d->cfg.event(d->cfg.arg, obj->name, what,
			     json_pack("{s:s}", "reason", p->state == FAILED ? p->err.text : ""));
}

// Guests' ports live above the data plane, which does not know them.
static const struct port_ops *kind_of(const struct port_obj *o)
{
	const char *word = port_kind_words[o->kind];

	return strcmp(word, port_netvsp.kind) == 0 ? &port_netvsp : port_kind_find(word);
}

// The user whose VMM may attach, by name or number. 0: nobody was named.
static int find_user(const struct port_obj *o, uint32_t *uid, struct err *err)
{
	struct passwd entry, *user = NULL;
	char names[1024], *end;

	*uid = 0;
	if (!o->vm_user)
		return 0;
	*uid = (uint32_t)strtoul(o->vm_user, &end, 10);
	if (*end == '\0')
		return 0;
	if (getpwnam_r(o->vm_user, &entry, names, sizeof(names), &user))
		user = NULL;
	if (!user)
		return err_set(err, ENOENT, "vm_user: there is no user %s", o->vm_user);
	*uid = user->pw_uid;
	return 0;
}

// helper
static int open_work(void *arg)
{
	struct device *p = arg;
	const struct port_obj *o = port_of(p->made);
	struct port_cfg cfg = {
		.name = o->head.name,
		.mac = o->mac,
		.mtu = o->mtu,
		.overhead = o->role == ROLE_UPLINK ? HNV_ENCAP_OVERHEAD : 0,
		.n_queues = o->queues ? o->queues : (uint16_t)p->all->cfg.n_workers,
		.ifname = o->ifname,
		.netns = o->netns,
		.devargs = o->devargs,
		.rx_file = o->rx_file,
		.tx_file = o->tx_file,
		.filter = o->filter,
		.loops = o->loops,
		.peer = o->peer,
		.token_file = o->vm_token_file,
		.disconnected = !o->connected,
		.rsc = o->rsc,
		.any_mac = o->mac_spoofing,
		.link_mbps = o->link_speed,
		.pools = p->all->cfg.pools,
	};
	const struct port_ops *ops = kind_of(o);

	uint32_t level = rte_log_get_global_level();
	int ret;

	p->err.text[0] = '\0';
	ret = host_address_check(p->all->host, o, &p->err);
	if (!ret)
		ret = find_user(o, &cfg.vm_uid, &p->err);
	if (ret)
		return ret;
	// DPDK's own words about a missing device are worth reading once.
	if (p->n_failures)
		rte_log_set_global_level(RTE_LOG_EMERG);
	ret = ops->open(&cfg, &p->opened, &p->err);
	rte_log_set_global_level(level);
	if (ret)
		return ret;
	ret = host_address_opened(p->all->host, o, &p->err);
	if (ret)
		ops->close(p->opened);
	return ret;
}

static void open_failed(struct device *p)
{
	unsigned int doublings = p->n_failures < RETRY_MAX_DOUBLINGS ? p->n_failures
								     : RETRY_MAX_DOUBLINGS;

	p->state = FAILED;
	p->retry_in = 1u << doublings;
	if (p->n_failures++ == 0) {
		log_warning("port %s is down: %s", p->made->name, p->err.text);
		tell(p, "down");
	}
}

// helper
static int announce_work(void *arg)
{
	const struct device *p = arg;

	host_address_announce(p->all->host, port_of(p->made));
	return 0;
}

// An uplink that carries the host's addresses waits for the internal port that takes them.
static void hasten_uplinks(struct devices *d)
{
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		struct device *p = d->ports[i];

		if (!p || p->state != FAILED || !port_of(p->made)->move_address)
			continue;
		p->retry_in = 0;
		step(p);
	}
}

static void open_done(void *arg, int result)
{
	struct device *p = arg;
	struct devices *d = p->all;
	struct plan_port *list[PORT_SLOTS];
	unsigned int n;

	d->n_jobs--;
	if (result) {
		open_failed(p);
	} else {
		p->n_failures = 0;
		n = devices_list_plans(d, list);
		p->plan.dev = p->opened;
		plan_place(&p->plan, list, n, d->cfg.n_workers);
		p->state = OPEN;
		log_info("port %s is up: %s, %u queue%s", p->made->name, p->opened->what,
			 p->opened->n_queues, p->opened->n_queues == 1 ? "" : "s");
		plans_changed(d);
		tell(p, "up");
		// Its device lives until a later job of the helper closes it.
		if (port_of(p->made)->role != ROLE_GUEST)
			helper_submit(d->cfg.helper, announce_work, NULL, p);
		if (port_of(p->made)->role == ROLE_INTERNAL)
			hasten_uplinks(d);
	}
	step_all(d);
}

// Nobody wants it, and nothing in the workers knows it.
static void end(struct device *p)
{
	struct devices *d = p->all;

	d->n_orphans--;
	device_sum(p, &d->gone);
	d->ports[p->plan.port] = NULL;
	device_free(p);
}

// helper
static int close_work(void *arg)
{
	struct device *p = arg;
	struct port_dev *dev = p->opened;

	host_address_closing(p->all->host, port_of(p->made));
	dev->ops->close(dev);
	return 0;
}

static void close_done(void *arg, int result)
{
	struct device *p = arg;

	p->all->n_jobs--;
	p->opened = NULL;
	p->state = ABSENT;
	step_all(p->all);
}

// Puts a job on the helper, unless it has enough: step_all comes round when one is done.
static bool submit(struct device *p, enum device_state under_way, int (*work)(void *arg),
		   void (*done)(void *arg, int result))
{
	if (p->all->n_jobs >= MAX_JOBS || helper_submit(p->all->cfg.helper, work, done, p))
		return false;
	p->all->n_jobs++;
	p->state = under_way;
	return true;
}

static void begin_open(struct device *p)
{
	const struct object *before = p->made;

	p->made = object_get(p->want);
	if (!submit(p, OPENING, open_work, open_done))
		p->state = ABSENT; // waits for its turn
	object_put(before);
}

static void begin_leave(struct device *p)
{
	if (p->state == OPEN)
		tell(p, "down");
	p->state = LEAVING;
	p->plan.dev = NULL;
	plans_changed(p->all);
}

// A port of this name is not quite gone: what it is made of is not free yet.
static bool predecessor(const struct device *p)
{
	const struct devices *d = p->all;

	for (unsigned int i = 0; d->n_orphans && i < PORT_MAX; i++)
		if (d->ports[i] && !d->ports[i]->want && d->ports[i]->made &&
		    strcmp(d->ports[i]->made->name, p->want->name) == 0)
			return true;
	return false;
}

// Takes the device one step from what it is to what the port wants. Ends where it must wait; frees
// it when nobody wants it.
static void step(struct device *p)
{
	switch (p->state) {
	case OPENING:
	case LEAVING:
	case CLOSING:
		return;
	case OPEN:
		if (!p->want || !same_device(port_of(p->want), port_of(p->made)))
			begin_leave(p);
		return;
	case LEFT:
		if (p->opened)
			submit(p, CLOSING, close_work, close_done);
		else
			end(p);
		return;
	case FAILED:
		if (p->want && p->retry_in && same_device(port_of(p->want), port_of(p->made)))
			return;
		p->n_failures = p->want == p->made ? p->n_failures : 0;
		// fall through
	case ABSENT:
		if (!p->want)
			begin_leave(p);
		else if (!predecessor(p))
			begin_open(p);
	}
}

static bool is_uplink(const struct device *p)
{
	const struct object *obj = p->want ? p->want : p->made;

	return obj && port_of(obj)->role == ROLE_UPLINK;
}

// Uplinks last: they may find the host's addresses a new home on an internal port.
static void step_all(struct devices *d)
{
	for (int uplinks = 0; uplinks <= 1; uplinks++)
		for (unsigned int i = 0; i < PORT_MAX; i++)
			if (d->ports[i] && is_uplink(d->ports[i]) == (bool)uplinks)
				step(d->ports[i]);
}

static void retry(void *arg)
{
	struct devices *d = arg;

	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (d->ports[i] && d->ports[i]->state == FAILED && d->ports[i]->retry_in)
			d->ports[i]->retry_in--;
	step_all(d);
}

// --- following the configuration ---------------------------------------------------------------

// Its port is gone: it closes, and then goes too.
static void orphan(struct device *p)
{
	object_put(p->want);
	p->want = NULL;
	p->all->n_orphans++;
}

void devices_resting(const struct devices *d, bool resting[PORT_MAX])
{
	for (unsigned int i = 0; i < PORT_MAX; i++)
		resting[i] = d->ports[i] && !d->ports[i]->want;
}

int devices_prepare(struct devices *d, const struct model *to, const struct numbers *numbers,
		    struct err *err)
{
	d->next.model = to;
	d->next.numbers = numbers;
	for (uint32_t i = 0; i < numbers->ports.n; i++) {
		uint16_t port = numbers->ports.list[i].number;

		if (d->ports[port])
			continue;
		d->next.fresh[port] = device_create(d, port);
		if (!d->next.fresh[port]) {
			devices_abort(d);
			return err_set(err, ENOMEM, "no memory for port %s",
				       numbers->ports.list[i].obj->name);
		}
	}
	return 0;
}

void devices_abort(struct devices *d)
{
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		device_free(d->next.fresh[i]);
		d->next.fresh[i] = NULL;
	}
}

void devices_publish(struct devices *d)
{
	const struct numbering *ports = &d->next.numbers->ports;
	bool alive[PORT_SLOTS] = { false };

	// A change that was still on its way to the disk when weftd was told to end.
	if (d->closing) {
		devices_abort(d);
		return;
	}
	for (uint32_t i = 0; i < ports->n; i++) {
		uint16_t port = ports->list[i].number;

		alive[port] = true;
		if (!d->ports[port]) {
			d->ports[port] = d->next.fresh[port];
			d->next.fresh[port] = NULL;
			plans_changed(d); // frames for it are counted while it is down
		}
		object_put(d->ports[port]->want);
		d->ports[port]->want = object_get(ports->list[i].obj);
	}
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		struct device *p = d->ports[i];

		if (p && p->want && !alive[i])
			orphan(p);
	}
	step_all(d);
}

// --- life --------------------------------------------------------------------------------------

int devices_create(const struct devices_cfg *cfg, struct devices **out, struct err *err)
{
	struct devices *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(err, ENOMEM, "no memory for devices");
	d->cfg = *cfg;
	d->plans_timer = -1;
	d->host = host_address_create(cfg->socket);
	if (!d->host) {
		free(d);
		return err_set(err, ENOMEM, "no memory for devices");
	}
	d->retry_timer = loop_timer_add(cfg->loop, RETRY_NS, RETRY_NS, retry, d);
	if (d->retry_timer < 0) {
		int ret = d->retry_timer;

		host_address_destroy(d->host);
		free(d);
		return err_set(err, -ret, "cannot make a timer");
	}
	*out = d;
	return 0;
}

void devices_close_all(struct devices *d)
{
	d->cfg.event = NULL;
	d->closing = true;
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		if (d->ports[i] && d->ports[i]->want)
			orphan(d->ports[i]);
	}
	step_all(d);
}

bool devices_busy(const struct devices *d)
{
	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (d->ports[i])
			return true;
	return false;
}

void devices_destroy(struct devices *d)
{
	if (!d)
		return;
	loop_timer_del(d->cfg.loop, d->retry_timer);
	loop_timer_del(d->cfg.loop, d->plans_timer);
	for (unsigned int i = 0; i < PORT_MAX; i++)
		device_free(d->ports[i]);
	host_address_destroy(d->host);
	free(d);
}

static void hand_over(struct devices *d, const struct devices_frame *f, bool into)
{
	struct device *p = d->ports[f->port % PORT_SLOTS];
	struct worker *owner = p ? d->cfg.workers[p->plan.owner[0]] : NULL;
	struct rte_ring *ring = owner ? worker_handover(owner, WORKER_MAX) : NULL;
	uint32_t padded = RTE_MAX(f->n_bytes, 60u); // IEEE 802.3, 3.2.8
	uint32_t room = rte_pktmbuf_data_room_size(d->cfg.pools->small) - RTE_PKTMBUF_HEADROOM;
	struct rte_mempool *pool = padded <= room ? d->cfg.pools->small : d->cfg.pools->large;
	struct rte_mbuf *m = ring && pool && p->state == OPEN ? rte_pktmbuf_alloc(pool) : NULL;
	char *to = m ? rte_pktmbuf_append(m, (uint16_t)padded) : NULL;

	if (!to) {
		rte_pktmbuf_free(m);
		return;
	}
	memset(to, 0, padded);
	memcpy(to, f->bytes, f->n_bytes);
	m->port = (uint16_t)(f->port | (into ? WORKER_INTO : 0));
	if (rte_ring_sp_enqueue(ring, m))
		rte_pktmbuf_free(m);
	else
		worker_wake(owner);
}

void devices_send(struct devices *d, const struct devices_frame *f)
{
	hand_over(d, f, false);
}

void devices_receive(struct devices *d, const struct devices_frame *f)
{
	hand_over(d, f, true);
}
