# A cloud is a host of its own: network and mount namespace, libvirtd, sshd, pool and network, both
# named "default". The paths inside are the same in both clouds; the content is separate.

# Private directory below $LAB/cloud-X : where it appears inside.
CLOUD_MOUNTS=(
    run:/run/libvirt
    etc:/etc/libvirt
    lib:/var/lib/libvirt
    cache:/var/cache/libvirt
    log:/var/log/libvirt
    site:/var/lib/fluidcloud-site
    ssh:/root/.ssh
)

cloud_dir() { echo "$LAB/cloud-$1"; }
# The way in that needs neither ssh nor the network, for the lab's own use.
cloud_uri() { echo "qemu+unix:///system?socket=$LAB/cloud-$1/run/libvirt-sock"; }
cloud_virsh() {
    local cloud=$1
    shift
    virsh -q -c "$(cloud_uri "$cloud")" "$@"
}

cloud_is_up() {
    local dir
    dir=$(cloud_dir "$1")
    alive "$dir/host.pid" "$dir" && alive "$dir/libvirtd.pid" "$dir" && alive "$dir/sshd.pid" "$dir" &&
        network_is_active "$1" && pool_is_active "$1"
}

cloud_up() {
    local cloud=$1 dir
    cloud_is_up "$cloud" && return
    dir=$(cloud_dir "$cloud")
    cloud_down "$cloud"
    mkdir -p "$dir"/{run,etc/qemu,lib/images,lib/qemu,cache,log,site}
    # Defined anew at each start, so that a newer lab's network replaces an older one's and
    # no lease of a guest that is gone is listed.
    rm -rf "$dir/etc/qemu/networks" "$dir/lib/dnsmasq"
    cloud_config_libvirt "$dir"
    cloud_config_ssh "$cloud" "$dir"
    cloud_host "$cloud" "$dir"
    # libvirt waits for its probes to vanish, and process 1 may reap late: tini -s adopts them.
    cloud_daemon "$cloud" libvirtd tini -s -- libvirtd --config "$dir/etc/libvirtd.conf" \
        --pid-file "$dir/run/libvirtd.pid"
    cloud_daemon "$cloud" sshd tini -s -- /usr/sbin/sshd -D -e -f "$dir/sshd_config"
    wait_for 90 cloud_virsh "$cloud" version ||
        die "libvirtd of cloud-$cloud does not answer" "see $dir/log/libvirtd.log" "deploy/lab/lab down, then up"
    cloud_network "$cloud"
    cloud_pool "$cloud"
    wait_for 20 cloud_ssh "$cloud" true ||
        die "sshd of cloud-$cloud does not let us in" "see $dir/log/sshd.log" "deploy/lab/lab down, then up"
}

# The process whose life is the host's: it holds the mount namespace that the daemons join.
cloud_host() {
    local cloud=$1 dir=$2
    mkdir -p /root/.ssh /run/sshd
    cloud_spawn "$dir" host ip netns exec "fc-$cloud" unshare --mount --propagation private -- \
        bash "$LAB_DIR/cloud-host" "$dir" "${CLOUD_MOUNTS[@]}"
    wait_for 10 test -e "$dir/run/.mounted" ||
        die "the host of cloud-$cloud did not start" "see $dir/log/host.log" "deploy/lab/lab down, then up"
}

# cloud_daemon CLOUD NAME COMMAND…: start it inside the host, with pid file and log.
cloud_daemon() {
    local cloud=$1 name=$2 dir
    shift 2
    dir=$(cloud_dir "$cloud")
    cloud_spawn "$dir" "$name" nsenter -t "$(cat "$dir/host.pid")" -n -m -- "$@"
}

# Detached from this shell's session, terminal and locks; exec keeps the pid.
cloud_spawn() {
    local dir=$1 name=$2
    shift 2
    (
        exec 9>&- </dev/null >>"$dir/log/$name.log" 2>&1
        cd /
        # shellcheck disable=SC2016
        exec setsid bash -c 'echo $$ >"$1"; shift; exec "$@"' _ "$dir/$name.pid" "$@"
    ) &
    disown
    wait_for 5 test -s "$dir/$name.pid"
}

cloud_config_libvirt() {
    local dir=$1
    cat >"$dir/etc/libvirtd.conf" <<'END'
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_outputs = "3:stderr"
END
    # No systemd and no cgroup controllers here; remembering owners would leave attributes on
    # images that a killed run never takes back.
    cat >"$dir/etc/qemu.conf" <<'END'
user = "root"
group = "root"
cgroup_controllers = []
namespaces = []
security_driver = "none"
stdio_handler = "file"
remember_owner = 0
END
}

cloud_config_ssh() {
    local cloud=$1 dir=$2
    cat >"$dir/sshd_config" <<END
Port 22
ListenAddress $(host_of "$cloud")
ListenAddress $(wan_of "$cloud")
HostKey $dir/ssh_host_ed25519_key
PidFile none
AuthorizedKeysFile $dir/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
MaxStartups 100
MaxSessions 100
# The last one tells bash that it is no first shell, or it would read root's ~/.bashrc and its PATH.
SetEnv PATH=$PATH $(appliance_settings | paste -sd' ') SHLVL=1
Subsystem sftp internal-sftp
END
}

cloud_down() {
    local cloud=$1 dir name pids
    dir=$(cloud_dir "$cloud")
    # Guests, dnsmasq, ssh sessions and pushed binaries all live in the cloud's namespace.
    mapfile -t pids < <(net_pids "fc-$cloud")
    stop_pids "${pids[@]}"
    for name in host libvirtd sshd; do
        rm -f "$dir/$name.pid"
    done
    # A killed libvirtd leaves its bridge and the guests' taps behind, and then refuses them as taken.
    cloud_drop_devices "fc-$cloud"
    # Sockets and pid files of the dead; definitions and disks stay.
    rm -rf "$dir/run"
}

cloud_drop_devices() {
    local dev
    for dev in $(ip -n "$1" -br link show 2>/dev/null | awk '{ sub(/@.*/, "", $1); print $1 }'); do
        case $dev in
            virbr* | vnet* | tap*) ip -n "$1" link del "$dev" 2>/dev/null || true ;;
        esac
    done
}
