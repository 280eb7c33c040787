// SPDX-License-Identifier: Apache-2.0
// What stands in a ring packet: header checks, and the page and section lists behind the header.
// Numbers are the sender's and may be anything; each is copied out of the ring once, checked, and
// only the checked copy is used. Called by ring.c and whoever handles packets. worker.
#pragma once

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

// Makes *packet of a copied header at `pos` in a ring of `size` bytes of which `avail` are filled
// from there. Returns 0 or -EBADMSG: then nobody knows where the next packet begins.
int vmbus_packet_parse(const struct vmbus_packet_header *header, uint32_t pos, uint32_t avail,
		       uint32_t size, struct vmbus_packet *packet);

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
