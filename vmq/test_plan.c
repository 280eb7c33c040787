// SPDX-License-Identifier: Apache-2.0
// Plans as tables: what there is, one port a line, and what must come out.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vmq/plan.h"
#include "vmq/stall.h"

#define ALL 0xffffffffu
#define NONE VMQ_NO_CORE
#define MAX_ROWS 8

// A port with at most two pairs.
struct row {
	uint8_t weight, n_pairs, n_wanted;
	uint16_t queue; // as it is
	uint8_t n_queues;
	uint8_t core[2];
	uint16_t load[2];
	bool is_nic, no_address, stalled;
	// wanted
	enum vmq_why why;
	uint16_t to_queue;
	uint8_t to_n_queues;
	uint8_t to[2];
};

struct table {
	const char *name;
	struct vmq_nic nic;
	uint32_t n_cores;
	struct vmq_core cores[4];
	bool calm;
	struct row rows[MAX_ROWS]; // ends with one of n_pairs 0
};

static uint32_t fill(const struct table *t, struct vmq_port *ports)
{
	uint32_t n = 0;

	for (; n < MAX_ROWS && t->rows[n].n_pairs; n++) {
		const struct row *r = &t->rows[n];

		ports[n] = (struct vmq_port){ .weight = r->weight,
					      .is_nic = r->is_nic,
					      .addressed = !r->no_address,
					      .stalled = r->stalled,
					      .n_pairs = r->n_pairs,
					      .n_wanted = r->n_wanted ? r->n_wanted : 1,
					      .queue = r->queue,
					      .n_queues = r->n_queues,
					      .core = r->core,
					      .load = r->load };
	}
	return n;
}

static void check(const struct table *t)
{
	struct vmq_port ports[MAX_ROWS];
	struct vmq_grant grants[MAX_ROWS], again[MAX_ROWS];
	struct vmq_input in = { .cores = t->cores, .nics = &t->nic, .ports = ports,
				.n_cores = t->n_cores, .n_nics = 1, .calm = t->calm };

	in.n_ports = fill(t, ports);
	memset(grants, 0, sizeof(grants));
	memset(again, 0, sizeof(again));
	assert_int_equal(vmq_plan(&in, grants), 0);
	assert_int_equal(vmq_plan(&in, again), 0);
	assert_memory_equal(grants, again, sizeof(grants));
	for (uint32_t i = 0; i < in.n_ports; i++) {
		const struct row *r = &t->rows[i];
		const struct vmq_grant *g = &grants[i];

		if (g->why != r->why || g->queue != r->to_queue || g->n_queues != r->to_n_queues ||
		    memcmp(g->core, r->to, r->n_pairs) != 0)
			fail_msg("%s, port %u: '%s' queue %u (%u), cores %u %u", t->name, i,
				 vmq_why_texts[g->why], g->queue, g->n_queues, g->core[0],
				 g->core[1]);
	}
}

#define SOFTWARE { .software = true, .cores = ALL }
#define HARDWARE(queues, filters) { .n_queues = queues, .n_filters = filters, .cores = ALL }
#define SOFT .to_queue = VMQ_NO_QUEUE, .to_n_queues = 1
#define TWO_CORES 2, { { .cpu = 1 }, { .cpu = 2 } }

static const struct table tables[] = {
	{ "who gets one of two queues: weight",
	  HARDWARE(3, 100), 1, { { .cpu = 1 } }, false,
	  { { .weight = 10, .n_pairs = 1, .why = VMQ_NO_QUEUES },
	    { .weight = 100, .n_pairs = 1, .to_queue = 1, .to_n_queues = 1 },
	    { .weight = 50, .n_pairs = 1, .to_queue = 2, .to_n_queues = 1 } } },
	{ "who had a queue keeps it, and which",
	  HARDWARE(3, 100), 1, { { .cpu = 1 } }, false,
	  { { .weight = 100, .n_pairs = 1, .why = VMQ_NO_QUEUES },
	    { .weight = 100, .n_pairs = 1, .queue = 2, .n_queues = 1, .to_queue = 2,
	      .to_n_queues = 1 },
	    { .weight = 100, .n_pairs = 1, .queue = 1, .n_queues = 1, .to_queue = 1,
	      .to_n_queues = 1 } } },
	{ "but not against a greater weight",
	  HARDWARE(2, 100), 1, { { .cpu = 1 } }, false,
	  { { .weight = 100, .n_pairs = 1, .queue = 1, .n_queues = 1, .why = VMQ_NO_QUEUES },
	    { .weight = 101, .n_pairs = 1, .to_queue = 1, .to_n_queues = 1 } } },
	{ "filters end before queues",
	  HARDWARE(9, 1), 1, { { .cpu = 1 } }, false,
	  { { .weight = 100, .n_pairs = 1, .to_queue = 1, .to_n_queues = 1 },
	    { .weight = 100, .n_pairs = 1, .why = VMQ_NO_FILTERS } } },
	{ "each reason for the default queue",
	  HARDWARE(9, 9), 1, { { .cpu = 1 } }, false,
	  { { .weight = 0, .n_pairs = 1, .why = VMQ_NO_WEIGHT },
	    { .weight = 1, .n_pairs = 1, .no_address = true, .why = VMQ_NO_ADDRESS },
	    { .weight = 1, .n_pairs = 1, .stalled = true, .why = VMQ_STALLED },
	    { .weight = 1, .n_pairs = 1, .to_queue = 1, .to_n_queues = 1 } } },
	{ "vmq=off",
	  { .off = true, .n_queues = 9, .n_filters = 9, .cores = ALL }, 1, { { .cpu = 1 } }, false,
	  { { .weight = 100, .n_pairs = 1, .why = VMQ_OFF } } },
	{ "several queues for one port, what the others leave",
	  HARDWARE(4, 9), 1, { { .cpu = 1 } }, false,
	  { { .weight = 50, .n_pairs = 2, .n_wanted = 2, .to_queue = 3, .to_n_queues = 1 },
	    { .weight = 90, .n_pairs = 2, .n_wanted = 2, .to_queue = 1, .to_n_queues = 2 } } },
	{ "queues in a row do not fit between others: fewer",
	  HARDWARE(4, 9), 1, { { .cpu = 1 } }, false,
	  { { .weight = 50, .n_pairs = 1, .queue = 2, .n_queues = 1, .to_queue = 2,
	      .to_n_queues = 1 },
	    { .weight = 90, .n_pairs = 2, .n_wanted = 2, .to_queue = 1, .to_n_queues = 1 } } },
	{ "nothing is done where all is well",
	  SOFTWARE, TWO_CORES, false,
	  { { .weight = 100, .n_pairs = 1, .core = { 1 }, .load = { 300 }, .to = { 1 }, SOFT },
	    { .weight = 100, .n_pairs = 1, .core = { 0 }, .load = { 300 }, .to = { 0 }, SOFT } } },
	{ "a new port goes where work is already",
	  SOFTWARE, TWO_CORES, false,
	  { { .weight = 100, .n_pairs = 1, .core = { 1 }, .load = { 10 }, .to = { 1 }, SOFT },
	    { .weight = 100, .n_pairs = 1, .core = { NONE }, .to = { 1 }, SOFT } } },
	{ "spread under a burst: one moves, the one that evens it out",
	  SOFTWARE, TWO_CORES, false,
	  { { .weight = 100, .n_pairs = 1, .core = { 0 }, .load = { 600 }, .to = { 1 }, SOFT },
	    { .weight = 100, .n_pairs = 1, .core = { 0 }, .load = { 300 }, .to = { 0 }, SOFT },
	    { .weight = 100, .n_pairs = 1, .core = { 0 }, .load = { 50 }, .to = { 0 }, SOFT } } },
	{ "one elephant cannot be helped",
	  SOFTWARE, TWO_CORES, false,
	  { { .weight = 100, .n_pairs = 1, .core = { 0 }, .load = { 990 }, .to = { 0 }, SOFT } } },
	{ "both pairs of one port spread",
	  SOFTWARE, TWO_CORES, false,
	  { { .weight = 100, .n_pairs = 2, .n_wanted = 2, .core = { 0, 0 }, .load = { 480, 480 },
	      .to = { 1, 0 }, .to_queue = VMQ_NO_QUEUE, .to_n_queues = 2 } } },
	{ "but not where it may use one queue only",
	  SOFTWARE, TWO_CORES, false,
	  { { .weight = 100, .n_pairs = 2, .n_wanted = 1, .core = { 0, 0 }, .load = { 480, 480 },
	      .to = { 0, 0 }, SOFT } } },
	{ "coalesced when it was calm",
	  SOFTWARE, TWO_CORES, true,
	  { { .weight = 100, .n_pairs = 1, .core = { 0 }, .load = { 100 }, .to = { 0 }, SOFT },
	    { .weight = 100, .n_pairs = 1, .core = { 1 }, .load = { 99 }, .to = { 0 }, SOFT } } },
	{ "and not while it was not",
	  SOFTWARE, TWO_CORES, false,
	  { { .weight = 100, .n_pairs = 1, .core = { 0 }, .load = { 100 }, .to = { 0 }, SOFT },
	    { .weight = 100, .n_pairs = 1, .core = { 1 }, .load = { 99 }, .to = { 1 }, SOFT } } },
	{ "or where one core would be too full",
	  SOFTWARE, TWO_CORES, true,
	  { { .weight = 100, .n_pairs = 1, .core = { 0 }, .load = { 250 }, .to = { 0 }, SOFT },
	    { .weight = 100, .n_pairs = 1, .core = { 1 }, .load = { 250 }, .to = { 1 }, SOFT } } },
	{ "CPU 0 comes last",
	  SOFTWARE, 2, { { .cpu = 0 }, { .cpu = 1 } }, false,
	  { { .weight = 100, .n_pairs = 1, .core = { NONE }, .to = { 1 }, SOFT } } },
	{ "cores that are not allowed are left",
	  { .software = true, .cores = 2 }, TWO_CORES, false,
	  { { .weight = 100, .n_pairs = 1, .core = { 0 }, .load = { 5 }, .to = { 1 }, SOFT } } },
	{ "near the NIC",
	  { .software = true, .node = 1, .cores = 6 }, 3,
	  { { .cpu = 1 }, { .cpu = 2 }, { .cpu = 3, .node = 1 } }, false,
	  { { .weight = 100, .n_pairs = 2, .n_wanted = 2, .core = { 0, 1 }, .load = { 600, 600 },
	      .to = { 2, 1 }, .to_queue = VMQ_NO_QUEUE, .to_n_queues = 2 } } },
	{ "the default queue and its ports are one",
	  SOFTWARE, TWO_CORES, false,
	  { { .is_nic = true, .n_pairs = 1, .core = { 1 }, .load = { 200 }, .to = { 1 } },
	    { .weight = 0, .n_pairs = 1, .core = { 0 }, .load = { 100 }, .to = { 1 },
	      .why = VMQ_NO_WEIGHT },
	    { .weight = 9, .n_pairs = 1, .core = { 0 }, .load = { 100 }, .to = { 0 }, SOFT } } },
	{ "a NIC's other queues are spread as they may be",
	  SOFTWARE, TWO_CORES, false,
	  { { .is_nic = true, .n_pairs = 2, .n_wanted = 2, .core = { 0, 0 }, .load = { 500, 500 },
	      .to = { 1, 0 } } } },
};

static void plans_are_as_in_the_tables(void **state)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		check(&tables[i]);
}

// Whatever the load, every pair gets a core that is allowed, no queue is given twice, and a second
// plan made from the first changes nothing.
static void random_plans_hold_together(void **state)
{
	enum { PORTS = 64, CORES = 8 };
	struct vmq_core cores[CORES] = {};
	struct vmq_port ports[PORTS];
	static uint8_t core[PORTS][VMQ_MAX_PAIRS];
	static uint16_t load[PORTS][VMQ_MAX_PAIRS];
	static struct vmq_grant grants[PORTS], second[PORTS];

	srand(1);
	for (int round = 0; round < 300; round++) {
		struct vmq_nic nic = { .software = round & 1, .n_queues = (uint16_t)(rand() % 65),
				       .n_filters = (uint16_t)(rand() % 100),
				       .cores = (uint32_t)rand() % 255 + 1 };
		struct vmq_input in = { cores, &nic, ports, CORES, 1, PORTS, rand() & 1 };
		uint64_t used = 1;

		for (int c = 0; c < CORES; c++)
			cores[c].cpu = (uint16_t)c;
		for (int i = 0; i < PORTS; i++) {
			ports[i] = (struct vmq_port){ .weight = (uint8_t)(rand() % 101),
						      .is_nic = i == 0,
						      .addressed = rand() % 8,
						      .n_pairs = (uint8_t)(rand() % 16 + 1),
						      .n_wanted = (uint8_t)(rand() % 16 + 1),
						      .core = core[i],
						      .load = load[i] };
			for (int p = 0; p < VMQ_MAX_PAIRS; p++) {
				core[i][p] = rand() % 4 ? (uint8_t)(rand() % CORES) : VMQ_NO_CORE;
				load[i][p] = (uint16_t)(rand() % 3 ? 0 : rand() % 400);
			}
		}
		assert_int_equal(vmq_plan(&in, grants), 0);
		for (int i = 0; i < PORTS; i++) {
			for (int p = 0; p < ports[i].n_pairs; p++)
				assert_true(nic.cores >> grants[i].core[p] & 1);
			for (int q = 0; !nic.software && q < grants[i].n_queues; q++) {
				assert_false(used >> (grants[i].queue + q) & 1);
				used |= 1ull << (grants[i].queue + q);
				assert_true(grants[i].queue + q < nic.n_queues);
			}
			memcpy(core[i], grants[i].core, sizeof(core[i]));
			ports[i].queue = grants[i].queue;
			ports[i].n_queues = grants[i].n_queues;
		}
		assert_int_equal(vmq_plan(&in, second), 0);
		for (int i = 0; i < PORTS; i++) {
			assert_int_equal(grants[i].queue, second[i].queue);
			if (grants[i].why == VMQ_OWN_QUEUE)
				continue;
			assert_memory_equal(grants[i].core, second[i].core, ports[i].n_pairs);
		}
	}
}

// What a queue is given and gives, interval by interval, and in which one it counts as stuck.
static void stalls_are_seen(void **state)
{
	static const struct {
		const char *name;
		struct {
			uint16_t steered, delivered;
		} at[12];
		int stuck; // interval, or -1
	} cases[] = {
		{ "idle", {}, -1 },
		{ "well", { [0 ... 11] = { 100, 100 } }, -1 },
		{ "stuck from the beginning", { [0 ... 11] = { 100, 0 } }, 7 },
		{ "too little to tell", { [0 ... 11] = { 15, 0 } }, -1 },
		{ "one frame gets through",
		  { [0 ... 4] = { 100, 0 }, [5] = { 100, 1 }, [6 ... 11] = { 100, 0 } }, -1 },
		{ "a pause proves nothing",
		  { [0 ... 2] = { 100, 0 }, [4 ... 11] = { 100, 0 } }, 8 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmq_stall s = {};
		uint64_t steered = 0, delivered = 0;

		for (int t = 0; t < 12; t++) {
			steered += cases[i].at[t].steered;
			delivered += cases[i].at[t].delivered;
			if (vmq_stall_check(&s, steered, delivered) != (t == cases[i].stuck))
				fail_msg("%s, interval %d", cases[i].name, t);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_are_as_in_the_tables),
		cmocka_unit_test(random_plans_hold_together),
		cmocka_unit_test(stalls_are_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
