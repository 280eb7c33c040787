// SPDX-License-Identifier: Apache-2.0
#include "daemon/options.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "control/wire.h"
#include "daemon/option_number.h"
#include "vswitch/flow.h"

static const char usage[] =
	"Usage: weftd [OPTION]...\n"
	"The Weft virtual switch. Needs no option: it starts empty and serves its control socket,\n"
	"through which `weft` configures it.\n"
	"\n"
	"  --config FILE        read options and objects from this JSON file first\n"
	"  --socket PATH        control socket (" WIRE_SOCKET ")\n"
	"  --group NAME         members of this group may use it\n"
	"  --vmbus-socket PATH  where guests attach (vmbus.sock beside the control socket)\n"
	"  --state DIR          where configuration is kept (/var/lib/weft)\n"
	"  --no-store           keep nothing\n"
	"  --workers N          worker threads (one a CPU, less one for control)\n"
	"  --worker-cpus LIST   CPUs of the workers, as 1,3 or 2-5\n"
	"  --control-cpu N      CPU of the control thread\n"
	"  --poll               workers never sleep\n"
	"  --flow-entries N     flows in each table of a worker (1048576)\n"
	"  --mbufs N            packet buffers of 2 KiB (32767)\n"
	"  --no-huge            do without huge pages\n"
	"  --debug              say more\n"
	"  --version, --help\n"
	"\n"
	"In the file, options stand under \"weftd\" by the same names, objects as `weft dump`\n"
	"prints them: {\"weftd\": {\"workers\": 2}, \"switch\": [{\"name\": \"s0\"}]}.\n"
	"The command line wins.\n";

enum opt {
	OPT_CONFIG, OPT_SOCKET, OPT_GROUP, OPT_STATE, OPT_NO_STORE, OPT_WORKERS, OPT_WORKER_CPUS,
	OPT_CONTROL_CPU, OPT_POLL, OPT_FLOW_ENTRIES, OPT_MBUFS, OPT_NO_HUGE, OPT_DEBUG,
	OPT_VMBUS_SOCKET,	OPT_VERSION, OPT_HELP,
};

static const struct option table[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "group", required_argument, NULL, OPT_GROUP },
	{ "vmbus-socket", required_argument, NULL, OPT_VMBUS_SOCKET },
	{ "state", required_argument, NULL, OPT_STATE },
	{ "no-store", no_argument, NULL, OPT_NO_STORE },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "worker-cpus", required_argument, NULL, OPT_WORKER_CPUS },
	{ "control-cpu", required_argument, NULL, OPT_CONTROL_CPU },
	{ "poll", no_argument, NULL, OPT_POLL },
	{ "flow-entries", required_argument, NULL, OPT_FLOW_ENTRIES },
	{ "mbufs", required_argument, NULL, OPT_MBUFS },
	{ "no-huge", no_argument, NULL, OPT_NO_HUGE },
	{ "debug", no_argument, NULL, OPT_DEBUG },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

// "1,3" or "2-5", into opt->worker_cpus.
static int cpu_list(struct options *opt, const char *text, struct err *err)
{
	char *copy = strdup(text), *save = NULL;
	int ret = copy ? 0 : -ENOMEM;

	opt->n_listed = 0;
	for (char *part = copy ? strtok_r(copy, ",", &save) : NULL; part && !ret;
	     part = strtok_r(NULL, ",", &save)) {
		unsigned int first, last;
		int n = sscanf(part, "%u-%u", &first, &last);

		if (n == 1)
			last = first;
		if (n < 1 || last < first || last >= CPU_SETSIZE ||
		    opt->n_listed + last - first + 1 > WORKER_MAX)
			ret = err_set(err, EINVAL, "worker-cpus: '%s' is not a list of at most %d "
				      "CPUs, as 1,3 or 2-5", text, WORKER_MAX);
		for (unsigned int cpu = first; !ret && cpu <= last; cpu++)
			opt->worker_cpus[opt->n_listed++] = (int)cpu;
	}
	free(copy);
	return ret;
}

static int set_number(struct options *opt, int which, const char *text, struct err *err)
{
	unsigned long v = 0;
	int ret;

	switch (which) {
	case OPT_WORKERS:
		ret = option_number("workers", text,
				    (struct option_range){ 1, WORKER_MAX }, &v, err);
		if (!ret)
			opt->n_workers = (unsigned int)v;
		return ret;
	case OPT_CONTROL_CPU:
		ret = option_number("control-cpu", text,
				    (struct option_range){ 0, CPU_SETSIZE - 1 }, &v, err);
		if (!ret)
			opt->control_cpu = (int)v;
		return ret;
	case OPT_FLOW_ENTRIES:
		ret = option_number("flow-entries", text,
				    (struct option_range){ 64, FLOW_MAX }, &v, err);
		if (!ret)
			opt->flow_entries = (uint32_t)v;
		return ret;
	default:
		ret = option_number("mbufs", text,
				    (struct option_range){ 4095, 8388607 }, &v, err);
		if (!ret)
			opt->mbufs = (uint32_t)v;
		return ret;
	}
}

// One option with its text; text NULL for flags.
static int set(struct options *opt, int which, const char *text, struct err *err)
{
	switch (which) {
	case OPT_CONFIG:
		opt->config = text;
		return 0;
	case OPT_SOCKET:
		opt->socket = text;
		return 0;
	case OPT_GROUP:
		opt->group = text;
		return 0;
	case OPT_VMBUS_SOCKET:
		opt->vmbus_socket = text;
		return 0;
	case OPT_STATE:
		opt->state_dir = text;
		return 0;
	case OPT_NO_STORE:
		opt->state_dir = NULL;
		return 0;
	case OPT_WORKER_CPUS:
		return cpu_list(opt, text, err);
	case OPT_POLL:
		opt->poll = true;
		return 0;
	case OPT_NO_HUGE:
		opt->no_huge = true;
		return 0;
	case OPT_DEBUG:
		opt->debug = true;
		return 0;
	default:
		return set_number(opt, which, text, err);
	}
}

static int set_from_file(struct options *opt, const char *key, json_t *value, struct err *err)
{
	static char text[32]; // numbers only; strings live as long as the document
	const struct option *o = table;

	while (o->name && strcmp(o->name, key) != 0)
		o++;
	if (!o->name || o->val == OPT_CONFIG || o->val == OPT_HELP || o->val == OPT_VERSION)
		return err_set(err, EINVAL, "weftd: there is no option '%s'; see weftd --help",
			       key);
	if (o->has_arg == no_argument) {
		if (!json_is_boolean(value))
			return err_set(err, EINVAL, "%s: true or false is wanted", key);
		return json_is_true(value) ? set(opt, o->val, NULL, err) : 0;
	}
	if (json_is_integer(value)) {
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
		return set(opt, o->val, text, err);
	}
	if (!json_is_string(value))
		return err_set(err, EINVAL, "%s: a text or a number is wanted", key);
	return set(opt, o->val, json_string_value(value), err);
}

static int read_file(struct options *opt, struct err *err)
{
	json_error_t e;
	json_t *doc = json_load_file(opt->config, JSON_REJECT_DUPLICATES, &e), *value;
	const char *key;

	if (!doc)
		return err_set(err, EINVAL, "%s line %d: %s", opt->config, e.line, e.text);
	opt->objects = doc; // also keeps the strings alive
	if (!json_is_object(doc))
		return err_set(err, EINVAL, "%s: a JSON object is wanted", opt->config);
	json_object_foreach (json_object_get(doc, "weftd"), key, value) {
		int ret = set_from_file(opt, key, value, err);

		if (ret)
			return err_prefix(err, ret, "%s", opt->config);
	}
	return 0;
}

// One CPU for control, one for each worker. What was not said is chosen from the CPUs we may use.
static int choose_cpus(struct options *opt, struct err *err)
{
	int cpus[CPU_SETSIZE], n = 0;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return err_set(err, errno, "cannot ask for the CPUs of this process");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	if (opt->control_cpu < 0)
		opt->control_cpu = cpus[0];
	if (opt->n_listed && opt->n_workers && opt->n_workers != opt->n_listed)
		return err_set(err, EINVAL, "workers: %u, but worker-cpus lists %u", opt->n_workers,
			       opt->n_listed);
	if (opt->n_listed) {
		opt->n_workers = opt->n_listed;
		return 0;
	}
	if (!opt->n_workers)
		opt->n_workers = n > 1 ? (unsigned int)n - 1 : 1;
	if (opt->n_workers > WORKER_MAX)
		opt->n_workers = WORKER_MAX;
	for (unsigned int w = 0, next = 0; w < opt->n_workers; w++, next++) {
		if (n > 1 && cpus[next % (unsigned int)n] == opt->control_cpu)
			next++;
		opt->worker_cpus[w] = cpus[next % (unsigned int)n];
	}
	return 0;
}

// Beside the control socket, so that several daemons do not meet.
static int choose_vmbus_socket(struct options *opt, struct err *err)
{
	const char *slash = strrchr(opt->socket, '/');

	if (opt->vmbus_socket)
		return 0;
	if (asprintf(&opt->made_socket, "%.*svmbus.sock",
		     slash ? (int)(slash - opt->socket) + 1 : 0, opt->socket) < 0) {
		opt->made_socket = NULL;
		return err_set(err, ENOMEM, "no memory for options");
	}
	opt->vmbus_socket = opt->made_socket;
	return 0;
}

static int parse_args(struct options *opt, int argc, char **argv, bool file_only, struct err *err)
{
	int which, ret = 0;

	optind = 1;
	while (!ret && (which = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (which == OPT_HELP || which == OPT_VERSION) {
			printf("%s", which == OPT_HELP ? usage : "weftd " WEFT_VERSION "\n");
			return 1;
		}
		if (which == '?')
			return err_set(err, EINVAL, "weftd --help lists the options");
		if (!file_only || which == OPT_CONFIG)
			ret = set(opt, which, optarg, err);
	}
	if (!ret && optind < argc)
		return err_set(err, EINVAL, "'%s' is not an option; weftd --help lists them",
			       argv[optind]);
	return ret;
}

int options_parse(struct options *opt, int argc, char **argv, struct err *err)
{
	int ret;

	*opt = (struct options){ .argv = argv, .socket = WIRE_SOCKET, .state_dir = "/var/lib/weft",
				 .control_cpu = -1, .flow_entries = 1u << 20, .mbufs = 32767 };
	ret = parse_args(opt, argc, argv, true, err);
	if (!ret && opt->config)
		ret = read_file(opt, err);
	if (!ret)
		ret = parse_args(opt, argc, argv, false, err);
	if (!ret)
		ret = choose_vmbus_socket(opt, err);
	if (!ret)
		ret = choose_cpus(opt, err);
	if (ret < 0)
		options_free(opt);
	return ret;
}

void options_free(struct options *opt)
{
	json_decref(opt->objects);
	opt->objects = NULL;
	free(opt->made_socket);
	opt->made_socket = NULL;
}
