// SPDX-License-Identifier: Apache-2.0
// A VMM on paper with one client of vmbus-user, and the switch of test_switch.h before it. What the
// client tells is kept in words, events separated by "; ".
#pragma once

#include "vmbus/client.h"
#include "vmbus/test_switch.h"

extern struct vmbus_client *the_client;
extern const struct vmbus_client_ops vmm_client_ops;
extern const uint8_t vmm_token[32];
extern char vmm_events[8192];
extern uint32_t vmm_grants; // sub-channels granted at once; ~0u: the test answers
extern int vmm_bell;        // a descriptor for all uses

// For cmocka: a switch that listens, and a client that has not run.
int test_vmm_begin(void **state);
int test_vmm_end(void **state);
void vmm_make_client(void);

// These events have happened since the last look.
void vmm_expect_events(const char *text);

void vmm_want_region(uint32_t id, uint64_t cookie);
void vmm_want_gpadl(uint32_t channel, uint32_t id, uint32_t n_runs, uint64_t cookie);
struct vmbus_client_open vmm_opening(uint32_t channel);
void vmm_want_open(uint32_t channel, uint64_t cookie);

// Attached with region 1; and with channel 0 open; and again after a hang-up.
void vmm_attach(void);
void vmm_attach_open(void);
void vmm_reattach_open(void);
