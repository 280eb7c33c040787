// SPDX-License-Identifier: Apache-2.0
#include "vswitch/answer.h"

#include "net/csum.h"
#include "vswitch/answer_underlay.h"
#include "vswitch/egress.h"
#include "vswitch/icmp.h"
#include "vswitch/reply.h"

static const struct hnv_subnet *subnet_of(const struct frame *f)
{
	const struct hnv *hnv = f->v->snap->hnv;

	return hnv ? hnv->by_fid[f->p->fid] : NULL;
}

static void drop(const struct frame *f, enum drop reason)
{
	worker_drop(f->out, f->v->port->index, DROP_RX, reason, f->m);
}

// Tells control about a customer address where the frame came from. mac: its own, or zero, when it
// is only asked for.
static void report(const struct frame *f, enum learn_kind kind, const struct ip_address *a,
		   struct mac mac)
{
	uint16_t port = f->v->port->index, way = key_way(f->key);
	struct learn_report r = { .kind = kind,
				  .fid = f->p->fid,
				  .port = way ? way : port,
				  .mac = mac,
				  .tick = f->c->tick,
				  .address = *a };

	cache_tell(f->c, port, &r);
}

// Who asks; in a learning subnet that is news.
static void look_at_asker(const struct frame *f, const struct hnv_subnet *s,
			  const struct ip_address *a, struct mac mac)
{
	static const uint8_t nobody[16];
	struct mac known;

	if (!s->learning || memcmp(a->b, nobody, sizeof(nobody)) == 0 ||
	    !mac_equal(mac, reply_source_mac(f->key)))
		return;
	if (!hnv_find_neighbor(f->v->snap->hnv, s->fid, a, &known) || !mac_equal(known, mac))
		report(f, LEARN_CUSTOMER, a, mac);
}

// What is to be said about an address that somebody asks for.
enum finding { FOUND, FOUND_GATEWAY, FOUND_ASKER, NOT_FOUND };

static enum finding find(const struct frame *f, const struct hnv_subnet *s,
			 const struct ip_address *a, struct mac *mac)
{
	if (ip_address_equal(&s->gateway[a->family == 6], a)) {
		*mac = f->v->snap->hnv->router_mac;
		return FOUND_GATEWAY;
	}
	if (!hnv_find_neighbor(f->v->snap->hnv, s->fid, a, mac))
		return NOT_FOUND;
	return mac_equal(*mac, reply_source_mac(f->key)) ? FOUND_ASKER : FOUND;
}

// Nobody here knows. Where addresses are learnt, everybody is asked.
static void ask_around(const struct frame *f, const struct hnv_subnet *s,
		       const struct ip_address *a)
{
	report(f, LEARN_UNKNOWN, a, (struct mac){ 0 });
	if (s->learning)
		egress_flood(f);
	else
		drop(f, (enum drop)f->p->reason);
}

// --- ARP ---------------------------------------------------------------------------------------

bool answer_read_arp(const struct frame *f, struct arp_header *arp)
{
	uint32_t l2 = reply_l2_bytes(f->key);

	if (f->m->data_len < l2 + sizeof(*arp))
		return false;
	memcpy(arp, rte_pktmbuf_mtod_offset(f->m, uint8_t *, l2), sizeof(*arp));
	return arp->hardware == BE16(1) && arp->protocol == BE16(ETH_TYPE_IPV4) &&
	       arp->hardware_bytes == 6 && arp->protocol_bytes == 4;
}

void answer_send_arp(const struct frame *f, const struct arp_header *asked, struct mac mac)
{
	struct rte_mbuf *m = reply_create(f, mac, BE16(ETH_TYPE_ARP), sizeof(*asked));
	struct arp_header arp = *asked;

	if (!m) {
		drop(f, DROP_RESOURCES);
		return;
	}
	arp.op = BE16(ARP_REPLY);
	arp.sender_mac = mac;
	memcpy(arp.sender, asked->target, sizeof(arp.sender));
	arp.target_mac = asked->sender_mac;
	memcpy(arp.target, asked->sender, sizeof(arp.target));
	memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, sizeof(struct eth_header)), &arp, sizeof(arp));
	reply_send(f, m);
	reply_consume(f);
}

static void answer_arp(const struct frame *f, const struct hnv_subnet *s)
{
	struct ip_address sender, target;
	struct arp_header arp;
	struct mac mac;

	if (!answer_read_arp(f, &arp)) {
		drop(f, DROP_INVALID_PACKET);
		return;
	}
	sender = ip_address_of(4, arp.sender);
	target = ip_address_of(4, arp.target);
	look_at_asker(f, s, &sender, arp.sender_mac);
	// An announcement: who needs to know has read it above.
	if (arp.op != BE16(ARP_REQUEST) || ip_address_equal(&sender, &target)) {
		reply_consume(f);
		return;
	}
	switch (find(f, s, &target, &mac)) {
	case FOUND:
	case FOUND_GATEWAY:
		answer_send_arp(f, &arp, mac);
		break;
	case FOUND_ASKER: // looks whether its own address is free: it is
		reply_consume(f);
		break;
	case NOT_FOUND:
		ask_around(f, s, &target);
		break;
	}
}

// Not ours to answer, but news of who sends it.
static void look_at_arp(const struct frame *f, const struct hnv_subnet *s)
{
	struct ip_address sender;
	struct arp_header arp;

	if (!answer_read_arp(f, &arp)) {
		drop(f, DROP_INVALID_PACKET);
		return;
	}
	sender = ip_address_of(4, arp.sender);
	look_at_asker(f, s, &sender, arp.sender_mac);
	egress_by_mac(f);
}

// --- ND ----------------------------------------------------------------------------------------

bool answer_read_nd(const struct frame *f, struct ipv6_header *ip, struct nd_header *nd)
{
	uint32_t l2 = reply_l2_bytes(f->key), least = offsetof(struct nd_header, option);
	const uint8_t *p = rte_pktmbuf_mtod_offset(f->m, const uint8_t *, l2);
	uint32_t have;

	if (f->m->data_len < l2 + sizeof(*ip) + least)
		return false;
	memcpy(ip, p, sizeof(*ip));
	// RFC 4861, 7.1: nothing that a router has forwarded.
	if (ip->next != IP_PROTO_ICMPV6 || ip->hop_limit != 255)
		return false;
	have = f->m->data_len - l2 - (uint32_t)sizeof(*ip);
	*nd = (struct nd_header){ 0 };
	memcpy(nd, p + sizeof(*ip), RTE_MIN(have, (uint32_t)sizeof(*nd)));
	return nd->icmp.code == 0 && nd->target[0] != 0xff;
}

// ff02::1, and its MAC.
static const uint8_t all_nodes[16] = { 0xff, 2, [15] = 1 };
static const struct mac all_nodes_mac = { .b = { 0x33, 0x33, 0, 0, 0, 1 } };

void answer_send_nd(const struct frame *f, const struct answer_nd *a)
{
	static const uint8_t nobody[16];
	bool probe = memcmp(a->asker->src, nobody, sizeof(nobody)) == 0;
	struct rte_mbuf *m = reply_create(f, a->mac, BE16(ETH_TYPE_IPV6),
					  sizeof(struct ipv6_header) + sizeof(struct nd_header));
	struct nd_header nd = { .icmp.type = ICMPV6_ADVERT,
				.option = ND_OPTION_TARGET,
				.option_units = 1,
				.mac = a->mac };
	struct ipv6_header *ip;

	if (!m) {
		drop(f, DROP_RESOURCES);
		return;
	}
	ip = rte_pktmbuf_mtod_offset(m, struct ipv6_header *, sizeof(struct eth_header));
	*ip = (struct ipv6_header){ .version_class_flow = cpu_to_be32(6u << 28),
				    .payload_bytes = BE16(sizeof(nd)),
				    .next = IP_PROTO_ICMPV6,
				    .hop_limit = 255 };
	memcpy(ip->src, a->target, 16);
	memcpy(ip->dst, probe ? all_nodes : a->asker->src, 16);
	if (probe)
		memcpy(rte_pktmbuf_mtod(m, uint8_t *), all_nodes_mac.b, 6);
	nd.icmp.rest = cpu_to_be32((a->is_router ? ND_ROUTER : 0) | (probe ? 0 : ND_SOLICITED) |
				   ND_OVERRIDE);
	memcpy(nd.target, a->target, 16);
	nd.icmp.csum = icmp_csum_v6(ip, &nd, sizeof(nd));
	memcpy(ip + 1, &nd, sizeof(nd));
	reply_send(f, m);
	reply_consume(f);
}

static void answer_solicit(const struct frame *f, const struct hnv_subnet *s)
{
	struct ip_address sender, target;
	struct answer_nd a = { 0 };
	struct ipv6_header ip;
	struct nd_header nd;

	if (!answer_read_nd(f, &ip, &nd) || nd.icmp.type != ICMPV6_SOLICIT) {
		drop(f, DROP_INVALID_PACKET);
		return;
	}
	sender = ip_address_of(6, ip.src);
	target = ip_address_of(6, nd.target);
	if (nd.option == ND_OPTION_SOURCE && nd.option_units == 1)
		look_at_asker(f, s, &sender, nd.mac);
	a.asker = &ip;
	a.target = nd.target;
	switch (find(f, s, &target, &a.mac)) {
	case FOUND_GATEWAY:
		a.is_router = true;
		answer_send_nd(f, &a);
		break;
	case FOUND:
		answer_send_nd(f, &a);
		break;
	case FOUND_ASKER:
		reply_consume(f);
		break;
	case NOT_FOUND:
		ask_around(f, s, &target);
		break;
	}
}

// --- the gateway -------------------------------------------------------------------------------

static bool is_solicit(const struct frame *f)
{
	struct ipv6_header ip;
	struct nd_header nd;

	return f->key->w[1] >> 48 == (FORCE uint16_t)BE16(ETH_TYPE_IPV6) &&
	       answer_read_nd(f, &ip, &nd) && nd.icmp.type == ICMPV6_SOLICIT;
}

static void answer_gateway(const struct frame *f, const struct hnv_subnet *s)
{
	if (is_solicit(f))
		answer_solicit(f, s);
	else if (!icmp_echo(f))
		drop(f, (enum drop)f->p->reason);
}

static void answer_unreachable(const struct frame *f)
{
	enum drop reason = (enum drop)f->p->reason;
	struct ip_address to;
	struct key_l3 l3;
	struct packet p;

	parse_l3(rte_pktmbuf_mtod(f->m, uint8_t *), f->m->data_len, f->key, &l3);
	packet_from_keys(f->key, &l3, &p);
	to = ip_address_of(p.version, p.destination);
	if (reason == DROP_NO_NEIGHBOR)
		report(f, LEARN_UNKNOWN, &to, (struct mac){ 0 });
	icmp_send_error(f, reason == DROP_NO_ROUTE ? ICMP_NO_ROUTE : ICMP_NO_HOST, 0);
	drop(f, reason);
}

void answer_frame(const struct frame *f)
{
	const struct hnv_subnet *s = subnet_of(f);
	enum answer what = (enum answer)f->p->answer;

	if (what == ANSWER_PROVIDER || what == ANSWER_UNDERLAY)
		answer_underlay(f);
	else if (!s) // gone since this was decided
		drop(f, DROP_NO_DESTINATION);
	else if (what == ANSWER_ARP)
		answer_arp(f, s);
	else if (what == ANSWER_LOOK)
		look_at_arp(f, s);
	else if (what == ANSWER_SOLICIT)
		answer_solicit(f, s);
	else if (what == ANSWER_GATEWAY)
		answer_gateway(f, s);
	else
		answer_unreachable(f);
}
