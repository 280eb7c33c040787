// SPDX-License-Identifier: Apache-2.0
// The switch's end of vmbus-user: a sequence of datagrams with descriptors, in any order, against a
// device that finishes at once, later, or not at all. Whatever comes, nothing is leaked, no
// descriptor stays, and every reply is one that the specification knows.
//
// Input: records of a byte of flags (bits 0-1: descriptors, 2: the device finishes later, 3: it
// fails, 4: the socket is full), a byte with two bits for the kind of each descriptor, a little
// endian u16 of the message's size, and the message.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmbus/mapping.h"
#include "vmbus/peer.h"

#define RAM_BYTES (1u << 20)
#define MAX_DATAGRAMS 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	bool later, fails, full, dead;
	const struct guest_memory *memory;
	int kinds[4]; // RAM, state memory, eventfd, pipe
	int guest_fd, bell_fd;
} rig;

static int outcome(struct err *err)
{
	if (rig.fails)
		return err_set(err, ENOMEM, "the fuzzer wants it so");
	return rig.later ? VMBUS_PEER_LATER : 0;
}

static int take_fd(int *keep, int fd, int ret)
{
	if (ret < 0)
		return ret;
	if (*keep >= 0)
		close(*keep);
	*keep = fd;
	return ret;
}

static int on_state(void *arg, struct vmbus_state *state, enum vmbus_user_origin origin,
		    uint32_t *n_granted, struct err *err)
{
	*n_granted = le32_to_cpu(state->records[0].n_subchannels);
	return rig.fails ? -EINVAL : 0;
}

static int on_memory(void *arg, const struct guest_memory *memory, bool wait)
{
	if (rig.fails)
		return -ENOMEM;
	free((void *)(uintptr_t)rig.memory);
	rig.memory = memory;
	return wait && rig.later ? VMBUS_PEER_LATER : 0;
}

static int on_gone(void *arg, const struct vmbus_peer_gpadl *gpadl)
{
	for (uint32_t i = 0; i < gpadl->runs.n; i++) {
		const struct vmbus_run *run = &gpadl->runs.runs[i];

		run->host[0] = run->host[run->bytes - 1];
	}
	return rig.later ? VMBUS_PEER_LATER : 0;
}

static int on_open(void *arg, const struct vmbus_peer_open *open, struct err *err)
{
	int ret = outcome(err);
	struct vmbus_ring in = open->in, out = open->out;
	uint8_t byte;

	vmbus_ring_load(&in, in.size - 1, &byte, 1);
	vmbus_ring_store(&out, out.size - 1, &byte, 1);
	if (open->bell.fd >= 0)
		vmbus_bell_ring(&open->bell, NULL);
	take_fd(&rig.guest_fd, open->guest_fd, ret);
	return take_fd(&rig.bell_fd, open->bell.fd, ret);
}

static int on_close(void *arg, uint32_t channel) { return rig.later ? VMBUS_PEER_LATER : 0; }

static int on_target(void *arg, uint32_t channel, const struct vmbus_bell *bell, struct err *err)
{
	vmbus_bell_ring(bell, NULL);
	return take_fd(&rig.bell_fd, bell->fd, outcome(err));
}

static int on_monitor(void *arg, struct vmbus_monitor_page *page, uint64_t gpa)
{
	struct vmbus_monitor_ids own = { { 1, 2, 3, 4 } }, rung;

	if (page)
		vmbus_monitor_scan(page, &own, &rung);
	return rig.later ? VMBUS_PEER_LATER : 0;
}

static int on_start(void *arg, struct vmbus_peer_recovery *out, struct err *err)
{
	return outcome(err);
}

static int on_plain(void *arg, struct err *err) { return outcome(err); }

static int on_dirty(void *arg, const struct vmbus_dirty *dirty)
{
	if (dirty->words)
		vmbus_dirty_mark(dirty, 4096 * (dirty->n_pages - 1), 8192);
	return rig.later ? VMBUS_PEER_LATER : 0;
}

static int on_reset(void *arg) { return rig.later ? VMBUS_PEER_LATER : 0; }
static void on_granted(void *arg, uint32_t n) { assert(n < 64); }

static const struct vmbus_peer_ops ops = {
	.state = on_state, .memory = on_memory, .gpadl_gone = on_gone, .open = on_open,
	.close = on_close, .target = on_target, .monitor = on_monitor, .start = on_start,
	.pause = on_plain, .resume = on_plain, .save = on_plain, .dirty = on_dirty,
	.reset = on_reset, .granted = on_granted,
};

static int on_hello(void *arg, const struct vmbus_peer_hello *hello,
		    struct vmbus_peer_welcome *welcome, struct err *err)
{
	*welcome = (struct vmbus_peer_welcome){
		.ops = &ops, .dead = &rig.dead, .instance = 1, .max_channels = 8
	};
	return rig.fails ? err_set(err, EACCES, "no") : 0;
}

static int on_send(void *arg, const void *message, uint32_t bytes)
{
	const struct vmbus_user_reply *reply = message;

	assert(bytes >= 16 && bytes <= 16 + 240);
	if (le16_to_cpu(reply->header.flags) & VMBUS_USER_REPLY)
		assert(!le32_to_cpu(reply->reserved) && le32_to_cpu(reply->status) < 134);
	return rig.full ? -EAGAIN : 0;
}

static int sealed_memfd(uint64_t bytes)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		abort();
	return fd;
}

static void prepare(void)
{
	int p[2];

	if (rig.kinds[0])
		return;
	if (vmbus_mapping_install() < 0 || pipe2(p, O_CLOEXEC) < 0)
		abort();
	close(p[0]);
	rig.kinds[0] = sealed_memfd(RAM_BYTES);
	rig.kinds[1] = sealed_memfd(sizeof(struct vmbus_state));
	rig.kinds[2] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rig.kinds[3] = p[1];
}

static int lowest_free_fd(void)
{
	for (int fd = 0;; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return fd;
}

// Takes one record from data[size] into the datagram. Returns its bytes, 0 at the end.
static size_t next(const uint8_t *data, size_t size, struct vmbus_user_datagram *datagram)
{
	if (size < 5)
		return 0;
	rig.later = data[0] & 4;
	rig.fails = data[0] & 8;
	rig.full = data[0] & 16;
	*datagram = (struct vmbus_user_datagram){ .n_fds = data[0] & 3 };
	for (uint32_t i = 0; i < datagram->n_fds; i++)
		datagram->fds[i] = fcntl(rig.kinds[data[1] >> (2 * i) & 3], F_DUPFD_CLOEXEC, 0);
	datagram->bytes = load_u16(data + 2) % VMBUS_USER_MAX_MESSAGE + 1u;
	if (datagram->bytes > size - 4)
		datagram->bytes = (uint32_t)(size - 4);
	memcpy(datagram->message, data + 4, datagram->bytes);
	return 4 + datagram->bytes;
}

// Finishes what waits. False: the connection has ended.
static bool settle(struct vmbus_peer *peer)
{
	const struct err err = { "it came to nothing" };

	rig.full = false;
	if (vmbus_peer_wants_room(peer) && vmbus_peer_flush(peer) < 0)
		return false;
	return vmbus_peer_ready(peer) ||
	       vmbus_peer_done(peer, rig.fails ? -EIO : 0, &err) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vmbus_peer_cfg cfg = { on_hello, on_send, NULL };
	struct vmbus_user_datagram datagram;
	struct vmbus_peer *peer;
	size_t n;
	int lowest;

	prepare();
	lowest = lowest_free_fd();
	rig.guest_fd = rig.bell_fd = -1;
	if (vmbus_peer_create(&cfg, &peer) < 0)
		abort();
	for (int i = 0; i < MAX_DATAGRAMS && (n = next(data, size, &datagram)) > 0; i++) {
		data += n;
		size -= n;
		if (vmbus_peer_receive(peer, &datagram) < 0)
			break;
		if (i % 5 == 4)
			vmbus_peer_ask_channels(peer, 7);
		if (!settle(peer))
			break;
	}
	vmbus_peer_destroy(peer);
	free((void *)(uintptr_t)rig.memory);
	rig.memory = NULL;
	for (int i = 0; i < 2; i++)
		if ((i ? rig.bell_fd : rig.guest_fd) >= 0)
			close(i ? rig.bell_fd : rig.guest_fd);
	assert(lowest_free_fd() == lowest);
	return 0;
}
