// SPDX-License-Identifier: Apache-2.0
// What server.c (socket, methods), client.c (connections) and request.c (JSON-RPC) know of each
// other. Nobody else includes this. Control thread.
#pragma once

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/log.h"
#include "control/server.h"
#include "control/wire.h"

#define SERVER_MAX_METHODS 128u

// One method as registered.
struct method {
	const char *name, *help;
	method_fn *fn;
	void *ctx;
};

struct server {
	struct server_cfg cfg; // with the defaults filled in
	struct method methods[SERVER_MAX_METHODS];
	unsigned int n_methods;
	LIST_HEAD(client_list, client) clients;
	unsigned int n_clients;
	int listener; // -1: not listening
	bool deaf;    // out of descriptors: the listener rests until a client goes
	int timer;    // looks for stalled clients; -1: none
	gid_t group;  // of the socket
	struct log_limit limit;
	struct sockaddr_un addr;
};

enum client_state {
	CLIENT_OPEN,
	CLIENT_EOF,    // sends nothing any more; what has arrived is still carried out
	CLIENT_BROKEN, // no further line is carried out; closed once its output is gone
};

struct client {
	LIST_ENTRY(client) link;
	struct server *server;
	int fd; // -1: no socket, or closed
	enum client_state state;
	uint32_t events; // that the loop watches for
	struct wire_in in;
	struct wire_out out;
	struct call *call;      // the line being carried out, or NULL
	bool advancing;         // client_advance is at work further up the stack
	bool dead;              // closed; freed once no call is under way
	uint64_t line_since_ns; // since when part of a line waits
	uint64_t out_since_ns;  // since when the output has not moved
	void (*on_close)(void *arg);
	void *on_close_arg;
};

// One line in the log about what clients provoke, at most ten a second.
void server_tell(struct server *server, const char *what, const char *why);

// Ends a client from anywhere: the loop sees the hang-up and closes it then.
void client_cut(struct client *client, const char *why);

// Closes and forgets the connection; the memory stays while a call is under way.
void client_close(struct client *client);

// Sends one message, or cuts the client off if it does not take its answers.
void client_send(struct client *client, const json_t *msg);

// Carries on with a client: output, further lines, its end when it has come. It may be gone
// afterwards.
void client_advance(struct client *client);

// Carries out one line: sets client->call while answers are still to come. Returns false if it is
// not JSON: nobody knows then where the next one begins.
bool call_line(struct client *client, const char *line, size_t len);

// Answers with an error that belongs to no request.
void call_error(struct client *client, enum wire_error code, const char *text);
