// SPDX-License-Identifier: Apache-2.0
// The rings of a channel: one end reads packets, the other writes them.
//
// The memory belongs to a guest, which may change any byte of it at any time. So every shared word
// is loaded once and checked, every header is copied and the copy used, and what cannot be trusted
// ends as -EBADMSG: the ring is corrupt, its channel must stop. Nothing here allocates, blocks or
// rings a doorbell: who publishes is told whether the other end must be signalled.
//
// Both ends work in batches: packets are read or written at private positions, and a commit moves
// the shared index once. Positions are public, since a journal records them (docs/vmbus-user.md,
// section 8). One thread an end at a time: the channel's worker.
// Facts of the format: Linux's ring_buffer.c, OpenVMM's vmbus_ring.
#pragma once

#include "vmbus/packet.h"
#include "vmbus/run.h"

// One ring in memory. Its data are bytes first_byte … first_byte + size - 1 of a GPADL, which need
// not be contiguous here; its header is the page before.
struct vmbus_ring {
	struct vmbus_ring_header *header; // shared
	struct vmbus_runs gpadl;
	uint32_t first_byte;
	uint32_t size; // bytes of data, a multiple of 4096
	uint32_t last; // index of the run looked at last
};

// Finds the ring that takes n_pages pages (header included) from page `page` of a GPADL on.
// Returns 0, or -EINVAL if it has fewer than 2 pages, does not fit, or a run begins or ends inside
// a page. The GPADL's runs must outlive the ring. Any thread.
int vmbus_ring_init(struct vmbus_ring *ring, const struct vmbus_runs *gpadl, uint32_t page,
		    uint32_t n_pages);

// Bytes pos … pos + bytes - 1 of the data into to[bytes], and back; pos < size, bytes ≤ size,
// wrapping at the end. The reader's content may be anything, and another at each look.
void vmbus_ring_load(struct vmbus_ring *ring, uint32_t pos, void *to, uint32_t bytes);
void vmbus_ring_store(struct vmbus_ring *ring, uint32_t pos, const void *from, uint32_t bytes);

// Where byte pos (< size) is, and in *contiguous how many bytes (≥ 1) lie there together: up to
// the end of the data, at most. For payload that is copied in place, once.
static ALWAYS_INLINE uint8_t *vmbus_ring_at(struct vmbus_ring *ring, uint32_t pos,
					    uint32_t *contiguous)
{
	uint32_t at = ring->first_byte + pos, to_end = ring->size - pos, in_run, left;
	const struct vmbus_run *run = vmbus_runs_at(&ring->gpadl, at, &ring->last);

	in_run = at - run->start;
	left = run->bytes - in_run;
	*contiguous = left < to_end ? left : to_end;
	return run->host + in_run;
}

// The position `bytes` behind pos; bytes ≤ size.
static ALWAYS_INLINE uint32_t vmbus_ring_advance(const struct vmbus_ring *ring, uint32_t pos,
						 uint32_t bytes)
{
	pos += bytes; // both below 2^26
	return pos >= ring->size ? pos - ring->size : pos;
}

// Asks for the cache line `ahead` bytes (≤ size) behind pos.
static ALWAYS_INLINE void vmbus_ring_prefetch(struct vmbus_ring *ring, uint32_t pos, uint32_t ahead)
{
	uint32_t contiguous;

	__builtin_prefetch(vmbus_ring_at(ring, vmbus_ring_advance(ring, pos, ahead), &contiguous));
}

// The word at pos, a multiple of 8: it lies together wherever a ring is cut. Loaded once.
static ALWAYS_INLINE uint64_t vmbus_ring_load_word(struct vmbus_ring *ring, uint32_t pos)
{
	uint32_t contiguous;

	return __atomic_load_n((const uint64_t *)vmbus_ring_at(ring, pos, &contiguous),
			       __ATOMIC_RELAXED);
}

// Between publishing an index and the look whether the other end must be signalled, which does the
// same the other way round: without it both ends could fall asleep. It waits until everything
// written before has reached memory, so it is cheapest late. Any thread.
static inline void vmbus_ring_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// --- reading -----------------------------------------------------------------------------------

struct vmbus_reader {
	struct vmbus_ring ring;
	uint32_t published; // read index as the other end sees it (a journal's in_from)
	uint32_t next;      // first byte not read yet (in_to)
	uint32_t end;       // write index as last loaded
};

// Begins at the read index that stands in memory, with interrupts of this end masked. Returns 0 or
// -EBADMSG. `ring` is copied. worker, or control before the channel has one.
int vmbus_reader_init(struct vmbus_reader *reader, const struct vmbus_ring *ring);

// Looks how far the other end has written. Returns 1 if there are packets, 0 or -EBADMSG. worker.
int vmbus_reader_look(struct vmbus_reader *reader);

// Where packets lie is known from those before only, which is too late for the hardware.
#define VMBUS_READ_AHEAD (4u * CACHE_LINE)

// The next packet: its header, checked, and where its parts lie. Returns 1, 0 if there is none, or
// -EBADMSG. Valid until the commit after which the other end may overwrite it. worker.
int vmbus_reader_next(struct vmbus_reader *reader, struct vmbus_packet *packet);

// The same, inline: for who reads millions.
static ALWAYS_INLINE int vmbus_reader_take(struct vmbus_reader *reader, struct vmbus_packet *packet)
{
	struct vmbus_ring *ring = &reader->ring;
	uint32_t next = reader->next, end = reader->end;
	uint64_t header[2];

	if (unlikely(next == end)) {
		int ret = vmbus_reader_look(reader);

		if (ret <= 0)
			return ret;
		end = reader->end;
	}
	end += end >= next ? 0 : ring->size; // now end - next bytes are filled, 8 at least
	if (unlikely(end - next < sizeof(header)))
		return -EBADMSG;
	header[0] = vmbus_ring_load_word(ring, next);
	header[1] = vmbus_ring_load_word(ring, vmbus_ring_advance(ring, next, 8));
	vmbus_ring_prefetch(ring, next, VMBUS_READ_AHEAD);
	if (unlikely(vmbus_packet_parse(header, next, end - next, ring->size, packet) < 0))
		return -EBADMSG;
	reader->next = vmbus_ring_advance(ring, next, packet->bytes);
	return 1;
}

// Gives the packet at `pos`, read since the last commit, and those behind it back: they will be
// read again. worker.
void vmbus_reader_back(struct vmbus_reader *reader, uint32_t pos);

// Lets the other end have the space of all packets read. Returns the read index before. worker.
uint32_t vmbus_reader_publish(struct vmbus_reader *reader);

// After that, with vmbus_ring_fence between: does the other end wait for that much space? Then it
// must be signalled. before: as vmbus_reader_publish returned it. worker.
bool vmbus_reader_must_signal(const struct vmbus_reader *reader, uint32_t before);

// All three at once. worker.
bool vmbus_reader_commit(struct vmbus_reader *reader);

// Before sleeping: asks for a signal with the next packet. False: there is something to read (or
// the ring is corrupt, as the next read will say), signals are masked again: go on. worker.
bool vmbus_reader_arm(struct vmbus_reader *reader);

// After sleeping: no more signals. worker.
void vmbus_reader_disarm(struct vmbus_reader *reader);

// --- writing -----------------------------------------------------------------------------------

struct vmbus_writer {
	struct vmbus_ring ring;
	uint32_t published; // write index as the other end sees it (a journal's out_from)
	uint32_t next;      // where the next packet goes (out_to)
	uint32_t read;      // read index as last loaded
};

// A packet to be written. `extra` is what stands between packet header and payload.
struct vmbus_packet_out {
	uint16_t type; // enum vmbus_packet_type
	bool wants_completion;
	uint64_t transaction;
	const void *extra, *payload;
	uint32_t extra_bytes; // a multiple of 8
	uint32_t payload_bytes;
};

// Begins at the write index that stands in memory, and sets the feature bit. Returns 0 or
// -EBADMSG. `ring` is copied. worker, or control before the channel has one.
int vmbus_writer_init(struct vmbus_writer *writer, const struct vmbus_ring *ring);

// Bytes that packets may still take, 0 … size - 8, or -EBADMSG. A packet takes what
// vmbus_packet_bytes says. worker.
int64_t vmbus_writer_room(struct vmbus_writer *writer);

// The same, but what was known before will do if it is `enough` bytes: a look takes the line away
// from the other end. worker.
static inline int64_t vmbus_writer_room_known(struct vmbus_writer *writer, uint32_t enough)
{
	uint32_t used = writer->next - writer->read +
			(writer->next >= writer->read ? 0 : writer->ring.size);
	uint32_t known = writer->ring.size - used - 8;

	return likely(known >= enough) ? known : vmbus_writer_room(writer);
}

// Writes one packet behind the published index. Returns 0, -ENOSPC (no room now), -EMSGSIZE (too
// long for this ring at any time) or -EBADMSG. worker.
int vmbus_writer_put(struct vmbus_writer *writer, const struct vmbus_packet_out *packet);

// What a completion of 8 bytes takes.
#define VMBUS_COMPLETION_BYTES 32u

struct vmbus_completion {
	uint64_t transaction, payload;
};

// Writes n completions of 8 bytes, the answer to nearly every packet. Returns 0; or -ENOSPC or
// -EBADMSG as vmbus_writer_put, then none was written. worker.
int vmbus_writer_complete(struct vmbus_writer *writer, const struct vmbus_completion *completions,
			  uint32_t n);

// Forgets the packets written since the last commit. worker.
void vmbus_writer_abort(struct vmbus_writer *writer);

// Lets the other end see all packets written. Returns the write index before. worker.
uint32_t vmbus_writer_publish(struct vmbus_writer *writer);

// After that, with vmbus_ring_fence between: does the other end sleep? Then it must be signalled.
// before: as vmbus_writer_publish returned it. worker.
bool vmbus_writer_must_signal(const struct vmbus_writer *writer, uint32_t before);

// All three at once. Whoever commits several times before signalling signals if any of them said
// so. worker.
bool vmbus_writer_commit(struct vmbus_writer *writer);

// Before sleeping for want of room: asks for a signal when `bytes` (1 … size - 8) are free. False:
// they are by now (or the ring is corrupt), and nothing was asked for. worker.
bool vmbus_writer_arm(struct vmbus_writer *writer, uint32_t bytes);

// Waits for room no longer. worker.
void vmbus_writer_disarm(struct vmbus_writer *writer);
