// SPDX-License-Identifier: Apache-2.0
// What the daemon lets people see beside configuration: workers, learnt addresses, cached flows,
// counters, the conservation law. Reads workers' memory while they write it: every value is loaded
// once and may be a batch old. control.
#include "daemon/show.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include <rte_cycles.h>

#include "daemon/daemon.h"
#include "vswitch/vswitch_ctl.h"

// --- workers -----------------------------------------------------------------------------------

static const struct field worker_fields[] = {
	FIELD_LIVE(cpu, FIELD_UINT, .help = "CPU that it is pinned to"),
	FIELD_LIVE(busy_cycles, FIELD_UINT, .help = "TSC cycles in loops that moved frames"),
	FIELD_LIVE(loops, FIELD_UINT, .help = "times round its queues"),
	FIELD_LIVE(sleeps, FIELD_UINT, .help = "times it gave its core back"),
	FIELD_LIVE(flows, FIELD_UINT, .help = "flows in its tables"),
	FIELD_LIVE(flow_bytes, FIELD_UINT, .help = "memory that these flows take"),
	FIELD_LIVE(misses, FIELD_UINT, .help = "flows set up since the start"),
	FIELD_LIVE(stale, FIELD_UINT, .help = "flows resolved anew after a change"),
	FIELD_LIVE(expired, FIELD_UINT, .help = "flows that went for want of frames"),
	FIELD_LIVE(uncached, FIELD_UINT, .help = "frames decided one by one, the table being full"),
};

static json_t *worker_row(const struct daemon *d, unsigned int i)
{
	const struct worker_load *load = worker_load(d->workers[i]);
	const struct cache *c = pipeline_cache(d->pipelines[i]);
	uint64_t flows = 0, bytes = 0, misses = 0;
	char name[16];
	json_t *row = json_object();

	snprintf(name, sizeof(name), "%u", i);
	for (int level = 0; level < N_LEVELS; level++) {
		flows += c->tables[level].n_used;
		bytes += (uint64_t)c->tables[level].n_used * flow_bytes(c->tables[level].stride);
		misses += counter_get(&c->stats.misses[level]);
	}
	show_text(row, "name", name);
	show_uint(row, "cpu", (uint64_t)worker_cpu(d->workers[i]));
	show_uint(row, "busy_cycles", counter_get(&load->busy_cycles));
	show_uint(row, "loops", counter_get(&load->loops));
	show_uint(row, "sleeps", counter_get(&load->sleeps));
	show_uint(row, "flows", flows);
	show_uint(row, "flow_bytes", bytes);
	show_uint(row, "misses", misses);
	show_uint(row, "stale", counter_get(&c->stats.stale));
	show_uint(row, "expired", counter_get(&c->stats.expired));
	show_uint(row, "uncached", counter_get(&c->stats.uncached));
	return row;
}

static json_t *worker_list(void *ctx, const char *name)
{
	const struct daemon *d = ctx;
	json_t *rows = json_array();

	for (unsigned int i = 0; i < d->opt.n_workers; i++) {
		char own[16];

		snprintf(own, sizeof(own), "%u", i);
		if (!name || strcmp(name, own) == 0)
			json_array_append_new(rows, worker_row(d, i));
	}
	return rows;
}

const struct object_type worker_type = {
	.name = "worker",
	.plural = "workers",
	.help = "a thread that moves frames",
	OBJECT_FIELDS(worker_fields),
	.list = worker_list,
};

// --- addresses ---------------------------------------------------------------------------------

static const struct field fdb_fields[] = {
	FIELD_LIVE(switch, FIELD_STRING, .help = "switch"),
	FIELD_LIVE(vlan, FIELD_UINT, .help = "VLAN, 0: the untagged network"),
	FIELD_LIVE(subnet, FIELD_STRING, .help = "virtual subnet, in place of switch and VLAN"),
	FIELD_LIVE(port, FIELD_STRING, .help = "port that it is behind"),
	FIELD_LIVE(way, FIELD_STRING, .help = "way to the host that it is on"),
	FIELD_LIVE(state, FIELD_STRING, .help = "static or learnt"),
	FIELD_LIVE(age, FIELD_UINT, .unit = "s", .help = "since it was last seen"),
};

struct fdb_dump {
	const struct daemon *d;
	const char *name; // MAC wanted, or NULL
	json_t *rows;
};

static bool fdb_row(const struct fdb_entry *e, void *arg)
{
	struct fdb_dump *dump = arg;
	const struct numbers *numbers = &dump->d->numbers;
	uint16_t switch_id, vid;
	char mac[32];
	json_t *row;

	mac_print(e->mac, mac, sizeof(mac));
	if ((dump->name && strcmp(dump->name, mac) != 0) ||
	    !vswitch_domain(dump->d->vswitch, e->fid, &switch_id, &vid))
		return true;
	row = json_object();
	show_text(row, "name", mac);
	if (switch_id == DOMAIN_SUBNET) {
		show_text(row, "subnet", numbering_name(&numbers->subnets, vid));
	} else {
		show_text(row, "switch", numbering_name(&numbers->switches, switch_id));
		show_uint(row, "vlan", vid);
	}
	show_place(dump->d, e->port, row);
	show_text(row, "state", e->state == FDB_STATIC ? "static" : "learnt");
	show_uint(row, "age", e->age_s);
	json_array_append_new(dump->rows, row);
	return json_array_size(dump->rows) < SHOW_MAX_ROWS;
}

static json_t *fdb_list(void *ctx, const char *name)
{
	struct fdb_dump dump = { ctx, name, json_array() };

	fdb_each(vswitch_fdb(dump.d->vswitch), fdb_row, &dump);
	return dump.rows;
}

const struct object_type fdb_type = {
	.name = "fdb",
	.plural = "fdb",
	.help = "a MAC address and the port that it is behind",
	OBJECT_FIELDS(fdb_fields),
	.list = fdb_list,
};

// --- flows -------------------------------------------------------------------------------------

static const struct field flow_fields[] = {
	FIELD_LIVE(port, FIELD_STRING, .help = "port that the frames come from"),
	FIELD_LIVE(level, FIELD_UINT, .help = "1: by Ethernet header; 2: also by the fields named"),
	FIELD_LIVE(match, FIELD_STRING, .help = "what the frames have in common"),
	FIELD_LIVE(action, FIELD_STRING, .help = "what happens to them, and why"),
	FIELD_LIVE(packets, FIELD_UINT, .help = "frames so far"),
	FIELD_LIVE(bytes, FIELD_UINT, .help = "bytes so far"),
};

static void l1_match(const struct daemon *d, const struct flow *f, char *text, size_t size)
{
	struct packet p;
	char src[32], dst[32], way[80] = "an unknown host";

	packet_from_keys(&f->key, NULL, &p);
	mac_print(p.src, src, sizeof(src));
	mac_print(p.dst, dst, sizeof(dst));
	snprintf(text, size, "%s > %s type %04x", src, dst, be16_to_cpu(p.ethertype));
	if (p.tag)
		snprintf(text + strlen(text), size - strlen(text), " vlan %u", p.tag & VID_MASK);
	if (p.vsid && p.way)
		show_way(d, p.way, way, sizeof(way));
	if (p.vsid)
		snprintf(text + strlen(text), size - strlen(text), " vsid %u from %s", p.vsid, way);
}

static void l2_match(const struct flow *f, const struct key6 *a, char *text, size_t size)
{
	uint8_t fields = (uint8_t)(f->key.w[2] >> 32);
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	const uint8_t *s = (const uint8_t *)(a ? a->w : f->key.w);
	int family = a ? AF_INET6 : AF_INET;
	uint16_t sport = __builtin_bswap16((uint16_t)f->key.w[1]);
	uint16_t dport = __builtin_bswap16((uint16_t)(f->key.w[1] >> 16));

	inet_ntop(family, s, src, sizeof(src));
	inet_ntop(family, s + (a ? 16 : 4), dst, sizeof(dst));
	if (!(fields & FIELD_SOURCE))
		strcpy(src, "*");
	if (!(fields & FIELD_DESTINATION))
		strcpy(dst, "*");
	snprintf(text, size, "%s:%u > %s:%u protocol %u", src, sport, dst, dport,
		 (uint8_t)(f->key.w[1] >> 32));
}

static void flow_action(const struct daemon *d, const struct cache *c, const struct flow *f,
			char *text, size_t size)
{
	struct program p = c->programs.programs[f->program % PROGRAM_MAX];
	// A torn copy may hold any number.
	struct fdb_where where =
		fdb_word(fdb_words(vswitch_fdb(d->vswitch)), f->dest % FDB_SLOTS);
	const char *to = numbering_name(&d->numbers.ports, where.port);
	char way[80];
	const char *rule = wishes_rule_name(&d->numbers, p.rule);

	if (where.tag == TAG_WAY) {
		show_way(d, where.port, way, sizeof(way));
		to = way;
	}
	switch ((enum op)p.op) {
	case OP_FORWARD:
	case OP_PROBE:
		snprintf(text, size, "to %s%s", to ? to : "nobody",
			 where.tag & TAG_PRESENT ? " tagged" : "");
		break;
	case OP_FLOOD:
		snprintf(text, size, "flood");
		break;
	case OP_LOOKUP:
		snprintf(text, size, "look at 5-tuple fields %02x", p.fields);
		break;
	case OP_DROP:
		snprintf(text, size, "drop %s%s%s", drop_names[p.reason % DROP_N_REASONS],
			 rule ? " by rule " : "", rule ? rule : "");
		break;
	case OP_ROUTE:
		snprintf(text, size, "route to %s", to ? to : "nobody");
		break;
	case OP_ANSWER:
		snprintf(text, size, "answer, or drop %s", drop_names[p.reason % DROP_N_REASONS]);
		break;
	case OP_NONE:
		snprintf(text, size, "-");
	}
}

static json_t *flow_row(const struct daemon *d, unsigned int worker, int level, uint32_t index)
{
	const struct cache *c = pipeline_cache(d->pipelines[worker]);
	const struct flow *live = flow_at(&c->tables[level], index);
	struct flow f = *live; // a copy: the worker may change it under us
	const struct key6 *a = level == LEVEL2_V6 ? &((const struct flow6 *)live)->addresses : NULL;
	char name[32], text[256];
	json_t *row;

	if (!f.program)
		return NULL;
	row = json_object();
	snprintf(name, sizeof(name), "%u.%d.%u", worker, level + 1, index);
	show_text(row, "name", name);
	if (level == LEVEL1) {
		show_text(row, "port", numbering_name(&d->numbers.ports, (uint16_t)f.key.w[2]));
		l1_match(d, &f, text, sizeof(text));
	} else {
		l2_match(&f, a, text, sizeof(text));
	}
	show_uint(row, "level", level == LEVEL1 ? 1 : 2);
	show_text(row, "match", text);
	flow_action(d, c, &f, text, sizeof(text));
	show_text(row, "action", text);
	show_uint(row, "packets", f.packets);
	show_uint(row, "bytes", f.bytes);
	return row;
}

static bool is_named(const json_t *row, const char *name)
{
	return strcmp(json_string_value(json_object_get(row, "name")), name) == 0;
}

static json_t *flow_list(void *ctx, const char *name)
{
	const struct daemon *d = ctx;
	json_t *rows = json_array();

	for (unsigned int w = 0; w < d->opt.n_workers; w++) {
		const struct cache *c = pipeline_cache(d->pipelines[w]);

		for (int level = 0; level < N_LEVELS; level++)
			for (uint32_t i = 1;
			     i <= c->tables[level].n_made && json_array_size(rows) < SHOW_MAX_ROWS;
			     i++) {
				json_t *row = flow_row(d, w, level, i);

				if (row && (!name || is_named(row, name)))
					json_array_append_new(rows, row);
				else
					json_decref(row);
			}
	}
	return rows;
}

const struct object_type flow_type = {
	.name = "flow",
	.plural = "flows",
	.help = "a cached decision of a worker (at most 10000 are shown)",
	OBJECT_FIELDS(flow_fields),
	.list = flow_list,
};

// --- drops -------------------------------------------------------------------------------------

static const struct field drop_fields[] = {
	FIELD_LIVE(age, FIELD_STRING, .unit = "s", .help = "how long ago"),
	FIELD_LIVE(port, FIELD_STRING, .help = "port that it came from or went to"),
	FIELD_LIVE(direction, FIELD_STRING, .help = "in: coming from the port; out: going to it"),
	FIELD_LIVE(reason, FIELD_STRING, .help = "why; weft call drop_reasons explains each"),
	FIELD_LIVE(rule, FIELD_STRING, .help = "rule that did it"),
	FIELD_LIVE(bytes, FIELD_UINT, .help = "length of the frame"),
	FIELD_LIVE(frame, FIELD_STRING, .help = "its first bytes"),
};

static json_t *drop_row(const struct daemon *d, const struct drop_record *r, uint64_t now_tsc,
			const char *name)
{
	char age[32], hex[2 * DROP_LOG_HEAD + 1] = "";
	const char *rule = wishes_rule_name(&d->numbers, r->cause.rule);
	json_t *row = json_object();

	snprintf(age, sizeof(age), "%.3f",
		 (double)(now_tsc - r->tsc) / (double)rte_get_tsc_hz());
	for (uint32_t i = 0; i < r->head_bytes && i < DROP_LOG_HEAD; i++)
		snprintf(hex + 2 * i, 3, "%02x", r->head[i]);
	show_text(row, "name", name);
	show_text(row, "age", age);
	show_text(row, "port", numbering_name(&d->numbers.ports, r->cause.port));
	show_text(row, "direction", r->cause.dir == DROP_RX ? "in" : "out");
	show_text(row, "reason", drop_names[r->cause.reason % DROP_N_REASONS]);
	if (rule)
		show_text(row, "rule", rule);
	show_uint(row, "bytes", r->frame_bytes);
	show_text(row, "frame", hex);
	return row;
}

static json_t *drop_list(void *ctx, const char *wanted)
{
	static struct drop_record records[DROP_LOG_RECORDS]; // control thread only
	const struct daemon *d = ctx;
	uint64_t now = rte_rdtsc();
	json_t *rows = json_array();

	for (unsigned int w = 0; w < d->opt.n_workers; w++) {
		unsigned int n = drop_log_read(worker_drop_log(d->workers[w]), records);

		for (unsigned int i = 0; i < n; i++) {
			char name[32];

			snprintf(name, sizeof(name), "%u.%u", w, i);
			if (!wanted || strcmp(wanted, name) == 0)
				json_array_append_new(rows, drop_row(d, &records[i], now, name));
		}
	}
	return rows;
}

const struct object_type drop_type = {
	.name = "drop",
	.plural = "drops",
	.help = "a frame that died lately, newest first (a sample when many die)",
	OBJECT_FIELDS(drop_fields),
	.list = drop_list,
};

// --- counters ----------------------------------------------------------------------------------

static json_t *drops_json(const struct port_counters *c, enum drop_dir dir)
{
	json_t *drops = json_object();

	for (int r = 0; r < DROP_N_REASONS; r++)
		if (c->drops[dir][r])
			show_uint(drops, drop_names[r], c->drops[dir][r]);
	return drops;
}

static json_t *port_counters_json(const struct daemon *d, const char *port)
{
	struct port_dev_stats stats;
	struct port_counters c;
	json_t *out = json_object();

	devices_counters(d->devices, port, &c, &stats);
	show_uint(out, "rx_packets", c.rx_packets);
	show_uint(out, "rx_bytes", c.rx_bytes);
	show_uint(out, "tx_packets", c.tx_packets);
	show_uint(out, "tx_bytes", c.tx_bytes);
	show_uint(out, "created", c.created);
	show_uint(out, "consumed", c.consumed);
	json_object_set_new(out, "rx_drops", drops_json(&c, DROP_RX));
	json_object_set_new(out, "tx_drops", drops_json(&c, DROP_TX));
	show_uint(out, "device_missed", stats.missed);
	show_uint(out, "device_no_mbuf", stats.no_mbuf);
	show_uint(out, "device_tx_errors", stats.tx_errors);
	return out;
}

uint64_t show_rule_drops(const struct daemon *d, uint32_t id)
{
	uint64_t sum = 0;

	for (unsigned int w = 0; w < d->opt.n_workers; w++)
		sum += counter_get(&pipeline_cache(d->pipelines[w])->rule_drops[id]);
	return sum;
}

static void add_counters_of(json_t *rows, const char *type, const char *name, json_t *counters)
{
	json_array_append_new(rows, json_pack("{s:s, s:s, s:o}", "type", type, "name", name,
					      "counters", counters));
}

static void worker_counters_of(const struct daemon *d, const char *wanted, json_t *rows)
{
	for (unsigned int i = 0; i < d->opt.n_workers; i++) {
		json_t *row = worker_row(d, i), *gauges = json_object();
		static const char *const gauge_names[] = { "cpu", "flows", "flow_bytes" };
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		if (wanted && strcmp(wanted, name) != 0) {
			json_decref(row);
			json_decref(gauges);
			continue;
		}
		json_object_del(row, "name");
		for (size_t g = 0; g < ARRAY_SIZE(gauge_names); g++) {
			const char *key = gauge_names[g];

			json_object_set(gauges, key, json_object_get(row, key));
			json_object_del(row, key);
		}
		json_array_append_new(rows, json_pack("{s:s, s:s, s:o, s:o}", "type", "worker",
						      "name", name, "counters", row, "gauges",
						      gauges));
	}
}

json_t *show_counters(void *ctx, const char *type, const char *name)
{
	const struct daemon *d = ctx;
	json_t *rows = json_array();

	for (uint32_t i = 0; (!type || strcmp(type, "port") == 0) && i < d->numbers.ports.n; i++) {
		const char *port = d->numbers.ports.list[i].obj->name;

		if (!name || strcmp(name, port) == 0)
			add_counters_of(rows, "port", port, port_counters_json(d, port));
	}
	for (uint32_t i = 0; (!type || strcmp(type, "rule") == 0) && i < d->numbers.rules.n; i++) {
		const char *rule = d->numbers.rules.list[i].obj->name;
		uint32_t id = d->numbers.rules.list[i].number + 1u;
		json_t *counters;

		if (name && strcmp(name, rule) != 0)
			continue;
		counters = json_object();
		show_uint(counters, "drops", show_rule_drops(d, id) - d->rule_base[id]);
		add_counters_of(rows, "rule", rule, counters);
	}
	if (!type || strcmp(type, "worker") == 0)
		worker_counters_of(d, name, rows);
	return rows;
}

// --- methods -----------------------------------------------------------------------------------

static int conservation(void *ctx, struct request *req, const json_t *params, json_t **result,
			struct refusal *r)
{
	const struct daemon *d = ctx;
	struct conservation c;
	json_t *out = json_object();

	devices_conservation(d->devices, &c);
	show_uint(out, "received", c.received);
	show_uint(out, "created", c.created);
	show_uint(out, "sent", c.sent);
	show_uint(out, "consumed", c.consumed);
	show_uint(out, "drops", c.dropped);
	show_uint(out, "held", c.held);
	json_object_set_new(out, "balanced",
			    json_boolean(c.received + c.created ==
					 c.sent + c.consumed + c.dropped + c.held));
	*result = out;
	return 0;
}

static int drop_reasons(void *ctx, struct request *req, const json_t *params, json_t **result,
			struct refusal *r)
{
	*result = json_object();
	for (int i = 0; i < DROP_N_REASONS; i++)
		json_object_set_new(*result, drop_names[i], json_string(drop_texts[i]));
	return 0;
}

int show_methods_add(struct daemon *d)
{
	int ret = server_method_add(d->server, "conservation",
				    "every frame accounted for, since the start", conservation, d);

	return ret ? ret : server_method_add(d->server, "drop_reasons",
					     "what each drop reason means", drop_reasons, d);
}
