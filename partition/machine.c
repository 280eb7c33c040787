// SPDX-License-Identifier: Apache-2.0
// The VM of a partition and its life: made, started, paused, reset, ended (partition.h, machine.h).
#include "partition/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/log.h"
#include "partition/acpi.h"
#include "partition/checkpoint.h"

// Pages that KVM wants for itself on Intel hosts: below the local APIC, outside RAM.
#define TSS_GPA 0xfffbd000ul
#define MAX_TIMER 864000000000ull // a day in 100 ns; then one looks again
#define MAX_LINES 10 // a second, of what a guest can provoke
#define RETRY_NS 10000000ull
#define IDENTITY_MAP_GPA 0xfffbc000ull

// --- waking and timers -------------------------------------------------------------------------

void partition_wake(struct partition *partition) { eventfd_write(partition->wake_fd, 1); }

void partition_arm_timer(struct partition *partition)
{
	uint64_t due = partition_hv_due(&partition->hv), now, ns = 0;
	struct itimerspec at = {};

	if (due != PARTITION_STIMER_NEVER) {
		now = partition_hv_now(&partition->hv);
		ns = due <= now ? 1 : due - now < MAX_TIMER ? (due - now) * 100 : MAX_TIMER * 100;
	}
	// A guest that has taken its message need not say so.
	if (partition_bus_is_waiting(partition->bus) && (ns == 0 || ns > RETRY_NS))
		ns = RETRY_NS;
	at.it_value.tv_sec = (time_t)(ns / 1000000000);
	at.it_value.tv_nsec = (long)(ns % 1000000000);
	timerfd_settime(partition->timer_fd, 0, &at, NULL);
}

void partition_interrupt(struct partition *partition, uint32_t vp, uint8_t vector)
{
	struct kvm_msi msi = { .address_lo = (uint32_t)PARTITION_LAPIC_GPA | vp << 12,
			       .data = vector };

	// Fails only if the local APIC is off: nobody is there to hear it.
	ioctl(partition->vm_fd, KVM_SIGNAL_MSI, &msi);
}

void partition_say(struct partition *partition, enum log_level level, const char *fmt, ...)
{
	uint32_t kept_back;
	char text[320];
	va_list ap;

	if (!log_limit_pass(&partition->said, MAX_LINES, &kept_back))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (kept_back)
		log_write(level, "%s: %s (%u lines before this were kept back)",
			  partition->cfg.name, text, kept_back);
	else
		log_write(level, "%s: %s", partition->cfg.name, text);
}

void partition_end_with(struct partition *partition, enum partition_end end, const char *fmt, ...)
{
	va_list ap;

	if (partition->end != PARTITION_RUNS)
		return;
	partition->end = end;
	va_start(ap, fmt);
	vsnprintf(partition->why, sizeof(partition->why), fmt, ap);
	va_end(ap);
	partition->leaving = true;
	pthread_cond_broadcast(&partition->changed);
	partition_wake(partition);
}

// --- making ------------------------------------------------------------------------------------

static int open_kvm(struct partition *p, struct err *err)
{
	static const int needed[] = { KVM_CAP_IRQCHIP, KVM_CAP_SIGNAL_MSI, KVM_CAP_IRQFD,
				      KVM_CAP_IOEVENTFD, KVM_CAP_SYNC_REGS,
				      KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_X86_MSR_FILTER,
				      KVM_CAP_IMMEDIATE_EXIT };
	int bytes;

	p->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (p->kvm_fd < 0)
		return err_set(err, errno, "/dev/kvm: %s", strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(p->kvm_fd, KVM_CHECK_EXTENSION, needed[i]) <= 0)
			return err_set(err, ENOTSUP, "this kernel's KVM is too old: it lacks "
				       "capability %d (5.10 has all that is needed)", needed[i]);
	bytes = ioctl(p->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	p->supported = calloc(1, sizeof(*p->supported));
	if (bytes < (int)sizeof(struct kvm_run) || !p->supported)
		return err_set(err, ENOMEM, "no memory for the partition");
	p->run_bytes = (size_t)bytes;
	p->supported->head.nent = PARTITION_MAX_CPUID;
	if (ioctl(p->kvm_fd, KVM_GET_SUPPORTED_CPUID, p->supported) < 0)
		return err_set(err, errno, "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	p->emulated = partition_cpuid_is_emulated();
	return 0;
}

// All MSRs of the hypervisor come to us, whatever this KVM knows of Hyper-V.
static int filter_msrs(struct partition *p)
{
	static uint8_t denied[(PARTITION_MSR_LAST - PARTITION_MSR_FIRST + 1) / 8];
	struct kvm_enable_cap exits = { .cap = KVM_CAP_X86_USER_SPACE_MSR,
					.args = { KVM_MSR_EXIT_REASON_FILTER } };
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			       .base = PARTITION_MSR_FIRST, .nmsrs = sizeof(denied) * 8,
			       .bitmap = denied },
	};

	if (ioctl(p->vm_fd, KVM_ENABLE_CAP, &exits) < 0 ||
	    ioctl(p->vm_fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return -errno;
	return 0;
}

static int add_memory(struct partition *p)
{
	for (uint32_t i = 0; i < p->ram.map.n_regions; i++) {
		const struct guest_region *region = &p->ram.map.regions[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i, .guest_phys_addr = region->gpa, .memory_size = region->bytes,
			.userspace_addr = (uint64_t)(uintptr_t)region->host,
		};

		if (ioctl(p->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return -errno;
	}
	return 0;
}

static int create_vm(struct partition *p, struct err *err)
{
	uint64_t identity_map = IDENTITY_MAP_GPA;
	struct kvm_enable_cap failures = { .cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE,
					   .args = { 1 } };
	int ret = 0;

	p->vm_fd = ioctl(p->kvm_fd, KVM_CREATE_VM, 0);
	if (p->vm_fd < 0)
		return err_set(err, errno, "KVM_CREATE_VM: %s", strerror(errno));
	if (ioctl(p->vm_fd, KVM_SET_TSS_ADDR, TSS_GPA) < 0 ||
	    ioctl(p->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 ||
	    ioctl(p->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_set(err, errno, "KVM makes no interrupt controller: %s",
			       strerror(errno));
	// Only needed where KVM emulates (assist.h); older kernels lack it.
	if (p->emulated)
		ioctl(p->vm_fd, KVM_ENABLE_CAP, &failures);
	ret = filter_msrs(p);
	if (!ret)
		ret = add_memory(p);
	if (ret)
		return err_set(err, -ret, "KVM takes no memory or MSR filter: %s", strerror(-ret));
	partition_bells_init(&p->bells, p->vm_fd, p->cfg.n_vps);
	for (uint32_t i = 0; i < p->cfg.n_vps && !ret; i++)
		ret = partition_vcpu_create(p, i, err);
	return ret;
}

static void destroy_vm(struct partition *p)
{
	for (uint32_t i = 0; i < p->cfg.n_vps; i++)
		partition_vcpu_destroy(&p->vcpus[i]);
	partition_bells_fini(&p->bells);
	if (p->vm_fd >= 0)
		close(p->vm_fd);
	p->vm_fd = -1;
}

// Fills memory and the first processor's registers.
static int load_kernel(struct partition *p, struct err *err)
{
	struct partition_boot image = { .kernel = p->cfg.kernel, .initrd = p->cfg.initrd,
					 .command_line = p->cfg.command_line };
	struct partition_entry entry;
	int ret;

	image.rsdp = partition_acpi_write(&p->ram.map, p->cfg.n_vps);
	ret = partition_boot_load(&p->ram, &image, &entry, err);
	if (ret)
		return ret;
	ret = partition_vcpu_enter(&p->vcpus[0], &entry);
	return ret ? err_set(err, -ret, "KVM sets no registers: %s", strerror(-ret)) : 0;
}

// Begins reference time.
static int start_clock(struct partition *p, struct err *err)
{
	int khz = ioctl(p->vcpus[0].fd, KVM_GET_TSC_KHZ, 0);

	if (khz <= 10000 || partition_vcpu_tsc_offset(&p->vcpus[0], &p->tsc_offset))
		return err_set(err, EIO, "KVM does not say how fast time stamps count");
	p->hv.tsc_khz = (uint32_t)khz;
	partition_clock_init(&p->hv.clock, p->hv.tsc_khz, p->hv.ops->tsc(p), 0);
	return 0;
}

// Puts a new VM where it begins: at a checkpoint, the first time, or at the kernel's entry.
static int load(struct partition *p, const char *checkpoint, struct err *err)
{
	int ret;

	partition_wire(p);
	ret = start_clock(p, err);
	if (ret)
		return ret;
	if (checkpoint)
		return partition_checkpoint_read(p, checkpoint, err);
	return load_kernel(p, err);
}

// What the checkpoint decides.
static int adopt_checkpoint(struct partition_cfg *cfg, struct err *err)
{
	struct partition_checkpoint head;
	int ret = partition_checkpoint_peek(cfg->checkpoint, &head, err);

	if (ret)
		return ret;
	cfg->n_vps = head.n_vps;
	cfg->memory_bytes = head.memory_bytes;
	cfg->reset_ends |= !cfg->kernel;
	return 0;
}

// In epoll events.
enum { TAG_WAKE, TAG_TIMER, TAG_BUS };

static int open_events(struct partition *p)
{
	struct epoll_event wake = { .events = EPOLLIN, .data.u32 = TAG_WAKE };
	struct epoll_event timer = { .events = EPOLLIN, .data.u32 = TAG_TIMER };

	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	p->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (p->epoll_fd < 0 || p->wake_fd < 0 || p->timer_fd < 0 ||
	    epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->wake_fd, &wake) ||
	    epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->timer_fd, &timer))
		return -errno;
	return 0;
}

static void init_lock(struct partition *p)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

static int create_bus(struct partition *p, struct err *err)
{
	int ret = partition_bus_create(p, p->epoll_fd, TAG_BUS, &p->bus);

	if (ret)
		return err_set(err, -ret, "no memory for VMBus");
	for (uint32_t i = 0; i < p->cfg.n_nics && !ret; i++)
		ret = partition_bus_add_nic(p->bus, &p->cfg.nics[i], err);
	return ret;
}

int partition_create(const struct partition_cfg *cfg, struct partition **out, struct err *err)
{
	struct partition *p;
	int ret = 0;

	if (cfg->n_vps < 1 || cfg->n_vps > PARTITION_MAX_VPS)
		return err_set(err, EINVAL, "processors: %u are not 1 … %u", cfg->n_vps,
			       PARTITION_MAX_VPS);
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, ENOMEM, "no memory for the partition");
	p->cfg = *cfg;
	p->kvm_fd = p->vm_fd = p->epoll_fd = p->wake_fd = p->timer_fd = -1;
	p->ram.fd = -1;
	p->ram.host = MAP_FAILED;
	for (uint32_t i = 0; i < PARTITION_MAX_VPS; i++)
		p->vcpus[i].fd = -1;
	init_lock(p);
	if (cfg->checkpoint)
		ret = adopt_checkpoint(&p->cfg, err);
	if (!ret && open_events(p))
		ret = err_set(err, EMFILE, "cannot make the partition's descriptors");
	if (!ret)
		ret = open_kvm(p, err);
	if (!ret)
		ret = partition_ram_init(&p->ram, p->cfg.memory_bytes, cfg->huge_pages, err);
	if (!ret)
		ret = create_vm(p, err);
	if (!ret)
		ret = create_bus(p, err);
	if (!ret)
		ret = load(p, cfg->checkpoint, err);
	if (ret) {
		partition_destroy(p);
		return ret;
	}
	*out = p;
	return 0;
}

// --- running -----------------------------------------------------------------------------------

static int start_threads(struct partition *p)
{
	int ret = 0;

	for (uint32_t i = 0; i < p->cfg.n_vps && !ret; i++)
		ret = partition_vcpu_start(&p->vcpus[i]);
	return ret;
}

int partition_start(struct partition *partition, struct err *err)
{
	int ret;

	pthread_mutex_lock(&partition->lock);
	if (!partition->started)
		partition_bus_start(partition->bus);
	partition->started = true;
	partition_arm_timer(partition);
	ret = start_threads(partition);
	pthread_mutex_unlock(&partition->lock);
	return ret ? err_set(err, -ret, "no thread for a processor: %s", strerror(-ret)) : 0;
}

static void kick_all(struct partition *p)
{
	for (uint32_t i = 0; i < p->cfg.n_vps; i++)
		if (p->vcpus[i].has_thread)
			partition_vcpu_kick(&p->vcpus[i]);
}

// Ends all vcpu threads. Lock not held.
static void join_all(struct partition *p)
{
	pthread_mutex_lock(&p->lock);
	p->leaving = true;
	kick_all(p);
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	for (uint32_t i = 0; i < p->cfg.n_vps; i++) {
		if (p->vcpus[i].has_thread)
			pthread_join(p->vcpus[i].thread, NULL);
		p->vcpus[i].has_thread = false;
	}
}

static bool all_parked(const struct partition *p)
{
	for (uint32_t i = 0; i < p->cfg.n_vps; i++)
		if (p->vcpus[i].has_thread && !p->vcpus[i].parked)
			return false;
	return true;
}

void partition_pause(struct partition *partition)
{
	pthread_mutex_lock(&partition->lock);
	partition->n_pauses++;
	kick_all(partition);
	while (!all_parked(partition))
		pthread_cond_wait(&partition->changed, &partition->lock);
	pthread_mutex_unlock(&partition->lock);
}

void partition_resume(struct partition *partition)
{
	pthread_mutex_lock(&partition->lock);
	assert(partition->n_pauses > 0);
	partition->n_pauses--;
	pthread_cond_broadcast(&partition->changed);
	pthread_mutex_unlock(&partition->lock);
}

void partition_look(struct partition *partition, struct partition_state *state)
{
	pthread_mutex_lock(&partition->lock);
	*state = (struct partition_state){ .n_vps = partition->cfg.n_vps,
					   .memory_bytes = partition->ram.bytes,
					   .silence = partition_bus_silence(partition->bus),
					   .has_crashed = partition->has_crashed,
					   .crash = partition->hv.crash };
	for (uint32_t i = 0; i < partition->cfg.n_vps; i++) {
		state->n_exits += partition->vcpus[i].n_exits;
		state->n_assists += partition->vcpus[i].n_assists;
	}
	pthread_mutex_unlock(&partition->lock);
}

int partition_save(struct partition *partition, const char *path, struct err *err)
{
	int ret;

	pthread_mutex_lock(&partition->lock);
	assert(partition->n_pauses > 0);
	ret = partition_bus_still(partition->bus, err);
	if (!ret) {
		ret = partition_checkpoint_write(partition, path, err);
		partition_bus_go_on(partition->bus);
	}
	pthread_mutex_unlock(&partition->lock);
	return ret;
}

int partition_shutdown(struct partition *partition, bool reboot, struct err *err)
{
	int ret;

	pthread_mutex_lock(&partition->lock);
	ret = partition_bus_shutdown(partition->bus, reboot);
	pthread_mutex_unlock(&partition->lock);
	return ret ? err_set(err, -ret, "the guest has no driver for shutdown (hv_utils)") : 0;
}

void partition_stop(struct partition *partition)
{
	pthread_mutex_lock(&partition->lock);
	partition_end_with(partition, PARTITION_STOPPED, "it was stopped");
	pthread_mutex_unlock(&partition->lock);
}

void partition_destroy(struct partition *partition)
{
	if (!partition)
		return;
	join_all(partition);
	partition_bus_destroy(partition->bus);
	destroy_vm(partition);
	partition_ram_fini(&partition->ram);
	free(partition->supported);
	for (size_t i = 0; i < 4; i++) {
		const int fds[] = { partition->kvm_fd, partition->epoll_fd, partition->wake_fd,
				    partition->timer_fd };

		if (fds[i] >= 0)
			close(fds[i]);
	}
	pthread_cond_destroy(&partition->changed);
	pthread_mutex_destroy(&partition->lock);
	free(partition);
}

// Begins anew, as after power was off and on: a new VM in the same memory, which is zeroed. Nobody
// else uses that memory.
static int restart(struct partition *p, struct err *err)
{
	int ret;

	destroy_vm(p);
	p->leaving = p->has_crashed = false;
	p->reset = NO_RESET;
	ret = -partition_ram_clear(&p->ram);
	if (ret)
		return err_set(err, ret, "memory cannot be cleared: %s", strerror(ret));
	ret = create_vm(p, err);
	if (ret)
		return ret;
	ret = load(p, NULL, err);
	return ret ? ret : partition_start(p, err);
}

int partition_fd(const struct partition *partition) { return partition->epoll_fd; }

static void clear_events(struct partition *p)
{
	uint64_t n;

	// Both are level triggered and may be empty.
	if (read(p->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_warning("%s: eventfd: %s", p->cfg.name, strerror(errno));
	if (read(p->timer_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_warning("%s: timerfd: %s", p->cfg.name, strerror(errno));
}

// A reset that the guest asked for: processors stop, devices let go of its memory, all begins anew.
static void run_reset(struct partition *p)
{
	struct err err = {};

	if (p->reset == RESET_DUE) {
		join_all(p);
		pthread_mutex_lock(&p->lock);
		p->reset = RESETTING;
		partition_bus_reset(p->bus);
		pthread_mutex_unlock(&p->lock);
	}
	if (p->reset != RESETTING || !partition_bus_is_reset(p->bus) || !restart(p, &err))
		return;
	pthread_mutex_lock(&p->lock);
	partition_end_with(p, PARTITION_CUT_OFF, "after a reset: %s", err.text);
	pthread_mutex_unlock(&p->lock);
}

enum partition_end partition_run(struct partition *partition)
{
	enum partition_end end;

	clear_events(partition);
	pthread_mutex_lock(&partition->lock);
	partition_bus_run(partition->bus);
	partition_bus_flush(partition->bus);
	partition_hv_run_timers(&partition->hv);
	partition_arm_timer(partition);
	end = partition->end;
	pthread_mutex_unlock(&partition->lock);
	if (end == PARTITION_RUNS)
		run_reset(partition);
	pthread_mutex_lock(&partition->lock);
	end = partition->end;
	pthread_mutex_unlock(&partition->lock);
	if (end != PARTITION_RUNS)
		join_all(partition);
	return end;
}

const char *partition_why(const struct partition *partition) { return partition->why; }

// --- NICs --------------------------------------------------------------------------------------

int partition_nic_add(struct partition *partition, const struct partition_nic_cfg *cfg,
		      struct err *err)
{
	int ret;

	pthread_mutex_lock(&partition->lock);
	ret = partition_bus_add_nic(partition->bus, cfg, err);
	pthread_mutex_unlock(&partition->lock);
	return ret;
}

int partition_nic_remove(struct partition *partition, const char *name, struct err *err)
{
	int ret;

	pthread_mutex_lock(&partition->lock);
	ret = partition_bus_remove_nic(partition->bus, name, err);
	pthread_mutex_unlock(&partition->lock);
	return ret;
}

bool partition_nic_look(struct partition *partition, uint32_t i,
			struct partition_nic_state *state)
{
	bool there;

	pthread_mutex_lock(&partition->lock);
	there = partition_bus_look(partition->bus, i, state);
	pthread_mutex_unlock(&partition->lock);
	return there;
}

uint32_t partition_type(struct partition *partition, const uint8_t *bytes, uint32_t n)
{
	pthread_mutex_lock(&partition->lock);
	n = partition_serial_type(&partition->serial, bytes, n);
	pthread_mutex_unlock(&partition->lock);
	return n;
}
