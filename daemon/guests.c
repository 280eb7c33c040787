// SPDX-License-Identifier: Apache-2.0
#include "daemon/guests.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/log.h"
#include "control/loop.h"
#include "netvsp/nic.h"

#define FIRST_INHERITED_FD 3 // sd_listen_fds(3)
#define SOCKET_NAME "vmbus"  // the name by which a service manager hands it over

#define WRITE_NS 250000000ull     // between looks at who is served
#define LOOK_NS 5000000ull        // between looks for guests that come back …
#define PATIENCE_NS 3000000000ull // … for so long

struct guests {
	struct guests_cfg cfg;
	struct netvsp_service *service;
	char *path;     // of the file with the names of guests that are served
	json_t *names;  // what stands there, or NULL
	json_t *absent; // those that are not back yet, or NULL: nobody waits
	int timer;
	uint64_t until_ns;
};

// The socket that the service manager keeps for us (LISTEN_FDS), or -1: it outlives a restart, so
// that VMMs wait in its queue.
static int inherited_socket(void)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	char *copy, *save = NULL;
	int fd = -1, at = 0;

	if (!pid || !n || !names || strtol(pid, NULL, 10) != getpid())
		return -1;
	copy = strdup(names);
	for (char *name = copy ? strtok_r(copy, ":", &save) : NULL;
	     name && at < strtol(n, NULL, 10); name = strtok_r(NULL, ":", &save), at++)
		if (strcmp(name, SOCKET_NAME) == 0)
			fd = FIRST_INHERITED_FD + at;
	free(copy);
	return fd;
}

static void on_ready(void *arg, uint32_t events)
{
	netvsp_service_run(((struct guests *)arg)->service);
}

static void on_event(void *arg, const char *nic, enum netvsp_event event, const char *text)
{
	static const char *const words[] = {
		[NETVSP_ATTACHED] = "attached",
		[NETVSP_DETACHED] = "detached",
		[NETVSP_CHANNEL_FAILED] = "channel-failed",
		[NETVSP_REFUSED] = "refused",
	};
	struct guests *g = arg;

	if (event == NETVSP_ATTACHED || event == NETVSP_DETACHED)
		log_info("guest of port %s: %s", nic, text);
	else
		log_warning("guest%s%s: %s", *nic ? " of port " : "", nic, text);
	g->cfg.event(g->cfg.arg, nic, words[event], json_pack("{s:s}", "reason", text));
}

// --- restarts ----------------------------------------------------------------------------------
// Guests come back one after the other. Until the last is there no ring is read, lest a frame from
// one meets a port where the other is not yet. The names of those that are served stand in a file,
// for the next life; also for one after a kill. With them stands which process was their VMM: who
// has died meanwhile is not waited for.

static void note_ready(void *arg, const struct netvsp_nic_info *info)
{
	if (info->ready)
		json_object_set_new(arg, info->name, json_integer(info->vmm_pid));
}

static void write_names(struct guests *g)
{
	json_t *names = json_object();

	netvsp_nic_list(note_ready, names);
	if (!json_equal(names, g->names) && json_dump_file(names, g->path, JSON_COMPACT))
		log_warning("cannot write %s: guests may lose frames in a restart", g->path);
	json_decref(g->names);
	g->names = names;
}

static void on_write(void *arg) { write_names(arg); }

static void set_timer(struct guests *g, uint64_t period_ns, loop_timer_fn *fn)
{
	loop_timer_del(g->cfg.loop, g->timer);
	g->timer = period_ns ? loop_timer_add(g->cfg.loop, period_ns, period_ns, fn, g) : -1;
}

static void strike_out(void *arg, const struct netvsp_nic_info *info)
{
	if (info->ready)
		json_object_del(arg, info->name);
}

static void strike_out_dead(json_t *absent)
{
	const char *name;
	json_t *pid;
	void *next;

	json_object_foreach_safe(absent, next, name, pid)
		if (json_integer_value(pid) > 0 &&
		    kill((pid_t)json_integer_value(pid), 0) < 0 && errno == ESRCH)
			json_object_del(absent, name);
}

static void go_on(struct guests *g)
{
	json_decref(g->absent);
	g->absent = NULL;
	netvsp_service_hold(g->service, false);
	set_timer(g, WRITE_NS, on_write);
}

static void on_look(void *arg)
{
	struct guests *g = arg;

	netvsp_nic_list(strike_out, g->absent);
	strike_out_dead(g->absent);
	if (json_object_size(g->absent) && loop_now_ns() < g->until_ns)
		return;
	if (json_object_size(g->absent))
		log_warning("%zu guests have not come back", json_object_size(g->absent));
	go_on(g);
}

static void await_guests(struct guests *g)
{
	g->names = json_load_file(g->path, 0, NULL);
	g->absent = json_copy(g->names);
	strike_out_dead(g->absent);
	if (!g->absent || !json_object_size(g->absent)) {
		go_on(g);
		return;
	}
	netvsp_service_hold(g->service, true);
	g->until_ns = loop_now_ns() + PATIENCE_NS;
	set_timer(g, LOOK_NS, on_look);
	if (g->timer < 0)
		go_on(g);
}

int guests_create(const struct guests_cfg *cfg, struct guests **out, struct err *err)
{
	struct guests *g = calloc(1, sizeof(*g));
	struct netvsp_service_cfg service = { .rcu = cfg->rcu, .path = cfg->path,
					      .listen_fd = inherited_socket(), .event = on_event,
					      .arg = g };
	int ret;

	if (!g)
		return err_set(err, ENOMEM, "no memory for guests");
	g->cfg = *cfg;
	g->timer = -1;
	if (asprintf(&g->path, "%s.guests", cfg->path) < 0) {
		free(g);
		return err_set(err, ENOMEM, "no memory for guests");
	}
	while (!service.instance)
		if (getrandom(&service.instance, sizeof(service.instance), 0) < 0)
			break;
	ret = netvsp_service_create(&service, &g->service, err);
	// Anybody may knock; who may attach to a port is decided when they say who they are.
	if (!ret && service.listen_fd < 0)
		chmod(cfg->path, 0666);
	if (!ret) {
		ret = loop_fd_add(cfg->loop, netvsp_service_fd(g->service), EPOLLIN, on_ready, g);
		if (ret)
			err_set(err, -ret, "cannot watch the socket of guests");
	}
	if (ret) {
		netvsp_service_destroy(g->service);
		free(g->path);
		free(g);
		return ret;
	}
	await_guests(g);
	*out = g;
	return 0;
}

void guests_destroy(struct guests *g)
{
	if (!g)
		return;
	loop_fd_del(g->cfg.loop, netvsp_service_fd(g->service));
	loop_timer_del(g->cfg.loop, g->timer);
	json_decref(g->absent);
	json_decref(g->names);
	netvsp_service_destroy(g->service);
	free(g->path);
	free(g);
}

void guests_drain(struct guests *g, void (*done)(void *arg), void *arg)
{
	if (!g->absent)
		write_names(g);
	set_timer(g, 0, NULL); // from now on they leave
	netvsp_service_drain(g->service, done, arg);
}

bool guests_busy(const struct guests *g) { return netvsp_service_busy(g->service); }

// --- what people see ---------------------------------------------------------------------------

static const struct field nic_fields[] = {
	FIELD_LIVE(state, FIELD_STRING, .help = "what the driver is at, or why nobody is there"),
	FIELD_LIVE(channels, FIELD_STRING, .help = "channels that are open, of those that may be"),
	FIELD_LIVE(max_frame, FIELD_UINT, .unit = "bytes", .help = "largest frame it takes"),
	FIELD_LIVE(nvsp, FIELD_STRING, .help = "NVSP version"),
	FIELD_LIVE(held, FIELD_STRING, .help = "receive sections that the guest holds, of all"),
	FIELD_LIVE(rx_frames, FIELD_UINT, .help = "frames that the guest sent"),
	FIELD_LIVE(tx_frames, FIELD_UINT, .help = "frames that it was given"),
	FIELD_LIVE(bells, FIELD_UINT, .help = "times it was signalled"),
	FIELD_LIVE(guest_bells, FIELD_UINT, .help = "times it signalled"),
#define DETAIL(member, kind, ...)                                                                  \
	{                                                                                          \
		.name = #member, .type = kind, .flags = FIELD_READ_ONLY | FIELD_DETAIL,            \
		__VA_ARGS__                                                                        \
	}
	DETAIL(mac, FIELD_STRING, .help = "address"),
	DETAIL(guid, FIELD_STRING, .help = "instance GUID, as the guest sees it"),
	DETAIL(vmbus, FIELD_STRING, .help = "VMBus version"),
	DETAIL(ndis, FIELD_STRING, .help = "NDIS version"),
	DETAIL(guest_os_id, FIELD_STRING, .help = "what the guest says it is"),
	DETAIL(attached, FIELD_UINT, .help = "times that a VMM came"),
	DETAIL(recovered_batches, FIELD_UINT, .help = "batches that a restart had to finish"),
	DETAIL(lost_frames, FIELD_UINT, .help = "frames that restarts lost, at most"),
	DETAIL(rx_packets, FIELD_UINT, .help = "ring packets in which the frames came"),
	DETAIL(tx_packets, FIELD_UINT, .help = "ring packets in which they went"),
	DETAIL(rx_bad, FIELD_UINT, .help = "frames and messages of the guest that were refused"),
	DETAIL(rx_no_mbuf, FIELD_UINT, .help = "times that frames waited for a packet buffer"),
	DETAIL(tx_no_section, FIELD_UINT,
	       .help = "frames for which it had no receive section free"),
	DETAIL(tx_no_room, FIELD_UINT, .help = "frames for which its ring had no room"),
	DETAIL(acks, FIELD_UINT, .help = "ring packets that it acknowledged"),
	DETAIL(bad_acks, FIELD_UINT, .help = "acknowledgements that made no sense"),
	DETAIL(bell_calls, FIELD_UINT, .help = "signals to it that took a system call"),
	DETAIL(batches, FIELD_UINT, .help = "batches"),
	DETAIL(ring_cycles, FIELD_UINT, .help = "TSC cycles spent on rings and journal"),
	DETAIL(rndis_cycles, FIELD_UINT, .help = "TSC cycles spent on RNDIS headers"),
	DETAIL(copy_cycles, FIELD_UINT, .help = "TSC cycles spent on copying frames"),
	DETAIL(signal_cycles, FIELD_UINT, .help = "TSC cycles spent on signalling"),
};

static void set_uint(json_t *row, const char *key, uint64_t value)
{
	json_object_set_new(row, key, json_integer((json_int_t)value));
}

static void set_version(json_t *row, const char *key, uint32_t version)
{
	if (version)
		json_object_set_new(row, key,
				    json_sprintf("%u.%u", version >> 16, version & 0xffff));
}

#define QUEUE_COUNTERS(X)                                                                          \
	X(rx_frames) X(tx_frames) X(rx_packets) X(tx_packets) X(rx_bad) X(rx_no_mbuf)              \
	X(tx_no_section) X(tx_no_room) X(acks) X(bad_acks) X(bells) X(bell_calls) X(guest_bells)   \
	X(batches) X(ring_cycles) X(rndis_cycles) X(copy_cycles) X(signal_cycles)

static void add_counters(json_t *row, const struct netvsp_nic_info *info)
{
	struct netvsp_counters sum = { 0 };

	for (unsigned int q = 0; q < info->n_queues; q++) {
#define X(name) sum.name += counter_get(&info->counters[q].name);
		QUEUE_COUNTERS(X)
#undef X
	}
#define X(name) set_uint(row, #name, sum.name);
	QUEUE_COUNTERS(X)
#undef X
}

struct nic_dump {
	const char *wanted; // name, or NULL
	json_t *rows;
};

static void add_nic(void *arg, const struct netvsp_nic_info *info)
{
	struct nic_dump *dump = arg;
	char mac[32], guid[64];
	struct guid id;
	json_t *row;

	if (dump->wanted && strcmp(dump->wanted, info->name) != 0)
		return;
	memcpy(id.b, info->guid, sizeof(id.b));
	mac_print(info->mac, mac, sizeof(mac));
	guid_print(&id, guid, sizeof(guid));
	row = json_pack("{s:s, s:s, s:s, s:s}", "name", info->name, "state", info->state, "mac",
			mac, "guid", guid);
	json_object_set_new(row, "channels",
			    json_sprintf("%u/%u", info->n_channels, info->n_queues));
	json_object_set_new(row, "held", json_sprintf("%u/%u", info->n_held, info->n_sections));
	if (info->guest_os_id)
		json_object_set_new(row, "guest_os_id", json_sprintf("%#lx", info->guest_os_id));
	set_version(row, "vmbus", info->vmbus_version);
	set_version(row, "nvsp", info->nvsp_version);
	set_version(row, "ndis", info->ndis_version);
	set_uint(row, "max_frame", info->max_frame);
	set_uint(row, "attached", info->n_attached);
	set_uint(row, "recovered_batches", info->n_recovered);
	set_uint(row, "lost_frames", info->n_lost);
	add_counters(row, info);
	json_array_append_new(dump->rows, row);
}

static json_t *nic_list(void *ctx, const char *name)
{
	struct nic_dump dump = { name, json_array() };

	netvsp_nic_list(add_nic, &dump);
	return dump.rows;
}

const struct object_type nic_type = {
	.name = "nic",
	.plural = "nics",
	.help = "a guest's synthetic network adapter, behind a port of kind netvsp",
	OBJECT_FIELDS(nic_fields),
	.list = nic_list,
};
