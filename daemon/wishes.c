// SPDX-License-Identifier: Apache-2.0
#include "daemon/wishes.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/hnv_wishes.h"
#include "vswitch/hnv_ctl.h"
#include "vswitch/layer_filter.h"

#define MAX_RULES (CACHE_RULES - 1)

int numbers_make(const struct model *model, const struct numbers *old, const bool *resting_ports,
		 struct numbers *out, struct err *err)
{
	const struct numbering_space switches = { &switch_type, SWITCH_MAX, NULL };
	const struct numbering_space ports = { &port_type, PORT_MAX, resting_ports };
	const struct numbering_space rules = { &rule_type, MAX_RULES, NULL };
	const struct numbering_space networks = { &network_type, UINT16_MAX, NULL };
	const struct numbering_space subnets = { &subnet_type, UINT16_MAX, NULL };
	int ret;

	*out = (struct numbers){ 0 };
	ret = numbering_make(model, &switches, &old->switches, &out->switches, err);
	if (!ret)
		ret = numbering_make(model, &ports, &old->ports, &out->ports, err);
	if (!ret)
		ret = numbering_make(model, &rules, &old->rules, &out->rules, err);
	if (!ret)
		ret = numbering_make(model, &networks, &old->networks, &out->networks, err);
	if (!ret)
		ret = numbering_make(model, &subnets, &old->subnets, &out->subnets, err);
	if (ret)
		numbers_free(out);
	return ret;
}

void numbers_free(struct numbers *n)
{
	numbering_free(&n->switches);
	numbering_free(&n->ports);
	numbering_free(&n->rules);
	numbering_free(&n->networks);
	numbering_free(&n->subnets);
}

const char *wishes_rule_name(const struct numbers *numbers, uint32_t rule_id)
{
	return rule_id ? numbering_name(&numbers->rules, (uint16_t)(rule_id - 1)) : NULL;
}

// --- rules -------------------------------------------------------------------------------------

// A rule on its way to a port's list.
struct placed_rule {
	int port;
	unsigned int direction;
	uint16_t priority;
	const char *name;
	struct filter_rule rule;
};

// By port, direction, priority; rules of equal priority in the order of their names.
static int compare_placed(const void *a, const void *b)
{
	const struct placed_rule *x = a, *y = b;

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	if (x->direction != y->direction)
		return x->direction < y->direction ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return strcmp(x->name, y->name);
}

// `to` comes from calloc: filters are compared byte by byte.
static void place_rule(const struct rule_obj *r, const struct numbers *numbers,
		       struct placed_rule *to)
{
	to->port = numbering_find(&numbers->ports, r->port);
	to->direction = r->direction;
	to->priority = r->priority;
	to->name = r->head.name;
	to->rule.id = (uint32_t)numbering_find(&numbers->rules, r->head.name) + 1;
	to->rule.protocol = rule_protocol(r);
	to->rule.allow = r->action == 0;
	to->rule.source = r->source;
	to->rule.destination = r->destination;
	to->rule.source_ports = r->source_ports;
	to->rule.destination_ports = r->destination_ports;
}

// A filter layer made of list[n], which are for one port and direction.
static int add_filter(struct sw_port_cfg *port, const struct placed_rule *list, uint32_t n)
{
	struct filter_rule *rules = calloc(n, sizeof(*rules));
	struct layer layer = { .ops = &layer_filter };

	for (uint32_t i = 0; rules && i < n; i++)
		memcpy(&rules[i], &list[i].rule, sizeof(rules[i]));
	layer.policy = rules ? filter_create(rules, n) : NULL;
	free(rules);
	if (!layer.policy)
		return -ENOMEM;
	if (list->direction == 0)
		port->in[port->n_in++] = layer;
	else
		port->out[port->n_out++] = layer;
	return 0;
}

// Gives each port its filters. by_index: the ports' wishes by index.
static int add_filters(const struct model *model, const struct numbers *numbers,
		       struct sw_port_cfg **by_index)
{
	const struct object *const *objs;
	size_t n = model_list(model, &rule_type, &objs);
	struct placed_rule *list = calloc(n + 1, sizeof(*list));
	int ret = list ? 0 : -ENOMEM;

	for (size_t i = 0; list && i < n; i++)
		place_rule(container_of(objs[i], struct rule_obj, head), numbers, &list[i]);
	if (list && n)
		qsort(list, n, sizeof(*list), compare_placed);
	for (size_t first = 0, end; !ret && first < n; first = end) {
		for (end = first + 1; end < n && list[end].port == list[first].port &&
				      list[end].direction == list[first].direction;
		     end++)
			;
		ret = add_filter(by_index[list[first].port], list + first,
				 (uint32_t)(end - first));
	}
	free(list);
	return ret;
}

// --- ports -------------------------------------------------------------------------------------

static enum vlan_mode effective_mode(const struct port_obj *p)
{
	if (p->vlan_mode != VLAN_AUTO)
		return p->vlan_mode;
	return p->role == ROLE_UPLINK ? VLAN_TRUNK : VLAN_UNTAGGED;
}

static void wish_vlans(const struct port_obj *p, struct sw_port_cfg *to)
{
	static const struct vlan_set none;

	to->takes_untagged = true;
	switch (effective_mode(p)) {
	case VLAN_AUTO:
	case VLAN_UNTAGGED:
		break;
	case VLAN_ACCESS:
		to->native_vid = p->vlan;
		break;
	case VLAN_TRUNK:
		to->takes_untagged = p->accept_untagged;
		to->native_vid = p->native_vlan;
		memcpy(to->tagged, p->allowed_vlans.bits, sizeof(to->tagged));
		for (uint16_t vid = 1;
		     memcmp(&p->allowed_vlans, &none, sizeof(none)) == 0 && vid <= VID_MAX; vid++)
			to->tagged[vid / 64] |= 1ull << (vid % 64);
		break;
	}
}

static void wish_port(const struct port_obj *p, const struct numbers *numbers,
		      struct sw_port_cfg *to)
{
	*to = (struct sw_port_cfg){
		.index = (uint16_t)numbering_find(&numbers->ports, p->head.name),
		.switch_id = (uint16_t)numbering_find(&numbers->switches, p->switch_name),
		.ready = !p->blocked,
		.learning = port_learns(p),
		.mac = p->mac,
		.storm_limit = p->storm_limit,
		.miss_budget = p->miss_budget,
		.max_macs = p->max_macs,
		.move_limit = p->move_limit,
		.in_subnet = p->subnet,
	};
	if (p->subnet)
		to->subnet = (uint16_t)numbering_find(&numbers->subnets, p->subnet);
	wish_vlans(p, to);
}

static int wish(const struct model *model, const struct numbers *numbers, struct vswitch_cfg *cfg,
		struct sw_switch_cfg *switches, struct sw_port_cfg *ports)
{
	struct sw_port_cfg **by_index = calloc(PORT_MAX, sizeof(*by_index));
	const struct object *const *objs;
	int ret;

	cfg->switches = switches;
	cfg->ports = ports;
	if (!by_index)
		return -ENOMEM;
	cfg->n_switches = (uint32_t)model_list(model, &switch_type, &objs);
	for (uint32_t i = 0; i < cfg->n_switches; i++) {
		const struct switch_obj *s = container_of(objs[i], struct switch_obj, head);

		switches[i] = (struct sw_switch_cfg){
			.id = (uint16_t)numbering_find(&numbers->switches, s->head.name),
			.flood_unknown = s->flood_unknown,
			.ageing_s = s->ageing };
	}
	cfg->n_ports = (uint32_t)model_list(model, &port_type, &objs);
	for (uint32_t i = 0; i < cfg->n_ports; i++) {
		wish_port(container_of(objs[i], struct port_obj, head), numbers, &ports[i]);
		by_index[ports[i].index] = &ports[i];
	}
	ret = add_filters(model, numbers, by_index);
	free(by_index);
	return ret;
}

int wishes_prepare(struct vswitch *vs, const struct model *model, const struct numbers *numbers,
		   struct vswitch_plan **plan, struct err *err)
{
	struct sw_switch_cfg *switches = calloc(numbers->switches.n + 1, sizeof(*switches));
	struct sw_port_cfg *ports = calloc(numbers->ports.n + 1, sizeof(*ports));
	struct vswitch_cfg cfg = { 0 };
	struct hnv_cfg hnv = { 0 };
	int ret = switches && ports ? wish(model, numbers, &cfg, switches, ports) : -ENOMEM;

	if (ret)
		err_set(err, -ret, "no memory for the configuration");
	else
		ret = hnv_wishes_make(model, numbers, &hnv, err);
	if (ret < 0) {
		vswitch_cfg_drop(&cfg);
	} else {
		cfg.hnv = ret ? &hnv : NULL;
		ret = vswitch_prepare(vs, &cfg, plan, err);
	}
	hnv_wishes_free(&hnv);
	free(switches);
	free(ports);
	return ret;
}
