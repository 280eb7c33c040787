// SPDX-License-Identifier: Apache-2.0
#include "netvsp/test_switch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

struct sw sw;

const char *sw_path(void)
{
	static char text[40];

	snprintf(text, sizeof(text), "@weft-test-nic-%d", getpid());
	return text;
}

static void on_event(void *arg, const char *nic, enum netvsp_event event, const char *text)
{
	size_t n = strlen(sw.events);

	if (n + 1 < sizeof(sw.events))
		sw.events[n] = "ADFR"[event];
}

void sw_open_port(uint16_t n_queues)
{
	struct port_cfg cfg = sw.more;
	struct err err = {};

	cfg.name = "web0";
	cfg.mtu = 1500;
	cfg.n_queues = n_queues;
	cfg.pools = &sw.pools;
	if (port_netvsp.open(&cfg, &sw.dev, &err) < 0)
		fail_msg("%s", err.text);
}

void sw_close_port(void)
{
	port_netvsp.close(sw.dev);
	sw.dev = NULL;
}

void sw_start(uint16_t n_queues)
{
	struct netvsp_service_cfg cfg = { .rcu = sw.rcu, .path = sw_path(), .listen_fd = -1,
					  .instance = ++sw.instance, .event = on_event };
	struct err err = {};

	if (netvsp_service_create(&cfg, &sw.service, &err) < 0)
		fail_msg("%s", err.text);
	sw_open_port(n_queues);
}

void sw_create(uint16_t n_queues)
{
	sw = (struct sw){ .rcu = rcu_create() };
	sw.pools.small = test_pool_create(1024, TEST_SMALL_ROOM);
	sw_start(n_queues);
}

void sw_free_got(void)
{
	while (sw.n_got)
		rte_pktmbuf_free(sw.got[--sw.n_got]);
}

void sw_stop(void)
{
	if (sw.dev)
		sw_close_port();
	sw_run();
	netvsp_service_destroy(sw.service);
	sw.service = NULL;
}

void sw_destroy(void)
{
	sw_free_got();
	sw_stop();
	rcu_destroy(sw.rcu);
	test_pool_destroy(sw.pools.small);
}

void sw_run(void)
{
	for (int i = 0; i < 8; i++) {
		netvsp_service_run(sw.service);
		rcu_poll(sw.rcu);
	}
}

void sw_work(void)
{
	if (sw.threaded) {
		usleep(100);
	} else if (!sw.worker_stuck) {
		rcu_reader_online(sw.rcu, 0);
		for (uint16_t i = 0; sw.dev && i < sw.dev->n_queues; i++)
			if (sw.n_got + PORT_BATCH <= ARRAY_SIZE(sw.got))
				sw.n_got += sw.dev->ops->rx(sw.dev->queues[i], sw.got + sw.n_got,
							    PORT_BATCH);
		rcu_reader_offline(sw.rcu, 0);
	}
	sw_run();
}

uint16_t sw_transmit(uint16_t queue, uint32_t mark)
{
	const struct test_frame frame = { .payload_bytes = 60 };
	struct rte_mbuf *m = test_frame_build(sw.pools.small, &frame);
	uint16_t sent;

	store_u32(rte_pktmbuf_mtod(m, uint8_t *) + SW_MARK_AT, mark);
	sent = sw.dev->ops->tx(sw.dev->queues[queue], &m, 1);
	if (!sent)
		rte_pktmbuf_free(m);
	return sent;
}

static void info_of(void *arg, const struct netvsp_nic_info *info)
{
	*(struct netvsp_nic_info *)arg = *info;
}

struct netvsp_nic_info sw_info(void)
{
	struct netvsp_nic_info info = {};

	netvsp_nic_list(info_of, &info);
	return info;
}
