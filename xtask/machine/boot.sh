#!/usr/bin/env bash
# Boots one of Debian's kernels in qemu, with a static test program of its architecture as all that it runs.
#
#   boot.sh FOLDER ARCHITECTURE KERNEL FLAVOUR PROGRAM [ARGUMENT..]
#
# ARCHITECTURE is arm64 or ppc64el; KERNEL and FLAVOUR are the beginning and the end of a version: 6.1, 6.12; cloud-arm64,
# arm64-16k, powerpc64le. Kernel and busybox are fetched into FOLDER, past the system's own packages. Ends as the program does.
set -euo pipefail

folder=$1 architecture=$2 kernel=$3 flavour=$4 program=$5
shift 5

case $architecture in
arm64) machine=(qemu-system-aarch64 -M virt -cpu max -smp 4) console=ttyAMA0 package=qemu-system-arm ;;
ppc64el) machine=(qemu-system-ppc64 -M pseries -cpu power9 -smp 4 -vga none) console=hvc0 package=qemu-system-ppc ;;
esac

for tool in "${machine[0]}" apt-get dpkg-deb cpio; do
    command -v "$tool" >/dev/null || {
        echo "there is no $tool (Debian: apt-get install $package cpio)" >&2
        exit 2
    }
done

mkdir -p "$folder"/{lists/partial,cache/archives/partial,root}
cd "$folder"
image() { compgen -G "root/boot/vmlinu[xz]-$kernel.*-$flavour" | tail -1; }
if ! image >/dev/null; then
    apt=(-q -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" -o "Dir::State::lists=$PWD/lists"
        -o "Dir::Cache=$PWD/cache" -o APT::Sandbox::User="$(id -un)")
    apt-get "${apt[@]}" update >/dev/null
    found=$(apt-cache "${apt[@]}" search --names-only "^linux-image-$kernel\\.[0-9].*-$flavour(-unsigned)?\$" | sort -V | tail -1 | cut -d' ' -f1)
    apt-get "${apt[@]}" download "${found:?no such kernel}" busybox-static
    for package in *.deb; do dpkg-deb -x "$package" root && rm "$package"; done
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
/bin/busybox grep -m1 KernelPageSize /proc/self/smaps
/program $*
echo "ended with \$?"
/bin/busybox poweroff -f
INIT
chmod +x initial/init
(cd initial && find . | cpio --quiet -o -H newc | gzip -1) >initial.gz

timeout "${MACHINE_SECONDS:-900}" "${machine[@]}" -m 2G -nographic -nodefaults -serial stdio \
    -no-reboot -kernel "$(image)" -initrd initial.gz -append "console=$console panic=-1 quiet" </dev/null | tee said
tr -d '\r' <said | grep -qx "ended with 0"
