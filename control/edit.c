// SPDX-License-Identifier: Apache-2.0
// model_edit: from one model to the next. First the changed tables are merged with their sorted
// edits, then what spans objects is checked: references, uniqueness, the types' own rules.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/model.h"
#include "control/model_tables.h"

#define MAX_SUGGESTIONS 1024u // names looked through for a "did you mean"

// What all steps of one transaction share.
struct change {
	const struct model *from;
	struct model *to;
	void *ctx; // for the types' hooks
	struct refusal *r;
	unsigned int n_changed;
};

static int compare_edits(const void *a, const void *b, void *model)
{
	const struct edit *left = a, *right = b;
	unsigned int i, j;

	if (left->type == right->type)
		return strcmp(left->name, right->name);
	i = model_type_index(model, left->type);
	j = model_type_index(model, right->type);
	return i < j ? -1 : 1;
}

static int check_duplicates(const struct edits *edits, struct refusal *r)
{
	for (size_t i = 1; i < edits->n; i++) {
		const struct edit *a = &edits->list[i - 1], *b = &edits->list[i];

		if (a->type == b->type && strcmp(a->name, b->name) == 0)
			return refuse(r, EEXIST, "name", "%s '%.64s': is named twice",
				      a->type->name, a->name);
	}
	return 0;
}

// "did you mean" from the names that a type has.
static int suggest_name(const struct change *c, int ret, const struct object_type *type,
			const char *given)
{
	const char *words[MAX_SUGGESTIONS];
	const struct object *const *objs;
	size_t n = model_list(c->to, type, &objs);

	n = n < MAX_SUGGESTIONS ? n : MAX_SUGGESTIONS;
	for (size_t i = 0; i < n; i++)
		words[i] = objs[i]->name;
	return refuse_suggest(c->r, ret, given, words, (unsigned int)n);
}

// Whether the edit may be done at all, with `old` (NULL: none) being there.
static int check_edit(const struct change *c, const struct edit *e, const struct object *old)
{
	const char *type = e->type->name;

	if (!e->type->size)
		return refuse(c->r, EPERM, "type", "%s: is live, there is nothing to configure",
			      type);
	if (e->op == EDIT_ADD && old) {
		refuse(c->r, EEXIST, "name", "%s '%s': exists already", type, e->name);
		return refuse_hint(c->r, -EEXIST, "use set to change it");
	}
	if ((e->op == EDIT_SET || e->op == EDIT_DELETE) && !old) {
		refuse(c->r, ENOENT, "name", "%s '%.64s': does not exist", type, e->name);
		return suggest_name(c, -ENOENT, e->type, e->name);
	}
	if (e->op == EDIT_DELETE && e->type->singleton)
		return refuse(c->r, EPERM, "name", "%s: cannot be deleted, only set", type);
	return 0;
}

static bool lacks_generated(const struct object *obj)
{
	for (unsigned int i = 0; i < obj->type->n_fields; i++) {
		const struct field *f = &obj->type->fields[i];

		if (f->flags & FIELD_GENERATED && !field_given(f, object_at(obj, f)))
			return true;
	}
	return false;
}

// Makes the object that an edit leads to, generated fields and all.
static int make_object(struct change *c, const struct edit *e, const struct object *old,
		       struct object **out)
{
	int ret = object_create(e, old, out, c->r);

	if (ret < 0 || !e->type->generate || !lacks_generated(*out))
		return ret;
	ret = e->type->generate(c->ctx, *out, c->from, &c->r->err);
	if (ret == 0)
		return 0;
	object_put(*out);
	return err_prefix(&c->r->err, ret, "%s '%s'", e->type->name, e->name);
}

// What the edit makes of `old`: *out with a reference, NULL when deleted.
static int edit_object(struct change *c, const struct edit *e, const struct object *old,
		       const struct object **out)
{
	struct object *obj = NULL;
	int ret = check_edit(c, e, old);

	if (ret == 0 && e->op != EDIT_DELETE)
		ret = make_object(c, e, old, &obj);
	if (ret < 0)
		return ret;
	if (old && obj && object_equal(old, obj)) {
		object_put(obj);
		*out = object_get(old);
		return 0;
	}
	c->n_changed++;
	*out = obj;
	return 0;
}

// Merges one type's table with the edits list[n] of that type, both sorted, into *table.
static int merge(struct change *c, struct table **table, const struct edit *list, size_t n)
{
	const struct table *old = *table;
	struct table *new = table_create(old->n + n);
	size_t i = 0, j = 0;

	if (!new)
		return refuse(c->r, ENOMEM, NULL, "out of memory");
	while (i < old->n || j < n) {
		const struct object *was, *is = NULL;
		int order = i == old->n ? 1 : j == n ? -1 : 0, ret;

		if (order == 0)
			order = strcmp(old->objs[i]->name, list[j].name);
		was = order <= 0 ? old->objs[i++] : NULL;
		if (order < 0) {
			new->objs[new->n++] = object_get(was);
			continue;
		}
		ret = edit_object(c, &list[j++], was, &is);
		if (ret < 0) {
			table_put(new);
			return ret;
		}
		if (is)
			new->objs[new->n++] = is;
	}
	table_put(*table);
	*table = new;
	return 0;
}

static int merge_all(struct change *c, const struct edits *edits)
{
	size_t first = 0, end;
	int ret = 0;

	for (; ret == 0 && first < edits->n; first = end) {
		const struct object_type *type = edits->list[first].type;
		unsigned int index = model_type_index(c->to, type), before = c->n_changed;

		for (end = first; end < edits->n && edits->list[end].type == type;)
			end++;
		ret = merge(c, &c->to->tables[index], &edits->list[first], end - first);
		if (ret < 0 || c->n_changed != before)
			continue;
		// Nothing changed: share the old table, so that the diff sees it at a glance.
		table_put(c->to->tables[index]);
		c->to->tables[index] = c->from->tables[index];
		atomic_fetch_add_explicit(&c->to->tables[index]->refs, 1, memory_order_relaxed);
	}
	return ret;
}

// control_create has made sure that there is one.
static const struct object_type *target_type(const struct change *c, const struct field *f)
{
	return object_type_find(&c->to->types, f->ref, NULL);
}

// What a reference names, in the new state; NULL: nothing.
static const struct object *follow(const struct change *c, const struct object *obj,
				   const struct field *f)
{
	return model_find(c->to, target_type(c, f), *(char *const *)object_at(obj, f));
}

static bool is_reference(const struct field *f, const struct object *obj)
{
	return f->type == FIELD_REF && !(f->flags & FIELD_READ_ONLY) &&
	       field_given(f, object_at(obj, f));
}

static int check_references(const struct change *c, const struct object *obj)
{
	for (unsigned int i = 0; i < obj->type->n_fields; i++) {
		const struct field *f = &obj->type->fields[i];
		const char *name;

		if (!is_reference(f, obj) || follow(c, obj, f))
			continue;
		name = *(char *const *)object_at(obj, f);
		refuse(c->r, ENOENT, f->name, "%s '%s': %s: there is no %s '%.64s'",
		       obj->type->name, obj->name, f->name, f->ref, name);
		return suggest_name(c, -ENOENT, target_type(c, f), name);
	}
	return 0;
}

// Something was removed: does anything of `user` still refer to one of `type`?
static int check_users(const struct change *c, const struct object_type *user,
		       const struct object_type *type)
{
	const struct object *const *objs;
	size_t n = model_list(c->to, user, &objs);

	for (unsigned int i = 0; i < user->n_fields; i++) {
		const struct field *f = &user->fields[i];

		if (f->type != FIELD_REF || strcmp(f->ref, type->name) != 0)
			continue;
		for (size_t j = 0; j < n; j++) {
			if (!is_reference(f, objs[j]) || follow(c, objs[j], f))
				continue;
			refuse(c->r, EBUSY, f->name, "%s '%s' is still used by %s '%s' (%s)",
			       type->name, *(char *const *)object_at(objs[j], f), user->name,
			       objs[j]->name, f->name);
			return refuse_hint(c->r, -EBUSY, "delete or change that %s first",
					   user->name);
		}
	}
	return 0;
}

// One object's value of one field, for sorting.
struct value {
	const struct field *field;
	const struct object *obj;
};

static int compare_values(const void *a, const void *b)
{
	const struct value *left = a, *right = b;

	return field_compare(left->field, object_at(left->obj, left->field),
			     object_at(right->obj, left->field));
}

static int refuse_duplicate(const struct change *c, const struct value *a, const struct object *b)
{
	json_t *v = field_encode(a->field, object_at(b, a->field));
	char *text = v ? json_dumps(v, JSON_ENCODE_ANY) : NULL;

	refuse(c->r, EEXIST, a->field->name, "%s '%s': %s: %.80s is that of %s '%s' already",
	       b->type->name, a->obj->name, a->field->name, text ? text : "its value",
	       b->type->name, b->name);
	free(text);
	json_decref(v);
	return -EEXIST;
}

// Compares the values that are new in this change (fresh[n]) with each other and with all others.
static int find_duplicate(const struct change *c, struct value *fresh, size_t n)
{
	const struct object *const *objs;
	size_t n_objs = model_list(c->to, fresh[0].obj->type, &objs);

	qsort(fresh, n, sizeof(fresh[0]), compare_values);
	for (size_t i = 1; i < n; i++)
		if (compare_values(&fresh[i - 1], &fresh[i]) == 0)
			return refuse_duplicate(c, &fresh[i - 1], fresh[i].obj);
	for (size_t i = 0; i < n_objs; i++) {
		struct value v = { fresh[0].field, objs[i] }, *found;

		found = bsearch(&v, fresh, n, sizeof(fresh[0]), compare_values);
		if (found && found->obj != objs[i])
			return refuse_duplicate(c, found, objs[i]);
	}
	return 0;
}

static int check_unique(const struct change *c, const struct object_type *type,
			const struct field *f)
{
	struct model_diff d = model_diff(c->from, c->to, type);
	struct value *fresh = NULL;
	size_t n = 0;
	int ret = 0;

	while (model_diff_next(&d)) {
		const void *was = d.before ? object_at(d.before, f) : NULL;
		const void *is = d.after ? object_at(d.after, f) : NULL;

		if (!is || !field_given(f, is) || (was && field_compare(f, was, is) == 0))
			continue;
		if (!fresh)
			fresh = malloc((d.n_new + 1) * sizeof(*fresh));
		if (!fresh)
			return refuse(c->r, ENOMEM, NULL, "out of memory");
		fresh[n++] = (struct value){ f, d.after };
	}
	if (n)
		ret = find_duplicate(c, fresh, n);
	free(fresh);
	return ret;
}

// Everything about one changed type that single objects do not tell.
static int check_type(const struct change *c, const struct object_type *type)
{
	struct model_diff d = model_diff(c->from, c->to, type);
	bool removed = false;
	int ret = 0;

	while (ret == 0 && model_diff_next(&d)) {
		removed |= !d.after;
		if (d.after)
			ret = check_references(c, d.after);
	}
	for (unsigned int i = 0; removed && ret == 0 && i < c->to->types.n; i++)
		ret = check_users(c, c->to->types.list[i], type);
	for (unsigned int i = 0; ret == 0 && i < type->n_fields; i++)
		if (type->fields[i].flags & FIELD_UNIQUE)
			ret = check_unique(c, type, &type->fields[i]);
	return ret;
}

static int check_rules(const struct change *c, const struct object_type *type)
{
	struct model_diff d = model_diff(c->from, c->to, type);

	while (type->check && model_diff_next(&d)) {
		int ret = d.after ? type->check(c->ctx, d.after, c->to, &c->r->err) : 0;

		if (ret < 0)
			return err_prefix(&c->r->err, ret, "%s '%s'", type->name, d.after->name);
	}
	return 0;
}

static int check_all(const struct change *c)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < c->to->types.n; i++)
		ret = check_type(c, c->to->types.list[i]);
	for (unsigned int i = 0; ret == 0 && i < c->to->types.n; i++)
		ret = check_rules(c, c->to->types.list[i]);
	return ret;
}

int model_edit(const struct model *from, struct edits *edits, void *ctx, const struct model **to,
	       struct refusal *r)
{
	struct change c = { .from = from, .ctx = ctx, .r = r };
	int ret;

	*r = (struct refusal){};
	qsort_r(edits->list, edits->n, sizeof(edits->list[0]), compare_edits, (void *)from);
	ret = check_duplicates(edits, r);
	if (ret < 0)
		return ret;
	c.to = model_clone(from);
	if (!c.to)
		return refuse(r, ENOMEM, NULL, "out of memory");
	ret = merge_all(&c, edits);
	if (ret == 0 && c.n_changed)
		ret = check_all(&c);
	if (ret < 0) {
		model_put(c.to);
		return ret;
	}
	*to = c.n_changed ? c.to : model_get(from);
	if (!c.n_changed)
		model_put(c.to);
	return (int)c.n_changed;
}
