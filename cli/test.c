// SPDX-License-Identifier: Apache-2.0
// weft test WHAT KEY=VALUE…: lets the daemon probe something, and prints its report, a line a step.
#include <string.h>

#include "cli/cli.h"

static json_t *read_words(struct cli *cli)
{
	json_t *params = json_object();

	for (int i = 2; i < cli->n_args; i++) {
		char *equals = strchr(cli->args[i], '=');

		if (!equals)
			usage_error("'%s' is not KEY=VALUE", cli->args[i]);
		*equals = '\0';
		json_object_set_new(params, cli->args[i], json_string(equals + 1));
	}
	return params;
}

int command_test(struct cli *cli)
{
	const char *what = cli->args[1], *method = NULL;
	json_t *params, *result, *step;
	size_t i;
	bool ok;

	if (strcmp(what, "path") == 0)
		method = "test_path";
	else if (strcmp(what, "jumbo") == 0)
		method = "test_jumbo";
	else
		usage_error("there is no test '%s'; there are: path, jumbo", what);
	params = read_words(cli);
	result = rpc_call(cli, method, params);
	ok = json_is_true(json_object_get(result, "ok"));
	if (cli->json) {
		json_dumpf(result, stdout, JSON_COMPACT), putchar('\n');
	} else {
		json_array_foreach(json_object_get(result, "steps"), i, step)
			printf("%-5s %-9s %s\n", json_is_true(json_object_get(step, "ok")) ? "ok" : "FAIL",
			       text_of(step, "step"), text_of(step, "text"));
		printf("%s\n", text_of(result, "verdict"));
	}
	json_decref(result);
	return ok ? EXIT_OK : EXIT_REFUSED;
}
