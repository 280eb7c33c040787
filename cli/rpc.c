// SPDX-License-Identifier: Apache-2.0
// The connection to the daemon: one request, one answer.
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"

static void __attribute__((noreturn)) not_permitted(const char *path)
{
	struct stat st;
	struct group *group = stat(path, &st) == 0 ? getgrgid(st.st_gid) : NULL;

	fprintf(stderr, "weft: permission denied on '%s'\n", path);
	if (group && group->gr_gid != 0)
		fprintf(stderr,
			"Run weft as root, or join the group '%s': usermod -aG %s $USER, then log in "
			"again.\n",
			group->gr_name, group->gr_name);
	else
		fprintf(stderr, "Run weft as root (sudo weft …).\n");
	exit(EXIT_NO_DAEMON);
}

static void __attribute__((noreturn)) no_daemon(const char *path, int error)
{
	if (error == EACCES || error == EPERM)
		not_permitted(path);
	fprintf(stderr, "weft: nobody serves at '%s': %s\n", path, strerror(error));
	fprintf(stderr, "Is weftd running? Start it: systemctl start weftd (or: weftd --socket %s).\n"
			"If it serves elsewhere, say where: --socket PATH or WEFT_SOCKET=PATH.\n",
		path);
	exit(EXIT_NO_DAEMON);
}

static void dial(struct cli *cli)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(cli->socket) >= sizeof(addr.sun_path))
		usage_error("--socket: the path is over %zu bytes", sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, cli->socket);
	cli->in.max_line = WIRE_MAX_ANSWER;
	cli->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (cli->fd < 0 || connect(cli->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		no_daemon(cli->socket, errno);
}

static void send_message(struct cli *cli, const json_t *msg)
{
	struct wire_out out = {};
	int ret = wire_out_json(&out, msg);

	if (ret == 0 && wire_out_pending(&out) > WIRE_MAX_LINE)
		usage_error("the request is over %u MiB", WIRE_MAX_LINE >> 20);
	while (ret == 0 && wire_out_pending(&out)) {
		int n = wire_out_write(&out, cli->fd);

		// The daemon may have hung up on us, with its reason waiting to be read.
		if (n < 0 && n != -EINTR)
			break;
	}
	wire_out_fini(&out);
}

json_t *rpc_next(struct cli *cli)
{
	struct err err;
	json_t *msg;
	size_t len;
	char *line;
	int n;

	while (!(line = wire_in_line(&cli->in, &len))) {
		n = wire_in_read(&cli->in, cli->fd);
		if (n == -EINTR)
			continue;
		if (n <= 0) {
			fprintf(stderr, "weft: the daemon hung up%s%s\n", n ? ": " : "",
				n ? strerror(-n) : "");
			exit(EXIT_NO_DAEMON);
		}
	}
	msg = json_loadb(line, len, 0, NULL);
	if (msg)
		return msg;
	err_set(&err, EPROTO, "the daemon's answer is not JSON");
	fprintf(stderr, "weft: %s\n", err.text);
	exit(EXIT_NO_DAEMON);
}

// Sends a request and waits for the message that answers it.
static json_t *converse(struct cli *cli, const char *method, json_t *params)
{
	json_t *request, *answer;
	const json_t *id;

	if (cli->fd < 0)
		dial(cli);
	request = json_pack("{ss si ss so*}", "jsonrpc", "2.0", "id", ++cli->next_id, "method",
			    method, "params", params);
	send_message(cli, request);
	json_decref(request);
	for (;;) {
		answer = rpc_next(cli);
		id = json_object_get(answer, "id");
		// An error without id is about the connection, and so about us too.
		if (id && (json_is_null(id) || json_integer_value(id) == cli->next_id))
			return answer;
		json_decref(answer);
	}
}

static void print_error(const json_t *error)
{
	const char *hint = text_of(json_object_get(error, "data"), "hint");

	fprintf(stderr, "weft: %s\n", text_of(error, "message"));
	if (*hint)
		fprintf(stderr, "%c%s\n", hint[0] & ~0x20, hint + 1);
}

json_t *rpc_try(struct cli *cli, const char *method, json_t *params)
{
	json_t *answer = converse(cli, method, params);
	json_t *result = json_incref(json_object_get(answer, "result"));

	json_decref(answer);
	return result;
}

json_t *rpc_call(struct cli *cli, const char *method, json_t *params)
{
	json_t *answer = converse(cli, method, params);
	json_t *error = json_object_get(answer, "error");
	json_t *result = json_incref(json_object_get(answer, "result"));

	if (error) {
		print_error(error);
		exit(EXIT_REFUSED);
	}
	json_decref(answer);
	return result;
}

void rpc_close(struct cli *cli)
{
	wire_in_fini(&cli->in);
	if (cli->fd >= 0)
		close(cli->fd);
}
