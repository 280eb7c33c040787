// SPDX-License-Identifier: Apache-2.0
// From the guest: a batch of ring packets becomes frames, completions and free sections.
//
// Three passes over the batch, so that each finds in the cache what the one before asked for: scan
// (ring packets: acknowledgements, where frames are), find (RNDIS), gather (copies, offloads).
// Then completions are written and the batch is published; the frames are the caller's after that
// only (docs/vmbus-user.md, section 8.1, rule 3).
#include "netvsp/channel_parts.h"

#include <errno.h>
#include <x86intrin.h>

#include "netvsp/offload.h"

#define AHEAD_BYTES 1024u // of a message are asked for: several small frames

// --- pieces of guest memory --------------------------------------------------------------------

// [gpa, gpa + bytes) in guest memory, or NULL unless it lies in one region.
static ALWAYS_INLINE const uint8_t *memory_at(struct netvsp_channel *channel,
					      const struct guest_memory *memory, uint64_t gpa,
					      uint32_t bytes)
{
	const struct guest_region *region = &memory->regions[channel->region];
	uint64_t at = gpa - region->gpa;

	// A guest sends from one region, mostly.
	if (likely(channel->region < memory->n_regions && at < region->bytes &&
		   bytes <= region->bytes - at))
		return region->host + at;
	for (uint32_t i = 0; i < memory->n_regions; i++)
		if (gpa - memory->regions[i].gpa < memory->regions[i].bytes)
			channel->region = i;
	return guest_memory_at(memory, gpa, bytes, false);
}

static void add_span(struct channel_work *work, const uint8_t *host, uint32_t bytes)
{
	work->spans[work->n_spans++] = (struct netvsp_span){ host, bytes };
}

// A piece that crosses from one region into the next is looked up page by page.
static bool add_pages(struct netvsp_channel *channel, const struct guest_memory *memory,
		      struct vmbus_piece piece)
{
	while (piece.bytes) {
		uint32_t bytes = GUEST_PAGE_BYTES - piece.gpa % GUEST_PAGE_BYTES;
		const uint8_t *host;

		bytes = piece.bytes < bytes ? piece.bytes : bytes;
		host = memory_at(channel, memory, piece.gpa, bytes);
		if (!host)
			return false;
		add_span(&channel->work, host, bytes);
		piece.gpa += bytes;
		piece.bytes -= bytes;
	}
	return true;
}

static ALWAYS_INLINE bool add_piece(struct netvsp_channel *channel,
				    const struct guest_memory *memory,
				    const struct vmbus_piece *piece)
{
	const uint8_t *host = memory_at(channel, memory, piece->gpa, piece->bytes);

	if (unlikely(!host))
		return add_pages(channel, memory, *piece);
	add_span(&channel->work, host, piece->bytes);
	return true;
}

static bool add_many_pieces(struct netvsp_channel *channel, const struct guest_memory *memory,
			    const struct vmbus_packet *packet)
{
	struct vmbus_pieces pieces;

	if (vmbus_packet_pieces(&channel->reader.ring, packet, &pieces) < 0)
		return false;
	for (uint32_t i = 0; i < pieces.n; i++)
		if (!add_piece(channel, memory, &pieces.pieces[i]))
			return false;
	return true;
}

// The pages that a GPA_DIRECT packet names.
static ALWAYS_INLINE bool add_pieces(struct netvsp_channel *channel,
				     const struct vmbus_packet *packet)
{
	const struct guest_memory *memory = rcu_get(&channel->guest->memory);
	struct vmbus_piece pieces[VMBUS_PLAIN_PIECES];
	uint32_t contiguous, n;
	const uint8_t *list = vmbus_ring_at(&channel->reader.ring, packet->extra_pos, &contiguous);

	if (unlikely(!memory))
		return false;
	n = vmbus_packet_plain_pieces(packet, list, contiguous, pieces);
	if (unlikely(!n))
		return add_many_pieces(channel, memory, packet);
	for (uint32_t i = 0; i < n; i++)
		if (unlikely(!add_piece(channel, memory, &pieces[i])))
			return false;
	return true;
}

// The first `bytes` of a section of the send buffer.
static bool add_section(struct netvsp_channel *channel, uint32_t section, uint32_t bytes)
{
	const struct netvsp_area *area = &channel->guest->send;
	uint32_t at;

	if (section >= area->n_sections || bytes > area->section_bytes)
		return false;
	at = section * area->section_bytes;
	while (bytes) {
		const struct vmbus_run *run = vmbus_runs_at(&area->gpadl, at, &channel->send_run);
		uint32_t n = run->bytes - (at - run->start);

		n = n < bytes ? n : bytes;
		add_span(&channel->work, run->host + (at - run->start), n);
		at += n;
		bytes -= n;
	}
	return true;
}

// The RNDIS message of a packet: bytes of a section, then pages. Returns its bytes; 0: none, or
// not all of it is there. Spans begin at work->n_spans.
static ALWAYS_INLINE uint32_t add_message(struct netvsp_channel *channel,
					  const struct vmbus_packet *packet,
					  const struct nvsp_rndis_packet *nvsp)
{
	struct channel_work *work = &channel->work;
	uint32_t first = work->n_spans, section = le32_to_cpu(nvsp->section), bytes = 0;

	if ((section != NVSP_NO_SECTION &&
	     !add_section(channel, section, le32_to_cpu(nvsp->section_bytes))) ||
	    (packet->type == VMBUS_PACKET_GPA_DIRECT && !add_pieces(channel, packet))) {
		work->n_spans = first;
		return 0;
	}
	for (uint32_t i = first; i < work->n_spans; i++)
		bytes += work->spans[i].bytes; // ≤ a section and 128 pages
	if (likely(bytes)) {
		const struct netvsp_span *span = &work->spans[first];

		for (uint32_t at = 0; at < RTE_MIN(span->bytes, AHEAD_BYTES); at += CACHE_LINE)
			__builtin_prefetch(span->host + at);
	}
	return bytes;
}

// --- scan --------------------------------------------------------------------------------------

enum scanned { SCANNED, SCAN_FULL, SCAN_CONTROL };

static void scan_ack(struct netvsp_channel *channel, const struct vmbus_packet *packet)
{
	struct netvsp_sections *sections = channel->guest->sections;

	if (likely(sections &&
		   netvsp_sections_ack(sections, packet->transaction, channel->index)))
		netvsp_journal_add_freed(&channel->journal, (uint16_t)packet->transaction);
	else
		channel->work.n_bad_acks++;
}

static bool is_full(const struct netvsp_channel *channel)
{
	const struct channel_work *work = &channel->work;

	return work->n_data == CHANNEL_MAX_DATA || work->n_bytes >= CHANNEL_FULL_BYTES ||
	       work->n_spans > CHANNEL_MAX_SPANS - CHANNEL_PACKET_SPANS;
}

static ALWAYS_INLINE struct nvsp_rndis_packet load_nvsp(struct vmbus_ring *ring, uint32_t pos)
{
	uint64_t types = vmbus_ring_load_word(ring, pos);
	uint64_t section = vmbus_ring_load_word(ring, vmbus_ring_advance(ring, pos, 8));

	return (struct nvsp_rndis_packet){
		cpu_to_le32((uint32_t)types), cpu_to_le32((uint32_t)(types >> 32)),
		cpu_to_le32((uint32_t)section), cpu_to_le32((uint32_t)(section >> 32)),
	};
}

// A packet that is no acknowledgement.
static ALWAYS_INLINE enum scanned scan_data(struct netvsp_channel *channel,
					    const struct vmbus_packet *packet)
{
	struct channel_work *work = &channel->work;
	struct channel_data *data = &work->data[work->n_data];
	struct nvsp_rndis_packet nvsp = {};
	bool frames;

	if (unlikely(is_full(channel)))
		return SCAN_FULL;
	if (likely(packet->payload_bytes >= sizeof(nvsp)))
		nvsp = load_nvsp(&channel->reader.ring, packet->payload_pos);
	frames = le32_to_cpu(nvsp.type) == NVSP_RNDIS_PACKET &&
		 le32_to_cpu(nvsp.channel_type) == NVSP_CHANNEL_DATA;
	if (unlikely(!frames && channel->mailbox)) {
		uint32_t first = work->n_spans, bytes = 0;

		if (le32_to_cpu(nvsp.type) == NVSP_RNDIS_PACKET)
			bytes = add_message(channel, packet, &nvsp);
		channel_ask(channel, packet, work->spans + first, bytes);
		work->n_spans = first;
		return SCAN_CONTROL;
	}
	// Room for the completion first: a packet is not taken unless it can be completed.
	if (unlikely(packet->wants_completion &&
		     (work->n_completions + 1) * VMBUS_COMPLETION_BYTES > work->room)) {
		channel->wants_room = VMBUS_COMPLETION_BYTES;
		return SCAN_FULL;
	}
	work->n_completions += packet->wants_completion;
	*data = (struct channel_data){
		.transaction = packet->transaction, .wants_completion = packet->wants_completion,
		.status = NVSP_STATUS_FAILURE, .pos = packet->pos, .first_span = work->n_spans,
		.n_freed = channel->journal.n_freed, .n_bad_acks = (uint16_t)work->n_bad_acks,
	};
	if (likely(frames && channel->guest->sending))
		data->bytes = add_message(channel, packet, &nvsp);
	work->n_bytes += data->bytes;
	work->n_data++;
	return SCANNED;
}

// Reads packets as far as they fit in one batch. False: the ring is corrupt.
static bool scan(struct netvsp_channel *channel)
{
	struct channel_work *work = &channel->work;
	struct vmbus_packet packet;
	int ret;

	work->n_data = work->n_spans = work->n_frames = work->n_mbufs = 0;
	work->n_completions = work->n_bad_acks = work->n_bytes = 0;
	channel->wants_room = 0;
	work->room = -1;
	while ((ret = vmbus_reader_take(&channel->reader, &packet)) > 0) {
		enum scanned what = SCANNED;

		if (packet.type == VMBUS_PACKET_COMPLETION) {
			if (channel->journal.n_freed + work->n_bad_acks < CHANNEL_MAX_ACKS)
				scan_ack(channel, &packet);
			else
				what = SCAN_FULL;
		} else {
			if (work->room < 0)
				work->room = vmbus_writer_room_known(
					&channel->writer,
					CHANNEL_MAX_DATA * VMBUS_COMPLETION_BYTES);
			if (unlikely(work->room < 0))
				return false;
			what = scan_data(channel, &packet);
		}
		if (unlikely(what != SCANNED)) {
			vmbus_reader_back(&channel->reader, packet.pos);
			break;
		}
	}
	return ret >= 0;
}

// --- find --------------------------------------------------------------------------------------

// Gives data packet i, and all behind it, back to the ring.
static void cut(struct netvsp_channel *channel, uint32_t i)
{
	struct channel_work *work = &channel->work;
	struct netvsp_journal *journal = &channel->journal;
	const struct channel_data *data = &work->data[i];

	vmbus_reader_back(&channel->reader, data->pos);
	while (journal->n_freed > data->n_freed)
		netvsp_sections_unack(channel->guest->sections,
				      journal->entries[--journal->n_freed]);
	work->n_bad_acks = data->n_bad_acks;
	work->n_data = i;
}

// Finds the frames of all packets; those for which there is no room in pkts[n] go back.
static void find(struct netvsp_channel *channel, uint16_t n)
{
	struct channel_work *work = &channel->work;
	uint32_t max_frame = channel->guest->max_frame;

	for (uint32_t i = 0; i < work->n_data; i++) {
		struct channel_data *data = &work->data[i];
		struct netvsp_frame *frames = &work->frames[work->n_frames];
		const struct netvsp_message message = { &work->spans[data->first_span],
							data->bytes };
		uint32_t n_frames = 0, n_mbufs = 0;

		if (likely(data->bytes &&
			   netvsp_frames_find(&message, max_frame, PORT_BATCH, frames,
					      &n_frames) == 0))
			data->status = NVSP_STATUS_SUCCESS;
		for (uint32_t j = 0; j < n_frames; j++)
			n_mbufs += netvsp_frame_mbufs(frames[j].bytes);
		if (unlikely(work->n_frames + n_frames > n ||
			     work->n_mbufs + n_mbufs > CHANNEL_MAX_MBUFS)) {
			if (work->n_frames || n < PORT_BATCH) {
				cut(channel, i);
				break;
			}
			// More than any batch takes: nobody would ever get past it.
			n_frames = n_mbufs = 0;
			data->status = NVSP_STATUS_FAILURE;
		}
		data->n_frames = (uint16_t)n_frames;
		data->n_mbufs = (uint16_t)n_mbufs;
		work->n_frames += n_frames;
		work->n_mbufs += n_mbufs;
	}
}

// --- gather ------------------------------------------------------------------------------------

// The data packet with frames that comes first, or n_data.
static uint32_t first_with_frames(const struct channel_work *work)
{
	uint32_t i = 0;

	while (i < work->n_data && !work->data[i].n_frames)
		i++;
	return i;
}

// Takes the mbufs. Packets for which there are none go back to the ring.
static void take_mbufs(struct netvsp_channel *channel)
{
	struct channel_work *work = &channel->work;
	struct rte_mempool *pool = channel->guest->pools->small;
	uint32_t i;

	if (!work->n_mbufs ||
	    likely(rte_pktmbuf_alloc_bulk(pool, work->mbufs, work->n_mbufs) == 0))
		return;
	counter_add(&channel->counters->rx_no_mbuf, 1);
	// A whole batch is much to ask of a pool that is nearly empty; one packet gets on as well.
	i = first_with_frames(work);
	work->n_frames = work->data[i].n_frames;
	work->n_mbufs = work->data[i].n_mbufs;
	if (rte_pktmbuf_alloc_bulk(pool, work->mbufs, work->n_mbufs) == 0) {
		if (i + 1 < work->n_data)
			cut(channel, i + 1);
		return;
	}
	work->n_frames = work->n_mbufs = 0;
	cut(channel, i);
}

// Copies all frames, in order of the ring; pkts[n_frames].
static void gather(struct channel_work *work, struct rte_mbuf **pkts)
{
	struct rte_mbuf **mbufs = work->mbufs;

	for (uint32_t i = 0; i < work->n_frames; i++) {
		pkts[i] = netvsp_frame_gather(&work->frames[i], mbufs);
		mbufs += pkts[i]->nb_segs;
	}
}

// Puts what the guest asked for into the frames; those that do not fit their request are left out.
// Returns how many are left.
static uint16_t translate(struct netvsp_channel *channel, struct rte_mbuf **pkts)
{
	struct channel_work *work = &channel->work;
	uint32_t at = 0;
	uint16_t kept = 0;

	for (uint32_t i = 0; i < work->n_data; i++) {
		struct channel_data *data = &work->data[i];

		for (uint32_t end = at + data->n_frames; at < end; at++) {
			struct rte_mbuf *m = pkts[at];

			pkts[kept++] = m;
			if (likely(netvsp_offload_from_guest(&work->frames[at], m)))
				continue;
			kept--;
			rte_pktmbuf_free(m);
			data->status = NVSP_STATUS_FAILURE;
		}
	}
	return kept;
}

// --- answer ------------------------------------------------------------------------------------

static void complete(struct netvsp_channel *channel)
{
	const struct channel_work *work = &channel->work;
	struct vmbus_completion completions[CHANNEL_MAX_DATA];
	uint32_t n_bad = 0, n_packets = 0, n = 0;

	for (uint32_t i = 0; i < work->n_data; i++) {
		const struct channel_data *data = &work->data[i];

		n_bad += data->status != NVSP_STATUS_SUCCESS;
		n_packets += data->n_frames > 0;
		completions[n] = (struct vmbus_completion){
			data->transaction,
			NVSP_RNDIS_PACKET_COMPLETE | (uint64_t)data->status << 32,
		};
		n += data->wants_completion;
	}
	// Room was looked for; a guest that took it back since harms its own ring.
	if (n && vmbus_writer_complete(&channel->writer, completions, n) < 0)
		channel_fail(channel, VMBUS_USER_FAILED_INDEX);
	counter_add(&channel->counters->rx_bad, n_bad);
	counter_add(&channel->counters->rx_packets, n_packets);
	counter_add(&channel->counters->acks, channel->journal.n_freed);
	counter_add(&channel->counters->bad_acks, work->n_bad_acks);
}

uint16_t netvsp_channel_receive(struct netvsp_channel *channel, struct rte_mbuf **pkts, uint16_t n)
{
	struct netvsp_counters *counters = channel->counters;
	uint64_t t[8];
	uint16_t kept;

	if (unlikely(channel_has_failed(channel)))
		return 0;
	if (channel->mailbox && unlikely(channel_answer(channel)))
		return 0;
	t[0] = __rdtsc();
	channel_begin(channel);
	if (unlikely(!scan(channel))) {
		channel_fail(channel, VMBUS_USER_FAILED_PACKET);
		return 0;
	}
	if (channel->reader.next == channel->reader.published)
		return 0;
	t[1] = __rdtsc();
	find(channel, n);
	t[2] = __rdtsc();
	take_mbufs(channel);
	gather(&channel->work, pkts);
	t[3] = __rdtsc();
	kept = translate(channel, pkts);
	t[4] = __rdtsc();
	complete(channel);
	if (unlikely(channel_has_failed(channel))) {
		rte_pktmbuf_free_bulk(pkts, kept);
		return 0;
	}
	channel_publish(channel, kept, 0);
	t[5] = __rdtsc();
	counter_add(&counters->rx_frames, kept);
	channel_count(&counters->rx, pkts, kept);
	t[6] = __rdtsc();
	channel_signal(channel);
	t[7] = __rdtsc();
	counter_add(&counters->ring_cycles, t[1] - t[0] + t[5] - t[4]);
	counter_add(&counters->rndis_cycles, t[2] - t[1] + t[4] - t[3]);
	counter_add(&counters->copy_cycles, t[3] - t[2]);
	counter_add(&counters->signal_cycles, t[7] - t[6]);
	return kept;
}
