//! What is run over there. Each script is one line (not every login shell takes more between quotes), gets the path as $1, and
//! leaves it to the shell to keep it in one piece. Nothing here is taken for granted but POSIX; what is not, is tried.

/// Kind, size, and what the host has. Sizes of devices are told by no POSIX tool: where nothing tells it, the last readable
/// sector is searched.
pub const PROBE: &str = r#"set -f; p=$1; size=; used=; free=; id=; sum=; kind=other; if [ -b "$p" ] || [ -c "$p" ]; then kind=device; size=$(blockdev --getsize64 "$p" 2>/dev/null); if [ -z "$size" ]; then l=$(readlink -f "$p" 2>/dev/null); n=; read -r n 2>/dev/null < "/sys/class/block/${l##*/}/size" && size=$((n * 512)); fi; has() { [ "$(dd if="$p" bs=512 skip="$1" count=1 2>/dev/null | wc -c)" -gt 0 ]; }; if [ -z "$size" ] && has 0; then a=0; b=1; while has $b; do a=$b; b=$((b * 2)); done; while [ $((b - a)) -gt 1 ]; do m=$(((a + b) / 2)); if has $m; then a=$m; else b=$m; fi; done; size=$(((a + 1) * 512)); fi; elif [ -f "$p" ]; then kind=file; set -- $(ls -lniL "$p"); id=$1; size=$6; set -- $(du -k "$p" 2>/dev/null); used=$1; elif [ ! -e "$p" ]; then kind=none; fi; d=${p%/*}; set -- $(df -Pk "${d:-/}" 2>/dev/null); [ $# -gt 10 ] && free=${11}; for t in sha256sum "shasum -a 256" "openssl dgst -sha256 -r" "digest -a sha256" "sha256 -q"; do set +f; IFS=' '; case $(printf abc | $t 2>/dev/null) in ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad*) sum=$t; break;; esac; done; echo "kind=$kind"; echo "size=$size"; echo "used=$used"; echo "free=$free"; echo "id=$id"; echo "sum=$sum"; echo end"#;

/// $2 unit, $3 skip, $4 count.
pub const READ: &str = r#"dd if="$1" bs="$2" skip="$3" count="$4""#;

/// $2 unit, $3 seek, both for the output: what comes in pieces of any size is put together again.
pub const WRITE: &str = r#"dd of="$1" ibs=65536 obs="$2" seek="$3" conv=notrunc && echo done"#;

/// $2 unit, $3 seek, $4 count; $5 offset and $6 length of the same in bytes. Where zeros can be had without writing them, all
/// the better; what else was tried does no harm.
pub const ZERO: &str = r#"{ [ -f "$1" ] && fallocate -p -o "$5" -l "$6" "$1" 2>/dev/null; } || { [ -b "$1" ] && blkdiscard -z -o "$5" -l "$6" "$1" 2>/dev/null; } || dd if=/dev/zero of="$1" bs="$2" seek="$3" count="$4" conv=notrunc && echo done"#;

/// $2 size. Only for what does not exist or is empty: it cuts off.
pub const CREATE: &str = r#"umask 077; dd if=/dev/null of="$1" bs=1 count=0 seek="$2" && echo done"#;

/// Whether dd over there can make a file durable, and may write to this one.
pub const CAN_FSYNC: &str = r#"dd if=/dev/null of="$1" count=0 conv=notrunc,fsync && echo done"#;

/// Whether it may be written to, at least.
pub const CAN_WRITE: &str = r#"dd if=/dev/null of="$1" count=0 conv=notrunc && echo done"#;

/// Everything on that host, where there is no better way.
pub const SYNC_ALL: &str = r#"sync && echo done"#;

/// $2 unit, $3 first, $4 end, $5 command: one line for each unit. A unit that cannot be read has the sum of something else.
pub const SUMS: &str = r#"i=$3; while [ "$i" -lt "$4" ]; do dd if="$1" bs="$2" skip="$i" count=1 2>/dev/null | $5; i=$((i + 1)); done"#;

/// What changes when the file is written to, as fine as the host tells.
pub const STAMP: &str = r#"stat -L -c '%d %i %s %y %z' "$1" 2>/dev/null || ls -lniL "$1"; echo done"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Device,
    /// Nothing has that name.
    Missing,
    Other,
}

/// What is known of a disk over there and its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub kind: Kind,
    pub size: Option<u64>,
    /// Bytes of the file that take room.
    pub used: Option<u64>,
    /// Bytes that are free where the file is, or would be.
    pub free: Option<u64>,
    pub id: Option<u64>,
    /// What tells SHA-256 there.
    pub sum: Option<String>,
}

impl Facts {
    pub fn parse(text: &str) -> Option<Facts> {
        let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let number = |key: &str| of(key).and_then(|value| value.parse::<u64>().ok());
        if text.lines().last() != Some("end") {
            return None;
        }
        let kind = match of("kind")? {
            "file" => Kind::File,
            "device" => Kind::Device,
            "none" => Kind::Missing,
            _ => Kind::Other,
        };
        Some(Facts {
            kind,
            size: number("size"),
            used: number("used").map(|kib| kib.saturating_mul(1024)),
            free: number("free").map(|kib| kib.saturating_mul(1024)),
            id: number("id"),
            sum: of("sum").filter(|sum| !sum.is_empty()).map(str::to_owned),
        })
    }
}

/// The sum that a line begins with; `openssl` and others say more behind it.
pub fn sum_of(line: &str) -> Option<[u8; 32]> {
    let hex = line.get(..64)?;
    data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?.try_into().ok()
}

/// Pieces of a range with a unit of dd for each: the largest power of two, up to 1 MiB, that divides where it begins and how
/// long it is. What is odd at the ends does not make all of it slow.
pub fn pieces(range: std::ops::Range<u64>) -> Vec<(std::ops::Range<u64>, u64)> {
    const LARGEST: u64 = 1 << 20;
    let middle = range.start.next_multiple_of(LARGEST)..range.end / LARGEST * LARGEST;
    let parts = match middle.start < middle.end {
        true => vec![range.start..middle.start, middle.clone(), middle.end..range.end],
        false => vec![range],
    };
    let unit = |part: &std::ops::Range<u64>| {
        let bits = part.start | (part.end - part.start) | LARGEST;
        1 << bits.trailing_zeros()
    };
    parts.into_iter().filter(|part| !part.is_empty()).map(|part| (part.clone(), unit(&part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn facts_are_understood_and_half_of_them_are_none() {
        let text = "kind=file\nsize=1048577\nused=8\nfree=100\nid=77\nsum=shasum -a 256\nend\n";
        let facts = Facts::parse(text).unwrap();
        assert_eq!((facts.kind, facts.size, facts.used), (Kind::File, Some(1_048_577), Some(8192)));
        assert_eq!(facts.sum.as_deref(), Some("shasum -a 256"));
        assert_eq!(Facts::parse(text.trim_end_matches("end\n")), None);
        let bare = Facts::parse("kind=device\nsize=512\nused=\nfree=\nid=\nsum=\nend\n").unwrap();
        assert_eq!((bare.used, bare.id, bare.sum), (None, None, None));
    }

    #[test]
    fn every_script_is_one_line_that_the_shell_accepts() {
        for script in [PROBE, READ, WRITE, ZERO, CREATE, CAN_FSYNC, CAN_WRITE, SYNC_ALL, SUMS, STAMP] {
            assert!(!script.contains('\n'));
            let checked = std::process::Command::new("sh").args(["-n", "-c", script]).output().unwrap();
            assert!(checked.status.success(), "{script}: {checked:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_cover_a_range_in_units_that_divide_them(start in 0u64..(1 << 24), length in 1u64..(1 << 24)) {
            let mut at = start;
            for (piece, unit) in pieces(start..start + length) {
                prop_assert_eq!(piece.start, at);
                prop_assert!(piece.start % unit == 0 && (piece.end - piece.start) % unit == 0);
                // At most one MiB is ever done in small units, at each end.
                prop_assert!(unit == 1 << 20 || piece.end - piece.start < 2 << 20);
                at = piece.end;
            }
            prop_assert_eq!(at, start + length);
        }
    }
}
