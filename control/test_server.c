// SPDX-License-Identifier: Apache-2.0
// The server on real sockets: what clients may ask, and what becomes of those who misbehave, while
// a well-behaved one beside them is served on.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "control/client.h"
#include "control/testing.h"

static struct {
	struct loop *loop;
	struct server *server;
	struct control *control;
	struct test_daemon daemon;
	char *dir, path[128];
} w;

static int dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, w.path);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -1 : fd;
}

// Lets the server work for some milliseconds.
static void pause_ms(int ms)
{
	for (int i = 0; i < ms; i++) {
		int timer = loop_timer_add(w.loop, 1000000, 0, (loop_timer_fn *)loop_stop, w.loop);

		loop_run(w.loop);
		loop_timer_del(w.loop, timer);
	}
}

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

// What arrives until a whole line is there, or the connection ends: "" then.
static const char *line_from(int fd)
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

static const char *ask(int fd, const char *request)
{
	put(fd, request);
	return line_from(fd);
}

static void expect(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("'%s' does not say '%s'", text, words);
}

// The connection is at its end within three seconds.
static void expect_end(int fd)
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

#define VERSION "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"}\n"

static void expect_service(void)
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

static struct request *waiting;

static int method_later(void *, struct request *req, const json_t *, json_t **, struct refusal *)
{
	waiting = req;
	return METHOD_PENDING;
}

static int method_typo(void *, struct request *, const json_t *params, json_t **, struct refusal *r)
{
	refuse(r, EINVAL, "vlna", "vlna\xc3: cut in the middle of a character");
	return refuse_hint(r, -EINVAL, "did you mean 'vlan'?");
}

static int setup(void **state)
{
	struct server_cfg server = { .max_clients = 8, .stall_ms = 200, .max_backlog = 2 << 20 };
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

static int teardown(void **state)
{
	pause_ms(5);
	server_destroy(w.server);
	assert_int_equal(access(w.path, F_OK), -1);
	control_destroy(w.control);
	loop_destroy(w.loop);
	test_dir_remove(w.dir);
	return 0;
}

// One request and words of its answer.
static const struct {
	const char *request, *answer;
} talks[] = {
	{ VERSION, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"version\":\"1.2.3\",\"protocol\":1}}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"versio\"}\n",
	  "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"error\":{\"code\":-32601,\"message\":\"there is no "
	  "method 'versio'\",\"data\":{\"hint\":\"did you mean 'version'?\"}}}" },
	{ "{\"id\":1,\"method\":\"version\"}\n", "\"code\":-32600" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"version\"}\n", "\"code\":-32600" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}\n", "method must be a string" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\",\"params\":5}\n",
	  "params must be an object or an array" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\",\"params\":[5]}\n",
	  "params: must be an object" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\",\"params\":{\"tpye\":\"port\"}}\n",
	  "did you mean 'type'?" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\",\"params\":{\"type\":5}}\n",
	  "type: must be a string" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"typo\"}\n",
	  "\"code\":-32602,\"message\":\"vlna?: cut in the middle of a character\",\"data\":"
	  "{\"errno\":\"EINVAL\",\"field\":\"vlna\",\"hint\":\"did you mean 'vlan'?\"}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"type\":\"switch\","
	  "\"name\":\"lan\"}}\n", "{\"changed\":1}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"type\":\"port\","
	  "\"name\":\"web0\",\"fields\":{\"switch_name\":\"lan\"}}}\n", "{\"changed\":1}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"set\",\"params\":{\"type\":\"port\","
	  "\"name\":\"web0\",\"fields\":{\"vlan\":5000}}}\n", "\"field\":\"vlan\"" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"set\",\"params\":{\"type\":\"settings\","
	  "\"fields\":{\"age_s\":77}}}\n", "{\"changed\":1}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\",\"params\":{\"type\":\"settings\"}}\n",
	  "\"age_s\":77" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\",\"params\":{\"type\":\"port\","
	  "\"name\":\"web0\"}}\n", "\"link\":\"up\"" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\",\"params\":{\"type\":\"ports\"}}\n",
	  "\"result\":[{\"name\":\"web0\"" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\",\"params\":{\"type\":\"port\","
	  "\"name\":\"web1\"}}\n", "did you mean 'web0'?" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\",\"params\":{\"type\":\"live\","
	  "\"name\":\"two\"}}\n", "\"result\":{\"name\":\"two\"}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\",\"params\":{\"type\":\"live\","
	  "\"name\":\"six\"}}\n", "does not exist" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\"}\n", "\"settings\":[{" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"dump\"}\n",
	  "\"switch\":[{\"name\":\"lan\",\"guid\":\"00000000-0000-0000-0000-0000000000" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"apply\",\"params\":{\"document\":{\"port\":[]},"
	  "\"prune\":true,\"dry_run\":true}}\n", "{\"changed\":1}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"describe\",\"params\":{\"type\":\"switch\"}}\n",
	  "{\"name\":\"max_macs\",\"type\":\"unsigned\",\"flags\":[],\"min\":1,\"max\":1000000,"
	  "\"default\":\"4096\",\"help\":\"addresses learnt at most\"}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"counters\",\"params\":{\"type\":\"port\","
	  "\"name\":\"web0\"}}\n", "\"rx_packets\":7" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"metrics\"}\n",
	  "# TYPE weft_port_drops counter\\nweft_port_drops_total{name=\\\"web0\\\","
	  "reason=\\\"TxFull\\\"} 1\\n" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"metrics\"}\n",
	  "weft_port_queue_depth{name=\\\"web0\\\"} 3\\n# EOF\\n" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"delete\",\"params\":{\"type\":\"port\","
	  "\"name\":\"web0\"}}\n", "{\"changed\":1}" },
};

static void requests_are_answered(void **state)
{
	int fd = dial();

	for (size_t i = 0; i < ARRAY_SIZE(talks); i++)
		expect(ask(fd, talks[i].request), talks[i].answer);
	close(fd);
}

// "[x,x,…,x]" and a newline.
static char *batch_of(int n, const char *request)
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

static void batches_and_notifications(void **state)
{
	int fd = dial();
	char *big = batch_of(65, "1");

	expect(ask(fd, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"},"
		       "{\"jsonrpc\":\"2.0\",\"method\":\"version\"},7]\n"),
	       "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"version\":\"1.2.3\",\"protocol\":1}},"
	       "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,");
	expect(ask(fd, "[]\n"), "\"code\":-32600");
	// Neither a notification nor an empty line is answered: the next answer is the next one's.
	put(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}\n\n[{\"jsonrpc\":\"2.0\",\"method\":\"x\"}]\n");
	expect(ask(fd, VERSION), "1.2.3");
	expect(ask(fd, big), "at most 64");
	free(big);
	close(fd);
}

static void lines_may_come_in_pieces_and_together(void **state)
{
	int fd = dial();

	for (const char *p = VERSION; *p; p++) {
		assert_int_equal(send(fd, p, 1, 0), 1);
		pause_ms(1);
	}
	expect(line_from(fd), "1.2.3");
	put(fd, VERSION VERSION VERSION);
	for (int i = 0; i < 3; i++)
		expect(line_from(fd), "1.2.3");
	// Half-closed: what was asked is still answered.
	put(fd, VERSION VERSION);
	shutdown(fd, SHUT_WR);
	expect(line_from(fd), "1.2.3");
	expect(line_from(fd), "1.2.3");
	expect_end(fd);
}

static void a_client_waits_for_its_own_answers_only(void **state)
{
	int fd = dial();

	put(fd, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"later\"}\n" VERSION);
	pause_ms(3);
	expect_service();
	assert_non_null(waiting);
	request_reply(waiting, json_string("at last"));
	expect(line_from(fd), "\"id\":7,\"result\":\"at last\"");
	expect(line_from(fd), "1.2.3");
	// Gone before its answer: nobody minds.
	put(fd, "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"later\"}\n");
	pause_ms(3);
	close(fd);
	pause_ms(3);
	request_reply(waiting, NULL);
	expect_service();
}

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

static void one_that_never_reads_is_cut_off_alone(void **state)
{
	static const char big[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}\n";
	int fd = dial();

	for (int i = 0; i < 1000; i++)
		if (send(fd, big, strlen(big), MSG_NOSIGNAL) < 0)
			break;
	pause_ms(20);
	expect_service();
	pause_ms(500);
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

static void watchers_hear_of_changes_and_counters(void **state)
{
	static const char add[] = "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"add\",\"params\":"
				  "{\"type\":\"switch\",\"name\":\"seen\"}}\n";
	static const char del[] = "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"delete\",\"params\":"
				  "{\"type\":\"switch\",\"name\":\"seen\"}}\n";
	int fd = dial(), other = dial();

	expect(ask(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watch\",\"params\":"
		       "{\"type\":\"switches\"}}\n"),
	       "{\"watching\":true}");
	expect(ask(other, add), "{\"changed\":1}");
	expect(line_from(fd), "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"type\":\"switch\","
			      "\"name\":\"seen\",\"event\":\"added\",\"detail\":{\"name\":\"seen\"");
	control_event(w.control, "port", "web0", "link-up", NULL);
	control_event(w.control, "switch", "lan", "odd", json_pack("{si}", "n", 1));
	expect(line_from(fd), "\"event\":\"odd\",\"detail\":{\"n\":1}}");
	expect(ask(other, del), "{\"changed\":1}");
	expect(line_from(fd), "\"event\":\"removed\"}");
	expect(ask(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watch\",\"params\":"
		       "{\"type\":\"port\",\"interval_ms\":100}}\n"),
	       "{\"watching\":true}");
	expect(line_from(fd), "\"method\":\"counters\"");
	expect(line_from(fd), "\"rx_packets\":7");
	expect(ask(other, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"watch\",\"params\":"
			  "{\"interval_ms\":5}}\n"),
	       "interval_ms: 5 is not 0 or from 100");
	close(fd);
	close(other);
	pause_ms(250);
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

static void only_one_daemon_serves_a_path(void **state)
{
	struct server_cfg cfg = { .loop = w.loop };
	struct server *second;
	struct err err;
	struct stat st;

	server_create(&cfg, &second, &err);
	assert_int_equal(server_listen(second, w.path, NULL, &err), -EADDRINUSE);
	expect(err.text, "another daemon serves");
	assert_int_equal(server_listen(second, "/nowhere/at/all", NULL, &err), -ENOENT);
	assert_int_equal(server_listen(second, w.path, "no such group", &err), -ENOENT);
	server_destroy(second);
	stat(w.path, &st);
	assert_int_equal(st.st_mode & 0777, 0660);
	pause_ms(3);
	expect_service();
}

static void a_dead_daemons_socket_is_replaced(void **state)
{
	struct server_cfg cfg = { .loop = w.loop };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int dead = socket(AF_UNIX, SOCK_STREAM, 0);
	struct server *second;
	struct err err;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/dead", w.dir);
	bind(dead, (struct sockaddr *)&addr, sizeof(addr));
	listen(dead, 1);
	close(dead);
	server_create(&cfg, &second, &err);
	assert_int_equal(server_listen(second, addr.sun_path, NULL, &err), 0);
	server_destroy(second);
	// What is not a socket is left alone.
	close(open(addr.sun_path, O_CREAT | O_WRONLY, 0600));
	server_create(&cfg, &second, &err);
	assert_int_equal(server_listen(second, addr.sun_path, NULL, &err), -EADDRINUSE);
	server_destroy(second);
	assert_int_equal(access(addr.sun_path, F_OK), 0);
}

// Connects as somebody else and exits with 0 if the server answers, 1 if it says no.
static int as_user(uid_t uid, gid_t gid, gid_t extra)
{
	pid_t child = fork();
	char answer[256] = {};
	int status;

	if (child == 0) {
		if (setgroups(1, &extra) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
			_exit(2);
		int fd = dial();
		struct pollfd p = { fd, POLLIN, 0 };

		send(fd, VERSION, strlen(VERSION), MSG_NOSIGNAL);
		poll(&p, 1, 2000);
		_exit(recv(fd, answer, sizeof(answer) - 1, 0) > 0 && strstr(answer, "1.2.3") ? 0 : 1);
	}
	for (int ms = 0; waitpid(child, &status, WNOHANG) == 0 && ms < 3000; ms++)
		pause_ms(1);
	return WEXITSTATUS(status);
}

static void strangers_are_turned_away(void **state)
{
	if (geteuid() != 0)
		skip();
	// The file's mode alone would let them in.
	chmod(w.dir, 0755);
	chmod(w.path, 0666);
	w.server->group = 4242;
	assert_int_equal(as_user(65534, 65534, 65534), 1);
	assert_int_equal(as_user(65534, 4242, 65534), 0);
	assert_int_equal(as_user(65534, 65534, 4242), 0);
	assert_int_equal(as_user(0, 0, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_are_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(batches_and_notifications, setup, teardown),
		cmocka_unit_test_setup_teardown(lines_may_come_in_pieces_and_together, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_waits_for_its_own_answers_only, setup,
						teardown),
		cmocka_unit_test_setup_teardown(garbage_ends_the_client_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(half_a_line_ends_the_client_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(an_endless_line_ends_the_client_alone, setup, teardown),
		cmocka_unit_test(too_many_values_are_refused),
		cmocka_unit_test_setup_teardown(one_that_never_reads_is_cut_off_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_batch_of_big_answers_is_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(clients_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(watchers_hear_of_changes_and_counters, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watcher_that_does_not_read_is_cut_off, setup,
						teardown),
		cmocka_unit_test_setup_teardown(only_one_daemon_serves_a_path, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dead_daemons_socket_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(strangers_are_turned_away, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("control/server", tests, NULL, NULL);
}
