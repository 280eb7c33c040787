// SPDX-License-Identifier: Apache-2.0
#include "daemon/host_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netlink/msg.h>
#include <netlink/netlink.h>

#define MAX_BYTES (1u << 20) // of a record that is believed

void host_record_path(const char *dir, const char *ifname, char *path)
{
	snprintf(path, HOST_RECORD_PATH, "%s/%s.%u.addresses", dir, ifname,
		 if_nametoindex(ifname));
}

static bool write_message(FILE *f, struct nl_msg *msg)
{
	const struct nlmsghdr *h = nlmsg_hdr(msg);
	bool ok = fwrite(h, NLMSG_ALIGN(h->nlmsg_len), 1, f) == 1;

	nlmsg_free(msg);
	return ok;
}

static bool write_addr(FILE *f, struct rtnl_addr *addr, int index)
{
	struct rtnl_addr *a = host_plan_addr_on(addr, index);
	struct nl_msg *msg;
	bool ok = a && rtnl_addr_build_add_request(a, NLM_F_CREATE, &msg) == 0 &&
		  write_message(f, msg);

	rtnl_addr_put(a);
	return ok;
}

static bool write_route(FILE *f, struct rtnl_route *route, int index)
{
	struct rtnl_route *r = host_plan_route_on(route, index, index);
	struct nl_msg *msg;
	bool ok = r && rtnl_route_build_add_request(r, NLM_F_CREATE, &msg) == 0 &&
		  write_message(f, msg);

	rtnl_route_put(r);
	return ok;
}

static bool write_plan(FILE *f, const struct host_plan *plan)
{
	struct nl_object *obj = nl_cache_get_first(plan->addrs);
	bool ok = true;

	for (; obj && ok; obj = nl_cache_get_next(obj))
		ok = write_addr(f, (struct rtnl_addr *)obj, plan->index);
	for (obj = nl_cache_get_first(plan->routes); obj && ok; obj = nl_cache_get_next(obj))
		ok = write_route(f, (struct rtnl_route *)obj, plan->index);
	return ok;
}

int host_record_write(const char *path, const struct host_plan *plan, struct err *err)
{
	FILE *f = fopen(path, "we");
	bool ok = f && write_plan(f, plan);

	if (f)
		ok = fclose(f) == 0 && ok;
	if (ok)
		return 0;
	unlink(path);
	return err_set(err, EIO, "cannot keep what is moved in %s", path);
}

// One round over the messages. What is there already is no failure, nor what depends on a later
// message: there is a second round.
static bool send_all(struct nl_sock *sk, char *bytes, int size)
{
	struct nlmsghdr *h = (struct nlmsghdr *)bytes;

	for (; nlmsg_ok(h, size); h = nlmsg_next(h, &size)) {
		struct nl_msg *msg = nlmsg_convert(h);

		if (!msg)
			return false;
		nl_send_sync(sk, msg);
	}
	return size == 0;
}

bool host_record_replay(const char *path, struct nl_sock *sk)
{
	FILE *f = fopen(path, "re");
	char *bytes = f ? malloc(MAX_BYTES) : NULL;
	int size = bytes ? (int)fread(bytes, 1, MAX_BYTES, f) : 0;
	bool whole = size > 0 && send_all(sk, bytes, size) && send_all(sk, bytes, size);

	free(bytes);
	if (f)
		fclose(f);
	unlink(path);
	return whole;
}
