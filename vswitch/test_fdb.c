// SPDX-License-Identifier: Apache-2.0
// The forwarding database alone, and with readers that look while the writer changes it.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vswitch/fdb.h"

#define N_MACS 5000u

static struct mac mac_of(uint32_t i)
{
	return mac_from_u64(0x020000000000ull + i);
}

static struct fdb_where at(uint16_t port)
{
	return (struct fdb_where){ .port = port };
}

static struct rcu *rcu;
static struct fdb *fdb;

static int set_up(void **state)
{
	struct err err;

	rcu = rcu_create();
	assert_int_equal(fdb_create(rcu, &fdb, &err), 0);
	assert_int_equal(fdb_domain_add(fdb, 1), 0);
	return 0;
}

static int tear_down(void **state)
{
	rcu_destroy(rcu);
	fdb_destroy(fdb);
	return 0;
}

static enum fdb_fate learnt_on_4(void *arg, uint16_t fid, uint16_t port, enum fdb_state state)
{
	return port == 4 && state == FDB_LEARNT ? FDB_REMOVE : FDB_KEEP;
}

static enum fdb_fate all_of_domain_1(void *arg, uint16_t fid, uint16_t port, enum fdb_state state)
{
	return fid == 1 ? FDB_REMOVE : FDB_KEEP;
}

static enum fdb_fate touch_port_3(void *arg, uint16_t fid, uint16_t port, enum fdb_state state)
{
	return port == 3 ? FDB_TOUCH : FDB_KEEP;
}

static void grows_and_forgets(void **state)
{
	struct fdb_where w;

	for (uint32_t i = 0; i < N_MACS; i++)
		assert_int_equal(fdb_set(fdb, 1, mac_of(i), at(i % 9), FDB_LEARNT, false), 0);
	for (uint32_t i = 0; i < N_MACS; i++) {
		assert_int_not_equal(fdb_find(fdb, 1, mac_of(i), &w), 0);
		assert_int_equal(w.port, i % 9);
		assert_int_equal(fdb_find(fdb, 2, mac_of(i), &w), 0); // another domain
	}
	fdb_sweep(fdb, learnt_on_4, NULL);
	assert_int_equal(fdb_port_count(fdb, 4), 0);
	for (uint32_t i = 0; i < N_MACS; i++)
		assert_int_equal(fdb_find(fdb, 1, mac_of(i), &w) != 0, i % 9 != 4);
	fdb_sweep(fdb, all_of_domain_1, NULL);
	for (uint32_t i = 0; i < N_MACS; i++)
		assert_int_equal(fdb_find(fdb, 1, mac_of(i), &w), 0);
	assert_int_equal(fdb_find_flood(fdb, 1, true, &w), 0);
}

static void generations_tell_what_changed(void **state)
{
	struct fdb_where w, v, flood;
	uint32_t slot;

	fdb_find_flood(fdb, 1, false, &flood);
	fdb_set(fdb, 1, mac_of(1), at(1), FDB_LEARNT, false);
	fdb_find_flood(fdb, 1, false, &v);
	assert_int_not_equal(v.gen, flood.gen); // who flooded looks again
	slot = fdb_find(fdb, 1, mac_of(1), &w);
	fdb_set(fdb, 1, mac_of(1), at(2), FDB_LEARNT, false); // a move between equals
	v = fdb_word(fdb_words(fdb), slot);
	assert_int_equal(v.gen, w.gen);
	assert_int_equal(v.port, 2);
	fdb_set(fdb, 1, mac_of(1), at(3), FDB_LEARNT, true);
	assert_int_not_equal(fdb_word(fdb_words(fdb), slot).gen, w.gen);
	w = fdb_word(fdb_words(fdb), slot);
	fdb_sweep(fdb, touch_port_3, NULL);
	assert_int_not_equal(fdb_word(fdb_words(fdb), slot).gen, w.gen);
	w = fdb_word(fdb_words(fdb), slot);
	fdb_del(fdb, 1, mac_of(1));
	fdb_set(fdb, 1, mac_of(2), at(3), FDB_LEARNT, false); // the same slot, another MAC
	assert_int_equal(fdb_find(fdb, 1, mac_of(2), &v), slot);
	assert_int_not_equal(v.gen, w.gen);
}

static uint32_t ten_seconds(uint16_t fid, void *arg)
{
	return 10;
}

static void ages_only_what_is_learnt_and_unseen(void **state)
{
	struct fdb_where w;

	fdb_set_now(fdb, 100);
	for (uint32_t i = 0; i < 3; i++)
		fdb_set(fdb, 1, mac_of(i), at(1), i == 0 ? FDB_STATIC : FDB_LEARNT, false);
	fdb_set_now(fdb, 111);
	fdb_seen(fdb, fdb_find(fdb, 1, mac_of(1), &w));
	assert_int_equal(fdb_age(fdb, 1000, ten_seconds, NULL), 1);
	assert_int_not_equal(fdb_find(fdb, 1, mac_of(0), &w), 0);
	assert_int_not_equal(fdb_find(fdb, 1, mac_of(1), &w), 0);
	assert_int_equal(fdb_find(fdb, 1, mac_of(2), &w), 0);
}

// --- readers beside the writer -----------------------------------------------------------------

static bool done;

// Every MAC i only ever stands on ports ≡ i mod 8: a reader must never see another.
static void *reader(void *arg)
{
	unsigned int id = (unsigned int)(uintptr_t)arg;
	uint32_t wrong = 0;

	rcu_reader_online(rcu, id);
	while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
		for (uint32_t i = 0; i < 256; i++) {
			struct fdb_where w;

			if (fdb_find(fdb, 1, mac_of(i), &w) && w.port != FDB_PORT_NONE)
				wrong += w.port % 8 != i % 8;
		}
		rcu_quiescent(rcu, id);
	}
	rcu_reader_offline(rcu, id);
	return (void *)(uintptr_t)wrong;
}

static void readers_never_see_a_neighbour(void **state)
{
	pthread_t threads[2];
	void *wrong;

	done = false;
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, reader, (void *)i);
	for (uint32_t round = 0; round < 20000; round++) {
		uint32_t i = round * 2654435761u >> 24;

		if (round % 3)
			fdb_set(fdb, 1, mac_of(i), at((uint16_t)(i % 8 + 8 * (round % 4))),
				FDB_LEARNT, false);
		else
			fdb_del(fdb, 1, mac_of(i));
		rcu_poll(rcu);
	}
	__atomic_store_n(&done, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(grows_and_forgets),
		CASE(generations_tell_what_changed),
		CASE(ages_only_what_is_learnt_and_unseen),
		CASE(readers_never_see_a_neighbour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
