// SPDX-License-Identifier: Apache-2.0
// Datagrams with descriptors over a socket pair, and sockets by name.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmbus/user_socket.h"

static int ends[2];
static struct vmbus_user_datagram datagram;

static int set_up(void **state)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int tear_down(void **state)
{
	vmbus_user_datagram_close(&datagram);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	return 0;
}

// How many descriptors this process has open.
static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void a_message_comes_whole(void **state)
{
	uint8_t message[VMBUS_USER_MAX_MESSAGE];

	memset(message, 0x5a, sizeof(message));
	assert_int_equal(vmbus_user_receive(ends[1], &datagram), -EAGAIN);
	assert_int_equal(vmbus_user_send(ends[0], message, sizeof(message), NULL, 0), 0);
	assert_int_equal(vmbus_user_send(ends[0], message, 1, NULL, 0), 0);
	assert_int_equal(vmbus_user_receive(ends[1], &datagram), sizeof(message));
	assert_memory_equal(datagram.message, message, sizeof(message));
	assert_int_equal(vmbus_user_receive(ends[1], &datagram), 1);
	assert_int_equal(datagram.n_fds, 0);
}

static void descriptors_come_with_it(void **state)
{
	int fds[VMBUS_USER_MAX_FDS] = { ends[0], ends[1], ends[0], ends[0] };
	struct stat a, b;
	int before = count_fds();

	for (uint32_t n = 1; n <= VMBUS_USER_MAX_FDS; n++) {
		assert_int_equal(vmbus_user_send(ends[0], "x", 1, fds, n), 0);
		assert_int_equal(vmbus_user_receive(ends[1], &datagram), 1);
		assert_int_equal(datagram.n_fds, n);
		assert_int_equal(fstat(datagram.fds[n - 1], &a), 0);
		assert_int_equal(fstat(fds[n - 1], &b), 0);
		assert_int_equal(a.st_ino, b.st_ino);
		assert_true(fcntl(datagram.fds[0], F_GETFD) & FD_CLOEXEC);
		vmbus_user_datagram_close(&datagram);
		assert_int_equal(count_fds(), before);
	}
}

static void what_is_cut_is_refused(void **state)
{
	static uint8_t long_message[VMBUS_USER_MAX_MESSAGE + 1];
	struct {
		struct cmsghdr head;
		int fds[VMBUS_USER_MAX_FDS + 1];
	} area = {
		.head = { CMSG_LEN(sizeof(area.fds)), SOL_SOCKET, SCM_RIGHTS },
		.fds = { 0, 0, 0, 0, 0 },
	};
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &area,
			      .msg_controllen = CMSG_LEN(sizeof(area.fds)) };
	int before = count_fds();

	assert_int_equal(send(ends[0], long_message, sizeof(long_message), 0),
			 sizeof(long_message));
	assert_int_equal(vmbus_user_receive(ends[1], &datagram), -EPROTO);
	assert_int_equal(sendmsg(ends[0], &msg, 0), 1);
	assert_int_equal(vmbus_user_receive(ends[1], &datagram), -EPROTO);
	assert_int_equal(datagram.n_fds, 0);
	assert_int_equal(count_fds(), before);
	// The socket still works: whether to go on is the caller's decision.
	assert_int_equal(vmbus_user_send(ends[0], "y", 1, NULL, 0), 0);
	assert_int_equal(vmbus_user_receive(ends[1], &datagram), 1);
}

static void a_full_socket_says_so(void **state)
{
	static uint8_t message[VMBUS_USER_MAX_MESSAGE];
	int ret = 0;

	for (int i = 0; i < 10000 && ret == 0; i++)
		ret = vmbus_user_send(ends[0], message, sizeof(message), NULL, 0);
	assert_int_equal(ret, -EAGAIN);
	assert_int_equal(vmbus_user_receive(ends[1], &datagram), sizeof(message));
	assert_int_equal(vmbus_user_send(ends[0], message, sizeof(message), NULL, 0), 0);
}

static void a_hang_up_is_seen(void **state)
{
	close(ends[0]);
	ends[0] = -1;
	assert_int_equal(vmbus_user_receive(ends[1], &datagram), 0);
	assert_int_equal(vmbus_user_send(ends[1], "x", 1, NULL, 0), -EPIPE);
}

static void talk(const char *path)
{
	int listener = vmbus_user_listen(path), client, peer;
	struct vmbus_user_peer who;

	assert_true(listener >= 0);
	assert_int_equal(vmbus_user_accept(listener), -EAGAIN);
	client = vmbus_user_connect(path);
	assert_true(client >= 0);
	peer = vmbus_user_accept(listener);
	assert_true(peer >= 0);
	assert_int_equal(vmbus_user_peer_get(peer, &who), 0);
	assert_int_equal(who.uid, geteuid());
	assert_int_equal(who.pid, getpid());
	assert_int_equal(vmbus_user_send(client, "x", 1, NULL, 0), 0);
	assert_int_equal(vmbus_user_receive(peer, &datagram), 1);
	assert_int_equal(vmbus_user_listen(path), -EADDRINUSE);
	close(peer);
	close(client);
	close(listener);
	assert_int_equal(vmbus_user_connect(path), -ECONNREFUSED);
}

static void sockets_have_names(void **state)
{
	char folder[] = "/tmp/vmbus-XXXXXX", path[64], name[64];
	int fd;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/s", folder);
	snprintf(name, sizeof(name), "@%s", folder);
	assert_int_equal(vmbus_user_connect(path), -ENOENT);
	talk(path);
	talk(path); // over the file that the first one left
	talk(name);
	unlink(path);
	// What is no socket is never replaced.
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(vmbus_user_listen(path), -EADDRINUSE);
	unlink(path);
	rmdir(folder);
}

static void names_have_limits(void **state)
{
	char path[200] = "/tmp/";

	memset(path + 5, 'x', sizeof(path) - 6);
	assert_int_equal(vmbus_user_listen(path), -ENAMETOOLONG);
	assert_int_equal(vmbus_user_connect(path), -ENAMETOOLONG);
	assert_int_equal(vmbus_user_connect(""), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_message_comes_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(descriptors_come_with_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_cut_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_full_socket_says_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_hang_up_is_seen, set_up, tear_down),
		cmocka_unit_test(sockets_have_names),
		cmocka_unit_test(names_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
