// SPDX-License-Identifier: Apache-2.0
#include "partition/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "partition/image.h"
#include "partition/machine.h"

#define MAGIC "WEFTVM01"
#define MAX_STATE (256u << 20)
#define STATE_KIND 0x45544154534d5657ull // "WVMSTATE"
#define STATE_VERSION 1u
enum { MARK_MACHINES = 0x4843414d, MARK_VP = 0x20205056, MARK_END = 0x20444e45 };

// --- state --------------------------------------------------------------------------------------

static void image_serial(struct partition_image *image, struct partition_serial *s)
{
	PARTITION_IMAGE(image, s->ier);
	PARTITION_IMAGE(image, s->lcr);
	PARTITION_IMAGE(image, s->mcr);
	PARTITION_IMAGE(image, s->scratch);
	PARTITION_IMAGE(image, s->divisor);
	PARTITION_IMAGE(image, s->fcr);
	PARTITION_IMAGE(image, s->sent);
	PARTITION_IMAGE(image, s->irq_level);
}

static void image_hv_vp(struct partition_image *image, struct partition_hv_vp *vp)
{
	PARTITION_IMAGE(image, vp->synic.control);
	PARTITION_IMAGE(image, vp->synic.siefp);
	PARTITION_IMAGE(image, vp->synic.simp);
	PARTITION_IMAGE(image, vp->synic.sint);
	PARTITION_IMAGE(image, vp->stimers.timers);
	PARTITION_IMAGE(image, vp->assist);
}

static void image_hv(struct partition_image *image, struct partition_hv *hv)
{
	uint64_t now = partition_hv_now(hv);

	PARTITION_IMAGE(image, now);
	PARTITION_IMAGE(image, hv->clock.serial);
	PARTITION_IMAGE(image, hv->guest_os);
	PARTITION_IMAGE(image, hv->hypercall);
	PARTITION_IMAGE(image, hv->reference_tsc);
	PARTITION_IMAGE(image, hv->tsc_invariant);
	PARTITION_IMAGE(image, hv->crash);
	for (uint32_t i = 0; i < hv->n_vps; i++)
		image_hv_vp(image, &hv->vps[i]);
	hv->crash.message[sizeof(hv->crash.message) - 1] = '\0';
	// Reference time goes on where it stopped.
	if (image->is_loading)
		partition_clock_init(&hv->clock, hv->tsc_khz, hv->ops->tsc(hv->owner), now);
}

static void image_all(struct partition_image *image, struct partition *p)
{
	partition_image_mark(image, MARK_MACHINES);
	PARTITION_IMAGE(image, p->platform.cmos_index);
	PARTITION_IMAGE(image, p->has_crashed);
	image_serial(image, &p->serial);
	// Processors first: the TSC that reference time is computed from is theirs.
	for (uint32_t i = 0; i < p->cfg.n_vps; i++) {
		partition_image_mark(image, MARK_VP);
		partition_vcpu_image(&p->vcpus[i], image);
	}
	partition_vm_image(p, image);
	image_hv(image, &p->hv);
	partition_bus_image(p->bus, image);
	partition_image_mark(image, MARK_END);
}

// --- writing ------------------------------------------------------------------------------------

static int write_all(int fd, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	while (n > 0) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static bool is_zero(const uint8_t *page)
{
	static const uint8_t zeros[GUEST_PAGE_BYTES];

	return !memcmp(page, zeros, sizeof(zeros));
}

// What is not zero in [at, end) of memory, in pieces as long as possible.
static int write_pieces(int fd, const uint8_t *host, uint64_t at, uint64_t end)
{
	int ret = 0;

	while (at < end && !ret) {
		struct partition_checkpoint_piece piece;

		while (at < end && is_zero(host + at))
			at += GUEST_PAGE_BYTES;
		piece.at = at;
		while (at < end && !is_zero(host + at))
			at += GUEST_PAGE_BYTES;
		piece.bytes = at - piece.at;
		if (piece.bytes)
			ret = write_all(fd, &piece, sizeof(piece));
		if (piece.bytes && !ret)
			ret = write_all(fd, host + piece.at, piece.bytes);
	}
	return ret;
}

// Memory that was never touched is not touched here either.
static int write_memory(int fd, const struct partition_ram *ram)
{
	off_t at = 0, end = 0;
	int ret = 0;

	while (!ret && (uint64_t)end < ram->bytes) {
		at = lseek(ram->fd, end, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -errno;
		end = lseek(ram->fd, at, SEEK_HOLE);
		if (end < 0)
			return -errno;
		ret = write_pieces(fd, ram->host, (uint64_t)at, (uint64_t)end);
	}
	return ret;
}

static int write_file(struct partition *p, int fd)
{
	struct partition_image image = {};
	void *state = NULL;
	size_t bytes = 0;
	struct partition_checkpoint head = { .magic = MAGIC, .n_vps = p->cfg.n_vps,
					     .is_emulated = p->emulated,
					     .memory_bytes = p->ram.bytes };
	int ret;

	vmbus_image_begin(&image.writer, STATE_KIND, STATE_VERSION);
	image_all(&image, p);
	ret = vmbus_image_end(&image.writer, &state, &bytes);
	head.state_bytes = bytes;
	if (!ret)
		ret = image.failed ? -EIO : write_all(fd, &head, sizeof(head));
	if (!ret)
		ret = write_all(fd, state, bytes);
	free(state);
	return ret ? ret : write_memory(fd, &p->ram);
}

int partition_checkpoint_write(struct partition *partition, const char *path, struct err *err)
{
	char partial[4096];
	int ret, fd;

	if (snprintf(partial, sizeof(partial), "%s.partial", path) >= (int)sizeof(partial))
		return err_set(err, ENAMETOOLONG, "checkpoint: the path is too long");
	fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, errno, "%s: %s", partial, strerror(errno));
	ret = write_file(partition, fd);
	close(fd);
	if (!ret && rename(partial, path))
		ret = -errno;
	if (ret)
		unlink(partial);
	return ret ? err_set(err, -ret, "%s: %s", path, strerror(-ret)) : 0;
}

// --- reading ------------------------------------------------------------------------------------

// Returns 0, -errno, or -EBADMSG at the end of the file.
static int read_all(int fd, void *bytes, size_t n)
{
	uint8_t *at = bytes;

	while (n > 0) {
		ssize_t done = read(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EBADMSG;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static int open_checkpoint(const char *path, struct partition_checkpoint *head, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, errno, "%s: %s", path, strerror(errno));
	if (read_all(fd, head, sizeof(*head)) || memcmp(head->magic, MAGIC, sizeof(head->magic)) ||
	    head->n_vps < 1 || head->n_vps > PARTITION_MAX_VPS || head->state_bytes > MAX_STATE) {
		close(fd);
		return err_set(err, EINVAL, "%s: not a checkpoint of this version", path);
	}
	return fd;
}

int partition_checkpoint_peek(const char *path, struct partition_checkpoint *out, struct err *err)
{
	int fd = open_checkpoint(path, out, err);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int read_memory(int fd, const struct partition_ram *ram)
{
	struct partition_checkpoint_piece piece;
	int ret = 0;

	while (!ret) {
		ssize_t n = read(fd, &piece, sizeof(piece));

		if (n == 0)
			return 0;
		if (n != sizeof(piece) || piece.at > ram->bytes ||
		    piece.bytes > ram->bytes - piece.at)
			return -EBADMSG;
		ret = read_all(fd, ram->host + piece.at, piece.bytes);
	}
	return ret;
}

static int read_state(struct partition *p, int fd, uint64_t bytes)
{
	struct partition_image image = { .is_loading = true };
	void *state = malloc(bytes ? bytes : 1);
	int ret;

	if (!state)
		return -ENOMEM;
	ret = read_all(fd, state, bytes);
	if (!ret && vmbus_image_open(&image.reader, state, bytes, STATE_KIND, STATE_VERSION))
		ret = -EBADMSG;
	if (!ret) {
		image_all(&image, p);
		if (partition_image_is_bad(&image) || !vmbus_image_is_done(&image.reader))
			ret = -EBADMSG;
	}
	free(state);
	return ret;
}

int partition_checkpoint_read(struct partition *partition, const char *path, struct err *err)
{
	struct partition_checkpoint head;
	int fd = open_checkpoint(path, &head, err), ret;

	if (fd < 0)
		return fd;
	if (head.n_vps != partition->cfg.n_vps || head.memory_bytes != partition->ram.bytes ||
	    head.is_emulated != partition->emulated) {
		close(fd);
		return err_set(err, EINVAL, "%s: made on another kind of host, or it has changed",
			       path);
	}
	ret = read_state(partition, fd, head.state_bytes);
	if (!ret)
		ret = read_memory(fd, &partition->ram);
	close(fd);
	if (ret)
		return err_set(err, -ret, "%s: %s", path,
			       ret == -EBADMSG ? "it is broken or cut off" : strerror(-ret));
	partition_hv_clock_changed(&partition->hv);
	return 0;
}
