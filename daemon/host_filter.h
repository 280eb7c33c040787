// SPDX-License-Identifier: Apache-2.0
// Parts the kernel's stack from an interface whose frames a driver copies through packet sockets
// (net_af_packet, net_pcap). Such a driver takes nothing away from the kernel: a frame that comes
// in would reach the host twice, straight and through the switch; and what the kernel itself sends
// by the interface would seem to come from the wire, and the switch would learn the host's MAC
// there. Called by host_address.c. helper.
#pragma once

#include <netlink/socket.h>

#include "base/err.h"

// Drops at the interface's ingress, behind packet sockets, whatever comes in.
// Returns 0, or -errno with a sentence. Where it is there already, that is fine.
int host_filter_add(struct nl_sock *sk, int index, struct err *err);
void host_filter_del(struct nl_sock *sk, int index);

// Makes this process's packet sockets on the interface blind to what others send by it.
void host_filter_ignore_sent(int index);
