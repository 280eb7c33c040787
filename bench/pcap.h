// SPDX-License-Identifier: Apache-2.0
// Writes capture files without a library, so that the generator can live in any process.
// Format: libpcap's classic file, microseconds, host byte order, Ethernet.
#pragma once

#include <stdint.h>
#include <stdio.h>

// Opens a capture file for writing; NULL if that failed, with errno set.
static inline FILE *bench_pcap_create(const char *path)
{
	const uint32_t head[6] = { 0xa1b2c3d4, 4u << 16 | 2, 0, 0, 65535, 1 };
	FILE *f = fopen(path, "we");

	if (f)
		fwrite(head, sizeof(head), 1, f);
	return f;
}

// Begins a frame of `bytes`; the caller writes them next. Frame `number` carries it as its time.
static inline void bench_pcap_begin(FILE *f, uint32_t number, uint32_t bytes)
{
	const uint32_t head[4] = { number / 1000000, number % 1000000, bytes, bytes };

	fwrite(head, sizeof(head), 1, f);
}
