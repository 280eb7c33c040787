// SPDX-License-Identifier: Apache-2.0
// What a guest sends as RNDIS: a message of the fuzzer's, cut into pieces where it likes, that
// changes between the looks at it. Whatever stands there, nothing is read outside of the pieces,
// and a frame that comes out keeps the offload contract (dataplane/port.h).
//
// Input: how many cuts; a byte for each, the length of a piece; then the message. The bytes from
// the message's end backwards are also the changes between finding and gathering.
#include <assert.h>
#include <stdlib.h>

#include "dataplane/port_util.h"
#include "net/layers.h"
#include "net/test_util.h"
#include "netvsp/offload.h"

#define MAX_CUTS 12
#define MAX_FRAME 1514
#define MAX_FRAMES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Pieces are allocations of their own, so that a byte too many is seen.
static uint32_t cut(const uint8_t *message, uint32_t bytes, const uint8_t *cuts, uint32_t n_cuts,
		    struct netvsp_span *spans)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i <= n_cuts && bytes; i++) {
		uint32_t here = i < n_cuts ? 1u + cuts[i] : bytes;
		uint8_t *copy;

		here = here < bytes ? here : bytes;
		copy = malloc(here);
		if (!copy)
			abort();
		memcpy(copy, message, here);
		spans[n++] = (struct netvsp_span){ copy, here };
		message += here;
		bytes -= here;
	}
	return n;
}

static void change(const struct netvsp_span *spans, uint32_t n, const uint8_t *data, size_t size)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t at = data[size - 1 - i] % 61; at < spans[i].bytes; at += 61)
			((uint8_t *)(uintptr_t)spans[i].host)[at] ^= data[size - 1 - at % size];
}

static void check(const struct rte_mbuf *m)
{
	const uint64_t flags = m->ol_flags;
	struct layers at;
	const char *why;

	assert(rte_mbuf_check(m, 1, &why) == 0);
	assert(m->data_len >= RTE_MIN(m->pkt_len, PORT_HEADER_BYTES));
	assert((flags & ~(PORT_REQUEST_FLAGS | PORT_FAMILY_FLAGS)) == 0);
	if (!(flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG)))
		return;
	assert(layers_find(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &at));
	assert(m->l2_len == at.l2_bytes && m->l3_len == at.l3_bytes && m->l4_len == at.l4_bytes);
	assert(!(flags & RTE_MBUF_F_TX_TCP_SEG) || (m->tso_segsz && at.proto == IP_PROTO_TCP));
}

static void take(const struct netvsp_frame *frame, struct rte_mempool *pool)
{
	static struct netvsp_guest guest = { .report_csum = true };
	struct rndis_ppi_u32 ppis[NETVSP_MAX_PPIS];
	struct netvsp_frame_out out = { ppis, 0, false };
	struct rte_mbuf *mbufs[NETVSP_MAX_MBUFS], *m;

	if (rte_pktmbuf_alloc_bulk(pool, mbufs, netvsp_frame_mbufs(frame->bytes)) < 0)
		abort();
	m = netvsp_frame_gather(frame, mbufs);
	if (netvsp_offload_from_guest(frame, m)) {
		check(m);
		netvsp_offload_to_guest(&guest, m, &out);
		assert(out.ppi_bytes <= sizeof(ppis));
	}
	rte_pktmbuf_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rte_mempool *pool;
	struct netvsp_span spans[MAX_CUTS + 1];
	struct netvsp_frame frames[MAX_FRAMES];
	struct netvsp_message message;
	uint32_t n_cuts, n_spans, n_frames, bytes;

	if (!pool)
		pool = test_pool_create(NETVSP_MAX_MBUFS, TEST_SMALL_ROOM);
	if (size < 1 + MAX_CUTS + 2 || size > 100000)
		return 0;
	n_cuts = data[0] % (MAX_CUTS + 1);
	bytes = (uint32_t)size - 1 - n_cuts;
	n_spans = cut(data + 1 + n_cuts, bytes, data + 1, n_cuts, spans);
	message = (struct netvsp_message){ spans, bytes };
	netvsp_frames_find(&message, MAX_FRAME, MAX_FRAMES, frames, &n_frames);
	assert(n_frames <= MAX_FRAMES);
	change(spans, n_spans, data, size);
	for (uint32_t i = 0; i < n_frames; i++) {
		assert(frames[i].bytes >= 14 && frames[i].bytes <= bytes);
		take(&frames[i], pool);
	}
	assert(test_pool_out(pool) == 0);
	for (uint32_t i = 0; i < n_spans; i++)
		free((void *)(uintptr_t)spans[i].host);
	return 0;
}
