// SPDX-License-Identifier: Apache-2.0
// A small VMM around a fake guest: the real VMBus server, its real NICs, and the real client of
// vmbus-user; of a partition manager there is only what they ask for, doorbells as eventfds.
//
// One thread. It can share it with the switch (cfg.pump runs the switch), or attach to a switch in
// another process (cfg.pump NULL: it sleeps a millisecond at most, until a descriptor rings).
#pragma once

#include "tests/guest/fake_guest.h"
#include "vmbus/nic.h"

#define FAKE_MAX_NICS 4

struct fake_vmm_cfg {
	uint32_t n_pages;          // of the guest's RAM; 0: 8192 (32 MiB)
	unsigned int memory_flags; // enum fake_memory_flag
	uint32_t n_vps;            // 0: 1
	bool monitor;              // the guest has monitor pages
	bool call;                 // doorbells in mode CALL
	uint32_t max_version;      // of VMBus, 0: any
	uint32_t max_rounds;       // as fake_guest_cfg's
	const char *path;          // of the switch's socket
	const char *nics[FAKE_MAX_NICS];
	uint32_t n_nics;
	const uint8_t *token; // [32] or NULL
	uint64_t features;    // enum vmbus_user_feature; 0: all
	bool (*pump)(void *ctx); // lets the switch work; false: there is no use in it
	void *ctx;
};

struct fake_vmm_nic {
	struct fake_vmm *vmm;
	struct vmbus_nic *nic;
	uint32_t connection[FAKE_MAX_VPS]; // of each channel, 0: it is not open
	int doorbell[FAKE_MAX_VPS];        // eventfd by which the guest rings
	int call[FAKE_MAX_VPS];            // mode CALL: eventfd that the switch rings
	uint32_t call_vp[FAKE_MAX_VPS], call_flag[FAKE_MAX_VPS];
	bool gone;
	uint64_t cookie; // of the last request that ended
	int status;
	char says[240]; // the last sentence
	uint32_t n_says;
};

struct fake_vmm {
	struct fake_guest guest;
	struct fake_vmm_cfg cfg;
	struct guest_memory memory;
	struct vmbus_server *server;
	struct fake_vmm_nic nics[FAKE_MAX_NICS];
	int irq[FAKE_MAX_VPS]; // eventfds in place of irqfds
	uint64_t n_irqs;       // interrupts that reached the guest
	uint64_t next_cookie;
	bool deaf; // the guest does not take messages: its slot is full
};

// Makes guest, server and NICs; cfg and its strings are copied by pointer: they must live. Returns
// 0 or -errno.
int fake_vmm_init(struct fake_vmm *vmm, const struct fake_vmm_cfg *cfg);

// Hangs up and frees everything, as a VMM that died.
void fake_vmm_fini(struct fake_vmm *vmm);

// Does what VMM, and with cfg.pump the switch, have to do. As fake_host_ops.pump.
bool fake_vmm_pump(struct fake_vmm *vmm);

// Only what the VMM has to do.
void fake_vmm_run(struct fake_vmm *vmm);

// The guest boots: contact with the highest version, and offers until all NICs are there.
int fake_vmm_boot(struct fake_vmm *vmm);

// Has the switch pause, resume or save a NIC, and waits for it. Returns its status or -ETIMEDOUT.
int fake_vmm_pause(struct fake_vmm *vmm, uint32_t nic);
int fake_vmm_resume(struct fake_vmm *vmm, uint32_t nic);
int fake_vmm_save(struct fake_vmm *vmm, uint32_t nic);

// The guest moves: all NICs are paused and saved, all is given up, and made anew from the images
// for the switch at `path` (NULL: the same). The guest notices nothing. Returns 0 or -errno.
int fake_vmm_migrate(struct fake_vmm *vmm, const char *path);

// The guest moves a VP's event flags to another page, or masks its SINT, and goes on when no event
// goes to the old place any more.
int fake_vmm_move_synic(struct fake_vmm *vmm, uint32_t vp);
int fake_vmm_mask(struct fake_vmm *vmm, uint32_t vp, bool masked);

// Takes a NIC out, as an operator of the VM would. Waits until the guest has released it, which a
// fake driver does not do by itself: see fake_channel_release.
void fake_vmm_remove(struct fake_vmm *vmm, uint32_t nic);
