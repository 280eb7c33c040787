// SPDX-License-Identifier: Apache-2.0
#include "daemon/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/probes.h"
#include "vswitch/hnv_ctl.h"
#include "vswitch/hnv_compile.h"
#include "vswitch/vswitch_ctl.h"

#define ENCAP_OVERHEAD 160u // bytes that tenants' packets may grow by, at most
#define SMALL_BYTES 56u  // of payload, as ping sends
#define PLAIN_BYTES 1472u // … so that the packet has 1500
#define TENANT_BYTES 1632u // … and EncapOverhead's 160 more

// One test on its way to requests.
struct journey {
	struct daemon *d;
	const struct hnv_image *im;
	struct probes *run;
	struct refusal *r;
	const struct port_obj *port; // where it starts
	const struct hnv_subnet *subnet; // of the port
	struct ip_address from, to; // customers
	struct hnv_hop hop;         // where `to` is
	struct mac first, last;     // MAC that a packet is sent to, and that of the next hop there
	const struct way *way;
	const struct underlay_neighbor *neighbor;
};

// --- what is asked -----------------------------------------------------------------------------

static int read_address(const json_t *params, const char *key, struct ip_address *out,
			struct refusal *r)
{
	const char *text = json_string_value(json_object_get(params, key));

	if (!text)
		return refuse(r, EINVAL, key, "%s: must be given, an IP address", key);
	if (!ip_address_parse(text, out))
		return refuse(r, EINVAL, key, "%s: '%.60s' is not an IP address", key, text);
	return 0;
}

static int read_port(struct journey *j, const json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "from"));
	const struct object *o;

	if (!name)
		return refuse(j->r, EINVAL, "from", "from: must be given, a port in a subnet");
	o = model_find(control_model(j->d->control), &port_type, name);
	if (!o)
		return refuse(j->r, ENOENT, "from", "from: there is no port '%.60s'", name);
	j->port = container_of(o, struct port_obj, head);
	if (!j->port->subnet || !j->im)
		return refuse(j->r, EINVAL, "from", "from: port '%s' is in no virtual subnet",
			      name);
	return 0;
}

// The customer address of the port's guest, as a record says.
static int find_own_address(struct journey *j)
{
	int id = numbering_find(&j->d->numbers.subnets, j->port->subnet);

	for (uint32_t i = 0; i < j->im->cfg.n_records; i++) {
		const struct hnv_record_cfg *r = &j->im->cfg.records[i];

		if (r->subnet == id && mac_equal(r->mac, j->port->mac) &&
		    r->customer.family == j->to.family) {
			j->from = r->customer;
			j->subnet = j->im->by_fid[j->im->fids[id]];
			return 0;
		}
	}
	return refuse(j->r, ENOENT, "from",
		      "from: no record gives port '%s' an IPv%u address in subnet %s; "
		      "weft add record",
		      j->port->head.name, j->to.family, j->port->subnet);
}

// --- where it leads ----------------------------------------------------------------------------

static const char *subnet_name(const struct journey *j, const struct hnv_subnet *s)
{
	uint16_t switch_id, id;
	const char *name = NULL;

	if (vswitch_domain(j->d->vswitch, s->fid, &switch_id, &id))
		name = numbering_name(&j->d->numbers.subnets, id);
	return name ? name : "?";
}

// The subnet where `to` is, and the address to look for there. False: that is the end, told.
static bool find_subnet(struct journey *j)
{
	const struct ip_prefix *own = &j->subnet->prefix[j->to.family == 6];
	char to[64], via[64];

	ip_address_print(&j->to, to, sizeof(to));
	j->hop = (struct hnv_hop){ j->subnet, j->to };
	if (ip_prefix_has(own, &j->to)) {
		probes_say(j->run, "subnet", true, "%s is in the port's own subnet %s", to,
			   j->port->subnet);
		return true;
	}
	if (!j->subnet->gateway[j->to.family == 6].family) {
		probes_say(j->run, "subnet", false, "%s is not in subnet %s, which has no gateway",
			   to, j->port->subnet);
		return false;
	}
	if (!j->subnet->network || !hnv_route(j->subnet->network, &j->to, &j->hop)) {
		probes_say(j->run, "subnet", false, "no subnet of the network has %s, and no route",
			   to);
		return false;
	}
	ip_address_print(&j->hop.next, via, sizeof(via));
	probes_say(j->run, "subnet", true, "%s is routed to subnet %s%s%s", to,
		   subnet_name(j, j->hop.subnet), strcmp(via, to) ? ", next hop " : "",
		   strcmp(via, to) ? via : "");
	return true;
}

static bool find_record(struct journey *j)
{
	struct fdb_where where;
	char next[64], mac[32], provider[64];

	ip_address_print(&j->hop.next, next, sizeof(next));
	if (!hnv_find_neighbor(&j->im->hnv, j->hop.subnet->fid, &j->hop.next, &j->last)) {
		probes_say(j->run, "record", false, "no record of %s in subnet %s", next,
			   subnet_name(j, j->hop.subnet));
		return false;
	}
	mac_print(j->last, mac, sizeof(mac));
	if (!fdb_find(vswitch_fdb(j->d->vswitch), j->hop.subnet->fid, j->last, &where) ||
	    where.tag != TAG_WAY) {
		probes_say(j->run, "record", false,
			   "%s, %s, is on this host: nothing travels; ping it from the guest", next,
			   mac);
		return false;
	}
	j->way = &j->im->hnv.ways[where.port - WAY_FIRST];
	ip_address_print(&j->way->provider, provider, sizeof(provider));
	probes_say(j->run, "record", true, "%s is %s at %s, by %s with id %u", next, mac, provider,
		   j->im->hnv.codecs[j->way->encap]->name, j->hop.subnet->vsid);
	j->first = j->hop.subnet == j->subnet ? j->last : j->im->hnv.router_mac;
	return true;
}

// Who is next on the underlay on the way to `provider`; NULL: nobody, told.
static const struct underlay_neighbor *
find_neighbor(const struct hnv_image *im, struct probes *run, const struct ip_address *provider)
{
	const struct underlay *u = im->underlay;
	const struct underlay_neighbor *found = NULL;
	struct ip_address next;
	char to[64], text[64], mac[32];
	uint16_t local;

	ip_address_print(provider, to, sizeof(to));
	if (!underlay_route(&im->cfg, provider, &local, &next)) {
		probes_say(run, "underlay", false,
			   "%s is on no link of ours, and no gateway or provider_route leads there",
			   to);
		return NULL;
	}
	for (uint32_t i = 0; i < u->n_neighbors && !found; i++)
		if (u->neighbors[i].provider == local &&
		    ip_address_equal(&u->neighbors[i].address, &next))
			found = &u->neighbors[i];
	ip_address_print(&next, text, sizeof(text));
	if (!found || mac_is_zero(found->mac)) {
		probes_say(run, "underlay", false,
			   "%s does not answer %s: host down, or wrong VLAN", text,
			   next.family == 4 ? "ARP" : "neighbour solicitations");
		return NULL;
	}
	mac_print(found->mac, mac, sizeof(mac));
	probes_say(run, "underlay", true, "%s by %s at %s", to, text, mac);
	return found;
}

// --- what is sent ------------------------------------------------------------------------------

static void add_provider_stage(struct probes *run, const struct hnv_image *im,
			       const struct underlay_neighbor *n, const struct ip_address *to,
			       uint32_t bytes)
{
	const struct hnv_provider_cfg *own = &im->cfg.providers[n->provider];

	run->stages[run->n_stages++] = (struct stage){
		.name = "provider",
		.port = own->port,
		.request = { .src = own->mac, .dst = n->mac, .vid = own->vid, .from = own->address,
			     .to = *to, .payload_bytes = bytes },
	};
}

static void add_customer_stage(struct journey *j, uint32_t bytes)
{
	j->run->stages[j->run->n_stages++] = (struct stage){
		.name = "customer",
		.port = (uint16_t)numbering_find(&j->d->numbers.ports, j->port->head.name),
		.from_guest = true,
		.guest = { .fid = j->subnet->fid, .mac = j->port->mac },
		.request = { .src = j->port->mac, .dst = j->first, .from = j->from, .to = j->to,
			     .payload_bytes = bytes },
	};
}

// --- test_path ---------------------------------------------------------------------------------

static bool judge_path(struct probes *p, char *buf, size_t size)
{
	const struct stage *host = &p->stages[0], *small = &p->stages[1], *large = &p->stages[2];
	char at[64];

	ip_address_print(&host->request.to, at, sizeof(at));
	if (large->n_received && small->n_received)
		snprintf(buf, size, "%s is reached%s", p->target,
			 host->n_received ? "" : ", though its host answers no pings itself");
	else if (small->n_received)
		snprintf(buf, size,
			 "%s is reached, but not by packets of %u bytes; weft test jumbo to=%s",
			 p->target, stage_bytes(large), at);
	else if (host->n_received)
		snprintf(buf, size,
			 "the underlay is well, but %s does not answer: its guest is down or "
			 "silent, a rule denies it, or records on host %s differ; weft show drop "
			 "there",
			 p->target, at);
	else
		snprintf(buf, size, "nothing comes back from host %s: is it up, and weftd on it?",
			 at);
	return small->n_received && large->n_received;
}

static bool find_way(struct journey *j)
{
	if (!find_subnet(j) || !find_record(j))
		return false;
	j->neighbor = find_neighbor(j->im, j->run, &j->way->provider);
	return j->neighbor != NULL;
}

// Largest packet of the guest that fits the way.
static uint32_t largest_payload(const struct journey *j)
{
	const struct way_header *h = rcu_get(&j->way->now);
	uint32_t mtu = h && h->mtu < j->port->mtu ? h->mtu : j->port->mtu;

	return mtu - (j->to.family == 6 ? 48 : 28);
}

static int test_path(void *ctx, struct request *req, const json_t *params, json_t **result,
		     struct refusal *r)
{
	struct daemon *d = ctx;
	struct journey j = { .d = d, .im = vswitch_hnv(d->vswitch), .r = r };
	int ret = read_port(&j, params);

	if (!ret)
		ret = read_address(params, "to", &j.to, r);
	if (!ret)
		ret = find_own_address(&j);
	if (ret)
		return ret;
	j.run = probes_create(d);
	if (!j.run)
		return refuse(r, ENOMEM, NULL, "no memory for a test");
	if (!find_way(&j)) {
		*result = probes_end(j.run, false, "there is no way there");
		return 0;
	}
	ip_address_print(&j.to, j.run->target, sizeof(j.run->target));
	add_provider_stage(j.run, j.im, j.neighbor, &j.way->provider, SMALL_BYTES);
	add_customer_stage(&j, SMALL_BYTES);
	add_customer_stage(&j, largest_payload(&j));
	j.run->judge = judge_path;
	return probes_run(j.run, req, r);
}

// --- test_jumbo --------------------------------------------------------------------------------

static bool judge_jumbo(struct probes *p, char *buf, size_t size)
{
	const struct stage *s = p->stages, *last = &s[p->n_stages - 1];
	const char *to = p->target;

	if (!s[0].n_received)
		snprintf(buf, size,
			 "%s answers nothing at all: is the host up, and its firewall open for "
			 "pings?",
			 to);
	else if (!s[1].n_received)
		snprintf(buf, size,
			 "not even packets of 1500 bytes get to %s: a link on the path has a "
			 "smaller MTU",
			 to);
	else if (!s[2].n_received)
		snprintf(buf, size,
			 "the path takes 1500 bytes, but not the 160 more that encapsulation "
			 "needs: set an MTU of 1660 (frames of 1674) on its links and switches "
			 "and on %s, or mtu=1340 on tenants' ports",
			 to);
	else if (!last->n_received)
		snprintf(buf, size,
			 "tenants' packets of 1500 bytes fit, but not those of %u, which the "
			 "provider address here promises: lower its mtu, or raise the path's",
			 stage_bytes(last) - ENCAP_OVERHEAD);
	else
		snprintf(buf, size, "the path takes %u bytes: tenants' packets of %u fit",
			 stage_bytes(last), stage_bytes(last) - ENCAP_OVERHEAD);
	return s[2].n_received && last->n_received;
}

// Our own uplink is too small to try.
static json_t *too_small(struct probes *run, const struct hnv_provider_cfg *own)
{
	char text[64], summary[160];

	ip_address_print(&own->address, text, sizeof(text));
	probes_say(run, "uplink", false, "provider address %s has an MTU of %u bytes", text,
		   own->mtu);
	snprintf(summary, sizeof(summary),
		 "this host itself sends no packets of 1660 bytes; raise its uplink's MTU, then "
		 "weft set provider … mtu=1660");
	return probes_end(run, false, summary);
}

static int test_jumbo(void *ctx, struct request *req, const json_t *params, json_t **result,
		      struct refusal *r)
{
	struct daemon *d = ctx;
	const struct hnv_image *im = vswitch_hnv(d->vswitch);
	const struct underlay_neighbor *n;
	const struct hnv_provider_cfg *own;
	struct ip_address to;
	struct probes *run;
	uint32_t headers;
	int ret = read_address(params, "to", &to, r);

	if (ret)
		return ret;
	if (!im || !im->cfg.n_providers)
		return refuse(r, ENOENT, NULL,
			      "this host has no provider address; weft add provider");
	run = probes_create(d);
	if (!run)
		return refuse(r, ENOMEM, NULL, "no memory for a test");
	n = find_neighbor(im, run, &to);
	if (!n) {
		*result = probes_end(run, false, "there is no way there: does a record name it?");
		return 0;
	}
	own = &im->cfg.providers[n->provider];
	headers = to.family == 6 ? 48 : 28;
	if (own->mtu < TENANT_BYTES + headers) {
		*result = too_small(run, own);
		return 0;
	}
	ip_address_print(&to, run->target, sizeof(run->target));
	add_provider_stage(run, im, n, &to, SMALL_BYTES);
	add_provider_stage(run, im, n, &to, PLAIN_BYTES);
	add_provider_stage(run, im, n, &to, TENANT_BYTES);
	if (own->mtu > TENANT_BYTES + headers)
		add_provider_stage(run, im, n, &to, own->mtu - headers);
	run->judge = judge_jumbo;
	return probes_run(run, req, r);
}

int path_methods_add(struct daemon *d)
{
	int ret = server_method_add(d->server, "test_path",
				    "probes the way from a port to a customer address: from, to",
				    test_path, d);

	return ret ? ret : server_method_add(d->server, "test_jumbo",
					     "probes the underlay with large packets: to",
					     test_jumbo, d);
}
