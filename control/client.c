// SPDX-License-Identifier: Apache-2.0
// Connections: bytes in, lines to request.c, bytes out, and an end to whoever abuses it.
#include "control/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOW_BACKLOG (256u << 10) // bytes; with more to send, further lines of the client wait

void client_on_close(struct client *c, void (*fn)(void *arg), void *arg)
{
	c->on_close = fn;
	c->on_close_arg = arg;
}

size_t client_backlog(const struct client *c)
{
	return wire_out_pending(&c->out);
}

struct wire_out *server_client_output(struct client *c)
{
	return &c->out;
}

void client_close(struct client *c)
{
	struct server *s = c->server;

	if (!c->dead) {
		c->dead = true;
		LIST_REMOVE(c, link);
		s->n_clients--;
		if (c->fd >= 0) {
			loop_fd_del(s->cfg.loop, c->fd);
			close(c->fd);
			c->fd = -1;
		}
		if (s->deaf) {
			s->deaf = false;
			loop_fd_set(s->cfg.loop, s->listener, EPOLLIN);
		}
		if (c->on_close)
			c->on_close(c->on_close_arg);
	}
	if (c->call || c->advancing)
		return;
	wire_in_fini(&c->in);
	wire_out_fini(&c->out);
	free(c);
}

void client_cut(struct client *c, const char *why)
{
	if (c->dead)
		return;
	server_tell(c->server, "a client is cut off", why);
	c->state = CLIENT_BROKEN;
	wire_out_fini(&c->out);
	if (c->fd >= 0)
		shutdown(c->fd, SHUT_RDWR);
}

// Input is wanted only when the next line could be carried out.
static bool wants_input(const struct client *c)
{
	return !c->call && wire_out_pending(&c->out) < LOW_BACKLOG;
}

static void update_events(struct client *c)
{
	bool in = c->state == CLIENT_OPEN && wants_input(c);
	uint32_t events = (in ? EPOLLIN : 0) | (wire_out_pending(&c->out) ? EPOLLOUT : 0);

	if (c->fd < 0 || events == c->events)
		return;
	c->events = events;
	loop_fd_set(c->server->cfg.loop, c->fd, events);
}

void client_send(struct client *c, const json_t *msg)
{
	if (c->dead || c->state == CLIENT_BROKEN)
		return;
	if (!wire_out_pending(&c->out))
		c->out_since_ns = loop_now_ns();
	if (wire_out_json(&c->out, msg) < 0)
		client_cut(c, "out of memory");
	else if (wire_out_pending(&c->out) > c->server->cfg.max_backlog)
		client_cut(c, "it does not take its answers");
	update_events(c);
}

void client_notify(struct client *c, const char *method, json_t *params)
{
	json_t *msg = json_pack("{ss ss so}", "jsonrpc", "2.0", "method", method, "params", params);

	client_send(c, msg);
	json_decref(msg);
}

// Sends what the socket takes. Returns false when the connection is lost.
static bool flush(struct client *c)
{
	int n;

	if (c->fd < 0)
		return true;
	n = wire_out_write(&c->out, c->fd);
	if (n > 0)
		c->out_since_ns = loop_now_ns();
	return n >= 0 || n == -EAGAIN || n == -EINTR;
}

// The next line, if it may be carried out now.
static char *next_line(struct client *c, size_t *len)
{
	char *line;

	if (c->dead || c->state == CLIENT_BROKEN || (c->fd >= 0 && !wants_input(c)))
		return NULL;
	line = wire_in_line(&c->in, len);
	if (line)
		c->line_since_ns = loop_now_ns(); // of what comes after it
	return line;
}

// Nothing more will come from or go to a client with a socket.
static bool is_finished(const struct client *c)
{
	return c->dead || (c->fd >= 0 && c->state != CLIENT_OPEN && !c->call &&
			   !wire_out_pending(&c->out));
}

void client_advance(struct client *c)
{
	bool connected = true;
	size_t len;
	char *line;

	if (c->advancing)
		return; // the loop below goes on by itself
	c->advancing = true;
	while (connected && (line = next_line(c, &len))) {
		if (len && !call_line(c, line, len))
			c->state = CLIENT_BROKEN;
		connected = flush(c);
	}
	connected = connected && flush(c);
	c->advancing = false;
	if (!connected || is_finished(c))
		client_close(c);
	else
		update_events(c);
}

static void client_read(struct client *c)
{
	bool begins = !wire_in_partial(&c->in);
	int n = wire_in_read(&c->in, c->fd);

	if (begins)
		c->line_since_ns = loop_now_ns();
	if (n == -EMSGSIZE) {
		server_tell(c->server, "a client is cut off", "its line is too long");
		call_error(c, WIRE_INVALID_REQUEST, "the line is too long");
		c->state = CLIENT_BROKEN;
	} else if (n <= 0 && n != -EAGAIN && n != -EINTR) {
		c->state = CLIENT_EOF;
	}
}

static void client_ready(void *arg, uint32_t events)
{
	struct client *c = arg;

	if (events & (EPOLLHUP | EPOLLERR)) {
		client_close(c);
		return;
	}
	if (events & EPOLLIN)
		client_read(c);
	client_advance(c);
}

int server_client_add(struct server *s, int fd, struct client **out)
{
	struct client *c = calloc(1, sizeof(*c));
	int ret = c ? 0 : -ENOMEM;

	if (ret == 0 && fd >= 0)
		ret = loop_fd_add(s->cfg.loop, fd, EPOLLIN, client_ready, c);
	if (ret < 0) {
		if (fd >= 0)
			close(fd);
		free(c);
		return ret;
	}
	c->server = s;
	c->fd = fd;
	c->events = EPOLLIN;
	c->in.max_line = WIRE_MAX_LINE;
	LIST_INSERT_HEAD(&s->clients, c, link);
	s->n_clients++;
	if (out)
		*out = c;
	return 0;
}

void server_feed(struct client *c, const void *bytes, size_t n)
{
	if (c->state != CLIENT_OPEN)
		return;
	if (wire_in_feed(&c->in, bytes, n) < 0)
		c->state = CLIENT_BROKEN;
	client_advance(c);
}
