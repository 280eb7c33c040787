// SPDX-License-Identifier: Apache-2.0
// Makes the kernel interface behind a tap port: /dev/net/tun, offloads, address, MTU, namespace.
// The interface lives as long as its descriptors: nothing to clean up after a kill.
#pragma once

#include "dataplane/port.h"

struct tap_fds {
	int queue[PORT_MAX_QUEUES]; // non-blocking; each frame behind a struct vnet_header
	uint16_t n_queues;
	int control; // a socket in the interface's namespace, for ioctls
	bool uso;    // the kernel knows UDP segmentation (6.2 and later)
};

// Makes interface `ifname` with cfg's address, MTU and queues in cfg's namespace and brings it up.
// The calling thread visits that namespace and comes back. helper. Returns 0 or -errno with a
// sentence: the name is taken or malformed, no /dev/net/tun, no permission, no such namespace.
int tap_fds_open(const struct port_cfg *cfg, const char *ifname, struct tap_fds *fds,
		 struct err *err);

void tap_fds_close(struct tap_fds *fds);
