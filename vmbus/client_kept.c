// SPDX-License-Identifier: Apache-2.0
// What the client keeps for the next life of the switch: docs/vmbus-user.md, section 8.5.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "vmbus/client_impl.h"

// --- state memory ------------------------------------------------------------------------------

// Not all of it may be in a write's reach.
static int write_all(int fd, const uint8_t *bytes, uint64_t size)
{
	uint64_t at = 0;

	while (at < size) {
		ssize_t n = pwrite(fd, bytes + at, size - at, (off_t)at);

		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

int vmbus_client_make_state(const void *bytes, uint64_t size)
{
	int fd = memfd_create("vmbus-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		ret = -errno;
	if (ret == 0 && bytes)
		ret = write_all(fd, bytes, size);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

// --- forgetting --------------------------------------------------------------------------------

void vmbus_client_forget_channel(struct vmbus_client *client, uint32_t channel)
{
	struct vmbus_client_channel *c = &client->channels[channel];

	if (!c->is_open)
		return;
	c->is_open = false;
	vmbus_client_close_fd(&c->open.kick_fd);
	vmbus_client_close_fd(&c->open.target.fd);
}

static void forget_gpadl(struct vmbus_client *client, uint32_t channel, uint32_t id)
{
	struct vmbus_client_gpadl **at = &client->gpadls;

	while (*at && ((*at)->channel != channel || (*at)->id != id))
		at = &(*at)->next;
	if (*at) {
		struct vmbus_client_gpadl *gpadl = *at;

		*at = gpadl->next;
		free(gpadl);
	}
}

static void forget_region(struct vmbus_client *client, uint32_t region)
{
	for (uint32_t i = 0; i < client->n_regions; i++)
		if (client->regions[i].region == region) {
			vmbus_client_close_fd(&client->regions[i].fd);
			client->regions[i] = client->regions[--client->n_regions];
			return;
		}
}

void vmbus_client_forget_guest(struct vmbus_client *client)
{
	for (uint32_t i = 0; i < VMBUS_USER_MAX_CHANNELS; i++)
		vmbus_client_forget_channel(client, i);
	while (client->gpadls) {
		struct vmbus_client_gpadl *gpadl = client->gpadls;

		client->gpadls = gpadl->next;
		free(gpadl);
	}
	client->monitor_on = false;
}

void vmbus_client_free_kept(struct vmbus_client *client)
{
	vmbus_client_forget_guest(client);
	while (client->n_regions > 0)
		forget_region(client, client->regions[0].region);
	vmbus_client_close_fd(&client->dirty_fd);
	vmbus_client_close_fd(&client->state_fd);
}

// --- keeping -----------------------------------------------------------------------------------

static void keep_region(struct vmbus_client *client, struct vmbus_client_request *r)
{
	if (client->n_regions == VMBUS_USER_MAX_REGIONS)
		return; // a switch that takes more than there can be
	client->regions[client->n_regions++] = (struct vmbus_client_region){
		r->id, r->flags, r->gpa, r->bytes, r->offset, r->fd,
	};
	r->fd = -1;
}

static void keep_gpadl(struct vmbus_client *client, struct vmbus_client_request *r)
{
	r->gpadl->next = client->gpadls;
	client->gpadls = r->gpadl;
	r->gpadl = NULL;
}

static void keep_open(struct vmbus_client *client, struct vmbus_client_request *r)
{
	struct vmbus_client_channel *c = &client->channels[r->open.channel];

	vmbus_client_forget_channel(client, r->open.channel);
	c->is_open = true;
	c->serial = r->serial;
	c->open = r->open;
	c->open.resume = true; // from the next time on
	r->open.kick_fd = r->open.target.fd = -1;
}

static void keep_target(struct vmbus_client *client, struct vmbus_client_request *r)
{
	struct vmbus_client_channel *c = &client->channels[r->channel];

	if (!c->is_open)
		return;
	vmbus_client_close_fd(&c->open.target.fd);
	c->open.target = r->open.target;
	r->open.target.fd = -1;
}

// CLOSE of the primary closes all.
static void keep_closed(struct vmbus_client *client, uint32_t channel)
{
	vmbus_client_forget_channel(client, channel);
	for (uint32_t i = 1; channel == 0 && i < VMBUS_USER_MAX_CHANNELS; i++)
		vmbus_client_forget_channel(client, i);
}

void vmbus_client_keep(struct vmbus_client *client, struct vmbus_client_request *r)
{
	if (r->is_internal)
		return;
	switch (r->type) {
	case VMBUS_USER_TYPE_REGION_ADD: keep_region(client, r); break;
	case VMBUS_USER_TYPE_REGION_DEL: forget_region(client, r->id); break;
	case VMBUS_USER_TYPE_GPADL: keep_gpadl(client, r); break;
	case VMBUS_USER_TYPE_GPADL_TEARDOWN: forget_gpadl(client, r->channel, r->id); break;
	case VMBUS_USER_TYPE_OPEN: keep_open(client, r); break;
	case VMBUS_USER_TYPE_CLOSE: keep_closed(client, r->channel); break;
	case VMBUS_USER_TYPE_TARGET: keep_target(client, r); break;
	case VMBUS_USER_TYPE_RESET: vmbus_client_forget_guest(client); break;
	case VMBUS_USER_TYPE_PAUSE: client->is_paused = true; break;
	case VMBUS_USER_TYPE_RESUME: client->is_paused = client->is_saved = false; break;
	case VMBUS_USER_TYPE_SAVE: client->is_saved = client->is_paused; break;
	case VMBUS_USER_TYPE_MONITOR:
		client->monitor_on = r->flags & VMBUS_USER_ON;
		client->to_host_gpa = r->gpa;
		client->to_guest_gpa = r->offset;
		break;
	case VMBUS_USER_TYPE_DIRTY_LOG:
		vmbus_client_close_fd(&client->dirty_fd);
		client->dirty_fd = r->fd;
		client->dirty_bytes = r->bytes;
		r->fd = -1;
		break;
	default: break;
	}
}

// --- loading -----------------------------------------------------------------------------------

// The list of requests under way to the queue's front.
struct list {
	struct vmbus_client_request *first, **end;
};

static struct vmbus_client_request *add(struct list *list, enum vmbus_user_type type)
{
	struct vmbus_client_request *r = vmbus_client_request_new(type, 0);

	if (r) {
		r->is_internal = true;
		*list->end = r;
		list->end = &r->next;
	}
	return r;
}

// Descriptors are duplicated: requests own theirs.
static int copy_fd(int from, int *to)
{
	*to = fcntl(from, F_DUPFD_CLOEXEC, 0);
	return *to < 0 ? -errno : 0;
}

// The state memory: that of before if anything in it is still needed, else a new one.
static int load_state(struct vmbus_client *client, struct list *list)
{
	struct vmbus_client_request *r;

	if (!(client->peer.features & VMBUS_USER_STATE))
		return 0;
	r = add(list, VMBUS_USER_TYPE_STATE);
	if (!r)
		return -ENOMEM;
	r->flags = client->has_image ? VMBUS_USER_IMAGE : VMBUS_USER_KEPT;
	if (client->has_image || client->channels[0].is_open)
		return 0;
	r->flags = VMBUS_USER_NEW;
	vmbus_client_close_fd(&client->state_fd);
	client->state_fd = vmbus_client_make_state(NULL, client->state_bytes);
	return client->state_fd < 0 ? client->state_fd : 0;
}

static int load_memory(struct vmbus_client *client, struct list *list)
{
	struct vmbus_client_request *r;

	for (uint32_t i = 0; i < client->n_regions; i++) {
		const struct vmbus_client_region *region = &client->regions[i];

		r = add(list, VMBUS_USER_TYPE_REGION_ADD);
		if (!r)
			return -ENOMEM;
		r->id = region->region;
		r->flags = region->flags;
		r->gpa = region->gpa;
		r->bytes = region->bytes;
		r->offset = region->offset;
		if (copy_fd(region->fd, &r->fd) < 0)
			return -EMFILE;
	}
	for (struct vmbus_client_gpadl *gpadl = client->gpadls; gpadl; gpadl = gpadl->next) {
		r = add(list, VMBUS_USER_TYPE_GPADL);
		if (!r)
			return -ENOMEM;
		r->gpadl = gpadl;
		r->n_parts = (gpadl->n_runs + VMBUS_USER_GPADL_MAX_RUNS - 1) /
			     VMBUS_USER_GPADL_MAX_RUNS;
	}
	return 0;
}

static int load_logs(struct vmbus_client *client, struct list *list)
{
	struct vmbus_client_request *r;

	if (client->monitor_on) {
		r = add(list, VMBUS_USER_TYPE_MONITOR);
		if (!r)
			return -ENOMEM;
		r->flags = VMBUS_USER_ON;
		r->gpa = client->to_host_gpa;
		r->offset = client->to_guest_gpa;
	}
	if (client->dirty_fd >= 0) {
		r = add(list, VMBUS_USER_TYPE_DIRTY_LOG);
		if (!r)
			return -ENOMEM;
		r->flags = VMBUS_USER_ON;
		r->bytes = client->dirty_bytes;
		if (copy_fd(client->dirty_fd, &r->fd) < 0)
			return -EMFILE;
	}
	return 0;
}

static int load_channels(struct vmbus_client *client, struct list *list)
{
	for (uint32_t i = 0; i < VMBUS_USER_MAX_CHANNELS; i++) {
		const struct vmbus_client_channel *c = &client->channels[i];
		struct vmbus_client_request *r;

		if (!c->is_open)
			continue;
		r = add(list, VMBUS_USER_TYPE_OPEN);
		if (!r)
			return -ENOMEM;
		r->serial = c->serial;
		r->open = c->open;
		r->open.target.fd = -1;
		if (copy_fd(c->open.kick_fd, &r->open.kick_fd) < 0 ||
		    (c->open.target.mode != VMBUS_USER_MODE_NONE &&
		     copy_fd(c->open.target.fd, &r->open.target.fd) < 0))
			return -EMFILE;
	}
	return 0;
}

int vmbus_client_load(struct vmbus_client *client)
{
	struct list list = { .end = &list.first };
	int ret = load_state(client, &list);

	if (ret == 0)
		ret = load_memory(client, &list);
	if (ret == 0)
		ret = load_logs(client, &list);
	if (ret == 0)
		ret = load_channels(client, &list);
	if (ret == 0 && client->is_started && !add(&list, VMBUS_USER_TYPE_START))
		ret = -ENOMEM;
	*list.end = client->queue;
	client->queue = list.first;
	return ret;
}
