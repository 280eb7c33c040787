// SPDX-License-Identifier: Apache-2.0
// What a frame costs between a guest's rings and the switch, in TSC cycles:
// `build/netvsp/test_channel_cost`. A guest's end in the same thread fills and drains the rings;
// its own cycles are not counted. No EAL. Not a test: it asserts nothing about time.
// Arguments: turns in a slice, which of the lines.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include <cmocka.h>

#include "netvsp/nvsp.h"
#include "netvsp/test_rig.h"

#define SLICES 50
#define BATCH 64

static struct rig rig;
static struct rte_mbuf *pkts[BATCH];

// One way of sending and its totals.
struct bench {
	uint32_t bytes;       // of a frame
	uint32_t per_message; // RNDIS packets in a send section; 0: from pages, one each
	bool csum;            // ask for a checksum, as Linux does
	uint64_t rx_cycles, tx_cycles, frames;
};

static uint64_t next_id;

static void drain(void)
{
	static struct rig_packet packet;

	while (rig_read(&rig, &packet))
		if (packet.type == VMBUS_PACKET_XFER_PAGES)
			rig_ack(&rig, packet.id);
	rig_kick(&rig);
}

// Messages were written once; the guest sends them again and again, as a bench does.
static void fill(const struct bench *b, uint8_t *message)
{
	uint8_t *frame = calloc(1, b->bytes);
	struct test_frame f = { .payload_bytes = b->bytes - 54, .tcp = true };
	struct rig_frame r = { .data = frame, .bytes = b->bytes, .hash = 1, .align = true };
	struct rte_mbuf *m = test_frame_build(rig.pools.small, &f);
	uint8_t *flat = test_flat(m);
	uint32_t at = 0;

	memcpy(frame, flat, b->bytes);
	if (b->csum)
		r.csum = RNDIS_TX_IS_IPV4 | RNDIS_TX_TCP | 34u << 16;
	for (uint32_t i = 0; i < (b->per_message ? b->per_message : 1); i++)
		at += rig_rndis(message + at, &r);
	memcpy(message + 65536, &at, sizeof(at));
	rte_pktmbuf_free(m);
	free(flat);
	free(frame);
}

static void send_sections(const struct bench *b, const uint8_t *message, uint32_t bytes)
{
	for (uint32_t i = 0; i < BATCH / b->per_message; i++) {
		uint32_t section = (uint32_t)next_id % RIG_N_SEND;

		memcpy(rig_send_section(&rig, section, 0), message, bytes);
		rig_send(&rig, next_id++, section, bytes, NULL, 0);
	}
}

// As Linux sends: the header in a page of its own, the frame in others.
static void send_pages(const struct bench *b, const uint8_t *message, uint32_t bytes)
{
	uint32_t head = load_u32(message + offsetof(struct rndis_packet, data_offset)) +
			RNDIS_OFFSET_BASE;

	for (uint32_t i = 0; i < BATCH; i++) {
		uint32_t slot = (uint32_t)(next_id % 8); // in one region, as most RAM is
		uint8_t *at = rig_page(&rig, slot * 4);
		const struct vmbus_piece pieces[2] = {
			{ rig_page_gpa(slot * 4) + 256, head },
			{ rig_page_gpa(slot * 4) + 1024, bytes - head },
		};

		memcpy(at + 256, message, head);
		memcpy(at + 1024, message + head, bytes - head);
		rig_send(&rig, next_id++, NVSP_NO_SECTION, 0, pieces, 2);
	}
}

static void run(struct bench *b, const uint8_t *message, uint32_t turns)
{
	uint32_t bytes, n;
	uint64_t start;
	enum drop why;

	memcpy(&bytes, message + 65536, sizeof(bytes));
	b->rx_cycles = b->tx_cycles = b->frames = 0;
	rig.counters = (struct netvsp_counters){ 0 };
	for (uint32_t turn = 0; turn < turns; turn++) {
		if (b->per_message)
			send_sections(b, message, bytes);
		else
			send_pages(b, message, bytes);
		rig_kick(&rig);
		start = __rdtsc();
		n = netvsp_channel_receive(rig.channel, pkts, BATCH);
		b->rx_cycles += __rdtsc() - start;
		if (n != BATCH) {
			fprintf(stderr, "%u frames of %d\n", n, BATCH);
			exit(1);
		}
		start = __rdtsc();
		n = netvsp_channel_transmit(rig.channel, pkts, BATCH, &why);
		b->tx_cycles += __rdtsc() - start;
		if (n != BATCH)
			exit(1);
		b->frames += n;
		drain();
	}
}

// The best of many slices: whoever else uses the machine costs cycles, too.
static void run_slices(struct bench *b, uint32_t turns, struct netvsp_counters *counters)
{
	static uint8_t message[65536 + 8];
	struct bench best = { .rx_cycles = UINT64_MAX };

	fill(b, message);
	for (int i = 0; i < SLICES; i++) {
		run(b, message, turns);
		if (b->rx_cycles + b->tx_cycles > best.rx_cycles + best.tx_cycles)
			continue;
		best = *b;
		*counters = rig.counters;
	}
	*b = best;
}

static void report(const struct bench *b, const struct netvsp_counters *rx)
{
	double n = (double)b->frames;

	printf("%5u bytes, %-8s %-4s: %7.1f = %6.1f from the guest + %6.1f to it   "
	       "(ring %.1f, rndis %.1f, copy %.1f, signal %.1f)\n",
	       b->bytes, b->per_message ? "sections" : "pages", b->csum ? "csum" : "",
	       (double)(b->rx_cycles + b->tx_cycles) / n, (double)b->rx_cycles / n,
	       (double)b->tx_cycles / n, (double)rx->ring_cycles / n, (double)rx->rndis_cycles / n,
	       (double)rx->copy_cycles / n, (double)rx->signal_cycles / n);
}

int main(int argc, char **argv)
{
	static struct bench benches[] = {
		{ .bytes = 64, .per_message = 8 },
		{ .bytes = 64, .per_message = 8, .csum = true },
		{ .bytes = 64 },
		{ .bytes = 64, .csum = true },
		{ .bytes = 1514 },
		{ .bytes = 1514, .csum = true },
		{ .bytes = 1514, .per_message = 2, .csum = true },
		{ .bytes = 9014 },
		{ .bytes = 9014, .csum = true },
	};
	uint32_t turns = argc > 1 ? (uint32_t)atoi(argv[1]) : 100;
	struct netvsp_counters counters = {};
	size_t from = 0, to = ARRAY_SIZE(benches);

	if (argc > 2) {
		from = (size_t)atoi(argv[2]) % to;
		to = from + 1;
	}
	for (size_t i = from; i < to; i++) {
		const struct rig_cfg cfg = { .ring_pages = 129, .n_sections = 9000,
					     .max_frame = benches[i].bytes > 1514 ? 9014 : 1514,
					     .n_mbufs = 1024 };

		rig_create(&rig, &cfg);
		run_slices(&benches[i], turns, &counters);
		report(&benches[i], &counters);
		rig_destroy(&rig);
	}
	return 0;
}
