// SPDX-License-Identifier: Apache-2.0
#include "daemon/vm_console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#define QUIT 0x1d // Ctrl-]

struct vm_console_io {
	int in, out; // -1: none
	int slave;   // kept open: a pseudo terminal that nobody has open hangs up
	bool is_terminal;
	struct termios saved;
	char path[64]; // of the pseudo terminal
	struct loop *loop;
	vm_console_type *type;
	void *owner;
};

static int open_pty(struct vm_console_io *c)
{
	struct termios raw;
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, c->path, sizeof(c->path)) ||
	    fcntl(fd, F_SETFL, O_NONBLOCK))
		return -errno;
	if (!tcgetattr(fd, &raw)) {
		cfmakeraw(&raw);
		tcsetattr(fd, TCSANOW, &raw);
	}
	c->in = c->out = fd;
	c->slave = open(c->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return c->slave < 0 ? -errno : 0;
}

// Keys go to the guest as they are struck.
static void open_stdio(struct vm_console_io *c)
{
	struct termios raw;

	c->in = STDIN_FILENO;
	c->out = STDOUT_FILENO;
	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &c->saved))
		return;
	raw = c->saved;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST;
	c->is_terminal = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

int vm_console_create(const struct vm_options *options, struct vm_console_io **out,
		      struct err *err)
{
	struct vm_console_io *c = calloc(1, sizeof(*c));
	int ret = 0;

	if (!c)
		return err_set(err, ENOMEM, "no memory for the console");
	c->in = c->out = c->slave = -1;
	if (options->console == VM_CONSOLE_STDIO) {
		open_stdio(c);
	} else if (options->console == VM_CONSOLE_PTY) {
		ret = open_pty(c);
	} else if (options->console == VM_CONSOLE_FILE) {
		c->out = open(options->console_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			      0600);
		ret = c->out < 0 ? -errno : 0;
	}
	if (ret) {
		vm_console_destroy(c);
		return err_set(err, -ret, "console: %s", strerror(-ret));
	}
	*out = c;
	return 0;
}

void vm_console_destroy(struct vm_console_io *console)
{
	if (!console)
		return;
	if (console->is_terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &console->saved);
	if (console->loop)
		loop_fd_del(console->loop, console->in);
	if (console->out > STDERR_FILENO)
		close(console->out);
	if (console->slave >= 0)
		close(console->slave);
	free(console);
}

static void on_input(void *arg, uint32_t events)
{
	struct vm_console_io *c = arg;
	uint8_t bytes[256];
	ssize_t n = read(c->in, bytes, sizeof(bytes));

	if (n <= 0) {
		// The end of a pipe, or of a terminal.
		if (n == 0 || errno != EAGAIN) {
			loop_fd_del(c->loop, c->in);
			c->loop = NULL;
		}
		return;
	}
	if (c->is_terminal && memchr(bytes, QUIT, (size_t)n))
		raise(SIGTERM);
	c->type(c->owner, bytes, (uint32_t)n);
}

int vm_console_watch(struct vm_console_io *console, struct loop *loop, vm_console_type *type,
		     void *owner)
{
	int ret;

	console->type = type;
	console->owner = owner;
	if (console->in < 0)
		return 0;
	ret = loop_fd_add(loop, console->in, EPOLLIN, on_input, console);
	if (!ret)
		console->loop = loop;
	return ret == -EPERM ? 0 : ret; // a file cannot be waited for, nor typed on
}

void vm_console_write(struct vm_console_io *console, const uint8_t *bytes, uint32_t n)
{
	struct pollfd out = { .fd = console->out, .events = POLLOUT };

	// A reader that is gone or asleep must not stop a processor.
	if (console->out < 0 || poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT))
		return;
	if (write(console->out, bytes, n) < 0)
		return; // nobody takes it
}

const char *vm_console_path(const struct vm_console_io *console)
{
	return console->path[0] ? console->path : NULL;
}
