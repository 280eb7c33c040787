// SPDX-License-Identifier: Apache-2.0
#include "vmbus/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "vmbus/client_impl.h"

#define NS_PER_MS 1000000ull
#define MIN_DELAY_MS 10u
#define MAX_DELAY_MS 1000u
#define BY_TRIES UINT32_MAX // as delay_ms
#define MAX_RECEIVED 128    // messages in one run

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

// --- making ------------------------------------------------------------------------------------

static int watch(struct vmbus_client *client, int op, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events };

	return epoll_ctl(client->epoll_fd, op, fd, &event) < 0 ? -errno : 0;
}

static int open_fds(struct vmbus_client *client)
{
	client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (client->epoll_fd < 0)
		return -errno;
	client->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (client->timer_fd < 0)
		return -errno;
	return watch(client, EPOLL_CTL_ADD, client->timer_fd, EPOLLIN);
}

int vmbus_client_create(const struct vmbus_client_cfg *cfg, struct vmbus_client **out)
{
	size_t name_bytes = strlen(cfg->name);
	struct vmbus_client *client;
	int ret;

	if (name_bytes < 1 || name_bytes > VMBUS_USER_MAX_NAME || !cfg->path[0])
		return -EINVAL;
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->cfg = *cfg;
	client->epoll_fd = client->timer_fd = client->socket = -1;
	client->state_fd = client->dirty_fd = -1;
	client->delay_ms = BY_TRIES;
	memcpy(client->name, cfg->name, name_bytes);
	if (cfg->token)
		memcpy(client->token, cfg->token, sizeof(client->token));
	client->path = strdup(cfg->path);
	ret = client->path ? open_fds(client) : -ENOMEM;
	if (ret < 0) {
		vmbus_client_destroy(client);
		return ret;
	}
	vmbus_client_wake(client);
	*out = client;
	return 0;
}

static void free_list(struct vmbus_client_request *r)
{
	while (r) {
		struct vmbus_client_request *next = r->next;

		vmbus_client_request_free(r);
		r = next;
	}
}

void vmbus_client_destroy(struct vmbus_client *client)
{
	if (!client)
		return;
	free_list(client->queue);
	free_list(client->finished);
	vmbus_client_free_kept(client);
	vmbus_client_close_fd(&client->socket);
	vmbus_client_close_fd(&client->timer_fd);
	vmbus_client_close_fd(&client->epoll_fd);
	explicit_bzero(client->token, sizeof(client->token));
	free(client->path);
	free(client);
}

int vmbus_client_fd(const struct vmbus_client *client) { return client->epoll_fd; }

bool vmbus_client_guid(const struct vmbus_client *client, uint8_t guid[16])
{
	if (client->has_guid)
		memcpy(guid, client->peer.guid, sizeof(client->peer.guid));
	return client->has_guid;
}

// --- when to run -------------------------------------------------------------------------------

// A switch that would come now would have nothing to do, or is not wanted.
static bool wants_connection(const struct vmbus_client *client)
{
	return !client->is_final && !client->is_paused;
}

static void ring_at(struct vmbus_client *client, uint64_t ns)
{
	struct itimerspec at = { .it_value = { (time_t)(ns / 1000000000ull),
					       (long)(ns % 1000000000ull) } };

	timerfd_settime(client->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

void vmbus_client_wake(struct vmbus_client *client) { ring_at(client, 1); }

// When the next run is due, if nothing comes from the switch.
static void arm(struct vmbus_client *client)
{
	if (client->finished || client->is_broken)
		vmbus_client_wake(client);
	else if (client->phase == VMBUS_CLIENT_AWAY && wants_connection(client))
		ring_at(client, client->connect_at_ns ? client->connect_at_ns : 1);
	else
		ring_at(client, 0);
}

static void drain_timer(struct vmbus_client *client)
{
	uint64_t n;

	while (read(client->timer_fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

// Time of the next try: at once, then in 10, 20, … 1000 ms; or as the switch has said.
static void schedule(struct vmbus_client *client)
{
	uint64_t delay_ms = 0;

	if (client->delay_ms != BY_TRIES)
		delay_ms = client->delay_ms;
	else if (client->n_tries > 7)
		delay_ms = MAX_DELAY_MS;
	else if (client->n_tries > 0)
		delay_ms = MIN_DELAY_MS << (client->n_tries - 1);
	client->delay_ms = BY_TRIES;
	client->n_tries++;
	client->connect_at_ns = now_ns() + delay_ms * NS_PER_MS;
}

// --- sending -----------------------------------------------------------------------------------

void vmbus_client_break(struct vmbus_client *client, const char *fmt, ...)
{
	va_list ap;

	if (client->is_broken)
		return;
	client->is_broken = true;
	va_start(ap, fmt);
	vsnprintf(client->why, sizeof(client->why), fmt, ap);
	va_end(ap);
	if (!client->why[0])
		snprintf(client->why, sizeof(client->why),
			 "the switch refuses and gives no reason");
	vmbus_client_wake(client);
}

// False: not now. Descriptors in the datagram are borrowed.
static bool send_datagram(struct vmbus_client *client, const void *message, uint32_t bytes,
			  const int *fds, uint32_t n_fds)
{
	int ret = vmbus_user_send(client->socket, message, bytes, fds, n_fds);

	if (ret == -EAGAIN && !client->is_blocked) {
		client->is_blocked = true;
		watch(client, EPOLL_CTL_MOD, client->socket, EPOLLIN | EPOLLOUT);
	} else if (ret < 0 && ret != -EAGAIN && ret != -EPIPE && ret != -ECONNRESET) {
		vmbus_client_break(client, "cannot send to the switch: %s", strerror(-ret));
	}
	// After EPIPE there may still be answers to read; the end of them breaks the connection.
	return ret == 0;
}

static bool send_replies(struct vmbus_client *client)
{
	uint32_t n = 0;

	while (n < client->n_replies) {
		const struct vmbus_user_subchannels_reply *m = &client->replies[n];
		uint32_t bytes = le32_to_cpu(m->head.status) ? sizeof(m->head) : sizeof(*m);

		if (!send_datagram(client, m, bytes, NULL, 0))
			break;
		n++;
	}
	client->n_replies -= n;
	memmove(client->replies, client->replies + n,
		client->n_replies * sizeof(client->replies[0]));
	return client->n_replies == 0;
}

// All parts of one request. False: the rest must wait.
static bool send_request(struct vmbus_client *client, struct vmbus_client_request *r)
{
	struct vmbus_user_datagram datagram;

	while (r->n_sent < r->n_parts) {
		if (client->n_outstanding == VMBUS_USER_MAX_REQUESTS || client->is_broken)
			return false;
		vmbus_client_build(client, r, r->n_sent, &datagram);
		if (!send_datagram(client, datagram.message, datagram.bytes, datagram.fds,
				   datagram.n_fds))
			return false;
		r->n_sent++;
		client->n_outstanding++;
		client->next_serial++;
	}
	return true;
}

void vmbus_client_pump(struct vmbus_client *client)
{
	struct vmbus_client_request *r = client->queue;

	if (client->phase < VMBUS_CLIENT_LOADING || client->is_broken || !send_replies(client))
		return;
	while (r && send_request(client, r))
		r = r->next;
}

// --- connecting --------------------------------------------------------------------------------

static void connect_switch(struct vmbus_client *client)
{
	struct vmbus_user_datagram hello;
	bool is_first = client->n_tries == 0;
	int fd = vmbus_user_connect(client->path);

	if (fd < 0) {
		schedule(client);
		if (is_first)
			client->cfg.ops->detached(client->cfg.vmm, strerror(-fd), false);
		return;
	}
	client->socket = fd;
	client->is_blocked = false;
	client->phase = VMBUS_CLIENT_HELLO;
	client->next_serial = client->reply_serial = 1;
	if (watch(client, EPOLL_CTL_ADD, fd, EPOLLIN) < 0)
		vmbus_client_break(client, "epoll: %s", strerror(errno));
	vmbus_client_build_hello(client, &hello);
	if (send_datagram(client, hello.message, hello.bytes, NULL, 0)) {
		client->n_outstanding = 1;
		client->next_serial++;
	}
	explicit_bzero(&hello, sizeof(hello.message));
}

static void hang_up(struct vmbus_client *client)
{
	bool is_lost = client->is_lost;
	char why[sizeof(client->why)];

	memcpy(why, client->why, sizeof(why));
	vmbus_client_close_fd(&client->socket);
	client->phase = VMBUS_CLIENT_AWAY;
	client->is_broken = client->is_blocked = client->is_asked = client->is_lost = false;
	client->n_outstanding = client->n_replies = 0;
	vmbus_client_requeue(client);
	if (client->gpadls && !(client->peer.features & VMBUS_USER_STATE)) {
		is_lost = true;
		vmbus_client_forget_guest(client);
	}
	schedule(client);
	if (is_lost)
		client->cfg.ops->lost(client->cfg.vmm, why);
	client->cfg.ops->detached(client->cfg.vmm, why, client->is_final);
}

// --- running -----------------------------------------------------------------------------------

// Those that have ended by now; what the VMM asks for meanwhile may end in the next run.
static void deliver(struct vmbus_client *client)
{
	struct vmbus_client_request *r = client->finished, *next;

	client->finished = NULL;
	for (; r; r = next) {
		next = r->next;
		client->cfg.ops->done(client->cfg.vmm, r->cookie, r->status, r->text);
		vmbus_client_request_free(r);
	}
}

// False: there is nothing more for now.
static bool receive(struct vmbus_client *client)
{
	struct vmbus_user_datagram datagram;
	int ret = vmbus_user_receive(client->socket, &datagram);

	if (ret == -EAGAIN)
		return false;
	if (ret == 0 || ret == -ECONNRESET)
		vmbus_client_break(client, "the switch has hung up");
	else if (ret < 0)
		vmbus_client_break(client, "the switch cannot be read: %s", strerror(-ret));
	else
		vmbus_client_received(client, &datagram);
	return true;
}

void vmbus_client_run(struct vmbus_client *client)
{
	drain_timer(client);
	if (client->phase == VMBUS_CLIENT_AWAY && wants_connection(client) &&
	    now_ns() >= client->connect_at_ns)
		connect_switch(client);
	for (int i = 0; i < MAX_RECEIVED && client->phase != VMBUS_CLIENT_AWAY &&
			!client->is_broken && receive(client);
	     i++)
		if (!client->is_broken) // else `lost` may have to come first
			deliver(client);
	if (client->phase == VMBUS_CLIENT_HELLO && !wants_connection(client))
		vmbus_client_break(client, "paused");
	if (client->is_blocked && !client->is_broken) {
		client->is_blocked = false;
		watch(client, EPOLL_CTL_MOD, client->socket, EPOLLIN);
	}
	vmbus_client_pump(client);
	if (client->is_broken)
		hang_up(client);
	deliver(client);
	arm(client);
}
