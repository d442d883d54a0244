# The lab's wires. fc-net is "the internet": a hub that forwards between both clouds, the object
# store and this machine. The wide-area link between the clouds is a veth pair of its own.
#
#   root 10.213.0.2 ─── hub (fc-net) ─── 10.213.3.2 fc-store
#                       │          │
#            10.213.1.2 fc-a ════ fc-b 10.213.2.2        ════ wan0: 10.213.9.1/30 ═ 10.213.9.2/30
#          guests 10.213.101.0/24   guests 10.213.102.0/24
#
# In the root namespace it adds one device and one route, and changes no sysctl.

NAMESPACES=(fc-net fc-a fc-b fc-store)
ROOT_DEV=fc-root

in_ns() {
    local ns=$1
    shift
    ip netns exec "$ns" "$@"
}

net_is_up() {
    local ns
    for ns in "${NAMESPACES[@]}"; do
        in_ns "$ns" true 2>/dev/null || return 1
    done
    has "dev $ROOT_DEV" ip route get 10.213.1.2 &&
        has 10.213.9.1 in_ns fc-a ip -br addr show wan0 &&
        has 10.213.9.2 in_ns fc-b ip -br addr show wan0 &&
        has 10.213.3.1 in_ns fc-store ip route show default
}

net_up() {
    net_is_up && return
    # Half a network (a killed start, a reboot that kept /run) is cheaper to make again than to mend.
    net_down
    local ns
    for ns in "${NAMESPACES[@]}"; do
        ip netns add "$ns"
        in_ns "$ns" ip link set lo up
    done
    # Only the hub and the cloud hosts route; each namespace has its own copy of these settings.
    for ns in fc-net fc-a fc-b; do
        in_ns "$ns" sysctl -qw net.ipv4.ip_forward=1
        in_ns "$ns" sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
    done

    ip link add "$ROOT_DEV" type veth peer name to-root netns fc-net
    ip addr add 10.213.0.2/24 dev "$ROOT_DEV"
    ip link set "$ROOT_DEV" up
    in_ns fc-net ip addr add 10.213.0.1/24 dev to-root
    in_ns fc-net ip link set to-root up
    ip route replace 10.213.0.0/16 via 10.213.0.1 dev "$ROOT_DEV"

    net_attach fc-a 10.213.1
    net_attach fc-b 10.213.2
    net_attach fc-store 10.213.3
    in_ns fc-net ip route add 10.213.101.0/24 via 10.213.1.2
    in_ns fc-net ip route add 10.213.102.0/24 via 10.213.2.2

    ip -n fc-a link add wan0 type veth peer name wan0 netns fc-b
    in_ns fc-a ip addr add 10.213.9.1/30 dev wan0
    in_ns fc-b ip addr add 10.213.9.2/30 dev wan0
    in_ns fc-a ip link set wan0 up
    in_ns fc-b ip link set wan0 up
}

# net_attach NAMESPACE SUBNET: an uplink to the hub; .1 is the hub's end.
net_attach() {
    local ns=$1 subnet=$2
    ip -n "$ns" link add up0 type veth peer name "to-${ns#fc-}" netns fc-net
    in_ns "$ns" ip addr add "$subnet.2/24" dev up0
    in_ns "$ns" ip link set up0 up
    in_ns fc-net ip addr add "$subnet.1/24" dev "to-${ns#fc-}"
    in_ns fc-net ip link set "to-${ns#fc-}" up
    in_ns "$ns" ip route add default via "$subnet.1"
}

# net_uplink CLOUD BRIDGE ADDRESS: another network that this machine has, such as a cloud's; made anew each time.
net_uplink() {
    local ns=fc-$1 bridge=$2 address=$3
    net_is_up || die "the lab is not up" "cloud-$1 has no host to wire" "deploy/lab/lab up"
    ip link del "fc-up-$1" 2>/dev/null || true
    ip link add "fc-up-$1" type veth peer name ext0 netns "$ns"
    ip link set "fc-up-$1" master "$bridge" up
    in_ns "$ns" ip addr add "$address" dev ext0
    in_ns "$ns" ip link set ext0 up
}

# Whatever still runs in a namespace of the lab was started by the lab: guests, ssh sessions,
# pushed binaries. Deleting a namespace under it would leave it running unseen.
net_pids() {
    local ns
    for ns in "$@"; do
        ip netns pids "$ns" 2>/dev/null || true
    done
}

net_down() {
    local ns pids
    mapfile -t pids < <(net_pids "${NAMESPACES[@]}")
    stop_pids "${pids[@]}"
    ip link del "$ROOT_DEV" 2>/dev/null || true
    for ns in "${NAMESPACES[@]}"; do
        [[ -e /run/netns/$ns ]] || continue
        # After a reboot the name may be a plain file, which 'ip netns del' refuses.
        ip netns del "$ns" 2>/dev/null || rm -f "/run/netns/$ns"
    done
}

# wan RATE: shape both directions of the wide-area link (1gbit, 200mbit, …), or "none".
wan() {
    local rate=${1:-} ns
    net_is_up || die "the lab is not up" "the wide-area link does not exist" "deploy/lab/lab up"
    case $rate in
        '')
            in_ns fc-a tc qdisc show dev wan0
            return
            ;;
        none)
            for ns in fc-a fc-b; do
                in_ns "$ns" tc qdisc del dev wan0 root 2>/dev/null || true
            done
            return
            ;;
    esac
    [[ $rate =~ ^[0-9]+[kmg]bit$ ]] ||
        die "'$rate' is not a rate" "expected a number and kbit, mbit or gbit" "deploy/lab/lab wan 1gbit | none"
    for ns in fc-a fc-b; do
        # The burst must hold a full segmentation-offload frame, or tbf drops it.
        in_ns "$ns" tc qdisc replace dev wan0 root tbf rate "$rate" burst 256kb latency 50ms
    done
}
