// SPDX-License-Identifier: Apache-2.0
// A journal with any bytes in it: groups are read as far as they are good. So that the fuzzer gets
// past the checksum, the input is also taken as the body of a group.
#include <assert.h>
#include <stdlib.h>

#include "control/journal.h"
#include "control/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay(const void *bytes, size_t size)
{
	json_t *doc = json_object();
	uint64_t seq = 0;
	long end = store_replay(bytes, size, &seq, doc);

	assert(end >= 0 && (size_t)end <= size);
	json_decref(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t group_size;
	void *group = journal_build(1, (const char *)data, size, &group_size);

	replay(data, size);
	replay(group, group_size);
	free(group);
	return 0;
}
