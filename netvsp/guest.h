// SPDX-License-Identifier: Apache-2.0
// What all channels of a NIC work on: the guest's memory and what was agreed with its driver.
//
// Plain members change only while no channel is live (nic.c takes all of them from the workers,
// waits a grace period, changes, gives them back). RCU pointers change at any time.
#pragma once

#include "base/guest_memory.h"
#include "base/rcu.h"
#include "vmbus/dirty.h"
#include "vmbus/run.h"

struct netvsp_spread;
struct netvsp_sections;
struct port_pools;

// The receive or the send buffer, a GPADL cut into sections of equal size.
struct netvsp_area {
	struct vmbus_runs gpadl;
	uint32_t section_bytes;
	uint32_t n_sections; // 0: there is no such buffer
	uint16_t id;         // by which ring packets name it
};

// control: w, worker: r
struct netvsp_guest {
	struct netvsp_area receive, send;
	struct netvsp_sections *sections; // of the receive buffer, NULL without one
	const struct port_pools *pools;   // where frames from the guest go
	uint32_t max_frame; // largest frame it takes or sends, bytes without FCS, VLAN tag or LSO
	bool receiving;     // its driver is operational, wants frames, and this is its data path
	bool sending;       // its driver may send frames
	bool report_csum;   // tell it which checksums are known to be good, and finish none for it:
			    // all NETVSP_RX_* are on
	bool report_hash;   // tell it the hash by which frames were spread
	bool coalesce;      // it takes TCP segments in one (RSC): both sides turned it on
	RCU_POINTER(const struct guest_memory) memory; // for frames sent from pages
	RCU_POINTER(const struct netvsp_spread) rss;   // rss.h; NULL: everything to channel 0
	RCU_POINTER(const struct vmbus_dirty) dirty;   // NULL: nobody wants to know
	bool dead; // its memory went away under us; set by a signal handler, atomic
};
