// SPDX-License-Identifier: Apache-2.0
// Capture files as a port: rx_file is played, tx_file is written (libpcap, nanosecond stamps).
// Either may be missing. A lab kind: one queue, no offloads but chains.
//
// The file is read whole when the port opens, so that a damaged one is told to whoever asked, and
// a worker only copies from memory. It is played as fast as the switch takes it, not by its
// stamps, and frames as they were captured: a snapped one is sent short.
#include <errno.h>
#include <pcap/pcap.h>
#include <rte_mbuf.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/pools.h"
#include "dataplane/port.h"
#include "dataplane/port_util.h"

#define PCAP_MAX_BYTES (1ull << 30) // of frames in rx_file; a larger file is refused
#define PCAP_SNAP_BYTES 262144      // libpcap's own largest frame

// The frames of rx_file: each a uint32_t of its length and the bytes.
struct tape {
	uint8_t *bytes;
	size_t size, room;
	uint64_t n_frames;
};

struct pcap_dev {
	struct port_dev dev;
	struct port_queue queue;
	const struct port_pools *pools;
	struct tape tape;
	size_t at;          // where in the tape the next frame is
	uint32_t loops;     // how often the tape is still to be played, this time included
	bool cut;           // rx_file ended inside a record
	atomic_bool played; // worker: w, control: r
	int doorbell;       // eventfd, readable until the tape is played
	pcap_t *tx_format;
	pcap_dumper_t *tx;
	bool tx_failed;
	uint64_t no_mbuf;   // worker: w, control: r; as tx_errors
	uint64_t tx_errors;
	uint8_t frame[PORT_MAX_FRAME]; // a chain made flat for tx_file
};

static int tape_add(struct tape *tape, const uint8_t *frame, uint32_t len)
{
	size_t need = tape->size + sizeof(len) + len;

	if (need > PCAP_MAX_BYTES)
		return -EFBIG;
	if (need > tape->room) {
		size_t room = RTE_MAX(2 * tape->room, need + PCAP_SNAP_BYTES);
		uint8_t *bytes = realloc(tape->bytes, room);

		if (!bytes)
			return -ENOMEM;
		tape->bytes = bytes;
		tape->room = room;
	}
	memcpy(tape->bytes + tape->size, &len, sizeof(len));
	memcpy(tape->bytes + tape->size + sizeof(len), frame, len);
	tape->size = need;
	tape->n_frames++;
	return 0;
}

static int filter_set(pcap_t *file, const char *filter, struct err *err)
{
	struct bpf_program program;
	int ret = 0;

	if (pcap_compile(file, &program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
		return err_set(err, EINVAL, "filter '%s': %s", filter, pcap_geterr(file));
	if (pcap_setfilter(file, &program) < 0)
		ret = err_set(err, EINVAL, "filter '%s': %s", filter, pcap_geterr(file));
	pcap_freecode(&program);
	return ret;
}

static int tape_read(struct pcap_dev *p, pcap_t *file, const char *path, struct err *err)
{
	struct pcap_pkthdr *header;
	const uint8_t *frame;
	int more, ret;

	while ((more = pcap_next_ex(file, &header, &frame)) == 1) {
		ret = tape_add(&p->tape, frame, header->caplen);
		if (ret == -EFBIG)
			return err_set(err, EFBIG, "rx_file %s: more than %llu MiB: use filter, or "
				       "split it (editcap -c)", path, PCAP_MAX_BYTES >> 20);
		if (ret < 0)
			return err_set(err, -ret, "rx_file %s: no memory", path);
	}
	p->cut = more == PCAP_ERROR;
	if (p->cut && p->tape.n_frames == 0)
		return err_set(err, EINVAL, "rx_file %s: %s", path, pcap_geterr(file));
	return 0;
}

static int rx_open(struct pcap_dev *p, const struct port_cfg *cfg, struct err *err)
{
	char text[PCAP_ERRBUF_SIZE];
	pcap_t *file = pcap_open_offline(cfg->rx_file, text);
	int type, ret = 0;

	if (!file)
		return err_set(err, access(cfg->rx_file, R_OK) < 0 ? errno : EINVAL,
			       "rx_file: %s", text);
	type = pcap_datalink(file);
	if (type != DLT_EN10MB)
		ret = err_set(err, EINVAL, "rx_file %s: holds %s, not Ethernet frames",
			      cfg->rx_file, pcap_datalink_val_to_description_or_dlt(type));
	if (ret == 0 && cfg->filter && *cfg->filter)
		ret = filter_set(file, cfg->filter, err);
	if (ret == 0)
		ret = tape_read(p, file, cfg->rx_file, err);
	pcap_close(file);
	p->loops = p->tape.size == 0 ? 0 : RTE_MAX(cfg->loops, 1u);
	return ret;
}

static int tx_open(struct pcap_dev *p, const char *path, struct err *err)
{
	p->tx_format = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, PCAP_SNAP_BYTES,
							    PCAP_TSTAMP_PRECISION_NANO);
	if (!p->tx_format)
		return err_set(err, ENOMEM, "tx_file %s: no memory", path);
	p->tx = pcap_dump_open(p->tx_format, path);
	if (!p->tx)
		return err_set(err, EIO, "tx_file: %s", pcap_geterr(p->tx_format));
	return 0;
}

static void pcap_port_close(struct port_dev *dev)
{
	struct pcap_dev *p = container_of(dev, struct pcap_dev, dev);

	if (p->tx)
		pcap_dump_close(p->tx);
	if (p->tx_format)
		pcap_close(p->tx_format);
	if (p->doorbell >= 0)
		close(p->doorbell);
	free(p->tape.bytes);
	free(p);
}

static int pcap_port_open(const struct port_cfg *cfg, struct port_dev **out, struct err *err)
{
	bool rx = cfg->rx_file && *cfg->rx_file, tx = cfg->tx_file && *cfg->tx_file;
	struct pcap_dev *p;
	int ret = 0;

	if (!rx && !tx)
		return err_set(err, EINVAL, "pcap port %s needs rx_file, tx_file or both",
			       cfg->name);
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, ENOMEM, "no memory for port %s", cfg->name);
	p->dev.ops = &port_pcap;
	p->dev.offloads = PORT_OFFLOAD_MULTI_SEG | PORT_OFFLOAD_INDIRECT;
	p->dev.max_frame = PORT_MAX_FRAME;
	p->dev.n_queues = 1;
	p->dev.queues[0] = &p->queue;
	p->queue.dev = &p->dev;
	p->pools = cfg->pools;
	p->doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (p->doorbell < 0)
		ret = err_set(err, errno, "no file descriptor for port %s", cfg->name);
	if (ret == 0 && rx)
		ret = rx_open(p, cfg, err);
	if (ret == 0 && tx)
		ret = tx_open(p, cfg->tx_file, err);
	if (ret < 0) {
		pcap_port_close(&p->dev);
		return ret;
	}
	p->played = p->loops == 0;
	if (!p->played)
		eventfd_write(p->doorbell, 1);
	snprintf(p->dev.what, sizeof(p->dev.what), "pcap %.55s -> %.55s", rx ? cfg->rx_file : "-",
		 tx ? cfg->tx_file : "-");
	*out = &p->dev;
	return 0;
}

// A frame of `len` bytes as a chain of small mbufs, or NULL if the pool is short.
static struct rte_mbuf *frame_build(struct rte_mempool *pool, const uint8_t *bytes, uint32_t len)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(pool), *m = head;

	while (m) {
		uint32_t n = RTE_MIN(len, (uint32_t)rte_pktmbuf_tailroom(m));

		memcpy(rte_pktmbuf_mtod(m, uint8_t *), bytes, n);
		m->data_len = (uint16_t)n;
		head->pkt_len += n;
		bytes += n;
		len -= n;
		if (len == 0)
			return head;
		m->next = rte_pktmbuf_alloc(pool);
		head->nb_segs += m->next != NULL;
		m = m->next;
	}
	rte_pktmbuf_free(head);
	return NULL;
}

// The tape has come to its end: back to the start, or silence.
static void tape_rewind(struct pcap_dev *p)
{
	eventfd_t count;

	p->at = 0;
	if (--p->loops > 0)
		return;
	eventfd_read(p->doorbell, &count);
	atomic_store_explicit(&p->played, true, memory_order_relaxed);
}

static uint16_t pcap_port_rx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct pcap_dev *p = container_of(q->dev, struct pcap_dev, dev);
	uint16_t got = 0;

	while (got < n && p->loops > 0) {
		const uint8_t *bytes = p->tape.bytes + p->at + sizeof(uint32_t);
		uint32_t len = load_u32(p->tape.bytes + p->at);

		pkts[got] = frame_build(p->pools->small, bytes, len);
		if (!pkts[got]) {
			counter_add(&p->no_mbuf, 1);
			break;
		}
		got++;
		p->at += sizeof(len) + len;
		if (p->at == p->tape.size)
			tape_rewind(p);
	}
	return got;
}

static uint16_t pcap_port_tx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct pcap_dev *p = container_of(q->dev, struct pcap_dev, dev);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	for (uint16_t i = 0; i < n && p->tx && !p->tx_failed; i++) {
		// The format's precision is nanoseconds: tv_usec carries them.
		const struct pcap_pkthdr header = {
			.ts = { .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec },
			.caplen = RTE_MIN(pkts[i]->pkt_len, PORT_MAX_FRAME),
			.len = pkts[i]->pkt_len,
		};
		const void *bytes = rte_pktmbuf_read(pkts[i], 0, header.caplen, p->frame);

		pcap_dump((uint8_t *)p->tx, &header, bytes);
	}
	// Written out at once: readers see whole frames, and a full disk shows here, not later.
	if (p->tx && !p->tx_failed)
		p->tx_failed = pcap_dump_flush(p->tx) < 0 || ferror(pcap_dump_file(p->tx));
	if (p->tx_failed || !p->tx)
		counter_add(&p->tx_errors, n);
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static int pcap_port_doorbell(struct port_queue *q)
{
	return container_of(q->dev, struct pcap_dev, dev)->doorbell;
}

static void pcap_port_link(struct port_dev *dev, struct port_link *link)
{
	struct pcap_dev *p = container_of(dev, struct pcap_dev, dev);

	*link = (struct port_link){ .up = true };
	if (p->tape.n_frames && atomic_load_explicit(&p->played, memory_order_relaxed))
		snprintf(link->reason, sizeof(link->reason), "played %lu frames%s",
			 p->tape.n_frames, p->cut ? "; the file is cut short" : "");
}

static void pcap_port_stats(struct port_dev *dev, struct port_dev_stats *stats)
{
	struct pcap_dev *p = container_of(dev, struct pcap_dev, dev);

	*stats = (struct port_dev_stats){
		.no_mbuf = counter_get(&p->no_mbuf),
		.tx_errors = counter_get(&p->tx_errors),
	};
}

const struct port_ops port_pcap = {
	.kind = "pcap",
	.open = pcap_port_open,
	.close = pcap_port_close,
	.rx = pcap_port_rx,
	.tx = pcap_port_tx,
	.doorbell = pcap_port_doorbell,
	.link = pcap_port_link,
	.stats = pcap_port_stats,
};
