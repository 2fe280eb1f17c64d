#!/usr/bin/env bash
# Boots Debian's kernel for arm64 in qemu, with a static test program of that target as all that it runs.
#
#   boot.sh FOLDER KERNEL PROGRAM [ARGUMENT..]      KERNEL is a part of a package's name: 6.1, 6.12
#
# Kernel and busybox are fetched into FOLDER, past the system's own packages. Ends as the program does.
set -euo pipefail

folder=$1 kernel=$2 program=$3
shift 3

for tool in qemu-system-aarch64 apt-get dpkg-deb cpio; do
    command -v "$tool" >/dev/null || {
        echo "arm64: there is no $tool (Debian: apt-get install qemu-system-arm cpio)" >&2
        exit 2
    }
done

mkdir -p "$folder"/{lists/partial,cache/archives/partial,root}
cd "$folder"
if ! compgen -G "root/boot/vmlinuz-$kernel.*" >/dev/null; then
    apt=(-q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::lists=$PWD/lists"
        -o "Dir::Cache=$PWD/cache" -o APT::Sandbox::User="$(id -un)")
    apt-get "${apt[@]}" update >/dev/null
    image=$(apt-cache "${apt[@]}" search --names-only "^linux-image-$kernel\\.[0-9].*-cloud-arm64\$" | sort -V | tail -1 | cut -d' ' -f1)
    apt-get "${apt[@]}" download "${image:?no such kernel}" busybox-static
    for package in *.deb; do dpkg-deb -x "$package" root; done
fi

rm -rf initial && mkdir -p initial/{bin,proc,sys,dev,tmp}
cp root/bin/busybox initial/bin/
cp "$program" initial/program
cat >initial/init <<INIT
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
/bin/busybox uname -srvm
/program $*
echo "ended with \$?"
/bin/busybox poweroff -f
INIT
chmod +x initial/init
(cd initial && find . | cpio --quiet -o -H newc | gzip -1) >initial.gz

timeout "${ARM64_SECONDS:-900}" qemu-system-aarch64 -M virt -cpu max -smp 4 -m 2G -nographic -nodefaults -serial stdio \
    -no-reboot -kernel "$(compgen -G "root/boot/vmlinuz-$kernel.*" | tail -1)" -initrd initial.gz \
    -append "console=ttyAMA0 panic=-1 quiet" </dev/null | tee said
tr -d '\r' <said | grep -qx "ended with 0"
