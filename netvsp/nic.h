// SPDX-License-Identifier: Apache-2.0
// One synthetic NIC: its name and identity, its queues, and what runs on them while a guest is
// attached. Made by its port (port_netvsp.c, helper thread), driven by the service's connections
// (service.c, control), served by the workers that own its queues.
//
// A channel is a worker's by one RCU pointer in its queue. Control takes it back by storing NULL
// and waiting a grace period, before it touches the channel or what all channels share
// (guest.h), and gives it back by storing it again.
#pragma once

#include <sys/types.h>

#include "dataplane/port.h"
#include "netvsp/channel.h"

struct netvsp_nic;

// What is known of a NIC, for people. Pointers are good for the call only.
struct netvsp_nic_info {
	const char *name;
	struct mac mac;
	uint8_t guid[16];       // instance GUID as in OFFER_CHANNEL
	bool attached;          // a VMM is connected
	pid_t vmm_pid;          // it, when it connected; 0: not to be seen from here
	bool ready;             // the guest's driver takes frames
	char state[96];         // for people: "ready", "driver not ready", why nobody is there
	uint32_t vmbus_version; // 0x00050003; 0: no channel is open. As the next two
	uint32_t nvsp_version;
	uint32_t ndis_version;  // major in the upper half
	uint64_t guest_os_id;   // 0: unknown
	uint32_t max_frame;     // largest frame, bytes without FCS
	unsigned int n_queues, n_channels; // that there are; that the guest has open
	uint32_t n_sections, n_held; // of the receive buffer: all, held by the guest
	uint64_t n_attached;    // times a VMM came
	uint64_t n_recovered;   // batches that recovery finished, since the NIC was made
	uint64_t n_lost;        // frames that a recovery gave up, at most
	const struct netvsp_counters *counters; // [n_queues]
};

// Calls fn for each NIC there is. control.
void netvsp_nic_list(void (*fn)(void *arg, const struct netvsp_nic_info *info), void *arg);
