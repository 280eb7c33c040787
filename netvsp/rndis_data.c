// SPDX-License-Identifier: Apache-2.0
#include "netvsp/rndis_data.h"

#include <errno.h>

#define HEAD_BYTES 128u // of a packet are copied at once: all of its head, for most guests
#define PACKET_BYTES ((uint32_t)sizeof(struct rndis_packet))
#define ETH_BYTES 14u
#define TAG_BYTES 4u

void netvsp_cursor_read(struct netvsp_cursor *c, void *to, uint32_t bytes)
{
	uint8_t *copy = to;

	for (;;) {
		uint32_t n = c->span->bytes - c->at;

		n = n < bytes ? n : bytes;
		copy_frame(copy, c->span->host + c->at, n);
		c->at += n;
		bytes -= n;
		if (!bytes)
			return;
		copy += n;
		c->span++;
		c->at = 0;
	}
}

// The private copy of a packet's header and what follows it.
struct head {
	uint8_t bytes[NETVSP_MAX_HEAD];
} CACHE_ALIGNED;

static ALWAYS_INLINE uint32_t field(const struct head *head, size_t offset)
{
	return load_u32(head->bytes + offset);
}
#define FIELD(head, name) field(head, offsetof(struct rndis_packet, name))

// One element of per-packet information: element[bytes].
static bool take_ppi(const uint8_t *element, uint32_t bytes, struct netvsp_frame *frame)
{
	uint32_t type = load_u32(element + 4), offset = load_u32(element + 8), value;

	if (offset < sizeof(struct rndis_ppi) || offset > bytes)
		return false;
	if (bytes - offset < sizeof(value))
		return type != RNDIS_PPI_CHECKSUM && type != RNDIS_PPI_LSO &&
		       type != RNDIS_PPI_VLAN;
	value = load_u32(element + offset);
	switch (type) {
	case RNDIS_PPI_CHECKSUM:
		frame->info |= NETVSP_FRAME_CSUM;
		frame->csum = value;
		break;
	case RNDIS_PPI_LSO:
		frame->info |= NETVSP_FRAME_LSO;
		frame->lso = value;
		break;
	case RNDIS_PPI_VLAN:
		frame->info |= NETVSP_FRAME_VLAN;
		frame->vlan = value;
		break;
	default: break; // the hash of what was sent, queue numbers …
	}
	return true;
}

static bool take_ppis(const struct head *head, uint32_t at, uint32_t left,
		      struct netvsp_frame *frame)
{
	while (left >= sizeof(struct rndis_ppi)) {
		uint32_t bytes = load_u32(head->bytes + at);

		if (unlikely(bytes < sizeof(struct rndis_ppi) || bytes > left ||
			     !take_ppi(head->bytes + at, bytes, frame)))
			return false;
		at += bytes;
		left -= bytes;
	}
	return true;
}

// [offset + 8, offset + 8 + bytes) lies behind the header and in a packet of `whole` bytes.
static ALWAYS_INLINE bool lies_in(uint32_t offset, uint32_t bytes, uint32_t whole)
{
	return offset >= PACKET_BYTES - RNDIS_OFFSET_BASE &&
	       (uint64_t)offset + RNDIS_OFFSET_BASE + bytes <= whole;
}

// Judges a packet of which head holds `copied` bytes and the message has `left`. at: where the
// copied ones end. *whole: its length.
static bool take_packet(struct head *head, uint32_t copied, uint32_t left,
			struct netvsp_cursor *at, struct netvsp_frame *frame)
{
	uint32_t whole = FIELD(head, header.bytes), bytes = FIELD(head, data_bytes);
	uint32_t ppi = FIELD(head, ppi_offset), ppi_bytes = FIELD(head, ppi_bytes);

	frame->info = 0;
	frame->bytes = bytes;
	if (unlikely(FIELD(head, header.type) != RNDIS_PACKET || whole > left ||
		     FIELD(head, oob_bytes) || FIELD(head, vc) || bytes < ETH_BYTES ||
		     !lies_in(FIELD(head, data_offset), bytes, whole)))
		return false;
	if (!ppi_bytes)
		return true;
	if (unlikely(!lies_in(ppi, ppi_bytes, whole)))
		return false;
	ppi += RNDIS_OFFSET_BASE;
	if (unlikely(ppi + ppi_bytes > copied)) {
		if (ppi + ppi_bytes > NETVSP_MAX_HEAD)
			return false;
		netvsp_cursor_read(at, head->bytes + copied, ppi + ppi_bytes - copied);
	}
	return take_ppis(head, ppi, ppi_bytes, frame);
}

// Copies the first bytes of the packet at *at, which has a header's at least, and moves on. Returns
// how many: what lies together, since drivers put head and frame in different places.
static ALWAYS_INLINE uint32_t copy_head(struct head *head, struct netvsp_cursor *at)
{
	uint32_t bytes = at->span->bytes - at->at;

	if (likely(bytes >= HEAD_BYTES)) {
		const uint8_t *from = at->span->host + at->at;

		for (uint32_t i = 0; i < HEAD_BYTES; i += 32)
			copy_32(head->bytes + i, from + i);
		__asm__ volatile("" : : "r"(head) : "memory"); // as in copy_frame
		at->at += HEAD_BYTES;
		return HEAD_BYTES;
	}
	if (likely(bytes >= PACKET_BYTES)) {
		copy_frame(head->bytes, at->span->host + at->at, bytes);
		at->at += bytes;
		return bytes;
	}
	netvsp_cursor_read(at, head->bytes, PACKET_BYTES);
	return PACKET_BYTES;
}

int netvsp_frames_find(const struct netvsp_message *message, uint32_t max_frame, uint32_t max,
		       struct netvsp_frame *frames, uint32_t *n)
{
	struct netvsp_cursor start = { message->spans, 0 };
	uint32_t left = message->bytes;
	struct head head;

	*n = 0;
	// What is shorter than a header of any kind is the sender's padding.
	while (left >= sizeof(struct rndis_header)) {
		struct netvsp_frame *frame = &frames[*n];
		struct netvsp_cursor at = start;
		uint32_t whole, copied, most;

		if (unlikely(left < PACKET_BYTES || *n == max))
			return -EINVAL;
		copied = copy_head(&head, &at);
		if (unlikely(!take_packet(&head, copied, left, &at, frame)))
			return -EINVAL;
		most = frame->info & NETVSP_FRAME_LSO ? NETVSP_MAX_LSO : max_frame + TAG_BYTES;
		if (unlikely(frame->bytes > most))
			return -EINVAL;
		frame->at = start;
		netvsp_cursor_skip(&frame->at, FIELD(&head, data_offset) + RNDIS_OFFSET_BASE);
		if (frame->at.at == frame->at.span->bytes)
			frame->at = (struct netvsp_cursor){ frame->at.span + 1, 0 };
		__builtin_prefetch(frame->at.span->host + frame->at.at);
		(*n)++;
		whole = FIELD(&head, header.bytes);
		left -= whole;
		// Those behind it begin at multiples of what INITIALIZE_CMPLT said.
		if (unlikely(left >= sizeof(struct rndis_header) &&
			     whole % (1u << RNDIS_ALIGN_SHIFT)))
			return -EINVAL;
		netvsp_cursor_skip(&start, whole);
	}
	return *n ? 0 : -EINVAL;
}

static struct rte_mbuf *gather_chain(const struct netvsp_frame *frame, struct rte_mbuf **mbufs)
{
	struct netvsp_cursor at = frame->at;
	struct rte_mbuf *head = mbufs[0];
	uint32_t left = frame->bytes, n = 0;

	while (left) {
		uint32_t bytes = left < POOLS_SMALL_ROOM ? left : POOLS_SMALL_ROOM;
		struct rte_mbuf *m = mbufs[n++];

		netvsp_cursor_read(&at, rte_pktmbuf_mtod(m, void *), bytes);
		m->data_len = (uint16_t)bytes;
		left -= bytes;
		m->next = left ? mbufs[n] : NULL;
	}
	head->nb_segs = (uint16_t)n;
	head->pkt_len = frame->bytes;
	return head;
}

struct rte_mbuf *netvsp_frame_gather(const struct netvsp_frame *frame, struct rte_mbuf **mbufs)
{
	const struct netvsp_cursor *at = &frame->at;
	uint32_t bytes = frame->bytes;
	struct rte_mbuf *m = mbufs[0];

	if (unlikely(bytes > at->span->bytes - at->at || bytes > POOLS_SMALL_ROOM))
		return gather_chain(frame, mbufs);
	copy_frame(rte_pktmbuf_mtod(m, uint8_t *), at->span->host + at->at, bytes);
	m->data_len = (uint16_t)bytes;
	m->pkt_len = bytes;
	return m;
}
