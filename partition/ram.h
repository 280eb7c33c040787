// SPDX-License-Identifier: Apache-2.0
// A guest's RAM: one sealed memfd, mapped once, in one or two stretches of guest addresses. The
// descriptor goes to the switch (vmbus-user); nobody can shorten it.
// Control, before vCPUs run; the map is read by all threads.
#pragma once

#include "base/err.h"
#include "base/guest_memory.h"

#define PARTITION_LOW_RAM_END 0xc0000000ull  // above it devices, up to 4 GiB
#define PARTITION_HIGH_RAM 0x100000000ull
#define PARTITION_MIN_RAM (32ull << 20)
#define PARTITION_MAX_RAM (1ull << 40)

struct partition_ram {
	int fd;
	uint64_t bytes;
	uint8_t *host;
	struct guest_memory map; // 1 or 2 regions; region i begins where the one before ends in fd
};

// bytes: a multiple of 2 MiB, PARTITION_MIN_RAM … PARTITION_MAX_RAM. Returns 0, or -errno and a
// sentence. Huge pages must be there if they are asked for.
int partition_ram_init(struct partition_ram *ram, uint64_t bytes, bool huge_pages,
		       struct err *err);
void partition_ram_fini(struct partition_ram *ram);

// Gives all pages back: the guest finds zeros.
int partition_ram_clear(struct partition_ram *ram);

// How many bytes of RAM begin at guest address 0.
uint64_t partition_ram_low(const struct partition_ram *ram);

// Copies between guest memory, in one region or not, and private memory. False: some of it is no
// RAM; what was copied up to there stays. Any thread.
bool partition_ram_read(const struct guest_memory *map, uint64_t gpa, void *to, size_t bytes);
bool partition_ram_write(const struct guest_memory *map, uint64_t gpa, const void *from,
			 size_t bytes);
