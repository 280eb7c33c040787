// SPDX-License-Identifier: Apache-2.0
// Channels between control and workers: taking them back, giving them out, what workers have to
// say, and the end of a guest's time.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "netvsp/nic_parts.h"
#include "netvsp/rss.h"
#include "netvsp/sections.h"

uint64_t nic_open_channels(const struct netvsp_nic *nic)
{
	uint64_t channels = 0;

	for (unsigned int i = 0; i < nic->dev.n_queues; i++)
		channels |= (uint64_t)nic->channels[i].open << i;
	return channels;
}

// --- jobs --------------------------------------------------------------------------------------

static void job_begin(struct netvsp_nic *nic);

static bool has_jobs(const struct netvsp_nic *nic)
{
	for (int i = 0; i < NIC_N_JOBS; i++)
		if (nic->jobs[i].fn)
			return true;
	return false;
}

// A grace period has passed since channels were taken back.
static void job_run(void *arg)
{
	struct netvsp_nic *nic = arg;
	struct nic_job *job = nic->jobs;
	void (*fn)(struct netvsp_nic *);
	bool is_last;

	// What was to be done may have become void.
	if (!has_jobs(nic)) {
		nic->job_running = false;
		nic_publish(nic);
		return;
	}
	while (!job->fn)
		job++;
	// A more urgent one may have come meanwhile, that needs more channels.
	if (job->channels & nic->live) {
		job_begin(nic);
		return;
	}
	nic->job_running = false;
	fn = job->fn;
	is_last = job == &nic->jobs[NIC_JOB_LEAVE];
	*job = (struct nic_job){};
	fn(nic);
	if (is_last) // the NIC may be gone
		return;
	nic_publish(nic);
	nic_mail_look(nic);
	if (!nic->job_running && has_jobs(nic))
		job_begin(nic);
}

// Takes back what the most urgent job needs.
static void job_begin(struct netvsp_nic *nic)
{
	const struct nic_job *job = nic->jobs;

	while (!job->fn)
		job++;
	for (unsigned int i = 0; i < nic->dev.n_queues; i++)
		if (job->channels & nic->live & 1ull << i)
			rcu_set(&nic->queues[i].channel, NULL);
	nic->live &= ~job->channels;
	nic->job_running = true;
	rcu_retire(nic->rcu, job_run, nic);
}

void nic_quiesce(struct netvsp_nic *nic, enum nic_job_kind kind, uint64_t channels,
		 void (*fn)(struct netvsp_nic *nic))
{
	struct nic_job *job = &nic->jobs[kind];

	job->channels |= channels;
	job->fn = fn;
	if (!nic->job_running)
		job_begin(nic);
}

void nic_publish(struct netvsp_nic *nic)
{
	if (!nic->serving || nic->leaving || nic->job_running)
		return;
	for (unsigned int i = 0; i < nic->dev.n_queues; i++) {
		struct nic_channel *c = &nic->channels[i];

		if (!c->channel || c->failed || nic->live & 1ull << i)
			continue;
		nic->queues[i].told = 0;
		rcu_set(&nic->queues[i].channel, c->channel);
		nic->live |= 1ull << i;
		// Its worker may sleep, and looks at rings anew before it does so again.
		netvsp_nic_kick(&nic->queues[i]);
		if (c->ring)
			vmbus_bell_ring(c->bell, nic->guest.dirty.rcu_ptr);
		c->ring = false;
	}
}

// --- what workers say --------------------------------------------------------------------------

void nic_channel_gone_wrong(struct netvsp_nic *nic, unsigned int index, enum vmbus_user_failure why)
{
	static const char *const whys[] = {
		[VMBUS_USER_FAILED_INDEX] = "an index of a ring makes no sense",
		[VMBUS_USER_FAILED_PACKET] = "a packet in a ring makes no sense",
		[VMBUS_USER_FAILED_PROTOCOL] = "the driver does not keep to the protocol",
	};
	char text[80];

	nic->channels[index].failed = true;
	vmbus_peer_channel_failed(nic->peer, index, why, whys[why]);
	snprintf(text, sizeof(text), "channel %u: %s", index, whys[why]);
	netvsp_connection_channel_failed(nic->connection, text);
}

static void failed_taken(struct netvsp_nic *nic)
{
	for (unsigned int i = 0; i < nic->dev.n_queues; i++) {
		const struct nic_channel *c = &nic->channels[i];
		unsigned int why = c->channel ? netvsp_channel_failure(c->channel) : 0;

		if (why && !c->failed)
			nic_channel_gone_wrong(nic, i, (enum vmbus_user_failure)why);
	}
}

void nic_call(struct netvsp_nic *nic)
{
	uint64_t failed = 0;
	eventfd_t value;

	eventfd_read(nic->mailbox.fd, &value);
	if (nic->leaving)
		return;
	if (__atomic_load_n(&nic->guest.dead, __ATOMIC_ACQUIRE)) {
		netvsp_connection_fault(nic->connection);
		return;
	}
	for (unsigned int i = 0; i < nic->dev.n_queues; i++)
		if (nic->live & 1ull << i && netvsp_channel_failure(nic->channels[i].channel))
			failed |= 1ull << i;
	if (failed)
		nic_quiesce(nic, NIC_JOB_FAILED, failed, failed_taken);
	nic_mail_look(nic);
	nic_notice_look(nic);
}

// --- a guest's time ----------------------------------------------------------------------------

static void free_bell(void *arg)
{
	struct vmbus_bell *bell = arg;

	if (bell && bell->fd >= 0)
		close(bell->fd);
	free(bell);
}

void nic_channel_close(struct netvsp_nic *nic, unsigned int index, bool keep)
{
	struct nic_channel *c = &nic->channels[index];
	struct netvsp_queue *queue = &nic->queues[index];

	if (!c->open)
		return;
	// Its frames have all been delivered: the successor need not count any as lost.
	if (keep && c->channel && nic->draining)
		netvsp_channel_seal(c->channel);
	netvsp_channel_destroy(c->channel, keep);
	epoll_ctl(queue->epoll_fd, EPOLL_CTL_DEL, c->opened.guest_fd, NULL);
	close(c->opened.guest_fd);
	__atomic_store_n(&queue->monitor_id, VMBUS_USER_NO_MONITOR, __ATOMIC_RELAXED);
	free_bell((void *)(uintptr_t)c->bell);
	*c = (struct nic_channel){};
}

void nic_attach(struct netvsp_nic *nic, struct netvsp_connection *connection, struct rcu *rcu,
		struct vmbus_peer *peer)
{
	nic->connection = connection;
	nic->rcu = rcu;
	nic->peer = peer;
	nic->leaving = nic->serving = nic->started = false;
	nic->why_not[0] = '\0';
	nic->n_announce = 0;
	nic->announce_at = 0;
	nic->n_attached++;
	nic_control_init(nic);
}

// All but `rss`, at which workers of other ports look at any time: it is NULL by now.
static void guest_clear(struct netvsp_nic *nic)
{
	struct netvsp_guest *guest = &nic->guest;

	netvsp_sections_destroy(guest->sections);
	guest->sections = NULL;
	guest->receive = guest->send = (struct netvsp_area){};
	guest->max_frame = 0;
	guest->receiving = guest->sending = false;
	guest->report_csum = guest->report_hash = guest->coalesce = false;
	__atomic_and_fetch(&nic->dev.offloads, ~PORT_OFFLOAD_TSO, __ATOMIC_RELAXED);
	free((void *)(uintptr_t)guest->memory.rcu_ptr);
	free((void *)(uintptr_t)guest->dirty.rcu_ptr);
	rcu_set(&guest->memory, NULL);
	rcu_set(&guest->dirty, NULL);
	guest->dead = false;
}

// No worker has anything of the guest's any more. The state memory is the VMM's: it stays as it is.
static void left(struct netvsp_nic *nic)
{
	for (unsigned int i = nic->dev.n_queues; i-- > 0;)
		nic_channel_close(nic, i, true);
	guest_clear(nic);
	free(nic->private_state);
	nic->state = nic->private_state = NULL;
	nic->serving = nic->started = false;
	nic_control_init(nic);
	netvsp_connection_left(nic->connection);
}

void nic_set_monitor(struct netvsp_nic *nic, const struct nic_monitor *monitor)
{
	const struct nic_monitor *old = nic->monitor.rcu_ptr;

	rcu_set(&nic->monitor, monitor);
	rcu_retire(nic->rcu, free, (void *)(uintptr_t)old);
}

void nic_leave(struct netvsp_nic *nic)
{
	const struct netvsp_spread *old;

	nic->leaving = true;
	// What else was to be done is not done any more.
	for (int i = NIC_JOB_LEAVE + 1; i < NIC_N_JOBS; i++)
		nic->jobs[i] = (struct nic_job){};
	nic_set_monitor(nic, NULL);
	old = nic->guest.rss.rcu_ptr;
	rcu_set(&nic->guest.rss, NULL);
	rcu_retire(nic->rcu, free, (void *)(uintptr_t)old);
	nic_quiesce(nic, NIC_JOB_LEAVE, ~0ull, left);
}
