# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # dir, top and others are of tests/scenario/lib.sh
# Open vSwitch with its userspace datapath on a host: an instance of our own, its files under
# $dir/ovs-HOST; the system's is not touched. It ends with the host's namespace.
#
#   ovs_start HOST                              database and switch, bridge br0 for tenants
#   ovs_provider HOST ADDRESS                   br-phy on eth0, with the provider address
#   ovs_tunnel HOST PORT vxlan|nvgre ID REMOTE  a tunnel port on br0. NVGRE: key = VSID << 8
#   ovs_tenant HOST TENANT ADDRESS [MTU]        a namespace behind br0
#   ovs_vsctl HOST ARG..., ovs_appctl HOST ARG...
#
# FlowID is 0 both ways: OVS takes GRE's key as a whole, so a tunnel port is one (VSID, FlowID).

ovs_vsctl()
{
	ovs-vsctl --db="unix:$dir/ovs-$1/db.sock" --timeout=20 "${@:2}"
}

ovs_appctl()
{
	ovs-appctl -t "$dir/ovs-$1/vswitchd.ctl" "${@:2}"
}

# ovs_run HOST LOG PROGRAM ARG...: a daemon inside the host, its folders ours.
ovs_run()
{
	local folder=$dir/ovs-$1
	in_ns_background "$1" env OVS_RUNDIR="$folder" OVS_LOGDIR="$folder" OVS_DBDIR="$folder" \
		OVS_SYSCONFDIR="$folder" "${@:3}" </dev/null >"$folder/$2.log" 2>&1
	disown "$background" # it is killed with its namespace, without a word
}

ovs_start()
{
	local host=$1 folder=$dir/ovs-$1
	mkdir "$folder"
	ovsdb-tool create "$folder/ovs.db" /usr/share/openvswitch/vswitch.ovsschema
	ovs_run "$host" ovsdb ovsdb-server "$folder/ovs.db" --remote="punix:$folder/db.sock" \
		--unixctl="$folder/ovsdb.ctl"
	wait_for 10 test -S "$folder/db.sock" || fail "ovsdb-server: $(tail -1 "$folder/ovsdb.log")"
	ovs_vsctl "$host" --no-wait init
	ovs_run "$host" vswitchd ovs-vswitchd "unix:$folder/db.sock" \
		--unixctl="$folder/vswitchd.ctl" --pidfile="$folder/vswitchd.pid"
	wait_for 10 test -S "$folder/vswitchd.ctl" ||
		fail "ovs-vswitchd: $(tail -1 "$folder/vswitchd.log")"
	ovs_vsctl "$host" add-br br0 -- set bridge br0 datapath_type=netdev
}

# The address moves to the bridge's own interface: from there OVS knows its route and neighbours.
# Only that one may answer ARP for it: OVS takes no tunnel's frame that is for eth0's own MAC.
ovs_provider()
{
	local namespace
	namespace=$(ns "$1")
	ip netns exec "$namespace" sysctl -qw net.ipv4.conf.all.arp_ignore=1
	ovs_vsctl "$1" add-br br-phy -- set bridge br-phy datapath_type=netdev -- \
		add-port br-phy eth0
	ip -n "$namespace" link set br-phy up \
		mtu "$(ip -n "$namespace" -o link show eth0 | sed 's/.* mtu \([0-9]*\).*/\1/')"
	address_add "$1" "$2" br-phy
}

ovs_tunnel()
{
	local host=$1 port=$2 kind=$3 id=$4 remote=$5
	local type=vxlan key=$id
	[ "$kind" = vxlan ] || {
		type=gre
		key=$((id << 8))
	}
	ovs_vsctl "$host" add-port br0 "$port" -- set interface "$port" type="$type" \
		options:remote_ip="$remote" options:key="$key"
}

ovs_tenant()
{
	local host=$1 tenant=$2 address=$3 mtu=${4:-1500}
	ns_add "$tenant"
	ip -n "$(ns "$host")" link add name "$tenant" mtu "$mtu" type veth peer name eth0 mtu "$mtu" \
		address "$(tenant_mac "$address")" netns "$(ns "$tenant")"
	plain_frames "$host" "$tenant"
	plain_frames "$tenant" eth0
	ip -n "$(ns "$host")" link set dev "$tenant" up
	ip -n "$(ns "$tenant")" link set eth0 up
	address_add "$tenant" "$address"
	ovs_vsctl "$host" add-port br0 "$tenant"
}
