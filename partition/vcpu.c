// SPDX-License-Identifier: Apache-2.0
// A virtual processor: KVM's, its thread, and what to do at each exit (machine.h).
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/log.h"
#include "partition/assist.h"
#include "partition/machine.h"

#define KICK_SIGNAL SIGUSR1
#define MSR_TSC 0x10
#define EFER_LONG_MODE 0x500         // LME, LMA
#define CR0_PROTECTED_PAGED 0x80050033u // PG, AM, WP, NE, ET, MP, PE
#define CR4_PAE 0x20

// --- making ------------------------------------------------------------------------------------

static int set_cpuid(struct partition_vcpu *vcpu)
{
	const struct partition *p = vcpu->partition;
	const struct partition_cpuid_cfg cfg = { .vp = vcpu->index, .n_vps = p->cfg.n_vps,
						 .emulated = p->emulated };
	struct partition_cpuid *cpuid = malloc(sizeof(*cpuid));
	int ret;

	if (!cpuid)
		return -ENOMEM;
	partition_cpuid_build(p->supported, &cfg, cpuid);
	ret = ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0 ? -errno : 0;
	free(cpuid);
	return ret;
}

int partition_vcpu_create(struct partition *partition, uint32_t index, struct err *err)
{
	struct partition_vcpu *vcpu = &partition->vcpus[index];
	int ret;

	*vcpu = (struct partition_vcpu){ .partition = partition, .index = index, .parked = true };
	vcpu->run = MAP_FAILED;
	vcpu->fd = ioctl(partition->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (vcpu->fd < 0)
		return err_set(err, errno, "processor %u: %s", index, strerror(errno));
	vcpu->run = mmap(NULL, partition->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		return err_set(err, errno, "processor %u: %s", index, strerror(errno));
	vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	ret = set_cpuid(vcpu);
	return ret ? err_set(err, -ret, "processor %u: KVM takes no CPUID: %s", index,
			     strerror(-ret)) : 0;
}

void partition_vcpu_destroy(struct partition_vcpu *vcpu)
{
	if (vcpu->run && vcpu->run != MAP_FAILED)
		munmap(vcpu->run, vcpu->partition->run_bytes);
	if (vcpu->partition && vcpu->fd >= 0)
		close(vcpu->fd);
	*vcpu = (struct partition_vcpu){ .fd = -1 };
}

int partition_vcpu_enter(struct partition_vcpu *vcpu, const struct partition_entry *entry)
{
	const struct kvm_segment code = { .limit = 0xffffffff,
					  .selector = entry->code,
					  .type = 11,
					  .present = 1,
					  .s = 1,
					  .l = 1,
					  .g = 1 };
	const struct kvm_segment data = { .limit = 0xffffffff,
					  .selector = entry->data,
					  .type = 3,
					  .present = 1,
					  .db = 1,
					  .s = 1,
					  .g = 1 };
	const struct kvm_regs regs = {
		.rip = entry->rip, .rsi = entry->rsi, .rsp = entry->rsp, .rflags = 2
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cr0 = CR0_PROTECTED_PAGED;
	sregs.cr3 = entry->cr3;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LONG_MODE;
	sregs.gdt.base = entry->gdt;
	sregs.gdt.limit = entry->gdt_limit;
	sregs.idt.limit = 0;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

int partition_vcpu_tsc_offset(const struct partition_vcpu *vcpu, uint64_t *offset)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = MSR_TSC };
	uint64_t before = __rdtsc(), after;

	if (ioctl(vcpu->fd, KVM_GET_MSRS, &msrs) != 1)
		return -errno;
	after = __rdtsc();
	// The same counter, as far as one can see: no error of measurement is put in.
	if (msrs.entry.data >= before && msrs.entry.data <= after)
		*offset = 0;
	else
		*offset = msrs.entry.data - (before + (after - before) / 2);
	return 0;
}

// --- exits -------------------------------------------------------------------------------------

static void hypercall(struct partition_vcpu *vcpu)
{
	struct kvm_regs *regs = &vcpu->run->s.regs.regs;

	regs->rax = partition_hv_hypercall(&vcpu->partition->hv, regs->rcx, regs->rdx, regs->r8);
	vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

// A fast SignalEvent for which KVM knows no eventfd. The hypercall page subtracts the connection id
// from EAX; what remains is the status.
static void doorbell(struct partition_vcpu *vcpu, uint32_t connection_id)
{
	struct kvm_regs *regs = &vcpu->run->s.regs.regs;

	regs->rax = connection_id + partition_hv_signal(&vcpu->partition->hv, connection_id, 0);
	vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

static void exit_io(struct partition_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	struct partition_access access = { .vp = vcpu->index, .address = run->io.port,
					   .bytes = run->io.size,
					   .is_write = run->io.direction == KVM_EXIT_IO_OUT };

	if (access.is_write && access.address == PARTITION_HYPERCALL_PORT) {
		hypercall(vcpu);
		return;
	}
	if (access.is_write && access.address == PARTITION_DOORBELL_PORT && access.bytes == 4) {
		doorbell(vcpu, load_u32(data));
		return;
	}
	for (uint32_t i = 0; i < run->io.count; i++, data += access.bytes) {
		access.value = UINT64_MAX;
		if (access.is_write) {
			access.value = 0;
			memcpy(&access.value, data, access.bytes);
		}
		partition_traps_handle(&vcpu->partition->traps, PARTITION_IO, &access);
		if (!access.is_write)
			memcpy(data, &access.value, access.bytes);
	}
}

static void exit_mmio(struct partition_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint32_t bytes = run->mmio.len < 8 ? run->mmio.len : 8;
	struct partition_access access = { .vp = vcpu->index, .address = run->mmio.phys_addr,
					   .bytes = (uint8_t)bytes,
					   .is_write = run->mmio.is_write, .value = UINT64_MAX };

	if (access.is_write) {
		access.value = 0;
		memcpy(&access.value, run->mmio.data, bytes);
	}
	partition_traps_handle(&vcpu->partition->traps, PARTITION_MMIO, &access);
	if (!access.is_write)
		memcpy(run->mmio.data, &access.value, bytes);
}

static void exit_msr(struct partition_vcpu *vcpu, bool is_write)
{
	struct kvm_run *run = vcpu->run;
	struct partition_access access = { .vp = vcpu->index, .address = run->msr.index, .bytes = 8,
					   .is_write = is_write,
					   .value = is_write ? run->msr.data : 0 };

	run->msr.error = partition_traps_handle(&vcpu->partition->traps, PARTITION_MSR, &access)
			 != 0;
	if (!is_write)
		run->msr.data = access.value;
}

// KVM cannot go on.
static void exit_internal(struct partition_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	const uint8_t *b = run->emulation_failure.insn_bytes;

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && partition_assist(vcpu))
		return;
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		partition_end_with(vcpu->partition, PARTITION_CUT_OFF,
				   "processor %u: KVM cannot emulate the instruction at 0x%llx "
				   "(%02x %02x %02x %02x %02x %02x %02x %02x)",
				   vcpu->index, run->s.regs.regs.rip, b[0], b[1], b[2], b[3], b[4],
				   b[5], b[6], b[7]);
	else
		partition_end_with(vcpu->partition, PARTITION_CUT_OFF,
				   "processor %u: KVM gave up: internal error %u at 0x%llx",
				   vcpu->index, run->internal.suberror, run->s.regs.regs.rip);
}

static void handle_exit(struct partition_vcpu *vcpu)
{
	struct partition *p = vcpu->partition;
	struct kvm_run *run = vcpu->run;

	vcpu->n_exits++;
	switch (run->exit_reason) {
	case KVM_EXIT_IO: exit_io(vcpu); break;
	case KVM_EXIT_MMIO: exit_mmio(vcpu); break;
	case KVM_EXIT_X86_RDMSR: exit_msr(vcpu, false); break;
	case KVM_EXIT_X86_WRMSR: exit_msr(vcpu, true); break;
	case KVM_EXIT_INTERNAL_ERROR: exit_internal(vcpu); break;
	case KVM_EXIT_INTR: case KVM_EXIT_IRQ_WINDOW_OPEN: break;
	case KVM_EXIT_SHUTDOWN:
		partition_end_with(p, PARTITION_CUT_OFF, "processor %u: triple fault at 0x%llx",
				   vcpu->index, run->s.regs.regs.rip);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		partition_end_with(p, PARTITION_CUT_OFF,
				   "processor %u: the host's processor refused to enter the guest "
				   "(reason 0x%llx)", vcpu->index,
				   run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		partition_end_with(p, PARTITION_CUT_OFF, "processor %u: KVM's exit %u is not known",
				   vcpu->index, run->exit_reason);
	}
}

// --- running -----------------------------------------------------------------------------------

// Waits while the partition is paused. Lock held; is given up meanwhile.
static void park(struct partition_vcpu *vcpu)
{
	struct partition *p = vcpu->partition;

	vcpu->run->immediate_exit = 0;
	while (p->n_pauses > 0 && !p->leaving) {
		vcpu->parked = true;
		pthread_cond_broadcast(&p->changed);
		pthread_cond_wait(&p->changed, &p->lock);
	}
	vcpu->parked = false;
}

static void *run(void *arg)
{
	struct partition_vcpu *vcpu = arg;
	struct partition *p = vcpu->partition;

	pthread_mutex_lock(&p->lock);
	park(vcpu);
	while (!p->leaving) {
		int ret;

		pthread_mutex_unlock(&p->lock);
		ret = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? -errno : 0;
		pthread_mutex_lock(&p->lock);
		// What an exit asked for is complete only when KVM was entered once more: a
		// pause begins after that, when a kick has ended KVM_RUN.
		if (ret == -EINTR || ret == -EAGAIN)
			park(vcpu);
		else if (ret && vcpu->run->exit_reason != KVM_EXIT_INTERNAL_ERROR)
			partition_end_with(p, PARTITION_CUT_OFF, "processor %u: KVM_RUN: %s",
					   vcpu->index, strerror(-ret));
		else
			handle_exit(vcpu);
	}
	log_debug("%s: processor %u stopped at 0x%llx after %llu exits, %llu assists", p->cfg.name,
		  vcpu->index, vcpu->run->s.regs.regs.rip, (unsigned long long)vcpu->n_exits,
		  (unsigned long long)vcpu->n_assists);
	vcpu->parked = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void on_kick(int number) {}

int partition_vcpu_start(struct partition_vcpu *vcpu)
{
	struct sigaction action = { .sa_handler = on_kick };
	char name[16];
	int ret;

	sigaction(KICK_SIGNAL, &action, NULL);
	vcpu->parked = false;
	ret = -pthread_create(&vcpu->thread, NULL, run, vcpu);
	if (ret) {
		vcpu->parked = true;
		return ret;
	}
	vcpu->has_thread = true;
	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	pthread_setname_np(vcpu->thread, name);
	return 0;
}

void partition_vcpu_kick(struct partition_vcpu *vcpu)
{
	// A signal that comes before KVM_RUN would be lost without this.
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (vcpu->has_thread)
		pthread_kill(vcpu->thread, KICK_SIGNAL);
}
