// SPDX-License-Identifier: Apache-2.0
// What of a sender's frames has arrived, flow by flow: none twice, none out of order, how many not
// at all. Pure. One thread a ledger.
#pragma once

#include "base/types.h"

struct ledger_flow {
	uint32_t next;   // one more than the highest number seen
	uint32_t n_seen; // different ones
	uint64_t recent; // bit i: number next - 1 - i was seen
};

struct ledger {
	uint32_t n_flows;
	bool is_stream; // numbers count bytes
	struct ledger_flow *flows; // [n_flows]
	uint64_t n_twice;
	uint64_t n_late;  // after one with a higher number
	uint64_t n_stale; // so late that it cannot be told whether it is the second time
	uint64_t n_holes; // streams: places where bytes are missing
};

// Returns 0 or -ENOMEM.
int ledger_init(struct ledger *ledger, uint32_t n_flows);
void ledger_fini(struct ledger *ledger);

// Frame `number` of `flow` (< n_flows) has arrived.
void ledger_frame(struct ledger *ledger, uint32_t flow, uint32_t number);

// Bytes at … at + bytes - 1 of the flow's stream have arrived.
void ledger_stream(struct ledger *ledger, uint32_t flow, uint32_t at, uint32_t bytes);

// Frames that are missing below the highest number seen of their flow; 0 for streams.
uint64_t ledger_missing(const struct ledger *ledger);
// Different frames that have arrived; segments of streams.
uint64_t ledger_seen(const struct ledger *ledger);
