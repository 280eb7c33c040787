// SPDX-License-Identifier: Apache-2.0
// The command line of weft-pmd.
#pragma once

#include "base/err.h"
#include "base/types.h"

#define OPTIONS_MAX_NICS 32

enum mode { MODE_PAIR, MODE_SEND, MODE_SINK, MODE_ECHO, MODE_ATTACH };

struct options {
	enum mode mode;
	uint32_t n_nics;
	const char *nics[OPTIONS_MAX_NICS]; // names of netvsp ports, or vhost:PATH
	const char *socket;
	uint32_t core;
	// The NIC
	uint32_t queues, descriptors, staged, ring_pages, receive_mib, send_mib, mtu;
	const char *driver; // devargs, or NULL
	// The traffic
	uint32_t min_bytes, max_bytes; // of a frame
	uint32_t flows, macs, chain, sender;
	uint64_t rate, count; // a NIC; 0: no limit
	uint32_t seconds;     // 0: until told to stop
	uint32_t mss, vlan;   // 0: none
	struct mac to;        // MODE_SEND
	bool ipv6, csum, no_fill, one_way, lean;
	// The process
	bool no_huge, poll, control;
};

// Returns 0; 1: help was printed; or -EINVAL with a sentence.
int options_parse(int argc, char **argv, struct options *opt, struct err *err);
