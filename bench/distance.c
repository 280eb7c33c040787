// SPDX-License-Identifier: Apache-2.0
#include "bench/distance.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "base/types.h"

#define N_SAMPLES 400
#define ROUND_TRIPS 50 // of a sample

struct court {
	uint64_t ball CACHE_ALIGNED; // atomic: odd, it is the other's turn
	int cpu CACHE_ALIGNED;       // of the other
	int status;
	pthread_barrier_t ready;
};

static int run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *other_side(void *arg)
{
	struct court *court = arg;

	court->status = run_on(court->cpu);
	pthread_barrier_wait(&court->ready);
	if (court->status)
		return NULL;
	for (uint64_t turn = 1; turn < 2ull * N_SAMPLES * ROUND_TRIPS; turn += 2) {
		while (__atomic_load_n(&court->ball, __ATOMIC_ACQUIRE) != turn)
			;
		__atomic_store_n(&court->ball, turn + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static uint64_t sample(struct court *court, uint64_t *turn)
{
	uint64_t start = __rdtsc();

	for (int i = 0; i < ROUND_TRIPS; i++) {
		__atomic_store_n(&court->ball, ++*turn, __ATOMIC_RELEASE);
		++*turn;
		while (__atomic_load_n(&court->ball, __ATOMIC_ACQUIRE) != *turn)
			;
	}
	return __rdtsc() - start;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int bench_distance(int cpu, int other_cpu, double *cycles, struct err *err)
{
	struct court court = { .cpu = other_cpu };
	uint64_t samples[N_SAMPLES], turn = 0;
	pthread_t other;
	int ret;

	if (cpu == other_cpu)
		return err_set(err, EINVAL, "two CPUs are needed, not twice CPU %d", cpu);
	ret = run_on(cpu);
	if (ret)
		return err_set(err, ret, "CPU %d: %s", cpu, strerror(ret));
	pthread_barrier_init(&court.ready, NULL, 2);
	ret = pthread_create(&other, NULL, other_side, &court);
	if (!ret)
		pthread_barrier_wait(&court.ready);
	for (int i = 0; i < N_SAMPLES && !ret && !court.status; i++)
		samples[i] = sample(&court, &turn);
	if (!ret)
		pthread_join(other, NULL);
	pthread_barrier_destroy(&court.ready);
	ret = ret ?: court.status;
	if (ret)
		return err_set(err, ret, "CPU %d: %s", other_cpu, strerror(ret));
	qsort(samples, N_SAMPLES, sizeof(samples[0]), compare);
	*cycles = (double)samples[N_SAMPLES / 2] / (2 * ROUND_TRIPS);
	return 0;
}
