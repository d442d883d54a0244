//! How much a file system holds and has free.

use super::{Error, Fish, Session};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    pub used_bytes: u64,
    pub free_bytes: u64,
    /// 0 where their number is not fixed.
    pub inodes: u64,
    pub used_inodes: u64,
    pub free_inodes: u64,
}

impl Space {
    /// Of the file system in which a path of the session lies.
    pub async fn at(session: &mut Session, path: &str) -> Result<Self, Error> {
        let told = session.run(&[Fish::new(&["statvfs", path])]).await?.remove(0);
        Ok(Self::read(&told))
    }

    /// From the lines of `statvfs`.
    pub fn read(text: &str) -> Self {
        let value = |key: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
        };
        let block = value("frsize").max(1);
        Self {
            used_bytes: value("blocks").saturating_sub(value("bfree")).saturating_mul(block),
            free_bytes: value("bavail").saturating_mul(block),
            inodes: value("files"),
            used_inodes: value("files").saturating_sub(value("ffree")),
            free_inodes: value("favail"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_read_from_statvfs() {
        let text = "bsize: 1024\nfrsize: 4096\nblocks: 100\nbfree: 40\nbavail: 30\nfiles: 50\nffree: 45\nfavail: 44\n";
        let space = Space {
            used_bytes: 60 * 4096,
            free_bytes: 30 * 4096,
            inodes: 50,
            used_inodes: 5,
            free_inodes: 44,
        };
        assert_eq!(Space::read(text), space);
    }
}
