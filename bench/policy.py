# SPDX-License-Identifier: Apache-2.0
"""How soon a policy of virtual networks is in force, and what it costs, under traffic.

The daemon answers a request once all of it is in force on every worker. Time is that of requests
alone, from the first byte sent to the answer: to make them is the controller's own work.
"""
import collections
import json
import socket
import time

from switches import BenchError, memory_bytes, wait_for
from tunnels import WeftTunnels

DOMAINS = 1000             # routing domains, each with one subnet
RECORDS = 1000000
FIRST_RECORDS = 10000      # by one request
CHUNK = 100000             # records a request after that: one is 16 MiB long at most
ROUTES = 100000            # of one domain
PROVIDERS = 200            # hosts that customer addresses are spread over
LOAD = 0.6                 # of the measured rate, while it happens


class WeftPolicy(WeftTunnels):
    """Our own between a tenant and a wire; `rate` frames a second of the tenant's, 0: all."""

    rate = 0

    def trickles(self):
        return self.rate, super().trickles()[1]

    def configuration(self, case):
        objects = super().configuration(case)
        objects["network"] += [{"name": "n%d" % i} for i in range(DOMAINS)]
        objects["subnet"] += [{"name": "n%d" % i, "network": "n%d" % i, "encap": case.tunnel,
                               "vsid": 10000 + i, "prefix": "10.0.0.0/8"} for i in range(DOMAINS)]
        return objects

    def record(self, i, first_host=10):
        """The i-th customer address, round all domains."""
        domain, n = i % DOMAINS, i // DOMAINS
        low = (n >> 16 & 255, n >> 8 & 255, n & 255)
        return {"name": "c%d" % i, "subnet": "n%d" % domain, "address": "10.%d.%d.%d" % low,
                "mac": "02:%02x:%02x:%02x:%02x:%02x" % ((domain >> 8, domain & 255) + low),
                "provider": "192.168.100.%d" % (first_host + i % PROVIDERS)}

    def route(self, i):
        return {"name": "t%d" % i, "network": "n0", "next_hop": "10.0.0.%d" % (1 + i % 200),
                "prefix": "%d.%d.%d.0/24" % (20 + (i >> 16), i >> 8 & 255, i & 255)}

    def push(self, document):
        """Applies it; the seconds until it is in force."""
        message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "apply",
                              "params": {"document": document}}).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self.place.path("weft.sock"))
            start = time.monotonic()
            connection.sendall(message)
            answer = json.loads(connection.makefile().readline())
            seconds = time.monotonic() - start
        if "error" in answer:
            raise BenchError("weftd: " + answer["error"]["message"])
        return seconds

    def push_records(self, first, end, **options):
        return sum(self.push({"record": [self.record(i, **options)
                                         for i in range(at, min(at + CHUNK, end))]})
                   for at in range(first, end, CHUNK))

    def drops(self):
        """Frames that the switch counted as dropped on its ports, by reason."""
        reasons = collections.Counter()
        for port in self.request("counters", type="port"):
            reasons.update(port["counters"]["rx_drops"])
            reasons.update(port["counters"]["tx_drops"])
        return reasons

    def memory(self):
        return memory_bytes(self.pid)


def await_neighbors(switch):
    """Until nothing is dropped any more: the wire's other end is known."""
    before = [None]

    def calm():
        now = switch.drops()
        before[0], same = now, now == before[0]
        time.sleep(0.5)
        return same
    wait_for("a neighbour on the wire", calm, 20)


def measure(switch):
    """Records, routes and a change of them, one after the other; figures of it all."""
    await_neighbors(switch)
    dropped = switch.drops()
    figures = {"few_s": switch.push_records(0, FIRST_RECORDS)}
    memory = switch.memory()
    figures["all_s"] = figures["few_s"] + switch.push_records(FIRST_RECORDS, RECORDS)
    figures["record_bytes"] = (switch.memory() - memory) / (RECORDS - FIRST_RECORDS)
    figures["change_s"] = switch.push_records(0, FIRST_RECORDS, first_host=11)
    memory = switch.memory()
    switch.push({"route": [switch.route(i) for i in range(ROUTES)]})
    figures["route_bytes"] = (switch.memory() - memory) / ROUTES
    reasons = switch.drops() - dropped
    figures.update(dropped=sum(reasons.values()), drop_reasons=dict(reasons))
    return figures
