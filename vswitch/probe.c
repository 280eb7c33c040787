// SPDX-License-Identifier: Apache-2.0
#include "vswitch/probe.h"

#include <errno.h>

#include "net/csum.h"
#include "vswitch/icmp.h"
#include "vswitch/reply.h"

#define TTL 64

// --- answers -----------------------------------------------------------------------------------

bool probe_may_answer(const struct packet *p)
{
	if (p->bits & (PACKET_MALFORMED | PACKET_FRAGMENT))
		return false;
	if (p->version == 4)
		return p->protocol == IP_PROTO_ICMP &&
		       (p->destination_port == ICMP_ECHO_REPLY || p->bits & PACKET_ICMP_ERROR);
	return p->version == 6 && p->protocol == IP_PROTO_ICMPV6 &&
	       (p->destination_port == ICMPV6_ECHO_REPLY || p->bits & PACKET_ICMP_ERROR);
}

// Where the ICMP header of a packet at ip[have] is; 0: none that we would have asked for.
static uint32_t icmp_offset(const uint8_t *ip, uint32_t have, bool ipv6)
{
	uint32_t at = ipv6 ? (uint32_t)sizeof(struct ipv6_header) : (ip[0] & 15u) * 4;

	if (have < sizeof(struct ipv6_header) && (ipv6 || have < sizeof(struct ipv4_header)))
		return 0;
	if (ipv6 ? ip[offsetof(struct ipv6_header, next)] != IP_PROTO_ICMPV6
		 : ip[offsetof(struct ipv4_header, proto)] != IP_PROTO_ICMP)
		return 0;
	return at >= sizeof(struct ipv4_header) && at + sizeof(struct icmp_header) <= have ? at : 0;
}

static enum probe_answer error_of(const struct icmp_header *icmp, bool ipv6, uint16_t *mtu)
{
	bool too_big = ipv6 ? icmp->type == ICMPV6_TOO_BIG
			    : icmp->type == ICMP_UNREACHABLE && icmp->code == ICMP_CODE_TOO_BIG;
	uint32_t told = be32_to_cpu(icmp->rest);

	if (too_big) {
		*mtu = (uint16_t)RTE_MIN(told, (uint32_t)UINT16_MAX);
		return PROBE_TOO_BIG;
	}
	if (icmp->type == (ipv6 ? ICMPV6_TIME_EXCEEDED : ICMP_TIME_EXCEEDED))
		return PROBE_TTL;
	return PROBE_UNREACHABLE;
}

// What f->m, which probe_may_answer takes, says, and about which request.
static bool read_answer(const struct frame *f, struct learn_report *r)
{
	uint32_t l2 = reply_l2_bytes(f->key), have = f->m->data_len - l2, at;
	const uint8_t *ip = rte_pktmbuf_mtod_offset(f->m, const uint8_t *, l2);
	bool ipv6 = f->key->w[1] >> 48 == (FORCE uint16_t)BE16(ETH_TYPE_IPV6);
	struct icmp_header icmp;

	at = icmp_offset(ip, have, ipv6);
	if (!at)
		return false;
	memcpy(&icmp, ip + at, sizeof(icmp));
	r->address = ip_address_of(ipv6 ? 6 : 4, ip + (ipv6 ? offsetof(struct ipv6_header, src)
							    : offsetof(struct ipv4_header, src)));
	r->encap = PROBE_REPLY;
	if (icmp.type != (ipv6 ? ICMPV6_ECHO_REPLY : ICMP_ECHO_REPLY)) {
		uint32_t quote = at + (uint32_t)sizeof(icmp);

		r->encap = (uint8_t)error_of(&icmp, ipv6, &r->echo.mtu);
		at = icmp_offset(ip + quote, have - quote, ipv6);
		if (!at)
			return false;
		memcpy(&icmp, ip + quote + at, sizeof(icmp));
		if (icmp.type != (ipv6 ? ICMPV6_ECHO : ICMP_ECHO))
			return false;
	}
	r->echo.id = (uint16_t)(be32_to_cpu(icmp.rest) >> 16);
	r->echo.sequence = (uint16_t)be32_to_cpu(icmp.rest);
	return true;
}

static bool is_awaited(const struct probe_table *t, uint16_t id, uint64_t kind)
{
	for (uint32_t i = 0; t && i < PROBE_MAX; i++) {
		uint64_t slot = __atomic_load_n(&t->slots[i], __ATOMIC_RELAXED);

		if (slot & PROBE_IN_USE && (slot & PROBE_GUEST) == kind &&
		    (uint16_t)(slot >> 16) == id)
			return true;
	}
	return false;
}

bool probe_take(const struct frame *f, bool guest)
{
	const struct hnv *hnv = f->v->snap->hnv;
	uint16_t way = key_way(f->key);
	struct learn_report r = { .kind = LEARN_ECHO,
				  .fid = f->p->fid,
				  .port = way ? way : f->v->port->index,
				  .tick = f->c->tick };
	struct key_l3 l3;
	struct packet p;

	parse_l3(rte_pktmbuf_mtod(f->m, uint8_t *), f->m->data_len, f->key, &l3);
	packet_from_keys(f->key, &l3, &p);
	if (!hnv || !probe_may_answer(&p) || !read_answer(f, &r) ||
	    !is_awaited(hnv->probes, r.echo.id, guest ? PROBE_GUEST : 0))
		return false;
	cache_tell(f->c, f->v->port->index, &r);
	reply_consume(f);
	return true;
}

// --- requests ----------------------------------------------------------------------------------

int probe_begin(struct probe_table *t, uint16_t port, uint16_t id, bool guest)
{
	uint64_t *free = NULL;

	for (uint32_t i = 0; i < PROBE_MAX; i++) {
		if (!t->slots[i])
			free = &t->slots[i];
		else if ((uint16_t)(t->slots[i] >> 16) == id)
			return -EEXIST;
	}
	if (!free)
		return -ENOSPC;
	__atomic_store_n(free, port | (uint64_t)id << 16 | PROBE_IN_USE | (guest ? PROBE_GUEST : 0),
			 __ATOMIC_RELAXED);
	return 0;
}

void probe_end(struct probe_table *t, uint16_t id)
{
	for (uint32_t i = 0; i < PROBE_MAX; i++)
		if (t->slots[i] && (uint16_t)(t->slots[i] >> 16) == id)
			__atomic_store_n(&t->slots[i], 0, __ATOMIC_RELAXED);
}

static uint8_t *put_ethernet(uint8_t *p, const struct probe_request *r)
{
	memcpy(p, r->dst.b, 6);
	memcpy(p + 6, r->src.b, 6);
	p += 12;
	if (r->vid) {
		store_be16(p, BE16(ETH_TYPE_VLAN));
		store_be16(p + 2, cpu_to_be16(r->vid));
		p += 4;
	}
	store_be16(p, r->to.family == 6 ? BE16(ETH_TYPE_IPV6) : BE16(ETH_TYPE_IPV4));
	return p + 2;
}

static uint8_t *put_ipv4(uint8_t *p, const struct probe_request *r, uint32_t icmp_bytes)
{
	struct ipv4_header ip = { .version_ihl = 0x45,
				  .fragment = BE16(IPV4_DONT_FRAGMENT),
				  .ttl = TTL,
				  .proto = IP_PROTO_ICMP };

	ip.total_bytes = cpu_to_be16((uint16_t)(sizeof(ip) + icmp_bytes));
	memcpy(&ip.src, r->from.b, 4);
	memcpy(&ip.dst, r->to.b, 4);
	ip.csum = (FORCE be16)(uint16_t)~csum_fold(csum_add(0, &ip, sizeof(ip)));
	memcpy(p, &ip, sizeof(ip));
	return p + sizeof(ip);
}

uint32_t probe_build(const struct probe_request *r, uint8_t *frame)
{
	uint32_t icmp_bytes = (uint32_t)sizeof(struct icmp_header) + r->payload_bytes;
	uint32_t id = (uint32_t)r->id << 16 | r->sequence;
	struct icmp_header icmp = { .rest = cpu_to_be32(id) };
	bool ipv6 = r->to.family == 6;
	uint8_t *p = put_ethernet(frame, r);

	if ((uint32_t)(p - frame) + sizeof(struct ipv6_header) + icmp_bytes > PROBE_FRAME_MAX)
		return 0;
	icmp.type = ipv6 ? ICMPV6_ECHO : ICMP_ECHO;
	if (ipv6) {
		struct ipv6_header ip = { .version_class_flow = cpu_to_be32(6u << 28),
					  .payload_bytes = cpu_to_be16((uint16_t)icmp_bytes),
					  .next = IP_PROTO_ICMPV6,
					  .hop_limit = TTL };

		memcpy(ip.src, r->from.b, 16);
		memcpy(ip.dst, r->to.b, 16);
		memcpy(p, &ip, sizeof(ip));
		p += sizeof(ip);
		memset(p, 0, icmp_bytes);
		memcpy(p, &icmp, sizeof(icmp));
		icmp.csum = icmp_csum_v6(&ip, p, icmp_bytes);
	} else {
		p = put_ipv4(p, r, icmp_bytes);
		memset(p, 0, icmp_bytes);
		memcpy(p, &icmp, sizeof(icmp));
		icmp.csum = (FORCE be16)(uint16_t)~csum_fold(csum_add(0, p, icmp_bytes));
	}
	memcpy(p, &icmp, sizeof(icmp));
	return (uint32_t)(p - frame) + icmp_bytes;
}
