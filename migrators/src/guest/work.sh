# Work on the disks of a guest so that it may be killed at any instant and done again. Nothing is changed in place:
# changes go to overlays; `ready` says that the overlays are complete, and only then they are committed, which may
# be done any number of times; `done` keeps the result.
#
#   (nothing) --session--> overlays --seal--> .ready --commit--> .done, overlays removed
#
# Arguments: MODE STEP EPOCH ROOT SESSION, then FORMAT PATH for each disk that is changed.
# Exit status: 76 fenced by a newer epoch, 77 held by what does not end, 78 the host refuses, 79 the appliance failed.
mode=$1 step=$2 epoch=$3 base=$4.work-$2 lock=$4.work.lock session=$5
shift 5
n=0
while [ "$#" -gt 1 ]; do
    n=$((n + 1))
    eval "format_$n=\$1 path_$n=\$2 overlay_$n=\$2.work-\$step.qcow2"
    shift 2
done
each() {
    i=0
    while [ "$i" -lt "$n" ]; do
        i=$((i + 1))
        eval "format=\$format_$i path=\$path_$i overlay=\$overlay_$i"
        "$@" || return 1
    done
}
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Everything in the session of the one that holds the lock; its start time tells it from a later process.
end_holder() {
    [ -n "$2" ] && [ "$(started "$1")" = "$2" ] || return 0
    for stat in /proc/[0-9]*/stat; do
        read -r line 2>/dev/null <"$stat" || continue
        set -- "$1" "$2" ${line##*) }
        [ "$6" = "$1" ] || continue
        pid=${stat#/proc/}
        kill -KILL "${pid%/stat}" 2>/dev/null
    done
}
fence() {
    newest=$(cat "$base.epoch" 2>/dev/null)
    if [ "${newest:-0}" -gt "$epoch" ]; then
        echo "$newest" >&2
        exit 76
    fi
}
# Held by this shell and what it starts. Whoever comes later is right: older work is ended.
lock() {
    fence
    exec 9<>"$lock" || exit 78
    turns=0
    while ! flock -n 9; do
        holder= since=
        read -r holder since of at 2>/dev/null <"$lock"
        end_holder "$holder" "$since"
        turns=$((turns + 1))
        [ "$turns" -lt 150 ] || exit 77
        sleep 0.1
    done
    fence
    echo "$epoch" >"$base.epoch.new" && sync "$base.epoch.new" && mv -f "$base.epoch.new" "$base.epoch" || exit 78
    echo "$$ $(started $$) $step $epoch" >"$lock" || exit 78
}
create_overlay() {
    rm -f -- "$overlay" && qemu-img create -q -f qcow2 -F "$format" -b "$path" "$overlay" >&2
}
remove_overlay() { rm -f -- "$overlay"; }
commit_overlay() { qemu-img commit -q -d "$overlay" >&2 && sync "$path"; }
sync_overlay() { sync "$overlay"; }

# seal FILE: the overlays are complete, and FILE holds the result.
seal() {
    each sync_overlay && cp -- "$1" "$base.new" && sync "$base.new" && mv -f -- "$base.new" "$base.ready" &&
        sync "${base%/*}"
}
commit() {
    each commit_overlay && mv -f -- "$base.ready" "$base.done" && sync "${base%/*}" && each remove_overlay
}
# The result of an earlier attempt, made real first if that attempt did not come to it. Prints nothing if there is none.
earlier() {
    if [ ! -e "$base.done" ]; then
        lock
        [ ! -e "$base.ready" ] || commit || exit 78
    fi
    [ ! -e "$base.done" ] || cat -- "$base.done"
}
# Ends this step's work of this epoch or an older one, and nothing else.
halt() {
    [ -e "$lock" ] || return 0
    exec 9<>"$lock" || exit 78
    turns=0
    until flock -n 9; do
        holder= since= of= at=
        read -r holder since of at 2>/dev/null <"$lock"
        [ "$of" = "$step" ] && [ "${at:-0}" -le "$epoch" ] || return 0
        end_holder "$holder" "$since"
        turns=$((turns + 1))
        [ "$turns" -lt 150 ] || exit 77
        sleep 0.1
    done
}
work() {
    lock
    each create_overlay || exit 78
    session || exit 79
    [ -e "$session/result" ] || return 0
    seal "$session/result" && commit || exit 78
    echo committed
}
