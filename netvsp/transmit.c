// SPDX-License-Identifier: Apache-2.0
// To the guest: frames are written into sections of its receive buffer, one ring packet names all
// those of a batch.
#include "netvsp/channel_parts.h"

#include <errno.h>
#include <x86intrin.h>

#include "net/headers.h"
#include "netvsp/offload.h"

#define AHEAD 8u // frames for which memory is asked ahead
#define HEADER_BYTES ((uint32_t)sizeof(struct rndis_packet))
#define MAX_PPI_BYTES (NETVSP_MAX_PPIS * (uint32_t)sizeof(struct rndis_ppi_u32))
#define MACS_BYTES 12u
#define TAG_BYTES 4u

// What one batch gives.
struct gift {
	uint32_t n_frames;
	uint32_t n_ranges;
	uint32_t max_ranges; // there are so many sections, and so much room
	uint32_t max_frame;  // that fits both the guest and a section
	enum drop why;       // … and no more
	struct vmbus_xfer_range ranges[CHANNEL_MAX_RANGES];
};

// Behind header and information, so that an IP header behind 14 bytes of Ethernet is aligned.
static ALWAYS_INLINE uint32_t data_offset(uint32_t ppi_bytes)
{
	return HEADER_BYTES + ppi_bytes + 2;
}

static ALWAYS_INLINE void write_header(uint8_t *to, uint32_t ppi_bytes, uint32_t data_bytes)
{
	struct rndis_packet *packet = (struct rndis_packet *)to;
	uint32_t offset = data_offset(ppi_bytes);

	packet->header.type = cpu_to_le32(RNDIS_PACKET);
	packet->header.bytes = cpu_to_le32(offset + data_bytes);
	packet->data_offset = cpu_to_le32(offset - RNDIS_OFFSET_BASE);
	packet->data_bytes = cpu_to_le32(data_bytes);
	packet->oob_offset = packet->oob_bytes = packet->n_oob = cpu_to_le32(0);
	packet->ppi_offset = cpu_to_le32(ppi_bytes ? HEADER_BYTES - RNDIS_OFFSET_BASE : 0);
	packet->ppi_bytes = cpu_to_le32(ppi_bytes);
	packet->vc = packet->reserved = cpu_to_le32(0);
}

// Copies bytes of a frame from `from` of the mbuf chain m on.
static void copy_chain(uint8_t *to, const struct rte_mbuf *m, uint32_t from, uint32_t bytes)
{
	while (from >= m->data_len && m->next) {
		from -= m->data_len;
		m = m->next;
	}
	for (; bytes; m = m->next, from = 0) {
		uint32_t n = RTE_MIN(m->data_len - from, bytes);

		copy_frame(to, rte_pktmbuf_mtod_offset(m, const uint8_t *, from), n);
		to += n;
		bytes -= n;
	}
}

// The frame without its tag, if that was told.
static ALWAYS_INLINE void write_frame(uint8_t *to, const struct rte_mbuf *m, bool tagged)
{
	if (unlikely(tagged)) {
		memcpy(to, rte_pktmbuf_mtod(m, const uint8_t *), MACS_BYTES);
		copy_chain(to + MACS_BYTES, m, MACS_BYTES + TAG_BYTES,
			   m->pkt_len - MACS_BYTES - TAG_BYTES);
	} else if (likely(m->nb_segs == 1)) {
		copy_frame(to, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
	} else {
		copy_chain(to, m, 0, m->pkt_len);
	}
}

// A whole frame as one message at to[]. Returns its bytes.
static ALWAYS_INLINE uint32_t write_message(const struct netvsp_guest *guest, struct rte_mbuf *m,
					    uint8_t *to)
{
	struct netvsp_frame_out out = { (struct rndis_ppi_u32 *)(to + HEADER_BYTES), 0, false };
	uint32_t bytes = m->pkt_len, offset;

	netvsp_offload_to_guest(guest, m, &out);
	bytes -= unlikely(out.tagged) ? TAG_BYTES : 0;
	offset = data_offset(out.ppi_bytes);
	write_header(to, out.ppi_bytes, bytes);
	write_frame(to + offset, m, out.tagged);
	return offset + bytes;
}

// The next section is filled with a message of `bytes`.
static ALWAYS_INLINE void add_range(struct netvsp_channel *channel, struct gift *gift,
				    uint16_t section, uint32_t bytes)
{
	gift->ranges[gift->n_ranges] = (struct vmbus_xfer_range){
		cpu_to_le32(bytes), cpu_to_le32(section * channel->guest->receive.section_bytes),
	};
	netvsp_journal_add_taken(&channel->journal,
				 gift->n_ranges ? section : section | VMBUS_STATE_TAKEN_FIRST);
	gift->n_ranges++;
	channel_mark_section(channel, section, bytes);
}

// A frame that fits a section. The stack has one.
static ALWAYS_INLINE void give_frame(struct netvsp_channel *channel, struct gift *gift,
				     struct rte_mbuf *m)
{
	uint16_t section = channel->cache.ids[--channel->cache.n];
	uint8_t *to = channel_section(channel, section, data_offset(MAX_PPI_BYTES) + m->pkt_len);
	uint32_t bytes;

	if (likely(to)) {
		bytes = write_message(channel->guest, m, to);
	} else {
		bytes = write_message(channel->guest, m, channel->scratch);
		channel_scatter(channel, section, channel->scratch, bytes);
	}
	add_range(channel, gift, section, bytes);
}

// --- coalesced frames --------------------------------------------------------------------------

static bool is_coalesced(const struct rte_mbuf *m) { return m->ol_flags & RTE_MBUF_F_TX_TCP_SEG; }

// Sections that a frame takes.
static ALWAYS_INLINE uint32_t sections_of(const struct rte_mbuf *m, uint32_t max_frame)
{
	uint32_t n = 1;

	if (likely(!is_coalesced(m)))
		return 1;
	for (uint32_t left = m->pkt_len; left > max_frame; left -= max_frame)
		n++;
	return n;
}

static void add_packet_id(struct netvsp_frame_out *out, uint16_t id, uint8_t flags)
{
	struct rndis_ppi_u32 *ppi = out->ppis++;
	const struct rndis_packet_id value = { 1, flags | RNDIS_PACKET_ID_SUB_ALLOCATION,
					       cpu_to_le16(id) };

	ppi->ppi = (struct rndis_ppi){ cpu_to_le32(sizeof(*ppi)),
				       cpu_to_le32(RNDIS_PPI_PACKET_ID),
				       cpu_to_le32(sizeof(ppi->ppi)) };
	memcpy(&ppi->value, &value, sizeof(value));
	out->ppi_bytes += (uint32_t)sizeof(*ppi);
}

// A large send, as pieces that the guest puts together again (RSC over VMBus). The first one says
// what there is to say.
static void give_pieces(struct netvsp_channel *channel, struct gift *gift, struct rte_mbuf *m)
{
	const struct netvsp_guest *guest = channel->guest;
	uint8_t *to = channel->scratch, *frame;
	uint32_t from = 0, n;
	uint16_t id = channel->packet_id++;

	while (from < m->pkt_len) {
		struct netvsp_frame_out out = { (struct rndis_ppi_u32 *)(to + HEADER_BYTES), 0,
						false };
		uint16_t section = channel->cache.ids[--channel->cache.n];
		uint32_t left = m->pkt_len - from, skip = 0;
		bool first = !from;

		n = RTE_MIN(left, gift->max_frame);
		if (first)
			netvsp_offload_to_guest(guest, m, &out);
		add_packet_id(&out, id, (first ? RNDIS_PACKET_ID_FIRST : 0) |
						(n == left ? RNDIS_PACKET_ID_LAST : 0));
		frame = to + data_offset(out.ppi_bytes);
		if (out.tagged) {
			copy_chain(frame, m, 0, MACS_BYTES);
			skip = MACS_BYTES;
			from = MACS_BYTES + TAG_BYTES;
			n -= from;
		}
		copy_chain(frame + skip, m, from, n);
		write_header(to, out.ppi_bytes, skip + n);
		from += n;
		n = data_offset(out.ppi_bytes) + skip + n;
		channel_scatter(channel, section, to, n);
		add_range(channel, gift, section, n);
	}
}

// --- a batch -----------------------------------------------------------------------------------

// Finds out how many sections the batch may give: want, or fewer and why. False: corrupt ring.
static bool plan(struct netvsp_channel *channel, uint32_t want, struct gift *gift)
{
	// An eighth stays free for completions, without which the guest cannot send.
	uint32_t spare = channel->writer.ring.size / 8 + channel_transfer_bytes(0), n;
	int64_t room = vmbus_writer_room_known(
		&channel->writer, spare + want * (uint32_t)sizeof(struct vmbus_xfer_range));

	if (unlikely(room < 0))
		return false;
	room -= spare;
	room = room < 0 ? 0 : room / (int64_t)sizeof(struct vmbus_xfer_range);
	n = netvsp_sections_fill(channel->guest->sections, &channel->cache, want);
	gift->why = n < want ? DROP_GUEST_NO_RXBUF : DROP_NONE;
	gift->max_ranges = RTE_MIN(n, want);
	if (unlikely(room < gift->max_ranges)) {
		gift->why = DROP_GUEST_RING_FULL;
		gift->max_ranges = (uint32_t)room;
	}
	return true;
}

// Asks for the memory that frame i takes and, first lines of, the one that it comes from.
static ALWAYS_INLINE void prefetch(const struct netvsp_channel *channel,
				   struct rte_mbuf *const *pkts, uint32_t i)
{
	const struct netvsp_area *area = &channel->guest->receive;
	uint32_t top = channel->cache.n;

	__builtin_prefetch(rte_pktmbuf_mtod(pkts[i], const void *));
	if (likely(top > i && area->gpadl.n == 1)) {
		const uint8_t *to = area->gpadl.runs[0].host +
				    channel->cache.ids[top - 1 - i] * area->section_bytes;

		__builtin_prefetch(to, 1);
		__builtin_prefetch(to + CACHE_LINE, 1);
	}
}

static ALWAYS_INLINE bool is_too_long(const struct netvsp_guest *guest, uint32_t most,
				      const struct rte_mbuf *m)
{
	if (likely(m->pkt_len <= most))
		return false;
	if (is_coalesced(m))
		return !guest->coalesce || m->pkt_len > NETVSP_MAX_LSO;
	return m->pkt_len > most + TAG_BYTES ||
	       load_be16(rte_pktmbuf_mtod_offset(m, const uint8_t *, MACS_BYTES)) !=
		       BE16(ETH_TYPE_VLAN);
}

// Copies frames into sections as long as there are any. pkts[n].
static void fill(struct netvsp_channel *channel, struct gift *gift, struct rte_mbuf **pkts,
		 uint32_t n)
{
	for (uint32_t i = 0; i < RTE_MIN(n, AHEAD); i++)
		prefetch(channel, pkts, i);
	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t need = sections_of(m, gift->max_frame);

		if (i + AHEAD < n)
			prefetch(channel, pkts + i, AHEAD);
		if (unlikely(is_too_long(channel->guest, gift->max_frame, m))) {
			gift->why = DROP_MTU_MISMATCH;
			break;
		}
		if (unlikely(gift->n_ranges + need > gift->max_ranges))
			break;
		if (unlikely(is_coalesced(m)))
			give_pieces(channel, gift, m);
		else
			give_frame(channel, gift, m);
		gift->n_frames++;
	}
}

// Sections that pkts[n] want, as many as one ring packet may name.
static uint32_t wanted(const struct netvsp_guest *guest, struct rte_mbuf *const *pkts, uint32_t n,
		       uint32_t max_frame)
{
	uint32_t want = n;

	if (unlikely(guest->coalesce))
		for (uint32_t i = 0; i < n; i++)
			want += sections_of(pkts[i], max_frame) - 1;
	return RTE_MIN(want, CHANNEL_MAX_RANGES);
}

// The longest frame that the guest takes, and that a section takes with everything before it.
static uint32_t max_frame(const struct netvsp_guest *guest)
{
	const uint32_t overhead = data_offset(MAX_PPI_BYTES) + TAG_BYTES;
	uint32_t most = guest->receive.section_bytes;

	most = most > overhead + PORT_HEADER_BYTES ? most - overhead : 0;
	return RTE_MIN(most, guest->max_frame);
}

// Forgets what was written of a batch that is not made.
static void give_up(struct netvsp_channel *channel, const struct gift *gift)
{
	for (uint32_t i = 0; i < gift->n_ranges; i++)
		netvsp_sections_put(channel->guest->sections, &channel->cache,
				    channel->journal.entries[i] & ~VMBUS_STATE_TAKEN_FIRST);
	channel_fail(channel, VMBUS_USER_FAILED_INDEX);
}

// One batch of the frames pkts[n]. Returns how many the guest has got.
static uint32_t give(struct netvsp_channel *channel, struct rte_mbuf **pkts, uint32_t n,
		     enum drop *why)
{
	struct netvsp_counters *counters = channel->counters;
	uint64_t t[6];
	struct gift gift;

	gift.n_frames = gift.n_ranges = 0;
	gift.max_frame = max_frame(channel->guest);
	t[0] = __rdtsc();
	channel_begin(channel);
	if (unlikely(!gift.max_frame ||
		     !plan(channel, wanted(channel->guest, pkts, n, gift.max_frame), &gift))) {
		channel_fail(channel, VMBUS_USER_FAILED_INDEX);
		return 0;
	}
	t[1] = __rdtsc();
	fill(channel, &gift, pkts, n);
	*why = gift.n_frames == n ? DROP_NONE : gift.why;
	if (unlikely(!gift.n_ranges))
		return 0;
	t[2] = __rdtsc();
	if (unlikely(channel_put_transfer(channel, channel->journal.entries[0] &
							   ~VMBUS_STATE_TAKEN_FIRST,
					  gift.ranges, gift.n_ranges, NVSP_CHANNEL_DATA) < 0)) {
		give_up(channel, &gift);
		return 0;
	}
	channel_publish(channel, 0, (uint16_t)gift.n_frames);
	t[3] = __rdtsc();
	counter_add(&counters->tx_packets, 1);
	counter_add(&counters->tx_frames, gift.n_frames);
	channel_count(&counters->tx, pkts, gift.n_frames);
	rte_pktmbuf_free_bulk(pkts, gift.n_frames);
	t[4] = __rdtsc();
	channel_signal(channel);
	t[5] = __rdtsc();
	counter_add(&counters->ring_cycles, t[1] - t[0] + t[3] - t[2]);
	counter_add(&counters->copy_cycles, t[2] - t[1]);
	counter_add(&counters->signal_cycles, t[5] - t[4]);
	return gift.n_frames;
}

uint16_t netvsp_channel_transmit(struct netvsp_channel *channel, struct rte_mbuf **pkts, uint16_t n,
				 enum drop *why)
{
	const struct netvsp_guest *guest = channel->guest;
	uint32_t done = 0;

	*why = DROP_NOT_READY;
	if (unlikely(channel_has_failed(channel) || !guest->receiving || !guest->sections))
		return 0;
	*why = DROP_NONE;
	// More than one turn for coalesced frames only, of which a batch takes a few.
	while (done < n) {
		uint32_t got = give(channel, pkts + done, n - done, why);

		done += got;
		if (*why != DROP_NONE || !got)
			break;
	}
	if (channel_has_failed(channel))
		*why = DROP_DISCONNECTED;
	if (*why == DROP_GUEST_NO_RXBUF)
		counter_add(&channel->counters->tx_no_section, n - done);
	else if (*why == DROP_GUEST_RING_FULL)
		counter_add(&channel->counters->tx_no_room, n - done);
	return (uint16_t)done;
}
