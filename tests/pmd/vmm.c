// SPDX-License-Identifier: Apache-2.0
#include "tests/pmd/vmm.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 32

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_t thread;
static int epoll_fd = -1, stop_fd = -1;

void vmm_lock(void) { pthread_mutex_lock(&mutex); }
void vmm_unlock(void) { pthread_mutex_unlock(&mutex); }
void vmm_wake(void) { pthread_cond_broadcast(&changed); }

static void *run(void *)
{
	struct epoll_event events[MAX_EVENTS];

	for (;;) {
		int n;

		epoll_wait(epoll_fd, events, 1, -1);
		vmm_lock();
		// Asked again, for vmm_del may have come in between.
		n = epoll_wait(epoll_fd, events, MAX_EVENTS, 0);
		for (int i = 0; i < n; i++) {
			if (!events[i].data.ptr) {
				vmm_unlock();
				return NULL;
			}
			vmbus_client_run(events[i].data.ptr);
		}
		vmm_unlock();
	}
}

static int add(int fd, void *ptr)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = ptr };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int vmm_start(struct err *err)
{
	pthread_condattr_t attr;
	int ret;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attr);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	stop_fd = eventfd(0, EFD_CLOEXEC);
	if (epoll_fd < 0 || stop_fd < 0)
		return err_set(err, errno, "the VMM does not start: %m");
	ret = add(stop_fd, NULL);
	ret = ret ?: -pthread_create(&thread, NULL, run, NULL);
	return ret ? err_set(err, -ret, "the VMM does not start: %s", strerror(-ret)) : 0;
}

void vmm_stop(void)
{
	if (epoll_fd < 0)
		return;
	eventfd_write(stop_fd, 1);
	pthread_join(thread, NULL);
	close(epoll_fd);
	close(stop_fd);
	epoll_fd = -1;
}

int vmm_wait(bool (*done)(void *arg), void *arg, uint32_t seconds)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	while (!done(arg))
		if (pthread_cond_timedwait(&changed, &mutex, &end))
			return done(arg) ? 0 : -ETIMEDOUT;
	return 0;
}

int vmm_add(struct vmbus_client *client) { return add(vmbus_client_fd(client), client); }

void vmm_del(struct vmbus_client *client)
{
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, vmbus_client_fd(client), NULL);
}
