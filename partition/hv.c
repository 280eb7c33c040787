// SPDX-License-Identifier: Apache-2.0
#include "partition/hv.h"

#include <errno.h>

#include "partition/ram.h"

#define PAGE_MASK (~(uint64_t)(GUEST_PAGE_BYTES - 1))
#define APIC_HZ 1000000000u // KVM's local APIC timer
#define PAGE_ENABLED 1u
#define RESET_NOW 1u
#define CRASH_NOTIFY (1ull << 63)
#define CRASH_MESSAGE (1ull << 62) // P3 is the address of a text, P4 its length

void partition_hv_reset(struct partition_hv *hv)
{
	hv->guest_os = hv->hypercall = hv->reference_tsc = hv->tsc_invariant = 0;
	hv->crash = (struct partition_crash){};
	for (uint32_t i = 0; i < PARTITION_MAX_VPS; i++) {
		struct partition_hv_vp *vp = &hv->vps[i];

		vp->assist = 0;
		vp->synic.memory = hv->memory;
		vp->synic.interrupt = hv->ops->interrupt;
		vp->synic.owner = hv->owner;
		vp->synic.vp = i;
		vp->stimers.synic = &vp->synic;
		partition_synic_reset(&vp->synic);
		partition_stimers_reset(&vp->stimers);
	}
}

// --- time --------------------------------------------------------------------------------------

uint64_t partition_hv_now(const struct partition_hv *hv)
{
	return partition_clock_at(&hv->clock, hv->ops->tsc(hv->owner));
}

uint64_t partition_hv_due(const struct partition_hv *hv)
{
	uint64_t due = PARTITION_STIMER_NEVER;

	for (uint32_t i = 0; i < hv->n_vps; i++) {
		uint64_t of_vp = partition_stimers_due(&hv->vps[i].stimers);

		due = of_vp < due ? of_vp : due;
	}
	return due;
}

void partition_hv_run_timers(struct partition_hv *hv)
{
	uint64_t now = partition_hv_now(hv);

	for (uint32_t i = 0; i < hv->n_vps; i++)
		partition_stimers_run(&hv->vps[i].stimers, now);
}

void partition_hv_clock_changed(struct partition_hv *hv)
{
	if (hv->reference_tsc & PAGE_ENABLED)
		partition_clock_write_page(&hv->clock, hv->memory, hv->reference_tsc & PAGE_MASK);
}

// --- pages -------------------------------------------------------------------------------------

// The hypercall page, in 64-bit mode. A fast SignalEvent with flag 0, which is what a guest does
// for each packet that finds its ring empty, writes the connection id to the doorbell port, where
// KVM knows an eventfd for each open channel: no exit to user space. All else ends in user space.
// Behind the doorbell EAX is the id still, unless user space, which was asked for an id that KVM
// does not know, has added the status to it; all other registers stay as they were, as TLFS,
// "Hypercall Interface", has it.
static const uint8_t hypercall_code[] = {
	0x48, 0x81, 0xf9, 0x5d, 0x00, 0x01, 0x00, // cmp   $0x1005d,%rcx
	0x75, 0x11,                               // jne   slow
	0x48, 0x89, 0xd0,                         // mov   %rdx,%rax
	0x48, 0xc1, 0xe8, 0x20,                   // shr   $32,%rax
	0x75, 0x08,                               // jne   slow
	0x48, 0x89, 0xd0,                         // mov   %rdx,%rax
	0xe7, PARTITION_DOORBELL_PORT,            // out   %eax,$doorbell
	0x29, 0xd0,                               // sub   %edx,%eax
	0xc3,                                     // ret
	0xe6, PARTITION_HYPERCALL_PORT,           // slow: out %al,$hypercall
	0xc3,                                     // ret
};

static int write_hypercall(struct partition_hv *hv, uint32_t vp, uint64_t value)
{
	uint8_t *page;

	// Before the guest has said what it is there is no hypercall page (TLFS, "Establishing
	// the Hypercall Interface").
	if (hv->guest_os == 0)
		value &= ~(uint64_t)PAGE_ENABLED;
	if (value & PAGE_ENABLED) {
		page = guest_memory_at(hv->memory, value & PAGE_MASK, GUEST_PAGE_BYTES, true);
		if (!page)
			return -EINVAL;
		memset(page, 0xcc, GUEST_PAGE_BYTES); // INT3
		memcpy(page, hypercall_code, sizeof(hypercall_code));
	}
	hv->hypercall = value;
	if (value & PAGE_ENABLED)
		hv->ops->page_enabled(hv->owner, vp, value & PAGE_MASK);
	return 0;
}

static int write_reference_tsc(struct partition_hv *hv, uint64_t value)
{
	if ((value & PAGE_ENABLED) &&
	    partition_clock_write_page(&hv->clock, hv->memory, value & PAGE_MASK))
		return -EINVAL;
	hv->reference_tsc = value;
	return 0;
}

// --- crash -------------------------------------------------------------------------------------

// Printable ASCII and line ends, ended by NUL.
static void copy_message(struct partition_hv *hv, uint64_t gpa, uint64_t bytes)
{
	char *to = hv->crash.message;
	size_t n = sizeof(hv->crash.message) - 1;

	// Guests give a page at most; the end of it is what tells most.
	bytes = bytes < GUEST_PAGE_BYTES ? bytes : GUEST_PAGE_BYTES;
	if (bytes > n) {
		gpa += bytes - n;
		bytes = n;
	}
	if (!partition_ram_read(hv->memory, gpa, to, bytes))
		bytes = 0;
	for (size_t i = 0; i < bytes; i++)
		if ((to[i] < ' ' || to[i] > '~') && to[i] != '\n')
			to[i] = '?';
	to[bytes] = '\0';
}

static int write_crash(struct partition_hv *hv, uint32_t msr, uint64_t value)
{
	if (msr != PARTITION_MSR_CRASH_CONTROL) {
		hv->crash.parameters[msr - PARTITION_MSR_CRASH_P0] = value;
		return 0;
	}
	if (!(value & CRASH_NOTIFY))
		return 0;
	hv->crash.message[0] = '\0';
	if (value & CRASH_MESSAGE)
		copy_message(hv, hv->crash.parameters[3], hv->crash.parameters[4]);
	hv->ops->crashed(hv->owner, &hv->crash);
	return 0;
}

// --- MSRs --------------------------------------------------------------------------------------

int partition_hv_read_msr(struct partition_hv *hv, uint32_t vp, uint32_t msr, uint64_t *value)
{
	const struct partition_hv_vp *v = &hv->vps[vp];

	switch (msr) {
	case PARTITION_MSR_GUEST_OS_ID: *value = hv->guest_os; return 0;
	case PARTITION_MSR_HYPERCALL: *value = hv->hypercall; return 0;
	case PARTITION_MSR_VP_INDEX: *value = vp; return 0;
	case PARTITION_MSR_RESET: *value = 0; return 0;
	case PARTITION_MSR_VP_RUNTIME: *value = hv->ops->runtime(hv->owner, vp); return 0;
	case PARTITION_MSR_REFERENCE_COUNT: *value = partition_hv_now(hv); return 0;
	case PARTITION_MSR_REFERENCE_TSC: *value = hv->reference_tsc; return 0;
	case PARTITION_MSR_TSC_FREQUENCY: *value = hv->tsc_khz * 1000ull; return 0;
	case PARTITION_MSR_APIC_FREQUENCY: *value = APIC_HZ; return 0;
	case PARTITION_MSR_VP_ASSIST: *value = v->assist; return 0;
	case PARTITION_MSR_TSC_INVARIANT: *value = hv->tsc_invariant; return 0;
	case PARTITION_MSR_CRASH_P0 ... PARTITION_MSR_CRASH_P4:
		*value = hv->crash.parameters[msr - PARTITION_MSR_CRASH_P0];
		return 0;
	case PARTITION_MSR_CRASH_CONTROL: *value = CRASH_NOTIFY | CRASH_MESSAGE; return 0;
	case PARTITION_MSR_SCONTROL ... PARTITION_MSR_SINT15:
		return partition_synic_read(&v->synic, msr, value);
	case PARTITION_MSR_STIMER0_CONFIG ... PARTITION_MSR_STIMER3_COUNT:
		return partition_stimers_read(&v->stimers, msr, value);
	default: return -EINVAL;
	}
}

static int write_synic(struct partition_hv *hv, uint32_t vp, uint32_t msr, uint64_t value)
{
	int ret = partition_synic_write(&hv->vps[vp].synic, msr, value);

	if (ret)
		return ret;
	if (msr == PARTITION_MSR_EOM)
		hv->ops->eom(hv->owner, vp);
	else
		hv->ops->synic_changed(hv->owner, vp);
	return 0;
}

static int write_stimer(struct partition_hv *hv, uint32_t vp, uint32_t msr, uint64_t value)
{
	uint64_t now = partition_hv_now(hv);
	int ret = partition_stimers_write(&hv->vps[vp].stimers, msr, value, now);

	if (!ret)
		hv->ops->timers_changed(hv->owner);
	return ret;
}

int partition_hv_write_msr(struct partition_hv *hv, uint32_t vp, uint32_t msr, uint64_t value)
{
	switch (msr) {
	case PARTITION_MSR_GUEST_OS_ID:
		hv->guest_os = value;
		if (value == 0)
			hv->hypercall &= ~(uint64_t)PAGE_ENABLED;
		hv->ops->guest_os(hv->owner, value);
		return 0;
	case PARTITION_MSR_HYPERCALL: return write_hypercall(hv, vp, value);
	case PARTITION_MSR_RESET:
		if (value & RESET_NOW)
			hv->ops->reset(hv->owner);
		return 0;
	case PARTITION_MSR_REFERENCE_TSC: return write_reference_tsc(hv, value);
	case PARTITION_MSR_VP_ASSIST: hv->vps[vp].assist = value; return 0;
	case PARTITION_MSR_TSC_INVARIANT: hv->tsc_invariant = value & 1; return 0;
	case PARTITION_MSR_CRASH_P0 ... PARTITION_MSR_CRASH_CONTROL:
		return write_crash(hv, msr, value);
	case PARTITION_MSR_SCONTROL ... PARTITION_MSR_SINT15:
		return write_synic(hv, vp, msr, value);
	case PARTITION_MSR_STIMER0_CONFIG ... PARTITION_MSR_STIMER3_COUNT:
		return write_stimer(hv, vp, msr, value);
	default: return -EINVAL; // those that are read only among them
	}
}
