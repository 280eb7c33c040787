// SPDX-License-Identifier: Apache-2.0
#include "daemon/host_address.h"

#include <dirent.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netlink/route/link.h>

#include "base/log.h"
#include "daemon/host_filter.h"
#include "daemon/host_plan.h"
#include "daemon/host_record.h"

#define ANNOUNCE_US 25000 // between two announcements; a worker is there within 1 ms

// An open port that has a part in this: an uplink that may give, or an internal port's tap.
struct part {
	struct part *next;
	char *port, *switch_name;
	bool uplink;
	bool copies;                // uplink: the kernel sees its frames as well
	char ifname[IF_NAMESIZE];
	const struct part *given;   // uplink: to whom its addresses went, or NULL
	struct host_plan plan;      // of the uplink, as it was
	struct host_plan before;    // of the tap, before addresses came
	struct nl_addr *before_mac; // of the tap, or NULL: it was not changed
};

struct host_address {
	struct part *parts;
	char run_dir[HOST_RECORD_PATH - 2 * IF_NAMESIZE];
};

// --- whose device it is ------------------------------------------------------------------------

// The first entry of a PCI device's net folder.
static bool pci_interface(const char *address, size_t len, char *name)
{
	char path[96];
	struct dirent *entry;
	DIR *dir;
	bool found = false;

	if (len < strlen("00:00.0") || len > strlen("0000:00:00.0") ||
	    strspn(address, "0123456789abcdefABCDEF:.") < len)
		return false;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s%.*s/net",
		 len == strlen("00:00.0") ? "0000:" : "", (int)len, address);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strlen(entry->d_name) < IF_NAMESIZE) {
			strcpy(name, entry->d_name);
			found = true;
		}
	if (dir)
		closedir(dir);
	return found;
}

bool host_address_interface(const char *devargs, char *name)
{
	static const char *const keys[] = { "iface=", "remote=" };
	const char *word = devargs;
	size_t len = strcspn(word, ",");

	if (strncmp(word, "pci:", 4) == 0)
		return pci_interface(word + 4, len - 4, name);
	if (pci_interface(word, len, name))
		return true;
	while (word[len]) {
		word += len + 1;
		len = strcspn(word, ",");
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
			size_t key = strlen(keys[i]);

			if (strncmp(word, keys[i], key) != 0 || len == key ||
			    len - key >= IF_NAMESIZE)
				continue;
			snprintf(name, IF_NAMESIZE, "%.*s", (int)(len - key), word + key);
			return true;
		}
	}
	return false;
}

// Drivers that leave the kernel its frames.
static bool copies_frames(const char *devargs)
{
	return strncmp(devargs, "net_af_packet", strlen("net_af_packet")) == 0 ||
	       strncmp(devargs, "net_pcap", strlen("net_pcap")) == 0;
}

static bool is_kind(const struct port_obj *p, const char *kind)
{
	return strcmp(port_kind_words[p->kind], kind) == 0;
}

static const char *tap_name(const struct port_obj *p)
{
	return p->ifname ? p->ifname : p->head.name;
}

// A tap in this namespace that may carry the host's addresses.
static bool may_take(const struct port_obj *p)
{
	return p->role == ROLE_INTERNAL && is_kind(p, "tap") && !p->netns;
}

bool host_address_same(const struct port_obj *a, const struct port_obj *b)
{
	bool matters = a->devargs || b->devargs || may_take(a) || may_take(b);

	return !matters || (a->role == b->role && a->move_address == b->move_address &&
			    strcmp(a->switch_name, b->switch_name) == 0);
}

static struct part *tap_of(struct host_address *host, const char *switch_name)
{
	for (struct part *p = host->parts; p; p = p->next)
		if (!p->uplink && strcmp(p->switch_name, switch_name) == 0)
			return p;
	return NULL;
}

// --- netlink -----------------------------------------------------------------------------------

static int connect_netlink(struct nl_sock **out, struct err *err)
{
	int ret;

	*out = nl_socket_alloc();
	ret = *out ? nl_connect(*out, NETLINK_ROUTE) : -NLE_NOMEM;
	if (ret == 0)
		return 0;
	nl_socket_free(*out);
	return err_set(err, EIO, "no netlink socket: %s", nl_geterror(ret));
}

// The interface's address; the caller owns it. NULL: it has none.
static struct nl_addr *get_mac(struct nl_sock *sk, int index)
{
	struct rtnl_link *link;
	struct nl_addr *mac = NULL;

	if (rtnl_link_get_kernel(sk, index, NULL, &link) < 0)
		return NULL;
	if (rtnl_link_get_addr(link))
		mac = nl_addr_clone(rtnl_link_get_addr(link));
	rtnl_link_put(link);
	return mac;
}

static int set_mac(struct nl_sock *sk, int index, struct nl_addr *mac)
{
	struct rtnl_link *old = rtnl_link_alloc(), *new = rtnl_link_alloc();
	int ret = -NLE_NOMEM;

	if (old && new) {
		rtnl_link_set_ifindex(old, index);
		rtnl_link_set_addr(new, mac);
		ret = rtnl_link_change(sk, old, new, 0);
	}
	rtnl_link_put(old);
	rtnl_link_put(new);
	return ret;
}

// A broadcast from the interface by which switches learn where its MAC is; receivers ignore it: a
// reverse ARP request, as hypervisors send it after a migration (RFC 903).
static void announce(const char *ifname)
{
	struct {
		struct ether_header eth;
		struct ether_arp arp;
		uint8_t padding[ETH_ZLEN - sizeof(struct ether_header) - sizeof(struct ether_arp)];
	} __attribute__((packed)) frame = { 0 };
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex(ifname) };
	struct ifreq ifr = { 0 };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (fd >= 0 && ioctl(fd, SIOCGIFHWADDR, &ifr) == 0) {
		memset(frame.eth.ether_dhost, 0xff, ETH_ALEN);
		memcpy(frame.eth.ether_shost, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
		frame.eth.ether_type = htons(ETHERTYPE_REVARP);
		frame.arp.arp_hrd = htons(ARPHRD_ETHER);
		frame.arp.arp_pro = htons(ETHERTYPE_IP);
		frame.arp.arp_hln = ETH_ALEN;
		frame.arp.arp_pln = 4;
		frame.arp.arp_op = htons(ARPOP_RREQUEST);
		memcpy(frame.arp.arp_sha, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
		memcpy(frame.arp.arp_tha, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
		sendto(fd, &frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to));
	}
	if (fd >= 0)
		close(fd);
}

// --- moving ------------------------------------------------------------------------------------

// The tap gets the NIC's MAC, as Hyper-V does it: leases and the neighbours' caches stay true. A
// tap that serves two uplinks keeps the first one's.
static void take_mac(struct nl_sock *sk, struct part *nic, int from, int to)
{
	struct nl_addr *mac = get_mac(sk, from);

	if (!mac)
		return;
	nic->before_mac = get_mac(sk, to);
	if (set_mac(sk, to, mac) < 0) {
		nl_addr_put(nic->before_mac);
		nic->before_mac = NULL;
		log_warning("interface %s keeps its own MAC: the kernel refuses %s's",
			    nic->given->ifname, nic->ifname);
	}
	nl_addr_put(mac);
}

static bool is_taken(const struct host_address *host, const struct part *tap)
{
	for (const struct part *p = host->parts; p; p = p->next)
		if (p->given == tap)
			return true;
	return false;
}

static int give_planned(struct host_address *host, struct nl_sock *sk, struct part *nic,
			const struct part *tap, struct err *err)
{
	int from = nic->plan.index, to = nic->before.index, ret;
	bool first = !is_taken(host, tap);
	char text[200], path[HOST_RECORD_PATH];

	host_plan_text(&nic->plan, text, sizeof(text));
	host_record_path(host->run_dir, nic->ifname, path);
	ret = host_record_write(path, &nic->plan, err);
	if (ret == 0 && nic->copies)
		ret = host_filter_add(sk, from, err);
	if (ret == 0)
		ret = host_plan_move(sk, &nic->plan, from, to, err);
	if (ret < 0) {
		if (nic->copies)
			host_filter_del(sk, from);
		unlink(path);
		return err_prefix(err, ret, "cannot move %s from %s to %s", text, nic->ifname,
				  tap->ifname);
	}
	nic->given = tap;
	if (first)
		take_mac(sk, nic, from, to);
	log_info("port %s: moved %s and %d routes from %s to %s", nic->port, text,
		 nl_cache_nitems(nic->plan.routes), nic->ifname, tap->ifname);
	return 0;
}

// Moves addresses and routes of the uplink `nic` to `tap`, if there are any.
static int give(struct host_address *host, struct part *nic, const struct part *tap,
		struct err *err)
{
	int from = (int)if_nametoindex(nic->ifname), to = (int)if_nametoindex(tap->ifname), ret;
	struct nl_sock *sk;

	if (!from || !to)
		return err_set(err, ENODEV, "there is no interface %s any more",
			       from ? tap->ifname : nic->ifname);
	ret = connect_netlink(&sk, err);
	if (ret < 0)
		return ret;
	ret = host_plan_make(sk, from, &nic->plan, err);
	if (ret == 0)
		ret = host_plan_make(sk, to, &nic->before, err);
	if (ret == 0 && !nl_cache_is_empty(nic->plan.addrs))
		ret = give_planned(host, sk, nic, tap, err);
	if (!nic->given) {
		host_plan_fini(&nic->plan);
		host_plan_fini(&nic->before);
	}
	nl_socket_free(sk);
	return ret;
}

// What has come to the tap since, also if it is not what was moved: a lease may have changed. If
// the tap is gone, what was moved.
static int restore(struct nl_sock *sk, struct part *nic, struct err *err)
{
	int from = nic->before.index, to = nic->plan.index, ret;
	struct host_plan now = { 0 };

	if (!if_nametoindex(nic->given->ifname))
		return host_plan_move(sk, &nic->plan, from, to, err);
	ret = host_plan_make(sk, from, &now, err);
	if (ret == 0) {
		host_plan_subtract(&now, &nic->before);
		ret = host_plan_move(sk, &now, from, to, err);
	}
	host_plan_fini(&now);
	if (nic->before_mac)
		set_mac(sk, from, nic->before_mac);
	return ret;
}

static void take_back(const struct host_address *host, struct part *nic)
{
	char path[HOST_RECORD_PATH];
	struct err err = { 0 };
	struct nl_sock *sk;
	int ret = connect_netlink(&sk, &err);

	if (ret == 0) {
		ret = restore(sk, nic, &err);
		if (nic->copies)
			host_filter_del(sk, nic->plan.index);
		nl_socket_free(sk);
	}
	host_record_path(host->run_dir, nic->ifname, path);
	unlink(path);
	if (ret < 0)
		log_error("port %s: addresses do not go back from %s to %s: %s", nic->port,
			  nic->given->ifname, nic->ifname, err.text);
	else
		log_info("port %s: addresses and routes are back on %s", nic->port, nic->ifname);
	host_plan_fini(&nic->plan);
	host_plan_fini(&nic->before);
	nl_addr_put(nic->before_mac);
	nic->before_mac = NULL;
	nic->given = NULL;
}

// --- ports come and go -------------------------------------------------------------------------

// Gives back to the interface what a daemon that was killed had taken off it, unless somebody has
// given it addresses since.
static void recover(const struct host_address *host, struct nl_sock *sk, const char *ifname,
		    const struct host_plan *now)
{
	char path[HOST_RECORD_PATH];

	for (const struct part *p = host->parts; p; p = p->next)
		if (p->given && strcmp(p->ifname, ifname) == 0)
			return; // the record is our own
	host_record_path(host->run_dir, ifname, path);
	if (access(path, F_OK) < 0)
		return;
	host_filter_del(sk, now->index);
	if (!nl_cache_is_empty(now->addrs))
		unlink(path);
	else if (host_record_replay(path, sk))
		log_warning("gave %s back what a daemon that was killed had taken", ifname);
	else
		log_error("%s is damaged: the addresses of %s must be set by hand", path, ifname);
}

// The addresses of that interface for people; empty: none.
static int list_addresses(const struct host_address *host, const char *ifname, char text[160],
			  struct err *err)
{
	int index = (int)if_nametoindex(ifname), ret;
	struct host_plan plan;
	struct nl_sock *sk;

	text[0] = '\0';
	if (!index)
		return 0;
	ret = connect_netlink(&sk, err);
	if (ret < 0)
		return ret;
	ret = host_plan_make(sk, index, &plan, err);
	if (ret == 0) {
		recover(host, sk, ifname, &plan);
		host_plan_fini(&plan);
		ret = host_plan_make(sk, index, &plan, err);
	}
	if (ret == 0)
		host_plan_text(&plan, text, 160);
	host_plan_fini(&plan);
	nl_socket_free(sk);
	return ret;
}

int host_address_check(struct host_address *host, const struct port_obj *port, struct err *err)
{
	char ifname[IF_NAMESIZE], text[160];
	const char *s = port->switch_name, *name = port->head.name;
	bool tap = tap_of(host, s) != NULL;
	int ret;

	if (!is_kind(port, "ethdev") || !host_address_interface(port->devargs, ifname))
		return 0;
	ret = list_addresses(host, ifname, text, err);
	if (ret < 0 || !text[0] || (port->move_address && tap))
		return ret;
	if (port->move_address)
		return err_set(err, EBUSY, "%s carries this host's %s, and switch %s has no open "
			       "internal port to move that to: weft add port host0 switch=%s "
			       "role=internal kind=tap", ifname, text, s, s);
	return err_set(err, EBUSY, "%s carries this host's %s, which would be cut off: %s%s%s"
		       "weft set port %s %smove_address=true", ifname, text,
		       tap ? "" : "weft add port host0 switch=", tap ? "" : s,
		       tap ? "" : " role=internal kind=tap && ", name,
		       port->role == ROLE_UPLINK ? "" : "role=uplink ");
}

static void part_free(struct part *p)
{
	if (!p)
		return;
	free(p->port);
	free(p->switch_name);
	free(p);
}

static struct part *part_create(const struct port_obj *port, const char *ifname)
{
	struct part *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->port = strdup(port->head.name);
	p->switch_name = strdup(port->switch_name);
	p->uplink = !may_take(port);
	p->copies = p->uplink && copies_frames(port->devargs);
	snprintf(p->ifname, sizeof(p->ifname), "%s", ifname);
	if (p->port && p->switch_name)
		return p;
	part_free(p);
	return NULL;
}

// A new tap: uplinks that were left without one give what they have.
static void give_waiting(struct host_address *host, const struct part *tap)
{
	struct err err = { 0 };

	for (struct part *p = host->parts; p; p = p->next)
		if (p->uplink && !p->given && strcmp(p->switch_name, tap->switch_name) == 0 &&
		    give(host, p, tap, &err) < 0)
			log_error("port %s: %s", p->port, err.text);
}

int host_address_opened(struct host_address *host, const struct port_obj *port, struct err *err)
{
	char ifname[IF_NAMESIZE];
	const struct part *tap = tap_of(host, port->switch_name);
	struct part *p;
	int ret = 0;

	if (may_take(port))
		snprintf(ifname, sizeof(ifname), "%s", tap_name(port));
	else if (!is_kind(port, "ethdev") || !host_address_interface(port->devargs, ifname))
		return 0;
	else if (copies_frames(port->devargs))
		host_filter_ignore_sent((int)if_nametoindex(ifname));
	if (!may_take(port) && !port->move_address)
		return 0;
	p = part_create(port, ifname);
	if (!p)
		return err_set(err, ENOMEM, "no memory for port %s", port->head.name);
	if (p->uplink && tap)
		ret = give(host, p, tap, err);
	else if (!p->uplink)
		give_waiting(host, p);
	if (ret < 0) {
		part_free(p);
		return ret;
	}
	p->next = host->parts;
	host->parts = p;
	return 0;
}

void host_address_announce(struct host_address *host, const struct port_obj *port)
{
	const struct part *tap = tap_of(host, port->switch_name);

	if (!tap || !is_taken(host, tap))
		return;
	for (int i = 0; i < 3; i++) {
		if (i)
			usleep(ANNOUNCE_US);
		announce(tap->ifname);
	}
}

void host_address_closing(struct host_address *host, const struct port_obj *port)
{
	struct part **link = &host->parts, *gone;

	while (*link && strcmp((*link)->port, port->head.name) != 0)
		link = &(*link)->next;
	gone = *link;
	if (!gone)
		return;
	*link = gone->next;
	if (gone->given)
		take_back(host, gone);
	for (struct part *p = host->parts; p; p = p->next)
		if (p->given == gone)
			take_back(host, p);
	part_free(gone);
}

struct host_address *host_address_create(const char *socket)
{
	struct host_address *host = calloc(1, sizeof(*host));
	const char *slash = strrchr(socket, '/');

	if (host)
		snprintf(host->run_dir, sizeof(host->run_dir), "%.*s",
			 slash ? (int)(slash - socket) : 1, slash ? socket : ".");
	return host;
}

void host_address_destroy(struct host_address *host)
{
	while (host && host->parts) {
		struct part *p = host->parts;

		host->parts = p->next;
		part_free(p);
	}
	free(host);
}
