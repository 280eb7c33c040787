// SPDX-License-Identifier: Apache-2.0
// The last frames that died in a worker, with the reason and the start of their bytes: what a
// person looks at when a counter says that packets die. Bounded work per loop, so that a flood of
// bad frames costs little more than its counters.
#pragma once

#include "base/counter.h"
#include "dataplane/drop.h"

#define DROP_LOG_RECORDS 256 // a power of two
#define DROP_LOG_HEAD 64     // bytes of a frame that are kept
#define DROP_LOG_PER_LOOP 8  // records that a worker writes in one loop, at most

// Why and where a frame died.
struct drop_cause {
	uint16_t port; // index; of the side `dir`
	uint8_t dir;   // enum drop_dir
	uint8_t reason; // enum drop
	uint32_t rule; // id of the rule that did it, 0: none
};

struct drop_record {
	uint64_t tsc;         // when
	struct drop_cause cause;
	uint32_t frame_bytes; // length of the frame
	uint32_t head_bytes;  // of head[]
	uint8_t head[DROP_LOG_HEAD];
};
static_assert(sizeof(struct drop_record) % sizeof(uint64_t) == 0);

struct drop_log {
	uint32_t budget; // records left in this loop. worker
	uint64_t n;      // records ever written. worker: w, control: r
	struct {
		uint64_t number; // 1 + position in the log; 0 while it is written
		uint64_t words[sizeof(struct drop_record) / sizeof(uint64_t)];
	} slots[DROP_LOG_RECORDS];
};

// Notes a frame whose first segment is head[n]. worker (its own log), within the loop's budget.
void drop_log_add(struct drop_log *log, const struct drop_cause *cause, uint32_t frame_bytes,
		  const uint8_t *head, uint32_t n);

// Copies what is whole, newest first, into out[DROP_LOG_RECORDS]; returns how many. Any thread.
unsigned int drop_log_read(const struct drop_log *log, struct drop_record *out);
