#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fetch-kernel.sh DIR: puts Debian's cloud kernel into DIR, as apt gives it: vmlinuz, vmlinux (what
# is packed in vmlinuz), modules/*.ko of Hyper-V, and busybox. Nothing is installed. What is there
# in the version that apt would give now stays as it is; without a network, any version will do.
set -eu

dir=$(realpath -m "$1")
here=$(dirname "$(realpath "$0")")
package=$(apt-cache show linux-image-cloud-amd64 2>/dev/null |
	sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -1 || true)
if [ -e "$dir/version" ] && { [ -z "$package" ] || [ "$(cat "$dir/version")" = "$package" ]; }; then
	exit 0
fi
if [ -z "$package" ]; then
	echo "apt knows no linux-image-cloud-amd64: run apt-get update" >&2
	exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -q download "$package" busybox-static >apt.log 2>&1 || { cat apt.log >&2; exit 1; }
for deb in *.deb; do
	dpkg-deb -x "$deb" root
done
rm -rf "$dir"
mkdir -p "$dir/modules"
cp root/boot/vmlinuz-* "$dir/vmlinuz"
find root -path '*bin/busybox' -exec cp {} "$dir/busybox" \;
find root -path '*/kernel/*' -name 'hv_*.ko' -exec cp {} "$dir/modules" \;
"$here/extract-vmlinux" "$dir/vmlinuz" "$dir/vmlinux"
echo "$package" >"$dir/version"
