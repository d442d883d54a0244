# $1: our directory at the site, $2: the accelerator of QEMU. Prints yes or no, and remembers it until the next boot.
verdict=$1/accel-$2
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
if read -r at said 2>/dev/null <"$verdict" && [ "$at" = "$boot" ] && [ -n "$boot" ]; then
    echo "$said"
    exit 0
fi
cpu=max
[ "$2" != kvm ] || cpu=host
boots() {
    [ "$accel" != kvm ] || [ -w /dev/kvm ] || return 1
    marked=$(timeout -k 1 15 qemu-system-x86_64 -machine pc -accel "$accel" -cpu "$cpu" -m 16 -nodefaults \
        -display none -no-reboot -drive "file=$dir/boot-probe.img,format=raw,if=ide,snapshot=on" \
        -device isa-debug-exit,iobase=0xf4,iosize=0x04 -debugcon stdio </dev/null 2>/dev/null)
    [ "$?" -eq 33 ] && [ "$marked" = fluid ] || return 1
    kernel=
    for found in /boot/vmlinuz-*; do [ ! -r "$found" ] || kernel=$found; done
    [ -n "$kernel" ] || return 0
    timeout -k 1 45 qemu-system-x86_64 -machine pc -accel "$accel" -cpu "$cpu" -m 256 -nodefaults \
        -display none -no-reboot -serial stdio -kernel "$kernel" \
        -append 'console=ttyS0 panic=-1' </dev/null 2>/dev/null | grep -q 'Linux version'
}
dir=$1 accel=$2 said=no
! boots || said=yes
echo "$boot $said" >"$verdict.$$" && mv -f "$verdict.$$" "$verdict"
echo "$said"
