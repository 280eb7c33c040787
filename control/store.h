// SPDX-License-Identifier: Apache-2.0
// The state directory: what was configured survives a kill at any instant.
//
// Files come in generations N: `snapshot.N` is one group (see journal.h) that holds the state as
// of sequence number N, `journal.N` the groups after it. A body is a JSON object
// {"port": {"web0": {fields…}, "old": null}}: objects as they now are, null for one deleted; a
// snapshot is the same, laid over nothing. Compaction begins a new generation and keeps the one
// before as last good copy.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

struct store;

// Opens the directory (made if missing, mode 0700), locks it against a second daemon, and reads
// what it holds into *doc: {"port": {"web0": {…}}, …}, the caller's. What is damaged is logged,
// kept aside as *.bad, and the state before it used. Returns 0 or -errno with a sentence: no such
// parent, no permission, locked. control, at start; it blocks.
int store_open(const char *dir, struct store **out, json_t **doc, struct err *err);
void store_close(struct store *store); // NULL is fine; no job may be under way

// Appends one group and waits for the disk. On failure (disk full) the file is as it was before.
// Returns 0 or -errno with a sentence. helper.
int store_append(struct store *store, const json_t *patch, struct err *err);

// Begins a new generation with `state` as snapshot. On failure the old one goes on. helper.
int store_compact(struct store *store, const json_t *state, struct err *err);

// The journal is over 1 MiB and over four times the snapshot. Any thread while no job runs.
bool store_wants_compaction(const struct store *store);

// Lays the groups of a journal, buf[size], over *doc, as far as they follow on *seq, which moves on
// with them; groups up to *seq are skipped. Returns the offset behind the last good one: `size`
// if all is well. -ENOMEM is the only failure. Pure, any thread.
long store_replay(const void *buf, size_t size, uint64_t *seq, json_t *doc);
