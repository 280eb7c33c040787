// SPDX-License-Identifier: Apache-2.0
// The desired state: every configured object, immutable. A change makes a new model that shares
// all tables and objects that it does not touch.
//
// control.c makes models; the daemon's hooks compare two of them with the diff below. Reading is
// safe on any thread while a reference is held.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "control/object.h"

struct model;

// A model without objects, singletons with their defaults apart. NULL: memory is short.
struct model *model_create(const struct object_types *types);

const struct model *model_get(const struct model *model);
void model_put(const struct model *model); // NULL is fine

const struct object_types *model_types(const struct model *model);

// The object of that name, or NULL. Valid while the model is.
const struct object *model_find(const struct model *model, const struct object_type *type,
				const char *name);

// All objects of a type, sorted by name: returns their number, *objs[n] belongs to the model.
size_t model_list(const struct model *model, const struct object_type *type,
		  const struct object *const **objs);

// Changes that are made together. Order does not matter; two edits of one object are an error.
struct edits {
	struct edit *list; // sorted in place by model_edit
	size_t n;
};

// Applies edits to `from`: decodes, generates, and checks references, uniqueness and the types'
// check hooks. Returns the number of objects that differ (0: *to is another reference to `from`)
// or -errno with a sentence. `ctx` goes to the hooks. control.
int model_edit(const struct model *from, struct edits *edits, void *ctx, const struct model **to,
	       struct refusal *r);

// Walks the differences of one type, by name: after model_diff_next returned true, exactly
// (before, after) is (NULL, x): added; (x, NULL): removed; (x, y): changed. No clean-up.
//	struct model_diff d = model_diff(from, to, &port_type);
//	while (model_diff_next(&d)) …
struct model_diff {
	const struct object *before, *after;
	const struct object *const *old_objs, *const *new_objs; // what is left to compare
	size_t n_old, n_new;
};
struct model_diff model_diff(const struct model *from, const struct model *to,
			     const struct object_type *type);
bool model_diff_next(struct model_diff *d);

// The difference as {"port": {"web0": {…}, "old": null}}: what the store keeps. From an empty
// model (NULL) it is the whole state. NULL: memory is short. Any thread.
json_t *model_patch(const struct model *from, const struct model *to);

// The whole state as the document that `apply` takes: {"switch": [{"name": …}], "port": […]}.
json_t *model_dump(const struct model *model);
