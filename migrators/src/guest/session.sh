# Feeds guestfish from files that appear in $session one after the other, so that whoever
# talks to it can decide what to ask next while the appliance runs. Ends when guestfish does.
session() {
    # Whatever an attempt that was killed has left: only ours, and only old.
    find "${session%/*}" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf -- {} + 2>/dev/null
    mkdir -p -- "$session" && cd -- "$session" || exit 78
    trap 'rm -rf -- "$session"' EXIT
    trap 'exit 143' TERM INT HUP
    mkfifo -m 600 in || exit 78
    (
        n=1
        while [ -d "$session" ]; do
            if [ -e "$n.fish" ]; then
                cat "$n.fish"
                rm -f "$n.fish"
                n=$((n + 1))
            else
                sleep 0.05
            fi
        done
    ) >in 9>&- &
    feeder=$!
    LIBGUESTFS_BACKEND=${LIBGUESTFS_BACKEND:-direct} stdbuf -oL guestfish <in 2>&1
    status=$?
    kill "$feeder" 2>/dev/null
    return "$status"
}
