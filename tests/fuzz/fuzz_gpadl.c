// SPDX-License-Identifier: Apache-2.0
// GPADL messages in any order with any bytes. What comes out lies in guest memory and adds up.
//
// Input: messages, each a byte for its kind (bit 0: body), a byte for its length, and its bytes.
// Values 0xf0 to 0xff as kind tear the oldest complete GPADL down.
#include <assert.h>
#include <stdlib.h>

#include "vmbus/gpadl.h"

#define MAX_LIVE 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t low[16 * VMBUS_PAGE_BYTES], high[16 * VMBUS_PAGE_BYTES];

// Each run is inside one of the regions, at the address that belongs to it.
static void check(const struct vmbus_gpadl *gpadl, const struct guest_memory *memory)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < gpadl->runs.n; i++) {
		const struct vmbus_run *run = &gpadl->runs.runs[i];

		assert(run->bytes && run->start == sum);
		assert(guest_memory_at(memory, run->gpa, run->bytes, true) == run->host);
		*(volatile uint8_t *)run->host = 1; // ASan and SIGSEGV look on
		*(volatile uint8_t *)(run->host + run->bytes - 1) = 1;
		sum += run->bytes;
	}
	assert(sum == gpadl->runs.bytes && gpadl->runs.n <= gpadl->n_pages);
	assert((uint64_t)gpadl->n_pages * VMBUS_PAGE_BYTES >= sum);
}

// Gives the oldest back.
static void tear_down(struct vmbus_gpadls *gpadls, struct vmbus_gpadl **live, uint32_t *n)
{
	vmbus_gpadls_forget(gpadls, live[0]);
	free(live[0]);
	memmove(live, live + 1, --*n * sizeof(*live));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_memory memory = {};
	struct guest_region regions[] = { { 0, sizeof(low), low, false },
					  { sizeof(low), sizeof(high), high, false } };
	struct vmbus_gpadl *live[MAX_LIVE];
	struct vmbus_gpadls *gpadls;
	uint32_t n_live = 0;

	guest_memory_add(&memory, &regions[0]);
	guest_memory_add(&memory, &regions[1]);
	gpadls = vmbus_gpadls_create(&memory);
	while (gpadls && size >= 2) {
		struct vmbus_gpadl_outcome out = {};
		uint8_t kind = data[0], message[VMBUS_MAX_MESSAGE];
		uint32_t bytes = data[1] % (VMBUS_MAX_MESSAGE + 1);

		data += 2;
		size -= 2;
		bytes = bytes < size ? bytes : (uint32_t)size;
		memcpy(message, data, bytes);
		data += bytes;
		size -= bytes;
		if (n_live && (kind >= 0xf0 || n_live == MAX_LIVE))
			tear_down(gpadls, live, &n_live);
		if (kind & 1)
			vmbus_gpadls_body(gpadls, message, bytes, &out);
		else
			vmbus_gpadls_header(gpadls, message, bytes, &out);
		assert((out.result == VMBUS_GPADL_DONE) == (out.gpadl != NULL));
		if (out.gpadl) {
			check(out.gpadl, &memory);
			live[n_live++] = out.gpadl;
		}
	}
	while (n_live > 0)
		tear_down(gpadls, live, &n_live);
	vmbus_gpadls_destroy(gpadls);
	return 0;
}
