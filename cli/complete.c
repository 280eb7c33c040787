// SPDX-License-Identifier: Apache-2.0
// Completion: bash asks `weft complete WORD…` for what may stand in the last place. Without a
// daemon only commands are known.
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

int command_completion(struct cli *cli)
{
	if (strcmp(cli->args[1], "bash") != 0)
		usage_error("only completion for bash can be made");
	puts("# Completion of weft in bash, made by: weft completion bash\n"
	     "_weft()\n"
	     "{\n"
	     "\tlocal words\n"
	     "\twords=$(weft complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	     "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
	     "\t[[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace\n"
	     "}\n"
	     "complete -o default -F _weft weft");
	return EXIT_OK;
}

static void print_names(const json_t *objects)
{
	json_t *obj;
	size_t i;

	json_array_foreach((json_t *)objects, i, obj) {
		puts(text_of(obj, "name"));
	}
}

static void print_fields(struct cli *cli, const char *type)
{
	json_t *result = rpc_try(cli, "describe", json_pack("{ss}", "type", type)), *field;
	size_t i;

	json_array_foreach(type_fields(result), i, field)
		if (!field_has_flag(field, "read-only") && !field_has_flag(field, "key"))
			printf("%s=\n", text_of(field, "name"));
	json_decref(result);
}

// weft test WHAT KEY=…: what there is to test is what the daemon has methods for.
static int complete_test(struct cli *cli, int place)
{
	json_t *result, *help;
	const char *name;

	if (place > 2) {
		if (strcmp(cli->args[2], "path") == 0)
			puts("from=");
		if (strcmp(cli->args[2], "vmq") != 0)
			puts("to=");
		return EXIT_OK;
	}
	result = rpc_try(cli, "describe", NULL);
	json_object_foreach(json_object_get(result, "methods"), name, help)
		if (strncmp(name, "test_", 5) == 0)
			puts(name + 5);
	json_decref(result);
	return EXIT_OK;
}

// args: "complete", then the words of the line behind "weft", the last one unfinished.
int command_complete(struct cli *cli)
{
	int place = cli->n_args - 1;
	json_t *result;

	if (place <= 1) {
		for (const struct command *c = commands; c->name; c++)
			if (strcmp(c->name, "complete") != 0)
				puts(c->name);
		return EXIT_OK;
	}
	if (access(cli->socket, W_OK) < 0)
		return EXIT_NO_DAEMON;
	if (strcmp(cli->args[1], "test") == 0)
		return complete_test(cli, place);
	if (place == 2) {
		result = rpc_try(cli, "describe", NULL);
		print_names(json_object_get(result, "types"));
		json_decref(result);
	} else if (place == 3 && strcmp(cli->args[1], "add") != 0) {
		result = rpc_try(cli, "get", json_pack("{ss}", "type", cli->args[2]));
		print_names(result);
		json_decref(result);
	} else if (place > 3) {
		print_fields(cli, cli->args[2]);
	}
	return EXIT_OK;
}
