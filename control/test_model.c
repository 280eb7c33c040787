// SPDX-License-Identifier: Apache-2.0
// Objects and models: what edits do, what they refuse, and that a refusal changes nothing.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/testing.h"

static const struct model *empty;

// The model that a list of edits leads to from `from`, which is given back.
static const struct model *make(const struct model *from, const char *json)
{
	const struct model *to;
	struct refusal r;

	if (test_edit(from, json, &to, &r) < 0)
		fail_msg("%s", r.err.text);
	model_put(from);
	return to;
}

static const struct model *small_world(void)
{
	test_editor = (struct test_daemon){};
	return make(model_get(empty),
		    "{\"add switch lan\": {}, \"add switch spare\": {},"
		    " \"add port a\": {\"switch_name\": \"lan\"},"
		    " \"add port web0\": {\"switch_name\": \"lan\", \"vlan\": 5}}");
}

static const struct test_port *port(const struct model *m, const char *name)
{
	return (const struct test_port *)model_find(m, &test_port_type, name);
}

static void edits_do_what_they_say(void **state)
{
	const struct model *m = small_world();

	assert_int_equal(port(m, "web0")->vlan, 5);
	assert_true(port(m, "web0")->enabled);
	assert_string_equal(port(m, "web0")->kind, "tap");
	assert_false(mac_is_zero(port(m, "web0")->mac));
	m = make(m, "{\"set port web0\": {\"vlan\": 6}}");
	assert_int_equal(port(m, "web0")->vlan, 6);
	assert_string_equal(port(m, "web0")->switch_name, "lan");
	m = make(m, "{\"set port web0\": {\"vlan\": null, \"note\": \"x\"}}");
	assert_int_equal(port(m, "web0")->vlan, 0);
	m = make(m, "{\"delete port web0\": {}}");
	assert_null(port(m, "web0"));
	assert_non_null(port(m, "a"));
	model_put(m);
}

static void put_makes_equal_but_keeps_what_was_generated(void **state)
{
	const struct model *m = small_world();
	struct mac mac = port(m, "web0")->mac;

	m = make(m, "{\"put port web0\": {\"switch_name\": \"spare\", \"note\": \"n\"}}");
	assert_int_equal(port(m, "web0")->vlan, 0);
	assert_string_equal(port(m, "web0")->switch_name, "spare");
	assert_int_equal(mac_to_u64(port(m, "web0")->mac), mac_to_u64(mac));
	model_put(m);
}

static void same_edit_twice_changes_nothing(void **state)
{
	const char *edit = "{\"put port web0\": {\"switch_name\": \"lan\", \"vlan\": 9},"
			   " \"set settings settings\": {\"age_s\": 60}}";
	const struct model *m = small_world(), *to;
	struct refusal r;

	assert_int_equal(test_edit(m, edit, &to, &r), 2);
	model_put(m);
	m = to;
	assert_int_equal(test_edit(m, edit, &to, &r), 0);
	assert_ptr_equal(m, to);
	model_put(m);
	model_put(to);
}

static void untouched_objects_are_shared(void **state)
{
	const struct model *m = small_world(), *to;
	struct refusal r;

	assert_int_equal(test_edit(m, "{\"set port web0\": {\"vlan\": 7}}", &to, &r), 1);
	assert_ptr_equal(port(m, "a"), port(to, "a"));
	assert_int_equal(port(m, "web0")->vlan, 5);
	model_put(m);
	model_put(to);
}

// Edits of small_world() that must fail: the error, the field, and words of what is said.
static const struct {
	const char *edit;
	int error;
	const char *field, *says, *hint;
} refused[] = {
	{ "{\"add port web0\": {\"switch_name\": \"lan\"}}", EEXIST, "name",
	  "port 'web0': exists already", "use set" },
	{ "{\"set port web1\": {}}", ENOENT, "name", "port 'web1': does not exist",
	  "did you mean 'web0'?" },
	{ "{\"delete port web9\": {}}", ENOENT, "name", "does not exist", "'web0'" },
	{ "{\"add port b\": {}}", EINVAL, "switch_name", "port 'b': switch_name: must be given",
	  "" },
	{ "{\"set port a\": {\"switch_name\": null}}", EINVAL, "switch_name", "must be given", "" },
	{ "{\"set port a\": {\"vlna\": 4}}", EINVAL, "vlna",
	  "port 'a': vlna: there is no such field", "did you mean 'vlan'?" },
	{ "{\"set port a\": {\"vlan\": 5000}}", ERANGE, "vlan",
	  "port 'a': vlan: 5000 is not a whole number from 1 to 4094", "" },
	{ "{\"set port a\": {\"link\": \"up\"}}", EINVAL, "link", "link: is read-only", "" },
	{ "{\"set port a\": {\"kind\": \"pcap\"}}", EPERM, "kind",
	  "cannot change; delete the port and add it anew", "" },
	{ "{\"add port b\": {\"switch_name\": \"lam\"}}", ENOENT, "switch_name",
	  "port 'b': switch_name: there is no switch 'lam'", "did you mean 'lan'?" },
	{ "{\"delete switch lan\": {}}", EBUSY, "switch_name",
	  "switch 'lan' is still used by port 'a' (switch_name)", "first" },
	{ "{\"delete switch lan\": {}, \"delete port a\": {}}", EBUSY, "switch_name",
	  "port 'web0'", "" },
	{ "{\"set port a\": {\"mac\": \"00:15:5d:00:00:02\"}}", EEXIST, "mac",
	  "port 'a': mac: \"00:15:5d:00:00:02\" is that of port 'web0' already", "" },
	{ "{\"set port a\": {\"mac\": \"02:00:00:00:00:01\"},"
	  " \"add port b\": {\"switch_name\": \"lan\", \"mac\": \"02:00:00:00:00:01\"}}",
	  EEXIST, "mac", "02:00:00:00:00:01", "" },
	{ "{\"set port a\": {\"mode\": \"trunk\", \"vlan\": 4}}", EINVAL, "",
	  "port 'a': vlan is for access ports", "" },
	{ "{\"set port a\": {\"vlan\": 3}, \"put port a\": {\"vlan\": 4}}", EEXIST, "name",
	  "port 'a': is named twice", "" },
	{ "{\"add switch -x\": {}}", EINVAL, "name", "'-x' is not 1 to 63 letters", "" },
	{ "{\"add switch a/b\": {}}", EINVAL, "name", "'a/b' is not", "" },
	{ "{\"add switch "
	  "0123456789012345678901234567890123456789012345678901234567890123\": {}}",
	  EINVAL, "name", "is not 1 to 63", "" },
	{ "{\"delete settings settings\": {}}", EPERM, "name", "cannot be deleted", "" },
	{ "{\"put settings other\": {}}", EINVAL, "name", "only one 'settings'", "" },
	{ "{\"add live one\": {}}", EPERM, "type", "live: is live", "" },
	// The good edit must not come through with the bad one.
	{ "{\"set port a\": {\"vlan\": 3}, \"set port web0\": {\"vlan\": 0}}", ERANGE, "vlan",
	  "port 'web0'", "" },
};

static void refusals_say_why_and_change_nothing(void **state)
{
	const struct model *m = small_world(), *to;
	json_t *before = model_dump(m), *after;
	struct refusal r;

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		int ret = test_edit(m, refused[i].edit, &to, &r);

		if (ret != -refused[i].error || strcmp(r.field, refused[i].field) != 0 ||
		    !strstr(r.err.text, refused[i].says) || !strstr(r.hint, refused[i].hint))
			fail_msg("%s: %d, field '%s', '%s', hint '%s'", refused[i].edit, ret,
				 r.field, r.err.text, r.hint);
	}
	after = model_dump(m);
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	model_put(m);
}

static void a_group_may_remove_both_ends_of_a_reference(void **state)
{
	const struct model *m = small_world();

	m = make(m, "{\"delete switch lan\": {}, \"delete port a\": {},"
		    " \"set port web0\": {\"switch_name\": \"spare\"}}");
	assert_null(model_find(m, &test_switch_type, "lan"));
	// Values may also be exchanged within a group.
	m = make(m, "{\"add port a\": {\"switch_name\": \"spare\","
		    " \"mac\": \"02:00:00:00:00:01\"}}");
	m = make(m, "{\"set port a\": {\"mac\": \"00:15:5d:00:00:02\"},"
		    " \"set port web0\": {\"mac\": \"02:00:00:00:00:01\"}}");
	assert_int_equal(port(m, "web0")->mac.b[0], 2);
	model_put(m);
}

static void diff_names_every_difference_in_order(void **state)
{
	const struct model *m = small_world(), *to;
	struct model_diff d;

	to = make(model_get(m),
		  "{\"add port b\": {\"switch_name\": \"lan\"}, \"delete port a\": {},"
		  " \"set port web0\": {\"vlan\": 1}, \"add port z\": {\"switch_name\": \"lan\"}}");
	d = model_diff(m, to, &test_port_type);
	assert_true(model_diff_next(&d));
	assert_string_equal(d.before->name, "a");
	assert_null(d.after);
	assert_true(model_diff_next(&d));
	assert_null(d.before);
	assert_string_equal(d.after->name, "b");
	assert_true(model_diff_next(&d));
	assert_ptr_equal(d.before, port(m, "web0"));
	assert_ptr_equal(d.after, port(to, "web0"));
	assert_true(model_diff_next(&d));
	assert_string_equal(d.after->name, "z");
	assert_false(model_diff_next(&d));
	d = model_diff(m, to, &test_switch_type);
	assert_false(model_diff_next(&d));
	d = model_diff(NULL, to, &test_switch_type);
	assert_true(model_diff_next(&d) && model_diff_next(&d) && !model_diff_next(&d));
	model_put(m);
	model_put(to);
}

static void patch_holds_what_changed(void **state)
{
	const struct model *m = small_world(), *to;
	json_t *patch, *want;

	to = make(model_get(m),
		  "{\"delete port a\": {}, \"set settings settings\": {\"age_s\": 10}}");
	patch = model_patch(m, to);
	want = json_pack("{s{sn} s{s{ss si}}}", "port", "a", "settings", "settings", "name",
			 "settings", "age_s", 10);
	assert_true(json_equal(patch, want));
	json_decref(patch);
	json_decref(want);
	model_put(m);
	model_put(to);
}

static int setup(void **state)
{
	empty = model_create(&test_types);
	return empty ? 0 : -1;
}

static int teardown(void **state)
{
	model_put(empty);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edits_do_what_they_say),
		cmocka_unit_test(put_makes_equal_but_keeps_what_was_generated),
		cmocka_unit_test(same_edit_twice_changes_nothing),
		cmocka_unit_test(untouched_objects_are_shared),
		cmocka_unit_test(refusals_say_why_and_change_nothing),
		cmocka_unit_test(a_group_may_remove_both_ends_of_a_reference),
		cmocka_unit_test(diff_names_every_difference_in_order),
		cmocka_unit_test(patch_holds_what_changed),
	};

	return cmocka_run_group_tests_name("control/model", tests, setup, teardown);
}
