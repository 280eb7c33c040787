// SPDX-License-Identifier: Apache-2.0
#include "dataplane/idle.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "dataplane/worker.h"

#define SPIN_US 50
#define AWAIT_LOOKS 64 // at what others do, before the core is given to them …
#define AWAIT_NS 20000 // … for so long at a time
#define FIRST_SLEEP_NS 20000
#define LONGEST_TIMED_NS 1000000    // queues that cannot ring are looked at this often
#define LONGEST_RUNG_NS 100000000   // everything rings: only housekeeping needs the core

int idle_init(struct idle *idle, bool poll)
{
	*idle = (struct idle){ .epoll_fd = -1, .poll = poll, .step_ns = FIRST_SLEEP_NS };
	idle->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return idle->event_fd < 0 ? -errno : 0;
}

void idle_fini(struct idle *idle)
{
	if (idle->epoll_fd >= 0)
		close(idle->epoll_fd);
	if (idle->event_fd >= 0)
		close(idle->event_fd);
}

void idle_wake(struct idle *idle)
{
	// Orders the work just left before the look at the flag; pairs with the store in rest.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&idle->sleeping, __ATOMIC_RELAXED))
		eventfd_write(idle->event_fd, 1);
}

// A new plan has other doorbells; the old set goes with its descriptor.
static bool watch(struct idle *idle, const struct worker_plan *plan)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (idle->watched == plan->epoch)
		return true;
	if (idle->epoll_fd >= 0)
		close(idle->epoll_fd);
	idle->watched = 0;
	idle->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (idle->epoll_fd < 0 || epoll_ctl(idle->epoll_fd, EPOLL_CTL_ADD, idle->event_fd, &ev))
		return false;
	for (uint16_t i = 0; i < plan->n_queues; i++)
		if (plan->queues[i].doorbell >= 0 &&
		    epoll_ctl(idle->epoll_fd, EPOLL_CTL_ADD, plan->queues[i].doorbell, &ev) &&
		    errno != EEXIST) // queues may share one
			return false;
	idle->watched = plan->epoch;
	return true;
}

// Tells devices that want to know whether they must ring. True if one has work already.
static bool arm_all(const struct worker_plan *plan, bool armed)
{
	bool pending = false;

	for (uint16_t i = 0; i < plan->n_queues; i++) {
		struct port_queue *q = plan->queues[i].queue;

		if (q->dev->ops->arm)
			pending |= q->dev->ops->arm(q, armed);
	}
	return pending && armed;
}

void idle_await(unsigned int *rounds)
{
	const struct timespec t = { .tv_nsec = AWAIT_NS };

	if (++*rounds > AWAIT_LOOKS)
		nanosleep(&t, NULL);
}

static void sleep_once(struct idle *idle, uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000),
			      .tv_nsec = (long)(ns % 1000000000) };
	struct epoll_event ev[8];
	eventfd_t value;

	if (epoll_pwait2(idle->epoll_fd, ev, ARRAY_SIZE(ev), &t, NULL) > 0)
		eventfd_read(idle->event_fd, &value);
}

bool idle_rest(struct idle *idle, const struct worker_plan *plan, struct rcu *rcu,
	       unsigned int reader, bool (*has_work)(void *arg), void *arg)
{
	uint64_t now = rte_rdtsc(), longest = plan->all_ring ? LONGEST_RUNG_NS : LONGEST_TIMED_NS;

	if (idle->poll)
		return false;
	if (!idle->empty_since_tsc) {
		idle->empty_since_tsc = now;
		idle->step_ns = FIRST_SLEEP_NS;
		return false;
	}
	if (now - idle->empty_since_tsc < rte_get_tsc_hz() / 1000000 * SPIN_US)
		return false;
	if (!watch(idle, plan))
		longest = LONGEST_TIMED_NS;
	__atomic_store_n(&idle->sleeping, true, __ATOMIC_SEQ_CST);
	idle->armed = true;
	if (!arm_all(plan, true) && !has_work(arg)) {
		rcu_reader_offline(rcu, reader);
		sleep_once(idle, idle->step_ns < longest ? idle->step_ns : longest);
		rcu_reader_online(rcu, reader);
	}
	__atomic_store_n(&idle->sleeping, false, __ATOMIC_RELAXED);
	if (idle->step_ns < longest)
		idle->step_ns *= 2;
	return true;
}

void idle_disarm(struct idle *idle, const struct worker_plan *plan)
{
	arm_all(plan, false);
	idle->armed = false;
}
