// SPDX-License-Identifier: Apache-2.0
// Transactions: requests are gathered into groups; each group is prepared, written and published.
#include "control/control.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/txn.h"

static void work(struct control *c);

static void txn_finish(struct txn *txn, int result, const struct refusal *r)
{
	txn->done(txn->arg, result, r);
	json_decref(txn->doc);
	free(txn);
}

// Answers all of the group: with the error, or each with what it changed.
static void finish_group(struct control *c, int error, const struct refusal *r)
{
	struct txn_list group = STAILQ_HEAD_INITIALIZER(group);
	struct txn *txn;

	STAILQ_CONCAT(&group, &c->group);
	while ((txn = STAILQ_FIRST(&group))) {
		STAILQ_REMOVE_HEAD(&group, link);
		txn_finish(txn, error < 0 ? error : txn->changed, r);
	}
}

// The state that a request leads to from `from`. Returns the number of objects changed, or -errno.
static int txn_edit(const struct control *c, const struct txn *txn, const struct model *from,
		    const struct model **to, struct refusal *r)
{
	struct edit one = txn->edit;
	struct edits edits = { &one, 1 };
	int ret;

	if (one.type)
		return model_edit(from, &edits, c->cfg.hooks.ctx, to, r);
	ret = document_edits(txn, from, &edits, r);
	if (ret < 0)
		return ret;
	ret = model_edit(from, &edits, c->cfg.hooks.ctx, to, r);
	free(edits.list);
	return ret;
}

static int prepare(struct control *c, const struct model *to, struct refusal *r)
{
	const struct control_hooks *h = &c->cfg.hooks;

	c->plan = NULL;
	return h->prepare ? h->prepare(h->ctx, c->model, to, &c->plan, &r->err) : 0;
}

static void abort_plan(struct control *c)
{
	if (c->cfg.hooks.abort)
		c->cfg.hooks.abort(c->cfg.hooks.ctx, c->plan);
}

// Makes c->next the state. Cannot fail.
static void publish(struct control *c)
{
	const struct model *before = c->model;

	if (c->cfg.hooks.publish)
		c->cfg.hooks.publish(c->cfg.hooks.ctx, c->plan);
	c->model = c->next;
	c->next = NULL;
	watch_changes(c, before, c->model);
	model_put(before);
}

static void run_dry(struct control *c, struct txn *txn)
{
	struct refusal r = {};
	const struct model *to;
	int ret = txn_edit(c, txn, c->model, &to, &r);
	int changed = ret;

	if (ret >= 0) {
		ret = changed ? prepare(c, to, &r) : 0;
		if (changed && ret == 0)
			abort_plan(c);
		model_put(to);
	}
	txn_finish(txn, ret < 0 ? ret : changed, &r);
}

// Moves waiting requests into the group, as long as they can go together; those that fail are
// answered at once. c->next becomes the state that the group leads to.
static void gather(struct control *c)
{
	struct txn *txn;

	c->next = model_get(c->model);
	while ((txn = STAILQ_FIRST(&c->queue))) {
		struct refusal r = {};
		const struct model *to;

		if ((txn->dry_run || c->n_single) && !STAILQ_EMPTY(&c->group))
			return;
		STAILQ_REMOVE_HEAD(&c->queue, link);
		c->n_single -= c->n_single > 0;
		if (txn->dry_run) {
			run_dry(c, txn);
			continue;
		}
		txn->changed = txn_edit(c, txn, c->next, &to, &r);
		if (txn->changed < 0) {
			txn_finish(txn, txn->changed, &r);
			continue;
		}
		model_put(c->next);
		c->next = to;
		STAILQ_INSERT_TAIL(&c->group, txn, link);
	}
}

// The daemon cannot do what the group asks for. If several requests are in it, each is tried by
// itself: one must not fail for another's sake.
static void prepare_failed(struct control *c, int error, const struct refusal *r)
{
	unsigned int n = 0;
	struct txn *txn;

	model_put(c->next);
	for (txn = STAILQ_FIRST(&c->group); txn; txn = STAILQ_NEXT(txn, link))
		n++;
	if (n < 2) {
		finish_group(c, error, r);
		return;
	}
	STAILQ_CONCAT(&c->group, &c->queue);
	STAILQ_CONCAT(&c->queue, &c->group);
	c->n_single = n;
}

static int append_group(void *arg)
{
	struct control *c = arg;

	return store_append(c->store, c->patch, &c->why.err);
}

static int compact(void *arg)
{
	struct control *c = arg;

	return store_compact(c->store, c->patch, &c->why.err);
}

static void compacted(void *arg, int result)
{
	struct control *c = arg;

	if (result < 0)
		log_warning("%s", c->why.err.text);
	json_decref(c->patch);
	c->busy = false;
	work(c);
}

// Has the helper write the whole state anew when the journal has grown long.
static void consider_compaction(struct control *c)
{
	if (!store_wants_compaction(c->store))
		return;
	c->patch = model_patch(NULL, c->model);
	c->busy = c->patch && helper_submit(c->cfg.helper, compact, compacted, c) == 0;
	if (!c->busy)
		json_decref(c->patch);
}

static void group_written(void *arg, int result)
{
	struct control *c = arg;

	json_decref(c->patch);
	c->busy = false;
	if (result < 0) {
		abort_plan(c);
		model_put(c->next);
	} else {
		publish(c);
		consider_compaction(c);
	}
	finish_group(c, result, &c->why);
	work(c);
}

// Hands the prepared group to the disk, or publishes it at once when there is none.
static void commit(struct control *c)
{
	if (!c->store) {
		publish(c);
		finish_group(c, 0, NULL);
		return;
	}
	c->why = (struct refusal){};
	c->patch = model_patch(c->model, c->next);
	c->busy = true;
	if (!c->patch)
		group_written(c, refuse(&c->why, ENOMEM, NULL, "out of memory"));
	else if (helper_submit(c->cfg.helper, append_group, group_written, c) < 0)
		group_written(c, refuse(&c->why, EAGAIN, NULL, "the helper thread is overloaded"));
}

// Works off the queue, a group at a time, until there is nothing or the disk must be waited for.
static void work(struct control *c)
{
	if (c->working)
		return;
	c->working = true;
	while (!c->busy && !STAILQ_EMPTY(&c->queue)) {
		struct refusal r = {};
		int ret;

		gather(c);
		if (c->next == c->model) {
			model_put(c->next);
			finish_group(c, 0, NULL);
			continue;
		}
		ret = prepare(c, c->next, &r);
		if (ret < 0)
			prepare_failed(c, ret, &r);
		else
			commit(c);
	}
	c->working = false;
}

void control_submit(struct control *c, const struct txn *txn)
{
	struct txn *copy = malloc(sizeof(*copy));
	struct refusal r;

	if (!copy) {
		refuse(&r, ENOMEM, NULL, "out of memory");
		txn->done(txn->arg, -ENOMEM, &r);
		return;
	}
	*copy = *txn;
	json_incref(copy->doc);
	STAILQ_INSERT_TAIL(&c->queue, copy, link);
	work(c);
}

void control_apply(struct control *c, const json_t *doc, bool prune, control_done_fn *done,
		   void *arg)
{
	struct txn txn = { .doc = (json_t *)doc, .prune = prune, .done = done, .arg = arg };

	control_submit(c, &txn);
}

// A table that points to nowhere is a mistake of the programmer.
static void check_types(const struct object_types *types)
{
	for (unsigned int i = 0; i < types->n; i++)
		for (unsigned int j = 0; j < types->list[i]->n_fields; j++) {
			const struct field *f = &types->list[i]->fields[j];

			assert(f->type != FIELD_REF || f->flags & FIELD_READ_ONLY ||
			       object_type_find(types, f->ref, NULL));
			assert(f->type != FIELD_ENUM || f->flags & FIELD_READ_ONLY || f->words);
		}
}

int control_create(const struct control_cfg *cfg, struct control **out, struct err *err)
{
	struct control *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return err_set(err, ENOMEM, "out of memory");
	check_types(&cfg->types);
	c->cfg = *cfg;
	STAILQ_INIT(&c->queue);
	STAILQ_INIT(&c->group);
	LIST_INIT(&c->watchers);
	ret = control_load(c, err);
	if (ret == 0 && cfg->server)
		ret = methods_add(c, cfg->server);
	if (ret < 0) {
		control_destroy(c);
		return ret;
	}
	*out = c;
	return 0;
}

void control_destroy(struct control *c)
{
	if (!c)
		return;
	watch_stop(c);
	store_close(c->store);
	model_put(c->model);
	free(c);
}

const struct model *control_model(const struct control *c)
{
	return c->model;
}
