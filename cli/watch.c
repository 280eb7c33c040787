// SPDX-License-Identifier: Apache-2.0
// Live rates: the difference of two counter messages over the time between them. On a terminal a
// table that is drawn anew, else a line for every object that moves; events as they come.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define MAX_RATES 10u // columns of the table

// Two counters messages, between which rates are taken.
struct watch {
	struct cli *cli;
	bool terminal;
	json_t *before, *now; // before: NULL at first
	json_t *last_events;  // array of lines to show under the table
};

// A counter's value: nested ones count together.
static json_int_t total(const json_t *counter)
{
	json_int_t sum = json_integer_value(counter);
	const char *reason;
	json_t *v;

	json_object_foreach((json_t *)counter, reason, v)
		sum += json_integer_value(v);
	return sum;
}

// The entry of the same object in the message before, or NULL.
static json_t *entry_before(const struct watch *w, const json_t *entry)
{
	json_t *other;
	size_t i;

	json_array_foreach(json_object_get(w->before, "counters"), i, other)
		if (strcmp(text_of(other, "type"), text_of(entry, "type")) == 0 &&
		    strcmp(text_of(other, "name"), text_of(entry, "name")) == 0)
			return json_object_get(other, "counters");
	return NULL;
}

// Bytes are shown as bits: that is what links are measured in.
static bool is_bytes(const char *counter)
{
	size_t len = strlen(counter);

	return len >= 5 && strcmp(counter + len - 5, "bytes") == 0;
}

// Growth of one counter a second since the message before.
static double rate(const struct watch *w, const json_t *entry, const char *counter)
{
	const json_t *was = entry_before(w, entry);
	json_int_t ns = json_integer_value(json_object_get(w->now, "time_ns")) -
			json_integer_value(json_object_get(w->before, "time_ns"));
	json_int_t growth;

	if (!was || ns <= 0)
		return 0;
	growth = total(json_object_get(json_object_get(entry, "counters"), counter)) -
		 total(json_object_get(was, counter));
	return (double)growth * (is_bytes(counter) ? 8e9 : 1e9) / (double)ns;
}

// 1234567 as "1.23M".
static void print_rate(char text[16], double v)
{
	static const char units[] = " kMGT";
	unsigned int i = 0;

	for (; v >= 999.5 && i < 4; i++)
		v /= 1000;
	if (i == 0)
		snprintf(text, 16, "%.0f", v);
	else
		snprintf(text, 16, "%.*f%c", v < 10 ? 2 : v < 100 ? 1 : 0, v, units[i]);
}

// "rx_bytes" as "RX BIT/S", "drops" as "DROPS/S".
static void heading_cell(struct table *table, const char *counter)
{
	char text[64];

	if (is_bytes(counter))
		snprintf(text, sizeof(text), "%.*sbit/s", (int)strlen(counter) - 5, counter);
	else
		snprintf(text, sizeof(text), "%s/s", counter);
	for (char *p = text; *p; p++)
		*p = *p == '_' ? ' ' : (char)toupper((unsigned char)*p);
	table_cell(table, false, text);
}

// The table of the objects of one type; entry is the first of them.
static void print_type(const struct watch *w, const json_t *first)
{
	const char *type = text_of(first, "type"), *counter;
	struct table table;
	unsigned int n = 0;
	json_t *entry, *v;
	char text[16];
	size_t i;

	table_init(&table);
	table_cell(&table, true, type);
	json_object_foreach(json_object_get(first, "counters"), counter, v)
		if (n++ < MAX_RATES)
			heading_cell(&table, counter);
	json_array_foreach(json_object_get(w->now, "counters"), i, entry) {
		if (strcmp(text_of(entry, "type"), type) != 0)
			continue;
		table_cell(&table, true, text_of(entry, "name"));
		n = 0;
		json_object_foreach(json_object_get(first, "counters"), counter, v) {
			if (n++ == MAX_RATES)
				break;
			print_rate(text, rate(w, entry, counter));
			table_cell(&table, false, text);
		}
	}
	table_print(&table, stdout);
}

static void print_tables(const struct watch *w)
{
	const char *last = "";
	json_t *entry, *line;
	size_t i;

	fputs("\033[H\033[J", stdout);
	json_array_foreach(json_object_get(w->now, "counters"), i, entry) {
		if (strcmp(text_of(entry, "type"), last) == 0)
			continue;
		last = text_of(entry, "type");
		print_type(w, entry);
		putchar('\n');
	}
	json_array_foreach(w->last_events, i, line)
		puts(json_string_value(line));
}

static void print_lines(const struct watch *w)
{
	const char *counter;
	json_t *entry, *v;
	char text[16];
	size_t i;

	json_array_foreach(json_object_get(w->now, "counters"), i, entry) {
		bool moves = false;

		json_object_foreach(json_object_get(entry, "counters"), counter, v) {
			double r = rate(w, entry, counter);

			if (r == 0)
				continue;
			if (!moves)
				printf("%s %s", text_of(entry, "type"), text_of(entry, "name"));
			moves = true;
			print_rate(text, r);
			printf(" %s=%s%s", counter, text, is_bytes(counter) ? "bit/s" : "/s");
		}
		if (moves)
			putchar('\n');
	}
}

static void take_counters(struct watch *w, json_t *params)
{
	json_decref(w->before);
	w->before = w->now;
	w->now = json_incref(params);
	if (!w->before)
		return;
	if (w->terminal)
		print_tables(w);
	else
		print_lines(w);
}

static void take_event(struct watch *w, const json_t *params)
{
	char line[256];

	snprintf(line, sizeof(line), "%s '%s': %s", text_of(params, "type"),
		 text_of(params, "name"), text_of(params, "event"));
	if (!w->terminal) {
		puts(line);
		return;
	}
	json_array_append_new(w->last_events, json_string(line));
	if (json_array_size(w->last_events) > 8)
		json_array_remove(w->last_events, 0);
}

int command_watch(struct cli *cli)
{
	struct watch w = { cli, isatty(STDOUT_FILENO), NULL, NULL, json_array() };
	unsigned int ms = cli->interval_ms ? cli->interval_ms : 1000;
	json_t *msg;

	json_decref(rpc_call(cli, "watch",
			     json_pack("{ss* ss* si}", "type",
				       cli->n_args > 1 ? cli->args[1] : NULL, "name",
				       cli->n_args > 2 ? cli->args[2] : NULL, "interval_ms", ms)));
	for (;;) {
		msg = rpc_next(cli);
		if (cli->json) {
			json_dumpf(msg, stdout, JSON_COMPACT);
			putchar('\n');
		} else if (strcmp(text_of(msg, "method"), "counters") == 0) {
			take_counters(&w, json_object_get(msg, "params"));
		} else {
			take_event(&w, json_object_get(msg, "params"));
		}
		json_decref(msg);
		fflush(stdout);
	}
}
