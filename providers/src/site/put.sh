# Puts a file: whole, or not at all. Input: one line of shell that sets `dir`, `path`, `mode` and `size`; then the
# bytes. Exit status: xor 165, as in watch.sh.
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin
export PATH
nl='
'
leave() { exit "$(( $1 ^ 165 ))"; }
fail() { rm -f -- "$new"; echo "$1" >&2; leave 125; }

new=
IFS= read -r head || leave 125
eval "$head"
umask 077
[ -d "$dir" ] || mkdir -p -- "$dir" || fail "cannot make directory $dir: choose another site dir"
parent=${path%/*}
[ -d "$parent" ] || mkdir -p -- "$parent" || fail "cannot make directory $parent"
new=$(mktemp "$path.XXXXXX") || fail "cannot write to $parent"
timeout 600 head -c "$size" >"$new" || fail "cannot write $path"
[ "$(wc -c <"$new")" -eq "$size" ] || fail "the bytes of $path were cut off"
chmod "$mode" -- "$new" && mv -f -- "$new" "$path" || fail "cannot put $path in place"
leave 0
