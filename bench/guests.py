# SPDX-License-Identifier: Apache-2.0
"""Guests on both sides of a switch: netvsc drivers at Weft, virtio drivers at the others.

Both kinds are played by weft-pmd, one process on the control core that sends both ways at full
speed. What counts is what the switch's core works for a frame that arrives: every switch counts the
cycles of those rounds of its loop that moved frames.
"""
import json
import os
import re
import select
import subprocess
import time
from statistics import median

from switches import BenchError, Ovs, Testpmd, Weft

ANSWER_S = 60        # for a guest to find its switch, or to answer
MIN_ON_CPU = 0.97    # of its core, in a sample that counts
IDLE_PER_GUEST = 32  # NICs that one process of DPDK can have


def on_cpu_ns(pid):
    """Run time of each thread of a process."""
    times = {}
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
            times[task] = int(f.read().split()[0])
    return times


class Guests:
    """What all switches with guests have: a process of two guests, and how they are measured."""

    nics = ()    # as weft-pmd names them
    driver = ()  # options of theirs

    def start(self, case):
        self.case = case
        self.launch(case)
        self.guests = self.spawn_guests("pair", self.nics, "--poll", *self.driver,
                                        *case.guest_options())
        self.ready()
        self.tell("resume")

    def spawn_guests(self, mode, nics, *options):
        """Starts weft-pmd; returns the process once it is ready."""
        command = [self.program("weft-pmd"), "--control", "--core", str(self.place.control_core),
                   "--socket", self.place.path("vmbus.sock"), *options, mode, *nics]
        log = open(self.place.path("weft-pmd.log"), "a")
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=log, text=True)
        child.log = log.name
        log.close()
        self.children.append(child)
        return child

    def ready(self):
        """Waits for the guests' first word."""
        self.answer(self.guests)

    def answer(self, child):
        if not select.select([child.stdout], [], [], ANSWER_S)[0]:
            raise BenchError("weft-pmd says nothing for %d s" % ANSWER_S)
        line = child.stdout.readline()
        if not line:
            with open(child.log) as log:
                raise BenchError("weft-pmd ended: " + log.read()[-2000:])
        answer = json.loads(line)
        if "error" in answer:
            raise BenchError("weft-pmd: " + answer["error"])
        return answer

    def tell(self, command):
        self.guests.stdin.write(command + "\n")
        self.guests.stdin.flush()
        return self.answer(self.guests)

    def reading(self):
        """What has been counted so far, and when."""
        busy, frames = self.load()
        return {"report": self.tell("report"), "busy": busy, "frames": frames,
                "on_cpu": on_cpu_ns(self.forwarder()), "at": time.monotonic()}

    def measure_guests(self, samples, interval_ms=250):
        """Medians over the samples; losses and doorbells over all of them. A sample in which the
        switch had less than its core is made again: its cycles include those of others."""
        cycles, rates, rejected = [], [], 0
        first = before = self.reading()
        while len(cycles) < samples and len(cycles) + rejected < 4 * samples:
            time.sleep(interval_ms / 1000)
            now = self.reading()
            frames, seconds = now["frames"] - before["frames"], now["at"] - before["at"]
            busiest = max((ns - before["on_cpu"].get(task, 0)
                           for task, ns in now["on_cpu"].items()), default=0)
            if frames > 0 and busiest >= MIN_ON_CPU * seconds * 1e9:
                cycles.append((now["busy"] - before["busy"]) / frames)
                received = now["report"]["received"] - before["report"]["received"]
                rates.append(received / seconds / 1e6)
            else:
                rejected += 1
            before = now
        if not cycles:
            raise BenchError("all %d samples rejected: the switch lacks its core, or nothing was "
                             "sent" % rejected)
        return dict(self.sums(first["report"], before["report"]), mpps=median(rates),
                    switch=median(cycles), rejected=rejected, stages=self.stages(before["frames"]))

    @staticmethod
    def sums(first, last):
        """Shares of the frames that arrived between two reports."""
        received = max(last["received"] - first["received"], 1)
        sent = last["sent"] - first["sent"]
        return {"loss": max(sent - received, 0) / received,
                "doorbells": (last["doorbells"] - first["doorbells"]) / received,
                "bells": (last["bells"] - first["bells"]) / received}

    def forwarder(self):
        """The process that forwards."""
        return self.pid

    def stages(self, frames):
        """Cycles a frame by stage of the work for guests, where the switch tells."""
        return {}


class WeftGuests(Guests, Weft):
    """Two netvsc guests, and as many idle NICs as the case wants beside them."""

    nics = ("g0", "g1")
    # As virtio's driver: received frames stay where the switch wrote them. Else the guest copies
    # each, and the switch finds the buffer's lines at the guest's core.
    driver = ("--driver", "rx_extmbuf_enable=1")

    def launch(self, case):
        self.options = ["--poll", "--vmbus-socket", self.place.path("vmbus.sock")]
        super().launch(case)
        idle = self.idle_names(case)
        attached = [self.spawn_guests("attach", idle[i:i + IDLE_PER_GUEST], "--no-huge",
                                      "--receive-mib", "1", "--send-mib", "1",
                                      "--ring-pages", "16", "--staged", "64")
                    for i in range(0, len(idle), IDLE_PER_GUEST)]
        for child in attached:
            self.answer(child)

    @staticmethod
    def idle_names(case):
        return ["idle%d" % i for i in range(case.idle_nics)]

    def configuration(self, case):
        mtu = max(1500, case.size - 14)
        ports = [{"name": name, "switch": "s0", "kind": "netvsp", "learning": "on", "mtu": mtu}
                 for name in list(self.nics) + self.idle_names(case)]
        return {"switch": [{"name": "s0"}], "port": ports}

    def load(self):
        return self.worker("busy_cycles"), self.request("conservation")["received"]

    def stages(self, frames):
        rows = [row for row in self.request("get", type="nic") if row["name"] in self.nics]
        return {stage: sum(row[stage + "_cycles"] for row in rows) / max(frames, 1)
                for stage in ("ring", "rndis", "copy", "signal")}


class OvsGuests(Guests, Ovs):
    """Two virtio guests by vhost-user; the guests listen, so that they outlive the switch."""

    def launch(self, case):
        self.nics = ["vhost:" + self.place.path("v%d.sock" % i) for i in (0, 1)]
        super().launch(case)

    def add_bridge(self, case):
        command = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
                   "other-config:mac-table-size=1000000", "other-config:mac-aging-time=3600"]
        for i in (0, 1):
            command += ["--", "add-port", "br0", "v%d" % i, "--", "set", "Interface", "v%d" % i,
                        "type=dpdkvhostuserclient", "mtu_request=%d" % max(1500, case.size - 14),
                        "options:vhost-server-path=" + self.place.path("v%d.sock" % i)]
        self.vsctl(*command)

    def load(self):
        stats = self.appctl("dpif-netdev/pmd-stats-show").split("main thread")[0]
        return tuple(sum(int(n) for n in re.findall(r"%s: (\d+)" % what, stats))
                     for what in ("processing cycles", "packets received"))

    def stop(self):
        super().stop()
        for i in (0, 1):
            if os.path.exists(self.place.path("v%d.sock" % i)):
                os.unlink(self.place.path("v%d.sock" % i))


class TestpmdGuests(Guests, Testpmd):
    """The same guests, and nothing looked up between them."""

    mode = "io"
    name = "testpmd vhost"

    def launch(self, case):
        self.nics = ["vhost:" + self.place.path("v%d.sock" % i) for i in (0, 1)]
        super().launch(case)
        self.command("stop", "set record-core-cycles on", "start")

    def forwarder(self):
        return self.children[0].pid

    def devices(self):
        return ["net_vhost%d,iface=%s,client=1" % (i, self.place.path("v%d.sock" % i))
                for i in (0, 1)]

    def environment(self):
        # What stdbuf -oL does: its figures are read while it runs.
        return dict(os.environ, _STDBUF_O="L", LD_PRELOAD="/usr/libexec/coreutils/libstdbuf.so")

    def command(self, *lines):
        switch = self.children[0]
        switch.stdin.write(("\n".join(lines) + "\n").encode())
        switch.stdin.flush()

    def load(self):
        """testpmd prints them for whoever asks; the last line of its log counts."""
        log, pattern = self.children[0].log, r"total cycles=(\d+) / total \w+ packets=(\d+)"
        before = len(re.findall(pattern, open(log).read()))
        self.command("show fwd stats all")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            found = re.findall(pattern, open(log).read())
            if len(found) > before:
                return tuple(map(int, found[-1]))
            time.sleep(0.01)
        return 0, 0

    def stop(self):
        self.children[0].stdin.write(b"stop\n")
        guests = self.children[1:]
        for child in guests:
            child.kill()
            child.wait()
        self.children = self.children[:1]
        super().stop()
        for i in (0, 1):
            if os.path.exists(self.place.path("v%d.sock" % i)):
                os.unlink(self.place.path("v%d.sock" % i))
