// SPDX-License-Identifier: Apache-2.0
// The synthetic interrupt controller of one virtual processor: 16 sources (SINTs), a page with a
// message slot for each, a page with 2048 event flags for each. A machine without I/O, under the
// partition's lock. The guest writes registers and owns the pages: it may put them anywhere.
// Spec: TLFS, "Synthetic Interrupt Controller" (MSRs 0x40000080 … 0x4000009f).
#pragma once

#include "base/guest_memory.h"
#include "base/types.h"

#define PARTITION_N_SINTS 16
#define PARTITION_MESSAGE_BYTES 240 // of payload
#define PARTITION_SLOT_BYTES 256    // of a message slot, and of the flags of a SINT
#define PARTITION_N_FLAGS 2048

enum partition_synic_msr {
	PARTITION_MSR_SCONTROL = 0x40000080,
	PARTITION_MSR_SVERSION = 0x40000081,
	PARTITION_MSR_SIEFP = 0x40000082,
	PARTITION_MSR_SIMP = 0x40000083,
	PARTITION_MSR_EOM = 0x40000084,
	PARTITION_MSR_SINT0 = 0x40000090,
	PARTITION_MSR_SINT15 = 0x4000009f,
};

enum partition_message_type {
	PARTITION_MESSAGE_NONE = 0,
	PARTITION_MESSAGE_VMBUS = 1,
	PARTITION_MESSAGE_TIMER = 0x80000010,
};

struct partition_synic {
	const struct guest_memory *memory;
	void (*interrupt)(void *owner, uint32_t vp, uint8_t vector);
	void *owner;
	uint32_t vp;
	uint64_t control, siefp, simp;
	uint64_t sint[PARTITION_N_SINTS];
};

// A message for a slot.
struct partition_message {
	uint32_t type; // enum partition_message_type, not NONE
	const void *payload;
	uint32_t bytes; // 1 … PARTITION_MESSAGE_BYTES
};

// As after a reset; the first four members stay.
void partition_synic_reset(struct partition_synic *synic);

// MSRs. Both return 0, or -EINVAL: the access faults.
int partition_synic_read(const struct partition_synic *synic, uint32_t msr, uint64_t *value);
int partition_synic_write(struct partition_synic *synic, uint32_t msr, uint64_t value);

// Puts a message into the slot of a SINT and interrupts. Returns 0; -EAGAIN if one lies there still
// (the guest will write EOM when it has taken it, if it is honest); -ENXIO if the guest has no
// slot: controller or page off, SINT masked, page outside memory.
int partition_synic_post(struct partition_synic *synic, uint32_t sint,
			 const struct partition_message *message);

// Sets an event flag and interrupts, if it was not set. Returns 0 or -ENXIO as above.
int partition_synic_signal(struct partition_synic *synic, uint32_t sint, uint32_t flag);

// Where the event flags of a SINT are, for somebody else to set them. False: nowhere (-ENXIO).
bool partition_synic_flags_gpa(const struct partition_synic *synic, uint32_t sint, uint64_t *gpa);

// The vector of a SINT, or 0 if it cannot interrupt.
uint8_t partition_synic_vector(const struct partition_synic *synic, uint32_t sint);
