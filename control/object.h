// SPDX-License-Identifier: Apache-2.0
// Object types and objects: switches, ports, whatever a module wants configured.
//
// A module embeds `struct object` as first member of its own struct, describes the rest by a field
// table, and hands the type to control_create. Its struct then arrives, checked, in the daemon's
// hooks. An object never changes once a model holds it; models share it by reference count.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/err.h"
#include "control/field.h"

struct model;
struct object_type;

#define OBJECT_NAME_MAX 63 // bytes; letters, digits and _ . : - with a letter or digit first

struct object {
	const struct object_type *type;
	char *name;       // key, unique within the type; a singleton's is the type's name
	atomic_uint refs; // any thread
};

// One kind of object. Constant, lives as long as the process. `ctx` is control_hooks.ctx; all
// hooks run on the control thread, may be NULL, and must not block.
struct object_type {
	const char *name;   // "port"
	const char *plural; // "ports"
	const char *help;   // one sentence without full stop
	size_t size;        // of the C struct; 0: a purely live type, nothing can be configured
	const struct field *fields;
	unsigned int n_fields;
	bool singleton; // exactly one, always there, can only be set

	// Fills the GENERATED fields of an object being added that are not given; `model` is the
	// state before. Returns 0 or -errno with a sentence.
	int (*generate)(void *ctx, struct object *obj, const struct model *model, struct err *err);

	// Looks at one added or changed object within the whole new state: what single fields
	// cannot tell. References and uniqueness are already known to be good.
	int (*check)(void *ctx, const struct object *obj, const struct model *model,
		     struct err *err);

	// Adds the READ_ONLY fields of one object to `out` when it is shown.
	void (*status)(void *ctx, const struct object *obj, json_t *out);

	// A purely live type: the objects as JSON array, or those called `name` (NULL: all). The
	// caller owns it; NULL: memory is short. Bounded by the hook.
	json_t *(*list)(void *ctx, const char *name);
};

#define OBJECT_FIELDS(table) .fields = (table), .n_fields = ARRAY_SIZE(table)

// The types of a daemon, in the order given; a REF points to a type listed before its own.
struct object_types {
	const struct object_type *const *list;
	unsigned int n;
};

// The type of that name (its plural will do), or NULL with a sentence and a hint.
const struct object_type *object_type_find(const struct object_types *types, const char *name,
					   struct refusal *r);

enum edit_op {
	EDIT_ADD,    // must not exist
	EDIT_SET,    // must exist; fields that are not named stay
	EDIT_PUT,    // added, or made equal to `fields`: those not named go to their defaults
		     // (GENERATED ones stay)
	EDIT_DELETE, // must exist
};

// One change. All pointers belong to the caller.
struct edit {
	enum edit_op op;
	const struct object_type *type;
	const char *name;
	const json_t *fields; // JSON object, may be NULL; not for EDIT_DELETE
};

// Makes the object that an edit (not EDIT_DELETE) leads to, `old` (NULL: none) being there now.
// READ_ONLY fields and names unknown are errors that say so. Returns 0 and *out with one
// reference, or -errno with a sentence. Any thread.
int object_create(const struct edit *edit, const struct object *old, struct object **out,
		  struct refusal *r);

const struct object *object_get(const struct object *obj); // takes a reference; any thread
void object_put(const struct object *obj); // gives it back, the last one frees; NULL is fine

// All configured fields that are given, with "name" first. NULL: memory is short.
json_t *object_encode(const struct object *obj);

bool object_equal(const struct object *a, const struct object *b); // same fields, same values

// The member that a field of this object lies in.
static inline const void *object_at(const struct object *obj, const struct field *f)
{
	return (const char *)obj + f->offset;
}

// The type and its fields as JSON: what `describe` answers. NULL: memory is short.
json_t *object_type_describe(const struct object_type *type);
