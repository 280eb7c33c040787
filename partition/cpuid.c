// SPDX-License-Identifier: Apache-2.0
#include "partition/cpuid.h"

#include <cpuid.h>

// Leaf 1, ECX and EDX; 0x80000001.
#define ECX_VMX (1u << 5)
#define ECX_X2APIC (1u << 21)
#define ECX_TSC_DEADLINE (1u << 24)
#define ECX_HYPERVISOR (1u << 31)
#define EXT_ECX_LAHF 1u
#define EXT_ECX_SVM (1u << 2)
#define EXT_EDX_BASIC (1u << 11 | 1u << 20 | 1u << 29) // SYSCALL, NX, long mode
#define APM_INVARIANT_TSC (1u << 8)

// What every x86-64 processor has: FPU, DE, PSE, TSC, MSR, PAE, CX8, APIC, PGE, CMOV, PAT, CLFLUSH,
// MMX, FXSR, SSE, SSE2.
#define EDX_BASIC                                                                                  \
	(1u << 0 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 8 | 1u << 9 |           \
	 1u << 13 | 1u << 15 | 1u << 16 | 1u << 19 | 1u << 23 | 1u << 24 | 1u << 25 | 1u << 26)
// Family 6, model 0x1c: an in-order processor, for which kernels need no mitigations.
#define SIGNATURE_IN_ORDER 0x000106c1u

#define HYPERVISOR_FIRST 0x40000000u
#define HYPERVISOR_LAST 0x4000000cu

// Leaf 0x40000003.
enum {
	HAS_VP_RUNTIME = 1 << 0,
	HAS_REFERENCE_COUNTER = 1 << 1,
	HAS_SYNIC = 1 << 2,
	HAS_STIMERS = 1 << 3,
	HAS_HYPERCALLS = 1 << 5,
	HAS_VP_INDEX = 1 << 6,
	HAS_RESET = 1 << 7,
	HAS_REFERENCE_TSC = 1 << 9,
	HAS_FREQUENCIES = 1 << 11,
	HAS_INVARIANT_TSC = 1 << 15,
};
enum { MAY_POST_MESSAGES = 1 << 4, MAY_SIGNAL_EVENTS = 1 << 5 };
enum { FREQUENCIES_THERE = 1 << 8, CRASH_THERE = 1 << 10, STIMERS_DIRECT = 1 << 19 };
// Leaf 0x40000004. KVM's local APIC cannot end an interrupt by itself: guests must not ask it to.
enum { RELAXED_TIMING = 1 << 5, NO_AUTO_EOI = 1 << 9 };
#define NEVER_NOTIFY_SPINS 0xffffffffu

#define BUILD 20348u // Windows Server 2022, whose interface this is most like
#define VERSION (10u << 16)

bool partition_cpuid_is_emulated(void)
{
	uint32_t eax, ebx, ecx = 0, edx, ext_ecx = 0;

	__get_cpuid(1, &eax, &ebx, &ecx, &edx);
	__get_cpuid(0x80000001, &eax, &ebx, &ext_ecx, &edx);
	return !(ecx & ECX_VMX) && !(ext_ecx & EXT_ECX_SVM);
}

static void add(struct partition_cpuid *out, const struct kvm_cpuid_entry2 *entry)
{
	if (out->head.nent < PARTITION_MAX_CPUID)
		out->entries[out->head.nent++] = *entry;
}

static void add_hypervisor(const struct partition_cpuid_cfg *cfg, bool invariant_tsc,
			   struct partition_cpuid *out)
{
	struct kvm_cpuid_entry2 leaves[HYPERVISOR_LAST - HYPERVISOR_FIRST + 1] = {
		[0] = { .eax = HYPERVISOR_LAST },
		[2] = { .eax = BUILD, .ebx = VERSION },
		[3] = { .eax = HAS_VP_RUNTIME | HAS_REFERENCE_COUNTER | HAS_SYNIC | HAS_STIMERS |
			       HAS_HYPERCALLS | HAS_VP_INDEX | HAS_RESET | HAS_REFERENCE_TSC |
			       HAS_FREQUENCIES | (invariant_tsc ? HAS_INVARIANT_TSC : 0),
			.ebx = MAY_POST_MESSAGES | MAY_SIGNAL_EVENTS,
			.edx = FREQUENCIES_THERE | CRASH_THERE | STIMERS_DIRECT },
		[4] = { .eax = RELAXED_TIMING | NO_AUTO_EOI, .ebx = NEVER_NOTIFY_SPINS },
		[5] = { .eax = cfg->n_vps, .ebx = cfg->n_vps },
	};

	memcpy(&leaves[0].ebx, "Microsoft Hv", 12);
	memcpy(&leaves[1].eax, "Hv#1", 4);
	for (uint32_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		leaves[i].function = HYPERVISOR_FIRST + i;
		add(out, &leaves[i]);
	}
}

// One package of n_vps cores with one thread each.
static void add_topology(const struct partition_cpuid_cfg *cfg, struct partition_cpuid *out)
{
	uint32_t bits = 0;

	while (1u << bits < cfg->n_vps)
		bits++;
	const struct kvm_cpuid_entry2 levels[] = {
		{ .function = 0xb, .index = 0, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		  .ebx = 1, .ecx = 0x100, .edx = cfg->vp },
		{ .function = 0xb, .index = 1, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		  .eax = bits, .ebx = cfg->n_vps, .ecx = 0x201, .edx = cfg->vp },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(levels); i++)
		add(out, &levels[i]);
}

// Leaf 1 names the processor: its APIC id is the VP's number.
static void adapt_leaf_1(const struct partition_cpuid_cfg *cfg, struct kvm_cpuid_entry2 *e)
{
	e->ebx = cfg->vp << 24 | cfg->n_vps << 16 | (e->ebx & 0xffff);
	e->ecx = (e->ecx & ~ECX_VMX) | ECX_HYPERVISOR | ECX_X2APIC | ECX_TSC_DEADLINE;
	if (!cfg->emulated)
		return;
	e->eax = SIGNATURE_IN_ORDER;
	e->ebx = cfg->vp << 24 | 1u << 16 | 8u << 8;
	e->ecx = ECX_HYPERVISOR | ECX_X2APIC | ECX_TSC_DEADLINE;
	e->edx &= EDX_BASIC;
}

// One leaf of KVM's for a processor run in hardware. False: it is left out.
static bool adapt(const struct partition_cpuid_cfg *cfg, struct kvm_cpuid_entry2 *e)
{
	switch (e->function) {
	case 0x1: adapt_leaf_1(cfg, e); return true;
	case 0x4: // caches: each processor its own
		e->eax &= 0x3fffu;
		return true;
	case 0xb: case 0x1f: return false;
	case 0x80000001: e->ecx &= ~EXT_ECX_SVM; return true;
	case 0x80000008: e->ecx = 0; return true;
	default: return e->function < 0x40000000 || e->function > 0x4fffffff;
	}
}

// The same for one that is emulated: the highest leaf is 6, which hides what later ones offer
// (SMEP, SMAP, FSGSBASE, XSAVE …), and little else is there.
static bool adapt_emulated(const struct partition_cpuid_cfg *cfg, struct kvm_cpuid_entry2 *e)
{
	switch (e->function) {
	case 0:
		// Kernels have work-arounds for AMD's processors of this family.
		e->eax = 6;
		memcpy(&e->ebx, "Genu", 4);
		memcpy(&e->edx, "ineI", 4);
		memcpy(&e->ecx, "ntel", 4);
		return true;
	case 1: adapt_leaf_1(cfg, e); return true;
	case 0x80000000: e->eax = 0x80000008; return true;
	case 0x80000001:
		e->ecx = EXT_ECX_LAHF;
		e->edx &= EXT_EDX_BASIC;
		return true;
	case 0x80000002: case 0x80000003: case 0x80000004: return true;
	case 0x80000007: // a TSC that cannot be set after a restore is not one to live by
		e->eax = e->ebx = e->ecx = e->edx = 0;
		return true;
	case 0x80000008:
		e->eax = 0x3024; // 36 physical and 48 virtual address bits
		e->ebx = e->ecx = e->edx = 0;
		return true;
	default: return false;
	}
}

void partition_cpuid_build(const struct partition_cpuid *supported,
			   const struct partition_cpuid_cfg *cfg, struct partition_cpuid *out)
{
	uint32_t n = supported->head.nent;
	bool invariant_tsc = false;

	*out = (struct partition_cpuid){};
	for (uint32_t i = 0; i < n && i < PARTITION_MAX_CPUID; i++) {
		struct kvm_cpuid_entry2 e = supported->entries[i];

		if (!(cfg->emulated ? adapt_emulated(cfg, &e) : adapt(cfg, &e)))
			continue;
		if (e.function == 0x80000007)
			invariant_tsc = e.edx & APM_INVARIANT_TSC;
		add(out, &e);
	}
	if (!cfg->emulated)
		add_topology(cfg, out);
	add_hypervisor(cfg, invariant_tsc, out);
}
