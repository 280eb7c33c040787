// SPDX-License-Identifier: Apache-2.0
// A NIC whose guest has moved here says so to its network: other switches send frames for it to
// where they saw it last. The frame is a reverse ARP request (RFC 903) in the guest's name, which
// nobody answers and which needs no IP address. worker.
#pragma once

#include "base/types.h"

struct rte_mbuf;
struct rte_mempool;

// Returns the frame, or NULL if there is no buffer.
struct rte_mbuf *netvsp_announcement(struct rte_mempool *pool, struct mac mac);
