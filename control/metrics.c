// SPDX-License-Identifier: Apache-2.0
// All counters as OpenMetrics text, made from the same JSON that `counters` answers: nothing can
// be in one and not in the other.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/txn.h"

// Samples of one family must stand together: they are gathered by family first.
struct page {
	json_t *families; // {"weft_port_rx_packets": ["{name=\"web0\"} 1", …]}
	const char *suffix; // of a sample's name: counters end in "_total"
};

// Text inside quotes of a label.
static void print_label(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text == '\n' ? ' ' : *text, out);
	}
}

// One sample: its family is made of type and counter. `reason` may be NULL.
static void add_sample(struct page *p, const json_t *entry, const char *counter, const char *reason,
		       const json_t *value)
{
	const char *type = json_string_value(json_object_get(entry, "type"));
	const char *name = json_string_value(json_object_get(entry, "name"));
	char family[128], *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	json_t *samples;

	snprintf(family, sizeof(family), "weft_%s_%s", type ? type : "", counter);
	fprintf(out, "%s%s{name=\"", family, p->suffix);
	print_label(out, name ? name : "");
	if (reason) {
		fputs("\",reason=\"", out);
		print_label(out, reason);
	}
	fprintf(out, "\"} %" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
	fclose(out);
	samples = json_object_get(p->families, family);
	if (!samples) {
		samples = json_array();
		json_object_set_new(p->families, family, samples);
	}
	json_array_append_new(samples, json_string(text));
	free(text);
}

static void add_entry(struct page *p, const json_t *entry, const char *kind)
{
	const char *counter, *reason;
	json_t *v, *by_reason;

	json_object_foreach(json_object_get(entry, kind), counter, v) {
		if (json_is_integer(v))
			add_sample(p, entry, counter, NULL, v);
		json_object_foreach(v, reason, by_reason) {
			add_sample(p, entry, counter, reason, by_reason);
		}
	}
}

// All families of one kind: "counters" or "gauges".
static void print_kind(FILE *out, const json_t *entries, const char *kind, const char *suffix)
{
	struct page p = { json_object(), suffix };
	const char *family;
	json_t *v, *samples;
	size_t i;

	json_array_foreach((json_t *)entries, i, v) {
		add_entry(&p, v, kind);
	}
	json_object_foreach(p.families, family, samples) {
		fprintf(out, "# TYPE %s %.*s\n", family, (int)strlen(kind) - 1, kind);
		json_array_foreach(samples, i, v) {
			fputs(json_string_value(v), out);
		}
	}
	json_decref(p.families);
}

int method_metrics(void *ctx, struct request *, const json_t *params, json_t **result,
		   struct refusal *r)
{
	struct control *c = ctx;
	const struct control_hooks *h = &c->cfg.hooks;
	json_t *entries;
	char *text = NULL;
	size_t size;
	FILE *out;

	if (params_read(params, NULL, 0, r) < 0)
		return -EINVAL;
	out = open_memstream(&text, &size);
	if (!out)
		return refuse(r, ENOMEM, NULL, "out of memory");
	entries = h->counters ? h->counters(h->ctx, NULL, NULL) : NULL;
	print_kind(out, entries, "counters", "_total");
	print_kind(out, entries, "gauges", "");
	fputs("# EOF\n", out);
	fclose(out);
	json_decref(entries);
	*result = json_string(text);
	free(text);
	return 0;
}
