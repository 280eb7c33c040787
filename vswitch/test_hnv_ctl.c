// SPDX-License-Identifier: Apache-2.0
// Objects of network virtualisation: what is refused, by which field, and what is not.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vswitch/hnv_ctl.h"
#include "vswitch/vswitch_ctl.h"

static const struct object_type *const list[] = {
	&hnv_type,    &network_type, &subnet_type,   (const struct object_type *)&switch_type,
	&port_type,   &record_type,  &route_type,    &provider_type,
	&provider_route_type,
};
static const struct object_types types = { list, ARRAY_SIZE(list) };

// One edit: "add subnet blue" and its fields as JSON.
static int edit(const struct model **model, const char *words, const char *fields,
		struct refusal *r)
{
	static const char *const ops[] = { "add", "set", "put", "delete" };
	char op[16], type[20], name[80];
	json_t *doc = json_loads(fields, 0, NULL);
	struct edit one = { .fields = doc };
	struct edits edits = { &one, 1 };
	const struct model *to;
	int ret;

	assert_non_null(doc);
	assert_int_equal(sscanf(words, "%15s %19s %79s", op, type, name), 3);
	while (strcmp(ops[one.op], op) != 0)
		one.op++;
	one.type = object_type_find(&types, type, NULL);
	one.name = name;
	if (one.op == EDIT_DELETE)
		one.fields = NULL;
	ret = model_edit(*model, &edits, NULL, &to, r);
	json_decref(doc);
	if (ret < 0)
		return ret;
	model_put(*model);
	*model = to;
	return ret;
}

static const struct {
	const char *words, *fields;
} world[] = {
	{ "add switch s0", "{}" },
	{ "add port up", "{\"switch\": \"s0\", \"kind\": \"null\", \"role\": \"uplink\"}" },
	{ "add port web", "{\"switch\": \"s0\", \"kind\": \"null\"}" },
	{ "add network n1", "{}" },
	{ "add network n2", "{}" },
	{ "add subnet red", "{\"network\": \"n1\", \"encap\": \"nvgre\", \"vsid\": 5001, "
			    "\"prefix\": \"10.1.0.0/24\", \"gateway\": \"10.1.0.254\", "
			    "\"prefix6\": \"fd00:1::/64\", \"gateway6\": \"fd00:1::fe\"}" },
	{ "add subnet blue", "{\"network\": \"n1\", \"encap\": \"vxlan\", \"vsid\": 7, "
			     "\"prefix\": \"10.2.0.0/24\", \"gateway\": \"10.2.0.254\"}" },
	{ "add subnet other", "{\"network\": \"n2\", \"encap\": \"vxlan\", \"vsid\": 5001, "
			      "\"prefix\": \"10.1.0.0/24\"}" },
	{ "add provider pa",
	  "{\"port\": \"up\", \"address\": \"192.0.2.1\", \"prefix_length\": 24}" },
	{ "add provider_route far",
	  "{\"provider\": \"pa\", \"prefix\": \"198.51.100.0/24\", "
	  "\"next_hop\": \"192.0.2.254\"}" },
};

static const struct model *world_model(void)
{
	const struct model *m = model_create(&types);
	struct refusal r;

	for (size_t i = 0; i < ARRAY_SIZE(world); i++)
		if (edit(&m, world[i].words, world[i].fields, &r) < 0)
			fail_msg("%s: %s", world[i].words, r.err.text);
	return m;
}

#define SUBNET(rest) "{\"network\": \"n1\", " rest "}"
#define RECORD(rest) "{\"subnet\": \"red\", \"mac\": \"02:00:00:00:00:01\", " rest "}"
#define ROUTE(rest) "{\"network\": \"n1\", \"prefix\": \"10.9.0.0/16\", " rest "}"
#define PROVIDER(rest) "{\"port\": \"up\", " rest "}"
#define PORT(rest) "{\"switch\": \"s0\", \"kind\": \"null\", " rest "}"

static const struct {
	const char *words, *fields;
	int error;        // 0: accepted
	const char *says; // part of the sentence
} cases[] = {
	{ "set hnv hnv", "{\"router_mac\": \"01:00:00:00:00:01\"}", EINVAL, "router_mac" },
	{ "set hnv hnv", "{\"vxlan_port\": 0}", ERANGE, "vxlan_port" },
	{ "set hnv hnv", "{\"vxlan_port\": 8472}", 0, NULL },

	{ "add subnet x", SUBNET("\"vsid\": 0"), ERANGE, "vsid" },
	{ "add subnet x", SUBNET("\"vsid\": 1"), 0, NULL },
	{ "add subnet x", SUBNET("\"vsid\": 16777215"), 0, NULL },
	{ "add subnet x", SUBNET("\"vsid\": 16777216"), ERANGE, "vsid" },
	{ "add subnet x", SUBNET("\"vsid\": 4095, \"encap\": \"nvgre\""), ERANGE, "vsid: 4095" },
	{ "add subnet x", SUBNET("\"vsid\": 4096, \"encap\": \"nvgre\""), 0, NULL },
	{ "add subnet x", SUBNET("\"vsid\": 16777214, \"encap\": \"nvgre\""), 0, NULL },
	{ "add subnet x", SUBNET("\"vsid\": 16777215, \"encap\": \"nvgre\""), ERANGE, "vsid" },
	{ "add subnet x", SUBNET("\"vsid\": 7"), EEXIST, "vsid: 7 of vxlan is subnet blue's" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"flow\": \"fixed\""), EINVAL, "flow=fixed" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"flow_id\": 3"), EINVAL, "flow_id=3" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"prefix\": \"10.1.0.0/16\""), EEXIST,
	  "prefix: 10.1.0.0/16 overlaps 10.1.0.0/24 of subnet red" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"prefix\": \"10.1.0.128/25\""),
	  EEXIST, "overlaps" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"prefix6\": \"fd00:1::/48\""), EEXIST, "prefix6" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"prefix\": \"fd00:3::/64\""),
	  EINVAL, "prefix: is IPv6" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"gateway\": \"10.3.0.1\""), EINVAL, "gateway" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"prefix\": \"10.3.0.0/24\", \"gateway\": "
				 "\"10.4.0.1\""),
	  EINVAL, "gateway: 10.4.0.1 is not in 10.3.0.0/24" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"prefix\": \"10.3.0.0/24\", \"gateway\": "
				 "\"10.3.0.0\""),
	  EINVAL, "gateway: 10.3.0.0 is the subnet's first" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"prefix\": \"10.3.0.0/24\", \"gateway\": "
				 "\"10.3.0.255\""), EINVAL, "broadcast" },
	{ "add subnet x", SUBNET("\"vsid\": 9, \"prefix\": \"10.3.0.0/31\", \"gateway\": "
				 "\"10.3.0.0\""), 0, NULL },

	{ "add record x", RECORD("\"address\": \"10.1.0.1\""), 0, NULL }, // here
	{ "add record x", RECORD("\"address\": \"10.1.0.1\", \"provider\": \"192.0.2.2\""),
	  0, NULL },
	{ "add record x", RECORD("\"address\": \"fd00:1::1\", \"provider\": \"198.51.100.7\""),
	  0, NULL },
	{ "add record x", RECORD("\"provider\": \"203.0.113.1\""),
	  ENOENT, "provider: no provider address" },
	{ "add record x", RECORD("\"provider\": \"fd00:99::1\""), ENOENT, "provider: " },
	{ "add record x", RECORD("\"provider\": \"127.0.0.1\""), EINVAL, "provider: 127.0.0.1" },
	{ "add record x", RECORD("\"provider\": \"224.0.0.1\""), EINVAL, "provider" },
	{ "add record x", RECORD("\"provider\": \"0.0.0.0\""), EINVAL, "provider" },
	{ "add record x", RECORD("\"address\": \"10.2.0.1\""),
	  EINVAL, "address: 10.2.0.1 is not in" },
	{ "add record x", RECORD("\"address\": \"10.1.0.254\""),
	  EEXIST, "address: is the gateway" },
	{ "add record x", RECORD("\"address\": \"fd00:1::fe\""),
	  EEXIST, "address: is the gateway" },
	{ "add record x", RECORD("\"encap\": \"vxlan\""), EEXIST, "encap=vxlan: vsid 5001" },
	{ "add record x", "{\"subnet\": \"blue\", \"mac\": \"02:00:00:00:00:01\", "
			  "\"encap\": \"nvgre\"}", ERANGE, "encap=nvgre: vsid 7" },
	{ "add record x", "{\"subnet\": \"red\", \"mac\": \"03:00:00:00:00:01\"}", EINVAL, "mac" },
	{ "add record x", "{\"subnet\": \"red\", \"mac\": \"00:00:00:00:00:00\"}", EINVAL, "mac" },
	{ "add record x", "{\"subnet\": \"none\", \"mac\": \"02:00:00:00:00:01\"}",
	  ENOENT, "subnet" },

	{ "add route x", ROUTE("\"next_hop\": \"10.1.0.1\""), 0, NULL },
	{ "add route x", ROUTE("\"next_hop\": \"10.1.0.254\""),
	  ELOOP, "next_hop: 10.1.0.254 is the gateway" },
	{ "add route x", ROUTE("\"next_hop\": \"10.2.0.254\""), ELOOP, "gateway of subnet blue" },
	{ "add route x", ROUTE("\"next_hop\": \"10.3.0.1\""),
	  EINVAL, "next_hop: 10.3.0.1 is in no subnet" },
	{ "add route x", ROUTE("\"next_hop\": \"fd00:1::1\""), EINVAL, "next_hop: is IPv6" },
	{ "add route x", "{\"network\": \"n2\", \"prefix\": \"0.0.0.0/0\", \"next_hop\": "
			 "\"10.2.0.1\"}", EINVAL, "next_hop" }, // another network's

	{ "add provider x", PROVIDER("\"address\": \"192.0.2.1\", \"prefix_length\": 24"), EEXIST,
	  "address" },
	{ "add provider x",
	  PROVIDER("\"address\": \"192.0.2.9\", \"prefix_length\": 24, "
		   "\"vlan\": 5"),
	  0, NULL },
	{ "add provider x", PROVIDER("\"address\": \"192.0.2.9\", \"prefix_length\": 33"), ERANGE,
	  "prefix_length" },
	{ "add provider x", PROVIDER("\"address\": \"ff02::1\", \"prefix_length\": 64"), EINVAL,
	  "address" },
	{ "add provider x",
	  PROVIDER("\"address\": \"192.0.2.9\", \"prefix_length\": 24, "
		   "\"gateway\": \"192.0.3.1\""),
	  EINVAL, "gateway" },
	{ "add provider x",
	  PROVIDER("\"address\": \"192.0.2.9\", \"prefix_length\": 24, "
		   "\"gateway\": \"192.0.2.9\""),
	  ELOOP, "gateway" },
	{ "add provider x",
	  PROVIDER("\"address\": \"192.0.2.9\", \"prefix_length\": 24, "
		   "\"mac\": \"01:00:00:00:00:01\""),
	  EINVAL, "mac" },
	{ "add provider x",
	  "{\"port\": \"web\", \"address\": \"192.0.2.9\", \"prefix_length\": 24}", EINVAL,
	  "port: web is no uplink" },

	{ "add provider_route x", "{\"provider\": \"pa\", \"prefix\": \"203.0.113.0/24\", "
				  "\"next_hop\": \"203.0.113.1\"}", EINVAL, "next_hop" },
	{ "add provider_route x", "{\"provider\": \"pa\", \"prefix\": \"203.0.113.0/24\", "
				  "\"next_hop\": \"192.0.2.1\"}", ELOOP, "next_hop" },
	{ "add provider_route x", "{\"provider\": \"pa\", \"prefix\": \"fd00::/8\", "
				  "\"next_hop\": \"fd00::1\"}", EINVAL, "prefix: is IPv6" },

	{ "add port x", PORT("\"subnet\": \"red\""), 0, NULL },
	{ "add port x", PORT("\"subnet\": \"red\", \"role\": \"uplink\""), EINVAL, "subnet=red" },
	{ "add port x", PORT("\"subnet\": \"red\", \"vlan_mode\": \"access\", \"vlan\": 5"),
	  EINVAL, "subnet=red" },
	{ "add port x", PORT("\"subnet\": \"red\", \"isolation\": \"native-virtual-subnet\""),
	  0, NULL },
	{ "add port x", PORT("\"subnet\": \"red\", \"isolation\": \"none\""),
	  EINVAL, "isolation=none" },
	{ "add port x", PORT("\"subnet\": \"red\", \"isolation\": \"vlan\""),
	  EINVAL, "isolation=vlan" },
	{ "add port x", PORT("\"isolation\": \"vlan\""), EINVAL, "isolation=vlan" },
	{ "add port x", PORT("\"isolation\": \"vlan\", \"vlan_mode\": \"access\", \"vlan\": 5"),
	  0, NULL },
	{ "add port x", PORT("\"isolation\": \"none\""), 0, NULL },
	{ "add port x", PORT("\"isolation\": \"native-virtual-subnet\""), EINVAL, "needs subnet" },
	{ "add port x", PORT("\"subnet\": \"red\", \"isolation\": \"external-virtual-subnet\""),
	  EOPNOTSUPP, "isolation=external-virtual-subnet" },
};

static void refusals_name_their_field(void **state)
{
	const struct model *m = world_model();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct refusal r = { 0 };
		const struct model *tried = model_get(m);
		int ret = edit(&tried, cases[i].words, cases[i].fields, &r);

		model_put(tried);
		if (ret < 0 ? -ret != cases[i].error : cases[i].error != 0)
			fail_msg("%s %s: %d %s", cases[i].words, cases[i].fields, ret, r.err.text);
		if (cases[i].says && !strstr(r.err.text, cases[i].says))
			fail_msg("%s %s says '%s'", cases[i].words, cases[i].fields, r.err.text);
	}
	model_put(m);
}

// A record may have the other encapsulation as long as nobody else has the number there.
static void foreign_encap_keeps_the_number(void **state)
{
	const struct model *m = world_model();
	struct refusal r;

	assert_true(edit(&m, "delete subnet other", "{}", &r) > 0);
	assert_true(edit(&m, "add record x", RECORD("\"encap\": \"vxlan\""), &r) > 0);
	assert_int_equal(edit(&m, "add subnet y", SUBNET("\"vsid\": 5001"), &r), -EEXIST);
	assert_non_null(strstr(r.err.text, "vsid: 5001"));
	assert_true(edit(&m, "set record x", "{\"encap\": \"auto\"}", &r) > 0);
	assert_true(edit(&m, "add subnet y", SUBNET("\"vsid\": 5001"), &r) > 0);
	model_put(m);
}

static void generated_is_kept_and_local(void **state)
{
	const struct model *m = world_model();
	const struct provider_obj *p =
		container_of(model_find(m, &provider_type, "pa"), struct provider_obj, head);
	struct mac mac = p->mac;
	struct refusal r;

	assert_int_equal(mac.b[0] & 3, 2); // of one station, locally administered
	assert_true(edit(&m, "set provider pa", "{\"vlan\": 7}", &r) > 0);
	p = container_of(model_find(m, &provider_type, "pa"), struct provider_obj, head);
	assert_memory_equal(p->mac.b, mac.b, 6);
	model_put(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals_name_their_field),
		cmocka_unit_test(foreign_encap_keeps_the_number),
		cmocka_unit_test(generated_is_kept_and_local),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
