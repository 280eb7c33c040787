// SPDX-License-Identifier: Apache-2.0
#include "daemon/eal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include "base/log.h"
#include "dataplane/pools.h"

#define HUGE_PAGE_MIB 2u
#define FREE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define LARGE_MBUFS 4095u
#define OTHER_MIB 96u // EAL, devices' rings

static unsigned int free_huge_mib(void)
{
	unsigned int pages = 0;
	FILE *f = fopen(FREE_PAGES, "r");

	if (!f)
		return 0;
	if (fscanf(f, "%u", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * HUGE_PAGE_MIB;
}

static unsigned int wanted_mib(const struct options *opt)
{
	uint64_t bytes = (uint64_t)opt->mbufs * (POOLS_SMALL_ROOM + 384) +
			 (uint64_t)LARGE_MBUFS * (POOLS_LARGE_ROOM + 384);

	return (unsigned int)(bytes >> 20) + OTHER_MIB;
}

// Nothing is left behind by a kill: --in-memory, or --no-shconf where DPDK 22.11 does not take that
// beside --no-huge. No device is touched that nobody named: an allow list with an address that no
// device has keeps the PCI bus quiet, and a port's devargs may still plug one in.
static int init(const struct options *opt, unsigned int mib, bool huge)
{
	char lcores[32], memory[16];
	char *argv[] = { "weftd", huge ? "--in-memory" : "--no-shconf",
			 huge ? "--single-file-segments" : "--no-huge", "--no-telemetry",
			 "--iova-mode=va", "-a", "ffff:ff:1f.7", "--log-level=error", "--lcores",
			 lcores, "-m", memory, NULL };

	snprintf(lcores, sizeof(lcores), "0@%d", opt->control_cpu);
	snprintf(memory, sizeof(memory), "%u", mib);
	return rte_eal_init(ARRAY_SIZE(argv) - 1, argv);
}

static int start(const struct options *opt, unsigned int mib, bool huge, struct port_pools *pools,
		 struct err *err)
{
	const struct pools_cfg cfg = { .n_small = opt->mbufs, .n_large = LARGE_MBUFS };

	if (init(opt, mib, huge) < 0)
		return err_set(err, rte_errno ? rte_errno : EIO, "DPDK does not start: %s",
			       rte_strerror(rte_errno));
	return pools_create(&cfg, pools, err);
}

// What a process can be given back before it becomes another program.
struct beginning {
	int first_fd; // the lowest descriptor that was not open
	cpu_set_t cpus;
};

static struct beginning remember(void)
{
	struct beginning b = { .first_fd = open("/dev/null", O_RDONLY | O_CLOEXEC) };

	if (b.first_fd >= 0)
		close(b.first_fd);
	CPU_ZERO(&b.cpus);
	sched_getaffinity(0, sizeof(b.cpus), &b.cpus);
	return b;
}

// DPDK starts once in the life of a program, whether it succeeds or not. So the same process runs
// the same program anew, with --no-huge: its number, environment and inherited sockets stay.
// Returns only if that cannot be done.
static void begin_anew(const struct options *opt, const struct beginning *b)
{
	size_t n = 0;
	char **argv;

	while (opt->argv[n])
		n++;
	argv = calloc(n + 2, sizeof(*argv));
	if (!argv)
		return;
	argv[0] = opt->argv[0];
	argv[1] = "--no-huge";
	memcpy(argv + 2, opt->argv + 1, (n - 1) * sizeof(*argv));
	if (b->first_fd >= 0)
		close_range((unsigned int)b->first_fd, ~0u, CLOSE_RANGE_CLOEXEC);
	sched_setaffinity(0, sizeof(b->cpus), &b->cpus);
	execv("/proc/self/exe", argv);
	free(argv);
}

int eal_start(const struct options *opt, struct port_pools *pools, struct err *err)
{
	const struct beginning beginning = remember();
	unsigned int mib = wanted_mib(opt), have = free_huge_mib();
	bool huge = !opt->no_huge && have >= mib;
	int ret;

	if (!huge && !opt->no_huge)
		log_warning("%u MiB of huge pages are free and %u are wanted: going on without, "
			    "a little slower; reserve them with: sysctl -w vm.nr_hugepages=%u",
			    have, mib, (mib - have) / HUGE_PAGE_MIB + 1);
	ret = start(opt, mib, huge, pools, err);
	// Somebody else took the pages meanwhile, or we may not have them.
	if (ret < 0 && huge) {
		log_warning("%s, with %u MiB of huge pages that seemed free: going on without, "
			    "a little slower", err->text, mib);
		begin_anew(opt, &beginning);
	}
	return ret;
}

void eal_stop(struct port_pools *pools)
{
	pools_destroy(pools);
	rte_eal_cleanup();
}
