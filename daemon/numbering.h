// SPDX-License-Identifier: Apache-2.0
// Small numbers for named objects: a switch's id, a port's index, a rule's id. A number stays as
// long as its object lives, and one that falls free is not given out again in the same step, so
// that what still refers to the old owner never meets the new one. control.
#pragma once

#include "control/model.h"

struct numbering {
	uint32_t n;
	struct numbered {
		const struct object *obj; // holds a reference
		uint16_t number;
	} *list; // sorted by name
};

// What is numbered: the objects of a type, by 0 … max-1.
struct numbering_space {
	const struct object_type *type;
	uint32_t max;
	const bool *resting; // [max]: numbers that something still refers to; NULL: none
};

// Numbers for all objects of the space in `model`, keeping those of `old`. Returns 0, or -ENOMEM
// or -ENOSPC with a sentence.
int numbering_make(const struct model *model, const struct numbering_space *space,
		   const struct numbering *old, struct numbering *out, struct err *err);
void numbering_free(struct numbering *n);

// The number of that name, or -1.
int numbering_find(const struct numbering *n, const char *name);

// The name with that number, or NULL.
const char *numbering_name(const struct numbering *n, uint16_t number);
