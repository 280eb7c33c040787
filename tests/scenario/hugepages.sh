#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Huge pages that are counted as free and then cannot be had: weftd says so and starts without,
# as the same process. The count is a file of ours, in a mount namespace.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

pages=/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages
[ -r $pages ] || skip "this kernel has no huge pages of 2 MiB"
unshare -m true 2>/dev/null || skip "no mount namespaces"
free=$(cat $pages)
# More is wanted than there is. What there is is taken for a moment: that should not be much.
[ "$free" -lt 300 ] || skip "$free huge pages are free, which others may want"

echo 1000000 >"$dir/pages"
cat >"$dir/lying" <<END
#!/bin/sh
mount --bind "$dir/pages" $pages && exec "\$@"
END
chmod +x "$dir/lying"
weftd_inside=(unshare -m --propagation slave "$dir/lying") # network namespaces come later
weftd_start --mbufs $((32767 + free * 1024))
grep -q "seemed free: going on without" "$dir/weftd.log" || fail "weftd does not say what it did"
expect_eq "first argument" "$(tr '\0' ' ' <"/proc/$weftd_pid/cmdline" | cut -d ' ' -f 2)" --no-huge
expect_ok weft add switch s0
peer a 10.77.0.1/24
peer b 10.77.0.2/24
expect_ping a 10.77.0.2
conservation
weftd_stop
