// SPDX-License-Identifier: Apache-2.0
// weft-fake-guest: a fake guest of its own process, attached to a running weftd. For scenarios.
// What it does until SIGTERM, or for --seconds, is its mode; --help lists them.
//
// Standard output: a line "ready" when its driver is up, later lines of the mode's own, and at the
// end a line of JSON with what it counted. Exit code 0 if nothing was wrong.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "netvsp/rndis.h"
#include "tests/guest/fake_answers.h"
#include "tests/guest/fake_attacks.h"
#include "tests/guest/fake_attacks_vmm.h"
#include "tests/guest/fake_frames.h"

#define BATCH 64u // frames put into the ring before the host hears of them

static const char help[] =
	"usage: weft-fake-guest [OPTION...] MODE\n"
	"modes:\n"
	"  driver            a good guest: answers ARP and ping for --address\n"
	"  ping ADDRESS      the same, and pings: --count answers or failure\n"
	"  send MAC          sends numbered frames there, --rate a second, --count in all\n"
	"  receive           checks numbered frames: none twice, none changed\n"
	"  slow              never acknowledges what it receives\n"
	"  attack NAME|all   attacks the switch, again and again; list: names them\n"
	"  vmm NAME|all      the same, as a VMM; list: names them\n"
	"options:\n"
	"  --socket PATH     of the switch (default /run/weft/vmbus.sock)\n"
	"  --nic NAME        to attach to; several for vmm\n"
	"  --token FILE      with 32 bytes\n"
	"  --address IPV4    of the guest\n"
	"  --vlan N          all frames carry this tag, in their descriptor\n"
	"  --mtu N           1500\n"
	"  --channels N      1\n"
	"  --rate N          frames a second; 0: as many as it can\n"
	"  --count N         frames; 0: until the end\n"
	"  --size N          bytes of a frame, 60\n"
	"  --form section|pages  where frames to send lie\n"
	"  --seconds N       how long; default: until SIGTERM\n"
	"  --scattered       guest memory is never contiguous\n"
	"  --slow N          N packets are never acknowledged, the others in an odd order\n"
	"  --truncate N      after half a second its memory is cut off at N pages\n"
	"  --polls           the driver polls and asks for no interrupts\n"
	"  --dpdk            ids as DPDK's driver has them\n";

static struct {
	const char *socket, *nic, *mode, *argument;
	uint8_t token[32];
	bool has_token, scattered, polls, dpdk, by_pages, truncates;
	uint32_t address, vlan, mtu, n_channels, size, slow, truncate;
	uint64_t rate, count;
	double seconds;
} options = { .socket = "/run/weft/vmbus.sock", .mtu = 1500, .n_channels = 1, .size = 60 };

static struct fake_vmm vmm;
static struct fake_driver driver;
static struct fake_answers answers;
static volatile sig_atomic_t ended;
static double began;

// What receive saw.
static struct {
	uint64_t n, n_twice, n_bad, n_late;
	uint32_t highest; // number seen, + 1
	uint8_t *seen;    // bit by bit
	uint32_t n_seen;  // bytes of it
} received;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool is_over(void)
{
	return ended || (options.seconds > 0 && now() - began > options.seconds);
}

static void end(int signal) { ended = true; }

static int fail(const char *text)
{
	fprintf(stderr, "weft-fake-guest: %s\n", text);
	return 1;
}

// --- frames ------------------------------------------------------------------------------------

static bool send_frame(const uint8_t *frame, uint32_t bytes, uint32_t vlan, uint32_t channel)
{
	const struct fake_packet packet = { .frame = frame, .bytes = bytes,
					    .ppis = vlan ? FAKE_PPI_VLAN : 0,
					    .vlan = vlan << RNDIS_VLAN_ID_SHIFT };
	const struct fake_tx tx = { .channel = channel, .packets = &packet, .n = 1,
				    .form = options.by_pages || bytes > 6000 ? FAKE_PAGES
									     : FAKE_SECTION };

	return fake_driver_put(&driver, &tx) == 0;
}

static void take_number(uint32_t number)
{
	if (number / 8 >= received.n_seen) {
		uint32_t bytes = number / 4 + 4096;
		uint8_t *seen = realloc(received.seen, bytes);

		if (!seen)
			return;
		memset(seen + received.n_seen, 0, bytes - received.n_seen);
		received.seen = seen;
		received.n_seen = bytes;
	}
	received.n++;
	received.n_twice += received.seen[number / 8] >> number % 8 & 1;
	received.seen[number / 8] |= (uint8_t)(1u << number % 8);
	received.n_late += number < received.highest;
	if (number >= received.highest)
		received.highest = number + 1;
}

static void on_frame(void *ctx, const struct fake_frame *frame)
{
	static uint8_t reply[FAKE_MAX_FRAME];
	uint32_t vlan = frame->has_vlan ? frame->vlan >> RNDIS_VLAN_ID_SHIFT : 0;
	uint32_t number = fake_frame_number(frame->bytes, frame->n_bytes), bytes;

	if (number == FAKE_FRAME_BAD) {
		received.n_bad++;
		return;
	}
	if (number != FAKE_FRAME_NONE) {
		take_number(number);
		return;
	}
	if (vlan != options.vlan)
		return;
	bytes = fake_answers_take(&answers, frame->bytes, frame->n_bytes, reply);
	if (bytes)
		send_frame(reply, bytes, vlan, 0);
}

static struct mac mac_of(const char *text)
{
	struct mac mac = { 0 };

	sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac.b[0], &mac.b[1], &mac.b[2], &mac.b[3],
	       &mac.b[4], &mac.b[5]);
	return mac;
}

// Frames that are due by now, a batch at most. Returns how many were sent.
static uint32_t send_due(uint64_t *n_sent, struct mac to)
{
	static uint8_t frame[FAKE_MAX_FRAME];
	struct mac from;
	uint64_t due = options.count ? options.count : UINT64_MAX;
	uint32_t n = 0;

	memcpy(from.b, driver.mac, 6);
	if (options.rate && (double)due > (now() - began) * (double)options.rate)
		due = (uint64_t)((now() - began) * (double)options.rate);
	for (; n < BATCH && *n_sent < due; n++, (*n_sent)++) {
		fake_frame_build(frame, options.size, to, from, (uint32_t)*n_sent);
		if (!send_frame(frame, options.size, options.vlan,
				(uint32_t)(*n_sent / BATCH % driver.n_channels)))
			break;
	}
	return n;
}

// --- modes -------------------------------------------------------------------------------------

static void report(uint64_t n_sent)
{
	const char *complaint = fake_guest_complaint(&vmm.guest);
	uint32_t n_held = 0;

	for (uint32_t i = 0; i < driver.n_sections; i++)
		n_held += driver.held[i];
	printf("{\"sent\": %lu, \"completed\": %lu, \"failed\": %lu, \"received\": %lu, "
	       "\"numbered\": %lu, \"missing\": %lu, \"twice\": %lu, \"late\": %lu, \"bad\": %lu, "
	       "\"held\": %u, \"answered\": %lu, \"pongs\": %lu, \"irqs\": %lu, "
	       "\"complaint\": \"%s\"}\n",
	       n_sent, driver.n_completed, driver.n_failed, driver.n_frames, received.n,
	       received.highest - (received.n - received.n_twice), received.n_twice,
	       received.n_late, received.n_bad, n_held, answers.n_answered,
	       answers.n_pongs, vmm.n_irqs, complaint ? complaint : "");
	fflush(stdout);
}

// Acknowledges from the middle, until --slow packets are left.
static void acknowledge(void)
{
	while (driver.n_xfers > options.slow)
		if (!fake_driver_ack_nth(&driver, driver.n_xfers / 2))
			break;
}

// Takes what came. Returns how much it was.
static uint32_t receive(void)
{
	uint32_t n = fake_driver_poll(&driver);

	if (options.slow)
		acknowledge();
	fake_driver_kick(&driver);
	return n;
}

// Does all there is to do now. Returns how much it was. send: numbered frames go to `to`.
static uint32_t work(bool send, struct mac to, uint64_t *n_sent)
{
	uint32_t n = fake_answers_tick(&answers, now(), send_frame, options.vlan);

	if (send)
		n += send_due(n_sent, to);
	return n + receive();
}

static bool is_done(bool send, uint64_t n_sent)
{
	return is_over() || (answers.count && answers.n_pongs >= answers.count) ||
	       (send && options.count && n_sent == options.count && !driver.n_slots);
}

// The guest's memory goes; it must not touch it any more. Returns when the switch has taken leave.
static int cut_memory_off(void)
{
	if (ftruncate(vmm.guest.memory.fd, (off_t)options.truncate * VMBUS_PAGE_BYTES))
		return fail("its memory cannot be cut off");
	for (uint32_t i = 0; i < 5000 && !vmm.nics[0].n_says; i++)
		fake_vmm_pump(&vmm);
	return fail(vmm.nics[0].n_says ? vmm.nics[0].says : "nobody noticed");
}

// Runs until the end.
static int run(bool send, struct mac to)
{
	uint64_t n_sent = 0, n_rounds = 0;

	began = now();
	while (!is_done(send, n_sent)) {
		uint32_t n = work(send, to, &n_sent);

		// With nothing to do it sleeps; else it looks at its sockets now and then.
		if (!n)
			fake_vmm_pump(&vmm);
		else if (++n_rounds % 64 == 0)
			fake_vmm_run(&vmm);
		if (options.truncates && now() - began > 0.5)
			return cut_memory_off();
	}
	// What is under way arrives: until nothing has come for a while.
	for (uint32_t idle = 0; idle < 100; idle++) {
		if (receive())
			idle = 0;
		fake_vmm_pump(&vmm);
	}
	report(n_sent);
	return fake_guest_complaint(&vmm.guest) || received.n_twice || received.n_bad ||
	       answers.n_pongs < answers.count;
}

static int attach(void)
{
	const struct fake_vmm_cfg cfg = {
		.memory_flags = (options.scattered ? FAKE_MEMORY_SCATTERED : 0) |
				(options.truncates ? FAKE_MEMORY_UNSEALED : 0),
		.n_pages = 16384, .n_vps = options.n_channels, .max_rounds = 10000,
		.path = options.socket, .nics = { options.nic }, .n_nics = 1,
		.token = options.has_token ? options.token : NULL,
	};
	struct fake_driver_cfg guest = {
		.mtu = options.mtu + 14, .n_subchannels = options.n_channels - 1,
		.polls = options.polls, .receive = on_frame, .receive_pages = 4096,
		.send_pages = 256, // 16 MiB and 1 MiB, as Linux
	};

	if (options.dpdk) {
		guest.tx_id = 0x7f1200000040;
		guest.send_id = 0xface;
	}
	if (fake_vmm_init(&vmm, &cfg))
		return fail("no guest could be made");
	fake_driver_init(&driver, &vmm.guest, 0, &guest);
	if (fake_vmm_boot(&vmm))
		return fail(vmm.nics[0].n_says ? vmm.nics[0].says : "the guest does not boot");
	if (fake_driver_start(&driver))
		return fail(fake_guest_complaint(&vmm.guest) ? vmm.guest.complaint
							     : "the driver does not start");
	memcpy(answers.mac.b, driver.mac, 6);
	printf("ready\n");
	fflush(stdout);
	return 0;
}

// The tables, in one list.
static const struct fake_attack *nth_attack(uint32_t n)
{
	static const struct fake_attack *const tables[] = { fake_message_attacks,
							    fake_ring_attacks, fake_nvsp_attacks };

	for (uint32_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct fake_attack *attack = tables[t]; attack->name; attack++)
			if (n-- == 0)
				return attack;
	return NULL;
}

static int run_attacks(const char *name)
{
	struct fake_attacker attacker = { &vmm, &driver, 1 };
	const struct fake_attack *attack;
	int wrong = 0;

	vmm.guest.max_rounds = 2000;
	driver.cfg.receive = NULL;
	began = now();
	do {
		for (uint32_t i = 0; (attack = nth_attack(i)) != NULL && !is_over(); i++) {
			const char *what;

			if (strcmp(name, "all") && strcmp(name, attack->name))
				continue;
			what = attack->run(&attacker);
			printf("%s %s\n", attack->name, what ? what : "ok");
			wrong |= what != NULL;
			if (fake_attack_recover(&attacker))
				return fail("the guest does not come up again");
			fflush(stdout);
		}
	} while (options.seconds > 0 && !is_over());
	return wrong;
}

static int run_mode(void)
{
	struct mac to = { 0 };

	if (!strcmp(options.mode, "vmm"))
		return fake_vmm_attacks_run(options.socket, options.nic, options.argument,
					    options.seconds);
	if (!strcmp(options.mode, "attack") && !strcmp(options.argument, "list")) {
		const struct fake_attack *attack;

		for (uint32_t i = 0; (attack = nth_attack(i)) != NULL; i++)
			printf("%s\n", attack->name);
		return 0;
	}
	if (attach())
		return 1;
	if (!strcmp(options.mode, "attack"))
		return run_attacks(options.argument);
	if (!strcmp(options.mode, "slow") || options.slow)
		driver.cfg.ack = FAKE_ACK_HOLD;
	if (!strcmp(options.mode, "ping")) {
		answers.target = fake_answers_address(options.argument);
		answers.count = options.count ? options.count : 3;
	}
	if (!strcmp(options.mode, "send"))
		to = mac_of(options.argument);
	return run(!strcmp(options.mode, "send"), to);
}

// --- options -----------------------------------------------------------------------------------

static bool read_token(const char *path)
{
	FILE *file = fopen(path, "rb");
	bool all;

	if (!file)
		return false;
	all = fread(options.token, 1, sizeof(options.token), file) == sizeof(options.token);
	fclose(file);
	return options.has_token = all;
}

static bool take_option(const char *name, const char *value)
{
	uint64_t number = value ? strtoull(value, NULL, 0) : 0;

	if (!strcmp(name, "socket"))
		options.socket = value;
	else if (!strcmp(name, "nic"))
		options.nic = value;
	else if (!strcmp(name, "token"))
		return read_token(value);
	else if (!strcmp(name, "address"))
		options.address = fake_answers_address(value);
	else if (!strcmp(name, "vlan"))
		options.vlan = (uint32_t)number;
	else if (!strcmp(name, "mtu"))
		options.mtu = (uint32_t)number;
	else if (!strcmp(name, "channels"))
		options.n_channels = (uint32_t)number;
	else if (!strcmp(name, "rate"))
		options.rate = number;
	else if (!strcmp(name, "count"))
		options.count = number;
	else if (!strcmp(name, "size"))
		options.size = (uint32_t)number;
	else if (!strcmp(name, "form"))
		options.by_pages = !strcmp(value, "pages");
	else if (!strcmp(name, "seconds"))
		options.seconds = strtod(value, NULL);
	else if (!strcmp(name, "slow"))
		options.slow = (uint32_t)number;
	else if (!strcmp(name, "truncate")) {
		options.truncates = true;
		options.truncate = (uint32_t)number;
	} else if (!strcmp(name, "scattered"))
		options.scattered = true;
	else if (!strcmp(name, "polls"))
		options.polls = true;
	else if (!strcmp(name, "dpdk"))
		options.dpdk = true;
	return true;
}

static bool take_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "socket", 1, 0, 0 }, { "nic", 1, 0, 0 }, { "token", 1, 0, 0 },
		{ "address", 1, 0, 0 }, { "vlan", 1, 0, 0 }, { "mtu", 1, 0, 0 },
		{ "channels", 1, 0, 0 }, { "rate", 1, 0, 0 }, { "count", 1, 0, 0 },
		{ "size", 1, 0, 0 }, { "form", 1, 0, 0 }, { "seconds", 1, 0, 0 },
		{ "slow", 1, 0, 0 }, { "truncate", 1, 0, 0 }, { "scattered", 0, 0, 0 },
		{ "polls", 0, 0, 0 }, { "dpdk", 0, 0, 0 },
		{ "help", 0, 0, 'h' }, { 0 },
	};
	int which, c;

	while ((c = getopt_long(argc, argv, "", known, &which)) == 0)
		if (!take_option(known[which].name, optarg))
			return false;
	if (c == 'h') {
		fputs(help, stdout);
		exit(0);
	}
	options.mode = argv[optind];
	options.argument = options.mode && argv[optind + 1] ? argv[optind + 1] : "";
	return c == -1 && options.mode && options.n_channels - 1 < FAKE_MAX_CHANNELS &&
	       options.size >= FAKE_FRAME_MIN && options.size < FAKE_MAX_FRAME;
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = end };

	if (!take_options(argc, argv)) {
		fputs(help, stderr);
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	answers.address = options.address;
	return run_mode();
}
