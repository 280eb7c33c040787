// SPDX-License-Identifier: Apache-2.0
// Bells: a VMM cannot make us wait, and none is lost, also from several threads.
#include "vmbus/bell.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define N_THREADS 4
#define N_SIGNALS 5000 // of each: many times what the kernel keeps room for

static uint64_t taken(int fd)
{
	eventfd_t value = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	eventfd_read(fd, &value);
	return value;
}

static int setup(void **state) { return vmbus_bell_init() < 0 ? -1 : 0; }

static void test_full_counter(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
	alarm(10); // a write would wait for ever
	vmbus_bell_signal(fd);
	vmbus_bell_signal(fd);
	alarm(0);
	assert_true(taken(fd) >= UINT64_MAX - 1);
	vmbus_bell_signal(fd);
	assert_int_equal(taken(fd), 1);
	close(fd);
}

static void *signal_often(void *arg)
{
	for (int i = 0; i < N_SIGNALS; i++)
		vmbus_bell_signal(*(int *)arg);
	return NULL;
}

static void test_none_is_lost(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	pthread_t threads[N_THREADS];

	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, signal_often, &fd), 0);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(taken(fd), N_THREADS * N_SIGNALS);
	close(fd);
}

static void test_ring(void **state)
{
	struct vmbus_bell bell = { .fd = eventfd(0, EFD_CLOEXEC), .flag = 4, .gpa = 4096 };
	uint64_t flags = 0, pages = 0;
	const struct vmbus_dirty dirty = { &pages, 64 };

	bell.word = &flags;
	assert_false(vmbus_bell_ring(&bell, &dirty));
	assert_int_equal(flags, 0);
	bell.mode = VMBUS_USER_MODE_DIRECT;
	assert_true(vmbus_bell_ring(&bell, &dirty));
	assert_int_equal(flags, 4);
	assert_int_equal(pages, 2);
	assert_false(vmbus_bell_ring(&bell, &dirty)); // an interrupt is on its way
	assert_int_equal(taken(bell.fd), 1);
	bell.mode = VMBUS_USER_MODE_CALL;
	assert_true(vmbus_bell_ring(&bell, NULL));
	assert_int_equal(taken(bell.fd), 1);
	close(bell.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_counter),
		cmocka_unit_test(test_none_is_lost),
		cmocka_unit_test(test_ring),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
