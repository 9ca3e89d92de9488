#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A test of luoctl dax and luoctl kexec without luod, in a guest with the memory of `memmap=256M!1G`. It runs in two
# kernels: the first one has /boot, and is replaced.
. /bin/functions.sh

nothing_loaded() { expect_exit "$1: nothing is loaded" 0 '^0$' cat /sys/kernel/kexec_loaded; }

kexec() { luoctl kexec --without-luod "$@"; }

# The node of the disk comes a moment after its driver.
await "the disk" test -b /dev/pmem0
mkdir /mnt

if [ ! -d /boot ]; then
    mount -t ext4 -o dax /dev/pmem0 /mnt
    expect_exit "the next kernel has the region" 0 'memmap=256M!1G .* ext4 on /mnt, dax=always' luoctl dax
    expect_exit "the file is there" 0 '^from the first kernel$' cat /mnt/file
    expect_exit "arguments were added" 0 ' second=1$' cat /proc/cmdline
    echo 1 >/proc/sys/kernel/kexec_load_disabled
    expect_exit "kexec is disabled" 1 'kexec_load_disabled is 1' luoctl kexec --without-luod --no-initrd --dry-run
    exit
fi

expect_exit "an empty region" 0 'memmap=256M!1G .* empty' luoctl dax
mkfs.ext4 -q -b 4096 /dev/pmem0
expect_exit "a file system that is not mounted" 0 'ext4 that is not mounted' luoctl dax
mount -t ext4 -o dax /dev/pmem0 /mnt
expect_exit "a file system" 0 'ext4 on /mnt, dax=always' luoctl dax
expect_exit "a plan" 0 'memmap=128M![0-9]+M' luoctl dax plan --size 128M
expect_exit "a plan without root" 77 'as root' su nobody -c 'luoctl dax plan --size 128M'
expect_exit "regions without root" 0 'hidden' su nobody -c 'luoctl dax'
expect_exit "kexec without root" 77 'CAP_SYS_BOOT' su nobody -c 'luoctl kexec --without-luod --dry-run'
# Each check of a good kernel unpacks it, which takes seconds in software emulation.
expect_exit "no luod" 1 '^luoctl: the kernel was not replaced: 2 problems' luoctl kexec --cmdline console=ttyS0
mv /tmp/output /tmp/problems
expect_exit "no luod, in the list" 0 'luod: it does not answer' cat /tmp/problems
expect_exit "the region is forgotten" 0 "add --append 'memmap=256M!1G'" cat /tmp/problems
expect_exit "a kernel that is none" 1 'is no bzImage' kexec --kernel /etc/passwd
head -c 4000000 /boot/vmlinuz >/tmp/short
expect_exit "a kernel that is cut off" 1 'is incomplete' kexec --kernel /tmp/short
{ head -c 4000000 /boot/vmlinuz && head -c 1000 /dev/zero && tail -c +4001001 /boot/vmlinuz; } >/tmp/damaged
expect_exit "a kernel that is damaged" 1 'cannot be unpacked' kexec --kernel /tmp/damaged
nothing_loaded "after problems"

# The guest has no systemd: a script in its place prints its arguments.
mkdir -p /run/systemd/system
printf '#!/bin/sh\necho "asked for: $*"; cat /sys/kernel/kexec_loaded; exit 1\n' >/bin/systemctl
chmod 755 /bin/systemctl
expect_exit "systemd refuses" 1 'systemctl kexec ended with 1; everything goes on as before' kexec
nothing_loaded "after systemd has refused"
rm -r /run/systemd /bin/systemctl

expect_exit "the kernel can be replaced" 0 'can be replaced' kexec --dry-run
echo "from the first kernel" >/mnt/file
kexec --append second=1 >/dev/null
fail "the kernel was not replaced: exit $?"
