// SPDX-License-Identifier: Apache-2.0
// What control.c (transactions), document.c, load.c, methods.c, watch.c and metrics.c know of each
// other. Nobody else includes this. Control thread.
#pragma once

#include <sys/queue.h>

#include "control/control.h"
#include "control/store.h"

struct watcher;

// One request to change the desired state: a single edit, or a document.
struct txn {
	STAILQ_ENTRY(txn) link;
	struct edit edit; // type NULL: a document
	json_t *doc;      // what edit.fields and edit.name point into, or the document; a reference
	bool prune;       // a document: delete what it does not name
	bool dry_run;     // check only
	int changed;      // objects that it changes
	control_done_fn *done;
	void *arg;
};
STAILQ_HEAD(txn_list, txn);

struct control {
	struct control_cfg cfg;
	const struct model *model; // the published state
	struct store *store;       // NULL: memory only
	struct txn_list queue;     // requests that wait for their group
	unsigned int n_single;     // so many of them must be tried each by itself
	bool working;              // control_work is further up the stack
	bool busy;                 // the helper has a group or a compaction under way

	// The group under way.
	struct txn_list group;
	const struct model *next;
	void *plan;
	json_t *patch; // what is written: the changes, or for a compaction the whole state
	struct refusal why; // how the helper's work failed

	LIST_HEAD(watcher_list, watcher) watchers;
};

// Queues a copy of *txn (taking over nothing: doc gets its own reference). done may come at once.
void control_submit(struct control *c, const struct txn *txn);

// The edits that a document stands for in this state. edits->list is malloc'ed, its pointers lead
// into the document and the model. document.c.
int document_edits(const struct txn *txn, const struct model *model, struct edits *edits,
		   struct refusal *r);

// Publishes what the store holds. control_create's second half; load.c.
int control_load(struct control *c, struct err *err);

// Tells watchers about every difference between two states; watch.c.
void watch_changes(struct control *c, const struct model *from, const struct model *to);
void watch_stop(struct control *c); // forgets all watchers

// One parameter of a method. *out is borrowed from params, NULL if not given.
struct param {
	const char *name;
	json_type type; // JSON_TRUE stands for both booleans
	bool required;
	const json_t **out;
};

// Reads a method's parameters; unknown, missing and mistyped ones are -EINVAL with a sentence.
int params_read(const json_t *params, const struct param *list, unsigned int n, struct refusal *r);

// Methods that are not in methods.c; ctx is the control.
int method_watch(void *ctx, struct request *req, const json_t *params, json_t **result,
		 struct refusal *r);
int method_metrics(void *ctx, struct request *req, const json_t *params, json_t **result,
		   struct refusal *r);
int methods_add(struct control *c, struct server *server); // 0 or -ENOMEM
