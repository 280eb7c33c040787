// SPDX-License-Identifier: Apache-2.0
// NICs of a partition: what vmbus/nic.h asks its VMM for (bus.h, bus_impl.h).
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "partition/bus_impl.h"

// --- bells -------------------------------------------------------------------------------------

static int doorbell(void *vmm, uint32_t channel, uint32_t connection_id)
{
	struct partition_nic *nic = vmm;
	int fd = partition_bells_listen(&nic->bus->partition->bells, connection_id);

	if (fd >= 0) {
		nic->doorbells[channel].fd = fd;
		nic->doorbells[channel].connection_id = connection_id;
	}
	return fd;
}

static void closed(void *vmm, uint32_t channel)
{
	struct partition_nic *nic = vmm;
	int *fd = &nic->doorbells[channel].fd;

	if (*fd < 0)
		return;
	partition_bells_unlisten(&nic->bus->partition->bells,
				 nic->doorbells[channel].connection_id, *fd);
	close(*fd);
	*fd = -1;
}

bool partition_nic_signal(const struct partition_nic *nic, uint32_t connection_id)
{
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		if (nic->doorbells[i].fd >= 0 &&
		    nic->doorbells[i].connection_id == connection_id) {
			eventfd_write(nic->doorbells[i].fd, 1);
			return true;
		}
	return false;
}

static void target(void *vmm, uint32_t channel, struct vmbus_client_target *target)
{
	struct partition_nic *nic = vmm;
	struct partition *p = nic->bus->partition;
	const struct partition_synic *synic = NULL;
	uint8_t vector = 0;

	if (target->vp < p->cfg.n_vps && target->sint < PARTITION_N_SINTS)
		synic = &p->hv.vps[target->vp].synic;
	if (synic && partition_synic_flags_gpa(synic, target->sint, &target->gpa))
		vector = partition_synic_vector(synic, target->sint);
	target->fd = vector ? partition_bells_ring(&p->bells, target->vp, vector) : -1;
	// Without a flag nobody knows which channel an interrupt is for: no other way but DIRECT.
	if (target->fd < 0 || target->mode != VMBUS_USER_MODE_DIRECT)
		target->mode = VMBUS_USER_MODE_NONE;
}

// --- what the switch says ----------------------------------------------------------------------

static void attached(void *vmm, const struct vmbus_client_peer *peer)
{
	struct partition_nic *nic = vmm;

	nic->state.is_served = true;
	nic->state.why[0] = '\0';
	partition_say(nic->bus->partition, LOG_LEVEL_INFO, "NIC %s is served%s", nic->state.name,
		      peer->resumed ? " again" : "");
}

static void detached(void *vmm, const char *why, bool final)
{
	struct partition_nic *nic = vmm;

	nic->state.is_served = false;
	snprintf(nic->state.why, sizeof(nic->state.why), "%s", why);
	partition_say(nic->bus->partition, LOG_LEVEL_WARNING, "NIC %s is not served%s: %s",
		      nic->state.name, final ? " any more" : "", why);
}

static void says(void *vmm, const char *sentence)
{
	struct partition_nic *nic = vmm;

	partition_say(nic->bus->partition, LOG_LEVEL_WARNING, "NIC %s: %s", nic->state.name,
		      sentence);
}

static void done(void *vmm, uint64_t cookie, int status)
{
	struct partition_nic *nic = vmm;
	struct partition_bus *bus = nic->bus;

	if (cookie == PARTITION_BUS_NOTHING || cookie >= PARTITION_BUS_N_QUESTIONS)
		return;
	bus->n_open[cookie]--;
	if (status && !bus->status[cookie])
		bus->status[cookie] = status;
	pthread_cond_broadcast(&bus->partition->changed);
}

// The NIC has freed itself.
static void gone(void *vmm)
{
	struct partition_nic *nic = vmm, **at = &nic->bus->nics;

	partition_say(nic->bus->partition, LOG_LEVEL_INFO, "NIC %s is gone", nic->state.name);
	while (*at != nic)
		at = &(*at)->next;
	*at = nic->next;
	nic->bus->n_nics--;
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		closed(nic, i);
	free(nic);
}

static const struct vmbus_nic_ops nic_ops = {
	.doorbell = doorbell,
	.target = target,
	.closed = closed,
	.attached = attached,
	.detached = detached,
	.says = says,
	.done = done,
	.gone = gone,
};

// --- making ------------------------------------------------------------------------------------

// All RAM: guests send from anywhere.
static int add_regions(struct partition_nic *nic)
{
	const struct partition_ram *ram = &nic->bus->partition->ram;
	uint64_t offset = 0;
	int ret = 0;

	for (uint32_t i = 0; i < ram->map.n_regions && !ret; i++) {
		const struct vmbus_client_region region = { .region = i,
							    .gpa = ram->map.regions[i].gpa,
							    .bytes = ram->map.regions[i].bytes,
							    .offset = offset,
							    .fd = ram->fd };

		ret = vmbus_nic_region_add(nic->nic, &region, PARTITION_BUS_NOTHING);
		offset += region.bytes;
	}
	return ret;
}

int partition_nic_create(struct partition_bus *bus, const struct partition_nic_cfg *cfg,
			 struct partition_nic **out)
{
	struct partition_nic *nic = calloc(1, sizeof(*nic));
	const struct vmbus_nic_cfg nic_cfg = {
		.server = bus->server,
		.client = { .path = cfg->socket, .name = cfg->name, .token = cfg->token,
			    .features = VMBUS_USER_DIRECT | VMBUS_USER_STATE | VMBUS_USER_DIRTY |
					VMBUS_USER_SUBCHANNELS },
		.guest_os_id = bus->partition->hv.guest_os,
		.ops = &nic_ops,
		.vmm = nic,
	};
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = bus->tag };
	int ret;

	if (!nic)
		return -ENOMEM;
	nic->bus = bus;
	snprintf(nic->state.name, sizeof(nic->state.name), "%s", cfg->name);
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		nic->doorbells[i].fd = -1;
	ret = vmbus_nic_create(&nic_cfg, &nic->nic);
	if (!ret)
		ret = add_regions(nic);
	if (!ret && epoll_ctl(bus->epoll_fd, EPOLL_CTL_ADD, vmbus_nic_fd(nic->nic), &event))
		ret = -errno;
	if (ret) {
		partition_nic_destroy(nic);
		return ret;
	}
	*out = nic;
	return 0;
}

void partition_nic_destroy(struct partition_nic *nic)
{
	for (uint32_t i = 0; i < VMBUS_DEVICE_MAX_CHANNELS; i++)
		closed(nic, i);
	if (nic->nic)
		vmbus_nic_destroy(nic->nic);
	free(nic);
}

void partition_nic_start(struct partition_nic *nic)
{
	int ret = vmbus_nic_start(nic->nic);

	if (ret)
		partition_say(nic->bus->partition, LOG_LEVEL_ERROR, "NIC %s: %s", nic->state.name,
			      strerror(-ret));
}
