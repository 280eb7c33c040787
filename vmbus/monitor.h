// SPDX-License-Identifier: Apache-2.0
// Doorbells by monitor page: some guests signal by a bit in a page in place of a hypercall
// (docs/vmbus-user.md, section 5.4). The page is shared with devices that are not ours.
#pragma once

#include "vmbus/wire.h"

#define VMBUS_MONITOR_GROUPS (VMBUS_MONITOR_IDS / 32)

// A set of monitor ids, 0 … 127.
struct vmbus_monitor_ids {
	uint32_t groups[VMBUS_MONITOR_GROUPS];
};

// id < VMBUS_MONITOR_IDS. Any thread.
static inline void vmbus_monitor_add(struct vmbus_monitor_ids *ids, uint32_t id)
{
	ids->groups[id / 32] |= 1u << (id % 32);
}

static inline bool vmbus_monitor_has(const struct vmbus_monitor_ids *ids, uint32_t id)
{
	return id < VMBUS_MONITOR_IDS && ids->groups[id / 32] >> (id % 32) & 1;
}

// Clears the bits of `own` that are pending in the guest → host page, and no other, and says in
// *rung which they were. True: there were some. Any thread; several may share a page.
bool vmbus_monitor_scan(struct vmbus_monitor_page *page, const struct vmbus_monitor_ids *own,
			struct vmbus_monitor_ids *rung);
