// SPDX-License-Identifier: Apache-2.0
// Clients that misbehave: each is ended alone, while a well-behaved one beside it is served on.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "control/test_socket.h"

static void garbage_ends_the_client_alone(void **state)
{
	static const char *const garbage[] = {
		"GET / HTTP/1.1\r\n\r\n",
		"{\"jsonrpc\":\"2.0\",\n",
		"\x01\x02\xff\xfe\n",
		"{\"a\":1,\"a\":2}\n",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
		"\"\\\n",
		"{\"jsonrpc\":\"2.0\",\"method\":\"\\u0000\"}\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		int fd = dial();

		expect(ask(fd, garbage[i]), "\"id\":null,\"error\":{\"code\":-32700");
		expect_end(fd);
		expect_service();
	}
}

static void half_a_line_ends_the_client_alone(void **state)
{
	int fd = dial(), idle = dial();

	put(fd, "{\"jsonrpc\":");
	expect_end(fd);
	// One that is silent between lines is not disturbed.
	expect(ask(idle, VERSION), "1.2.3");
	close(idle);
	expect_service();
}

static void an_endless_line_ends_the_client_alone(void **state)
{
	char *block = malloc(1 << 20);
	int fd = dial();
	size_t sent = 0;
	bool ended = false;

	memset(block, ' ', 1 << 20);
	while (sent < 100 << 20 && !ended) {
		ssize_t n = send(fd, block, 1 << 20, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		ended = n < 0 && errno != EAGAIN;
		pause_ms(1);
	}
	assert_true(ended);
	assert_in_range(sent, WIRE_MAX_LINE, WIRE_MAX_LINE + (4 << 20));
	close(fd);
	free(block);
	expect_service();
}

static void too_many_values_are_refused(void **state)
{
	size_t n = 2 * (WIRE_MAX_VALUES + 2);
	char *line = malloc(n + 3);
	struct err err;

	memset(line, ',', n);
	line[0] = '[';
	for (size_t i = 1; i < n; i += 2)
		line[i] = '1';
	line[n] = ']';
	assert_null(wire_parse(line, n + 1, &err));
	expect(err.text, "more than");
	free(line);
}

static void too_deep_nesting_is_refused(void **state)
{
	char line[2 * WIRE_MAX_DEPTH + 2];
	struct err err;
	json_t *msg;

	memset(line, '[', WIRE_MAX_DEPTH + 1);
	memset(line + WIRE_MAX_DEPTH + 1, ']', WIRE_MAX_DEPTH + 1);
	msg = wire_parse(line + 1, 2 * WIRE_MAX_DEPTH, &err);
	assert_non_null(msg);
	json_decref(msg);
	assert_null(wire_parse(line, 2 * WIRE_MAX_DEPTH + 2, &err));
	expect(err.text, "nested deeper than 32");
}

static void one_that_never_reads_is_cut_off_alone(void **state)
{
	static const char big[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}\n";
	int fd = dial();

	for (int i = 0; i < 1000; i++)
		if (send(fd, big, strlen(big), MSG_NOSIGNAL) < 0)
			break;
	pause_ms(20);
	expect_service();
	// Its requests wait, so that its answers do not pile up.
	assert_int_equal(w.server->n_clients, 1);
	pause_ms(2500); // longer than the server's stall_ms
	assert_int_equal(w.server->n_clients, 0);
	close(fd);
	expect_service();
}

static void a_batch_of_big_answers_is_cut_off(void **state)
{
	char *line = batch_of(60, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}");
	int fd = dial();

	put(fd, line);
	expect_end(fd);
	free(line);
	expect_service();
}

static void clients_are_counted(void **state)
{
	int fds[8], more;

	for (int i = 0; i < 8; i++) {
		fds[i] = dial();
		expect(ask(fds[i], VERSION), "1.2.3");
	}
	more = dial();
	expect(line_from(more), "too many clients");
	expect_end(more);
	expect(ask(fds[3], VERSION), "1.2.3");
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	pause_ms(3);
	expect_service();
}

static void a_watcher_that_does_not_read_is_cut_off(void **state)
{
	int fd = dial();
	char *text = malloc(10001);

	memset(text, 'y', 10000);
	text[10000] = '\0';
	ask(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watch\"}\n");
	for (int i = 0; i < 1000; i++)
		control_event(w.control, "port", "web0", "noise", json_pack("{ss}", "t", text));
	pause_ms(10);
	assert_int_equal(w.server->n_clients, 0);
	close(fd);
	free(text);
	expect_service();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(garbage_ends_the_client_alone),
		SERVER_TEST(half_a_line_ends_the_client_alone),
		SERVER_TEST(an_endless_line_ends_the_client_alone),
		cmocka_unit_test(too_many_values_are_refused),
		cmocka_unit_test(too_deep_nesting_is_refused),
		SERVER_TEST(one_that_never_reads_is_cut_off_alone),
		SERVER_TEST(a_batch_of_big_answers_is_cut_off),
		SERVER_TEST(clients_are_counted),
		SERVER_TEST(a_watcher_that_does_not_read_is_cut_off),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("control/clients", tests, NULL, NULL);
}
