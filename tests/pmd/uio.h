// SPDX-License-Identifier: Apache-2.0
// What Linux's uio_hv_generic shows to DPDK, without a kernel that has it: a folder of our own in
// the place of /sys/bus/vmbus, and devices /dev/uioN whose five maps are pieces of files.
//
// DPDK's libraries meet it because this program exports fopen64, open64, opendir, access and
// mmap64, and the dynamic linker finds those first. Calls for other paths go through unchanged.
// The folder lies in /dev/shm and goes when the process ends, killed or not.
// Facts: DPDK's drivers/bus/vmbus/linux, Linux's drivers/uio/uio_hv_generic.c.
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "base/types.h"

// The maps of a device, in the order that DPDK expects.
enum uio_map_index {
	UIO_RINGS,        // both rings of the primary channel, guest to host first
	UIO_EVENT_PAGE,   // the upper half: a bit a channel, guest to host
	UIO_MONITOR_PAGE, // guest to host
	UIO_RECEIVE,      // receive buffer
	UIO_SEND,         // send buffer
	UIO_MAPS,
};

struct uio_map {
	int fd;
	off_t offset; // in the file; what its pages allow
	size_t bytes;
	uint32_t gpadl; // receive and send buffer: what the driver calls it by
};

struct uio_device {
	char guid[37]; // its name, unique for all time: DPDK forgets none
	uint32_t number;
	uint32_t relid;
	uint8_t monitor_id;
	struct uio_map maps[UIO_MAPS];
	dev_t file_device; // identity of /dev/uioN
	ino_t file_inode;
};

// Makes the folder. Once, before rte_eal_init and before there are threads: it forks. Returns 0 or
// -errno.
int uio_start(struct err *err);

// Shows a device to the next scan of the bus. *device must stay until uio_del. Returns 0 or -errno.
int uio_add(struct uio_device *device, struct err *err);

// Shows a channel of it, sub-channels of a running driver too: rings is the file that both its
// rings fill. Returns 0 or -errno. Any thread.
int uio_add_channel(const struct uio_device *device, uint32_t relid, uint32_t subchannel,
		    int rings);

// Hides it. What is mapped stays mapped.
void uio_del(struct uio_device *device);
