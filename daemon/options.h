// SPDX-License-Identifier: Apache-2.0
// weftd's command line and the "weftd" part of its configuration file. Start-up only.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "dataplane/worker.h"

struct options {
	char **argv;           // as the process was started with
	const char *config;    // file, or NULL
	const char *socket;    // control socket's path
	const char *vmbus_socket; // where VMMs attach guests
	const char *group;     // that may use it, or NULL
	const char *state_dir; // or NULL: nothing is kept
	unsigned int n_workers;
	unsigned int n_listed;       // CPUs that were named, 0: none
	int worker_cpus[WORKER_MAX]; // [n_workers]
	int control_cpu;
	bool poll, no_huge, debug;
	uint32_t flow_entries; // of each table and worker
	uint32_t mbufs;        // of the small pool
	json_t *objects;       // the configuration file's objects, or NULL
	char *made_socket;     // vmbus_socket, where nobody named it; owned
};

// Fills *opt from argv, then from the file that it names, then with what suits this machine.
// Returns 0; 1 when there is nothing more to do (--help, --version); -errno with a sentence.
int options_parse(struct options *opt, int argc, char **argv, struct err *err);
void options_free(struct options *opt);
