// SPDX-License-Identifier: Apache-2.0
#include "daemon/host_plan.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define FOREVER UINT32_MAX // a lifetime
// What the kernel says of a route and does not want to be told.
#define STATE_FLAGS (RTNH_F_DEAD | RTNH_F_LINKDOWN | RTNH_F_OFFLOAD | RTNH_F_TRAP)

// --- what counts -------------------------------------------------------------------------------

static bool is_link_local(struct nl_addr *addr)
{
	const unsigned char *b;

	if (!addr || nl_addr_get_family(addr) != AF_INET6 || nl_addr_get_len(addr) < 2)
		return false;
	b = nl_addr_get_binary_addr(addr);
	return (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) || b[0] == 0xff;
}

bool host_plan_wants_addr(struct rtnl_addr *addr, int index)
{
	int family = rtnl_addr_get_family(addr);

	return rtnl_addr_get_ifindex(addr) == index && (family == AF_INET || family == AF_INET6) &&
	       !is_link_local(rtnl_addr_get_local(addr));
}

bool host_plan_wants_route(struct rtnl_route *route, int index)
{
	int family = rtnl_route_get_family(route), n = rtnl_route_get_nnexthops(route);

	if ((family != AF_INET && family != AF_INET6) ||
	    rtnl_route_get_type(route) != RTN_UNICAST ||
	    rtnl_route_get_table(route) == RT_TABLE_LOCAL ||
	    (rtnl_route_get_flags(route) & RTM_F_CLONED) ||
	    is_link_local(rtnl_route_get_dst(route)))
		return false;
	for (int i = 0; i < n; i++)
		if (rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, i)) == index)
			return true;
	return false;
}

static bool wants(struct nl_object *obj, int index, bool addrs)
{
	return addrs ? host_plan_wants_addr((struct rtnl_addr *)obj, index)
		     : host_plan_wants_route((struct rtnl_route *)obj, index);
}

static void keep_wanted(struct nl_cache *cache, int index, bool addrs)
{
	struct nl_object *obj = nl_cache_get_first(cache), *next;

	for (; obj; obj = next) {
		next = nl_cache_get_next(obj);
		if (!wants(obj, index, addrs))
			nl_cache_remove(obj);
	}
}

int host_plan_make(struct nl_sock *sk, int index, struct host_plan *out, struct err *err)
{
	int ret;

	*out = (struct host_plan){ .index = index };
	ret = rtnl_addr_alloc_cache(sk, &out->addrs);
	if (ret == 0)
		ret = rtnl_route_alloc_cache(sk, AF_UNSPEC, 0, &out->routes);
	if (ret < 0) {
		host_plan_fini(out);
		return err_set(err, EIO, "cannot read the host's addresses and routes: %s",
			       nl_geterror(ret));
	}
	keep_wanted(out->addrs, index, true);
	keep_wanted(out->routes, index, false);
	return 0;
}

void host_plan_fini(struct host_plan *plan)
{
	nl_cache_free(plan->addrs);
	nl_cache_free(plan->routes);
	plan->addrs = plan->routes = NULL;
}

static void subtract(struct nl_cache *from, struct nl_cache *what)
{
	struct nl_object *obj = nl_cache_get_first(from), *next, *same;

	for (; obj; obj = next) {
		next = nl_cache_get_next(obj);
		same = nl_cache_search(what, obj);
		if (!same)
			continue;
		nl_object_put(same);
		nl_cache_remove(obj);
	}
}

void host_plan_subtract(struct host_plan *plan, const struct host_plan *other)
{
	subtract(plan->addrs, other->addrs);
	subtract(plan->routes, other->routes);
}

bool host_plan_is_empty(const struct host_plan *plan)
{
	return nl_cache_is_empty(plan->addrs) && nl_cache_is_empty(plan->routes);
}

void host_plan_text(const struct host_plan *plan, char *text, size_t size)
{
	struct nl_object *obj = nl_cache_get_first(plan->addrs);
	size_t used = 0;
	char word[64];

	text[0] = '\0';
	for (; obj; obj = nl_cache_get_next(obj)) {
		nl_addr2str(rtnl_addr_get_local((struct rtnl_addr *)obj), word, sizeof(word));
		if (used + strlen(word) + sizeof(", …") > size) {
			snprintf(text + used, size - used, "…");
			return;
		}
		used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", word);
	}
}

// --- the same elsewhere ------------------------------------------------------------------------

struct rtnl_addr *host_plan_addr_on(struct rtnl_addr *addr, int to)
{
	struct rtnl_addr *a = rtnl_addr_alloc();
	unsigned int flags = rtnl_addr_get_flags(addr) & IFA_F_NOPREFIXROUTE;

	if (!a)
		return NULL;
	rtnl_addr_set_family(a, rtnl_addr_get_family(addr));
	rtnl_addr_set_ifindex(a, to);
	rtnl_addr_set_local(a, rtnl_addr_get_local(addr));
	if (rtnl_addr_get_peer(addr))
		rtnl_addr_set_peer(a, rtnl_addr_get_peer(addr));
	if (rtnl_addr_get_broadcast(addr))
		rtnl_addr_set_broadcast(a, rtnl_addr_get_broadcast(addr));
	rtnl_addr_set_prefixlen(a, rtnl_addr_get_prefixlen(addr));
	rtnl_addr_set_scope(a, rtnl_addr_get_scope(addr));
	// It was in use a moment ago: nobody else has it, and connections must not wait for a
	// probe.
	if (rtnl_addr_get_family(addr) == AF_INET6)
		flags |= IFA_F_NODAD;
	rtnl_addr_set_flags(a, flags);
	if (rtnl_addr_get_valid_lifetime(addr) != FOREVER) {
		rtnl_addr_set_valid_lifetime(a, rtnl_addr_get_valid_lifetime(addr));
		rtnl_addr_set_preferred_lifetime(a, rtnl_addr_get_preferred_lifetime(addr));
	}
	return a;
}

struct rtnl_route *host_plan_route_on(struct rtnl_route *route, int from, int to)
{
	struct rtnl_route *r = (struct rtnl_route *)nl_object_clone(OBJ_CAST(route));
	int n = r ? rtnl_route_get_nnexthops(r) : 0;

	for (int i = 0; i < n; i++) {
		struct rtnl_nexthop *hop = rtnl_route_nexthop_n(r, i);

		if (rtnl_route_nh_get_ifindex(hop) == from)
			rtnl_route_nh_set_ifindex(hop, to);
		rtnl_route_nh_unset_flags(hop, STATE_FLAGS);
	}
	if (r)
		rtnl_route_unset_flags(r, STATE_FLAGS);
	return r;
}

// --- moving ------------------------------------------------------------------------------------

static int addr_add(struct nl_sock *sk, struct rtnl_addr *addr, int to)
{
	struct rtnl_addr *a = host_plan_addr_on(addr, to);
	int ret = a ? rtnl_addr_add(sk, a, 0) : -NLE_NOMEM;

	rtnl_addr_put(a);
	return ret == -NLE_EXIST ? 0 : ret;
}

// Takes all addresses of the plan off the interface. A failure means that they are gone, or that
// the interface is.
static void addrs_del(struct nl_sock *sk, const struct host_plan *plan, int from)
{
	struct nl_object *obj = nl_cache_get_first(plan->addrs);

	for (; obj; obj = nl_cache_get_next(obj)) {
		struct rtnl_addr *a = host_plan_addr_on((struct rtnl_addr *)obj, from);

		if (a)
			rtnl_addr_delete(sk, a, 0);
		rtnl_addr_put(a);
	}
}

static int route_move(struct nl_sock *sk, const struct host_plan *plan, struct rtnl_route *route,
		      int from, int to)
{
	struct rtnl_route *old = host_plan_route_on(route, plan->index, from);
	struct rtnl_route *new = host_plan_route_on(route, plan->index, to);
	int ret = -NLE_NOMEM;

	if (old && new) {
		rtnl_route_delete(sk, old, 0); // it may have gone with its address
		ret = rtnl_route_add(sk, new, 0);
	}
	rtnl_route_put(old);
	rtnl_route_put(new);
	return ret == -NLE_EXIST ? 0 : ret;
}

static bool has_gateway(struct rtnl_route *route)
{
	for (int i = 0; i < rtnl_route_get_nnexthops(route); i++)
		if (rtnl_route_nh_get_gateway(rtnl_route_nexthop_n(route, i)))
			return true;
	return false;
}

// Addresses onto `to`, routes across. Goes on after a failure; returns the first one, and names it
// in what[64].
static int carry(struct nl_sock *sk, const struct host_plan *plan, int from, int to, char *what)
{
	struct nl_object *obj = nl_cache_get_first(plan->addrs);
	int ret = 0, one;

	for (; obj; obj = nl_cache_get_next(obj)) {
		one = addr_add(sk, (struct rtnl_addr *)obj, to);
		if (one < 0 && ret == 0)
			nl_addr2str(rtnl_addr_get_local((struct rtnl_addr *)obj), what, 64);
		ret = ret ? ret : one;
	}
	// A gateway must be reachable by the time that its route comes.
	for (int gateways = 0; gateways <= 1; gateways++) {
		for (obj = nl_cache_get_first(plan->routes); obj; obj = nl_cache_get_next(obj)) {
			struct rtnl_route *route = (struct rtnl_route *)obj;

			if (has_gateway(route) != (bool)gateways)
				continue;
			one = route_move(sk, plan, route, from, to);
			if (one < 0 && ret == 0)
				nl_addr2str(rtnl_route_get_dst(route), what, 64);
			ret = ret ? ret : one;
		}
	}
	return ret;
}

int host_plan_move(struct nl_sock *sk, const struct host_plan *plan, int from, int to,
		   struct err *err)
{
	char what[64] = "", ignored[64];
	int ret = carry(sk, plan, from, to, what);

	if (ret == 0) {
		addrs_del(sk, plan, from);
		return 0;
	}
	carry(sk, plan, to, from, ignored);
	addrs_del(sk, plan, to);
	return err_set(err, EIO, "the kernel does not let %s move: %s", what, nl_geterror(ret));
}
