// SPDX-License-Identifier: Apache-2.0
// Integration services: what a guest's tools expect of a host besides its NIC. Three devices of
// VMBus whose channels are served here: heartbeat, time synchronisation, shutdown. Under the
// partition's lock; the guest is hostile.
// Facts: Linux's drivers/hv/hv_util.c and channel_mgmt.c (framework 3.0, messages 3.0).
#pragma once

#include "partition/hv.h"
#include "vmbus/channel.h"

struct partition_services;

struct partition_services_cfg {
	struct vmbus_server *server;
	struct partition_hv *hv; // events go there; reference time comes from there
};

// Offers the devices. Returns 0 or -errno.
int partition_services_create(const struct partition_services_cfg *cfg,
			      struct partition_services **out);
void partition_services_destroy(struct partition_services *services); // the server is gone

// The guest has signalled a connection id. False: it is none of ours.
bool partition_services_signal(struct partition_services *services, uint32_t connection_id);

// Once a second: heartbeats, the time.
void partition_services_tick(struct partition_services *services);

// Asks the guest to turn itself off, or to begin anew. Returns 0, or -ENOTCONN: its driver is not
// there.
int partition_services_shutdown(struct partition_services *services, bool reboot);

// Seconds since the guest has answered a heartbeat; UINT32_MAX: never.
uint32_t partition_services_silence(const struct partition_services *services);
