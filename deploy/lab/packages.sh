# Installs the Debian packages that are missing, and starts none of their services.

# To compile the workspace (the virt crate binds libvirt, ssh2 binds OpenSSL and zlib).
PACKAGES_BUILD=(build-essential pkg-config libvirt-dev libssl-dev zlib1g-dev cmake perl)
# To run the lab, the tests and the quickstart. linux-image is for the libguestfs appliance and the
# acceleration probe; busybox-static is the probe's whole user space.
PACKAGES_LAB=(
    libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils tini dnsmasq-base
    libguestfs-tools virt-v2v linux-image-amd64 busybox-static cpio supermin
    rabbitmq-server amqp-tools nginx-light openssh-server openssh-client openssl
    debootstrap fdisk e2fsprogs xfsprogs btrfs-progs attr acl rsync jq curl libnbd-bin
    iproute2 iptables nftables procps util-linux git ca-certificates
)
# What deploy/bench makes its disks with, and whom it measures the viaduct against.
PACKAGES_BENCH=(
    debootstrap fdisk e2fsprogs zerofree openssl qemu-utils libnbd-bin openssh-server openssh-client rsync
    netcat-openbsd zstd iproute2 procps util-linux python3
)

# In which the dashboard is tested. Node.js and npm may be there from elsewhere, and Debian's would be in their way.
PACKAGES_BROWSER=(chromium)
command -v node >/dev/null || PACKAGES_BROWSER+=(nodejs)
command -v npm >/dev/null || PACKAGES_BROWSER+=(npm)

packages() {
    local wanted missing=()
    case $1 in
        browser) wanted=("${PACKAGES_BROWSER[@]}") ;;
        build) wanted=("${PACKAGES_BUILD[@]}") ;;
        lab) wanted=("${PACKAGES_LAB[@]}") ;;
        bench) wanted=("${PACKAGES_BUILD[@]}" "${PACKAGES_BENCH[@]}") ;;
        all) wanted=("${PACKAGES_BUILD[@]}" "${PACKAGES_LAB[@]}") ;;
        *) die "'$1' is not a set of packages" "expected build, lab, bench, browser or nothing" "deploy/lab/lab packages [build|lab|bench|browser]" ;;
    esac
    policy_withdraw
    mapfile -t missing < <(packages_missing "${wanted[@]}")
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        die "apt-get is missing" "only Debian is supported" "install by hand: ${missing[*]}"
    step "packages: ${#missing[@]} missing" packages_install "${missing[@]}"
}

packages_missing() {
    local installed package
    # shellcheck disable=SC2016 # the fields are dpkg's, not the shell's
    installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null || true)
    for package in "$@"; do
        grep -qx "ii  *$package" <<<"$installed" || echo "$package"
    done
}

packages_install() {
    local plan=("$@") pin
    echo "missing: $*"
    # A dry run tells whether the package lists are good enough; refreshing them takes seconds.
    apt-get -qq -s install --no-install-recommends "$@" >/dev/null 2>&1 || apt-get -q update
    if pin=$(packages_pin_qemu); then
        plan+=("$pin")
    fi
    local install=(apt-get -q -y --no-install-recommends --allow-downgrades
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold
        -o DPkg::Lock::Timeout=300 install "${plan[@]}")
    # Old lists name versions that the mirror no longer has.
    packages_without_services "${install[@]}" ||
        { apt-get -q update && packages_without_services "${install[@]}"; }
}

# A newer qemu-utils (from backports) conflicts with the suite's qemu-system-x86, and apt then gives
# up instead of choosing. All of QEMU is taken in the version of the configured suites.
packages_pin_qemu() {
    local have want
    # shellcheck disable=SC2016
    have=$(dpkg-query -W -f '${Version}' qemu-utils 2>/dev/null) || return 1
    want=$(apt-cache madison qemu-utils | awk -F'|' '{ gsub(/ /, "", $2); print $2; exit }')
    [[ -n $want && $want != "$have" ]] || return 1
    echo "qemu-utils=$want"
}

# policy-rc.d is Debian's way to say that installing is not starting. Ours goes away afterwards, and
# one that is already there (as in most containers) stays untouched.
packages_without_services() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\n# fluidcloud-lab\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    trap policy_withdraw EXIT
    DEBIAN_FRONTEND=noninteractive "$@" || status=$?
    policy_withdraw
    return "$status"
}

# Also after a run that was killed in the middle: a policy that stays would keep every later package from starting
# its service.
policy_withdraw() {
    local policy=/usr/sbin/policy-rc.d
    if [[ -e $policy ]] && has '# fluidcloud-lab' cat "$policy"; then
        rm -f "$policy"
    fi
}
