// SPDX-License-Identifier: Apache-2.0
// The transport of vmbus-user: one datagram is one message, with its descriptors. Both ends use it.
// Nothing here blocks, and SIGPIPE is never raised. Any one thread a socket.
// docs/vmbus-user.md, sections 1.1, 1.2 and 1.4.
#pragma once

#include <sys/types.h>

#include "vmbus/user.h"

// One message as it was received.
struct vmbus_user_datagram {
	uint32_t bytes; // of the message
	uint32_t n_fds;
	int fds[VMBUS_USER_MAX_FDS]; // close-on-exec; owned by whoever received them
	uint8_t message[VMBUS_USER_MAX_MESSAGE] __attribute__((aligned(8)));
};

// Sends message[bytes] (1 … 4096 bytes) with fds[n_fds] (0 … 4), which stay the caller's. Returns
// 0, -EAGAIN (the other end does not read: nothing was sent) or another -errno: the connection is
// of no use any more.
int vmbus_user_send(int fd, const void *message, uint32_t bytes, const int *fds, uint32_t n_fds);

// Receives one message. Returns its bytes, 0 if the other end has hung up, -EAGAIN if there is none
// now, -EPROTO if it or its descriptors were cut (what came of them is closed), or another -errno.
int vmbus_user_receive(int fd, struct vmbus_user_datagram *datagram);

// Closes the descriptors that nobody has taken out (taken: -1 in their place).
void vmbus_user_datagram_close(struct vmbus_user_datagram *datagram);

// Listens on a path, or in the abstract namespace if it begins with '@'. A socket file that nobody
// listens on is replaced. Returns the descriptor (non-blocking) or -errno.
int vmbus_user_listen(const char *path);

// The next connection to a listening descriptor, non-blocking; -EAGAIN: none now; or -errno.
int vmbus_user_accept(int fd);

// Connects to a path, or an abstract name. Returns the descriptor (non-blocking) or -errno: -ENOENT
// and -ECONNREFUSED while there is nobody, -EAGAIN while too many are waiting.
int vmbus_user_connect(const char *path);

// Who was at the other end at the time of connect.
struct vmbus_user_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

// Returns 0 or -errno.
int vmbus_user_peer_get(int fd, struct vmbus_user_peer *peer);
