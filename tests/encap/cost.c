// SPDX-License-Identifier: Apache-2.0
// What a push and a pop cost, in TSC cycles a frame: `build/tests/encap_cost`. No EAL. Batches of
// 64 frames, everything in the caches, the best and the median of many runs. Not a test: it
// asserts nothing about time.
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>

#include "net/test_util.h"
#include "nvgre/nvgre.h"
#include "vxlan/vxlan.h"

#define RUNS 2001
#define BATCH 64

static struct rte_mbuf *frames[BATCH];

// Cycles a frame, in tenths.
struct cost {
	uint64_t best, median;
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static struct cost cost_of(uint64_t *cycles)
{
	qsort(cycles, RUNS, sizeof(*cycles), compare);
	return (struct cost){ cycles[0] * 10 / BATCH, cycles[RUNS / 2] * 10 / BATCH };
}

// With what encap_find needs, as the pipeline does it.
static unsigned int pop_all(const struct encap_ops *ops)
{
	unsigned int n_good = 0;

	for (unsigned int i = 0; i < BATCH; i++) {
		struct encap_where where;
		struct encap_info info;
		const uint8_t *p = rte_pktmbuf_mtod(frames[i], const uint8_t *);

		if (encap_find(p, frames[i]->data_len, VXLAN_PORT, &where) == ops->kind)
			n_good += ops->pop(frames[i], &where, &info) == ENCAP_OK;
	}
	return n_good;
}

static void measure(const struct encap_ops *ops, const struct encap_way *way, const char *what)
{
	static uint64_t pushes[RUNS], pops[RUNS];
	struct encap_header h;
	struct cost push, pop;

	ops->build(way, &h);
	for (int run = 0; run < RUNS; run++) {
		uint64_t start = __rdtsc(), middle;

		for (unsigned int i = 0; i < BATCH; i++)
			ops->push(&h, frames[i], 5000 + i, i * 0x9e3779b1, 0);
		_mm_lfence();
		middle = __rdtsc();
		if (pop_all(ops) != BATCH)
			abort();
		_mm_lfence();
		pops[run] = __rdtsc() - middle;
		pushes[run] = middle - start;
	}
	push = cost_of(pushes);
	pop = cost_of(pops);
	printf("%-6s %-16s push %2lu.%lu (%2lu.%lu)   find and pop %2lu.%lu (%2lu.%lu)\n",
	       ops->name, what, push.best / 10, push.best % 10, push.median / 10, push.median % 10,
	       pop.best / 10, pop.best % 10, pop.median / 10, pop.median % 10);
}

int main(void)
{
	static const struct encap_ops *const codecs[] = { &nvgre_ops, &vxlan_ops };
	static const char *const names[] = { "IPv4", "IPv4 tagged", "IPv6", "IPv6 tagged" };
	struct rte_mempool *pool = test_pool_create(BATCH, TEST_SMALL_ROOM);

	puts("cycles a frame of 64 bytes: best (median)");
	for (unsigned int i = 0; i < BATCH; i++)
		frames[i] = test_frame_build(pool, &(struct test_frame){ .payload_bytes = 22 });
	for (unsigned int c = 0; c < 2; c++) {
		for (unsigned int i = 0; i < 4; i++) {
			struct encap_way way = { .ttl = 64, .udp_port = VXLAN_PORT };

			way.vid = i & 1 ? 100 : 0;
			way.ipv6 = i & 2;
			memset(way.source, 0x20, 16);
			memset(way.destination, 0x30, 16);
			measure(codecs[c], &way, names[i]);
		}
	}
	for (unsigned int i = 0; i < BATCH; i++)
		rte_pktmbuf_free(frames[i]);
	test_pool_destroy(pool);
	return 0;
}
