//! What is known of a stream that has passed, and how a store's words about it are held against that.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use fluidcloud_proto::alone::StoredImage;
use fluidcloud_proto::progress::Area;
use md5::{Digest as _, Md5};
use sha2::Sha512;
use viaduct::blocks::{Geometry, is_zero};
use viaduct::{Digest, Root};

const MD5: &str = "md5";
const SHA512: &str = "sha512";
/// A store that tells something else too is not asked about it.
const KNOWN: [&str; 2] = [MD5, SHA512];
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Size and digests, in hexadecimal by the name of their algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub bytes: u64,
    pub digests: BTreeMap<String, String>,
}

impl Told {
    /// As far as we can compute the same.
    pub fn of(image: &StoredImage) -> Self {
        let digests = image.digests.iter().filter(|(algorithm, _)| KNOWN.contains(&algorithm.as_str()));
        let digests = digests.map(|(algorithm, digest)| (algorithm.clone(), digest.clone())).collect();
        Self { bytes: image.size_bytes, digests }
    }

    /// The first thing that the other says otherwise: what, ours, theirs.
    pub fn differs(&self, theirs: &Self) -> Option<(String, String, String)> {
        if self.bytes != theirs.bytes {
            return Some(("size".to_owned(), self.bytes.to_string(), theirs.bytes.to_string()));
        }
        theirs.digests.iter().find_map(|(algorithm, theirs)| {
            let ours = self.digests.get(algorithm)?;
            (ours != theirs).then(|| (algorithm.clone(), ours.clone(), theirs.clone()))
        })
    }
}

/// Digests of a stream on its way, block by block in the order of the disk.
#[derive(Clone)]
pub(super) struct Measure {
    geometry: Geometry,
    root: Root,
    next: u64,
    sums: Sums,
}

#[derive(Clone, Default)]
pub(super) struct Sums {
    bytes: u64,
    md5: Md5,
    sha512: Sha512,
}

impl Sums {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.md5.update(bytes);
        self.sha512.update(bytes);
    }

    fn told(&self) -> Told {
        let md5 = HEXLOWER.encode(&self.md5.clone().finalize());
        let sha512 = HEXLOWER.encode(&self.sha512.clone().finalize());
        let digests = BTreeMap::from([(MD5.to_owned(), md5), (SHA512.to_owned(), sha512)]);
        Told { bytes: self.bytes, digests }
    }
}

impl Measure {
    pub fn of(geometry: Geometry) -> Self {
        Self { geometry, root: Root::new(geometry), next: 0, sums: Sums::default() }
    }

    /// How many bytes the next block has; `None` after the last one.
    pub fn next_bytes(&self) -> Option<usize> {
        (self.next < self.geometry.blocks()).then(|| self.geometry.len_of(self.next) as usize)
    }

    pub fn add(&mut self, block: &[u8]) {
        if !is_zero(block) {
            self.root.push(self.next, Digest::of(block));
        }
        self.next += 1;
        self.sums.add(block);
    }

    pub fn bytes(&self) -> u64 {
        self.sums.bytes
    }

    pub fn digest(&self) -> String {
        self.root.finish().to_string()
    }
}

/// A stream that has passed as a whole, with what its sender counted.
#[derive(Clone)]
pub(super) struct Measured {
    pub(super) sums: Sums,
    pub told: Told,
    /// The viaduct's, of the whole disk.
    pub digest: String,
    pub bytes_read: u64,
    pub bytes_zero: u64,
    pub bytes_free: u64,
    pub areas: Vec<Area>,
}

impl Measured {
    pub fn of(measure: &Measure) -> Self {
        let (sums, digest) = (measure.sums.clone(), measure.digest());
        let told = sums.told();
        Self { sums, told, digest, bytes_read: 0, bytes_zero: 0, bytes_free: 0, areas: Vec::new() }
    }

    /// The same with zeros behind it, as a disk has that is larger.
    pub async fn padded_to(&self, bytes: u64) -> Told {
        let mut sums = self.sums.clone();
        let padded = tokio::task::spawn_blocking(move || {
            while sums.bytes < bytes {
                let length = (bytes - sums.bytes).min(ZEROS.len() as u64) as usize;
                sums.add(&ZEROS[..length]);
            }
            sums.told()
        });
        // Computing does not panic; and what is not padded does not agree.
        padded.await.unwrap_or_else(|_| self.told.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Told {
        let mut sums = Sums::default();
        sums.add(bytes);
        sums.told()
    }

    #[tokio::test]
    async fn what_passed_has_the_digests_of_the_disk_and_of_a_larger_one_with_zeros_behind() {
        let disk: Vec<u8> = (0..2_500_000_u32).map(|at| if at < 1_200_000 { 0 } else { at as u8 }).collect();
        let geometry = Geometry::for_size(disk.len() as u64).unwrap();
        let mut measure = Measure::of(geometry);
        let mut at = 0;
        while let Some(length) = measure.next_bytes() {
            measure.add(&disk[at..at + length]);
            at += length;
        }
        assert_eq!(measure.bytes(), disk.len() as u64);
        let passed = Measured::of(&measure);
        assert_eq!(passed.told, told(&disk));
        let mut larger = disk.clone();
        larger.resize(3 << 20, 0);
        assert_eq!(passed.padded_to(3 << 20).await, told(&larger));
        let memory = viaduct::MemoryDisk::new(disk);
        let root = viaduct::root_of(std::sync::Arc::new(memory), geometry).await.unwrap();
        assert_eq!(passed.digest, root.to_string(), "as the viaduct has it");
    }

    #[test]
    fn a_store_is_believed_only_where_it_says_the_same() {
        let ours = told(b"bytes");
        assert_eq!(ours.differs(&ours), None);
        let (what, ..) = ours.differs(&told(b"other")).unwrap();
        assert!(KNOWN.contains(&what.as_str()));
        assert_eq!(ours.differs(&told(b"less")).unwrap(), ("size".into(), "5".into(), "4".into()));
        let mut more = ours.clone();
        more.digests.remove(SHA512);
        assert_eq!(ours.differs(&more), None, "one that it does not tell is none");
    }
}
