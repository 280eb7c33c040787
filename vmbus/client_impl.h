// SPDX-License-Identifier: Apache-2.0
// What the files of the vmbus-user client share: client.c (run, connection), client_reply.c (what
// the switch says), client_request.c (what the VMM wants), client_build.c (requests as bytes),
// client_kept.c (what is loaded again), client_image.c. Nobody else includes it.
//
// Requests stand in one queue, in order. Those in front have been sent, their answers come in the
// same order. What was answered is *kept*: the state to load into the next life of the switch.
// After a hang-up the queue's requests are as though never sent, and requests of our own (internal)
// that load what is kept are put before them.
#pragma once

#include <unistd.h>

#include "vmbus/client.h"
#include "vmbus/user_socket.h"

enum vmbus_client_phase {
	VMBUS_CLIENT_AWAY,    // no socket
	VMBUS_CLIENT_HELLO,   // asked; perhaps nobody is there yet
	VMBUS_CLIENT_LOADING,
	VMBUS_CLIENT_SERVING, // also paused
};

// A GPADL as runs of the wire.
struct vmbus_client_gpadl {
	struct vmbus_client_gpadl *next;
	uint32_t channel, id;
	uint32_t bytes;
	uint32_t n_runs;
	struct vmbus_user_run runs[];
};

struct vmbus_client_request {
	struct vmbus_client_request *next;
	uint64_t cookie;
	enum vmbus_user_type type;
	bool is_internal;                    // no `done`
	uint32_t n_parts, n_sent, n_replied; // datagrams
	int status;                          // -errno of the first part that failed
	char text[241];
	// Arguments. Descriptors and GPADL are owned, the GPADL of an internal one is borrowed.
	uint32_t id;                       // region
	uint32_t channel;                  // CLOSE, TARGET, GPADL_TEARDOWN
	uint32_t flags;                    // REGION_ADD, MONITOR, DIRTY_LOG; origin of STATE
	uint64_t gpa, bytes, offset;       // REGION_ADD; MONITOR: gpa to host, offset to guest
	int fd;                            // REGION_ADD, DIRTY_LOG; -1: none
	struct vmbus_client_gpadl *gpadl;  // GPADL
	struct vmbus_client_open open;     // OPEN; TARGET: its target
	uint32_t serial;                   // OPEN with resume
};

struct vmbus_client_channel {
	bool is_open;
	uint32_t serial;      // of that opening
	uint32_t last_serial; // of any
	struct vmbus_client_open open;
};

struct vmbus_client {
	struct vmbus_client_cfg cfg;
	char *path;
	char name[VMBUS_USER_MAX_NAME + 1];
	uint8_t token[32];

	// Connection.
	enum vmbus_client_phase phase;
	int epoll_fd, timer_fd, socket;
	bool is_blocked; // the socket is full
	bool is_broken;  // to be hung up by vmbus_client_run
	char why[256];   // the reason
	bool is_final;   // never again
	bool is_known;   // HELLO has been answered once
	bool has_guid;   // so, or by an image
	uint32_t n_tries;       // since the last START
	uint32_t delay_ms;      // until the next try, if not by n_tries; ~0u: by n_tries
	uint64_t connect_at_ns; // CLOCK_MONOTONIC
	struct vmbus_client_peer peer;
	uint32_t state_bytes;

	// Requests.
	struct vmbus_client_request *queue, *finished; // finished: `done` is due
	uint32_t n_outstanding;                        // datagrams without reply
	uint32_t next_serial, reply_serial;
	bool is_asked; // SUBCHANNELS without answer
	uint32_t asked_serial, n_wanted;
	struct vmbus_user_subchannels_reply replies[VMBUS_USER_MAX_REQUESTS]; // socket was full
	uint32_t n_replies;

	// Kept.
	int state_fd; // -1: none yet
	bool has_image;  // the state memory is one, and no START has seen it
	bool is_lost;    // `lost` is due
	bool is_started; // START is ours to repeat
	bool is_paused, is_saved;
	bool monitor_on;
	uint64_t to_host_gpa, to_guest_gpa;
	int dirty_fd;
	uint64_t dirty_bytes;
	struct vmbus_client_gpadl *gpadls;
	uint32_t n_regions;
	struct vmbus_client_region regions[VMBUS_USER_MAX_REGIONS];
	struct vmbus_client_channel channels[VMBUS_USER_MAX_CHANNELS];
};

// --- client.c ----------------------------------------------------------------------------------

// The connection is of no use; vmbus_client_run hangs up. The first reason counts.
void vmbus_client_break(struct vmbus_client *client, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

// Has vmbus_client_fd ring at once.
void vmbus_client_wake(struct vmbus_client *client);

// Sends what may be sent.
void vmbus_client_pump(struct vmbus_client *client);

// --- client_reply.c ----------------------------------------------------------------------------

void vmbus_client_received(struct vmbus_client *client, struct vmbus_user_datagram *datagram);

// --- client_build.c ----------------------------------------------------------------------------

// Part `part` of a request as a datagram (its message, bytes and fds; fds are borrowed).
void vmbus_client_build(struct vmbus_client *client, struct vmbus_client_request *request,
			uint32_t part, struct vmbus_user_datagram *out);
void vmbus_client_build_hello(struct vmbus_client *client, struct vmbus_user_datagram *out);

// --- client_request.c --------------------------------------------------------------------------

struct vmbus_client_request *vmbus_client_request_new(enum vmbus_user_type type, uint64_t cookie);
void vmbus_client_request_free(struct vmbus_client_request *request);

// Moves the request to those whose `done` is due (an internal one is freed).
void vmbus_client_finish(struct vmbus_client *client, struct vmbus_client_request *request,
			 int status);

// Ends what ends something, though no switch has heard of it. For a request that is in the queue
// or about to be.
void vmbus_client_end_here(struct vmbus_client *client, struct vmbus_client_request *request);

// No switch is there any more: the queue as though never sent.
void vmbus_client_requeue(struct vmbus_client *client);

// --- client_kept.c -----------------------------------------------------------------------------

// The request has been answered with 0: it becomes part of what is kept, or takes it away.
void vmbus_client_keep(struct vmbus_client *client, struct vmbus_client_request *request);

// Puts requests that load what is kept in front of the queue. Returns 0 or -errno.
int vmbus_client_load(struct vmbus_client *client);

// Forgets GPADLs, channels and monitor pages.
void vmbus_client_forget_guest(struct vmbus_client *client);
void vmbus_client_forget_channel(struct vmbus_client *client, uint32_t channel);
void vmbus_client_free_kept(struct vmbus_client *client);

// A new state memory of that size, from bytes[size] or zeros. Returns its descriptor or -errno.
int vmbus_client_make_state(const void *bytes, uint64_t size);

static inline void vmbus_client_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
