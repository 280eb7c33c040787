// SPDX-License-Identifier: Apache-2.0
#include "vswitch/hnv_ctl.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "vswitch/vswitch_ctl.h"

static bool prefixes_overlap(const struct ip_prefix *a, const struct ip_prefix *b)
{
	const struct ip_prefix *wide = a->len < b->len ? a : b, *narrow = wide == a ? b : a;
	struct ip_address first = { .family = narrow->family };

	memcpy(first.b, narrow->addr, sizeof(first.b));
	return wide->family && ip_prefix_has(wide, &first);
}

static bool is_unspecified(const struct ip_address *a)
{
	static const uint8_t zero[sizeof(a->b)];

	return memcmp(a->b, zero, sizeof(zero)) == 0;
}

static bool is_multicast(const struct ip_address *a)
{
	return a->family == 4 ? a->b[0] >= 224 : a->b[0] == 0xff;
}

// An address that one host can have: neither unspecified, nor multicast, nor loopback.
static int check_host(const char *field, const struct ip_address *a, struct err *err)
{
	char text[64];

	if (!a->family || (!is_unspecified(a) && !is_multicast(a) &&
			   !(a->family == 4 && a->b[0] == 127)))
		return 0;
	ip_address_print(a, text, sizeof(text));
	return err_set(err, EINVAL, "%s: %s is not the address of one host", field, text);
}

// "field: 10.0.0.1 is not in 10.1.0.0/24 of …"
static int not_in(const char *field, const struct ip_address *a, const struct ip_prefix *p,
		  const char *of, struct err *err)
{
	char address[64], prefix[64];

	ip_address_print(a, address, sizeof(address));
	if (!p->family)
		return err_set(err, EINVAL, "%s: %s is IPv%u, and %s has no such prefix", field,
			       address, a->family, of);
	ip_prefix_print(p, prefix, sizeof(prefix));
	return err_set(err, EINVAL, "%s: %s is not in %s of %s", field, address, prefix, of);
}

// --- the whole ---------------------------------------------------------------------------------

static const struct field hnv_fields[] = {
	FIELD(struct hnv_obj, router_mac, FIELD_MAC, .def = HNV_ROUTER_MAC,
	      .help = "address of every gateway, the same on all hosts of a fabric"),
	FIELD(struct hnv_obj, vxlan_port, FIELD_UINT, .min = 1, .max = UINT16_MAX, .def = "4789",
	      .help = "UDP port of VXLAN, the same on all hosts of a fabric"),
};

static int check_hnv(void *ctx, const struct object *obj, const struct model *model,
		     struct err *err)
{
	const struct hnv_obj *h = container_of(obj, struct hnv_obj, head);

	if (mac_is_group(h->router_mac) || mac_is_zero(h->router_mac))
		return err_set(err, EINVAL,
			       "router_mac: a gateway's address is that of one station");
	return 0;
}

const struct object_type hnv_type = {
	.name = "hnv",
	.plural = "hnv",
	.help = "what all virtual subnets have in common",
	.size = sizeof(struct hnv_obj),
	OBJECT_FIELDS(hnv_fields),
	.singleton = true,
	.check = check_hnv,
};

// --- networks ----------------------------------------------------------------------------------

static const struct field network_fields[] = {
	FIELD(struct network_obj, rdid, FIELD_GUID, .flags = FIELD_GENERATED | FIELD_UNIQUE,
	      .help = "routing domain id, identity for controllers"),
};

static int generate_network(void *ctx, struct object *obj, const struct model *model,
			    struct err *err)
{
	return guid_generate(&container_of(obj, struct network_obj, head)->rdid, err);
}

const struct object_type network_type = {
	.name = "network",
	.plural = "networks",
	.help = "a virtual network (routing domain): subnets that are routed among each other",
	.size = sizeof(struct network_obj),
	OBJECT_FIELDS(network_fields),
	.generate = generate_network,
};

// --- subnets -----------------------------------------------------------------------------------

static const char *const encap_words[] = { "nvgre", "vxlan", NULL };
static const char *const flow_words[] = { "hash", "fixed", NULL };

#define SUBNET(member, kind, ...) FIELD(struct subnet_obj, member, kind, __VA_ARGS__)

static const struct field subnet_fields[] = {
	SUBNET(network, FIELD_REF, .ref = "network", .flags = FIELD_REQUIRED,
	       .help = "the network that it is routed in"),
	SUBNET(vsid, FIELD_UINT, .min = 1, .max = 0xffffff, .flags = FIELD_REQUIRED,
	       .help = "virtual subnet id: VNI 1 to 16777215, NVGRE's VSID 4096 to 16777214"),
	SUBNET(encap, FIELD_ENUM, .words = encap_words, .def = "vxlan",
	       .help = "how its frames travel between hosts"),
	SUBNET(prefix, FIELD_PREFIX, .help = "its IPv4 addresses"),
	SUBNET(gateway, FIELD_ADDRESS, .help = "IPv4 address at which every host routes for it"),
	SUBNET(prefix6, FIELD_PREFIX, .help = "its IPv6 addresses"),
	SUBNET(gateway6, FIELD_ADDRESS, .help = "IPv6 address at which every host routes for it"),
	SUBNET(learning, FIELD_BOOL, .def = "false",
	       .help = "customer addresses and their providers may be learnt from traffic"),
	SUBNET(flow, FIELD_ENUM, .words = flow_words, .def = "hash", .flags = FIELD_DETAIL,
	       .help = "NVGRE's FlowID: from a hash of the inner packet, or flow_id"),
	SUBNET(flow_id, FIELD_UINT, .max = 255, .def = "0", .flags = FIELD_DETAIL,
	       .help = "the FlowID of all its frames"),
};

// The gateway is a host's address in the prefix, neither its first nor, with IPv4, its last.
static int check_gateway(const char *const names[2], const struct ip_prefix *p,
			 const struct ip_address *g, struct err *err)
{
	bool first = true, last = p->family == 4;
	char text[64];

	if (p->family && p->family != (strcmp(names[0], "prefix6") == 0 ? 6 : 4))
		return err_set(err, EINVAL, "%s: is IPv%u; %s takes the other family", names[0],
			       p->family, names[0]);
	if (!g->family)
		return 0;
	if (!ip_prefix_has(p, g))
		return not_in(names[1], g, p, "the subnet", err);
	if (p->len >= (p->family == 4 ? 31 : 127))
		return 0;
	for (unsigned int bit = p->len; bit < (p->family == 4 ? 32 : 128); bit++) {
		bool set = g->b[bit / 8] >> (7 - bit % 8) & 1;

		first &= !set;
		last &= set;
	}
	if (!first && !last)
		return check_host(names[1], g, err);
	ip_address_print(g, text, sizeof(text));
	return err_set(err, EINVAL, "%s: %s is the subnet's %s address, no host can have it",
		       names[1], text, first ? "first" : "broadcast");
}

static int check_vsid(const struct subnet_obj *s, struct err *err)
{
	if (s->encap == HNV_NVGRE && (s->vsid < 4096 || s->vsid > 0xfffffe))
		return err_set(err, ERANGE,
			       "vsid: %u is not NVGRE's, which is 4096 to 16777214 (RFC 7637)",
			       s->vsid);
	if (s->flow == FLOW_FIXED && s->encap != HNV_NVGRE)
		return err_set(err, EINVAL, "flow=fixed needs encap=nvgre");
	if (s->flow_id && s->flow != FLOW_FIXED)
		return err_set(err, EINVAL, "flow_id=%u needs flow=fixed", s->flow_id);
	return 0;
}

static int overlap(const char *field, const struct ip_prefix *p, const struct ip_prefix *other,
		   const struct object *of, struct err *err)
{
	char a[64], b[64];

	if (!p->family || !other->family || !prefixes_overlap(p, other))
		return 0;
	ip_prefix_print(p, a, sizeof(a));
	ip_prefix_print(other, b, sizeof(b));
	return err_set(err, EEXIST, "%s: %s overlaps %s of subnet %s in the same network", field, a,
		       b, of->name);
}

// Two subnets have one number, by different encapsulations: no record of either may ask for that of
// the other.
static int check_foreign(const struct subnet_obj *a, const struct subnet_obj *b,
			 const struct model *model, struct err *err)
{
	const struct object *const *objs;
	size_t n = model_list(model, &record_type, &objs);

	for (size_t i = 0; i < n; i++) {
		const struct record_obj *r = container_of(objs[i], struct record_obj, head);
		bool of_a = strcmp(r->subnet, a->head.name) == 0;

		if (r->encap == RECORD_AUTO || (!of_a && strcmp(r->subnet, b->head.name) != 0))
			continue;
		if ((enum hnv_encap)(r->encap - RECORD_NVGRE) != (of_a ? a : b)->encap)
			return err_set(err, EEXIST,
				       "vsid: %u is subnet %s's too, and record %s asks for "
				       "another encap than its subnet",
				       a->vsid, b->head.name, r->head.name);
	}
	return 0;
}

// Against all others: VSIDs are of the fabric, prefixes of the network.
static int check_others(const struct subnet_obj *s, const struct model *model, struct err *err)
{
	const struct object *const *objs;
	size_t n = model_list(model, &subnet_type, &objs);
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++) {
		const struct subnet_obj *o = container_of(objs[i], struct subnet_obj, head);

		if (o == s)
			continue;
		if (o->vsid == s->vsid && o->encap == s->encap)
			return err_set(err, EEXIST, "vsid: %u of %s is subnet %s's", s->vsid,
				       encap_words[s->encap], o->head.name);
		if (o->vsid == s->vsid)
			ret = check_foreign(s, o, model, err);
		if (ret)
			return ret;
		if (strcmp(o->network, s->network) != 0)
			continue;
		ret = overlap("prefix", &s->prefix, &o->prefix, &o->head, err);
		if (!ret)
			ret = overlap("prefix6", &s->prefix6, &o->prefix6, &o->head, err);
	}
	return ret;
}

static int check_subnet(void *ctx, const struct object *obj, const struct model *model,
			struct err *err)
{
	static const char *const v4[] = { "prefix", "gateway" }, *const v6[] = { "prefix6",
										 "gateway6" };
	const struct subnet_obj *s = container_of(obj, struct subnet_obj, head);
	int ret = check_vsid(s, err);

	if (!ret)
		ret = check_gateway(v4, &s->prefix, &s->gateway, err);
	if (!ret)
		ret = check_gateway(v6, &s->prefix6, &s->gateway6, err);
	return ret ? ret : check_others(s, model, err);
}

const struct object_type subnet_type = {
	.name = "subnet",
	.plural = "subnets",
	.help = "a virtual subnet: ports on any host that are one Ethernet",
	.size = sizeof(struct subnet_obj),
	OBJECT_FIELDS(subnet_fields),
	.check = check_subnet,
};

// --- records -----------------------------------------------------------------------------------

static const char *const record_encap_words[] = { "auto", "nvgre", "vxlan", NULL };

#define RECORD(member, kind, ...) FIELD(struct record_obj, member, kind, __VA_ARGS__)

static const struct field record_fields[] = {
	RECORD(subnet, FIELD_REF, .ref = "subnet", .flags = FIELD_REQUIRED,
	       .help = "virtual subnet of the address"),
	RECORD(address, FIELD_ADDRESS,
	       .help = "customer address; not given: only its MAC is known"),
	RECORD(mac, FIELD_MAC, .flags = FIELD_REQUIRED, .help = "its MAC address"),
	RECORD(provider, FIELD_ADDRESS,
	       .help = "provider address of the host that it is on; not given, or one of this "
		       "host's: here"),
	RECORD(encap, FIELD_ENUM, .words = record_encap_words, .def = "auto", .flags = FIELD_DETAIL,
	       .help = "how frames travel to it; auto: as the subnet says"),
};

// The link of a provider address.
static struct ip_prefix link_of(const struct provider_obj *p)
{
	struct ip_prefix link = { .family = p->address.family, .len = p->prefix_length };

	memcpy(link.addr, p->address.b, sizeof(link.addr));
	for (unsigned int bit = link.len; bit < sizeof(link.addr) * 8; bit++)
		link.addr[bit / 8] &= (uint8_t)~(0x80u >> bit % 8);
	return link;
}

// Has this host a link, a gateway or a provider route that leads there?
static bool is_reachable(const struct ip_address *to, const struct model *model)
{
	const struct object *const *objs;
	size_t n = model_list(model, &provider_type, &objs);

	for (size_t i = 0; i < n; i++) {
		const struct provider_obj *p = container_of(objs[i], struct provider_obj, head);
		struct ip_prefix link = link_of(p);

		if (ip_prefix_has(&link, to) || p->gateway.family == to->family)
			return true;
	}
	n = model_list(model, &provider_route_type, &objs);
	for (size_t i = 0; i < n; i++)
		if (ip_prefix_has(&container_of(objs[i], struct provider_route_obj, head)->prefix,
				  to))
			return true;
	return false;
}

// The number of the record's subnet must be its own by the record's encapsulation, too.
static int check_encap(const struct record_obj *r, const struct subnet_obj *s,
		       const struct model *model, struct err *err)
{
	enum hnv_encap encap = (enum hnv_encap)(r->encap - RECORD_NVGRE);
	const struct object *const *objs;
	size_t n = model_list(model, &subnet_type, &objs);

	if (r->encap == RECORD_AUTO || encap == s->encap)
		return 0;
	if (encap == HNV_NVGRE && s->vsid < 4096)
		return err_set(err, ERANGE, "encap=nvgre: vsid %u of subnet %s is below 4096",
			       s->vsid, r->subnet);
	for (size_t i = 0; i < n; i++) {
		const struct subnet_obj *o = container_of(objs[i], struct subnet_obj, head);

		if (o->vsid == s->vsid && o->encap == encap)
			return err_set(err, EEXIST, "encap=%s: vsid %u of it is subnet %s's",
				       encap_words[encap], s->vsid, o->head.name);
	}
	return 0;
}

static int check_record(void *ctx, const struct object *obj, const struct model *model,
			struct err *err)
{
	const struct record_obj *r = container_of(obj, struct record_obj, head);
	const struct subnet_obj *s = container_of(model_find(model, &subnet_type, r->subnet),
						  struct subnet_obj, head);
	const struct ip_prefix *p = r->address.family == 6 ? &s->prefix6 : &s->prefix;
	char text[64];
	int ret;

	if (mac_is_group(r->mac) || mac_is_zero(r->mac))
		return err_set(err, EINVAL, "mac: a record's address is that of one station");
	if (r->address.family && !ip_prefix_has(p, &r->address))
		return not_in("address", &r->address, p, r->subnet, err);
	if (ip_address_equal(&r->address, r->address.family == 6 ? &s->gateway6 : &s->gateway) &&
	    r->address.family)
		return err_set(err, EEXIST, "address: is the gateway of subnet %s", r->subnet);
	ret = check_encap(r, s, model, err);
	if (!ret)
		ret = check_host("provider", &r->provider, err);
	if (ret || !r->provider.family || is_reachable(&r->provider, model))
		return ret;
	ip_address_print(&r->provider, text, sizeof(text));
	return err_set(err, ENOENT,
		       "provider: no provider address of this host, gateway or provider_route "
		       "leads to %s",
		       text);
}

const struct object_type record_type = {
	.name = "record",
	.plural = "records",
	.help = "a lookup record: where a customer address is",
	.size = sizeof(struct record_obj),
	OBJECT_FIELDS(record_fields),
	.check = check_record,
};

// --- customer routes ---------------------------------------------------------------------------

#define ROUTE(member, kind, ...) FIELD(struct route_obj, member, kind, __VA_ARGS__)

static const struct field route_fields[] = {
	ROUTE(network, FIELD_REF, .ref = "network", .flags = FIELD_REQUIRED,
	      .help = "network that it is for"),
	ROUTE(prefix, FIELD_PREFIX, .flags = FIELD_REQUIRED, .help = "where it leads to"),
	ROUTE(next_hop, FIELD_ADDRESS, .flags = FIELD_REQUIRED,
	      .help = "customer address, in a subnet of the network, that packets go to"),
	ROUTE(metric, FIELD_UINT, .max = UINT32_MAX, .def = "0",
	      .help = "the smallest wins among routes to one prefix"),
};

// The subnet of `network` that the address is in, or NULL.
static const struct subnet_obj *subnet_of(const struct model *model, const char *network,
					  const struct ip_address *a)
{
	const struct object *const *objs;
	size_t n = model_list(model, &subnet_type, &objs);

	for (size_t i = 0; i < n; i++) {
		const struct subnet_obj *s = container_of(objs[i], struct subnet_obj, head);

		if (ip_prefix_has(a->family == 6 ? &s->prefix6 : &s->prefix, a) &&
		    strcmp(s->network, network) == 0)
			return s;
	}
	return NULL;
}

static int check_route(void *ctx, const struct object *obj, const struct model *model,
		       struct err *err)
{
	const struct route_obj *r = container_of(obj, struct route_obj, head);
	const struct subnet_obj *s;
	char text[64];

	if (r->next_hop.family != r->prefix.family)
		return err_set(err, EINVAL, "next_hop: is IPv%u, and prefix IPv%u",
			       r->next_hop.family, r->prefix.family);
	s = subnet_of(model, r->network, &r->next_hop);
	ip_address_print(&r->next_hop, text, sizeof(text));
	if (!s)
		return err_set(err, EINVAL, "next_hop: %s is in no subnet of network %s", text,
			       r->network);
	if (ip_address_equal(&r->next_hop, s->gateway.family == r->next_hop.family ? &s->gateway
										   : &s->gateway6))
		return err_set(err, ELOOP,
			       "next_hop: %s is the gateway of subnet %s, which is this route's "
			       "own router: a loop",
			       text, s->head.name);
	return 0;
}

const struct object_type route_type = {
	.name = "route",
	.plural = "routes",
	.help = "a customer route: where a network sends what is in none of its subnets",
	.size = sizeof(struct route_obj),
	OBJECT_FIELDS(route_fields),
	.check = check_route,
};

// --- provider addresses ------------------------------------------------------------------------

#define PROVIDER(member, kind, ...) FIELD(struct provider_obj, member, kind, __VA_ARGS__)

static const struct field provider_fields[] = {
	PROVIDER(port, FIELD_REF, .ref = "port", .flags = FIELD_REQUIRED,
		 .help = "uplink it is on"),
	PROVIDER(address, FIELD_ADDRESS, .flags = FIELD_REQUIRED | FIELD_UNIQUE,
		 .help = "the provider address"),
	PROVIDER(prefix_length, FIELD_UINT, .min = 1, .max = 128, .flags = FIELD_REQUIRED,
		 .unit = "bits", .help = "how much of it names its link"),
	PROVIDER(vlan, FIELD_UINT, .min = 1, .max = VID_MAX,
		 .help = "VLAN it is in; not given: untagged"),
	PROVIDER(mac, FIELD_MAC, .flags = FIELD_GENERATED | FIELD_UNIQUE, .help = "its own MAC"),
	PROVIDER(gateway, FIELD_ADDRESS, .help = "router to providers on other links"),
	PROVIDER(mtu, FIELD_UINT, .min = 1280, .max = 9600, .unit = "bytes",
		 .help = "largest IP packet on the underlay; not given: 160 more than the "
			 "uplink's"),
};

static int generate_provider(void *ctx, struct object *obj, const struct model *model,
			     struct err *err)
{
	struct provider_obj *p = container_of(obj, struct provider_obj, head);

	if (getrandom(p->mac.b, sizeof(p->mac.b), 0) != sizeof(p->mac.b))
		return err_set(err, EIO, "the kernel gives no random numbers");
	p->mac.b[0] = (p->mac.b[0] & 0xfc) | 0x02; // of one station, locally administered
	return 0;
}

static int check_provider(void *ctx, const struct object *obj, const struct model *model,
			  struct err *err)
{
	const struct provider_obj *p = container_of(obj, struct provider_obj, head);
	const struct port_obj *port = container_of(model_find(model, &port_type, p->port),
						   struct port_obj, head);
	struct ip_prefix link = link_of(p);
	int ret;

	if (port->role != ROLE_UPLINK)
		return err_set(err, EINVAL, "port: %s is no uplink; weft set port %s role=uplink",
			       p->port, p->port);
	if (mac_is_group(p->mac))
		return err_set(err, EINVAL, "mac: a provider's address is that of one station");
	if (p->address.family == 4 && p->prefix_length > 32)
		return err_set(err, ERANGE, "prefix_length: %u is not 1 to 32 bits",
			       p->prefix_length);
	ret = check_host("address", &p->address, err);
	if (ret || !p->gateway.family)
		return ret;
	if (!ip_prefix_has(&link, &p->gateway))
		return not_in("gateway", &p->gateway, &link, "the link", err);
	if (ip_address_equal(&p->gateway, &p->address))
		return err_set(err, ELOOP, "gateway: is the provider address itself");
	return 0;
}

const struct object_type provider_type = {
	.name = "provider",
	.plural = "providers",
	.help = "a provider address: an address of this host on an underlay",
	.size = sizeof(struct provider_obj),
	OBJECT_FIELDS(provider_fields),
	.generate = generate_provider,
	.check = check_provider,
};

// --- provider routes ---------------------------------------------------------------------------

#define WAY_OUT(member, kind, ...) FIELD(struct provider_route_obj, member, kind, __VA_ARGS__)

static const struct field provider_route_fields[] = {
	WAY_OUT(provider, FIELD_REF, .ref = "provider", .flags = FIELD_REQUIRED,
		.help = "provider address that packets leave from"),
	WAY_OUT(prefix, FIELD_PREFIX, .flags = FIELD_REQUIRED,
		.help = "provider addresses that it leads to"),
	WAY_OUT(next_hop, FIELD_ADDRESS, .flags = FIELD_REQUIRED,
		.help = "router on the provider address's link"),
};

static int check_provider_route(void *ctx, const struct object *obj, const struct model *model,
				struct err *err)
{
	const struct provider_route_obj *r = container_of(obj, struct provider_route_obj, head);
	const struct provider_obj *p = container_of(
		model_find(model, &provider_type, r->provider), struct provider_obj, head);
	struct ip_prefix link = link_of(p);

	if (r->prefix.family != p->address.family)
		return err_set(err, EINVAL, "prefix: is IPv%u, and provider %s IPv%u",
			       r->prefix.family, r->provider, p->address.family);
	if (!ip_prefix_has(&link, &r->next_hop))
		return not_in("next_hop", &r->next_hop, &link, r->provider, err);
	if (ip_address_equal(&r->next_hop, &p->address))
		return err_set(err, ELOOP, "next_hop: is provider %s itself", r->provider);
	return 0;
}

const struct object_type provider_route_type = {
	.name = "provider_route",
	.plural = "provider_routes",
	.help = "a router on the underlay, to providers on other links",
	.size = sizeof(struct provider_route_obj),
	OBJECT_FIELDS(provider_route_fields),
	.check = check_provider_route,
};
