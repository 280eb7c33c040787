// SPDX-License-Identifier: Apache-2.0
// The port kind "netvsp": a synthetic NIC of a Hyper-V style guest. `open` makes the NIC and gives
// it its name; a VMM attaches to it by that name (service.h). Until then, and whenever no guest
// is there, it takes no frame and gives none.
#pragma once

#include "dataplane/port.h"
#include "netvsp/nic.h"

extern const struct port_ops port_netvsp;

// The NIC behind an open port of this kind. Any thread, as long as the port is open.
struct netvsp_nic *port_netvsp_nic(struct port_dev *dev);
