// SPDX-License-Identifier: Apache-2.0
#include "control/test_socket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct test_server w;

int dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, w.path);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -1 : fd;
}

void pause_ms(int ms)
{
	for (int i = 0; i < ms; i++) {
		int timer = loop_timer_add(w.loop, 1000000, 0, (loop_timer_fn *)loop_stop, w.loop);

		loop_run(w.loop);
		loop_timer_del(w.loop, timer);
	}
}

void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

const char *line_from(int fd)
{
	static char line[65536];
	size_t n = 0;

	for (int ms = 0; ms < 3000; ms++) {
		ssize_t got = recv(fd, line + n, 1, 0);

		if (got == 1 && line[n++] == '\n') {
			line[n - 1] = '\0';
			return line;
		}
		if (got == 0)
			return "";
		if (got < 0 && errno != EAGAIN)
			return "";
		if (got < 0)
			pause_ms(1);
	}
	return "nothing";
}

const char *ask(int fd, const char *request)
{
	put(fd, request);
	return line_from(fd);
}

void expect(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("'%s' does not say '%s'", text, words);
}

void expect_end(int fd)
{
	char bytes[4096];
	ssize_t n = -1;

	for (int ms = 0; ms < 3000 && n != 0; ms++) {
		n = recv(fd, bytes, sizeof(bytes), 0);
		if (n < 0 && errno != EAGAIN)
			break;
		if (n < 0)
			pause_ms(1);
	}
	assert_true(n == 0 || errno == ECONNRESET);
	close(fd);
}

void expect_service(void)
{
	int fd = dial();

	assert_true(fd >= 0);
	expect(ask(fd, VERSION), "\"version\":\"1.2.3\"");
	close(fd);
	pause_ms(2);
}

static int method_big(void *, struct request *, const json_t *, json_t **result, struct refusal *)
{
	char *text = malloc(100001);

	memset(text, 'x', 100000);
	text[100000] = '\0';
	*result = json_string(text);
	free(text);
	return 0;
}

static int method_later(void *, struct request *req, const json_t *, json_t **, struct refusal *)
{
	w.waiting = req;
	return METHOD_PENDING;
}

static int method_typo(void *, struct request *, const json_t *params, json_t **, struct refusal *r)
{
	refuse(r, EINVAL, "vlna", "vlna\xc3: cut in the middle of a character");
	return refuse_hint(r, -EINVAL, "did you mean 'vlan'?");
}

int test_server_setup(void **state)
{
	struct server_cfg server = { .max_clients = 8, .stall_ms = 1000, .max_backlog = 2 << 20 };
	struct control_cfg cfg = { .types = test_types, .hooks = test_hooks(&w.daemon),
				   .version = "1.2.3" };
	struct err err;

	w.dir = test_dir_make();
	snprintf(w.path, sizeof(w.path), "%s/sock", w.dir);
	assert_int_equal(loop_create(&w.loop, &err), 0);
	server.loop = cfg.loop = w.loop;
	assert_int_equal(server_create(&server, &w.server, &err), 0);
	cfg.server = w.server;
	assert_int_equal(control_create(&cfg, &w.control, &err), 0);
	server_method_add(w.server, "big", "a lot", method_big, NULL);
	server_method_add(w.server, "later", "answers later", method_later, NULL);
	server_method_add(w.server, "typo", "fails", method_typo, NULL);
	if (server_listen(w.server, w.path, NULL, &err) < 0)
		fail_msg("%s", err.text);
	return 0;
}

int test_server_teardown(void **state)
{
	pause_ms(5);
	server_destroy(w.server);
	assert_int_equal(access(w.path, F_OK), -1);
	control_destroy(w.control);
	loop_destroy(w.loop);
	test_dir_remove(w.dir);
	return 0;
}

char *batch_of(int n, const char *request)
{
	size_t size;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	for (int i = 0; i < n; i++)
		fprintf(out, "%c%s", i ? ',' : '[', request);
	fputs("]\n", out);
	fclose(out);
	return text;
}
