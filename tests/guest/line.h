// SPDX-License-Identifier: Apache-2.0
// A connection to the switch's socket over which vmbus-user is spoken by hand, request by request:
// what attacks of a VMM (fake_attacks_vmm.c) are made of. One thread.
#pragma once

#include "base/types.h"
#include "vmbus/user_socket.h"

#define LINE_RAM_BYTES (4u << 20)
#define LINE_FLAGS 0x200u    // GPA of the flag area; the channel's is flag 5
#define LINE_RINGS 0x100000u // where the rings are: 4 pages, 2 each
#define LINE_ROUNDS 2000u    // of waiting for an answer

struct fake_intruder {
	const char *path; // of the switch's socket
	const char *nic;  // to which it may attach
	bool (*pump)(void *ctx); // lets the switch work; NULL: it is another process
	void *ctx;
	uint32_t seed;
};

// One connection, and the answer that came last.
struct line {
	struct fake_intruder *intruder;
	int fd;
	uint32_t serial;
	bool hung_up;
	struct vmbus_user_datagram answer;
	int ram, state; // what was handed over, or -1
	int bell;       // eventfd that the switch rings, or -1
};

enum { LINE_HUNG_UP = -1, LINE_SILENT = -2 }; // what line_ask… return beside an errno

// False: the switch takes no connection.
bool line_open(struct line *line, struct fake_intruder *intruder);
void line_close(struct line *line);

// Lets the switch work, or time pass.
void line_wait(struct line *line);

// Takes what came, if anything. True: something did.
bool line_listen(struct line *line);

// Sends a request with a serial of its own and waits for the reply. Returns its status,
// LINE_HUNG_UP or LINE_SILENT.
int line_ask_fds(struct line *line, void *message, uint32_t bytes, const int *fds, uint32_t n_fds);
int line_ask(struct line *line, void *message, uint32_t bytes);
int line_ask_plain(struct line *line, uint32_t type);

// A memfd, sealed as state memory must be, or not.
int line_memory(size_t bytes, bool sealed);

struct vmbus_user_hello line_hello(const char *nic);

// HELLO, until the connection before this one has been noticed to be gone.
int line_say_hello(struct line *line);

int line_give_state(struct line *line, uint32_t origin, int fd);
int line_add_region(struct line *line, uint32_t region, uint64_t gpa, uint64_t bytes, int fd);
int line_add_gpadl(struct line *line, uint32_t id, uint64_t gpa, uint32_t bytes);
int line_open_channel(struct line *line, uint32_t serial, uint32_t flags);
int line_close_channel(struct line *line);

// All there is to a NIC with an open channel. Returns 0 or the status of what failed.
int line_attach(struct line *line, bool sealed);
