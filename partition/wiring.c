// SPDX-License-Identifier: Apache-2.0
// Joins the machines of a partition to KVM and to each other (machine.h).
#include <errno.h>
#include <sys/ioctl.h>
#include <time.h>
#include <x86intrin.h>

#include "partition/assist.h"
#include "partition/machine.h"

// --- console and platform ----------------------------------------------------------------------

static void serial_out(void *owner, uint8_t byte)
{
	struct partition *p = owner;

	p->cfg.ops->console(p->cfg.owner, &byte, 1);
}

static void serial_irq(void *owner, bool level)
{
	struct partition *p = owner;
	struct kvm_irq_level irq = { .irq = PARTITION_SERIAL_IRQ, .level = level };

	ioctl(p->vm_fd, KVM_IRQ_LINE, &irq);
}

static void power_off(void *owner)
{
	struct partition *p = owner;

	partition_end_with(p, p->has_crashed ? PARTITION_CRASHED : PARTITION_POWERED_OFF,
			   "the guest turned itself off%s", p->has_crashed ? " after a crash" : "");
}

// A guest that crashed has no reason to do better a second time by itself: who asked for an end
// after resets gets it for a crash, too.
static void reset(void *owner)
{
	struct partition *p = owner;

	if (p->cfg.reset_ends) {
		partition_end_with(p, p->has_crashed ? PARTITION_CRASHED : PARTITION_RESET,
				   "the guest asked for a reset%s",
				   p->has_crashed ? " after a crash" : "");
		return;
	}
	p->reset = RESET_DUE;
	p->leaving = true;
	partition_wake(p);
}

static const struct partition_serial_ops serial_ops = { .out = serial_out, .irq = serial_irq };

// --- hypervisor --------------------------------------------------------------------------------

static uint64_t guest_tsc(void *owner)
{
	const struct partition *p = owner;

	return __rdtsc() + p->tsc_offset;
}

static uint64_t runtime(void *owner, uint32_t vp)
{
	struct timespec t;

	// Only its own thread asks.
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 10000000 + (uint64_t)t.tv_nsec / 100;
}

static void interrupt(void *owner, uint32_t vp, uint8_t vector)
{
	partition_interrupt(owner, vp, vector);
}

static int post(void *owner, uint32_t connection_id, const void *message, uint32_t bytes)
{
	const struct partition *p = owner;

	return partition_bus_post(p->bus, connection_id, message, bytes);
}

static int signal_event(void *owner, uint32_t connection_id, uint32_t flag)
{
	const struct partition *p = owner;

	return partition_bus_signal(p->bus, connection_id, flag);
}

static void eom(void *owner, uint32_t vp)
{
	const struct partition *p = owner;

	partition_bus_flush(p->bus);
}

static void synic_changed(void *owner, uint32_t vp)
{
	const struct partition *p = owner;

	partition_bus_retarget(p->bus, vp);
}

static void timers_changed(void *owner) { partition_arm_timer(owner); }

static void guest_os(void *owner, uint64_t id)
{
	struct partition *p = owner;

	partition_bus_set_guest_os(p->bus, id);
	partition_say(p, LOG_LEVEL_INFO, "the guest is %016llx", (unsigned long long)id);
}

static void page_enabled(void *owner, uint32_t vp, uint64_t gpa)
{
	struct partition *p = owner;

	partition_assist_system_calls(&p->vcpus[vp], gpa);
}

static void crashed(void *owner, const struct partition_crash *crash)
{
	struct partition *p = owner;

	p->has_crashed = true;
	p->cfg.ops->crashed(p->cfg.owner, crash);
}

static const struct partition_hv_ops hv_ops = {
	.tsc = guest_tsc,
	.runtime = runtime,
	.interrupt = interrupt,
	.post = post,
	.signal = signal_event,
	.eom = eom,
	.synic_changed = synic_changed,
	.timers_changed = timers_changed,
	.guest_os = guest_os,
	.page_enabled = page_enabled,
	.reset = reset,
	.crashed = crashed,
};

static int handle_hv_msr(void *hv, struct partition_access *access)
{
	uint32_t msr = (uint32_t)access->address;

	if (access->is_write)
		return partition_hv_write_msr(hv, access->vp, msr, access->value);
	return partition_hv_read_msr(hv, access->vp, msr, &access->value);
}

// --- all of it ---------------------------------------------------------------------------------

void partition_wire(struct partition *partition)
{
	const struct partition_trap serial = { PARTITION_SERIAL_PORT, PARTITION_SERIAL_PORT + 7,
					       partition_serial_handle, &partition->serial };
	const struct partition_trap msrs = { PARTITION_MSR_FIRST, PARTITION_MSR_LAST,
					     handle_hv_msr, &partition->hv };

	partition->traps = (struct partition_traps){};
	partition->platform = (struct partition_platform){ .power_off = power_off, .reset = reset,
							   .owner = partition };
	partition_serial_init(&partition->serial, &serial_ops, partition);
	partition_traps_add(&partition->traps, PARTITION_IO, &serial);
	partition_platform_init(&partition->platform, &partition->traps);
	partition->hv.ops = &hv_ops;
	partition->hv.owner = partition;
	partition->hv.memory = &partition->ram.map;
	partition->hv.n_vps = partition->cfg.n_vps;
	partition_hv_reset(&partition->hv);
	partition_traps_add(&partition->traps, PARTITION_MSR, &msrs);
}
