// SPDX-License-Identifier: Apache-2.0
#include "vswitch/route.h"

void route_frame(const struct frame *f, uint32_t dest, struct fdb_where where)
{
	worker_drop(f->out, f->v->port->index, DROP_RX, DROP_NO_ROUTE, f->m);
}
