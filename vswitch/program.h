// SPDX-License-Identifier: Apache-2.0
// Action programs: what a flow's packets suffer, interned per worker so that thousands of flows
// share one, and an entry needs only its number. Reference counted by the entries that name them.
#pragma once

#include "base/err.h"
#include "vswitch/classify.h"

#define PROGRAM_MAX 65536u
#define PROGRAM_FULL 1u // "no room for another program": drops as TableFull, always there

struct program {
	// identity
	uint8_t op;     // enum op
	uint8_t form;   // enum tag_form
	uint8_t fields; // OP_LOOKUP
	uint8_t reason; // OP_DROP: enum drop
	uint8_t dir;    // OP_DROP: enum drop_dir
	uint8_t layer;  // OP_DROP
	uint16_t fid;   // OP_FLOOD, OP_ROUTE: where it goes; OP_ANSWER: where it came from
	uint32_t rule;  // OP_DROP
	uint32_t vsid;  // of frames that leave by a way; 0: they must not
	int16_t flow_id; // likewise: the fixed FlowID, or -1
	uint8_t answer; // OP_ANSWER: enum answer
	uint8_t pad;
	// state
	uint32_t refs;
	uint32_t next; // in its hash chain, or free chain; 0 ends
};

struct program_table {
	struct program *programs; // [PROGRAM_MAX]; 0 is never used
	uint32_t heads[4096];
	uint32_t n_made, free;
};

// 0 or -ENOMEM. control.
int program_table_init(struct program_table *t, struct err *err);
void program_table_fini(struct program_table *t);

// The number of the program for *d, with one reference more. PROGRAM_FULL when there is no room.
// worker.
uint32_t program_get(struct program_table *t, const struct decision *d);

// Gives one reference back. worker.
void program_put(struct program_table *t, uint32_t program);
