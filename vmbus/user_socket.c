// SPDX-License-Identifier: Apache-2.0
#include "vmbus/user_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128 // connections that wait for accept, also while no switch runs

// Room for the descriptors of one message; the union aligns it.
union fds_area {
	struct cmsghdr head;
	uint8_t room[CMSG_SPACE(VMBUS_USER_MAX_FDS * sizeof(int))];
};

int vmbus_user_send(int fd, const void *message, uint32_t bytes, const int *fds, uint32_t n_fds)
{
	struct iovec iov = { (void *)(uintptr_t)message, bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union fds_area area = {};
	ssize_t n;

	assert(bytes >= 1 && bytes <= VMBUS_USER_MAX_MESSAGE && n_fds <= VMBUS_USER_MAX_FDS);
	if (n_fds > 0) {
		area.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
					      .cmsg_len = CMSG_LEN(n_fds * sizeof(int)) };
		memcpy(CMSG_DATA(&area.head), fds, n_fds * sizeof(int));
		msg.msg_control = &area;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	do
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return (size_t)n == bytes ? 0 : -EPROTO;
}

// Takes the descriptors out of what came beside the message.
static void take_fds(struct msghdr *msg, struct vmbus_user_datagram *datagram)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		// The area has room for no more than fds[] has, and the kernel makes one header.
		datagram->n_fds = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(datagram->fds, CMSG_DATA(c), datagram->n_fds * sizeof(int));
	}
}

int vmbus_user_receive(int fd, struct vmbus_user_datagram *datagram)
{
	struct iovec iov = { datagram->message, sizeof(datagram->message) };
	union fds_area area = {};
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = &area, .msg_controllen = sizeof(area.room) };
	ssize_t n;

	datagram->bytes = 0;
	datagram->n_fds = 0;
	do
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	take_fds(&msg, datagram);
	if (n == 0 || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		vmbus_user_datagram_close(datagram);
		return n == 0 ? 0 : -EPROTO;
	}
	datagram->bytes = (uint32_t)n;
	return (int)n;
}

void vmbus_user_datagram_close(struct vmbus_user_datagram *datagram)
{
	for (uint32_t i = 0; i < datagram->n_fds; i++)
		if (datagram->fds[i] >= 0)
			close(datagram->fds[i]);
	datagram->n_fds = 0;
}

// --- addresses ---------------------------------------------------------------------------------

// "@name" is abstract: a zero byte stands in front, and none behind.
static int make_address(const char *path, struct sockaddr_un *address, socklen_t *size)
{
	size_t n = strlen(path);

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (n == 0)
		return -EINVAL;
	if (n >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memcpy(address->sun_path, path, n);
	if (path[0] == '@')
		address->sun_path[0] = 0;
	*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path[0] != '@'));
	return 0;
}

static int make_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	return fd;
}

// A socket file of a listener that is gone: bind would fail on it for ever.
static bool is_left_over(const char *path)
{
	struct stat st;
	int fd;

	if (path[0] == '@' || lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = vmbus_user_connect(path);
	if (fd < 0)
		return fd == -ECONNREFUSED;
	close(fd);
	return false;
}

int vmbus_user_listen(const char *path)
{
	struct sockaddr_un address;
	socklen_t size;
	int fd, ret = make_address(path, &address, &size);

	if (ret < 0)
		return ret;
	fd = make_socket();
	if (fd < 0)
		return fd;
	ret = bind(fd, (struct sockaddr *)&address, size) < 0 ? -errno : 0;
	if (ret == -EADDRINUSE && is_left_over(path)) {
		unlink(path);
		ret = bind(fd, (struct sockaddr *)&address, size) < 0 ? -errno : 0;
	}
	if (ret == 0 && listen(fd, BACKLOG) < 0)
		ret = -errno;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

int vmbus_user_accept(int fd)
{
	int peer;

	do
		// cppcheck-suppress nullPointer ; nobody wants the peer's address
		peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (peer < 0 && errno == EINTR);
	if (peer < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return peer;
}

int vmbus_user_connect(const char *path)
{
	struct sockaddr_un address;
	socklen_t size;
	int fd, ret = make_address(path, &address, &size);

	if (ret < 0)
		return ret;
	fd = make_socket();
	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&address, size) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

int vmbus_user_peer_get(int fd, struct vmbus_user_peer *peer)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	*peer = (struct vmbus_user_peer){ cred.pid, cred.uid, cred.gid };
	return 0;
}
