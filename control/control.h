// SPDX-License-Identifier: Apache-2.0
// The heart of the control thread: desired state, transactions, and the standard methods
// (describe get set add delete apply dump counters watch metrics version methods).
//
// A request's way: edits → new model (all checks) → hooks.prepare → store (helper thread) →
// hooks.publish → reply and events. Requests that arrive while a group is on its way to the disk
// form the next group: one prepare, one fsync, one publish for all of them. Control thread only.
//
// What a daemon does with it:
//	loop_create → helper_create → server_create → control_create (publishes the stored state)
//	→ server_method_add… → server_listen → loop_run → helper_destroy (ends what is on its way
//	to the disk) → server_destroy → control_destroy → loop_destroy
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "control/helper.h"
#include "control/loop.h"
#include "control/model.h"
#include "control/object.h"
#include "control/server.h"

struct control;

// What the daemon does with a new desired state. All on the control thread.
struct control_hooks {
	// Makes ready for the step from → to everything that can fail, and leaves it in *plan.
	// The first step of all is from NULL to the singletons with their defaults.
	// Returns 0, or -errno with a sentence: then nothing has changed and no other call follows.
	int (*prepare)(void *ctx, const struct model *from, const struct model *to, void **plan,
		       struct err *err);
	// Exactly one of these follows a successful prepare. `from` and `to` live at least until
	// publish or abort returns; keep what is needed longer with object_get or model_get.
	void (*publish)(void *ctx, void *plan);
	void (*abort)(void *ctx, void *plan);
	// Counters of all objects, or of one type, or of one object (NULL: any), as array of
	// {"type": "port", "name": "web0", "counters": {"rx_packets": 1, "drops": {"TxFull": 2}},
	// "gauges": {"queue_depth": 3}}. Counters only grow; a nested object holds one number by
	// reason. The caller owns it; NULL: memory is short. May be NULL: no counters.
	json_t *(*counters)(void *ctx, const char *type, const char *name);
	void *ctx; // also what object types' hooks get
};

struct control_cfg {
	struct loop *loop;
	struct helper *helper;
	struct server *server; // gets the standard methods; NULL: none (tests)
	struct object_types types;
	struct control_hooks hooks;
	const char *state_dir; // NULL: the state lives in memory only
	const char *version;   // what `version` answers; lives as long as the control
};

// Reads the store, then prepares and publishes its state. Objects in it that are no longer valid
// or that prepare refuses are logged and left out: the daemon starts with the rest. Returns 0 or
// -errno with a sentence (state directory unusable, memory short).
int control_create(const struct control_cfg *cfg, struct control **out, struct err *err);

// After helper_destroy and server_destroy. Drops the model and closes the store; does not undo the
// state: the daemon closes its own things in its own order. NULL is fine.
void control_destroy(struct control *control);

// The published state. Valid until the next publish; model_get to keep it.
const struct model *control_model(const struct control *control);

// How a change ended: changed ≥ 0 objects differ, or -errno with *r.
typedef void control_done_fn(void *arg, int changed, const struct refusal *r);

// Applies a document as the `apply` method does: {"switch": [{"name": …}], …}. Objects named in
// it are added or made equal to it; with prune, objects of the types it names that it does not
// name are deleted. done is called once, perhaps before this returns. `doc` is borrowed for the
// call. For configuration files at start, and for modules that change configuration.
void control_apply(struct control *control, const json_t *doc, bool prune, control_done_fn *done,
		   void *arg);

// Tells watchers that something happened to an object: what = "link-up", …; takes over `detail`
// (JSON object or NULL). The mechanism itself says "added", "changed" and "removed".
void control_event(struct control *control, const char *type, const char *name, const char *what,
		   json_t *detail);
