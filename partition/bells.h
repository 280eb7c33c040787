// SPDX-License-Identifier: Apache-2.0
// Bells between a guest and whoever serves its channels, without a thread of ours in between:
// eventfds that KVM writes when the guest signals a connection id (hv.c, the doorbell port), and
// eventfds that make KVM raise a SINT's vector. Under the partition's lock.
#pragma once

#include <stdint.h>

#include "partition/hv.h"

#define PARTITION_FIRST_GSI 24 // behind the pins of the I/O APIC

// The way to the guest: a routed interrupt for each virtual processor.
struct partition_bell {
	int fd;         // eventfd, irqfd of GSI PARTITION_FIRST_GSI + vp; -1: none yet
	uint8_t vector; // 0: not routed
};

struct partition_bells {
	int vm_fd;
	uint32_t n_vps;
	struct partition_bell bells[PARTITION_MAX_VPS];
};

// For a new VM. vm_fd is borrowed.
void partition_bells_init(struct partition_bells *bells, int vm_fd, uint32_t n_vps);
void partition_bells_fini(struct partition_bells *bells); // the VM may be gone already

// An eventfd that rings when the guest signals connection_id. Returns it, the caller's, or -errno.
int partition_bells_listen(struct partition_bells *bells, uint32_t connection_id);

// The eventfd is to be closed: KVM forgets it first.
void partition_bells_unlisten(struct partition_bells *bells, uint32_t connection_id, int fd);

// An eventfd that raises `vector` (16 … 255) on a processor. Returns it, which stays ours, or
// -errno.
int partition_bells_ring(struct partition_bells *bells, uint32_t vp, uint8_t vector);
