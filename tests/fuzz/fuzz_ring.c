// SPDX-License-Identifier: Apache-2.0
// A ring whose memory is the fuzzer's and changes underneath: packets are read, their lists are
// walked, and a writer works in the same memory. Whatever stands there, positions stay in the
// ring and the number of steps is bounded.
//
// Input: how many data pages (1 to 3) and whether they are scattered; the write index; the read
// index; then the data from position 0 on. The last bytes are also the changes: after each packet
// some byte of a header or of the data is overwritten.
#include <assert.h>
#include <stdlib.h>

#include "vmbus/ring.h"

#define MAX_STEPS 64 // packets of an input; there could be hundreds, but not of a new kind

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rig {
	uint8_t *memory;
	uint32_t n_pages; // header included
	struct vmbus_run runs[4];
	struct vmbus_ring ring;
};

static void make_ring(struct rig *rig, uint8_t shape)
{
	bool scattered = shape & 4;
	struct vmbus_runs gpadl = { .runs = rig->runs };

	rig->n_pages = 2 + (shape & 3) % 3;
	gpadl.n = scattered ? rig->n_pages : 1;
	gpadl.bytes = rig->n_pages * VMBUS_PAGE_BYTES;
	rig->memory = aligned_alloc(VMBUS_PAGE_BYTES, gpadl.bytes);
	if (!rig->memory)
		abort();
	memset(rig->memory, 0, gpadl.bytes);
	for (uint32_t i = 0; i < gpadl.n; i++)
		rig->runs[i] = (struct vmbus_run){
			rig->memory + (gpadl.n - 1 - i) * VMBUS_PAGE_BYTES, 0,
			i * VMBUS_PAGE_BYTES, gpadl.bytes / gpadl.n,
		};
	if (vmbus_ring_init(&rig->ring, &gpadl, 0, rig->n_pages) < 0)
		abort();
}

// Everything a header leads to.
static void walk(struct vmbus_reader *reader, const struct vmbus_packet *packet)
{
	static struct vmbus_sections sections;
	static struct vmbus_pieces pieces;
	uint8_t byte;
	uint64_t sum = 0;

	assert(packet->bytes >= 24 && packet->bytes < reader->ring.size);
	assert(packet->extra_bytes + packet->payload_bytes + 24 == packet->bytes);
	assert(packet->payload_pos < reader->ring.size && reader->next < reader->ring.size);
	for (uint32_t i = 0; i < packet->payload_bytes; i += 64)
		vmbus_ring_load(&reader->ring, (packet->payload_pos + i) % reader->ring.size,
				&byte, 1);
	if (vmbus_packet_pieces(&reader->ring, packet, &pieces) == 0) {
		assert(pieces.n >= 1 && pieces.n <= VMBUS_MAX_PAGES);
		for (uint32_t i = 0; i < pieces.n; i++) {
			assert(pieces.pieces[i].gpa + pieces.pieces[i].bytes <= 1ull << 52);
			sum += pieces.pieces[i].bytes;
		}
		assert(sum == pieces.bytes && sum <= VMBUS_MAX_PAGES * VMBUS_PAGE_BYTES);
	}
	if (vmbus_packet_sections(&reader->ring, packet, 100000, &sections) == 0)
		for (uint32_t i = 0; i < sections.n; i++)
			assert((uint64_t)sections.sections[i].offset +
			       sections.sections[i].bytes <= 100000);
}

static void write_some(struct vmbus_writer *writer, uint8_t bytes)
{
	uint8_t payload[256] = {};
	struct vmbus_packet_out packet = { .type = VMBUS_PACKET_COMPLETION, .payload = payload,
					   .payload_bytes = bytes };

	if (vmbus_writer_put(writer, &packet) == 0)
		assert(writer->next < writer->ring.size);
	vmbus_writer_commit(writer);
	if (vmbus_writer_arm(writer, bytes + 8u))
		vmbus_writer_disarm(writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rig rig = {};
	struct vmbus_reader reader;
	struct vmbus_writer writer;
	struct vmbus_packet packet;
	bool can_read, can_write;

	if (size < 5)
		return 0;
	make_ring(&rig, data[0]);
	rig.ring.header->write = cpu_to_le32(load_u16(data + 1));
	rig.ring.header->read = cpu_to_le32(load_u16(data + 3));
	vmbus_ring_store(&rig.ring, 0, data + 5,
			 (uint32_t)(size - 5 < rig.ring.size ? size - 5 : rig.ring.size));
	can_read = vmbus_reader_init(&reader, &rig.ring) == 0;
	can_write = vmbus_writer_init(&writer, &rig.ring) == 0;
	for (uint32_t i = 0; i < MAX_STEPS; i++) {
		const uint8_t *change = data + (size - 1 - i % (size - 4));

		if (can_read && vmbus_reader_next(&reader, &packet) > 0)
			walk(&reader, &packet);
		else if (!can_write)
			break;
		// A guest at work: its indices, masks, needs and packets change.
		rig.memory[(*change * 131u + i * 17) % (rig.n_pages * VMBUS_PAGE_BYTES)] ^= *change;
		if (i % 4 == 3)
			((uint8_t *)rig.ring.header)[*change % 20] = (uint8_t)(i & ~7u);
		if (can_read && i % 3 == 0)
			vmbus_reader_commit(&reader);
		if (can_write)
			write_some(&writer, *change);
	}
	if (can_read && vmbus_reader_arm(&reader))
		vmbus_reader_disarm(&reader);
	free(rig.memory);
	return 0;
}
