// SPDX-License-Identifier: Apache-2.0
// A switch that does what a test says, for the VMM's end of vmbus-user. It and what is tested run
// in turns in one thread, over a real socket. One at a time.
#pragma once

#include "vmbus/state.h"
#include "vmbus/user_socket.h"

#define TEST_FEATURES                                                                              \
	(VMBUS_USER_DIRECT | VMBUS_USER_MONITOR | VMBUS_USER_STATE | VMBUS_USER_DIRTY |            \
	 VMBUS_USER_SUBCHANNELS)
#define TEST_STATE_BYTES ((uint32_t)sizeof(struct vmbus_state))
#define TEST_OK 0

extern const uint8_t test_guid[16];

struct test_switch {
	char path[64];
	int listener, peer; // -1: none
	uint64_t features;
	struct vmbus_user_datagram got; // received last
	// What is tested: readable when run() has something to do.
	int (*fd)(void);
	void (*run)(void);
};

extern struct test_switch the_switch;

// Listens on a name of its own.
void switch_begin(int (*fd)(void), void (*run)(void));
void switch_end(void);
void switch_listen(void);
void switch_unlisten(void); // nobody is there

// Lets the other end do what it can do now.
void switch_run_other(void);

// Is the other end about to do something within that time?
bool switch_other_is_due(int timeout_ms);

// Waits for a new connection.
void switch_accept(void);
void switch_hang_up(void);

// Receives a message, which must be of this type; or there must be none.
void switch_expect(uint16_t type);
void switch_expect_nothing(void);

// The number at that offset of the message received last.
static inline uint32_t switch_got(uint32_t offset)
{
	return load_u32(the_switch.got.message + offset);
}

void switch_sends(const void *message, uint32_t bytes);

// Answers the message received last, in `bytes` bytes; a failure says "no".
void switch_answer(uint32_t status, uint32_t bytes);

// Receives and answers.
void switch_serve(uint16_t type, uint32_t status);
struct vmbus_user_hello_reply switch_hello_reply(void);
void switch_serve_hello(void);
void switch_serve_state(uint32_t origin);
void switch_serve_save(void);
