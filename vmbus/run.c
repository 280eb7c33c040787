// SPDX-License-Identifier: Apache-2.0
#include "vmbus/run.h"

uint32_t vmbus_runs_find(const struct vmbus_runs *runs, uint32_t at)
{
	uint32_t lo = 0, hi = runs->n - 1;

	while (lo < hi) {
		uint32_t mid = (lo + hi + 1) / 2;

		if (runs->runs[mid].start <= at)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo;
}
