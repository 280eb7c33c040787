// SPDX-License-Identifier: Apache-2.0
// What stands in a ring packet: header checks, and the page and section lists behind the header.
// Numbers are the sender's and may be anything; each is copied out of the ring once, checked, and
// only the checked copy is used. Called by ring.c and whoever handles packets. worker.
#pragma once

#include <errno.h>

#include "vmbus/wire.h"

struct vmbus_ring;

// A packet whose header was checked. Positions are bytes into the ring's data.
struct vmbus_packet {
	uint16_t type; // enum vmbus_packet_type
	bool wants_completion;
	uint64_t transaction;
	uint32_t pos;         // of its header
	uint32_t bytes;       // of all of it, trailer included
	uint32_t extra_pos;   // of what stands between header and payload
	uint32_t extra_bytes; // multiple of 8
	uint32_t payload_pos;
	uint32_t payload_bytes; // multiple of 8: the sender's padding is part of it
};

// Ring bytes that a packet takes, header and trailer included.
static inline uint64_t vmbus_packet_bytes(uint64_t extra_bytes, uint64_t payload_bytes)
{
	return sizeof(struct vmbus_packet_header) + extra_bytes + ((payload_bytes + 7) & ~7ull) +
	       VMBUS_PACKET_TRAILER_BYTES;
}

// Makes *packet of a copied header (struct vmbus_packet_header, as two words) at `pos` in a ring of
// `size` bytes of which `avail` are filled from there. Returns 0 or -EBADMSG: then nobody knows
// where the next packet begins.
static ALWAYS_INLINE int vmbus_packet_parse(const uint64_t header[2], uint32_t pos, uint32_t avail,
					    uint32_t size, struct vmbus_packet *packet)
{
	uint16_t type = (uint16_t)header[0], flags = (uint16_t)(header[0] >> 48);
	uint32_t payload = (header[0] >> 16 & 0xffff) * 8u;
	uint32_t length = (header[0] >> 32 & 0xffff) * 8u;
	const uint32_t types = 1u << VMBUS_PACKET_INBAND | 1u << VMBUS_PACKET_XFER_PAGES |
			       1u << VMBUS_PACKET_GPA_DIRECT | 1u << VMBUS_PACKET_COMPLETION;

	if (unlikely(payload < sizeof(struct vmbus_packet_header) || length < payload ||
		     length + VMBUS_PACKET_TRAILER_BYTES > avail ||
		     flags & ~VMBUS_PACKET_WANTS_COMPLETION || type > 31 || !(types >> type & 1)))
		return -EBADMSG;
	packet->type = type;
	packet->wants_completion = flags & VMBUS_PACKET_WANTS_COMPLETION;
	packet->transaction = header[1];
	packet->pos = pos;
	packet->bytes = length + VMBUS_PACKET_TRAILER_BYTES;
	// Sums are below 2 × size, since no packet is as long as its ring.
	packet->extra_pos = pos + (uint32_t)sizeof(struct vmbus_packet_header);
	packet->extra_pos -= packet->extra_pos >= size ? size : 0;
	packet->extra_bytes = payload - (uint32_t)sizeof(struct vmbus_packet_header);
	packet->payload_pos = pos + payload;
	packet->payload_pos -= packet->payload_pos >= size ? size : 0;
	packet->payload_bytes = length - payload;
	return 0;
}

#define VMBUS_MAX_PAGES 128u        // of a packet that sends from pages
#define VMBUS_MAX_XFER_RANGES 1024u // of a packet that names sections

// Guest memory [gpa, gpa + bytes); may cross pages that follow each other.
struct vmbus_piece {
	uint64_t gpa;
	uint32_t bytes;
};

// Pages of a GPA_DIRECT packet, as contiguous pieces in order.
struct vmbus_pieces {
	uint32_t n;
	uint32_t bytes; // of all pieces, ≤ VMBUS_MAX_PAGES pages
	struct vmbus_piece pieces[VMBUS_MAX_PAGES];
};

// Reads the page list of a GPA_DIRECT packet. Returns 0; -EINVAL if there is no such list, it
// does not fit, a range is empty, begins beyond its first page or at an impossible address; or
// -E2BIG for more than VMBUS_MAX_PAGES pages. The ring itself is fine then: fail the packet.
int vmbus_packet_pieces(struct vmbus_ring *ring, const struct vmbus_packet *packet,
			struct vmbus_pieces *out);

#define VMBUS_PLAIN_PIECES 4u

// The same for what most packets have: the list lies together in the ring and has at most
// VMBUS_PLAIN_PIECES ranges, each within a page. Returns their number, or 0: look for it with
// vmbus_packet_pieces. list: where `extra` lies, contiguous bytes of it.
static ALWAYS_INLINE uint32_t vmbus_packet_plain_pieces(const struct vmbus_packet *packet,
							const uint8_t *list, uint32_t contiguous,
							struct vmbus_piece *pieces)
{
	const uint32_t head = sizeof(struct vmbus_gpa_direct), each = 16;
	const uint64_t *words = (const uint64_t *)list; // each loaded once
	uint32_t n;

	if (unlikely(packet->extra_bytes < head + each || contiguous < packet->extra_bytes))
		return 0;
	n = (uint32_t)(__atomic_load_n(words++, __ATOMIC_RELAXED) >> 32);
	if (unlikely(n > VMBUS_PLAIN_PIECES || head + n * each > packet->extra_bytes))
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t range = __atomic_load_n(words++, __ATOMIC_RELAXED);
		uint64_t page = __atomic_load_n(words++, __ATOMIC_RELAXED);
		uint32_t bytes = (uint32_t)range, offset = (uint32_t)(range >> 32);

		// Of 0 bytes the minus 1 makes very many.
		if (unlikely(offset >= VMBUS_PAGE_BYTES ||
			     bytes - 1 >= VMBUS_PAGE_BYTES - offset || page >> 40))
			return 0;
		pieces[i] = (struct vmbus_piece){ page * VMBUS_PAGE_BYTES + offset, bytes };
	}
	return n;
}

// A part of the page set, and all those of a packet, for readers of XFER_PAGES (a guest's end).
struct vmbus_section {
	uint32_t offset, bytes;
};

struct vmbus_sections {
	uint16_t page_set; // its id
	uint32_t n;
	struct vmbus_section sections[VMBUS_MAX_XFER_RANGES];
};

// Reads the range list of an XFER_PAGES packet. set_bytes: size of the page set; every range lies
// in it. Returns 0, -EINVAL or -E2BIG (more than VMBUS_MAX_XFER_RANGES) as above.
int vmbus_packet_sections(struct vmbus_ring *ring, const struct vmbus_packet *packet,
			  uint32_t set_bytes, struct vmbus_sections *out);
