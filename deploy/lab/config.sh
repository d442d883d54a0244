# Prints the FluidCloud configuration for this lab.

config_print() {
    cat <<END
state: $STATE/state
http: {listen: 127.0.0.1:7411}
END
    [[ -z ${LAB_AMQP_URL:-} ]] || echo "bus: {amqp: {url: $LAB_AMQP_URL}}"
    echo "providers:"
    config_provider a "{machine: pc, disk_bus: ide, nic: e1000, format: qcow2}"
    config_provider b "{machine: q35, disk_bus: virtio, nic: virtio, format: raw}"
}

config_provider() {
    local cloud=$1 shape=$2 host
    host=$(host_of "$cloud")
    # What the lab has seen boot: after each reset it would be found out anew, which takes a minute where KVM only seems to work.
    cat <<END
  - id: cloud-$cloud
    driver: libvirt
    uri: "qemu+ssh://root@$host/system?command=$KEYS/ssh"
    site: {ssh: {host: $host, port: 22, user: root, key: $KEYS/id_ed25519, known_hosts: $KEYS/known_hosts}, address: $(wan_of "$cloud"), dir: /var/lib/fluidcloud-site, peer_ssh: {host: $(wan_of "$cloud"), user: root, key: /root/.ssh/id_ed25519, known_hosts: /root/.ssh/known_hosts}}
    pool: default
    network: default
    shape: $shape
    accel: $(accel)
END
}
