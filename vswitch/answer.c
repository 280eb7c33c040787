// SPDX-License-Identifier: Apache-2.0
#include "vswitch/answer.h"

void answer_frame(const struct frame *f)
{
	worker_drop(f->out, f->v->port->index, DROP_RX, (enum drop)f->p->reason, f->m);
}
