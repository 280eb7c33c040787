# SPDX-License-Identifier: Apache-2.0
"""The switches that are compared: Weft, Open vSwitch with DPDK, testpmd.

Each is started for one case with two generator ports, forwards on one core, and is stopped again.
All that knows a switch's command line or control interface is in this file.
"""
import json
import os
import re
import socket
import subprocess
import time

GENERATOR_PORTS = ("net_null0", "net_null1")
FIVE_TUPLE = ("udp", "10.9.9.9/32", "10.9.9.8/32", 9, 9)  # a rule that no frame matches


class BenchError(Exception):
    """A sentence for the person who ran the benchmark."""


class Place:
    """Where a run happens: programs, a scratch folder, and the two cores."""

    def __init__(self, build, scratch, core, control_core, judge=None):
        self.build = build
        self.scratch = scratch
        self.core = core                  # forwards
        self.control_core = control_core  # everything else
        self.judge = judge                # folder of another generator, or None: ours

    def path(self, name):
        return os.path.join(self.scratch, name)


def run(*command, **options):
    """Runs a command that must succeed; returns its output."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise BenchError("%s: %s" % (" ".join(command[:3]), (done.stderr or done.stdout).strip()))
    return done.stdout


def find_program(build, name):
    """The path of something that was built."""
    for folder in ("", "bench", "daemon", "tests/pmd"):
        path = os.path.join(build, folder, name)
        if os.path.exists(path):
            return path
    raise BenchError("%s: not in %s" % (name, build))


def wait_for(what, ready, timeout):
    """Waits until ready() is true; timeout in seconds."""
    end = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > end:
            raise BenchError("%s: not within %d s" % (what, timeout))
        time.sleep(0.05)


class Switch:
    """One run of one switch. Subclasses launch it, tell its misses, and name what is loaded."""

    name = None

    def __init__(self, place):
        self.place = place
        self.children = []

    # ---- what a case does with it

    def start(self, case):
        self.case = case
        self.launch(case)

    def settle(self, timeout):
        """Returns when cache misses have died away (or the switch has no such thing)."""
        calm, before = 0, self.misses()
        end = time.monotonic() + timeout
        while calm < 4 and time.monotonic() < end:
            time.sleep(0.25)
            now = self.misses()
            calm = calm + 1 if now - before <= 64 else 0
            before = now
        return calm >= 4

    def measure(self, samples, interval_ms=250):
        """Figures of one measurement, a dictionary as `weft-bench stat -j` prints it."""
        if self.place.judge:
            return judge_measure(self.place, samples, interval_ms)
        return json.loads(run(self.program("weft-bench"), "stat", "-j", "-n", str(samples),
                              "-i", str(interval_ms), self.place.path("counters")))

    def watch(self, samples, interval_ms):
        """Starts a measurement in the background; the result, when called, gives all rates."""
        child = subprocess.Popen([self.program("weft-bench"), "stat", "-a", "-v", "-n", str(samples),
                                  "-i", str(interval_ms), self.place.path("counters")],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return lambda: [float(line.split()[0]) for line in child.communicate(timeout=60)[1]
                        .splitlines() if " Mpps" in line]

    def release(self, limit_ms):
        """Releases held flows; {"frames", "seconds"} until they were sent or limit_ms passed."""
        return json.loads(run(self.program("weft-bench"), "release", self.place.path("counters"),
                              str(limit_ms)))

    def keep_flows(self):
        """Lets the cache grow to millions of flows; the MACs are learnt by now."""

    def footprint(self):
        """Memory of the forwarding process and its cached flows, where it has a cache."""
        return {}

    def stop(self):
        for child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children = []
        for name in os.listdir("/dev/shm"):
            if name.startswith("flowgen."):
                os.unlink("/dev/shm/" + name)

    # ---- for subclasses

    def program(self, name):
        return find_program(self.place.build, name)

    def misses(self):
        return 0

    def streams(self):
        """The case's traffic, one specification a port."""
        return ["side=%d,%s" % (side, self.case.traffic) for side in (0, 1)]

    def devices(self):
        """The two ports as DPDK names them."""
        if self.place.judge:
            return ["net_flowgen%d,%s" % (i, judge_words(s)) for i, s in enumerate(self.streams())]
        return list(GENERATOR_PORTS)

    def environment(self):
        env = dict(os.environ, WEFT_GEN_COUNTERS=self.place.path("counters"))
        if self.place.judge:
            env["LD_PRELOAD"] = os.path.join(self.place.judge, "librte_net_flowgen.so")
        else:
            env["LD_PRELOAD"] = self.program("libweftgen.so")
            env["WEFT_GEN"] = ";".join("%s:%s" % pair
                                       for pair in zip(GENERATOR_PORTS, self.streams()))
        return env

    def spawn(self, command, **options):
        log = open(self.place.path(os.path.basename(command[0]) + ".log"), "w")
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                                 **dict({"stdin": subprocess.DEVNULL}, **options))
        child.log = log.name
        log.close()
        self.children.append(child)
        return child

    def await_child(self, child, ready, timeout=30):
        """Waits for ready(); if the child dies first, says what it said."""
        def check():
            if child.poll() is not None:
                with open(child.log) as log:
                    raise BenchError("%s ended: %s" % (child.args[0], log.read()[-2000:]))
            return ready()
        wait_for(child.args[0], check, timeout)


class Testpmd(Switch):
    """DPDK's own forwarder: what the machine can do when nothing is looked up."""

    mode = "macswap"
    name = "testpmd " + mode

    def launch(self, case):
        cores = "%d,%d" % (self.place.control_core, self.place.core)
        size = 2176 if case.size <= 2000 else 10240
        command = ["dpdk-testpmd", "-l", cores, "--main-lcore", str(self.place.control_core),
                   "--no-pci", "--in-memory", "-m", "640"]
        command += ["--vdev=" + device for device in self.devices()]
        command += ["--", "-i", "--auto-start", "--forward-mode=" + self.mode, "--burst=32",
                    "--mbuf-size=%d" % size, "--total-num-mbufs=32768", "--tx-offloads=0",
                    "--max-pkt-len=9600", "--no-lsc-interrupt"]
        child = self.spawn(command, env=self.environment(), stdin=subprocess.PIPE)
        self.await_child(child, lambda: "Press" in open(child.log).read()
                         or "testpmd>" in open(child.log).read())
        time.sleep(0.5)

    def stop(self):
        for child in self.children:
            if child.poll() is None:
                child.stdin.write(b"quit\n")
                child.stdin.close()
                child.wait(10)
        super().stop()


class TestpmdIo(Testpmd):
    mode = "io"
    name = "testpmd " + mode


class Ovs(Switch):
    """Open vSwitch with its userspace datapath: an instance of our own, in its own folder."""

    name = "ovs"
    daemon = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
    schema = "/usr/share/openvswitch/vswitch.ovsschema"

    def launch(self, case):
        path = self.place.path
        for variable in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"):
            os.environ[variable] = self.place.scratch
        if os.path.exists(path("ovs.db")):
            os.unlink(path("ovs.db"))
        run("ovsdb-tool", "create", path("ovs.db"), self.schema)
        database = self.spawn(["ovsdb-server", path("ovs.db"), "--remote=punix:" + path("db.sock"),
                               "--unixctl=" + path("ovsdb.ctl")])
        self.await_child(database, lambda: os.path.exists(path("db.sock")))
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", *self.options())
        daemon = self.spawn([self.daemon, "unix:" + path("db.sock"),
                             "--unixctl=" + path("vswitchd.ctl"), "--pidfile=" + path("ovs.pid")],
                            env=self.environment())
        self.await_child(daemon, lambda: os.path.exists(path("vswitchd.ctl")))
        self.pid = daemon.pid
        self.add_bridge(case)

    def options(self):
        values = {
            "dpdk-init": "true",
            "dpdk-lcore-mask": "%#x" % (1 << self.place.control_core),
            "pmd-cpu-mask": "%#x" % (1 << self.place.core),
            "dpdk-socket-mem": "512",
            "dpdk-extra": "--no-pci --in-memory",
            "n-handler-threads": "1",
            "n-revalidator-threads": "1",
            "max-idle": "600000",   # ms; no flow expires while it is measured
            "flow-limit": "3000000",
        }
        return ["other_config:%s=%s" % pair for pair in values.items()]

    def add_bridge(self, case):
        mtu = "mtu_request=%d" % max(1500, case.size)
        command = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
                   "other-config:mac-table-size=1000000", "other-config:mac-aging-time=3600"]
        for i, device in enumerate(self.devices()):
            command += ["--", "add-port", "br0", "p%d" % i, "--", "set", "Interface", "p%d" % i,
                        "type=dpdk", mtu, "options:dpdk-devargs=\"%s\"" % device]
        self.vsctl(*command)
        if case.five_tuple:
            self.read_five_tuple()

    def read_five_tuple(self):
        """A policy that reads the whole 5-tuple of every packet, at OVS's best.

        Open vSwitch puts into a cached flow only the bits that its search had to look at, so a
        lone drop rule would leave it with a handful of wide flows. Loading the five fields into
        registers, which costs nothing once the flow is cached, makes each cached flow as narrow
        as ours: one flow a 5-tuple, all of one mask, hence one sub-table to search.
        """
        protocol, source, destination, sport, dport = FIVE_TUPLE
        match = "%s,nw_src=%s,nw_dst=%s,tp_src=%d,tp_dst=%d" % (protocol, source, destination,
                                                               sport, dport)
        loads = ",".join("move:NXM_OF_%s->NXM_NX_%s" % pair for pair in (
            ("IP_SRC[]", "REG0[]"), ("IP_DST[]", "REG1[]"),
            ("UDP_SRC[]", "REG2[0..15]"), ("UDP_DST[]", "REG2[16..31]")))
        for flow in ("priority=100,%s,actions=drop" % match,
                     "priority=50,udp,actions=%s,NORMAL" % loads):
            run("ovs-ofctl", "add-flow", "unix:" + self.place.path("br0.mgmt"), flow)
        self.appctl("revalidator/purge")
        self.keep_flows()

    def keep_flows(self):
        """A million flows are more than the revalidator can walk in time, and it would shrink the
        cache for that: it is paused, and the limit set for good."""
        self.appctl("revalidator/pause")
        self.appctl("upcall/set-flow-limit", "3000000")

    def vsctl(self, *command):
        return run("ovs-vsctl", "--db=unix:" + self.place.path("db.sock"), "--timeout=60", *command)

    def appctl(self, *command):
        return run("ovs-appctl", "-t", self.place.path("vswitchd.ctl"), *command)

    def misses(self):
        stats = self.appctl("dpif-netdev/pmd-stats-show")
        return sum(int(n) for n in re.findall(r"miss with (?:success|failed) upcall: (\d+)", stats))

    def flows(self):
        """Flows in the cache now."""
        return int(re.search(r"flows\s*:\s*\(current (\d+)", self.appctl("upcall/show")).group(1))

    def footprint(self):
        return {"flows": self.flows(), "memory_bytes": memory_bytes(self.pid)}

    def stop(self):
        super().stop()
        for name in ("db.sock", "vswitchd.ctl", "ovsdb.ctl", "ovs.pid", "br0.mgmt"):
            if os.path.exists(self.place.path(name)):
                os.unlink(self.place.path(name))


class Weft(Switch):
    """Our own."""

    name = "weft"
    options = ["--poll"]

    def launch(self, case):
        control = self.place.path("weft.sock")
        daemon = self.spawn([self.program("weftd"), "--no-store", "--socket", control,
                             "--worker-cpus", str(self.place.core),
                             "--control-cpu", str(self.place.control_core),
                             "--flow-entries", str(case.entries)] + self.options,
                            env=self.environment())
        self.await_child(daemon, lambda: os.path.exists(control))
        self.pid = daemon.pid
        self.apply(self.configuration(case))

    def configuration(self, case):
        ports = [{"name": "p%d" % i, "switch": "s0", "kind": "ethdev", "devargs": device,
                  "learning": "on", "mtu": max(1500, case.size - 14)}
                 for i, device in enumerate(self.devices())]
        rules = [self.rule("r%d" % i, "p%d" % i) for i in range(2)] if case.five_tuple else []
        return {"switch": [{"name": "s0"}], "port": ports, "rule": rules}

    @staticmethod
    def rule(name, port, dport=FIVE_TUPLE[4]):
        protocol, source, destination, sport, _ = FIVE_TUPLE
        return {"name": name, "port": port, "direction": "in", "action": "deny",
                "protocol": protocol, "source": source, "destination": destination,
                "source_ports": str(sport), "destination_ports": str(dport)}

    def apply(self, objects):
        self.request("apply", document=objects)

    def request(self, method, **params):
        """One JSON-RPC request to the control socket; returns the result."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self.place.path("weft.sock"))
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            connection.sendall(json.dumps(message).encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
        if "error" in answer:
            raise BenchError("weftd: " + answer["error"]["message"])
        return answer["result"]

    def worker(self, counter):
        """The sum of a figure over all workers."""
        return sum(row[counter] for row in self.request("get", type="worker"))

    def misses(self):
        return self.worker("misses")

    def flows(self):
        return self.worker("flows")

    def footprint(self):
        return {"flows": self.flows(), "memory_bytes": memory_bytes(self.pid)}

    def stop(self):
        super().stop()
        if os.path.exists(self.place.path("weft.sock")):
            os.unlink(self.place.path("weft.sock"))


class WeftIdle(Weft):
    """Our own between two kernel peers, and allowed to sleep."""

    options = []
    PEERS = (("red", "10.99.0.1"), ("blue", "10.99.0.2"))

    def launch(self, case):
        os.makedirs("/run/netns", exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")  # seen by this run alone
        for name, _ in self.PEERS:
            run("ip", "netns", "add", name)
        super().launch(case)
        self.await_child(self.children[-1], self.ports_are_up)
        for name, address in self.PEERS:
            run("ip", "-n", name, "address", "add", address + "/24", "dev", "eth0")

    def ports_are_up(self):
        return all(port["link"].startswith("up") for port in self.request("get", type="port"))

    def configuration(self, case):
        return {"switch": [{"name": "s0"}],
                "port": [{"name": name, "switch": "s0", "netns": name, "ifname": "eth0"}
                         for name, _ in self.PEERS]}

    def cpu_seconds(self):
        """What all threads of the daemon used so far."""
        with open("/proc/%d/stat" % self.pid) as stat:
            words = stat.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def round_trips(self, n):
        """Seconds of n pings, each of which finds the switch asleep."""
        out = run("ip", "netns", "exec", self.PEERS[0][0], "ping", "-c", str(n + 1), "-i", "0.3",
                  self.PEERS[1][1])
        return [float(t) / 1000 for t in re.findall(r"time=([0-9.]+)", out)][1:]

    def stop(self):
        super().stop()
        for name, _ in self.PEERS:
            run("ip", "netns", "delete", name)
        run("umount", "/run/netns")


class WeftVmq(Switch):
    """Our own workers and switch inside a program that is the NIC and the guests as well."""

    name = "weft"

    def launch(self, case):
        pass

    def trials(self):
        """What it measured, by the name of the trial."""
        cpus = [str(self.place.control_core), str(self.place.core)]
        lines = run(self.program("test_vmq_cost"), *cpus, timeout=120).splitlines()
        return {trial["name"]: trial for trial in map(json.loads, lines)}


def memory_bytes(pid):
    """Resident memory, huge pages included."""
    with open("/proc/%d/status" % pid) as status:
        return sum(1024 * int(line.split()[1]) for line in status
                   if line.startswith(("VmRSS:", "HugetlbPages:")))


def judge_words(spec):
    """Our words in the other generator's: it wants the number of destination MACs spelt out."""
    words = dict(w.split("=") for w in spec.split(","))
    words.setdefault("dmacs", words.get("macs", "1"))
    return ",".join("%s=%s" % pair for pair in words.items())


def judge_measure(place, samples, interval_ms):
    out = run(os.path.join(place.judge, "fgstat"), "-q", "-n", str(samples),
              "-i", str(interval_ms / 1000))
    pattern = (r"med ([\d.]+) Mpps .* tsc-cyc/pkt ([\d.]+) = gen ([-\d.]+) \+ sink ([-\d.]+) \+ "
               r"switch ([-\d.]+) .* oncpu ([\d.]+)% dropped (\d+)")
    found = re.search(pattern, out)
    if not found:
        raise BenchError("fgstat: cannot read: " + out.strip())
    keys = ("mpps", "cycles", "generator", "sink", "switch", "on_cpu", "rejected")
    return dict(zip(keys, map(float, found.groups())))
