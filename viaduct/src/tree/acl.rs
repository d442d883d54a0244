//! ACLs and extended attributes in one form, however the writer put them: GNU tar as text, others as the kernel's bytes,
//! libarchive in an encoding of its own.

use std::collections::BTreeMap;

/// Attributes by name. ACLs appear as `acl.access` and `acl.default`, in sorted short text; one that says no more than the
/// mode is left out.
pub fn normalise(attributes: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let mut normal = BTreeMap::new();
    for (key, value) in attributes {
        if let Some(name) = key.strip_prefix("LIBARCHIVE.xattr.") {
            let name = unescape(name);
            if let Some(value) = unbase64(value) {
                insert(&mut normal, &name, value);
            }
        } else if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
            insert(&mut normal, name, value.clone());
        } else if let Some(which) = key.strip_prefix("SCHILY.acl.") {
            insert_acl(&mut normal, which, from_text(&String::from_utf8_lossy(value)));
        } else if key == "RHT.security.selinux" {
            // It is written with its terminator by some.
            let label = value.strip_suffix(b"\0").unwrap_or(value);
            normal.insert("security.selinux".to_owned(), label.to_vec());
        }
    }
    normal
}

fn insert(normal: &mut BTreeMap<String, Vec<u8>>, name: &str, value: Vec<u8>) {
    match name.strip_prefix("system.posix_acl_") {
        Some(which) => match from_kernel(&value) {
            Some(entries) => insert_acl(normal, which, entries),
            None => drop(normal.insert(name.to_owned(), value)),
        },
        None if name == "security.selinux" => {
            normal.insert(name.to_owned(), value.strip_suffix(b"\0").unwrap_or(&value).to_vec());
        }
        None => drop(normal.insert(name.to_owned(), value)),
    }
}

fn insert_acl(normal: &mut BTreeMap<String, Vec<u8>>, which: &str, mut entries: Vec<String>) {
    entries.sort();
    let minimal = which == "access" && entries.len() == 3 && entries.iter().all(|entry| entry.contains("::"));
    if !minimal && !entries.is_empty() {
        normal.insert(format!("acl.{which}"), entries.join(",").into_bytes());
    }
}

/// `user:name:rwx` entries by comma or line, with comments; a fourth field, where star writes it, is the numeric id.
fn from_text(text: &str) -> Vec<String> {
    let entries = text.split([',', '\n']).map(|entry| entry.split('#').next().unwrap_or_default().trim());
    let entries = entries.filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let fields: Vec<&str> = entry.split(':').collect();
            match fields[..] {
                [kind, _, permissions, id] => format!("{}:{id}:{permissions}", short(kind)),
                [kind, who, permissions] => format!("{}:{who}:{permissions}", short(kind)),
                // `mask:rwx` and `other:rwx`, without a name.
                [kind, permissions] => format!("{}::{permissions}", short(kind)),
                _ => entry.to_owned(),
            }
        })
        .collect()
}

fn short(kind: &str) -> &str {
    match kind {
        "user" => "u",
        "group" => "g",
        "mask" => "m",
        "other" => "o",
        kind => kind,
    }
}

/// The kernel's form: a version, then (tag, permissions, id) each.
fn from_kernel(bytes: &[u8]) -> Option<Vec<String>> {
    let entries = bytes.strip_prefix(&2u32.to_le_bytes())?;
    if entries.len() % 8 != 0 {
        return None;
    }
    let entry = |entry: &[u8]| {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let bits = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let who = match tag {
            0x01 => "u:".to_owned(),
            0x02 => format!("u:{id}"),
            0x04 => "g:".to_owned(),
            0x08 => format!("g:{id}"),
            0x10 => "m:".to_owned(),
            0x20 => "o:".to_owned(),
            _ => return None,
        };
        let permission = |bit: u16, letter| if bits & bit != 0 { letter } else { '-' };
        Some(format!("{who}:{}{}{}", permission(4, 'r'), permission(2, 'w'), permission(1, 'x')))
    };
    entries.chunks_exact(8).map(entry).collect()
}

fn unescape(name: &str) -> String {
    crate::ends::unescape(name).unwrap_or_else(|| name.to_owned())
}

fn unbase64(value: &[u8]) -> Option<Vec<u8>> {
    let bare: Vec<u8> =
        value.iter().copied().filter(|byte| *byte != b'=' && !byte.is_ascii_whitespace()).collect();
    data_encoding::BASE64_NOPAD.decode(&bare).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &[u8]) -> BTreeMap<String, Vec<u8>> {
        normalise(&BTreeMap::from([(key.to_owned(), value.to_vec())]))
    }

    #[test]
    fn an_acl_is_the_same_however_it_is_written() {
        let kernel = [
            2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255,
            255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
        ];
        let expected = one("SCHILY.acl.access", b"user::rw-,user:1000:r--,group::r--,mask::r--,other::---");
        assert_eq!(expected["acl.access"], b"g::r--,m::r--,o::---,u:1000:r--,u::rw-");
        for (key, value) in [
            (
                "SCHILY.acl.access",
                b"other::---\nmask::r--\ngroup::r--\nuser:1000:r--\t#effective:r--\nuser::rw-\n".as_slice(),
            ),
            ("SCHILY.acl.access", b"user::rw-,user:joe:r--:1000,group::r--,mask::r--,other::---"),
            ("SCHILY.xattr.system.posix_acl_access", &kernel),
        ] {
            assert_eq!(one(key, value), expected, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn an_acl_that_says_no_more_than_the_mode_is_none() {
        assert!(one("SCHILY.acl.access", b"user::rw-,group::r--,other::r--").is_empty());
        assert!(!one("SCHILY.acl.default", b"user::rw-,group::r--,other::r--").is_empty());
    }

    #[test]
    fn libarchive_writes_the_same_attributes_in_its_own_way() {
        assert_eq!(one("LIBARCHIVE.xattr.user.a%20b", b"dmFsdWU"), one("SCHILY.xattr.user.a b", b"value"));
    }
}
