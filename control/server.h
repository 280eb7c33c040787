// SPDX-License-Identifier: Apache-2.0
// JSON-RPC 2.0 over a Unix stream socket, one JSON text a line. Knows clients and methods, not
// what the methods do. A client's lines are carried out one after the other: the next one is
// read when the answer to the last has been taken. Control thread only.
//
// Limits, each of which ends that client alone: line length, depth and values (wire.h), a line or
// an answer that does not move for stall_ms, output backlog, number of clients.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "control/loop.h"
#include "control/refusal.h"
#include "control/wire.h"

struct server;
struct request; // one call under way
struct client;  // one connection

struct server_cfg {
	struct loop *loop;
	unsigned int max_clients; // 0: 64
	unsigned int stall_ms;    // 0: 30000
	size_t max_backlog;       // bytes of output that may wait, 0: 64 MiB
};

int server_create(const struct server_cfg *cfg, struct server **out, struct err *err);
void server_destroy(struct server *server); // closes all clients, removes the socket; NULL is fine

// Starts to serve at `path`, mode 0660, group `group` (NULL: as is). Root, the daemon's own user
// and members of the socket's group may connect. A socket left by a dead daemon is replaced; one
// that answers is -EADDRINUSE. Returns 0 or -errno with a sentence.
int server_listen(struct server *server, const char *path, const char *group, struct err *err);

// Serves a connection that somebody else accepted, or with fd -1 one without a socket (tests,
// fuzzing): then server_feed is its input, and its output collects in *out if that is given.
// Returns 0 or -errno. The server owns fd, whatever happens.
int server_client_add(struct server *server, int fd, struct client **out);
void server_feed(struct client *client, const void *bytes, size_t n);
struct wire_out *server_client_output(struct client *client);

#define METHOD_PENDING 1

// One method. params: object or array as sent, or NULL; it lives until the request is answered.
// Returns 0 with *result (NULL: null), -errno with *r filled, or METHOD_PENDING if
// request_reply or request_refuse will follow.
typedef int method_fn(void *ctx, struct request *req, const json_t *params, json_t **result,
		      struct refusal *r);

// Adds a method under a name that is not taken yet; `help` is one sentence without full stop.
// Strings live as long as the server. Returns 0 or -ENOMEM.
int server_method_add(struct server *server, const char *name, const char *help, method_fn *fn,
		      void *ctx);
json_t *server_methods(const struct server *server); // {"get": "help…", …}; the caller's

// Ends a pending request; takes over `result`. The client may be gone: that is fine.
void request_reply(struct request *req, json_t *result);
void request_refuse(struct request *req, int error, const struct refusal *r);

// The connection of a request, to be kept for notifications; and a call when it goes away.
struct client *request_client(struct request *req);
void client_on_close(struct client *client, void (*fn)(void *arg), void *arg); // at most one

// Sends a notification; takes over `params`. A client whose backlog is full is cut off (later,
// not inside this call).
void client_notify(struct client *client, const char *method, json_t *params);
size_t client_backlog(const struct client *client); // bytes that it has not taken yet
