// SPDX-License-Identifier: Apache-2.0
// A partition: memory and virtual processors by KVM, and what Hyper-V would give a guest by us
// (hv.h), so that nothing but VT-x and EPT is asked of KVM.
//
// One control thread makes it and calls everything here; a vcpu thread for each virtual processor
// runs the guest. One lock keeps all state: every function takes it, ops are called with it held,
// from the control thread or a vcpu thread, and must not call back into the partition.
#pragma once

#include "base/err.h"
#include "partition/hv.h"

struct partition;

// How a partition ended.
enum partition_end {
	PARTITION_RUNS,
	PARTITION_POWERED_OFF, // the guest turned itself off
	PARTITION_RESET,       // the guest asked for a reset, and resets end it
	PARTITION_CRASHED,     // the guest reported a crash, and then ended as above
	PARTITION_STOPPED,     // partition_stop
	PARTITION_CUT_OFF,     // it cannot run on: triple fault, KVM gave up
};

struct partition_ops {
	void (*console)(void *owner, const uint8_t *bytes, uint32_t n); // the guest has written
	void (*crashed)(void *owner, const struct partition_crash *crash);
};

// A NIC that the switch serves (docs/vmbus-user.md).
struct partition_nic_cfg {
	const char *name;     // as the switch knows it
	const char *socket;   // path of the switch's socket
	const uint8_t *token; // [32], or NULL
};

#define PARTITION_MAX_NICS 16

struct partition_nic_state {
	char name[65];
	bool is_served;
	char why[160]; // the switch is away or has refused it: a sentence
};

struct partition_cfg {
	const char *name;         // for messages
	uint32_t n_vps;           // 1 … PARTITION_MAX_VPS
	uint64_t memory_bytes;
	bool huge_pages;
	bool reset_ends;          // a guest's reset ends the partition; else it begins anew
	const char *kernel, *initrd, *command_line; // paths; initrd may be NULL
	// A file of partition_save to go on from: n_vps and memory_bytes are what it says. Without
	// a kernel, a guest's reset ends the partition.
	const char *checkpoint;
	const struct partition_nic_cfg *nics; // [n_nics]
	uint32_t n_nics;
	const struct partition_ops *ops;
	void *owner;
};

// Opens /dev/kvm, makes memory and processors, loads the kernel. Strings of *cfg must outlive it.
// Returns 0, or -errno and a sentence.
int partition_create(const struct partition_cfg *cfg, struct partition **out, struct err *err);
void partition_destroy(struct partition *partition); // stops it first; NULL is fine

// Begins to run. Returns 0, or -errno and a sentence.
int partition_start(struct partition *partition, struct err *err);

// No processor runs when it returns. Calls nest with partition_resume.
void partition_pause(struct partition *partition);
void partition_resume(struct partition *partition);

// How it is; for showing.
struct partition_state {
	uint32_t n_vps;
	uint64_t memory_bytes;
	uint64_t n_exits, n_assists; // of all processors
	uint32_t silence; // seconds since the guest answered a heartbeat; UINT32_MAX: never
	bool has_crashed;
	struct partition_crash crash;
};

// Adds a NIC; takes one away. Return 0, or -errno and a sentence.
int partition_nic_add(struct partition *partition, const struct partition_nic_cfg *cfg,
		      struct err *err);
int partition_nic_remove(struct partition *partition, const char *name, struct err *err);

// The i-th NIC. False: there are fewer.
bool partition_nic_look(struct partition *partition, uint32_t i,
			struct partition_nic_state *state);

void partition_look(struct partition *partition, struct partition_state *state);

// Writes a paused partition into a file. Returns 0, or -errno and a sentence.
int partition_save(struct partition *partition, const char *path, struct err *err);

// Asks the guest to turn itself off, or to begin anew. Returns 0, or -ENOTCONN and a sentence.
int partition_shutdown(struct partition *partition, bool reboot, struct err *err);

// Ends it, whatever the guest does. partition_run says so.
void partition_stop(struct partition *partition);

// Readable when partition_run has something to do.
int partition_fd(const struct partition *partition);

// Timers, devices, resets. Returns how it ended, or PARTITION_RUNS.
enum partition_end partition_run(struct partition *partition);

// Why it ended: a sentence for the operator, valid as long as the partition.
const char *partition_why(const struct partition *partition);

// Types on the console. Returns how many bytes found room.
uint32_t partition_type(struct partition *partition, const uint8_t *bytes, uint32_t n);
