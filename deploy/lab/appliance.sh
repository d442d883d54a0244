# libguestfs boots a small appliance that it builds from the host's packages; building it once here
# keeps that half minute out of the first relocation.

accel() { bash "$LAB_DIR/kvm-probe"; }

# The environment of every session on a cloud host. The direct backend needs no libvirt; the cache
# is ours, so that 'clean' can remove it.
appliance_settings() {
    echo LIBGUESTFS_BACKEND=direct
    [[ $(accel) == kvm ]] || echo LIBGUESTFS_BACKEND_SETTINGS=force_tcg
    echo "LIBGUESTFS_CACHEDIR=$CACHE"
}

appliance_up() {
    local appliance=$CACHE/.guestfs-0/appliance.d
    [[ -s $appliance/root && -s $appliance/kernel ]] && return
    need guestfish
    mkdir -p "$CACHE"
    # Only a boot proves it; a cloud whose first boot fails is better found now.
    mapfile -t settings < <(appliance_settings)
    env "${settings[@]}" timeout 300 guestfish -a /dev/null run ||
        die "the libguestfs appliance does not boot" "see above" "run libguestfs-test-tool and read its last lines"
}
