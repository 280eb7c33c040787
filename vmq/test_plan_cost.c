// SPDX-License-Identifier: Apache-2.0
// How long a plan takes: 1024 ports beside a NIC of 64 queues, on 32 cores; once for steering in
// hardware, once in software, once with 64 queue pairs a port. `build/vmq/test_plan_cost`. Not a
// test: it asserts nothing about time.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vmq/plan.h"

#define PORTS 1024
#define ROUNDS 51

static uint8_t core[PORTS][VMQ_MAX_PAIRS];
static uint16_t load[PORTS][VMQ_MAX_PAIRS];
static struct vmq_port ports[PORTS];
static struct vmq_grant grants[PORTS];
static struct vmq_core cores[VMQ_MAX_CORES];

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void measure(const char *what, bool software, uint8_t n_pairs)
{
	const struct vmq_nic nic = {
		.software = software, .n_queues = 64, .n_filters = 128, .cores = ~0u
	};
	const struct vmq_input in = { cores, &nic, ports, VMQ_MAX_CORES, 1, PORTS, false };
	double ms[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		double start;

		for (int i = 0; i < PORTS; i++) {
			ports[i] = (struct vmq_port){ .weight = (uint8_t)(rand() % 101),
						      .is_nic = i == 0,
						      .addressed = true,
						      .n_pairs = n_pairs,
						      .n_wanted = n_pairs,
						      .core = core[i],
						      .load = load[i] };
			for (int p = 0; p < n_pairs; p++) {
				core[i][p] = (uint8_t)(rand() % (VMQ_MAX_CORES / 2));
				load[i][p] = (uint16_t)(rand() % 40 / n_pairs);
			}
		}
		start = now_ms();
		if (vmq_plan(&in, grants))
			exit(1);
		ms[round] = now_ms() - start;
	}
	qsort(ms, ROUNDS, sizeof(ms[0]), compare);
	printf("%-28s %6.2f ms, at most %6.2f\n", what, ms[ROUNDS / 2], ms[ROUNDS - 1]);
}

int main(void)
{
	for (int c = 0; c < VMQ_MAX_CORES; c++)
		cores[c] = (struct vmq_core){ .cpu = (uint16_t)c, .node = (uint8_t)(c / 16) };
	measure("hardware, 1 pair a port", false, 1);
	measure("software, 1 pair a port", true, 1);
	measure("software, 64 pairs a port", true, 64);
	return 0;
}
