// SPDX-License-Identifier: Apache-2.0
#include "tests/pmd/nic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/memfd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/pmd/vmm.h"
#include "vmbus/wire.h"

#define HUGE_BYTES (2u << 20)
#define WAIT_S 30 // for the switch to answer

// Guest physical addresses of what is not EAL's memory, which begins at 4 GiB.
#define GPA_PAGES 0x10000000ull
#define GPA_BUFFERS 0x40000000ull
#define GPA_RINGS 0x80000000ull
#define GPA_RINGS_STEP 0x04000000ull

// What lies in the file of pages.
enum { EVENT_PAGE, MONITOR_PAGE, FLAG_PAGE, N_PAGES };
#define FLAG_AREA (FLAG_PAGE * VMBUS_PAGE_BYTES)

enum { REGION_PAGES, REGION_BUFFERS, REGION_MEMORY, REGION_RINGS = REGION_MEMORY + NIC_MAX_MEMORY };
enum { GPADL_RECEIVE = 1001, GPADL_SEND, GPADL_RINGS };

// Cookies of requests.
#define PLAIN 0
#define OPEN_CHANNEL 0x100 // + channel

static uint32_t ring_bytes(const struct nic *nic)
{
	return nic->cfg.ring_pages * VMBUS_PAGE_BYTES;
}

static uint32_t relid(uint32_t channel) { return channel + 1; }

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
}

// --- memory ------------------------------------------------------------------------------------

// A sealed file of zeros, of huge pages if it may be. Returns its descriptor or -errno.
static int make_file(const char *name, uint64_t bytes, bool huge)
{
	int fd = -1;

	if (huge && bytes % HUGE_BYTES == 0)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB |
						MFD_HUGE_2MB);
	// Huge pages are only promised when they are touched: allocating tells.
	if (fd >= 0 && (ftruncate(fd, (off_t)bytes) || fallocate(fd, 0, 0, (off_t)bytes))) {
		close(fd);
		fd = -1;
	}
	if (fd < 0) {
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (fd < 0)
			return -errno;
		if (ftruncate(fd, (off_t)bytes)) {
			close(fd);
			return -ENOMEM;
		}
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	return fd;
}

static void *map(int fd, uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return NULL;
	return p;
}

static int make_channel(struct nic *nic)
{
	struct nic_channel *c = &nic->channels[nic->n_channels];

	if (nic->n_channels == NIC_MAX_QUEUES)
		return -ENOSPC;
	c->rings = make_file("weft-pmd-rings", 2 * ring_bytes(nic), nic->cfg.huge);
	if (c->rings < 0)
		return c->rings;
	c->map = map(c->rings, 2 * ring_bytes(nic));
	c->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!c->map || c->kick < 0 || c->bell < 0)
		return -ENOMEM;
	nic->n_channels++;
	return 0;
}

static int make_memory(struct nic *nic)
{
	uint64_t bytes = round_up(nic->cfg.receive_bytes) + round_up(nic->cfg.send_bytes);
	int ret;

	nic->pages = make_file("weft-pmd-pages", N_PAGES * VMBUS_PAGE_BYTES, false);
	nic->buffers = make_file("weft-pmd-buffers", bytes, nic->cfg.huge);
	if (nic->pages < 0 || nic->buffers < 0)
		return -ENOMEM;
	nic->page_map = map(nic->pages, N_PAGES * VMBUS_PAGE_BYTES);
	ret = nic->page_map ? 0 : -ENOMEM;
	return ret ?: make_channel(nic);
}

// The kernel's driver has told the switch not to ring before DPDK sees the device.
static void clear_rings(struct nic *nic, uint32_t channel)
{
	uint8_t *rings = nic->channels[channel].map;
	struct vmbus_ring_header *to_guest = (void *)(rings + ring_bytes(nic));

	memset(rings, 0, sizeof(*to_guest));
	memset(to_guest, 0, sizeof(*to_guest));
	to_guest->interrupt_mask = cpu_to_le32(1);
}

// --- requests, all with vmm_lock ---------------------------------------------------------------

// Counts a request that was made, or keeps why it was not.
static void asked(struct nic *nic, int ret)
{
	if (!ret)
		nic->n_pending++;
	else if (!nic->failure)
		nic->failure = ret;
}

static void ask_region(struct nic *nic, uint32_t region, const struct nic_memory *memory)
{
	struct vmbus_client_region r = {
		.region = region,
		.gpa = memory->address,
		.bytes = memory->bytes,
		.offset = memory->offset,
		.fd = memory->fd,
	};

	asked(nic, vmbus_client_region_add(nic->client, &r, PLAIN));
}

static void ask_rings_region(struct nic *nic, uint32_t channel)
{
	struct nic_memory rings = {
		.address = GPA_RINGS + channel * GPA_RINGS_STEP,
		.bytes = 2 * ring_bytes(nic),
		.fd = nic->channels[channel].rings,
	};

	ask_region(nic, REGION_RINGS + channel, &rings);
}

static void ask_gpadl(struct nic *nic, uint32_t channel, uint32_t gpadl, struct vmbus_run run)
{
	struct vmbus_runs runs = { .runs = &run, .n = 1, .bytes = run.bytes };

	asked(nic, vmbus_client_gpadl_add(nic->client, channel, gpadl, &runs, PLAIN));
}

static void ask_open(struct nic *nic, uint32_t channel)
{
	struct vmbus_client_open open = {
		.channel = channel,
		.relid = relid(channel),
		.gpadl = GPADL_RINGS + channel,
		.h2g_page = nic->cfg.ring_pages,
		.vmbus_version = VMBUS_VERSION_IRON,
		.monitor_id = channel,
		.kick_fd = nic->channels[channel].kick,
		.target = {
			.mode = VMBUS_USER_MODE_DIRECT,
			.flag = relid(channel),
			.sint = 2,
			.gpa = GPA_PAGES + FLAG_AREA,
			.fd = nic->channels[channel].bell,
		},
	};

	clear_rings(nic, channel);
	asked(nic, vmbus_client_open(nic->client, &open, OPEN_CHANNEL + channel));
}

static void ask_rings(struct nic *nic, uint32_t channel)
{
	ask_gpadl(nic, channel, GPADL_RINGS + channel,
		  (struct vmbus_run){ .gpa = GPA_RINGS + channel * GPA_RINGS_STEP,
				      .bytes = 2 * ring_bytes(nic) });
}

static void ask_all(struct nic *nic)
{
	uint64_t buffers = round_up(nic->cfg.receive_bytes) + round_up(nic->cfg.send_bytes);
	struct nic_memory pages = { GPA_PAGES, N_PAGES * VMBUS_PAGE_BYTES, nic->pages, 0 };
	struct nic_memory buffer = { GPA_BUFFERS, buffers, nic->buffers, 0 };

	ask_region(nic, REGION_PAGES, &pages);
	ask_region(nic, REGION_BUFFERS, &buffer);
	for (uint32_t i = 0; i < nic->cfg.n_memory; i++)
		ask_region(nic, REGION_MEMORY + i, &nic->cfg.memory[i]);
	ask_rings_region(nic, 0);
	asked(nic, vmbus_client_set_monitor(nic->client,
					    GPA_PAGES + MONITOR_PAGE * VMBUS_PAGE_BYTES, 0, PLAIN));
	asked(nic, vmbus_client_start(nic->client, PLAIN));
}

static bool settled(void *arg)
{
	const struct nic *nic = arg;

	return !nic->n_pending || nic->events.gone || nic->failure;
}

// Waits for what was asked.
static int settle(struct nic *nic, uint32_t seconds, struct err *err)
{
	int ret = vmm_wait(settled, nic, seconds);

	if (ret)
		return err_set(err, -ret, "%s: no answer from %s within %u s: %s", nic->cfg.name,
			       nic->cfg.socket, seconds, nic->events.why);
	if (nic->events.gone || nic->failure)
		return err_set(err, -(nic->failure ?: -ENOENT), "%s: %s", nic->cfg.name,
			       *nic->events.why ? nic->events.why : strerror(-nic->failure));
	return 0;
}

// --- ops, VMM thread, with vmm_lock ------------------------------------------------------------

static void on_attached(void *vmm, const struct vmbus_client_peer *peer)
{
	struct nic *nic = vmm;

	nic->events.n_attached++;
	nic->events.attached = true;
	nic->events.n_batches += peer->n_batches;
	nic->events.n_lost_frames += peer->n_lost;
	vmm_wake();
}

static void on_detached(void *vmm, const char *why, bool final)
{
	struct nic *nic = vmm;

	snprintf(nic->events.why, sizeof(nic->events.why), "%s", why);
	nic->events.attached = false;
	nic->events.gone = final;
	vmm_wake();
}

static void on_done(void *vmm, uint64_t cookie, int status, const char *text)
{
	struct nic *nic = vmm;
	uint32_t channel = (uint32_t)cookie - OPEN_CHANNEL;

	nic->n_pending--;
	if (status && !nic->failure) {
		nic->failure = status;
		snprintf(nic->events.why, sizeof(nic->events.why), "%s: %s", strerror(-status),
			 text);
	}
	if (!status && cookie >= OPEN_CHANNEL) {
		nic->n_open++;
		if (channel)
			uio_add_channel(&nic->uio, relid(channel), channel,
					nic->channels[channel].rings);
	}
	vmm_wake();
}

// What cannot be had is not granted; the driver waits for as many as it is told.
static void on_subchannels(void *vmm, uint32_t n_wanted)
{
	struct nic *nic = vmm;
	uint32_t n = 0;

	while (n < n_wanted && n + 1 < nic->cfg.max_queues) {
		if (n + 1 == nic->n_channels) {
			if (make_channel(nic))
				break;
			ask_rings_region(nic, n + 1);
		}
		ask_rings(nic, ++n);
	}
	vmbus_client_grant(nic->client, n);
	for (uint32_t i = 1; i <= n; i++)
		ask_open(nic, i);
}

static void on_channel_failed(void *vmm, uint32_t channel, uint32_t reason, const char *text)
{
	struct nic *nic = vmm;

	nic->events.n_channels_failed++;
	snprintf(nic->events.why, sizeof(nic->events.why), "channel %u failed, reason %u: %s",
		 channel, reason, text);
}

static void on_lost(void *vmm, const char *why)
{
	struct nic *nic = vmm;

	nic->events.n_lost++;
	snprintf(nic->events.why, sizeof(nic->events.why), "%s", why);
	vmm_wake();
}

static const struct vmbus_client_ops ops = {
	.attached = on_attached,
	.detached = on_detached,
	.done = on_done,
	.subchannels = on_subchannels,
	.channel_failed = on_channel_failed,
	.lost = on_lost,
};

// --- main thread -------------------------------------------------------------------------------

static int make_client(struct nic *nic)
{
	struct vmbus_client_cfg cfg = {
		.path = nic->cfg.socket,
		.name = nic->cfg.name,
		.features = VMBUS_USER_DIRECT | VMBUS_USER_MONITOR | VMBUS_USER_STATE |
			    VMBUS_USER_SUBCHANNELS,
		.ops = &ops,
		.vmm = nic,
	};
	int ret = vmbus_client_create(&cfg, &nic->client);

	return ret ?: vmm_add(nic->client);
}

int nic_attach(struct nic *nic, const struct nic_cfg *cfg, uint32_t seconds, struct err *err)
{
	uint32_t number = nic->number, life = nic->life;
	int ret;

	*nic = (struct nic){
		.cfg = *cfg, .number = number, .life = life, .buffers = -1, .pages = -1
	};
	ret = make_memory(nic);
	if (ret)
		return err_set(err, -ret, "%s: no memory for rings and buffers", cfg->name);
	vmm_lock();
	ret = make_client(nic);
	if (ret)
		ret = err_set(err, -ret, "%s: %s", cfg->name, strerror(-ret));
	else
		ask_all(nic);
	ret = ret ?: settle(nic, seconds, err);
	vmm_unlock();
	return ret;
}

void nic_detach(struct nic *nic)
{
	vmm_lock();
	if (nic->client) {
		vmm_del(nic->client);
		vmbus_client_destroy(nic->client);
		nic->client = NULL;
	}
	vmm_unlock();
	for (uint32_t i = 0; i < nic->n_channels; i++) {
		munmap(nic->channels[i].map, 2 * ring_bytes(nic));
		close(nic->channels[i].rings);
		close(nic->channels[i].kick);
		close(nic->channels[i].bell);
	}
	nic->n_channels = 0;
	if (nic->page_map)
		munmap(nic->page_map, N_PAGES * VMBUS_PAGE_BYTES);
	nic->page_map = NULL;
	if (nic->pages > 0)
		close(nic->pages);
	if (nic->buffers > 0)
		close(nic->buffers);
	nic->pages = nic->buffers = -1;
}

// The device as this life of it looks: a GUID that DPDK has not seen.
static void describe(struct nic *nic)
{
	struct uio_device *d = &nic->uio;

	*d = (struct uio_device){
		.number = nic->number,
		.relid = relid(0),
		.monitor_id = 0,
		.maps = {
			[UIO_RINGS] = { nic->channels[0].rings, 0, 2 * ring_bytes(nic), 0 },
			[UIO_EVENT_PAGE] = { nic->pages, EVENT_PAGE * VMBUS_PAGE_BYTES,
					     VMBUS_PAGE_BYTES, 0 },
			[UIO_MONITOR_PAGE] = { nic->pages, MONITOR_PAGE * VMBUS_PAGE_BYTES,
					       VMBUS_PAGE_BYTES, 0 },
			[UIO_RECEIVE] = { nic->buffers, 0, nic->cfg.receive_bytes, GPADL_RECEIVE },
			[UIO_SEND] = { nic->buffers, (off_t)round_up(nic->cfg.receive_bytes),
				       nic->cfg.send_bytes, GPADL_SEND },
		},
	};
	snprintf(d->guid, sizeof(d->guid), "%08x-%04x-4000-8000-00155d000000", nic->number + 1,
		 ++nic->life & 0xffff);
}

int nic_plug(struct nic *nic, struct err *err)
{
	uint64_t send_gpa = GPA_BUFFERS + round_up(nic->cfg.receive_bytes);
	int ret;

	vmm_lock();
	nic->n_open = 0;
	nic->failure = 0;
	ask_rings(nic, 0);
	ask_gpadl(nic, 0, GPADL_RECEIVE,
		  (struct vmbus_run){ .gpa = GPA_BUFFERS, .bytes = nic->cfg.receive_bytes });
	ask_gpadl(nic, 0, GPADL_SEND,
		  (struct vmbus_run){ .gpa = send_gpa, .bytes = nic->cfg.send_bytes });
	ask_open(nic, 0);
	ret = settle(nic, WAIT_S, err);
	vmm_unlock();
	if (ret)
		return ret;
	describe(nic);
	ret = uio_add(&nic->uio, err);
	if (ret)
		return ret;
	ret = uio_add_channel(&nic->uio, relid(0), 0, nic->channels[0].rings);
	return ret ? err_set(err, -ret, "%s: %s", nic->cfg.name, strerror(-ret)) : 0;
}

int nic_unplug(struct nic *nic, struct err *err)
{
	int ret;

	uio_del(&nic->uio);
	vmm_lock();
	nic->failure = 0;
	for (uint32_t i = nic->n_open; i-- > 0;) {
		asked(nic, vmbus_client_close(nic->client, i, PLAIN));
		asked(nic, vmbus_client_gpadl_teardown(nic->client, i, GPADL_RINGS + i, PLAIN));
	}
	asked(nic, vmbus_client_gpadl_teardown(nic->client, 0, GPADL_RECEIVE, PLAIN));
	asked(nic, vmbus_client_gpadl_teardown(nic->client, 0, GPADL_SEND, PLAIN));
	nic->n_open = 0;
	ret = settle(nic, WAIT_S, err);
	vmm_unlock();
	return ret;
}

void nic_abandon(struct nic *nic) { uio_del(&nic->uio); }

struct nic_events nic_events(struct nic *nic)
{
	struct nic_events events;

	vmm_lock();
	events = nic->events;
	vmm_unlock();
	return events;
}

void nic_count(struct nic *nic, uint32_t queue)
{
	uint32_t id = relid(queue), bit = 1u << id % 32;
	uint32_t *events = (uint32_t *)(nic->page_map + VMBUS_PAGE_BYTES / 2) + id / 32;
	uint32_t *flags = (uint32_t *)(nic->page_map + FLAG_AREA) + id / 32;

	if (__atomic_load_n(events, __ATOMIC_RELAXED) & bit) {
		__atomic_fetch_and(events, ~bit, __ATOMIC_RELAXED);
		nic->n_doorbells++;
	}
	if (__atomic_load_n(flags, __ATOMIC_RELAXED) & bit) {
		__atomic_fetch_and(flags, ~bit, __ATOMIC_ACQ_REL);
		nic->n_bells++;
	}
}
