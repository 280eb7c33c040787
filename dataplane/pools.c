// SPDX-License-Identifier: Apache-2.0
#include "dataplane/pools.h"

#include <errno.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

static struct rte_mempool *pool_create(const char *name, uint32_t n, uint32_t room,
				       struct err *err)
{
	struct rte_mempool *pool =
		rte_pktmbuf_pool_create(name, n, POOLS_CACHE, 0, RTE_PKTMBUF_HEADROOM + room,
					(int)rte_socket_id());

	if (!pool)
		err_set(err, rte_errno,
			"no memory for %u packet buffers of %u bytes (%u MiB): reserve huge pages or "
			"ask for fewer",
			n, room, (uint32_t)((uint64_t)n * (room + RTE_PKTMBUF_HEADROOM) >> 20));
	return pool;
}

int pools_create(const struct pools_cfg *cfg, struct port_pools *pools, struct err *err)
{
	const uint32_t least = 2 * POOLS_CACHE;

	if (cfg->n_small < least || cfg->n_large < least)
		return err_set(err, EINVAL, "pools of %u and %u packet buffers: at least %u each",
			       cfg->n_small, cfg->n_large, least);
	pools->large = NULL;
	pools->small = pool_create("weft_small", cfg->n_small, POOLS_SMALL_ROOM, err);
	if (pools->small)
		pools->large = pool_create("weft_large", cfg->n_large, POOLS_LARGE_ROOM, err);
	if (pools->large)
		return 0;
	pools_destroy(pools);
	return -ENOMEM;
}

void pools_destroy(struct port_pools *pools)
{
	rte_mempool_free(pools->small);
	rte_mempool_free(pools->large);
	*pools = (struct port_pools){ 0 };
}
