// SPDX-License-Identifier: Apache-2.0
// A synthetic NIC as its VMM sees it: memory for rings and buffers, GPADLs, channels, doorbells.
// The guest's half, the driver, is DPDK's (port.h); what it sees of this is uio.h.
//
// nic_attach makes the NIC known to the switch and gives it the memory; nic_plug opens channel 0
// and shows a device to DPDK; sub-channels follow when the driver asks for them. nic_unplug closes
// all.
// Threads: functions here are the main thread's, ops of the client the VMM thread's.
#pragma once

#include "tests/pmd/uio.h"
#include "vmbus/client.h"

#define NIC_MAX_QUEUES 16
#define NIC_MAX_MEMORY 16

// A stretch of the process's memory that frames may lie in; its addresses are the guest's.
struct nic_memory {
	uint64_t address, bytes;
	int fd; // the file that is mapped there
	uint64_t offset;
};

struct nic_cfg {
	char name[65];   // of the port at the switch
	char socket[108]; // of the switch
	uint32_t ring_pages;    // of each ring, its header included
	uint32_t max_queues;    // 1 … NIC_MAX_QUEUES
	uint32_t receive_bytes, send_bytes;
	bool huge; // take huge pages where sizes allow it
	uint32_t n_memory;
	struct nic_memory memory[NIC_MAX_MEMORY];
};

struct nic_channel {
	int rings;     // file
	uint8_t *map;  // of both rings, the one from the guest first
	int kick, bell; // eventfds: guest to switch (nobody writes it: the PMD cannot), and back
};

// What happened so far. With vmm_lock.
struct nic_events {
	uint32_t n_attached;        // times the switch began to serve it
	uint32_t n_lost;            // times it could not go on where it had been
	uint32_t n_channels_failed; // given up by the switch
	uint64_t n_batches;         // that recoveries finished
	uint64_t n_lost_frames;     // at most, as recoveries say
	bool attached;              // it serves it now
	bool gone;                  // the switch does not have it any more
	char why[256];
};

struct nic {
	struct nic_cfg cfg;
	uint32_t number;
	uint32_t life; // devices shown so far
	struct uio_device uio;
	struct vmbus_client *client;

	int buffers, pages; // files: receive and send buffer; single pages
	uint8_t *page_map;
	uint32_t n_channels; // whose rings exist
	uint32_t n_open;
	struct nic_channel channels[NIC_MAX_QUEUES];

	uint32_t n_pending; // requests. vmm_lock
	int failure;        // first -errno of a request
	struct nic_events events;
	uint64_t n_doorbells; // the driver wanted to ring
	uint64_t n_bells;     // the switch rang
};

// Attaches; waits for the switch for `seconds`. Returns 0 or -errno.
int nic_attach(struct nic *nic, const struct nic_cfg *cfg, uint32_t seconds, struct err *err);
void nic_detach(struct nic *nic); // what is not attached is fine

// Returns 0 or -errno.
int nic_plug(struct nic *nic, struct err *err);
int nic_unplug(struct nic *nic, struct err *err);

// Hides the device of a NIC that the switch has no more.
void nic_abandon(struct nic *nic);

// A copy of what happened.
struct nic_events nic_events(struct nic *nic);

// Adds what both sides rang for since the last time to n_doorbells and n_bells. The driver's wish
// is a bit, so call it after each burst to count them all.
void nic_count(struct nic *nic, uint32_t queue);
