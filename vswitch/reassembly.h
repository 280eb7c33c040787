// SPDX-License-Identifier: Apache-2.0
// Outer packets that somebody on the way fragmented, put together again within limits, one table a
// worker. Fragments that never become whole go when their place is wanted, and are counted then.
// RFC 791, RFC 8200 (4.5). Called by decap.c; calls rte_ip_frag, which needs EAL. Worker but for
// create and destroy.
#pragma once

#include "net/encap.h"
#include "vswitch/cache.h"

struct reassembly;

// control, before the worker starts, EAL running. NULL: no memory.
struct reassembly *reassembly_create(uint64_t tsc_hz);
void reassembly_destroy(struct reassembly *r); // after it has stopped; NULL is fine

// Takes fragment m of an outer packet received on `port`. Returns the whole packet when this was
// the last one missing: outer IP header at where->l3, its fragment header gone; else NULL. Counts
// what it consumes and drops there.
struct rte_mbuf *reassembly_put(struct reassembly *r, const struct view *v, struct worker_out *out,
				struct rte_mbuf *m, const struct encap_where *where);

// Fragments that wait: "held" of the conservation law. Any thread.
uint64_t reassembly_held(const struct reassembly *r);
