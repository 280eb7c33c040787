// SPDX-License-Identifier: Apache-2.0
// What control's tests and fuzz targets share: a small world of object types that uses every
// field type and flag, and a daemon's hooks that note what they were asked.
#pragma once

#include "control/control.h"

struct test_switch {
	struct object head;
	struct guid guid;
	uint32_t max_macs;
};

struct test_port {
	struct object head;
	char *switch_name;
	unsigned int mode; // index into "access", "trunk"
	uint16_t vlan;
	struct vlan_set allowed;
	struct mac mac;
	struct guid guid;
	bool enabled;
	char *kind, *note;
	uint64_t limit;
	struct port_range ports;
	struct ip_prefix prefix;
};

struct test_settings {
	struct object head;
	uint32_t age_s;
};

extern const struct object_type test_switch_type, test_port_type, test_settings_type;
extern const struct object_type test_live_type; // no configuration: lists "one" and "two"
extern const struct object_types test_types;    // settings, switch, port, live

// What the hooks below were asked, and what they shall answer.
struct test_daemon {
	unsigned int n_prepared, n_published, n_aborted;
	int refuse; // errno that prepare answers with; 0: it agrees
	const char *refuse_name; // … only while an object of this name is added; NULL: always
	uint8_t next_guid, next_mac;
	const struct model *plan_to; // `to` of the plan under way
};

// Hooks that work on *daemon.
struct control_hooks test_hooks(struct test_daemon *daemon);

// Edits a model by JSON text: {"add port web0": {fields}, "delete switch lan": {}, …}. Returns
// model_edit's result; *to is set if that is ≥ 0. Generated values come from test_editor.
extern struct test_daemon test_editor;
int test_edit(const struct model *from, const char *json, const struct model **to,
	      struct refusal *r);

// A fresh directory under $TMPDIR; and its end with all that is in it.
char *test_dir_make(void);
void test_dir_remove(char *dir);

// Runs the loop until *flag is not 0, at most ten seconds. Returns whether it is.
bool test_run_until(struct loop *loop, const int *flag);
