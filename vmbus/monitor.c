// SPDX-License-Identifier: Apache-2.0
#include "vmbus/monitor.h"

bool vmbus_monitor_scan(struct vmbus_monitor_page *page, const struct vmbus_monitor_ids *own,
			struct vmbus_monitor_ids *rung)
{
	bool any = false;

	for (int g = 0; g < VMBUS_MONITOR_GROUPS; g++) {
		uint32_t *pending = (FORCE uint32_t *)&page->groups[g].pending;
		uint32_t set = 0;

		// Looked at before it is written: mostly nothing is pending, and the line stays
		// shared. Acquire: what the guest wrote before it rang is seen.
		if (own->groups[g] && __atomic_load_n(pending, __ATOMIC_RELAXED) & own->groups[g])
			set = __atomic_fetch_and(pending, ~own->groups[g], __ATOMIC_ACQ_REL);
		rung->groups[g] = set & own->groups[g];
		any |= rung->groups[g] != 0;
	}
	return any;
}
