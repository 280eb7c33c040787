// SPDX-License-Identifier: Apache-2.0
// What the switch answers itself, from policy: ARP and ND for customer addresses and gateways,
// pings of a gateway; the same for provider addresses on the underlay. RFC 826, RFC 4861. Worker.
#pragma once

#include "vswitch/cache.h"

// Answers f->m (f->p: an OP_ANSWER), passes it on, or drops it.
void answer_frame(const struct frame *f);

// --- for answer_underlay.c -----------------------------------------------------------------------

// f->m's ARP header; false: it has none that speaks of IPv4 over Ethernet.
bool answer_read_arp(const struct frame *f, struct arp_header *arp);

// Answers the request *asked in f->m, which is used up: its target is at `mac`.
void answer_send_arp(const struct frame *f, const struct arp_header *asked, struct mac mac);

// f->m's IPv6 header and what may be a neighbour message behind it: its type is not looked at, an
// option that is missing or does not fit reads as zeros.
bool answer_read_nd(const struct frame *f, struct ipv6_header *ip, struct nd_header *nd);

// An answer to a solicitation.
struct answer_nd {
	const struct ipv6_header *asker;
	const uint8_t *target; // [16]
	struct mac mac;
	bool is_router;
};

// Answers the solicitation in f->m, which is used up.
void answer_send_nd(const struct frame *f, const struct answer_nd *a);
