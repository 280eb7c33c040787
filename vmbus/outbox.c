// SPDX-License-Identifier: Apache-2.0
#include "vmbus/outbox.h"

#include <errno.h>
#include <stdlib.h>

void vmbus_outbox_init(struct vmbus_outbox *outbox, const struct vmbus_host_ops *ops, void *vmm)
{
	*outbox = (struct vmbus_outbox){ .ops = ops, .vmm = vmm, .end = &outbox->first };
}

int vmbus_outbox_keep(struct vmbus_outbox *outbox, const void *message, uint32_t bytes)
{
	struct vmbus_outbox_item *item = NULL;

	if (outbox->n < VMBUS_OUTBOX_MAX)
		item = malloc(sizeof(*item) + bytes);
	if (!item)
		return -ENOMEM;
	item->next = NULL;
	item->bytes = bytes;
	memcpy(item->message, message, bytes);
	*outbox->end = item;
	outbox->end = &item->next;
	outbox->n++;
	return 0;
}

// True: the slot is full. What cannot be delivered at all is lost.
static bool is_blocked(struct vmbus_outbox *outbox, const void *message, uint32_t bytes)
{
	int ret = outbox->ops->send(outbox->vmm, &outbox->to, message, bytes);

	if (ret < 0 && ret != -EAGAIN)
		outbox->n_lost++;
	return ret == -EAGAIN;
}

void vmbus_outbox_send(struct vmbus_outbox *outbox, const void *message, uint32_t bytes)
{
	if (!outbox->first && !is_blocked(outbox, message, bytes))
		return;
	if (vmbus_outbox_keep(outbox, message, bytes) < 0) {
		outbox->n_lost++;
		outbox->overflowed = true;
	}
}

static void drop_first(struct vmbus_outbox *outbox)
{
	struct vmbus_outbox_item *item = outbox->first;

	outbox->first = item->next;
	if (!outbox->first)
		outbox->end = &outbox->first;
	outbox->n--;
	free(item);
}

void vmbus_outbox_flush(struct vmbus_outbox *outbox)
{
	while (outbox->first &&
	       !is_blocked(outbox, outbox->first->message, outbox->first->bytes))
		drop_first(outbox);
}

void vmbus_outbox_clear(struct vmbus_outbox *outbox)
{
	while (outbox->first)
		drop_first(outbox);
	outbox->overflowed = false;
}
