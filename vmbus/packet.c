// SPDX-License-Identifier: Apache-2.0
#include "vmbus/packet.h"

#include <errno.h>

#include "vmbus/ring.h"

// Reads the part between packet header and payload from front to back, each byte once.
struct cursor {
	struct vmbus_ring *ring;
	uint32_t pos, left;
};

static struct cursor cursor_at_extra(struct vmbus_ring *ring, const struct vmbus_packet *packet)
{
	return (struct cursor){ ring, packet->extra_pos, packet->extra_bytes };
}

// Copies the next bytes out. False: there are not so many.
static bool take(struct cursor *c, void *to, uint32_t bytes)
{
	if (bytes > c->left)
		return false;
	vmbus_ring_load(c->ring, c->pos, to, bytes);
	c->pos += bytes;
	if (c->pos >= c->ring->size)
		c->pos -= c->ring->size;
	c->left -= bytes;
	return true;
}

// Adds guest memory to the list, to its last piece where that goes on. Callers keep the number of
// pages, and so of pieces, below the array's.
static void add_piece(struct vmbus_pieces *out, uint64_t gpa, uint32_t bytes)
{
	struct vmbus_piece *last = out->n ? &out->pieces[out->n - 1] : NULL;

	out->bytes += bytes;
	if (last && last->gpa + last->bytes == gpa)
		last->bytes += bytes;
	else
		out->pieces[out->n++] = (struct vmbus_piece){ gpa, bytes };
}

// The longest page list that is read: a range for each page. What would stand behind it is too long
// in any case.
#define MAX_LIST_BYTES                                                                             \
	(sizeof(struct vmbus_gpa_direct) +                                                         \
	 VMBUS_MAX_PAGES * (sizeof(struct vmbus_gpa_range) + sizeof(le64)))

// What is not read yet of a page list, in the ring or in a private copy. The words are 8-aligned
// and each is loaded once.
struct list {
	const uint8_t *at, *end;
	bool whole; // false: the packet has more
};

static uint32_t load_once_u32(const uint8_t *p)
{
	return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
}

static uint64_t load_once_u64(const uint8_t *p)
{
	return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
}

// One range with its page numbers. *n_pages: pages of the packet so far.
static int take_range(struct list *list, uint32_t *n_pages, struct vmbus_pieces *out)
{
	uint32_t offset, left;
	uint64_t n, here;

	if ((size_t)(list->end - list->at) < sizeof(struct vmbus_gpa_range))
		return list->whole ? -EINVAL : -E2BIG;
	left = load_once_u32(list->at);
	offset = load_once_u32(list->at + offsetof(struct vmbus_gpa_range, byte_offset));
	list->at += sizeof(struct vmbus_gpa_range);
	if (!left || offset >= VMBUS_PAGE_BYTES)
		return -EINVAL;
	// 64 bits: the guest's count may be 2^32 - 1.
	n = ((uint64_t)offset + left + VMBUS_PAGE_BYTES - 1) / VMBUS_PAGE_BYTES;
	here = (uint64_t)(list->end - list->at) / sizeof(le64);
	if (n > here && list->whole)
		return -EINVAL;
	if (n > VMBUS_MAX_PAGES - *n_pages || n > here)
		return -E2BIG;
	*n_pages += (uint32_t)n;
	for (; n > 0; n--, offset = 0, list->at += sizeof(le64)) {
		uint32_t bytes = VMBUS_PAGE_BYTES - offset;
		uint64_t page = load_once_u64(list->at);

		bytes = left < bytes ? left : bytes;
		if (page >> 40)
			return -EINVAL; // beyond 2^52
		add_piece(out, page * VMBUS_PAGE_BYTES + offset, bytes);
		left -= bytes;
	}
	return 0;
}

int vmbus_packet_pieces(struct vmbus_ring *ring, const struct vmbus_packet *packet,
			struct vmbus_pieces *out)
{
	uint8_t copy[MAX_LIST_BYTES] __attribute__((aligned(8)));
	uint32_t bytes = packet->extra_bytes, contiguous, n_ranges, n_pages = 0;
	struct list list = { .at = vmbus_ring_at(ring, packet->extra_pos, &contiguous) };

	out->n = out->bytes = 0;
	list.whole = bytes <= sizeof(copy);
	if (unlikely(!list.whole))
		bytes = sizeof(copy);
	if (packet->type != VMBUS_PACKET_GPA_DIRECT || bytes < sizeof(struct vmbus_gpa_direct))
		return -EINVAL;
	if (unlikely(contiguous < bytes)) {
		vmbus_ring_load(ring, packet->extra_pos, copy, bytes);
		list.at = copy;
	}
	list.end = list.at + bytes;
	n_ranges = load_once_u32(list.at + offsetof(struct vmbus_gpa_direct, n_ranges));
	list.at += sizeof(struct vmbus_gpa_direct);
	if (!n_ranges)
		return -EINVAL;
	// Each turn takes a page at least, or ends: 128 turns at most, whatever the guest counts.
	for (; n_ranges > 0; n_ranges--) {
		int ret = take_range(&list, &n_pages, out);

		if (ret < 0)
			return ret;
	}
	return 0;
}

int vmbus_packet_sections(struct vmbus_ring *ring, const struct vmbus_packet *packet,
			  uint32_t set_bytes, struct vmbus_sections *out)
{
	struct cursor c = cursor_at_extra(ring, packet);
	struct vmbus_xfer_pages head;
	uint32_t n_ranges;

	if (packet->type != VMBUS_PACKET_XFER_PAGES || !take(&c, &head, sizeof(head)))
		return -EINVAL;
	n_ranges = le32_to_cpu(head.n_ranges);
	if (!n_ranges || n_ranges > c.left / sizeof(struct vmbus_xfer_range))
		return -EINVAL;
	if (n_ranges > VMBUS_MAX_XFER_RANGES)
		return -E2BIG;
	out->page_set = le16_to_cpu(head.page_set);
	for (out->n = 0; out->n < n_ranges; out->n++) {
		struct vmbus_section *section = &out->sections[out->n];
		struct vmbus_xfer_range range;

		if (!take(&c, &range, sizeof(range)))
			return -EINVAL;
		section->offset = le32_to_cpu(range.byte_offset);
		section->bytes = le32_to_cpu(range.byte_count);
		if (!section->bytes || section->offset > set_bytes ||
		    section->bytes > set_bytes - section->offset)
			return -EINVAL;
	}
	return 0;
}
