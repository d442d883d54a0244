# Shared by every lab script: strict mode, paths, messages, pid files. Sourced, never run.
# It owns no state of its own and refuses to touch a process it cannot prove is ours.
set -euo pipefail
shopt -s inherit_errexit

# sbin is missing from some non-login shells, and most of the tools live there.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Tool output is parsed below, so it must not be translated.
export LC_ALL=C

LAB_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
STATE=${FLUIDCLOUD_STATE:-/var/lib/fluidcloud}
CACHE=$STATE/cache
LAB=$STATE/lab
KEYS=$LAB/keys
# The namespaces have fixed names, so there is one lab per machine; this file says whose it is.
LAB_OWNER=/run/fluidcloud-lab
CLOUDS=(a b)
# Longer than a cold 'lab shop' on a busy machine.
LOCK_SECONDS=1200

# die WHAT CAUSE REMEDY: one message a person can act on.
die() {
    printf 'lab: %s\n' "$1" >&2
    [[ -z ${2:-} ]] || printf '  cause:  %s\n' "$2" >&2
    [[ -z ${3:-} ]] || printf '  remedy: %s\n' "$3" >&2
    exit 1
}

need_root() {
    ((EUID == 0)) || die "must run as root" "namespaces, mounts and libvirtd need it" "sudo deploy/lab/lab …"
}

# need COMMAND…: fail early, with the way out, instead of in the middle.
need() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null ||
            die "the command '$command' is missing" "its Debian package is not installed" "deploy/lab/lab packages lab"
    done
}

# step NAME COMMAND…: run it and print one line with the seconds it took. Its output goes to the
# log, and is shown only when it fails. Not in a subshell with || around: errexit must stay on inside.
step() {
    local name=$1 from=$EPOCHREALTIME status=0 log
    shift
    mkdir -p "$LAB/log"
    log=$LAB/log/${name//[^a-zA-Z0-9]/-}.log
    set +e
    (
        set -e
        exec 9>&- # a daemon must not inherit the lock
        "$@"
    ) >"$log" 2>&1 </dev/null
    status=$?
    set -e
    if ((status != 0)); then
        tail -n 25 "$log" >&2
        die "step failed: $name" "the last lines of $log are above" "fix it and run the same command again; 'deploy/lab/lab down' clears a half start"
    fi
    printf '%-44s %s s\n' "$name" "$(seconds_since "$from")"
}

seconds_since() {
    awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'
}

# wait_for SECONDS COMMAND…: poll until it succeeds; false when the time is over.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < until)) || return 1
        sleep 0.2
    done
}

# alive PIDFILE MARK: is the process of this pid file alive and ours? MARK is text of its command
# line (a path below the state directory): a number alone may have been reused since a crash.
alive() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
    has "$2" cat "/proc/$pid/cmdline"
}

# has TEXT COMMAND…: does its output contain the text? Not "| grep -q": that ends the command early
# with a broken pipe, which pipefail then reports as failure, now and then.
has() {
    local text=$1 output
    shift
    output=$("$@" 2>/dev/null | tr '\0' ' ') || return 1
    [[ $output == *"$text"* ]]
}

# stop_pids PID…: ask, wait up to 5 s, then kill.
stop_pids() {
    (($#)) || return 0
    local pid left until=$((SECONDS + 5))
    kill -TERM "$@" 2>/dev/null || true
    while ((SECONDS < until)); do
        left=()
        for pid in "$@"; do
            is_running "$pid" && left+=("$pid")
        done
        ((${#left[@]})) || return 0
        sleep 0.1
    done
    kill -KILL "${left[@]}" 2>/dev/null || true
    sleep 0.2
}

# A zombie counts as gone: where process 1 reaps late it may stay for a while.
is_running() {
    local state
    state=$(sed -n 's/^State:\s*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) && [[ -n $state && $state != [ZX] ]]
}

# hash_of FILE…: names a cache entry after what made it.
hash_of() {
    cat -- "$@" | sha256sum | cut -c1-12
}

# locked NAME COMMAND…: one at a time. The lock dies with its holder, so a killed run leaves none.
locked() {
    local name=$1
    shift
    mkdir -p "$LAB"
    exec 9>"$LAB/$name.lock"
    if ! flock -n 9; then
        echo "lab: waiting for another '$name' to finish" >&2
        flock -w "$LOCK_SECONDS" 9 ||
            die "another '$name' does not finish" "it holds $LAB/$name.lock since more than $LOCK_SECONDS s" "find it with: fuser -v $LAB/$name.lock"
    fi
    "$@"
    exec 9>&-
}
