// SPDX-License-Identifier: Apache-2.0
// The switch is killed after every single store that somebody else can see, and its successor is
// killed the same way while it recovers. Each time, afterwards: every transmit id is answered once,
// no frame comes twice, at most one batch is lost, and every section is free or held once.
//
// Built with NETVSP_STEPS: netvsp_step() below is called after each store. There it is tried what
// would be if that had been the last one; then memory is put back and the first life goes on.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "netvsp/nvsp.h"
#include "netvsp/recover.h"
#include "netvsp/step.h"
#include "netvsp/test_rig.h"

#define N_CHANNELS 2
#define N_SECTIONS 64
#define MAX_IDS 256
#define MAX_FRAMES 1024
#define FRAME_BYTES 60
#define SEQ_AT 20

// What a guest and the world behind the switch know of one channel. Copied at each kill.
struct model {
	uint32_t n_ids, n_sent, n_given;
	bool wants[MAX_IDS];         // a completion
	uint8_t completed[MAX_IDS];  // times
	uint8_t forwarded[MAX_FRAMES]; // of what the guest sent
	uint8_t seen[MAX_FRAMES];    // by the guest, of what it was given
	uint32_t n_held;
	uint16_t held[N_SECTIONS];   // packets, by id
	uint32_t n_in_batch, n_out_batch; // frames of the batch at work, at most
};

static struct rig rigs[N_CHANNELS];
static struct model models[N_CHANNELS];
static uint8_t message[4096];
static uint32_t n_kills, n_committed, n_lost;

// --- memory that outlives a life ---------------------------------------------------------------

struct memory {
	uint8_t *ram[N_CHANNELS];
	struct vmbus_state_channel channels[N_CHANNELS];
	le32 sections[N_SECTIONS];
	struct vmbus_writer tx[N_CHANNELS];
	struct vmbus_reader rx[N_CHANNELS];
	struct model models[N_CHANNELS];
};

static void save(struct memory *to)
{
	for (int c = 0; c < N_CHANNELS; c++) {
		if (!to->ram[c])
			to->ram[c] = malloc(rigs[c].ram_bytes);
		memcpy(to->ram[c], rigs[c].ram, rigs[c].ram_bytes);
		to->tx[c] = rigs[c].tx;
		to->rx[c] = rigs[c].rx;
	}
	memcpy(to->channels, rigs[0].state->channels, sizeof(to->channels));
	memcpy(to->sections, rigs[0].state->sections, sizeof(to->sections));
	memcpy(to->models, models, sizeof(models));
}

static void put_back(const struct memory *from)
{
	for (int c = 0; c < N_CHANNELS; c++) {
		memcpy(rigs[c].ram, from->ram[c], rigs[c].ram_bytes);
		rigs[c].tx = from->tx[c];
		rigs[c].rx = from->rx[c];
	}
	memcpy(rigs[0].state->channels, from->channels, sizeof(from->channels));
	memcpy(rigs[0].state->sections, from->sections, sizeof(from->sections));
	memcpy(models, from->models, sizeof(models));
}

// --- the guest and the world behind ------------------------------------------------------------

static uint32_t seq_of(const uint8_t *frame) { return load_u32(frame + SEQ_AT); }

// Sends a message of n frames.
static void guest_sends(int c, uint32_t n, bool wants)
{
	struct model *m = &models[c];
	uint32_t bytes = 0, id = m->n_ids++;
	uint8_t frame[FRAME_BYTES] = { 2 };
	struct nvsp_rndis_packet nvsp;
	struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_INBAND, .wants_completion = wants, .transaction = id,
		.payload = &nvsp, .payload_bytes = sizeof(nvsp),
	};

	for (uint32_t i = 0; i < n; i++) {
		const struct rig_frame f = { .data = frame, .bytes = FRAME_BYTES, .align = true };

		store_u32(frame + SEQ_AT, m->n_sent++);
		bytes += rig_rndis(message + bytes, &f);
	}
	rig_fill_section(&rigs[c], id % RIG_N_SEND, 0, message, bytes);
	nvsp = (struct nvsp_rndis_packet){
		cpu_to_le32(NVSP_RNDIS_PACKET), cpu_to_le32(NVSP_CHANNEL_DATA),
		cpu_to_le32(id % RIG_N_SEND), cpu_to_le32(bytes),
	};
	m->wants[id] = wants;
	rig_put(&rigs[c], &packet);
}

static void guest_reads(int c)
{
	struct model *m = &models[c];
	static struct rig_packet packet;

	while (rig_read(&rigs[c], &packet)) {
		if (packet.type == VMBUS_PACKET_COMPLETION) {
			assert_true(packet.id < m->n_ids && m->wants[packet.id]);
			assert_int_equal(packet.status, NVSP_STATUS_SUCCESS);
			assert_int_equal(m->completed[packet.id]++, 0);
			continue;
		}
		m->held[m->n_held++] = (uint16_t)packet.id;
		for (uint32_t i = 0; i < packet.sections.n; i++) {
			struct rig_received received;
			uint32_t bytes = rig_read_section(&rigs[c], &packet, i, message);

			rig_parse(message, bytes, &received);
			assert_int_equal(m->seen[seq_of(message + received.offset)]++, 0);
		}
	}
}

static void guest_acks(int c, uint32_t n)
{
	struct model *m = &models[c];

	for (; n && m->n_held; n--)
		rig_ack(&rigs[c], m->held[--m->n_held]);
}

static void switch_receives(int c, struct netvsp_channel *channel)
{
	struct rte_mbuf *pkts[PORT_BATCH];
	uint16_t n = netvsp_channel_receive(channel, pkts, PORT_BATCH);

	for (uint16_t i = 0; i < n; i++)
		assert_int_equal(models[c].forwarded[seq_of(rte_pktmbuf_mtod(pkts[i],
									     uint8_t *))]++, 0);
	rte_pktmbuf_free_bulk(pkts, n);
}

static void switch_gives(int c, struct netvsp_channel *channel, uint16_t n)
{
	struct rte_mbuf *pkts[PORT_BATCH];
	enum drop why;
	uint16_t taken;

	for (uint16_t i = 0; i < n; i++) {
		pkts[i] = rte_pktmbuf_alloc(rigs[0].pools.small);
		memset(rte_pktmbuf_append(pkts[i], FRAME_BYTES), 3, FRAME_BYTES);
		store_u32(rte_pktmbuf_mtod_offset(pkts[i], uint8_t *, SEQ_AT),
			  models[c].n_given++);
	}
	taken = netvsp_channel_transmit(channel, pkts, n, &why);
	rte_pktmbuf_free_bulk(pkts + taken, n - taken);
}

// --- a successor -------------------------------------------------------------------------------

// Its objects; the first life's stay untouched beside them.
struct life {
	struct netvsp_guest guests[N_CHANNELS];
	struct netvsp_counters counters[N_CHANNELS];
	struct netvsp_channel *channels[N_CHANNELS];
};

static void find_rings(int c, struct vmbus_ring *in, struct vmbus_ring *out)
{
	assert_int_equal(vmbus_ring_init(in, &rigs[c].rings, 0, rigs[c].cfg.ring_pages), 0);
	assert_int_equal(vmbus_ring_init(out, &rigs[c].rings, rigs[c].cfg.ring_pages,
					 rigs[c].cfg.ring_pages), 0);
}

static void recover(struct life *life, struct netvsp_recovered *total)
{
	struct netvsp_sections *sections;

	for (int c = 0; c < N_CHANNELS; c++) {
		struct vmbus_ring in, out;
		const struct netvsp_recover_cfg cfg = {
			.index = (unsigned int)c, .in = &in, .out = &out,
			.block = &rigs[0].state->channels[c], .table = rigs[0].state->sections,
			.n_sections = N_SECTIONS,
		};

		find_rings(c, &in, &out);
		assert_int_equal(netvsp_recover_channel(&cfg, total), 0);
	}
	assert_int_equal(netvsp_sections_create(N_SECTIONS, rigs[0].state->sections, true,
						&sections), 0);
	netvsp_recover_sections(sections, (1 << N_CHANNELS) - 1);
	for (int c = 0; c < N_CHANNELS; c++) {
		struct netvsp_channel_cfg cfg = {
			.index = (unsigned int)c, .resume = true, .guest = &life->guests[c],
			.block = &rigs[0].state->channels[c], .counters = &life->counters[c],
		};

		find_rings(c, &cfg.in, &cfg.out);
		life->guests[c] = rigs[c].guest;
		life->guests[c].sections = sections;
		assert_int_equal(netvsp_channel_create(&cfg, &life->channels[c]), 0);
	}
}

// Everything comes to rest, and nothing is missing or double.
static void settle(struct life *life)
{
	struct netvsp_sections *sections = life->guests[0].sections;
	uint32_t lost;

	for (int turn = 0; turn < 3; turn++) {
		for (int c = 0; c < N_CHANNELS; c++) {
			switch_receives(c, life->channels[c]);
			guest_reads(c);
			guest_acks(c, UINT32_MAX);
			rig_kick(&rigs[c]);
		}
	}
	for (int c = 0; c < N_CHANNELS; c++) {
		struct model *m = &models[c];

		assert_int_equal(netvsp_channel_failure(life->channels[c]), 0);
		assert_int_equal(life->counters[c].bad_acks, 0);
		for (uint32_t id = 0; id < m->n_ids; id++)
			assert_int_equal(m->completed[id], m->wants[id]);
		lost = 0;
		for (uint32_t i = 0; i < m->n_sent; i++)
			lost += !m->forwarded[i];
		assert_true(lost <= m->n_in_batch);
		n_lost += lost;
		lost = 0;
		for (uint32_t i = 0; i < m->n_given; i++)
			lost += !m->seen[i];
		assert_true(lost <= m->n_out_batch);
		n_lost += lost;
		netvsp_channel_destroy(life->channels[c], true);
	}
	assert_int_equal(netvsp_sections_count(sections), N_SECTIONS);
	for (int i = 0; i < N_SECTIONS; i++)
		assert_int_equal(le32_to_cpu(rigs[0].state->sections[i]) >> 16, 0);
	netvsp_sections_destroy(sections);
}

static int depth; // 0: a first life; 1: its successor recovers; 2: nobody is killed
static struct memory memories[2];

static void live_again(void)
{
	static struct life life;
	struct netvsp_recovered total = {};

	n_kills++;
	memset(&life, 0, sizeof(life));
	recover(&life, &total);
	n_committed += (uint32_t)total.n_batches;
	depth = 2;
	settle(&life);
}

// In a recovery that is killed in turn, only what it stores matters: its objects are dropped by
// the process's death, here they are never made.
static void recover_stores(void)
{
	struct netvsp_recovered total = {};
	struct netvsp_sections *sections;

	for (int c = 0; c < N_CHANNELS; c++) {
		struct vmbus_ring in, out;
		const struct netvsp_recover_cfg cfg = {
			.index = (unsigned int)c, .in = &in, .out = &out,
			.block = &rigs[0].state->channels[c], .table = rigs[0].state->sections,
			.n_sections = N_SECTIONS,
		};

		find_rings(c, &in, &out);
		assert_int_equal(netvsp_recover_channel(&cfg, &total), 0);
	}
	assert_int_equal(netvsp_sections_create(N_SECTIONS, rigs[0].state->sections, true,
						&sections), 0);
	netvsp_recover_sections(sections, (1 << N_CHANNELS) - 1);
	netvsp_sections_destroy(sections);
}

// --- an answer of control, 8.6 -----------------------------------------------------------------

static struct netvsp_answer stored_answer; // in the control record
static bool is_answer_test;

// Control has the record: an answer beyond what the journal says was published is still to come.
static void answer_again(void)
{
	struct netvsp_mailbox mailbox = { .fd = -1 };
	struct netvsp_channel_cfg cfg = {
		.resume = true, .mailbox = &mailbox, .block = &rigs[0].state->channels[0],
	};
	struct netvsp_guest guest = rigs[0].guest;
	struct netvsp_counters counters = {};
	struct netvsp_channel *channel;
	uint32_t n_completions = 0, n_messages = 0;
	static struct rig_packet packet;
	struct rte_mbuf *pkts[PORT_BATCH];

	n_kills++;
	recover_stores();
	find_rings(0, &cfg.in, &cfg.out);
	cfg.guest = &guest;
	cfg.counters = &counters;
	assert_int_equal(netvsp_sections_create(N_SECTIONS, rigs[0].state->sections, true,
						&guest.sections), 0);
	netvsp_recover_sections(guest.sections, 1);
	assert_int_equal(netvsp_channel_create(&cfg, &channel), 0);
	if (stored_answer.serial > netvsp_channel_answered(channel)) {
		mailbox.answer = stored_answer;
		mailbox.state = NETVSP_MAIL_ANSWERED;
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(netvsp_channel_receive(channel, pkts, PORT_BATCH), 0);
		while (rig_read(&rigs[0], &packet)) {
			n_completions += packet.type == VMBUS_PACKET_COMPLETION;
			n_messages += packet.type == VMBUS_PACKET_XFER_PAGES;
			if (packet.type == VMBUS_PACKET_XFER_PAGES)
				rig_ack(&rigs[0], packet.id);
			rig_kick(&rigs[0]);
		}
	}
	assert_int_equal(n_completions, 1);
	assert_int_equal(n_messages, 1);
	assert_int_equal(mailbox.state, NETVSP_MAIL_EMPTY); // the request was not looked at again
	assert_int_equal(counters.bad_acks, 0);
	netvsp_channel_destroy(channel, true);
	assert_int_equal(netvsp_sections_count(guest.sections), N_SECTIONS);
	netvsp_sections_destroy(guest.sections);
}

void netvsp_step(void)
{
	int here = depth;
	struct memory *memory;

	if (here > 1)
		return;
	memory = &memories[here];
	save(memory);
	depth = 2;
	if (is_answer_test)
		answer_again();
	else
		live_again();
	put_back(memory);
	if (here == 0) {
		depth = 1;
		recover_stores();
		put_back(memory);
	}
	depth = here;
}

// --- first lives -------------------------------------------------------------------------------

static void make_world(void)
{
	const struct rig_cfg cfg = { .ring_pages = 3, .n_sections = N_SECTIONS };
	const struct rig_cfg other = { .ring_pages = 3, .n_sections = N_SECTIONS, .index = 1 };
	struct vmbus_ring in, out;

	depth = 2;
	memset(models, 0, sizeof(models));
	rig_create(&rigs[0], &cfg);
	rig_create_closed(&rigs[1], &other);
	// The second channel is of the same NIC: same buffers, same state.
	free(rigs[1].state);
	rigs[1].state = rigs[0].state;
	rigs[1].receive = rigs[0].receive;
	rigs[1].guest.receive = rigs[0].guest.receive;
	rigs[1].guest.sections = rigs[0].guest.sections;
	assert_int_equal(rig_open(&rigs[1], false), 0);
	find_rings(1, &in, &out);
	assert_int_equal(vmbus_writer_init(&rigs[1].tx, &in), 0);
	assert_int_equal(vmbus_reader_init(&rigs[1].rx, &out), 0);
}

static void end_world(void)
{
	depth = 2;
	netvsp_channel_destroy(rigs[1].channel, true);
	rig_destroy(&rigs[0]);
	test_pool_destroy(rigs[1].pools.small);
	close(rigs[1].mailbox.fd);
	close(rigs[1].bell.fd);
	free(rigs[1].runs);
	free(rigs[1].pages);
	free(rigs[1].ram);
	for (int i = 0; i < 2; i++)
		for (int c = 0; c < N_CHANNELS; c++) {
			free(memories[i].ram[c]);
			memories[i].ram[c] = NULL;
		}
}

// One turn of a channel, of a kind that `kind` chooses.
static void turn(int c, uint32_t kind)
{
	struct model *m = &models[c];
	uint32_t before = m->n_sent;

	for (uint32_t i = 0; i < kind % 4; i++)
		guest_sends(c, 1 + (kind + i) % 3, (kind + i) % 5 != 0);
	guest_acks(c, kind % 3);
	rig_kick(&rigs[c]);
	m->n_in_batch = m->n_sent - before;
	depth = 0;
	switch_receives(c, rigs[c].channel);
	depth = 2;
	m->n_in_batch = 0;
	m->n_out_batch = 1 + kind % 7;
	depth = 0;
	switch_gives(c, rigs[c].channel, (uint16_t)m->n_out_batch);
	depth = 2;
	m->n_out_batch = 0;
	if (kind % 3)
		guest_reads(c);
}

static void a_kill_after_every_store(void **state)
{
	n_kills = n_committed = n_lost = 0;
	make_world();
	for (uint32_t i = 0; i < 24; i++)
		turn((int)(i * 5 / 3 % N_CHANNELS), i * 7 + i / 3);
	print_message("%u kills, %u batches finished, %u frames lost\n", n_kills, n_committed,
		      n_lost);
	assert_true(n_kills > 1000 && n_committed > 100 && n_lost > 100);
	end_world();
}

static void an_answer_is_given_once(void **state)
{
	const uint8_t nvsp[NVSP_MESSAGE_BYTES] = { NVSP_INIT };
	const struct vmbus_packet_out request = {
		.type = VMBUS_PACKET_INBAND, .wants_completion = true, .transaction = 9,
		.payload = nvsp, .payload_bytes = sizeof(nvsp),
	};
	struct netvsp_channel *channel;
	struct netvsp_channel_cfg cfg = { .mailbox = &rigs[0].mailbox };
	struct rte_mbuf *pkts[PORT_BATCH];

	n_kills = 0;
	is_answer_test = true;
	make_world();
	find_rings(0, &cfg.in, &cfg.out);
	cfg.guest = &rigs[0].guest;
	cfg.block = &rigs[0].state->channels[0];
	cfg.counters = &rigs[0].counters;
	assert_int_equal(netvsp_channel_create(&cfg, &channel), 0);
	rig_put(&rigs[0], &request);
	rig_kick(&rigs[0]);
	assert_int_equal(netvsp_channel_receive(channel, pkts, PORT_BATCH), 0);
	assert_int_equal(rigs[0].mailbox.state, NETVSP_MAIL_REQUESTED);
	stored_answer = (struct netvsp_answer){ .serial = 1, .transaction = 9, .completes = true,
						.completion_bytes = 40, .message_bytes = 100 };
	rigs[0].mailbox.answer = stored_answer;
	rigs[0].mailbox.state = NETVSP_MAIL_ANSWERED;
	depth = 0;
	netvsp_step(); // before anything of the batch is stored
	netvsp_channel_receive(channel, pkts, PORT_BATCH);
	netvsp_step();
	depth = 2;
	assert_true(n_kills > 10);
	netvsp_channel_destroy(channel, true);
	end_world();
	is_answer_test = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kill_after_every_store),
		cmocka_unit_test(an_answer_is_given_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
