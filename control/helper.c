// SPDX-License-Identifier: Apache-2.0
#include "control/helper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job {
	int (*work)(void *arg);
	void (*done)(void *arg, int result);
	void *arg;
	int result;
};

// Jobs lie in one ring in the order of their submission: those before n_worked have run, those
// before n_done have been reported. The counters only grow; each has one writer.
struct helper {
	struct loop *loop;
	pthread_t thread;
	int bell; // eventfd: the helper has finished a job
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job jobs[HELPER_MAX_JOBS];
	uint64_t n_submitted; // under lock, control: w
	uint64_t n_worked;    // under lock, helper: w
	uint64_t n_done;      // control only
	bool stop;            // under lock
};

// The next job to run, or NULL when there is none and the helper must end. Waits.
static struct job *next_job(struct helper *h)
{
	struct job *job = NULL;

	pthread_mutex_lock(&h->lock);
	while (h->n_worked == h->n_submitted && !h->stop)
		pthread_cond_wait(&h->wake, &h->lock);
	if (h->n_worked != h->n_submitted)
		job = &h->jobs[h->n_worked % HELPER_MAX_JOBS];
	pthread_mutex_unlock(&h->lock);
	return job;
}

static void *helper_main(void *arg)
{
	struct helper *h = arg;
	struct job *job;

	while ((job = next_job(h))) {
		job->result = job->work(job->arg);
		pthread_mutex_lock(&h->lock);
		h->n_worked++;
		pthread_cond_signal(&h->wake);
		pthread_mutex_unlock(&h->lock);
		eventfd_write(h->bell, 1);
	}
	return NULL;
}

// Reports one finished job. Returns false if there is none; waits for it first if told to.
static bool report(struct helper *h, bool wait)
{
	struct job job;
	bool ready;

	pthread_mutex_lock(&h->lock);
	while (wait && h->n_worked == h->n_done && h->n_submitted != h->n_done)
		pthread_cond_wait(&h->wake, &h->lock);
	ready = h->n_worked != h->n_done;
	pthread_mutex_unlock(&h->lock);
	if (!ready)
		return false;
	job = h->jobs[h->n_done++ % HELPER_MAX_JOBS];
	if (job.done)
		job.done(job.arg, job.result);
	return true;
}

static void bell_rang(void *arg, uint32_t events)
{
	struct helper *h = arg;
	eventfd_t n;

	eventfd_read(h->bell, &n);
	while (report(h, false))
		;
}

static int start_thread(struct helper *h)
{
	sigset_t all, old;
	int ret;

	// Signals are the control thread's.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&h->thread, NULL, helper_main, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -ret;
}

int helper_create(struct loop *loop, struct helper **out, struct err *err)
{
	struct helper *h = calloc(1, sizeof(*h));
	int ret = -ENOMEM;

	if (!h)
		return err_set(err, ENOMEM, "out of memory");
	h->loop = loop;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->wake, NULL);
	h->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->bell < 0) {
		ret = -errno;
		goto err_free;
	}
	ret = loop_fd_add(loop, h->bell, EPOLLIN, bell_rang, h);
	if (ret < 0)
		goto err_close;
	ret = start_thread(h);
	if (ret < 0)
		goto err_loop;
	pthread_setname_np(h->thread, "helper");
	*out = h;
	return 0;

err_loop:
	loop_fd_del(loop, h->bell);
err_close:
	close(h->bell);
err_free:
	free(h);
	return err_set(err, -ret, "cannot start the helper thread: %s", strerror(-ret));
}

void helper_destroy(struct helper *h)
{
	if (!h)
		return;
	while (report(h, true))
		;
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_cond_broadcast(&h->wake);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	loop_fd_del(h->loop, h->bell);
	close(h->bell);
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

int helper_submit(struct helper *h, int (*work)(void *arg), void (*done)(void *arg, int result),
		  void *arg)
{
	int ret = -EAGAIN;

	pthread_mutex_lock(&h->lock);
	if (h->n_submitted - h->n_done < HELPER_MAX_JOBS) {
		h->jobs[h->n_submitted++ % HELPER_MAX_JOBS] = (struct job){ work, done, arg, 0 };
		pthread_cond_broadcast(&h->wake);
		ret = 0;
	}
	pthread_mutex_unlock(&h->lock);
	return ret;
}
