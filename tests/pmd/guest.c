// SPDX-License-Identifier: Apache-2.0
#include "tests/pmd/guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "net/csum.h"

#define READY_SPARE 1024 // mbufs beyond those that queues may hold
#define READY_CACHE 256
#define ATTACH_S 30      // to wait for the switch
#define RECEIVE_BURSTS 8 // of one queue in its turn

static const char *vhost_device(uint32_t number, char name[32])
{
	snprintf(name, 32, "net_virtio_user%u", number);
	return name;
}

// A step through n flows that visits each once and goes far from its neighbours.
static uint32_t step_through(uint32_t n)
{
	uint32_t step = (uint32_t)((uint64_t)n * 618 / 1000);

	for (;; step++) {
		uint32_t a = n, b = step;

		while (b) {
			uint32_t rest = a % b;

			a = b;
			b = rest;
		}
		if (a == 1)
			return step;
	}
}

static int plug(struct guest *g, struct err *err)
{
	int ret = nic_plug(&g->nic, err);

	ret = ret ?: port_probe(&g->port, &g->nic, &g->cfg.port, err);
	if (!ret)
		g->n_plugged++;
	return ret;
}

int guest_open(struct guest *g, const struct guest_cfg *cfg, uint32_t number, struct err *err)
{
	char name[32];
	int ret;

	*g = (struct guest){ .cfg = *cfg, .is_vhost = strncmp(cfg->name, "vhost:", 6) == 0,
			     .random = number + 1, .nic.number = number };
	g->numbers = calloc(cfg->n_flows, sizeof(*g->numbers));
	if (!g->numbers)
		return err_set(err, ENOMEM, "no memory for %u flows", cfg->n_flows);
	g->order_step = step_through(cfg->n_flows / cfg->n_queues);
	if (g->is_vhost) {
		ret = port_setup(&g->port, vhost_device(number, name), &cfg->port, err);
	} else {
		ret = nic_attach(&g->nic, &cfg->nic, ATTACH_S, err);
		ret = ret ?: plug(g, err);
	}
	g->cfg.frames.src = g->port.mac;
	return ret;
}

void guest_close(struct guest *g)
{
	struct err err;

	for (uint32_t q = 0; q < g->cfg.n_queues; q++) {
		struct guest_backlog *b = &g->queues[q].backlog;

		rte_pktmbuf_free_bulk(b->frames + b->first, b->n);
	}
	// A driver without a switch waits a minute for an answer.
	if (g->port.open && (g->is_vhost || nic_events(&g->nic).attached))
		port_close(&g->port, &err);
	if (!g->is_vhost) {
		uio_del(&g->nic.uio);
		nic_detach(&g->nic);
	}
	for (uint32_t i = 0; i < GUEST_MAX_SENDERS; i++)
		ledger_fini(&g->ledgers[i]);
	free(g->numbers);
}

int guest_reopen(struct guest *g, struct err *err)
{
	int ret = port_close(&g->port, err);

	ret = ret ?: nic_unplug(&g->nic, err);
	return ret ?: plug(g, err);
}

void guest_leave(struct guest *g)
{
	g->away = true;
	g->port.open = false;
	nic_abandon(&g->nic);
	nic_detach(&g->nic);
}

int guest_return(struct guest *g, struct err *err)
{
	const struct nic_cfg cfg = g->nic.cfg;
	int ret = nic_attach(&g->nic, &cfg, 1, err);

	if (ret) {
		nic_detach(&g->nic);
		return ret;
	}
	ret = plug(g, err);
	g->away = ret != 0;
	g->cfg.frames.src = g->port.mac;
	return ret;
}

static void write_ready(struct rte_mempool *, void *arg, void *object, unsigned int)
{
	const struct guest *g = arg;
	struct frame_place place = { 0 };

	frame_write(&g->cfg.frames, &place, g->cfg.min_bytes,
		    (uint8_t *)((struct rte_mbuf *)object)->buf_addr + RTE_PKTMBUF_HEADROOM);
}

int guest_prepare(struct guest *g, struct err *err)
{
	uint32_t n = g->cfg.n_queues * (g->cfg.port.n_descriptors + GUEST_BURST) + READY_SPARE;
	char name[32];

	if (!g->cfg.lean)
		return 0;
	snprintf(name, sizeof(name), "ready%u", g->nic.number);
	g->ready = rte_pktmbuf_pool_create(name, n, READY_CACHE, 0,
					   rte_pktmbuf_data_room_size(g->cfg.port.pool), 0);
	if (!g->ready)
		return err_set(err, ENOMEM, "no memory for %u frames", n);
	rte_mempool_obj_iter(g->ready, write_ready, g);
	return 0;
}

// --- sending -----------------------------------------------------------------------------------

static struct rte_mbuf *from_pool(struct guest *g)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(g->cfg.port.pool);

	g->counters.no_mbuf += m == NULL;
	return m;
}

// Bytes of a frame that one mbuf takes.
static uint32_t mbuf_room(const struct guest *g)
{
	return rte_pktmbuf_data_room_size(g->cfg.port.pool) - (uint32_t)RTE_PKTMBUF_HEADROOM;
}

// A chain of cfg.chain mbufs or as many as are needed, with frame[bytes] in it; NULL: none free.
static struct rte_mbuf *chain(struct guest *g, const uint8_t *frame, uint32_t bytes)
{
	struct rte_mbuf *head = NULL;
	uint32_t piece = RTE_MIN((bytes + g->cfg.chain - 1) / g->cfg.chain, mbuf_room(g));

	// Headers stay in one piece: the driver reads them.
	piece = RTE_MAX(piece, frame_header_bytes(&g->cfg.frames));
	for (uint32_t at = 0; at < bytes; at += piece) {
		uint16_t n = (uint16_t)RTE_MIN(piece, bytes - at);
		struct rte_mbuf *m = from_pool(g);

		if (!m) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		memcpy(rte_pktmbuf_append(m, n), frame + at, n);
		if (!head)
			head = m;
		else
			rte_pktmbuf_chain(head, m);
	}
	return head;
}

static void request_offloads(const struct guest *g, struct rte_mbuf *m)
{
	const struct frame_cfg *f = &g->cfg.frames;

	if (f->offload_csum) {
		m->l2_len = sizeof(struct eth_header);
		m->l3_len = f->ipv6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header);
		m->ol_flags |= f->ipv6 ? RTE_MBUF_F_TX_IPV6 :
					 RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
		m->ol_flags |= f->tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	}
	if (g->cfg.mss) {
		m->l4_len = sizeof(struct tcp_header);
		m->tso_segsz = g->cfg.mss;
		m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	}
	if (g->cfg.vlan) {
		m->vlan_tci = g->cfg.vlan;
		m->ol_flags |= RTE_MBUF_F_TX_VLAN;
	}
}

static uint32_t pick_bytes(struct guest *g)
{
	uint32_t spread = g->cfg.max_bytes - g->cfg.min_bytes + 1;

	g->random = g->random * 1664525 + 1013904223;
	return g->cfg.min_bytes + (uint32_t)((uint64_t)g->random * spread >> 32);
}

// The flow whose turn it is in a queue.
static uint32_t next_flow(struct guest *g, uint32_t queue)
{
	struct guest_queue *q = &g->queues[queue];
	uint32_t n = g->cfg.n_flows / g->cfg.n_queues;
	uint32_t flow = q->turn * g->cfg.n_queues + queue;

	q->turn = q->turn + g->order_step < n ? q->turn + g->order_step :
						q->turn + g->order_step - n;
	return flow;
}

// Fills the backlog with n frames that were made before: only their flow is new.
static void take_ready(struct guest *g, uint32_t queue, uint32_t n)
{
	struct guest_backlog *b = &g->queues[queue].backlog;

	if (rte_pktmbuf_alloc_bulk(g->ready, b->frames, n)) {
		g->counters.no_mbuf++;
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = b->frames[i];

		m->data_len = (uint16_t)g->cfg.min_bytes;
		m->pkt_len = g->cfg.min_bytes;
		frame_set_flow(rte_pktmbuf_mtod(m, uint8_t *), next_flow(g, queue));
	}
	g->counters.sent_bytes += (uint64_t)n * g->cfg.min_bytes;
	b->n = n;
}

// The next frame of a queue, or NULL without mbufs.
static struct rte_mbuf *make_frame(struct guest *g, uint32_t queue)
{
	static uint8_t scratch[FRAME_MAX_BYTES];
	uint32_t bytes = pick_bytes(g), flow = next_flow(g, queue);
	struct frame_place place = { flow, g->numbers[flow], (uint8_t)queue };
	struct rte_mbuf *m;

	if (g->cfg.chain == 1 && bytes <= mbuf_room(g)) {
		m = from_pool(g);
		if (!m)
			return NULL;
		frame_write(&g->cfg.frames, &place, bytes,
			    (uint8_t *)rte_pktmbuf_append(m, (uint16_t)bytes));
	} else {
		frame_write(&g->cfg.frames, &place, bytes, scratch);
		m = chain(g, scratch, bytes);
		if (!m)
			return NULL;
	}
	request_offloads(g, m);
	g->numbers[flow] += g->cfg.frames.tcp ? bytes - frame_header_bytes(&g->cfg.frames) : 1;
	return m;
}

static void make_frames(struct guest *g, uint32_t queue, uint32_t n)
{
	struct guest_backlog *b = &g->queues[queue].backlog;

	while (b->n < n) {
		struct rte_mbuf *m = make_frame(g, queue);

		if (!m)
			break;
		g->counters.sent_bytes += m->pkt_len;
		b->frames[b->n++] = m;
	}
}

// How many frames the limits let out now.
static uint32_t allowed(struct guest *g)
{
	uint64_t n = GUEST_BURST, now;

	if (g->cfg.count)
		n = RTE_MIN(n, g->cfg.count - g->counters.sent);
	if (!g->cfg.rate)
		return (uint32_t)n;
	now = rte_rdtsc();
	// Who falls behind by 10 ms does not catch up.
	if (!g->rate_from_tsc || g->rate_from_tsc + g->rate_sent * rte_get_tsc_hz() / g->cfg.rate +
						 rte_get_tsc_hz() / 100 <
					 now) {
		g->rate_from_tsc = now;
		g->rate_sent = 0;
	}
	return (uint32_t)RTE_MIN(n, (now - g->rate_from_tsc) * g->cfg.rate / rte_get_tsc_hz() -
					    g->rate_sent);
}

uint32_t guest_flush(struct guest *g, uint32_t queue)
{
	struct guest_backlog *b = &g->queues[queue].backlog;
	uint16_t n;

	if (!b->n)
		return 0;
	n = rte_eth_tx_burst(g->port.id, (uint16_t)queue, b->frames + b->first, (uint16_t)b->n);
	b->first += n;
	b->n -= n;
	g->queues[queue].n_sent += n;
	return b->n;
}

uint32_t guest_send(struct guest *g, uint32_t queue)
{
	struct guest_backlog *b = &g->queues[queue].backlog;
	uint64_t before = g->queues[queue].n_sent;
	uint32_t n;

	if (!b->n) {
		n = allowed(g);
		b->first = 0;
		if (g->ready)
			take_ready(g, queue, n);
		else
			make_frames(g, queue, n);
		g->counters.sent += b->n;
		g->rate_sent += b->n;
	}
	guest_flush(g, queue);
	return (uint32_t)(g->queues[queue].n_sent - before);
}

bool guest_is_done(const struct guest *g)
{
	return !g->cfg.sends || (g->cfg.count && g->counters.sent >= g->cfg.count);
}

// --- receiving ---------------------------------------------------------------------------------

// Into the books of its sender.
static void enter(struct guest *g, const struct frame_seen *seen)
{
	struct ledger *ledger = &g->ledgers[seen->sender];

	if (unlikely(!ledger->n_flows) && ledger_init(ledger, FRAME_MAX_FLOWS))
		return;
	if (unlikely(seen->place.flow >= ledger->n_flows))
		g->counters.corrupt++;
	else if (seen->tcp)
		ledger_stream(ledger, seen->place.flow, seen->place.number, seen->payload);
	else
		ledger_frame(ledger, seen->place.flow, seen->place.number);
}

// Is it to us? What a switch floods is not.
static bool is_ours(const struct guest *g, const struct rte_mbuf *m)
{
	const struct eth_header *eth = rte_pktmbuf_mtod(m, const struct eth_header *);

	return g->cfg.frames.n_macs > 1 || memcmp(&eth->dst, &g->port.mac, sizeof(eth->dst)) == 0;
}

static void look_at(struct guest *g, const struct rte_mbuf *m)
{
	struct frame_claims claims = {
		.ip_good = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD,
		.l4_good = (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) ==
			   RTE_MBUF_F_RX_L4_CKSUM_GOOD,
		.check_fill = g->cfg.frames.fill,
	};
	struct frame_seen seen;
	enum frame_verdict verdict = FRAME_CORRUPT;

	if (!is_ours(g, m)) {
		g->counters.foreign++;
		return;
	}
	g->counters.ip_good += claims.ip_good;
	g->counters.l4_good += claims.l4_good;
	if (m->data_len == m->pkt_len) // the switch delivers in one piece
		verdict = frame_check(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, claims,
				      &seen);
	switch (verdict) {
	case FRAME_OURS: enter(g, &seen); break;
	case FRAME_FOREIGN: g->counters.foreign++; return;
	case FRAME_CORRUPT: g->counters.corrupt++; break;
	case FRAME_BAD_CSUM: g->counters.bad_csum++; break;
	}
	if (g->cfg.vlan && (!(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) ||
			    (m->vlan_tci & 0xfff) != g->cfg.vlan))
		g->counters.bad_vlan++;
}

// Makes the answer of an ICMP echo request, RFC 792; other frames stay as they are.
static void answer_ping(uint8_t *frame, uint32_t bytes)
{
	struct ipv4_header *ip = (struct ipv4_header *)(frame + sizeof(struct eth_header));
	struct icmp_header *icmp = (struct icmp_header *)(ip + 1);
	be32 asker = ip->src;

	if (bytes < sizeof(struct eth_header) + sizeof(*ip) + sizeof(*icmp) ||
	    be16_to_cpu(((struct eth_header *)frame)->type) != ETH_TYPE_IPV4 ||
	    ip->version_ihl != 0x45 || ip->proto != IP_PROTO_ICMP || icmp->type != 8)
		return;
	ip->src = ip->dst;
	ip->dst = asker;
	icmp->type = 0;
	icmp->csum = csum_update16(icmp->csum, cpu_to_be16(8 << 8), cpu_to_be16(0));
}

// Sends frames back, those to groups not. The backlog is empty.
static void echo(struct guest *g, uint32_t queue, struct rte_mbuf **pkts, uint32_t n)
{
	struct guest_backlog *b = &g->queues[queue].backlog;

	b->first = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct eth_header *eth = rte_pktmbuf_mtod(pkts[i], struct eth_header *);

		if (mac_is_group(eth->dst)) {
			rte_pktmbuf_free(pkts[i]);
			continue;
		}
		eth->dst = eth->src;
		eth->src = g->port.mac;
		answer_ping((uint8_t *)eth, pkts[i]->data_len);
		pkts[i]->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
		b->frames[b->n++] = pkts[i];
		g->counters.sent_bytes += pkts[i]->pkt_len;
	}
	g->counters.sent += b->n;
	guest_flush(g, queue);
}

static void note_pause(struct guest *g, bool busy)
{
	uint64_t now = rte_rdtsc();

	if (busy && g->last_received_tsc && now - g->last_received_tsc > g->longest_pause_tsc)
		g->longest_pause_tsc = now - g->last_received_tsc;
	g->last_received_tsc = now;
}

static uint32_t receive_burst(struct guest *g, uint32_t queue)
{
	struct rte_mbuf *pkts[GUEST_BURST];
	uint32_t n = rte_eth_rx_burst(g->port.id, (uint16_t)queue, pkts, GUEST_BURST);

	g->queues[queue].n_received += n;
	g->counters.received += n;
	for (uint32_t i = 0; i < n; i++)
		g->counters.received_bytes += pkts[i]->pkt_len;
	if (g->cfg.echoes) {
		echo(g, queue, pkts, n);
		return n;
	}
	for (uint32_t i = 0; i < n && !g->cfg.lean; i++)
		look_at(g, pkts[i]);
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

uint32_t guest_receive(struct guest *g, uint32_t queue, bool busy)
{
	uint32_t total = 0, n = GUEST_BURST;

	// More than a sender's burst: hashes are not spread evenly.
	for (int i = 0; n == GUEST_BURST && i < RECEIVE_BURSTS; i++) {
		if (g->cfg.echoes && guest_flush(g, queue))
			break;
		n = receive_burst(g, queue);
		total += n;
	}
	if (total)
		note_pause(g, busy);
	return total;
}
