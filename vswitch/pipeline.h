// SPDX-License-Identifier: Apache-2.0
// The switch as a worker runs it: a batch in, frames out to egress queues, every one accounted for.
#pragma once

#include "base/err.h"
#include "base/rcu.h"
#include "dataplane/worker.h"
#include "vswitch/cache.h"

struct pipeline;

struct pipeline_cfg {
	struct cache_cfg cache;
};

// One per worker. control, before the worker starts and after it has stopped.
int pipeline_create(const struct pipeline_cfg *cfg, struct pipeline **out, struct err *err);
void pipeline_destroy(struct pipeline *p);

// For worker_start; ctx is a struct pipeline.
extern const struct worker_ops pipeline_ops;

// Its flows and counts, for dumps: read while the worker writes, so take copies and doubt them.
// control.
const struct cache *pipeline_cache(const struct pipeline *p);
