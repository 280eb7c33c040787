// SPDX-License-Identifier: Apache-2.0
// The tap port against the kernel it belongs to, in a network namespace that this test makes and
// removes. Needs root, else it is skipped. No EAL.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/pools.h"
#include "dataplane/port_util.h"
#include "dataplane/transmit.h"
#include "net/csum.h"
#include "net/test_util.h"

static struct port_pools pools;
static char netns[32], path[64];
static int home, away; // the two namespaces

static int netns_make(void)
{
	int ret = -1;

	snprintf(netns, sizeof(netns), "weft-test-%d", getpid());
	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	mkdir("/run/netns", 0755);
	home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (close(open(path, O_CREAT | O_WRONLY, 0600)) == 0 && unshare(CLONE_NEWNET) == 0) {
		ret = mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL);
		setns(home, CLONE_NEWNET);
	}
	away = open(path, O_RDONLY | O_CLOEXEC);
	return ret;
}

static int setup(void **state)
{
	pools.small = test_pool_create(1024, POOLS_SMALL_ROOM);
	pools.large = test_pool_create(64, POOLS_LARGE_ROOM);
	return netns_make();
}

static int teardown(void **state)
{
	test_pool_destroy(pools.small);
	test_pool_destroy(pools.large);
	close(away);
	close(home);
	umount2(path, MNT_DETACH);
	return unlink(path);
}

static int socket_there(int type)
{
	int fd;

	assert_int_equal(setns(away, CLONE_NEWNET), 0);
	fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	assert_true(fd >= 0);
	return fd;
}

static struct sockaddr_in address(const char *ip, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

// An open tap whose kernel side is 10.9.0.2 and knows us as 10.9.0.1.
static struct port_dev *open_tap(uint16_t mtu, uint16_t n_queues)
{
	struct port_cfg cfg = {
		.name = "wt0", .netns = netns, .mtu = mtu, .n_queues = n_queues, .pools = &pools,
		.mac = { { 2, 0, 0, 0, 0, 2 } },
	};
	struct arpreq arp = { .arp_flags = ATF_PERM | ATF_COM, .arp_dev = "wt0",
			      .arp_ha = { ARPHRD_ETHER, { 2, 0, 0, 0, 0, 1 } } };
	struct sockaddr_in a = address("10.9.0.2", 0);
	struct ifreq ifr = { .ifr_name = "wt0" };
	struct port_dev *dev = NULL;
	struct err err = { 0 };
	int fd;

	if (port_tap.open(&cfg, &dev, &err) < 0)
		fail_msg("%s", err.text);
	fd = socket_there(SOCK_DGRAM);
	memcpy(&ifr.ifr_addr, &a, sizeof(a));
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &ifr), 0);
	a = address("255.255.255.0", 0);
	memcpy(&ifr.ifr_netmask, &a, sizeof(a));
	assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &ifr), 0);
	a = address("10.9.0.1", 0);
	memcpy(&arp.arp_pa, &a, sizeof(a));
	assert_int_equal(ioctl(fd, SIOCSARP, &arp), 0);
	close(fd);
	return dev;
}

// Sends one frame through the transmit stage.
static void send_frame(struct port_dev *dev, struct rte_mbuf *m)
{
	struct rte_mbuf *out[TRANSMIT_MAX_SEGMENTS];
	struct transmit_result result = { 0 };
	uint16_t n_done, n;

	n = transmit_finish(dev, &pools, &m, 1, &n_done, out, TRANSMIT_MAX_SEGMENTS, &result);
	assert_true(n > 0);
	assert_int_equal(dev->ops->tx(dev->queues[0], out, n), n);
}

// The next IPv4 frame of that protocol from the kernel; others (IPv6 chatter) are thrown away.
static struct rte_mbuf *next_frame(struct port_dev *dev, uint8_t proto)
{
	struct pollfd fd = { dev->ops->doorbell(dev->queues[0]), POLLIN, 0 };
	struct rte_mbuf *m;

	for (;;) {
		const uint8_t *frame;

		if (dev->ops->rx(dev->queues[0], &m, 1) == 0) {
			if (poll(&fd, 1, 2000) != 1)
				fail_msg("the kernel sends nothing");
			continue;
		}
		frame = rte_pktmbuf_mtod(m, const uint8_t *);
		assert_true(port_head_contiguous(m));
		assert_int_equal(rte_mbuf_check(m, 1, &(const char *){ NULL }), 0);
		if (m->pkt_len > 34 && frame[12] == 8 && frame[13] == 0 && frame[23] == proto)
			return m;
		rte_pktmbuf_free(m);
	}
}

static void refused(struct port_cfg cfg, int error, const char *says)
{
	struct port_dev *dev;
	struct err err = { 0 };

	cfg.name = "p0";
	cfg.pools = &pools;
	assert_int_equal(port_tap.open(&cfg, &dev, &err), -error);
	if (!strstr(err.text, says))
		fail_msg("'%s' does not say '%s'", err.text, says);
}

static void bad_requests_are_refused(void **state)
{
	struct port_dev *dev = open_tap(0, 1);
	struct stat before, after;

	fstat(home, &before);
	refused((struct port_cfg){ .ifname = "wt0", .netns = netns }, EEXIST, "ip link del wt0");
	refused((struct port_cfg){ .ifname = "lo", .netns = netns }, EEXIST, "exists");
	refused((struct port_cfg){ .ifname = "sixteen-letters-" }, EINVAL, "1 to 15");
	refused((struct port_cfg){ .ifname = "a/b", .netns = netns }, EINVAL, "ifname 'a/b'");
	refused((struct port_cfg){ .ifname = "wt%d", .netns = netns }, EINVAL, "ifname");
	refused((struct port_cfg){ .netns = "no-such" }, ENOENT, "ip netns add no-such");
	refused((struct port_cfg){ .netns = "../proc/1/ns/net" }, EINVAL, "netns");
	refused((struct port_cfg){ .netns = netns, .mac = { { 1, 0, 0, 0, 0, 1 } } }, EADDRNOTAVAIL,
		"mac");
	assert_int_equal(stat("/proc/thread-self/ns/net", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino); // we are at home
	dev->ops->close(dev);
}

static void interface_is_as_asked(void **state)
{
	struct port_dev *dev = open_tap(9000, 3);
	struct ifreq ifr = { .ifr_name = "wt0" };
	int fd = socket_there(SOCK_DGRAM);
	struct port_link link;

	assert_int_equal(dev->n_queues, 3);
	assert_int_equal(dev->max_frame, 9022);
	assert_int_equal(ioctl(fd, SIOCGIFMTU, &ifr), 0);
	assert_int_equal(ifr.ifr_mtu, 9000);
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &ifr), 0);
	assert_memory_equal(ifr.ifr_hwaddr.sa_data, ((uint8_t[]){ 2, 0, 0, 0, 0, 2 }), 6);
	dev->ops->link(dev, &link);
	assert_true(link.up);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &ifr), 0);
	assert_true(ifr.ifr_flags & IFF_UP);
	ifr.ifr_flags &= (short)~IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	dev->ops->link(dev, &link);
	assert_false(link.up);
	assert_string_equal(link.reason, "down: `ip link set wt0 up`");
	dev->ops->close(dev);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &ifr), -1); // gone with its descriptors
	close(fd);
}

// An interface that is down takes nothing: taken from us, and counted.
static void down_means_lost(void **state)
{
	struct port_dev *dev = open_tap(0, 1);
	struct ifreq ifr = { .ifr_name = "wt0" };
	int fd = socket_there(SOCK_DGRAM);
	struct port_dev_stats stats;

	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	send_frame(dev, test_frame_build(pools.small, &(struct test_frame){ .payload_bytes = 9 }));
	dev->ops->stats(dev, &stats);
	assert_int_equal(stats.tx_errors, 1);
	dev->ops->close(dev);
	close(fd);
}

// The interface is deleted under us: no crash, and the doorbell does not ring for ever.
static void deleted_interface_is_silent(void **state)
{
	struct port_dev *dev = open_tap(0, 1);
	struct pollfd fd = { dev->ops->doorbell(dev->queues[0]), POLLIN, 0 };
	struct port_link link;
	struct rte_mbuf *m;
	char command[96];

	snprintf(command, sizeof(command), "ip -n %s link del wt0", netns);
	if (system(command) != 0) {
		dev->ops->close(dev);
		skip(); // no iproute2
	}
	while (dev->ops->rx(dev->queues[0], &m, 1) == 1)
		rte_pktmbuf_free(m);
	assert_int_equal(poll(&fd, 1, 0), 0);
	send_frame(dev, test_frame_build(pools.small, &(struct test_frame){ .payload_bytes = 9 }));
	assert_int_equal(dev->ops->rx(dev->queues[0], &m, 1), 0);
	dev->ops->link(dev, &link);
	assert_false(link.up);
	dev->ops->close(dev);
}

// ICMP echo, small and jumbo: the bytes come back.
static void ping(struct port_dev *dev, uint32_t payload)
{
	struct test_frame f = { .payload_bytes = payload };
	struct rte_mbuf *m = test_frame_build(pools.small, &f);
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *), *flat;

	frame[23] = 1; // ICMP in place of UDP: type 8, code 0, its checksum where UDP has its port
	memcpy(frame + 34, (uint8_t[]){ 8, 0, 0, 0, 0x12, 0x34, 0, 1 }, 8);
	assert_true(csum_complete(m, 34, 2));
	m->ol_flags = RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4;
	m->l2_len = 14;
	m->l3_len = 20;
	send_frame(dev, m);
	m = next_frame(dev, 1);
	assert_int_equal(m->pkt_len, 42 + payload);
	flat = test_flat(m);
	assert_int_equal(flat[34], 0);
	for (uint32_t i = 0; i < payload; i++)
		assert_int_equal(flat[42 + i], test_payload(i));
	free(flat);
	rte_pktmbuf_free(m);
}

static void kernel_answers_ping(void **state)
{
	struct port_dev *dev = open_tap(9000, 1);

	ping(dev, 1);
	ping(dev, 56);
	ping(dev, 1472);
	ping(dev, 8972);
	dev->ops->close(dev);
}

// Frames as the kernel sent them go through the software stage: all is checked there.
static uint32_t check_in_software(struct rte_mbuf *m)
{
	struct port_dev plain = { .max_frame = 1522 };
	struct rte_mbuf *out[TRANSMIT_MAX_SEGMENTS];
	struct transmit_result result = { 0 };
	uint32_t sum = 0, payload;
	uint16_t n_done, n;

	n = transmit_finish(&plain, &pools, &m, 1, &n_done, out, TRANSMIT_MAX_SEGMENTS, &result);
	assert_true(n > 0);
	for (uint16_t i = 0; i < n; i++) {
		uint32_t offset = test_frame_check(out[i], &payload);

		for (uint32_t b = 0; b < payload; b++)
			assert_int_equal(*rte_pktmbuf_mtod_offset(out[i], uint8_t *, offset + b),
					 test_payload(sum + b));
		sum += payload;
	}
	rte_pktmbuf_free_bulk(out, n);
	return sum;
}

static void udp_segments_both_ways(void **state)
{
	struct test_frame f = { .payload_bytes = 5500, .mss = 1000, .request = true };
	struct sockaddr_in here = address("10.9.0.2", 5201), there = address("10.9.0.1", 40000);
	int fd = socket_there(SOCK_DGRAM), size = 1000;
	struct port_dev *dev = open_tap(0, 1);
	uint8_t bytes[8000];
	struct rte_mbuf *m;

	assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof(here)), 0);
	send_frame(dev, test_frame_build(pools.small, &f));
	for (uint32_t at = 0; at < 5500; at += 1000) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		assert_int_equal(n, RTE_MIN(5500 - at, 1000u));
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(bytes[i], test_payload(at + i));
	}
	for (uint32_t i = 0; i < 5500; i++)
		bytes[i] = test_payload(i);
	assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&there, sizeof(there)), 0);
	assert_int_equal(send(fd, bytes, 5500, 0), 5500);
	m = next_frame(dev, 17);
	if (dev->offloads & PORT_OFFLOAD_USO) {
		assert_int_equal(m->tso_segsz, 1000);
		assert_int_equal(m->pkt_len, 5542);
		assert_int_equal(check_in_software(m), 5500);
	} else {
		assert_int_equal(check_in_software(m), 1000); // an older kernel cuts itself
	}
	close(fd);
	dev->ops->close(dev);
}

// Our end of a TCP connection, just enough of it.
struct peer {
	struct port_dev *dev;
	uint32_t seq, ack;
};

static void peer_send(struct peer *p, uint8_t flags, uint32_t payload, uint16_t mss)
{
	struct test_frame f = { .tcp = true, .tcp_flags = flags, .payload_bytes = payload,
				.mss = mss, .request = true, .tcp_options = 4 };
	struct rte_mbuf *m = test_frame_build(pools.small, &f);
	uint8_t *tcp = rte_pktmbuf_mtod_offset(m, uint8_t *, 34);

	store_be32(tcp + 4, cpu_to_be32(p->seq));
	store_be32(tcp + 8, cpu_to_be32(p->ack));
	store_be16(tcp + 14, BE16(65535));
	if (flags & TCP_SYN)
		memcpy(tcp + 20, (uint8_t[]){ 2, 4, 1460 >> 8, 1460 & 255 }, 4); // MSS option
	p->seq += payload + !!(flags & TCP_SYN);
	send_frame(p->dev, m);
}

// Receives one frame, acknowledges it; returns its payload bytes, *large tells an LSO frame.
static uint32_t peer_receive(struct peer *p, uint32_t *large)
{
	struct rte_mbuf *m = next_frame(p->dev, 6);
	const uint8_t *tcp = rte_pktmbuf_mtod_offset(m, const uint8_t *, 34);
	uint32_t payload = m->pkt_len - 34 - (tcp[12] >> 4) * 4u;
	bool syn = tcp[13] & TCP_SYN;

	*large += !!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
	p->ack = be32_to_cpu(load_be32(tcp + 4)) + payload + syn;
	rte_pktmbuf_free(m);
	if (payload || syn)
		peer_send(p, TCP_ACK, 0, 0);
	return payload;
}

static int peer_connect(struct peer *p)
{
	struct sockaddr_in here = address("10.9.0.2", 5201);
	int fd = socket_there(SOCK_STREAM), accepted;
	uint32_t large = 0;

	assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof(here)), 0);
	assert_int_equal(listen(fd, 1), 0);
	peer_send(p, TCP_SYN, 0, 0);
	peer_receive(p, &large);
	accepted = accept(fd, NULL, NULL);
	assert_true(accepted >= 0);
	close(fd);
	return accepted;
}

static void tcp_segments_both_ways(void **state)
{
	struct peer p = { .dev = open_tap(0, 1), .seq = 1000 };
	int fd = peer_connect(&p);
	uint32_t got = 0, large = 0;
	uint8_t *bytes = malloc(40000);

	peer_send(&p, TCP_ACK | TCP_PSH, 40000, 1448); // one large send into the kernel
	while (got < 40000) {
		ssize_t n = recv(fd, bytes + got, 40000 - got, MSG_DONTWAIT);

		assert_true(n > 0);
		got += (uint32_t)n;
	}
	for (uint32_t i = 0; i < 40000; i++)
		assert_int_equal(bytes[i], test_payload(i));
	assert_int_equal(send(fd, bytes, 40000, MSG_DONTWAIT), 40000);
	for (got = 0; got < 40000;)
		got += peer_receive(&p, &large);
	assert_int_equal(got, 40000);
	assert_true(large > 0);
	free(bytes);
	close(fd);
	p.dev->ops->close(p.dev);
}

// Starved of buffers, nothing is lost but time.
static void rx_waits_for_buffers(void **state)
{
	struct port_dev *dev = open_tap(0, 1);
	struct rte_mbuf *hold[1024];
	uint32_t n_hold = 0;
	struct port_dev_stats stats;
	struct rte_mbuf *m;

	send_frame(dev, test_frame_build(pools.small, &(struct test_frame){ .payload_bytes = 9 }));
	while ((m = rte_pktmbuf_alloc(pools.small)) != NULL)
		hold[n_hold++] = m;
	assert_int_equal(dev->ops->rx(dev->queues[0], &m, 1), 0);
	dev->ops->stats(dev, &stats);
	assert_true(stats.no_mbuf > 0);
	rte_pktmbuf_free_bulk(hold, n_hold);
	rte_pktmbuf_free(next_frame(dev, 1)); // port unreachable, for the frame above
	dev->ops->close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_requests_are_refused),
		cmocka_unit_test(interface_is_as_asked),
		cmocka_unit_test(down_means_lost),
		cmocka_unit_test(deleted_interface_is_silent),
		cmocka_unit_test(kernel_answers_ping),
		cmocka_unit_test(udp_segments_both_ways),
		cmocka_unit_test(tcp_segments_both_ways),
		cmocka_unit_test(rx_waits_for_buffers),
	};

	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		printf("1..0 # SKIP tap: needs root and /dev/net/tun\n");
		return 77;
	}
	return cmocka_run_group_tests_name("tap", tests, setup, teardown);
}
