// SPDX-License-Identifier: Apache-2.0
// Start-up: what the store holds becomes the published state, as far as it still can.
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "control/txn.h"

// One step at start: nobody watches yet, and nothing is written.
static int load_step(struct control *c, const struct model *to, struct err *err)
{
	const struct control_hooks *h = &c->cfg.hooks;
	void *plan = NULL;
	int ret = h->prepare ? h->prepare(h->ctx, c->model, to, &plan, err) : 0;

	if (ret < 0)
		return ret;
	if (h->publish)
		h->publish(h->ctx, plan);
	model_put(c->model);
	c->model = model_get(to);
	return 0;
}

static int load_edits(struct control *c, struct edit *list, size_t n, struct refusal *r)
{
	struct edits edits = { list, n };
	const struct model *to;
	int ret = model_edit(c->model, &edits, c->cfg.hooks.ctx, &to, r);

	if (ret < 0)
		return ret;
	ret = to == c->model ? 0 : load_step(c, to, &r->err);
	model_put(to);
	return ret;
}

// Loads all of list[n], or, when that fails, its halves, down to the object that is at fault: it
// is left out. The list is in the order of types, so that what is referred to comes first.
static unsigned int load_range(struct control *c, struct edit *list, size_t n)
{
	struct refusal r = {};

	if (n == 0 || load_edits(c, list, n, &r) == 0)
		return 0;
	if (n == 1) {
		log_error("stored configuration: left out: %s", r.err.text);
		return 1;
	}
	return load_range(c, list, n / 2) + load_range(c, list + n / 2, n - n / 2);
}

// The stored {"port": {"web0": {…}}} as edits, types in order. list[] has room for all.
static size_t stored_edits(const struct object_types *types, const json_t *doc, struct edit *list)
{
	const char *name;
	json_t *fields;
	size_t n = 0;

	for (unsigned int i = 0; i < types->n; i++) {
		json_t *objs = json_object_get(doc, types->list[i]->name);

		json_object_foreach(objs, name, fields)
			list[n++] = (struct edit){ EDIT_PUT, types->list[i], name, fields };
	}
	return n;
}

static void report_unknown(const struct object_types *types, const json_t *doc)
{
	struct refusal r;
	const char *key;
	json_t *objs;

	json_object_foreach((json_t *)doc, key, objs)
		if (!object_type_find(types, key, &r))
			log_error("stored configuration: %zu left out: %s", json_object_size(objs),
				  r.err.text);
}

static int load_stored(struct control *c, const json_t *doc)
{
	struct edit *list;
	unsigned int n_left_out;
	const char *key;
	json_t *objs;
	size_t n = 1;

	json_object_foreach((json_t *)doc, key, objs)
		n += json_object_size(objs);
	list = calloc(n, sizeof(*list));
	if (!list)
		return -ENOMEM;
	n = stored_edits(&c->cfg.types, doc, list);
	report_unknown(&c->cfg.types, doc);
	n_left_out = load_range(c, list, n);
	free(list);
	if (n_left_out)
		log_error("%u of %zu stored objects could not be used; the next compaction "
			  "forgets them",
			  n_left_out, n);
	return 0;
}

int control_load(struct control *c, struct err *err)
{
	struct model *first;
	json_t *doc = NULL;
	int ret = 0;

	// What can fail for good comes first: nothing is published if the daemon cannot start.
	if (c->cfg.state_dir)
		ret = store_open(c->cfg.state_dir, &c->store, &doc, err);
	if (ret < 0)
		return ret;
	first = model_create(&c->cfg.types);
	ret = first ? load_step(c, first, err) : err_set(err, ENOMEM, "out of memory");
	model_put(first);
	if (ret == 0 && doc && load_stored(c, doc) < 0)
		ret = err_set(err, ENOMEM, "out of memory");
	json_decref(doc);
	return ret;
}
