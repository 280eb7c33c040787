// SPDX-License-Identifier: Apache-2.0
// The two ends on two threads: both sleep when they can and wake each other when the ring says so.
// A signal too few hangs, a barrier too few tears a packet; ThreadSanitizer watches as well.
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmbus/ring.h"

#define N_PACKETS 30000u
#define TIMEOUT_MS 20000

// One ring between two threads, and the bell of each.
struct line {
	struct vmbus_run runs[3];
	struct vmbus_runs gpadl;
	struct vmbus_ring ring;
	int reader_bell, writer_bell;
	uint32_t n_reader_slept, n_writer_slept, n_bad; // each by one thread, read after join
};

static void ring_bell(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		abort();
}

// False: nobody rang. A lost wake-up shows here.
static bool wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	return poll(&p, 1, TIMEOUT_MS) == 1 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static uint32_t length_of(uint32_t i)
{
	return i * 2654435761u >> 21; // 0…2047, in no order
}

static void *write_all(void *arg)
{
	struct line *line = arg;
	struct vmbus_writer writer;
	uint8_t payload[2048];

	if (vmbus_writer_init(&writer, &line->ring) < 0)
		abort();
	for (uint32_t i = 0; i < N_PACKETS;) {
		struct vmbus_packet_out packet = { .type = VMBUS_PACKET_INBAND, .transaction = i,
						   .payload = payload,
						   .payload_bytes = length_of(i) };

		memset(payload, (int)i, packet.payload_bytes);
		if (vmbus_writer_put(&writer, &packet) == 0) {
			i++;
			if ((i & 3) && i < N_PACKETS)
				continue;
		}
		// A batch is full, or the ring is.
		if (vmbus_writer_commit(&writer))
			ring_bell(line->reader_bell);
		if (i < N_PACKETS &&
		    vmbus_writer_arm(&writer, (uint32_t)vmbus_packet_bytes(0, length_of(i)))) {
			line->n_writer_slept++;
			if (!wait_for(line->writer_bell))
				break;
			vmbus_writer_disarm(&writer);
		}
	}
	return NULL;
}

static bool is_whole(struct vmbus_reader *reader, const struct vmbus_packet *packet, uint32_t i)
{
	uint8_t payload[2048];
	uint32_t bytes = length_of(i);

	if (packet->transaction != i || packet->payload_bytes != ((bytes + 7) & ~7u))
		return false;
	vmbus_ring_load(&reader->ring, packet->payload_pos, payload, packet->payload_bytes);
	for (uint32_t j = 0; j < bytes; j++)
		if (payload[j] != (uint8_t)i)
			return false;
	return true;
}

static void *read_all(void *arg)
{
	struct line *line = arg;
	struct vmbus_reader reader;
	struct vmbus_packet packet;

	if (vmbus_reader_init(&reader, &line->ring) < 0)
		abort();
	for (uint32_t i = 0; i < N_PACKETS;) {
		int n = vmbus_reader_next(&reader, &packet);

		if (n < 0) {
			line->n_bad++;
			break;
		}
		if (n > 0) {
			line->n_bad += !is_whole(&reader, &packet, i++);
			if (i & 1)
				continue;
		}
		if (vmbus_reader_commit(&reader))
			ring_bell(line->writer_bell);
		if (n == 0 && vmbus_reader_arm(&reader)) {
			line->n_reader_slept++;
			if (!wait_for(line->reader_bell)) {
				line->n_bad++;
				break;
			}
			vmbus_reader_disarm(&reader);
		}
	}
	return NULL;
}

static void nobody_sleeps_for_ever(void **state)
{
	struct line line = { .gpadl = { line.runs, 3, 3 * VMBUS_PAGE_BYTES } };
	uint8_t *memory = aligned_alloc(VMBUS_PAGE_BYTES, 3 * VMBUS_PAGE_BYTES);
	pthread_t reader, writer;

	memset(memory, 0, 3 * VMBUS_PAGE_BYTES);
	for (uint32_t i = 0; i < 3; i++)
		line.runs[i] = (struct vmbus_run){ memory + (2 - i) * VMBUS_PAGE_BYTES, 0,
						   i * VMBUS_PAGE_BYTES, VMBUS_PAGE_BYTES };
	assert_int_equal(vmbus_ring_init(&line.ring, &line.gpadl, 0, 3), 0);
	line.reader_bell = eventfd(0, EFD_CLOEXEC);
	line.writer_bell = eventfd(0, EFD_CLOEXEC);
	pthread_create(&reader, NULL, read_all, &line);
	pthread_create(&writer, NULL, write_all, &line);
	pthread_join(reader, NULL);
	pthread_join(writer, NULL);
	assert_int_equal(line.n_bad, 0);
	print_message("reader slept %u times, writer %u\n", line.n_reader_slept,
		      line.n_writer_slept);
	assert_true(line.n_reader_slept > 0 && line.n_writer_slept > 0);
	close(line.reader_bell);
	close(line.writer_bell);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_sleeps_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
