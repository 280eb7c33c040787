// SPDX-License-Identifier: Apache-2.0
#include "vmq/plan.h"

#include <errno.h>
#include <stdlib.h>

#define HOT 800      // permille of a core above which it gives queues away
#define FULL 600     // … to which it is filled when queues spread
#define COOL 400     // … to which the others would be filled when a core is given up
#define MIN_GAIN 100 // permille that a move must take off the hottest core

const char *const vmq_why_texts[VMQ_N_WHY] = {
	[VMQ_OWN_QUEUE] = "",
	[VMQ_OFF] = "the switch has vmq=off",
	[VMQ_NO_WEIGHT] = "vmq_weight=0",
	[VMQ_NO_ADDRESS] = "no mac to steer by",
	[VMQ_STALLED] = "its queue was given frames and delivered none",
	[VMQ_NO_QUEUES] = "no queue is left: more vmq_weight gets it one",
	[VMQ_NO_FILTERS] = "the NIC has no filter left: more vmq_weight gets it one",
};

// What is served by one core.
struct unit {
	uint32_t load; // permille
	uint32_t cores; // allowed
	uint8_t node;
	uint8_t core; // VMQ_NO_CORE: not yet
};

struct planner {
	const struct vmq_input *in;
	struct vmq_grant *grants;
	struct unit *units; // the first in->n_nics are the default queues
	uint32_t n_units;
	uint32_t *first_unit; // [n_ports] of each port with units of its own
	uint32_t load[VMQ_MAX_CORES];  // permille, by the units on it
	uint32_t count[VMQ_MAX_CORES]; // units on it
};

// --- queues ------------------------------------------------------------------------------------

// A port in the order in which queues are given out.
struct applicant {
	uint32_t port;
	uint8_t weight;
	bool holds;
};

static int compare_applicants(const void *a, const void *b)
{
	const struct applicant *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	if (x->holds != y->holds)
		return x->holds ? -1 : 1;
	return x->port < y->port ? -1 : 1;
}

static enum vmq_why judge(const struct vmq_nic *nic, const struct vmq_port *p)
{
	if (nic->off)
		return VMQ_OFF;
	if (p->weight == 0)
		return VMQ_NO_WEIGHT;
	if (!p->addressed)
		return VMQ_NO_ADDRESS;
	return p->stalled ? VMQ_STALLED : VMQ_OWN_QUEUE;
}

// First of n queues in a row that are free in `used`; those it has if they are. 0: there are none.
static uint16_t find_row(uint64_t used, uint16_t n_queues, uint16_t n, uint16_t wish)
{
	const uint64_t row = n < 64 ? (1ull << n) - 1 : ~0ull;

	if (wish != VMQ_DEFAULT && wish + n <= n_queues && !(used & row << wish))
		return wish;
	for (uint16_t q = 1; q + n <= n_queues; q++)
		if (!(used & row << q))
			return q;
	return 0;
}

// Queues of one NIC that filters lead to: each applicant gets one, in order; what then is free
// goes to those that can use several, in the same order.
static void grant_hardware(struct planner *pl, const struct vmq_nic *nic,
			   const struct applicant *list, uint32_t n)
{
	uint16_t n_queues = nic->n_queues < VMQ_MAX_QUEUES ? nic->n_queues : VMQ_MAX_QUEUES;
	uint32_t left = n_queues ? n_queues - 1u : 0, n_served, rest;
	uint64_t used = 1; // the default queue

	n_served = n < left ? n : left;
	if (n_served > nic->n_filters)
		n_served = nic->n_filters;
	for (uint32_t i = n_served; i < n; i++)
		pl->grants[list[i].port].why =
			n_served < left ? VMQ_NO_FILTERS : VMQ_NO_QUEUES;
	rest = left - n_served;
	for (uint32_t i = 0; i < n_served; i++) {
		const struct vmq_port *p = &pl->in->ports[list[i].port];
		struct vmq_grant *g = &pl->grants[list[i].port];
		uint32_t more = p->n_wanted - 1u < rest ? p->n_wanted - 1u : rest;

		rest -= more;
		g->n_queues = (uint8_t)(1 + more);
		// Who keeps what it has goes before who must be put elsewhere.
		if (p->queue == VMQ_DEFAULT || p->n_queues != g->n_queues)
			continue;
		g->queue = find_row(used, n_queues, g->n_queues, p->queue);
		if (g->queue != p->queue)
			g->queue = VMQ_DEFAULT;
		else
			used |= (g->n_queues < 64 ? (1ull << g->n_queues) - 1 : ~0ull) << g->queue;
	}
	for (uint32_t i = 0; i < n_served; i++) {
		struct vmq_grant *g = &pl->grants[list[i].port];

		// In pieces, a long row may find no place: then a shorter one.
		while (g->queue == VMQ_DEFAULT && g->n_queues) {
			g->queue = find_row(used, n_queues, g->n_queues, VMQ_DEFAULT);
			if (g->queue == VMQ_DEFAULT)
				g->n_queues--;
			else
				used |= (g->n_queues < 64 ? (1ull << g->n_queues) - 1 : ~0ull)
					<< g->queue;
		}
		if (!g->n_queues)
			g->why = VMQ_NO_QUEUES;
	}
}

static void grant_software(struct planner *pl, const struct applicant *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		pl->grants[list[i].port].queue = VMQ_NO_QUEUE;
		pl->grants[list[i].port].n_queues = pl->in->ports[list[i].port].n_wanted;
	}
}

// Applicants of one NIC, in `list` from malloc for all ports.
static uint32_t list_applicants(struct planner *pl, uint16_t nic, struct applicant *list)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < pl->in->n_ports; i++) {
		const struct vmq_port *p = &pl->in->ports[i];

		if (p->nic != nic)
			continue;
		pl->grants[i] = (struct vmq_grant){ .n_units = 1 };
		if (p->is_nic)
			continue;
		pl->grants[i].why = judge(&pl->in->nics[nic], p);
		if (pl->grants[i].why == VMQ_OWN_QUEUE)
			list[n++] = (struct applicant){ i, p->weight, p->queue != VMQ_DEFAULT };
	}
	qsort(list, n, sizeof(*list), compare_applicants);
	return n;
}

static int grant_queues(struct planner *pl)
{
	struct applicant *list = malloc((pl->in->n_ports + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (uint16_t nic = 0; nic < pl->in->n_nics; nic++) {
		uint32_t n = list_applicants(pl, nic, list);

		if (pl->in->nics[nic].software)
			grant_software(pl, list, n);
		else
			grant_hardware(pl, &pl->in->nics[nic], list, n);
	}
	free(list);
	return 0;
}

// --- units -------------------------------------------------------------------------------------

static struct unit *unit_of(const struct planner *pl, uint32_t port, uint32_t pair)
{
	const struct vmq_port *p = &pl->in->ports[port];
	const struct vmq_grant *g = &pl->grants[port];
	uint32_t at = pair % g->n_units;

	// A NIC's first pair is its default queue; ports on it go with it.
	if (p->is_nic ? at == 0 : !g->n_queues)
		return &pl->units[p->nic];
	return &pl->units[pl->first_unit[port] + at - p->is_nic];
}

static uint32_t all_cores(const struct planner *pl)
{
	return (uint32_t)((1ull << pl->in->n_cores) - 1);
}

static void add_unit(struct planner *pl, const struct vmq_nic *nic)
{
	uint32_t cores = nic->cores & all_cores(pl);

	pl->units[pl->n_units++] = (struct unit){ .cores = cores ? cores : all_cores(pl),
						  .node = nic->node, .core = VMQ_NO_CORE };
}

static void make_units(struct planner *pl)
{
	for (uint32_t i = 0; i < pl->in->n_nics; i++)
		add_unit(pl, &pl->in->nics[i]);
	for (uint32_t i = 0; i < pl->in->n_ports; i++) {
		const struct vmq_port *p = &pl->in->ports[i];
		struct vmq_grant *g = &pl->grants[i];
		uint8_t wanted = p->is_nic ? p->n_wanted : g->n_queues;

		pl->first_unit[i] = pl->n_units;
		g->n_units = wanted < p->n_pairs ? wanted : p->n_pairs;
		if (!g->n_units)
			g->n_units = 1;
		for (uint32_t u = p->is_nic; u < g->n_units && (p->is_nic || g->n_queues); u++)
			add_unit(pl, &pl->in->nics[p->nic]);
	}
	// A unit is where its first pair is: the NIC's own where it has one, for ports come to it.
	for (int nics = 1; nics >= 0; nics--) {
		for (uint32_t i = 0; i < pl->in->n_ports; i++) {
			const struct vmq_port *p = &pl->in->ports[i];

			if (p->is_nic != (bool)nics)
				continue;
			for (uint32_t pair = 0; pair < p->n_pairs; pair++) {
				struct unit *u = unit_of(pl, i, pair);

				u->load += p->load[pair];
				if (u->core == VMQ_NO_CORE)
					u->core = p->core[pair];
			}
		}
	}
}

// --- cores -------------------------------------------------------------------------------------

// Is core a to be taken before core b?
static bool preferred(const struct planner *pl, uint32_t a, uint32_t b)
{
	const struct vmq_core *x = &pl->in->cores[a], *y = &pl->in->cores[b];

	if (!pl->count[a] != !pl->count[b])
		return pl->count[a] != 0;
	if ((x->cpu == 0) != (y->cpu == 0))
		return y->cpu == 0;
	if (pl->load[a] != pl->load[b] && pl->count[a])
		return pl->load[a] > pl->load[b];
	return a < b;
}

// How many cores the load wants, of those that are allowed.
static uint32_t count_wanted(const struct planner *pl, uint32_t n_allowed)
{
	uint32_t total = 0, now = 0, n;

	for (uint32_t c = 0; c < pl->in->n_cores; c++) {
		total += pl->load[c];
		now += pl->count[c] != 0;
	}
	n = (total + FULL - 1) / FULL;
	// Fewer than now only in quiet times, and only if there is room enough on those that stay.
	if (n < now && !(pl->in->calm && total <= (now - 1) * COOL))
		n = now;
	else if (n < now)
		n = (total + COOL - 1) / COOL;
	if (n > n_allowed)
		n = n_allowed;
	return n ? n : 1;
}

static uint32_t choose_cores(const struct planner *pl)
{
	uint32_t allowed = 0, chosen = 0, n;

	for (uint32_t i = 0; i < pl->in->n_nics; i++)
		allowed |= pl->units[i].cores;
	n = count_wanted(pl, (uint32_t)__builtin_popcount(allowed));
	while (n--) {
		uint32_t best = pl->in->n_cores;

		for (uint32_t c = 0; c < pl->in->n_cores; c++)
			if (((allowed & ~chosen) >> c & 1) &&
			    (best == pl->in->n_cores || preferred(pl, c, best)))
				best = c;
		if (best < pl->in->n_cores)
			chosen |= 1u << best;
	}
	return chosen;
}

static void place(struct planner *pl, struct unit *u, uint8_t core)
{
	u->core = core;
	pl->load[core] += u->load;
	pl->count[core]++;
}

static void take_off(struct planner *pl, struct unit *u)
{
	pl->load[u->core] -= u->load;
	pl->count[u->core]--;
}

// The coolest of `cores`: by load, then by units, then near the NIC.
static uint8_t coolest(const struct planner *pl, uint32_t cores, uint8_t node)
{
	uint8_t best = VMQ_NO_CORE;

	for (uint8_t c = 0; c < pl->in->n_cores; c++) {
		if (!(cores >> c & 1))
			continue;
		if (best != VMQ_NO_CORE) {
			bool near = pl->in->cores[c].node == node,
			     best_near = pl->in->cores[best].node == node;

			if (pl->load[c] != pl->load[best]) {
				if (pl->load[c] > pl->load[best])
					continue;
			} else if (pl->count[c] != pl->count[best]) {
				if (pl->count[c] > pl->count[best])
					continue;
			} else if (!near || best_near) {
				continue;
			}
		}
		best = c;
	}
	return best;
}

// A unit without core, in the order in which they are placed: heavy ones first.
struct homeless {
	uint32_t unit, load;
};

static int compare_homeless(const void *a, const void *b)
{
	const struct homeless *x = a, *y = b;

	if (x->load != y->load)
		return x->load > y->load ? -1 : 1;
	return x->unit < y->unit ? -1 : 1;
}

// Everything stays where it is, if that is one of `chosen`; the rest finds a place there.
static int settle(struct planner *pl, uint32_t chosen)
{
	struct homeless *list = malloc((pl->n_units + 1) * sizeof(*list));
	uint32_t n = 0;

	if (!list)
		return -ENOMEM;
	for (uint32_t i = 0; i < pl->n_units; i++) {
		struct unit *u = &pl->units[i];

		if (u->core != VMQ_NO_CORE && (chosen & u->cores) >> u->core & 1)
			continue;
		if (u->core != VMQ_NO_CORE)
			take_off(pl, u);
		list[n++] = (struct homeless){ i, u->load };
	}
	qsort(list, n, sizeof(*list), compare_homeless);
	for (uint32_t i = 0; i < n; i++) {
		struct unit *u = &pl->units[list[i].unit];
		uint32_t cores = chosen & u->cores ? chosen & u->cores : u->cores;

		place(pl, u, coolest(pl, cores, u->node));
	}
	free(list);
	return 0;
}

// The unit on `hot` whose move to `cool` leaves the hotter of the two coolest; NULL: none does.
static struct unit *best_move(const struct planner *pl, uint8_t hot, uint8_t cool)
{
	uint32_t best_peak = pl->load[hot] - MIN_GAIN;
	struct unit *best = NULL;

	for (uint32_t i = 0; i < pl->n_units; i++) {
		struct unit *u = &pl->units[i];
		uint32_t peak;

		if (u->core != hot || !(u->cores >> cool & 1) || !u->load)
			continue;
		peak = pl->load[cool] + u->load;
		if (peak < pl->load[hot] - u->load)
			peak = pl->load[hot] - u->load;
		if (peak < best_peak) {
			best_peak = peak;
			best = u;
		}
	}
	return best;
}

// Takes load off cores that are too hot, one unit at a time, while it helps.
static void cool_down(struct planner *pl, uint32_t chosen)
{
	uint32_t beyond_help = 0;

	for (uint32_t moves = 0; moves < 4 * VMQ_MAX_CORES; moves++) {
		uint8_t hot = VMQ_NO_CORE, cool;
		struct unit *u = NULL;

		for (uint8_t c = 0; c < pl->in->n_cores; c++)
			if (pl->load[c] > HOT && !(beyond_help & 1u << c) &&
			    (hot == VMQ_NO_CORE || pl->load[c] > pl->load[hot]))
				hot = c;
		if (hot == VMQ_NO_CORE)
			return;
		cool = coolest(pl, chosen & ~(1u << hot), pl->in->cores[hot].node);
		if (cool != VMQ_NO_CORE)
			u = best_move(pl, hot, cool);
		if (u) {
			take_off(pl, u);
			place(pl, u, cool);
		} else {
			beyond_help |= 1u << hot;
		}
	}
}

static int choose_homes(struct planner *pl)
{
	uint32_t chosen;
	int ret;

	for (uint32_t c = 0; c < pl->in->n_cores; c++)
		pl->load[c] = pl->in->cores[c].load;
	for (uint32_t i = 0; i < pl->n_units; i++) {
		struct unit *u = &pl->units[i];

		if (u->core != VMQ_NO_CORE && u->core >= pl->in->n_cores)
			u->core = VMQ_NO_CORE;
		if (u->core != VMQ_NO_CORE)
			place(pl, u, u->core);
	}
	chosen = choose_cores(pl);
	ret = settle(pl, chosen);
	if (!ret)
		cool_down(pl, chosen);
	return ret;
}

int vmq_plan(const struct vmq_input *in, struct vmq_grant *grants)
{
	struct planner pl = { .in = in, .grants = grants };
	size_t most = in->n_nics + 1;
	int ret = -ENOMEM;

	for (uint32_t i = 0; i < in->n_ports; i++)
		most += in->ports[i].n_pairs;
	pl.units = malloc(most * sizeof(*pl.units));
	pl.first_unit = malloc((in->n_ports + 1) * sizeof(*pl.first_unit));
	if (pl.units && pl.first_unit)
		ret = grant_queues(&pl);
	if (!ret) {
		make_units(&pl);
		ret = choose_homes(&pl);
	}
	for (uint32_t i = 0; i < in->n_ports && !ret; i++)
		for (uint32_t pair = 0; pair < in->ports[i].n_pairs; pair++)
			grants[i].core[pair] = unit_of(&pl, i, pair)->core;
	free(pl.units);
	free(pl.first_unit);
	return ret;
}
