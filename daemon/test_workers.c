// SPDX-License-Identifier: Apache-2.0
// Two real workers under a real switch, fed through pair ports: frames that cross from one worker
// to the other, plans and configurations that change under traffic, sleep and wake-up. Runs under
// ThreadSanitizer; needs EAL for the workers' lcore ids, without huge pages.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include <rte_cycles.h>
#include <rte_eal.h>

#include "daemon/plans.h"
#include "net/test_util.h"
#include "vswitch/vswitch.h"

#define N_PORTS 4
#define N_WORKERS 2
#define COUNTERS_BYTES (N_WORKERS * sizeof(struct port_counters))
#define MOVES 100       // of a queue, under load
#define PATIENCE 20000 // rounds of a millisecond before a wait fails

struct rig {
	struct port_pools pools;
	struct rcu *rcu;
	struct vswitch *vs;
	struct pipeline *pipelines[N_WORKERS];
	struct worker *workers[N_WORKERS];
	struct port_dev *peers[N_PORTS]; // our ends
	struct plan_port ports[N_PORTS];
	uint64_t sent, received;
	bool poll; // workers never sleep
};

static struct rig rig;

// --- set-up ------------------------------------------------------------------------------------

static void configure(bool flood)
{
	struct sw_switch_cfg sw = { .flood_unknown = flood, .ageing_s = 300 };
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
						 .max_macs = 10,
						 .miss_budget = 1000000 };
	assert_int_equal(vswitch_prepare(rig.vs, &cfg, &plan, &err), 0);
	vswitch_publish(rig.vs, plan);
}

static void wait_for_grace(void)
{
	for (int i = 0; i < PATIENCE && rcu_poll(rig.rcu); i++)
		usleep(100);
}

static void publish(struct plan_port *const *list, unsigned int n, const struct plan_move *move)
{
	const struct plan_set set = { rig.workers, N_WORKERS, list, n, move };

	assert_int_equal(plan_publish(&set), 0);
}

static void place(unsigned int shift)
{
	struct plan_port *list[N_PORTS];

	for (unsigned int i = 0; i < N_PORTS; i++) {
		list[i] = &rig.ports[i];
		rig.ports[i].owner[0] = (uint8_t)((i + shift) % N_WORKERS);
	}
	publish(list, N_PORTS, NULL);
	wait_for_grace();
}

static struct port_dev *open_pair(unsigned int i)
{
	char peer[8];
	struct port_cfg cfg = {
		.name = "t", .mtu = 1500, .n_queues = 1, .peer = peer, .pools = &rig.pools
	};
	struct port_dev *dev;
	struct err err;

	snprintf(peer, sizeof(peer), "p%u", i);
	if (port_kind_find("pair")->open(&cfg, &dev, &err))
		fail_msg("%s", err.text);
	return dev;
}

static void start_worker(unsigned int i)
{
	struct pipeline_cfg pipeline = { .cache = { .entries = 4096,
						    .tsc_hz = rte_get_tsc_hz(),
						    .snapshot = vswitch_snapshot(rig.vs),
						    .fdb = vswitch_fdb(rig.vs),
						    .learn = vswitch_learn_queue(rig.vs, i) } };
	struct worker_cfg worker = { .id = i,
				     .cpu = -1,
				     .poll = rig.poll,
				     .rcu = rig.rcu,
				     .pools = &rig.pools,
				     .ops = &pipeline_ops };
	struct err err;

	assert_int_equal(pipeline_create(&pipeline, &rig.pipelines[i], &err), 0);
	worker.ctx = rig.pipelines[i];
	if (worker_start(&worker, &rig.workers[i], &err))
		fail_msg("%s", err.text);
}

static int set_up(void **state)
{
	struct err err;

	rig.pools.small = test_pool_create(8192, TEST_SMALL_ROOM);
	rig.pools.large = rig.pools.small;
	rig.rcu = rcu_create();
	assert_int_equal(vswitch_create(rig.rcu, N_WORKERS, -1, &rig.vs, &err), 0);
	configure(true);
	for (unsigned int i = 0; i < N_WORKERS; i++)
		start_worker(i);
	for (unsigned int i = 0; i < N_PORTS; i++) {
		rig.ports[i].port = (uint16_t)i;
		rig.ports[i].dev = open_pair(i);
		rig.peers[i] = open_pair(i);
		rig.ports[i].counters = aligned_alloc(CACHE_LINE, COUNTERS_BYTES);
		memset(rig.ports[i].counters, 0, COUNTERS_BYTES);
	}
	place(0);
	return 0;
}

static int tear_down(void **state)
{
	worker_stop_all(rig.workers, N_WORKERS);
	for (unsigned int i = 0; i < N_PORTS; i++) {
		rig.peers[i]->ops->close(rig.peers[i]);
		rig.ports[i].dev->ops->close((struct port_dev *)rig.ports[i].dev);
		free(rig.ports[i].counters);
	}
	for (unsigned int i = 0; i < N_WORKERS; i++)
		pipeline_destroy(rig.pipelines[i]);
	rcu_destroy(rig.rcu);
	vswitch_destroy(rig.vs);
	test_pool_destroy(rig.pools.small);
	return 0;
}

// --- traffic -----------------------------------------------------------------------------------

// Frame number `seq` from port `from` to port `to`, as far as there is room.
static bool send(unsigned int from, unsigned int to, uint32_t seq)
{
	struct rte_mbuf *m =
		test_frame_build(rig.pools.small, &(struct test_frame){ .payload_bytes = 40 });
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	memcpy(p, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)to, 2, 0, 0, 0, 0, (uint8_t)from }, 12);
	store_u32(p + 42, seq);
	if (rig.peers[from]->ops->tx(rig.peers[from]->queues[0], &m, 1) == 1) {
		rig.sent++;
		return true;
	}
	rte_pktmbuf_free(m);
	return false;
}

// Takes what came out of `at`; numbers per sender must rise.
static unsigned int take(unsigned int at, uint32_t last[N_PORTS])
{
	struct rte_mbuf *pkts[PORT_BATCH];
	uint16_t n = rig.peers[at]->ops->rx(rig.peers[at]->queues[0], pkts, PORT_BATCH);

	for (uint16_t i = 0; i < n; i++) {
		const uint8_t *p = rte_pktmbuf_mtod(pkts[i], const uint8_t *);
		uint32_t seq = load_u32(p + 42);

		assert_int_equal(p[5], at);
		assert_true(seq > last[p[11]]);
		last[p[11]] = seq;
		rte_pktmbuf_free(pkts[i]);
	}
	rig.received += n;
	return n;
}

static uint64_t counted(bool drops)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < N_PORTS; i++) {
		for (unsigned int w = 0; w < N_WORKERS; w++) {
			const uint64_t *d = &rig.ports[i].counters[w].drops[0][0];

			if (!drops)
				sum += counter_get(&rig.ports[i].counters[w].rx_packets);
			for (int r = 0; drops && r < DROP_N_DIRS * DROP_N_REASONS; r++)
				sum += counter_get(&d[r]);
		}
	}
	return sum;
}

// All sent frames are either here or counted as dropped.
static void settle(uint32_t last[N_PORTS][N_PORTS])
{
	for (int i = 0; i < PATIENCE; i++) {
		for (unsigned int p = 0; p < N_PORTS; p++)
			while (take(p, last[p]))
				;
		if (rig.received + counted(true) == rig.sent)
			return;
		usleep(1000);
	}
	fail_msg("sent %lu, received %lu, dropped %lu", rig.sent, rig.received, counted(true));
}

static void order_holds_across_workers(void **state)
{
	uint32_t last[N_PORTS][N_PORTS] = { 0 };

	rig.sent = rig.received = 0;
	for (uint32_t seq = 1; seq <= 5000; seq++) {
		unsigned int from = seq % N_PORTS;

		send(from, (from + 1) % N_PORTS, seq); // the neighbour is the other worker's
		send(from, (from + 2) % N_PORTS, seq); // this one is its own
		if (seq % 64 == 0) // few enough under way that no ring can fill up
			settle(last);
	}
	settle(last);
	assert_int_equal(counted(true), 0);
	assert_int_equal(counted(false), rig.sent);
}

static void changes_under_traffic_lose_nothing_uncounted(void **state)
{
	uint32_t last[N_PORTS][N_PORTS] = { 0 };

	rig.sent = rig.received = 0;
	for (uint32_t seq = 1; seq <= 5000; seq++) {
		send(seq % N_PORTS, (seq + 1) % N_PORTS, seq);
		if (seq % 100 == 0) {
			configure(seq % 200 == 0);
			rcu_poll(rig.rcu);
		}
		for (unsigned int p = 0; seq % 16 == 0 && p < N_PORTS; p++)
			take(p, last[p]);
	}
	settle(last);
}

static void sleepers_wake_for_a_frame(void **state)
{
	uint32_t last[N_PORTS][N_PORTS] = { 0 };

	rig.sent = rig.received = 0;
	for (uint32_t seq = 1; seq <= 20; seq++) {
		uint64_t slept = counter_get(&worker_load(rig.workers[0])->sleeps);

		for (int i = 0; i < PATIENCE; i++) { // both have gone to sleep since
			if (counter_get(&worker_load(rig.workers[0])->sleeps) > slept)
				break;
			usleep(1000);
		}
		assert_true(send(0, 1, seq)); // from one sleeper's port to the other's
		settle(last);
	}
	assert_int_equal(rig.received, 20);
}

static void queues_change_owners(void **state)
{
	uint32_t last[N_PORTS][N_PORTS] = { 0 };

	rig.sent = rig.received = 0;
	for (unsigned int round = 1; round <= 50; round++) {
		for (unsigned int from = 0; from < N_PORTS; from++)
			send(from, (from + 1) % N_PORTS, round);
		settle(last);
		// Nobody owns a queue for a grace period, then its next owner does.
		publish(NULL, 0, NULL);
		wait_for_grace();
		place(round);
	}
}

// One queue goes to the other worker, as long as no move is still under way.
static bool move(unsigned int port)
{
	const struct plan_move m = { rig.ports[port].owner[0], !rig.ports[port].owner[0] };
	struct plan_port *list[N_PORTS];

	rcu_poll(rig.rcu);
	if (!plan_settled(rig.workers, N_WORKERS))
		return false;
	for (unsigned int i = 0; i < N_PORTS; i++)
		list[i] = &rig.ports[i];
	rig.ports[port].owner[0] = m.to;
	publish(list, N_PORTS, &m);
	return true;
}

// Everybody sends to everybody while queues move: nothing is lost, nothing is overtaken.
static void queues_move_under_load(void **state)
{
	uint32_t last[N_PORTS][N_PORTS] = { 0 }, seq = 0;
	unsigned int n_moves = 0;

	rig.sent = rig.received = 0;
	for (uint64_t rounds = 0; n_moves < MOVES; rounds++) {
		assert_true(rounds < 1000000ull * PATIENCE);
		// Fewer under way than a ring holds.
		if (rig.sent - rig.received < 1000) {
			seq++;
			for (unsigned int from = 0; from < N_PORTS; from++)
				for (unsigned int to = 0; to < N_PORTS; to++)
					if (from != to)
						send(from, to, seq);
		}
		for (unsigned int p = 0; p < N_PORTS; p++)
			take(p, last[p]);
		n_moves += move(n_moves % N_PORTS);
	}
	settle(last);
	assert_int_equal(counted(true), 0);
	assert_int_equal(rig.received, rig.sent);
	print_message("%u moves, %lu frames\n", n_moves, rig.sent);
}

// One queue is busy for long enough that those of the other ports grow cold.
static void cold_queues_are_not_forgotten(void **state)
{
	uint32_t last[N_PORTS][N_PORTS] = { 0 };

	rig.sent = rig.received = 0;
	for (uint32_t seq = 1; seq <= 3000; seq++) {
		send(0, 1, seq);
		settle(last);
	}
	for (unsigned int from = 1; from < N_PORTS; from++) {
		assert_true(send(from, 0, 1));
		settle(last);
	}
	assert_int_equal(counted(true), 0);
}

static int set_up_polling(void **state)
{
	rig.poll = true;
	return set_up(state);
}

static int tear_down_polling(void **state)
{
	rig.poll = false;
	return tear_down(state);
}

// --- a device that says which queue a frame takes ----------------------------------------------

#define FAN_QUEUES 2

static struct {
	struct port_dev dev;
	struct port_queue queues[FAN_QUEUES];
	uint64_t sent[FAN_QUEUES], wrong;   // a queue: its worker's
	uint32_t last[FAN_QUEUES][N_PORTS]; // by sender
} fan;

static uint32_t fan_seq(struct rte_mbuf *m)
{
	return load_u32(rte_pktmbuf_mtod(m, const uint8_t *) + 42);
}

static void fan_select(const struct port_dev *dev, struct rte_mbuf **pkts, uint16_t n,
		       uint16_t *queues)
{
	for (uint16_t i = 0; i < n; i++)
		queues[i] = fan_seq(pkts[i]) % FAN_QUEUES;
}

static uint16_t fan_rx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n) { return 0; }

static uint16_t fan_tx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		uint32_t seq = fan_seq(pkts[i]);
		uint8_t from = rte_pktmbuf_mtod(pkts[i], uint8_t *)[11] % N_PORTS;

		if (seq % FAN_QUEUES != q->index || seq <= fan.last[q->index][from])
			counter_add(&fan.wrong, 1);
		fan.last[q->index][from] = seq;
	}
	rte_pktmbuf_free_bulk(pkts, n);
	counter_add(&fan.sent[q->index], n);
	return n;
}

static int fan_doorbell(struct port_queue *q) { return -1; }

static const struct port_ops fan_ops = {
	.kind = "fan", .rx = fan_rx, .tx = fan_tx, .select = fan_select, .doorbell = fan_doorbell
};

// Each queue belongs to another worker, and both get frames for both.
static void selected_queues_get_their_frames(void **state)
{
	const struct port_dev *pair = rig.ports[3].dev;
	struct plan_port *list[N_PORTS];

	memset(&fan, 0, sizeof(fan));
	fan.dev = (struct port_dev){ .ops = &fan_ops, .max_frame = 1518, .n_queues = FAN_QUEUES };
	for (uint16_t q = 0; q < FAN_QUEUES; q++) {
		fan.queues[q] = (struct port_queue){ .dev = &fan.dev, .index = q };
		fan.dev.queues[q] = &fan.queues[q];
		rig.ports[3].owner[q] = (uint8_t)q;
	}
	rig.ports[3].dev = &fan.dev;
	for (unsigned int i = 0; i < N_PORTS; i++)
		list[i] = &rig.ports[i];
	publish(list, N_PORTS, NULL);
	wait_for_grace();
	rig.sent = 0;
	for (uint32_t seq = 1; seq <= 2000; seq++) {
		send(seq <= 1000 ? 0 : 1, 3, seq); // of either worker
		for (int i = 0; seq % 64 == 0 && i < PATIENCE; i++) {
			if (counter_get(&fan.sent[0]) + counter_get(&fan.sent[1]) == rig.sent)
				break;
			usleep(1000);
		}
	}
	for (int i = 0; i < PATIENCE && counter_get(&fan.sent[1]) < 1000; i++)
		usleep(1000);
	assert_int_equal(counter_get(&fan.sent[0]), 1000);
	assert_int_equal(counter_get(&fan.sent[1]), 1000);
	assert_int_equal(counter_get(&fan.wrong), 0);
	publish(NULL, 0, NULL);
	wait_for_grace();
	rig.ports[3].dev = pair;
}

int main(void)
{
	char *argv[] = { "test", "--no-huge", "--no-shconf",    "--no-pci",
			 "-m",   "64",        "--no-telemetry", NULL };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(order_holds_across_workers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changes_under_traffic_lose_nothing_uncounted,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(sleepers_wake_for_a_frame, set_up, tear_down),
		cmocka_unit_test_setup_teardown(queues_change_owners, set_up, tear_down),
		cmocka_unit_test_setup_teardown(queues_move_under_load, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cold_queues_are_not_forgotten, set_up_polling,
						tear_down_polling),
		cmocka_unit_test_setup_teardown(selected_queues_get_their_frames, set_up,
						tear_down),
	};

	if (rte_eal_init(ARRAY_SIZE(argv) - 1, argv) < 0) {
		print_message("EAL does not start\n");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
