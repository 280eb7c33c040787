// SPDX-License-Identifier: Apache-2.0
// What the host would lose with an interface: its addresses and the routes through it, as libnl
// objects. Which of them count, how they look on another interface, and moving them there.
// Called by host_address.c. helper, except where a comment says otherwise.
#pragma once

#include <net/if.h>
#include <stdbool.h>

#include <netlink/route/addr.h>
#include <netlink/route/route.h>

#include "base/err.h"

// The addresses and routes of one interface, in the order of the kernel's tables.
struct host_plan {
	int index; // of the interface
	struct nl_cache *addrs, *routes;
};

// Reads the plan of interface `index` from the kernel. Returns 0, or -errno with a sentence.
int host_plan_make(struct nl_sock *sk, int index, struct host_plan *out, struct err *err);
void host_plan_fini(struct host_plan *plan); // an empty one is fine

// Takes out of `plan` what `other` has as well.
void host_plan_subtract(struct host_plan *plan, const struct host_plan *other);

bool host_plan_is_empty(const struct host_plan *plan);

// "10.0.0.2/24, fd00::2/64" into text[size]; cut with … where it is longer.
void host_plan_text(const struct host_plan *plan, char *text, size_t size);

// Moves what stands in `plan` from interface `from` to interface `to`: addresses to `to`, routes
// across, addresses off `from`. What is there already stays, what is gone already is no failure.
// Returns 0, or -errno with a sentence, and then all is on `from` again as far as the kernel lets.
int host_plan_move(struct nl_sock *sk, const struct host_plan *plan, int from, int to,
		   struct err *err);

// The pure steps of the above, for tests. Any thread.

// Does it count: all of IPv4, of IPv6 what is not link-local.
bool host_plan_wants_addr(struct rtnl_addr *addr, int index);
// Does it count: unicast through `index`, of any table but the one that the kernel keeps of local
// addresses, and not what comes with link-local addresses.
bool host_plan_wants_route(struct rtnl_route *route, int index);
// The same on interface `to`; the caller owns it. NULL: memory is short.
struct rtnl_addr *host_plan_addr_on(struct rtnl_addr *addr, int to);
// The same with `to` for `from`; the caller owns it. NULL: memory is short.
struct rtnl_route *host_plan_route_on(struct rtnl_route *route, int from, int to);
