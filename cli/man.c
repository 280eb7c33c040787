// SPDX-License-Identifier: Apache-2.0
// The reference of all object types as a manual page: weft describe --man > weft-objects.5
#include <string.h>

#include "cli/cli.h"

// Text in which roff must not see commands.
static void print_text(const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '-')
			fputs("\\-", stdout);
		else
			putchar(*text);
	}
	putchar('\n');
}

static void print_field(const json_t *field)
{
	json_t *flags = json_object_get(field, "flags"), *words = json_object_get(field, "words"), *v;
	size_t i;

	printf(".TP\n.BR %s \" (%s\"", text_of(field, "name"), text_of(field, "type"));
	json_array_foreach(flags, i, v)
		printf(" \", %s\"", json_string_value(v));
	puts(" )");
	print_text(text_of(field, "help"));
	json_array_foreach(words, i, v) {
		fputs(i ? "" : "One of: ", stdout);
		print_text(json_string_value(v));
	}
	if (json_object_get(field, "min"))
		printf("From %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT " %s.\n",
		       json_integer_value(json_object_get(field, "min")),
		       json_integer_value(json_object_get(field, "max")), text_of(field, "unit"));
	if (*text_of(field, "references"))
		printf("Names a %s.\n", text_of(field, "references"));
	if (*text_of(field, "default"))
		printf("Default: %s.\n", text_of(field, "default"));
}

void man_print(const json_t *description)
{
	json_t *types = json_object_get(description, "types"), *type, *field;
	size_t i, j;

	if (!types)
		types = json_pack("[O]", description);
	puts(".TH WEFT\\-OBJECTS 5\n.SH NAME\nweft\\-objects \\- what can be configured in weftd\n"
	     ".SH DESCRIPTION\nMade by\n.BR \"weft describe \\-\\-man\" .");
	json_array_foreach(types, i, type) {
		printf(".SH \"%s\"\n", text_of(type, "name"));
		print_text(text_of(type, "help"));
		json_array_foreach(json_object_get(type, "fields"), j, field)
			print_field(field);
	}
}
