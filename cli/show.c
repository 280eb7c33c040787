// SPDX-License-Identifier: Apache-2.0
// Objects, their fields and their counters for people to read.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static void print_json(const json_t *v)
{
	json_dumpf(v, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

static void upper_cell(struct table *table, bool new_row, const char *name)
{
	char *text = strdup(name);

	for (char *p = text; p && *p; p++)
		*p = (char)toupper((unsigned char)*p);
	table_cell(table, new_row, text ? text : "");
	free(text);
}

static void value_cell(struct table *table, bool new_row, const json_t *value)
{
	char *text = cell_text(value);

	table_cell(table, new_row, text ? text : "");
	free(text);
}

// The fields of a purely live type do not list its key; a singleton has none.
static bool lists_name(const json_t *type)
{
	json_t *field;
	size_t i;

	if (type_is_singleton(type))
		return true;

	json_array_foreach(type_fields(type), i, field)
		if (strcmp(text_of(field, "name"), "name") == 0)
			return true;
	return false;
}

// Many objects: a row each, a column for every field that is not a detail.
static void print_objects(const json_t *type, const json_t *objects)
{
	bool named = lists_name(type), first = named;
	struct table table;
	json_t *field, *obj;
	size_t i, j;

	table_init(&table);
	if (!named)
		upper_cell(&table, true, "name");
	json_array_foreach(type_fields(type), i, field)
		if (!field_has_flag(field, "detail")) {
			upper_cell(&table, first, text_of(field, "name"));
			first = false;
		}
	json_array_foreach((json_t *)objects, j, obj) {
		first = named;
		if (!named)
			value_cell(&table, true, json_object_get(obj, "name"));
		json_array_foreach(type_fields(type), i, field)
			if (!field_has_flag(field, "detail")) {
				value_cell(&table, first,
					   json_object_get(obj, text_of(field, "name")));
				first = false;
			}
	}
	table_print(&table, stdout);
}

static const char *unit_of(const json_t *type, const char *name)
{
	json_t *field;
	size_t i;

	json_array_foreach(type_fields(type), i, field)
		if (strcmp(text_of(field, "name"), name) == 0)
			return text_of(field, "unit");
	return "";
}

// One object: a line for every field.
static void print_object(const json_t *type, const json_t *obj)
{
	struct table table;
	const char *name;
	json_t *v;

	table_init(&table);
	table_cell(&table, true, "FIELD");
	table_cell(&table, false, "VALUE");
	json_object_foreach((json_t *)obj, name, v) {
		const char *unit = unit_of(type, name);
		char *text = cell_text(v), *line;

		if (asprintf(&line, "%s%s%s", text, *unit ? " " : "", unit) < 0)
			abort();
		table_cell(&table, true, name);
		table_cell(&table, false, line);
		free(text);
		free(line);
	}
	table_print(&table, stdout);
}

static json_t *target_of(const struct cli *cli)
{
	return json_pack("{ss* ss*}", "type", cli->n_args > 1 ? cli->args[1] : NULL, "name",
			 cli->n_args > 2 ? cli->args[2] : NULL);
}

// `weft show` alone: every type that has objects.
static void print_everything(struct cli *cli, const json_t *all)
{
	bool first = true;
	const char *name;
	json_t *objects;

	json_object_foreach((json_t *)all, name, objects) {
		json_t *type;

		if (!json_array_size(objects))
			continue;
		type = type_describe(cli, name);
		printf("%s%s\n", first ? "" : "\n", text_of(type, "plural"));
		print_objects(type, objects);
		json_decref(type);
		first = false;
	}
	if (first)
		puts("Nothing is configured yet. weft describe lists what can be.");
}

int command_show(struct cli *cli)
{
	json_t *result = rpc_call(cli, "get", target_of(cli)), *type;

	if (cli->json) {
		print_json(result);
	} else if (cli->n_args == 1) {
		print_everything(cli, result);
	} else {
		type = type_describe(cli, cli->args[1]);
		if (!json_is_array(result))
			print_object(type, result);
		else if (json_array_size(result))
			print_objects(type, result);
		else
			printf("There are no %s.\n", text_of(type, "plural"));
		json_decref(type);
	}
	json_decref(result);
	return EXIT_OK;
}

// FIELD=VALUE lines, or the bare value of one field.
static void print_values(const json_t *obj, const char *only)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)obj, key, v) {
		char *text;

		if (only && strcmp(only, key) != 0)
			continue;
		text = cell_text(v);
		printf("%s%s%s\n", only ? "" : key, only ? "" : "=", text ? text : "");
		free(text);
	}
}

int command_get(struct cli *cli)
{
	json_t *obj = rpc_call(cli, "get", target_of(cli));
	const char *only = cli->n_args > 3 ? cli->args[3] : NULL;
	bool found = !only || json_object_get(obj, only);

	if (!found)
		fprintf(stderr, "weft: %s '%s' has no field '%s' that is given\n", cli->args[1],
			cli->args[2], only);
	else if (cli->json)
		print_json(only ? json_object_get(obj, only) : obj);
	else
		print_values(obj, only);
	json_decref(obj);
	return found ? EXIT_OK : EXIT_REFUSED;
}

// One number, unless it is a zero that nobody asked for.
static void print_number(const char *name, const char *reason, const json_t *value, bool all)
{
	char label[192];

	if (!all && !json_integer_value(value))
		return;
	snprintf(label, sizeof(label), "%s%s%s", name, reason ? " " : "", reason ? reason : "");
	printf("  %-32s %16" JSON_INTEGER_FORMAT "\n", label, json_integer_value(value));
}

// "rx_packets 7"; nested numbers as "drops TxFull 1".
static void print_numbers(const json_t *numbers, bool all)
{
	const char *name, *reason;
	json_t *v, *nested;

	json_object_foreach((json_t *)numbers, name, v) {
		if (json_is_integer(v))
			print_number(name, NULL, v, all);
		json_object_foreach(v, reason, nested) {
			print_number(name, reason, nested, all);
		}
	}
}

int command_counters(struct cli *cli)
{
	json_t *result = rpc_call(cli, "counters", target_of(cli)), *entry;
	bool all = cli->n_args > 2;
	size_t i;

	if (cli->json)
		print_json(result);
	else
		json_array_foreach(result, i, entry) {
			printf("%s %s\n", text_of(entry, "type"), text_of(entry, "name"));
			print_numbers(json_object_get(entry, "counters"), all);
			print_numbers(json_object_get(entry, "gauges"), all);
		}
	json_decref(result);
	return EXIT_OK;
}

int command_describe(struct cli *cli)
{
	json_t *result = rpc_call(cli, "describe", target_of(cli)), *type;
	struct table table;
	size_t i;

	if (cli->json) {
		print_json(result);
	} else if (cli->options & OPTION_MAN) {
		man_print(result);
	} else if (cli->n_args > 1) {
		type_print(result);
	} else {
		table_init(&table);
		table_cell(&table, true, "TYPE");
		table_cell(&table, false, "MEANING");
		json_array_foreach(json_object_get(result, "types"), i, type) {
			table_cell(&table, true, text_of(type, "name"));
			table_cell(&table, false, text_of(type, "help"));
		}
		table_print(&table, stdout);
		puts("\nweft describe TYPE lists its fields.");
	}
	json_decref(result);
	return EXIT_OK;
}
