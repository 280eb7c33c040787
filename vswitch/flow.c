// SPDX-License-Identifier: Apache-2.0
#include "vswitch/flow.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/random.h>

#define TOMBSTONE (~FLOW_INDEX_MASK) // keeps "has been full" in slot 15 of an emptied bucket
#define HUGE_PAGE_BYTES (2u << 20)

// Zeroed memory that costs nothing until it is touched, in 2 MiB pages where the kernel has them.
static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

static size_t round_up(size_t bytes, size_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

int flow_table_init(struct flow_table *t, uint32_t capacity, uint32_t stride, struct err *err)
{
	uint32_t n_buckets = 2;

	*t = (struct flow_table){ .stride = stride, .capacity = capacity, .hand = 1 };
	if (capacity < 1 || capacity > FLOW_MAX)
		return err_set(err, EINVAL, "flow entries: %u is not between 1 and %u", capacity,
			       FLOW_MAX);
	while ((uint64_t)n_buckets * FLOW_BUCKET_SLOTS < 2ull * capacity)
		n_buckets *= 2;
	t->bucket_mask = n_buckets - 1;
	t->map_bytes[0] = round_up((size_t)n_buckets * sizeof(*t->buckets), HUGE_PAGE_BYTES);
	t->map_bytes[1] = round_up((size_t)(capacity + 1) * stride, HUGE_PAGE_BYTES);
	t->buckets = map(t->map_bytes[0]);
	t->pool = map(t->map_bytes[1]);
	if (!t->buckets || !t->pool) {
		flow_table_fini(t);
		return err_set(err, ENOMEM, "no memory for a flow table of %u entries", capacity);
	}
	if (getrandom(t->seed, sizeof(t->seed), 0) != sizeof(t->seed)) {
		flow_table_fini(t);
		return err_set(err, EIO, "the kernel gives no random numbers");
	}
	// Entry 0 must equal no key: ports and serials never reach this value.
	flow_at(t, 0)->key.w[2] = ~0ull;
	return 0;
}

void flow_table_fini(struct flow_table *t)
{
	if (t->buckets)
		munmap(t->buckets, t->map_bytes[0]);
	if (t->pool)
		munmap(t->pool, t->map_bytes[1]);
	t->buckets = NULL;
	t->pool = NULL;
}

// The second choice; never the first, since the step is odd and the mask at least 1.
static uint32_t other_bucket(const struct flow_table *t, uint32_t bucket, uint32_t hash)
{
	return (bucket ^ ((hash >> FLOW_INDEX_BITS) * 2 + 1) * 0x5bd1e995u) & t->bucket_mask;
}

static const struct key6 *addresses_of(const struct flow *f)
{
	return &((const struct flow6 *)f)->addresses;
}

struct flow *flow_find(const struct flow_table *t, uint32_t hash, const struct key *key,
		       const struct key6 *a)
{
	uint32_t b = hash & t->bucket_mask;

	for (int choice = 0; choice < 2; choice++) {
		const uint32_t *bucket = t->buckets[b];

		for (uint32_t match = flow_match(bucket, hash); match; match &= match - 1) {
			uint32_t word = bucket[__builtin_ctz(match)];
			struct flow *f = flow_at(t, word & FLOW_INDEX_MASK);

			if (key_equal(&f->key, key) && (!a || key6_equal(addresses_of(f), a)))
				return f;
		}
		// Only a bucket that was once full can have sent a flow to its second choice.
		if (likely(!bucket[FLOW_BUCKET_SLOTS - 1]))
			return NULL;
		b = other_bucket(t, b, hash);
	}
	return NULL;
}

static uint32_t take_entry(struct flow_table *t)
{
	uint32_t index = t->free;

	if (index) {
		t->free = flow_at(t, index)->dest;
		return index;
	}
	return t->n_made < t->capacity ? ++t->n_made : 0;
}

// A free slot in either bucket, or NULL.
static uint32_t *free_slot(struct flow_table *t, uint32_t hash)
{
	uint32_t b = hash & t->bucket_mask;

	for (int choice = 0; choice < 2; choice++) {
		for (uint32_t i = 0; i < FLOW_BUCKET_SLOTS; i++)
			if (!(t->buckets[b][i] & FLOW_INDEX_MASK))
				return &t->buckets[b][i];
		b = other_bucket(t, b, hash);
	}
	return NULL;
}

struct flow *flow_insert(struct flow_table *t, uint32_t hash, const struct key *key,
			 const struct key6 *a)
{
	uint32_t *slot = free_slot(t, hash), index, serial;
	struct flow *f;

	if (!slot)
		return NULL;
	index = take_entry(t);
	if (!index)
		return NULL;
	f = flow_at(t, index);
	serial = (f->serial & ~FLOW_INDEX_MASK) + FLOW_INDEX_MASK + 1 + index;
	*f = (struct flow){ .key = *key, .serial = serial };
	if (a)
		((struct flow6 *)f)->addresses = *a;
	*slot = (hash & ~FLOW_INDEX_MASK) | index;
	t->n_used++;
	return f;
}

void flow_remove(struct flow_table *t, struct flow *f)
{
	uint32_t index = flow_index(t, f);
	uint32_t hash = t->stride == sizeof(struct flow6)
				? flow_hash6(t, &f->key, addresses_of(f))
				: flow_hash(t, &f->key);
	uint32_t b = hash & t->bucket_mask;

	for (int choice = 0; choice < 2; choice++) {
		for (uint32_t i = 0; i < FLOW_BUCKET_SLOTS; i++) {
			if ((t->buckets[b][i] & FLOW_INDEX_MASK) != index)
				continue;
			t->buckets[b][i] = i == FLOW_BUCKET_SLOTS - 1 ? TOMBSTONE : 0;
			f->key.w[2] = ~0ull;
			f->program = 0;
			f->dest = t->free;
			t->free = index;
			t->n_used--;
			return;
		}
		b = other_bucket(t, b, hash);
	}
}

uint32_t flow_clock(struct flow_table *t, struct flow **out, uint32_t n, bool *wrapped)
{
	uint32_t found = 0, end = t->hand + n;

	*wrapped = end > t->n_made;
	if (*wrapped)
		end = t->n_made + 1;
	for (uint32_t i = t->hand; i < end; i++) {
		__builtin_prefetch(flow_at(t, i + n <= t->n_made ? i + n : i));
		if (flow_at(t, i)->program)
			out[found++] = flow_at(t, i);
	}
	t->hand = *wrapped ? 1 : end;
	return found;
}
