// SPDX-License-Identifier: Apache-2.0
// A guest and a worker on two threads: whatever the guest sends comes back to it, in order and
// whole; both sleep when they can. A signal too few hangs, a barrier too few tears a frame;
// ThreadSanitizer watches as well.
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "netvsp/nvsp.h"
#include "netvsp/test_rig.h"

#define N_FRAMES 20000u
#define TIMEOUT_MS 20000

struct world {
	struct rig rig;
	int worker_bell; // the guest rings it
	bool stop;       // atomic
	// By one thread each, read after both have ended.
	uint32_t n_back, n_wrong, n_guest_slept;
	uint32_t n_worker_slept;
};

static struct world world;

// False: nobody rang. A lost wake-up shows here.
static bool wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	eventfd_t n;

	return poll(&p, 1, TIMEOUT_MS) == 1 && eventfd_read(fd, &n) == 0;
}

static uint32_t length_of(uint32_t i) { return 60 + (i * 2654435761u >> 21) % 1400; }

static void *work(void *arg)
{
	struct netvsp_channel *channel = world.rig.channel;
	struct rte_mbuf *pkts[PORT_BATCH];
	uint16_t n = 0;

	while (!__atomic_load_n(&world.stop, __ATOMIC_ACQUIRE)) {
		enum drop why;
		uint16_t sent;

		// Frames that the guest had no room for yet stay in front.
		if (n <= PORT_BATCH / 2)
			n += netvsp_channel_receive(channel, pkts + n, PORT_BATCH - n);
		else if (netvsp_channel_receive(channel, pkts + n, 0) > 0)
			abort();
		sent = netvsp_channel_transmit(channel, pkts, n, &why);
		n -= sent;
		memmove(pkts, pkts + sent, n * sizeof(*pkts));
		if (n)
			continue;
		if (!netvsp_channel_arm(channel, true)) {
			world.n_worker_slept++;
			if (!wait_for(world.worker_bell))
				break;
		}
		netvsp_channel_arm(channel, false);
	}
	rte_pktmbuf_free_bulk(pkts, n);
	return NULL;
}

// Puts frames into free send sections, as long as there are any. *id: next packet.
static void send_some(uint32_t *id, uint32_t n_completed)
{
	static uint8_t message[4096], frame[2048];

	for (; *id < N_FRAMES && *id - n_completed < RIG_N_SEND; (*id)++) {
		struct rig_frame f = { .data = frame, .bytes = length_of(*id) };
		uint32_t bytes;

		memset(frame, (int)*id, f.bytes);
		store_u32(frame + 20, *id);
		bytes = rig_rndis(message, &f);
		rig_fill_section(&world.rig, *id % RIG_N_SEND, 0, message, bytes);
		rig_send(&world.rig, *id, *id % RIG_N_SEND, bytes, NULL, 0);
	}
}

static void look_at(const struct rig_packet *packet)
{
	static uint8_t message[4096];

	for (uint32_t i = 0; i < packet->sections.n; i++, world.n_back++) {
		struct rig_received received;
		uint32_t bytes = rig_read_section(&world.rig, packet, i, message);
		const uint8_t *frame = message;

		rig_parse(message, bytes, &received);
		frame += received.offset;
		world.n_wrong += received.bytes != length_of(world.n_back) ||
				 load_u32(frame + 20) != world.n_back ||
				 frame[19] != (uint8_t)world.n_back ||
				 frame[received.bytes - 1] != (uint8_t)world.n_back;
	}
	rig_ack(&world.rig, packet->id);
}

static void *guest(void *arg)
{
	static struct rig_packet packet;
	uint32_t id = 0, n_completed = 0;

	while (world.n_back < N_FRAMES) {
		while (rig_read(&world.rig, &packet)) {
			if (packet.type == VMBUS_PACKET_COMPLETION)
				n_completed++;
			else
				look_at(&packet);
		}
		send_some(&id, n_completed);
		if (rig_kick(&world.rig))
			eventfd_write(world.worker_bell, 1);
		if (vmbus_reader_arm(&world.rig.rx)) {
			world.n_guest_slept++;
			if (!wait_for(world.rig.bell.fd))
				break;
			vmbus_reader_disarm(&world.rig.rx);
		}
	}
	__atomic_store_n(&world.stop, true, __ATOMIC_RELEASE);
	eventfd_write(world.worker_bell, 1);
	return NULL;
}

static void frames_go_round(void **state)
{
	pthread_t threads[2];

	rig_create(&world.rig, &(struct rig_cfg){ .ring_pages = 5, .n_sections = 100 });
	world.worker_bell = eventfd(0, EFD_CLOEXEC);
	pthread_create(&threads[0], NULL, work, NULL);
	pthread_create(&threads[1], NULL, guest, NULL);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	assert_int_equal(world.n_back, N_FRAMES);
	assert_int_equal(world.n_wrong, 0);
	assert_int_equal(world.rig.counters.bad_acks, 0);
	assert_int_equal(world.rig.counters.rx_bad, 0);
	print_message("guest slept %u times, worker %u\n", world.n_guest_slept,
		      world.n_worker_slept);
	assert_true(world.n_guest_slept + world.n_worker_slept > 0);
	close(world.worker_bell);
	rig_destroy(&world.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
