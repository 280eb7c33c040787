// SPDX-License-Identifier: Apache-2.0
// The host's own connection through a NIC that a switch takes over.
//
// A port that opens an interface with addresses would cut the host off. Such a port stays down
// with the command that mends it, or, with move_address, hands addresses and routes to the tap of
// an internal port of the same switch as soon as both are open, and back when either closes.
//
// Called by devices.c as devices open and close; calls host_plan.c, host_filter.c and
// host_record.c. Looks at the
// network namespace in which weftd runs. helper, but for create and destroy.
#pragma once

#include "base/err.h"
#include "vswitch/vswitch_ctl.h"

struct host_address;

// Beside the control socket it keeps a record of what it has moved, so that a daemon that follows
// one that was killed can put it back. NULL: memory is short. control
struct host_address *host_address_create(const char *socket);
void host_address_destroy(struct host_address *host); // every device is closed. control

// Before a device is opened: would the host lose its connection? Returns 0, or -EBUSY with the
// sentence that says what to do.
int host_address_check(struct host_address *host, const struct port_obj *port, struct err *err);

// After it is open; moves what can move now. Returns 0, or -errno with a sentence: then the port's
// device must be closed again (host_address_closing is not called for it).
int host_address_opened(struct host_address *host, const struct port_obj *port, struct err *err);

// After workers have its queues: the host says, from the tap, where its MAC is now. What it sent
// by the NIC while that was opened may have taught the switch otherwise. Takes some 50 ms.
void host_address_announce(struct host_address *host, const struct port_obj *port);

// Before it is closed; moves back. Any port, also one that never mattered here.
void host_address_closing(struct host_address *host, const struct port_obj *port);

// Is an open device of port `a` good for port `b` as far as this is concerned? Any thread.
bool host_address_same(const struct port_obj *a, const struct port_obj *b);

// The kernel interface that an ethdev's devargs take over, into name[IF_NAMESIZE]: iface= or
// remote= of a virtual device, the netdev of a PCI address. False: none. Any thread.
bool host_address_interface(const char *devargs, char *name);
