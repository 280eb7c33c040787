// SPDX-License-Identifier: Apache-2.0
// weft: the command line, and the commands that are one request. See cli.h for the rest.
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define MAX_NEAR 2 // letters by which a typo may differ

void usage_error(const char *fmt, ...)
{
	va_list ap;

	fputs("weft: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\nweft --help lists the commands, weft COMMAND --help their arguments.\n", stderr);
	exit(EXIT_USAGE);
}

static int report_changes(const struct cli *cli, json_t *result)
{
	json_int_t n = json_integer_value(json_object_get(result, "changed"));
	const char *would = cli->options & OPTION_DRY_RUN ? " would be" : "";

	if (cli->json)
		json_dumpf(result, stdout, JSON_COMPACT), putchar('\n');
	else if (n == 0)
		puts("nothing to change");
	else
		printf("%" JSON_INTEGER_FORMAT " %s%s changed\n", n, n == 1 ? "object" : "objects",
		       would);
	json_decref(result);
	return EXIT_OK;
}

// add TYPE NAME FIELD=VALUE… and set; a singleton has no NAME.
static int send_fields(struct cli *cli, const char *method)
{
	json_t *type = type_describe(cli, cli->args[1]), *params;
	bool named = cli->n_args > 2 && !strchr(cli->args[2], '=');
	int first = named ? 3 : 2;

	if (!named && !type_is_singleton(type))
		usage_error("weft %s %s NAME FIELD=VALUE…: the name is missing", method,
			    cli->args[1]);
	params = json_pack("{ss ss* so}", "type", cli->args[1], "name",
			   named ? cli->args[2] : NULL, "fields",
			   type_parse_fields(type, cli->args + first, cli->n_args - first));
	json_decref(type);
	return report_changes(cli, rpc_call(cli, method, params));
}

static int command_add(struct cli *cli)
{
	return send_fields(cli, "add");
}

static int command_set(struct cli *cli)
{
	return send_fields(cli, "set");
}

static int command_delete(struct cli *cli)
{
	return report_changes(cli, rpc_call(cli, "delete",
					    json_pack("{ss ss}", "type", cli->args[1], "name",
						      cli->args[2])));
}

static int command_apply(struct cli *cli)
{
	bool from_stdin = strcmp(cli->args[1], "-") == 0;
	FILE *in = from_stdin ? stdin : fopen(cli->args[1], "r");
	json_error_t where;
	json_t *doc;

	if (!in)
		usage_error("%s: %s", cli->args[1], strerror(errno));
	doc = json_loadf(in, JSON_REJECT_DUPLICATES, &where);
	if (!doc)
		usage_error("%s, line %d: %s", from_stdin ? "standard input" : cli->args[1],
			    where.line, where.text);
	if (!from_stdin)
		fclose(in);
	return report_changes(cli, rpc_call(cli, "apply",
					    json_pack("{so sb sb}", "document", doc, "prune",
						      !!(cli->options & OPTION_PRUNE), "dry_run",
						      !!(cli->options & OPTION_DRY_RUN))));
}

static void print_result(json_t *result)
{
	if (json_is_string(result))
		fputs(json_string_value(result), stdout);
	else
		json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(result);
}

static int command_dump(struct cli *cli)
{
	print_result(rpc_call(cli, "dump", NULL));
	return EXIT_OK;
}

// call METHOD KEY=VALUE…: a value that is JSON is sent as that, else as text.
static int command_call(struct cli *cli)
{
	json_t *params = json_object(), *value;

	for (int i = 2; i < cli->n_args; i++) {
		char *equals = strchr(cli->args[i], '=');

		if (!equals)
			usage_error("'%s' is not KEY=VALUE", cli->args[i]);
		*equals = '\0';
		value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
		json_object_set_new(params, cli->args[i], value ? value : json_string(equals + 1));
	}
	print_result(rpc_call(cli, cli->args[1], params));
	return EXIT_OK;
}

static int command_version(struct cli *cli)
{
	json_t *result;

	printf("weft %s\n", WEFT_VERSION);
	result = rpc_call(cli, "version", NULL);
	printf("weftd %s, protocol %" JSON_INTEGER_FORMAT "\n", text_of(result, "version"),
	       json_integer_value(json_object_get(result, "protocol")));
	json_decref(result);
	return EXIT_OK;
}

const struct command commands[] = {
	{ "show", "[TYPE [NAME]]", "objects as tables, or one in full", 0, 2, 0, command_show },
	{ "get", "TYPE NAME [FIELD]", "field=value lines, or one value, for scripts", 2, 3, 0,
	  command_get },
	{ "add", "TYPE NAME [FIELD=VALUE]...", "adds an object", 2, -1, 0, command_add },
	{ "set", "TYPE [NAME] FIELD=VALUE...", "changes fields; FIELD= goes back to the default", 2,
	  -1, 0, command_set },
	{ "delete", "TYPE NAME", "deletes an object", 2, 2, 0, command_delete },
	{ "apply", "FILE|- [--prune] [--dry-run]", "makes objects equal to a JSON document", 1, 1,
	  OPTION_PRUNE | OPTION_DRY_RUN, command_apply },
	{ "dump", "", "the whole configuration as a document for apply", 0, 0, 0, command_dump },
	{ "describe", "[TYPE] [--man]", "object types, or the fields of one", 0, 1, OPTION_MAN,
	  command_describe },
	{ "counters", "[TYPE [NAME]]", "counters that are not zero; all of one object", 0, 2, 0,
	  command_counters },
	{ "watch", "[TYPE [NAME]] [--interval SECONDS]", "rates and events, live", 0, 2,
	  OPTION_INTERVAL, command_watch },
	{ "call", "METHOD [KEY=VALUE]...", "calls any method; weft describe --json lists them", 1,
	  -1, 0, command_call },
	{ "test", "WHAT [KEY=VALUE]...", "tries something: path, jumbo, vmq", 1, -1, 0,
	  command_test },
	{ "version", "", "versions of weft and of the daemon", 0, 0, 0, command_version },
	{ "completion", "bash", "a completion script", 1, 1, 0, command_completion },
	{ "complete", "WORD...", "what completion asks", 0, -1, 0, command_complete },
	{}
};

static void print_help(void)
{
	puts("weft: asks and changes a running weftd.\n\nusage: weft COMMAND [ARGUMENT]... "
	     "[--socket PATH] [--json]\n");
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, "complete") != 0)
			printf("  %-10s %-34s %s\n", c->name, c->arguments, c->help);
	puts("\n  --socket PATH   where weftd serves; default: $WEFT_SOCKET, else " WIRE_SOCKET "\n"
	     "  --json          answers as JSON\n"
	     "  --help          this, or the arguments of a command, or the fields of a TYPE\n\n"
	     "exit status: 0 done, 1 the daemon refused, 2 wrong usage, 3 no daemon");
}

// Letters to change, at the same place, to get from one word to the other; or many.
static unsigned int difference(const char *a, const char *b)
{
	unsigned int n = 0;

	for (; *a && *b; a++, b++)
		n += *a != *b;
	return n + (unsigned int)(strlen(a) + strlen(b));
}

static const struct command *find_command(const char *name)
{
	const struct command *near = NULL;

	for (const struct command *c = commands; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
		if (difference(c->name, name) <= MAX_NEAR)
			near = c;
	}
	if (near)
		usage_error("there is no command '%s'; did you mean '%s'?", name, near->name);
	usage_error("there is no command '%s'", name);
}

// weft COMMAND [TYPE …] --help.
static int command_help(struct cli *cli, const struct command *c)
{
	json_t *type;

	printf("usage: weft %s %s\n%s\n", c->name, c->arguments, c->help);
	if (c->run == command_test)
		test_help();
	if (cli->n_args < 2 || !strstr(c->arguments, "TYPE"))
		return EXIT_OK;
	type = type_describe(cli, cli->args[1]);
	putchar('\n');
	type_print(type);
	json_decref(type);
	return EXIT_OK;
}

static unsigned int parse_interval(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0.1 && seconds <= 3600))
		usage_error("--interval: '%s' is not a number of seconds from 0.1 to 3600", text);
	return (unsigned int)(seconds * 1000 + 0.5);
}

// The argument of --name=VALUE or --name VALUE, or NULL if this word is not that option.
static const char *option_value(char **argv, int *i, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(argv[*i], name, len) != 0)
		return NULL;
	if (argv[*i][len] == '=')
		return argv[*i] + len + 1;
	if (argv[*i][len])
		return NULL;
	if (!argv[*i + 1])
		usage_error("%s needs a value", name);
	return argv[++*i];
}

static void parse_option(struct cli *cli, char **argv, int *i)
{
	const char *word = argv[*i], *value;

	if (strcmp(word, "--json") == 0)
		cli->json = true;
	else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		cli->help = true;
	else if (strcmp(word, "--prune") == 0)
		cli->options |= OPTION_PRUNE;
	else if (strcmp(word, "--dry-run") == 0)
		cli->options |= OPTION_DRY_RUN;
	else if (strcmp(word, "--man") == 0)
		cli->options |= OPTION_MAN;
	else if ((value = option_value(argv, i, "--socket")))
		cli->socket = value;
	else if ((value = option_value(argv, i, "--interval"))) {
		cli->options |= OPTION_INTERVAL;
		cli->interval_ms = parse_interval(value);
	} else
		usage_error("there is no option '%s'", word);
}

// Sorts the command line into options and the rest, which stays in argv from the front.
static void parse_command_line(struct cli *cli, char **argv)
{
	bool only_words = argv[1] && strcmp(argv[1], "complete") == 0;

	cli->args = argv;
	for (int i = 1; argv[i]; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0)
			only_words = true;
		else if (!only_words && argv[i][0] == '-' && argv[i][1])
			parse_option(cli, argv, &i);
		else
			argv[cli->n_args++] = argv[i];
	}
}

static int run(struct cli *cli, const struct command *c)
{
	int n = cli->n_args - 1;

	if (cli->help)
		return command_help(cli, c);
	if (cli->options & ~c->options)
		usage_error("weft %s %s takes no such option", c->name, c->arguments);
	if (n < c->min_args || (c->max_args >= 0 && n > c->max_args))
		usage_error("usage: weft %s %s", c->name, c->arguments);
	return c->run(cli);
}

int main(int argc, char **argv)
{
	struct cli cli = { .fd = -1, .socket = getenv("WEFT_SOCKET") };
	int code;

	signal(SIGPIPE, SIG_DFL);
	if (!cli.socket || !*cli.socket)
		cli.socket = WIRE_SOCKET;
	parse_command_line(&cli, argv);
	if (cli.n_args == 0) {
		if (!cli.help)
			usage_error("which command?");
		print_help();
		return EXIT_OK;
	}
	code = run(&cli, find_command(cli.args[0]));
	rpc_close(&cli);
	return code;
}
