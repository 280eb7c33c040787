// SPDX-License-Identifier: Apache-2.0
// One worker's flow table: exact keys → what to do. Bucket lines of 16 × 32 bits (10-bit signature,
// 22-bit index), two choices, load ≤ 0.5, into a pool of entries that never move. Measured best of
// six layouts on this kind of machine: 72 bytes a flow, 27 to 51 cycles from 1 k to 1 M entries.
//
// The look-up is cut into steps so that the pipeline can run each over a whole batch with the next
// step's memory prefetched. Used by vswitch/cache.c and pipeline.c; one thread; no locks.
#pragma once

#include <immintrin.h>

#include "base/err.h"
#include "net/key.h"

#define FLOW_INDEX_BITS 22
#define FLOW_INDEX_MASK ((1u << FLOW_INDEX_BITS) - 1)
#define FLOW_MAX (FLOW_INDEX_MASK - 1) // entries in one table, at most
#define FLOW_BUCKET_SLOTS 16u

// One flow, one cache line. IPv6 level-2 flows have their addresses behind it (struct flow6).
struct flow {
	struct key key;
	uint32_t serial;   // names this entry in level-2 keys: index, and 10 bits that count its
			   // users, so that what a former user left behind is not found
	uint32_t plain;    // its program forwards frames as they came: no need to look at it
	uint32_t program;  // index into the worker's programs; 0: the entry is free
	uint32_t dest;     // FDB slot of the destination; 0: none
	uint32_t port_gen; // ingress port's generation when it was resolved
	uint32_t dest_gen; // dest's generation then
	uint32_t packets;  // since the entry was made (wraps)
	uint32_t stamp;    // tick of the last packet
	uint64_t bytes;
};
static_assert(sizeof(struct flow) == CACHE_LINE);

struct flow6 {
	struct flow flow;
	struct key6 addresses;
};
static_assert(sizeof(struct flow6) == 96);

struct flow_table {
	uint32_t (*buckets)[FLOW_BUCKET_SLOTS];
	uint32_t bucket_mask;
	uint32_t stride;   // bytes an entry
	uint8_t *pool;     // entry 0 matches nothing
	uint32_t capacity; // entries, without entry 0
	uint32_t n_made;   // entries ever used: 1 … n_made
	uint32_t n_used;
	uint32_t free;     // chain through flow.dest, 0 ends it
	uint32_t hand;     // next entry that the clock looks at
	size_t map_bytes[2];
	__m128i seed[3];   // keys cannot be crafted to collide without it
};

// Makes a table of `capacity` flows (1 … FLOW_MAX) with entries of `stride` bytes. Memory is
// reserved at once and touched as flows come. Returns 0 or -ENOMEM. control.
int flow_table_init(struct flow_table *t, uint32_t capacity, uint32_t stride, struct err *err);
void flow_table_fini(struct flow_table *t);

// Bytes of memory that one flow costs in a table of this stride: entry and bucket words.
static inline uint32_t flow_bytes(uint32_t stride) { return stride + 2 * sizeof(uint32_t); }

static ALWAYS_INLINE uint32_t flow_hash(const struct flow_table *t, const struct key *k)
{
	// From two registers: a wide load of a key just written by narrow stores would stall.
	__m128i v = _mm_set_epi64x((long long)k->w[1], (long long)k->w[0]);

	v = _mm_aesenc_si128(_mm_xor_si128(v, t->seed[0]), t->seed[1]);
	v = _mm_aesenc_si128(_mm_xor_si128(v, _mm_cvtsi64_si128((long long)k->w[2])), t->seed[2]);
	v = _mm_aesenc_si128(v, t->seed[0]);
	return (uint32_t)_mm_cvtsi128_si32(v);
}

static inline uint32_t flow_hash6(const struct flow_table *t, const struct key *k,
				  const struct key6 *a)
{
	__m128i v = _mm_set_epi64x((long long)a->w[1], (long long)a->w[0]);

	v = _mm_aesenc_si128(_mm_xor_si128(v, t->seed[2]), t->seed[0]);
	v = _mm_xor_si128(v, _mm_set_epi64x((long long)a->w[3], (long long)a->w[2]));
	v = _mm_aesenc_si128(_mm_aesenc_si128(v, t->seed[1]), t->seed[2]);
	return flow_hash(t, k) ^ (uint32_t)_mm_cvtsi128_si32(v);
}

static ALWAYS_INLINE struct flow *flow_at(const struct flow_table *t, uint32_t index)
{
	return (struct flow *)(t->pool + (size_t)index * t->stride);
}

static inline uint32_t flow_index(const struct flow_table *t, const struct flow *f)
{
	return (uint32_t)(((const uint8_t *)f - t->pool) / t->stride);
}

static ALWAYS_INLINE void flow_prefetch_bucket(const struct flow_table *t, uint32_t hash)
{
	__builtin_prefetch(t->buckets[hash & t->bucket_mask]);
}

// Bit i: slot i of the bucket has the hash's signature.
static ALWAYS_INLINE uint32_t flow_match(const uint32_t *bucket, uint32_t hash)
{
	const __m256i keep = _mm256_set1_epi32((int)~FLOW_INDEX_MASK);
	const __m256i want = _mm256_set1_epi32((int)(hash & ~FLOW_INDEX_MASK));
	__m256i low = _mm256_and_si256(_mm256_load_si256((const __m256i *)bucket), keep);
	__m256i high = _mm256_and_si256(_mm256_load_si256((const __m256i *)bucket + 1), keep);
	uint32_t l = (uint32_t)_mm256_movemask_ps((__m256)_mm256_cmpeq_epi32(low, want));
	uint32_t h = (uint32_t)_mm256_movemask_ps((__m256)_mm256_cmpeq_epi32(high, want));

	return l | h << 8;
}

static ALWAYS_INLINE bool key_equal(const struct key *a, const struct key *b)
{
	return !((a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]));
}

static ALWAYS_INLINE bool key6_equal(const struct key6 *a, const struct key6 *b)
{
	return !((a->w[0] ^ b->w[0]) | (a->w[1] ^ b->w[1]) | (a->w[2] ^ b->w[2]) |
		 (a->w[3] ^ b->w[3]));
}

// The likeliest entry for `hash`: the first of its signature in the first bucket, prefetched;
// entry 0, which equals no key, when there is none.
// stride: t's, as a constant.
static ALWAYS_INLINE struct flow *flow_candidate(const struct flow_table *t, uint32_t stride,
						 uint32_t hash)
{
	const uint32_t *bucket = t->buckets[hash & t->bucket_mask];
	uint32_t match = flow_match(bucket, hash);
	// Without a match ctz gives 32, and slot 32 & 15 = 0 a wrong but harmless candidate.
	uint32_t index = bucket[_tzcnt_u32(match) & 15] & FLOW_INDEX_MASK;
	struct flow *f = (struct flow *)(t->pool + (size_t)index * stride);

	__builtin_prefetch(f);
	return f;
}

// The whole look-up, both buckets. a: addresses of an IPv6 key in a table of struct flow6, else
// NULL. Returns NULL when there is no such flow.
struct flow *flow_find(const struct flow_table *t, uint32_t hash, const struct key *key,
		       const struct key6 *a);

// Makes an entry for a key that is not in the table; all but key (and addresses) is zero, and the
// caller must set `program`. Returns NULL when the table or both buckets are full.
struct flow *flow_insert(struct flow_table *t, uint32_t hash, const struct key *key,
			 const struct key6 *a);

// Takes the entry out; its memory is for the next flow.
void flow_remove(struct flow_table *t, struct flow *f);

// The next `n` entries under the clock hand (at most) that are in use, into out[n]; the entries
// after them are prefetched. Returns how many; *wrapped says that a round is complete.
uint32_t flow_clock(struct flow_table *t, struct flow **out, uint32_t n, bool *wrapped);
