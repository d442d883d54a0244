# PATH SSH ARGUMENTS…: what the command serves by NBD appears as the file PATH.
path=$1
shift
mkdir -p -- "${path%/*}" || exit 1
# What an attempt that was killed has left.
fusermount3 -uzq -- "$path" 2>/dev/null
: >"$path" && rm -f -- "$path.pid" || exit 1
nbdfuse -P "$path.pid" "$path" --command "$@" </dev/null &
fuse=$!
trap 'kill "$fuse" 2>/dev/null; wait "$fuse"; fusermount3 -uzq -- "$path" 2>/dev/null; rm -f -- "$path" "$path.pid"; exit 143' TERM INT HUP
until [ -s "$path.pid" ]; do
    kill -0 "$fuse" 2>/dev/null || { wait "$fuse"; exit 1; }
    sleep 0.1
done
echo mounted
wait "$fuse"
exit
