// SPDX-License-Identifier: Apache-2.0
#include "tests/pmd/ledger.h"

#include <errno.h>
#include <stdlib.h>

int ledger_init(struct ledger *ledger, uint32_t n_flows)
{
	*ledger = (struct ledger){ .n_flows = n_flows };
	ledger->flows = calloc(n_flows, sizeof(*ledger->flows));
	return ledger->flows ? 0 : -ENOMEM;
}

void ledger_fini(struct ledger *ledger)
{
	free(ledger->flows);
	*ledger = (struct ledger){ 0 };
}

// A number below the highest: late, or there already.
static void late(struct ledger *ledger, struct ledger_flow *f, uint32_t number)
{
	uint32_t back = f->next - 1 - number;

	if (back >= 64) {
		ledger->n_stale++;
		return;
	}
	if (f->recent & 1ull << back) {
		ledger->n_twice++;
		return;
	}
	f->recent |= 1ull << back;
	f->n_seen++;
	ledger->n_late++;
}

void ledger_frame(struct ledger *ledger, uint32_t flow, uint32_t number)
{
	struct ledger_flow *f = &ledger->flows[flow];
	uint32_t ahead = number - f->next;

	if (likely(ahead < 1u << 31)) {
		f->recent = ahead < 63 ? f->recent << (ahead + 1) | 1 : 1;
		f->next = number + 1;
		f->n_seen++;
		return;
	}
	late(ledger, f, number);
}

void ledger_stream(struct ledger *ledger, uint32_t flow, uint32_t at, uint32_t bytes)
{
	struct ledger_flow *f = &ledger->flows[flow];

	ledger->is_stream = true;
	f->n_seen++;
	if (at - f->next >= 1u << 31) {
		ledger->n_late++; // or a second time: both are wrong
		return;
	}
	ledger->n_holes += at != f->next;
	f->next = at + bytes;
}

uint64_t ledger_missing(const struct ledger *ledger)
{
	uint64_t n = 0;

	for (uint32_t i = 0; !ledger->is_stream && i < ledger->n_flows; i++)
		n += ledger->flows[i].next - ledger->flows[i].n_seen;
	return n;
}

uint64_t ledger_seen(const struct ledger *ledger)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < ledger->n_flows; i++)
		n += ledger->flows[i].n_seen;
	return n;
}
