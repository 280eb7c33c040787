// SPDX-License-Identifier: Apache-2.0
// Integration services from a guest's side: real channels on real rings, in 64 pages of memory.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "partition/services.h"
#include "vmbus/ring.h"

#define PAGE GUEST_PAGE_BYTES
#define N_PAGES 64u
#define RING_PAGES 4u // header and three of data, each way
#define SIEFP 60u     // pages
#define SIMP 61u
#define SINT 2
#define VECTOR 0xf3

enum { HEARTBEAT, TIME, SHUTDOWN, N };

// A channel as the guest has it.
struct channel {
	uint32_t relid, connection_id;
	struct vmbus_run run;
	struct vmbus_runs runs;
	struct vmbus_reader reader;
	struct vmbus_writer writer;
	uint8_t message[4096]; // the last one read
	uint32_t bytes;
};

static uint8_t ram[N_PAGES * PAGE] __attribute__((aligned(4096)));
static struct guest_memory memory;
static struct partition_hv *hv;
static struct vmbus_server *server;
static struct partition_services *services;
static struct channel channels[N];
static uint32_t n_interrupts, n_offers;

static uint64_t get_tsc(void *owner) { return 0; }
static void on_interrupt(void *owner, uint32_t vp, uint8_t vector) { n_interrupts++; }
static void on_vp(void *owner, uint32_t vp) {}

static const struct partition_hv_ops hv_ops = { .tsc = get_tsc, .interrupt = on_interrupt,
						.synic_changed = on_vp };

// Offers come in the order of their GUIDs; the first byte of the type tells them apart.
static int on_send(void *vmm, const struct vmbus_contact *to, const void *message, uint32_t bytes)
{
	const struct vmbus_offer_channel *offer = message;
	uint32_t i;

	if (le32_to_cpu(offer->message.type) != VMBUS_OFFER_CHANNEL)
		return 0;
	i = offer->interface_type[0] == 0x39 ? HEARTBEAT :
	    offer->interface_type[0] == 0x30 ? TIME : SHUTDOWN;
	channels[i].relid = le32_to_cpu(offer->relid);
	channels[i].connection_id = le32_to_cpu(offer->connection_id);
	n_offers++;
	return 0;
}

static void post(const void *message, uint32_t bytes)
{
	assert_int_equal(vmbus_server_post(server, VMBUS_CONNECTION_MULTI, message, bytes), 0);
}

// Both rings of channel i lie in 8 pages from 8 × i on.
static void open_channel(uint32_t i)
{
	struct channel *c = &channels[i];
	struct {
		struct vmbus_gpadl_header head;
		uint64_t range, pages[2 * RING_PAGES];
	} __attribute__((packed)) gpadl = {
		.head = { .message.type = cpu_to_le32(VMBUS_GPADL_HEADER),
			  .relid = cpu_to_le32(c->relid),
			  .gpadl = cpu_to_le32(100 + i),
			  .range_bytes = cpu_to_le16(8 + 16 * RING_PAGES),
			  .n_ranges = cpu_to_le16(1) },
		.range = 2 * RING_PAGES * PAGE,
	};
	struct vmbus_open_channel open = { .message.type = cpu_to_le32(VMBUS_OPEN_CHANNEL),
					   .relid = cpu_to_le32(c->relid),
					   .open_id = cpu_to_le32(c->relid),
					   .gpadl = cpu_to_le32(100 + i),
					   .downstream_page = cpu_to_le32(RING_PAGES) };
	struct vmbus_ring out, in;

	for (uint32_t p = 0; p < 2 * RING_PAGES; p++)
		gpadl.pages[p] = 8 * i + p;
	post(&gpadl, sizeof(gpadl));
	post(&open, sizeof(open));
	c->run = (struct vmbus_run){ .host = ram + 8 * i * PAGE, .gpa = 8 * i * PAGE,
				     .bytes = 2 * RING_PAGES * PAGE };
	c->runs = (struct vmbus_runs){ .runs = &c->run, .n = 1, .bytes = c->run.bytes };
	assert_int_equal(vmbus_ring_init(&out, &c->runs, 0, RING_PAGES), 0);
	assert_int_equal(vmbus_ring_init(&in, &c->runs, RING_PAGES, RING_PAGES), 0);
	assert_int_equal(vmbus_writer_init(&c->writer, &out), 0);
	assert_int_equal(vmbus_reader_init(&c->reader, &in), 0);
}

static int set_up(void **state)
{
	const struct vmbus_host_ops ops = { .send = on_send };
	struct vmbus_server_cfg cfg = { .memory = &memory, .n_vps = 1 };
	static struct vmbus_host_ops host_ops;
	struct vmbus_initiate_contact contact = {
		.message.type = cpu_to_le32(VMBUS_INITIATE_CONTACT),
		.version = cpu_to_le32(VMBUS_VERSION_IRON),
		.sint = SINT,
	};
	struct vmbus_message offers = { .type = cpu_to_le32(VMBUS_REQUEST_OFFERS) };
	struct partition_services_cfg services_cfg = {};

	memset(ram, 0, sizeof(ram));
	memset(channels, 0, sizeof(channels));
	n_interrupts = n_offers = 0;
	memory.n_regions = 0;
	guest_memory_add(&memory, &(struct guest_region){ 0, sizeof(ram), ram, false });
	hv = calloc(1, sizeof(*hv));
	host_ops = ops;
	cfg.ops = &host_ops;
	if (!hv || vmbus_server_create(&cfg, &server))
		return -1;
	hv->ops = &hv_ops;
	hv->memory = &memory;
	hv->n_vps = 1;
	partition_hv_reset(hv);
	partition_hv_write_msr(hv, 0, PARTITION_MSR_SIEFP, SIEFP * PAGE | 1);
	partition_hv_write_msr(hv, 0, PARTITION_MSR_SIMP, SIMP * PAGE | 1);
	partition_hv_write_msr(hv, 0, PARTITION_MSR_SINT0 + SINT, VECTOR);
	partition_hv_write_msr(hv, 0, PARTITION_MSR_SCONTROL, 1);
	services_cfg = (struct partition_services_cfg){ .server = server, .hv = hv };
	if (partition_services_create(&services_cfg, &services))
		return -1;
	post(&contact, sizeof(contact));
	post(&offers, sizeof(offers));
	return n_offers == N ? 0 : -1;
}

static int tear_down(void **state)
{
	vmbus_server_destroy(server);
	partition_services_destroy(services);
	free(hv);
	return 0;
}

// The next message of the host's, or false.
static bool hear(uint32_t i)
{
	struct channel *c = &channels[i];
	struct vmbus_packet packet;

	if (vmbus_reader_next(&c->reader, &packet) != 1)
		return false;
	c->bytes = packet.payload_bytes;
	assert_in_range(c->bytes, 28, sizeof(c->message));
	vmbus_ring_load(&c->reader.ring, packet.payload_pos, c->message, c->bytes);
	vmbus_reader_commit(&c->reader);
	return true;
}

static uint16_t type_of(uint32_t i) { return load_u16(channels[i].message + 12); }

// Says what stands in `message`, bytes of it, and signals.
static void say(uint32_t i, uint32_t bytes)
{
	struct channel *c = &channels[i];
	const struct vmbus_packet_out packet = { .type = VMBUS_PACKET_INBAND,
						 .payload = c->message,
						 .payload_bytes = bytes };

	assert_int_equal(vmbus_writer_put(&c->writer, &packet), 0);
	vmbus_writer_commit(&c->writer);
	assert_true(partition_services_signal(services, c->connection_id));
}

// Answers a message as Linux does: the same one, marked as a response.
static void answer(uint32_t i)
{
	channels[i].message[8 + 17] = 5; // transaction, response
	say(i, channels[i].bytes);
}

static void agree(uint32_t i)
{
	open_channel(i);
	assert_true(hear(i));
	assert_int_equal(type_of(i), 0);
	assert_int_equal(load_u16(channels[i].message + 28), 1); // one framework version: 3.0
	assert_int_equal(load_u16(channels[i].message + 36), 3);
	answer(i);
}

static void opening_begins_with_versions(void **state)
{
	uint32_t relid;

	agree(HEARTBEAT);
	relid = channels[HEARTBEAT].relid;
	assert_int_equal(n_interrupts, 1);
	// The flag is the relid's.
	assert_true(ram[SIEFP * PAGE + SINT * 256 + relid / 8] >> relid % 8 & 1);
	assert_false(partition_services_signal(services, 12345));
}

static void heart_beats_after_agreement_only(void **state)
{
	open_channel(HEARTBEAT);
	hear(HEARTBEAT);
	for (int s = 0; s < 20; s++)
		partition_services_tick(services);
	assert_false(hear(HEARTBEAT));
	channels[HEARTBEAT].message[8 + 17] = 5;
	store_u16(channels[HEARTBEAT].message + 28, 0); // no version in common
	say(HEARTBEAT, channels[HEARTBEAT].bytes);
	for (int s = 0; s < 20; s++)
		partition_services_tick(services);
	assert_false(hear(HEARTBEAT));
}

static void silence_is_counted(void **state)
{
	agree(HEARTBEAT);
	assert_int_equal(partition_services_silence(services), UINT32_MAX);
	for (uint64_t beat = 0; beat < 3; beat++) {
		for (int s = 0; s < 5; s++)
			partition_services_tick(services);
		assert_true(hear(HEARTBEAT));
		assert_int_equal(type_of(HEARTBEAT), 1);
		assert_int_equal(load_u64(channels[HEARTBEAT].message + 28), beat);
		answer(HEARTBEAT);
		assert_int_equal(partition_services_silence(services), 0);
	}
	for (int s = 0; s < 4; s++)
		partition_services_tick(services);
	assert_int_equal(partition_services_silence(services), 4);
}

static void a_guest_that_never_reads_costs_nothing(void **state)
{
	agree(HEARTBEAT);
	for (int s = 0; s < 100000; s++)
		partition_services_tick(services);
}

static void time_is_told_at_once(void **state)
{
	agree(TIME);
	assert_true(hear(TIME));
	assert_int_equal(type_of(TIME), 4);
	// After 2020 and before 2100, in 100 ns since 1601.
	assert_in_range(load_u64(channels[TIME].message + 28), 132223104000000000ull,
			157469184000000000ull);
	assert_int_equal(channels[TIME].message[52], 1); // set it
	for (int s = 0; s < 30; s++)
		partition_services_tick(services);
	assert_true(hear(TIME));
	assert_int_equal(channels[TIME].message[52], 2); // compare
}

static void shutdown_needs_a_driver(void **state)
{
	assert_int_equal(partition_services_shutdown(services, false), -ENOTCONN);
	agree(SHUTDOWN);
	assert_int_equal(partition_services_shutdown(services, true), 0);
	assert_true(hear(SHUTDOWN));
	assert_int_equal(type_of(SHUTDOWN), 3);
	assert_int_equal(load_u32(channels[SHUTDOWN].message + 36), 2); // restart
}

static void what_is_broken_is_ignored(void **state)
{
	struct vmbus_ring_header *header = (struct vmbus_ring_header *)ram;

	agree(HEARTBEAT);
	say(HEARTBEAT, 8); // shorter than a header
	store_u16(channels[HEARTBEAT].message + 12, 99);
	say(HEARTBEAT, 28);
	for (uint32_t write = 1; write < 3; write++) {
		header->write = cpu_to_le32(write == 1 ? 4 : UINT32_MAX - 7);
		assert_true(partition_services_signal(services, channels[HEARTBEAT].connection_id));
	}
	for (int s = 0; s < 5; s++)
		partition_services_tick(services);
	assert_true(hear(HEARTBEAT)); // the other way goes on
}

static void closing_ends_it(void **state)
{
	struct vmbus_relid_message close = { .message.type = cpu_to_le32(VMBUS_CLOSE_CHANNEL) };

	agree(SHUTDOWN);
	close.relid = cpu_to_le32(channels[SHUTDOWN].relid);
	post(&close, sizeof(close));
	assert_int_equal(partition_services_shutdown(services, false), -ENOTCONN);
	assert_false(partition_services_signal(services, channels[SHUTDOWN].connection_id));
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH(opening_begins_with_versions),
		WITH(heart_beats_after_agreement_only),
		WITH(silence_is_counted),
		WITH(a_guest_that_never_reads_costs_nothing),
		WITH(time_is_told_at_once),
		WITH(shutdown_needs_a_driver),
		WITH(what_is_broken_is_ignored),
		WITH(closing_ends_it),
	};

	return cmocka_run_group_tests_name("services", tests, NULL, NULL);
}
