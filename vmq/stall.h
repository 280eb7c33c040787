// SPDX-License-Identifier: Apache-2.0
// Is a queue stuck: frames are steered to it, and none comes out at its worker? Fed with two
// counters at regular intervals; pure. Called by daemon/vmq.c. control.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VMQ_STALL_FRAMES 16 // steered in an interval: fewer say nothing
#define VMQ_STALL_INTERVALS 8 // in a row, until the queue counts as stuck

// Starts as zeroes.
struct vmq_stall {
	uint64_t steered, delivered; // as last seen
	uint8_t n_silent; // intervals in a row with frames steered and none delivered
};

// steered: frames sent its way since ever; delivered: those that its worker took in, whatever
// became of them. True once when it has been stuck for VMQ_STALL_INTERVALS; then the counting
// begins anew.
bool vmq_stall_check(struct vmq_stall *s, uint64_t steered, uint64_t delivered);
