// SPDX-License-Identifier: Apache-2.0
// A VM on paper for tests of the VMBus server: a guest that posts messages, a device, and a log in
// words of what both are told.
//
// The log has one line an event: "offer RELID.CHANNEL", "created RELID GPADL ok", "dev open 0", …
// Names of a device in lines are its letter, for the first one 'dev'.
#pragma once

#include <stdio.h>

#include "vmbus/channel.h"

#define TEST_DEVICES 4
#define TEST_LOG_BYTES 65536

struct test_vm;

struct test_device {
	struct test_vm *vm;
	struct vmbus_device *device; // NULL: gone
	char name[8];
	bool holds;  // does not answer by itself
	bool refuses; // answers with a failure
};

struct test_vm {
	struct guest_memory memory;
	struct vmbus_server *server;
	struct test_device devices[TEST_DEVICES]; // 0: "dev"
	uint32_t version;
	bool slot_busy;    // the guest takes no messages
	int send_error;    // what `send` fails with
	bool refuses_contact;
	uint32_t vp, sint; // of the last message
	uint32_t last_bytes;
	uint8_t last[VMBUS_MAX_MESSAGE]; // last message sent
	char log[TEST_LOG_BYTES];
	size_t log_used;
	uint32_t max_version;
	uint32_t n_pages_posted;
};

// A server with 64 MiB of memory that is never touched, 4 VPs, and device 0.
void test_vm_init(struct test_vm *vm);
void test_vm_fini(struct test_vm *vm);

// Makes another server for the same memory and devices (all of them), as a restore wants it.
void test_vm_replace(struct test_vm *vm);

// Adds device i (1 …): its instance GUID grows with i.
int test_vm_add(struct test_vm *vm, uint32_t i);

// Has happened since the last look: lines in `text`, separated by "; ".
void test_vm_expect(struct test_vm *vm, const char *text);
void test_vm_forget(struct test_vm *vm);

// --- what the guest posts ----------------------------------------------------------------------

int guest_post(struct test_vm *vm, const void *message, uint32_t bytes);
void guest_contact(struct test_vm *vm, uint32_t version);
void guest_plain(struct test_vm *vm, uint32_t type);                 // REQUEST_OFFERS, UNLOAD
void guest_relid(struct test_vm *vm, uint32_t type, uint32_t relid); // CLOSE, RELID_RELEASED
void guest_open(struct test_vm *vm, uint32_t relid, uint32_t gpadl, uint32_t page);
void guest_modify(struct test_vm *vm, uint32_t relid, uint32_t vp);
void guest_teardown(struct test_vm *vm, uint32_t relid, uint32_t gpadl);

// n_pages in a row from some page on; in one message if they are up to 26. The rest is posted by
// guest_gpadl_rest.
void guest_gpadl_header(struct test_vm *vm, uint32_t relid, uint32_t gpadl, uint32_t n_pages);
void guest_gpadl_rest(struct test_vm *vm, uint32_t gpadl, uint32_t n_pages);
void guest_gpadl(struct test_vm *vm, uint32_t relid, uint32_t gpadl, uint32_t n_pages);

// Contact with `version` and offers; the log is forgotten. Device 0's primary gets relid 1.
void guest_begin(struct test_vm *vm, uint32_t version);
