// SPDX-License-Identifier: Apache-2.0
#include "control/model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "control/model_tables.h"

struct table *table_create(size_t room)
{
	struct table *table = malloc(sizeof(*table) + room * sizeof(table->objs[0]));

	if (!table)
		return NULL;
	atomic_init(&table->refs, 1);
	table->n = 0;
	return table;
}

void table_put(struct table *table)
{
	// Release: our reads come before; acquire: the last one frees after everybody's.
	if (!table || atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < table->n; i++)
		object_put(table->objs[i]);
	free(table);
}

static struct model *model_alloc(const struct object_types *types)
{
	struct model *model = calloc(1, sizeof(*model) + types->n * sizeof(model->tables[0]));

	if (!model)
		return NULL;
	atomic_init(&model->refs, 1);
	model->types = *types;
	return model;
}

// The table of a type nobody has configured: empty, or the singleton with its defaults.
static struct table *first_table(const struct object_type *type)
{
	struct table *table = table_create(type->singleton);
	struct edit edit = { .op = EDIT_ADD, .type = type, .name = type->name };
	struct object *obj;
	struct refusal r;

	if (!table || !type->singleton)
		return table;
	if (object_create(&edit, NULL, &obj, &r) == 0) {
		table->objs[table->n++] = obj;
		return table;
	}
	table_put(table);
	return NULL;
}

struct model *model_create(const struct object_types *types)
{
	struct model *model = model_alloc(types);

	for (unsigned int i = 0; model && i < types->n; i++) {
		model->tables[i] = first_table(types->list[i]);
		if (!model->tables[i]) {
			model_put(model);
			return NULL;
		}
	}
	return model;
}

struct model *model_clone(const struct model *from)
{
	struct model *model = model_alloc(&from->types);

	for (unsigned int i = 0; model && i < from->types.n; i++) {
		model->tables[i] = from->tables[i];
		atomic_fetch_add_explicit(&model->tables[i]->refs, 1, memory_order_relaxed);
	}
	return model;
}

const struct model *model_get(const struct model *model)
{
	atomic_fetch_add_explicit(&((struct model *)model)->refs, 1, memory_order_relaxed);
	return model;
}

void model_put(const struct model *model)
{
	struct model *mine = (struct model *)model;

	// As in table_put.
	if (!mine || atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned int i = 0; i < mine->types.n; i++)
		table_put(mine->tables[i]);
	free(mine);
}

const struct object_types *model_types(const struct model *model)
{
	return &model->types;
}

unsigned int model_type_index(const struct model *model, const struct object_type *type)
{
	unsigned int i = 0;

	while (model->types.list[i] != type)
		assert(i + 1 < model->types.n), i++;
	return i;
}

static const struct table *table_of(const struct model *model, const struct object_type *type)
{
	return model->tables[model_type_index(model, type)];
}

static int compare_name(const void *name, const void *obj)
{
	return strcmp(name, (*(const struct object *const *)obj)->name);
}

const struct object *model_find(const struct model *model, const struct object_type *type,
				const char *name)
{
	const struct table *table = table_of(model, type);
	const struct object *const *found =
		bsearch(name, table->objs, table->n, sizeof(table->objs[0]), compare_name);

	return found ? *found : NULL;
}

size_t model_list(const struct model *model, const struct object_type *type,
		  const struct object *const **objs)
{
	const struct table *table = table_of(model, type);

	*objs = table->objs;
	return table->n;
}

struct model_diff model_diff(const struct model *from, const struct model *to,
			     const struct object_type *type)
{
	struct model_diff d = {};

	if (from && table_of(from, type) == table_of(to, type))
		return d;
	if (from)
		d.n_old = model_list(from, type, &d.old_objs);
	d.n_new = model_list(to, type, &d.new_objs);
	return d;
}

// Steps over the next name on either side, or both.
static void diff_step(struct model_diff *d)
{
	int order = !d->n_old ? 1 : !d->n_new ? -1 : 0;

	if (order == 0 && *d->old_objs != *d->new_objs)
		order = strcmp((*d->old_objs)->name, (*d->new_objs)->name);
	d->before = order <= 0 ? *d->old_objs++ : NULL;
	d->after = order >= 0 ? *d->new_objs++ : NULL;
	d->n_old -= order <= 0;
	d->n_new -= order >= 0;
}

bool model_diff_next(struct model_diff *d)
{
	while (d->n_old || d->n_new) {
		diff_step(d);
		if (d->before != d->after)
			return true;
	}
	return false;
}

json_t *model_patch(const struct model *from, const struct model *to)
{
	json_t *out = json_object(), *objs;
	int failed = out ? 0 : -1;

	for (unsigned int i = 0; i < to->types.n; i++) {
		struct model_diff d = model_diff(from, to, to->types.list[i]);

		if (!model_diff_next(&d))
			continue;
		objs = json_object();
		failed |= json_object_set_new(out, to->types.list[i]->name, objs);
		do {
			const char *name = (d.after ? d.after : d.before)->name;
			json_t *v = d.after ? object_encode(d.after) : json_null();

			failed |= json_object_set_new(objs, name, v);
		} while (model_diff_next(&d));
	}
	if (!failed)
		return out;
	json_decref(out);
	return NULL;
}

json_t *model_dump(const struct model *model)
{
	json_t *out = json_object(), *objs;
	int failed = out ? 0 : -1;

	for (unsigned int i = 0; i < model->types.n; i++) {
		if (!model->types.list[i]->size)
			continue;
		objs = json_array();
		failed |= json_object_set_new(out, model->types.list[i]->name, objs);
		for (size_t j = 0; j < model->tables[i]->n; j++)
			failed |= json_array_append_new(objs,
							object_encode(model->tables[i]->objs[j]));
	}
	if (!failed)
		return out;
	json_decref(out);
	return NULL;
}
