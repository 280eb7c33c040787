// SPDX-License-Identifier: Apache-2.0
// What a model is made of, for model.c and edit.c alone.
#pragma once

#include <stdatomic.h>

#include "control/model.h"

// All objects of one type, sorted by name. Shared by models; constant once a model holds it.
struct table {
	atomic_uint refs;
	size_t n;
	const struct object *objs[]; // a reference each
};

struct model {
	atomic_uint refs;
	struct object_types types;
	struct table *tables[]; // by index in types.list, a reference each
};

// An empty table with one reference and room for `room` objects, or NULL.
struct table *table_create(size_t room);
void table_put(struct table *table); // NULL is fine

// A model that shares all tables of `model`, with one reference, or NULL.
struct model *model_clone(const struct model *model);

// The place of a type in types.list.
unsigned int model_type_index(const struct model *model, const struct object_type *type);
