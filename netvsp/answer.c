// SPDX-License-Identifier: Apache-2.0
// The worker's side of the mailbox: control messages out of the primary channel's ring, answers
// and notices into it (docs/vmbus-user.md, section 8.6). An answer is a batch of its own, which
// consumes the request as well. Rare: nothing here is tuned.
#include "netvsp/channel_parts.h"

#include <errno.h>
#include <sys/eventfd.h>

static uint32_t load_acquire(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }

static void store_release(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

// A section for a message: one of those kept for it, else any. False: the guest holds all.
static bool take_section(struct netvsp_channel *channel, uint16_t *section)
{
	struct netvsp_sections *sections = channel->guest->sections;

	if (!sections)
		return false;
	if (netvsp_sections_take_control(sections, section))
		return true;
	if (!netvsp_sections_fill(sections, &channel->cache, 1))
		return false;
	*section = channel->cache.ids[--channel->cache.n];
	return true;
}

// Puts an RNDIS message into a section and its packet into the ring. Returns 0, -ENOSPC, -ENOBUFS
// (no section, or none as large) or -EBADMSG.
static int put_message(struct netvsp_channel *channel, const void *message, uint32_t bytes)
{
	const struct netvsp_area *area = &channel->guest->receive;
	struct vmbus_xfer_range range;
	uint16_t section;
	int ret;

	if (bytes > area->section_bytes || !take_section(channel, &section))
		return -ENOBUFS;
	channel_scatter(channel, section, message, bytes);
	channel_mark_section(channel, section, bytes);
	range = (struct vmbus_xfer_range){ cpu_to_le32(bytes),
					   cpu_to_le32(section * area->section_bytes) };
	ret = channel_put_transfer(channel, section, &range, 1, NVSP_CHANNEL_CONTROL);
	if (ret < 0)
		netvsp_sections_put(channel->guest->sections, &channel->cache, section);
	else
		netvsp_journal_add_taken(&channel->journal, section | VMBUS_STATE_TAKEN_FIRST);
	return ret;
}

// Control hears that something happened.
static void call_control(const struct netvsp_mailbox *mailbox)
{
	eventfd_write(mailbox->fd, 1); // a full counter wakes it as well
}

static int put_answer(struct netvsp_channel *channel, const struct netvsp_answer *answer)
{
	const struct vmbus_packet_out completion = {
		.type = VMBUS_PACKET_COMPLETION, .transaction = answer->transaction,
		.payload = answer->completion, .payload_bytes = answer->completion_bytes,
	};
	int ret = answer->completes ? vmbus_writer_put(&channel->writer, &completion) : 0;

	if (ret == 0 && answer->message_bytes)
		ret = put_message(channel, answer->message, answer->message_bytes);
	return ret;
}

// The request, which stands where reading begins, is consumed by the batch of its answer.
static void publish_answer(struct netvsp_channel *channel)
{
	struct netvsp_mailbox *mailbox = channel->mailbox;
	const struct netvsp_answer *answer = &mailbox->answer;
	struct vmbus_packet request;
	int ret;

	channel_begin(channel);
	channel->wants_room = 0;
	if (vmbus_reader_next(&channel->reader, &request) <= 0) {
		channel_fail(channel, VMBUS_USER_FAILED_PROTOCOL);
		return;
	}
	ret = put_answer(channel, answer);
	if (ret < 0) {
		vmbus_writer_abort(&channel->writer);
		vmbus_reader_back(&channel->reader, request.pos);
		if (ret == -ENOSPC)
			channel->wants_room = (uint32_t)vmbus_packet_bytes(0, NVSP_MESSAGE_BYTES) +
					      channel_transfer_bytes(1);
		else // acknowledgements stand behind the request: there will never be a section
			channel_fail(channel, VMBUS_USER_FAILED_PROTOCOL);
		return;
	}
	channel->journal.answered = answer->serial;
	channel_publish(channel, 0, 0);
	store_release(&mailbox->state, NETVSP_MAIL_EMPTY);
	channel_signal(channel);
	call_control(mailbox);
}

// True: it is said, or never will be. False: later.
static bool put_notice(struct netvsp_channel *channel, const struct netvsp_notice *notice)
{
	const struct vmbus_packet_out inband = {
		.type = VMBUS_PACKET_INBAND, .payload = notice->data,
		.payload_bytes = notice->bytes,
	};
	int ret = notice->in_section ? put_message(channel, notice->data, notice->bytes) :
				       vmbus_writer_put(&channel->writer, &inband);

	if (ret == -EBADMSG)
		channel_fail(channel, VMBUS_USER_FAILED_INDEX);
	return ret != -ENOSPC && ret != -ENOBUFS;
}

static void publish_notice(struct netvsp_channel *channel)
{
	struct netvsp_mailbox *mailbox = channel->mailbox;

	channel_begin(channel);
	channel->notice_waits = !put_notice(channel, &mailbox->notice);
	if (channel->notice_waits || channel_has_failed(channel)) {
		vmbus_writer_abort(&channel->writer);
		return;
	}
	channel_publish(channel, 0, 0);
	store_release(&mailbox->notice_posted, 0);
	channel_signal(channel);
	call_control(mailbox);
}

bool channel_answer(struct netvsp_channel *channel)
{
	struct netvsp_mailbox *mailbox = channel->mailbox;

	if (unlikely(load_acquire(&mailbox->notice_posted)))
		publish_notice(channel);
	if (unlikely(load_acquire(&mailbox->state) == NETVSP_MAIL_ANSWERED) &&
	    !channel_has_failed(channel))
		publish_answer(channel);
	return load_acquire(&mailbox->state) != NETVSP_MAIL_EMPTY || channel_has_failed(channel);
}

void channel_ask(struct netvsp_channel *channel, const struct vmbus_packet *packet,
		 const struct netvsp_span *spans, uint32_t bytes)
{
	struct netvsp_mailbox *mailbox = channel->mailbox;
	struct netvsp_request *request = &mailbox->request;
	struct netvsp_cursor at = { spans, 0 };

	request->transaction = packet->transaction;
	request->wants_completion = packet->wants_completion;
	request->nvsp_bytes = packet->payload_bytes < sizeof(request->nvsp) ?
				      packet->payload_bytes : (uint32_t)sizeof(request->nvsp);
	vmbus_ring_load(&channel->reader.ring, packet->payload_pos, request->nvsp,
			request->nvsp_bytes);
	request->rndis_bytes = bytes <= sizeof(request->rndis) ? bytes : 0;
	if (request->rndis_bytes)
		netvsp_cursor_read(&at, request->rndis, bytes);
	store_release(&mailbox->state, NETVSP_MAIL_REQUESTED);
	call_control(mailbox);
}
