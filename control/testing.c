// SPDX-License-Identifier: Apache-2.0
#include "control/testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const modes[] = { "access", "trunk", NULL };

static const struct field switch_fields[] = {
	FIELD(struct test_switch, guid, FIELD_GUID, .flags = FIELD_GENERATED | FIELD_UNIQUE,
	      .help = "identity"),
	FIELD(struct test_switch, max_macs, FIELD_UINT, .min = 1, .max = 1000000, .def = "4096",
	      .help = "addresses learnt at most"),
};

static const struct field port_fields[] = {
	FIELD(struct test_port, switch_name, FIELD_REF, .ref = "switch", .flags = FIELD_REQUIRED,
	      .help = "the switch it belongs to"),
	FIELD(struct test_port, mode, FIELD_ENUM, .words = modes, .help = "VLAN mode"),
	FIELD(struct test_port, vlan, FIELD_UINT, .min = 1, .max = 4094, .help = "access VLAN"),
	FIELD(struct test_port, allowed, FIELD_VLAN_SET, .help = "VLANs of a trunk"),
	FIELD(struct test_port, mac, FIELD_MAC, .flags = FIELD_GENERATED | FIELD_UNIQUE,
	      .help = "address of the guest"),
	FIELD(struct test_port, guid, FIELD_GUID, .flags = FIELD_GENERATED, .help = "identity"),
	FIELD(struct test_port, enabled, FIELD_BOOL, .def = "true", .help = "whether it forwards"),
	FIELD(struct test_port, kind, FIELD_STRING, .def = "tap", .flags = FIELD_IMMUTABLE,
	      .max = 8, .help = "kind of device"),
	FIELD(struct test_port, note, FIELD_STRING, .help = "for people"),
	FIELD(struct test_port, limit, FIELD_UINT, .unit = "frames/s", .help = "storm limit"),
	FIELD(struct test_port, ports, FIELD_PORT_RANGE, .help = "TCP ports"),
	FIELD(struct test_port, prefix, FIELD_PREFIX, .help = "addresses"),
	FIELD_LIVE(link, FIELD_STRING, .help = "state of the link"),
};

static const struct field settings_fields[] = {
	FIELD(struct test_settings, age_s, FIELD_UINT, .min = 10, .max = 1000000, .def = "300",
	      .unit = "s", .help = "ageing time"),
};

static const struct field live_fields[] = {
	FIELD_LIVE(name, FIELD_STRING, .help = "what it is called"),
};

static int switch_generate(void *ctx, struct object *obj, const struct model *, struct err *)
{
	struct test_daemon *d = ctx;

	((struct test_switch *)obj)->guid.b[15] = ++d->next_guid;
	return 0;
}

static int port_generate(void *ctx, struct object *obj, const struct model *, struct err *err)
{
	struct test_port *port = (struct test_port *)obj;
	struct test_daemon *d = ctx;

	if (mac_is_zero(port->mac))
		port->mac = mac_from_u64(0x00155d000000 + ++d->next_mac);
	port->guid.b[0] = 0xff;
	if (d->next_mac == 200)
		return err_set(err, ENOSPC, "the MAC pool is empty");
	return 0;
}

static int port_check(void *, const struct object *obj, const struct model *, struct err *err)
{
	const struct test_port *port = (const struct test_port *)obj;

	if (port->mode == 1 && port->vlan)
		return err_set(err, EINVAL, "vlan is for access ports; a trunk has allowed");
	return 0;
}

static void port_status(void *, const struct object *, json_t *out)
{
	json_object_set_new(out, "link", json_string("up"));
}

static json_t *live_list(void *, const char *name)
{
	json_t *out = json_array();

	if (!name || strcmp(name, "one") == 0)
		json_array_append_new(out, json_pack("{ss}", "name", "one"));
	if (!name || strcmp(name, "two") == 0)
		json_array_append_new(out, json_pack("{ss}", "name", "two"));
	return out;
}

const struct object_type test_switch_type = {
	.name = "switch",
	.plural = "switches",
	.help = "a virtual switch",
	.size = sizeof(struct test_switch),
	OBJECT_FIELDS(switch_fields),
	.generate = switch_generate,
};

const struct object_type test_port_type = {
	.name = "port",
	.plural = "ports",
	.help = "a port",
	.size = sizeof(struct test_port),
	OBJECT_FIELDS(port_fields),
	.generate = port_generate,
	.check = port_check,
	.status = port_status,
};

const struct object_type test_settings_type = {
	.name = "settings",
	.plural = "settings",
	.help = "what holds for all",
	.size = sizeof(struct test_settings),
	OBJECT_FIELDS(settings_fields),
	.singleton = true,
};

const struct object_type test_live_type = {
	.name = "live",
	.plural = "lives",
	.help = "nothing to configure",
	OBJECT_FIELDS(live_fields),
	.list = live_list,
};

static const struct object_type *const all[] = {
	&test_settings_type,
	&test_switch_type,
	&test_port_type,
	&test_live_type,
};
const struct object_types test_types = { all, ARRAY_SIZE(all) };

static int hook_prepare(void *ctx, const struct model *from, const struct model *to, void **plan,
			struct err *err)
{
	struct test_daemon *d = ctx;

	d->n_prepared++;
	if (d->refuse && (!d->refuse_name || model_find(to, &test_port_type, d->refuse_name)))
		return err_set(err, d->refuse, "the daemon says no");
	d->plan_to = to;
	*plan = d;
	return from == to ? -EINVAL : 0;
}

static void hook_publish(void *ctx, void *plan)
{
	struct test_daemon *d = plan;

	d->n_published++;
	d->plan_to = NULL;
}

static void hook_abort(void *ctx, void *plan)
{
	struct test_daemon *d = plan;

	d->n_aborted++;
	d->plan_to = NULL;
}

static json_t *hook_counters(void *ctx, const char *type, const char *name)
{
	if (type && strcmp(type, "port") != 0)
		return json_array();
	return json_pack("[{ss ss s{si s{si si}} s{si}}]", "type", "port", "name",
			 name ? name : "web0", "counters", "rx_packets", 7, "drops", "TxFull", 1,
			 "Filtered", 2, "gauges", "queue_depth", 3);
}

struct control_hooks test_hooks(struct test_daemon *daemon)
{
	return (struct control_hooks){ hook_prepare, hook_publish, hook_abort, hook_counters,
				       daemon };
}

struct test_daemon test_editor;

// "add port web0" and its fields.
static struct edit parse_edit(const char *words, const json_t *fields, char type[16], char name[80])
{
	static const char *const ops[] = { "add", "set", "put", "delete" };
	struct edit edit = { .fields = fields };
	char op[16];

	if (sscanf(words, "%15s %15s %79s", op, type, name) != 3)
		abort();
	while (strcmp(ops[edit.op], op) != 0)
		edit.op++;
	edit.type = object_type_find(&test_types, type, NULL);
	edit.name = name;
	return edit;
}

int test_edit(const struct model *from, const char *json, const struct model **to,
	      struct refusal *r)
{
	json_t *doc = json_loads(json, 0, NULL), *fields;
	char types[16][16], names[16][80];
	struct edit list[16];
	struct edits edits = { list, 0 };
	const char *words;
	int ret;

	if (!doc || json_object_size(doc) > ARRAY_SIZE(list))
		abort();
	json_object_foreach(doc, words, fields) {
		list[edits.n] = parse_edit(words, fields, types[edits.n], names[edits.n]);
		edits.n++;
	}
	ret = model_edit(from, &edits, &test_editor, to, r);
	json_decref(doc);
	return ret;
}

char *test_dir_make(void)
{
	const char *tmp = getenv("TMPDIR");
	char *dir;

	if (asprintf(&dir, "%s/weft-test.XXXXXX", tmp ? tmp : "/tmp") < 0 || !mkdtemp(dir))
		abort();
	return dir;
}

void test_dir_remove(char *dir)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command) != 0)
		abort();
	free(dir);
}

struct wait {
	struct loop *loop;
	const int *flag;
	unsigned int n;
};

static void look(void *arg)
{
	struct wait *w = arg;

	if (*w->flag || ++w->n > 10000)
		loop_stop(w->loop);
}

bool test_run_until(struct loop *loop, const int *flag)
{
	struct wait w = { loop, flag, 0 };
	int timer = loop_timer_add(loop, 0, 1000000, look, &w);

	loop_run(loop);
	loop_timer_del(loop, timer);
	return *flag;
}
