// SPDX-License-Identifier: Apache-2.0
// The NIC's control machine: requests of the guest's driver, what they lead to, the control record
// in the state memory, notices. The order is that of docs/vmbus-user.md, section 8.6: first the
// effect, then the record, then the answer.
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "netvsp/nic_parts.h"
#include "netvsp/recover.h"
#include "netvsp/rss.h"
#include "netvsp/sections.h"

#define N_ANNOUNCE 3              // announcements: the first may come before a link is up
#define ANNOUNCE_NS 250000000ull  // between two
#define MBIT 1000000ull

// All that Linux ever turns on: IPv4 headers it checks itself, and those are always finished.
#define ALL_RX (NETVSP_RX_TCPV4 | NETVSP_RX_UDPV4 | NETVSP_RX_TCPV6 | NETVSP_RX_UDPV6)
#define ALL_RSC (NETVSP_RSC_V4 | NETVSP_RSC_V6)

// --- what the control machine asks for ---------------------------------------------------------

static const struct vmbus_peer_gpadl *find_gpadl(const struct netvsp_nic *nic, uint32_t id)
{
	// Buffers are named by the driver of channel 0.
	return vmbus_peer_gpadl_find(nic->peer, id, 0);
}

static uint64_t gpadl_bytes(void *ctx, uint32_t id)
{
	const struct vmbus_peer_gpadl *gpadl = find_gpadl(ctx, id);

	return gpadl ? gpadl->runs.bytes : 0;
}

// Of one queue, n frames in all; counters that are read while they move may be a frame apart.
static void add_traffic(struct netvsp_totals_way *to, const struct netvsp_traffic *t, uint64_t n)
{
	uint64_t multicast = counter_get(&t->multicast), broadcast = counter_get(&t->broadcast);
	uint64_t multicast_bytes = counter_get(&t->multicast_bytes);
	uint64_t broadcast_bytes = counter_get(&t->broadcast_bytes);

	to->n_multicast += multicast;
	to->n_broadcast += broadcast;
	to->n_unicast += n - multicast - broadcast;
	to->multicast_bytes += multicast_bytes;
	to->broadcast_bytes += broadcast_bytes;
	to->unicast_bytes += counter_get(&t->bytes) - multicast_bytes - broadcast_bytes;
}

static void totals(void *ctx, struct netvsp_totals *out)
{
	const struct netvsp_nic *nic = ctx;

	*out = (struct netvsp_totals){};
	for (uint16_t i = 0; i < nic->dev.n_queues; i++) {
		const struct netvsp_counters *c = &nic->queues[i].counters;

		add_traffic(&out->in, &c->tx, counter_get(&c->tx_frames));
		add_traffic(&out->out, &c->rx, counter_get(&c->rx_frames));
		out->in.n_discards += counter_get(&c->tx_no_section) + counter_get(&c->tx_no_room);
		out->out.n_errors += counter_get(&c->rx_bad);
	}
}

static const struct netvsp_control_ops control_ops = { gpadl_bytes, totals };

void nic_control_init(struct netvsp_nic *nic)
{
	const struct netvsp_config config = {
		.ops = &control_ops, .ctx = nic, .name = nic->name, .mac = nic->mac,
		.any_mac = nic->any_mac, .rsc = nic->rsc, .link_up = nic->connected,
		.link_speed = nic->link_mbps * MBIT, .mtu = nic->mtu,
		.max_channels = nic->dev.n_queues,
	};

	netvsp_control_init(&nic->control, &config);
	nic->mailbox.state = NETVSP_MAIL_EMPTY;
	nic->mailbox.notice_posted = 0;
	nic->has_last = nic->mail_busy = nic->asking = nic->was_granted = nic->telling = false;
	nic->notice_at = 0;
	nic->record_serial = 0;
}

void nic_control_reset(struct netvsp_nic *nic)
{
	nic->jobs[NIC_JOB_MAIL] = (struct nic_job){};
	netvsp_control_reset(&nic->control);
	nic->mailbox.state = NETVSP_MAIL_EMPTY;
	nic->mailbox.notice_posted = 0;
	nic->has_last = nic->mail_busy = nic->asking = nic->was_granted = nic->telling = false;
	nic->notice_at = 0;
	nic_sync(nic);
}

// --- effects -----------------------------------------------------------------------------------

static bool same_area(const struct netvsp_area *area, const struct netvsp_buffer *agreed,
		      const struct vmbus_peer_gpadl *gpadl)
{
	if (!agreed->n_sections || !area->n_sections)
		return agreed->n_sections == area->n_sections;
	return gpadl && area->gpadl.runs == gpadl->runs.runs && area->id == agreed->id &&
	       area->n_sections == agreed->n_sections &&
	       area->section_bytes == agreed->section_bytes;
}

static int set_area(struct netvsp_area *area, const struct netvsp_buffer *agreed,
		    const struct vmbus_peer_gpadl *gpadl)
{
	*area = (struct netvsp_area){};
	if (!agreed->n_sections)
		return 0;
	if (!gpadl || (uint64_t)agreed->n_sections * agreed->section_bytes > gpadl->runs.bytes)
		return -ENOENT;
	*area = (struct netvsp_area){ gpadl->runs, agreed->section_bytes, agreed->n_sections,
				      (uint16_t)agreed->id };
	return 0;
}

// Nobody speaks of the sections any more: not the journals, not the table.
static void revoke_receive(struct netvsp_nic *nic)
{
	struct netvsp_sections *sections = nic->guest.sections;

	if (!sections)
		return;
	for (unsigned int i = 0; i < nic->dev.n_queues; i++)
		if (nic->channels[i].channel)
			netvsp_channel_seal(nic->channels[i].channel);
	memset(nic->state->sections, 0, sections->n * sizeof(nic->state->sections[0]));
	nic->guest.sections = NULL;
	nic->guest.receive = (struct netvsp_area){};
	netvsp_sections_destroy(sections);
}

static int sync_receive(struct netvsp_nic *nic, bool recover)
{
	const struct netvsp_buffer *agreed = &nic->control.agreed.receive;
	const struct vmbus_peer_gpadl *gpadl = find_gpadl(nic, agreed->gpadl);
	int ret;

	if (same_area(&nic->guest.receive, agreed, gpadl))
		return 0;
	revoke_receive(nic);
	ret = set_area(&nic->guest.receive, agreed, gpadl);
	if (ret == 0 && agreed->n_sections)
		ret = netvsp_sections_create(agreed->n_sections, nic->state->sections, recover,
					     &nic->guest.sections);
	if (ret < 0)
		nic->guest.receive = (struct netvsp_area){};
	return ret;
}

static int sync_send(struct netvsp_nic *nic)
{
	const struct netvsp_buffer *agreed = &nic->control.agreed.send;
	const struct vmbus_peer_gpadl *gpadl = find_gpadl(nic, agreed->gpadl);

	return same_area(&nic->guest.send, agreed, gpadl) ?
		       0 : set_area(&nic->guest.send, agreed, gpadl);
}

static int sync_spread(struct netvsp_nic *nic)
{
	const struct netvsp_spread *old = nic->guest.rss.rcu_ptr;
	struct netvsp_spread *spread = NULL;

	if (!old && !nic->control.agreed.rss.hash)
		return 0;
	if (nic->control.agreed.rss.hash) {
		spread = malloc(sizeof(*spread));
		if (!spread)
			return -ENOMEM;
		netvsp_rss_init(spread, &nic->control.agreed.rss);
	}
	rcu_set(&nic->guest.rss, spread);
	rcu_retire(nic->rcu, free, (void *)(uintptr_t)old);
	return 0;
}

static void sync_path(struct netvsp_nic *nic)
{
	const struct netvsp_agreed *agreed = &nic->control.agreed;
	bool sends = agreed->phase == VMBUS_STATE_OPERATIONAL && nic->connected;
	bool ready = sends && !nic->control.vf.switched;

	nic->guest.max_frame = agreed->mtu && agreed->mtu < nic->mtu ? agreed->mtu : nic->mtu;
	nic->guest.receiving = ready && agreed->packet_filter && nic->guest.sections;
	nic->guest.sending = sends;
	nic->guest.report_csum = (agreed->offloads & ALL_RX) == ALL_RX;
	nic->guest.report_hash = agreed->rss.hash != 0;
	nic->guest.coalesce = nic->rsc && (agreed->offloads & ALL_RSC) == ALL_RSC;
	// A guest that puts segments together gets large sends whole from the transmit stage. What
	// was on its way there is refused, as too long, if this is taken back.
	if (nic->guest.coalesce)
		__atomic_or_fetch(&nic->dev.offloads, PORT_OFFLOAD_TSO, __ATOMIC_RELAXED);
	else
		__atomic_and_fetch(&nic->dev.offloads, ~PORT_OFFLOAD_TSO, __ATOMIC_RELAXED);
}

int nic_sync(struct netvsp_nic *nic)
{
	int ret = sync_receive(nic, false);

	if (ret == 0)
		ret = sync_send(nic);
	if (ret == 0)
		ret = sync_spread(nic);
	sync_path(nic);
	return ret;
}

// --- the record --------------------------------------------------------------------------------

void nic_record_write(struct netvsp_nic *nic)
{
	struct vmbus_state *state = nic->state;
	uint64_t serial = nic->record_serial + 1;

	if (!state)
		return;
	nic->record.serial = cpu_to_le64(serial);
	netvsp_control_encode(&nic->control, nic->has_last ? &nic->last : NULL, &nic->record);
	memcpy(&state->records[serial % 2], &nic->record, sizeof(nic->record));
	// Release: whoever finds the serial finds the record it names.
	__atomic_store_n(nic_record_word(state), (FORCE uint64_t)cpu_to_le64(serial),
			 __ATOMIC_RELEASE);
	nic->record_serial = serial;
}

// Ends or forgets the last batch of each channel that goes on. Returns the bits of those that do.
static uint64_t recover_channels(struct netvsp_nic *nic, struct netvsp_recovered *total)
{
	uint64_t good = 0;

	for (unsigned int i = 0; i < nic->dev.n_queues; i++) {
		struct nic_channel *c = &nic->channels[i];
		struct vmbus_state_channel *block = &nic->state->channels[i];
		const struct netvsp_recover_cfg cfg = {
			.index = i, .in = &c->opened.in, .out = &c->opened.out, .block = block,
			.table = nic->state->sections,
			.n_sections = nic->control.agreed.receive.n_sections,
		};

		if (!c->open || !c->resume)
			continue;
		// Of an earlier life of the channel: there is nothing to be ended.
		if (le32_to_cpu(block->open_serial) != c->opened.serial)
			c->resume = false;
		else if (netvsp_recover_channel(&cfg, total) < 0)
			nic_channel_gone_wrong(nic, i, VMBUS_USER_FAILED_INDEX);
		else
			good |= 1ull << i;
	}
	return good;
}

int nic_restore(struct netvsp_nic *nic, struct vmbus_peer_recovery *out, struct err *err)
{
	struct netvsp_recovered total = {};
	uint64_t serial = nic->record_serial, good;
	int ret = 0;

	nic_control_init(nic);
	nic->record_serial = serial;
	if (serial)
		ret = netvsp_control_decode(&nic->control, &nic->record, &nic->last, err);
	if (ret < 0)
		return ret;
	nic->has_last = nic->last.serial > 0;
	netvsp_control_set_open(&nic->control, nic_open_channels(nic));
	good = recover_channels(nic, &total);
	ret = sync_receive(nic, true);
	if (ret == 0 && nic->guest.sections)
		netvsp_recover_sections(nic->guest.sections, good);
	if (ret == 0)
		ret = nic_sync(nic);
	if (ret < 0)
		return err_set(err, -ret, "what was agreed on cannot be had again: %s",
			       strerror(-ret));
	*out = (struct vmbus_peer_recovery){ total.n_batches, total.n_frames };
	return 0;
}

void nic_restore_answer(struct netvsp_nic *nic)
{
	const struct nic_channel *c = &nic->channels[0];

	if (!nic->has_last || !c->channel ||
	    nic->last.serial <= netvsp_channel_answered(c->channel))
		return;
	nic->mailbox.answer = nic->last;
	__atomic_store_n(&nic->mailbox.state, NETVSP_MAIL_ANSWERED, __ATOMIC_RELEASE);
}

// --- requests ----------------------------------------------------------------------------------

// The effects are had: what was agreed on is written down, then the guest may hear of it.
static void finish(struct netvsp_nic *nic)
{
	nic->last = nic->working;
	nic->has_last = true;
	nic_record_write(nic);
	nic->mailbox.answer = nic->working;
	nic->mail_busy = false;
	// Release: the worker that sees the word sees the answer.
	__atomic_store_n(&nic->mailbox.state, NETVSP_MAIL_ANSWERED, __ATOMIC_RELEASE);
	netvsp_nic_kick(&nic->queues[0]);
	nic_notice_look(nic);
}

static void apply(struct netvsp_nic *nic)
{
	if (nic_sync(nic) < 0) {
		netvsp_control_failed(&nic->control, &nic->working);
		nic_sync(nic); // as it was
	}
	finish(nic);
}

static void go_on(struct netvsp_nic *nic)
{
	uint32_t effects = nic->effects;

	if (effects & (NETVSP_SET_RECEIVE | NETVSP_SET_SEND | NETVSP_SET_RSS | NETVSP_SET_PATH))
		nic_quiesce(nic, NIC_JOB_MAIL, ~0ull, apply);
	else
		finish(nic);
}

static void take_grant(struct netvsp_nic *nic)
{
	nic->asking = nic->was_granted = false;
	netvsp_control_granted(&nic->control, nic->n_granted, &nic->working);
	go_on(nic);
}

void nic_mail_granted(struct netvsp_nic *nic, uint32_t n)
{
	if (!nic->asking)
		return;
	nic->n_granted = n;
	nic->was_granted = true;
	nic_mail_look(nic);
}

void nic_mail_look(struct netvsp_nic *nic)
{
	struct netvsp_mailbox *mailbox = &nic->mailbox;

	if (!nic->serving || nic->leaving || nic->jobs[NIC_JOB_REQUEST].fn ||
	    nic->jobs[NIC_JOB_MAIL].fn)
		return;
	if (nic->was_granted) {
		take_grant(nic);
		return;
	}
	// Acquire: the request was written before the word was given.
	if (nic->mail_busy ||
	    __atomic_load_n(&mailbox->state, __ATOMIC_ACQUIRE) != NETVSP_MAIL_REQUESTED)
		return;
	nic->mail_busy = true;
	nic->effects = netvsp_control_handle(&nic->control, &mailbox->request, &nic->working);
	if (!(nic->effects & NETVSP_ASK_CHANNELS)) {
		go_on(nic);
		return;
	}
	nic->asking = true;
	if (vmbus_peer_ask_channels(nic->peer, nic->control.n_wanted) < 0)
		nic_mail_granted(nic, 0);
}

// --- notices -----------------------------------------------------------------------------------

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void nic_notice_look(struct netvsp_nic *nic)
{
	struct netvsp_mailbox *mailbox = &nic->mailbox;

	if (!nic->serving || nic->leaving || !nic->channels[0].open || nic->channels[0].failed ||
	    __atomic_load_n(&mailbox->notice_posted, __ATOMIC_ACQUIRE))
		return;
	if (nic->telling) {
		nic->telling = false;
		netvsp_control_told(&nic->control);
		nic_record_write(nic);
	}
	if (netvsp_control_notice(&nic->control, now_ns(), &mailbox->notice)) {
		nic->telling = true;
		__atomic_store_n(&mailbox->notice_posted, 1, __ATOMIC_RELEASE);
		netvsp_nic_kick(&nic->queues[0]);
	}
	nic->notice_at = netvsp_control_notice_at(&nic->control);
}

void nic_announce(struct netvsp_nic *nic)
{
	nic->n_announce = nic->guest.sending ? N_ANNOUNCE : 0; // nobody knows an idle driver
	nic_announce_look(nic);
}

void nic_announce_look(struct netvsp_nic *nic)
{
	nic->announce_at = 0;
	if (!nic->n_announce)
		return;
	__atomic_store_n(&nic->announce, true, __ATOMIC_RELAXED);
	netvsp_nic_kick(&nic->queues[0]);
	if (--nic->n_announce)
		nic->announce_at = now_ns() + ANNOUNCE_NS;
}
