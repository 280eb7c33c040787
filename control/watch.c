// SPDX-License-Identifier: Apache-2.0
// Watchers: clients that hear of events, and of counters at an interval. A client that is slow
// misses counters, and is told how often; one that does not read at all is cut off by the server.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "control/txn.h"

#define MIN_INTERVAL_MS 100
#define MAX_INTERVAL_MS 3600000

struct watcher {
	LIST_ENTRY(watcher) link;
	struct control *control;
	struct client *client;
	char *type, *name;  // what it wants to hear of; NULL: everything
	int timer;          // loop timer for counters; -1: none
	unsigned int n_skipped; // counters not sent since the last sent, the client being slow
};

static void watcher_free(void *arg)
{
	struct watcher *w = arg;

	LIST_REMOVE(w, link);
	loop_timer_del(w->control->cfg.loop, w->timer);
	free(w->type);
	free(w->name);
	free(w);
}

void watch_stop(struct control *c)
{
	struct watcher *w;

	while ((w = LIST_FIRST(&c->watchers))) {
		client_on_close(w->client, NULL, NULL);
		watcher_free(w);
	}
}

static void send_counters(void *arg)
{
	struct watcher *w = arg;
	const struct control_hooks *h = &w->control->cfg.hooks;
	json_t *msg;

	if (client_backlog(w->client)) {
		w->n_skipped++;
		return;
	}
	msg = json_pack("{sI si so}", "time_ns", (json_int_t)loop_now_ns(), "skipped",
			(int)w->n_skipped, "counters",
			h->counters ? h->counters(h->ctx, w->type, w->name) : json_array());
	w->n_skipped = 0;
	client_notify(w->client, "counters", msg);
}

static bool wants(const struct watcher *w, const char *type, const char *name)
{
	return (!w->type || strcmp(w->type, type) == 0) &&
	       (!w->name || strcmp(w->name, name) == 0);
}

void control_event(struct control *c, const char *type, const char *name, const char *what,
		   json_t *detail)
{
	struct watcher *w;
	json_t *msg;

	for (w = LIST_FIRST(&c->watchers); w; w = LIST_NEXT(w, link)) {
		if (!wants(w, type, name))
			continue;
		msg = json_pack("{ss ss ss sO*}", "type", type, "name", name, "event", what,
				"detail", detail);
		client_notify(w->client, "event", msg);
	}
	json_decref(detail);
}

void watch_changes(struct control *c, const struct model *from, const struct model *to)
{
	for (unsigned int i = 0; i < c->cfg.types.n && !LIST_EMPTY(&c->watchers); i++) {
		const struct object_type *type = c->cfg.types.list[i];
		struct model_diff d = model_diff(from, to, type);

		while (model_diff_next(&d)) {
			const struct object *obj = d.after ? d.after : d.before;
			const char *what = !d.before ? "added" : d.after ? "changed" : "removed";

			control_event(c, type->name, obj->name, what,
				      d.after ? object_encode(d.after) : NULL);
		}
	}
}

static struct watcher *watcher_create(struct control *c, struct client *client, const char *type,
				      const char *name)
{
	struct watcher *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->control = c;
	w->client = client;
	w->timer = -1;
	w->type = type ? strdup(type) : NULL;
	w->name = name ? strdup(name) : NULL;
	LIST_INSERT_HEAD(&c->watchers, w, link);
	client_on_close(client, watcher_free, w);
	return w;
}

// One client, one watch: a second one takes the place of the first.
static void forget_client(struct control *c, const struct client *client)
{
	struct watcher *w;

	for (w = LIST_FIRST(&c->watchers); w; w = LIST_NEXT(w, link))
		if (w->client == client) {
			watcher_free(w);
			return;
		}
}

static int start(struct control *c, struct client *client, const json_t *const given[3],
		 struct refusal *r)
{
	const char *type = json_string_value(given[0]), *name = json_string_value(given[1]);
	json_int_t ms = json_integer_value(given[2]);
	uint64_t interval_ns = (uint64_t)ms * 1000000;
	const struct object_type *known = NULL;
	struct watcher *w;

	if (type && !(known = object_type_find(&c->cfg.types, type, r)))
		return -ENOENT;
	if (given[2] && ms != 0 && (ms < MIN_INTERVAL_MS || ms > MAX_INTERVAL_MS))
		return refuse(r, ERANGE, "interval_ms",
			      "interval_ms: %" JSON_INTEGER_FORMAT " is not 0 or from %d to %d", ms,
			      MIN_INTERVAL_MS, MAX_INTERVAL_MS);
	forget_client(c, client);
	w = watcher_create(c, client, known ? known->name : NULL, name);
	if (!w)
		return refuse(r, ENOMEM, NULL, "out of memory");
	if (ms)
		w->timer = loop_timer_add(c->cfg.loop, 0, interval_ns, send_counters, w);
	if (w->timer >= 0 || !ms)
		return 0;
	client_on_close(client, NULL, NULL);
	watcher_free(w);
	return refuse(r, EMFILE, NULL, "no timer can be had");
}

int method_watch(void *ctx, struct request *req, const json_t *params, json_t **result,
		 struct refusal *r)
{
	const json_t *given[3];
	const struct param list[] = {
		{ "type", JSON_STRING, false, &given[0] },
		{ "name", JSON_STRING, false, &given[1] },
		{ "interval_ms", JSON_INTEGER, false, &given[2] },
	};
	int ret = params_read(params, list, ARRAY_SIZE(list), r);

	if (ret == 0)
		ret = start(ctx, request_client(req), given, r);
	if (ret == 0)
		*result = json_pack("{sb}", "watching", 1);
	return ret;
}
