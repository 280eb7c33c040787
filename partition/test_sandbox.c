// SPDX-License-Identifier: Apache-2.0
// What the sandbox lets through, and what ends the process.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "partition/sandbox.h"

static void work(void)
{
	void *memory = malloc(1 << 20);
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!memory || page == MAP_FAILED)
		_exit(2);
	munmap(page, 4096);
	free(memory);
}

static void run_program(void) { execl("/bin/true", "true", NULL); }
static void trace(void) { ptrace(PTRACE_TRACEME, 0, NULL, NULL); }
static void kill_others(void) { kill(getppid(), 0); }

// The status of a process that enters the sandbox and does `act`.
static int status_of(void (*act)(void))
{
	const struct rlimit no_core = {};
	struct err err;
	int status;
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		if (partition_sandbox_enter(&err))
			_exit(3);
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void only_what_is_needed_goes_through(void **state)
{
	void (*const forbidden[])(void) = { run_program, trace, kill_others };

	assert_int_equal(status_of(work), 0);
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		int status = status_of(forbidden[i]);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(only_what_is_needed_goes_through) };

	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
