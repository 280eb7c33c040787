// SPDX-License-Identifier: Apache-2.0
// weftd: options, then the module table below from top to bottom, then the control loop until
// SIGTERM or SIGINT, then the table from bottom to top.
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/eal.h"
#include "daemon/path.h"
#include "daemon/probes.h"
#include "daemon/vmq.h"
#include "vswitch/hnv_ctl.h"
#include "vswitch/reassembly.h"
#include "vswitch/vswitch_ctl.h"

#define TICK_NS 5000000ull      // grace periods, learning that could not ring
#define SECOND_NS 1000000000ull // clocks and ageing

// Tells a service manager where we are: sd_notify(3)'s protocol, a datagram.
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd;

	if (!path || strlen(path) >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, strlen(path));
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0'; // abstract
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), 0, (struct sockaddr *)&to,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
	close(fd);
}

// Ports close with the loop still running; on_tick sees when all are closed.
static void close_ports(void *arg)
{
	struct daemon *d = arg;

	d->closing = true;
	devices_close_all(d->devices);
}

// --- events of the loop ------------------------------------------------------------------------

static void on_signal(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	struct signalfd_siginfo info;

	if (read(d->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (d->stopping)
		return;
	log_info("%s: closing ports", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
	notify("STOPPING=1");
	d->stopping = true;
	guests_drain(d->guests, close_ports, d);
}

static void take_learnt(struct daemon *d)
{
	// Bounded work at a time; what remains is taken at the next tick.
	if (!vswitch_learn(d->vswitch))
		vswitch_arm(d->vswitch);
}

static void on_learn(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	eventfd_t value;

	eventfd_read(d->learn_fd, &value);
	take_learnt(d);
}

static void on_tick(void *arg)
{
	struct daemon *d = arg;

	rcu_poll(d->rcu);
	take_learnt(d);
	if (d->closing && !devices_busy(d->devices) && !guests_busy(d->guests))
		loop_stop(d->loop);
}

static void on_second(void *arg)
{
	struct daemon *d = arg;

	vswitch_second(d->vswitch, (uint32_t)(loop_now_ns() / SECOND_NS));
}

static void on_port_event(void *arg, const char *port, const char *what, json_t *detail)
{
	struct daemon *d = arg;

	if (d->control)
		control_event(d->control, "port", port, what, detail);
	else
		json_decref(detail);
}

// --- modules -----------------------------------------------------------------------------------

static int init_eal(struct daemon *d, struct err *err)
{
	return eal_start(&d->opt, &d->pools, err);
}

static void fini_eal(struct daemon *d) { eal_stop(&d->pools); }

static int init_loop(struct daemon *d, struct err *err)
{
	int ret = loop_create(&d->loop, err);
	sigset_t set;

	if (ret)
		return ret;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	d->learn_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	d->tick_timer = loop_timer_add(d->loop, TICK_NS, TICK_NS, on_tick, d);
	d->second_timer = loop_timer_add(d->loop, SECOND_NS, SECOND_NS, on_second, d);
	if (d->signal_fd < 0 || d->learn_fd < 0 || d->tick_timer < 0 || d->second_timer < 0 ||
	    loop_fd_add(d->loop, d->signal_fd, EPOLLIN, on_signal, d) ||
	    loop_fd_add(d->loop, d->learn_fd, EPOLLIN, on_learn, d))
		return err_set(err, EMFILE, "cannot make the control loop's descriptors");
	return 0;
}

static void fini_loop(struct daemon *d)
{
	loop_destroy(d->loop);
	close(d->signal_fd);
	close(d->learn_fd);
}

static int init_helper(struct daemon *d, struct err *err)
{
	return helper_create(d->loop, &d->helper, err);
}

static void fini_helper(struct daemon *d)
{
	helper_destroy(d->helper);
	d->helper = NULL;
}

static int init_switch(struct daemon *d, struct err *err)
{
	int ret;

	d->rcu = rcu_create();
	if (!d->rcu)
		return err_set(err, ENOMEM, "no memory for RCU");
	ret = vswitch_create(d->rcu, d->opt.n_workers, d->learn_fd, &d->vswitch, err);
	// What is heard before the timer's first round is not to look as old as the clock.
	if (!ret)
		on_second(d);
	return ret;
}

static void fini_switch(struct daemon *d)
{
	rcu_destroy(d->rcu);
	vswitch_destroy(d->vswitch);
}

static void fini_workers(struct daemon *d)
{
	unsigned int n = 0;

	while (n < d->opt.n_workers && d->workers[n])
		n++;
	worker_stop_all(d->workers, n);
	for (unsigned int i = 0; i < d->opt.n_workers; i++)
		pipeline_destroy(d->pipelines[i]);
}

static int init_workers(struct daemon *d, struct err *err)
{
	for (unsigned int i = 0; i < d->opt.n_workers; i++) {
		const struct pipeline_cfg pipeline = {
			.cache = { .entries = d->opt.flow_entries, .tsc_hz = rte_get_tsc_hz(),
				   .snapshot = vswitch_snapshot(d->vswitch),
				   .fdb = vswitch_fdb(d->vswitch),
				   .learn = vswitch_learn_queue(d->vswitch, i),
				   .reassembly = reassembly_create(rte_get_tsc_hz()) }
		};
		struct worker_cfg worker = { .id = i,
					     .cpu = d->opt.worker_cpus[i],
					     .poll = d->opt.poll,
					     .rcu = d->rcu,
					     .pools = &d->pools,
					     .ops = &pipeline_ops };
		int ret = pipeline_create(&pipeline, &d->pipelines[i], err);

		worker.ctx = d->pipelines[i];
		if (!ret)
			ret = worker_start(&worker, &d->workers[i], err);
		if (ret) {
			fini_workers(d);
			return ret;
		}
		log_info("worker %u on CPU %d", i, worker.cpu);
	}
	log_info("control on CPU %d", d->opt.control_cpu);
	return 0;
}

static void send_frame(void *ctx, uint16_t port, const uint8_t *frame, uint32_t bytes)
{
	devices_send(((struct daemon *)ctx)->devices,
		     &(struct devices_frame){ port, frame, bytes });
}

// Controllers may want to know, and add a record.
static void tell_unknown(void *ctx, uint16_t subnet, uint16_t port,
			 const struct ip_address *customer)
{
	const struct daemon *d = ctx;
	const char *name = numbering_name(&d->numbers.subnets, subnet);
	const char *from = numbering_name(&d->numbers.ports, port);
	char text[64];

	ip_address_print(customer, text, sizeof(text));
	if (d->control && name)
		control_event(d->control, "subnet", name, "unknown-address",
			      json_pack("{s:s, s:s}", "address", text, "port", from ? from : "?"));
}

static void take_answer(void *ctx, const struct learn_report *report)
{
	probes_answer(ctx, report);
}

static int init_devices(struct daemon *d, struct err *err)
{
	const struct devices_cfg cfg = { .loop = d->loop, .helper = d->helper, .rcu = d->rcu,
					 .pools = &d->pools, .workers = d->workers,
					 .n_workers = d->opt.n_workers,
					 .socket = d->opt.socket,
					 .event = on_port_event, .arg = d };
	const struct vswitch_hooks hooks = {
		.send = send_frame, .unknown = tell_unknown, .answer = take_answer, .ctx = d
	};

	vswitch_set_hooks(d->vswitch, &hooks);
	return devices_create(&cfg, &d->devices, err);
}

static void fini_devices(struct daemon *d) { devices_destroy(d->devices); }

static int init_vmq(struct daemon *d, struct err *err) { return vmq_create(d, &d->vmq, err); }

static void fini_vmq(struct daemon *d)
{
	vmq_destroy(d->vmq);
	d->vmq = NULL;
}

// The socket's folder, if that is all that is missing: /run is empty after each boot.
static void make_socket_folder(const char *path)
{
	char *copy = strdup(path);

	if (copy)
		mkdir(dirname(copy), 0755); // server_listen says what is wrong if it did not help
	free(copy);
}

static int init_guests(struct daemon *d, struct err *err)
{
	const struct guests_cfg cfg = { .loop = d->loop, .rcu = d->rcu,
					.path = d->opt.vmbus_socket, .event = on_port_event,
					.arg = d };

	make_socket_folder(d->opt.vmbus_socket);
	return guests_create(&cfg, &d->guests, err);
}

static void fini_guests(struct daemon *d)
{
	guests_destroy(d->guests);
	d->guests = NULL;
}

static int init_server(struct daemon *d, struct err *err)
{
	const struct server_cfg cfg = { .loop = d->loop };

	return server_create(&cfg, &d->server, err);
}

static void fini_server(struct daemon *d)
{
	server_destroy(d->server);
	d->server = NULL;
}

static void port_status(void *ctx, const struct object *obj, json_t *out)
{
	devices_status(((struct daemon *)ctx)->devices, obj->name, out);
}

static int init_control(struct daemon *d, struct err *err)
{
	static const struct object_type *const types[] = {
		&hnv_type, &network_type, &subnet_type,
		&switch_type, &port_type, &rule_type, &nic_type,
		&record_type, &route_type, &provider_type, &provider_route_type,
		&worker_type, &fdb_type,  &flow_type, &drop_type, &vmq_type,
		&way_type, &neighbor_type,
	};
	struct control_cfg cfg = { .loop = d->loop, .helper = d->helper, .server = d->server,
				   .types = { types, ARRAY_SIZE(types) }, .hooks = config_hooks,
				   .state_dir = d->opt.state_dir, .version = WEFT_VERSION };

	cfg.hooks.ctx = d;
	port_type.status = port_status;
	return control_create(&cfg, &d->control, err);
}

static void fini_control(struct daemon *d)
{
	control_destroy(d->control);
	numbers_free(&d->numbers);
}

static void applied(void *arg, int changed, const struct refusal *r)
{
	if (changed < 0)
		log_error("configuration file: %s", r->err.text);
	else
		log_info("configuration file: %d objects changed", changed);
}

// What SIGTERM does, for a start that fails when stored ports are already on their way.
static void close_devices(struct daemon *d)
{
	if (!devices_busy(d->devices))
		return;
	d->stopping = true;
	close_ports(d);
	loop_run(d->loop);
}

// What is on its way to the disk ends, then clients go, and only then may control go.
static void fini_service(struct daemon *d)
{
	fini_helper(d);
	probes_cancel_all(d);
	fini_server(d);
}

static int init_service(struct daemon *d, struct err *err)
{
	int ret = show_methods_add(d);

	if (!ret)
		ret = vmq_methods_add(d);
	if (!ret)
		ret = path_methods_add(d);
	if (ret)
		return err_set(err, -ret, "no memory for methods");
	if (d->opt.objects) {
		json_object_del(d->opt.objects, "weftd");
		control_apply(d->control, d->opt.objects, false, applied, NULL);
	}
	make_socket_folder(d->opt.socket);
	ret = server_listen(d->server, d->opt.socket, d->opt.group, err);
	if (ret) {
		close_devices(d);
		fini_service(d);
		return ret;
	}
	log_info("serving %s", d->opt.socket);
	notify("READY=1");
	return 0;
}

// In order; each may rely on those above it.
static const struct module {
	const char *name;
	int (*init)(struct daemon *d, struct err *err);
	void (*fini)(struct daemon *d);
} modules[] = {
	{ "DPDK", init_eal, fini_eal },
	{ "loop", init_loop, fini_loop },
	{ "switch", init_switch, fini_switch },
	{ "workers", init_workers, fini_workers },
	{ "helper", init_helper, fini_helper },
	{ "guests", init_guests, fini_guests },
	{ "server", init_server, fini_server },
	{ "devices", init_devices, fini_devices },
	{ "VMQ", init_vmq, fini_vmq },
	{ "control", init_control, fini_control },
	{ "service", init_service, fini_service },
};

int main(int argc, char **argv)
{
	static struct daemon d; // half a megabyte
	struct err err = { 0 };
	size_t n = 0;
	sigset_t set;
	int ret = options_parse(&d.opt, argc, argv, &err);

	if (ret == 1)
		return 0;
	if (ret < 0) {
		fprintf(stderr, "weftd: %s\n", err.text);
		return 2;
	}
	if (d.opt.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	// Blocked before any thread starts; the loop takes them from a descriptor.
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (; n < ARRAY_SIZE(modules) && !ret; n++)
		ret = modules[n].init(&d, &err);
	if (ret)
		log_error("%s: %s", modules[--n].name, err.text);
	else
		ret = loop_run(d.loop);
	while (n-- > 0)
		modules[n].fini(&d);
	options_free(&d.opt);
	if (!ret)
		log_info("stopped");
	return ret ? 1 : 0;
}
