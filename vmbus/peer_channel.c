// SPDX-License-Identifier: Apache-2.0
// The part of a peer that is about channels: OPEN, CLOSE, TARGET, RESET.
// docs/vmbus-user.md, sections 3.5, 3.6, 3.8 and 5.
#include "vmbus/peer_parts.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define FLAG_AREA_BYTES 256 // of one (VP, SINT)
#define MAX_FLAG 2047

// --- descriptors -------------------------------------------------------------------------------

// Is it an eventfd? Anything else may block, or be ready for ever, when a worker uses it.
static bool is_eventfd(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[32], link[sizeof(want)];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link));
	return n == (ssize_t)sizeof(want) - 1 && memcmp(link, want, sizeof(want) - 1) == 0;
}

// Checks the eventfds from fds[first] on, and makes them non-blocking.
static int check_eventfds(const struct vmbus_user_datagram *datagram, uint32_t want,
			  struct err *err)
{
	if (datagram->n_fds != want)
		return err_set(err, EINVAL, "%u descriptors, not %u", datagram->n_fds, want);
	for (uint32_t i = 0; i < want; i++)
		if (!is_eventfd(datagram->fds[i]) ||
		    fcntl(datagram->fds[i], F_SETFL, O_NONBLOCK) < 0)
			return err_set(err, EINVAL, "descriptor %u is not an eventfd", i);
	return 0;
}

// --- targets -----------------------------------------------------------------------------------

// Fields of a target, and the guest's memory behind it. `bell` gets no descriptor yet.
static int target_check(const struct vmbus_peer *peer, const struct vmbus_user_target *target,
			struct vmbus_bell *bell, struct err *err)
{
	uint32_t mode = le32_to_cpu(target->mode), flag = le32_to_cpu(target->flag);
	uint64_t gpa = le64_to_cpu(target->gpa);
	uint8_t *area;

	*bell = (struct vmbus_bell){ .mode = (enum vmbus_user_mode)mode, .fd = -1 };
	if (le64_to_cpu(target->reserved))
		return peer_check_zero(1, err);
	if (mode > VMBUS_USER_MODE_DIRECT)
		return err_set(err, EINVAL, "mode %u is none of 0, 1 and 2", mode);
	if (mode != VMBUS_USER_MODE_DIRECT)
		return 0;
	if (!(peer->features & VMBUS_USER_DIRECT))
		return err_set(err, EOPNOTSUPP, "feature DIRECT was not agreed on");
	if (flag < 1 || flag > MAX_FLAG)
		return err_set(err, EINVAL, "event flag %u: 1 to %u", flag, MAX_FLAG);
	if (gpa % FLAG_AREA_BYTES)
		return err_set(err, EINVAL, "flag area: a multiple of %u", FLAG_AREA_BYTES);
	area = guest_memory_at(&peer->memory, gpa, FLAG_AREA_BYTES, true);
	if (!area)
		return err_set(err, EFAULT, "the flag area is in no region that may be written");
	bell->word = (uint64_t *)area + flag / 64;
	bell->flag = 1ull << (flag % 64);
	bell->gpa = gpa + flag / 64 * sizeof(*bell->word);
	return 0;
}

int peer_target(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_set_target *m = (const void *)datagram->message;
	uint32_t channel = le32_to_cpu(m->channel);
	struct vmbus_bell bell;
	int ret = peer_check_zero(le32_to_cpu(m->reserved), err);

	if (ret == 0)
		ret = peer_check_channel(peer, channel, err);
	if (ret == 0)
		ret = target_check(peer, &m->target, &bell, err);
	if (ret == 0)
		ret = check_eventfds(datagram, bell.mode != VMBUS_USER_MODE_NONE, err);
	if (ret < 0)
		return ret;
	if (!peer->channels[channel].open)
		return err_set(err, ENOTCONN, "channel %u is not open", channel);
	if (bell.mode != VMBUS_USER_MODE_NONE)
		bell.fd = datagram->fds[0];
	peer->subject = channel;
	peer->subject_target = m->target;
	ret = peer->welcome.ops->target(peer->welcome.arg, channel, &bell, err);
	if (ret >= 0)
		datagram->fds[0] = -1;
	return ret;
}

void peer_target_finish(struct vmbus_peer *peer)
{
	peer->channels[peer->subject].target = peer->subject_target;
}

// --- OPEN --------------------------------------------------------------------------------------

// The state of things: may this channel be opened now?
static int open_check_channel(const struct vmbus_peer *peer, const struct vmbus_user_open *m,
			      struct err *err)
{
	uint32_t channel = le32_to_cpu(m->channel), id = le32_to_cpu(m->monitor_id);

	if (peer->channels[channel].open)
		return err_set(err, EEXIST, "channel %u is open", channel);
	if (channel > 0 && (!peer->channels[0].open || channel > peer->n_granted))
		return err_set(err, EPERM, "sub-channel %u: channel 0 is %s, %u are granted",
			       channel, peer->channels[0].open ? "open" : "closed",
			       peer->n_granted);
	if (id != VMBUS_USER_NO_MONITOR && id >= VMBUS_MONITOR_IDS)
		return err_set(err, EINVAL, "monitor id %u: 0 to 127, or none", id);
	if (id != VMBUS_USER_NO_MONITOR && !(peer->features & VMBUS_USER_MONITOR))
		return err_set(err, EOPNOTSUPP, "a monitor id, but no feature MONITOR");
	if (!le32_to_cpu(m->open_serial))
		return err_set(err, EINVAL, "open serial 0");
	return 0;
}

static int open_check_zero(const struct vmbus_user_open *m, struct err *err)
{
	uint64_t rest = 0;

	for (size_t i = 0; i < sizeof(m->reserved); i++)
		rest |= m->reserved[i];
	return peer_check_zero(rest, err);
}

static uint32_t load_index(const le32 *index)
{
	return le32_to_cpu((FORCE le32)__atomic_load_n((const FORCE uint32_t *)index,
						       __ATOMIC_ACQUIRE));
}

// Both indices of a ring as they stand in memory.
static int ring_check(const struct vmbus_ring *ring, bool resume, const char *which,
		      struct err *err)
{
	uint32_t at[2] = {
		load_index(&ring->header->write),
		load_index(&ring->header->read),
	};

	for (int i = 0; i < 2; i++)
		if (resume ? at[i] >= ring->size || at[i] % 8 : at[i] != 0)
			return err_set(err, EINVAL, "%s index of the ring %s is %u: %s",
				       i ? "read" : "write", which, at[i],
				       resume ? "beyond its data, or no multiple of 8"
					      : "a new ring begins at 0");
	return 0;
}

static int open_find_rings(const struct vmbus_peer *peer, const struct vmbus_user_open *m,
			   struct vmbus_peer_open *open, struct err *err)
{
	uint32_t split = le32_to_cpu(m->h2g_page), id = le32_to_cpu(m->gpadl), n_pages;
	const struct peer_gpadl *gpadl = peer_gpadl_find(peer, id, open->channel);
	int ret;

	if (!gpadl)
		return err_set(err, ENOENT, "there is no GPADL 0x%x on channel %u", id,
			       open->channel);
	n_pages = gpadl->bytes / VMBUS_PAGE_BYTES;
	if (gpadl->bytes % VMBUS_PAGE_BYTES || split >= n_pages ||
	    vmbus_ring_init(&open->in, &gpadl->seen.runs, 0, split) < 0 ||
	    vmbus_ring_init(&open->out, &gpadl->seen.runs, split, n_pages - split) < 0)
		return err_set(err, EINVAL, "a GPADL of %u bytes, split at page %u: a ring is "
					    "2 whole pages or more",
			       gpadl->bytes, split);
	ret = ring_check(&open->in, open->resume, "from the guest", err);
	return ret < 0 ? ret : ring_check(&open->out, open->resume, "to the guest", err);
}

int peer_open(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_open *m = (const void *)datagram->message;
	struct vmbus_peer_open open = {
		.channel = le32_to_cpu(m->channel),
		.relid = le32_to_cpu(m->relid),
		.serial = le32_to_cpu(m->open_serial),
		.resume = le32_to_cpu(m->flags) & VMBUS_USER_OPEN_RESUME,
		.vmbus_version = le32_to_cpu(m->vmbus_version),
		.monitor_id = le32_to_cpu(m->monitor_id),
		.guest_os_id = le64_to_cpu(m->guest_os_id),
	};
	int ret = peer_check_flags(le32_to_cpu(m->flags), VMBUS_USER_OPEN_RESUME, err);

	if (ret == 0)
		ret = open_check_zero(m, err);
	if (ret == 0)
		ret = peer_check_channel(peer, open.channel, err);
	if (ret == 0)
		ret = target_check(peer, &m->target, &open.bell, err);
	if (ret == 0)
		ret = check_eventfds(datagram, open.bell.mode == VMBUS_USER_MODE_NONE ? 1 : 2, err);
	if (ret == 0)
		ret = open_check_channel(peer, m, err);
	if (ret == 0)
		ret = open_find_rings(peer, m, &open, err);
	if (ret < 0)
		return ret;
	open.guest_fd = datagram->fds[0];
	if (datagram->n_fds > 1)
		open.bell.fd = datagram->fds[1];
	peer->subject = open.channel;
	peer->subject_target = m->target;
	peer->channels[open.channel].gpadl =
		peer_gpadl_find(peer, le32_to_cpu(m->gpadl), open.channel);
	ret = peer->welcome.ops->open(peer->welcome.arg, &open, err);
	if (ret >= 0)
		datagram->fds[0] = datagram->fds[1] = -1;
	return ret;
}

void peer_open_finish(struct vmbus_peer *peer)
{
	struct peer_channel *channel = &peer->channels[peer->subject];

	channel->open = true;
	channel->target = peer->subject_target;
	peer->opened = true;
}

// --- CLOSE and RESET ---------------------------------------------------------------------------

int peer_close(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_close *m = (const void *)datagram->message;
	uint32_t channel = le32_to_cpu(m->channel);
	int ret = peer_check_zero(le32_to_cpu(m->reserved), err);

	if (ret == 0)
		ret = peer_check_channel(peer, channel, err);
	if (ret < 0)
		return ret;
	peer->subject = channel;
	if (!peer->channels[channel].open)
		return 0;
	return peer->welcome.ops->close(peer->welcome.arg, channel);
}

static void close_all(struct vmbus_peer *peer)
{
	for (int i = 0; i < VMBUS_USER_MAX_CHANNELS; i++)
		peer->channels[i] = (struct peer_channel){};
	peer->n_granted = 0;
	// An answer that is still to come is about a life that has ended.
	if (peer->ask.state == ASK_SENT)
		peer->ask.stale = true;
	else
		peer->ask.state = ASK_NOTHING;
}

void peer_close_finish(struct vmbus_peer *peer)
{
	if (peer->subject == 0)
		close_all(peer);
	else
		peer->channels[peer->subject] = (struct peer_channel){};
}

int peer_reset(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_plain *m = (const void *)datagram->message;
	int ret = peer_check_zero(le64_to_cpu(m->reserved), err);

	return ret < 0 ? ret : peer->welcome.ops->reset(peer->welcome.arg);
}

void peer_reset_finish(struct vmbus_peer *peer)
{
	close_all(peer);
	peer_gpadls_drop(peer);
	peer->monitor_on = false;
}
