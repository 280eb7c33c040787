// SPDX-License-Identifier: Apache-2.0
// Where VMMs attach: listens for vmbus-user connections, brings each to its NIC, and serves all of
// them in turn, a request of each. Everything waits behind one descriptor. Nothing here blocks.
// All functions: control. docs/vmbus-user.md
#pragma once

#include "base/err.h"
#include "base/rcu.h"
#include "base/types.h"

struct netvsp_service;

enum netvsp_event {
	NETVSP_ATTACHED,       // a VMM serves a guest on this NIC from now on
	NETVSP_DETACHED,       // no more; the text says why
	NETVSP_CHANNEL_FAILED, // the guest's ring or driver makes no sense
	NETVSP_REFUSED,        // somebody may not attach
};

struct netvsp_service_cfg {
	struct rcu *rcu;   // the workers'; whoever owns it polls it
	const char *path;  // of the socket, or "@name" in the abstract namespace; for the call only
	int listen_fd;     // a socket that listens already (inherited), owned by us then; -1: path
	uint64_t instance; // a random number of this life of the switch, not 0
	// Something happened to a NIC; `text` is a sentence. At most a few a second of those that
	// a VMM can provoke. May be NULL.
	void (*event)(void *arg, const char *nic, enum netvsp_event event, const char *text);
	void *arg;
};

// Starts to listen. Returns 0, or -errno with a sentence. One service a process.
int netvsp_service_create(const struct netvsp_service_cfg *cfg, struct netvsp_service **out,
			  struct err *err);

// Polls readable when netvsp_service_run has something to do.
int netvsp_service_fd(const struct netvsp_service *service);

// Does what is to be done now: bounded, a request of each connection at most.
void netvsp_service_run(struct netvsp_service *service);

// Reads no ring of a guest, or goes on: after a restart, until the guests that frames may be for
// are there again. Frames to guests leave all the time.
void netvsp_service_hold(struct netvsp_service *service, bool hold);

// Before a planned restart: no ring of a guest is read any more, frames to guests still leave.
// Calls done(arg) when all that was read has been delivered. Ports that are closed from then on
// leave their guest's state memory to the successor, and tell VMMs to come back at once.
void netvsp_service_drain(struct netvsp_service *service, void (*done)(void *arg), void *arg);

// True while connections of closed ports are being taken leave of: keep running (and polling the
// RCU domain) before destroy.
bool netvsp_service_busy(const struct netvsp_service *service);

// Hangs up on everybody. No worker runs any more, or no port of the kind is open. NULL is fine.
void netvsp_service_destroy(struct netvsp_service *service);
