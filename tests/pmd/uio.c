// SPDX-License-Identifier: Apache-2.0
// The functions that DPDK calls end in 64; what we call ourselves must not.
#undef _FILE_OFFSET_BITS

#include "tests/pmd/uio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICES "/sys/bus/vmbus/devices"
#define NIC_CLASS "{f8615163-df3e-46c5-913f-f2d2f965ed0e}"
#define MAX_DEVICES 64
#define MAP_PAGE 4096 // offset n × this in /dev/uioN is map n

static char root[64]; // of our folder, empty before uio_start
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // for devices
static struct uio_device *devices[MAX_DEVICES];

// --- the folder --------------------------------------------------------------------------------

static int remove_entry(const char *path, const struct stat *, int, struct FTW *)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

// A process that waits for ours to end, in whichever way, and then removes the folder.
static int start_remover(void)
{
	int life[2];
	pid_t pid;
	char c;

	if (pipe2(life, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid) {
		close(life[0]); // the other end stays open as long as we live
		return pid < 0 ? -errno : 0;
	}
	setsid();
	signal(SIGTERM, SIG_IGN);
	dup2(life[0], 0);
	close_range(1, ~0u, 0);
	while (read(0, &c, 1) < 0 && errno == EINTR)
		;
	remove_tree(root);
	_exit(0);
}

int uio_start(struct err *err)
{
	int ret;

	snprintf(root, sizeof(root), "%s/weft-pmd.XXXXXX",
		 faccessat(AT_FDCWD, "/dev/shm", W_OK, 0) == 0 ? "/dev/shm" : "/tmp");
	ret = mkdtemp(root) ? start_remover() : -errno;
	return ret ? err_set(err, -ret, "%s: %s", root, strerror(-ret)) : 0;
}

// Makes root/path, an absolute path, and the folders above it.
static int make_folders(const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s/", root, path);
	for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(full, 0755) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

// Writes a line into root/path, a file to be.
static int __attribute__((format(printf, 2, 3))) put(const char *path, const char *format, ...)
{
	char full[PATH_MAX + sizeof(root)];
	va_list args;
	FILE *f;
	int ret;

	snprintf(full, sizeof(full), "%s%s", root, path);
	f = fopen(full, "we");
	if (!f)
		return -errno;
	va_start(args, format);
	ret = vfprintf(f, format, args) < 0 || fputc('\n', f) < 0 ? -EIO : 0;
	va_end(args);
	return fclose(f) ? -EIO : ret;
}

static int put_map(const struct uio_device *d, uint32_t index)
{
	static const char *const names[] = { "txrx_rings", "int_page", "monitor_page", "recv",
					     "send" };
	const struct uio_map *map = &d->maps[index];
	char folder[200], path[256], gpadl[16] = "";
	int ret;

	snprintf(folder, sizeof(folder), "%s/%s/uio/uio%u/maps/map%u", DEVICES, d->guid, d->number,
		 index);
	if (map->gpadl)
		snprintf(gpadl, sizeof(gpadl), ":%u", map->gpadl);
	ret = make_folders(folder);
	snprintf(path, sizeof(path), "%s/name", folder);
	ret = ret ?: put(path, "%s%s", names[index], gpadl);
	snprintf(path, sizeof(path), "%s/size", folder);
	return ret ?: put(path, "%#zx", map->bytes);
}

// The file that stands for /dev/uioN; mmap64 below knows it again.
static int put_device(struct uio_device *d)
{
	char path[128], full[PATH_MAX];
	struct stat st;
	int ret = make_folders("/dev");

	snprintf(path, sizeof(path), "/dev/uio%u", d->number);
	snprintf(full, sizeof(full), "%s%s", root, path);
	ret = ret ?: put(path, "%s", d->guid);
	if (ret)
		return ret;
	if (stat(full, &st))
		return -errno;
	d->file_device = st.st_dev;
	d->file_inode = st.st_ino;
	return 0;
}

static int put_files(struct uio_device *d)
{
	char folder[128], path[160];
	int ret;

	snprintf(folder, sizeof(folder), "%s/%s", DEVICES, d->guid);
	ret = make_folders(folder);
	snprintf(path, sizeof(path), "%s/class_id", folder);
	ret = ret ?: put(path, NIC_CLASS);
	snprintf(path, sizeof(path), "%s/device_id", folder);
	ret = ret ?: put(path, "{%s}", d->guid);
	snprintf(path, sizeof(path), "%s/id", folder);
	ret = ret ?: put(path, "%u", d->relid);
	snprintf(path, sizeof(path), "%s/monitor_id", folder);
	ret = ret ?: put(path, "%u", d->monitor_id);
	for (uint32_t i = 0; !ret && i < UIO_MAPS; i++)
		ret = put_map(d, i);
	return ret ?: put_device(d);
}

int uio_add(struct uio_device *device, struct err *err)
{
	int ret = put_files(device);

	if (ret)
		return err_set(err, -ret, "%s: %s", root, strerror(-ret));
	pthread_mutex_lock(&lock);
	ret = -ENOSPC;
	for (uint32_t i = 0; ret && i < MAX_DEVICES; i++)
		if (!devices[i]) {
			devices[i] = device;
			ret = 0;
		}
	pthread_mutex_unlock(&lock);
	return ret ? err_set(err, -ret, "more than %d devices", MAX_DEVICES) : 0;
}

int uio_add_channel(const struct uio_device *device, uint32_t relid, uint32_t subchannel, int rings)
{
	char folder[128], path[PATH_MAX], target[32];
	int ret;

	snprintf(folder, sizeof(folder), "%s/%s/channels/%u", DEVICES, device->guid, relid);
	ret = make_folders(folder);
	snprintf(path, sizeof(path), "%s/subchannel_id", folder);
	ret = ret ?: put(path, "%u", subchannel);
	snprintf(path, sizeof(path), "%s/monitor_id", folder);
	ret = ret ?: put(path, "%u", device->monitor_id + subchannel);
	if (ret)
		return ret;
	// Last: a driver that looks for a new channel takes the one that has rings.
	snprintf(path, sizeof(path), "%s%s/ring", root, folder);
	snprintf(target, sizeof(target), "/proc/%d/fd/%d", getpid(), rings);
	return symlink(target, path) ? -errno : 0;
}

void uio_del(struct uio_device *device)
{
	char path[PATH_MAX];

	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < MAX_DEVICES; i++)
		if (devices[i] == device)
			devices[i] = NULL;
	pthread_mutex_unlock(&lock);
	snprintf(path, sizeof(path), "%s%s/%s", root, DEVICES, device->guid);
	remove_tree(path);
	snprintf(path, sizeof(path), "%s/dev/uio%u", root, device->number);
	unlink(path);
}

// --- in the place of libc ----------------------------------------------------------------------

// Where a path leads: into our folder (in buffer[PATH_MAX]) or where it says.
static const char *redirect(const char *path, char *buffer)
{
	if (!*root ||
	    (strncmp(path, "/sys/bus/vmbus", 14) != 0 && strncmp(path, "/dev/uio", 8) != 0))
		return path;
	snprintf(buffer, PATH_MAX, "%s%s", root, path);
	return buffer;
}

FILE *fopen64(const char *path, const char *mode)
{
	char buffer[PATH_MAX];

	return fopen(redirect(path, buffer), mode);
}

int open64(const char *path, int flags, ...)
{
	char buffer[PATH_MAX];
	mode_t mode = 0;
	va_list args;

	va_start(args, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(args, mode_t);
	va_end(args);
	return open(redirect(path, buffer), flags, mode);
}

DIR *opendir(const char *path)
{
	char buffer[PATH_MAX];
	int fd = open(redirect(path, buffer), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? NULL : fdopendir(fd);
}

int access(const char *path, int mode)
{
	char buffer[PATH_MAX];

	return faccessat(AT_FDCWD, redirect(path, buffer), mode, 0);
}

// Finds the map behind an open /dev/uioN, and keeps errno.
static bool find_map(int fd, off64_t offset, struct uio_map *map)
{
	int saved = errno;
	struct stat st;
	bool found = false;

	if (fd < 0 || !*root || fstat(fd, &st)) {
		errno = saved;
		return false;
	}
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; !found && i < MAX_DEVICES; i++) {
		const struct uio_device *d = devices[i];

		if (!d || d->file_inode != st.st_ino || d->file_device != st.st_dev)
			continue;
		found = offset % MAP_PAGE == 0 && offset / MAP_PAGE < UIO_MAPS;
		if (found)
			*map = d->maps[offset / MAP_PAGE];
	}
	pthread_mutex_unlock(&lock);
	return found;
}

void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
	struct uio_map map;

	if (find_map(fd, offset, &map))
		return mmap(address, bytes, protection, flags, map.fd, map.offset);
	return mmap(address, bytes, protection, flags, fd, offset);
}
