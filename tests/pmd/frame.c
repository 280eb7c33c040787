// SPDX-License-Identifier: Apache-2.0
#include "tests/pmd/frame.h"

#include "net/csum.h"
#include "net/layers.h"

#define MAGIC 0x5746    // "FW"
#define STREAM (1 << 16) // bytes after which a payload repeats
#define PORT_BASE 1024
#define HOP_LIMIT 64

static uint8_t stream[2 * STREAM]; // twice, so that any piece is contiguous

static void __attribute__((constructor)) make_stream(void)
{
	uint32_t x = 1;

	for (uint32_t i = 0; i < STREAM; i++) {
		x = x * 1664525 + 1013904223;
		stream[i] = stream[STREAM + i] = (uint8_t)(x >> 24);
	}
}

uint32_t frame_header_bytes(const struct frame_cfg *cfg)
{
	return (uint32_t)(sizeof(struct eth_header) +
			  (cfg->ipv6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header)) +
			  (cfg->tcp ? sizeof(struct tcp_header) : sizeof(struct udp_header)));
}

uint32_t frame_min_bytes(const struct frame_cfg *cfg)
{
	uint32_t bytes = frame_header_bytes(cfg) + (cfg->tcp ? 1 : sizeof(struct frame_tag));

	return bytes < 60 ? 60 : bytes;
}

// Spreads consecutive flows over the ports; twice the same for a flow, of course.
static uint16_t port_of(uint32_t flow) { return (uint16_t)(PORT_BASE + flow * 7919 % 60000); }

static le16 check_of(const struct frame_tag *tag, uint32_t bytes)
{
	uint64_t x = load_u64(tag) ^ (uint64_t)bytes << 40;

	x = (x ^ load_u32(&tag->number)) * 0x9e3779b97f4a7c15ull;
	return cpu_to_le16((uint16_t)(x >> 48));
}

// Payload of frame n of a flow, behind its tag: a piece of the stream.
static const uint8_t *fill_of(uint32_t number) { return stream + number * 61 % STREAM; }

static void write_eth(const struct frame_cfg *cfg, uint32_t flow, struct eth_header *eth)
{
	uint32_t pair = cfg->n_macs > 1 ? flow % cfg->n_macs : 0;

	*eth = (struct eth_header){ .dst = cfg->dst, .src = cfg->src,
				    .type = BE16(cfg->ipv6 ? ETH_TYPE_IPV6 : ETH_TYPE_IPV4) };
	if (pair) {
		eth->dst = mac_from_u64(mac_to_u64(cfg->dst) + pair);
		eth->src = mac_from_u64(mac_to_u64(cfg->src) + pair);
	}
}

static void write_ipv4(const struct frame_cfg *cfg, uint32_t flow, uint32_t bytes,
		       struct ipv4_header *ip)
{
	*ip = (struct ipv4_header){
		.version_ihl = 0x45,
		.total_bytes = cpu_to_be16((uint16_t)(bytes - sizeof(struct eth_header))),
		.fragment = cpu_to_be16(IPV4_DONT_FRAGMENT),
		.ttl = HOP_LIMIT,
		.proto = cfg->tcp ? IP_PROTO_TCP : IP_PROTO_UDP,
		.src = cpu_to_be32(10u << 24 | (uint32_t)cfg->sender << 16 | flow),
		.dst = cpu_to_be32(10u << 24 | 255u << 16 | flow),
	};
	if (!cfg->offload_csum)
		ip->csum = (FORCE be16)(uint16_t)~csum_fold(csum_add(0, ip, sizeof(*ip)));
}

static void write_ipv6(const struct frame_cfg *cfg, uint32_t flow, uint32_t bytes,
		       struct ipv6_header *ip)
{
	uint32_t payload = bytes - (uint32_t)sizeof(struct eth_header) - (uint32_t)sizeof(*ip);

	*ip = (struct ipv6_header){
		.version_class_flow = cpu_to_be32(6u << 28),
		.payload_bytes = cpu_to_be16((uint16_t)payload),
		.next = cfg->tcp ? IP_PROTO_TCP : IP_PROTO_UDP,
		.hop_limit = HOP_LIMIT,
		.src = { 0xfd, [11] = cfg->sender },
		.dst = { 0xfd, [11] = 0xff },
	};
	store_be32(ip->src + 12, cpu_to_be32(flow));
	store_be32(ip->dst + 12, cpu_to_be32(flow));
}

static void write_udp(const struct frame_cfg *cfg, const struct frame_place *place, uint32_t bytes,
		      uint8_t *l4)
{
	uint32_t at = frame_header_bytes(cfg) - (uint32_t)sizeof(struct udp_header);
	struct udp_header *udp = (struct udp_header *)l4;
	struct frame_tag tag = {
		.magic = cpu_to_le16(MAGIC),
		.sender = cfg->sender,
		.queue = place->queue,
		.flow = cpu_to_le32(place->flow),
		.number = cpu_to_le32(place->number),
	};

	*udp = (struct udp_header){
		.src = cpu_to_be16(port_of(place->flow)),
		.dst = cpu_to_be16(port_of(place->flow + 1)),
		.bytes = cpu_to_be16((uint16_t)(bytes - at)),
	};
	tag.check = check_of(&tag, bytes);
	memcpy(udp + 1, &tag, sizeof(tag));
	if (cfg->fill)
		memcpy(l4 + sizeof(*udp) + sizeof(tag), fill_of(place->number),
		       bytes - at - sizeof(*udp) - sizeof(tag));
}

static void write_tcp(const struct frame_cfg *cfg, const struct frame_place *place, uint32_t bytes,
		      uint8_t *l4)
{
	struct tcp_header *tcp = (struct tcp_header *)l4;

	*tcp = (struct tcp_header){
		.src = cpu_to_be16(port_of(place->flow)),
		.dst = cpu_to_be16(port_of(place->flow + 1)),
		.seq = cpu_to_be32(place->number),
		.offset = sizeof(*tcp) / 4 << 4,
		.flags = TCP_ACK,
		.window = cpu_to_be16(0xffff),
	};
	memcpy(tcp + 1, stream + place->number % STREAM, bytes - frame_header_bytes(cfg));
}

// The checksum field: of all, of the pseudo header for the NIC to go on with, or none.
static void write_csum(const struct frame_cfg *cfg, uint32_t bytes, uint8_t *frame)
{
	uint64_t sum;
	uint16_t field;
	struct layers at;

	if (!cfg->offload_csum && !cfg->ipv6 && !cfg->tcp)
		return; // UDP over IPv4 need not have one
	if (!layers_find(frame, bytes, bytes, &at))
		return;
	sum = csum_pseudo(frame, &at);
	if (!cfg->offload_csum) {
		sum = csum_add(sum, frame + at.l2_bytes + at.l3_bytes,
			       (size_t)at.l4_bytes + at.payload_bytes);
		field = (uint16_t)~csum_fold(sum) ?: 0xffff;
	} else {
		field = csum_fold(sum);
	}
	memcpy(frame + layers_csum_offset(&at), &field, sizeof(field));
}

void frame_write(const struct frame_cfg *cfg, const struct frame_place *place, uint32_t bytes,
		 uint8_t *to)
{
	uint8_t *l3 = to + sizeof(struct eth_header), *l4;

	write_eth(cfg, place->flow, (struct eth_header *)to);
	if (cfg->ipv6)
		write_ipv6(cfg, place->flow, bytes, (struct ipv6_header *)l3);
	else
		write_ipv4(cfg, place->flow, bytes, (struct ipv4_header *)l3);
	l4 = l3 + (cfg->ipv6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header));
	if (cfg->tcp)
		write_tcp(cfg, place, bytes, l4);
	else
		write_udp(cfg, place, bytes, l4);
	write_csum(cfg, bytes, to);
}

void frame_set_flow(uint8_t *frame, uint32_t flow)
{
	struct ipv4_header *ip = (struct ipv4_header *)(frame + sizeof(struct eth_header));
	struct udp_header *udp = (struct udp_header *)(ip + 1);
	be16 from = load_be16((uint8_t *)&ip->src + 2), to = cpu_to_be16((uint16_t)flow);

	// Twice: it stands in both addresses.
	ip->csum = csum_update16(csum_update16(ip->csum, from, to), from, to);
	store_be16((uint8_t *)&ip->src + 2, to);
	store_be16((uint8_t *)&ip->dst + 2, to);
	udp->src = cpu_to_be16(port_of(flow));
	udp->dst = cpu_to_be16(port_of(flow + 1));
}

// --- checking ----------------------------------------------------------------------------------

static bool checksums_hold(const uint8_t *frame, const struct layers *at,
			   struct frame_claims claims)
{
	const uint8_t *l4 = frame + at->l2_bytes + at->l3_bytes;
	uint64_t sum;

	if (!at->ipv6 && !claims.ip_good &&
	    csum_fold(csum_add(0, frame + at->l2_bytes, at->l3_bytes)) != 0xffff)
		return false;
	if (claims.l4_good)
		return true;
	if (!at->ipv6 && at->proto == IP_PROTO_UDP && !load_u16(frame + layers_csum_offset(at)))
		return true;
	sum = csum_add(csum_pseudo(frame, at), l4, (size_t)at->l4_bytes + at->payload_bytes);
	return csum_fold(sum) == 0xffff;
}

// Sender and flow by the source address. False: it is nobody's of ours.
static bool read_source(const uint8_t *l3, bool ipv6, struct frame_seen *seen)
{
	const struct ipv4_header *v4 = (const struct ipv4_header *)l3;
	const struct ipv6_header *v6 = (const struct ipv6_header *)l3;
	uint32_t address;

	if (ipv6) {
		seen->sender = v6->src[11];
		seen->place.flow = be32_to_cpu(load_be32(v6->src + 12));
		return v6->src[0] == 0xfd && v6->dst[0] == 0xfd && v6->dst[11] == 0xff;
	}
	address = be32_to_cpu(v4->src);
	seen->sender = (uint8_t)(address >> 16);
	seen->place.flow = address & 0xffff;
	return address >> 24 == 10 && be32_to_cpu(v4->dst) >> 16 == (10 << 8 | 255);
}

static enum frame_verdict check_udp(const uint8_t *frame, uint32_t bytes, const struct layers *at,
				    struct frame_seen *seen)
{
	struct frame_tag tag;

	if (at->payload_bytes < sizeof(tag))
		return FRAME_FOREIGN;
	memcpy(&tag, frame + layers_header_bytes(at), sizeof(tag));
	if (le16_to_cpu(tag.magic) != MAGIC)
		return FRAME_FOREIGN;
	seen->place.number = le32_to_cpu(tag.number);
	seen->place.queue = tag.queue;
	if (le16_to_cpu(tag.check) != le16_to_cpu(check_of(&tag, bytes)) ||
	    tag.sender != seen->sender || le32_to_cpu(tag.flow) != seen->place.flow)
		return FRAME_CORRUPT;
	return FRAME_OURS;
}

static bool payload_holds(const uint8_t *frame, const struct layers *at,
			  const struct frame_seen *seen)
{
	const uint8_t *payload = frame + layers_header_bytes(at);
	uint32_t number = seen->place.number, tag = sizeof(struct frame_tag);

	if (seen->tcp)
		return memcmp(payload, stream + number % STREAM, at->payload_bytes) == 0;
	return memcmp(payload + tag, fill_of(number), at->payload_bytes - tag) == 0;
}

enum frame_verdict frame_check(const uint8_t *frame, uint32_t bytes, struct frame_claims claims,
			       struct frame_seen *seen)
{
	enum frame_verdict verdict = FRAME_OURS;
	const struct tcp_header *tcp;
	struct layers at;

	*seen = (struct frame_seen){ 0 };
	if (bytes > FRAME_MAX_BYTES || !layers_find(frame, bytes, bytes, &at))
		return FRAME_FOREIGN;
	if (!read_source(frame + at.l2_bytes, at.ipv6, seen))
		return FRAME_FOREIGN;
	seen->tcp = at.proto == IP_PROTO_TCP;
	seen->payload = at.payload_bytes;
	if (seen->tcp) {
		tcp = (const struct tcp_header *)(frame + at.l2_bytes + at.l3_bytes);
		seen->place.number = be32_to_cpu(tcp->seq);
	} else {
		verdict = check_udp(frame, bytes, &at, seen);
	}
	if (verdict != FRAME_OURS)
		return verdict;
	if (claims.check_fill && !payload_holds(frame, &at, seen))
		return FRAME_CORRUPT;
	return checksums_hold(frame, &at, claims) ? FRAME_OURS : FRAME_BAD_CSUM;
}
