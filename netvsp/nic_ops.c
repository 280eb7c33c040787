// SPDX-License-Identifier: Apache-2.0
// What a VMM's requests do to a NIC: the device behind vmbus/peer.h. Whatever has to wait for
// workers returns VMBUS_PEER_LATER and is answered when a grace period has passed.
// docs/vmbus-user.md
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "netvsp/nic_parts.h"
#include "netvsp/sections.h"

// --- calls that are finished later -------------------------------------------------------------

static struct netvsp_nic *call_begin(void *arg)
{
	struct netvsp_nic *nic = arg;

	nic->in_call = true;
	nic->call_done = false;
	return nic;
}

// What the call returns: its result, if it has ended already (short of memory, RCU waits in line).
static int call_end(struct netvsp_nic *nic, struct err *err)
{
	nic->in_call = false;
	if (!nic->call_done)
		return VMBUS_PEER_LATER;
	if (err && nic->call_ret < 0)
		*err = nic->call_err;
	return nic->call_ret;
}

static void call_finish(struct netvsp_nic *nic, int ret)
{
	if (nic->in_call) {
		nic->call_ret = ret;
		nic->call_done = true;
	} else if (!nic->leaving) {
		netvsp_connection_request_done(nic->connection, ret, &nic->call_err);
	}
}

static void call_finish_after_grace(void *arg) { call_finish(arg, 0); }

// --- memory ------------------------------------------------------------------------------------

static int on_state(void *arg, struct vmbus_state *state, enum vmbus_user_origin origin,
		    uint32_t *n_granted, struct err *err)
{
	struct netvsp_nic *nic = arg;
	uint64_t serial;

	nic->state = state;
	nic->origin = origin;
	if (origin == VMBUS_USER_NEW)
		return 0;
	// Read once, here; its copy is checked when START decodes it.
	serial = le64_to_cpu((FORCE le64)__atomic_load_n(nic_record_word(state), __ATOMIC_ACQUIRE));
	memcpy(&nic->record, &state->records[serial % 2], sizeof(nic->record));
	if (serial && le64_to_cpu(nic->record.serial) != serial) {
		nic->state = NULL;
		return err_set(err, EINVAL, "the control record's serial is not the header's");
	}
	nic->record_serial = serial;
	*n_granted = serial ? le32_to_cpu(nic->record.n_subchannels) : 0;
	return 0;
}

static int on_memory(void *arg, const struct guest_memory *memory, bool wait)
{
	struct netvsp_nic *nic = call_begin(arg);
	const struct guest_memory *old = nic->guest.memory.rcu_ptr;

	rcu_set(&nic->guest.memory, memory);
	rcu_retire(nic->rcu, free, (void *)(uintptr_t)old);
	if (!wait) {
		nic->in_call = false;
		return 0;
	}
	rcu_retire(nic->rcu, call_finish_after_grace, nic);
	return call_end(nic, NULL);
}

static void buffers_revoked(struct netvsp_nic *nic)
{
	nic_sync(nic);
	nic_record_write(nic);
	call_finish(nic, 0);
}

static int on_gpadl_gone(void *arg, const struct vmbus_peer_gpadl *gpadl)
{
	struct netvsp_nic *nic = call_begin(arg);

	if (gpadl->channel != 0 || !netvsp_control_forget_gpadl(&nic->control, gpadl->id)) {
		nic->in_call = false;
		return 0;
	}
	nic_quiesce(nic, NIC_JOB_REQUEST, ~0ull, buffers_revoked);
	return call_end(nic, NULL);
}

static int on_monitor(void *arg, struct vmbus_monitor_page *page, uint64_t gpa)
{
	struct netvsp_nic *nic = call_begin(arg);
	struct nic_monitor *monitor = NULL;

	if (page) {
		monitor = malloc(sizeof(*monitor));
		if (!monitor) {
			nic->in_call = false;
			return -ENOMEM;
		}
		*monitor = (struct nic_monitor){ page, gpa };
	}
	nic_set_monitor(nic, monitor);
	for (uint16_t i = 0; i < nic->dev.n_queues; i++)
		netvsp_nic_kick(&nic->queues[i]);
	rcu_retire(nic->rcu, call_finish_after_grace, nic);
	return call_end(nic, NULL);
}

static int on_dirty(void *arg, const struct vmbus_dirty *dirty)
{
	struct netvsp_nic *nic = call_begin(arg);
	const struct vmbus_dirty *old = nic->guest.dirty.rcu_ptr;
	struct vmbus_dirty *copy = NULL;

	if (dirty->words) {
		copy = malloc(sizeof(*copy));
		if (!copy) {
			nic->in_call = false;
			return -ENOMEM;
		}
		*copy = *dirty;
	}
	rcu_set(&nic->guest.dirty, copy);
	rcu_retire(nic->rcu, free, (void *)(uintptr_t)old);
	rcu_retire(nic->rcu, call_finish_after_grace, nic);
	return call_end(nic, NULL);
}

// --- channels ----------------------------------------------------------------------------------

// Without a VMM's state memory: some of our own, of the same layout, that ends with the guest.
static int need_state(struct netvsp_nic *nic)
{
	if (nic->state)
		return 0;
	nic->private_state = calloc(1, sizeof(*nic->private_state));
	nic->state = nic->private_state;
	return nic->state ? 0 : -ENOMEM;
}

static int make_channel(struct netvsp_nic *nic, unsigned int index)
{
	struct nic_channel *c = &nic->channels[index];
	struct vmbus_state_channel *block = &nic->state->channels[index];
	const struct netvsp_channel_cfg cfg = {
		.index = index,
		.in = c->opened.in,
		.out = c->opened.out,
		.resume = c->resume,
		.guest = &nic->guest,
		.mailbox = index ? NULL : &nic->mailbox,
		.block = block,
		.counters = &nic->queues[index].counters,
	};
	int ret;

	if (!c->resume) {
		memset(block, 0, offsetof(struct vmbus_state_channel, slots));
		block->open_serial = cpu_to_le32(c->opened.serial);
	}
	ret = netvsp_channel_create(&cfg, &c->channel);
	if (ret == 0)
		netvsp_channel_set_bell(c->channel, c->bell);
	return ret;
}

// Whatever is written to a channel beside its batches, by us or by a predecessor.
static void mark_channel(const struct netvsp_nic *nic, const struct nic_channel *c)
{
	const struct vmbus_dirty *dirty = nic->guest.dirty.rcu_ptr;
	const struct vmbus_runs *rings = &c->opened.in.gpadl;

	if (!dirty || !c->open)
		return;
	vmbus_dirty_mark_runs(dirty, rings, 0, rings->bytes);
	if (c->bell->mode == VMBUS_USER_MODE_DIRECT)
		vmbus_dirty_mark(dirty, c->bell->gpa, sizeof(*c->bell->word));
}

// A predecessor that was killed has written pages that it could not mark any more.
static void mark_all(const struct netvsp_nic *nic)
{
	const struct vmbus_dirty *dirty = nic->guest.dirty.rcu_ptr;
	const struct nic_monitor *monitor = nic->monitor.rcu_ptr;
	const struct vmbus_runs *receive = &nic->guest.receive.gpadl;

	if (!dirty)
		return;
	for (unsigned int i = 0; i < nic->dev.n_queues; i++)
		mark_channel(nic, &nic->channels[i]);
	if (receive->n)
		vmbus_dirty_mark_runs(dirty, receive, 0, receive->bytes);
	if (monitor)
		vmbus_dirty_mark(dirty, monitor->gpa, sizeof(*monitor->page));
}

static int watch_guest(struct netvsp_nic *nic, unsigned int index)
{
	struct netvsp_queue *queue = &nic->queues[index];
	const struct vmbus_peer_open *opened = &nic->channels[index].opened;
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u32 = NETVSP_GUEST_BELL };

	if (epoll_ctl(queue->epoll_fd, EPOLL_CTL_ADD, opened->guest_fd, &event) < 0)
		return -errno;
	__atomic_store_n(&queue->monitor_id, opened->monitor_id, __ATOMIC_RELAXED);
	return 0;
}

// A new life of channel 0: nothing was ever said to this driver.
static void begin_control(struct netvsp_nic *nic)
{
	nic_control_reset(nic);
	nic->control.answer_serial = 0;
	nic_record_write(nic);
}

static void forget_open(struct netvsp_nic *nic, unsigned int index)
{
	struct nic_channel *c = &nic->channels[index];

	netvsp_channel_destroy(c->channel, false);
	epoll_ctl(nic->queues[index].epoll_fd, EPOLL_CTL_DEL, c->opened.guest_fd, NULL);
	free((void *)(uintptr_t)c->bell);
	*c = (struct nic_channel){};
}

static int on_open(void *arg, const struct vmbus_peer_open *open, struct err *err)
{
	struct netvsp_nic *nic = arg;
	struct nic_channel *c = &nic->channels[open->channel];
	struct vmbus_bell *bell;
	int ret = need_state(nic);

	if (open->resume && (nic->started || !nic->state || nic->private_state))
		return err_set(err, EINVAL, "RESUME: before START, and with state memory only");
	bell = malloc(sizeof(*bell));
	if (ret < 0 || !bell) {
		free(bell);
		return err_set(err, ENOMEM, "no memory for channel %u", open->channel);
	}
	*bell = open->bell;
	*c = (struct nic_channel){
		.open = true, .ring = true, .resume = open->resume, .opened = *open, .bell = bell
	};
	if (open->channel == 0 && !open->resume)
		begin_control(nic);
	ret = watch_guest(nic, open->channel);
	if (ret == 0 && !open->resume)
		ret = make_channel(nic, open->channel);
	if (ret < 0) {
		forget_open(nic, open->channel);
		return err_set(err, ret == -EBADMSG ? EINVAL : -ret, "channel %u cannot be opened",
			       open->channel);
	}
	mark_channel(nic, c);
	netvsp_control_set_open(&nic->control, nic_open_channels(nic));
	nic_publish(nic);
	nic_notice_look(nic);
	return 0;
}

static void closed(struct netvsp_nic *nic)
{
	for (unsigned int i = nic->dev.n_queues; i-- > 0;)
		if (nic->call_channels & 1ull << i)
			nic_channel_close(nic, i, false);
	netvsp_control_set_open(&nic->control, nic_open_channels(nic));
	if (nic->call_channels & 1)
		nic_control_reset(nic);
	nic_record_write(nic);
	nic_notice_look(nic);
	call_finish(nic, 0);
}

static int on_close(void *arg, uint32_t channel)
{
	struct netvsp_nic *nic = call_begin(arg);

	// The primary takes all others with it.
	nic->call_channels = channel ? 1ull << channel : ~0ull;
	nic_quiesce(nic, NIC_JOB_REQUEST, nic->call_channels, closed);
	return call_end(nic, NULL);
}

static int on_reset(void *arg)
{
	struct netvsp_nic *nic = call_begin(arg);

	nic->call_channels = ~0ull;
	nic_set_monitor(nic, NULL);
	nic_quiesce(nic, NIC_JOB_REQUEST, ~0ull, closed);
	return call_end(nic, NULL);
}

static void free_bell(void *arg)
{
	struct vmbus_bell *bell = arg;

	if (bell->fd >= 0)
		close(bell->fd);
	free(bell);
}

// Nobody rings the old bell any more. Rung once: a flag that was set there may have gone unseen.
static void target_changed(void *arg)
{
	struct netvsp_nic *nic = arg;
	const struct nic_channel *c = &nic->channels[nic->call_channels];

	if (!nic->leaving && c->bell)
		vmbus_bell_ring(c->bell, nic->guest.dirty.rcu_ptr);
	call_finish(nic, 0);
}

static int on_target(void *arg, uint32_t channel, const struct vmbus_bell *bell, struct err *err)
{
	struct netvsp_nic *nic = call_begin(arg);
	struct nic_channel *c = &nic->channels[channel];
	struct vmbus_bell *copy = malloc(sizeof(*copy)), *old = (void *)(uintptr_t)c->bell;

	if (!copy) {
		nic->in_call = false;
		return err_set(err, ENOMEM, "no memory for a bell");
	}
	*copy = *bell;
	c->bell = copy;
	if (c->channel)
		netvsp_channel_set_bell(c->channel, copy);
	nic->call_channels = channel;
	rcu_retire(nic->rcu, free_bell, old);
	rcu_retire(nic->rcu, target_changed, nic);
	return call_end(nic, err);
}

static void on_granted(void *arg, uint32_t n) { nic_mail_granted(arg, n); }

// --- START, PAUSE, RESUME, SAVE ----------------------------------------------------------------

// Makes what OPEN with RESUME has left to do.
static int make_resumed(struct netvsp_nic *nic, struct err *err)
{
	for (unsigned int i = 0; i < nic->dev.n_queues; i++) {
		struct nic_channel *c = &nic->channels[i];
		int ret;

		if (!c->open || c->channel || c->failed)
			continue;
		ret = make_channel(nic, i);
		if (ret == -ENOMEM)
			return err_set(err, ENOMEM, "no memory for channel %u", i);
		if (ret < 0)
			nic_channel_gone_wrong(nic, i, VMBUS_USER_FAILED_INDEX);
	}
	return 0;
}

static int on_start(void *arg, struct vmbus_peer_recovery *out, struct err *err)
{
	struct netvsp_nic *nic = arg;
	int ret = 0;

	if (need_state(nic) < 0)
		return err_set(err, ENOMEM, "no memory to serve this NIC");
	if (nic->channels[0].open && nic->channels[0].resume)
		ret = nic_restore(nic, out, err);
	else if (!nic->channels[0].open)
		begin_control(nic); // whatever was agreed on, its driver is gone
	if (ret == 0)
		ret = make_resumed(nic, err);
	if (ret < 0)
		return ret;
	nic_restore_answer(nic);
	mark_all(nic);
	if (nic->origin == VMBUS_USER_IMAGE)
		netvsp_control_announce(&nic->control); // perhaps it is on another host
	nic->n_recovered += out->n_batches;
	nic->n_lost += out->n_lost;
	nic->started = nic->serving = true;
	nic_publish(nic);
	if (nic->origin == VMBUS_USER_IMAGE)
		nic_announce(nic);
	nic_call(nic);
	return 0;
}

// Masks stay at 0: the guest rings meanwhile, and is looked at afterwards.
static void paused(struct netvsp_nic *nic)
{
	nic->serving = false;
	for (unsigned int i = 0; i < nic->dev.n_queues; i++)
		if (nic->channels[i].channel && !nic->channels[i].failed)
			netvsp_channel_arm(nic->channels[i].channel, true);
	call_finish(nic, 0);
}

static int on_pause(void *arg, struct err *err)
{
	struct netvsp_nic *nic = call_begin(arg);

	nic_quiesce(nic, NIC_JOB_REQUEST, ~0ull, paused);
	return call_end(nic, err);
}

static int on_resume(void *arg, struct err *err)
{
	struct netvsp_nic *nic = arg;

	for (unsigned int i = 0; i < nic->dev.n_queues; i++) {
		struct nic_channel *c = &nic->channels[i];

		if (!c->channel || c->failed)
			continue;
		netvsp_channel_arm(c->channel, false);
		if (netvsp_channel_resume(c->channel) < 0)
			nic_channel_gone_wrong(nic, i, VMBUS_USER_FAILED_INDEX);
		c->ring = true;
	}
	nic->serving = true;
	nic_publish(nic);
	nic_call(nic);
	return 0;
}

// Everything is in the state memory at all times; nobody writes it while the NIC is paused.
static int on_save(void *arg, struct err *err) { return 0; }

const struct vmbus_peer_ops netvsp_nic_ops = {
	.state = on_state, .memory = on_memory, .gpadl_gone = on_gpadl_gone, .open = on_open,
	.close = on_close, .target = on_target, .monitor = on_monitor, .start = on_start,
	.pause = on_pause, .resume = on_resume, .save = on_save, .dirty = on_dirty,
	.reset = on_reset, .granted = on_granted,
};
