// SPDX-License-Identifier: Apache-2.0
#include "tests/pmd/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/pmd/frame.h"
#include "tests/pmd/nic.h"

static const char usage[] =
	"usage: weft-pmd [OPTION...] MODE NIC...\n"
	"DPDK's netvsc driver as a guest of weftd, without Hyper-V. Ends with a line of JSON.\n"
	"\n"
	"A NIC is the name of a port of kind netvsp, or vhost:PATH (the socket that a vhost-user\n"
	"client connects to) for comparison.\n"
	"\n"
	"modes\n"
	"  pair     the first sends to the second and back, the third to the fourth …\n"
	"  send     all send, to --to\n"
	"  sink     check what comes\n"
	"  echo     send back what comes, MACs swapped\n"
	"  attach   open, and do nothing\n"
	"NIC\n"
	"  --socket PATH        of weftd (/run/weft/vmbus.sock)\n"
	"  --queues N           (1)      --descriptors N  frames under way a queue (512)\n"
	"  --staged N           frames that wait in a receive queue (8192)\n"
	"  --ring-pages N       (512)    --receive-mib N  (31)     --send-mib N  (16)\n"
	"  --mtu BYTES          (1500)   --driver ARGS    such as tx_copybreak=0\n"
	"traffic\n"
	"  --size A[-B]         bytes without FCS (60)\n"
	"  --flows N            a NIC (64)   --macs N   pairs (1)   --sender N   of the first (0)\n"
	"  --rate N             frames a second and NIC             --count N    frames a NIC\n"
	"  --seconds N          --chain N    pieces of a frame\n"
	"  --ipv6  --csum       --vlan ID    --tso MSS  TCP, cut by the switch\n"
	"  --no-fill            headers only, the payload is not looked at\n"
	"  --to MAC             of send\n"
	"  --one-way            pair: the second only receives\n"
	"  --lean               pair: frames are made in advance and only counted, for benches\n"
	"process\n"
	"  --core N             CPU that works (0)      --no-huge  --poll  never sleep\n"
	"  --control            take commands from standard input, answer each by a line of JSON:\n"
	"                       report pause resume fill restart reopen quit, spread FIRST N\n";

enum {
	OPT_HELP = 1,
	OPT_SOCKET,
	OPT_DRIVER,
	OPT_SIZE,
	OPT_TO,
	OPT_FLAG,   // a bool at `place`
	OPT_NUMBER, // a uint32_t at `place`, within the range
	OPT_LARGE,  // a uint64_t at `place`
};

// What an option sets.
struct setting {
	const char *name;
	int kind;
	size_t place;
	uint32_t min, max;
};

#define NUMBER(word, member, low, high) \
	{ word, OPT_NUMBER, offsetof(struct options, member), low, high }
#define FLAG(word, member) { word, OPT_FLAG, offsetof(struct options, member), 0, 0 }
#define LARGE(word, member) { word, OPT_LARGE, offsetof(struct options, member), 0, 0 }

static const struct setting settings[] = {
	{ "help", OPT_HELP, 0, 0, 0 },
	{ "socket", OPT_SOCKET, 0, 0, 0 },
	{ "driver", OPT_DRIVER, 0, 0, 0 },
	{ "size", OPT_SIZE, 0, 0, 0 },
	{ "to", OPT_TO, 0, 0, 0 },
	NUMBER("core", core, 0, 1023),
	NUMBER("queues", queues, 1, NIC_MAX_QUEUES),
	NUMBER("descriptors", descriptors, 64, 4096),
	NUMBER("staged", staged, 64, 32768),
	NUMBER("ring-pages", ring_pages, 2, 8190),
	NUMBER("receive-mib", receive_mib, 1, 31),
	NUMBER("send-mib", send_mib, 1, 16),
	NUMBER("mtu", mtu, 576, 9202),
	NUMBER("flows", flows, 1, FRAME_MAX_FLOWS),
	NUMBER("macs", macs, 1, FRAME_MAX_FLOWS),
	NUMBER("chain", chain, 1, 32),
	NUMBER("sender", sender, 0, 200),
	NUMBER("seconds", seconds, 1, 86400),
	NUMBER("tso", mss, 64, 9000),
	NUMBER("vlan", vlan, 1, 4094),
	LARGE("rate", rate),
	LARGE("count", count),
	FLAG("ipv6", ipv6),
	FLAG("csum", csum),
	FLAG("no-fill", no_fill),
	FLAG("one-way", one_way),
	FLAG("lean", lean),
	FLAG("no-huge", no_huge),
	FLAG("poll", poll),
	FLAG("control", control),
};

static int parse_number(const struct setting *s, const char *text, struct options *opt,
			struct err *err)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (!*text || *end)
		return err_set(err, EINVAL, "--%s: '%s' is no number", s->name, text);
	if (s->kind == OPT_LARGE) {
		*(uint64_t *)((char *)opt + s->place) = v;
		return 0;
	}
	if (v < s->min || v > s->max)
		return err_set(err, EINVAL, "--%s must be %u…%u", s->name, s->min, s->max);
	*(uint32_t *)((char *)opt + s->place) = (uint32_t)v;
	return 0;
}

static int parse_size(const char *text, struct options *opt, struct err *err)
{
	int n = sscanf(text, "%u-%u", &opt->min_bytes, &opt->max_bytes);

	if (n == 1)
		opt->max_bytes = opt->min_bytes;
	if (n < 1 || opt->min_bytes < 60 || opt->max_bytes < opt->min_bytes ||
	    opt->max_bytes > FRAME_MAX_BYTES)
		return err_set(err, EINVAL, "--size must be 60…%d, or two such numbers A-B",
			       FRAME_MAX_BYTES);
	return 0;
}

static int parse_mac(const char *text, struct mac *mac, struct err *err)
{
	unsigned int b[6];

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return err_set(err, EINVAL, "--to: '%s' is no MAC address", text);
	for (int i = 0; i < 6; i++)
		mac->b[i] = (uint8_t)b[i];
	return 0;
}

static int take(const struct setting *s, struct options *opt, struct err *err)
{
	switch (s->kind) {
	case OPT_HELP: fputs(usage, stdout); return 1;
	case OPT_SOCKET: opt->socket = optarg; return 0;
	case OPT_DRIVER: opt->driver = optarg; return 0;
	case OPT_SIZE: return parse_size(optarg, opt, err);
	case OPT_TO: return parse_mac(optarg, &opt->to, err);
	case OPT_FLAG: *(bool *)((char *)opt + s->place) = true; return 0;
	default: return parse_number(s, optarg, opt, err);
	}
}

static int parse_mode(const char *word, enum mode *mode, struct err *err)
{
	static const char *const words[] = { "pair", "send", "sink", "echo", "attach" };

	for (uint32_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(word, words[i]) == 0) {
			*mode = (enum mode)i;
			return 0;
		}
	return err_set(err, EINVAL, "no mode '%s'; there are: pair send sink echo attach", word);
}

static int parse_rest(int argc, char **argv, struct options *opt, struct err *err)
{
	uint32_t n = (uint32_t)(argc - optind);
	int ret;

	if (n < 2 || n - 1 > OPTIONS_MAX_NICS)
		return err_set(err, EINVAL, "a mode is needed and 1…%d NICs; --help tells more",
			       OPTIONS_MAX_NICS);
	ret = parse_mode(argv[optind], &opt->mode, err);
	if (ret)
		return ret;
	opt->n_nics = n - 1;
	for (uint32_t i = 0; i < opt->n_nics; i++)
		opt->nics[i] = argv[optind + 1 + (int)i];
	if (opt->mode == MODE_PAIR && opt->n_nics % 2)
		return err_set(err, EINVAL, "pair needs an even number of NICs");
	if (opt->lean && (opt->mode != MODE_PAIR || opt->ipv6 || opt->csum || opt->mss ||
			  opt->vlan || opt->macs > 1 || opt->chain > 1 ||
			  opt->min_bytes != opt->max_bytes))
		return err_set(err, EINVAL, "--lean is for pairs and plain frames of one size");
	if (opt->flows % opt->queues)
		return err_set(err, EINVAL, "--flows must be a multiple of --queues");
	return 0;
}

int options_parse(int argc, char **argv, struct options *opt, struct err *err)
{
	struct option longs[ARRAY_SIZE(settings) + 1] = { 0 };
	int c, ret;

	for (uint32_t i = 0; i < ARRAY_SIZE(settings); i++) {
		bool alone = settings[i].kind == OPT_FLAG || settings[i].kind == OPT_HELP;

		longs[i] = (struct option){ settings[i].name,
					    alone ? no_argument : required_argument, NULL, (int)i };
	}
	*opt = (struct options){
		.socket = "/run/weft/vmbus.sock", .queues = 1, .descriptors = 512, .staged = 8192,
		.ring_pages = 512, .receive_mib = 31, .send_mib = 16, .mtu = 1500,
		.min_bytes = 60, .max_bytes = 60, .flows = 64, .macs = 1, .chain = 1,
	};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == '?')
			return err_set(err, EINVAL, "--help lists the options");
		ret = take(&settings[c], opt, err);
		if (ret)
			return ret;
	}
	return parse_rest(argc, argv, opt, err);
}
