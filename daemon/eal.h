// SPDX-License-Identifier: Apache-2.0
// How Weft starts DPDK: nothing left behind by a kill, many instances on a host, no device touched
// that nobody named. Start-up only.
#pragma once

#include "daemon/options.h"
#include "dataplane/port.h"

// Starts EAL on the control CPU and makes the packet buffers, in huge pages if there are enough,
// else without, with a message. Returns 0 or -errno with a sentence.
int eal_start(const struct options *opt, struct port_pools *pools, struct err *err);
void eal_stop(struct port_pools *pools);
