// SPDX-License-Identifier: Apache-2.0
// Messages for a guest that wait until its message slot is free. Part of the VMBus server.
#pragma once

#include "vmbus/server.h"

// More than devices can ask for at once (limits of gpadl.h and of relids): past it something is
// wrong with the guest, and it loses its connection.
#define VMBUS_OUTBOX_MAX 8192

// A guest that leaves so many messages lying must first take some before it may ask for more.
#define VMBUS_OUTBOX_FULL 64

struct vmbus_outbox_item {
	struct vmbus_outbox_item *next;
	uint32_t bytes;
	uint8_t message[];
};

struct vmbus_outbox {
	const struct vmbus_host_ops *ops;
	void *vmm;
	struct vmbus_contact to; // only target_vp and sint count
	struct vmbus_outbox_item *first, **end;
	uint32_t n;
	uint64_t n_lost; // could not be delivered or kept
	bool overflowed; // one could not be kept; vmbus_outbox_clear forgets it
};

void vmbus_outbox_init(struct vmbus_outbox *outbox, const struct vmbus_host_ops *ops, void *vmm);

// Sends message[bytes] now, if none waits before it and the slot is free, or keeps it.
void vmbus_outbox_send(struct vmbus_outbox *outbox, const void *message, uint32_t bytes);

// Keeps it without trying. Returns 0 or -ENOMEM.
int vmbus_outbox_keep(struct vmbus_outbox *outbox, const void *message, uint32_t bytes);

// Sends what waits, until the slot is full.
void vmbus_outbox_flush(struct vmbus_outbox *outbox);

void vmbus_outbox_clear(struct vmbus_outbox *outbox);
