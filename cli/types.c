// SPDX-License-Identifier: Apache-2.0
// What describe says of an object type, and what follows from it for the command line.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"

const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

json_t *type_describe(struct cli *cli, const char *type)
{
	return rpc_call(cli, "describe", json_pack("{ss}", "type", type));
}

bool type_is_singleton(const json_t *type)
{
	return json_is_true(json_object_get(type, "singleton"));
}

json_t *type_fields(const json_t *type)
{
	return json_object_get(type, "fields");
}

bool field_has_flag(const json_t *field, const char *flag)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(field, "flags"), i, v)
		if (strcmp(json_string_value(v), flag) == 0)
			return true;
	return false;
}

static const json_t *find_field(const json_t *type, const char *name)
{
	json_t *field;
	size_t i;

	json_array_foreach(type_fields(type), i, field)
		if (strcmp(text_of(field, "name"), name) == 0)
			return field;
	return NULL;
}

static bool is_one_of(const char *text, const char *a, const char *b, const char *c)
{
	return !strcasecmp(text, a) || !strcasecmp(text, b) || !strcasecmp(text, c);
}

// What does not fit the type goes as text: the daemon's answer says what is expected.
static json_t *parse_value(const char *type, const char *text)
{
	char *end;
	long long number;

	if (!*text)
		return json_null();
	if (strcmp(type, "bool") == 0 && is_one_of(text, "true", "yes", "on"))
		return json_true();
	if (strcmp(type, "bool") == 0 && is_one_of(text, "false", "no", "off"))
		return json_false();
	if (strcmp(type, "unsigned") == 0) {
		errno = 0;
		number = strtoll(text, &end, 0);
		if (!*end && !errno)
			return json_integer(number);
	}
	return json_string(text);
}

json_t *type_parse_fields(const json_t *type, char **words, int n)
{
	json_t *out = json_object(), *value;

	for (int i = 0; i < n; i++) {
		char *equals = strchr(words[i], '=');
		const char *text = equals ? equals + 1 : "";

		if (!equals)
			usage_error("'%s' is not FIELD=VALUE; weft describe %s lists the fields",
				    words[i], text_of(type, "name"));
		*equals = '\0';
		value = parse_value(text_of(find_field(type, words[i]), "type"), text);
		if (!value)
			usage_error("%s: the value is not UTF-8 text", words[i]);
		json_object_set_new(out, words[i], value);
	}
	return out;
}

// "1-4094", "internal|external", "name of a switch": what a value may be.
static char *allowed(const json_t *field)
{
	const json_t *words = json_object_get(field, "words"), *min, *max, *v;
	char *text = NULL;
	size_t size, i;
	FILE *out = open_memstream(&text, &size);

	min = json_object_get(field, "min");
	max = json_object_get(field, "max");
	json_array_foreach((json_t *)words, i, v)
		fprintf(out, "%s%s", i ? "|" : "", json_string_value(v));
	if (*text_of(field, "references"))
		fprintf(out, "name of a %s", text_of(field, "references"));
	else if (min)
		fprintf(out, "%" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT, json_integer_value(min),
			json_integer_value(max));
	else if (!words)
		fputs(text_of(field, "type"), out);
	if (*text_of(field, "unit"))
		fprintf(out, " %s", text_of(field, "unit"));
	fclose(out);
	return text;
}

// The help text, and the flags that matter to who sets the field.
static char *remarks(const json_t *field)
{
	const char *separator = " (";
	char *text = NULL;
	size_t size, i;
	FILE *out = open_memstream(&text, &size);
	json_t *v;

	fputs(text_of(field, "help"), out);
	json_array_foreach(json_object_get(field, "flags"), i, v) {
		if (strcmp(json_string_value(v), "detail") == 0)
			continue;
		fprintf(out, "%s%s", separator, json_string_value(v));
		separator = ", ";
	}
	fputs(*separator == ',' ? ")" : "", out);
	fclose(out);
	return text;
}

void type_print(const json_t *type)
{
	struct table table;
	json_t *field;
	size_t i;

	printf("%s: %s\n\n", text_of(type, "name"), text_of(type, "help"));
	table_init(&table);
	table_cell(&table, true, "FIELD");
	table_cell(&table, false, "VALUES");
	table_cell(&table, false, "DEFAULT");
	table_cell(&table, false, "MEANING");
	json_array_foreach(type_fields(type), i, field) {
		char *values = allowed(field), *meaning = remarks(field);

		table_cell(&table, true, text_of(field, "name"));
		table_cell(&table, false, values);
		table_cell(&table, false, text_of(field, "default"));
		table_cell(&table, false, meaning);
		free(values);
		free(meaning);
	}
	table_print(&table, stdout);
}
