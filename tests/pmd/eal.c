// SPDX-License-Identifier: Apache-2.0
#include "tests/pmd/eal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_memory.h>

#define FREE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define OTHER_MIB 48
#define QUEUE_MIB 4 // staging ring, descriptors, books of receive sections
#define MAX_ARGS 48
#define POOL_CACHE 256

static uint32_t n_messages;

static uint32_t free_huge_mib(void)
{
	uint32_t pages = 0;
	FILE *f = fopen(FREE_PAGES, "re");

	if (!f)
		return 0;
	if (fscanf(f, "%u", &pages) != 1)
		pages = 0;
	fclose(f);
	return 2 * pages;
}

// Drivers log here: each line is counted, and shown.
static ssize_t on_log(void *, const char *text, size_t bytes)
{
	__atomic_fetch_add(&n_messages, 1, __ATOMIC_RELAXED);
	return fwrite(text, 1, bytes, stderr) == bytes ? (ssize_t)bytes : -1;
}

uint32_t eal_n_messages(void) { return __atomic_load_n(&n_messages, __ATOMIC_RELAXED); }

static void redirect_log(void)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = on_log });

	if (!f)
		return;
	setvbuf(f, NULL, _IOLBF, 0);
	rte_openlog_stream(f);
	rte_log_set_level_pattern("pmd.net.netvsc*", RTE_LOG_NOTICE);
	// It tells of each device that a second scan finds again.
	rte_log_set_level_pattern("bus.vmbus", RTE_LOG_ERR);
}

static int init(const struct eal_cfg *cfg, uint32_t mib, bool huge)
{
	char lcores[32], memory[16], *argv[MAX_ARGS] = {
		"weft-pmd", huge ? "--in-memory" : "--no-shconf",
		huge ? "--single-file-segments" : "--no-huge", "--no-telemetry",
		"--iova-mode=va", "--no-pci", "--log-level=notice", "--log-level=lib.eal:error",
		"--lcores", lcores, "-m", memory,
	};
	int argc = 12;

	// The driver waits for answers: asleep, for the switch may need this core.
	rte_delay_us_callback_register(rte_delay_us_sleep);
	snprintf(lcores, sizeof(lcores), "0@%d", cfg->core);
	snprintf(memory, sizeof(memory), "%u", mib);
	if (huge) {
		argv[argc++] = "--socket-limit"; // beyond -m there is nothing
		argv[argc++] = memory;
	}
	for (uint32_t i = 0; i < cfg->n_vdevs && argc < MAX_ARGS - 1; i++) {
		argv[argc++] = "--vdev";
		argv[argc++] = (char *)cfg->vdevs[i];
	}
	return rte_eal_init(argc, argv);
}

// One stretch for each piece that is contiguous in addresses and file.
static int add_memory(const struct rte_memseg_list *list, const struct rte_memseg *first,
		      size_t bytes, void *arg)
{
	struct eal *eal = arg;
	struct nic_memory *m = &eal->memory[eal->n_memory];
	size_t offset;

	if (list->external || eal->n_memory == NIC_MAX_MEMORY)
		return list->external ? 0 : -1;
	m->fd = rte_memseg_get_fd_thread_unsafe(first);
	if (m->fd < 0 || rte_memseg_get_fd_offset_thread_unsafe(first, &offset))
		return -1;
	m->address = first->addr_64;
	m->bytes = bytes;
	m->offset = offset;
	eal->n_memory++;
	return 0;
}

// Memory for the pool and what queues need. Without huge pages no mbuf may cross a page's end.
static uint32_t wanted_mib(const struct eal_cfg *cfg, bool huge)
{
	uint64_t object = cfg->room + RTE_PKTMBUF_HEADROOM + 256, page = huge ? 64 : 4096;

	object = (object + page - 1) / page * page;
	return (uint32_t)((cfg->n_mbufs + cfg->n_more) * object >> 20) + OTHER_MIB +
	       cfg->n_queues * QUEUE_MIB;
}

int eal_start(const struct eal_cfg *cfg, struct eal *eal, struct err *err)
{
	uint32_t mib = wanted_mib(cfg, true);

	*eal = (struct eal){ .huge = !cfg->no_huge && free_huge_mib() >= mib };
	if (init(cfg, wanted_mib(cfg, eal->huge), eal->huge) < 0)
		return err_set(err, rte_errno ?: EIO, "DPDK does not start: %s",
			       rte_strerror(rte_errno));
	redirect_log();
	eal->pool = rte_pktmbuf_pool_create("frames", cfg->n_mbufs, POOL_CACHE, 0,
					    (uint16_t)(cfg->room + RTE_PKTMBUF_HEADROOM), 0);
	if (!eal->pool)
		return err_set(err, rte_errno, "no memory for %u mbufs: %s", cfg->n_mbufs,
			       rte_strerror(rte_errno));
	// Memory is taken at once and never more: what the switch gets to see now is all.
	if (rte_memseg_contig_walk(add_memory, eal))
		return err_set(err, ENOTSUP, "DPDK's memory is not in %d files or fewer",
			       NIC_MAX_MEMORY);
	return 0;
}

void eal_stop(void) { rte_eal_cleanup(); }
