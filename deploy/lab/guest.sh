# Builds the root disk of the shop guest: debootstrap once, then configure, then a BIOS disk image.
# Everything happens in throw-away mount and pid namespaces, so a killed build leaves no mount,
# no loop device and no process; results appear in the cache by rename only.

GUEST_SUITE=bookworm
GUEST_PACKAGES=linux-image-amd64,grub-pc,systemd-sysv,initramfs-tools,nodejs,ifupdown,isc-dhcp-client,iproute2,kmod,udev,dbus,e2fsprogs,acl,attr,qemu-guest-agent
GUEST_ROOT_BYTES=$((3 << 30))
# The first partition starts at 1 MiB; GRUB's core image lives before it.
GUEST_PART_OFFSET=$((1 << 20))

# isolated COMMAND…: own mounts and pids; the kernel takes everything down with the command.
isolated() {
    unshare --mount --pid --fork --kill-child --mount-proc -- "$@"
}

# The mirror the machine already uses, so that a proxy or a local mirror is honoured.
guest_mirror() {
    local site
    if [[ -n ${LAB_MIRROR:-} ]]; then
        echo "$LAB_MIRROR"
        return
    fi
    site=$(apt-get indextargets --format '$(CODENAME) $(SITE)' 'Created-By: Packages' 2>/dev/null |
        awk -v suite="$GUEST_SUITE" '$1 == suite { print $2; exit }')
    echo "${site:-http://deb.debian.org/debian}"
}

guest_base_path() {
    echo "$CACHE/guest-base-$(printf '%s %s' "$GUEST_SUITE" "$GUEST_PACKAGES" | sha256sum | cut -c1-12).tar"
}

guest_root_path() {
    echo "$CACHE/shop-root-$(hash_of "$LAB_DIR/guest.sh" "$LAB_DIR"/shop/*).qcow2"
}

# The plain Debian tree as a tarball: the slow part that depends on the network.
guest_base() {
    local out work
    out=$(guest_base_path)
    [[ ! -e $out ]] || return 0
    need debootstrap
    mkdir -p "$CACHE"
    work=$(mktemp -d "$CACHE/work.XXXXXX")
    isolated debootstrap --variant=minbase --include="$GUEST_PACKAGES" \
        "$GUEST_SUITE" "$work/root" "$(guest_mirror)"
    rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
    rm -rf "$work"/root/usr/share/{doc,man,info,locale,lintian}/*
    tar -C "$work/root" --numeric-owner --xattrs --acls -cf "$work/base.tar" .
    rm -f "$CACHE"/guest-base-*.tar
    mv "$work/base.tar" "$out"
    rm -rf "$work"
}

guest_root() {
    local out work
    out=$(guest_root_path)
    [[ ! -e $out ]] || return 0
    need sfdisk mkfs.ext4 qemu-img
    work=$(mktemp -d "$CACHE/work.XXXXXX")
    truncate -s "$GUEST_ROOT_BYTES" "$work/root.raw"
    echo "start=$((GUEST_PART_OFFSET / 512)), type=83, bootable" | sfdisk -q --label dos "$work/root.raw"
    # GRUB 2.06 cannot read file systems with the two newer features.
    mkfs.ext4 -q -F -L shop-root -O ^metadata_csum_seed,^orphan_file \
        -E "offset=$GUEST_PART_OFFSET" "$work/root.raw" "$(((GUEST_ROOT_BYTES - GUEST_PART_OFFSET) / 1024))k"
    mkdir "$work/mnt"
    isolated bash -c ". '$LAB_DIR/lib.sh'; . '$LAB_DIR/guest.sh'; guest_fill '$work'"
    guest_boot_sectors "$work/root.raw" "$work/core.img" "$work/boot.img"
    qemu-img convert -f raw -O qcow2 "$work/root.raw" "$work/root.qcow2"
    rm -f "$CACHE"/shop-root-*.qcow2
    mv "$work/root.qcow2" "$out"
    rm -rf "$work"
}

# Inside the namespaces: unpack, configure as an old installation would be, build its initramfs.
guest_fill() {
    local work=$1 root=$1/mnt kernel
    mount -o "loop,offset=$GUEST_PART_OFFSET" "$work/root.raw" "$root"
    tar -C "$root" --numeric-owner --xattrs --acls -xf "$(guest_base_path)"
    kernel=$(cd "$root/lib/modules" && echo *)
    guest_trim "$root" "$kernel"

    echo shop >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 shop\n' >"$root/etc/hosts"
    # A set machine id: an empty one makes systemd treat each first boot as an installation.
    printf '%s' shop | md5sum | cut -c1-32 >"$root/etc/machine-id"
    install -m 644 "$LAB_DIR/shop/fstab" "$root/etc/fstab"
    install -D -m 644 "$LAB_DIR/shop/interfaces" "$root/etc/network/interfaces"
    install -m 644 "$LAB_DIR/shop/default-grub" "$root/etc/default/grub"
    install -m 644 "$LAB_DIR/shop/initramfs-modules" "$root/etc/initramfs-tools/modules"
    install -m 755 "$LAB_DIR/shop/disk-order" "$root/etc/initramfs-tools/scripts/init-top/disk-order"
    echo 'MODULES=list' >"$root/etc/initramfs-tools/conf.d/modules"
    sed "s/@KERNEL@/$kernel/g" "$LAB_DIR/shop/grub.cfg" >"$root/boot/grub/grub.cfg"
    guest_application "$root"

    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    chroot "$root" depmod "$kernel"
    chroot "$root" update-initramfs -u -k all
    guest_check_order "$root" "$kernel"
    guest_grub "$root"
    mv "$root/tmp/core.img" "$work/core.img"
    cp "$root/usr/lib/grub/i386-pc/boot.img" "$work/boot.img"
    rm -rf "$root"/tmp/* "$root"/var/log/*.log
    # Blocks freed above would travel with every relocation.
    fstrim "$root" || true
}

guest_application() {
    local root=$1 unit
    chroot "$root" groupadd -g 1500 shop
    chroot "$root" useradd -u 1500 -g 1500 -d /opt/shop -s /usr/sbin/nologin shop
    mkdir -p "$root"/opt/{shop,node/bin} "$root/etc/shop" "$root/mnt/volume"
    install -m 644 "$LAB_DIR/shop/server.js" "$root/opt/shop/server.js"
    install -m 755 "$LAB_DIR/shop/launch" "$root/opt/shop/launch"
    install -m 644 "$LAB_DIR/shop/shop.json" "$root/etc/shop/shop.json"
    install -m 644 "$LAB_DIR/shop/shop.service" "$root/etc/systemd/system/shop.service"
    # A real copy: a link would be resolved, and the interpreter path would prove nothing.
    cp -L "$root/usr/bin/node" "$root/opt/node/bin/node"
    ln -s /etc/systemd/system/shop.service "$root/etc/systemd/system/multi-user.target.wants/shop.service"
    # Nobody logs in on a console, and periodic chores only cost emulated seconds.
    for unit in getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer \
        e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer systemd-pstore.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
}

# Drivers no server has: half of the guest's bytes otherwise.
guest_trim() {
    local modules=$1/lib/modules/$2/kernel
    rm -rf "$modules"/sound "$modules"/net/{wireless,mac80211,bluetooth} \
        "$modules"/drivers/{gpu,media,infiniband,staging,isdn,bluetooth,iio,usb/serial,net/wireless,net/can,hwmon}
}

# The script that orders the disks is useless after udev, which attaches them.
guest_check_order() {
    local order
    order=$(chroot "$1" sh -c "gzip -dc /boot/initrd.img-$2 | cpio -i --to-stdout --quiet scripts/init-top/ORDER")
    [[ $order == *disk-order*udev* ]] ||
        die "the guest's initramfs runs udev before disk-order" "its scripts are ordered: $order" "see deploy/lab/shop/disk-order"
}

guest_grub() {
    local root=$1
    mkdir -p "$root/boot/grub/i386-pc"
    cp "$root"/usr/lib/grub/i386-pc/*.{mod,lst} "$root/boot/grub/i386-pc/"
    chroot "$root" grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /tmp/core.img biosdisk part_msdos ext2
}

# What grub-install writes, without asking a kernel that may know no partitions: the boot sector's
# code (not the partition table after it) and the core image in the gap before the first partition.
guest_boot_sectors() {
    dd if="$3" of="$1" bs=440 count=1 conv=notrunc status=none
    dd if="$2" of="$1" bs=512 seek=1 conv=notrunc status=none
}
