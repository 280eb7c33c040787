// SPDX-License-Identifier: Apache-2.0
// JSON-RPC 2.0: from a line to method calls, from results to an answer line.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/client.h"

#define MAX_BATCH 64u // requests in one JSON-RPC batch

struct request {
	struct call *call;
	json_t *id; // inside call->msg; NULL: a notification, nobody wants an answer
};

// One line: a request, or a batch of them.
struct call {
	struct client *client;
	json_t *msg;           // as received; ids and parameters lie in it
	json_t *answers;       // array
	bool batch;
	unsigned int n_pending; // requests not yet answered, and one while they are being started
	struct request requests[];
};

// A sentence may quote what a client sent, cut in the middle of a character: then ASCII will do.
static json_t *sentence(const char *text)
{
	json_t *out = json_string(text);
	char *plain = out ? NULL : strdup(text);

	for (char *p = plain; p && *p; p++)
		if (*p & 0x80)
			*p = '?';
	if (plain)
		out = json_string(plain);
	free(plain);
	return out;
}

static json_t *error_answer(json_t *id, int code, const char *text, json_t *data)
{
	json_t *error = json_pack("{si so}", "code", code, "message", sentence(text));

	if (data)
		json_object_set_new(error, "data", data);
	return json_pack("{ss sO? so}", "jsonrpc", "2.0", "id", id, "error", error);
}

void call_error(struct client *client, enum wire_error code, const char *text)
{
	json_t *answer = error_answer(NULL, code, text, NULL);

	client_send(client, answer);
	json_decref(answer);
}

static struct call *call_create(struct client *client, json_t *msg, size_t n)
{
	struct call *call = calloc(1, sizeof(*call) + n * sizeof(call->requests[0]));

	if (!call)
		return NULL;
	call->client = client;
	call->msg = msg;
	call->answers = json_array();
	call->batch = json_is_array(msg);
	call->n_pending = 1;
	return call;
}

// One of the things that the call waits for is done; after the last one the answer goes out.
static void call_progress(struct call *call)
{
	struct client *client = call->client;

	if (--call->n_pending)
		return;
	if (json_array_size(call->answers))
		client_send(client, call->batch ? call->answers
						: json_array_get(call->answers, 0));
	json_decref(call->answers);
	json_decref(call->msg);
	free(call);
	client->call = NULL;
	client->line_since_ns = loop_now_ns(); // the next line could not be read until now
	client_advance(client);
}

static void answer(struct request *req, json_t *msg)
{
	if (req->id)
		json_array_append_new(req->call->answers, msg);
	else
		json_decref(msg);
	call_progress(req->call);
}

void request_reply(struct request *req, json_t *result)
{
	json_t *msg = json_pack("{ss sO* so}", "jsonrpc", "2.0", "id", req->id, "result",
				result ? result : json_null());

	answer(req, msg);
}

void request_refuse(struct request *req, int error, const struct refusal *r)
{
	bool params = error == EINVAL || error == ERANGE;
	const char *name = strerrorname_np(error);
	json_t *data = json_pack("{ss}", "errno", name ? name : "EIO");

	if (r->field[0])
		json_object_set_new(data, "field", sentence(r->field));
	if (r->hint[0])
		json_object_set_new(data, "hint", sentence(r->hint));
	answer(req, error_answer(req->id, params ? WIRE_INVALID_PARAMS : WIRE_REFUSED,
				 r->err.text[0] ? r->err.text : strerror(error), data));
}

struct client *request_client(struct request *req)
{
	return req->call->client;
}

static void refuse_method(struct request *req, const char *name)
{
	const struct server *s = req->call->client->server;
	const char *names[SERVER_MAX_METHODS];
	json_t *data = NULL;
	struct refusal r;

	for (unsigned int i = 0; i < s->n_methods; i++)
		names[i] = s->methods[i].name;
	refuse(&r, ENOSYS, NULL, "there is no method '%.64s'", name);
	refuse_suggest(&r, 0, name, names, s->n_methods);
	if (r.hint[0])
		data = json_pack("{so}", "hint", sentence(r.hint));
	answer(req, error_answer(req->id, WIRE_NO_METHOD, r.err.text, data));
}

static const struct method *find_method(const struct server *s, const char *name)
{
	for (unsigned int i = 0; i < s->n_methods; i++)
		if (strcmp(s->methods[i].name, name) == 0)
			return &s->methods[i];
	return NULL;
}

// The envelope of one request; NULL if it is right, else what is wrong with it.
static const char *check_envelope(const json_t *msg)
{
	const char *version = json_string_value(json_object_get(msg, "jsonrpc"));
	const json_t *id = json_object_get(msg, "id");
	const json_t *params = json_object_get(msg, "params");

	if (!json_is_object(msg))
		return "a request must be an object";
	if (!version || strcmp(version, "2.0") != 0)
		return "jsonrpc must be \"2.0\"";
	if (!json_is_string(json_object_get(msg, "method")))
		return "method must be a string";
	if (id && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
		return "id must be a string, a number or null";
	if (params && !json_is_object(params) && !json_is_array(params))
		return "params must be an object or an array";
	return NULL;
}

static void start_request(struct request *req, const json_t *msg)
{
	const char *mistake = check_envelope(msg), *name;
	const struct method *method;
	struct refusal r = {};
	json_t *result = NULL;
	int ret;

	req->id = json_object_get(msg, "id");
	if (mistake) {
		req->id = req->id ? req->id : json_null();
		answer(req, error_answer(req->id, WIRE_INVALID_REQUEST, mistake, NULL));
		return;
	}
	name = json_string_value(json_object_get(msg, "method"));
	method = find_method(req->call->client->server, name);
	if (!method) {
		refuse_method(req, name);
		return;
	}
	ret = method->fn(method->ctx, req, json_object_get(msg, "params"), &result, &r);
	if (ret == 0)
		request_reply(req, result);
	else if (ret < 0)
		request_refuse(req, -ret, &r);
}

static const char *check_size(const json_t *msg)
{
	size_t n = json_array_size(msg);

	if (!json_is_array(msg) || (n > 0 && n <= MAX_BATCH))
		return NULL;
	return n ? "a batch holds at most 64 requests" : "a batch must hold a request";
}

bool call_line(struct client *client, const char *line, size_t len)
{
	struct err err;
	json_t *msg = wire_parse(line, len, &err);
	const char *mistake = msg ? check_size(msg) : NULL;
	size_t n = json_is_array(msg) ? json_array_size(msg) : 1;
	struct call *call;

	if (!msg || mistake) {
		call_error(client, msg ? WIRE_INVALID_REQUEST : WIRE_PARSE_ERROR,
			   msg ? mistake : err.text);
		json_decref(msg);
		return msg != NULL;
	}
	call = call_create(client, msg, n);
	if (!call) {
		call_error(client, WIRE_INTERNAL, "out of memory");
		json_decref(msg);
		return true;
	}
	client->call = call;
	call->n_pending += (unsigned int)n;
	for (size_t i = 0; i < n; i++) {
		call->requests[i].call = call;
		start_request(&call->requests[i], call->batch ? json_array_get(msg, i) : msg);
	}
	call_progress(call);
	return true;
}
