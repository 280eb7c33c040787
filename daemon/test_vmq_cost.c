// SPDX-License-Identifier: Apache-2.0
// What VMQ costs and what it keeps, with two real workers on two CPUs, a real switch, a NIC that
// is a generator and 16 ports that count: `build/daemon/test_vmq_cost [RECEIVER_CPU OWNER_CPU]`. A
// line of JSON for each of
//   handover  cycles a frame that crossing to another worker adds, both workers together
//   fair      16 ports at 60 % of what was measured, one of them then at ten times its share:
//             frames that the other 15 lost
//   move      queues that go to the other worker and back under that load: lost, out of order
// Not a test: it asserts nothing about time. `./run-bench vmq` runs it.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include <rte_cycles.h>
#include <rte_eal.h>

#include "daemon/plans.h"
#include "dataplane/pools.h"
#include "vswitch/vswitch.h"

#define N_GUESTS 16
#define N_PORTS (N_GUESTS + 1) // the last is the NIC
#define NIC N_GUESTS
#define N_WORKERS 2
#define RECEIVER 0
#define OWNER 1
#define SAMPLES 200
#define MAX_SAMPLES 2000
#define SAMPLE_US 4000
#define MIN_FRAMES 2000 // of a sample that counts
#define FRAME_BYTES 64
#define DEPTH 1024  // frames that the NIC holds when its worker has no CPU
#define WINDOW 1024 // frames under way, where no rate is set
#define HOG_SHARE 10
#define MOVES 200

// The NIC gives frames for guests in turn; a guest counts what it gets.
struct counter_port {
	struct port_dev dev;
	struct port_queue queue;
	uint64_t n CACHE_ALIGNED;    // owner: w; frames given or taken
	uint64_t n_disorder;         // owner: w
	uint32_t last;               // owner: w; number of the last frame
};

static struct {
	struct port_pools pools;
	struct rcu *rcu;
	struct vswitch *vs;
	struct pipeline *pipelines[N_WORKERS];
	struct worker *workers[N_WORKERS];
	struct counter_port ports[N_PORTS];
	struct plan_port plans[N_PORTS];
	uint64_t per_second;   // frames, all guests together; 0: as many as are taken. control: w
	uint32_t share[N_GUESTS];   // of each guest. control: w
	uint32_t next[N_GUESTS];    // number of its next frame; NIC's owner: w
	uint32_t turn, left;        // whose turn it is, for how many more
	uint64_t rate;              // the one it works by. This and the rest: NIC's owner: w
	uint64_t start_tsc, base;   // since when, and what was given before
	uint64_t given;             // frames so far. NIC's owner: w
	uint64_t missed;            // given to nobody: the NIC's ring was full. NIC's owner: w
	struct {
		uint64_t n CACHE_ALIGNED; // frames that guests got by this worker. worker: w
	} taken[N_WORKERS];
} rig;

// --- the two kinds of port ---------------------------------------------------------------------

static uint64_t taken(void)
{
	return counter_get(&rig.taken[RECEIVER].n) + counter_get(&rig.taken[OWNER].n);
}

static uint64_t due(void)
{
	uint64_t rate = __atomic_load_n(&rig.per_second, __ATOMIC_ACQUIRE);
	uint64_t now = rte_rdtsc();
	int64_t late;

	if (rate != rig.rate) {
		rig.rate = rate;
		rig.start_tsc = now;
		rig.base = rig.given = taken();
	}

	// Full batches, as long as the owner keeps up.
	if (!rate)
		return rig.given + PORT_BATCH <= taken() + WINDOW ? PORT_BATCH : 0;
	late = (int64_t)((double)(now - rig.start_tsc) * (double)rate / (double)rte_get_tsc_hz()) -
	       (int64_t)(rig.given - rig.base);
	if (late > DEPTH) {
		rig.base -= (uint64_t)late - DEPTH;
		counter_add(&rig.missed, (uint64_t)late - DEPTH);
		late = DEPTH;
	}
	return late > 0 ? (uint64_t)late : 0;
}

static void next_guest(void)
{
	while (rig.left == 0) {
		rig.turn = (rig.turn + 1) % N_GUESTS;
		rig.left = rig.share[rig.turn];
	}
	rig.left--;
}

static uint16_t nic_rx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct counter_port *p = &rig.ports[NIC];
	uint64_t want = due();

	n = (uint16_t)RTE_MIN(want, n);
	if (!n || rte_pktmbuf_alloc_bulk(rig.pools.small, pkts, n))
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		uint8_t *to = (uint8_t *)rte_pktmbuf_append(pkts[i], FRAME_BYTES);

		next_guest();
		memcpy(to, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)rig.turn, 2, 0, 0, 0, 0, NIC, 8, 0,
					0x45 }, 15);
		store_u32(to + 42, ++rig.next[rig.turn]);
	}
	rig.given += n;
	counter_add(&p->n, n);
	return n;
}

static uint16_t nothing(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n) { return 0; }
static int no_doorbell(struct port_queue *q) { return -1; }

static uint16_t guest_tx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct counter_port *p = container_of(q, struct counter_port, queue);

	for (uint16_t i = 0; i < n; i++) {
		uint32_t number = load_u32(rte_pktmbuf_mtod(pkts[i], uint8_t *) + 42);

		if (number <= p->last)
			counter_add(&p->n_disorder, 1);
		p->last = number;
	}
	rte_pktmbuf_free_bulk(pkts, n);
	counter_add(&p->n, n);
	counter_add(&rig.taken[rig.plans[p - rig.ports].owner[0]].n, n);
	return n;
}

static const struct port_ops nic_ops = {
	.kind = "nic", .rx = nic_rx, .tx = nothing, .doorbell = no_doorbell
};
static const struct port_ops guest_ops = {
	.kind = "guest", .rx = nothing, .tx = guest_tx, .doorbell = no_doorbell
};

// --- set-up ------------------------------------------------------------------------------------

static void configure(void)
{
	struct sw_switch_cfg sw = { .ageing_s = 300 };
	struct sw_port_cfg ports[N_PORTS];
	struct vswitch_cfg cfg = {
		.switches = &sw, .ports = ports, .n_switches = 1, .n_ports = N_PORTS
	};
	struct vswitch_plan *plan;
	struct err err;

	for (uint16_t i = 0; i < N_PORTS; i++)
		ports[i] = (struct sw_port_cfg){ .index = i,
						 .ready = true,
						 .takes_untagged = true,
						 .mac = { { 2, 0, 0, 0, 0, (uint8_t)i } },
						 .miss_budget = 1000000 };
	assert_int_equal(vswitch_prepare(rig.vs, &cfg, &plan, &err), 0);
	vswitch_publish(rig.vs, plan);
}

static void start_worker(unsigned int i, int cpu)
{
	struct pipeline_cfg pipeline = { .cache = { .entries = 4096,
						    .tsc_hz = rte_get_tsc_hz(),
						    .snapshot = vswitch_snapshot(rig.vs),
						    .fdb = vswitch_fdb(rig.vs),
						    .learn = vswitch_learn_queue(rig.vs, i) } };
	struct worker_cfg worker = { .id = i, .cpu = cpu, .poll = true, .rcu = rig.rcu,
				     .pools = &rig.pools, .ops = &pipeline_ops };
	struct err err;

	assert_int_equal(pipeline_create(&pipeline, &rig.pipelines[i], &err), 0);
	worker.ctx = rig.pipelines[i];
	if (worker_start(&worker, &rig.workers[i], &err))
		fail_msg("%s", err.text);
}

static void open_port(uint16_t i)
{
	struct counter_port *p = &rig.ports[i];
	size_t bytes = N_WORKERS * sizeof(struct port_counters);

	p->dev = (struct port_dev){ .ops = i == NIC ? &nic_ops : &guest_ops, .max_frame = 1518,
				    .n_queues = 1, .queues = { &p->queue } };
	p->queue = (struct port_queue){ .dev = &p->dev };
	rig.plans[i] = (struct plan_port){ .port = i, .dev = &p->dev,
					   .counters = aligned_alloc(CACHE_LINE, bytes) };
	memset(rig.plans[i].counters, 0, bytes);
}

static void settle(void)
{
	while (!plan_settled(rig.workers, N_WORKERS)) {
		rcu_poll(rig.rcu);
		usleep(100);
	}
}

static void publish(const struct plan_move *move)
{
	struct plan_port *list[N_PORTS];
	const struct plan_set set = { rig.workers, N_WORKERS, list, N_PORTS, move };

	for (unsigned int i = 0; i < N_PORTS; i++)
		list[i] = &rig.plans[i];
	settle();
	assert_int_equal(plan_publish(&set), 0);
}

// Guest i goes to worker (first + i / by) % 2, one move a time.
static void place(unsigned int by, unsigned int first)
{
	for (unsigned int i = 0; i < N_GUESTS; i++) {
		uint8_t to = (uint8_t)((i / by + first) % N_WORKERS);
		const struct plan_move move = { rig.plans[i].owner[0], to };

		if (move.from == move.to)
			continue;
		rig.plans[i].owner[0] = to;
		publish(&move);
	}
	settle();
}

static void set_up(int receiver_cpu, int owner_cpu)
{
	struct err err;

	if (pools_create(&(struct pools_cfg){ 16383, 2 * POOLS_CACHE }, &rig.pools, &err))
		fail_msg("%s", err.text);
	rig.rcu = rcu_create();
	rig.per_second = 1;
	for (int i = 0; i < N_GUESTS; i++)
		rig.share[i] = 1;
	assert_int_equal(vswitch_create(rig.rcu, N_WORKERS, -1, &rig.vs, &err), 0);
	configure();
	start_worker(RECEIVER, receiver_cpu);
	start_worker(OWNER, owner_cpu);
	for (uint16_t i = 0; i < N_PORTS; i++)
		open_port(i);
	publish(NULL);
	settle();
}

// What is under way arrives first.
static void offer(uint64_t per_second, uint32_t share_of_first)
{
	__atomic_store_n(&rig.per_second, 1, __ATOMIC_RELEASE);
	usleep(20000);
	rig.share[0] = share_of_first;
	__atomic_store_n(&rig.per_second, per_second, __ATOMIC_RELEASE);
}

// --- measuring ---------------------------------------------------------------------------------

static uint64_t received(void)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < N_GUESTS; i++)
		sum += counter_get(&rig.ports[i].n);
	return sum;
}

static uint64_t drops(unsigned int first)
{
	uint64_t sum = 0;

	for (unsigned int i = first; i < N_GUESTS; i++)
		for (unsigned int w = 0; w < N_WORKERS; w++)
			for (int r = 0; r < DROP_N_REASONS; r++)
				sum += counter_get(&rig.plans[i].counters[w].drops[DROP_TX][r]);
	return sum;
}

static uint64_t disorder(void)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < N_GUESTS; i++)
		sum += counter_get(&rig.ports[i].n_disorder);
	return sum;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

// What a frame that arrives costs both workers together, and the receiving one, in TSC cycles.
struct cost {
	double sum, receiver;
	double per_second; // frames that arrived: the median over all samples
};

static uint64_t busy(unsigned int w)
{
	return counter_get(&worker_load(rig.workers[w])->busy_cycles);
}

// The lower quarter of many short samples, for others on these CPUs only ever add; samples in which
// a worker had no CPU say nothing.
static struct cost measure(void)
{
	double sums[SAMPLES], receiver[SAMPLES], rates[MAX_SAMPLES];
	unsigned int n = 0, n_rates = 0;

	offer(0, 1);
	usleep(50000);
	for (unsigned int i = 0; i < MAX_SAMPLES && n < SAMPLES; i++) {
		uint64_t frames = received(), worked[N_WORKERS], tsc = rte_rdtsc();

		for (unsigned int w = 0; w < N_WORKERS; w++)
			worked[w] = busy(w);
		usleep(SAMPLE_US);
		frames = received() - frames;
		rates[n_rates++] = (double)frames * (double)rte_get_tsc_hz() /
				   (double)(rte_rdtsc() - tsc);
		for (unsigned int w = 0; w < N_WORKERS; w++)
			worked[w] = busy(w) - worked[w];
		if (frames < MIN_FRAMES)
			continue;
		receiver[n] = (double)worked[RECEIVER] / (double)frames;
		sums[n++] = (double)(worked[RECEIVER] + worked[OWNER]) / (double)frames;
	}
	offer(1, 1);
	if (!n)
		fail_msg("the workers have no CPU");
	qsort(sums, n, sizeof(sums[0]), compare);
	qsort(rates, n_rates, sizeof(rates[0]), compare);
	qsort(receiver, n, sizeof(receiver[0]), compare);
	return (struct cost){ sums[n / 4], receiver[n / 4], rates[n_rates / 2] };
}

static void measure_handover(void)
{
	struct cost local, crossed;

	place(N_GUESTS, RECEIVER);
	local = measure();
	place(N_GUESTS, OWNER);
	crossed = measure();
	printf("{\"name\": \"handover\", \"batch\": %d, \"local\": %.1f, \"crossed\": %.1f, "
	       "\"handover\": %.1f, \"receiver\": %.1f, \"owner\": %.1f}\n",
	       PORT_BATCH, local.sum, crossed.sum, crossed.sum - local.sum,
	       crossed.receiver - local.sum, crossed.sum - crossed.receiver);
}

static void measure_fair(double capacity)
{
	uint64_t hog, others, base = (uint64_t)(capacity * 0.6);

	offer(base, 1);
	usleep(1000000);
	others = drops(1);
	hog = drops(0) - others;
	offer(base * (N_GUESTS - 1 + HOG_SHARE) / N_GUESTS, HOG_SHARE);
	usleep(3000000);
	offer(1, 1);
	usleep(50000);
	hog = drops(0) - drops(1) - hog;
	printf("{\"name\": \"fair\", \"capacity_mpps\": %.2f, \"hog_drops\": %lu, "
	       "\"others_drops\": %lu, \"missed_by_nic\": %lu}\n", capacity / 1e6, hog,
	       drops(1) - others, counter_get(&rig.missed));
}

static void measure_move(double capacity)
{
	uint64_t lost = drops(0), wrong = disorder(), tsc = rte_rdtsc(), frames = received();
	double ms;

	offer((uint64_t)(capacity * 0.6), 1);
	for (unsigned int i = 0; i < MOVES; i++) {
		struct plan_port *p = &rig.plans[i % N_GUESTS];
		const struct plan_move move = { p->owner[0], !p->owner[0] };

		p->owner[0] = move.to;
		publish(&move);
	}
	settle();
	ms = (double)(rte_rdtsc() - tsc) * 1e3 / (double)rte_get_tsc_hz();
	offer(1, 1);
	usleep(50000);
	printf("{\"name\": \"move\", \"moves\": %d, \"ms\": %.0f, \"frames\": %lu, \"lost\": %lu, "
	       "\"reordered\": %lu}\n",
	       MOVES, ms, received() - frames, drops(0) - lost, disorder() - wrong);
}

int main(int argc, char **argv)
{
	char *eal[] = { "test", "--no-huge", "--no-shconf",    "--no-pci",
			"-m",   "96",        "--no-telemetry", NULL };
	double capacity;

	if (rte_eal_init(ARRAY_SIZE(eal) - 1, eal) < 0)
		return 1;
	set_up(argc > 2 ? atoi(argv[1]) : 0, argc > 2 ? atoi(argv[2]) : 1);
	measure_handover();
	place(N_GUESTS / 2, OWNER); // the hog is across
	capacity = measure().per_second;
	measure_fair(capacity);
	measure_move(capacity);
	worker_stop_all(rig.workers, N_WORKERS);
	return 0;
}
