// SPDX-License-Identifier: Apache-2.0
// The null port: gives nothing, takes everything. It measures the rest of the switch, and is a
// black hole with counters for tests. It claims every offload, so that no frame is touched.
#include <errno.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/port.h"

struct null_dev {
	struct port_dev dev;
	int never; // an eventfd that nobody writes: the worker may sleep for good
	struct port_queue queues[PORT_MAX_QUEUES];
};

static int null_open(const struct port_cfg *cfg, struct port_dev **out, struct err *err)
{
	struct null_dev *null = calloc(1, sizeof(*null));

	if (!null)
		return err_set(err, ENOMEM, "no memory for null port %s", cfg->name);
	null->never = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (null->never < 0) {
		free(null);
		return err_set(err, EMFILE, "no file descriptor for null port %s", cfg->name);
	}
	null->dev.ops = &port_null;
	null->dev.offloads = PORT_OFFLOAD_IP_CSUM | PORT_OFFLOAD_L4_CSUM | PORT_OFFLOAD_TSO |
			     PORT_OFFLOAD_USO | PORT_OFFLOAD_MULTI_SEG | PORT_OFFLOAD_INDIRECT;
	null->dev.max_frame = PORT_MAX_FRAME;
	null->dev.n_queues = cfg->n_queues ? RTE_MIN(cfg->n_queues, PORT_MAX_QUEUES) : 1;
	snprintf(null->dev.what, sizeof(null->dev.what), "null");
	for (uint16_t i = 0; i < null->dev.n_queues; i++) {
		null->queues[i] = (struct port_queue){ .dev = &null->dev, .index = i };
		null->dev.queues[i] = &null->queues[i];
	}
	*out = &null->dev;
	return 0;
}

static void null_close(struct port_dev *dev)
{
	struct null_dev *null = container_of(dev, struct null_dev, dev);

	close(null->never);
	free(null);
}

static uint16_t null_rx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	return 0;
}

static uint16_t null_tx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static int null_doorbell(struct port_queue *q)
{
	return container_of(q->dev, struct null_dev, dev)->never;
}

static void null_link(struct port_dev *dev, struct port_link *link)
{
	*link = (struct port_link){ .up = true };
}

const struct port_ops port_null = {
	.kind = "null",
	.open = null_open,
	.close = null_close,
	.rx = null_rx,
	.tx = null_tx,
	.doorbell = null_doorbell,
	.link = null_link,
};
