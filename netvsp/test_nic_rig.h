// SPDX-License-Identifier: Apache-2.0
// For tests of a whole NIC: one switch, one VMM, one driver.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "netvsp/test_vmm.h"

extern struct vmm vmm;
extern struct driver driver;

// A switch with two queues, a VMM that has not connected; and their end, which fails if a
// descriptor or an mbuf was left.
int nic_setup(void **state);
int nic_teardown(void **state);

void nic_bring_up(void); // a guest whose driver is up
void nic_expect_frames(unsigned int channel, uint32_t mark); // cross both ways, once
void driver_free(void);

#define TEST(name) cmocka_unit_test_setup_teardown(name, nic_setup, nic_teardown)
