// SPDX-License-Identifier: Apache-2.0
// The daemon's log: one line an event on stderr (journald's "<N>" priority in front when
// JOURNAL_STREAM is set, a time stamp else). Control, helper and start-up only: workers count,
// they never log. What a guest, a wire or a client can provoke goes through log_limited.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

// Lines above this level are not written. Default: info. Any thread, before threads start.
void log_set_level(enum log_level level);

// Writes one line; fmt without a newline. Any thread but workers.
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

// State of one limited call site: at most `burst` lines a second, the rest counted and told.
struct log_limit {
	uint64_t second;  // CLOCK_MONOTONIC second that `written` belongs to
	uint32_t written; // lines in that second
	uint32_t dropped; // lines kept back since the last one written
};

// True if the caller may write a line now; *kept_back then says how many were swallowed before.
bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint32_t *kept_back);
