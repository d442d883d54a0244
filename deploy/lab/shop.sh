# The service instance "shop" of the paper, in cloud-a: root disk, data volume, NIC, application.

SHOP_MAC=52:54:00:5f:0a:10
SHOP_ADDRESS=10.213.101.10
SHOP_URL=http://$SHOP_ADDRESS:8080
# An emulated guest on a busy two-core machine may take minutes.
SHOP_BOOT_SECONDS=400

# Define it anew from the cached disks; an older shop in cloud-a is replaced.
shop_make() {
    local images=$LAB/cloud-a/lib/images
    if cloud_virsh a dominfo shop >/dev/null 2>&1; then
        cloud_virsh a destroy shop >/dev/null 2>&1 || true
        cloud_virsh a undefine shop --managed-save --snapshots-metadata --checkpoints-metadata --nvram
    fi
    cp --sparse=always "$(guest_root_path)" "$images/shop-root.qcow2"
    cp --sparse=always "$(volume_path)" "$images/shop-data.qcow2"
    cloud_virsh a pool-refresh default
    cloud_virsh a define <(shop_xml)
}

shop_xml() {
    local type=qemu cpu="<cpu mode='custom' match='exact'><model>qemu64</model></cpu>"
    [[ $(accel) != kvm ]] || { type=kvm; cpu="<cpu mode='host-passthrough'/>"; }
    cat <<END
<domain type='$type'>
  <name>shop</name>
  <memory unit='MiB'>512</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  $cpu
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source pool='default' volume='shop-root.qcow2'/>
      <target dev='hda' bus='ide'/>
    </disk>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source pool='default' volume='shop-data.qcow2'/>
      <target dev='hdb' bus='ide'/>
    </disk>
    <interface type='network'>
      <mac address='$SHOP_MAC'/>
      <source network='default'/>
      <model type='e1000'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/>
    </interface>
    <serial type='file'>
      <source path='/var/log/libvirt/shop-console.log'/>
      <target port='0'/>
    </serial>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <memballoon model='none'/>
  </devices>
</domain>
END
}

shop_start() {
    has running cloud_virsh a domstate shop || cloud_virsh a start shop
}

shop_answers() {
    curl -sf -m 5 -o /dev/null "$SHOP_URL/health"
}

shop_wait() {
    wait_for "$SHOP_BOOT_SECONDS" shop_answers ||
        die "the shop does not answer at $SHOP_URL" "see $LAB/cloud-a/log/shop-console.log" "deploy/lab/lab shop again; under heavy load wait first"
}

# The digest is computed in the background after the start; this asks until it is there.
shop_digest() {
    curl -sf -m "$SHOP_BOOT_SECONDS" "$SHOP_URL/digest"
}
