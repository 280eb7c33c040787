// SPDX-License-Identifier: Apache-2.0
// testing-daemon SOCKET: the types of testing.h served at a path until standard input ends. For
// tests of clients that must not need the real daemon.
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "control/testing.h"

static void input_ready(void *arg, uint32_t events)
{
	char byte;

	if (read(STDIN_FILENO, &byte, 1) <= 0)
		loop_stop(arg);
}

static void tick(void *arg)
{
	static uint64_t n;

	++n;
	control_event(arg, "port", "web0", "tick", json_pack("{sI}", "n", (json_int_t)n));
}

int main(int argc, char **argv)
{
	struct test_daemon daemon = {};
	struct server_cfg server = {};
	struct control_cfg cfg = { .types = test_types, .hooks = test_hooks(&daemon),
				   .version = "1.2.3" };
	struct control *control = NULL;
	struct err err;
	int timer;

	if (argc != 2 || loop_create(&cfg.loop, &err) < 0)
		return EXIT_FAILURE;
	server.loop = cfg.loop;
	if (server_create(&server, &cfg.server, &err) < 0 ||
	    control_create(&cfg, &control, &err) < 0 ||
	    server_listen(cfg.server, argv[1], NULL, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return EXIT_FAILURE;
	}
	loop_fd_add(cfg.loop, STDIN_FILENO, EPOLLIN, input_ready, cfg.loop);
	timer = loop_timer_add(cfg.loop, 50000000, 50000000, tick, control);
	puts("ready");
	fflush(stdout);
	loop_run(cfg.loop);
	loop_timer_del(cfg.loop, timer);
	server_destroy(cfg.server);
	control_destroy(control);
	loop_destroy(cfg.loop);
	return EXIT_SUCCESS;
}
