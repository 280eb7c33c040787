// SPDX-License-Identifier: Apache-2.0
#include "vmbus/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BLOCK_ENTRIES 256

// One mapping as the signal handler sees it. `version` is odd while control writes the rest, and
// another one afterwards; an entry whose memory is touched at this moment does not change.
struct vmbus_mapping_entry {
	uint32_t version;
	int prot;
	uintptr_t start, end; // end 0: free
	uintptr_t unit;       // page size of the file
	bool *dead;
};

// Entries are found by walking blocks, which are never freed: a handler may be anywhere.
struct block {
	struct block *next;
	struct vmbus_mapping_entry entries[BLOCK_ENTRIES];
};

static struct block *blocks; // control: w (release), handler: r

// --- the handler -------------------------------------------------------------------------------

// Takes a private look at an entry. False: it is free, or just being changed, and so not the one
// that was touched.
static bool look(const struct vmbus_mapping_entry *entry, struct vmbus_mapping_entry *copy)
{
	uint32_t version = __atomic_load_n(&entry->version, __ATOMIC_ACQUIRE);

	copy->start = __atomic_load_n(&entry->start, __ATOMIC_RELAXED);
	copy->end = __atomic_load_n(&entry->end, __ATOMIC_RELAXED);
	copy->unit = __atomic_load_n(&entry->unit, __ATOMIC_RELAXED);
	copy->prot = __atomic_load_n(&entry->prot, __ATOMIC_RELAXED);
	copy->dead = __atomic_load_n(&entry->dead, __ATOMIC_RELAXED);
	// The loads above are done before the version is looked at again.
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return !(version & 1) && __atomic_load_n(&entry->version, __ATOMIC_RELAXED) == version;
}

static bool put_zeros(uintptr_t start, uintptr_t end, int prot)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;

	return syscall(SYS_mmap, start, end - start, prot, flags, -1, 0) == (long)start;
}

// Mends the mapping that `address` lies in. False: there is none.
static bool mend(uintptr_t address)
{
	struct vmbus_mapping_entry e;

	for (struct block *b = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE); b; b = b->next)
		for (int i = 0; i < BLOCK_ENTRIES; i++) {
			if (!look(&b->entries[i], &e) || address < e.start || address >= e.end)
				continue;
			__atomic_store_n(e.dead, true, __ATOMIC_RELEASE);
			// Where the kernel gives no such room (strict overcommit), a page will do.
			address -= address % e.unit;
			return put_zeros(e.start, e.end, e.prot) ||
			       put_zeros(address, address + e.unit, e.prot);
		}
	return false;
}

// Any thread, at any instruction: async-signal-safe calls only.
static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
	int saved = errno;

	if (info->si_code <= 0 || !mend((uintptr_t)info->si_addr)) {
		// Not ours: as though there was no handler. A fault is repeated on return; a
		// signal that somebody sent is not, so it is sent again.
		signal(signal_number, SIG_DFL);
		if (info->si_code <= 0)
			raise(signal_number);
	}
	errno = saved;
}

int vmbus_mapping_install(void)
{
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };

	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

// --- the table, written by control -------------------------------------------------------------

static void entry_write(struct vmbus_mapping_entry *to, const struct vmbus_mapping_entry *from)
{
	uint32_t version = to->version;

	__atomic_store_n(&to->version, version + 1, __ATOMIC_RELAXED);
	// Odd is seen before anything of the content changes.
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&to->start, from->start, __ATOMIC_RELAXED);
	__atomic_store_n(&to->end, from->end, __ATOMIC_RELAXED);
	__atomic_store_n(&to->unit, from->unit, __ATOMIC_RELAXED);
	__atomic_store_n(&to->prot, from->prot, __ATOMIC_RELAXED);
	__atomic_store_n(&to->dead, from->dead, __ATOMIC_RELAXED);
	__atomic_store_n(&to->version, version + 2, __ATOMIC_RELEASE);
}

static struct vmbus_mapping_entry *entry_find_free(void)
{
	struct block *b;

	for (b = blocks; b; b = b->next)
		for (int i = 0; i < BLOCK_ENTRIES; i++)
			if (!b->entries[i].end)
				return &b->entries[i];
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->next = blocks;
	// Release: a handler that finds the block finds it empty, not undefined.
	__atomic_store_n(&blocks, b, __ATOMIC_RELEASE);
	return &b->entries[0];
}

// --- mapping -----------------------------------------------------------------------------------

static int check_seals(const struct vmbus_mapping_cfg *cfg, uint64_t size, struct err *err)
{
	int want = F_SEAL_SHRINK | F_SEAL_GROW, seals = fcntl(cfg->fd, F_GET_SEALS);

	if (!cfg->sealed)
		return 0;
	if (seals < 0 || (seals & want) != want)
		return err_set(err, EPERM,
			       "the memfd must be sealed with F_SEAL_SHRINK and F_SEAL_GROW");
	if (size != cfg->offset + cfg->bytes)
		return err_set(err, EINVAL, "the memfd has %llu bytes, not %llu",
			       (unsigned long long)size,
			       (unsigned long long)(cfg->offset + cfg->bytes));
	return 0;
}

// Is it memory of a kind, and of a size, that can be mapped? *unit: its page size.
static int check_file(const struct vmbus_mapping_cfg *cfg, uint64_t *unit, struct err *err)
{
	struct statfs fs;
	struct stat st;
	uint64_t size;

	if (fstat(cfg->fd, &st) < 0 || fstatfs(cfg->fd, &fs) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "the descriptor is not a file");
	// A page of any other file system may have to be fetched, by a disk or by a process (FUSE)
	// that takes its time: a worker cannot wait for it.
	if (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC)
		return err_set(err, ENODEV, "the file is no memfd, nor in tmpfs or hugetlbfs");
	*unit = fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : 4096;
	size = (uint64_t)st.st_size;
	if (!cfg->bytes || cfg->offset % *unit)
		return err_set(err, EINVAL, "offset %llu is no multiple of the file's pages, %llu",
			       (unsigned long long)cfg->offset, (unsigned long long)*unit);
	if (cfg->offset > size || cfg->bytes > size - cfg->offset)
		return err_set(err, EINVAL, "the file has %llu bytes, less than offset and size",
			       (unsigned long long)size);
	return check_seals(cfg, size, err);
}

int vmbus_mapping_init(struct vmbus_mapping *mapping, const struct vmbus_mapping_cfg *cfg,
		       struct err *err)
{
	int prot = cfg->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	struct vmbus_mapping_entry *entry;
	uint64_t unit = 4096, room;
	void *at;
	int ret = check_file(cfg, &unit, err);

	if (ret < 0)
		return ret;
	entry = entry_find_free();
	if (!entry)
		return err_set(err, ENOMEM, "no memory for another mapping");
	// The file is a whole number of hugepages, so this is still inside it.
	room = (cfg->bytes + unit - 1) / unit * unit;
	at = mmap(NULL, room, prot, MAP_SHARED | MAP_NORESERVE, cfg->fd, (off_t)cfg->offset);
	if (at == MAP_FAILED) {
		ret = errno == EPERM ? EACCES : errno;
		return err_set(err, ret, "cannot be mapped: %s", strerror(ret));
	}
	madvise(at, room, MADV_DONTDUMP); // a guest's memory has no place in our core dump
	*mapping = (struct vmbus_mapping){ at, cfg->bytes, room, entry };
	entry_write(entry, &(struct vmbus_mapping_entry){
				   .start = (uintptr_t)at, .end = (uintptr_t)at + room,
				   .unit = unit, .prot = prot, .dead = cfg->dead });
	return 0;
}

void vmbus_mapping_fini(struct vmbus_mapping *mapping)
{
	if (!mapping->at)
		return;
	// Out of the table first: the addresses may be somebody else's a moment later.
	entry_write(mapping->entry, &(struct vmbus_mapping_entry){});
	munmap(mapping->at, mapping->room);
	*mapping = (struct vmbus_mapping){};
}
