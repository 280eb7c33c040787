// SPDX-License-Identifier: Apache-2.0
#include "vswitch/answer_underlay.h"

#include "vswitch/answer.h"
#include "vswitch/egress.h"
#include "vswitch/icmp.h"
#include "vswitch/probe.h"
#include "vswitch/reply.h"

// The provider address that this is, in the frame's VLAN; NULL: none.
static const struct hnv_provider_cfg *provider_at(const struct frame *f,
						  const struct ip_address *a)
{
	const struct hnv_underlay *u = f->v->underlay;

	for (uint16_t i = 0; u && i < u->n; i++)
		if (u->providers[i].vid == (key_tag(f->key) & VID_MASK) &&
		    ip_address_equal(&u->providers[i].address, a))
			return &u->providers[i];
	return NULL;
}

// What is not for us goes the way it would without us.
static void pass(const struct frame *f)
{
	if (f->p->answer == ANSWER_UNDERLAY)
		egress_flood(f);
	else
		worker_drop(f->out, f->v->port->index, DROP_RX, (enum drop)f->p->reason, f->m);
}

static void report(const struct frame *f, const struct ip_address *a, struct mac mac)
{
	struct learn_report r = { .kind = LEARN_UNDERLAY,
				  .fid = key_tag(f->key) & VID_MASK,
				  .port = f->v->port->index,
				  .mac = mac,
				  .tick = f->c->tick,
				  .address = *a };

	if (!mac_is_group(mac) && !mac_is_zero(mac))
		cache_tell(f->c, r.port, &r);
}

static void answer_arp(const struct frame *f)
{
	const struct hnv_provider_cfg *ours;
	struct ip_address sender, target;
	struct arp_header arp;

	if (!answer_read_arp(f, &arp)) {
		pass(f);
		return;
	}
	sender = ip_address_of(4, arp.sender);
	target = ip_address_of(4, arp.target);
	ours = provider_at(f, &target);
	// Our neighbours speak to us, or announce that they have moved.
	if (ours || ip_address_equal(&sender, &target))
		report(f, &sender, arp.sender_mac);
	if (ours && arp.op == BE16(ARP_REQUEST))
		answer_send_arp(f, &arp, ours->mac);
	else if (ours && f->p->answer == ANSWER_PROVIDER)
		reply_consume(f);
	else
		pass(f);
}

static void answer_solicit(const struct frame *f, const struct ipv6_header *ip,
			   const struct nd_header *nd)
{
	struct ip_address sender = ip_address_of(6, ip->src), target = ip_address_of(6, nd->target);
	const struct hnv_provider_cfg *ours = provider_at(f, &target);

	if (!ours) {
		pass(f);
		return;
	}
	if (nd->option == ND_OPTION_SOURCE && nd->option_units == 1)
		report(f, &sender, nd->mac);
	answer_send_nd(f, &(struct answer_nd){ ip, nd->target, ours->mac, false });
}

static void answer_advert(const struct frame *f, const struct nd_header *nd)
{
	struct ip_address target = ip_address_of(6, nd->target);

	if (nd->option == ND_OPTION_TARGET && nd->option_units == 1)
		report(f, &target, nd->mac);
	if (f->p->answer == ANSWER_PROVIDER)
		reply_consume(f);
	else
		pass(f);
}

// Is f->m for one of our addresses, not only for its MAC?
static bool is_for_us(const struct frame *f)
{
	uint32_t l2 = reply_l2_bytes(f->key);
	const uint8_t *ip = rte_pktmbuf_mtod_offset(f->m, const uint8_t *, l2);
	bool v6 = f->key->w[1] >> 48 == (FORCE uint16_t)BE16(ETH_TYPE_IPV6);
	uint32_t at = v6 ? offsetof(struct ipv6_header, dst) : offsetof(struct ipv4_header, dst);
	struct ip_address to;

	if (f->m->data_len < l2 + at + (v6 ? 16 : 4))
		return false;
	to = ip_address_of(v6 ? 6 : 4, ip + at);
	return provider_at(f, &to) != NULL;
}

void answer_underlay(const struct frame *f)
{
	uint16_t type = (uint16_t)(f->key->w[1] >> 48);
	struct ipv6_header ip;
	struct nd_header nd;

	if (type == (FORCE uint16_t)BE16(ETH_TYPE_ARP)) {
		answer_arp(f);
		return;
	}
	if (type == (FORCE uint16_t)BE16(ETH_TYPE_IPV6) && answer_read_nd(f, &ip, &nd)) {
		if (nd.icmp.type == ICMPV6_SOLICIT) {
			answer_solicit(f, &ip, &nd);
			return;
		}
		if (nd.icmp.type == ICMPV6_ADVERT) {
			answer_advert(f, &nd);
			return;
		}
	}
	if (!is_for_us(f) || (!icmp_echo(f) && !probe_take(f, false)))
		pass(f);
}
