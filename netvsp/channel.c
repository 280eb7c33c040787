// SPDX-License-Identifier: Apache-2.0
#include "netvsp/channel.h"

#include <errno.h>
#include <stdlib.h>

#include "netvsp/channel_parts.h"

int netvsp_channel_create(const struct netvsp_channel_cfg *cfg, struct netvsp_channel **out)
{
	size_t size = (sizeof(struct netvsp_channel) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	struct netvsp_channel *channel = aligned_alloc(CACHE_LINE, size);

	if (!channel)
		return -ENOMEM;
	memset(channel, 0, sizeof(*channel));
	channel->index = cfg->index;
	channel->guest = cfg->guest;
	channel->mailbox = cfg->mailbox;
	channel->counters = cfg->counters;
	netvsp_journal_init(&channel->journal, cfg->block, cfg->resume);
	if (vmbus_reader_init(&channel->reader, &cfg->in) < 0 ||
	    vmbus_writer_init(&channel->writer, &cfg->out) < 0) {
		free(channel);
		return -EBADMSG;
	}
	*out = channel;
	return 0;
}

void netvsp_channel_destroy(struct netvsp_channel *channel, bool keep)
{
	struct netvsp_sections *sections;

	if (!channel)
		return;
	sections = channel->guest->sections;
	netvsp_sections_detach(sections, &channel->cache);
	if (!keep) {
		if (sections)
			netvsp_sections_free_channel(sections, channel->index);
		netvsp_journal_erase(&channel->journal);
	}
	free(channel);
}

const struct vmbus_bell *netvsp_channel_set_bell(struct netvsp_channel *channel,
						 const struct vmbus_bell *bell)
{
	// Release: a worker that sees the pointer sees the bell. Acquire: for whoever retires it.
	return __atomic_exchange_n(&channel->bell, bell, __ATOMIC_ACQ_REL);
}

int netvsp_channel_resume(struct netvsp_channel *channel)
{
	struct vmbus_ring in = channel->reader.ring, out = channel->writer.ring;

	if (vmbus_reader_init(&channel->reader, &in) < 0 ||
	    vmbus_writer_init(&channel->writer, &out) < 0) {
		channel_fail(channel, VMBUS_USER_FAILED_INDEX);
		return -EBADMSG;
	}
	channel->wants_room = 0;
	channel->armed_room = channel->notice_waits = false;
	return 0;
}

void netvsp_channel_seal(struct netvsp_channel *channel)
{
	const struct vmbus_reader *reader = &channel->reader;
	const struct vmbus_writer *writer = &channel->writer;
	const struct netvsp_batch batch = {
		reader->published, reader->published, writer->published, writer->published, 0, 0
	};

	netvsp_journal_begin(&channel->journal);
	netvsp_journal_seal(&channel->journal, &batch);
}

unsigned int netvsp_channel_failure(const struct netvsp_channel *channel)
{
	return __atomic_load_n(&channel->failure, __ATOMIC_ACQUIRE);
}

uint64_t netvsp_channel_answered(const struct netvsp_channel *channel)
{
	return channel->journal.answered;
}

// --- a batch -----------------------------------------------------------------------------------

void channel_begin(struct netvsp_channel *channel)
{
	struct netvsp_sections *sections = channel->guest->sections;

	// Buffers and memory may be others than those of the last batch.
	channel->region = channel->send_run = channel->receive_run = 0;
	if (sections && unlikely(channel->cache.serial != sections->serial))
		netvsp_sections_attach(sections, &channel->cache);
	netvsp_journal_begin(&channel->journal);
}

// [from, to) of the data, which may wrap, and the header page before them.
static void mark_ring(const struct vmbus_dirty *dirty, const struct vmbus_ring *ring, uint32_t from,
		      uint32_t to)
{
	vmbus_dirty_mark_runs(dirty, &ring->gpadl, ring->first_byte - VMBUS_PAGE_BYTES, 1);
	if (to < from) {
		vmbus_dirty_mark_runs(dirty, &ring->gpadl, ring->first_byte + from,
				      ring->size - from);
		from = 0;
	}
	if (to > from)
		vmbus_dirty_mark_runs(dirty, &ring->gpadl, ring->first_byte + from, to - from);
}

void channel_mark_section(struct netvsp_channel *channel, uint16_t section, uint32_t bytes)
{
	const struct vmbus_dirty *dirty = rcu_get(&channel->guest->dirty);
	const struct netvsp_area *area = &channel->guest->receive;

	if (unlikely(dirty))
		vmbus_dirty_mark_runs(dirty, &area->gpadl, section * area->section_bytes, bytes);
}

void channel_publish(struct netvsp_channel *channel, uint16_t n_in, uint16_t n_out)
{
	struct vmbus_reader *reader = &channel->reader;
	struct vmbus_writer *writer = &channel->writer;
	const struct netvsp_batch batch = { reader->published, reader->next, writer->published,
					    writer->next, n_in, n_out };
	const struct vmbus_dirty *dirty;

	if (batch.in_from == batch.in_to && batch.out_from == batch.out_to)
		return;
	netvsp_journal_seal(&channel->journal, &batch);
	channel->out_before = vmbus_writer_publish(writer);
	netvsp_step();
	channel->in_before = vmbus_reader_publish(reader);
	channel->unsignalled = true;
	netvsp_step();
	netvsp_journal_apply(&channel->journal, channel->guest->sections, &channel->cache,
			     channel->index);
	counter_add(&channel->counters->batches, 1);
	dirty = rcu_get(&channel->guest->dirty);
	if (unlikely(dirty)) {
		mark_ring(dirty, &writer->ring, batch.out_from, batch.out_to);
		mark_ring(dirty, &reader->ring, 0, 0);
	}
}

static void ring(struct netvsp_channel *channel)
{
	const struct vmbus_bell *bell = __atomic_load_n(&channel->bell, __ATOMIC_ACQUIRE);

	counter_add(&channel->counters->bells, 1);
	if (bell && vmbus_bell_ring(bell, rcu_get(&channel->guest->dirty)))
		counter_add(&channel->counters->bell_calls, 1);
}

void channel_signal(struct netvsp_channel *channel)
{
	if (!channel->unsignalled)
		return;
	channel->unsignalled = false;
	vmbus_ring_fence();
	if (vmbus_writer_must_signal(&channel->writer, channel->out_before) ||
	    vmbus_reader_must_signal(&channel->reader, channel->in_before))
		ring(channel);
}

void netvsp_channel_ring(struct netvsp_channel *channel)
{
	if (!channel_has_failed(channel))
		ring(channel);
}

// --- sections ----------------------------------------------------------------------------------

void channel_scatter(struct netvsp_channel *channel, uint16_t section, const void *from,
		     uint32_t bytes)
{
	const struct netvsp_area *area = &channel->guest->receive;
	uint32_t at = section * area->section_bytes;
	const uint8_t *copy = from;

	while (bytes) {
		const struct vmbus_run *run =
			vmbus_runs_at(&area->gpadl, at, &channel->receive_run);
		uint32_t n = run->bytes - (at - run->start);

		n = n < bytes ? n : bytes;
		memcpy(run->host + (at - run->start), copy, n);
		copy += n;
		at += n;
		bytes -= n;
	}
}

int channel_put_transfer(struct netvsp_channel *channel, uint16_t first,
			 const struct vmbus_xfer_range *ranges, uint32_t n, uint32_t channel_type)
{
	struct {
		struct vmbus_xfer_pages head;
		struct vmbus_xfer_range ranges[CHANNEL_MAX_RANGES];
	} extra;
	uint8_t message[NVSP_MESSAGE_BYTES] = {};
	const struct nvsp_rndis_packet packet = {
		cpu_to_le32(NVSP_RNDIS_PACKET), cpu_to_le32(channel_type),
		cpu_to_le32(NVSP_NO_SECTION), cpu_to_le32(0),
	};
	const struct vmbus_packet_out out = {
		.type = VMBUS_PACKET_XFER_PAGES, .wants_completion = true, .transaction = first,
		.extra = &extra, .payload = message,
		.extra_bytes = (uint32_t)(sizeof(extra.head) + n * sizeof(*ranges)),
		.payload_bytes = sizeof(message),
	};

	extra.head = (struct vmbus_xfer_pages){
		.page_set = cpu_to_le16(channel->guest->receive.id), .n_ranges = cpu_to_le32(n),
	};
	memcpy(extra.ranges, ranges, n * sizeof(*ranges));
	memcpy(message, &packet, sizeof(packet));
	return vmbus_writer_put(&channel->writer, &out);
}

// --- sleep -------------------------------------------------------------------------------------

static void disarm(struct netvsp_channel *channel)
{
	vmbus_reader_disarm(&channel->reader);
	if (channel->armed_room)
		vmbus_writer_disarm(&channel->writer);
	channel->armed_room = false;
}

static bool arm(struct netvsp_channel *channel, bool armed)
{
	if (!armed) {
		disarm(channel);
		return false;
	}
	if (channel->mailbox) {
		const struct netvsp_mailbox *mailbox = channel->mailbox;
		uint32_t mail = __atomic_load_n(&mailbox->state, __ATOMIC_RELAXED);

		if ((mail == NETVSP_MAIL_ANSWERED && !channel->wants_room) ||
		    (__atomic_load_n(&mailbox->notice_posted, __ATOMIC_RELAXED) &&
		     !channel->notice_waits))
			return true;
		if (mail == NETVSP_MAIL_REQUESTED)
			return false; // the ring waits for control, which wakes us
	}
	if (channel->wants_room) {
		channel->armed_room = vmbus_writer_arm(&channel->writer, channel->wants_room);
		return !channel->armed_room;
	}
	return !vmbus_reader_arm(&channel->reader);
}

bool netvsp_channel_arm(struct netvsp_channel *channel, bool armed)
{
	const struct vmbus_dirty *dirty = rcu_get(&channel->guest->dirty);
	bool awake;

	if (channel_has_failed(channel))
		return false;
	awake = arm(channel, armed);
	if (unlikely(dirty)) { // mask and pending size
		mark_ring(dirty, &channel->reader.ring, 0, 0);
		mark_ring(dirty, &channel->writer.ring, 0, 0);
	}
	return awake;
}
