// SPDX-License-Identifier: Apache-2.0
// What classification knows of virtual subnets and underlays: which subnet a frame is of, what its
// gateway takes, and what is for ourselves. Pure but for reading tables; called by classify.c.
// Worker.
#pragma once

#include "vswitch/classify.h"

// All that a decision may look at.
struct scene {
	const struct snapshot *snap;
	const struct fdb *fdb;
	const struct sw_port *port;      // ingress
	const struct hnv_subnet *subnet; // of the frame's domain; NULL: it is a VLAN
};

// A frame that came encapsulated: its domain, and whether its source may be where it came from.
// False: *d says why it dies.
bool subnet_enter(const struct scene *s, const struct packet *p, struct decision *d);

// A frame of the ingress port itself on an underlay: true if it is, or may be, for a provider
// address.
bool subnet_underlay(const struct scene *s, const struct packet *p, struct decision *d);

// A frame of s->subnet: true if it says where addresses are and somebody wants to know.
bool subnet_looks(const struct scene *s, const struct packet *p, struct decision *d);

// A frame from a port of s->subnet: true if it is for the gateway, or asks for an address. False:
// forwarded by its MAC; d->fields may then say that level 2 must look again.
bool subnet_decide(const struct scene *s, const struct packet *p, bool deep, struct decision *d);
