// SPDX-License-Identifier: Apache-2.0
// What host and guest have said about a virtual function that stands beside a synthetic NIC. The
// host offers a VF (NVSP 128), the guest moves its frames to it when its driver is up and back
// again (NVSP 129); a VF may be taken away only after the guest has moved back. A pure state
// machine; control thread. Called by the control machine and by whoever hands VFs out.
#pragma once

#include "base/types.h"

struct netvsp_vf {
	uint32_t serial; // of the VF that the host has for the guest, 0: none
	uint32_t told;   // serial of the VF that the guest believes in, 0: none
	uint32_t saying; // serial of an offer that is on its way to the guest, 0: none
	bool switched;   // the guest sends and receives by its VF
};

enum netvsp_vf_state {
	NETVSP_VF_UNAVAILABLE, // no VF, or one of which the guest does not know yet
	NETVSP_VF_OFFERED,     // the guest knows and uses the synthetic path
	NETVSP_VF_SWITCHED,    // the guest uses the VF
	NETVSP_VF_RESTORING,   // the VF is to go, the guest still knows or uses it
};

enum netvsp_vf_state netvsp_vf_state(const struct netvsp_vf *vf);

// The host has this VF for the guest. serial: by which the guest finds its PCI device, not 0. One
// that is offered in place of another is told when the guest has left the other.
void netvsp_vf_offer(struct netvsp_vf *vf, uint32_t serial);

// The host wants it back. It may take it once netvsp_vf_is_free says so.
void netvsp_vf_withdraw(struct netvsp_vf *vf);

// The guest neither uses nor knows a VF other than the one on offer.
bool netvsp_vf_is_free(const struct netvsp_vf *vf);

// The guest asks for its path (enum nvsp_data_path). Returns whether frames have to move: only to
// a VF that is offered. An unknown path changes nothing.
bool netvsp_vf_switch(struct netvsp_vf *vf, uint32_t path);

// An association to be sent to the guest.
struct netvsp_vf_word {
	bool allocated;
	uint32_t serial;
};

// What the guest should be told now; from now on it may know. Returns false if nothing.
bool netvsp_vf_next_word(struct netvsp_vf *vf, struct netvsp_vf_word *out);

// The guest was told.
void netvsp_vf_said(struct netvsp_vf *vf, const struct netvsp_vf_word *word);

// The guest closed its channel, or does not answer any more: it knows of nothing.
void netvsp_vf_reset(struct netvsp_vf *vf);
