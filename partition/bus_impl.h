// SPDX-License-Identifier: Apache-2.0
// What bus.c (server, hypercalls) and bus_nic.c (NICs) share. Nobody else includes it.
#pragma once

#include "partition/bus.h"
#include "partition/machine.h"
#include "partition/services.h"
#include "vmbus/nic.h"

// What was asked of NICs, as a cookie.
enum partition_bus_question {
	PARTITION_BUS_NOTHING,
	PARTITION_BUS_RETARGET,
	PARTITION_BUS_PAUSE,
	PARTITION_BUS_SAVE,
	PARTITION_BUS_RESUME,
};
#define PARTITION_BUS_N_QUESTIONS (PARTITION_BUS_RESUME + 1)

struct partition_nic {
	struct partition_nic *next;
	struct partition_bus *bus;
	struct vmbus_nic *nic;
	struct partition_nic_state state;
	struct {
		uint32_t connection_id;
		int fd; // -1: not open
	} doorbells[VMBUS_DEVICE_MAX_CHANNELS];
};

struct partition_bus {
	struct partition *partition;
	int epoll_fd;
	uint32_t tag;
	struct vmbus_server *server;
	struct partition_services *services;
	int second_fd; // timerfd
	struct partition_nic *nics;
	uint32_t n_nics;
	bool is_started;
	bool is_reset; // nobody uses guest memory
	uint32_t n_open[PARTITION_BUS_N_QUESTIONS]; // questions that were not answered
	int status[PARTITION_BUS_N_QUESTIONS];      // the first failure
};

// Makes a NIC that is not attached yet. Returns 0 or -errno.
int partition_nic_create(struct partition_bus *bus, const struct partition_nic_cfg *cfg,
			 struct partition_nic **out);
void partition_nic_destroy(struct partition_nic *nic); // the server is gone
void partition_nic_start(struct partition_nic *nic);

// The NIC's doorbell for a connection id rings. False: it has none.
bool partition_nic_signal(const struct partition_nic *nic, uint32_t connection_id);
