// SPDX-License-Identifier: Apache-2.0
#include "control/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/types.h"

#define MAX_EVENTS 64 // taken from the kernel at once

// Who is called for a descriptor.
struct watch {
	loop_fd_fn *fn; // NULL: nobody
	loop_timer_fn *timer_fn;
	void *arg;
	uint32_t generation; // grows at each add, so that events of an earlier owner are known
};

struct loop {
	int epoll;
	bool stop;
	struct watch *watches; // by descriptor
	int n_watches;
};

uint64_t loop_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int loop_create(struct loop **out, struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return err_set(err, ENOMEM, "out of memory");
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0) {
		free(loop);
		return err_set(err, errno, "epoll_create1: %s", strerror(errno));
	}
	*out = loop;
	return 0;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	for (int fd = 0; fd < loop->n_watches; fd++)
		if (loop->watches[fd].timer_fn)
			close(fd);
	close(loop->epoll);
	free(loop->watches);
	free(loop);
}

// Makes watches[] reach up to `fd`.
static int grow(struct loop *loop, int fd)
{
	int n = loop->n_watches ? loop->n_watches : 64;
	struct watch *watches;

	while (n <= fd)
		n *= 2;
	if (n == loop->n_watches)
		return 0;
	watches = realloc(loop->watches, (size_t)n * sizeof(*watches));
	if (!watches)
		return -ENOMEM;
	memset(watches + loop->n_watches, 0, (size_t)(n - loop->n_watches) * sizeof(*watches));
	loop->watches = watches;
	loop->n_watches = n;
	return 0;
}

static int control_fd(struct loop *loop, int op, int fd, uint32_t events)
{
	uint64_t generation = loop->watches[fd].generation;
	struct epoll_event ev = { .events = events, .data.u64 = generation << 32 | (uint32_t)fd };

	return epoll_ctl(loop->epoll, op, fd, &ev) < 0 ? -errno : 0;
}

int loop_fd_add(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *arg)
{
	int ret = grow(loop, fd);
	struct watch *w;

	if (ret < 0)
		return ret;
	w = &loop->watches[fd];
	w->generation++;
	ret = control_fd(loop, EPOLL_CTL_ADD, fd, events);
	if (ret < 0)
		return ret;
	w->fn = fn;
	w->arg = arg;
	return 0;
}

int loop_fd_set(struct loop *loop, int fd, uint32_t events)
{
	return control_fd(loop, EPOLL_CTL_MOD, fd, events);
}

void loop_fd_del(struct loop *loop, int fd)
{
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
	loop->watches[fd].fn = NULL;
	loop->watches[fd].timer_fn = NULL;
}

// watches[] may move while fn runs: nothing of it is used afterwards.
static void timer_ready(struct loop *loop, int fd)
{
	struct watch w = loop->watches[fd];
	uint64_t expirations;

	if (read(fd, &expirations, sizeof(expirations)) == sizeof(expirations))
		w.timer_fn(w.arg);
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
}

// Only its address matters: such a watch is a timer, see dispatch.
static void timer_mark(void *arg, uint32_t events)
{
}

int loop_timer_add(struct loop *loop, uint64_t first_ns, uint64_t period_ns, loop_timer_fn *fn,
		   void *arg)
{
	// 0 would disarm the timer.
	struct itimerspec when = { to_timespec(period_ns), to_timespec(first_ns ? first_ns : 1) };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int ret;

	if (fd < 0)
		return -errno;
	ret = loop_fd_add(loop, fd, EPOLLIN, timer_mark, arg);
	if (ret == 0 && timerfd_settime(fd, 0, &when, NULL) < 0)
		ret = -errno;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	loop->watches[fd].timer_fn = fn;
	return fd;
}

void loop_timer_del(struct loop *loop, int timer)
{
	if (timer < 0)
		return;
	loop_fd_del(loop, timer);
	close(timer);
}

static void dispatch(struct loop *loop, const struct epoll_event *ev)
{
	int fd = (int)(uint32_t)ev->data.u64;
	struct watch w = loop->watches[fd];

	// Deleted, and perhaps added again, by a callback before this one.
	if (!w.fn || w.generation != ev->data.u64 >> 32)
		return;
	if (w.timer_fn)
		timer_ready(loop, fd);
	else
		w.fn(w.arg, ev->events);
}

int loop_run(struct loop *loop)
{
	struct epoll_event events[MAX_EVENTS];
	int n;

	for (loop->stop = false; !loop->stop;) {
		n = epoll_wait(loop->epoll, events, MAX_EVENTS, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n && !loop->stop; i++)
			dispatch(loop, &events[i]);
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}
