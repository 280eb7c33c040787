// SPDX-License-Identifier: Apache-2.0
// Echo requests one after the other, and what came of them: the engine under `weft test`. A run is
// a list of stages, each a few equal requests; answers are matched by id and sequence. control.
#pragma once

#include "daemon/daemon.h"
#include "vswitch/probe.h"

#define PROBES_EACH 3u  // requests of a stage
#define STAGES_MAX 5u

struct stage {
	const char *name; // of its check in the report
	struct probe_request request; // id and sequence are filled in by the run
	uint16_t port;    // index: where requests start, and answers end
	bool from_guest;  // as if a guest there had sent them; else out of an uplink
	struct vswitch_guest guest;
	// What came of it.
	unsigned int n_sent, n_received, n_errors;
	uint64_t sent_ns[PROBES_EACH], total_ns;
	enum probe_answer error; // of the last, where n_errors
	struct ip_address who;   // said so
	uint16_t mtu;            // PROBE_TOO_BIG: and it takes so much
};

// Bytes of the IP packet that a stage sends.
uint32_t stage_bytes(const struct stage *s);

// What is to be found out. The caller fills in stages and judge, and may have said something
// already.
struct probes {
	struct stage stages[STAGES_MAX];
	unsigned int n_stages;
	json_t *checks; // of the report: {"name", "ok", "detail"}
	// Called when all stages are over; writes the summary, a sentence, into buf[size], and
	// returns whether the path is well.
	bool (*judge)(struct probes *p, char *buf, size_t size);
	char target[64]; // for judge: who was asked
	// The run's own.
	struct daemon *d;
	struct request *req;
	uint16_t id;
	unsigned int at;
	int timer;
	struct probes *next;
};

struct probes *probes_create(struct daemon *d); // NULL: no memory

// Adds a line to the report.
void probes_say(struct probes *p, const char *name, bool ok, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

// Begins. The request is answered with {"failed", "summary", "checks"} in the end, and p is gone.
// Returns METHOD_PENDING, or -errno with *r: then p is gone too.
int probes_run(struct probes *p, struct request *req, struct refusal *r);

// The report of what needed no request, and the end of p.
json_t *probes_end(struct probes *p, bool ok, const char *summary);

void probes_answer(struct daemon *d, const struct learn_report *report);
void probes_cancel_all(struct daemon *d); // before the server goes
