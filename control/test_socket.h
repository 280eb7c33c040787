// SPDX-License-Identifier: Apache-2.0
// A control behind a server on a real socket, and clients to try it with: for test_server.c (what
// is answered) and test_clients.c (what becomes of those who misbehave). Small limits: 8 clients,
// 200 ms without progress, 2 MiB of output. One thread: clients run the loop while they wait.
#pragma once

#include "control/client.h"
#include "control/testing.h"

struct test_server {
	struct loop *loop;
	struct server *server;
	struct control *control;
	struct test_daemon daemon;
	char *dir, path[128];
	struct request *waiting; // what called the method "later"
};
extern struct test_server w;

int test_server_setup(void **state); // for cmocka
int test_server_teardown(void **state);
#define SERVER_TEST(name)                                                                          \
	cmocka_unit_test_setup_teardown(name, test_server_setup, test_server_teardown)

#define VERSION "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"}\n"

int dial(void); // a connection, non-blocking, or -1
void pause_ms(int ms); // lets the server work
void put(int fd, const char *text);
const char *line_from(int fd); // the next line; "" at the end, "nothing" after three seconds
const char *ask(int fd, const char *request); // put, then line_from
char *batch_of(int n, const char *request); // "[x,x,…,x]" and a newline; malloc'ed
void expect(const char *text, const char *words); // text has these words in it
void expect_end(int fd); // the server ends the connection; closes fd
void expect_service(void); // a well-behaved client is served
