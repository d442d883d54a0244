# PATH MARK SOCKET: the disk that is served at SOCKET appears as a file, to which PATH leads. PATH of another attempt leads there
# from now on; what that attempt has open stays as it is.
path=$1 file=$1.$2 socket=$3
mkdir -p -- "${path%/*}" || exit 1
# What workers that were killed have left.
for pid in "$path".*.pid; do
    [ -f "$pid" ] || continue
    kill -0 "$(cat "$pid")" 2>/dev/null && continue
    fusermount3 -uzq -- "${pid%.pid}" 2>/dev/null
    rm -f -- "${pid%.pid}" "$pid"
done
: >"$file" || exit 1
nbdfuse -r -P "$file.pid" "$file" "nbd+unix:///?socket=$socket" </dev/null &
fuse=$!
gone() {
    kill "$fuse" 2>/dev/null
    wait "$fuse"
    fusermount3 -uzq -- "$file" 2>/dev/null
    [ "$(readlink -- "$path")" != "$file" ] || rm -f -- "$path"
    rm -f -- "$file" "$file.pid" "$socket"
}
trap 'gone; exit 143' TERM INT HUP
until [ -s "$file.pid" ]; do
    kill -0 "$fuse" 2>/dev/null || { gone; exit 1; }
    sleep 0.1
done
ln -sfn -- "$file" "$path" || { gone; exit 1; }
echo mounted
wait "$fuse"
gone
exit 1
