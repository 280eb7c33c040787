// SPDX-License-Identifier: Apache-2.0
// Two readings of the counters make a sample. All cycles are TSC cycles:
//   total     = elapsed × forwarding threads / frames sent
//   generator = cycles in the source a frame made, × frames made / frames sent
//   sink      = cycles in the sink a frame sent
//   switch    = total − generator − sink
#include "bench/stat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "bench/counters.h"

#define MAX_THREADS 32
#define MIN_ON_CPU 0.97 // a sample with less of the core than this is rejected

// Sums over all queues at one moment.
struct reading {
	uint64_t tsc;
	uint64_t rx_packets, rx_cycles, no_mbuf;
	uint64_t tx_packets, tx_bytes, tx_cycles, tx_bursts;
	uint64_t clock_tsc, clock_runs;
	uint64_t on_cpu_ns[MAX_THREADS]; // run time of each forwarding thread
	uint64_t threads[MAX_THREADS];   // their kernel ids
	uint32_t n_threads;
};

enum column {
	MPPS,
	GBPS,
	CYCLES,
	GENERATOR,
	SINK,
	SWITCH,
	CLOCK_GHZ,
	ON_CPU,
	LOSS,
	BURST,
	N_COLUMNS
};

static const char *const titles[N_COLUMNS] = {
	"mpps",   "gbps",      "cycles", "generator", "sink",
	"switch", "clock_ghz", "on_cpu", "loss",      "burst",
};

static void add_thread(struct reading *r, uint64_t pid, uint64_t thread)
{
	char path[64];
	FILE *f;

	for (uint32_t i = 0; i < r->n_threads; i++)
		if (r->threads[i] == thread)
			return;
	if (!thread || r->n_threads == MAX_THREADS)
		return;
	snprintf(path, sizeof(path), "/proc/%lu/task/%lu/schedstat", pid, thread);
	f = fopen(path, "re");
	if (!f)
		return;
	r->threads[r->n_threads] = thread;
	if (fscanf(f, "%lu", &r->on_cpu_ns[r->n_threads]) == 1)
		r->n_threads++;
	fclose(f);
}

static void take(const struct bench_counters *c, struct reading *r)
{
	*r = (struct reading){ 0 };
	for (int p = 0; p < BENCH_MAX_PORTS; p++)
		for (int q = 0; q < BENCH_MAX_QUEUES; q++)
			add_thread(r, c->pid, c->ports[p].rx[q].thread);
	asm volatile("" ::: "memory"); // the counters move beneath us: read them anew
	r->tsc = __rdtsc();
	for (int i = 0; i < BENCH_MAX_PORTS * BENCH_MAX_QUEUES; i++) {
		const struct bench_port_counters *p = &c->ports[i / BENCH_MAX_QUEUES];
		const struct bench_rx_counters *rx = &p->rx[i % BENCH_MAX_QUEUES];
		const struct bench_tx_counters *tx = &p->tx[i % BENCH_MAX_QUEUES];

		r->rx_packets += rx->packets;
		r->rx_cycles += rx->cycles;
		r->no_mbuf += rx->no_mbuf;
		r->clock_tsc += rx->clock_tsc;
		r->clock_runs += rx->clock_runs;
		r->tx_packets += tx->packets;
		r->tx_bytes += tx->bytes;
		r->tx_cycles += tx->cycles;
		r->tx_bursts += tx->bursts;
	}
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

// The least share of its core that any forwarding thread had; 0 if the threads changed.
static double on_cpu(const struct reading *a, const struct reading *b, double elapsed_ns)
{
	double least = b->n_threads ? 1 : 0;

	for (uint32_t i = 0; i < b->n_threads; i++) {
		double share = (double)(b->on_cpu_ns[i] - a->on_cpu_ns[i]) / elapsed_ns;

		if (i >= a->n_threads || a->threads[i] != b->threads[i])
			return 0;
		if (share < least)
			least = share;
	}
	return least;
}

static void evaluate(const struct reading *a, const struct reading *b, double hz,
		     double out[N_COLUMNS])
{
	double elapsed = (double)(b->tsc - a->tsc), seconds = elapsed / hz;
	double made = (double)(b->rx_packets - a->rx_packets);
	double sent = (double)(b->tx_packets - a->tx_packets);
	double clock_runs = (double)(b->clock_runs - a->clock_runs);

	out[MPPS] = sent / seconds / 1e6;
	out[GBPS] = (double)(b->tx_bytes - a->tx_bytes) * 8 / seconds / 1e9;
	out[CYCLES] = ratio(elapsed * b->n_threads, sent);
	out[GENERATOR] = ratio((double)(b->rx_cycles - a->rx_cycles), sent);
	out[SINK] = ratio((double)(b->tx_cycles - a->tx_cycles), sent);
	out[SWITCH] = out[CYCLES] - out[GENERATOR] - out[SINK];
	out[CLOCK_GHZ] =
		ratio(clock_runs * BENCH_CLOCK_STEPS, (double)(b->clock_tsc - a->clock_tsc)) * hz /
		1e9;
	out[ON_CPU] = on_cpu(a, b, seconds * 1e9);
	out[LOSS] = made > sent ? 1 - sent / made : 0;
	out[BURST] = ratio(sent, (double)(b->tx_bursts - a->tx_bursts));
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(double samples[][BENCH_MAX_SAMPLES], uint32_t n, uint32_t rejected, bool json)
{
	double median[N_COLUMNS];

	for (int c = 0; c < N_COLUMNS; c++) {
		qsort(samples[c], n, sizeof(double), compare);
		median[c] = (samples[c][(n - 1) / 2] + samples[c][n / 2]) / 2;
	}
	if (json) {
		printf("{");
		for (int c = 0; c < N_COLUMNS; c++)
			printf("\"%s\": %.4f, ", titles[c], median[c]);
		printf("\"switch_min\": %.2f, \"switch_max\": %.2f, \"samples\": %u, "
		       "\"rejected\": %u}\n",
		       samples[SWITCH][0], samples[SWITCH][n - 1], n, rejected);
		return;
	}
	printf("%.3f Mpps, %.2f Gbit/s: %.1f cycles a frame = generator %.1f + sink %.1f + "
	       "switch %.1f (%.1f…%.1f)\nclock %.2f GHz, on CPU %.1f %%, loss %.3f %%, "
	       "%.1f frames a burst; %u samples, %u rejected\n",
	       median[MPPS], median[GBPS], median[CYCLES], median[GENERATOR], median[SINK],
	       median[SWITCH], samples[SWITCH][0], samples[SWITCH][n - 1], median[CLOCK_GHZ],
	       100 * median[ON_CPU], 100 * median[LOSS], median[BURST], n, rejected);
}

static int map_counters(const char *path, struct bench_counters **out, struct err *err)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct bench_counters *c = MAP_FAILED;
	struct stat st;

	if (fd < 0)
		return err_set(err, ENOENT, "%s: %m; is something running under libweftgen.so?",
			       path);
	if (!fstat(fd, &st) && st.st_size >= (off_t)sizeof(*c))
		c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (c == MAP_FAILED || c->magic != BENCH_COUNTERS_MAGIC)
		return err_set(err, EINVAL, "%s: not a counters' file of this version", path);
	*out = c;
	return 0;
}

static void pause_ms(uint32_t ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

int bench_stat(const struct bench_stat_cfg *cfg, struct err *err)
{
	static double samples[N_COLUMNS][BENCH_MAX_SAMPLES];
	struct bench_counters *counters = NULL;
	struct reading before, after;
	uint32_t n = 0, rejected = 0;
	int ret = map_counters(cfg->path, &counters, err);

	if (ret)
		return ret;
	take(counters, &before);
	while (n < cfg->n_samples && n + rejected < 4 * cfg->n_samples) {
		double row[N_COLUMNS];
		bool good;

		pause_ms(cfg->interval_ms);
		take(counters, &after);
		evaluate(&before, &after, (double)counters->tsc_hz, row);
		good = cfg->accept_all || (row[ON_CPU] >= MIN_ON_CPU && row[MPPS] > 0);
		if (cfg->verbose)
			fprintf(stderr, "%.3f Mpps, switch %.1f, on CPU %.1f %%%s\n", row[MPPS],
				row[SWITCH], 100 * row[ON_CPU], good ? "" : ", rejected");
		for (int c = 0; good && c < N_COLUMNS; c++)
			samples[c][n] = row[c];
		n += good;
		rejected += !good;
		before = after;
	}
	if (!n)
		return err_set(err, ENODATA,
			       "all %u samples rejected: the forwarding thread lacks its "
			       "core, or nothing was sent",
			       rejected);
	report(samples, n, rejected, cfg->json);
	return 0;
}

// Frames handed out so far, by port.
static uint64_t frames_made(const struct bench_counters *c, uint64_t made[BENCH_MAX_PORTS])
{
	uint64_t sum = 0;

	asm volatile("" ::: "memory"); // as above
	for (int p = 0; p < BENCH_MAX_PORTS; p++) {
		made[p] = 0;
		for (int q = 0; q < BENCH_MAX_QUEUES; q++)
			made[p] += c->ports[p].rx[q].packets;
		sum += made[p];
	}
	return sum;
}

// Whether any port has sent all that was held: from there on its flows come again.
static bool exhausted(const struct bench_counters *c, const uint64_t *before, const uint64_t *now)
{
	for (int p = 0; p < BENCH_MAX_PORTS; p++)
		if (c->ports[p].held && now[p] - before[p] >= c->ports[p].held)
			return true;
	return false;
}

int bench_release(const char *path, uint32_t limit_ms, struct err *err)
{
	uint64_t before[BENCH_MAX_PORTS], now[BENCH_MAX_PORTS], start, first, last;
	struct bench_counters *c = NULL;
	double seconds;
	int ret = map_counters(path, &c, err);

	if (ret)
		return ret;
	first = frames_made(c, before);
	start = __rdtsc();
	c->released = 1;
	do {
		pause_ms(1);
		last = frames_made(c, now);
		seconds = (double)(__rdtsc() - start) / (double)c->tsc_hz;
	} while (!exhausted(c, before, now) && seconds * 1000 < limit_ms);
	printf("{\"frames\": %lu, \"seconds\": %.6f}\n", last - first, seconds);
	return 0;
}
