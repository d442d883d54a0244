# Runs one command in a session of its own and ends that session when our own standard input does.
# Input: one line of shell that sets `dir`, `input`, `held`, `lost` and the function `run`; `input` bytes for
# the command; then one dot now and then as the sign of life, until EOF.
# Exit status: the command's, xor 165. So nothing but this script can claim success: not a shell that refuses
# the account, not a lost connection.
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin
export PATH
nl='
'
leave() { exit "$(( $1 ^ 165 ))"; }
fail() { echo "$1" >&2; leave 125; }

IFS= read -r head || leave 125
exec 3<&0 </dev/null
eval "$head"
[ -d "$dir" ] || (umask 077 && mkdir -p -- "$dir") || fail "cannot make directory $dir: choose another site dir"

scratch=$(mktemp -d "$dir/run.XXXXXX") || fail "cannot write to $dir: choose another site dir"
trap 'rm -rf -- "$scratch"' EXIT
: >"$scratch/input"
[ "$input" -eq 0 ] || head -c "$input" <&3 >"$scratch/input"
[ "$(wc -c <"$scratch/input")" -eq "$input" ] || fail "the input was cut off"
exec 4<"$scratch/input"
if [ "$held" = yes ]; then
    # A pipe with both ends in our hands: its reader sees EOF when the watch closes the other one.
    mkfifo -m 600 "$scratch/held" || fail "cannot make a pipe in $dir"
    exec 7<>"$scratch/held"
    exec 5</dev/fd/7 6>/dev/fd/7 7<&-
fi
rm -rf -- "$scratch"
trap - EXIT

# Processes of the command's session; its id is the command's pid.
members() {
    pids=
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        set -- ${line##*) }
        stat=${stat#/proc/}
        pid=${stat%/stat}
        # The pid itself too: it may not have made its session yet.
        [ "$4" = "$command" ] || [ "$pid" = "$command" ] || continue
        [ "$1" = Z ] || pids="$pids $pid"
    done
    [ -n "$pids" ]
}
end() {
    members || return 0
    kill -TERM $pids 2>/dev/null
    turns=0
    while [ "$turns" -lt 15 ]; do
        sleep 0.2
        members || return 0
        turns=$((turns + 1))
    done
    kill -KILL $pids 2>/dev/null
}
watch() {
    if [ "$lost" -gt 0 ]; then
        while [ "$(timeout "$lost" dd bs=1 count=1 2>/dev/null)" = . ]; do :; done
    else
        cat >/dev/null
    fi
    exec 6>&-
    end
}

if [ "$held" = yes ]; then
    ( run ) <&5 3<&- 4<&- 5<&- 6>&- &
    command=$!
    ( cat <&4 >&6 2>/dev/null; exit 0 ) 3<&- 5<&- >/dev/null 2>&1 &
else
    ( run ) <&4 3<&- 4<&- &
    command=$!
fi
watch <&3 3<&- 4<&- 5<&- >/dev/null 2>&1 &
watcher=$!
exec 3<&- 4<&- 5<&- 6>&-
trap 'end; leave 143' TERM HUP INT
wait "$command"
status=$?
kill "$watcher" 2>/dev/null
end
leave "$status"
