// SPDX-License-Identifier: Apache-2.0
#include "dataplane/tap_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <rte_common.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/vnet.h"

// Kernel 6.2; Debian 12's headers do not name them yet.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static struct ifreq ifreq_for(const char *ifname)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	return ifr;
}

static int refused(const char *ifname, int error, struct err *err)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return err_set(err, error,
			       "ifname %s: no permission to make an interface: run as root or "
			       "with CAP_NET_ADMIN",
			       ifname);
	case EBUSY:
	case EEXIST:
	case EINVAL:
		return err_set(err, EEXIST,
			       "ifname %s: an interface of that name exists: `ip link del %s`, or "
			       "choose another",
			       ifname, ifname);
	default:
		return err_set(err, error, "ifname %s: %s", ifname, strerror(error));
	}
}

// Opens one queue; the first one makes the interface and must not find it there.
static int queue_open(const char *ifname, bool first, int *fd, struct err *err)
{
	struct ifreq ifr = ifreq_for(ifname);
	int header_bytes = sizeof(struct vnet_header), error;

	*fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0 && (errno == ENOENT || errno == ENODEV))
		return err_set(err, errno, "no /dev/net/tun: `modprobe tun`");
	if (*fd < 0)
		return refused(ifname, errno, err);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
	if (first)
		ifr.ifr_flags |= (short)IFF_TUN_EXCL;
	if (ioctl(*fd, TUNSETIFF, &ifr) == 0 && ioctl(*fd, TUNSETVNETHDRSZ, &header_bytes) == 0)
		return 0;
	error = errno;
	close(*fd);
	*fd = -1;
	return refused(ifname, error, err);
}

static int queues_open(const struct port_cfg *cfg, const char *ifname, struct tap_fds *fds,
		       struct err *err)
{
	uint16_t n = RTE_MAX(1, RTE_MIN(cfg->n_queues, PORT_MAX_QUEUES));
	unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int ret = 0;

	while (fds->n_queues < n && ret == 0) {
		ret = queue_open(ifname, fds->n_queues == 0, &fds->queue[fds->n_queues], err);
		if (ret == 0)
			fds->n_queues++;
	}
	if (ret < 0)
		return ret;
	// Offloads belong to the interface, not to the queue.
	fds->uso = ioctl(fds->queue[0], TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) == 0;
	if (!fds->uso && ioctl(fds->queue[0], TUNSETOFFLOAD, offloads) < 0)
		return err_set(err, errno, "ifname %s: the kernel refuses offloads: %s", ifname,
			       strerror(errno));
	return 0;
}

static int interface_set(const struct port_cfg *cfg, const char *ifname, struct tap_fds *fds,
			 struct err *err)
{
	struct ifreq ifr = ifreq_for(ifname);

	fds->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fds->control < 0)
		return err_set(err, errno, "ifname %s: no socket: %s", ifname, strerror(errno));
	if (!mac_is_zero(cfg->mac)) {
		ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
		memcpy(ifr.ifr_hwaddr.sa_data, cfg->mac.b, sizeof(cfg->mac.b));
		if (ioctl(fds->control, SIOCSIFHWADDR, &ifr) < 0)
			return err_set(err, errno, "mac of interface %s: %s", ifname,
				       strerror(errno));
	}
	if (cfg->mtu) {
		ifr.ifr_mtu = cfg->mtu;
		if (ioctl(fds->control, SIOCSIFMTU, &ifr) < 0)
			return err_set(err, errno, "mtu %u of interface %s: %s", cfg->mtu, ifname,
				       strerror(errno));
	}
	ifr = ifreq_for(ifname);
	if (ioctl(fds->control, SIOCGIFFLAGS, &ifr) == 0) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(fds->control, SIOCSIFFLAGS, &ifr) == 0)
			return 0;
	}
	return err_set(err, errno, "interface %s does not come up: %s", ifname, strerror(errno));
}

// Takes the calling thread into the named namespace; *home is the way back.
static int netns_enter(const char *name, int *home, struct err *err)
{
	char path[64 + sizeof("/run/netns/")];
	int fd, error;

	if (strchr(name, '/') || name[0] == '.' || strlen(name) > 64)
		return err_set(err, EINVAL, "netns %s: the name of a file in /run/netns", name);
	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "netns %s: %s: `ip netns add %s`", name,
			       strerror(errno), name);
	*home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	error = *home < 0 || setns(fd, CLONE_NEWNET) < 0 ? errno : 0;
	close(fd);
	if (!error)
		return 0;
	if (*home >= 0)
		close(*home);
	return err_set(err, error, "netns %s: cannot enter: %s: run as root or with CAP_SYS_ADMIN",
		       name, strerror(error));
}

static int netns_leave(int home, struct err *err)
{
	int ret = setns(home, CLONE_NEWNET);

	if (ret < 0)
		ret = err_set(err, errno, "cannot return from a network namespace: %s: restart",
			      strerror(errno));
	close(home);
	return ret;
}

int tap_fds_open(const struct port_cfg *cfg, const char *ifname, struct tap_fds *fds,
		 struct err *err)
{
	bool visit = cfg->netns && *cfg->netns;
	int home = -1, ret = 0;

	*fds = (struct tap_fds){ .control = -1 };
	if (!*ifname || strlen(ifname) >= IFNAMSIZ || strpbrk(ifname, "/: \t\n%") ||
	    ifname[0] == '.')
		return err_set(err, EINVAL, "ifname '%s': 1 to %d characters, none of / : %% space",
			       ifname, IFNAMSIZ - 1);
	if (visit)
		ret = netns_enter(cfg->netns, &home, err);
	if (ret < 0)
		return ret;
	ret = queues_open(cfg, ifname, fds, err);
	if (ret == 0)
		ret = interface_set(cfg, ifname, fds, err);
	if (visit) {
		int left = netns_leave(home, err);

		ret = left < 0 ? left : ret;
	}
	if (ret < 0)
		tap_fds_close(fds);
	return ret;
}

void tap_fds_close(struct tap_fds *fds)
{
	for (uint16_t i = 0; i < fds->n_queues; i++)
		close(fds->queue[i]);
	if (fds->control >= 0)
		close(fds->control);
	*fds = (struct tap_fds){ .control = -1 };
}
