// SPDX-License-Identifier: Apache-2.0
// weft test WHAT KEY=VALUE…: the daemon tries a part of itself, or of what is around it, by its
// method test_WHAT; each check is a line.
#include <string.h>

#include "cli/cli.h"

void test_help(void)
{
	puts("\n  path from=PORT to=ADDRESS  the way from a guest's port to a customer address on\n"
	     "                             another host: records, underlay, both ends\n"
	     "  jumbo to=PROVIDER          whether the underlay to a provider address carries\n"
	     "                             packets of 1500, 1660 and more bytes\n"
	     "  vmq                        moves queues to another worker and back\n\n"
	     "exit status: 0 all is well, 1 something is not");
}

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
	char method[64];
	json_t *result, *check;
	bool failed;
	size_t i;

	snprintf(method, sizeof(method), "test_%s", cli->args[1]);
	result = rpc_call(cli, method, read_words(cli));
	failed = json_integer_value(json_object_get(result, "failed")) > 0;
	if (cli->json) {
		json_dumpf(result, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		json_array_foreach(json_object_get(result, "checks"), i, check) {
			printf("%-8s %s: %s\n",
			       json_is_true(json_object_get(check, "ok")) ? "ok" : "not ok",
			       text_of(check, "name"), text_of(check, "detail"));
		}
		puts(text_of(result, "summary"));
	}
	json_decref(result);
	return failed ? EXIT_REFUSED : EXIT_OK;
}
