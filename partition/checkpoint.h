// SPDX-License-Identifier: Apache-2.0
// Checkpoints: a paused partition as a file, from which it can go on. Control, no processor runs.
//
// File: struct partition_checkpoint, the state (image.h), then memory that is not zero: pieces of
// struct partition_checkpoint_piece and bytes, up to the end. A file is for the host that made it,
// or one like it; values in it are checked as far as we use them, KVM checks the rest.
#pragma once

#include "base/err.h"
#include "base/types.h"

struct partition;

struct partition_checkpoint {
	char magic[8]; // "WEFTVM01"
	uint32_t n_vps;
	uint32_t is_emulated; // see partition_cpuid_is_emulated
	uint64_t memory_bytes;
	uint64_t state_bytes;
};

struct partition_checkpoint_piece {
	uint64_t at, bytes; // offset in the memory's file
};

// Writes `path`, which it replaces when all is written. Returns 0, or -errno and a sentence.
int partition_checkpoint_write(struct partition *partition, const char *path, struct err *err);

// Reads the beginning of a file. Returns 0, or -errno and a sentence.
int partition_checkpoint_peek(const char *path, struct partition_checkpoint *out,
			      struct err *err);

// Brings a new partition, wired and of the right size, to where the file says.
int partition_checkpoint_read(struct partition *partition, const char *path, struct err *err);
