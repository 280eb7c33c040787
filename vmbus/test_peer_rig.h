// SPDX-License-Identifier: Apache-2.0
// For tests of a peer: a connection of which the test is the VMM, and a device that records what it
// is asked to do.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vmbus/peer.h"

#define RAM_BYTES (16u << 20)
#define LOW 0x100000u  // where RAM begins
#define ROM 0x8000000u // a region that may not be written
#define HUNG_UP (-1)   // what rig_ask returns then
#define SILENT (-2)    // … if nothing was answered

struct rig {
	struct vmbus_peer *peer;
	char calls[256];   // of the device, a word each
	bool later;        // the device finishes later
	int fails;         // the device refuses, errno
	bool full;         // the socket has no room
	uint64_t features; // that the VMM offers
	uint32_t serial;   // of the last request
	uint32_t n_sent;   // messages the peer has sent
	uint32_t sent_bytes;
	uint8_t sent[4096]; // the last of them
	bool dead;
	bool hung_up;
	int guest_fd;
	struct vmbus_bell bell;
	struct vmbus_ring in, out;
	struct vmbus_dirty dirty;
	struct vmbus_monitor_page *page;
	const struct guest_memory *memory;
	uint32_t n_granted; // by the VMM; ~0: not answered
	uint32_t restored;  // grants that the state memory tells of
	int ram, state, bells[2];
	int n_fds; // open before the connection
};

extern struct rig rig;

#define RINGS 0x1001u  // GPADL of channel 0's rings: pages 16 … 23
#define BUFFER 0x2002u // another one

enum stage { NEW, LOADING, SERVING, PAUSED };

struct gpadl_message {
	struct vmbus_user_gpadl head;
	struct vmbus_user_run runs[VMBUS_USER_GPADL_MAX_RUNS];
};

// A new connection, and its end: fails if a descriptor was left open. rig_restart: both.
int rig_setup(void **state);
int rig_teardown(void **state);
void rig_restart(void);

// Feeds one datagram with copies of fds[n]. True: the connection lives.
bool rig_feed(const void *message, uint32_t bytes, const int *fds, uint32_t n);

// Sends a request, whose header is filled here. Returns the status of its reply, HUNG_UP, SILENT.
int rig_ask(enum vmbus_user_type type, void *message, uint32_t bytes, const int *fds, uint32_t n);
int rig_ask_plain(enum vmbus_user_type type);
int rig_ask_gpadl(struct gpadl_message *m);
int rig_last_status(void);

// The same with a struct; ASK_FDS: with the descriptors behind it, one or more.
#define ASK(type, message)                                                                         \
	rig_ask(VMBUS_USER_TYPE_##type, &(message), sizeof(message), NULL, 0)
#define ASK_FDS(type, message, ...)                                                                \
	rig_ask(VMBUS_USER_TYPE_##type, &(message), sizeof(message), (const int[]){ __VA_ARGS__ }, \
		(uint32_t)(sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int)))

// Sends a right message of that type, for a thing that is there (or not yet).
int rig_ask_right(enum vmbus_user_type type);

// Brings a new connection there, with memory and GPADLs, but without any channel.
void rig_bring_to(enum stage stage);
void rig_hello(void);
void rig_load(void);
void rig_open_channel_0(void);

// Messages that are right. A GPADL: one run of n pages from LOW + page × 4096 on.
struct vmbus_user_hello a_hello(void);
struct vmbus_user_state a_state(enum vmbus_user_origin origin);
struct vmbus_user_region_add a_region(uint32_t number, uint64_t gpa, uint64_t bytes);
struct gpadl_message a_gpadl(uint32_t id, uint32_t channel, uint32_t page, uint32_t n);
struct vmbus_user_open an_open(uint32_t channel, uint32_t gpadl);
struct vmbus_user_set_target a_target(uint32_t channel);

int rig_memfd(uint64_t bytes, int seals);
int rig_count_fds(void); // that are open

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
