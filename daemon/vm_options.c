// SPDX-License-Identifier: Apache-2.0
#include "daemon/vm_options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/option_number.h"

static const char usage[] =
	"Usage: weft-vm --kernel FILE | --load FILE [OPTION]...\n"
	"Runs one partition: a Linux guest that finds the interfaces of Hyper-V.\n"
	"\n"
	"  --name NAME          for messages (vm)\n"
	"  --kernel FILE        bzImage or vmlinux\n"
	"  --initrd FILE\n"
	"  --append TEXT        the kernel's command line\n"
	"  --cpus N             processors (1)\n"
	"  --memory MIB         memory (256)\n"
	"  --huge-pages         memory in huge pages\n"
	"  --console WHERE      stdio, pty, none or file:PATH (stdio)\n"
	"  --nic NAME[,socket=PATH][,token=FILE]\n"
	"                       a NIC that weftd has under this name; may be given several times\n"
	"  --load FILE          go on from a checkpoint; processors and memory are as in it\n"
	"  --control PATH       serve a control socket there\n"
	"  --no-reboot          end when the guest resets itself\n"
	"  --no-sandbox         without a filter on system calls\n"
	"  --debug              say more\n"
	"  --version, --help\n"
	"\n"
	"Ends with 0 when the guest has turned itself off or was stopped, 3 for a reset with\n"
	"--no-reboot, 4 after a crash that the guest reported, 5 if it cannot run on, 1 and 2 if\n"
	"it could not be started.\n";

enum opt {
	OPT_NAME, OPT_KERNEL, OPT_INITRD, OPT_APPEND, OPT_CPUS, OPT_MEMORY, OPT_HUGE_PAGES,
	OPT_CONSOLE, OPT_NO_REBOOT, OPT_LOAD, OPT_NIC, OPT_CONTROL,
	OPT_NO_SANDBOX, OPT_DEBUG, OPT_VERSION, OPT_HELP,
};

static const struct option table[] = {
	{ "name", required_argument, NULL, OPT_NAME },
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "huge-pages", no_argument, NULL, OPT_HUGE_PAGES },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "nic", required_argument, NULL, OPT_NIC },
	{ "load", required_argument, NULL, OPT_LOAD },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "no-reboot", no_argument, NULL, OPT_NO_REBOOT },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "debug", no_argument, NULL, OPT_DEBUG },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int set_console(struct vm_options *o, const char *text, struct err *err)
{
	static const struct {
		const char *name;
		enum vm_console console;
	} names[] = { { "stdio", VM_CONSOLE_STDIO }, { "pty", VM_CONSOLE_PTY },
		      { "none", VM_CONSOLE_NONE } };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i].name)) {
			o->console = names[i].console;
			return 0;
		}
	if (strncmp(text, "file:", 5) || !text[5])
		return err_set(err, EINVAL,
			       "console: '%s' is none of stdio, pty, none and file:PATH", text);
	o->console = VM_CONSOLE_FILE;
	o->console_file = text + 5;
	return 0;
}

static int set_number(struct vm_options *o, int which, const char *text, struct err *err)
{
	unsigned long v = 0;
	int ret;

	if (which == OPT_CPUS) {
		ret = option_number("cpus", text,
				    (struct option_range){ 1, PARTITION_MAX_VPS }, &v, err);
		o->partition.n_vps = (uint32_t)v;
	} else {
		ret = option_number("memory", text,
				    (struct option_range){ 32, 1ul << 20 }, &v, err);
		o->partition.memory_bytes = (uint64_t)v << 20;
	}
	return ret;
}

static int read_token(const char *path, uint8_t token[32], struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, token, 32);

	if (fd >= 0)
		close(fd);
	return n == 32 ? 0 : err_set(err, EINVAL, "nic: %s does not begin with a token of 32 bytes",
				     path);
}

int vm_options_nic(char *text, struct partition_nic_cfg *nic, uint8_t token[32], struct err *err)
{
	char *save = NULL, *part = strtok_r(text, ",", &save);
	int ret = 0;

	*nic = (struct partition_nic_cfg){ .name = part ? part : "", .socket = VM_SWITCH_SOCKET };
	while (!ret && part && (part = strtok_r(NULL, ",", &save))) {
		if (!strncmp(part, "socket=", 7)) {
			nic->socket = part + 7;
		} else if (!strncmp(part, "token=", 6)) {
			ret = read_token(part + 6, token, err);
			nic->token = token;
		} else {
			ret = err_set(err, EINVAL,
				      "nic: '%s' is neither socket=PATH nor token=FILE", part);
		}
	}
	return ret;
}

static int add_nic(struct vm_options *o, char *text, struct err *err)
{
	uint32_t n = o->partition.n_nics;

	if (n == PARTITION_MAX_NICS)
		return err_set(err, ENOSPC, "nic: more than %u", PARTITION_MAX_NICS);
	o->partition.n_nics++;
	return vm_options_nic(text, &o->nics[n], o->tokens[n], err);
}

static int set(struct vm_options *o, int which, char *text, struct err *err)
{
	switch (which) {
	case OPT_NAME: o->partition.name = text; return 0;
	case OPT_KERNEL: o->partition.kernel = text; return 0;
	case OPT_INITRD: o->partition.initrd = text; return 0;
	case OPT_APPEND: o->partition.command_line = text; return 0;
	case OPT_HUGE_PAGES: o->partition.huge_pages = true; return 0;
	case OPT_CONSOLE: return set_console(o, text, err);
	case OPT_NO_REBOOT: o->partition.reset_ends = true; return 0;
	case OPT_NIC: return add_nic(o, text, err);
	case OPT_LOAD: o->partition.checkpoint = text; return 0;
	case OPT_CONTROL: o->control = text; return 0;
	case OPT_NO_SANDBOX: o->no_sandbox = true; return 0;
	case OPT_DEBUG: o->debug = true; return 0;
	default: return set_number(o, which, text, err);
	}
}

int vm_options_parse(struct vm_options *options, int argc, char **argv, struct err *err)
{
	int which, ret = 0;

	*options = (struct vm_options){
		.partition = { .name = "vm", .n_vps = 1, .memory_bytes = 256ull << 20,
			       .command_line = "console=ttyS0" },
	};
	options->partition.nics = options->nics;
	opterr = 0;
	while (!ret && (which = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		if (which == OPT_HELP || which == OPT_VERSION) {
			fputs(which == OPT_HELP ? usage : "weft-vm " WEFT_VERSION "\n", stdout);
			return 1;
		}
		if (which == '?')
			return err_set(err, EINVAL, "%s: no such option, or it lacks its value",
				       argv[optind - 1]);
		ret = set(options, which, optarg, err);
	}
	if (ret)
		return ret;
	if (optind < argc)
		return err_set(err, EINVAL, "'%s' is not an option", argv[optind]);
	if (!options->partition.kernel && !options->partition.checkpoint)
		return err_set(err, EINVAL, "kernel: it is missing (--kernel FILE)");
	return 0;
}
