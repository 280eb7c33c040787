// SPDX-License-Identifier: Apache-2.0
// The guest's console: a 16550A at COM1. What the guest writes goes out at once; what is typed
// waits in a small queue. A machine without I/O: it calls back. Under the partition's lock.
// Facts: National Semiconductor's PC16550D.
#pragma once

#include "partition/traps.h"

#define PARTITION_SERIAL_PORT 0x3f8
#define PARTITION_SERIAL_IRQ 4
#define PARTITION_SERIAL_QUEUE 1024 // bytes typed and not read yet

struct partition_serial_ops {
	void (*out)(void *owner, uint8_t byte);
	void (*irq)(void *owner, bool level);
};

struct partition_serial {
	const struct partition_serial_ops *ops;
	void *owner;
	uint8_t ier, lcr, mcr, scratch, divisor[2], fcr;
	bool sent;     // the transmitter has become empty, and nobody was told yet
	bool irq_level;
	uint32_t head, n; // of the queue
	uint8_t queue[PARTITION_SERIAL_QUEUE];
};

// As after a reset; what was typed is forgotten.
void partition_serial_init(struct partition_serial *serial, const struct partition_serial_ops *ops,
			   void *owner);

// A partition_handle for the eight ports.
int partition_serial_handle(void *serial, struct partition_access *access);

// Types bytes[n]. Returns how many found room.
uint32_t partition_serial_type(struct partition_serial *serial, const uint8_t *bytes, uint32_t n);
