// SPDX-License-Identifier: Apache-2.0
// What KVM knows of processors and interrupt controllers, saved and loaded (machine.h,
// checkpoint.h). No processor runs.
#include <errno.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "partition/image.h"
#include "partition/machine.h"

#define MAX_MSRS 512
enum { MSR_TSC = 0x10, MSR_TSC_DEADLINE = 0x6e0 };

// Those that make sense to nobody but KVM and a guest of its own paravirtual interface, and ours.
static bool is_ours(uint32_t msr)
{
	return msr < 0x40000000 || msr > 0x4fffffff;
}

struct msr_list {
	struct kvm_msr_list head;
	uint32_t msrs[MAX_MSRS];
};

static bool get_msr(const struct partition_vcpu *vcpu, struct kvm_msr_entry *entry)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = *entry };

	if (ioctl(vcpu->fd, KVM_GET_MSRS, &msrs) != 1)
		return false;
	*entry = msrs.entry;
	return true;
}

static bool set_msr(const struct partition_vcpu *vcpu, const struct kvm_msr_entry *entry)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = *entry };

	return ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) == 1;
}

static uint32_t read_msrs(const struct partition_vcpu *vcpu, struct kvm_msr_entry *entries)
{
	struct msr_list list = { .head.nmsrs = MAX_MSRS };
	uint32_t n = 0;

	if (ioctl(vcpu->partition->kvm_fd, KVM_GET_MSR_INDEX_LIST, &list) < 0)
		return 0;
	for (uint32_t i = 0; i < list.head.nmsrs; i++) {
		entries[n] = (struct kvm_msr_entry){ .index = list.msrs[i] };
		if (is_ours(list.msrs[i]) && get_msr(vcpu, &entries[n]))
			n++;
	}
	return n;
}

// A processor that KVM emulates reads the host's counter whatever was set, and KVM would only
// believe otherwise.
static bool is_settable(const struct partition_vcpu *vcpu, uint32_t msr)
{
	return msr != MSR_TSC || !vcpu->partition->emulated;
}

// All but the timer's deadline, which means something only when the local APIC is there.
static void image_msrs(struct partition_vcpu *vcpu, struct partition_image *image,
		       struct kvm_msr_entry *deadline)
{
	struct kvm_msr_entry entries[MAX_MSRS];
	uint32_t n = image->is_loading ? 0 : read_msrs(vcpu, entries);

	PARTITION_IMAGE(image, n);
	image->failed |= n > MAX_MSRS;
	if (partition_image_is_bad(image))
		return;
	partition_image_bytes(image, entries, n * sizeof(entries[0]));
	for (uint32_t i = 0; image->is_loading && !image->reader.failed && i < n; i++) {
		if (entries[i].index == MSR_TSC_DEADLINE)
			*deadline = entries[i];
		else if (is_settable(vcpu, entries[i].index) && !set_msr(vcpu, &entries[i]))
			log_debug("%s: KVM does not take MSR 0x%x = 0x%llx",
				  vcpu->partition->cfg.name, entries[i].index, entries[i].data);
	}
}

// One of KVM's structures.
static void image_kvm(struct partition_image *image, int fd, const unsigned long requests[2],
		      void *state, size_t bytes)
{
	if (!image->is_loading && ioctl(fd, requests[0], state) < 0)
		image->failed = true;
	partition_image_bytes(image, state, bytes);
	if (!image->is_loading || partition_image_is_bad(image))
		return;
	if (ioctl(fd, requests[1], state) < 0) {
		log_warning("KVM refuses state 0x%lx: %s", requests[1], strerror(errno));
		image->failed = true;
	}
}

#define IMAGE_KVM(image, fd, what, state)                                                         \
	image_kvm(image, fd, (const unsigned long[]){ KVM_GET_##what, KVM_SET_##what }, &(state),  \
		  sizeof(state))

void partition_vcpu_image(struct partition_vcpu *vcpu, struct partition_image *image)
{
	struct kvm_msr_entry deadline = {};
	struct kvm_vcpu_events events = {};
	struct kvm_debugregs debug = {};
	struct kvm_lapic_state lapic = {};
	struct kvm_mp_state mp = {};
	struct kvm_xcrs xcrs = {};
	struct kvm_xsave xsave = {};
	struct kvm_sregs sregs = {};
	struct kvm_regs regs = {};

	IMAGE_KVM(image, vcpu->fd, SREGS, sregs);
	IMAGE_KVM(image, vcpu->fd, REGS, regs);
	IMAGE_KVM(image, vcpu->fd, XCRS, xcrs);
	IMAGE_KVM(image, vcpu->fd, XSAVE, xsave);
	image_msrs(vcpu, image, &deadline);
	IMAGE_KVM(image, vcpu->fd, LAPIC, lapic);
	if (image->is_loading && deadline.data)
		set_msr(vcpu, &deadline);
	IMAGE_KVM(image, vcpu->fd, DEBUGREGS, debug);
	IMAGE_KVM(image, vcpu->fd, MP_STATE, mp);
	IMAGE_KVM(image, vcpu->fd, VCPU_EVENTS, events);
	if (image->is_loading && vcpu->index == 0 &&
	    partition_vcpu_tsc_offset(vcpu, &vcpu->partition->tsc_offset))
		image->failed = true;
}

void partition_vm_image(struct partition *partition, struct partition_image *image)
{
	for (uint32_t i = 0; i < KVM_NR_IRQCHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = i };

		IMAGE_KVM(image, partition->vm_fd, IRQCHIP, chip);
	}
}
