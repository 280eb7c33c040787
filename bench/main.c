// SPDX-License-Identifier: Apache-2.0
// weft-bench: reads the counters of libweftgen.so, and writes its frames to a file.
// run-bench drives the comparisons; this is what a person needs beside it.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/distance.h"
#include "bench/pcap.h"
#include "bench/stat.h"
#include "bench/stream.h"

#define DEFAULT_COUNTERS "/dev/shm/weft-gen"

static const char usage[] =
	"weft-bench stat [-i MS] [-n SAMPLES] [-a] [-j] [-v] [FILE]  what a frame costs right now\n"
	"weft-bench release [FILE [LIMIT_MS]]  sends the flows that hold=N held back\n"
	"weft-bench frames \"PORT:word=value,…\" FILE [N]  the first N frames as a capture file\n"
	"weft-bench distance CPU CPU  TSC cycles that a cache line takes from one to the other\n";

static int fail(const struct err *err)
{
	fprintf(stderr, "weft-bench: %s\n", err->text);
	return 1;
}

static int run_stat(int argc, char **argv)
{
	struct bench_stat_cfg cfg = { .path = DEFAULT_COUNTERS,
				      .interval_ms = 250,
				      .n_samples = 8 };
	struct err err;
	int option;

	while ((option = getopt(argc, argv, "i:n:ajv")) != -1) {
		switch (option) {
		case 'i': cfg.interval_ms = (uint32_t)atoi(optarg); break;
		case 'n': cfg.n_samples = (uint32_t)atoi(optarg); break;
		case 'a': cfg.accept_all = true; break;
		case 'j': cfg.json = true; break;
		case 'v': cfg.verbose = true; break;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (optind < argc)
		cfg.path = argv[optind];
	if (cfg.interval_ms < 10 || cfg.interval_ms > 60000 || !cfg.n_samples ||
	    cfg.n_samples > BENCH_MAX_SAMPLES) {
		err_set(&err, EINVAL, "-i must be 10…60000, -n 1…%d", BENCH_MAX_SAMPLES);
		return fail(&err);
	}
	return bench_stat(&cfg, &err) ? fail(&err) : 0;
}

static int run_release(int argc, char **argv)
{
	uint32_t limit_ms = argc > 2 ? (uint32_t)atoi(argv[2]) : 3000;
	struct err err;

	return bench_release(argc > 1 ? argv[1] : DEFAULT_COUNTERS, limit_ms, &err) ? fail(&err)
										    : 0;
}

static int run_distance(int argc, char **argv)
{
	struct err err;
	double cycles;

	if (argc != 3) {
		fputs(usage, stderr);
		return 2;
	}
	if (bench_distance(atoi(argv[1]), atoi(argv[2]), &cycles, &err))
		return fail(&err);
	printf("%.0f\n", cycles);
	return 0;
}

static int run_frames(int argc, char **argv)
{
	static uint8_t frame[10240];
	struct bench_stream stream;
	struct bench_spec spec;
	struct err err;
	uint32_t n, cursor = 0;
	FILE *f;

	if (argc < 3) {
		fputs(usage, stderr);
		return 2;
	}
	if (bench_spec_parse(argv[1], &spec, &err))
		return fail(&err);
	if (bench_stream_init(&stream, &spec)) {
		err_set(&err, ENOMEM, "no memory for %u flows", spec.flows);
		return fail(&err);
	}
	n = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : stream.order_entries;
	f = bench_pcap_create(argv[2]);
	for (uint32_t i = 0; f && i < n; i++) {
		bench_stream_write(
			&stream, bench_stream_next(&stream, &cursor, stream.order_entries), frame);
		bench_pcap_begin(f, i, stream.frame_bytes);
		fwrite(frame, stream.frame_bytes, 1, f);
	}
	bench_stream_fini(&stream);
	if (f && !ferror(f) && !fclose(f))
		return 0;
	err_set(&err, EIO, "%s: %m", argv[2]);
	return fail(&err);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "stat") == 0)
		return run_stat(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "release") == 0)
		return run_release(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "distance") == 0)
		return run_distance(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "frames") == 0)
		return run_frames(argc - 1, argv + 1);
	fputs(usage, stderr);
	return 2;
}
