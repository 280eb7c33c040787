// SPDX-License-Identifier: Apache-2.0
// From an apply document, or the document that the store holds, to edits.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/txn.h"

// Room for every object that the document may name or, when pruning, leave out.
static size_t count_edits(const json_t *doc, const struct model *model)
{
	const struct object *const *objs;
	const char *key;
	size_t n = 1;
	json_t *v;

	json_object_foreach((json_t *)doc, key, v)
		n += json_array_size(v) + json_object_size(v);
	for (unsigned int i = 0; model && i < model_types(model)->n; i++)
		n += model_list(model, model_types(model)->list[i], &objs);
	return n;
}

static int add_objects(struct edits *edits, const struct object_type *type, const json_t *objs,
		       struct refusal *r)
{
	json_t *obj;
	size_t i;

	if (!json_is_array(objs))
		return refuse(r, EINVAL, type->name, "%s: is not an array of objects", type->name);
	json_array_foreach((json_t *)objs, i, obj) {
		const char *name = json_string_value(json_object_get(obj, "name"));

		if (!json_is_object(obj))
			return refuse(r, EINVAL, type->name, "%s: entry %zu is not an object",
				      type->name, i + 1);
		if (!name && type->singleton && !json_object_get(obj, "name"))
			name = type->name;
		if (!name)
			return refuse(r, EINVAL, "name", "%s: entry %zu has no name", type->name,
				      i + 1);
		edits->list[edits->n++] = (struct edit){ EDIT_PUT, type, name, obj };
	}
	return 0;
}

// Deletes what the model has of a type and objs[] does not name.
static int add_deletions(struct edits *edits, const struct object_type *type, const json_t *objs,
			 const struct model *model)
{
	const struct object *const *old;
	size_t n = model_list(model, type, &old), i;
	json_t *names = json_object(), *obj;

	json_array_foreach((json_t *)objs, i, obj) {
		json_t *name = json_object_get(obj, "name");

		if (name && json_object_set_new(names, json_string_value(name), json_true()) < 0) {
			json_decref(names);
			return -ENOMEM;
		}
	}
	for (i = 0; i < n && !type->singleton; i++)
		if (!json_object_get(names, old[i]->name))
			edits->list[edits->n++] =
				(struct edit){ EDIT_DELETE, type, old[i]->name, NULL };
	json_decref(names);
	return 0;
}

int document_edits(const struct txn *txn, const struct model *model, struct edits *edits,
		   struct refusal *r)
{
	const struct object_type *type;
	const char *key;
	json_t *objs;
	int ret = 0;

	if (!json_is_object(txn->doc))
		return refuse(r, EINVAL, "document", "document: is not an object");
	edits->list = calloc(count_edits(txn->doc, model), sizeof(edits->list[0]));
	edits->n = 0;
	if (!edits->list)
		return refuse(r, ENOMEM, NULL, "out of memory");
	json_object_foreach(txn->doc, key, objs) {
		type = object_type_find(model_types(model), key, r);
		ret = type ? add_objects(edits, type, objs, r) : -ENOENT;
		if (ret == 0 && txn->prune && add_deletions(edits, type, objs, model) < 0)
			ret = refuse(r, ENOMEM, NULL, "out of memory");
		if (ret < 0)
			break;
	}
	if (ret < 0)
		free(edits->list);
	return ret;
}
