//! The digest over a tree: every entry becomes a digest of its own, these are sorted, and the sorted list is hashed. Files
//! that share an inode count as one entry with the set of their names, whichever of them the stream stores.

use super::acl::normalise;
use super::reader::{Broken, Entries, Entry};
use crate::digest::Digest;
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;

/// A tree of this many entries takes about a gigabyte to compare.
const ENTRIES_MAX: u64 = 8 << 20;

/// What a tree is, in short. `entries` counts every name; `files` regular files, names of the same inode once; `bytes` their
/// content, holes included; `hardlinks` further names; `xattrs` attributes and ACLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tree {
    pub digest: Digest,
    pub entries: u64,
    pub files: u64,
    pub bytes: u64,
    pub hardlinks: u64,
    pub xattrs: u64,
}

/// Reads a tar stream to its end.
pub fn tree(stream: impl Read) -> Result<Tree> {
    fold(stream).map_err(|Broken(why)| Error::Tar { why })
}

/// The first half of a digest is enough to tell names apart.
type NameKey = [u8; 16];

#[derive(Default)]
struct Fold {
    leaves: Vec<Digest>,
    /// What is known of files by name, until all their other names are known.
    files: HashMap<NameKey, (Digest, Digest)>,
    links: BTreeMap<NameKey, Vec<Vec<u8>>>,
    counted: [u64; 5],
}

fn fold(stream: impl Read) -> std::result::Result<Tree, Broken> {
    let mut entries = Entries::new(std::io::BufReader::with_capacity(256 << 10, stream));
    let mut fold = Fold::default();
    let (mut count, mut files, mut bytes, mut hardlinks, mut xattrs) = (0, 0, 0, 0, 0);
    while let Some(entry) = entries.next()? {
        count += 1;
        if count > ENTRIES_MAX {
            return Err(Broken(format!("more than {ENTRIES_MAX} entries")));
        }
        let path = clean(&entry.header.path);
        if entry.header.kind == b'1' {
            hardlinks += 1;
            entries.content(&entry, |_| ())?;
            fold.links.entry(key_of(&clean(&entry.header.link))).or_default().push(path);
            continue;
        }
        let attributes = normalise(&entry.attributes);
        xattrs += attributes.len() as u64;
        let mut hasher = describe(&entry, &path, &attributes);
        if is_file(entry.header.kind) {
            files += 1;
            let (content, size) = hash_content(&mut entries, &entry)?;
            bytes += size;
            hasher.update(&size.to_le_bytes());
            hasher.update(&content.0);
            fold.files.insert(key_of(&path), (Digest(*hasher.finalize().as_bytes()), Digest::of(&path)));
        } else {
            entries.content(&entry, |_| ())?;
            sized(&mut hasher, &path);
            fold.leaves.push(Digest(*hasher.finalize().as_bytes()));
        }
    }
    fold.counted = [count, files, bytes, hardlinks, xattrs];
    fold.finish()
}

impl Fold {
    fn finish(mut self) -> std::result::Result<Tree, Broken> {
        let mut links = std::mem::take(&mut self.links);
        for (key, (attributes, name)) in &self.files {
            // The names of one inode, as digests: sorted, so that it does not matter which of them came first.
            let mut names = vec![*name];
            names.extend(links.remove(key).unwrap_or_default().iter().map(|path| Digest::of(path)));
            names.sort();
            let mut hasher = blake3::Hasher::new();
            hasher.update(&attributes.0);
            names.iter().for_each(|name| {
                hasher.update(&name.0);
            });
            self.leaves.push(Digest(*hasher.finalize().as_bytes()));
        }
        if let Some(orphan) = links.values().flatten().next() {
            let name = String::from_utf8_lossy(orphan);
            return Err(Broken(format!("`{name}` is a hard link to a file that is not in the stream")));
        }
        self.leaves.sort();
        let mut hasher = blake3::Hasher::new_derive_key("fluidcloud viaduct tree v1");
        self.leaves.iter().for_each(|leaf| {
            hasher.update(&leaf.0);
        });
        let [entries, files, bytes, hardlinks, xattrs] = self.counted;
        Ok(Tree { digest: Digest(*hasher.finalize().as_bytes()), entries, files, bytes, hardlinks, xattrs })
    }
}

/// Everything but name and content.
fn describe(entry: &Entry, path: &[u8], attributes: &BTreeMap<String, Vec<u8>>) -> blake3::Hasher {
    let header = &entry.header;
    let mut hasher = blake3::Hasher::new();
    let kind = if is_file(header.kind) { b'0' } else { header.kind };
    hasher.update(&[kind]);
    for number in [u64::from(header.mode), header.uid, header.gid] {
        hasher.update(&number.to_le_bytes());
    }
    // When a tree is unpacked into a directory, that one's own time is of the unpacking.
    let mtime = if path.is_empty() { 0 } else { header.mtime };
    hasher.update(&mtime.to_le_bytes());
    if kind == b'2' {
        sized(&mut hasher, &header.link);
    }
    if matches!(kind, b'3' | b'4') {
        hasher.update(&header.device.0.to_le_bytes());
        hasher.update(&header.device.1.to_le_bytes());
    }
    hasher.update(&(attributes.len() as u64).to_le_bytes());
    for (name, value) in attributes {
        sized(&mut hasher, name.as_bytes());
        sized(&mut hasher, value);
    }
    hasher
}

fn hash_content(
    entries: &mut Entries<impl Read>,
    entry: &Entry,
) -> std::result::Result<(Digest, u64), Broken> {
    let mut hasher = blake3::Hasher::new();
    let Some(map) = &entry.sparse else {
        entries.content(entry, |bytes| {
            hasher.update(bytes);
        })?;
        return Ok((Digest(*hasher.finalize().as_bytes()), entry.stored));
    };
    let mut at = 0;
    let mut pieces = map.pieces.iter().copied().filter(|(_, length)| *length > 0);
    let mut piece = pieces.next();
    entries.content(entry, |mut bytes| {
        while let Some((offset, length)) = piece.filter(|_| !bytes.is_empty()) {
            zeros(&mut hasher, offset - at);
            let take = length.min(bytes.len() as u64);
            hasher.update(&bytes[..take as usize]);
            bytes = &bytes[take as usize..];
            at = offset + take;
            piece = if take == length { pieces.next() } else { Some((at, length - take)) };
        }
    })?;
    zeros(&mut hasher, map.size - at);
    Ok((Digest(*hasher.finalize().as_bytes()), map.size))
}

fn zeros(hasher: &mut blake3::Hasher, mut count: u64) {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while count > 0 {
        let step = count.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..step as usize]);
        count -= step;
    }
}

fn is_file(kind: u8) -> bool {
    matches!(kind, b'0' | 0 | b'7' | b'S')
}

fn sized(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn key_of(path: &[u8]) -> NameKey {
    let mut key = [0; 16];
    key.copy_from_slice(&Digest::of(path).0[..16]);
    key
}

/// Without `./`, leading and trailing slashes, and empty parts. The root itself has the empty name.
fn clean(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (name, clean_name) in
            [("./a/b/", "a/b"), (".", ""), ("./", ""), ("/a//b", "a/b"), ("a/./b", "a/b"), (".a", ".a")]
        {
            assert_eq!(clean(name.as_bytes()), clean_name.as_bytes());
        }
    }

    #[test]
    fn what_is_not_tar_is_refused() {
        assert!(tree(&b""[..]).is_err());
        assert!(tree(&[b'x'; 2048][..]).is_err());
        assert_eq!(tree(&[0; 1024][..]).unwrap().entries, 0);
    }
}
