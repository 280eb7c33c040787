# SPDX-License-Identifier: Apache-2.0
"""What is measured: a case is traffic, a policy, the switches that meet it, and the bar for ours.

Bars are ratios of switch cycles a frame to Open vSwitch's, unless the case says otherwise.
"""
import re
from dataclasses import dataclass

import policy
from guests import OvsGuests, TestpmdGuests, WeftGuests
from switches import Ovs, Testpmd, TestpmdIo, Weft, WeftIdle, WeftVmq
from tunnels import OvsTunnels, WeftTunnels

MILLION = 1 << 20  # flows of a direction where a case says "1 M"


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    words: str                        # of the streams, both directions (docs/bench.md)
    switches: tuple = (Weft, Ovs)
    size: int = 64                    # bytes of a frame without FCS
    five_tuple: bool = False          # a rule that reads all five fields, on both ports
    entries: int = 1 << 17            # cache entries that ours is given
    bar: float = None                 # highest ratio to Open vSwitch
    settle_s: int = 20                # for the caches to fill, at most
    kind: str = "cost"                # cost, setup, resolve, idle, guests, policy, vmq: of Runner
    idle_nics: int = 0                # guests: NICs that do nothing, beside the two
    tunnel: str = ""                  # vxlan or nvgre
    way: str = ""                     # with tunnel: encap, decap or route

    @property
    def traffic(self):
        return "size=%d,%s" % (self.size, self.words)

    def guest_options(self):
        """The traffic in weft-pmd's words."""
        flows = re.search(r"flows=(\d+)", self.words).group(1)
        options = ["--size", str(max(self.size, 60)), "--flows", flows, "--lean"]
        return options + (["--mtu", "9000", "--staged", "4096"] if self.size > 1514 else [])


PAIRS = "macs=1000,order=rand"
EVERYONE = (Weft, Ovs, Testpmd)
GUESTS = (WeftGuests, OvsGuests, TestpmdGuests)

TUNNELS = (WeftTunnels, OvsTunnels)


def tunnel_cases():
    """Each encapsulation, each way, with few flows and with many; then routed, and large frames."""
    bars = {("encap", "1k"): 0.35, ("encap", "100k"): 0.22,
            ("decap", "1k"): 0.25, ("decap", "100k"): 0.15}
    for tunnel in "vxlan", "nvgre":
        for (way, many), bar in bars.items():
            yield Case("%s-%s-%s" % (tunnel, way, many),
                       "%s %s, %s flows" % (tunnel.upper(), way, many.replace("k", " k")),
                       "flows=%s,order=rand" % many.replace("k", "000"), TUNNELS, bar=bar,
                       tunnel=tunnel, way=way)
        yield Case(tunnel + "-route", tunnel.upper() + " both ways, routed, 1 k flows",
                   "flows=1000,order=rand", TUNNELS, tunnel=tunnel, way="route")
        for way in "encap", "decap":
            yield Case("%s-%s-9014" % (tunnel, way), "%s %s, 1 k flows, 9014 B" % (tunnel.upper(), way),
                       "flows=1000,order=rand", TUNNELS, size=9014, bar=1.0, tunnel=tunnel, way=way)


CASES = (
    Case("ceiling", "no look-up at all, 64 B", "flows=1000," + PAIRS, (TestpmdIo, Testpmd)),
    Case("l2-1k", "L2, 1 k flows, 1000 MAC pairs", "flows=1000," + PAIRS, EVERYONE, bar=0.35),
    Case("l2-10k", "L2, 10 k flows, 1000 MAC pairs", "flows=10000," + PAIRS, bar=0.20),
    Case("l2-1m", "L2, 1 M flows, 1000 MAC pairs", "flows=%d,%s" % (MILLION, PAIRS), bar=0.20),
    Case("mac-10k", "L2, 10 k MAC pairs", "flows=10000,macs=10000,order=rand", bar=0.18),
    Case("tuple-10k", "5-tuple rule, 10 k cache entries", "flows=5000," + PAIRS, five_tuple=True),
    Case("tuple-1m", "5-tuple rule, 1 M cache entries", "flows=%d,%s" % (MILLION // 2, PAIRS),
         five_tuple=True, entries=MILLION * 9 // 8, bar=0.35, settle_s=120),
    Case("resolve-1m", "1 M stale entries",
         "flows=%d,%s" % (MILLION // 2, PAIRS), (Weft,), five_tuple=True,
         entries=MILLION * 9 // 8, settle_s=60, kind="resolve"),
    Case("setup", "flow set-ups, L2, 2 M new MAC pairs",
         "flows=1000000,macs=1000,mix=1,order=seq,hold=1000", entries=MILLION * 9 // 4,
         kind="setup"),
    Case("idle", "asleep between two taps", "", (WeftIdle,), kind="idle"),
    Case("l2-1514", "L2, 1 k flows, 1514 B", "flows=1000," + PAIRS, EVERYONE, size=1514),
    Case("l2-9000", "L2, 1 k flows, 9000 B", "flows=1000," + PAIRS, EVERYONE, size=9000),
    Case("guest-64", "guest to guest, 10 k flows, 64 B", "flows=10000", GUESTS, bar=1.0,
         kind="guests"),
    Case("guest-1514", "guest to guest, 1 k flows, 1514 B", "flows=1000", GUESTS, size=1514,
         bar=0.9, kind="guests"),
    Case("guest-9014", "guest to guest, 1 k flows, 9014 B", "flows=1000", GUESTS, size=9014,
         kind="guests"),
    Case("guest-idle", "guest to guest, 10 k flows, 64 B, beside 256 idle NICs", "flows=10000",
         (WeftGuests,), kind="guests", idle_nics=256),
    *tunnel_cases(),
    Case("policy", "lookup records under 60 % load", "flows=1000,order=rand", (policy.WeftPolicy,),
         tunnel="vxlan", way="encap", kind="policy"),
    Case("vmq", "frames between two workers", "", (WeftVmq,), kind="vmq"),
)

# Cases that ./run-bench judge repeats with the other generator.
JUDGED = ("l2-1k", "l2-10k", "tuple-10k")

# Bars that are not ratios to Open vSwitch.
MIN_SETUPS = 1e6            # new flows a second and core
MAX_FLOW_BYTES = 128        # memory of a cached flow
MAX_IDLE_SHARE = 0.03       # of a core, by a switch without traffic
MAX_WAKE_US = 200           # from a frame that finds it asleep to the answer
MAX_FEW_RECORDS_S = 0.3     # until 10 k lookup records are in force
MAX_ALL_RECORDS_S = 15      # until a million are
MAX_IDLE_NICS_COST = 1.05   # cycles beside 256 idle NICs, as a multiple of those without
MAX_HANDOVER_CYCLES = 60    # a frame, both workers together, batches of 64
MIN_SHARE_AT_1M = 0.5       # of our own rate at 10 k entries
JUDGE_NOISE = 0.10          # two generators may differ by this much
