// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
	max_level = level;
}

// The part before the text. journald takes the priority and has its own clock.
static int line_start(char *buf, size_t size, enum log_level level)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	static const int priorities[] = { 3, 4, 6, 7 };
	struct timespec now;
	struct tm tm;

	if (getenv("JOURNAL_STREAM"))
		return snprintf(buf, size, "<%d>", priorities[level]);
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	return snprintf(buf, size, "%02d:%02d:%02d.%03ld %s: ", tm.tm_hour, tm.tm_min, tm.tm_sec,
			now.tv_nsec / 1000000, names[level]);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	if (level > max_level)
		return;
	n = line_start(line, sizeof(line), level);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	// One write per line, so that lines of several threads do not mix.
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint32_t *kept_back)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((uint64_t)now.tv_sec != limit->second) {
		limit->second = (uint64_t)now.tv_sec;
		limit->written = 0;
	}
	if (limit->written >= burst) {
		limit->dropped++;
		return false;
	}
	limit->written++;
	*kept_back = limit->dropped;
	limit->dropped = 0;
	return true;
}
