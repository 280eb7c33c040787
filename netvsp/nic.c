// SPDX-License-Identifier: Apache-2.0
// Life of NICs, and the registry in which connections find them by name.
#include "netvsp/nic.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "netvsp/nic_parts.h"
#include "netvsp/sections.h"

#define ETHERNET_BYTES 14
#define DEFAULT_LINK_MBPS 10000

// Ports come and go on the helper thread, connections on control.
static struct {
	pthread_mutex_t lock;
	struct netvsp_nic *first;
	int watcher;
	bool draining, held;
} registry = { PTHREAD_MUTEX_INITIALIZER, NULL, -1, false, false };

// --- identity ----------------------------------------------------------------------------------

// FNV-1a, finished so that every bit of the result depends on all of the text.
static uint64_t hash(const char *text, uint64_t seed)
{
	uint64_t h = 0xcbf29ce484222325 ^ seed;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3;
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccd;
	return h ^ (h >> 33);
}

// The same name gives the same GUID (RFC 9562, version 8), on any host: state memory and saved
// guests name it.
static void make_guid(const char *name, uint8_t guid[16])
{
	uint64_t parts[2] = { hash(name, 0), hash(name, 0x9e3779b97f4a7c15) };

	memcpy(guid, parts, sizeof(parts));
	guid[7] = (uint8_t)((guid[7] & 0x0f) | 0x80); // the third group is little endian
	guid[8] = (uint8_t)((guid[8] & 0x3f) | 0x80);
}

// An address for a NIC that was given none: of Hyper-V's range, from its name.
static struct mac make_mac(const char *name)
{
	return mac_from_u64(0x00155d000000 | (hash(name, 1) & 0xffffff));
}

// Reads the token: 32 bytes, or 64 hexadecimal digits and perhaps a line end. helper.
static int read_token(const char *path, uint8_t token[32], struct err *err)
{
	char text[66];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return err_set(err, error, "token_file %s: %s", path, strerror(error));
	if (n == 32) {
		memcpy(token, text, 32);
		return 0;
	}
	if (n == 64 || (n == 65 && text[64] == '\n')) {
		int i = 0;

		for (; i < 32; i++) {
			unsigned int byte;
			int used = 0;

			if (sscanf(text + 2 * i, "%2x%n", &byte, &used) != 1 || used != 2)
				break;
			token[i] = (uint8_t)byte;
		}
		if (i == 32)
			return 0;
	}
	return err_set(err, EINVAL, "token_file %s: 32 bytes, or 64 hexadecimal digits", path);
}

// In the same time whatever the difference is.
static bool same_token(const uint8_t a[32], const uint8_t b[32])
{
	volatile uint8_t difference = 0;

	for (int i = 0; i < 32; i++)
		difference |= a[i] ^ b[i];
	return !difference;
}

// --- queues ------------------------------------------------------------------------------------

static void queue_fini(struct netvsp_queue *queue)
{
	int fds[] = { queue->epoll_fd, queue->kick_fd, queue->timer_fd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int queue_init(struct netvsp_queue *queue, struct netvsp_nic *nic, uint16_t index)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	queue->q = (struct port_queue){ .dev = &nic->dev, .index = index };
	queue->nic = nic;
	queue->monitor_id = VMBUS_USER_NO_MONITOR;
	queue->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	queue->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (queue->epoll_fd < 0 || queue->kick_fd < 0 || queue->timer_fd < 0 ||
	    epoll_ctl(queue->epoll_fd, EPOLL_CTL_ADD, queue->kick_fd, &event) < 0 ||
	    epoll_ctl(queue->epoll_fd, EPOLL_CTL_ADD, queue->timer_fd, &event) < 0)
		return -errno;
	nic->dev.queues[index] = &queue->q;
	return 0;
}

void netvsp_nic_kick(struct netvsp_queue *queue) { eventfd_write(queue->kick_fd, 1); }

// --- life --------------------------------------------------------------------------------------

static void nic_free(struct netvsp_nic *nic)
{
	for (uint16_t i = 0; nic->queues && i < nic->dev.n_queues; i++)
		queue_fini(&nic->queues[i]);
	if (nic->mailbox.fd >= 0)
		close(nic->mailbox.fd);
	free(nic->private_state);
	free(nic->queues);
	free(nic);
}

static int init_queues(struct netvsp_nic *nic)
{
	size_t size = nic->dev.n_queues * sizeof(*nic->queues);
	int ret = 0;

	nic->mailbox.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (nic->mailbox.fd < 0)
		return -errno;
	nic->queues = aligned_alloc(CACHE_LINE, size);
	if (!nic->queues)
		return -ENOMEM;
	memset(nic->queues, 0, size);
	for (uint16_t i = 0; i < nic->dev.n_queues; i++)
		nic->queues[i].epoll_fd = nic->queues[i].kick_fd = nic->queues[i].timer_fd = -1;
	for (uint16_t i = 0; i < nic->dev.n_queues && ret == 0; i++)
		ret = queue_init(&nic->queues[i], nic, i);
	return ret;
}

static void tell_watcher(void)
{
	if (registry.watcher >= 0)
		eventfd_write(registry.watcher, 1);
}

static struct netvsp_nic *find(const char *name)
{
	struct netvsp_nic *nic = registry.first;

	while (nic && strcmp(nic->name, name) != 0)
		nic = nic->next;
	return nic;
}

static int enter(struct netvsp_nic *nic)
{
	int ret = 0;

	pthread_mutex_lock(&registry.lock);
	if (find(nic->name)) {
		ret = -EEXIST;
	} else {
		nic->next = registry.first;
		registry.first = nic;
		nic->draining = registry.draining;
		nic->held = registry.held;
		tell_watcher();
	}
	pthread_mutex_unlock(&registry.lock);
	return ret;
}

int netvsp_nic_create(const struct port_cfg *cfg, struct netvsp_nic **out, struct err *err)
{
	size_t size = (sizeof(struct netvsp_nic) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	struct netvsp_nic *nic;
	int ret;

	if (strlen(cfg->name) >= sizeof(nic->name))
		return err_set(err, EINVAL, "name %s: 1 to 64 bytes", cfg->name);
	nic = aligned_alloc(CACHE_LINE, size);
	if (!nic)
		return err_set(err, ENOMEM, "no memory for NIC %s", cfg->name);
	memset(nic, 0, size);
	nic->n_refs = 1;
	nic->dev.n_queues = cfg->n_queues ? cfg->n_queues : 1;
	nic->mailbox.fd = -1;
	snprintf(nic->name, sizeof(nic->name), "%s", cfg->name);
	make_guid(nic->name, nic->guid);
	nic->mac = mac_is_zero(cfg->mac) ? make_mac(nic->name) : cfg->mac;
	nic->mtu = (cfg->mtu ? cfg->mtu : 1500u) + ETHERNET_BYTES;
	nic->vm_uid = cfg->vm_uid ? cfg->vm_uid : geteuid();
	nic->connected = !cfg->disconnected;
	nic->rsc = cfg->rsc;
	nic->any_mac = cfg->any_mac;
	nic->link_mbps = cfg->link_mbps ? cfg->link_mbps : DEFAULT_LINK_MBPS;
	nic->guest.pools = cfg->pools;
	netvsp_port_init(nic);
	ret = init_queues(nic);
	if (ret < 0) {
		err_set(err, -ret, "NIC %s with %u queues: %s", cfg->name, nic->dev.n_queues,
			strerror(-ret));
		goto err_free;
	}
	nic->has_token = cfg->token_file && *cfg->token_file;
	if (nic->has_token) {
		ret = read_token(cfg->token_file, nic->token, err);
		if (ret < 0)
			goto err_free;
	}
	ret = enter(nic);
	if (ret < 0) {
		err_set(err, -ret, "a NIC %s exists", cfg->name);
		goto err_free;
	}
	*out = nic;
	return 0;
err_free:
	nic_free(nic);
	return ret;
}

// The lock is held; true: nobody has it any more, free it without the lock.
static bool unref(struct netvsp_nic *nic) { return --nic->n_refs == 0; }

void netvsp_nic_close(struct netvsp_nic *nic)
{
	bool last;

	pthread_mutex_lock(&registry.lock);
	for (struct netvsp_nic **at = &registry.first; *at; at = &(*at)->next)
		if (*at == nic) {
			*at = nic->next;
			break;
		}
	nic->closed = true;
	tell_watcher();
	last = unref(nic);
	pthread_mutex_unlock(&registry.lock);
	if (last)
		nic_free(nic);
}

bool netvsp_nic_exists(const char *name)
{
	bool exists;

	pthread_mutex_lock(&registry.lock);
	exists = find(name) != NULL;
	pthread_mutex_unlock(&registry.lock);
	return exists;
}

// Anybody's text as a log can bear it.
static const char *printable(const char name[65], char text[65])
{
	size_t i = 0;

	for (; i < 64 && name[i]; i++)
		text[i] = name[i] > ' ' && name[i] < 0x7f ? name[i] : '?';
	text[i] = '\0';
	return text;
}

static int take(struct netvsp_nic *nic, const struct vmbus_peer_hello *hello, uint32_t uid,
		struct err *err)
{
	char text[65];

	if (!nic)
		return err_set(err, ENOENT, "there is no NIC of the name %s",
			       printable(hello->name, text));
	if (uid != nic->vm_uid || (nic->has_token && !same_token(nic->token, hello->token)))
		return err_set(err, EACCES, "you may not attach to this NIC");
	if (nic->attached)
		return err_set(err, EBUSY, "a VMM is attached to NIC %s", nic->name);
	nic->attached = true;
	nic->n_refs++;
	return 0;
}

int netvsp_nic_take(const struct vmbus_peer_hello *hello, uint32_t uid, struct netvsp_nic **out,
		    struct err *err)
{
	int ret;

	pthread_mutex_lock(&registry.lock);
	*out = find(hello->name);
	ret = take(*out, hello, uid, err);
	pthread_mutex_unlock(&registry.lock);
	return ret;
}

void netvsp_nic_release(struct netvsp_nic *nic)
{
	bool last;

	pthread_mutex_lock(&registry.lock);
	nic->attached = false;
	last = unref(nic);
	pthread_mutex_unlock(&registry.lock);
	if (last)
		nic_free(nic);
}

bool netvsp_nic_is_closed(const struct netvsp_nic *nic)
{
	bool closed;

	pthread_mutex_lock(&registry.lock);
	closed = nic->closed;
	pthread_mutex_unlock(&registry.lock);
	return closed;
}

void netvsp_nic_set_watcher(int fd)
{
	pthread_mutex_lock(&registry.lock);
	registry.watcher = fd;
	registry.draining = registry.held = false;
	pthread_mutex_unlock(&registry.lock);
}

void netvsp_nic_drain_all(void)
{
	pthread_mutex_lock(&registry.lock);
	registry.draining = true;
	for (struct netvsp_nic *nic = registry.first; nic; nic = nic->next)
		__atomic_store_n(&nic->draining, true, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&registry.lock);
}

void netvsp_nic_hold_all(bool hold)
{
	pthread_mutex_lock(&registry.lock);
	registry.held = hold;
	for (struct netvsp_nic *nic = registry.first; nic; nic = nic->next) {
		__atomic_store_n(&nic->held, hold, __ATOMIC_RELEASE);
		// While held nobody asked the guest to ring.
		for (uint16_t i = 0; !hold && i < nic->dev.n_queues; i++)
			netvsp_nic_kick(&nic->queues[i]);
	}
	pthread_mutex_unlock(&registry.lock);
}

// Sections that the guest holds now, more or less: workers go on.
static uint32_t count_held(const struct netvsp_sections *sections)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < sections->n; i++)
		n += __atomic_load_n(&sections->entries[i], __ATOMIC_RELAXED) >>
			     VMBUS_STATE_HOLDER_SHIFT != 0;
	return n;
}

// --- for people --------------------------------------------------------------------------------

static void describe_state(const struct netvsp_nic *nic, struct netvsp_nic_info *info)
{
	const char *state = "ready";

	if (!info->attached && nic->why_not[0])
		state = nic->why_not;
	else if (!info->attached)
		state = "no guest was ever attached";
	else if (nic->draining)
		state = "draining before a restart";
	else if (!nic->started)
		state = "the VMM has not said START";
	else if (!nic->serving)
		state = "paused";
	else if (nic->channels[0].failed)
		state = "its channel has failed";
	else if (!nic->channels[0].open)
		state = "driver not loaded";
	else if (!nic->connected)
		state = "not connected";
	else if (!info->ready)
		state = "driver not ready";
	snprintf(info->state, sizeof(info->state), "%s", state);
}

// Counters of queues lie in queues: the caller copies them where it wants an array.
void netvsp_nic_describe(struct netvsp_nic *nic, struct netvsp_nic_info *info)
{
	const struct netvsp_agreed *agreed = &nic->control.agreed;

	*info = (struct netvsp_nic_info){
		.name = nic->name, .mac = nic->mac, .attached = nic->attached,
		.vmm_pid = nic->vmm_pid,
		.max_frame = nic->mtu, .n_queues = nic->dev.n_queues,
		.n_channels = (unsigned int)__builtin_popcountll(nic_open_channels(nic)),
		.n_attached = nic->n_attached, .n_recovered = nic->n_recovered,
		.n_lost = nic->n_lost,
	};
	memcpy(info->guid, nic->guid, sizeof(info->guid));
	info->ready = nic->attached && nic->serving && nic->channels[0].open &&
		      !nic->channels[0].failed && nic->guest.receiving;
	if (nic->channels[0].open) {
		info->vmbus_version = nic->channels[0].opened.vmbus_version;
		info->guest_os_id = nic->channels[0].opened.guest_os_id;
		info->nvsp_version = agreed->nvsp_version;
		info->ndis_version = agreed->ndis_version;
		if (nic->guest.max_frame)
			info->max_frame = nic->guest.max_frame;
	}
	if (nic->guest.sections) {
		info->n_sections = nic->guest.sections->n;
		info->n_held = count_held(nic->guest.sections);
	}
	describe_state(nic, info);
}

void netvsp_nic_list(void (*fn)(void *arg, const struct netvsp_nic_info *info), void *arg)
{
	static struct netvsp_counters counters[PORT_MAX_QUEUES]; // control only

	pthread_mutex_lock(&registry.lock);
	for (struct netvsp_nic *nic = registry.first; nic; nic = nic->next) {
		struct netvsp_nic_info info;

		netvsp_nic_describe(nic, &info);
		for (uint16_t i = 0; i < nic->dev.n_queues; i++)
			for (size_t w = 0; w < sizeof(counters[i]) / sizeof(uint64_t); w++)
				((uint64_t *)&counters[i])[w] =
					counter_get((uint64_t *)&nic->queues[i].counters + w);
		info.counters = counters;
		fn(arg, &info);
	}
	pthread_mutex_unlock(&registry.lock);
}
