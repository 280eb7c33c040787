# SPDX-License-Identifier: Apache-2.0
"""Drives the comparison. Started by ./run-bench in namespaces of its own: see there.

Repetition by repetition, case by case, the switches take turns; a ratio is formed within one
repetition, minutes apart at most, and the median of the ratios is what counts.
"""
import argparse
import os
import subprocess
import sys
import time

import cases
import policy
import report
from switches import BenchError, Place, find_program, run


def say(text):
    print(text, file=sys.stderr, flush=True)


class Runner:
    """Runs cases and keeps what they yield: results[case][switch] is a list, one a repetition."""

    def __init__(self, place, samples):
        self.place = place
        self.samples = samples
        self.results = {}

    def run(self, case, place=None):
        for kind in case.switches:
            switch = kind(place or self.place)
            label = "%s %s%s" % (case.name, kind.name, " (judge)" if place else "")
            started = time.monotonic()
            distance = self.distance()
            try:
                switch.start(case)
                figures = getattr(self, case.kind)(case, switch)
            except (BenchError, subprocess.TimeoutExpired, OSError) as error:
                say("%s: %s" % (label, error))
                figures = {"error": str(error)}
            finally:
                switch.stop()
            figures["distances"] = (distance, self.distance())
            key = "judge" if place else "ours"
            kept = self.results.setdefault((case.name, kind.name, key), [])
            kept.append(figures)
            say("  %-34s %s  (%.0f s)" % (label, report.brief(figures),
                                          time.monotonic() - started))

    def distance(self):
        """Cycles of a cache line from core to core. Under a hypervisor they may move."""
        return float(run(find_program(self.place.build, "weft-bench"), "distance",
                         str(self.place.core), str(self.place.control_core)))

    def cost(self, case, switch):
        """Cycles a frame once the caches are warm."""
        if not switch.settle(case.settle_s):
            say("%s %s: still missing after %d s" % (case.name, switch.name, case.settle_s))
        before = idle_ticks(self.place.core)
        figures = switch.measure(self.samples)
        after = idle_ticks(self.place.core)
        figures["others_busy"] = 1 - (after[0] - before[0]) / max(after[1] - before[1], 1)
        figures.update(switch.footprint())
        return figures

    def setup(self, case, switch):
        """New flows a second: learn the MACs from held streams, then release all the pairs."""
        switch.settle(case.settle_s)
        switch.keep_flows()
        before = switch.flows()
        figures = switch.release(3000)
        new = switch.flows() - before
        figures["setups_per_s"] = min(figures["frames"], new) / figures["seconds"]
        return figures

    def resolve(self, case, switch):
        """The rate while every entry is stale: the worst 20 ms, and how long it stays below 90 %.

        The daemon acknowledges a rule change once it is in force, so the dip lies within the
        samples however long the request takes.
        """
        switch.settle(case.settle_s)
        steady = switch.measure(self.samples)["mpps"]
        watch = switch.watch(interval_ms=20, samples=100)
        time.sleep(0.4)
        switch.apply({"rule": [switch.rule("r%d" % i, "p%d" % i, dport=10) for i in (0, 1)]})
        rates = watch()
        low = [rate for rate in rates if rate < 0.9 * steady]
        return {"mpps": steady, "resolve_mpps": min(rates), "resolve_ms": 20 * len(low)}

    def idle(self, case, switch):
        """The core that a switch without traffic uses, and how soon it answers."""
        time.sleep(3)
        before = switch.cpu_seconds()
        time.sleep(5)
        share = (switch.cpu_seconds() - before) / 5
        trips = sorted(switch.round_trips(20))
        return {"idle_share": share, "wake_us": 1e6 * trips[len(trips) // 2]}

    def vmq(self, case, switch):
        """What it costs a frame to cross to another worker; losses beside a hog and in moves."""
        trials = switch.trials()
        return {"handover": trials["handover"]["handover"],
                "others_drops": trials["fair"]["others_drops"],
                "move_faults": trials["move"]["lost"] + trials["move"]["reordered"]}

    def policy(self, case, switch):
        """Seconds and bytes of a large policy, and what is dropped while it comes."""
        switch.settle(case.settle_s)
        mpps = switch.measure(self.samples)["mpps"]
        switch.stop()
        switch.rate = int(policy.LOAD * mpps * 1e6)
        switch.start(case)
        switch.settle(case.settle_s)
        return dict(policy.measure(switch), mpps=mpps)

    def guests(self, case, switch):
        """Cycles of the switch for a frame between two guests."""
        switch.settle(case.settle_s)
        before = idle_ticks(self.place.core)
        figures = switch.measure_guests(self.samples)
        after = idle_ticks(self.place.core)
        figures["others_busy"] = 1 - (after[0] - before[0]) / max(after[1] - before[1], 1)
        return figures


def idle_ticks(core):
    """(idle, all) ticks so far of all cores but that one."""
    idle = total = 0
    with open("/proc/stat") as stat:
        for line in stat:
            words = line.split()
            if words[0][:3] == "cpu" and words[0] not in ("cpu", "cpu%d" % core):
                ticks = list(map(int, words[1:9]))
                idle += ticks[3] + ticks[4]
                total += sum(ticks)
    return idle, total


def scratch_folder():
    """Our own /dev/shm: counters, sockets and databases vanish with the mount namespace."""
    run("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")
    run("ip", "link", "set", "lo", "up")
    os.mkdir("/dev/shm/weft-bench")
    return "/dev/shm/weft-bench"


def claim_cpu(control_core):
    """Everything inherits the control core and one priority; forwarders move to theirs.

    A session of its own, because the scheduler weighs sessions before it weighs nice values.
    """
    os.setsid()
    os.sched_setaffinity(0, {control_core})
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    if os.path.exists("/proc/self/autogroup"):
        with open("/proc/self/autogroup", "w") as f:
            f.write("-20")


def parse_arguments():
    p = argparse.ArgumentParser(prog="run-bench", description=__doc__.split("\n")[0])
    p.add_argument("names", nargs="*", metavar="NAME",
                   help="cases (default: all), or judge: compare with the generator in WEFT_JUDGE")
    p.add_argument("--list", action="store_true", help="the names of the cases")
    p.add_argument("--json", action="store_true", help="a line for each result instead of a table")
    p.add_argument("--reps", type=int, help="repetitions (default 5, with --quick 1)")
    p.add_argument("--quick", action="store_true", help="short measurements, one repetition")
    p.add_argument("--core", type=int, default=None, help="the core that forwards (default: last)")
    p.add_argument("--build", default="build", help=argparse.SUPPRESS)
    args = p.parse_args()
    known = {case.name: case for case in cases.CASES}
    for name in args.names:
        if name not in known and name != "judge":
            p.error("no case \"%s\"; --list names them" % name)
    args.judge = "judge" in args.names
    wanted = args.names or list(known)
    args.cases = [known[n] for n in (cases.JUDGED if args.judge else wanted)]
    args.reps = args.reps or (1 if args.quick else 5)
    return args


def make_place(args, judge=None):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed: one forwards, the other does everything else")
    core = cores[-1] if args.core is None else args.core
    return Place(args.build, "/dev/shm/weft-bench", core,
                 next(c for c in cores if c != core), judge)


def judge_folder():
    folder = os.environ.get("WEFT_JUDGE", "")
    for name in ("librte_net_flowgen.so", "fgstat"):
        if not os.path.exists(os.path.join(folder, name)):
            raise BenchError("WEFT_JUDGE must name a folder with librte_net_flowgen.so and fgstat")
    return os.path.abspath(folder)


def main():
    args = parse_arguments()
    if args.list:
        for case in cases.CASES:
            print("%-12s %s" % (case.name, case.title))
        return 0
    place = make_place(args)
    other = make_place(args, judge_folder()) if args.judge else None
    find_program(args.build, "weft-bench")
    scratch_folder()
    claim_cpu(place.control_core)
    runner = Runner(place, 8 if args.quick else 16)
    for rep in range(args.reps):
        say("repetition %d of %d" % (rep + 1, args.reps))
        for case in args.cases:
            runner.run(case)
            if other:
                runner.run(case, other)
    rows = report.summarise(runner.results, args.cases)
    report.emit(rows, args)
    return 1 if any(row.get("error") for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as failure:
        sys.exit("run-bench: %s" % failure)
