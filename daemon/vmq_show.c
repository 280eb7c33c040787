// SPDX-License-Identifier: Apache-2.0
// VMQ as people see it: weft show vmq, and the self-test behind weft test vmq, which moves queues
// to another worker and back, and counts what that cost. control.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/daemon.h"
#include "daemon/vmq.h"

// --- weft show vmq -----------------------------------------------------------------------------

static const struct field vmq_fields[] = {
	FIELD_LIVE(port, FIELD_STRING, .help = "port"),
	FIELD_LIVE(mac, FIELD_STRING, .help = "address that leads to it; none: what was learnt"),
	FIELD_LIVE(vlan, FIELD_UINT, .help = "its access VLAN"),
	FIELD_LIVE(queue, FIELD_STRING,
		   .help = "own: a queue of its own; default: it shares the switch's"),
	FIELD_LIVE(worker, FIELD_UINT, .help = "worker that serves it"),
	FIELD_LIVE(cpu, FIELD_UINT, .help = "CPU of that worker"),
	FIELD_LIVE(rate, FIELD_UINT, .unit = "packets/s",
		   .help = "of the port at that worker, both directions"),
	FIELD_LIVE(load, FIELD_STRING, .unit = "% of a core", .help = "that these take"),
	FIELD_LIVE(moves, FIELD_UINT,
		   .help = "times that queues of the port went to another worker"),
	FIELD_LIVE(why, FIELD_STRING, .help = "why it is on the default queue"),
};

static json_t *vmq_row(const struct vmq *v, const struct vmq_state *s, uint16_t q)
{
	const struct plan_port *p = &s->device->plan;
	const struct port_obj *o = port_of(s->device->want);
	bool own = s->planned && s->grant.n_queues;
	uint8_t w = p->owner[q];
	char text[80];
	json_t *row;

	snprintf(text, sizeof(text), "%s.%u", o->head.name, q);
	row = json_pack("{s:s, s:s}", "name", text, "port", o->head.name);
	if (!mac_is_zero(o->mac)) {
		mac_print(o->mac, text, sizeof(text));
		json_object_set_new(row, "mac", json_string(text));
	}
	if (o->vlan)
		json_object_set_new(row, "vlan", json_integer(o->vlan));
	json_object_set_new(row, "queue",
			    json_string(own ? "own" : s->planned ? "default" : "fixed"));
	json_object_set_new(row, "worker", json_integer(w));
	json_object_set_new(row, "cpu", json_integer(worker_cpu(v->daemon->workers[w])));
	json_object_set_new(row, "rate", json_integer(s->rate[w]));
	snprintf(text, sizeof(text), "%.1f", s->load[w] / 10.0);
	json_object_set_new(row, "load", json_string(text));
	json_object_set_new(row, "moves", json_integer((json_int_t)s->n_moves));
	if (!s->planned)
		json_object_set_new(row, "why", json_string("the switch has vmq=static"));
	else if (!own && o->role == ROLE_UPLINK)
		json_object_set_new(row, "why", json_string("an uplink: it is the default queue"));
	else if (!own)
		json_object_set_new(row, "why", json_string(vmq_why_texts[s->grant.why]));
	return row;
}

static json_t *vmq_list(void *ctx, const char *name)
{
	const struct daemon *d = ctx;
	json_t *rows = json_array();

	for (unsigned int i = 0; i < PORT_MAX; i++) {
		const struct device *p = d->devices->ports[i];
		const struct vmq_state *s = d->vmq->states[i];

		if (!p || !s || s->device != p || p->state != OPEN || !p->want)
			continue;
		for (uint16_t q = 0; q < p->plan.dev->n_queues; q++) {
			json_t *row = vmq_row(d->vmq, s, q);

			if (!name ||
			    strcmp(json_string_value(json_object_get(row, "name")), name) == 0)
				json_array_append(rows, row);
			json_decref(row);
		}
	}
	return rows;
}

const struct object_type vmq_type = {
	.name = "vmq",
	.plural = "vmqs",
	.help = "a queue of a port, and the core that serves it",
	OBJECT_FIELDS(vmq_fields),
	.list = vmq_list,
};

// --- weft test vmq -----------------------------------------------------------------------------

#define TRIAL_NS 500000ull         // between two looks
#define PATIENCE_NS 10000000000ull // within which workers must be done with a change
#define MAX_TRIALS 32              // ports that are tried

enum phase { IDLE, AWAY, BACK };

// One test under way.
struct vmq_trial {
	struct daemon *d;
	struct request *req;
	json_t *checks;
	int n_failed;
	int timer;
	unsigned int next;      // port index from which to look on
	unsigned int n_tried;
	uint16_t port;          // the one that is moved
	enum phase phase;
	bool waiting;           // for the workers, since …
	uint64_t since_ns, took_ns;
	uint8_t home, away;
	uint64_t lost;          // of that port, before
};

static void note(struct vmq_trial *t, bool ok, const char *name, const char *detail)
{
	t->n_failed += !ok;
	json_array_append_new(t->checks, json_pack("{s:s, s:b, s:s}", "name", name, "ok", ok,
						   "detail", detail));
}

// What moving can cost: frames for which there was no room, or no queue.
static uint64_t lost(const struct device *p)
{
	struct port_counters sum = {};

	device_sum(p, &sum);
	return sum.drops[DROP_TX][DROP_HANDOVER_FULL] + sum.drops[DROP_TX][DROP_SHUTDOWN];
}

void vmq_trial_end(struct vmq *v)
{
	if (!v->trial)
		return;
	loop_timer_del(v->devices->cfg.loop, v->trial->timer);
	json_decref(v->trial->checks);
	free(v->trial);
	v->trial = NULL;
}

static void finish(struct vmq_trial *t)
{
	char text[64];

	snprintf(text, sizeof(text), "%u port%s moved and back", t->n_tried,
		 t->n_tried == 1 ? "" : "s");
	request_reply(t->req, json_pack("{s:i, s:s, s:o}", "failed", t->n_failed, "summary", text,
					"checks", t->checks));
	t->checks = NULL;
	vmq_trial_end(t->d->vmq);
}

// The next port with a device that is open, and where its first queue is to go.
static bool choose(struct vmq_trial *t)
{
	for (; t->next < PORT_MAX && t->n_tried < MAX_TRIALS; t->next++) {
		const struct device *p = t->d->devices->ports[t->next];

		if (!p || p->state != OPEN || !p->want)
			continue;
		t->port = (uint16_t)t->next++;
		t->home = p->plan.owner[0];
		t->away = (uint8_t)((t->home + 1) % t->d->opt.n_workers);
		t->lost = lost(p);
		t->since_ns = loop_now_ns();
		t->n_tried++;
		t->took_ns = 0;
		t->phase = AWAY;
		t->waiting = false;
		return true;
	}
	return false;
}

static void judge(struct vmq_trial *t, const struct device *p)
{
	uint64_t n = lost(p) - t->lost;
	char text[128];

	snprintf(text, sizeof(text), "worker %u to %u and back in %.1f ms, %llu frames lost",
		 t->home, t->away, (double)t->took_ns / 1e6, (unsigned long long)n);
	note(t, n == 0, p->want->name, text);
	t->phase = IDLE;
}

// False: waited for the workers for too long, which is a failed check of that name.
static bool is_patient(struct vmq_trial *t, const char *name)
{
	if (loop_now_ns() - t->since_ns < PATIENCE_NS)
		return true;
	note(t, false, name, "a worker did not take up a change within ten seconds");
	return false;
}

// True: come again later.
static bool step(struct vmq_trial *t, struct device *p)
{
	const struct plan_move there = { t->home, t->away }, back = { t->away, t->home };
	const struct plan_move *move = t->phase == AWAY ? &there : &back;
	const struct device_queue queue = { p, 0 };
	uint64_t now = loop_now_ns();

	if (t->waiting && !plan_settled(t->d->workers, t->d->opt.n_workers))
		return is_patient(t, p->want->name);
	if (!t->waiting && devices_move(t->d->devices, move, &queue, 1))
		return is_patient(t, p->want->name);
	t->took_ns += t->waiting ? now - t->since_ns : 0;
	t->since_ns = now;
	t->waiting = !t->waiting;
	if (t->waiting)
		return true;
	if (t->phase == AWAY) {
		t->phase = BACK;
		return true;
	}
	judge(t, p);
	return true;
}

// What is known without trying.
static void look(struct vmq_trial *t)
{
	const struct daemon *d = t->d;
	unsigned int n_stalled = 0;
	char text[96];

	note(t, true, "workers", "all work by the last plan");
	for (unsigned int i = 0; i < PORT_MAX; i++)
		n_stalled += d->vmq->states[i] && d->vmq->states[i]->stalled;
	snprintf(text, sizeof(text), "%u queue%s given frames and delivered none", n_stalled,
		 n_stalled == 1 ? " was" : "s were");
	note(t, n_stalled == 0, "stalls", text);
	if (d->opt.n_workers > 1)
		return;
	note(t, true, "moves", "one worker: there is nowhere to move to");
	t->next = PORT_MAX;
}

static void run(void *arg)
{
	struct vmq_trial *t = arg;
	struct device *p;

	if (t->next == 0 && !plan_settled(t->d->workers, t->d->opt.n_workers)) {
		if (!is_patient(t, "workers"))
			finish(t);
		return;
	}
	if (t->next == 0)
		look(t);
	if (t->phase == IDLE && !choose(t)) {
		finish(t);
		return;
	}
	p = t->d->devices->ports[t->port];
	if (!p || p->state != OPEN || !p->want) {
		t->phase = IDLE; // it went meanwhile: the next one
		return;
	}
	if (!step(t, p))
		finish(t);
}

static int test_vmq(void *ctx, struct request *req, const json_t *params, json_t **result,
		    struct refusal *r)
{
	struct daemon *d = ctx;
	struct vmq_trial *t;

	if (d->vmq->trial)
		return refuse(r, EBUSY, NULL, "a test of VMQ is under way");
	t = calloc(1, sizeof(*t));
	if (!t)
		return refuse(r, ENOMEM, NULL, "no memory for a test");
	t->d = d;
	t->req = req;
	t->checks = json_array();
	t->since_ns = loop_now_ns();
	d->vmq->trial = t;
	t->timer = loop_timer_add(d->loop, TRIAL_NS, TRIAL_NS, run, t);
	if (t->timer < 0) {
		vmq_trial_end(d->vmq);
		return refuse(r, EMFILE, NULL, "no timer is left");
	}
	return METHOD_PENDING;
}

int vmq_methods_add(struct daemon *d)
{
	return server_method_add(d->server, "test_vmq",
				 "moves a queue of each port to another worker and back", test_vmq,
				 d);
}
