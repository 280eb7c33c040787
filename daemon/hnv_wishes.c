// SPDX-License-Identifier: Apache-2.0
#include "daemon/hnv_wishes.h"

#include <errno.h>
#include <stdlib.h>

#include "base/keyed.h"
#include "nvgre/nvgre.h"
#include "vswitch/hnv_ctl.h"
#include "vxlan/vxlan.h"

// Structs are compared byte by byte: all arrays come from calloc, members are set one by one.
static void *make_array(const struct model *model, const struct object_type *type, size_t size,
			const struct object *const **objs, uint32_t *n)
{
	*n = (uint32_t)model_list(model, type, objs);
	return calloc(*n + 1, size);
}

// --- subnets -----------------------------------------------------------------------------------

static int make_subnets(const struct model *model, const struct numbers *numbers,
			struct hnv_cfg *cfg)
{
	const struct object *const *objs;
	struct hnv_subnet_cfg *list = make_array(model, &subnet_type, sizeof(*list), &objs,
						 &cfg->n_subnets);

	cfg->subnets = list;
	for (uint32_t i = 0; list && i < cfg->n_subnets; i++) {
		const struct subnet_obj *s = container_of(objs[i], struct subnet_obj, head);

		list[i].id = (uint16_t)numbering_find(&numbers->subnets, s->head.name);
		list[i].network = (uint16_t)numbering_find(&numbers->networks, s->network);
		list[i].vsid = s->vsid;
		list[i].encap = s->encap;
		list[i].flow_id = s->flow == FLOW_FIXED ? s->flow_id : -1;
		list[i].learning = s->learning;
		list[i].prefix[0] = s->prefix;
		list[i].prefix[1] = s->prefix6;
		list[i].gateway[0] = s->gateway;
		list[i].gateway[1] = s->gateway6;
	}
	return list ? 0 : -ENOMEM;
}

// --- records -----------------------------------------------------------------------------------

static int compare_customers(const struct hnv_record_cfg *x, const struct hnv_record_cfg *y)
{
	if (x->subnet != y->subnet)
		return x->subnet < y->subnet ? -1 : 1;
	return memcmp(&x->customer, &y->customer, sizeof(x->customer));
}

// The order of records among those of one key.
static int compare_records(const void *list, uint32_t a, uint32_t b)
{
	const struct hnv_record_cfg *x = (const struct hnv_record_cfg *)list + a;
	const struct hnv_record_cfg *y = (const struct hnv_record_cfg *)list + b;
	int order = compare_customers(x, y);

	return order ? order : memcmp(&x->mac, &y->mac, sizeof(x->mac));
}

// By this, records are sorted as compare_records would, as far as 64 bits say: subnet, family, and
// what comes first of the address, or of the MAC when it has none.
static uint64_t record_key(const struct hnv_record_cfg *r)
{
	uint64_t first = __builtin_bswap64(load_u64(r->customer.b));

	if (!r->customer.family)
		first = mac_to_u64(r->mac) << 16;
	return (uint64_t)r->subnet << 48 | (uint64_t)(r->customer.family / 2) << 46 | first >> 18;
}

// Two records of one address contradict each other.
static int check_twins(const struct hnv_cfg *cfg, const struct object *const *objs,
		       const struct keyed *order, struct err *err)
{
	for (uint32_t i = 1; i < cfg->n_records; i++) {
		const struct hnv_record_cfg *a = &cfg->records[i - 1], *b = &cfg->records[i];

		if (b->customer.family && compare_customers(a, b) == 0)
			return err_set(err, EEXIST,
				       "record '%s': address: record %s has it in the same subnet",
				       objs[order[i].at]->name, objs[order[i - 1].at]->name);
	}
	return 0;
}

#define RECENT 4096u // subnets whose numbers are at hand

// What is looked up for a million records: numbers and encapsulations of subnets.
struct subnet_index {
	const struct numbering *numbers;
	uint8_t encaps[65536]; // by number
	struct {
		const char *name;
		uint16_t number;
	} recent[RECENT];
};

static struct subnet_index *index_subnets(const struct numbers *numbers, const struct hnv_cfg *cfg)
{
	struct subnet_index *ix = calloc(1, sizeof(*ix));

	if (!ix)
		return NULL;
	ix->numbers = &numbers->subnets;
	for (uint32_t i = 0; i < cfg->n_subnets; i++)
		ix->encaps[cfg->subnets[i].id] = (uint8_t)cfg->subnets[i].encap;
	return ix;
}

static uint16_t subnet_number(struct subnet_index *ix, const char *name)
{
	uint32_t hash = 0;

	for (const char *c = name; *c; c++)
		hash = hash * 31 + (uint8_t)*c;
	hash %= RECENT;
	if (!ix->recent[hash].name || strcmp(ix->recent[hash].name, name) != 0) {
		ix->recent[hash].name = name;
		ix->recent[hash].number = (uint16_t)numbering_find(ix->numbers, name);
	}
	return ix->recent[hash].number;
}

static void fill_record(const struct record_obj *r, struct subnet_index *ix,
			struct hnv_record_cfg *to)
{
	to->subnet = subnet_number(ix, r->subnet);
	to->encap = r->encap == RECORD_AUTO ? ix->encaps[to->subnet]
					    : (uint8_t)(r->encap - RECORD_NVGRE);
	to->customer = r->address;
	to->mac = r->mac;
	to->provider = r->provider;
}

// objs[n] as records[n] and their order.
static int sort_records(const struct object *const *objs, const struct numbers *numbers,
			struct hnv_cfg *cfg, struct hnv_record_cfg *list, struct keyed *order)
{
	struct hnv_record_cfg *records = (struct hnv_record_cfg *)cfg->records;
	struct subnet_index *ix = index_subnets(numbers, cfg);
	int ret = ix ? 0 : -ENOMEM;

	for (uint32_t i = 0; !ret && i < cfg->n_records; i++) {
		fill_record(container_of(objs[i], struct record_obj, head), ix, &list[i]);
		order[i] = (struct keyed){ record_key(&list[i]), i };
	}
	free(ix);
	if (!ret)
		ret = keyed_sort(order, cfg->n_records, compare_records, list);
	for (uint32_t i = 0; !ret && i < cfg->n_records; i++)
		memcpy(&records[i], &list[order[i].at], sizeof(records[i]));
	return ret;
}

static int make_records(const struct model *model, const struct numbers *numbers,
			struct hnv_cfg *cfg, struct err *err)
{
	const struct object *const *objs;
	struct hnv_record_cfg *list = make_array(model, &record_type, sizeof(*list), &objs,
						 &cfg->n_records);
	struct keyed *order = calloc(cfg->n_records + 1, sizeof(*order));
	int ret = -ENOMEM;

	cfg->records = calloc(cfg->n_records + 1, sizeof(*cfg->records));
	if (list && order && cfg->records)
		ret = sort_records(objs, numbers, cfg, list, order);
	if (!ret)
		ret = check_twins(cfg, objs, order, err);
	free(list);
	free(order);
	return ret;
}

static int compare_routes(const void *a, const void *b)
{
	const struct route_obj *x = container_of(*(const struct object *const *)a, struct route_obj,
						 head);
	const struct route_obj *y = container_of(*(const struct object *const *)b, struct route_obj,
						 head);
	int order = strcmp(x->network, y->network);

	if (!order)
		order = memcmp(&x->prefix, &y->prefix, sizeof(x->prefix));
	return order ? order : x->metric < y->metric ? -1 : x->metric > y->metric;
}

// Which of two routes with the same metric would be taken?
static int check_equal_routes(const struct object *const *objs, uint32_t n, struct err *err)
{
	const struct object **list = calloc(n + 1, sizeof(struct object *));
	int ret = list ? 0 : -ENOMEM;

	if (list && n) {
		memcpy(list, objs, n * sizeof(struct object *));
		qsort(list, n, sizeof(struct object *), compare_routes);
	}
	for (uint32_t i = 1; !ret && i < n; i++)
		if (compare_routes(&list[i - 1], &list[i]) == 0)
			ret = err_set(err, EEXIST,
				      "route '%s': prefix: route %s has it, with the same metric",
				      list[i]->name, list[i - 1]->name);
	free(list);
	return ret;
}

static int make_routes(const struct model *model, const struct numbers *numbers,
		       struct hnv_cfg *cfg, struct err *err)
{
	const struct object *const *objs;
	struct hnv_route_cfg *list = make_array(model, &route_type, sizeof(*list), &objs,
						&cfg->n_routes);

	cfg->routes = list;
	for (uint32_t i = 0; list && i < cfg->n_routes; i++) {
		const struct route_obj *r = container_of(objs[i], struct route_obj, head);

		list[i].network = (uint16_t)numbering_find(&numbers->networks, r->network);
		list[i].prefix = r->prefix;
		list[i].next_hop = r->next_hop;
		list[i].metric = r->metric;
	}
	return list ? check_equal_routes(objs, cfg->n_routes, err) : -ENOMEM;
}

// --- providers ---------------------------------------------------------------------------------

struct placed_provider {
	struct hnv_provider_cfg cfg;
	const char *name;
};

static int compare_providers(const void *a, const void *b)
{
	const struct placed_provider *x = a, *y = b;

	if (x->cfg.port != y->cfg.port)
		return x->cfg.port < y->cfg.port ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void place_provider(const struct provider_obj *p, const struct model *model,
			   const struct numbers *numbers, struct placed_provider *to)
{
	const struct port_obj *port =
		container_of(model_find(model, &port_type, p->port), struct port_obj, head);

	to->name = p->head.name;
	to->cfg.port = (uint16_t)numbering_find(&numbers->ports, p->port);
	to->cfg.vid = p->vlan;
	to->cfg.address = p->address;
	to->cfg.prefix_bits = p->prefix_length;
	to->cfg.mac = p->mac;
	to->cfg.gateway = p->gateway;
	to->cfg.mtu = p->mtu ? p->mtu : (uint16_t)(port->mtu + HNV_ENCAP_OVERHEAD);
}

static int make_provider_routes(const struct model *model, const struct placed_provider *providers,
				struct hnv_cfg *cfg)
{
	const struct object *const *objs;
	struct hnv_provider_route_cfg *list = make_array(model, &provider_route_type, sizeof(*list),
							 &objs, &cfg->n_provider_routes);

	cfg->provider_routes = list;
	for (uint32_t i = 0; list && i < cfg->n_provider_routes; i++) {
		const struct provider_route_obj *r =
			container_of(objs[i], struct provider_route_obj, head);
		uint16_t at = 0;

		while (strcmp(providers[at].name, r->provider) != 0)
			at++;
		list[i].provider = at;
		list[i].prefix = r->prefix;
		list[i].next_hop = r->next_hop;
	}
	return list ? 0 : -ENOMEM;
}

static int make_providers(const struct model *model, const struct numbers *numbers,
			  struct hnv_cfg *cfg)
{
	const struct object *const *objs;
	struct placed_provider *list = make_array(model, &provider_type, sizeof(*list), &objs,
						  &cfg->n_providers);
	struct hnv_provider_cfg *providers = calloc(cfg->n_providers + 1, sizeof(*providers));
	int ret = -ENOMEM;

	cfg->providers = providers;
	for (uint32_t i = 0; list && i < cfg->n_providers; i++)
		place_provider(container_of(objs[i], struct provider_obj, head), model, numbers,
			       &list[i]);
	if (list && providers) {
		if (cfg->n_providers)
			qsort(list, cfg->n_providers, sizeof(*list), compare_providers);
		for (uint32_t i = 0; i < cfg->n_providers; i++)
			memcpy(&providers[i], &list[i].cfg, sizeof(providers[i]));
		ret = make_provider_routes(model, list, cfg);
	}
	free(list);
	return ret;
}

// --- the whole ---------------------------------------------------------------------------------

int hnv_wishes_make(const struct model *model, const struct numbers *numbers, struct hnv_cfg *cfg,
		    struct err *err)
{
	const struct hnv_obj *h =
		container_of(model_find(model, &hnv_type, hnv_type.name), struct hnv_obj, head);
	int ret;

	*cfg = (struct hnv_cfg){ .router_mac = h->router_mac,
				 .vxlan_port = h->vxlan_port,
				 .codecs = { [HNV_NVGRE] = &nvgre_ops, [HNV_VXLAN] = &vxlan_ops } };
	ret = make_subnets(model, numbers, cfg);
	if (!ret)
		ret = make_records(model, numbers, cfg, err);
	if (!ret)
		ret = make_routes(model, numbers, cfg, err);
	if (!ret)
		ret = make_providers(model, numbers, cfg);
	if (ret == -ENOMEM)
		err_set(err, ENOMEM, "no memory for virtual networks");
	return ret ? ret : cfg->n_subnets || cfg->n_providers;
}

void hnv_wishes_free(struct hnv_cfg *cfg)
{
	free((void *)cfg->subnets);
	free((void *)cfg->records);
	free((void *)cfg->routes);
	free((void *)cfg->providers);
	free((void *)cfg->provider_routes);
}
