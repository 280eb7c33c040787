// SPDX-License-Identifier: Apache-2.0
// What the tests of test_guest_*.c stand on: a switch in this thread, up to four VMs with a fake
// guest and a NIC each, and a wire. Numbered frames that say what they are; whoever receives one
// checks it. Everything fails the running test by itself.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/guest/fake_driver.h"
#include "tests/guest/fake_switch.h"
#include "tests/guest/fake_vmm.h"

#define RIG_MAX_VMS 4
#define RIG_MAX_SEEN 65536

struct rig_vm {
	struct fake_vmm vmm;
	struct fake_driver driver;
	bool started;        // its driver is polled while others wait
	uint8_t seen[RIG_MAX_SEEN]; // times that a frame of each number was received
	uint64_t n_seen;
	struct fake_frame last; // the last one; its bytes are in last_bytes
	uint8_t last_bytes[FAKE_MAX_FRAME];
	uint64_t n_by_channel[FAKE_MAX_CHANNELS];
};

struct rig {
	struct fake_switch sw;
	uint32_t n_vms;
	struct rig_vm *vms;
	uint32_t next; // number of the next frame
};

struct rig_cfg {
	uint32_t n_vms; // 0: 1. There may be more ports than VMs
	struct fake_switch_cfg sw;
	struct fake_vmm_cfg vmm;       // of all VMs
	struct fake_driver_cfg driver; // of all drivers
	bool no_boot;                  // VMs are there; guests have not begun to speak
	bool no_start;                 // guests have offers; drivers have not begun
};

extern struct rig rig;

// Makes all of it, with every driver started unless told not to. NULL: zeros.
void rig_up(const struct rig_cfg *cfg);

// Checks that no guest complains, that every frame is accounted for, and takes it all down.
void rig_down(void);

// The same without asking the guests: they have lied.
void rig_drop(void);

// Of the switch's socket; of a VM's NIC.
const char *rig_path(void);
const char *rig_name(uint32_t vm);

// One round of everything. True.
bool rig_pump(void *ctx);
void rig_rounds(uint32_t n);

// Rounds until done(arg); fails after 10000.
void rig_wait(bool (*done)(void *arg), void *arg);

// The address of a VM; that of the wire.
struct mac rig_mac(uint32_t vm);
struct mac rig_wire_mac(void);

// A numbered frame of `bytes` (≥ 60), into to[]. Returns its number.
uint32_t rig_frame(uint8_t *to, uint32_t bytes, struct mac dst, struct mac src);

// The number of a frame, checked from end to end, or UINT32_MAX: it is none of ours.
uint32_t rig_frame_number(const uint8_t *frame, uint32_t bytes);

// A frame from the wire to a VM, or to all (broadcast). Returns its number.
uint32_t rig_inject(uint32_t vm, uint32_t bytes);

// The VM's driver sends a frame to the wire, in its plain form. Returns its number.
uint32_t rig_send(uint32_t vm, uint32_t bytes);

// Waits until the VM has received that frame; it must be the first time.
void rig_expect(uint32_t vm, uint32_t number);

// Waits until the wire has collected that frame.
void rig_expect_wire(uint32_t number);

// True once the VM, or the wire, has it.
bool rig_has(uint32_t vm, uint32_t number);
bool rig_wire_has(uint32_t number);

// Frames go through to the VM and from it.
void rig_check_traffic(uint32_t vm);

// What there is to know of the VM's NIC, and what its queues have counted together.
struct netvsp_nic_info rig_info(uint32_t vm);
struct netvsp_counters rig_counters(uint32_t vm);
