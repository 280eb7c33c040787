// SPDX-License-Identifier: Apache-2.0
#include "daemon/devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_log.h>

#include "base/log.h"
#include "daemon/host_address.h"
#include "daemon/plans.h"

#define RETRY_NS 2000000000ull // what failed is tried again after this, doubled each time …
#define RETRY_MAX_DOUBLINGS 4  // … so often at most
#define DROPS_TOTAL (DROP_N_DIRS * DROP_N_REASONS)

enum state {
	ABSENT,  // no device, nothing under way
	OPENING, // on the helper
	OPEN,
	LEAVING, // workers give its queues back, then the helper closes it
	FAILED,  // could not be opened; tried again
};

// One port's device, for as long as the port lives and until its device is closed.
struct device {
	struct devices *all;
	enum state state;
	const struct object *want; // the port as configured, a reference; NULL: it is gone
	const struct object *made; // the port that the device was opened for, a reference
	struct port_dev *opened;   // by the helper, on its way here
	bool heir;                 // another port took its number over while it was LEAVING
	struct err err;            // why it is FAILED
	unsigned int n_failures;   // in a row, of this device
	unsigned int retry_in;     // ticks of the retry timer until the next try
	struct plan_port plan;
};

struct devices {
	struct devices_cfg cfg;
	struct device *ports[PORT_SLOTS];
	struct port_counters gone; // sums of ports that are no more
	struct {
		const struct model *model;
		const struct numbers *numbers;
		struct device *fresh[PORT_SLOTS]; // for ports that have none yet
	} next;                                   // between prepare and publish
	struct host_address *host;                // helper, once devices open
	int retry_timer;
	unsigned int n_busy; // devices in OPENING or LEAVING
};

static void step(struct device *p);

static const struct port_obj *port_of(const struct object *obj)
{
	return container_of(obj, struct port_obj, head);
}

// --- the workers' plans ------------------------------------------------------------------------

static unsigned int list_open(struct devices *d, struct plan_port **list)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (d->ports[i] && d->ports[i]->state == OPEN)
			list[n++] = &d->ports[i]->plan;
	return n;
}

static void publish_plans(struct devices *d)
{
	struct plan_port *list[PORT_SLOTS];
	unsigned int n = list_open(d, list);

	// Memory for a plan is a few hundred KiB; without it the old plans stay in force, and the
	// timer comes round again.
	if (plan_publish(d->cfg.workers, d->cfg.n_workers, list, n))
		log_error("no memory for the workers' plans");
}

// --- counters ----------------------------------------------------------------------------------

static void add_counters(struct port_counters *sum, const struct port_counters *c)
{
	const uint64_t *from = (const uint64_t *)c;
	uint64_t *to = (uint64_t *)sum;

	for (size_t i = 0;
	     i < offsetof(struct port_counters, drops) / sizeof(uint64_t) + DROPS_TOTAL; i++)
		to[i] += counter_get(&from[i]);
}

static void sum_workers(const struct device *p, struct port_counters *sum)
{
	for (unsigned int w = 0; w < p->all->cfg.n_workers; w++)
		add_counters(sum, &p->plan.counters[w]);
}

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
				  a->tx_file, a->filter, a->peer,    a->head.name };
	const char *const y[] = { b->ifname, b->netns,   b->devargs, b->rx_file,
				  b->tx_file, b->filter, b->peer,    b->head.name };

	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		if ((x[i] || y[i]) && (!x[i] || !y[i] || strcmp(x[i], y[i]) != 0))
			return false;
	return a->kind == b->kind && a->mtu == b->mtu && a->queues == b->queues &&
	       a->loops == b->loops && mac_to_u64(a->mac) == mac_to_u64(b->mac) &&
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

// helper
static int open_work(void *arg)
{
	struct device *p = arg;
	const struct port_obj *o = port_of(p->made);
	const struct port_cfg cfg = {
		.name = o->head.name,
		.mac = o->mac,
		.mtu = o->mtu,
		.n_queues = o->queues ? o->queues : (uint16_t)p->all->cfg.n_workers,
		.ifname = o->ifname,
		.netns = o->netns,
		.devargs = o->devargs,
		.rx_file = o->rx_file,
		.tx_file = o->tx_file,
		.filter = o->filter,
		.loops = o->loops,
		.peer = o->peer,
		.pools = p->all->cfg.pools,
	};
	const struct port_ops *ops = port_kind_find(port_kind_words[o->kind]);

	uint32_t level = rte_log_get_global_level();
	int ret;

	p->err.text[0] = '\0';
	ret = host_address_check(p->all->host, o, &p->err);
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

	d->n_busy--;
	if (result) {
		open_failed(p);
	} else {
		p->n_failures = 0;
		n = list_open(d, list);
		p->plan.dev = p->opened;
		plan_place(&p->plan, list, n, d->cfg.n_workers);
		p->state = OPEN;
		log_info("port %s is up: %s, %u queue%s", p->made->name, p->opened->what,
			 p->opened->n_queues, p->opened->n_queues == 1 ? "" : "s");
		publish_plans(d);
		tell(p, "up");
		// Its device lives until a later job of the helper closes it.
		if (port_of(p->made)->role != ROLE_GUEST)
			helper_submit(d->cfg.helper, announce_work, NULL, p);
		if (port_of(p->made)->role == ROLE_INTERNAL)
			hasten_uplinks(d);
	}
	step(p);
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

	p->all->n_busy--;
	p->opened = NULL;
	p->state = ABSENT;
	if (p->heir) { // its counters begin at zero
		sum_workers(p, &p->all->gone);
		memset(p->plan.counters, 0, p->all->cfg.n_workers * sizeof(*p->plan.counters));
		p->heir = false;
	}
	step(p);
}

// After the grace period no worker has its queues: what it still held was dropped as Shutdown.
static void left(void *arg)
{
	struct device *p = arg;

	while (helper_submit(p->all->cfg.helper, close_work, close_done, p))
		log_error("the helper's queue is full; waiting to close port %s", p->made->name);
}

static void begin_open(struct device *p)
{
	object_put(p->made);
	p->made = object_get(p->want);
	p->state = OPENING;
	p->all->n_busy++;
	if (helper_submit(p->all->cfg.helper, open_work, open_done, p)) {
		p->all->n_busy--;
		err_set(&p->err, EAGAIN, "too many devices are being opened; trying again");
		open_failed(p);
	}
}

static void begin_close(struct device *p)
{
	p->state = LEAVING;
	p->all->n_busy++;
	tell(p, "down");
	publish_plans(p->all);
	p->plan.dev = NULL;
	rcu_retire(p->all->cfg.rcu, left, p);
}

// Takes the device one step from what it is to what the port wants. Ends where it must wait.
static void step(struct device *p)
{
	struct devices *d = p->all;

	switch (p->state) {
	case OPENING:
	case LEAVING:
		return;
	case OPEN:
		if (!p->want || !same_device(port_of(p->want), port_of(p->made)))
			begin_close(p);
		return;
	case FAILED:
		if (p->want && p->retry_in && same_device(port_of(p->want), port_of(p->made)))
			return;
		p->n_failures = p->want == p->made ? p->n_failures : 0;
		// fall through
	case ABSENT:
		if (p->want) {
			begin_open(p);
			return;
		}
		sum_workers(p, &d->gone);
		d->ports[p->plan.port] = NULL;
		device_free(p);
	}
}

static void retry(void *arg)
{
	struct devices *d = arg;

	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (d->ports[i] && d->ports[i]->state == FAILED && --d->ports[i]->retry_in == 0)
			step(d->ports[i]);
}

static bool is_uplink(const struct device *p)
{
	const struct object *obj = p->want ? p->want : p->made;

	return obj && port_of(obj)->role == ROLE_UPLINK;
}

// --- following the configuration ---------------------------------------------------------------

int devices_prepare(struct devices *d, const struct model *to, const struct numbers *numbers,
		    struct err *err)
{
	d->next.model = to;
	d->next.numbers = numbers;
	for (uint32_t i = 0; i < numbers->ports.n; i++) {
		uint16_t port = numbers->ports.list[i].number;

		// One that is leaving may be gone by the time of publish.
		if (d->ports[port] && d->ports[port]->want)
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

	for (uint32_t i = 0; i < ports->n; i++) {
		uint16_t port = ports->list[i].number;

		alive[port] = true;
		if (d->ports[port]) {
			d->ports[port]->heir |= !d->ports[port]->want;
		} else {
			d->ports[port] = d->next.fresh[port];
			d->next.fresh[port] = NULL;
		}
		object_put(d->ports[port]->want);
		d->ports[port]->want = object_get(ports->list[i].obj);
	}
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		struct device *p = d->ports[i];

		if (p && !alive[i]) {
			object_put(p->want);
			p->want = NULL;
		}
	}
	devices_abort(d); // those that were not needed: the old one has not left yet
	// Uplinks last: they may find the host's addresses a new home on an internal port.
	for (int uplinks = 0; uplinks <= 1; uplinks++)
		for (unsigned int i = 0; i < PORT_MAX; i++)
			if (d->ports[i] && is_uplink(d->ports[i]) == (bool)uplinks)
				step(d->ports[i]);
}

// --- showing -----------------------------------------------------------------------------------

static const struct device *find(const struct devices *d, const char *name)
{
	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (d->ports[i] && d->ports[i]->want &&
		    strcmp(d->ports[i]->want->name, name) == 0)
			return d->ports[i];
	return NULL;
}

static void link_text(const struct device *p, char *text, size_t size)
{
	struct port_link link = { 0 };

	switch (p->state) {
	case OPEN:
		p->opened->ops->link(p->opened, &link);
		if (!link.up)
			snprintf(text, size, "down: %s", link.reason);
		else if (link.speed_mbps)
			snprintf(text, size, "up %u Mb/s", link.speed_mbps);
		else
			snprintf(text, size, "up");
		return;
	case FAILED:
		snprintf(text, size, "down: %s", p->err.text);
		return;
	case OPENING:
	case ABSENT:
		snprintf(text, size, "opening");
		return;
	case LEAVING:
		snprintf(text, size, "closing");
	}
}

void devices_status(const struct devices *d, const char *port, json_t *out)
{
	const struct device *p = find(d, port);
	char text[640];
	size_t used = 0;

	if (!p)
		return;
	link_text(p, text, sizeof(text));
	json_object_set_new(out, "link", json_string(text));
	if (p->state != OPEN)
		return;
	json_object_set_new(out, "device", json_string(p->opened->what));
	for (uint16_t q = 0; q < p->opened->n_queues && used < sizeof(text) - 8; q++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u", q ? "," : "",
					 p->plan.owner[q]);
	json_object_set_new(out, "workers", json_string(text));
}

bool devices_counters(const struct devices *d, const char *port, struct port_counters *sum,
		      struct port_dev_stats *stats)
{
	const struct device *p = find(d, port);

	*sum = (struct port_counters){ 0 };
	*stats = (struct port_dev_stats){ 0 };
	if (!p)
		return false;
	sum_workers(p, sum);
	if (p->state == OPEN && p->opened->ops->stats)
		p->opened->ops->stats(p->opened, stats);
	return true;
}

void devices_conservation(const struct devices *d, struct conservation *c)
{
	struct port_counters sum = d->gone;

	*c = (struct conservation){ 0 };
	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (d->ports[i])
			sum_workers(d->ports[i], &sum);
	for (unsigned int w = 0; w < d->cfg.n_workers; w++) {
		add_counters(&sum, worker_spare(d->cfg.workers[w]));
		c->held += worker_held(d->cfg.workers[w]);
	}
	c->received = sum.rx_packets;
	c->created = sum.created;
	c->sent = sum.tx_packets;
	c->consumed = sum.consumed;
	for (int dir = 0; dir < DROP_N_DIRS; dir++)
		for (int r = 0; r < DROP_N_REASONS; r++)
			c->dropped += sum.drops[dir][r];
}

// --- life --------------------------------------------------------------------------------------

int devices_create(const struct devices_cfg *cfg, struct devices **out, struct err *err)
{
	struct devices *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(err, ENOMEM, "no memory for devices");
	d->cfg = *cfg;
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
	for (unsigned int i = 0; i < PORT_MAX; i++) {
		if (!d->ports[i])
			continue;
		object_put(d->ports[i]->want);
		d->ports[i]->want = NULL;
		step(d->ports[i]);
	}
}

bool devices_busy(const struct devices *d)
{
	return d->n_busy > 0;
}

void devices_destroy(struct devices *d)
{
	if (!d)
		return;
	loop_timer_del(d->cfg.loop, d->retry_timer);
	for (unsigned int i = 0; i < PORT_MAX; i++)
		device_free(d->ports[i]);
	host_address_destroy(d->host);
	free(d);
}
