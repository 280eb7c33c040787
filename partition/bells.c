// SPDX-License-Identifier: Apache-2.0
#include "partition/bells.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "partition/acpi.h"

void partition_bells_init(struct partition_bells *bells, int vm_fd, uint32_t n_vps)
{
	*bells = (struct partition_bells){ .vm_fd = vm_fd, .n_vps = n_vps };
	for (uint32_t i = 0; i < PARTITION_MAX_VPS; i++)
		bells->bells[i].fd = -1;
}

void partition_bells_fini(struct partition_bells *bells)
{
	for (uint32_t i = 0; i < bells->n_vps; i++)
		if (bells->bells[i].fd >= 0)
			close(bells->bells[i].fd);
	bells->n_vps = 0;
}

// --- from the guest ----------------------------------------------------------------------------

static int set_doorbell(const struct partition_bells *bells, uint32_t connection_id, int fd,
			uint32_t flags)
{
	struct kvm_ioeventfd doorbell = {
		.datamatch = connection_id,
		.addr = PARTITION_DOORBELL_PORT,
		.len = 4,
		.fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH | flags,
	};

	return ioctl(bells->vm_fd, KVM_IOEVENTFD, &doorbell) < 0 ? -errno : 0;
}

int partition_bells_listen(struct partition_bells *bells, uint32_t connection_id)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = set_doorbell(bells, connection_id, fd, 0);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

void partition_bells_unlisten(struct partition_bells *bells, uint32_t connection_id, int fd)
{
	// A VM that was made anew has never known it.
	set_doorbell(bells, connection_id, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

// --- to the guest ------------------------------------------------------------------------------

// All routes are set at once: the pins of the I/O APIC, and a message for each bell.
static int set_routes(const struct partition_bells *bells)
{
	size_t max = PARTITION_FIRST_GSI + bells->n_vps;
	struct kvm_irq_routing *routing;
	int ret;

	routing = calloc(1, sizeof(*routing) + max * sizeof(routing->entries[0]));
	if (!routing)
		return -ENOMEM;
	for (uint32_t pin = 0; pin < PARTITION_FIRST_GSI; pin++)
		routing->entries[routing->nr++] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin },
		};
	for (uint32_t vp = 0; vp < bells->n_vps; vp++)
		if (bells->bells[vp].vector)
			routing->entries[routing->nr++] = (struct kvm_irq_routing_entry){
				.gsi = PARTITION_FIRST_GSI + vp,
				.type = KVM_IRQ_ROUTING_MSI,
				.u.msi = { .address_lo = (uint32_t)PARTITION_LAPIC_GPA | vp << 12,
					   .data = bells->bells[vp].vector },
			};
	ret = ioctl(bells->vm_fd, KVM_SET_GSI_ROUTING, routing) < 0 ? -errno : 0;
	free(routing);
	return ret;
}

static int make_bell(const struct partition_bells *bells, uint32_t vp)
{
	struct kvm_irqfd irqfd = { .gsi = PARTITION_FIRST_GSI + vp };
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	irqfd.fd = (uint32_t)fd;
	if (ioctl(bells->vm_fd, KVM_IRQFD, &irqfd) < 0)
		ret = -errno;
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

int partition_bells_ring(struct partition_bells *bells, uint32_t vp, uint8_t vector)
{
	struct partition_bell *bell = &bells->bells[vp];
	uint8_t old = bell->vector;
	int ret = 0;

	if (old != vector) {
		bell->vector = vector;
		ret = set_routes(bells);
	}
	if (!ret && bell->fd < 0) {
		ret = make_bell(bells, vp);
		bell->fd = ret < 0 ? -1 : ret;
	}
	if (ret >= 0)
		return bell->fd;
	bell->vector = old;
	return ret;
}
