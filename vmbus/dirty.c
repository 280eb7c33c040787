// SPDX-License-Identifier: Apache-2.0
#include "vmbus/dirty.h"

void vmbus_dirty_mark_runs(const struct vmbus_dirty *dirty, const struct vmbus_runs *runs,
			   uint32_t at, uint32_t bytes)
{
	for (uint32_t i = vmbus_runs_find(runs, at); bytes; i++) {
		const struct vmbus_run *run = &runs->runs[i];
		uint32_t n = run->bytes - (at - run->start);

		n = n < bytes ? n : bytes;
		vmbus_dirty_mark(dirty, run->gpa + (at - run->start), n);
		at += n;
		bytes -= n;
	}
}
