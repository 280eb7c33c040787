// SPDX-License-Identifier: Apache-2.0
// The server on real sockets: what clients may ask, what they are answered, and who
// may connect.
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
#include "control/test_socket.h"

// One request and words of its answer.
static const struct {
	const char *request, *answer;
} talks[] = {
	{ VERSION,
	  "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"version\":\"1.2.3\",\"protocol\":1}}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"vversion\"}\n",
	  "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"error\":{\"code\":-32601,\"message\":\"there is no "
	  "method 'vversion'\",\"data\":{\"hint\":\"did you mean 'version'?\"}}}" },
	{ "{\"id\":1,\"method\":\"version\"}\n", "\"code\":-32600" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"version\"}\n", "\"code\":-32600" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}\n", "method must be a string" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\",\"params\":5}\n",
	  "params must be an object or an array" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\",\"params\":[5]}\n",
	  "params: must be an object" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get\",\"params\":{\"typ\":\"port\"}}\n",
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
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"apply\",\"params\":{\"document\":"
	  "{\"port\":[]},\"prune\":true,\"dry_run\":true}}\n", "{\"changed\":1}" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"describe\",\"params\":"
	  "{\"type\":\"switch\"}}\n",
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
	put(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}\n\n"
		"[{\"jsonrpc\":\"2.0\",\"method\":\"x\"}]\n");
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
	assert_non_null(w.waiting);
	request_reply(w.waiting, json_string("at last"));
	expect(line_from(fd), "\"id\":7,\"result\":\"at last\"");
	expect(line_from(fd), "1.2.3");
	// Gone before its answer: nobody minds.
	put(fd, "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"later\"}\n");
	pause_ms(3);
	close(fd);
	pause_ms(3);
	request_reply(w.waiting, NULL);
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
	expect(line_from(fd),
	       "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"type\":\"switch\","
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
		(void)!recv(fd, answer, sizeof(answer) - 1, 0);
		_exit(strstr(answer, "1.2.3") ? 0 : 1);
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
		SERVER_TEST(requests_are_answered),
		SERVER_TEST(batches_and_notifications),
		SERVER_TEST(lines_may_come_in_pieces_and_together),
		SERVER_TEST(a_client_waits_for_its_own_answers_only),
		SERVER_TEST(watchers_hear_of_changes_and_counters),
		SERVER_TEST(only_one_daemon_serves_a_path),
		SERVER_TEST(a_dead_daemons_socket_is_replaced),
		SERVER_TEST(strangers_are_turned_away),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("control/server", tests, NULL, NULL);
}
