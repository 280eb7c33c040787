// SPDX-License-Identifier: Apache-2.0
#include "vmbus/gpadl.h"

#include <errno.h>
#include <stdlib.h>

// A GPADL of which some of the stream is missing.
struct pending {
	uint32_t relid, id;
	uint32_t n_ranges;
	uint32_t n_words, n_filled; // le64 of the stream, and how many of them have come
	le64 words[];               // [n_words]
};

// A complete one, as far as it must be known here.
struct live {
	uint32_t relid, id, n_pages;
};

struct vmbus_gpadls {
	const struct guest_memory *memory;
	struct pending *pending[VMBUS_GPADL_MAX_PENDING]; // [n_pending]
	uint32_t n_pending, n_live, n_pages;
	struct live live[VMBUS_GPADL_MAX_LIVE];
};

struct vmbus_gpadls *vmbus_gpadls_create(const struct guest_memory *memory)
{
	struct vmbus_gpadls *gpadls = calloc(1, sizeof(*gpadls));

	if (gpadls)
		gpadls->memory = memory;
	return gpadls;
}

void vmbus_gpadls_destroy(struct vmbus_gpadls *gpadls)
{
	if (!gpadls)
		return;
	for (uint32_t i = 0; i < gpadls->n_pending; i++)
		free(gpadls->pending[i]);
	free(gpadls);
}

void vmbus_gpadls_set_memory(struct vmbus_gpadls *gpadls, const struct guest_memory *memory)
{
	gpadls->memory = memory;
}

// --- keys --------------------------------------------------------------------------------------

// Bodies name no channel: an id can be in the making only once.
static struct pending **find_pending(struct vmbus_gpadls *gpadls, uint32_t id)
{
	for (uint32_t i = 0; i < gpadls->n_pending; i++)
		if (gpadls->pending[i]->id == id)
			return &gpadls->pending[i];
	return NULL;
}

static void drop(struct vmbus_gpadls *gpadls, struct pending **pending)
{
	free(*pending);
	*pending = gpadls->pending[--gpadls->n_pending];
}

static struct live *find_live(struct vmbus_gpadls *gpadls, uint32_t relid, uint32_t id)
{
	for (uint32_t i = 0; i < gpadls->n_live; i++)
		if (gpadls->live[i].relid == relid && gpadls->live[i].id == id)
			return &gpadls->live[i];
	return NULL;
}

static uint32_t count_of_channel(const struct vmbus_gpadls *gpadls, uint32_t relid)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < gpadls->n_live; i++)
		n += gpadls->live[i].relid == relid;
	for (uint32_t i = 0; i < gpadls->n_pending; i++)
		n += gpadls->pending[i]->relid == relid;
	return n;
}

void vmbus_gpadls_forget(struct vmbus_gpadls *gpadls, const struct vmbus_gpadl *gpadl)
{
	struct live *live = find_live(gpadls, gpadl->relid, gpadl->id);

	if (!live)
		return;
	gpadls->n_pages -= live->n_pages;
	*live = gpadls->live[--gpadls->n_live];
}

void vmbus_gpadls_drop_pending(struct vmbus_gpadls *gpadls, uint32_t relid)
{
	for (uint32_t i = gpadls->n_pending; i-- > 0;)
		if (gpadls->pending[i]->relid == relid)
			drop(gpadls, &gpadls->pending[i]);
}

void vmbus_gpadls_clear(struct vmbus_gpadls *gpadls)
{
	while (gpadls->n_pending > 0)
		drop(gpadls, &gpadls->pending[0]);
	gpadls->n_live = 0;
	gpadls->n_pages = 0;
}

bool vmbus_gpadls_pending(const struct vmbus_gpadls *gpadls, uint32_t i,
			  struct vmbus_gpadl_pending *out)
{
	const struct pending *p;

	if (i >= gpadls->n_pending)
		return false;
	p = gpadls->pending[i];
	*out = (struct vmbus_gpadl_pending){ p->relid, p->id, p->n_ranges,
					     p->n_words, p->n_filled, p->words };
	return true;
}

// --- the stream becomes runs -------------------------------------------------------------------

int vmbus_runs_add(struct vmbus_run_list *list, const struct guest_memory *memory, uint64_t gpa,
		   uint32_t bytes)
{
	struct vmbus_run *last = list->n ? &list->runs[list->n - 1] : NULL;
	uint8_t *host;

	if (!bytes || bytes > UINT32_MAX - list->bytes)
		return -EINVAL;
	host = guest_memory_at(memory, gpa, bytes, true);
	if (!host)
		return -EFAULT;
	if (last && last->host + last->bytes == host && last->gpa + last->bytes == gpa) {
		last->bytes += bytes;
	} else {
		if (list->n == list->max)
			return -ENOSPC;
		list->runs[list->n++] = (struct vmbus_run){ host, gpa, list->bytes, bytes };
	}
	list->bytes += bytes;
	return 0;
}

// What the stream says, checked before memory is looked at.
struct shape {
	uint32_t n_pages;
	uint32_t first_offset;
};

// One range's head, and how many page numbers follow it. False: an impossible range, or one that
// needs more words than are left.
static bool range_parse(le64 head, uint32_t n_left, uint32_t *offset, uint32_t *bytes,
			uint32_t *n_pages)
{
	uint64_t n;

	*bytes = (uint32_t)le64_to_cpu(head);
	*offset = (uint32_t)(le64_to_cpu(head) >> 32);
	if (!*bytes || *offset >= VMBUS_PAGE_BYTES)
		return false;
	n = ((uint64_t)*offset + *bytes + VMBUS_PAGE_BYTES - 1) / VMBUS_PAGE_BYTES;
	*n_pages = (uint32_t)n;
	return n <= n_left;
}

static const char *check_shape(const struct pending *p, struct shape *shape)
{
	uint32_t at = 0, offset, bytes, n;

	*shape = (struct shape){};
	for (uint32_t i = 0; i < p->n_ranges; i++, at += n) {
		if (at == p->n_words)
			return "fewer ranges than announced";
		if (!range_parse(p->words[at], p->n_words - at - 1, &offset, &bytes, &n))
			return "a range is empty, begins beyond its first page or is cut short";
		at++;
		if (i == 0)
			shape->first_offset = offset;
		shape->n_pages += n;
	}
	return at == p->n_words ? NULL : "data behind the last range";
}

// Looks every page up, in order. The shape was checked.
static const char *add_pages(const struct pending *p, const struct guest_memory *memory,
			     struct vmbus_run_list *list)
{
	uint32_t at = 0, offset, bytes, n;

	for (uint32_t i = 0; i < p->n_ranges; i++) {
		range_parse(p->words[at], p->n_words, &offset, &bytes, &n);
		for (at++; n > 0; n--, at++, offset = 0) {
			uint64_t page = le64_to_cpu(p->words[at]);
			uint32_t in_page = VMBUS_PAGE_BYTES - offset;

			in_page = bytes < in_page ? bytes : in_page;
			if (page >= GUEST_MEMORY_MAX_GPA / VMBUS_PAGE_BYTES ||
			    vmbus_runs_add(list, memory, page * VMBUS_PAGE_BYTES + offset,
					   in_page) < 0)
				return "a page is not memory";
			bytes -= in_page;
		}
	}
	return NULL;
}

static int compare_runs(const void *a, const void *b)
{
	const struct vmbus_run *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

// Does any byte of guest memory come twice? *sorted is scratch of the list's size.
static bool has_repeats(const struct vmbus_run_list *list, struct vmbus_run *sorted)
{
	memcpy(sorted, list->runs, list->n * sizeof(*sorted));
	qsort(sorted, list->n, sizeof(*sorted), compare_runs);
	for (uint32_t i = 1; i < list->n; i++)
		if (sorted[i - 1].gpa + sorted[i - 1].bytes > sorted[i].gpa)
			return true;
	return false;
}

// All of the stream is there. Returns NULL and the GPADL, or why there is none.
static const char *build(struct vmbus_gpadls *gpadls, const struct pending *p,
			 struct vmbus_gpadl **out)
{
	struct shape shape;
	const char *why = check_shape(p, &shape);
	struct vmbus_run_list list = { .max = shape.n_pages };
	struct vmbus_gpadl *gpadl, *tight;
	size_t size = sizeof(*gpadl) + sizeof(list.runs[0]) * (size_t)shape.n_pages;

	if (why)
		return why;
	if (shape.n_pages > VMBUS_GPADL_MAX_ALL_PAGES - gpadls->n_pages)
		return "too many pages in all";
	// Twice the runs: the second half is scratch.
	gpadl = malloc(size + sizeof(list.runs[0]) * (size_t)shape.n_pages);
	if (!gpadl)
		return "out of memory";
	list.runs = gpadl->storage;
	why = add_pages(p, gpadls->memory, &list);
	if (why) {
		free(gpadl);
		return why;
	}
	*gpadl = (struct vmbus_gpadl){ .relid = p->relid, .id = p->id, .n_ranges = p->n_ranges,
				       .first_offset = shape.first_offset,
				       .n_pages = shape.n_pages,
				       .repeats = has_repeats(&list, list.runs + list.n) };
	tight = realloc(gpadl, sizeof(*gpadl) + sizeof(list.runs[0]) * (size_t)list.n);
	if (tight)
		gpadl = tight;
	gpadl->runs = (struct vmbus_runs){ gpadl->storage, list.n, list.bytes };
	*out = gpadl;
	return NULL;
}

// --- messages ----------------------------------------------------------------------------------

static void refuse(struct vmbus_gpadl_outcome *out, const char *why)
{
	out->result = VMBUS_GPADL_REFUSED;
	out->why = why;
}

// Takes stream data in, as much as is missing; firmware's padding behind it is left. Ends the
// GPADL when it is complete.
static void fill(struct vmbus_gpadls *gpadls, struct pending **at, const uint8_t *data,
		 uint32_t bytes, struct vmbus_gpadl_outcome *out)
{
	struct pending *p = *at;
	uint32_t n = bytes / sizeof(le64), missing = p->n_words - p->n_filled;
	const char *why;

	n = n < missing ? n : missing;
	memcpy(&p->words[p->n_filled], data, n * sizeof(le64));
	p->n_filled += n;
	if (p->n_filled < p->n_words) {
		out->result = VMBUS_GPADL_MORE;
		return;
	}
	why = build(gpadls, p, &out->gpadl);
	if (why) {
		refuse(out, why);
	} else {
		out->result = VMBUS_GPADL_DONE;
		gpadls->live[gpadls->n_live++] =
			(struct live){ p->relid, p->id, out->gpadl->n_pages };
		gpadls->n_pages += out->gpadl->n_pages;
	}
	drop(gpadls, at);
}

// Is there no room for one more of this channel?
static const char *check_room(const struct vmbus_gpadls *gpadls, uint32_t relid)
{
	// Those in the making will be live: there is room for them, too.
	if (gpadls->n_live + gpadls->n_pending >= VMBUS_GPADL_MAX_LIVE ||
	    count_of_channel(gpadls, relid) >= VMBUS_GPADL_MAX_CHANNEL)
		return "too many";
	return NULL;
}

// Why a new GPADL cannot even begin, or NULL.
static const char *check_start(struct vmbus_gpadls *gpadls, const struct pending *p,
			       uint32_t range_bytes)
{
	uint32_t n_ranges = p->n_ranges;

	if (n_ranges < 1 || n_ranges > VMBUS_GPADL_MAX_RANGES)
		return "number of ranges is not 1 to 64";
	// A range needs its head and one page.
	if (range_bytes % sizeof(le64) || n_ranges * 2 * sizeof(le64) > range_bytes)
		return "length of the stream does not fit its ranges";
	if (find_pending(gpadls, p->id) || find_live(gpadls, p->relid, p->id))
		return "the id is in use";
	if (gpadls->n_pending == VMBUS_GPADL_MAX_PENDING)
		return "too many unfinished";
	return check_room(gpadls, p->relid);
}

// Takes one into the list, with an empty stream. NULL: out of memory.
static struct pending *begin(struct vmbus_gpadls *gpadls, const struct pending *like)
{
	struct pending *p = malloc(sizeof(*p) + like->n_words * sizeof(le64));

	if (p) {
		*p = *like;
		gpadls->pending[gpadls->n_pending++] = p;
	}
	return p;
}

void vmbus_gpadls_header(struct vmbus_gpadls *gpadls, const void *message, uint32_t bytes,
			 struct vmbus_gpadl_outcome *out)
{
	struct vmbus_gpadl_header header;
	struct pending like = {};
	const char *why;

	*out = (struct vmbus_gpadl_outcome){ .result = VMBUS_GPADL_IGNORED, .why = "cut short" };
	if (bytes < sizeof(header))
		return;
	memcpy(&header, message, sizeof(header));
	out->relid = le32_to_cpu(header.relid);
	out->id = le32_to_cpu(header.gpadl);
	like.relid = out->relid;
	like.id = out->id;
	like.n_ranges = le16_to_cpu(header.n_ranges);
	like.n_words = le16_to_cpu(header.range_bytes) / sizeof(le64);
	why = check_start(gpadls, &like, le16_to_cpu(header.range_bytes));
	if (!why && !begin(gpadls, &like))
		why = "out of memory";
	if (why) {
		refuse(out, why);
		return;
	}
	fill(gpadls, &gpadls->pending[gpadls->n_pending - 1],
	     (const uint8_t *)message + sizeof(header), bytes - (uint32_t)sizeof(header), out);
}

void vmbus_gpadls_body(struct vmbus_gpadls *gpadls, const void *message, uint32_t bytes,
		       struct vmbus_gpadl_outcome *out)
{
	struct vmbus_gpadl_body body;
	struct pending **p;

	*out = (struct vmbus_gpadl_outcome){ .result = VMBUS_GPADL_IGNORED, .why = "cut short" };
	if (bytes < sizeof(body))
		return;
	memcpy(&body, message, sizeof(body));
	out->id = le32_to_cpu(body.gpadl);
	p = find_pending(gpadls, out->id);
	if (!p) {
		out->why = "no such GPADL in the making";
		return;
	}
	out->relid = (*p)->relid;
	fill(gpadls, p, (const uint8_t *)message + sizeof(body), bytes - (uint32_t)sizeof(body),
	     out);
}

// --- restoring ---------------------------------------------------------------------------------

int vmbus_gpadls_restore_pending(struct vmbus_gpadls *gpadls,
				 const struct vmbus_gpadl_pending *pending)
{
	struct pending like = { .relid = pending->relid, .id = pending->id,
				.n_ranges = pending->n_ranges, .n_words = pending->n_words,
				.n_filled = pending->n_filled };
	struct pending *p;

	if (like.n_words > UINT16_MAX / sizeof(le64) || like.n_filled >= like.n_words ||
	    check_start(gpadls, &like, like.n_words * (uint32_t)sizeof(le64)))
		return -EINVAL;
	p = begin(gpadls, &like);
	if (!p)
		return -ENOMEM;
	memcpy(p->words, pending->words, like.n_filled * sizeof(le64));
	return 0;
}

// Are these numbers such as build() makes them?
static bool is_plausible(struct vmbus_gpadls *gpadls, const struct vmbus_gpadl *like)
{
	return like->n_ranges >= 1 && like->n_ranges <= VMBUS_GPADL_MAX_RANGES &&
	       like->first_offset < VMBUS_PAGE_BYTES && like->runs.n >= 1 &&
	       like->runs.n <= like->n_pages && like->n_pages <= VMBUS_GPADL_MAX_PAGES &&
	       like->n_pages <= VMBUS_GPADL_MAX_ALL_PAGES - gpadls->n_pages &&
	       !find_live(gpadls, like->relid, like->id) && !find_pending(gpadls, like->id) &&
	       !check_room(gpadls, like->relid);
}

int vmbus_gpadls_restore(struct vmbus_gpadls *gpadls, const struct vmbus_gpadl *like,
			 struct vmbus_gpadl **out)
{
	struct vmbus_run_list list = { .max = like->runs.n };
	struct vmbus_gpadl *gpadl;
	int ret = 0;

	if (!is_plausible(gpadls, like))
		return -EINVAL;
	// The second half is scratch.
	gpadl = malloc(sizeof(*gpadl) + 2 * sizeof(list.runs[0]) * (size_t)like->runs.n);
	if (!gpadl)
		return -ENOMEM;
	*gpadl = *like;
	list.runs = gpadl->storage;
	for (uint32_t i = 0; i < like->runs.n && ret == 0; i++)
		ret = vmbus_runs_add(&list, gpadls->memory, like->runs.runs[i].gpa,
				     like->runs.runs[i].bytes);
	if (ret == 0 && list.bytes > (uint64_t)like->n_pages * VMBUS_PAGE_BYTES)
		ret = -EINVAL;
	if (ret < 0) {
		free(gpadl);
		return ret;
	}
	gpadl->repeats = has_repeats(&list, list.runs + list.n);
	gpadl->runs = (struct vmbus_runs){ gpadl->storage, list.n, list.bytes };
	gpadls->live[gpadls->n_live++] = (struct live){ like->relid, like->id, like->n_pages };
	gpadls->n_pages += like->n_pages;
	*out = gpadl;
	return 0;
}
