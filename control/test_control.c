// SPDX-License-Identifier: Apache-2.0
// Transactions from request to hooks to store: all or nothing, in groups, and again after a start.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/log.h"
#include "control/testing.h"
#include "control/txn.h"

struct world {
	struct loop *loop;
	struct helper *helper;
	struct control *control;
	struct test_daemon daemon;
	char *dir;
};

static void start(struct world *w)
{
	struct control_cfg cfg = { .types = test_types, .hooks = test_hooks(&w->daemon),
				   .state_dir = w->dir };
	struct err err;

	assert_int_equal(loop_create(&w->loop, &err), 0);
	assert_int_equal(helper_create(w->loop, &w->helper, &err), 0);
	cfg.loop = w->loop;
	cfg.helper = w->helper;
	if (control_create(&cfg, &w->control, &err) < 0)
		fail_msg("%s", err.text);
}

static void stop(struct world *w)
{
	helper_destroy(w->helper);
	control_destroy(w->control);
	loop_destroy(w->loop);
	w->daemon = (struct test_daemon){};
}

static void finish(struct world *w)
{
	stop(w);
	if (w->dir)
		test_dir_remove(w->dir);
}

struct answer {
	int done, changed;
	struct refusal r;
};

static void note(void *arg, int changed, const struct refusal *r)
{
	struct answer *a = arg;

	a->done = 1;
	a->changed = changed;
	if (r)
		a->r = *r;
}

static void submit(struct world *w, const char *json, bool prune, struct answer *a)
{
	json_t *doc = json_loads(json, 0, NULL);

	assert_non_null(doc);
	*a = (struct answer){};
	control_apply(w->control, doc, prune, note, a);
	json_decref(doc);
}

static int apply(struct world *w, const char *json, bool prune)
{
	struct answer a;

	submit(w, json, prune, &a);
	assert_true(test_run_until(w->loop, &a.done));
	return a.changed;
}

static bool has_port(const struct world *w, const char *name)
{
	return model_find(control_model(w->control), &test_port_type, name);
}

static const char lan[] = "{\"switch\": [{\"name\": \"lan\"}],"
			  " \"port\": [{\"name\": \"a\", \"switch_name\": \"lan\"},"
			  "            {\"name\": \"b\", \"switch_name\": \"lan\"}]}";

static void documents_are_applied_once(void **state)
{
	struct world w = {};

	start(&w);
	assert_int_equal(apply(&w, lan, false), 3);
	assert_int_equal(w.daemon.n_published, 2); // the first one is the start
	assert_int_equal(apply(&w, lan, false), 0);
	assert_int_equal(w.daemon.n_prepared, 2);
	finish(&w);
}

static void prune_removes_what_is_not_named(void **state)
{
	struct world w = {};

	start(&w);
	apply(&w, lan, false);
	assert_int_equal(apply(&w, "{\"port\": [{\"name\": \"b\", \"switch_name\": \"lan\"}]}",
			       false),
			 0);
	assert_true(has_port(&w, "a"));
	assert_int_equal(apply(&w, "{\"port\": [{\"name\": \"b\", \"switch_name\": \"lan\"}]}",
			       true),
			 1);
	assert_false(has_port(&w, "a"));
	// A singleton may leave its name out and is never pruned.
	assert_int_equal(apply(&w, "{\"settings\": [{\"age_s\": 99}]}", true), 1);
	assert_int_equal(apply(&w, "{\"settings\": [], \"port\": []}", true), 1);
	finish(&w);
}

static const struct {
	const char *doc;
	int error;
	const char *says;
} bad_documents[] = {
	{ "[]", EINVAL, "document: is not an object" },
	{ "{\"prot\": []}", ENOENT, "there is no object type 'prot'" },
	{ "{\"port\": {}}", EINVAL, "port: is not an array" },
	{ "{\"port\": [5]}", EINVAL, "port: entry 1 is not an object" },
	{ "{\"port\": [{\"name\": \"a\", \"switch_name\": \"lan\"}, {}]}", EINVAL,
	  "port: entry 2 has no name" },
	{ "{\"port\": [{\"name\": 7}]}", EINVAL, "port: entry 1 has no name" },
	{ "{\"switch\": [{\"name\": \"x\"}, {\"name\": \"x\"}]}", EEXIST, "switch 'x': is named twice" },
	{ "{\"switch\": [{\"name\": \"x\"}], \"port\": [{\"name\": \"p\", \"switch_name\": \"y\"}]}",
	  ENOENT, "port 'p': switch_name: there is no switch 'y'" },
};

static void bad_documents_change_nothing(void **state)
{
	struct world w = {};
	struct answer a;

	start(&w);
	apply(&w, lan, false);
	const struct model *before = control_model(w.control);
	for (size_t i = 0; i < ARRAY_SIZE(bad_documents); i++) {
		submit(&w, bad_documents[i].doc, false, &a);
		assert_int_equal(a.changed, -bad_documents[i].error);
		if (!strstr(a.r.err.text, bad_documents[i].says))
			fail_msg("'%s' does not say '%s'", a.r.err.text, bad_documents[i].says);
		assert_ptr_equal(control_model(w.control), before);
	}
	finish(&w);
}

static void the_daemon_may_refuse(void **state)
{
	struct world w = {};
	struct answer a;

	start(&w);
	w.daemon.refuse = ENODEV;
	submit(&w, lan, false, &a);
	assert_int_equal(a.changed, -ENODEV);
	assert_string_equal(a.r.err.text, "the daemon says no");
	assert_false(has_port(&w, "a"));
	w.daemon.refuse = 0;
	assert_int_equal(apply(&w, lan, false), 3);
	finish(&w);
}

static void state_comes_back_after_a_start(void **state)
{
	struct world w = { .dir = test_dir_make() };
	struct mac mac;

	start(&w);
	assert_int_equal(apply(&w, lan, false), 3);
	assert_int_equal(apply(&w, "{\"port\": [{\"name\": \"a\", \"switch_name\": \"lan\"}]}", true),
			 1);
	mac = ((const struct test_port *)model_find(control_model(w.control), &test_port_type, "a"))
		      ->mac;
	stop(&w);
	start(&w);
	assert_true(has_port(&w, "a"));
	assert_false(has_port(&w, "b"));
	assert_memory_equal(&((const struct test_port *)model_find(control_model(w.control),
								    &test_port_type, "a"))
				     ->mac,
			    &mac, sizeof(mac));
	assert_int_equal(w.daemon.n_published, 2);
	finish(&w);
}

static void stored_objects_that_are_refused_are_left_out(void **state)
{
	struct world w = { .dir = test_dir_make() };

	start(&w);
	assert_int_equal(apply(&w, lan, false), 3);
	stop(&w);
	w.daemon.refuse = ENODEV;
	w.daemon.refuse_name = "b";
	start(&w);
	assert_true(has_port(&w, "a"));
	assert_false(has_port(&w, "b"));
	finish(&w);
}

// While the first group is on its way to the disk, what comes in forms the second.
static void requests_go_in_groups(void **state)
{
	struct world w = { .dir = test_dir_make() };
	struct answer a[4];

	start(&w);
	submit(&w, "{\"switch\": [{\"name\": \"s0\"}]}", false, &a[0]);
	assert_false(a[0].done);
	submit(&w, "{\"switch\": [{\"name\": \"s1\"}]}", false, &a[1]);
	submit(&w, "{\"port\": [{\"name\": \"p\", \"switch_name\": \"s1\"}]}", false, &a[2]);
	submit(&w, "{\"port\": [{\"name\": \"q\", \"switch_name\": \"no\"}]}", false, &a[3]);
	assert_int_equal(w.daemon.n_prepared, 2);
	assert_true(test_run_until(w.loop, &a[2].done));
	assert_true(a[0].changed == 1 && a[1].changed == 1 && a[2].changed == 1);
	assert_int_equal(a[3].changed, -ENOENT);
	assert_int_equal(w.daemon.n_prepared, 3);
	assert_int_equal(w.daemon.n_published, 3);
	finish(&w);
}

static void one_bad_request_does_not_spoil_its_group(void **state)
{
	struct world w = { .dir = test_dir_make() };
	struct answer a[4];

	start(&w);
	apply(&w, "{\"switch\": [{\"name\": \"lan\"}]}", false);
	w.daemon.refuse = ENODEV;
	w.daemon.refuse_name = "bad";
	submit(&w, "{\"switch\": [{\"name\": \"s0\"}]}", false, &a[0]);
	submit(&w, "{\"port\": [{\"name\": \"good\", \"switch_name\": \"lan\"}]}", false, &a[1]);
	submit(&w, "{\"port\": [{\"name\": \"bad\", \"switch_name\": \"lan\"}]}", false, &a[2]);
	submit(&w, "{\"port\": [{\"name\": \"fine\", \"switch_name\": \"lan\"}]}", false, &a[3]);
	assert_true(test_run_until(w.loop, &a[3].done));
	assert_true(a[0].changed == 1 && a[1].changed == 1 && a[3].changed == 1);
	assert_int_equal(a[2].changed, -ENODEV);
	assert_true(has_port(&w, "good") && has_port(&w, "fine") && !has_port(&w, "bad"));
	finish(&w);
}

static void full_disk_is_an_error_and_changes_nothing(void **state)
{
	struct world w = { .dir = test_dir_make() };
	struct rlimit limit = { 100, RLIM_INFINITY };
	struct answer a;

	signal(SIGXFSZ, SIG_IGN);
	start(&w);
	assert_int_equal(apply(&w, "{\"switch\": [{\"name\": \"s\"}]}", false), 1);
	setrlimit(RLIMIT_FSIZE, &limit);
	submit(&w, lan, false, &a);
	assert_true(test_run_until(w.loop, &a.done));
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(a.changed, -EFBIG);
	assert_non_null(strstr(a.r.err.text, "cannot be saved"));
	assert_false(has_port(&w, "a"));
	assert_int_equal(w.daemon.n_aborted, 1);
	assert_int_equal(apply(&w, lan, false), 3);
	stop(&w);
	start(&w);
	assert_true(has_port(&w, "a"));
	finish(&w);
}

// A document of 300 ports whose note is 200 times the letter: a group of some 100 KB.
static char *many_ports(char letter)
{
	char note_text[201] = {}, name[16], mac[18], *text;
	json_t *ports = json_array(), *doc;

	memset(note_text, letter, 200);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		snprintf(mac, sizeof(mac), "02:00:00:00:%02x:%02x", i / 256, i % 256);
		json_array_append_new(ports, json_pack("{ss ss ss ss}", "name", name, "switch_name",
						       "lan", "note", note_text, "mac", mac));
	}
	doc = json_pack("{so}", "port", ports);
	text = json_dumps(doc, 0);
	json_decref(doc);
	return text;
}

static void a_long_journal_is_compacted(void **state)
{
	struct world w = { .dir = test_dir_make() };
	const struct test_port *port;
	char *path, *doc;

	start(&w);
	apply(&w, lan, false);
	for (char letter = 'a'; letter <= 'z'; letter++) {
		doc = many_ports(letter);
		assert_int_equal(apply(&w, doc, false), 300);
		free(doc);
	}
	stop(&w);
	assert_true(asprintf(&path, "test -n \"$(find %s -name 'snapshot.*')\"", w.dir) > 0);
	assert_int_equal(system(path), 0);
	free(path);
	start(&w);
	port = (const struct test_port *)model_find(control_model(w.control), &test_port_type,
						    "p77");
	assert_int_equal(port->note[199], 'z');
	finish(&w);
}

static void a_dry_run_is_checked_and_forgotten(void **state)
{
	struct world w = {};
	struct answer a = {};
	json_t *doc = json_loads(lan, 0, NULL);
	struct txn txn = { .doc = doc, .dry_run = true, .done = note, .arg = &a };

	start(&w);
	control_submit(w.control, &txn);
	assert_int_equal(a.changed, 3);
	assert_int_equal(w.daemon.n_aborted, 1);
	assert_false(has_port(&w, "a"));
	w.daemon.refuse = ENODEV;
	control_submit(w.control, &txn);
	assert_int_equal(a.changed, -ENODEV);
	json_decref(doc);
	finish(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_are_applied_once),
		cmocka_unit_test(prune_removes_what_is_not_named),
		cmocka_unit_test(bad_documents_change_nothing),
		cmocka_unit_test(the_daemon_may_refuse),
		cmocka_unit_test(state_comes_back_after_a_start),
		cmocka_unit_test(stored_objects_that_are_refused_are_left_out),
		cmocka_unit_test(requests_go_in_groups),
		cmocka_unit_test(one_bad_request_does_not_spoil_its_group),
		cmocka_unit_test(full_disk_is_an_error_and_changes_nothing),
		cmocka_unit_test(a_long_journal_is_compacted),
		cmocka_unit_test(a_dry_run_is_checked_and_forgotten),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("control/control", tests, NULL, NULL);
}
