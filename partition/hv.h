// SPDX-License-Identifier: Apache-2.0
// The hypervisor as a guest sees it: its MSRs and hypercalls, a SynIC and timers for each virtual
// processor. A machine without I/O and without KVM, under the partition's lock: it calls back for
// what it cannot know or do. Everything a guest gives it is hostile.
// Spec: TLFS; which parts are offered is in cpuid.c.
#pragma once

#include "partition/clock.h"
#include "partition/stimer.h"
#include "partition/synic.h"

#define PARTITION_MAX_VPS 64
#define PARTITION_MSR_FIRST 0x40000000u // all that belong to the hypervisor
#define PARTITION_MSR_LAST 0x400003ffu

enum partition_hv_msr {
	PARTITION_MSR_GUEST_OS_ID = 0x40000000,
	PARTITION_MSR_HYPERCALL = 0x40000001,
	PARTITION_MSR_VP_INDEX = 0x40000002,
	PARTITION_MSR_RESET = 0x40000003,
	PARTITION_MSR_VP_RUNTIME = 0x40000010,
	PARTITION_MSR_REFERENCE_COUNT = 0x40000020,
	PARTITION_MSR_REFERENCE_TSC = 0x40000021,
	PARTITION_MSR_TSC_FREQUENCY = 0x40000022,
	PARTITION_MSR_APIC_FREQUENCY = 0x40000023,
	PARTITION_MSR_VP_ASSIST = 0x40000073,
	PARTITION_MSR_CRASH_P0 = 0x40000100,
	PARTITION_MSR_CRASH_P4 = 0x40000104,
	PARTITION_MSR_CRASH_CONTROL = 0x40000105,
	PARTITION_MSR_TSC_INVARIANT = 0x40000118,
};

enum partition_hv_status {
	PARTITION_HV_SUCCESS = 0,
	PARTITION_HV_INVALID_CODE = 2,
	PARTITION_HV_INVALID_INPUT = 3,
	PARTITION_HV_INVALID_ALIGNMENT = 4,
	PARTITION_HV_INVALID_PARAMETER = 5,
	PARTITION_HV_INSUFFICIENT_MEMORY = 11,
	PARTITION_HV_INVALID_CONNECTION_ID = 18,
	PARTITION_HV_INSUFFICIENT_BUFFERS = 19,
};

// The I/O ports that the hypercall page touches; see partition_hv_write_page.
#define PARTITION_HYPERCALL_PORT 0xf2
#define PARTITION_DOORBELL_PORT 0xf3

// What a guest reports when it crashes.
struct partition_crash {
	uint64_t parameters[5];
	char message[512]; // its last words, printable, or ""
};

struct partition_hv_ops {
	uint64_t (*tsc)(void *owner);                 // of the guest, now
	uint64_t (*runtime)(void *owner, uint32_t vp); // that the processor has run, 100 ns
	void (*interrupt)(void *owner, uint32_t vp, uint8_t vector);
	// Hypercalls. message[bytes] is a private copy. Both return 0 or -errno: -ENOENT no such
	// connection, -EAGAIN try again, -ENOMEM; all else is an invalid parameter.
	int (*post)(void *owner, uint32_t connection_id, const void *message, uint32_t bytes);
	int (*signal)(void *owner, uint32_t connection_id, uint32_t flag);
	void (*eom)(void *owner, uint32_t vp);            // a message slot may be free
	void (*synic_changed)(void *owner, uint32_t vp);  // flags or a vector may be elsewhere
	void (*timers_changed)(void *owner);              // partition_hv_due may be another
	void (*guest_os)(void *owner, uint64_t id);
	void (*page_enabled)(void *owner, uint32_t vp, uint64_t gpa); // hypercall page; written
	void (*reset)(void *owner);
	void (*crashed)(void *owner, const struct partition_crash *crash);
};

struct partition_hv_vp {
	struct partition_synic synic;
	struct partition_stimers stimers;
	uint64_t assist;
};

// All of it is saved but what the first block holds.
struct partition_hv {
	const struct partition_hv_ops *ops;
	void *owner;
	const struct guest_memory *memory;
	uint32_t n_vps, tsc_khz;

	struct partition_clock clock;
	uint64_t guest_os, hypercall, reference_tsc, tsc_invariant;
	struct partition_crash crash;
	struct partition_hv_vp vps[PARTITION_MAX_VPS];
};

// As after a reset; the first block and the clock are set by the owner.
void partition_hv_reset(struct partition_hv *hv);

// An access to an MSR of the hypervisor. Return 0 or -EINVAL: it faults.
int partition_hv_read_msr(struct partition_hv *hv, uint32_t vp, uint32_t msr, uint64_t *value);
int partition_hv_write_msr(struct partition_hv *hv, uint32_t vp, uint32_t msr, uint64_t value);

// A hypercall in 64-bit mode: RCX, RDX, R8. Returns what RAX shall be.
uint64_t partition_hv_hypercall(struct partition_hv *hv, uint64_t control, uint64_t input,
				uint64_t output);

// The fast form of SignalEvent; returns the status.
enum partition_hv_status partition_hv_signal(struct partition_hv *hv, uint32_t connection_id,
					     uint32_t flag);

// Reference time now, 100 ns.
uint64_t partition_hv_now(const struct partition_hv *hv);

// When the earliest timer of all processors is due (reference time), or PARTITION_STIMER_NEVER.
uint64_t partition_hv_due(const struct partition_hv *hv);

// Fires timers that are due.
void partition_hv_run_timers(struct partition_hv *hv);

// The clock was set anew: the guest's page follows.
void partition_hv_clock_changed(struct partition_hv *hv);
