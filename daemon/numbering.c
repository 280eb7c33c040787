// SPDX-License-Identifier: Apache-2.0
#include "daemon/numbering.h"

#include <errno.h>
#include <stdlib.h>

#include "base/types.h"

static int compare_name(const void *key, const void *element)
{
	return strcmp(key, ((const struct numbered *)element)->obj->name);
}

int numbering_find(const struct numbering *n, const char *name)
{
	const struct numbered *found =
		n->n ? bsearch(name, n->list, n->n, sizeof(*n->list), compare_name) : NULL;

	return found ? found->number : -1;
}

const char *numbering_name(const struct numbering *n, uint16_t number)
{
	for (uint32_t i = 0; i < n->n; i++)
		if (n->list[i].number == number)
			return n->list[i].obj->name;
	return NULL;
}

void numbering_free(struct numbering *n)
{
	for (uint32_t i = 0; i < n->n; i++)
		object_put(n->list[i].obj);
	free(n->list);
	*n = (struct numbering){ 0 };
}

// Numbers for the objects that had none, from those that nobody uses now or used before.
static int number_new(struct numbering *out, const struct numbering *old,
		      const struct numbering_space *space, const bool *is_new)
{
	uint32_t max = space->max;
	bool *used = calloc(max, sizeof(*used));
	uint32_t next = 0;
	int ret = used ? 0 : -ENOMEM;

	if (used && space->resting)
		memcpy(used, space->resting, max * sizeof(*used));
	for (uint32_t i = 0; used && i < old->n; i++)
		used[old->list[i].number] = true;
	for (uint32_t i = 0; used && i < out->n; i++) {
		if (!is_new[i])
			continue;
		while (next < max && used[next])
			next++;
		if (next == max) {
			ret = -ENOSPC;
			break;
		}
		out->list[i].number = (uint16_t)next++;
	}
	free(used);
	return ret;
}

int numbering_make(const struct model *model, const struct numbering_space *space,
		   const struct numbering *old, struct numbering *out, struct err *err)
{
	const struct object *const *objs;
	size_t n = model_list(model, space->type, &objs);
	bool *is_new = calloc(n + 1, sizeof(*is_new));
	int ret = -ENOMEM;

	*out = (struct numbering){ .list = calloc(n + 1, sizeof(*out->list)) };
	if (is_new && out->list) {
		for (size_t i = 0; i < n; i++) {
			int number = numbering_find(old, objs[i]->name);

			is_new[i] = number < 0;
			out->list[i] = (struct numbered){ object_get(objs[i]), (uint16_t)number };
		}
		out->n = (uint32_t)n;
		ret = number_new(out, old, space, is_new);
	}
	free(is_new);
	if (ret) {
		numbering_free(out);
		err_set(err, -ret, ret == -ENOSPC ? "no more than %u %s" : "no memory for %u %s",
			space->max, space->type->plural);
	}
	return ret;
}
