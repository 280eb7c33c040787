// SPDX-License-Identifier: Apache-2.0
// The standard methods. Each reads its parameters, then reads the published state or submits a
// transaction.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "control/txn.h"

static bool has_type(const json_t *v, json_type type)
{
	return type == JSON_TRUE ? json_is_boolean(v) : json_typeof(v) == type;
}

static const char *type_text(json_type type)
{
	switch (type) {
	case JSON_STRING:
		return "a string";
	case JSON_OBJECT:
		return "an object";
	case JSON_INTEGER:
		return "a whole number";
	default:
		return "true or false";
	}
}

static int unknown_param(const char *key, const struct param *list, unsigned int n,
			 struct refusal *r)
{
	const char *words[16];

	for (unsigned int i = 0; i < n; i++)
		words[i] = list[i].name;
	refuse(r, EINVAL, key, "%.64s: there is no such parameter", key);
	return refuse_suggest(r, -EINVAL, key, words, n);
}

int params_read(const json_t *params, const struct param *list, unsigned int n, struct refusal *r)
{
	const char *key;
	json_t *v;
	unsigned int i;

	if (params && !json_is_object(params))
		return refuse(r, EINVAL, "params", "params: must be an object, by name");
	json_object_foreach((json_t *)params, key, v) {
		for (i = 0; i < n && strcmp(key, list[i].name) != 0; i++)
			;
		if (i == n)
			return unknown_param(key, list, n, r);
		if (!has_type(v, list[i].type))
			return refuse(r, EINVAL, key, "%s: must be %s", key,
				      type_text(list[i].type));
	}
	for (i = 0; i < n; i++) {
		*list[i].out = json_object_get(params, list[i].name);
		if (list[i].required && !*list[i].out)
			return refuse(r, EINVAL, list[i].name, "%s: must be given", list[i].name);
	}
	return 0;
}

// The type and name that most methods take.
struct target {
	const struct object_type *type; // NULL: not given
	const char *name;               // NULL: not given
};

static int read_target(const struct control *c, const json_t *type, const json_t *name,
		       struct target *out, struct refusal *r)
{
	*out = (struct target){ .name = json_string_value(name) };
	if (!type)
		return name ? refuse(r, EINVAL, "type", "type: must be given with a name") : 0;
	out->type = object_type_find(&c->cfg.types, json_string_value(type), r);
	if (!out->type)
		return -ENOENT;
	if (!out->name && out->type->singleton)
		out->name = out->type->name;
	return 0;
}

static int read_type_and_name(const struct control *c, const json_t *params, struct target *out,
			      struct refusal *r)
{
	const json_t *type, *name;
	const struct param list[] = {
		{ "type", JSON_STRING, false, &type },
		{ "name", JSON_STRING, false, &name },
	};
	int ret = params_read(params, list, ARRAY_SIZE(list), r);

	return ret < 0 ? ret : read_target(c, type, name, out, r);
}

// One object as `get` shows it: configuration, then what is live.
static json_t *show(const struct control *c, const struct object *obj)
{
	json_t *out = object_encode(obj);

	if (out && obj->type->status)
		obj->type->status(c->cfg.hooks.ctx, obj, out);
	return out;
}

static json_t *show_all(const struct control *c, const struct object_type *type)
{
	const struct object *const *objs;
	size_t n = model_list(c->model, type, &objs);
	json_t *out;

	if (!type->size)
		return type->list ? type->list(c->cfg.hooks.ctx, NULL) : json_array();
	out = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, show(c, objs[i]));
	return out;
}

static int no_such_object(const struct control *c, const struct target *target, struct refusal *r)
{
	const struct object *const *objs;
	size_t n = model_list(c->model, target->type, &objs);
	const char *words[1024];

	n = n < ARRAY_SIZE(words) ? n : ARRAY_SIZE(words);
	for (size_t i = 0; i < n; i++)
		words[i] = objs[i]->name;
	refuse(r, ENOENT, "name", "%s '%.64s': does not exist", target->type->name, target->name);
	return refuse_suggest(r, -ENOENT, target->name, words, (unsigned int)n);
}

static int show_one(const struct control *c, const struct target *target, json_t **result,
		    struct refusal *r)
{
	const struct object *obj;

	if (!target->type->size && target->type->list) {
		json_t *found = target->type->list(c->cfg.hooks.ctx, target->name);

		*result = json_incref(json_array_get(found, 0));
		json_decref(found);
		return *result ? 0 : no_such_object(c, target, r);
	}
	obj = model_find(c->model, target->type, target->name);
	if (!obj)
		return no_such_object(c, target, r);
	*result = show(c, obj);
	return 0;
}

static int method_get(void *ctx, struct request *, const json_t *params, json_t **result,
		      struct refusal *r)
{
	struct control *c = ctx;
	struct target target = {};
	int ret = read_type_and_name(c, params, &target, r);

	if (ret < 0)
		return ret;
	if (target.name)
		return show_one(c, &target, result, r);
	if (target.type) {
		*result = show_all(c, target.type);
		return 0;
	}
	*result = json_object();
	for (unsigned int i = 0; i < c->cfg.types.n; i++)
		if (c->cfg.types.list[i]->size)
			json_object_set_new(*result, c->cfg.types.list[i]->name,
					    show_all(c, c->cfg.types.list[i]));
	return 0;
}

static int method_describe(void *ctx, struct request *, const json_t *params, json_t **result,
			   struct refusal *r)
{
	struct control *c = ctx;
	const json_t *name;
	const struct param list[] = { { "type", JSON_STRING, false, &name } };
	const struct object_type *type;
	json_t *types;

	if (params_read(params, list, ARRAY_SIZE(list), r) < 0)
		return -EINVAL;
	if (name) {
		type = object_type_find(&c->cfg.types, json_string_value(name), r);
		*result = type ? object_type_describe(type) : NULL;
		return type ? 0 : -ENOENT;
	}
	types = json_array();
	for (unsigned int i = 0; i < c->cfg.types.n; i++)
		json_array_append_new(types, object_type_describe(c->cfg.types.list[i]));
	*result = json_pack("{so so}", "types", types, "methods", server_methods(c->cfg.server));
	return 0;
}

static void change_done(void *arg, int changed, const struct refusal *r)
{
	struct request *req = arg;

	if (changed < 0)
		request_refuse(req, -changed, r);
	else
		request_reply(req, json_pack("{si}", "changed", changed));
}

// add, set and delete: one edit of one object.
static int submit_edit(struct control *c, struct request *req, const json_t *params,
		       enum edit_op op, struct refusal *r)
{
	const json_t *type, *name, *fields;
	const struct param list[] = {
		{ "type", JSON_STRING, true, &type },
		{ "name", JSON_STRING, false, &name },
		{ "fields", JSON_OBJECT, false, &fields },
	};
	struct txn txn = { .done = change_done, .arg = req, .doc = (json_t *)params };
	struct target target = {};
	int ret = params_read(params, list, op == EDIT_DELETE ? 2 : 3, r);

	if (ret == 0)
		ret = read_target(c, type, name, &target, r);
	if (ret < 0)
		return ret;
	if (!target.name)
		return refuse(r, EINVAL, "name", "name: must be given");
	txn.edit = (struct edit){ op, target.type, target.name, NULL };
	if (op != EDIT_DELETE)
		txn.edit.fields = fields;
	control_submit(c, &txn);
	return METHOD_PENDING;
}

static int method_add(void *ctx, struct request *req, const json_t *params, json_t **result,
		      struct refusal *r)
{
	return submit_edit(ctx, req, params, EDIT_ADD, r);
}

static int method_set(void *ctx, struct request *req, const json_t *params, json_t **result,
		      struct refusal *r)
{
	return submit_edit(ctx, req, params, EDIT_SET, r);
}

static int method_delete(void *ctx, struct request *req, const json_t *params, json_t **result,
			 struct refusal *r)
{
	return submit_edit(ctx, req, params, EDIT_DELETE, r);
}

static int method_apply(void *ctx, struct request *req, const json_t *params, json_t **,
			struct refusal *r)
{
	const json_t *doc, *prune, *dry_run;
	const struct param list[] = {
		{ "document", JSON_OBJECT, true, &doc },
		{ "prune", JSON_TRUE, false, &prune },
		{ "dry_run", JSON_TRUE, false, &dry_run },
	};
	struct txn txn = { .done = change_done, .arg = req };

	if (params_read(params, list, ARRAY_SIZE(list), r) < 0)
		return -EINVAL;
	txn.doc = (json_t *)doc;
	txn.prune = json_is_true(prune);
	txn.dry_run = json_is_true(dry_run);
	control_submit(ctx, &txn);
	return METHOD_PENDING;
}

static int method_dump(void *ctx, struct request *, const json_t *params, json_t **result,
		       struct refusal *r)
{
	struct control *c = ctx;

	if (params_read(params, NULL, 0, r) < 0)
		return -EINVAL;
	*result = model_dump(c->model);
	return *result ? 0 : refuse(r, ENOMEM, NULL, "out of memory");
}

static int method_counters(void *ctx, struct request *, const json_t *params, json_t **result,
			   struct refusal *r)
{
	struct control *c = ctx;
	const struct control_hooks *h = &c->cfg.hooks;
	struct target target = {};
	int ret = read_type_and_name(c, params, &target, r);

	if (ret < 0)
		return ret;
	*result = h->counters ? h->counters(h->ctx, target.type ? target.type->name : NULL,
					    target.name)
			      : json_array();
	return *result ? 0 : refuse(r, ENOMEM, NULL, "out of memory");
}

static int method_version(void *ctx, struct request *, const json_t *params, json_t **result,
			  struct refusal *r)
{
	struct control *c = ctx;

	if (params_read(params, NULL, 0, r) < 0)
		return -EINVAL;
	*result = json_pack("{ss* si}", "version", c->cfg.version, "protocol", 1);
	return 0;
}

static const struct {
	const char *name, *help;
	method_fn *fn;
} methods[] = {
	{ "describe", "object types with their fields, and methods", method_describe },
	{ "get", "objects as they are: all, of a type, or one", method_get },
	{ "add", "adds an object", method_add },
	{ "set", "changes fields of an object", method_set },
	{ "delete", "deletes an object", method_delete },
	{ "apply", "makes objects equal to a document, all or nothing", method_apply },
	{ "dump", "the whole configuration as a document for apply", method_dump },
	{ "counters", "counters and gauges: all, of a type, or of one object", method_counters },
	{ "watch", "reports events, and counters at an interval, from now on", method_watch },
	{ "metrics", "all counters and gauges as OpenMetrics text", method_metrics },
	{ "version", "version of the daemon and of this protocol", method_version },
};

int methods_add(struct control *c, struct server *server)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < ARRAY_SIZE(methods); i++)
		ret = server_method_add(server, methods[i].name, methods[i].help, methods[i].fn, c);
	return ret;
}
