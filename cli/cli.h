// SPDX-License-Identifier: Apache-2.0
// The pieces of `weft`, a client of the control socket that knows no object type: what it must
// know of one it asks the daemon for (`describe`). One thread; any failure ends the program with a
// sentence that says how to mend it.
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "control/wire.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_REFUSED = 1,   // the daemon said no
	EXIT_USAGE = 2,     // the command line is wrong
	EXIT_NO_DAEMON = 3, // nobody answers at the socket, or we may not ask
};

// Options; every command takes --json, --socket and --help, the rest as its table entry says.
enum option {
	OPTION_PRUNE = 1 << 0,
	OPTION_DRY_RUN = 1 << 1,
	OPTION_INTERVAL = 1 << 2,
	OPTION_MAN = 1 << 3,
};

struct cli {
	const char *socket; // path
	bool json;          // answers as JSON
	bool help;
	unsigned int options;  // enum option bits that were given
	unsigned int interval_ms;
	char **args; // what is left of the command line, command included
	int n_args;
	int fd; // connection, -1 until the first call
	int next_id;
	struct wire_in in;
};

struct command {
	const char *name, *arguments, *help;
	int min_args, max_args; // behind the command; max -1: any number
	unsigned int options;   // enum option bits that it takes
	int (*run)(struct cli *cli); // returns an exit code
};
extern const struct command commands[]; // ended by one without name

// main.c
void usage_error(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

// rpc.c: calls a method and waits; takes over params (NULL: none). The caller owns the result. An
// error ends the program.
json_t *rpc_call(struct cli *cli, const char *method, json_t *params);
json_t *rpc_try(struct cli *cli, const char *method, json_t *params); // NULL instead
json_t *rpc_next(struct cli *cli); // the next message, whatever it is; waits
void rpc_close(struct cli *cli);

// types.c: what describe says.
json_t *type_describe(struct cli *cli, const char *type); // the caller owns it
bool type_is_singleton(const json_t *type);
json_t *type_fields(const json_t *type); // array, borrowed
bool field_has_flag(const json_t *field, const char *flag);
// "vlan=5" … as {"vlan": 5}, each value of its field's JSON type; an empty value is null.
json_t *type_parse_fields(const json_t *type, char **words, int n);
void type_print(const json_t *type); // for people
const char *text_of(const json_t *object, const char *key); // string member, or ""

// table.c: rows of cells, columns aligned; numbers to the right.
struct table {
	unsigned int n_columns;
	json_t *rows; // array of arrays of strings, the heading first
};
void table_init(struct table *table);
void table_cell(struct table *table, bool new_row, const char *text); // next cell
void table_print(struct table *table, FILE *out); // and ends its life; empty columns are left out
char *cell_text(const json_t *value); // as people read it; malloc'ed

// show.c, watch.c, test.c, man.c: commands.
int command_show(struct cli *cli);
int command_get(struct cli *cli);
int command_counters(struct cli *cli);
int command_watch(struct cli *cli);
int command_test(struct cli *cli);
void test_help(void);
int command_describe(struct cli *cli);
int command_completion(struct cli *cli);
int command_complete(struct cli *cli);
void man_print(const json_t *description);
