// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define MAX_COLUMNS 64u

void table_init(struct table *table)
{
	table->n_columns = 0;
	table->rows = json_array();
}

void table_cell(struct table *table, bool new_row, const char *text)
{
	json_t *row;

	if (new_row)
		json_array_append_new(table->rows, json_array());
	row = json_array_get(table->rows, json_array_size(table->rows) - 1);
	json_array_append_new(row, json_string(text));
	if (json_array_size(row) > table->n_columns)
		table->n_columns = (unsigned int)json_array_size(row);
}

char *cell_text(const json_t *value)
{
	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (!value || json_is_null(value))
		return strdup("");
	return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

static const char *text_at(const json_t *row, unsigned int column)
{
	const char *text = json_string_value(json_array_get(row, column));

	return text ? text : "";
}

// Characters that a text takes on the screen, as far as UTF-8 tells.
static unsigned int width_of(const char *text)
{
	unsigned int n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

struct column {
	unsigned int width; // 0: nothing but a heading, left out
	bool number;        // every cell begins with a digit
};

static struct column measure(const struct table *table, unsigned int column)
{
	struct column c = { .number = true };
	json_t *row;
	size_t i;

	json_array_foreach(table->rows, i, row) {
		const char *text = text_at(row, column);

		if (i == 0 || !*text)
			continue;
		if (width_of(text) > c.width)
			c.width = width_of(text);
		c.number = c.number && !text[strspn(text, "0123456789.kMGT")];
	}
	if (c.width && width_of(text_at(json_array_get(table->rows, 0), column)) > c.width)
		c.width = width_of(text_at(json_array_get(table->rows, 0), column));
	return c;
}

static void print_row(const json_t *row, const struct column *columns, unsigned int n, FILE *out)
{
	unsigned int owed = 0; // blanks before the next cell: none are left at the end of a line

	for (unsigned int i = 0; i < n; i++) {
		const char *text = *text_at(row, i) ? text_at(row, i) : "-";
		unsigned int blanks;

		if (!columns[i].width)
			continue;
		blanks = columns[i].width - width_of(text);
		if (columns[i].number)
			owed += blanks;
		fprintf(out, "%*s%s", (int)owed, "", text);
		owed = 2 + (columns[i].number ? 0 : blanks);
	}
	fputc('\n', out);
}

void table_print(struct table *table, FILE *out)
{
	struct column columns[MAX_COLUMNS];
	unsigned int n = table->n_columns < MAX_COLUMNS ? table->n_columns : MAX_COLUMNS;
	json_t *row;
	size_t i;

	for (unsigned int c = 0; c < n; c++)
		columns[c] = measure(table, c);
	json_array_foreach(table->rows, i, row)
		print_row(row, columns, n, out);
	json_decref(table->rows);
}
