// SPDX-License-Identifier: Apache-2.0
// weft-pmd: DPDK's netvsc driver as a guest of weftd, without Hyper-V. docs/testing.md says what it
// is for. One process is VMM (nic.h, vmm.h), kernel (uio.h) and application (guest.h) of its NICs.
//
// The main thread is DPDK's one lcore: it sends, receives, checks, and takes commands. The VMM's
// thread sleeps unless the switch says something.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "tests/pmd/eal.h"
#include "tests/pmd/guest.h"
#include "tests/pmd/options.h"
#include "tests/pmd/report.h"
#include "tests/pmd/vmm.h"

#define MBUF_ROOM 2048
#define LARGE_ROOM 9600
#define IDLE_ROUNDS 64    // without a frame, before it sleeps
#define IDLE_NS 50000
#define ATTACH_NS 50000000 // who does nothing does it slowly
#define CHORES_ROUNDS 256 // rounds between two looks at clock, commands and NICs
#define DRAIN_QUIET_S 0.3 // nothing has come for so long: nothing will
#define DRAIN_S 10.0

enum phase {
	PHASE_PAUSE, // receives only; how it begins
	PHASE_RUN,
	PHASE_FILL,  // sends only, until no queue takes more
	PHASE_DRAIN, // as paused, and then the end
};

struct app {
	struct options opt;
	struct eal eal;
	struct guest guests[OPTIONS_MAX_NICS];
	uint32_t n_guests; // open ones
	enum phase phase;
	double started, ran; // seconds: when PHASE_RUN began, and how much of it there was before
	double last_frame, drain_from, last_look;
	uint32_t round;
	bool moved; // frames, since the last chores
	bool done;
};

static struct app app;
static volatile sig_atomic_t stop_wanted;

static void on_signal(int) { stop_wanted = 1; }

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds_run(const struct app *a)
{
	return a->ran + (a->phase == PHASE_RUN ? now() - a->started : 0);
}

static void enter_phase(struct app *a, enum phase phase)
{
	a->ran = seconds_run(a);
	a->started = now();
	a->drain_from = a->last_frame = a->started;
	a->phase = phase;
}

static void print(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	putchar('\n');
	fflush(stdout);
	json_decref(object);
}

// --- opening -----------------------------------------------------------------------------------

static uint32_t mbufs(const struct options *opt)
{
	// What queues, staging rings and caches may hold, and a frame may be several.
	uint64_t n = (uint64_t)opt->n_nics *
			     ((uint64_t)opt->queues * opt->descriptors * RTE_MIN(opt->chain, 8u) +
			      (uint64_t)RTE_MIN(opt->queues, 2u) * opt->staged) +
		     4096;

	return opt->mode == MODE_ATTACH ? 2047 : (uint32_t)RTE_MIN(n, 200000u);
}

static struct guest_cfg guest_cfg(const struct app *a, uint32_t i)
{
	const struct options *opt = &a->opt;
	bool second = opt->mode == MODE_PAIR && opt->one_way && i % 2;
	struct guest_cfg cfg = {
		.name = opt->nics[i],
		.n_queues = opt->queues,
		.nic = { .ring_pages = opt->ring_pages,
			 .max_queues = opt->queues,
			 .receive_bytes = opt->receive_mib << 20,
			 .send_bytes = opt->send_mib << 20,
			 .huge = a->eal.huge,
			 .n_memory = a->eal.n_memory },
		.port = { .n_queues = opt->queues,
			  .n_descriptors = opt->descriptors,
			  .n_staged = opt->staged,
			  .mtu = opt->mtu,
			  .devargs = opt->driver,
			  .pool = a->eal.pool },
		.sends = (opt->mode == MODE_PAIR && !second) || opt->mode == MODE_SEND,
		.echoes = opt->mode == MODE_ECHO,
		.lean = opt->lean,
		.frames = { .dst = opt->to,
			    .sender = (uint8_t)(opt->sender + i),
			    .n_macs = opt->macs,
			    .ipv6 = opt->ipv6,
			    .tcp = opt->mss != 0,
			    .offload_csum = opt->csum || opt->mss,
			    .fill = !opt->no_fill },
		.n_flows = opt->flows,
		.chain = opt->chain,
		.min_bytes = opt->min_bytes,
		.max_bytes = opt->max_bytes,
		.mss = (uint16_t)opt->mss,
		.vlan = (uint16_t)opt->vlan,
		.rate = opt->rate,
		.count = opt->count,
	};
	const uint64_t csums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
			       RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	const uint64_t rx_csums = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM |
				  RTE_ETH_RX_OFFLOAD_TCP_CKSUM;

	snprintf(cfg.nic.name, sizeof(cfg.nic.name), "%s", opt->nics[i]);
	snprintf(cfg.nic.socket, sizeof(cfg.nic.socket), "%s", opt->socket);
	memcpy(cfg.nic.memory, a->eal.memory, sizeof(cfg.nic.memory));
	if (opt->csum || opt->mss) {
		cfg.port.tx_offloads |= csums;
		cfg.port.rx_offloads |= rx_csums;
	}
	if (opt->mss)
		cfg.port.tx_offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
	if (opt->vlan) {
		cfg.port.tx_offloads |= RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
		cfg.port.rx_offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	}
	if (opt->chain > 1 || opt->max_bytes > LARGE_ROOM)
		cfg.port.tx_offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	return cfg;
}

// Pairs send to each other's MACs, as they are now.
static void join_pairs(struct app *a)
{
	if (a->opt.mode != MODE_PAIR)
		return;
	for (uint32_t i = 0; i < a->n_guests; i++)
		a->guests[i].cfg.frames.dst = a->guests[i ^ 1].port.mac;
}

static int start_eal(struct app *a, struct err *err)
{
	static char vdevs[OPTIONS_MAX_NICS][256];
	const char *list[OPTIONS_MAX_NICS];
	bool large = a->opt.mtu > 1500;
	struct eal_cfg cfg = { .core = (int)a->opt.core,
			       .n_mbufs = mbufs(&a->opt),
			       .n_more = a->opt.lean ? mbufs(&a->opt) / 2 : 0,
			       .n_queues = a->opt.n_nics * a->opt.queues,
			       .room = large ? LARGE_ROOM : MBUF_ROOM,
			       .no_huge = a->opt.no_huge,
			       .vdevs = list };

	for (uint32_t i = 0; i < a->opt.n_nics; i++) {
		if (strncmp(a->opt.nics[i], "vhost:", 6) != 0)
			continue;
		snprintf(vdevs[i], sizeof(vdevs[i]),
			 "net_virtio_user%u,path=%s,server=1,queues=%u,queue_size=1024,in_order=1,"
			 "mrg_rxbuf=%d",
			 i, a->opt.nics[i] + 6, a->opt.queues, large);
		list[cfg.n_vdevs++] = vdevs[i];
	}
	return eal_start(&cfg, &a->eal, err);
}

static int open_all(struct app *a, struct err *err)
{
	int ret = uio_start(err);

	ret = ret ?: start_eal(a, err);
	ret = ret ?: vmm_start(err);
	for (uint32_t i = 0; !ret && i < a->opt.n_nics; i++) {
		struct guest_cfg cfg = guest_cfg(a, i);

		if (cfg.sends && frame_min_bytes(&cfg.frames) > cfg.min_bytes)
			return err_set(err, EINVAL, "--size must be at least %u here",
				       frame_min_bytes(&cfg.frames));
		a->n_guests++;
		ret = guest_open(&a->guests[i], &cfg, i, err);
	}
	join_pairs(a);
	for (uint32_t i = 0; !ret && i < a->n_guests; i++)
		ret = guest_prepare(&a->guests[i], err);
	return ret;
}

static void close_all(struct app *a)
{
	for (uint32_t i = 0; i < a->n_guests; i++)
		guest_close(&a->guests[i]);
	vmm_stop();
	eal_stop();
}

// --- commands ----------------------------------------------------------------------------------

static int on_all(struct app *a, int (*change)(struct guest *guest, struct err *err),
		  struct err *err)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < a->n_guests; i++)
		ret = change(&a->guests[i], err);
	join_pairs(a);
	return ret;
}

static int restart_port(struct guest *g, struct err *err)
{
	int ret = port_stop(&g->port, err);

	return ret ?: port_start(&g->port, err);
}

static int spread(struct app *a, const char *line, struct err *err)
{
	uint32_t first, n;
	int ret = 0;

	if (sscanf(line, "spread %u %u", &first, &n) != 2 || !n || first + n > a->opt.queues)
		return err_set(err, EINVAL, "spread FIRST N, within the queues");
	for (uint32_t i = 0; !ret && i < a->n_guests; i++)
		ret = port_spread(&a->guests[i].port, first, n, err);
	return ret;
}

static int obey(struct app *a, const char *line, struct err *err)
{
	if (strcmp(line, "pause") == 0)
		enter_phase(a, PHASE_PAUSE);
	else if (strcmp(line, "resume") == 0)
		enter_phase(a, PHASE_RUN);
	else if (strcmp(line, "fill") == 0)
		enter_phase(a, PHASE_FILL);
	else if (strcmp(line, "quit") == 0)
		enter_phase(a, PHASE_DRAIN);
	else if (strcmp(line, "restart") == 0)
		return on_all(a, restart_port, err);
	else if (strcmp(line, "reopen") == 0)
		return on_all(a, guest_reopen, err);
	else if (strncmp(line, "spread ", 7) == 0)
		return spread(a, line, err);
	else if (strcmp(line, "report") != 0)
		return err_set(err, EINVAL, "no command '%s'", line);
	return 0;
}

// Answers with a report, but `quit`, whose report is the last, and `fill`, which has its end yet to
// come.
static void take_commands(struct app *a)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	static char line[128];
	static size_t n;
	struct err err;
	char c;

	while (poll(&in, 1, 0) > 0) {
		if (read(STDIN_FILENO, &c, 1) <= 0) {
			enter_phase(a, PHASE_DRAIN);
			a->opt.control = false;
			return;
		}
		if (c != '\n') {
			if (n < sizeof(line) - 1)
				line[n++] = c;
			continue;
		}
		line[n] = 0;
		n = 0;
		if (obey(a, line, &err))
			print(json_pack("{s:s}", "error", err.text));
		else if (a->phase != PHASE_FILL && a->phase != PHASE_DRAIN)
			print(report_make(a->guests, a->n_guests, seconds_run(a)));
	}
}

// --- the loop ----------------------------------------------------------------------------------

// One look at each queue of each guest. Returns the frames that moved.
static uint32_t round_of(struct app *a)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->n_guests; i++) {
		struct guest *g = &a->guests[i];

		for (uint32_t turn = 0; !g->away && turn < g->cfg.n_queues; turn++) {
			// Another one first each time, or the first would have the whole rate.
			uint32_t q = (turn + a->round) % g->cfg.n_queues;

			if (a->phase != PHASE_FILL)
				n += guest_receive(g, q, a->phase == PHASE_RUN);
			if (g->cfg.sends && (a->phase == PHASE_RUN || a->phase == PHASE_FILL))
				n += guest_send(g, q);
			else
				guest_flush(g, q);
			if (!g->is_vhost)
				nic_count(&g->nic, q);
		}
	}
	return n;
}

static void look_for_ports(struct app *a)
{
	struct err err;

	for (uint32_t i = 0; i < a->n_guests; i++) {
		struct guest *g = &a->guests[i];

		if (g->is_vhost)
			continue;
		if (!g->away && nic_events(&g->nic).gone)
			guest_leave(g);
		else if (g->away && !guest_return(g, &err))
			join_pairs(a);
	}
}

static bool sent_all(const struct app *a)
{
	bool any = false;

	for (uint32_t i = 0; i < a->n_guests; i++) {
		if (!guest_is_done(&a->guests[i]))
			return false;
		any |= a->guests[i].cfg.sends;
	}
	return any;
}

static bool drained(const struct app *a, double t)
{
	bool quiet = t - a->last_frame > DRAIN_QUIET_S;

	for (uint32_t i = 0; quiet && i < a->n_guests; i++)
		for (uint32_t q = 0; quiet && q < a->opt.queues; q++)
			quiet = !a->guests[i].queues[q].backlog.n;
	return quiet || t - a->drain_from > DRAIN_S;
}

static void chores(struct app *a)
{
	double t = now();

	if (a->moved)
		a->last_frame = t;
	a->moved = false;
	if (a->opt.control)
		take_commands(a);
	if (t - a->last_look > 0.1) {
		a->last_look = t;
		look_for_ports(a);
	}
	if (a->phase == PHASE_RUN && ((a->opt.seconds && seconds_run(a) >= a->opt.seconds) ||
				      (sent_all(a) && !a->opt.control)))
		enter_phase(a, PHASE_DRAIN);
	if (stop_wanted && a->phase != PHASE_DRAIN)
		enter_phase(a, PHASE_DRAIN);
	if (a->phase == PHASE_DRAIN && drained(a, t))
		a->done = true;
}

static void nap(const struct app *a)
{
	struct timespec t = { .tv_nsec = a->opt.mode == MODE_ATTACH ? ATTACH_NS : IDLE_NS };

	nanosleep(&t, NULL);
}

static void run(struct app *a)
{
	uint32_t idle = 0;

	enter_phase(a, a->opt.control ? PHASE_PAUSE : PHASE_RUN);
	while (!a->done) {
		uint32_t n = round_of(a);

		idle = n ? 0 : idle + 1;
		a->moved |= n != 0;
		if (a->phase == PHASE_FILL && idle > 1) {
			enter_phase(a, PHASE_PAUSE);
			print(report_make(a->guests, a->n_guests, a->ran));
		}
		if (idle > IDLE_ROUNDS && !a->opt.poll)
			nap(a);
		if (++a->round % CHORES_ROUNDS == 0 || idle > IDLE_ROUNDS)
			chores(a);
	}
}

int main(int argc, char **argv)
{
	// The second one ends it at once.
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
	struct app *a = &app;
	struct err err = { 0 };
	int ret;

	ret = options_parse(argc, argv, &a->opt, &err);
	if (ret > 0)
		return 0;
	signal(SIGPIPE, SIG_IGN);
	ret = ret ?: open_all(a, &err);
	if (ret) {
		fprintf(stderr, "weft-pmd: %s\n", err.text);
		return 1;
	}
	if (a->opt.control)
		print(report_make(a->guests, a->n_guests, 0)); // ready
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	run(a);
	print(report_make(a->guests, a->n_guests, a->ran));
	close_all(a);
	return 0;
}
