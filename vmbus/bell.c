// SPDX-License-Identifier: Apache-2.0
// Eventfds of VMMs. A write to one waits when its counter is full and O_NONBLOCK is off; both are
// the VMM's to set, at any moment, since flags belong to the open file that it shares with us. The
// kernel's own way to signal an eventfd never waits. It takes it when an asynchronous request ends
// that names one (IOCB_FLAG_RESFD), so a read of nothing is what rings here. It ends before
// io_submit returns. io_submit(2)
#include "vmbus/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_ENDED 256 // requests whose ends are kept until somebody looks at them
#define MAX_TRIES 4

static struct {
	aio_context_t context; // 0: none
	int null_fd;
} ringer = { 0, -1 };

int vmbus_bell_init(void)
{
	if (ringer.context)
		return 0;
	if (ringer.null_fd < 0)
		ringer.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (ringer.null_fd < 0 || syscall(SYS_io_setup, MAX_ENDED, &ringer.context) < 0)
		return -errno;
	return 0;
}

// Nobody cares how a read of nothing ended, but the kernel has room for so many ends only.
static void forget_ended(void)
{
	struct io_event events[MAX_ENDED];
	struct timespec none = { 0 };

	syscall(SYS_io_getevents, ringer.context, 0, MAX_ENDED, events, &none);
}

void vmbus_bell_signal(int fd)
{
	struct iocb read = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)ringer.null_fd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *reads[] = { &read };

	for (int i = 0; ringer.context && i < MAX_TRIES; i++) {
		if (syscall(SYS_io_submit, ringer.context, 1, reads) == 1)
			return;
		if (errno != EAGAIN)
			break;
		forget_ended();
	}
	eventfd_write(fd, 1); // a full counter rings as well
}
