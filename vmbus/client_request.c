// SPDX-License-Identifier: Apache-2.0
// What the VMM asks for, and what becomes of it while no switch is there.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "vmbus/client_impl.h"

struct vmbus_client_request *vmbus_client_request_new(enum vmbus_user_type type, uint64_t cookie)
{
	struct vmbus_client_request *r = calloc(1, sizeof(*r));

	if (r) {
		r->type = type;
		r->cookie = cookie;
		r->n_parts = 1;
		r->fd = r->open.kick_fd = r->open.target.fd = -1;
	}
	return r;
}

void vmbus_client_request_free(struct vmbus_client_request *r)
{
	vmbus_client_close_fd(&r->fd);
	vmbus_client_close_fd(&r->open.kick_fd);
	vmbus_client_close_fd(&r->open.target.fd);
	if (!r->is_internal)
		free(r->gpadl);
	free(r);
}

static void append(struct vmbus_client_request **list, struct vmbus_client_request *r)
{
	while (*list)
		list = &(*list)->next;
	r->next = NULL;
	*list = r;
}

void vmbus_client_finish(struct vmbus_client *client, struct vmbus_client_request *r, int status)
{
	if (r->is_internal) {
		vmbus_client_request_free(r);
		return;
	}
	r->status = status;
	append(&client->finished, r);
	vmbus_client_wake(client);
}

// --- without a switch --------------------------------------------------------------------------

// Does it end something, so that a switch that is gone has done it?
static bool is_ending(const struct vmbus_client_request *r)
{
	return r->type == VMBUS_USER_TYPE_CLOSE || r->type == VMBUS_USER_TYPE_GPADL_TEARDOWN ||
	       r->type == VMBUS_USER_TYPE_REGION_DEL || r->type == VMBUS_USER_TYPE_RESET;
}

// Is `r`, which waits, made void by `end`?
static bool is_void(const struct vmbus_client_request *r, const struct vmbus_client_request *end)
{
	uint32_t channel = r->type == VMBUS_USER_TYPE_OPEN ? r->open.channel : r->channel;
	bool is_channels = r->type == VMBUS_USER_TYPE_OPEN || r->type == VMBUS_USER_TYPE_TARGET;

	switch (end->type) {
	case VMBUS_USER_TYPE_CLOSE:
		return is_channels && (channel == end->channel || end->channel == 0);
	case VMBUS_USER_TYPE_GPADL_TEARDOWN:
		return r->type == VMBUS_USER_TYPE_GPADL && r->gpadl->channel == end->channel &&
		       r->gpadl->id == end->id;
	case VMBUS_USER_TYPE_REGION_DEL:
		return r->type == VMBUS_USER_TYPE_REGION_ADD && r->id == end->id;
	default: // RESET
		return is_channels || r->type == VMBUS_USER_TYPE_GPADL ||
		       r->type == VMBUS_USER_TYPE_MONITOR;
	}
}

void vmbus_client_end_here(struct vmbus_client *client, struct vmbus_client_request *end)
{
	struct vmbus_client_request **at = &client->queue;

	while (*at) {
		struct vmbus_client_request *r = *at;

		if (!is_void(r, end)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		vmbus_client_finish(client, r, -ECANCELED);
	}
	vmbus_client_keep(client, end);
	vmbus_client_finish(client, end, 0);
}

// Is it a target of a channel that only waits to be loaded? Nobody rings the old place, and OPEN
// will name the new one, which is rung then.
static bool is_target_of_open(const struct vmbus_client *client,
			      const struct vmbus_client_request *r)
{
	if (r->type != VMBUS_USER_TYPE_TARGET || !client->channels[r->channel].is_open)
		return false;
	for (const struct vmbus_client_request *q = client->queue; q; q = q->next)
		if ((q->type == VMBUS_USER_TYPE_OPEN && q->open.channel == r->channel) ||
		    (q->type == VMBUS_USER_TYPE_TARGET && q->channel == r->channel))
			return false;
	return true;
}

// One request of the queue after a hang-up; those before it have been looked at.
static void requeue_one(struct vmbus_client *client, struct vmbus_client_request *r)
{
	r->n_sent = r->n_replied = 0;
	r->status = 0;
	if (r->is_internal) {
		vmbus_client_request_free(r);
	} else if (is_ending(r)) {
		vmbus_client_end_here(client, r);
	} else if (r->type == VMBUS_USER_TYPE_SAVE) {
		vmbus_client_finish(client, r, -EAGAIN);
	} else if ((r->type == VMBUS_USER_TYPE_PAUSE && client->is_started) ||
		   is_target_of_open(client, r)) {
		// A paused guest is touched by nobody now, and by nobody before RESUME.
		vmbus_client_keep(client, r);
		vmbus_client_finish(client, r, 0);
	} else {
		if (r->type == VMBUS_USER_TYPE_RESUME)
			vmbus_client_keep(client, r);
		append(&client->queue, r);
	}
}

void vmbus_client_requeue(struct vmbus_client *client)
{
	struct vmbus_client_request *r = client->queue, *next;

	client->queue = NULL;
	client->is_saved = false;
	for (; r; r = next) {
		next = r->next;
		// A GPADL that failed part way was cut short.
		if (r->type == VMBUS_USER_TYPE_GPADL && !r->is_internal)
			r->n_parts = (r->gpadl->n_runs + VMBUS_USER_GPADL_MAX_RUNS - 1) /
				     VMBUS_USER_GPADL_MAX_RUNS;
		requeue_one(client, r);
	}
}

// --- asking ------------------------------------------------------------------------------------

static int ask(struct vmbus_client *client, struct vmbus_client_request *r)
{
	bool is_away = client->phase < VMBUS_CLIENT_LOADING;

	if (is_away && is_ending(r)) {
		vmbus_client_end_here(client, r);
	} else if (is_away && ((client->is_started && (r->type == VMBUS_USER_TYPE_PAUSE ||
						       r->type == VMBUS_USER_TYPE_SAVE)) ||
			       is_target_of_open(client, r))) {
		requeue_one(client, r);
	} else {
		if (is_away && r->type == VMBUS_USER_TYPE_RESUME)
			vmbus_client_keep(client, r);
		append(&client->queue, r);
		vmbus_client_pump(client);
	}
	vmbus_client_wake(client);
	return 0;
}

// Without arguments.
static int ask_plain(struct vmbus_client *client, enum vmbus_user_type type, uint64_t cookie)
{
	struct vmbus_client_request *r = vmbus_client_request_new(type, cookie);

	return r ? ask(client, r) : -ENOMEM;
}

static int copy_fd(int from, int *to)
{
	*to = fcntl(from, F_DUPFD_CLOEXEC, 0);
	return *to < 0 ? -errno : 0;
}

int vmbus_client_region_add(struct vmbus_client *client, const struct vmbus_client_region *region,
			    uint64_t cookie)
{
	struct vmbus_client_request *r;
	int ret;

	if (region->gpa % VMBUS_USER_PAGE_BYTES || region->bytes % VMBUS_USER_PAGE_BYTES ||
	    !region->bytes)
		return -EINVAL;
	r = vmbus_client_request_new(VMBUS_USER_TYPE_REGION_ADD, cookie);
	if (!r)
		return -ENOMEM;
	r->id = region->region;
	r->flags = region->flags;
	r->gpa = region->gpa;
	r->bytes = region->bytes;
	r->offset = region->offset;
	ret = copy_fd(region->fd, &r->fd);
	if (ret < 0) {
		vmbus_client_request_free(r);
		return ret;
	}
	return ask(client, r);
}

int vmbus_client_region_del(struct vmbus_client *client, uint32_t region, uint64_t cookie)
{
	struct vmbus_client_request *r =
		vmbus_client_request_new(VMBUS_USER_TYPE_REGION_DEL, cookie);

	if (!r)
		return -ENOMEM;
	r->id = region;
	return ask(client, r);
}

int vmbus_client_gpadl_add(struct vmbus_client *client, uint32_t channel, uint32_t gpadl,
			   const struct vmbus_runs *runs, uint64_t cookie)
{
	struct vmbus_client_request *r;

	if (channel >= VMBUS_USER_MAX_CHANNELS || runs->n < 1 || runs->n > VMBUS_USER_MAX_RUNS ||
	    runs->bytes > VMBUS_USER_MAX_GPADL_BYTES)
		return -EINVAL;
	r = vmbus_client_request_new(VMBUS_USER_TYPE_GPADL, cookie);
	if (!r)
		return -ENOMEM;
	r->gpadl = malloc(sizeof(*r->gpadl) + runs->n * sizeof(r->gpadl->runs[0]));
	if (!r->gpadl) {
		vmbus_client_request_free(r);
		return -ENOMEM;
	}
	*r->gpadl = (struct vmbus_client_gpadl){
		.channel = channel, .id = gpadl, .bytes = runs->bytes, .n_runs = runs->n
	};
	for (uint32_t i = 0; i < runs->n; i++)
		r->gpadl->runs[i] = (struct vmbus_user_run){
			.gpa = cpu_to_le64(runs->runs[i].gpa),
			.bytes = cpu_to_le32(runs->runs[i].bytes),
		};
	r->n_parts = (runs->n + VMBUS_USER_GPADL_MAX_RUNS - 1) / VMBUS_USER_GPADL_MAX_RUNS;
	return ask(client, r);
}

int vmbus_client_gpadl_teardown(struct vmbus_client *client, uint32_t channel, uint32_t gpadl,
				uint64_t cookie)
{
	struct vmbus_client_request *r =
		vmbus_client_request_new(VMBUS_USER_TYPE_GPADL_TEARDOWN, cookie);

	if (!r)
		return -ENOMEM;
	r->channel = channel;
	r->id = gpadl;
	return ask(client, r);
}

static int copy_target(const struct vmbus_client_target *from, struct vmbus_client_target *to)
{
	*to = *from;
	to->fd = -1;
	return from->mode == VMBUS_USER_MODE_NONE ? 0 : copy_fd(from->fd, &to->fd);
}

static bool is_target_fine(const struct vmbus_client_target *target)
{
	return target->mode <= VMBUS_USER_MODE_DIRECT;
}

int vmbus_client_open(struct vmbus_client *client, const struct vmbus_client_open *open,
		      uint64_t cookie)
{
	struct vmbus_client_request *r;
	int ret;

	if (open->channel >= VMBUS_USER_MAX_CHANNELS || !is_target_fine(&open->target) ||
	    (open->resume && !client->has_image))
		return -EINVAL;
	r = vmbus_client_request_new(VMBUS_USER_TYPE_OPEN, cookie);
	if (!r)
		return -ENOMEM;
	r->open = *open;
	r->open.kick_fd = -1;
	r->serial = client->channels[open->channel].serial;
	ret = copy_target(&open->target, &r->open.target);
	if (ret == 0)
		ret = copy_fd(open->kick_fd, &r->open.kick_fd);
	if (ret < 0) {
		vmbus_client_request_free(r);
		return ret;
	}
	return ask(client, r);
}

int vmbus_client_close(struct vmbus_client *client, uint32_t channel, uint64_t cookie)
{
	struct vmbus_client_request *r;

	if (channel >= VMBUS_USER_MAX_CHANNELS)
		return -EINVAL;
	r = vmbus_client_request_new(VMBUS_USER_TYPE_CLOSE, cookie);
	if (!r)
		return -ENOMEM;
	r->channel = channel;
	return ask(client, r);
}

int vmbus_client_set_target(struct vmbus_client *client, uint32_t channel,
			    const struct vmbus_client_target *target, uint64_t cookie)
{
	struct vmbus_client_request *r;
	int ret;

	if (channel >= VMBUS_USER_MAX_CHANNELS || !is_target_fine(target))
		return -EINVAL;
	r = vmbus_client_request_new(VMBUS_USER_TYPE_TARGET, cookie);
	if (!r)
		return -ENOMEM;
	r->channel = channel;
	ret = copy_target(target, &r->open.target);
	if (ret < 0) {
		vmbus_client_request_free(r);
		return ret;
	}
	return ask(client, r);
}

int vmbus_client_set_monitor(struct vmbus_client *client, uint64_t to_host_gpa,
			     uint64_t to_guest_gpa, uint64_t cookie)
{
	struct vmbus_client_request *r =
		vmbus_client_request_new(VMBUS_USER_TYPE_MONITOR, cookie);

	if (!r)
		return -ENOMEM;
	r->flags = to_host_gpa ? VMBUS_USER_ON : 0;
	r->gpa = to_host_gpa;
	r->offset = to_host_gpa ? to_guest_gpa : 0;
	return ask(client, r);
}

int vmbus_client_dirty_log(struct vmbus_client *client, int fd, uint64_t bytes, uint64_t cookie)
{
	struct vmbus_client_request *r;
	int ret;

	if (fd >= 0 && (bytes % 8 || !bytes))
		return -EINVAL;
	r = vmbus_client_request_new(VMBUS_USER_TYPE_DIRTY_LOG, cookie);
	if (!r)
		return -ENOMEM;
	if (fd >= 0) {
		r->flags = VMBUS_USER_ON;
		r->bytes = bytes;
		ret = copy_fd(fd, &r->fd);
		if (ret < 0) {
			vmbus_client_request_free(r);
			return ret;
		}
	}
	return ask(client, r);
}

int vmbus_client_start(struct vmbus_client *client, uint64_t cookie)
{
	return ask_plain(client, VMBUS_USER_TYPE_START, cookie);
}

int vmbus_client_pause(struct vmbus_client *client, uint64_t cookie)
{
	return ask_plain(client, VMBUS_USER_TYPE_PAUSE, cookie);
}

int vmbus_client_resume(struct vmbus_client *client, uint64_t cookie)
{
	return ask_plain(client, VMBUS_USER_TYPE_RESUME, cookie);
}

int vmbus_client_save(struct vmbus_client *client, uint64_t cookie)
{
	return ask_plain(client, VMBUS_USER_TYPE_SAVE, cookie);
}

int vmbus_client_reset(struct vmbus_client *client, uint64_t cookie)
{
	return ask_plain(client, VMBUS_USER_TYPE_RESET, cookie);
}
