# SPDX-License-Identifier: Apache-2.0
"""The switches that are compared over an underlay: port 0 is a tenant's, port 1 the wire.

One provider is the switch, 192.168.100.1; the other, 192.168.100.2, is the generator behind port 1,
whose frames come encapsulated. A case says what is measured (`way`): `encap` saturates port 0 and
lets port 1 speak just enough that its tenants stay known, `decap` the reverse, `route` saturates
both, and tenants are in two subnets with a router between. That router is on every host, so each
host routes what it sends: frames to the other subnet leave in that one's VSID, and what arrives
has been routed.
"""
import os

from switches import BenchError, Ovs, Weft, run, wait_for

NEAR, FAR = "192.168.100.1", "192.168.100.2"
NEAR_MAC, FAR_MAC = "02:00:00:00:ee:01", "02:00:00:00:ee:11"
SUBNET, OTHER_SUBNET = 5001, 5002  # VSID or VNI of both, or of the tenants behind the wire
ROUTER_MAC = "02:00:10:00:00:00"  # of the first tenant on the other side, elsewhere
OVERHEAD = 160                    # bytes that the underlay's packets are longer at most
PAIRS = 1000                      # MACs of a side
TRICKLE = 20000  # frames a second of the side that is not measured


class Tunnels:
    """What all of them have in common: the traffic. To be mixed in before a Switch."""

    def trickles(self):
        """Frames a second of either side, 0: as many as are taken."""
        return {"encap": (0, TRICKLE), "decap": (TRICKLE, 0), "route": (0, 0)}[self.case.way]

    def streams(self):
        case = self.case
        rates = self.trickles()
        outer = "encap=%s,vni=%d,oside=1,odmac=%s,flowid=0" % (case.tunnel, SUBNET, NEAR_MAC)
        macs = ["macs=%d" % PAIRS] * 2
        if case.way == "route":
            macs = ["macs=%d,dmacs=1" % PAIRS, "macs=1,dmacs=%d" % PAIRS]
        return ["side=0,rate=%d,%s,%s" % (rates[0], case.traffic, macs[0]),
                "side=1,rate=%d,%s,%s,%s" % (rates[1], case.traffic, macs[1], outer)]


class OvsTunnels(Tunnels, Ovs):
    """Open vSwitch: a bridge for tenants, a bridge for the wire, a tunnel port between them."""

    KINDS = {"vxlan": "vxlan", "nvgre": "gre"}

    def key(self, subnet):
        """NVGRE's VSID is the upper 24 bits of GRE's key; the FlowID below it is 0."""
        return subnet << 8 if self.case.tunnel == "nvgre" else subnet

    def add_bridge(self, case):
        devices = self.devices()
        mtu = "mtu_request=%d" % max(1600, case.size + 100)
        key = "flow" if case.way == "route" else str(self.key(SUBNET))
        self.vsctl("add-br", "br-wire", "--", "set", "bridge", "br-wire", "datapath_type=netdev",
                   "other-config:hwaddr=" + NEAR_MAC, "--",
                   "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
                   "other-config:mac-table-size=1000000", "other-config:mac-aging-time=3600")
        for bridge, port, device in ("br-wire", "p1", devices[1]), ("br0", "p0", devices[0]):
            self.vsctl("add-port", bridge, port, "--", "set", "Interface", port, "type=dpdk", mtu,
                       "options:dpdk-devargs=\"%s\"" % device)
        run("ip", "address", "replace", NEAR + "/24", "dev", "br-wire")
        run("ip", "link", "set", "br-wire", "up")
        wait_for("a route of Open vSwitch", self.has_route, 10)
        self.appctl("tnl/neigh/set", "br-wire", FAR, FAR_MAC)
        self.vsctl("add-port", "br0", "tunnel", "--", "set", "Interface", "tunnel",
                   "type=" + self.KINDS[case.tunnel], "options:remote_ip=" + FAR,
                   "options:key=" + key)
        if case.way == "route":
            self.add_routes()

    def has_route(self):
        """Adds it; refused until the address of br-wire has got about."""
        try:
            self.appctl("ovs/route/add", "192.168.100.0/24", "br-wire")
        except BenchError:
            return False
        return True

    def add_routes(self):
        """Out: the subnet of the other side, its tenant's MAC, a TTL less. Back: no more to do."""
        rewrite = "dec_ttl,set_field:%s->eth_src,set_field:02:00:10:00:00:01->eth_dst" % ROUTER_MAC
        out = "in_port=p0,ip,nw_dst=10.2.0.0/16,actions=%s,set_field:%#x->tun_id,output:tunnel" % (
            rewrite, self.key(OTHER_SUBNET))
        back = "in_port=tunnel,tun_id=%#x,ip,nw_dst=10.1.0.0/16,actions=output:p0" % (
            self.key(SUBNET))
        for flow in out, back:
            run("ovs-ofctl", "add-flow", "unix:" + self.place.path("br0.mgmt"), flow)

    def stop(self):
        super().stop()
        if os.path.exists(self.place.path("br-wire.mgmt")):
            os.unlink(self.place.path("br-wire.mgmt"))


class WeftTunnels(Tunnels, Weft):
    """Our own: tenants behind the wire are lookup records, those behind port 0 are learnt."""

    def configuration(self, case):
        tenant, wire = super().configuration(case)["port"]
        del wire["learning"]
        tenant.update(subnet="near")
        wire.update(role="uplink", mtu=tenant["mtu"] + OVERHEAD)
        hnv = [{"name": "hnv", "router_mac": ROUTER_MAC}] if case.way == "route" else []
        return {"switch": [{"name": "s0"}], "port": [tenant, wire], "hnv": hnv,
                "provider": [{"name": "pa", "port": wire["name"], "address": NEAR,
                              "prefix_length": 24, "mac": NEAR_MAC, "mtu": wire["mtu"]}],
                "network": [{"name": "tenants"}],
                "subnet": self.subnets(case), "record": list(self.records(case))}

    def subnets(self, case):
        def subnet(name, vsid, prefix):
            return {"name": name, "network": "tenants", "encap": case.tunnel, "vsid": vsid,
                    "prefix": prefix}
        if case.way == "route":
            return [subnet("near", SUBNET, "10.1.0.0/16"),
                    subnet("far", OTHER_SUBNET, "10.2.0.0/16")]
        return [subnet("near", SUBNET, "10.0.0.0/8")]

    def records(self, case):
        """Who is behind the wire: by MAC, or where they are routed to, by address."""
        for i in range(PAIRS):
            record = {"name": "r%d" % i, "subnet": "near", "provider": FAR,
                      "mac": "02:00:10:00:%02x:%02x" % (i >> 8, i & 255)}
            if case.way == "route":
                record.update(subnet="far", address="10.2.%d.%d" % (i >> 8, i & 255),
                              mac="02:00:10:01:%02x:%02x" % (i >> 8, i & 255))
            yield record
