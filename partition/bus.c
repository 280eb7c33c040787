// SPDX-License-Identifier: Apache-2.0
#include "partition/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "partition/bus_impl.h"
#include "partition/image.h"

#define RETARGET_NS 2000000000ull // that a processor waits for the switch
#define STILL_NS 5000000000ull

// --- the server's host -------------------------------------------------------------------------

static int send_message(void *vmm, const struct vmbus_contact *to, const void *message,
			uint32_t bytes)
{
	struct partition_bus *bus = vmm;
	struct partition *p = bus->partition;
	const struct partition_message m = { .type = PARTITION_MESSAGE_VMBUS, .payload = message,
					     .bytes = bytes };
	int ret;

	if (to->target_vp >= p->cfg.n_vps || to->sint >= PARTITION_N_SINTS)
		return -ENXIO;
	ret = partition_synic_post(&p->hv.vps[to->target_vp].synic, to->sint, &m);
	if (ret == -EAGAIN)
		partition_wake(p); // a timer is to see to it, EOM or not
	return ret;
}

static int connected(void *vmm, const struct vmbus_contact *contact)
{
	struct partition_bus *bus = vmm;

	partition_say(bus->partition, LOG_LEVEL_INFO, "the guest connects to VMBus %u.%u",
		      contact->version >> 16, contact->version & 0xffff);
	return 0;
}

static void disconnected(void *vmm)
{
	struct partition_bus *bus = vmm;

	bus->is_reset = true;
	partition_wake(bus->partition);
}

static const struct vmbus_host_ops host_ops = {
	.send = send_message,
	.connected = connected,
	.disconnected = disconnected,
};

int partition_bus_create(struct partition *partition, int epoll_fd, uint32_t tag,
			 struct partition_bus **out)
{
	struct partition_bus *bus = calloc(1, sizeof(*bus));
	const struct vmbus_server_cfg cfg = { .memory = &partition->ram.map,
					      .n_vps = partition->cfg.n_vps,
					      .ops = &host_ops,
					      .vmm = bus };
	const struct itimerspec second = { { 1, 0 }, { 1, 0 } };
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = tag };
	struct partition_services_cfg services = { .hv = &partition->hv };
	int ret;

	if (!bus)
		return -ENOMEM;
	bus->partition = partition;
	bus->epoll_fd = epoll_fd;
	bus->tag = tag;
	bus->is_reset = true;
	bus->second_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (bus->second_fd < 0 || timerfd_settime(bus->second_fd, 0, &second, NULL) ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, bus->second_fd, &event))
		ret = -errno;
	else
		ret = vmbus_server_create(&cfg, &bus->server);
	services.server = bus->server;
	if (!ret)
		ret = partition_services_create(&services, &bus->services);
	if (ret) {
		partition_bus_destroy(bus);
		return ret;
	}
	*out = bus;
	return 0;
}

void partition_bus_destroy(struct partition_bus *bus)
{
	if (!bus)
		return;
	vmbus_server_destroy(bus->server);
	while (bus->nics) {
		struct partition_nic *nic = bus->nics;

		bus->nics = nic->next;
		partition_nic_destroy(nic);
	}
	partition_services_destroy(bus->services);
	if (bus->second_fd >= 0)
		close(bus->second_fd);
	free(bus);
}

// --- the guest ---------------------------------------------------------------------------------

int partition_bus_post(struct partition_bus *bus, uint32_t connection_id, const void *message,
		       uint32_t bytes)
{
	bus->is_reset = false;
	return vmbus_server_post(bus->server, connection_id, message, bytes);
}

int partition_bus_signal(struct partition_bus *bus, uint32_t connection_id, uint32_t flag)
{
	for (const struct partition_nic *nic = bus->nics; nic; nic = nic->next)
		if (partition_nic_signal(nic, connection_id))
			return 0;
	return partition_services_signal(bus->services, connection_id) ? 0 : -ENOENT;
}

int partition_bus_shutdown(struct partition_bus *bus, bool reboot)
{
	return partition_services_shutdown(bus->services, reboot);
}

uint32_t partition_bus_silence(const struct partition_bus *bus)
{
	return partition_services_silence(bus->services);
}

void partition_bus_flush(struct partition_bus *bus) { vmbus_server_flush(bus->server); }

bool partition_bus_is_waiting(const struct partition_bus *bus)
{
	return vmbus_server_n_waiting(bus->server) > 0;
}

void partition_bus_set_guest_os(struct partition_bus *bus, uint64_t guest_os_id)
{
	for (struct partition_nic *nic = bus->nics; nic; nic = nic->next)
		vmbus_nic_set_guest_os(nic->nic, guest_os_id);
}

// --- questions to NICs -------------------------------------------------------------------------

static struct timespec deadline(uint64_t ns)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	ns += (uint64_t)t.tv_nsec;
	t.tv_sec += (time_t)(ns / 1000000000);
	t.tv_nsec = (long)(ns % 1000000000);
	return t;
}

void partition_bus_retarget(struct partition_bus *bus, uint32_t vp)
{
	struct partition *p = bus->partition;
	struct timespec until = deadline(RETARGET_NS);

	for (struct partition_nic *nic = bus->nics; nic; nic = nic->next)
		if (vmbus_nic_retarget(nic->nic, vp, PARTITION_BUS_RETARGET) > 0)
			bus->n_open[PARTITION_BUS_RETARGET]++;
	while (bus->n_open[PARTITION_BUS_RETARGET] > 0 && !p->leaving)
		if (pthread_cond_timedwait(&p->changed, &p->lock, &until)) {
			partition_say(p, LOG_LEVEL_WARNING,
				      "the switch does not say where its events go");
			return;
		}
}

// Waits, on the control thread, until a question has its answers. Lock held. Returns 0, the first
// failure, or -ETIMEDOUT.
static int wait_for(struct partition_bus *bus, enum partition_bus_question question)
{
	struct timespec until = deadline(STILL_NS), now;

	while (bus->n_open[question] > 0) {
		struct epoll_event event;

		// Only this thread runs NICs: it waits for their descriptors itself.
		if (epoll_wait(bus->epoll_fd, &event, 1, 10) < 0 && errno != EINTR)
			return -errno;
		partition_bus_run(bus);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > until.tv_sec)
			return -ETIMEDOUT;
	}
	return bus->status[question];
}

static int ask_all(struct partition_bus *bus, enum partition_bus_question question,
		   int (*ask)(struct vmbus_nic *nic, uint64_t cookie))
{
	bus->status[question] = 0;
	for (struct partition_nic *nic = bus->nics; nic; nic = nic->next) {
		int ret;

		bus->n_open[question]++;
		ret = ask(nic->nic, question);
		if (ret) {
			bus->n_open[question]--;
			return ret;
		}
	}
	return wait_for(bus, question);
}

int partition_bus_still(struct partition_bus *bus, struct err *err)
{
	int ret = ask_all(bus, PARTITION_BUS_PAUSE, vmbus_nic_pause);

	if (!ret)
		ret = ask_all(bus, PARTITION_BUS_SAVE, vmbus_nic_save);
	if (!ret)
		return 0;
	partition_bus_go_on(bus);
	return err_set(err, -ret, "the switch does not keep still: %s", strerror(-ret));
}

void partition_bus_go_on(struct partition_bus *bus)
{
	// Answers come when they come.
	for (struct partition_nic *nic = bus->nics; nic; nic = nic->next)
		if (vmbus_nic_resume(nic->nic, PARTITION_BUS_NOTHING))
			log_warning("%s: NIC %s stays still: no memory",
				    bus->partition->cfg.name, nic->state.name);
}

void partition_bus_run(struct partition_bus *bus)
{
	struct partition_nic *nic = bus->nics, *next;
	uint64_t n;

	if (read(bus->second_fd, &n, sizeof(n)) == sizeof(n))
		partition_services_tick(bus->services);
	// One that is run may go, none else.
	for (; nic; nic = next) {
		next = nic->next;
		vmbus_nic_run(nic->nic);
	}
}

// --- reset, save and load ----------------------------------------------------------------------

void partition_bus_reset(struct partition_bus *bus)
{
	bus->is_reset = false;
	vmbus_server_reset(bus->server);
}

bool partition_bus_is_reset(const struct partition_bus *bus) { return bus->is_reset; }

void partition_bus_start(struct partition_bus *bus)
{
	bus->is_started = true;
	for (struct partition_nic *nic = bus->nics; nic; nic = nic->next)
		partition_nic_start(nic);
}

static void save(struct partition_bus *bus, struct partition_image *image)
{
	size_t bytes = 0;
	void *block = NULL;

	PARTITION_IMAGE(image, bus->n_nics);
	for (struct partition_nic *nic = bus->nics; nic; nic = nic->next) {
		image->failed |= vmbus_nic_image(nic->nic, &block, &bytes) != 0;
		if (image->failed)
			return;
		PARTITION_IMAGE(image, nic->state.name);
		partition_image_block(image, &block, &bytes);
		free(block);
	}
	image->failed |= vmbus_server_save(bus->server, &block, &bytes) != 0;
	if (image->failed)
		return;
	partition_image_block(image, &block, &bytes);
	free(block);
}

static struct partition_nic *find(const struct partition_bus *bus, const char *name)
{
	struct partition_nic *nic = bus->nics;

	while (nic && strcmp(nic->state.name, name))
		nic = nic->next;
	return nic;
}

static void load_nic(struct partition_bus *bus, struct partition_image *image)
{
	char name[sizeof(bus->nics->state.name)];
	struct partition_nic *nic;
	size_t bytes = 0;
	void *block;

	PARTITION_IMAGE(image, name);
	name[sizeof(name) - 1] = '\0';
	partition_image_block(image, &block, &bytes);
	if (partition_image_is_bad(image))
		return;
	nic = find(bus, name);
	if (!nic || vmbus_nic_restore(nic->nic, block, bytes)) {
		log_error("%s: the checkpoint has a NIC %s, which %s", bus->partition->cfg.name,
			  name, nic ? "is not this one" : "was not given");
		image->failed = true;
	}
	free(block);
}

static void load(struct partition_bus *bus, struct partition_image *image)
{
	struct err err = {};
	size_t bytes = 0;
	void *block;
	uint32_t n;

	PARTITION_IMAGE(image, n);
	for (uint32_t i = 0; i < n && !partition_image_is_bad(image); i++)
		load_nic(bus, image);
	partition_image_block(image, &block, &bytes);
	if (!partition_image_is_bad(image) &&
	    vmbus_server_restore(bus->server, block, bytes, &err)) {
		log_error("%s: VMBus: %s", bus->partition->cfg.name, err.text);
		image->failed = true;
	}
	bus->is_reset = false;
	free(block);
}

void partition_bus_image(struct partition_bus *bus, struct partition_image *image)
{
	if (image->is_loading)
		load(bus, image);
	else
		save(bus, image);
}

// --- NICs --------------------------------------------------------------------------------------

int partition_bus_add_nic(struct partition_bus *bus, const struct partition_nic_cfg *cfg,
			  struct err *err)
{
	struct partition_nic *nic;
	int ret;

	if (strlen(cfg->name) >= sizeof(nic->state.name) || !cfg->name[0])
		return err_set(err, EINVAL, "nic: '%s' is not a name of 1 … 64 bytes", cfg->name);
	if (find(bus, cfg->name))
		return err_set(err, EEXIST, "nic: there is a '%s' already", cfg->name);
	if (bus->n_nics == PARTITION_MAX_NICS)
		return err_set(err, ENOSPC, "nic: there are %u already", PARTITION_MAX_NICS);
	ret = partition_nic_create(bus, cfg, &nic);
	if (ret)
		return err_set(err, -ret, "nic: '%s': %s", cfg->name, strerror(-ret));
	nic->next = bus->nics;
	bus->nics = nic;
	bus->n_nics++;
	if (bus->is_started)
		partition_nic_start(nic);
	return 0;
}

int partition_bus_remove_nic(struct partition_bus *bus, const char *name, struct err *err)
{
	struct partition_nic *nic = find(bus, name);

	if (!nic)
		return err_set(err, ENOENT, "nic: there is no '%s'", name);
	vmbus_nic_remove(nic->nic);
	return 0;
}

bool partition_bus_look(const struct partition_bus *bus, uint32_t i,
			struct partition_nic_state *state)
{
	const struct partition_nic *nic = bus->nics;

	while (nic && i-- > 0)
		nic = nic->next;
	if (nic)
		*state = nic->state;
	return nic != NULL;
}
