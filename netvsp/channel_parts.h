// SPDX-License-Identifier: Apache-2.0
// What a channel is made of; shared by channel.c, receive.c, answer.c and transmit.c alone.
#pragma once

#include <rte_mbuf.h>

#include "base/counter.h"
#include "dataplane/port.h"
#include "netvsp/channel.h"
#include "netvsp/journal.h"
#include "netvsp/rndis_data.h"
#include "netvsp/sections.h"
#include "netvsp/step.h"
#include "vmbus/packet.h"

#define CHANNEL_MAX_DATA 64   // ring packets with frames, of a batch
#define CHANNEL_MAX_ACKS 512  // acknowledged packets, of a batch
#define CHANNEL_MAX_SPANS 512 // pieces of guest memory that these lie in …
#define CHANNEL_PACKET_SPANS (VMBUS_MAX_PAGES + 8u) // … and of one of them
#define CHANNEL_MAX_MBUFS 512 // into which these are gathered
#define CHANNEL_FULL_BYTES 65536u // of messages end a batch: its copies stay in the cache
#define CHANNEL_MAX_RANGES 375u // sections of a ring packet; Linux takes no more
#define CHANNEL_SCRATCH_BYTES (PORT_MAX_FRAME + 256u)

// A ring packet of a batch that carries frames, or wants a completion for whatever it carries.
struct channel_data {
	uint64_t transaction;
	bool wants_completion;
	uint32_t status; // enum nvsp_status
	uint32_t pos;    // in the ring
	uint32_t first_span, bytes; // its message; bytes 0: none
	uint16_t n_frames, n_mbufs;
	uint16_t n_freed, n_bad_acks; // of the batch, before this packet
};

// What netvsp_channel_receive works on. Of one call.
struct channel_work {
	uint32_t n_data, n_spans, n_frames, n_mbufs, n_completions, n_bad_acks;
	uint32_t n_bytes; // of messages
	int64_t room; // bytes for completions
	struct channel_data data[CHANNEL_MAX_DATA];
	struct netvsp_span spans[CHANNEL_MAX_SPANS];
	struct netvsp_frame frames[2 * PORT_BATCH]; // those of one packet too many behind
	struct rte_mbuf *mbufs[CHANNEL_MAX_MBUFS];
};

struct netvsp_channel {
	unsigned int index;
	unsigned int failure; // enum vmbus_user_failure; atomic
	struct netvsp_guest *guest;
	struct netvsp_mailbox *mailbox; // channel 0, else NULL
	struct netvsp_counters *counters;
	const struct vmbus_bell *bell; // atomic: control exchanges it
	uint32_t wants_room;           // bytes that an answer waits for, 0: none does
	bool armed_room;               // … and the guest was asked to signal them
	bool notice_waits;             // for room or a section
	bool unsignalled;              // a batch was published, and nobody was rung yet …
	uint32_t in_before, out_before; // … that moved the indices from here
	uint16_t packet_id;            // of the next coalesced frame
	uint32_t region;               // of guest memory, looked at last
	uint32_t send_run, receive_run; // of the buffers, looked at last
	struct vmbus_reader reader;
	struct vmbus_writer writer;
	struct netvsp_journal journal;
	struct netvsp_section_cache cache;
	struct channel_work work;
	uint8_t scratch[CHANNEL_SCRATCH_BYTES]; // a message on its way to a section
};

// Nothing of it is touched any more.
static inline void channel_fail(struct netvsp_channel *channel, enum vmbus_user_failure why)
{
	__atomic_store_n(&channel->failure, why, __ATOMIC_RELEASE);
}

static inline bool channel_has_failed(const struct netvsp_channel *channel)
{
	return __atomic_load_n(&channel->failure, __ATOMIC_RELAXED);
}

// Before a batch: what may have changed since the last one. worker.
void channel_begin(struct netvsp_channel *channel);

// Steps 3 to 6: what was written and read so far becomes a batch of n_in and n_out frames.
// Nothing happens if no index would move. Then channel_signal. worker.
void channel_publish(struct netvsp_channel *channel, uint16_t n_in, uint16_t n_out);

// Step 7: rings the guest if it must be. Has to wait for all that the batch wrote, so the less was
// written just before, the better. worker.
void channel_signal(struct netvsp_channel *channel);

// The first `bytes` of a section; NULL: they do not lie together, see channel_scatter. worker.
static ALWAYS_INLINE uint8_t *channel_section(struct netvsp_channel *channel, uint16_t section,
					      uint32_t bytes)
{
	const struct netvsp_area *area = &channel->guest->receive;
	uint32_t at = section * area->section_bytes;
	const struct vmbus_run *run = vmbus_runs_at(&area->gpadl, at, &channel->receive_run);

	at -= run->start;
	return likely(bytes <= run->bytes - at) ? run->host + at : NULL;
}

// Writes bytes to the start of a section that lies in several runs. worker.
void channel_scatter(struct netvsp_channel *channel, uint16_t section, const void *from,
		     uint32_t bytes);

// The dirty bitmap, if there is one, learns of what was written to a section. worker.
void channel_mark_section(struct netvsp_channel *channel, uint16_t section, uint32_t bytes);

// The packet that gives sections to the guest: one XFER_PAGES. ranges[n], n ≤ CHANNEL_MAX_RANGES;
// channel_type: enum nvsp_channel_type. Returns as vmbus_writer_put. worker.
int channel_put_transfer(struct netvsp_channel *channel, uint16_t first,
			 const struct vmbus_xfer_range *ranges, uint32_t n,
			 uint32_t channel_type);

// Ring bytes it takes.
static inline uint32_t channel_transfer_bytes(uint32_t n)
{
	return (uint32_t)vmbus_packet_bytes(sizeof(struct vmbus_xfer_pages) +
						    n * sizeof(struct vmbus_xfer_range),
					    NVSP_MESSAGE_BYTES);
}

// Channel 0, before frames: publishes what control has to say. True: the ring from the guest is to
// be left alone, since a request is with control. worker. answer.c
bool channel_answer(struct netvsp_channel *channel);

// Hands the packet to control; the caller gives it back to the ring. worker. answer.c
void channel_ask(struct netvsp_channel *channel, const struct vmbus_packet *packet,
		 const struct netvsp_span *spans, uint32_t bytes);

// Counts frames pkts[n], whose headers have just been read or written. worker.
static inline void channel_count(struct netvsp_traffic *traffic, struct rte_mbuf **pkts, uint32_t n)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *frame = rte_pktmbuf_mtod(pkts[i], const uint8_t *);

		bytes += pkts[i]->pkt_len;
		if (likely(!(frame[0] & 1)))
			continue;
		if (load_u32(frame) == UINT32_MAX && load_u16(frame + 4) == UINT16_MAX) {
			counter_add(&traffic->broadcast, 1);
			counter_add(&traffic->broadcast_bytes, pkts[i]->pkt_len);
		} else {
			counter_add(&traffic->multicast, 1);
			counter_add(&traffic->multicast_bytes, pkts[i]->pkt_len);
		}
	}
	counter_add(&traffic->bytes, bytes);
}
