// SPDX-License-Identifier: Apache-2.0
#include "vmbus/ring.h"

#include <assert.h>
#include <errno.h>

// --- shared words ------------------------------------------------------------------------------

// The other end writes these at any time. An atomic load is done exactly once: the compiler may
// not read again what was already checked.
static uint32_t load_relaxed(const le32 *p)
{
	return __atomic_load_n((const FORCE uint32_t *)p, __ATOMIC_RELAXED);
}

// What the other end wrote before it stored this word is seen after.
static uint32_t load_acquire(const le32 *p)
{
	return __atomic_load_n((const FORCE uint32_t *)p, __ATOMIC_ACQUIRE);
}

static void store_relaxed(le32 *p, uint32_t v)
{
	__atomic_store_n((FORCE uint32_t *)p, v, __ATOMIC_RELAXED);
}

// Whoever sees this word sees what we wrote, and is past what we read, before.
static void store_release(le32 *p, uint32_t v)
{
	__atomic_store_n((FORCE uint32_t *)p, v, __ATOMIC_RELEASE);
}

// --- where bytes are ---------------------------------------------------------------------------

int vmbus_ring_init(struct vmbus_ring *ring, const struct vmbus_runs *gpadl, uint32_t page,
		    uint32_t n_pages)
{
	uint64_t end = ((uint64_t)page + n_pages) * VMBUS_PAGE_BYTES;
	uint32_t left;

	if (n_pages < 2 || end > gpadl->bytes)
		return -EINVAL;
	for (uint32_t i = 0; i < gpadl->n; i++) {
		const struct vmbus_run *run = &gpadl->runs[i];

		if ((run->start | run->bytes | (uintptr_t)run->host) % VMBUS_PAGE_BYTES)
			return -EINVAL;
	}
	// Found like data: the header is the page before position 0, as the end of a ring of
	// one page that begins there.
	*ring = (struct vmbus_ring){ .gpadl = *gpadl, .first_byte = page * VMBUS_PAGE_BYTES,
				     .size = VMBUS_PAGE_BYTES };
	ring->header = (struct vmbus_ring_header *)vmbus_ring_at(ring, 0, &left);
	ring->first_byte += VMBUS_PAGE_BYTES;
	ring->size = (n_pages - 1) * VMBUS_PAGE_BYTES;
	return 0;
}

void vmbus_ring_load(struct vmbus_ring *ring, uint32_t pos, void *to, uint32_t bytes)
{
	uint8_t *copy = to;

	while (bytes > 0) {
		uint32_t n;
		const uint8_t *from = vmbus_ring_at(ring, pos, &n);

		n = n < bytes ? n : bytes;
		memcpy(copy, from, n);
		copy += n;
		bytes -= n;
		pos = vmbus_ring_advance(ring, pos, n);
	}
	// The copy may have changed, for all the compiler knows: it must not read the guest's
	// bytes again in place of the copy.
	__asm__ volatile("" : : "r"(to) : "memory");
}

void vmbus_ring_store(struct vmbus_ring *ring, uint32_t pos, const void *from, uint32_t bytes)
{
	const uint8_t *copy = from;

	while (bytes > 0) {
		uint32_t n;
		uint8_t *to = vmbus_ring_at(ring, pos, &n);

		n = n < bytes ? n : bytes;
		memcpy(to, copy, n);
		copy += n;
		bytes -= n;
		pos = vmbus_ring_advance(ring, pos, n);
	}
}

static bool is_index(const struct vmbus_ring *ring, uint32_t v)
{
	return v < ring->size && v % 8 == 0;
}

// Bytes from read index to write index.
static uint32_t used(const struct vmbus_ring *ring, uint32_t write, uint32_t read)
{
	return write >= read ? write - read : write + ring->size - read;
}

// Bytes that may still be written: 8 stay free, or a full ring would look empty.
static uint32_t room(const struct vmbus_ring *ring, uint32_t write, uint32_t read)
{
	return ring->size - used(ring, write, read) - 8;
}

// --- reading -----------------------------------------------------------------------------------

int vmbus_reader_init(struct vmbus_reader *reader, const struct vmbus_ring *ring)
{
	uint32_t read = load_relaxed(&ring->header->read);

	if (!is_index(ring, read))
		return -EBADMSG;
	*reader = (struct vmbus_reader){
		.ring = *ring, .published = read, .next = read, .end = read
	};
	vmbus_reader_disarm(reader);
	return 0;
}

int vmbus_reader_look(struct vmbus_reader *reader)
{
	// Acquire: packets before this index are there whole.
	uint32_t end = load_acquire(&reader->ring.header->write);

	if (unlikely(!is_index(&reader->ring, end)))
		return -EBADMSG;
	reader->end = end;
	return end != reader->next;
}

int vmbus_reader_next(struct vmbus_reader *reader, struct vmbus_packet *packet)
{
	return vmbus_reader_take(reader, packet);
}

void vmbus_reader_back(struct vmbus_reader *reader, uint32_t pos) { reader->next = pos; }

uint32_t vmbus_reader_publish(struct vmbus_reader *reader)
{
	uint32_t before = reader->published;

	// Release: our reads of these packets are done before they may be overwritten.
	if (reader->next != before)
		store_release(&reader->ring.header->read, reader->next);
	reader->published = reader->next;
	return before;
}

bool vmbus_reader_must_signal(const struct vmbus_reader *reader, uint32_t before)
{
	const struct vmbus_ring *ring = &reader->ring;
	uint32_t need, write;

	if (reader->published == before)
		return false;
	need = load_relaxed(&ring->header->pending_send) & ~7u; // some store size - 1: "empty"
	if (likely(!need))
		return false;
	write = load_relaxed(&ring->header->write);
	if (!is_index(ring, write))
		return false; // the next read will say so
	// Some producers want room ≥ need, some room + 8 > need: a signal too many does no harm.
	// A need that no room can meet never gets one.
	return room(ring, write, before) <= need && room(ring, write, reader->published) + 8 > need;
}

bool vmbus_reader_commit(struct vmbus_reader *reader)
{
	uint32_t before = vmbus_reader_publish(reader);

	vmbus_ring_fence();
	return vmbus_reader_must_signal(reader, before);
}

bool vmbus_reader_arm(struct vmbus_reader *reader)
{
	struct vmbus_ring_header *header = reader->ring.header;

	store_relaxed(&header->interrupt_mask, 0);
	vmbus_ring_fence(); // mask, then write index; the producer does it the other way round
	if (load_relaxed(&header->write) == reader->next)
		return true;
	vmbus_reader_disarm(reader);
	return false;
}

void vmbus_reader_disarm(struct vmbus_reader *reader)
{
	// No order needed: a signal that comes late finds somebody awake.
	store_relaxed(&reader->ring.header->interrupt_mask, 1);
}

// --- writing -----------------------------------------------------------------------------------

int vmbus_writer_init(struct vmbus_writer *writer, const struct vmbus_ring *ring)
{
	uint32_t write = load_relaxed(&ring->header->write);
	uint32_t read = load_acquire(&ring->header->read);

	if (!is_index(ring, write) || !is_index(ring, read))
		return -EBADMSG;
	*writer = (struct vmbus_writer){
		.ring = *ring, .published = write, .next = write, .read = read
	};
	store_relaxed(&ring->header->pending_send, 0);
	store_relaxed(&ring->header->features, VMBUS_RING_FEATURE_PENDING_SEND);
	return 0;
}

int64_t vmbus_writer_room(struct vmbus_writer *writer)
{
	// Acquire: the consumer has read what we are about to overwrite.
	uint32_t read = load_acquire(&writer->ring.header->read);

	if (unlikely(!is_index(&writer->ring, read)))
		return -EBADMSG;
	writer->read = read;
	return room(&writer->ring, writer->next, read);
}

int vmbus_writer_put(struct vmbus_writer *writer, const struct vmbus_packet_out *packet)
{
	static const uint8_t zeros[8];
	struct vmbus_ring *ring = &writer->ring;
	uint64_t bytes = vmbus_packet_bytes(packet->extra_bytes, packet->payload_bytes);
	uint32_t pos = writer->next, padding = -packet->payload_bytes & 7;
	struct vmbus_packet_header header = {
		.type = cpu_to_le16(packet->type),
		.payload8 = cpu_to_le16((uint16_t)((sizeof(header) + packet->extra_bytes) / 8)),
		.length8 = cpu_to_le16((uint16_t)(bytes / 8 - 1)),
		.flags = cpu_to_le16(packet->wants_completion ? VMBUS_PACKET_WANTS_COMPLETION : 0),
		.transaction = cpu_to_le64(packet->transaction),
	};
	le64 trailer = cpu_to_le64((uint64_t)pos << 32);

	assert(packet->extra_bytes % 8 == 0);
	if (bytes > ring->size - 8 || bytes - 8 > VMBUS_PACKET_MAX_BYTES)
		return -EMSGSIZE;
	if (room(ring, pos, writer->read) < bytes) {
		int64_t now = vmbus_writer_room(writer);

		if (now < (int64_t)bytes)
			return now < 0 ? -EBADMSG : -ENOSPC;
	}
	vmbus_ring_store(ring, pos, &header, sizeof(header));
	pos = vmbus_ring_advance(ring, pos, sizeof(header));
	vmbus_ring_store(ring, pos, packet->extra, packet->extra_bytes);
	pos = vmbus_ring_advance(ring, pos, packet->extra_bytes);
	vmbus_ring_store(ring, pos, packet->payload, packet->payload_bytes);
	pos = vmbus_ring_advance(ring, pos, packet->payload_bytes);
	vmbus_ring_store(ring, pos, zeros, padding);
	pos = vmbus_ring_advance(ring, pos, padding);
	vmbus_ring_store(ring, pos, &trailer, sizeof(trailer));
	writer->next = vmbus_ring_advance(ring, pos, sizeof(trailer));
	return 0;
}

int vmbus_writer_complete(struct vmbus_writer *writer, const struct vmbus_completion *completions,
			  uint32_t n)
{
	const uint64_t header =
		VMBUS_PACKET_COMPLETION | (uint64_t)sizeof(struct vmbus_packet_header) / 8 << 16 |
		(uint64_t)(VMBUS_COMPLETION_BYTES - VMBUS_PACKET_TRAILER_BYTES) / 8 << 32;
	struct vmbus_ring *ring = &writer->ring;
	uint32_t pos = writer->next, contiguous;

	if (unlikely(room(ring, pos, writer->read) < (uint64_t)n * VMBUS_COMPLETION_BYTES)) {
		int64_t now = vmbus_writer_room(writer);

		if (now < (int64_t)n * VMBUS_COMPLETION_BYTES)
			return now < 0 ? -EBADMSG : -ENOSPC;
	}
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t words[] = { header, completions[i].transaction,
					   completions[i].payload, (uint64_t)pos << 32 };
		uint8_t *to = vmbus_ring_at(ring, pos, &contiguous);

		static_assert(sizeof(words) == VMBUS_COMPLETION_BYTES);
		if (likely(contiguous >= sizeof(words)))
			for (uint32_t j = 0; j < ARRAY_SIZE(words); j++)
				memcpy(to + 8 * j, &words[j], 8);
		else
			vmbus_ring_store(ring, pos, words, sizeof(words));
		pos = vmbus_ring_advance(ring, pos, sizeof(words));
	}
	writer->next = pos;
	return 0;
}

void vmbus_writer_abort(struct vmbus_writer *writer)
{
	writer->next = writer->published;
}

uint32_t vmbus_writer_publish(struct vmbus_writer *writer)
{
	uint32_t before = writer->published;

	// Release: the packets are whole before they can be seen.
	if (writer->next != before)
		store_release(&writer->ring.header->write, writer->next);
	writer->published = writer->next;
	return before;
}

bool vmbus_writer_must_signal(const struct vmbus_writer *writer, uint32_t before)
{
	const struct vmbus_ring_header *header = writer->ring.header;

	// Acquire: a read index at least as new as the mask.
	if (writer->published == before || load_acquire(&header->interrupt_mask))
		return false;
	// Elsewhere the consumer has older packets to read, and will find these behind them.
	return load_relaxed(&header->read) == before;
}

bool vmbus_writer_commit(struct vmbus_writer *writer)
{
	uint32_t before = vmbus_writer_publish(writer);

	vmbus_ring_fence();
	return vmbus_writer_must_signal(writer, before);
}

bool vmbus_writer_arm(struct vmbus_writer *writer, uint32_t bytes)
{
	int64_t now;

	store_relaxed(&writer->ring.header->pending_send, bytes);
	vmbus_ring_fence(); // pending_send, then read index; the consumer the other way round
	now = vmbus_writer_room(writer);
	if (now >= 0 && now < bytes)
		return true;
	vmbus_writer_disarm(writer);
	return false;
}

void vmbus_writer_disarm(struct vmbus_writer *writer)
{
	// No order needed: a signal too many does no harm.
	store_relaxed(&writer->ring.header->pending_send, 0);
}
