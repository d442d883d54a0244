# Pool and network of a cloud, by the names that both clouds share: "default".

network_is_active() { has default cloud_virsh "$1" net-list --name; }
pool_is_active() { has default cloud_virsh "$1" pool-list --name; }

# A guest made anew from the same image is a new DHCP client with the old MAC; identified by client it
# would get another address, and the old lease would still be listed beside it. Hence the last option.
cloud_network() {
    local cloud=$1 subnet
    [[ $cloud == a ]] && subnet=10.213.101 || subnet=10.213.102
    cloud_virsh "$cloud" net-info default >/dev/null 2>&1 || cloud_virsh "$cloud" net-define <(cat <<END
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>default</name>
  <forward mode='open'/>
  <bridge name='virbr0' stp='off' delay='0'/>
  <ip address='$subnet.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='$subnet.100' end='$subnet.200'/>
      $([[ $cloud != a ]] || echo "<host mac='$SHOP_MAC' name='shop' ip='$SHOP_ADDRESS'/>")
    </dhcp>
  </ip>
  <dnsmasq:options>
    <dnsmasq:option value='no-ping'/>
    <dnsmasq:option value='no-resolv'/>
    <dnsmasq:option value='dhcp-ignore-clid'/>
  </dnsmasq:options>
</network>
END
    )
    cloud_virsh "$cloud" net-autostart default
    # libvirtd may be starting it at this moment by itself, so what counts is the result.
    network_is_active "$cloud" || cloud_virsh "$cloud" net-start default || wait_for 5 network_is_active "$cloud"
}

cloud_pool() {
    local cloud=$1
    cloud_virsh "$cloud" pool-info default >/dev/null 2>&1 ||
        cloud_virsh "$cloud" pool-define-as default dir --target /var/lib/libvirt/images
    cloud_virsh "$cloud" pool-autostart default
    pool_is_active "$cloud" || cloud_virsh "$cloud" pool-start default || wait_for 5 pool_is_active "$cloud"
    cloud_virsh "$cloud" pool-refresh default
}

# Everything tests leave: instances with their checkpoints and firmware state, disks, pushed files.
cloud_reset() {
    local cloud=$1 name pool net
    while read -r name; do
        [[ -n $name ]] || continue
        cloud_virsh "$cloud" destroy "$name" >/dev/null 2>&1 || true
        cloud_virsh "$cloud" undefine "$name" --managed-save --snapshots-metadata --checkpoints-metadata --nvram
    done < <(cloud_virsh "$cloud" list --all --name)
    cloud_end_sessions "$cloud"
    while read -r pool; do
        [[ -n $pool && $pool != default ]] || continue
        cloud_virsh "$cloud" pool-destroy "$pool" >/dev/null 2>&1 || true
        cloud_virsh "$cloud" pool-undefine "$pool"
    done < <(cloud_virsh "$cloud" pool-list --all --name)
    while read -r net; do
        [[ -n $net && $net != default ]] || continue
        cloud_virsh "$cloud" net-destroy "$net" >/dev/null 2>&1 || true
        cloud_virsh "$cloud" net-undefine "$net"
    done < <(cloud_virsh "$cloud" net-list --all --name)
    find "$LAB/cloud-$cloud/lib/images" "$LAB/cloud-$cloud/site" -mindepth 1 -delete
    cloud_virsh "$cloud" pool-refresh default
}

# What ssh sessions left running (receivers, NBD servers, libguestfs appliances): everything in the
# namespace but the host's own daemons and the network's dnsmasq.
cloud_end_sessions() {
    local dir=$LAB/cloud-$1 pid pids=() parent
    for pid in $(net_pids "fc-$1"); do
        parent=$(awk '{ print $4 }' "/proc/$pid/stat" 2>/dev/null) || continue
        case " $(cat "$dir"/{host,libvirtd,sshd}.pid | tr '\n' ' ') " in
            *" $pid "*) continue ;;
        esac
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
            sleep) [[ $parent == "$(cat "$dir/host.pid")" ]] && continue ;;
            libvirtd) continue ;;
            sshd) [[ $parent == "$(cat "$dir/sshd.pid")" ]] && continue ;;
            dnsmasq) continue ;;
        esac
        pids+=("$pid")
    done
    stop_pids "${pids[@]}"
}
