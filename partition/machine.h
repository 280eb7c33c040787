// SPDX-License-Identifier: Apache-2.0
// What the files of the partition share: machine.c (the VM and its life), vcpu.c (processors),
// wiring.c (devices and the hypervisor's machine). Nobody else includes it.
#pragma once

#include <linux/kvm.h>
#include <pthread.h>

#include "base/log.h"
#include "partition/bells.h"
#include "partition/boot.h"
#include "partition/bus.h"
#include "partition/cpuid.h"
#include "partition/partition.h"
#include "partition/platform.h"
#include "partition/ram.h"
#include "partition/serial.h"
#include "partition/traps.h"

struct partition_vcpu {
	struct partition *partition;
	uint32_t index;
	int fd;
	struct kvm_run *run; // shared with KVM
	pthread_t thread;
	bool has_thread;
	bool parked;          // waits for the end of a pause, or has left its loop
	uint64_t n_exits;
	uint64_t n_assists;   // instructions that KVM could not emulate
};

struct partition {
	struct partition_cfg cfg;
	pthread_mutex_t lock;
	pthread_cond_t changed; // pauses, parked processors, answers that a processor waits for
	int kvm_fd, vm_fd;
	int epoll_fd, wake_fd, timer_fd;
	size_t run_bytes; // of a struct kvm_run
	bool emulated;    // see struct partition_cpuid_cfg
	struct partition_cpuid *supported;

	struct partition_ram ram;
	struct partition_traps traps;
	struct partition_hv hv;
	struct partition_serial serial;
	struct partition_platform platform;
	struct partition_bells bells;
	struct partition_bus *bus;

	struct partition_vcpu vcpus[PARTITION_MAX_VPS];
	bool started;
	uint32_t n_pauses;
	bool leaving;            // processors leave their loops
	enum { NO_RESET, RESET_DUE, RESETTING } reset; // guest asked; devices let go
	bool has_crashed;
	enum partition_end end;
	char why[160];
	struct log_limit said;   // by partition_say
	uint64_t tsc_offset;     // guest's TSC - ours
};

// --- machine.c ---------------------------------------------------------------------------------

// Ends the partition: processors leave, partition_run says so. The first reason counts. Lock held.
void partition_end_with(struct partition *partition, enum partition_end end, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

// Logs what a guest can provoke, in limits. Lock held.
void partition_say(struct partition *partition, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

// Has the control thread look. Lock held or not.
void partition_wake(struct partition *partition);

// Sets the timer to the earliest synthetic timer. Lock held.
void partition_arm_timer(struct partition *partition);

// Raises an interrupt: a message to a local APIC. Lock held or not.
void partition_interrupt(struct partition *partition, uint32_t vp, uint8_t vector);

// --- wiring.c ----------------------------------------------------------------------------------

// Puts devices and MSRs in their places; as after a reset. Lock held, or nobody else is there.
void partition_wire(struct partition *partition);

// --- vcpu.c ------------------------------------------------------------------------------------

// Makes processor `index`, not running. Returns 0 or -errno.
int partition_vcpu_create(struct partition *partition, uint32_t index, struct err *err);
void partition_vcpu_destroy(struct partition_vcpu *vcpu);

// Lets the first processor begin at an entry point; others wait for it. Returns 0 or -errno.
int partition_vcpu_enter(struct partition_vcpu *vcpu, const struct partition_entry *entry);

// Its thread begins. Returns 0 or -errno.
int partition_vcpu_start(struct partition_vcpu *vcpu);

// Has it leave the guest and look at the partition. Lock held.
void partition_vcpu_kick(struct partition_vcpu *vcpu);

// The guest's TSC less ours, now. Before it runs.
int partition_vcpu_tsc_offset(const struct partition_vcpu *vcpu, uint64_t *offset);

// --- vcpu_state.c ------------------------------------------------------------------------------

struct partition_image;

// Save or load what KVM knows of a processor, and of the interrupt controllers. No processor runs.
void partition_vcpu_image(struct partition_vcpu *vcpu, struct partition_image *image);
void partition_vm_image(struct partition *partition, struct partition_image *image);
