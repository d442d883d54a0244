# Builds the shop's data volume: a whole-disk ext4 with the kinds of files that careless copying
# breaks. Deterministic: the same script gives the same content, names, owners and times.

VOLUME_BYTES=$((1 << 30))

volume_path() {
    echo "$CACHE/shop-data-$(hash_of "$LAB_DIR/volume.sh").qcow2"
}

volume_image() {
    local out work
    out=$(volume_path)
    [[ ! -e $out ]] || return 0
    need mkfs.ext4 openssl setfattr setfacl qemu-img
    mkdir -p "$CACHE"
    work=$(mktemp -d "$CACHE/work.XXXXXX")
    truncate -s "$VOLUME_BYTES" "$work/data.raw"
    mkfs.ext4 -q -F -L shop-data -O ^metadata_csum_seed,^orphan_file "$work/data.raw"
    mkdir "$work/mnt"
    isolated bash -c ". '$LAB_DIR/lib.sh'; . '$LAB_DIR/volume.sh'
        mount -o loop '$work/data.raw' '$work/mnt'; volume_fill '$work/mnt/shop'"
    qemu-img convert -f raw -O qcow2 "$work/data.raw" "$work/data.qcow2"
    rm -f "$CACHE"/shop-data-*.qcow2
    mv "$work/data.qcow2" "$out"
    rm -rf "$work"
}

volume_fill() {
    local root=$1
    umask 022
    mkdir -p "$root"/{catalogue,photos,logs,orders,shared,archive/empty}
    cd "$root" || exit
    volume_photos
    volume_logs
    volume_catalogue
    volume_oddities
    volume_owners
    find . -exec touch -h -d '2024-02-29 12:34:56.789' {} +
}

# noise SEED BYTES: incompressible, and always the same.
noise() {
    # openssl ends with a broken pipe once head has enough.
    { openssl enc -aes-128-ctr -nosalt -pass "pass:$1" -pbkdf2 -iter 1 </dev/zero 2>/dev/null || true; } | head -c "$2"
}

# 72 MiB that no compressor shrinks.
volume_photos() {
    local i
    for i in 1 2 3 4 5 6; do
        noise "photo-$i" $((12 << 20)) >"photos/photo-$i.jpg"
    done
    ln photos/photo-1.jpg "photos/cover.jpg"
    ln photos/photo-1.jpg "archive/photo-1 (first).jpg"
}

# 112 MiB of text that shrinks well.
volume_logs() {
    local i
    for i in 1 2 3 4; do
        { seq -f "2024-02-29T12:%010.0f shop-$i GET /catalogue/item 200 12ms" 1 2000000 || true; } |
            head -c $((28 << 20)) >"logs/access-$i.log"
    done
    # A sparse file: 48 MiB long, one block in the middle.
    truncate -s $((48 << 20)) logs/journal.sparse
    noise sparse 65536 | dd of=logs/journal.sparse bs=64k seek=300 conv=notrunc status=none
}

# 2,000 small files in nested directories.
volume_catalogue() {
    local i dir body
    body=$(noise text 6000 | base64 -w 76)
    for ((i = 0; i < 2000; i++)); do
        dir=catalogue/$((i % 10))/$((i / 10 % 10))
        [[ -d $dir ]] || mkdir -p "$dir"
        printf 'item %d\n%s\n' "$i" "${body:0:$((i * 37 % 8000))}" >"$dir/item-$i.txt"
    done
}

volume_oddities() {
    echo 'a space' >"shared/name with spaces.txt"
    echo 'unicode' >"shared/häagen-☕-日本.txt"
    echo 'a dash' >"shared/-leading-dash"
    printf 'newline\n' >"shared/two"$'\n'"lines"
    echo 'quote' >"shared/it's \"quoted\" \$HOME \\"
    : >shared/empty.txt
    ln -s ../photos/photo-2.jpg shared/relative-link
    ln -s /etc/hostname shared/absolute-link
    ln -s nowhere/at/all shared/dangling-link
    mkfifo shared/pipe
    mkdir -p archive/{a/b/c/d/e/f,"deep er"/g}
    echo deep >archive/a/b/c/d/e/f/leaf
}

volume_owners() {
    chown -R 1500:1500 .
    chown 0:0 logs/access-1.log
    chown 33:1500 logs/access-2.log
    chown -h 1501:1502 shared/dangling-link
    chown 1501:1502 catalogue/0/0/item-0.txt
    chmod 600 logs/access-1.log
    chmod 640 logs/access-2.log
    chmod 444 photos/photo-3.jpg
    chmod 4750 catalogue/0/0/item-100.txt
    chmod 2775 shared
    chmod 1777 archive/empty
    chmod 700 archive/a/b
    setfattr -n user.mime_type -v image/jpeg photos/photo-1.jpg
    setfattr -n user.checksum -v 0x00ff10203040 photos/photo-2.jpg
    setfattr -n user.note -v 'on a directory' catalogue
    setfacl -m u:1501:rw-,g:1502:r-- photos/photo-4.jpg
    setfacl -m u:33:rwx,d:u:33:rwx,d:g:1502:r-x shared
}
