// SPDX-License-Identifier: Apache-2.0
// One ring, both ends, in memory that is one run or many: packets at every position, headers that
// lie, and for every state of the two ends whether one must signal the other.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vmbus/ring.h"

#define MAX_PAGES 5
#define SIZE(n_pages) (((n_pages) - 1) * VMBUS_PAGE_BYTES)

// A GPADL of some pages of its own before the ring, and the ring.
struct rig {
	uint8_t *memory;
	struct vmbus_run runs[MAX_PAGES + 1];
	struct vmbus_ring_header *header;
	struct vmbus_ring ring;
	struct vmbus_reader reader;
	struct vmbus_writer writer;
};

static struct rig rig;

// Pages of the GPADL in memory: in order (one run), or from the back (a run each).
static void make_ring(uint32_t n_pages, bool scattered)
{
	struct vmbus_runs gpadl = { rig.runs, scattered ? n_pages + 1 : 1,
				    (n_pages + 1) * VMBUS_PAGE_BYTES };

	memset(rig.memory, 0xee, (MAX_PAGES + 1) * VMBUS_PAGE_BYTES);
	for (uint32_t i = 0; i <= n_pages; i++) {
		uint32_t at = scattered ? n_pages - i : i;

		rig.runs[i] = (struct vmbus_run){ rig.memory + at * VMBUS_PAGE_BYTES, 0,
						  i * VMBUS_PAGE_BYTES, VMBUS_PAGE_BYTES };
	}
	if (!scattered)
		rig.runs[0].bytes = gpadl.bytes;
	rig.header = (void *)(rig.memory + (scattered ? n_pages - 1 : 1) * VMBUS_PAGE_BYTES);
	memset(rig.header, 0, sizeof(*rig.header));
	assert_int_equal(vmbus_ring_init(&rig.ring, &gpadl, 1, n_pages), 0);
	assert_ptr_equal(rig.ring.header, rig.header);
	assert_int_equal(rig.ring.size, SIZE(n_pages));
}

// Both ends begin with an empty ring whose indices are `pos`.
static void start_at(uint32_t pos)
{
	rig.header->write = rig.header->read = cpu_to_le32(pos);
	assert_int_equal(vmbus_reader_init(&rig.reader, &rig.ring), 0);
	assert_int_equal(vmbus_writer_init(&rig.writer, &rig.ring), 0);
}

static int set_up(void **state)
{
	rig.memory = aligned_alloc(VMBUS_PAGE_BYTES, (MAX_PAGES + 1) * VMBUS_PAGE_BYTES);
	return rig.memory ? 0 : -1;
}

static int tear_down(void **state)
{
	free(rig.memory);
	return 0;
}

// The byte at position pos, found without the code under test.
static uint8_t byte_at(uint32_t pos, bool scattered, uint32_t n_pages)
{
	uint32_t page = 2 + pos / VMBUS_PAGE_BYTES;

	if (scattered)
		page = n_pages - page;
	return rig.memory[page * VMBUS_PAGE_BYTES + pos % VMBUS_PAGE_BYTES];
}

static int put(uint32_t bytes)
{
	uint8_t payload[512];
	struct vmbus_packet_out packet = { .type = VMBUS_PACKET_INBAND, .transaction = bytes,
					   .payload = payload, .payload_bytes = bytes };

	memset(payload, 0x5a, sizeof(payload));
	return vmbus_writer_put(&rig.writer, &packet);
}

static void must_put(uint32_t bytes)
{
	assert_int_equal(put(bytes), 0);
}

static void must_read(uint64_t transaction)
{
	struct vmbus_packet packet;

	assert_int_equal(vmbus_reader_next(&rig.reader, &packet), 1);
	assert_int_equal(packet.transaction, transaction);
}

// --- geometry ----------------------------------------------------------------------------------

static void rings_fit_their_gpadl(void **state)
{
	struct vmbus_runs gpadl = { rig.runs, 1, 4 * VMBUS_PAGE_BYTES };
	struct vmbus_ring ring;
	uint32_t contiguous;

	rig.runs[0] = (struct vmbus_run){ rig.memory, 0, 0, 4 * VMBUS_PAGE_BYTES };
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 0, 4), 0);
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 2, 2), 0);
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 0, 2), 0);
	vmbus_ring_at(&ring, 8, &contiguous);
	assert_int_equal(contiguous, 4088); // not into the ring behind it
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 3, 1), -EINVAL); // no data
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 0, 0), -EINVAL);
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 3, 2), -EINVAL); // one page too far
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, UINT32_MAX, 2), -EINVAL);
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 2, UINT32_MAX), -EINVAL);
	rig.runs[0].host = rig.memory + 8;
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 0, 3), -EINVAL);
	rig.runs[0] = (struct vmbus_run){ rig.memory, 0, 0, 100 };
	rig.runs[1] = (struct vmbus_run){ rig.memory + 100, 0, 100, 4 * VMBUS_PAGE_BYTES - 100 };
	gpadl.n = 2;
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 0, 4), -EINVAL);
	rig.runs[1].host = rig.memory + VMBUS_PAGE_BYTES;
	assert_int_equal(vmbus_ring_init(&ring, &gpadl, 0, 4), -EINVAL);
}

// Writes a packet and reads it back; then looks at its bytes in memory one by one.
static void once_around(uint32_t pos, uint32_t bytes, bool scattered, uint32_t n_pages)
{
	uint32_t size = SIZE(n_pages), padded = (bytes + 7) & ~7u, n;
	uint8_t in[256], out[256];
	uint64_t extra = 0x1122334455667788;
	struct vmbus_packet_out written = {
		VMBUS_PACKET_XFER_PAGES, true, pos + 1, &extra, in, 8, bytes
	};
	struct vmbus_packet packet;

	for (uint32_t i = 0; i < bytes; i++)
		in[i] = (uint8_t)(pos + i * 7);
	start_at(pos);
	assert_int_equal(vmbus_reader_next(&rig.reader, &packet), 0);
	assert_int_equal(vmbus_writer_put(&rig.writer, &written), 0);
	assert_int_equal(vmbus_reader_next(&rig.reader, &packet), 0); // not before the commit
	vmbus_writer_commit(&rig.writer);
	assert_int_equal(vmbus_reader_next(&rig.reader, &packet), 1);
	assert_int_equal(packet.type, VMBUS_PACKET_XFER_PAGES);
	assert_true(packet.wants_completion);
	assert_int_equal(packet.transaction, pos + 1);
	assert_int_equal(packet.pos, pos);
	assert_int_equal(packet.bytes, 16 + 8 + padded + 8);
	assert_int_equal(packet.payload_bytes, padded);
	assert_int_equal(packet.extra_bytes, 8);
	vmbus_ring_load(&rig.reader.ring, packet.extra_pos, out, 8);
	assert_memory_equal(out, &extra, 8);
	vmbus_ring_load(&rig.reader.ring, packet.payload_pos, out, padded);
	assert_memory_equal(out, in, bytes);
	for (uint32_t i = bytes; i < padded; i++)
		assert_int_equal(out[i], 0);
	for (uint32_t i = 0; i < bytes; i++)
		assert_int_equal(byte_at((packet.payload_pos + i) % size, scattered, n_pages),
				 in[i]);
	for (uint32_t i = 0; i < 4; i++) { // trailer: 0, then where the packet began
		uint32_t trailer = (pos + packet.bytes - 8) % size;

		assert_int_equal(byte_at((trailer + i) % size, scattered, n_pages), 0);
		assert_int_equal(byte_at((trailer + 4 + i) % size, scattered, n_pages),
				 (uint8_t)(pos >> 8 * i));
	}
	vmbus_ring_at(&rig.reader.ring, packet.payload_pos % size, &n);
	assert_true(n >= 1 && n <= size - packet.payload_pos % size);
	vmbus_reader_commit(&rig.reader);
	assert_int_equal(le32_to_cpu(rig.header->read), (pos + packet.bytes) % size);
	assert_int_equal(le32_to_cpu(rig.header->write), (pos + packet.bytes) % size);
}

static void packets_at_every_position(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 7, 8, 9, 15, 40, 63, 200 };

	for (uint32_t n_pages = 2; n_pages <= 4; n_pages++) {
		for (int scattered = 0; scattered < 2; scattered++) {
			make_ring(n_pages, scattered);
			for (uint32_t pos = 0; pos < SIZE(n_pages); pos += 8)
				for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
					once_around(pos, lengths[i], scattered, n_pages);
		}
	}
}

static void ring_fills_to_the_last_eight_bytes(void **state)
{
	struct vmbus_packet packet;
	uint32_t n = 0;

	make_ring(2, true);
	for (uint32_t pos = 0; pos < 4096; pos += 8) {
		start_at(pos);
		assert_int_equal(vmbus_writer_room(&rig.writer), 4088);
		for (n = 0; put(32) == 0; n++)
			;
		assert_int_equal(n, 4088 / 56);
		assert_int_equal(vmbus_writer_room(&rig.writer), 4088 % 56);
		assert_int_equal(put(32), -ENOSPC);
		vmbus_writer_commit(&rig.writer);
		assert_int_not_equal(le32_to_cpu(rig.header->write), pos);
		for (uint32_t i = 0; i < n; i++)
			must_read(32);
		assert_int_equal(vmbus_reader_next(&rig.reader, &packet), 0);
		assert_int_equal(put(32), -ENOSPC); // read, but not given back
		vmbus_reader_commit(&rig.reader);
		must_put(32);
	}
}

static void room_is_exact(void **state)
{
	make_ring(2, false);
	start_at(8);
	for (int i = 0; i < 72; i++)
		must_put(32);
	must_put(8);
	assert_int_equal(vmbus_writer_room(&rig.writer), 24);
	assert_int_equal(put(8), -ENOSPC);
	must_put(0);
	assert_int_equal(vmbus_writer_room(&rig.writer), 0);
	assert_int_equal(put(0), -ENOSPC);
}

static void room_known_does_while_it_is_enough(void **state)
{
	make_ring(2, false);
	start_at(4088);
	must_put(8);
	vmbus_writer_commit(&rig.writer);
	must_read(8);
	vmbus_reader_commit(&rig.reader);
	assert_int_equal(vmbus_writer_room_known(&rig.writer, 4056), 4056); // does not look
	assert_int_equal(vmbus_writer_room_known(&rig.writer, 4057), 4088);
	assert_int_equal(vmbus_writer_room_known(&rig.writer, 4057), 4088);
	rig.header->read = cpu_to_le32(4);
	assert_int_equal(vmbus_writer_room_known(&rig.writer, 4096), -EBADMSG);
}

static void longest_packet_fills_the_ring(void **state)
{
	static const uint8_t payload[4096];
	struct vmbus_packet_out packet = { .type = VMBUS_PACKET_INBAND, .payload = payload,
					   .payload_bytes = 4088 - 24 };

	make_ring(2, false);
	start_at(4000);
	assert_int_equal(vmbus_writer_put(&rig.writer, &packet), 0);
	vmbus_writer_commit(&rig.writer);
	must_read(0);
	vmbus_reader_commit(&rig.reader);
	packet.payload_bytes++;
	assert_int_equal(vmbus_writer_put(&rig.writer, &packet), -EMSGSIZE);
	packet.payload_bytes = UINT32_MAX;
	assert_int_equal(vmbus_writer_put(&rig.writer, &packet), -EMSGSIZE);
}

// --- batches -----------------------------------------------------------------------------------

static void ends_go_on_where_indices_are(void **state)
{
	struct vmbus_packet packet;

	make_ring(3, false);
	start_at(8000);
	must_put(8);
	must_put(16);
	vmbus_writer_commit(&rig.writer);
	must_read(8);
	vmbus_reader_commit(&rig.reader);
	must_put(100); // never committed: another life does not see it
	assert_int_equal(vmbus_reader_init(&rig.reader, &rig.ring), 0);
	assert_int_equal(vmbus_writer_init(&rig.writer, &rig.ring), 0);
	assert_int_equal(rig.writer.next, (8000 + 32 + 40) % 8192);
	must_put(24);
	vmbus_writer_commit(&rig.writer);
	must_read(16);
	must_read(24);
	assert_int_equal(vmbus_reader_next(&rig.reader, &packet), 0);
}

static void abort_and_back_undo(void **state)
{
	struct vmbus_packet packet;

	make_ring(2, false);
	start_at(0);
	must_put(8);
	vmbus_writer_abort(&rig.writer);
	assert_false(vmbus_writer_commit(&rig.writer));
	must_put(16);
	assert_int_equal(rig.writer.published, 0);
	assert_int_equal(rig.writer.next, 40);
	vmbus_writer_commit(&rig.writer);
	assert_int_equal(vmbus_reader_next(&rig.reader, &packet), 1);
	assert_int_equal(packet.transaction, 16);
	vmbus_reader_back(&rig.reader, packet.pos);
	assert_false(vmbus_reader_commit(&rig.reader));
	assert_int_equal(le32_to_cpu(rig.header->read), 0);
	must_read(16);
}

// --- what lies ---------------------------------------------------------------------------------

// A header with `filled` bytes behind the write index.
struct lie {
	const char *name;
	uint16_t type, payload8, length8, flags;
	uint32_t filled;
	int result;
};

static const struct lie lies[] = {
	{ "truth", 6, 2, 3, 0, 32, 1 },
	{ "truth with all flags there are", 6, 2, 3, 1, 32, 1 },
	{ "nothing but a header", 11, 2, 2, 0, 24, 1 },
	{ "more behind it", 9, 3, 4, 1, 400, 1 },
	{ "the longest", 7, 3, 510, 1, 4088, 1 },
	{ "payload inside the header", 6, 1, 3, 0, 32, -EBADMSG },
	{ "payload at 0", 6, 0, 3, 0, 32, -EBADMSG },
	{ "shorter than its header", 6, 2, 1, 0, 32, -EBADMSG },
	{ "length 0", 6, 2, 0, 0, 32, -EBADMSG },
	{ "payload behind the end", 6, 4, 3, 0, 32, -EBADMSG },
	{ "no trailer", 6, 2, 3, 0, 24, -EBADMSG },
	{ "longer than what is there", 6, 2, 4, 0, 32, -EBADMSG },
	{ "longer than the ring", 6, 2, 511, 0, 4088, -EBADMSG },
	{ "as long as can be", 6, 2, 65535, 0, 4088, -EBADMSG },
	{ "payload as far as can be", 6, 65535, 65535, 0, 4088, -EBADMSG },
	{ "8 bytes there", 6, 2, 2, 0, 8, -EBADMSG },
	{ "16 bytes there", 6, 2, 2, 0, 16, -EBADMSG },
	{ "a flag that does not exist", 6, 2, 3, 2, 32, -EBADMSG },
	{ "all flags", 6, 2, 3, 0xffff, 32, -EBADMSG },
	{ "type 0", 0, 2, 3, 0, 32, -EBADMSG },
	{ "type 8", 8, 2, 3, 0, 32, -EBADMSG },
	{ "type 12", 12, 2, 3, 0, 32, -EBADMSG },
	{ "type 65535", 65535, 2, 3, 0, 32, -EBADMSG },
};

static void lying_headers_are_found(void **state)
{
	make_ring(2, true);
	for (uint32_t pos = 0; pos < 4096; pos += 8) {
		for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
			const struct lie *lie = &lies[i];
			struct vmbus_packet_header header = {
				cpu_to_le16(lie->type), cpu_to_le16(lie->payload8),
				cpu_to_le16(lie->length8), cpu_to_le16(lie->flags), cpu_to_le64(9),
			};
			struct vmbus_packet packet;
			int result;

			start_at(pos);
			vmbus_ring_store(&rig.ring, pos, &header, sizeof(header));
			rig.header->write = cpu_to_le32((pos + lie->filled) % 4096);
			result = vmbus_reader_next(&rig.reader, &packet);
			if (result != lie->result)
				fail_msg("%s at %u: %d", lie->name, pos, result);
			if (result < 0) // it stays so
				assert_int_equal(vmbus_reader_next(&rig.reader, &packet), -EBADMSG);
		}
	}
}

static void lying_indices_are_found(void **state)
{
	static const uint32_t bad[] = {
		1, 4, 4095, 4096, 4100, 0x80000000, 0xffffffff, 0xfffffff8
	};
	struct vmbus_packet packet;

	make_ring(2, false);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		start_at(8);
		rig.header->write = cpu_to_le32(bad[i]);
		assert_int_equal(vmbus_reader_next(&rig.reader, &packet), -EBADMSG);
		assert_int_equal(vmbus_writer_init(&rig.writer, &rig.ring), -EBADMSG);
		assert_false(vmbus_reader_arm(&rig.reader));
		start_at(8);
		rig.header->read = cpu_to_le32(bad[i]);
		assert_int_equal(vmbus_writer_room(&rig.writer), -EBADMSG);
		assert_int_equal(vmbus_reader_init(&rig.reader, &rig.ring), -EBADMSG);
		assert_int_equal(vmbus_writer_init(&rig.writer, &rig.ring), -EBADMSG);
		assert_false(vmbus_writer_arm(&rig.writer, 100));
		assert_int_equal(le32_to_cpu(rig.header->pending_send), 0);
		start_at(8);
		while (put(500) == 0)
			;
		rig.header->read = cpu_to_le32(bad[i]);
		assert_int_equal(put(500), -EBADMSG);
	}
}

static void our_own_index_is_not_believed(void **state)
{
	make_ring(2, false);
	start_at(0);
	must_put(8);
	rig.header->write = cpu_to_le32(4000); // the guest moves ours
	rig.header->read = cpu_to_le32(0);
	vmbus_writer_commit(&rig.writer);
	assert_int_equal(le32_to_cpu(rig.header->write), 32);
	rig.header->read = cpu_to_le32(800);
	must_read(8);
	vmbus_reader_commit(&rig.reader);
	assert_int_equal(le32_to_cpu(rig.header->read), 32);
}

// --- signals -----------------------------------------------------------------------------------

static void writer_signals_a_sleeper_only(void **state)
{
	make_ring(2, false);
	start_at(16);
	assert_int_equal(le32_to_cpu(rig.header->interrupt_mask), 1); // a polling reader's
	must_put(8);
	assert_false(vmbus_writer_commit(&rig.writer)); // masked
	start_at(16);
	assert_true(vmbus_reader_arm(&rig.reader));
	assert_false(vmbus_writer_commit(&rig.writer)); // nothing new
	must_put(8);
	must_put(8);
	assert_true(vmbus_writer_commit(&rig.writer)); // was empty
	must_put(8);
	assert_false(vmbus_writer_commit(&rig.writer)); // was not
	must_read(8);
	must_read(8);
	vmbus_reader_commit(&rig.reader);
	must_put(8);
	assert_false(vmbus_writer_commit(&rig.writer)); // still was not
	must_read(8);
	must_read(8);
	must_put(8);
	assert_false(vmbus_writer_commit(&rig.writer)); // read, but not given back
	must_read(8);
	vmbus_reader_commit(&rig.reader);
	must_put(8);
	assert_true(vmbus_writer_commit(&rig.writer));
	vmbus_reader_disarm(&rig.reader);
	must_read(8);
	vmbus_reader_commit(&rig.reader);
	must_put(8);
	assert_false(vmbus_writer_commit(&rig.writer));
}

static void writer_looks_for_a_sleeper_later(void **state)
{
	uint32_t before;

	make_ring(2, false);
	start_at(16);
	must_put(8);
	before = vmbus_writer_publish(&rig.writer);
	assert_int_equal(before, 16);
	must_read(8); // who has seen it is not to be signalled for it
	vmbus_reader_commit(&rig.reader);
	assert_true(vmbus_reader_arm(&rig.reader));
	assert_false(vmbus_writer_must_signal(&rig.writer, before));
	must_put(8);
	before = vmbus_writer_publish(&rig.writer);
	assert_true(vmbus_writer_must_signal(&rig.writer, before));
}

static void reader_sleeps_on_an_empty_ring_only(void **state)
{
	make_ring(2, false);
	start_at(0);
	assert_true(vmbus_reader_arm(&rig.reader));
	assert_int_equal(le32_to_cpu(rig.header->interrupt_mask), 0);
	must_put(8);
	vmbus_writer_commit(&rig.writer);
	assert_false(vmbus_reader_arm(&rig.reader));
	assert_int_equal(le32_to_cpu(rig.header->interrupt_mask), 1);
	must_read(8);
	vmbus_reader_commit(&rig.reader);
	assert_true(vmbus_reader_arm(&rig.reader));
}

// Every pending_send against every step of the read index, by the rule's own words.
static void reader_signals_where_room_crosses_the_need(void **state)
{
	uint32_t n_signals = 0;

	make_ring(2, false);
	for (uint32_t need = 0; need <= 4104; need += need % 8 == 7 ? 1 : 7) {
		for (uint32_t n_before = 0; n_before < 100; n_before += 9) {
			for (uint32_t n_read = 1; n_read + n_before <= 100; n_read += 13) {
				uint32_t want = need & ~7u, before, after;
				bool signal;

				start_at(3000);
				for (int i = 0; i < 100; i++)
					must_put(16);
				vmbus_writer_commit(&rig.writer);
				for (uint32_t i = 0; i < n_before; i++)
					must_read(16);
				vmbus_reader_commit(&rig.reader);
				rig.header->pending_send = cpu_to_le32(need);
				for (uint32_t i = 0; i < n_read; i++)
					must_read(16);
				before = 4088 - (100 - n_before) * 40;
				after = before + n_read * 40;
				signal = vmbus_reader_commit(&rig.reader);
				assert_int_equal(signal, want && want <= 4088 && before <= want &&
								 after + 8 > want);
				n_signals += signal;
				assert_false(vmbus_reader_commit(&rig.reader)); // nothing new
			}
		}
	}
	assert_true(n_signals > 1000);
}

static void reader_signals_nobody_who_lies(void **state)
{
	static const uint32_t write[] = { 48, 45, 4096 + 45 };

	make_ring(2, false);
	for (size_t i = 0; i < ARRAY_SIZE(write); i++) {
		start_at(0);
		must_put(16);
		must_put(16);
		vmbus_writer_commit(&rig.writer);
		must_read(16);
		rig.header->pending_send = cpu_to_le32(4048);
		rig.header->write = cpu_to_le32(write[i]);
		assert_int_equal(vmbus_reader_commit(&rig.reader), i == 0);
	}
}

static void writer_sleeps_on_a_full_ring_only(void **state)
{
	make_ring(2, false);
	start_at(0);
	assert_int_equal(le32_to_cpu(rig.header->features), 1);
	assert_false(vmbus_writer_arm(&rig.writer, 4088));
	assert_int_equal(le32_to_cpu(rig.header->pending_send), 0);
	must_put(8);
	vmbus_writer_commit(&rig.writer);
	assert_false(vmbus_writer_arm(&rig.writer, 4056));
	assert_true(vmbus_writer_arm(&rig.writer, 4088));
	assert_int_equal(le32_to_cpu(rig.header->pending_send), 4088);
	must_read(8);
	assert_true(vmbus_reader_commit(&rig.reader));
	vmbus_writer_disarm(&rig.writer);
	assert_int_equal(le32_to_cpu(rig.header->pending_send), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rings_fit_their_gpadl),
		cmocka_unit_test(packets_at_every_position),
		cmocka_unit_test(ring_fills_to_the_last_eight_bytes),
		cmocka_unit_test(room_is_exact),
		cmocka_unit_test(room_known_does_while_it_is_enough),
		cmocka_unit_test(longest_packet_fills_the_ring),
		cmocka_unit_test(ends_go_on_where_indices_are),
		cmocka_unit_test(abort_and_back_undo),
		cmocka_unit_test(lying_headers_are_found),
		cmocka_unit_test(lying_indices_are_found),
		cmocka_unit_test(our_own_index_is_not_believed),
		cmocka_unit_test(writer_signals_a_sleeper_only),
		cmocka_unit_test(writer_looks_for_a_sleeper_later),
		cmocka_unit_test(reader_sleeps_on_an_empty_ring_only),
		cmocka_unit_test(reader_signals_where_room_crosses_the_need),
		cmocka_unit_test(reader_signals_nobody_who_lies),
		cmocka_unit_test(writer_sleeps_on_a_full_ring_only),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
