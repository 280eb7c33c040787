// SPDX-License-Identifier: Apache-2.0
// What a guest's processors say of themselves (CPUID): what KVM can do, less what a partition has
// not, and the leaves of the hypervisor. A pure function of its arguments.
// Spec: TLFS, "Feature Discovery"; Intel SDM, CPUID.
#pragma once

#include <linux/kvm.h>

#include "base/types.h"

#define PARTITION_MAX_CPUID 256

struct partition_cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[PARTITION_MAX_CPUID];
};

struct partition_cpuid_cfg {
	uint32_t vp, n_vps;
	// The host has no VT-x of its own, and KVM emulates kernel code: a small processor is shown
	// that needs no instruction which KVM's emulator does not know (see assist.h).
	bool emulated;
};

// Does KVM run guests in hardware here? Looks at the host's own CPUID.
bool partition_cpuid_is_emulated(void);

// Makes *out of what KVM says it supports.
void partition_cpuid_build(const struct partition_cpuid *supported,
			   const struct partition_cpuid_cfg *cfg, struct partition_cpuid *out);
