# Keys of the lab: one for the user and the FluidCloud processes, one per cloud host so that one
# host may log into the other, and the host keys. All are made once and kept until 'lab clean'.

host_of() { [[ $1 == a ]] && echo 10.213.1.2 || echo 10.213.2.2; }
wan_of() { [[ $1 == a ]] && echo 10.213.9.1 || echo 10.213.9.2; }

keys_up() {
    need ssh-keygen
    local cloud dir
    install -d -m 700 "$KEYS"
    key_make "$KEYS/id_ed25519" fluidcloud-lab
    for cloud in "${CLOUDS[@]}"; do
        dir=$LAB/cloud-$cloud
        install -d -m 700 "$dir/ssh"
        key_make "$dir/ssh_host_ed25519_key" "cloud-$cloud-host"
        key_make "$dir/ssh/id_ed25519" "root@cloud-$cloud"
    done

    : >"$KEYS/known_hosts.new"
    for cloud in "${CLOUDS[@]}"; do
        printf '%s,%s %s\n' "$(host_of "$cloud")" "$(wan_of "$cloud")" \
            "$(cut -d' ' -f1,2 "$LAB/cloud-$cloud/ssh_host_ed25519_key.pub")" >>"$KEYS/known_hosts.new"
    done
    mv "$KEYS/known_hosts.new" "$KEYS/known_hosts"

    for cloud in "${CLOUDS[@]}"; do
        dir=$LAB/cloud-$cloud/ssh
        cp "$KEYS/known_hosts" "$dir/known_hosts"
        cat "$KEYS/id_ed25519.pub" "$LAB"/cloud-?/ssh/id_ed25519.pub >"$dir/authorized_keys"
        chmod 600 "$dir/authorized_keys"
    done
    keys_ssh_command
}

key_make() {
    [[ -s $1 && -s $1.pub ]] && return
    rm -f "$1" "$1.pub"
    ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1"
}

# libvirt's qemu+ssh runs an ssh command and has no parameter for a known-hosts file of its own;
# this wrapper keeps host keys checked without touching the user's ~/.ssh.
keys_ssh_command() {
    cat >"$KEYS/ssh" <<END
#!/bin/sh
exec ssh -F none -i '$KEYS/id_ed25519' -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10 \\
    -o UserKnownHostsFile='$KEYS/known_hosts' -o StrictHostKeyChecking=yes "\$@"
END
    chmod 755 "$KEYS/ssh"
}

# cloud_ssh a|b COMMAND…
cloud_ssh() {
    local host
    host=$(host_of "$1")
    shift
    "$KEYS/ssh" "root@$host" "$@"
}
