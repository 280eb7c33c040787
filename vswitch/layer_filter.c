// SPDX-License-Identifier: Apache-2.0
#include "vswitch/layer_filter.h"

#include <stdlib.h>

struct filter {
	uint8_t reads; // union over the rules
	uint32_t n;
	struct filter_rule rules[];
};

static bool any_port(struct port_range r)
{
	return r.first == 0 && r.last == 0;
}

static uint8_t rule_reads(const struct filter_rule *r)
{
	uint8_t fields = 0;

	if (r->protocol >= 0)
		fields |= FIELD_PROTOCOL;
	if (r->source.family)
		fields |= FIELD_SOURCE;
	if (r->destination.family)
		fields |= FIELD_DESTINATION;
	if (!any_port(r->source_ports))
		fields |= FIELD_SOURCE_PORT | FIELD_PROTOCOL;
	if (!any_port(r->destination_ports))
		fields |= FIELD_DESTINATION_PORT | FIELD_PROTOCOL;
	return fields;
}

void *filter_create(const struct filter_rule *rules, uint32_t n)
{
	struct filter *f = calloc(1, sizeof(*f) + n * sizeof(*rules));

	if (!f)
		return NULL;
	f->n = n;
	for (uint32_t i = 0; i < n; i++) {
		f->rules[i] = rules[i];
		f->reads |= rule_reads(&rules[i]);
	}
	return f;
}

static bool prefix_matches(const struct ip_prefix *p, const struct packet *pkt,
			   const uint8_t *addr)
{
	unsigned int whole = p->len / 8, rest = p->len % 8;

	if (!p->family)
		return true;
	if (p->family != pkt->version || memcmp(p->addr, addr, whole) != 0)
		return false;
	return rest == 0 || ((p->addr[whole] ^ addr[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

static bool has_ports(const struct packet *p)
{
	if (p->bits & PACKET_LATER_FRAGMENT)
		return false;
	return p->protocol == IP_PROTO_TCP || p->protocol == IP_PROTO_UDP ||
	       p->protocol == IP_PROTO_SCTP || p->protocol == IP_PROTO_UDPLITE;
}

static bool range_matches(struct port_range r, const struct packet *p, uint16_t port)
{
	return any_port(r) || (has_ports(p) && port >= r.first && port <= r.last);
}

static bool rule_matches(const struct filter_rule *r, const struct packet *p)
{
	return (r->protocol < 0 || (p->version && r->protocol == p->protocol)) &&
	       prefix_matches(&r->source, p, p->source) &&
	       prefix_matches(&r->destination, p, p->destination) &&
	       range_matches(r->source_ports, p, p->source_port) &&
	       range_matches(r->destination_ports, p, p->destination_port);
}

static uint8_t reads(const void *policy, const struct packet *p)
{
	return p->version ? ((const struct filter *)policy)->reads : 0;
}

static void classify(const void *policy, const struct packet *p, struct verdict *v)
{
	const struct filter *f = policy;

	if (f->reads && p->bits & PACKET_MALFORMED) {
		v->reason = DROP_INVALID_PACKET;
		return;
	}
	for (uint32_t i = 0; i < f->n; i++) {
		if (!rule_matches(&f->rules[i], p))
			continue;
		if (!f->rules[i].allow) {
			v->reason = DROP_FILTERED;
			v->rule = f->rules[i].id;
		}
		return;
	}
}

static bool equal(const void *a, const void *b)
{
	const struct filter *x = a, *y = b;

	return x->n == y->n && memcmp(x->rules, y->rules, x->n * sizeof(x->rules[0])) == 0;
}

const struct layer_ops layer_filter = {
	.name = "filter",
	.reads = reads,
	.classify = classify,
	.equal = equal,
	.destroy = free,
};
