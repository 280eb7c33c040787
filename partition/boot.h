// SPDX-License-Identifier: Apache-2.0
// Loads a Linux kernel into guest memory as its 64-bit boot protocol wants it: a bzImage, which
// unpacks itself, or the ELF image inside (vmlinux), which begins at once. Images are files of
// whoever starts the partition, but need not be what they claim: everything in them is checked.
// Control, before vCPUs run. Spec: Linux, Documentation/x86/boot.rst; ELF-64.
#pragma once

#include "base/err.h"
#include "partition/ram.h"

// Where the first processor begins, in 64-bit mode with its page tables in place.
struct partition_entry {
	uint64_t rip, rsi; // entry point; boot_params
	uint64_t rsp, cr3, gdt;
	uint16_t gdt_limit, code, data; // selectors in that GDT
};

struct partition_boot {
	const char *kernel;       // path
	const char *initrd;       // path, or NULL
	const char *command_line; // at most 2047 bytes
	uint64_t rsdp;            // of the ACPI tables
};

// Returns 0 and *entry, or -errno and a sentence.
int partition_boot_load(const struct partition_ram *ram, const struct partition_boot *image,
			struct partition_entry *entry, struct err *err);
