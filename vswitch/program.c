// SPDX-License-Identifier: Apache-2.0
#include "vswitch/program.h"

#include <errno.h>
#include <stdlib.h>

#define IDENTITY_BYTES offsetof(struct program, refs)

int program_table_init(struct program_table *t, struct err *err)
{
	*t = (struct program_table){ .n_made = PROGRAM_FULL };
	t->programs = calloc(PROGRAM_MAX, sizeof(*t->programs));
	if (!t->programs)
		return err_set(err, ENOMEM, "no memory for action programs");
	t->programs[PROGRAM_FULL] = (struct program){ .op = OP_DROP, .reason = DROP_TABLE_FULL,
						      .refs = 1 };
	return 0;
}

void program_table_fini(struct program_table *t)
{
	free(t->programs);
	t->programs = NULL;
}

// Only what the program's op uses is part of its identity, so that flows share it.
static struct program identity(const struct decision *d)
{
	struct program p = { .op = (uint8_t)d->op };

	if (d->vsid) {
		p.vsid = d->vsid;
		p.flow_id = d->flow_id;
	}
	switch (d->op) {
	case OP_FLOOD:
	case OP_PROBE:
		p.fid = d->fid;
		p.form = (uint8_t)d->form;
		break;
	case OP_FORWARD:
		p.form = (uint8_t)d->form;
		break;
	case OP_ROUTE:
		p.fid = d->to_fid;
		p.form = (uint8_t)d->form;
		break;
	case OP_ANSWER:
		p.fid = d->fid;
		p.form = (uint8_t)d->form;
		p.answer = (uint8_t)d->answer;
		p.reason = (uint8_t)d->verdict.reason;
		break;
	case OP_LOOKUP:
		p.fields = d->fields;
		break;
	case OP_DROP:
		p.reason = (uint8_t)d->verdict.reason;
		p.dir = (uint8_t)d->verdict.dir;
		p.layer = d->verdict.layer;
		p.rule = d->verdict.rule;
		break;
	case OP_NONE:
		break;
	}
	return p;
}

static uint32_t *chain_of(struct program_table *t, const struct program *p)
{
	uint64_t a = load_u64(p), b = p->rule | (uint64_t)p->vsid << 32;

	return &t->heads[((a ^ b * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull) >> 52];
}

uint32_t program_get(struct program_table *t, const struct decision *d)
{
	struct program want = identity(d);
	uint32_t *head = chain_of(t, &want), i;

	for (i = *head; i; i = t->programs[i].next) {
		if (memcmp(&t->programs[i], &want, IDENTITY_BYTES) == 0) {
			t->programs[i].refs++;
			return i;
		}
	}
	i = t->free;
	if (i)
		t->free = t->programs[i].next;
	else if (t->n_made + 1 < PROGRAM_MAX)
		i = ++t->n_made;
	else
		return PROGRAM_FULL;
	t->programs[i] = want;
	t->programs[i].refs = 1;
	t->programs[i].next = *head;
	*head = i;
	return i;
}

void program_put(struct program_table *t, uint32_t program)
{
	struct program *p = &t->programs[program];
	uint32_t *link;

	if (program <= PROGRAM_FULL || --p->refs)
		return;
	for (link = chain_of(t, p); *link != program; link = &t->programs[*link].next)
		;
	*link = p->next;
	p->op = OP_NONE;
	p->next = t->free;
	t->free = program;
}
