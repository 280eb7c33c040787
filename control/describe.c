// SPDX-License-Identifier: Apache-2.0
// Field tables as JSON: what `describe` answers, and so all that the CLI knows of a type.
#include "control/object.h"

// By bit of enum field_flag.
static const char *const flag_names[] = { "required", "read-only", "generated",
					  "immutable", "unique", "detail" };

static json_t *describe_flags(uint32_t flags)
{
	json_t *out = json_array();

	for (unsigned int i = 0; i < ARRAY_SIZE(flag_names); i++)
		if (flags >> i & 1)
			json_array_append_new(out, json_string(flag_names[i]));
	return out;
}

static void set_text(json_t *out, const char *key, const char *text)
{
	if (text)
		json_object_set_new(out, key, json_string(text));
}

static void describe_limits(json_t *out, const struct field *f)
{
	uint64_t max = f->max;

	if (f->type == FIELD_STRING && max)
		json_object_set_new(out, "max", json_integer((json_int_t)max));
	if (f->type != FIELD_UINT || f->flags & FIELD_READ_ONLY)
		return;
	if (!max)
		max = f->size == 8 ? INT64_MAX : (1ULL << f->size * 8) - 1;
	json_object_set_new(out, "min", json_integer((json_int_t)f->min));
	json_object_set_new(out, "max", json_integer((json_int_t)max));
}

static json_t *describe_field(const struct field *f)
{
	json_t *out = json_object(), *words;

	set_text(out, "name", f->name);
	set_text(out, "type", field_type_names[f->type]);
	json_object_set_new(out, "flags", describe_flags(f->flags));
	describe_limits(out, f);
	set_text(out, "default", f->def);
	set_text(out, "unit", f->unit);
	set_text(out, "references", f->ref);
	if (f->words) {
		words = json_array();
		for (const char *const *w = f->words; *w; w++)
			json_array_append_new(words, json_string(*w));
		json_object_set_new(out, "words", words);
	}
	set_text(out, "help", f->help);
	return out;
}

// The key is in no table: every object has it.
static json_t *describe_name(void)
{
	return json_pack("{ss ss s[sss] si ss}", "name", "name", "type", "string", "flags", "key",
			 "required", "immutable", "max", OBJECT_NAME_MAX, "help",
			 "what it is called: letters, digits and _ . : -");
}

json_t *object_type_describe(const struct object_type *type)
{
	json_t *fields = json_array();

	if (type->size && !type->singleton)
		json_array_append_new(fields, describe_name());
	for (unsigned int i = 0; i < type->n_fields; i++)
		json_array_append_new(fields, describe_field(&type->fields[i]));
	return json_pack("{ss ss ss sb sb so}", "name", type->name, "plural", type->plural, "help",
			 type->help, "configurable", type->size != 0, "singleton", type->singleton,
			 "fields", fields);
}
