// SPDX-License-Identifier: Apache-2.0
// The listening socket, who may connect, and the table of methods.
#include "control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/client.h"

#define MAX_CLIENTS 64u
#define STALL_MS 30000u
#define MAX_BACKLOG (64u << 20) // bytes
#define MAX_GROUPS 256          // of a peer that are looked at

void server_tell(struct server *s, const char *what, const char *why)
{
	uint32_t kept_back;

	if (!log_limit_pass(&s->limit, 10, &kept_back))
		return;
	if (kept_back)
		log_warning("control socket: %s: %s (and %u more)", what, why, kept_back);
	else
		log_warning("control socket: %s: %s", what, why);
}

int server_create(const struct server_cfg *cfg, struct server **out, struct err *err)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	s->cfg = *cfg;
	s->cfg.max_clients = cfg->max_clients ? cfg->max_clients : MAX_CLIENTS;
	s->cfg.stall_ms = cfg->stall_ms ? cfg->stall_ms : STALL_MS;
	s->cfg.max_backlog = cfg->max_backlog ? cfg->max_backlog : MAX_BACKLOG;
	s->listener = s->timer = -1;
	LIST_INIT(&s->clients);
	*out = s;
	return 0;
}

void server_destroy(struct server *s)
{
	struct client *c, *next;

	if (!s)
		return;
	s->deaf = false;
	for (c = LIST_FIRST(&s->clients); c; c = next) {
		next = LIST_NEXT(c, link);
		client_close(c);
	}
	loop_timer_del(s->cfg.loop, s->timer);
	if (s->listener >= 0) {
		loop_fd_del(s->cfg.loop, s->listener);
		close(s->listener);
		unlink(s->addr.sun_path);
	}
	free(s);
}

int server_method_add(struct server *s, const char *name, const char *help, method_fn *fn,
		      void *ctx)
{
	if (s->n_methods == SERVER_MAX_METHODS)
		return -ENOMEM;
	s->methods[s->n_methods++] = (struct method){ name, help, fn, ctx };
	return 0;
}

json_t *server_methods(const struct server *s)
{
	json_t *out = json_object();

	for (unsigned int i = 0; i < s->n_methods; i++)
		json_object_set_new(out, s->methods[i].name, json_string(s->methods[i].help));
	return out;
}

static bool in_group(int fd, gid_t group)
{
	gid_t groups[MAX_GROUPS];
	socklen_t size = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

// Root, our own user, and members of the socket's group.
static bool may_connect(const struct server *s, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid() || peer.gid == s->group ||
	       in_group(fd, s->group);
}

// Tells somebody who cannot be served why. One short line always fits a fresh socket.
static void turn_away(struct server *s, int fd, const char *why)
{
	char line[256];
	int n = snprintf(line, sizeof(line),
			 "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":%d,\"message\":\"%s\"}}\n",
			 WIRE_REFUSED, why);

	server_tell(s, "a client is turned away", why);
	(void)!send(fd, line, (size_t)n, MSG_NOSIGNAL);
	close(fd);
}

static void listener_ready(void *arg, uint32_t events)
{
	struct server *s = arg;
	int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE) {
			server_tell(s, "nobody can connect", strerror(errno));
			s->deaf = true;
			loop_fd_set(s->cfg.loop, s->listener, 0);
		}
		return;
	}
	if (!may_connect(s, fd))
		turn_away(s, fd, "permission denied: not root, not in the socket's group");
	else if (s->n_clients >= s->cfg.max_clients)
		turn_away(s, fd, "too many clients");
	else if (server_client_add(s, fd, NULL) < 0)
		server_tell(s, "a client is turned away", "out of memory");
}

// Cuts off who sends half a line or does not read, and listens again after a lack of descriptors.
static void check_stalled(void *arg)
{
	struct server *s = arg;
	uint64_t now = loop_now_ns(), limit = s->cfg.stall_ms * 1000000ull;
	struct client *c;

	for (c = LIST_FIRST(&s->clients); c; c = LIST_NEXT(c, link)) {
		if (wire_out_pending(&c->out) && now - c->out_since_ns > limit)
			client_cut(c, "it does not take its answers");
		else if (!c->call && !wire_out_pending(&c->out) && wire_in_partial(&c->in) &&
			 now - c->line_since_ns > limit)
			client_cut(c, "its line does not end");
	}
	if (s->deaf) {
		s->deaf = false;
		loop_fd_set(s->cfg.loop, s->listener, EPOLLIN);
	}
}

// Whether somebody serves at the address already.
static bool is_served(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	// A full backlog (EAGAIN) is a sign of life too.
	bool served = fd >= 0 && (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
				  errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return served;
}

static int find_group(const char *name, gid_t *out, struct err *err)
{
	struct group *group;

	*out = getegid();
	if (!name)
		return 0;
	group = getgrnam(name);
	if (!group)
		return err_set(err, ENOENT, "there is no group '%s'; make it: groupadd --system %s",
			       name, name);
	*out = group->gr_gid;
	return 0;
}

static bool is_socket(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

// Owner and mode are set before listen(): until then connect() is refused.
static int bind_socket(struct server *s, struct err *err)
{
	const char *path = s->addr.sun_path;

	if (is_served(&s->addr))
		return err_set(err, EADDRINUSE, "another daemon serves at '%s'", path);
	if (is_socket(path))
		unlink(path);
	if (bind(s->listener, (struct sockaddr *)&s->addr, sizeof(s->addr)) < 0)
		return err_set(err, errno, "cannot make the socket '%s': %s", path,
			       strerror(errno));
	if (chown(path, (uid_t)-1, s->group) < 0 || chmod(path, 0660) < 0 ||
	    listen(s->listener, 64) < 0) {
		err_set(err, errno, "cannot open the socket '%s': %s", path, strerror(errno));
		unlink(path);
		return -EIO;
	}
	return 0;
}

int server_listen(struct server *s, const char *path, const char *group, struct err *err)
{
	uint64_t tick_ns = s->cfg.stall_ms * 1000000ull / 4;
	int ret = find_group(group, &s->group, err);

	if (ret < 0)
		return ret;
	if (strlen(path) >= sizeof(s->addr.sun_path))
		return err_set(err, ENAMETOOLONG, "the socket's path is over %zu bytes: '%s'",
			       sizeof(s->addr.sun_path) - 1, path);
	s->addr.sun_family = AF_UNIX;
	strcpy(s->addr.sun_path, path);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->listener < 0)
		return err_set(err, errno, "socket: %s", strerror(errno));
	ret = bind_socket(s, err);
	if (ret < 0)
		goto err_close;
	ret = loop_fd_add(s->cfg.loop, s->listener, EPOLLIN, listener_ready, s);
	if (ret < 0)
		goto err_unlink;
	s->timer = loop_timer_add(s->cfg.loop, tick_ns, tick_ns, check_stalled, s);
	return 0;

err_unlink:
	unlink(path);
err_close:
	close(s->listener);
	s->listener = -1;
	return ret;
}
