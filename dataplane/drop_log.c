// SPDX-License-Identifier: Apache-2.0
#include "dataplane/drop_log.h"

#include <rte_cycles.h>

#define WORDS (sizeof(struct drop_record) / sizeof(uint64_t))

void drop_log_add(struct drop_log *log, const struct drop_cause *cause, uint32_t frame_bytes,
		  const uint8_t *head, uint32_t n)
{
	struct drop_record r = { .tsc = rte_rdtsc(), .cause = *cause, .frame_bytes = frame_bytes };
	uint64_t words[WORDS], *number, *to;

	if (!log->budget)
		return;
	log->budget--;
	r.head_bytes = n < DROP_LOG_HEAD ? n : DROP_LOG_HEAD;
	memcpy(r.head, head, r.head_bytes);
	memcpy(words, &r, sizeof(words));
	number = &log->slots[log->n % DROP_LOG_RECORDS].number;
	to = log->slots[log->n % DROP_LOG_RECORDS].words;
	// Release on each word: who reads one of them finds the number 0, or the new one.
	__atomic_store_n(number, 0, __ATOMIC_RELAXED);
	for (size_t i = 0; i < WORDS; i++)
		__atomic_store_n(&to[i], words[i], __ATOMIC_RELEASE);
	counter_add(&log->n, 1);
	__atomic_store_n(number, log->n, __ATOMIC_RELEASE);
}

unsigned int drop_log_read(const struct drop_log *log, struct drop_record *out)
{
	uint64_t newest = counter_get(&log->n);
	unsigned int found = 0;

	for (uint64_t i = newest; i > 0 && i + DROP_LOG_RECORDS > newest; i--) {
		uint64_t words[WORDS];
		size_t slot = (i - 1) % DROP_LOG_RECORDS;

		// Acquire on each word: the second look at the number comes after all of them.
		for (size_t w = 0; w < WORDS; w++)
			words[w] = __atomic_load_n(&log->slots[slot].words[w], __ATOMIC_ACQUIRE);
		if (__atomic_load_n(&log->slots[slot].number, __ATOMIC_RELAXED) == i)
			memcpy(&out[found++], words, sizeof(words));
	}
	return found;
}
