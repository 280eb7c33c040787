// SPDX-License-Identifier: Apache-2.0
#include "daemon/probes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TICK_NS 40000000ull    // from request to request
#define WAIT_NS 1000000000ull  // for the answer to the last one
#define ID_TRIES 8

uint32_t stage_bytes(const struct stage *s)
{
	uint32_t ip = s->request.to.family == 6 ? sizeof(struct ipv6_header)
						: sizeof(struct ipv4_header);

	return ip + (uint32_t)sizeof(struct icmp_header) + s->request.payload_bytes;
}

struct probes *probes_create(struct daemon *d)
{
	struct probes *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->d = d;
	p->timer = -1;
	p->checks = json_array();
	return p;
}

void probes_say(struct probes *p, const char *name, bool ok, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(p->checks, json_pack("{s:s, s:b, s:s}", "name", name, "ok", ok,
						  "detail", text));
}

json_t *probes_end(struct probes *p, bool ok, const char *summary)
{
	size_t n = 0, i;
	json_t *check, *out;

	json_array_foreach(p->checks, i, check)
		n += json_is_false(json_object_get(check, "ok"));
	// Not all that failed need matter: whether the path is well is what is asked.
	out = json_pack("{s:I, s:s, s:o}", "failed", (json_int_t)(ok ? 0 : RTE_MAX(n, (size_t)1)),
			"summary", summary, "checks", p->checks);

	free(p);
	return out;
}

// --- a stage -----------------------------------------------------------------------------------

static const struct vswitch_guest *guest_of(const struct stage *s)
{
	return s->from_guest ? &s->guest : NULL;
}

static void send_request(struct probes *p, struct stage *s)
{
	static uint8_t frame[PROBE_FRAME_MAX]; // control thread only
	struct devices_frame f = { .port = s->port, .bytes = frame };

	s->request.id = p->id;
	s->request.sequence = (uint16_t)(p->at * PROBES_EACH + s->n_sent);
	f.n_bytes = probe_build(&s->request, frame);
	s->sent_ns[s->n_sent++] = loop_now_ns();
	if (!f.n_bytes)
		return;
	if (s->from_guest)
		devices_receive(p->d->devices, &f);
	else
		devices_send(p->d->devices, &f);
}

static bool stage_is_over(const struct stage *s)
{
	return s->n_sent == PROBES_EACH &&
	       (s->n_received + s->n_errors >= PROBES_EACH ||
		loop_now_ns() - s->sent_ns[PROBES_EACH - 1] >= WAIT_NS);
}

static void report_stage(struct probes *p, const struct stage *s)
{
	static const char *const errors[] = { [PROBE_UNREACHABLE] = "it is unreachable",
					      [PROBE_TOO_BIG] = "that is too large",
					      [PROBE_TTL] = "it is too many hops away" };
	char to[64], who[64], says[128] = "";
	json_t *row;

	ip_address_print(&s->request.to, to, sizeof(to));
	ip_address_print(&s->who, who, sizeof(who));
	if (s->n_errors && s->mtu)
		snprintf(says, sizeof(says), "; %s says that it takes %u bytes", who, s->mtu);
	else if (s->n_errors)
		snprintf(says, sizeof(says), "; %s says that %s", who, errors[s->error]);
	if (s->n_received)
		snprintf(says, sizeof(says), ", %.2f ms",
			 (double)s->total_ns / s->n_received / 1e6);
	probes_say(p, s->name, s->n_received, "%s, packets of %u bytes: %u of %u answered%s", to,
		   stage_bytes(s), s->n_received, s->n_sent, says);
	row = json_array_get(p->checks, json_array_size(p->checks) - 1);
	json_object_set_new(row, "sent", json_integer(s->n_sent));
	json_object_set_new(row, "received", json_integer(s->n_received));
	json_object_set_new(row, "bytes", json_integer(stage_bytes(s)));
	if (s->mtu)
		json_object_set_new(row, "mtu", json_integer(s->mtu));
}

// --- a run -------------------------------------------------------------------------------------

static void unlink_run(struct probes *p)
{
	struct probes **at = &p->d->probes;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	loop_timer_del(p->d->loop, p->timer);
}

static int begin_stage(struct probes *p)
{
	const struct stage *s = &p->stages[p->at];
	int ret = -EEXIST;

	for (int i = 0; i < ID_TRIES && ret == -EEXIST; i++) {
		if (getrandom(&p->id, sizeof(p->id), 0) != sizeof(p->id))
			return -EIO;
		ret = vswitch_probe_begin(p->d->vswitch, s->port, p->id, guest_of(s));
	}
	return ret;
}

static void finish(struct probes *p)
{
	struct request *req = p->req;
	char summary[256];
	bool ok;

	unlink_run(p);
	ok = p->judge(p, summary, sizeof(summary));
	request_reply(req, probes_end(p, ok, summary));
}

static void tick(void *arg)
{
	struct probes *p = arg;
	struct stage *s = &p->stages[p->at];

	if (s->n_sent < PROBES_EACH) {
		send_request(p, s);
		return;
	}
	if (!stage_is_over(s))
		return;
	vswitch_probe_end(p->d->vswitch, p->id, guest_of(s));
	report_stage(p, s);
	if (++p->at == p->n_stages || begin_stage(p))
		finish(p);
}

static void give_up(struct probes *p)
{
	json_decref(p->checks);
	free(p);
}

int probes_run(struct probes *p, struct request *req, struct refusal *r)
{
	int ret = begin_stage(p);

	if (ret) {
		give_up(p);
		return refuse(r, -ret, NULL, "%u tests are under way already; try again later",
			      PROBE_MAX);
	}
	p->timer = loop_timer_add(p->d->loop, 0, TICK_NS, tick, p);
	if (p->timer < 0) {
		ret = p->timer;
		vswitch_probe_end(p->d->vswitch, p->id, guest_of(&p->stages[0]));
		give_up(p);
		return refuse(r, -ret, NULL, "no timer for a test");
	}
	p->req = req;
	p->next = p->d->probes;
	p->d->probes = p;
	return METHOD_PENDING;
}

void probes_answer(struct daemon *d, const struct learn_report *report)
{
	unsigned int first, n = 0;
	struct probes *p = d->probes;
	struct stage *s;

	while (p && p->id != report->echo.id)
		p = p->next;
	if (!p)
		return;
	s = &p->stages[p->at];
	first = p->at * PROBES_EACH;
	n = report->echo.sequence - first;
	if (report->echo.sequence < first || n >= s->n_sent ||
	    s->n_received + s->n_errors >= s->n_sent)
		return;
	s->who = report->address;
	if (report->encap == PROBE_REPLY) {
		s->n_received++;
		s->total_ns += loop_now_ns() - s->sent_ns[n];
		return;
	}
	s->n_errors++;
	s->error = (enum probe_answer)report->encap;
	s->mtu = report->echo.mtu;
}

void probes_cancel_all(struct daemon *d)
{
	while (d->probes) {
		struct probes *p = d->probes;
		struct refusal r = { 0 };

		unlink_run(p);
		vswitch_probe_end(d->vswitch, p->id, guest_of(&p->stages[p->at]));
		request_refuse(p->req, refuse(&r, ECANCELED, NULL, "weftd stops"), &r);
		give_up(p);
	}
}
