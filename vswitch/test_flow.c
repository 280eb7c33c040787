// SPDX-License-Identifier: Apache-2.0
// The flow table against a plain array, at loads and with keys that hurt.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vswitch/flow.h"

#define N 20000u

static struct key key_of(uint32_t i)
{
	return (struct key){ { i, 0x1111, i % 7 } };
}

static struct flow *find(struct flow_table *t, uint32_t i)
{
	struct key k = key_of(i);

	return flow_find(t, flow_hash(t, &k), &k, NULL);
}

static struct flow *insert(struct flow_table *t, uint32_t i)
{
	struct key k = key_of(i);
	struct flow *f = flow_insert(t, flow_hash(t, &k), &k, NULL);

	if (f)
		f->program = 1;
	return f;
}

static void finds_what_was_put_in(void **state)
{
	struct flow_table t;
	struct err err;

	assert_int_equal(flow_table_init(&t, N, sizeof(struct flow), &err), 0);
	for (uint32_t i = 0; i < N; i++) {
		assert_null(find(&t, i));
		assert_non_null(insert(&t, i));
	}
	assert_null(insert(&t, N)); // full
	assert_int_equal(t.n_used, N);
	for (uint32_t i = 0; i < N; i++) {
		struct key k = key_of(i);
		uint32_t hash = flow_hash(&t, &k);
		struct flow *quick = flow_candidate(&t, sizeof(struct flow), hash);

		assert_non_null(find(&t, i));
		assert_true(key_equal(&find(&t, i)->key, &k));
		// The quick look is either right or visibly wrong.
		if (key_equal(&quick->key, &k))
			assert_ptr_equal(quick, find(&t, i));
	}
	flow_table_fini(&t);
}

static void removed_entries_are_gone_and_reused(void **state)
{
	struct flow_table t;
	struct err err;
	uint32_t serial;

	assert_int_equal(flow_table_init(&t, N, sizeof(struct flow), &err), 0);
	for (uint32_t i = 0; i < N; i++)
		insert(&t, i);
	for (uint32_t i = 0; i < N; i += 2)
		flow_remove(&t, find(&t, i));
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(find(&t, i) != NULL, i % 2);
	serial = find(&t, 1)->serial;
	flow_remove(&t, find(&t, 1));
	assert_non_null(insert(&t, N + 1)); // takes the same entry, under another name
	assert_int_equal(find(&t, N + 1)->serial & FLOW_INDEX_MASK, serial & FLOW_INDEX_MASK);
	assert_int_not_equal(find(&t, N + 1)->serial, serial);
	for (uint32_t i = 0; i < N; i += 2)
		assert_non_null(insert(&t, i));
	for (uint32_t i = 2; i < N; i++)
		assert_non_null(find(&t, i));
	flow_table_fini(&t);
}

// Both buckets of one hash hold 32 flows; the 33rd is refused, and nothing is lost.
static void colliding_hashes_spill_once(void **state)
{
	struct flow_table t;
	struct err err;
	struct key k;
	uint32_t n = 0;

	assert_int_equal(flow_table_init(&t, 1000, sizeof(struct flow), &err), 0);
	for (; n < 100; n++) {
		k = key_of(n);
		struct flow *f = flow_insert(&t, 0x12345678, &k, NULL);

		if (!f)
			break;
		f->program = 1;
	}
	assert_int_equal(n, 2 * FLOW_BUCKET_SLOTS);
	for (uint32_t i = 0; i < n; i++) {
		k = key_of(i);
		assert_non_null(flow_find(&t, 0x12345678, &k, NULL));
	}
	flow_table_fini(&t);
}

static void ipv6_addresses_count(void **state)
{
	struct flow_table t;
	struct err err;
	struct key k = key_of(1);
	struct key6 a = { { 1, 2, 3, 4 } }, b = { { 1, 2, 3, 5 } };
	struct flow *f;

	assert_int_equal(flow_table_init(&t, 100, sizeof(struct flow6), &err), 0);
	f = flow_insert(&t, flow_hash6(&t, &k, &a), &k, &a);
	f->program = 1;
	assert_ptr_equal(flow_find(&t, flow_hash6(&t, &k, &a), &k, &a), f);
	assert_null(flow_find(&t, flow_hash6(&t, &k, &a), &k, &b)); // the same hash even
	flow_remove(&t, f);
	assert_null(flow_find(&t, flow_hash6(&t, &k, &a), &k, &a));
	flow_table_fini(&t);
}

static void clock_sees_every_entry_once_a_round(void **state)
{
	struct flow_table t;
	struct err err;
	struct flow *out[8];
	uint32_t seen = 0;
	bool wrapped = false;

	assert_int_equal(flow_table_init(&t, 1000, sizeof(struct flow), &err), 0);
	for (uint32_t i = 0; i < 1000; i++)
		insert(&t, i);
	for (uint32_t i = 0; i < 1000; i += 3)
		flow_remove(&t, find(&t, i));
	while (!wrapped)
		seen += flow_clock(&t, out, 8, &wrapped);
	assert_int_equal(seen, t.n_used);
	flow_table_fini(&t);
}

static void sizes_are_checked(void **state)
{
	struct flow_table t;
	struct err err;

	assert_int_equal(flow_table_init(&t, 0, sizeof(struct flow), &err), -22);
	assert_int_equal(flow_table_init(&t, FLOW_MAX + 1, sizeof(struct flow), &err), -22);
	assert_true(flow_bytes(sizeof(struct flow)) <= 128);
	assert_true(flow_bytes(sizeof(struct flow6)) <= 128);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_put_in),
		cmocka_unit_test(removed_entries_are_gone_and_reused),
		cmocka_unit_test(colliding_hashes_spill_once),
		cmocka_unit_test(ipv6_addresses_count),
		cmocka_unit_test(clock_sees_every_entry_once_a_round),
		cmocka_unit_test(sizes_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
