// SPDX-License-Identifier: Apache-2.0
#include "daemon/vmq.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "vswitch/vswitch_ctl.h"

#define SAMPLE_NS 250000000ull
#define MOVE_NS 2000000ull    // between two steps, and until workers are asked again
#define CALM_SAMPLES 40       // 10 s without a warm core: queues may be coalesced
#define WARM 400              // permille
#define BYTES_A_PACKET 1024   // a packet's bytes cost as much as its headers, at this length
#define MAX_NODES 64

// --- load --------------------------------------------------------------------------------------

static struct vmq_state *state_of(struct vmq *v, const struct device *p)
{
	struct vmq_state **s = &v->states[p->plan.port];

	if (!*s)
		*s = calloc(1, sizeof(**s));
	if (*s && (*s)->device != p)
		**s = (struct vmq_state){ .device = p };
	return *s;
}

// What worker w did for a port since the last look. ns: how long that is.
static uint64_t sample_port(struct vmq_state *s, unsigned int w, uint64_t ns)
{
	const struct port_counters *c = &s->device->plan.counters[w];
	uint64_t packets = counter_get(&c->rx_packets) + counter_get(&c->tx_packets);
	uint64_t bytes = counter_get(&c->rx_bytes) + counter_get(&c->tx_bytes);
	uint64_t work = packets + bytes / BYTES_A_PACKET;

	s->rate[w] = (uint32_t)((packets - s->packets[w]) * 1000000000ull / ns);
	s->fresh[w] = work - s->work[w];
	s->packets[w] = packets;
	s->work[w] = work;
	return s->fresh[w];
}

// Splits what each worker was busy by what it did for each port.
static void measure(struct vmq *v)
{
	const struct devices *d = v->devices;
	uint64_t now = rte_rdtsc(), cycles = now - v->last_tsc + 1;
	uint64_t ns = (uint64_t)((double)cycles * 1e9 / (double)rte_get_tsc_hz()) + 1;
	bool warm = false;

	v->last_tsc = now;
	for (unsigned int w = 0; w < d->cfg.n_workers; w++) {
		uint64_t busy = counter_get(&worker_load(d->cfg.workers[w])->busy_cycles);
		uint64_t permille = (busy - v->busy[w]) * 1000 / cycles, work = 1;

		v->busy[w] = busy;
		if (permille > 1000)
			permille = 1000;
		warm |= permille > WARM;
		for (unsigned int i = 0; i < PORT_MAX; i++)
			if (v->states[i])
				work += sample_port(v->states[i], w, ns);
		for (unsigned int i = 0; i < PORT_MAX; i++)
			if (v->states[i])
				v->states[i]->load[w] =
					(uint16_t)(permille * v->states[i]->fresh[w] / work);
	}
	v->n_calm = warm ? 0 : v->n_calm + 1;
}

// --- stalls ------------------------------------------------------------------------------------

// Frames that others handed to the queue's worker, and those that it has dealt with.
static void look_for_stall(struct vmq *v, struct vmq_state *s)
{
	const struct device *p = s->device;
	struct port_counters sum = {};
	uint64_t full, delivered;

	device_sum(p, &sum);
	full = sum.drops[DROP_TX][DROP_HANDOVER_FULL];
	delivered = sum.tx_packets;
	for (int r = 0; r < DROP_N_REASONS; r++)
		delivered += sum.drops[DROP_TX][r];
	if (s->judged != p->want)
		s->stalled = false; // somebody has changed the port: it gets another chance
	s->judged = p->want;
	if (!vmq_stall_check(&s->stall, sum.handed + full, delivered - full) || s->stalled)
		return;
	s->stalled = true;
	log_warning("port %s: %s; it is on the default queue now", p->made->name,
		    vmq_why_texts[VMQ_STALLED]);
	if (v->devices->cfg.event)
		v->devices->cfg.event(v->devices->cfg.arg, p->made->name, "fault",
				      json_pack("{s:s}", "reason", vmq_why_texts[VMQ_STALLED]));
}

// --- the plan's input --------------------------------------------------------------------------

// All that a plan is made from; arrays in one allocation each.
struct survey {
	struct vmq_core cores[WORKER_MAX];
	struct vmq_nic nics[SWITCH_MAX];
	uint16_t nic_of[SWITCH_MAX]; // by the switch's number
	const struct switch_obj *switches[SWITCH_MAX]; // by position in nics
	uint32_t n_nics, n;
	struct vmq_port *ports;
	struct vmq_state **states;
	uint16_t (*loads)[PORT_MAX_QUEUES];
	struct vmq_grant *grants;
};

static uint8_t node_of_cpu(int cpu)
{
	char path[80];

	for (uint8_t node = 0; node < MAX_NODES; node++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpu%d", node, cpu);
		if (access(path, F_OK) == 0)
			return node;
	}
	return 0;
}

uint32_t vmq_cores(const struct daemon *d, const struct switch_obj *s)
{
	uint32_t all = (uint32_t)((1ull << d->opt.n_workers) - 1), chosen = 0;

	for (unsigned int n = 0; n < s->vmq_max_processors; n++) {
		int best = -1;

		for (unsigned int w = 0; w < d->opt.n_workers; w++) {
			int cpu = worker_cpu(d->workers[w]);

			if (cpu < s->vmq_base_processor || chosen >> w & 1)
				continue;
			// CPU 0 comes last, unless a base processor was named.
			if (best < 0 || (unsigned int)cpu - !s->vmq_base_processor <
						(unsigned int)worker_cpu(d->workers[best]) -
							!s->vmq_base_processor)
				best = (int)w;
		}
		if (best < 0)
			break;
		chosen |= 1u << best;
	}
	return chosen ? chosen : all;
}

static void survey_switches(const struct daemon *d, struct survey *y)
{
	const struct numbering *switches = &d->numbers.switches;

	for (uint32_t i = 0; i < switches->n; i++) {
		const struct switch_obj *s =
			container_of(switches->list[i].obj, struct switch_obj, head);

		y->nic_of[switches->list[i].number] = (uint16_t)y->n_nics;
		y->switches[y->n_nics] = s;
		y->nics[y->n_nics++] = (struct vmq_nic){ .off = s->vmq == VMQ_MODE_OFF,
							 .software = true,
							 .cores = vmq_cores(d, s) };
	}
}

static uint8_t queues_wanted(const struct port_obj *o, const struct switch_obj *s, uint16_t n_pairs)
{
	uint16_t n;

	if (o->role == ROLE_UPLINK)
		n = s->default_queue_vmmq_enabled ? s->default_queue_vmmq_queue_pairs : 1;
	else
		n = o->vmmq_enabled && o->vrss_enabled ? o->vmmq_queue_pairs : 1;
	return (uint8_t)(n < n_pairs ? n : n_pairs);
}

// A port's load in a worker is that of the pairs which the worker owns, in equal parts.
static void share_load(const struct vmq_state *s, uint16_t *loads)
{
	const struct plan_port *p = &s->device->plan;
	uint16_t n_owned[WORKER_MAX] = { 0 };

	for (uint16_t q = 0; q < p->dev->n_queues; q++)
		n_owned[p->owner[q]]++;
	for (uint16_t q = 0; q < p->dev->n_queues; q++)
		loads[q] = s->load[p->owner[q]] / n_owned[p->owner[q]];
}

static void survey_port(const struct daemon *d, struct survey *y, struct vmq_state *s)
{
	const struct plan_port *p = &s->device->plan;
	const struct port_obj *o = port_of(s->device->want);
	int number = numbering_find(&d->numbers.switches, o->switch_name);
	const struct switch_obj *sw;
	uint16_t nic;

	if (number < 0)
		return;
	nic = y->nic_of[number];
	sw = y->switches[nic];
	share_load(s, y->loads[y->n]);
	if (sw->vmq == VMQ_MODE_STATIC) {
		for (uint16_t q = 0; q < p->dev->n_queues; q++)
			y->cores[p->owner[q]].load =
				(uint16_t)(y->cores[p->owner[q]].load + y->loads[y->n][q]);
		return;
	}
	y->ports[y->n] = (struct vmq_port){ .nic = nic,
					    .weight = (uint8_t)o->vmq_weight,
					    .is_nic = o->role == ROLE_UPLINK,
					    .addressed = true, // software steers by the FDB
					    .stalled = s->stalled,
					    .n_pairs = (uint8_t)p->dev->n_queues,
					    .n_wanted = queues_wanted(o, sw, p->dev->n_queues),
					    .core = p->owner,
					    .load = y->loads[y->n] };
	y->states[y->n++] = s;
}

static void survey_free(struct survey *y)
{
	free(y->ports);
	free(y->states);
	free(y->loads);
	free(y->grants);
	free(y);
}

static struct survey *survey_make(const struct vmq *v, uint32_t n)
{
	const struct daemon *d = v->daemon;
	struct survey *y = calloc(1, sizeof(*y));

	if (!y)
		return NULL;
	y->ports = calloc(n + 1, sizeof(*y->ports));
	y->states = calloc(n + 1, sizeof(struct vmq_state *));
	y->loads = calloc(n + 1, sizeof(*y->loads));
	y->grants = calloc(n + 1, sizeof(*y->grants));
	if (!y->ports || !y->states || !y->loads || !y->grants) {
		survey_free(y);
		return NULL;
	}
	for (unsigned int w = 0; w < d->opt.n_workers; w++)
		y->cores[w] = (struct vmq_core){ .cpu = (uint16_t)worker_cpu(d->workers[w]),
						 .node = node_of_cpu(worker_cpu(d->workers[w])) };
	survey_switches(d, y);
	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (v->states[i])
			survey_port(d, y, v->states[i]);
	return y;
}

// --- planning ----------------------------------------------------------------------------------

// Those whose devices are open, and configured. Their number.
static uint32_t follow_devices(struct vmq *v)
{
	uint32_t n = 0;

	for (unsigned int i = 0; i < PORT_MAX; i++) {
		const struct device *p = v->devices->ports[i];

		if (p && p->state == OPEN && p->want && state_of(v, p)) {
			n++;
		} else if (v->states[i]) {
			free(v->states[i]);
			v->states[i] = NULL;
		}
	}
	return n;
}

static void plan(struct vmq *v, uint32_t n)
{
	struct survey *y = survey_make(v, n);
	struct vmq_input in;

	if (!y)
		return; // at the next look, perhaps
	in = (struct vmq_input){ .cores = y->cores,
				 .nics = y->nics,
				 .ports = y->ports,
				 .n_cores = v->daemon->opt.n_workers,
				 .n_nics = y->n_nics,
				 .n_ports = y->n,
				 .calm = v->n_calm >= CALM_SAMPLES };
	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (v->states[i])
			v->states[i]->planned = false;
	if (y->n && vmq_plan(&in, y->grants) == 0) {
		for (uint32_t i = 0; i < y->n; i++) {
			y->states[i]->grant = y->grants[i];
			y->states[i]->planned = true;
		}
	}
	survey_free(y);
}

// --- moving ------------------------------------------------------------------------------------

static bool misplaced(const struct vmq_state *s, uint16_t pair)
{
	return s->grant.core[pair] != s->device->plan.owner[pair];
}

static bool is_movable(const struct vmq *v, const struct vmq_state *s)
{
	const struct device *p = s ? v->devices->ports[s->device->plan.port] : NULL;

	return p && p == s->device && s->planned && p->state == OPEN;
}

// Every queue that goes the same way as the first that must go anywhere. list: NULL to count.
static unsigned int list_moves(struct vmq *v, struct plan_move *move, struct device_queue *list)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < PORT_MAX; i++) {
		struct vmq_state *s = v->states[i];

		for (uint16_t q = 0; is_movable(v, s) && q < s->device->plan.dev->n_queues; q++) {
			const struct plan_move m = { s->device->plan.owner[q], s->grant.core[q] };

			if (!misplaced(s, q))
				continue;
			if (n == 0)
				*move = m;
			if (m.from != move->from || m.to != move->to)
				continue;
			if (list)
				list[n] = (struct device_queue){ v->devices->ports[i], q };
			n++;
		}
	}
	return n;
}

// One step; another one when the workers are done with it.
static void move_some(void *arg)
{
	struct vmq *v = arg;
	struct device_queue *list;
	struct plan_move move;
	unsigned int n;

	loop_timer_del(v->devices->cfg.loop, v->move_timer);
	v->move_timer = -1;
	n = v->trial ? 0 : list_moves(v, &move, NULL);
	if (!n)
		return;
	list = calloc(n, sizeof(*list));
	if (list) {
		list_moves(v, &move, list);
		if (devices_move(v->devices, &move, list, n) == 0) {
			log_debug("vmq: %u queue%s from worker %u to %u", n, n == 1 ? "" : "s",
				  move.from, move.to);
			for (unsigned int i = 0; i < n; i++)
				v->states[list[i].device->plan.port]->n_moves++;
		}
		free(list);
	}
	v->move_timer = loop_timer_add(v->devices->cfg.loop, MOVE_NS, 0, move_some, v);
}

static void sample(void *arg)
{
	struct vmq *v = arg;
	uint32_t n = follow_devices(v);

	measure(v);
	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (v->states[i])
			look_for_stall(v, v->states[i]);
	plan(v, n);
	if (v->move_timer < 0)
		move_some(v);
}

// --- life --------------------------------------------------------------------------------------

int vmq_create(struct daemon *d, struct vmq **out, struct err *err)
{
	struct vmq *v = calloc(1, sizeof(*v));

	if (!v)
		return err_set(err, ENOMEM, "no memory for VMQ");
	v->daemon = d;
	v->devices = d->devices;
	v->move_timer = -1;
	v->last_tsc = rte_rdtsc();
	v->sample_timer = loop_timer_add(d->loop, SAMPLE_NS, SAMPLE_NS, sample, v);
	if (v->sample_timer < 0) {
		free(v);
		return err_set(err, EMFILE, "cannot make a timer");
	}
	*out = v;
	return 0;
}

void vmq_destroy(struct vmq *v)
{
	if (!v)
		return;
	vmq_trial_end(v);
	loop_timer_del(v->devices->cfg.loop, v->sample_timer);
	loop_timer_del(v->devices->cfg.loop, v->move_timer);
	for (unsigned int i = 0; i < PORT_MAX; i++)
		free(v->states[i]);
	free(v);
}
