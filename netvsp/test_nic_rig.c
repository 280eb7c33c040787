// SPDX-License-Identifier: Apache-2.0
#include "netvsp/test_nic_rig.h"

#include <fcntl.h>
#include <stdlib.h>

#include "vmbus/bell.h"

struct vmm vmm;
struct driver driver;

void driver_free(void)
{
	for (int i = 0; i < 4; i++)
		free((void *)(uintptr_t)driver.rig[i].rings.runs);
	free((void *)(uintptr_t)driver.rig[0].receive.runs);
	free((void *)(uintptr_t)driver.rig[0].send.runs);
	driver = (struct driver){};
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int fds_before;

int nic_setup(void **state)
{
	vmbus_bell_init(); // what it opens stays open
	fds_before = count_fds();
	sw_create(2);
	vmm_create(&vmm, true);
	return 0;
}

int nic_teardown(void **state)
{
	sw_destroy();
	vmm_destroy(&vmm);
	driver_free();
	return count_fds() != fds_before;
}

// A guest whose driver is up.
void nic_bring_up(void)
{
	vmm_attach(&vmm);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
}

// Both ways, once.
void nic_expect_frames(unsigned int channel, uint32_t mark)
{
	driver_send(&driver, channel, mark);
	sw_work();
	assert_int_equal(sw.n_got, 1);
	assert_int_equal(load_u32(rte_pktmbuf_mtod(sw.got[0], uint8_t *) + SW_MARK_AT), mark);
	sw_free_got();
	assert_int_equal(sw_transmit((uint16_t)channel, mark + 1), 1);
	assert_int_equal(driver_receive(&driver, channel), mark + 1);
	sw_work(); // takes the acknowledgement
}
