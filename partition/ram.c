// SPDX-License-Identifier: Apache-2.0
#include "partition/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/types.h"

#define HUGE_PAGE_BYTES (2ull << 20)

static int add_regions(struct partition_ram *ram)
{
	uint64_t low = partition_ram_low(ram);
	const struct guest_region regions[] = {
		{ .gpa = 0, .bytes = low, .host = ram->host },
		{ .gpa = PARTITION_HIGH_RAM, .bytes = ram->bytes - low, .host = ram->host + low },
	};
	int ret = guest_memory_add(&ram->map, &regions[0]);

	if (!ret && regions[1].bytes)
		ret = guest_memory_add(&ram->map, &regions[1]);
	return ret;
}

int partition_ram_init(struct partition_ram *ram, uint64_t bytes, bool huge_pages,
		       struct err *err)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge_pages ? MFD_HUGETLB : 0);
	int ret;

	*ram = (struct partition_ram){ .fd = -1, .bytes = bytes, .host = MAP_FAILED };
	if (bytes < PARTITION_MIN_RAM || bytes > PARTITION_MAX_RAM || bytes % HUGE_PAGE_BYTES)
		return err_set(err, EINVAL,
			       "memory: %llu bytes are not a multiple of 2 MiB in %llu … %llu MiB",
			       (unsigned long long)bytes, PARTITION_MIN_RAM >> 20,
			       PARTITION_MAX_RAM >> 20);
	ram->fd = memfd_create("weft-vm", flags);
	if (ram->fd < 0 || ftruncate(ram->fd, (off_t)bytes) ||
	    fcntl(ram->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		ret = err_set(err, errno, "memory: %s", strerror(errno));
		goto err_fini;
	}
	// Huge pages are taken now: a guest must not die for one later.
	ram->host = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | (huge_pages ? MAP_POPULATE : MAP_NORESERVE), ram->fd, 0);
	if (ram->host == MAP_FAILED) {
		ret = err_set(err, errno, "memory: %llu MiB: %s",
			      (unsigned long long)bytes >> 20, strerror(errno));
		goto err_fini;
	}
	madvise(ram->host, bytes, MADV_DONTDUMP);
	ret = add_regions(ram);
	if (!ret)
		return 0;
err_fini:
	partition_ram_fini(ram);
	return ret;
}

void partition_ram_fini(struct partition_ram *ram)
{
	if (ram->host != MAP_FAILED)
		munmap(ram->host, ram->bytes);
	if (ram->fd >= 0)
		close(ram->fd);
	*ram = (struct partition_ram){ .fd = -1, .host = MAP_FAILED };
}

int partition_ram_clear(struct partition_ram *ram)
{
	return fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			 (off_t)ram->bytes) ? -errno : 0;
}

uint64_t partition_ram_low(const struct partition_ram *ram)
{
	return ram->bytes < PARTITION_LOW_RAM_END ? ram->bytes : PARTITION_LOW_RAM_END;
}

// Copies page by page: neighbours in the guest need not be neighbours here.
static bool each_page(const struct guest_memory *map, uint64_t gpa, uint8_t *private, size_t bytes,
		      bool to_guest)
{
	while (bytes > 0) {
		size_t n = GUEST_PAGE_BYTES - gpa % GUEST_PAGE_BYTES;
		uint8_t *host;

		n = n < bytes ? n : bytes;
		host = guest_memory_at(map, gpa, n, to_guest);
		if (!host)
			return false;
		if (to_guest)
			memcpy(host, private, n);
		else
			memcpy(private, host, n);
		gpa += n;
		private += n;
		bytes -= n;
	}
	return true;
}

bool partition_ram_read(const struct guest_memory *map, uint64_t gpa, void *to, size_t bytes)
{
	bool ok = each_page(map, gpa, to, bytes, false);

	// The compiler must not read the guest's bytes again in place of the copy.
	__asm__ volatile("" : : "r"(to) : "memory");
	return ok;
}

bool partition_ram_write(const struct guest_memory *map, uint64_t gpa, const void *from,
			 size_t bytes)
{
	return each_page(map, gpa, (uint8_t *)(uintptr_t)from, bytes, true);
}
