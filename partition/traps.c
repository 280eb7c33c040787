// SPDX-License-Identifier: Apache-2.0
#include "partition/traps.h"

#include <errno.h>

void partition_traps_add(struct partition_traps *traps, enum partition_space space,
			 const struct partition_trap *trap)
{
	assert(trap->first <= trap->last && traps->n[space] < PARTITION_MAX_TRAPS);
	for (uint32_t i = 0; i < traps->n[space]; i++)
		assert(trap->last < traps->traps[space][i].first ||
		       trap->first > traps->traps[space][i].last);
	traps->traps[space][traps->n[space]++] = *trap;
}

int partition_traps_handle(const struct partition_traps *traps, enum partition_space space,
			   struct partition_access *access)
{
	for (uint32_t i = 0; i < traps->n[space]; i++) {
		const struct partition_trap *trap = &traps->traps[space][i];

		if (access->address >= trap->first && access->address <= trap->last)
			return trap->handle(trap->device, access);
	}
	return -ENXIO;
}
