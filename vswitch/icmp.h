// SPDX-License-Identifier: Apache-2.0
// ICMP and ICMPv6 as a router and as a host speak it: errors about a packet, replies to pings.
// RFC 792, RFC 1812, RFC 4443. Worker.
#pragma once

#include "vswitch/cache.h"

// What is wrong with a packet, for either family.
enum icmp_error { ICMP_NO_ROUTE, ICMP_NO_HOST, ICMP_TTL, ICMP_TOO_BIG };

// Tells the sender of f->m, a frame of a port in a subnet, in the name of the subnet's gateway.
// mtu: of ICMP_TOO_BIG. Within a rate per port, and where RFC 1122, 3.2.2 and RFC 4443, 2.4
// allow it.
// f->m stays the caller's.
void icmp_send_error(const struct frame *f, enum icmp_error error, uint16_t mtu);

// The checksum of an ICMPv6 message body[bytes] behind *ip, whose checksum field is zero.
be16 icmp_csum_v6(const struct ipv6_header *ip, const void *body, uint32_t bytes);

// Answers f->m if it asks for an echo: true, and f->m is used up. The address that was asked
// answers.
bool icmp_echo(const struct frame *f);
