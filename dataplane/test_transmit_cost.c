// SPDX-License-Identifier: Apache-2.0
// What the transmit stage costs, in TSC cycles: `build/dataplane/test_transmit_cost`. No EAL; the
// best of many runs, with everything in the caches. Not a test: it asserts nothing about time.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <x86intrin.h>

#include <cmocka.h>

#include "dataplane/pools.h"
#include "dataplane/transmit.h"
#include "net/test_util.h"

#define RUNS 2000

static struct port_pools pools;

// Best cycles of one transmit_finish over n frames of shape f for a device with `offloads`.
static uint64_t measure(const struct test_frame *f, uint16_t n, uint32_t offloads, uint16_t *n_out)
{
	struct port_dev dev = { .offloads = offloads, .max_frame = 1522 };
	struct rte_mbuf *in[PORT_BATCH], *out[TRANSMIT_MAX_SEGMENTS];
	struct transmit_result result = { 0 };
	uint64_t best = UINT64_MAX;
	uint16_t n_done;

	for (int run = 0; run < RUNS; run++) {
		uint64_t start;

		for (uint16_t i = 0; i < n; i++)
			in[i] = test_frame_build(pools.small, f);
		start = __rdtsc();
		*n_out = transmit_finish(&dev, &pools, in, n, &n_done, out, TRANSMIT_MAX_SEGMENTS,
					 &result);
		start = __rdtsc() - start;
		best = start < best ? start : best;
		rte_pktmbuf_free_bulk(out, *n_out);
	}
	return best;
}

int main(void)
{
	static const struct {
		const char *what;
		struct test_frame f;
		uint16_t n;
		uint32_t offloads;
	} cases[] = {
		{ "64-byte frames, nothing to do", { .payload_bytes = 22 }, 64, 0 },
		{ "64-byte frames, batch of 8", { .payload_bytes = 22 }, 8, 0 },
		{ "1514-byte frames, checksum left to the device",
		  { .payload_bytes = 1472, .request = true }, 32, ~0u },
		{ "1514-byte frames, checksum in software",
		  { .payload_bytes = 1472, .request = true }, 32, 0 },
		{ "1514-byte TCP segments of a 64 KiB send, with checksums",
		  { .payload_bytes = 64240, .mss = 1460, .tcp = true, .request = true }, 1, 0 },
		{ "the same, checksums left to the device",
		  { .payload_bytes = 64240, .mss = 1460, .tcp = true, .request = true }, 1,
		  PORT_OFFLOAD_IP_CSUM | PORT_OFFLOAD_L4_CSUM },
	};

	pools.small = test_pool_create(512, POOLS_SMALL_ROOM);
	pools.large = test_pool_create(8, POOLS_LARGE_ROOM);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint16_t n_out = 0;
		uint64_t cycles = measure(&cases[i].f, cases[i].n, cases[i].offloads, &n_out);

		printf("%8.1f cycles a frame: %s\n", (double)cycles / n_out, cases[i].what);
	}
	test_pool_destroy(pools.small);
	test_pool_destroy(pools.large);
	return 0;
}
