// SPDX-License-Identifier: Apache-2.0
// A NIC whose queues belong to a thread of their own, which receives, transmits and sleeps without
// pause, while control opens, closes, pauses, restarts and removes everything under it. Run under
// ThreadSanitizer.
#include "netvsp/test_nic_rig.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/counter.h"

#define ROUNDS 10
#define PATIENCE 20000 // turns

static struct worker {
	pthread_t thread;
	bool stop;      // control: w, worker: r; as the next
	uint32_t sends; // frames it shall still give to the guest
	uint64_t n_received, n_sent, n_sleeps; // worker: w, control: r
} worker;

static void receive(struct port_queue *q)
{
	struct rte_mbuf *pkts[PORT_BATCH];
	uint16_t n = port_netvsp.rx(q, pkts, PORT_BATCH);

	counter_add(&worker.n_received, n);
	rte_pktmbuf_free_bulk(pkts, n);
}

static void send_one(struct port_queue *q)
{
	const struct test_frame frame = { .payload_bytes = 60 };
	struct rte_mbuf *m = test_frame_build(sw.pools.small, &frame);
	uint16_t queue;

	port_netvsp.select(q->dev, &m, 1, &queue);
	assert_true(queue < q->dev->n_queues);
	if (queue == q->index && port_netvsp.tx(q, &m, 1) == 1)
		counter_add(&worker.n_sent, 1);
	else
		rte_pktmbuf_free(m);
}

static void sleep_once(struct port_dev *dev)
{
	struct pollfd bells[2];
	bool work = false;

	for (int i = 0; i < 2; i++) {
		bells[i] = (struct pollfd){ port_netvsp.doorbell(dev->queues[i]), POLLIN, 0 };
		work |= port_netvsp.arm(dev->queues[i], true);
	}
	if (!work) {
		rcu_reader_offline(sw.rcu, 0);
		poll(bells, 2, 1);
		rcu_reader_online(sw.rcu, 0);
		counter_add(&worker.n_sleeps, 1);
	}
	for (int i = 0; i < 2; i++)
		port_netvsp.arm(dev->queues[i], false);
}

static void *run(void *arg)
{
	struct port_dev *dev = arg;

	rcu_reader_online(sw.rcu, 0);
	for (uint32_t n = 0; !__atomic_load_n(&worker.stop, __ATOMIC_ACQUIRE); n++) {
		rcu_quiescent(sw.rcu, 0);
		for (int i = 0; i < 2; i++) {
			receive(dev->queues[i]);
			if (__atomic_load_n(&worker.sends, __ATOMIC_RELAXED))
				send_one(dev->queues[i]);
		}
		if (n % 16 == 15)
			sleep_once(dev);
	}
	rcu_reader_offline(sw.rcu, 0);
	return NULL;
}

static void worker_start(void)
{
	worker = (struct worker){};
	assert_int_equal(pthread_create(&worker.thread, NULL, run, sw.dev), 0);
	sw.threaded = true;
}

static void worker_stop(void)
{
	__atomic_store_n(&worker.stop, true, __ATOMIC_RELEASE);
	pthread_join(worker.thread, NULL);
	sw.threaded = false;
}

// Both ways under way, until some more have come through.
static void expect_traffic(void)
{
	uint64_t received = counter_get(&worker.n_received);
	uint32_t sent = 0;

	__atomic_store_n(&worker.sends, 1, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < 20; i++)
		driver_send(&driver, 0, i);
	for (uint32_t i = 0; i < PATIENCE; i++) {
		sw_run();
		vmm_listen(&vmm);
		if (driver_receive(&driver, 0) >= 0)
			sent++;
		if (sent >= 20 && counter_get(&worker.n_received) >= received + 20)
			break;
	}
	assert_true(sent >= 20);
	assert_true(counter_get(&worker.n_received) >= received + 20);
}

static void set_target(unsigned int i)
{
	struct vmbus_user_set_target m = {
		.target = { .mode = cpu_to_le32(1 + i % 2), .flag = cpu_to_le32(7),
			    .gpa = cpu_to_le64(VMM_RAM_GPA + 256ull * (i % 8)) },
	};

	assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_TARGET, &m, sizeof(m), &vmm.irq_fds[i % 4],
				 1), 0);
}

// The receive buffer may be full of frames, the ring full of data: its driver is gone.
static void begin_again(void)
{
	__atomic_store_n(&worker.sends, 0, __ATOMIC_RELAXED);
	assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_RESET), 0);
	memset(vmm.ram, 0, VMM_RAM_BYTES);
	assert_int_equal(vmm_gpadl(&vmm, VMM_RINGS_GPADL, 0, VMM_RINGS_PAGE(0), VMM_RING_PAGES), 0);
	assert_int_equal(vmm_open(&vmm, 0, false, VMBUS_USER_NO_MONITOR), 0);
	driver_open(&driver, &vmm, 0);
	driver_start(&driver);
}

static void control_does_what_it_likes(void **state)
{
	worker_start();
	nic_bring_up();
	for (unsigned int round = 0; round < ROUNDS; round++) {
		expect_traffic();
		for (unsigned int i = 0; i < 4; i++)
			set_target(round + i);
		assert_int_equal(vmm_region(&vmm, 7, 1ull << 40, 4096), 0);
		assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_PAUSE), 0);
		assert_int_equal(vmm_ask_plain(&vmm, VMBUS_USER_TYPE_RESUME), 0);
		expect_traffic();
		struct vmbus_user_region_del del = { .region = cpu_to_le32(7) };
		assert_int_equal(vmm_ask(&vmm, VMBUS_USER_TYPE_REGION_DEL, &del, sizeof(del), NULL,
					 0), 0);
		begin_again();
	}
	__atomic_store_n(&worker.sends, 0, __ATOMIC_RELAXED);
	worker_stop();
	assert_true(counter_get(&worker.n_sleeps) > 0);
}

static void guests_come_and_go(void **state)
{
	worker_start();
	for (unsigned int round = 0; round < ROUNDS; round++) {
		vmm_destroy(&vmm);
		sw_run();
		for (int i = 0; sw_info().attached && i < PATIENCE; i++)
			sw_run();
		vmm_create(&vmm, true);
		nic_bring_up();
		expect_traffic();
	}
	__atomic_store_n(&worker.sends, 0, __ATOMIC_RELAXED);
	worker_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(control_does_what_it_likes),
		TEST(guests_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
