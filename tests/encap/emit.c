// SPDX-License-Identifier: Apache-2.0
// Encapsulates frames as told and writes them to a capture file, for tests/encap/judge:
//
//     encap_emit FILE.pcap < FORMS
//
// A form is a line of words: codec vid priority source destination ttl mode dscp flow id entropy
// tos bytes. mode is uniform or pipe, flow a FlowID or - (from entropy), bytes the length of the
// inner UDP payload; an address with a colon is IPv6, and so is its tenant's packet.
#include <arpa/inet.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/test_util.h"
#include "nvgre/nvgre.h"
#include "vxlan/vxlan.h"

struct form {
	char codec[8], source[46], destination[46], mode[8], flow[4];
	unsigned int vid, priority, ttl, dscp, id, entropy, tos, bytes;
};

static bool read_form(struct form *f)
{
	return scanf("%7s %u %u %45s %45s %u %7s %u %3s %u %u %u %u", f->codec, &f->vid,
		     &f->priority, f->source, f->destination, &f->ttl, f->mode, &f->dscp, f->flow,
		     &f->id, &f->entropy, &f->tos, &f->bytes) == 13;
}

static void way_of(const struct form *f, struct encap_way *way)
{
	int family = strchr(f->source, ':') ? AF_INET6 : AF_INET;

	*way = (struct encap_way){
		.src = { { 2, 0, 0, 0, 0, 0xa } },
		.dst = { { 2, 0, 0, 0, 0, 0xb } },
		.vid = (uint16_t)f->vid,
		.priority = (uint8_t)f->priority,
		.ipv6 = family == AF_INET6,
		.ttl = (uint8_t)f->ttl,
		.dscp_mode = strcmp(f->mode, "pipe") ? ENCAP_DSCP_UNIFORM : ENCAP_DSCP_PIPE,
		.dscp = (uint8_t)f->dscp,
		.is_flow_fixed = strcmp(f->flow, "-") != 0,
		.flow_id = (uint8_t)atoi(f->flow),
		.udp_port = VXLAN_PORT,
	};
	if (inet_pton(family, f->source, way->source) != 1 ||
	    inet_pton(family, f->destination, way->destination) != 1)
		abort();
}

static void emit(const struct form *f, struct rte_mempool *pool, pcap_dumper_t *out)
{
	const struct encap_ops *ops = strcmp(f->codec, "nvgre") ? &vxlan_ops : &nvgre_ops;
	struct test_frame inner = { .payload_bytes = f->bytes, .ipv6 = strchr(f->source, ':') };
	struct rte_mbuf *m = test_frame_build(pool, &inner);
	struct pcap_pkthdr header = { 0 };
	struct encap_header h;
	struct encap_way way;

	way_of(f, &way);
	ops->build(&way, &h);
	ops->push(&h, m, f->id, f->entropy, (uint8_t)f->tos);
	header.len = m->pkt_len;
	header.caplen = m->pkt_len;
	pcap_dump((uint8_t *)out, &header, rte_pktmbuf_mtod(m, const uint8_t *));
	rte_pktmbuf_free(m);
}

int main(int argc, char **argv)
{
	struct rte_mempool *pool = test_pool_create(1, TEST_LARGE_ROOM);
	pcap_t *file = pcap_open_dead(DLT_EN10MB, 65535);
	pcap_dumper_t *out = argc == 2 ? pcap_dump_open(file, argv[1]) : NULL;
	struct form form;

	if (!out) {
		fprintf(stderr, "encap_emit FILE.pcap < FORMS\n");
		return EXIT_FAILURE;
	}
	while (read_form(&form))
		emit(&form, pool, out);
	pcap_dump_close(out);
	pcap_close(file);
	test_pool_destroy(pool);
	return EXIT_SUCCESS;
}
