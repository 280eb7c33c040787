// SPDX-License-Identifier: Apache-2.0
// weft against a daemon with the object types of control's tests: one command line after the
// other, with its exit code and words of what it prints. WEFT and WEFT_TEST_DAEMON name the two
// programs.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/types.h"

static FILE *to_daemon;
static char dir[] = "/tmp/weft-cli.XXXXXX", sock[64];

// A command line behind "weft", its exit code, and what its output (both streams) must say; a
// second text after "…" must follow the first.
struct step {
	const char *line;
	int code;
	const char *says;
};

static const struct step steps[] = {
	{ "show", 0, "settings\nAGE_S\n  300\n" },
	{ "version", 0, "weftd 1.2.3, protocol 1" },
	{ "describe", 0, "switch    a virtual switch" },
	{ "describe port", 0, "vlan         1-4094 " },
	{ "describe port", 0, "mode         access|trunk " },
	{ "describe port", 0, "name of a switch " },
	{ "describe prot", 1, "there is no object type 'prot'\nDid you mean 'port'?" },
	{ "describe --man", 0, ".BR vlan \" (unsigned\" )\naccess VLAN\nFrom 1 to 4094." },
	{ "add switch lan", 0, "1 object changed" },
	{ "add port web0 switch_name=lan vlan=5 enabled=no mac=00-15-5D-00-00-09", 0,
	  "1 object changed" },
	{ "add port web0 switch_name=lan", 1,
	  "weft: port 'web0': exists already\nUse set to change it" },
	{ "add port web1 switch_name=lna", 1, "there is no switch 'lna'\nDid you mean 'lan'?" },
	{ "add port web1 switch_name=lan vlan=x", 1, "vlan: \"x\" is not a whole number from 1" },
	{ "add port web1 switch_name=lan vlna=4", 1, "Did you mean 'vlan'?" },
	{ "get port web0 vlan", 0, "5\n" },
	{ "get port web0 mac", 0, "00:15:5d:00:00:09\n" },
	{ "get port web0", 0, "enabled=false\n" },
	{ "get port web0 note", 1, "no field 'note'" },
	{ "set port web0 vlan=6", 0, "1 object changed" },
	{ "set port web0 vlan=6", 0, "nothing to change" },
	{ "set port web0 vlan= note='two words'", 0, "1 object changed" },
	{ "get port web0 note", 0, "two words\n" },
	{ "get port web0 vlan", 1, "no field 'vlan'" },
	{ "set settings age_s=60", 0, "1 object changed" },
	{ "get settings settings age_s", 0, "60\n" },
	{ "set port vlan=6", 2, "the name is missing" },
	{ "set port web0 vlan", 2, "'vlan' is not FIELD=VALUE; weft describe port" },
	{ "show port", 0, "NAME  SWITCH_NAME  MODE" },
	{ "show port", 0, "web0  lan          access" },
	{ "show port web0", 0, "switch_name  lan\n" },
	{ "show port --json", 0, "\"link\": \"up\"" },
	{ "show lives", 0, "NAME\none\ntwo\n" },
	{ "counters", 0, "port web0\n  rx_packets                                      7\n" },
	{ "counters port", 0, "  drops Filtered                                  2\n" },
	{ "call metrics", 0, "# EOF" },
	{ "call get type=port name=web0", 0, "\"note\": \"two words\"" },
	{ "test nothing", 1, "there is no method 'test_nothing'" },
	{ "test path from", 2, "'from' is not KEY=VALUE" },
	{ "test --help", 0, "jumbo to=PROVIDER" },
	{ "call gte", 1, "Did you mean 'get'?" },
	{ "dump > DIR/all.json", 0, "" },
	{ "delete switch lan", 1,
	  "weft: switch 'lan' is still used by port 'web0' (switch_name)\nDelete or change" },
	{ "delete port web0", 0, "1 object changed" },
	{ "show port", 0, "There are no ports." },
	{ "apply DIR/all.json --dry-run", 0, "1 object would be changed" },
	{ "apply DIR/all.json", 0, "1 object changed" },
	{ "apply - < DIR/all.json", 0, "nothing to change" },
	{ "apply --prune DIR/none.json", 0, "1 object changed" },
	{ "apply DIR/broken.json", 2, "broken.json, line 2: " },
	{ "apply DIR/nowhere.json", 2, "No such file" },
	{ "complete se", 0, "set\n" },
	{ "complete set po", 0, "port\n" },
	{ "complete get switch l", 0, "lan\n" },
	{ "complete test path x", 0, "from=\nto=\n" },
	{ "complete set port web0 v", 0, "vlan=\n" },
	{ "completion bash", 0, "complete -o default -F _weft weft" },
	{ "--help", 0, "usage: weft COMMAND" },
	{ "set --help", 0, "usage: weft set TYPE [NAME] FIELD=VALUE" },
	{ "add port --help", 0, "the switch it belongs to (required)" },
	{ "", 2, "which command?" },
	{ "shaw", 2, "did you mean 'show'?" },
	{ "show port web0 more", 2, "usage: weft show [TYPE [NAME]]" },
	{ "show --prune", 2, "takes no such option" },
	{ "show --jsno", 2, "there is no option '--jsno'" },
	{ "watch --interval 0", 2, "from 0.1 to 3600" },
	{ "show --socket DIR/none", 3, "Is weftd running? Start it: systemctl start weftd" },
};

// Puts the directory for every DIR of a line.
static void expand(char *out, size_t size, const char *line)
{
	const char *found;
	size_t n = 0;

	out[0] = '\0';
	while ((found = strstr(line, "DIR"))) {
		n += (size_t)snprintf(out + n, size - n, "%.*s%s", (int)(found - line), line, dir);
		line = found + 3;
	}
	snprintf(out + n, size - n, "%s", line);
}

static int run(const char *line, char *output, size_t size)
{
	char words[512], command[1024];
	FILE *out;
	size_t n;

	expand(words, sizeof(words), line);
	snprintf(command, sizeof(command), "exec 2>&1; %s %s", getenv("WEFT"), words);
	out = popen(command, "r");
	n = fread(output, 1, size - 1, out);
	output[n] = '\0';
	return WEXITSTATUS(pclose(out));
}

static void every_command(void **state)
{
	char output[16384];

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int code = run(steps[i].line, output, sizeof(output));

		if (code != steps[i].code || !strstr(output, steps[i].says))
			fail_msg("weft %s: exit %d, not %d, or not '%s' in:\n%s", steps[i].line,
				 code, steps[i].code, steps[i].says, output);
	}
}

static void watch_prints_events(void **state)
{
	static char output[1 << 20];

	// timeout's own exit code says that weft was still at it.
	setenv("WEFT_PLAIN", getenv("WEFT"), 1);
	snprintf(output, sizeof(output), "timeout 1 %s", getenv("WEFT_PLAIN"));
	setenv("WEFT", output, 1);
	assert_int_equal(run("watch port", output, sizeof(output)), 124);
	assert_non_null(strstr(output, "port 'web0': tick\n"));
	assert_int_equal(run("watch --json --interval 0.1", output, sizeof(output)), 124);
	assert_non_null(strstr(output, "\"method\":\"counters\""));
	setenv("WEFT", getenv("WEFT_PLAIN"), 1);
}

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
}

static int setup(void **state)
{
	int in[2], out[2];
	char ready[8] = "";

	if (!mkdtemp(dir) || pipe(in) < 0 || pipe(out) < 0)
		return -1;
	snprintf(sock, sizeof(sock), "%s/sock", dir);
	setenv("WEFT_SOCKET", sock, 1);
	// On an error weft ends where it stands: what it holds then is no leak.
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	write_file("none.json", "{\"port\": []}\n");
	write_file("broken.json", "{\n\"port\": ]\n");
	if (fork() == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		close(in[1]);
		execl(getenv("WEFT_TEST_DAEMON"), "testing-daemon", sock, NULL);
		_exit(127);
	}
	to_daemon = fdopen(in[1], "w");
	return read(out[0], ready, 5) == 5 ? 0 : -1;
}

static int teardown(void **state)
{
	char command[64];
	int status;

	fclose(to_daemon);
	wait(&status);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) == 0 && status == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_command),
		cmocka_unit_test(watch_prints_events),
	};

	return cmocka_run_group_tests_name("cli", tests, setup, teardown);
}
