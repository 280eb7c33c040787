// SPDX-License-Identifier: Apache-2.0
#include "vswitch/icmp.h"

#include "net/csum.h"
#include "net/parse.h"
#include "net/vlan.h"
#include "vswitch/reply.h"

#define ERRORS_PER_S 100u // told to one port
#define TTL 64
#define MAX_QUOTE_V4 548u  // so that an error has at most 576 bytes. RFC 1812, 4.3.2.3
#define MAX_QUOTE_V6 1232u // … 1280. RFC 4443, 2.4 (c)

// --- errors ------------------------------------------------------------------------------------

static bool is_group_v4(const uint8_t *a)
{
	return a[0] >= 224 || a[0] == 0;
}

// May an error be sent about this packet?
static bool may_tell(const struct packet *p)
{
	static const uint8_t nobody[16];

	if (!p->version || mac_is_group(p->dst) ||
	    p->bits & (PACKET_LATER_FRAGMENT | PACKET_ICMP_ERROR | PACKET_MALFORMED))
		return false;
	if (p->version == 4)
		return !is_group_v4(p->source) && !is_group_v4(p->destination);
	return p->source[0] != 0xff && p->destination[0] != 0xff &&
	       memcmp(p->source, nobody, sizeof(nobody)) != 0;
}

// In whose name.
static const uint8_t *speaker(const struct frame *f, const struct packet *p)
{
	const struct hnv *hnv = f->v->snap->hnv;
	const struct hnv_subnet *s = hnv ? hnv->by_fid[f->v->port->native_fid] : NULL;
	const struct ip_address *gateway = s ? &s->gateway[p->version == 6] : NULL;

	// A subnet without gateway: the destination itself.
	return gateway && gateway->family ? gateway->b : p->destination;
}

// [enum icmp_error][is it IPv6]
static const struct {
	uint8_t type, code;
} words[][2] = {
	[ICMP_NO_ROUTE] = { { ICMP_UNREACHABLE, ICMP_CODE_NET },
			    { ICMPV6_UNREACHABLE, ICMPV6_CODE_NO_ROUTE } },
	[ICMP_NO_HOST] = { { ICMP_UNREACHABLE, ICMP_CODE_HOST },
			   { ICMPV6_UNREACHABLE, ICMPV6_CODE_ADDRESS } },
	[ICMP_TTL] = { { ICMP_TIME_EXCEEDED, 0 }, { ICMPV6_TIME_EXCEEDED, 0 } },
	[ICMP_TOO_BIG] = { { ICMP_UNREACHABLE, ICMP_CODE_TOO_BIG }, { ICMPV6_TOO_BIG, 0 } },
};

// quote[n]: the packet from its IP header on.
static struct rte_mbuf *build_v4(const struct frame *f, const struct packet *p,
				 struct icmp_header icmp, uint32_t n)
{
	const uint8_t *quote =
		rte_pktmbuf_mtod_offset(f->m, const uint8_t *, reply_l2_bytes(f->key));
	uint32_t icmp_bytes = (uint32_t)sizeof(icmp) + n;
	struct rte_mbuf *m = reply_create(f, f->v->snap->hnv->router_mac, BE16(ETH_TYPE_IPV4),
					  (uint32_t)sizeof(struct ipv4_header) + icmp_bytes);
	struct ipv4_header *ip;
	uint8_t *body;

	if (!m)
		return NULL;
	ip = rte_pktmbuf_mtod_offset(m, struct ipv4_header *, sizeof(struct eth_header));
	*ip = (struct ipv4_header){ .version_ihl = 0x45, .ttl = TTL, .proto = IP_PROTO_ICMP };
	ip->total_bytes = cpu_to_be16((uint16_t)(sizeof(*ip) + icmp_bytes));
	memcpy(&ip->src, speaker(f, p), 4);
	memcpy(&ip->dst, p->source, 4);
	ip->csum = (FORCE be16)(uint16_t)~csum_fold(csum_add(0, ip, sizeof(*ip)));
	body = (uint8_t *)(ip + 1);
	memcpy(body + sizeof(icmp), quote, n);
	memcpy(body, &icmp, sizeof(icmp));
	icmp.csum = (FORCE be16)(uint16_t)~csum_fold(csum_add(0, body, icmp_bytes));
	memcpy(body, &icmp, sizeof(icmp));
	return m;
}

static struct rte_mbuf *build_v6(const struct frame *f, const struct packet *p,
				 struct icmp_header icmp, uint32_t n)
{
	const uint8_t *quote =
		rte_pktmbuf_mtod_offset(f->m, const uint8_t *, reply_l2_bytes(f->key));
	uint32_t icmp_bytes = (uint32_t)sizeof(icmp) + n;
	struct rte_mbuf *m = reply_create(f, f->v->snap->hnv->router_mac, BE16(ETH_TYPE_IPV6),
					  (uint32_t)sizeof(struct ipv6_header) + icmp_bytes);
	struct ipv6_header *ip;
	uint8_t *body;

	if (!m)
		return NULL;
	ip = rte_pktmbuf_mtod_offset(m, struct ipv6_header *, sizeof(struct eth_header));
	*ip = (struct ipv6_header){ .version_class_flow = cpu_to_be32(6u << 28),
				    .payload_bytes = cpu_to_be16((uint16_t)icmp_bytes),
				    .next = IP_PROTO_ICMPV6,
				    .hop_limit = TTL };
	memcpy(ip->src, speaker(f, p), 16);
	memcpy(ip->dst, p->source, 16);
	body = (uint8_t *)(ip + 1);
	memcpy(body + sizeof(icmp), quote, n);
	memcpy(body, &icmp, sizeof(icmp));
	icmp.csum = icmp_csum_v6(ip, body, icmp_bytes);
	memcpy(body, &icmp, sizeof(icmp));
	return m;
}

be16 icmp_csum_v6(const struct ipv6_header *ip, const void *body, uint32_t bytes)
{
	// Pseudo header: RFC 8200, 8.1.
	uint64_t sum = csum_add(csum_add(0, ip->src, 16), ip->dst, 16);

	sum += (FORCE uint16_t)cpu_to_be16((uint16_t)bytes);
	sum += (FORCE uint16_t)BE16(IP_PROTO_ICMPV6);
	return (FORCE be16)(uint16_t)~csum_fold(csum_add(sum, body, bytes));
}

void icmp_send_error(const struct frame *f, enum icmp_error error, uint16_t mtu)
{
	uint32_t n = f->m->data_len - reply_l2_bytes(f->key);
	struct icmp_header icmp = { .rest = cpu_to_be32(mtu) };
	struct token_bucket *bucket = &f->c->ports[f->v->port->index].icmp;
	struct rte_mbuf *m;
	struct key_l3 l3;
	struct packet p;

	parse_l3(rte_pktmbuf_mtod(f->m, uint8_t *), f->m->data_len, f->key, &l3);
	packet_from_keys(f->key, &l3, &p);
	if (!may_tell(&p) || !token_take(bucket, ERRORS_PER_S, f->c->now_tsc, f->c->tsc_hz))
		return;
	icmp.type = words[error][p.version == 6].type;
	icmp.code = words[error][p.version == 6].code;
	if (p.version == 4)
		m = build_v4(f, &p, icmp, RTE_MIN(n, MAX_QUOTE_V4));
	else
		m = build_v6(f, &p, icmp, RTE_MIN(n, MAX_QUOTE_V6));
	reply_send(f, m);
}

// --- pings -------------------------------------------------------------------------------------

static void swap(void *a, void *b, size_t n)
{
	uint8_t t[16];

	memcpy(t, a, n);
	memcpy(a, b, n);
	memcpy(b, t, n);
}

// Turns the request in m into the reply, where it lies. Addresses that change places change no
// checksum.
static void turn_v4(struct ipv4_header *ip)
{
	uint8_t *l4 = (uint8_t *)ip + (ip->version_ihl & 15) * 4;
	struct icmp_header *icmp = (struct icmp_header *)l4;
	be16 before = load_be16(&ip->ttl);

	swap(&ip->src, &ip->dst, 4);
	ip->ttl = TTL;
	ip->csum = csum_update16(ip->csum, before, load_be16(&ip->ttl));
	before = load_be16(icmp);
	icmp->type = ICMP_ECHO_REPLY;
	icmp->csum = csum_update16(icmp->csum, before, load_be16(icmp));
}

static void turn_v6(struct ipv6_header *ip)
{
	struct icmp_header *icmp = (struct icmp_header *)(ip + 1);
	be16 before = load_be16(icmp);

	swap(ip->src, ip->dst, 16);
	ip->hop_limit = TTL;
	icmp->type = ICMPV6_ECHO_REPLY;
	icmp->csum = csum_update16(icmp->csum, before, load_be16(icmp));
}

// A whole echo request without IPv6 extension headers?
static bool asks_for_echo(const struct frame *f, const struct packet *p)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(f->m, uint8_t *, reply_l2_bytes(f->key));

	if (p->bits & (PACKET_MALFORMED | PACKET_FRAGMENT) || mac_is_group(p->dst))
		return false;
	if (p->version == 4)
		return p->protocol == IP_PROTO_ICMP && p->destination_port == ICMP_ECHO &&
		       f->m->data_len >= ip - rte_pktmbuf_mtod(f->m, uint8_t *) +
						 (ip[0] & 15) * 4 + sizeof(struct icmp_header);
	return p->version == 6 && p->destination_port == ICMPV6_ECHO &&
	       ip[offsetof(struct ipv6_header, next)] == IP_PROTO_ICMPV6 &&
	       f->m->data_len >= reply_l2_bytes(f->key) + sizeof(struct ipv6_header) +
					 sizeof(struct icmp_header);
}

bool icmp_echo(const struct frame *f)
{
	struct port_counters *counters = worker_counters(f->out, f->v->port->index);
	struct rte_mbuf *m = f->m;
	struct key_l3 l3;
	struct packet p;
	uint8_t *frame;

	parse_l3(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, f->key, &l3);
	packet_from_keys(f->key, &l3, &p);
	if (!asks_for_echo(f, &p) || !vlan_can_edit(m))
		return false;
	frame = rte_pktmbuf_mtod(m, uint8_t *);
	swap(frame, frame + sizeof(struct mac), sizeof(struct mac));
	if (p.version == 4)
		turn_v4((struct ipv4_header *)(frame + reply_l2_bytes(f->key)));
	else
		turn_v6((struct ipv6_header *)(frame + reply_l2_bytes(f->key)));
	counter_add(&counters->consumed, 1);
	counter_add(&counters->created, 1);
	worker_output(f->out, f->v->port->index, m);
	return true;
}
