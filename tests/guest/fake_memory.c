// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/fake_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int fake_memory_init(struct fake_memory *memory, uint32_t n_pages, unsigned int flags)
{
	size_t bytes = (size_t)n_pages * VMBUS_PAGE_BYTES;

	*memory = (struct fake_memory){
		.fd = -1, .n_pages = n_pages, .next = 1, .scattered = flags & FAKE_MEMORY_SCATTERED
	};
	memory->used = calloc(n_pages, 1);
	memory->fd = memfd_create("fake-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (!memory->used || memory->fd < 0 || ftruncate(memory->fd, (off_t)bytes) < 0 ||
	    (!(flags & FAKE_MEMORY_UNSEALED) &&
	     fcntl(memory->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0))
		goto err;
	memory->ram = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
	if (memory->ram == MAP_FAILED) {
		memory->ram = NULL;
		goto err;
	}
	memory->used[0] = 1;
	return 0;
err:
	fake_memory_fini(memory);
	return -ENOMEM;
}

void fake_memory_fini(struct fake_memory *memory)
{
	if (memory->ram)
		munmap(memory->ram, (size_t)memory->n_pages * VMBUS_PAGE_BYTES);
	if (memory->fd >= 0)
		close(memory->fd);
	free(memory->used);
	*memory = (struct fake_memory){ .fd = -1 };
}

// The i-th page in the order in which pages are given out. An odd factor makes it a permutation
// of a power of two, and this one puts neighbours far from each other.
static uint32_t in_order(const struct fake_memory *memory, uint32_t i)
{
	return (memory->scattered ? i * 0x9e3779b1u : i) & (memory->n_pages - 1);
}

// Takes `n` pages that follow each other in that order. Returns where they begin in it, or 0.
static uint32_t take(struct fake_memory *memory, uint32_t n)
{
	uint32_t found = 0;

	for (uint32_t tries = 0; tries < 2 * memory->n_pages && found < n; tries++) {
		if (memory->next == memory->n_pages) { // a buffer does not go round the end
			memory->next = found = 0;
			continue;
		}
		found = memory->used[in_order(memory, memory->next++)] ? 0 : found + 1;
	}
	if (found < n)
		return 0;
	for (uint32_t i = 1; i <= n; i++)
		memory->used[in_order(memory, memory->next - i)] = 1;
	memory->n_used += n;
	return memory->next - n;
}

uint32_t fake_page_get(struct fake_memory *memory)
{
	uint32_t i = take(memory, 1);

	return i ? in_order(memory, i) : 0;
}

void fake_page_put(struct fake_memory *memory, uint32_t page)
{
	assert(page && memory->used[page]);
	memory->used[page] = 0;
	memory->n_used--;
}

// Maps scattered pages one behind the other.
static int map(struct fake_buffer *buffer, const struct fake_memory *memory)
{
	size_t bytes = fake_buffer_bytes(buffer);
	uint8_t *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return -ENOMEM;
	buffer->at = at;
	buffer->mapped = true;
	for (uint32_t i = 0; i < buffer->n_pages; i++) {
		const void *page = mmap(at + (size_t)i * VMBUS_PAGE_BYTES, VMBUS_PAGE_BYTES,
					PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory->fd,
					(off_t)buffer->pages[i] * VMBUS_PAGE_BYTES);

		if (page == MAP_FAILED)
			return -ENOMEM;
	}
	return 0;
}

int fake_buffer_init(struct fake_buffer *buffer, struct fake_memory *memory, uint32_t n_pages)
{
	uint32_t first = take(memory, n_pages);

	*buffer = (struct fake_buffer){ 0 };
	if (!first)
		return -ENOMEM;
	buffer->pages = calloc(n_pages, sizeof(*buffer->pages));
	if (!buffer->pages)
		return -ENOMEM;
	buffer->n_pages = n_pages;
	for (uint32_t i = 0; i < n_pages; i++)
		buffer->pages[i] = in_order(memory, first + i);
	buffer->at = fake_page_at(memory, buffer->pages[0]);
	if (memory->scattered && map(buffer, memory) < 0) {
		fake_buffer_fini(buffer, memory);
		return -ENOMEM;
	}
	memset(buffer->at, 0, fake_buffer_bytes(buffer));
	buffer->run = (struct vmbus_run){ .host = buffer->at, .bytes = fake_buffer_bytes(buffer) };
	return 0;
}

void fake_buffer_fini(struct fake_buffer *buffer, struct fake_memory *memory)
{
	for (uint32_t i = 0; i < buffer->n_pages; i++)
		fake_page_put(memory, (uint32_t)buffer->pages[i]);
	if (buffer->mapped)
		munmap(buffer->at, fake_buffer_bytes(buffer));
	free(buffer->pages);
	*buffer = (struct fake_buffer){ 0 };
}
