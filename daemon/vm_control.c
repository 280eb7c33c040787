// SPDX-License-Identifier: Apache-2.0
#include "daemon/vm_control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int method_show(void *ctx, struct request *, const json_t *params, json_t **result,
		       struct refusal *r)
{
	const struct vm *vm = ctx;
	const struct partition_cfg *cfg = &vm->options.partition;
	struct partition_state state;
	const char *console = vm_console_path(vm->console);

	json_t *nics = json_array();
	struct partition_nic_state nic;

	partition_look(vm->partition, &state);
	for (uint32_t i = 0; partition_nic_look(vm->partition, i, &nic); i++)
		json_array_append_new(nics, json_pack("{ss sb ss}", "name", nic.name, "served",
						      nic.is_served, "why", nic.why));
	*result = json_pack("{ss si sI sI sb sI so so}", "name", cfg->name, "pid", (int)getpid(),
			    "processors", (json_int_t)state.n_vps, "memory",
			    (json_int_t)state.memory_bytes, "paused", vm->is_paused, "exits",
			    (json_int_t)state.n_exits, "console",
			    console ? json_string(console) : json_null(), "nics", nics);
	if (*result && state.silence != UINT32_MAX)
		json_object_set_new(*result, "silent_seconds", json_integer(state.silence));
	if (*result && state.has_crashed)
		json_object_set_new(*result, "crash", json_string(state.crash.message));
	return *result ? 0 : refuse(r, ENOMEM, NULL, "no memory for the answer");
}

static int method_pause(void *ctx, struct request *, const json_t *params, json_t **result,
			struct refusal *r)
{
	struct vm *vm = ctx;

	if (!vm->is_paused)
		partition_pause(vm->partition);
	vm->is_paused = true;
	return 0;
}

static int method_resume(void *ctx, struct request *, const json_t *params, json_t **result,
			 struct refusal *r)
{
	struct vm *vm = ctx;

	if (vm->is_paused)
		partition_resume(vm->partition);
	vm->is_paused = false;
	return 0;
}

// The one parameter of a method, a string.
static const char *parameter(const json_t *params, const char *name, struct refusal *r)
{
	const char *text = json_string_value(json_object_get(params, name));

	if (!text)
		refuse(r, EINVAL, name, "%s: must be given, a string", name);
	return text;
}

static int method_save(void *ctx, struct request *, const json_t *params, json_t **result,
		       struct refusal *r)
{
	struct vm *vm = ctx;
	const char *path = parameter(params, "path", r);
	int ret;

	if (!path)
		return -EINVAL;
	partition_pause(vm->partition);
	ret = partition_save(vm->partition, path, &r->err);
	partition_resume(vm->partition);
	return ret;
}

static int method_shutdown(void *ctx, struct request *, const json_t *params, json_t **result,
			   struct refusal *r)
{
	struct vm *vm = ctx;
	bool reboot = json_is_true(json_object_get(params, "reboot"));

	return partition_shutdown(vm->partition, reboot, &r->err);
}

static int method_stop(void *ctx, struct request *, const json_t *params, json_t **result,
		       struct refusal *r)
{
	struct vm *vm = ctx;

	partition_stop(vm->partition);
	return 0;
}

static int method_nic_add(void *ctx, struct request *, const json_t *params, json_t **result,
			  struct refusal *r)
{
	struct vm *vm = ctx;
	const char *text = parameter(params, "nic", r);
	char *copy = text ? strdup(text) : NULL;
	struct partition_nic_cfg nic;
	uint8_t token[32];
	int ret = -EINVAL;

	if (copy)
		ret = vm_options_nic(copy, &nic, token, &r->err);
	if (copy && !ret)
		ret = partition_nic_add(vm->partition, &nic, &r->err);
	free(copy);
	return ret;
}

static int method_nic_remove(void *ctx, struct request *, const json_t *params, json_t **result,
			     struct refusal *r)
{
	struct vm *vm = ctx;
	const char *name = parameter(params, "nic", r);

	return name ? partition_nic_remove(vm->partition, name, &r->err) : -EINVAL;
}

static int method_type(void *ctx, struct request *, const json_t *params, json_t **result,
		       struct refusal *r)
{
	struct vm *vm = ctx;
	const char *text = parameter(params, "text", r);
	uint32_t n;

	if (!text)
		return -EINVAL;
	n = partition_type(vm->partition, (const uint8_t *)text, (uint32_t)strlen(text));
	*result = json_pack("{sI}", "typed", (json_int_t)n);
	return 0;
}

int vm_control_create(struct vm *vm, const char *path, struct server **out, struct err *err)
{
	static const struct {
		const char *name, *help;
		method_fn *fn;
	} methods[] = {
		{ "nic-add", "adds nic, written as for --nic", method_nic_add },
		{ "nic-remove", "takes nic from the guest", method_nic_remove },
		{ "pause", "stops the processors", method_pause },
		{ "resume", "lets the processors go on", method_resume },
		{ "save", "writes a checkpoint to path", method_save },
		{ "show", "what the partition is and does", method_show },
		{ "shutdown", "asks the guest to turn itself off, or with reboot to begin anew",
		  method_shutdown },
		{ "stop", "ends the partition at once", method_stop },
		{ "type", "types text on the console", method_type },
	};
	const struct server_cfg cfg = { .loop = vm->loop, .max_clients = 8 };
	int ret = server_create(&cfg, out, err);

	for (size_t i = 0; i < ARRAY_SIZE(methods) && !ret; i++)
		if (server_method_add(*out, methods[i].name, methods[i].help, methods[i].fn, vm))
			ret = err_set(err, ENOMEM, "no memory for the control socket");
	return ret ? ret : server_listen(*out, path, NULL, err);
}
