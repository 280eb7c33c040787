// SPDX-License-Identifier: Apache-2.0
// Virtual networks for people to look at: ways to other hosts with the neighbours that they begin
// with, and customer addresses. control.
#include <stdio.h>
#include <stdlib.h>

#include "daemon/daemon.h"
#include "daemon/show.h"
#include "vswitch/hnv_compile.h"

// --- ways --------------------------------------------------------------------------------------

static const char *const encap_names[HNV_N_ENCAPS] = {
	[HNV_NVGRE] = "nvgre", [HNV_VXLAN] = "vxlan"
};

static const struct field way_fields[] = {
	FIELD_LIVE(provider, FIELD_STRING, .help = "provider address of the host it leads to"),
	FIELD_LIVE(encap, FIELD_STRING, .help = "how frames travel"),
	FIELD_LIVE(state, FIELD_STRING,
		   .help = "ready; unresolved: its next hop does not answer; unreachable: no "
			   "provider address or route leads there"),
	FIELD_LIVE(port, FIELD_STRING, .help = "uplink that frames leave by"),
	FIELD_LIVE(source, FIELD_STRING, .help = "our provider address"),
	FIELD_LIVE(next_hop, FIELD_STRING, .help = "whose MAC is asked for: the host, or a router"),
	FIELD_LIVE(mac, FIELD_STRING, .help = "MAC of the next hop"),
	FIELD_LIVE(age, FIELD_UINT, .unit = "s", .help = "since the next hop was last heard"),
	FIELD_LIVE(mtu, FIELD_UINT, .unit = "bytes", .help = "largest IP packet of a tenant"),
	FIELD_LIVE(learnt, FIELD_BOOL, .help = "known from its frames, by no record"),
};

void show_way(const struct daemon *d, uint16_t way, char *text, size_t size)
{
	const struct hnv_image *im = vswitch_hnv(d->vswitch);
	const struct way *w = im && way_is(way) ? &im->hnv.ways[way - WAY_FIRST] : NULL;
	char address[64];

	if (!w || !w->provider.family) {
		snprintf(text, size, "?");
		return;
	}
	ip_address_print(&w->provider, address, sizeof(address));
	snprintf(text, size, "%s-%s", encap_names[w->encap], address);
}

static void set_address(json_t *row, const char *key, const struct ip_address *a)
{
	char text[64];

	ip_address_print(a, text, sizeof(text));
	show_text(row, key, text);
}

static void set_mac(json_t *row, const char *key, struct mac mac)
{
	char text[32];

	mac_print(mac, text, sizeof(text));
	show_text(row, key, text);
}

// The neighbour that each way begins with, by number less WAY_FIRST, into to[WAY_MAX].
static void list_next_hops(const struct underlay *u, const struct underlay_neighbor **to)
{
	for (uint32_t i = 0; i < u->n_hops; i++)
		to[u->hops[i].way - WAY_FIRST] = &u->neighbors[u->hops[i].neighbor];
}

static void set_next_hop(const struct daemon *d, const struct hnv_image *im,
			 const struct underlay_neighbor *n, json_t *row)
{
	const struct hnv_provider_cfg *from = &im->cfg.providers[n->provider];
	const char *port = numbering_name(&d->numbers.ports, from->port);

	show_text(row, "port", port);
	set_address(row, "source", &from->address);
	set_address(row, "next_hop", &n->address);
	if (mac_is_zero(n->mac))
		return;
	set_mac(row, "mac", n->mac);
	show_uint(row, "age", vswitch_now_s(d->vswitch) - n->seen_s);
}

static json_t *way_row(const struct daemon *d, uint32_t at, const struct underlay_neighbor *n,
		       const char *wanted)
{
	const struct hnv_image *im = vswitch_hnv(d->vswitch);
	const struct way *w = &im->hnv.ways[im->ways[at] - WAY_FIRST];
	const struct way_header *h = w->now.rcu_ptr; // control's own
	char name[80];
	json_t *row;

	show_way(d, im->ways[at], name, sizeof(name));
	if (wanted && strcmp(wanted, name) != 0)
		return NULL;
	row = json_object();
	show_text(row, "name", name);
	set_address(row, "provider", &w->provider);
	show_text(row, "encap", encap_names[w->encap]);
	show_text(row, "state", h ? "ready" : n ? "unresolved" : "unreachable");
	if (n)
		set_next_hop(d, im, n, row);
	if (h)
		show_uint(row, "mtu", h->mtu);
	json_object_set_new(row, "learnt", json_boolean(at >= im->n_fixed_ways));
	return row;
}

static json_t *way_list(void *ctx, const char *name)
{
	const struct daemon *d = ctx;
	const struct hnv_image *im = vswitch_hnv(d->vswitch);
	const struct underlay_neighbor **hops = calloc(WAY_MAX, sizeof(struct underlay_neighbor *));
	json_t *rows = json_array();

	if (im && hops)
		list_next_hops(im->underlay, hops);
	for (uint32_t i = 0; im && hops && i < im->n_ways; i++) {
		json_t *row = way_row(d, i, hops[im->ways[i] - WAY_FIRST], name);

		if (row)
			json_array_append_new(rows, row);
		if (json_array_size(rows) == SHOW_MAX_ROWS)
			break;
	}
	free(hops);
	return rows;
}

const struct object_type way_type = {
	.name = "way",
	.plural = "ways",
	.help = "another host by one encapsulation, and how it is reached (10000 are shown)",
	OBJECT_FIELDS(way_fields),
	.list = way_list,
};

// --- customer addresses ------------------------------------------------------------------------

static const struct field neighbor_fields[] = {
	FIELD_LIVE(subnet, FIELD_STRING, .help = "virtual subnet"),
	FIELD_LIVE(mac, FIELD_STRING, .help = "its MAC"),
	FIELD_LIVE(state, FIELD_STRING, .help = "record or learnt"),
	FIELD_LIVE(port, FIELD_STRING, .help = "port that it is behind"),
	FIELD_LIVE(way, FIELD_STRING, .help = "way to the host that it is on"),
};

void show_place(const struct daemon *d, uint16_t port, json_t *row)
{
	const char *name = numbering_name(&d->numbers.ports, port);
	char text[80];

	if (way_is(port)) {
		show_way(d, port, text, sizeof(text));
		show_text(row, "way", text);
	} else {
		show_text(row, "port", name);
	}
}

struct neighbor_dump {
	const struct daemon *d;
	const struct hnv_image *im;
	const char *name; // address wanted, or NULL
	json_t *rows;
};

static bool neighbor_row(void *arg, uint16_t fid, const struct ip_address *customer,
			 struct mac mac)
{
	struct neighbor_dump *dump = arg;
	const struct daemon *d = dump->d;
	uint16_t switch_id, subnet;
	struct fdb_where where;
	char name[64];
	json_t *row;

	ip_address_print(customer, name, sizeof(name));
	if ((dump->name && strcmp(dump->name, name) != 0) ||
	    !vswitch_domain(d->vswitch, fid, &switch_id, &subnet))
		return true;
	row = json_object();
	show_text(row, "name", name);
	show_text(row, "subnet", numbering_name(&d->numbers.subnets, subnet));
	set_mac(row, "mac", mac);
	show_text(row, "state",
		  hnv_image_has_record(dump->im, subnet, customer) ? "record" : "learnt");
	if (fdb_find(vswitch_fdb(d->vswitch), fid, mac, &where))
		show_place(d, where.port, row);
	json_array_append_new(dump->rows, row);
	return json_array_size(dump->rows) < SHOW_MAX_ROWS;
}

static json_t *neighbor_list(void *ctx, const char *name)
{
	const struct daemon *d = ctx;
	struct neighbor_dump dump = { d, vswitch_hnv(d->vswitch), name, json_array() };

	if (dump.im)
		hnv_neighbors_each(dump.im->hnv.neighbors, neighbor_row, &dump);
	return dump.rows;
}

const struct object_type neighbor_type = {
	.name = "neighbor",
	.plural = "neighbors",
	.help = "a customer address, and where it is (at most 10000 are shown)",
	OBJECT_FIELDS(neighbor_fields),
	.list = neighbor_list,
};
