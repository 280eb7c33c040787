// SPDX-License-Identifier: Apache-2.0
// Connections of VMMs: sockets, time limits and turns around vmbus/peer.h; which NIC each belongs
// to; and taking leave of guests when ports close or weftd ends.
#include "netvsp/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "netvsp/nic_parts.h"
#include "vmbus/bell.h"
#include "vmbus/mapping.h"
#include "vmbus/user_socket.h"

#define MAX_EVENTS 64
#define MAX_STRANGERS 64             // connections that have not said HELLO yet
#define HELLO_NS 5000000000ull       // that long they may take
#define REOPEN_NS 2000000000ull      // a port that closes may be opened again, with other settings
#define ACCEPT_RETRY_NS 1000000000ull
#define EVENTS_PER_SECOND 10         // that VMMs can provoke
#define NEVER UINT32_MAX             // back_in_ms

// Whatever the epoll descriptor watches has one of these in it.
struct watch {
	void (*ready)(struct netvsp_service *service, struct watch *watch, uint32_t events);
};

struct netvsp_connection {
	struct netvsp_connection *next;
	struct netvsp_service *service;
	struct watch socket, mail; // its own descriptor; its NIC's mailbox
	int fd;
	uint32_t watched; // events of fd in the epoll set
	uint32_t uid;
	pid_t pid;
	struct vmbus_peer *peer;
	struct netvsp_nic *nic; // from HELLO on
	char name[65];          // of it
	uint64_t deadline_ns;   // for HELLO, or for the port to come back; 0: none
	bool leaving;           // the guest is being let go of
	bool left;              // it is; waits for the port to come back
	bool gone;              // to be freed at the end of the turn
	enum vmbus_user_leaving reason; // 0: there is nobody to be told
	char why[96];
};

struct netvsp_service {
	struct netvsp_service_cfg cfg;
	int epoll_fd, listen_fd, timer_fd, watcher_fd;
	struct watch listen, timer, watcher;
	struct netvsp_connection *first;
	unsigned int n_strangers;
	bool accepting; // the listening socket is watched
	uint64_t accept_at_ns; // out of descriptors: when to try again
	bool draining;
	struct log_limit limit;
	struct vmbus_user_datagram datagram; // of the request that is taken
};

// Who waits for the rings to have been left alone.
struct drain {
	struct rcu *rcu;
	void (*done)(void *arg);
	void *arg;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int watch_add(struct netvsp_service *service, int fd, struct watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	return epoll_ctl(service->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void watch_set(struct netvsp_service *service, int fd, struct watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	epoll_ctl(service->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

static void tell(struct netvsp_service *service, const char *nic, enum netvsp_event event,
		 const char *text)
{
	uint32_t kept_back;

	if (service->cfg.event && log_limit_pass(&service->limit, EVENTS_PER_SECOND, &kept_back))
		service->cfg.event(service->cfg.arg, nic, event, text);
}

// --- the end of a connection -------------------------------------------------------------------

// The socket goes; nothing of the guest's is touched any more, or ever was.
static void hang_up(struct netvsp_connection *c)
{
	struct netvsp_service *service = c->service;

	if (c->gone)
		return;
	if (!c->nic && !c->left)
		service->n_strangers--;
	vmbus_peer_destroy(c->peer);
	c->peer = NULL;
	close(c->fd);
	c->gone = true;
}

// Begins to let go of the guest, if there is one; the hang-up follows.
static void leave(struct netvsp_connection *c, enum vmbus_user_leaving reason, const char *why)
{
	if (c->leaving || c->gone)
		return;
	c->leaving = true;
	c->deadline_ns = 0;
	c->reason = reason;
	snprintf(c->why, sizeof(c->why), "%s", why);
	// Nobody is listened to any more; a hang-up would be reported for ever.
	epoll_ctl(c->service->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
	if (!c->nic) {
		hang_up(c);
		return;
	}
	epoll_ctl(c->service->epoll_fd, EPOLL_CTL_DEL, c->nic->mailbox.fd, NULL);
	nic_leave(c->nic);
}

static void say_goodbye(struct netvsp_connection *c)
{
	bool for_good = c->reason == VMBUS_USER_LEAVING_REMOVED ||
			c->reason == VMBUS_USER_LEAVING_FAULT;

	if (c->reason)
		vmbus_peer_leave(c->peer, c->reason, for_good ? NEVER : 0, c->why);
	hang_up(c);
}

static void set_timer(struct netvsp_service *service);

void netvsp_connection_left(struct netvsp_connection *c)
{
	struct netvsp_nic *nic = c->nic;

	snprintf(nic->why_not, sizeof(nic->why_not), "%s", c->why);
	tell(c->service, c->name, NETVSP_DETACHED, c->why);
	c->nic = NULL;
	c->left = true;
	netvsp_nic_release(nic);
	// A port that was closed to be opened again is waited for.
	if (c->reason == VMBUS_USER_LEAVING_REMOVED && !netvsp_nic_exists(c->name)) {
		c->deadline_ns = now_ns() + REOPEN_NS;
		set_timer(c->service); // we come from a grace period, not from netvsp_service_run
	} else if (c->reason == VMBUS_USER_LEAVING_REMOVED) {
		c->reason = VMBUS_USER_LEAVING_RESTART;
		say_goodbye(c);
	} else {
		say_goodbye(c);
	}
}

static void leave_closed(struct netvsp_connection *c)
{
	if (c->service->draining)
		leave(c, VMBUS_USER_LEAVING_RESTART, "the switch restarts");
	else
		leave(c, VMBUS_USER_LEAVING_REMOVED, "the NIC was removed");
}

void netvsp_connection_fault(struct netvsp_connection *c)
{
	leave(c, VMBUS_USER_LEAVING_FAULT, "the guest's memory was truncated");
}

void netvsp_connection_channel_failed(struct netvsp_connection *c, const char *text)
{
	tell(c->service, c->name, NETVSP_CHANNEL_FAILED, text);
}

// --- requests ----------------------------------------------------------------------------------

// What the socket is watched for: requests while one may be taken, room while something waits.
static void update(struct netvsp_connection *c)
{
	uint32_t events = (vmbus_peer_ready(c->peer) ? EPOLLIN : 0) |
			  (vmbus_peer_wants_room(c->peer) ? EPOLLOUT : 0);

	if (events != c->watched)
		watch_set(c->service, c->fd, &c->socket, events);
	c->watched = events;
}

// After whatever the peer did: ret as it returned it.
static void carry_on(struct netvsp_connection *c, int ret)
{
	if (c->gone || c->leaving)
		return;
	if (ret < 0)
		leave(c, 0, ret == -EPROTO ? "the VMM did not keep to the protocol" :
					     "the VMM hung up");
	else if (c->nic && __atomic_load_n(&c->nic->guest.dead, __ATOMIC_ACQUIRE))
		netvsp_connection_fault(c); // it was us who touched the hole
	else
		update(c);
}

void netvsp_connection_request_done(struct netvsp_connection *c, int ret, const struct err *err)
{
	if (!c->leaving && !c->gone)
		carry_on(c, vmbus_peer_done(c->peer, ret, err));
}

static int on_hello(void *arg, const struct vmbus_peer_hello *hello,
		    struct vmbus_peer_welcome *welcome, struct err *err)
{
	struct netvsp_connection *c = arg;
	struct netvsp_nic *nic;
	int ret = netvsp_nic_take(hello, c->uid, &nic, err);

	if (ret < 0) {
		// An unknown name is anybody's text: no event is about it.
		tell(c->service, ret == -ENOENT ? "" : hello->name, NETVSP_REFUSED, err->text);
		return ret;
	}
	ret = watch_add(c->service, nic->mailbox.fd, &c->mail, EPOLLIN);
	if (ret < 0) {
		netvsp_nic_release(nic);
		return err_set(err, -ret, "no memory for another guest");
	}
	memcpy(c->name, hello->name, sizeof(c->name));
	c->nic = nic;
	nic->vmm_pid = c->pid;
	c->service->n_strangers--;
	c->deadline_ns = 0;
	nic_attach(nic, c, c->service->cfg.rcu, c->peer);
	*welcome = (struct vmbus_peer_welcome){
		.ops = &netvsp_nic_ops, .arg = nic, .dead = &nic->guest.dead,
		.instance = c->service->cfg.instance, .max_channels = nic->dev.n_queues,
	};
	memcpy(welcome->guid, nic->guid, sizeof(welcome->guid));
	tell(c->service, c->name, NETVSP_ATTACHED, "a VMM has attached");
	return 0;
}

static int on_send(void *arg, const void *message, uint32_t bytes)
{
	const struct netvsp_connection *c = arg;

	return vmbus_user_send(c->fd, message, bytes, NULL, 0);
}

static void take_request(struct netvsp_connection *c)
{
	struct vmbus_user_datagram *datagram = &c->service->datagram;
	int ret = vmbus_user_receive(c->fd, datagram);

	if (ret == -EAGAIN)
		return;
	if (ret == -EPROTO)
		leave(c, VMBUS_USER_LEAVING_PROTOCOL, "a message or its descriptors were cut");
	else if (ret <= 0)
		leave(c, 0, "the VMM hung up");
	else
		carry_on(c, vmbus_peer_receive(c->peer, datagram));
}

static void on_socket(struct netvsp_service *service, struct watch *watch, uint32_t events)
{
	struct netvsp_connection *c = container_of(watch, struct netvsp_connection, socket);

	if (c->gone || c->leaving)
		return;
	if (events & EPOLLOUT)
		carry_on(c, vmbus_peer_flush(c->peer));
	if (c->gone || c->leaving)
		return;
	if (events & EPOLLIN && vmbus_peer_ready(c->peer))
		take_request(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		leave(c, 0, "the VMM hung up");
}

static void on_mail(struct netvsp_service *service, struct watch *watch, uint32_t events)
{
	struct netvsp_connection *c = container_of(watch, struct netvsp_connection, mail);

	if (c->nic && !c->leaving)
		nic_call(c->nic);
}

// --- new connections ---------------------------------------------------------------------------

static int connection_create(struct netvsp_service *service, int fd)
{
	struct netvsp_connection *c = calloc(1, sizeof(*c));
	const struct vmbus_peer_cfg cfg = { on_hello, on_send, c };
	struct vmbus_user_peer who;
	int ret = -ENOMEM;

	if (!c)
		return ret;
	*c = (struct netvsp_connection){ .service = service, .socket = { on_socket },
					 .mail = { on_mail }, .fd = fd, .watched = EPOLLIN,
					 .deadline_ns = now_ns() + HELLO_NS };
	ret = vmbus_user_peer_get(fd, &who);
	if (ret == 0)
		ret = vmbus_peer_create(&cfg, &c->peer);
	if (ret == 0)
		ret = watch_add(service, fd, &c->socket, EPOLLIN);
	if (ret < 0) {
		vmbus_peer_destroy(c->peer);
		free(c);
		return ret;
	}
	c->uid = who.uid;
	c->pid = who.pid;
	c->next = service->first;
	service->first = c;
	service->n_strangers++;
	return 0;
}

static void accept_more(struct netvsp_service *service, bool accepting)
{
	if (accepting != service->accepting)
		watch_set(service, service->listen_fd, &service->listen, accepting ? EPOLLIN : 0);
	service->accepting = accepting;
}

// Who says nothing must not keep others out: the one that has been silent longest goes.
static void make_room(struct netvsp_service *service)
{
	struct netvsp_connection *oldest = NULL;

	for (struct netvsp_connection *c = service->first; c; c = c->next) // the newest is first
		if (!c->nic && !c->left && !c->gone)
			oldest = c;
	if (oldest && service->n_strangers > MAX_STRANGERS)
		leave(oldest, VMBUS_USER_LEAVING_PROTOCOL, "too many say no HELLO");
}

static void on_listen(struct netvsp_service *service, struct watch *watch, uint32_t events)
{
	int fd = vmbus_user_accept(service->listen_fd);

	if (fd >= 0) {
		if (connection_create(service, fd) < 0)
			close(fd);
		else
			make_room(service);
	} else if (fd != -EAGAIN && fd != -ECONNABORTED) {
		// Out of descriptors or memory: it would be readable for ever.
		service->accept_at_ns = now_ns() + ACCEPT_RETRY_NS;
	}
}

// --- time --------------------------------------------------------------------------------------

static uint64_t sooner(uint64_t a, uint64_t b) { return !a || (b && b < a) ? b : a; }

static void set_timer(struct netvsp_service *service)
{
	struct itimerspec at = {};
	uint64_t due = service->accept_at_ns;

	for (const struct netvsp_connection *c = service->first; c; c = c->next) {
		due = sooner(due, c->deadline_ns);
		if (c->nic)
			due = sooner(due, sooner(c->nic->notice_at, c->nic->announce_at));
	}
	at.it_value = (struct timespec){ (time_t)(due / 1000000000), (long)(due % 1000000000) };
	timerfd_settime(service->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static bool is_due(uint64_t at, uint64_t now) { return at && at <= now; }

static void run_late(struct netvsp_connection *c, uint64_t now)
{
	if (is_due(c->deadline_ns, now)) {
		c->deadline_ns = 0;
		if (c->left)
			say_goodbye(c);
		else
			leave(c, VMBUS_USER_LEAVING_PROTOCOL, "no HELLO came");
		return;
	}
	if (!c->nic || c->leaving)
		return;
	if (is_due(c->nic->notice_at, now))
		nic_notice_look(c->nic);
	if (is_due(c->nic->announce_at, now))
		nic_announce_look(c->nic);
}

static void on_timer(struct netvsp_service *service, struct watch *watch, uint32_t events)
{
	uint64_t now = now_ns(), n;

	if (read(service->timer_fd, &n, sizeof(n)) < 0)
		return;
	if (is_due(service->accept_at_ns, now))
		service->accept_at_ns = 0;
	for (struct netvsp_connection *c = service->first; c; c = c->next)
		if (!c->gone)
			run_late(c, now);
}

// Ports have come or gone.
static void on_watcher(struct netvsp_service *service, struct watch *watch, uint32_t events)
{
	eventfd_t value;

	eventfd_read(service->watcher_fd, &value);
	for (struct netvsp_connection *c = service->first; c; c = c->next) {
		if (c->gone)
			continue;
		if (c->nic && netvsp_nic_is_closed(c->nic)) {
			leave_closed(c);
		} else if (c->left && netvsp_nic_exists(c->name)) {
			c->reason = VMBUS_USER_LEAVING_RESTART;
			say_goodbye(c);
		}
	}
}

// --- the service -------------------------------------------------------------------------------

static void free_gone(struct netvsp_service *service)
{
	struct netvsp_connection **at = &service->first, *c;

	while ((c = *at)) {
		if (c->gone) {
			*at = c->next;
			free(c);
		} else {
			at = &c->next;
		}
	}
}

void netvsp_service_run(struct netvsp_service *service)
{
	struct epoll_event events[MAX_EVENTS];
	int n = epoll_wait(service->epoll_fd, events, MAX_EVENTS, 0);

	for (int i = 0; i < n; i++) {
		struct watch *watch = events[i].data.ptr;

		watch->ready(service, watch, events[i].events);
	}
	free_gone(service);
	accept_more(service, !service->accept_at_ns);
	set_timer(service);
}

int netvsp_service_fd(const struct netvsp_service *service) { return service->epoll_fd; }

static void drained(void *arg)
{
	struct drain *drain = arg;

	drain->done(drain->arg);
	free(drain);
}

// Workers have ended the batch they were in. What they handed to others takes a batch of theirs.
static void read_no_more(void *arg)
{
	struct drain *drain = arg;

	rcu_retire(drain->rcu, drained, drain);
}

void netvsp_service_hold(struct netvsp_service *service, bool hold)
{
	netvsp_nic_hold_all(hold);
}

void netvsp_service_drain(struct netvsp_service *service, void (*done)(void *arg), void *arg)
{
	struct drain *drain = malloc(sizeof(*drain));

	service->draining = true;
	netvsp_nic_drain_all();
	if (!drain) { // then nobody waits
		done(arg);
		return;
	}
	*drain = (struct drain){ service->cfg.rcu, done, arg };
	rcu_retire(service->cfg.rcu, read_no_more, drain);
}

bool netvsp_service_busy(const struct netvsp_service *service)
{
	for (const struct netvsp_connection *c = service->first; c; c = c->next)
		if (c->leaving && !c->gone && !c->left)
			return true;
	return false;
}

static int open_all(struct netvsp_service *service)
{
	int ret;

	service->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	service->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	service->watcher_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (service->epoll_fd < 0 || service->timer_fd < 0 || service->watcher_fd < 0)
		return -errno;
	ret = watch_add(service, service->timer_fd, &service->timer, EPOLLIN);
	if (ret == 0)
		ret = watch_add(service, service->watcher_fd, &service->watcher, EPOLLIN);
	return ret;
}

static void close_all(struct netvsp_service *service)
{
	int fds[] = { service->epoll_fd, service->listen_fd, service->timer_fd,
		      service->watcher_fd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int netvsp_service_create(const struct netvsp_service_cfg *cfg, struct netvsp_service **out,
			  struct err *err)
{
	struct netvsp_service *service = calloc(1, sizeof(*service));
	int ret = service ? open_all(service) : -ENOMEM;

	if (!service)
		return err_set(err, ENOMEM, "no memory for the service of guests");
	service->cfg = *cfg;
	service->cfg.path = NULL;
	service->listen = (struct watch){ on_listen };
	service->timer = (struct watch){ on_timer };
	service->watcher = (struct watch){ on_watcher };
	service->accepting = true;
	service->listen_fd = cfg->listen_fd;
	if (ret == 0)
		ret = vmbus_mapping_install();
	if (vmbus_bell_init() < 0)
		log_warning("no asynchronous I/O: a VMM's full doorbell can hold up other guests");
	if (ret == 0 && service->listen_fd < 0) {
		service->listen_fd = vmbus_user_listen(cfg->path);
		ret = service->listen_fd < 0 ? service->listen_fd : 0;
	}
	if (ret == 0)
		ret = watch_add(service, service->listen_fd, &service->listen, EPOLLIN);
	if (ret < 0) {
		close_all(service);
		free(service);
		return err_set(err, -ret, "cannot serve guests on %s: %s",
			       cfg->path ? cfg->path : "an inherited socket", strerror(-ret));
	}
	netvsp_nic_set_watcher(service->watcher_fd);
	*out = service;
	return 0;
}

void netvsp_service_destroy(struct netvsp_service *service)
{
	if (!service)
		return;
	netvsp_nic_set_watcher(-1);
	for (struct netvsp_connection *c = service->first; c; c = c->next) {
		c->reason = VMBUS_USER_LEAVING_RESTART; // nobody knows what comes after us
		if (c->left && !c->gone)
			say_goodbye(c);
		else if (!c->gone)
			leave(c, VMBUS_USER_LEAVING_RESTART, "the switch ends");
	}
	// No worker is left to be waited for, or it is asleep, or soon between two batches.
	while (netvsp_service_busy(service))
		if (rcu_poll(service->cfg.rcu))
			usleep(100);
	free_gone(service);
	close_all(service);
	free(service);
}
