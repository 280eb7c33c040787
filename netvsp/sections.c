// SPDX-License-Identifier: Apache-2.0
#include "netvsp/sections.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "netvsp/step.h"

#define HOLDER(channel) (((channel) + 1u) << VMBUS_STATE_HOLDER_SHIFT)
#define HELD_BITS (0xffu << VMBUS_STATE_HOLDER_SHIFT | VMBUS_STATE_FIRST)

static uint32_t entry_get(const struct netvsp_sections *sections, uint32_t section)
{
	return __atomic_load_n(&sections->entries[section], __ATOMIC_RELAXED);
}

// One store in each of the two places moves a section.
static void entry_set(struct netvsp_sections *sections, uint32_t section, uint32_t entry)
{
	__atomic_store_n(&sections->entries[section], entry, __ATOMIC_RELAXED);
	__atomic_store_n((FORCE uint32_t *)&sections->table[section], entry, __ATOMIC_RELAXED);
	netvsp_step();
}

int netvsp_sections_create(uint32_t n, le32 *table, bool recover, struct netvsp_sections **out)
{
	static uint64_t last_serial; // several control threads: in tests only
	struct netvsp_sections *sections = calloc(1, sizeof(*sections));

	assert(n >= 1 && n < VMBUS_STATE_SECTIONS);
	if (!sections)
		return -ENOMEM;
	sections->entries = calloc(n, sizeof(*sections->entries));
	if (!sections->entries) {
		free(sections);
		return -ENOMEM;
	}
	sections->serial = __atomic_add_fetch(&last_serial, 1, __ATOMIC_RELAXED);
	sections->n = n;
	sections->n_control = NETVSP_RESERVED_SECTIONS < n / 2 ? NETVSP_RESERVED_SECTIONS : n / 2;
	sections->n_words = (n + 63) / 64;
	sections->table = table;
	sections->control_free = (1u << sections->n_control) - 1;
	for (uint32_t i = sections->n_control; i < n; i++)
		sections->free[i / 64] |= 1ull << (i % 64);
	if (!recover)
		memset(table, 0, n * sizeof(*table));
	*out = sections;
	return 0;
}

void netvsp_sections_destroy(struct netvsp_sections *sections)
{
	if (!sections)
		return;
	free(sections->entries);
	free(sections);
}

void netvsp_sections_attach(struct netvsp_sections *sections, struct netvsp_section_cache *cache)
{
	cache->serial = sections->serial;
	cache->n = 0;
	cache->word = 0;
	__atomic_fetch_add(&sections->n_users, 1, __ATOMIC_RELAXED);
}

// Gives the n oldest of the stack back, neighbours of one word together.
static void give_back(struct netvsp_sections *sections, struct netvsp_section_cache *cache,
		      uint32_t n)
{
	for (uint32_t i = 0; i < n;) {
		uint32_t word = cache->ids[i] / 64;
		uint64_t bits = 0;

		for (; i < n && cache->ids[i] / 64u == word; i++)
			bits |= 1ull << (cache->ids[i] % 64);
		// Release: who takes them sees their entries as we left them.
		__atomic_fetch_or(&sections->free[word], bits, __ATOMIC_RELEASE);
	}
	cache->n -= n;
	memmove(cache->ids, cache->ids + n, cache->n * sizeof(cache->ids[0]));
}

void netvsp_sections_detach(struct netvsp_sections *sections, struct netvsp_section_cache *cache)
{
	if (!sections || cache->serial != sections->serial)
		return;
	give_back(sections, cache, cache->n);
	cache->serial = 0;
	__atomic_fetch_sub(&sections->n_users, 1, __ATOMIC_RELAXED);
}

uint32_t netvsp_sections_fill(struct netvsp_sections *sections, struct netvsp_section_cache *cache,
			      uint32_t want)
{
	assert(want <= NETVSP_CACHE_MAX / 2);
	for (uint32_t i = 0; i < sections->n_words && cache->n < want; i++) {
		uint64_t *word = &sections->free[cache->word], bits = 0;

		if (__atomic_load_n(word, __ATOMIC_RELAXED))
			bits = __atomic_exchange_n(word, 0, __ATOMIC_ACQUIRE);
		// Highest first: from the stack's top the lowest is taken first.
		while (bits && cache->n < want) {
			uint32_t bit = 63 - (uint32_t)__builtin_clzll(bits);

			cache->ids[cache->n++] = (uint16_t)(cache->word * 64 + bit);
			bits &= ~(1ull << bit);
		}
		if (bits)
			__atomic_fetch_or(word, bits, __ATOMIC_RELEASE);
		else if (++cache->word == sections->n_words)
			cache->word = 0;
	}
	return cache->n;
}

bool netvsp_sections_take_control(struct netvsp_sections *sections, uint16_t *section)
{
	if (!sections->control_free)
		return false;
	*section = (uint16_t)__builtin_ctz(sections->control_free);
	sections->control_free &= sections->control_free - 1;
	return true;
}

// Idle channels must not sit on what others need: all stacks together keep half at most.
static uint32_t keep(const struct netvsp_sections *sections)
{
	uint32_t users = __atomic_load_n(&sections->n_users, __ATOMIC_RELAXED);
	uint32_t share = sections->n >> (users ? 33 - __builtin_clz(users) : 1);

	return share < NETVSP_CACHE_KEEP ? share : NETVSP_CACHE_KEEP;
}

static void put(struct netvsp_sections *sections, struct netvsp_section_cache *cache,
		uint16_t section)
{
	if (unlikely(section < sections->n_control)) {
		sections->control_free |= 1u << section;
		return;
	}
	if (unlikely(cache->n == NETVSP_CACHE_MAX))
		give_back(sections, cache, NETVSP_CACHE_MAX / 2);
	cache->ids[cache->n++] = section;
}

void netvsp_sections_put(struct netvsp_sections *sections, struct netvsp_section_cache *cache,
			 uint16_t section)
{
	put(sections, cache, section);
}

bool netvsp_sections_ack(struct netvsp_sections *sections, uint64_t id, unsigned int channel)
{
	uint32_t entry;

	if (id >= sections->n)
		return false;
	entry = entry_get(sections, (uint32_t)id);
	if ((entry & HELD_BITS) != (HOLDER(channel) | VMBUS_STATE_FIRST))
		return false;
	// Privately only: the state memory changes when the batch stands.
	__atomic_store_n(&sections->entries[id], entry & ~VMBUS_STATE_FIRST, __ATOMIC_RELAXED);
	return true;
}

void netvsp_sections_unack(struct netvsp_sections *sections, uint16_t head)
{
	__atomic_store_n(&sections->entries[head], entry_get(sections, head) | VMBUS_STATE_FIRST,
			 __ATOMIC_RELAXED);
}

// The first one last: as long as it is held, a recovery finds the others through it.
static void free_chain(struct netvsp_sections *sections, struct netvsp_section_cache *cache,
		       uint16_t head)
{
	uint32_t first = entry_get(sections, head);

	// Ends: the private links are our own, made by netvsp_sections_hold or checked.
	for (uint32_t at = first & VMBUS_STATE_NEXT; at != VMBUS_STATE_LAST;) {
		uint32_t entry = entry_get(sections, at);

		entry_set(sections, at, entry & ~HELD_BITS);
		put(sections, cache, (uint16_t)at);
		at = entry & VMBUS_STATE_NEXT;
	}
	entry_set(sections, head, first & ~HELD_BITS);
	put(sections, cache, head);
}

void netvsp_sections_free(struct netvsp_sections *sections, struct netvsp_section_cache *cache,
			  const uint16_t *heads, uint32_t n)
{
	uint32_t most;

	for (uint32_t i = 0; i < n; i++)
		free_chain(sections, cache, heads[i]);
	most = keep(sections);
	// Twice as many before any go: else a batch too many would cost a round trip each time.
	if (unlikely(cache->n > 2 * most))
		give_back(sections, cache, cache->n - most);
}

void netvsp_sections_hold(struct netvsp_sections *sections, const uint16_t *taken, uint32_t n,
			  unsigned int channel)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t section = taken[i] & ~VMBUS_STATE_TAKEN_FIRST, next = VMBUS_STATE_LAST;
		uint32_t entry = HOLDER(channel);

		if (taken[i] & VMBUS_STATE_TAKEN_FIRST)
			entry |= VMBUS_STATE_FIRST;
		if (i + 1 < n && !(taken[i + 1] & VMBUS_STATE_TAKEN_FIRST))
			next = taken[i + 1];
		entry_set(sections, section, entry | next);
	}
}

void netvsp_sections_free_channel(struct netvsp_sections *sections, unsigned int channel)
{
	struct netvsp_section_cache cache = {};

	for (uint32_t i = 0; i < sections->n; i++) {
		uint32_t entry = entry_get(sections, i);

		if ((entry & HELD_BITS & ~VMBUS_STATE_FIRST) != HOLDER(channel))
			continue;
		entry_set(sections, i, entry & ~HELD_BITS);
		put(sections, &cache, (uint16_t)i);
	}
	give_back(sections, &cache, cache.n);
}

uint32_t netvsp_sections_count(const struct netvsp_sections *sections)
{
	uint32_t n = (uint32_t)__builtin_popcount(sections->control_free);

	for (uint32_t i = 0; i < sections->n_words; i++)
		n += (uint32_t)__builtin_popcountll(
			__atomic_load_n(&sections->free[i], __ATOMIC_RELAXED));
	return n;
}
