// SPDX-License-Identifier: Apache-2.0
// Mappings of memory that others may truncate: what is refused, and that a fault hurts nobody else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmbus/mapping.h"

#define BYTES (16 * 4096)

static int memfd(uint64_t bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	if (seals)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void what_does_not_fit_is_refused(void **state)
{
	int both = F_SEAL_SHRINK | F_SEAL_GROW, p[2];
	bool dead = false;
	int plain = memfd(BYTES, 0), sealed = memfd(BYTES, both), half = memfd(BYTES, F_SEAL_GROW);
	int readable = open("/proc/self/fd/0", O_RDONLY), proc = open("/proc/self/maps", O_RDONLY);
	char path[32];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", plain);
	close(readable);
	readable = open(path, O_RDONLY | O_CLOEXEC);
	const struct {
		struct vmbus_mapping_cfg cfg;
		int ret;
	} rows[] = {
		{ { .fd = plain, .bytes = BYTES }, 0 },
		{ { .fd = plain, .offset = 4096, .bytes = BYTES - 4096 }, 0 },
		{ { .fd = plain, .offset = 4096, .bytes = BYTES }, -EINVAL },
		{ { .fd = plain, .offset = UINT64_MAX - 4095, .bytes = 8192 }, -EINVAL },
		{ { .fd = plain, .offset = 512, .bytes = 4096 }, -EINVAL },
		{ { .fd = plain, .bytes = 0 }, -EINVAL },
		{ { .fd = plain, .bytes = UINT64_MAX }, -EINVAL },
		{ { .fd = p[0], .bytes = BYTES }, -EINVAL },
		{ { .fd = -1, .bytes = BYTES }, -EINVAL },
		{ { .fd = proc, .bytes = BYTES }, -ENODEV },
		{ { .fd = readable, .bytes = BYTES }, -EACCES },
		{ { .fd = readable, .bytes = BYTES, .read_only = true }, 0 },
		{ { .fd = sealed, .bytes = BYTES, .sealed = true }, 0 },
		{ { .fd = sealed, .bytes = BYTES - 4096, .sealed = true }, -EINVAL },
		{ { .fd = half, .bytes = BYTES, .sealed = true }, -EPERM },
		{ { .fd = plain, .bytes = BYTES, .sealed = true }, -EPERM },
		{ { .fd = readable, .bytes = BYTES, .sealed = true }, -EPERM },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmbus_mapping_cfg cfg = rows[i].cfg;
		struct vmbus_mapping mapping = {};
		struct err err = {};
		int ret;

		cfg.dead = &dead;
		ret = vmbus_mapping_init(&mapping, &cfg, &err);
		if (ret != rows[i].ret)
			fail_msg("row %zu: %d, not %d: %s", i, ret, rows[i].ret, err.text);
		assert_int_equal(ret < 0, err.text[0] != '\0');
		assert_int_equal(ret < 0, !mapping.at);
		vmbus_mapping_fini(&mapping);
		vmbus_mapping_fini(&mapping);
	}
	assert_false(dead);
	close(plain);
	close(sealed);
	close(half);
	close(readable);
	close(proc);
	close(p[0]);
	close(p[1]);
}

// A guest: memory, and whether it died.
struct guest {
	int fd;
	bool dead;
	struct vmbus_mapping mapping;
};

// In place of the test library's own handler, which it installs before each test.
static void install(void) { assert_int_equal(vmbus_mapping_install(), 0); }

static void guest_init(struct guest *guest)
{
	struct vmbus_mapping_cfg cfg = { .bytes = BYTES, .dead = &guest->dead };
	struct err err = {};

	*guest = (struct guest){ .fd = memfd(BYTES, 0) };
	cfg.fd = guest->fd;
	assert_int_equal(vmbus_mapping_init(&guest->mapping, &cfg, &err), 0);
	memset(guest->mapping.at, 0x5a, BYTES);
}

static void guest_fini(struct guest *guest)
{
	vmbus_mapping_fini(&guest->mapping);
	close(guest->fd);
}

// Reads and writes every page of a guest until it is told that the guest is dead.
static void *worker(void *arg)
{
	struct guest *guest = arg;

	while (!__atomic_load_n(&guest->dead, __ATOMIC_ACQUIRE))
		for (uint32_t i = 0; i < BYTES; i += 4096) {
			uint8_t *byte = guest->mapping.at + i;

			__atomic_load_n(byte, __ATOMIC_RELAXED);
			__atomic_store_n(byte, 0, __ATOMIC_RELAXED);
		}
	return NULL;
}

static void truncation_hurts_its_guest_alone(void **state)
{
	struct guest a, b;
	pthread_t threads[2];

	install();
	guest_init(&a);
	guest_init(&b);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker, &a), 0);
	assert_int_equal(ftruncate(a.fd, 0), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(a.dead);
	assert_false(b.dead);
	for (uint32_t i = 0; i < BYTES; i++) {
		assert_int_equal(a.mapping.at[i], 0);
		assert_int_equal(b.mapping.at[i], 0x5a);
	}
	guest_fini(&a);
	guest_fini(&b);
}

static void many_come_and_go(void **state)
{
	struct guest guests[600];

	install();
	for (int i = 0; i < 600; i++)
		guest_init(&guests[i]);
	for (int i = 0; i < 600; i += 2)
		guest_fini(&guests[i]);
	for (int i = 0; i < 600; i += 4)
		guest_init(&guests[i]);
	assert_int_equal(ftruncate(guests[4].fd, 4096), 0);
	assert_int_equal(guests[4].mapping.at[0], 0x5a);
	assert_int_equal(guests[4].mapping.at[8192], 0);
	assert_true(guests[4].dead);
	for (int i = 0; i < 600; i++) {
		if (i % 4 == 2)
			continue;
		assert_int_equal(guests[i].dead, i == 4);
		assert_int_equal(guests[i].mapping.at[0], i == 4 ? 0 : 0x5a);
		guest_fini(&guests[i]);
	}
}

// What the child does, so that it ends by SIGBUS.
static void fault_elsewhere(void)
{
	int fd = memfd(4096, 0);
	volatile uint8_t *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	if (at != MAP_FAILED && ftruncate(fd, 0) == 0)
		(void)*at;
}

static void be_sent_one(void) { raise(SIGBUS); }

static void fault_after_unmapping(void)
{
	struct guest guest;
	volatile uint8_t *at;

	guest_init(&guest);
	at = guest.mapping.at;
	vmbus_mapping_fini(&guest.mapping);
	at = mmap((void *)(uintptr_t)at, BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, guest.fd, 0);
	if (at != MAP_FAILED && ftruncate(guest.fd, 0) == 0)
		(void)*at;
}

static void other_faults_still_kill(void **state)
{
	void (*const deaths[])(void) = { fault_elsewhere, be_sent_one, fault_after_unmapping };

	install();
	for (size_t i = 0; i < ARRAY_SIZE(deaths); i++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			deaths[i]();
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGBUS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(truncation_hurts_its_guest_alone),
		cmocka_unit_test(many_come_and_go),
		cmocka_unit_test(other_faults_still_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
