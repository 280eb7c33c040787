// SPDX-License-Identifier: Apache-2.0
// The store: what was acknowledged is there after a cut at any byte, a flipped bit, a full disk.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "control/journal.h"
#include "control/store.h"
#include "control/testing.h"

#define N_GROUPS 5

// Group i: object "o<i>" appears, "o<i-2>" goes.
static json_t *patch_of(int i)
{
	json_t *objs = json_object();
	char name[16];

	snprintf(name, sizeof(name), "o%d", i);
	json_object_set_new(objs, name, json_pack("{si}", "value", i));
	snprintf(name, sizeof(name), "o%d", i - 2);
	if (i > 2)
		json_object_set_new(objs, name, json_null());
	return json_pack("{so}", "thing", objs);
}

// Whether `doc` is the state after groups 1 … n.
static bool is_state(const json_t *doc, int n)
{
	json_t *things = json_object_get(doc, "thing");
	char name[16];

	for (int i = 1; i <= N_GROUPS; i++) {
		snprintf(name, sizeof(name), "o%d", i);
		if (!!json_object_get(things, name) != (i <= n && i > n - 2))
			return false;
	}
	return true;
}

static void append(struct store *s, int i)
{
	json_t *patch = patch_of(i);
	struct err err;

	assert_int_equal(store_append(s, patch, &err), 0);
	json_decref(patch);
}

static char *path_of(const char *dir, const char *file)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return path;
}

static size_t read_bytes(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(buf, 1, size, f) : 0;

	if (f)
		fclose(f);
	return n;
}

static void write_bytes(const char *path, const char *buf, size_t size)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(buf, 1, size, f), size);
	fclose(f);
}

// Opens, looks, closes. Returns n if the state is the one after n groups, else -1.
static int state_in(const char *dir)
{
	struct store *s;
	struct err err;
	json_t *doc;
	int n;

	if (store_open(dir, &s, &doc, &err) < 0)
		fail_msg("%s", err.text);
	for (n = N_GROUPS; n >= 0 && !is_state(doc, n); n--)
		;
	json_decref(doc);
	store_close(s);
	return n;
}

// A directory with groups 1 … n; `compact` of them lie in a snapshot.
static char *filled_dir(int n, int compact)
{
	char *dir = test_dir_make();
	json_t *doc, *state;
	struct store *s;
	struct err err;

	assert_int_equal(store_open(dir, &s, &doc, &err), 0);
	json_decref(doc);
	for (int i = 1; i <= n; i++) {
		append(s, i);
		if (i != compact)
			continue;
		store_close(s);
		assert_int_equal(store_open(dir, &s, &state, &err), 0);
		assert_int_equal(store_compact(s, state, &err), 0);
		json_decref(state);
	}
	store_close(s);
	return dir;
}

static void state_survives_a_restart(void **state)
{
	char *dir = filled_dir(4, 0);

	assert_int_equal(state_in(dir), 4);
	assert_int_equal(state_in(dir), 4);
	test_dir_remove(dir);
}

static void cut_anywhere_leaves_the_last_whole_group(void **state)
{
	char *dir = filled_dir(N_GROUPS, 0);
	struct journal_group group = {};
	char journal[4096];
	size_t size = read_bytes(path_of(dir, "journal.0"), journal, sizeof(journal));
	int n = -1;

	for (size_t cut = 0; cut <= size; cut++) {
		while (group.end <= cut && n < N_GROUPS) {
			n++;
			journal_read(journal, size, group.end, &group);
		}
		write_bytes(path_of(dir, "journal.0"), journal, cut);
		assert_int_equal(state_in(dir), n == N_GROUPS ? N_GROUPS : n);
	}
	assert_int_equal(n, N_GROUPS);
	test_dir_remove(dir);
}

static void any_flipped_bit_is_seen(void **state)
{
	char *dir = filled_dir(3, 0);
	char journal[4096];
	size_t size = read_bytes(path_of(dir, "journal.0"), journal, sizeof(journal));
	struct journal_group group;
	uint64_t seq;

	for (size_t bit = 0; bit < size * 8; bit++) {
		json_t *doc = json_object();
		size_t end = 0;
		int n = 0;

		while (journal_read(journal, size, end, &group) == 1 && group.end <= bit / 8) {
			end = group.end;
			n++;
		}
		journal[bit / 8] ^= (char)(1 << bit % 8);
		seq = 0;
		assert_int_equal(store_replay(journal, size, &seq, doc), end);
		assert_int_equal(seq, n);
		assert_true(is_state(doc, n));
		journal[bit / 8] ^= (char)(1 << bit % 8);
		json_decref(doc);
	}
	test_dir_remove(dir);
}

static void what_is_damaged_is_kept_aside_and_work_goes_on(void **state)
{
	char *dir = filled_dir(3, 0);
	char journal[4096], tail[4096];
	size_t size = read_bytes(path_of(dir, "journal.0"), journal, sizeof(journal)), n_tail;
	struct journal_group first, second;
	struct store *s;
	struct err err;
	json_t *doc;

	journal_read(journal, size, 0, &first);
	journal_read(journal, size, first.end, &second);
	journal[first.end + 25] ^= 1;
	write_bytes(path_of(dir, "journal.0"), journal, size);
	assert_int_equal(store_open(dir, &s, &doc, &err), 0);
	assert_true(is_state(doc, 1));
	json_decref(doc);
	append(s, 2);
	store_close(s);
	assert_int_equal(state_in(dir), 2);
	n_tail = read_bytes(path_of(dir, "journal.0.bad"), tail, sizeof(tail));
	assert_int_equal(n_tail, size - first.end);
	assert_memory_equal(tail, journal + first.end, n_tail);
	test_dir_remove(dir);
}

static void compaction_keeps_the_state(void **state)
{
	for (int at = 1; at <= N_GROUPS; at++) {
		char *dir = filled_dir(N_GROUPS, at);
		char name[32];

		snprintf(name, sizeof(name), "snapshot.%d", at);
		assert_int_equal(access(path_of(dir, name), F_OK), 0);
		assert_int_equal(state_in(dir), N_GROUPS);
		test_dir_remove(dir);
	}
}

static void damaged_snapshot_falls_back_without_loss(void **state)
{
	char *dir = filled_dir(N_GROUPS, 3);
	char snapshot[4096];
	size_t size = read_bytes(path_of(dir, "snapshot.3"), snapshot, sizeof(snapshot));

	snapshot[size / 2] ^= 4;
	write_bytes(path_of(dir, "snapshot.3"), snapshot, size);
	assert_int_equal(state_in(dir), N_GROUPS);
	assert_int_equal(access(path_of(dir, "snapshot.3.bad"), F_OK), 0);
	assert_int_equal(state_in(dir), N_GROUPS);
	test_dir_remove(dir);
}

static void a_missing_group_ends_the_replay(void **state)
{
	static const uint64_t numbers[] = { 1, 1, 2, 4, 5 };
	char journal[1024], body[64];
	json_t *doc = json_object();
	size_t size = 0, ends[5], n;
	uint64_t seq = 0;
	void *group;

	for (int i = 0; i < 5; i++) {
		snprintf(body, sizeof(body), "{\"thing\": {\"o%d\": {}}}", i);
		group = journal_build(numbers[i], body, strlen(body), &n);
		memcpy(journal + size, group, n);
		ends[i] = size += n;
		free(group);
	}
	assert_int_equal(store_replay(journal, size, &seq, doc), ends[2]);
	assert_int_equal(seq, 2);
	// The second group 1 was skipped, 4 and 5 do not follow on 2.
	assert_int_equal(json_object_size(json_object_get(doc, "thing")), 2);
	json_decref(doc);
}

static void a_gap_between_journals_is_not_jumped(void **state)
{
	char *dir = filled_dir(N_GROUPS, 3);
	char journal[4096];
	size_t size = read_bytes(path_of(dir, "journal.0"), journal, sizeof(journal));

	write_bytes(path_of(dir, "snapshot.3"), "rubbish", 7);
	write_bytes(path_of(dir, "journal.0"), journal, size - 1);
	assert_int_equal(state_in(dir), 2);
	assert_int_equal(access(path_of(dir, "journal.3.bad"), F_OK), 0);
	assert_int_equal(state_in(dir), 2);
	test_dir_remove(dir);
}

static void older_generations_go(void **state)
{
	char *dir = test_dir_make();
	json_t *doc, *none = json_object();
	struct store *s;
	struct err err;

	assert_int_equal(store_open(dir, &s, &doc, &err), 0);
	for (int i = 1; i <= 3; i++) {
		append(s, i);
		assert_int_equal(store_compact(s, none, &err), 0);
	}
	assert_int_equal(store_compact(s, none, &err), 0);
	assert_int_equal(access(path_of(dir, "journal.0"), F_OK), -1);
	assert_int_equal(access(path_of(dir, "snapshot.1"), F_OK), -1);
	assert_int_equal(access(path_of(dir, "snapshot.2"), F_OK), 0);
	assert_int_equal(access(path_of(dir, "snapshot.3"), F_OK), 0);
	store_close(s);
	json_decref(none);
	json_decref(doc);
	test_dir_remove(dir);
}

// Files may not grow over `bytes` from now on: a full disk, as write(2) tells it.
static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
}

static void full_disk_leaves_the_old_state(void **state)
{
	char *dir = filled_dir(2, 0), journal[4096];
	size_t size = read_bytes(path_of(dir, "journal.0"), journal, sizeof(journal));
	json_t *doc, *patch = patch_of(3);
	struct store *s;
	struct err err;
	struct stat st;

	assert_int_equal(store_open(dir, &s, &doc, &err), 0);
	for (rlim_t room = 0; room < 50; room++) {
		limit_file_size(size + room);
		assert_int_equal(store_append(s, patch, &err), -EFBIG);
		assert_non_null(strstr(err.text, "cannot be saved"));
		stat(path_of(dir, "journal.0"), &st);
		assert_int_equal(st.st_size, size);
	}
	limit_file_size(10);
	assert_int_equal(store_compact(s, doc, &err), -EFBIG);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(store_append(s, patch, &err), 0);
	store_close(s);
	assert_int_equal(state_in(dir), 3);
	json_decref(patch);
	json_decref(doc);
	test_dir_remove(dir);
}

static void one_daemon_at_a_time(void **state)
{
	char *dir = filled_dir(1, 0);
	struct store *s, *second;
	json_t *doc;
	struct err err;

	assert_int_equal(store_open(dir, &s, &doc, &err), 0);
	json_decref(doc);
	assert_int_equal(store_open(dir, &second, &doc, &err), -EBUSY);
	assert_non_null(strstr(err.text, "in use by another daemon"));
	store_close(s);
	assert_int_equal(store_open("/nowhere/at/all", &s, &doc, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/at/all"));
	test_dir_remove(dir);
}

static void crc_is_castagnoli(void **state)
{
	// RFC 3720, "B.4 CRC Examples": 32 bytes of zeroes, and 0 … 31.
	uint8_t bytes[32] = {};

	assert_int_equal(journal_crc32c(0, bytes, 32), 0x8a9136aa);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = i;
	assert_int_equal(journal_crc32c(0, bytes, 32), 0x46dd794e);
	assert_int_equal(journal_crc32c(journal_crc32c(0, bytes, 13), bytes + 13, 19), 0x46dd794e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_survives_a_restart),
		cmocka_unit_test(cut_anywhere_leaves_the_last_whole_group),
		cmocka_unit_test(any_flipped_bit_is_seen),
		cmocka_unit_test(what_is_damaged_is_kept_aside_and_work_goes_on),
		cmocka_unit_test(compaction_keeps_the_state),
		cmocka_unit_test(damaged_snapshot_falls_back_without_loss),
		cmocka_unit_test(a_missing_group_ends_the_replay),
		cmocka_unit_test(a_gap_between_journals_is_not_jumped),
		cmocka_unit_test(older_generations_go),
		cmocka_unit_test(full_disk_leaves_the_old_state),
		cmocka_unit_test(one_daemon_at_a_time),
		cmocka_unit_test(crc_is_castagnoli),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("control/store", tests, NULL, NULL);
}
