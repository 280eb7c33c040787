// SPDX-License-Identifier: Apache-2.0
#include "control/object.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 128u // fields or types looked through for a "did you mean"

static bool is_config(const struct field *f)
{
	return !(f->flags & FIELD_READ_ONLY);
}

static void *member(struct object *obj, const struct field *f)
{
	return (char *)obj + f->offset;
}

const struct object_type *object_type_find(const struct object_types *types, const char *name,
					   struct refusal *r)
{
	const char *words[MAX_WORDS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < types->n; i++) {
		const struct object_type *type = types->list[i];

		if (strcmp(type->name, name) == 0 || strcmp(type->plural, name) == 0)
			return type;
		if (n < MAX_WORDS)
			words[n++] = type->name;
	}
	refuse(r, ENOENT, "type", "there is no object type '%.64s'", name);
	refuse_suggest(r, 0, name, words, n);
	return NULL;
}

static bool is_name(const char *name)
{
	size_t len = strlen(name);

	if (len < 1 || len > OBJECT_NAME_MAX || !isalnum((unsigned char)*name))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("_.:-", *name))
			return false;
	return true;
}

static int check_name(const struct object_type *type, const char *name, struct refusal *r)
{
	if (type->singleton && strcmp(name, type->name) != 0)
		return refuse(r, EINVAL, "name", "there is only one '%s' and it has no other name",
			      type->name);
	if (is_name(name))
		return 0;
	return refuse(r, EINVAL, "name",
		      "name: '%.80s' is not 1 to %d letters, digits and _ . : - that begin with a "
		      "letter or digit",
		      name, OBJECT_NAME_MAX);
}

// An object with only its head filled.
static struct object *object_alloc(const struct object_type *type, const char *name)
{
	struct object *obj = calloc(1, type->size);

	if (!obj)
		return NULL;
	obj->type = type;
	obj->name = strdup(name);
	atomic_init(&obj->refs, 1);
	if (!obj->name) {
		free(obj);
		return NULL;
	}
	return obj;
}

// What the fields are before the edit's own are laid over.
static int start_values(struct object *obj, enum edit_op op, const struct object *old)
{
	for (unsigned int i = 0; i < obj->type->n_fields; i++) {
		const struct field *f = &obj->type->fields[i];
		int ret;

		if (!is_config(f))
			continue;
		if (old && (op == EDIT_SET || f->flags & FIELD_GENERATED))
			ret = field_copy(f, member(obj, f), object_at(old, f));
		else
			ret = field_default(f, member(obj, f));
		if (ret < 0)
			return ret;
	}
	return 0;
}

static const struct field *find_field(const struct object_type *type, const char *name,
				      struct refusal *r)
{
	const char *words[MAX_WORDS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < type->n_fields; i++) {
		const struct field *f = &type->fields[i];

		if (strcmp(f->name, name) == 0) {
			if (is_config(f))
				return f;
			refuse(r, EPERM, name, "%s: is read-only", name);
			return NULL;
		}
		if (is_config(f) && n < MAX_WORDS)
			words[n++] = f->name;
	}
	refuse(r, EINVAL, name, "%.64s: there is no such field", name);
	refuse_suggest(r, 0, name, words, n);
	return NULL;
}

static int decode_fields(struct object *obj, const json_t *fields, struct refusal *r)
{
	const struct field *f;
	const char *key;
	json_t *v;
	int ret;

	json_object_foreach((json_t *)fields, key, v) {
		if (strcmp(key, "name") == 0)
			continue;
		f = find_field(obj->type, key, r);
		if (!f)
			return -EINVAL;
		ret = field_decode(f, v, member(obj, f), r);
		if (ret < 0)
			return ret;
	}
	return 0;
}

// What only the finished object tells: required fields, fields that must not change.
static int check_fields(const struct object *obj, const struct object *old, struct refusal *r)
{
	for (unsigned int i = 0; i < obj->type->n_fields; i++) {
		const struct field *f = &obj->type->fields[i];

		if (!is_config(f))
			continue;
		if (f->flags & FIELD_REQUIRED && !field_given(f, object_at(obj, f)))
			return refuse(r, EINVAL, f->name, "%s: must be given: %s", f->name,
				      f->help);
		if (old && f->flags & FIELD_IMMUTABLE &&
		    field_compare(f, object_at(obj, f), object_at(old, f)) != 0)
			return refuse(r, EPERM, f->name,
				      "%s: cannot change; delete the %s and add it anew", f->name,
				      obj->type->name);
	}
	return 0;
}

int object_create(const struct edit *edit, const struct object *old, struct object **out,
		  struct refusal *r)
{
	struct object *obj;
	int ret = check_name(edit->type, edit->name, r);

	if (ret < 0)
		return err_prefix(&r->err, ret, "%s", edit->type->name);
	obj = object_alloc(edit->type, edit->name);
	if (!obj || start_values(obj, edit->op, old) < 0) {
		ret = refuse(r, ENOMEM, NULL, "out of memory");
		goto err_put;
	}
	ret = decode_fields(obj, edit->fields, r);
	if (ret == 0)
		ret = check_fields(obj, old, r);
	if (ret < 0)
		goto err_put;
	*out = obj;
	return 0;

err_put:
	object_put(obj);
	return err_prefix(&r->err, ret, "%s '%s'", edit->type->name, edit->name);
}

const struct object *object_get(const struct object *obj)
{
	atomic_fetch_add_explicit(&((struct object *)obj)->refs, 1, memory_order_relaxed);
	return obj;
}

void object_put(const struct object *obj)
{
	struct object *mine = (struct object *)obj;

	// Release: what was done with the object comes before; acquire: the last one frees after.
	if (!mine || atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned int i = 0; i < mine->type->n_fields; i++)
		if (is_config(&mine->type->fields[i]))
			field_free(&mine->type->fields[i], member(mine, &mine->type->fields[i]));
	free(mine->name);
	free(mine);
}

json_t *object_encode(const struct object *obj)
{
	json_t *out = json_object();
	int failed = json_object_set_new(out, "name", json_string(obj->name));

	for (unsigned int i = 0; i < obj->type->n_fields; i++) {
		const struct field *f = &obj->type->fields[i];

		if (is_config(f) && field_given(f, object_at(obj, f)))
			failed |= json_object_set_new(out, f->name,
						      field_encode(f, object_at(obj, f)));
	}
	if (!failed)
		return out;
	json_decref(out);
	return NULL;
}

bool object_equal(const struct object *a, const struct object *b)
{
	if (a == b)
		return true;
	for (unsigned int i = 0; i < a->type->n_fields; i++) {
		const struct field *f = &a->type->fields[i];

		if (is_config(f) && field_compare(f, object_at(a, f), object_at(b, f)) != 0)
			return false;
	}
	return true;
}
