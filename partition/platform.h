// SPDX-License-Identifier: Apache-2.0
// What is left of a PC: the clock chip, and the registers by which a guest turns itself off or
// begins anew. A machine without I/O, under the partition's lock.
// Facts: MC146818 (CMOS clock); ACPI 6.4, 4.8.3.7 "Sleep Control and Status Registers".
#pragma once

#include "partition/traps.h"

#define PARTITION_SLEEP_CONTROL_PORT 0x600
#define PARTITION_SLEEP_STATUS_PORT 0x601
#define PARTITION_RESET_PORT 0xcf9
#define PARTITION_RESET_VALUE 6
#define PARTITION_S5_TYPE 5 // in the DSDT's \_S5

struct partition_platform {
	void (*power_off)(void *owner);
	void (*reset)(void *owner);
	void *owner;
	uint8_t cmos_index;
};

// Adds its ports to *traps. The struct's first three members are set.
void partition_platform_init(struct partition_platform *platform, struct partition_traps *traps);
