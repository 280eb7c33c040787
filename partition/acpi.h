// SPDX-License-Identifier: Apache-2.0
// The ACPI tables of a guest: RSDP, XSDT, FADT, MADT and a DSDT with the VMBus device and COM1.
// "Hardware reduced": no timer, no SCI, nothing that would need emulation. Written into guest
// memory before it starts. Control.
// Facts: ACPI 6.4, chapters 5 (tables), 6.4 (resources) and 20 (AML).
#pragma once

#include "base/guest_memory.h"

#define PARTITION_ACPI_GPA 0xe0000ull // where firmware would have them
#define PARTITION_ACPI_BYTES 0x20000u
#define PARTITION_IOAPIC_GPA 0xfec00000ull
#define PARTITION_LAPIC_GPA 0xfee00000ull

// Writes the tables for n_vps processors (1 … 64) into `memory` at PARTITION_ACPI_GPA. Returns the
// address of the RSDP, or 0 if there is no memory there.
uint64_t partition_acpi_write(const struct guest_memory *memory, uint32_t n_vps);
