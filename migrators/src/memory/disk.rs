//! The toy file system of simulated disks: a header line, then one line `PATH<TAB>CONTENT` per file in order, then
//! zeros. Newlines and tabs in a content are escaped.

use std::collections::BTreeMap;

const MAGIC: &str = "toyfs\n";
/// Where the simulated adaptation notes the hardware of the guest.
pub const HARDWARE: &str = "/etc/hardware";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(Option<BTreeMap<String, String>>);

impl Files {
    pub fn new(files: &[(&str, &str)]) -> Self {
        Self(Some(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()))
    }

    /// Empty when the disk does not hold this file system.
    pub fn read(disk: &[u8]) -> Self {
        let end = disk.iter().position(|byte| *byte == 0).unwrap_or(disk.len());
        let text = std::str::from_utf8(&disk[..end]).ok().and_then(|text| text.strip_prefix(MAGIC));
        let line = |line: &str| line.split_once('\t').map(|(path, text)| (path.to_owned(), unescape(text)));
        Self(text.map(|text| text.lines().filter_map(line).collect()))
    }

    /// As a disk of this size; `None` when it does not fit.
    pub fn write(&self, size_bytes: usize) -> Option<Vec<u8>> {
        let mut disk = self.text().into_bytes();
        (disk.len() <= size_bytes).then(|| {
            disk.resize(size_bytes, 0);
            disk
        })
    }

    pub fn needed_bytes(&self) -> u64 {
        self.text().len() as u64
    }

    pub fn digest(&self) -> String {
        blake3::hash(self.text().as_bytes()).to_hex().to_string()
    }

    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(BTreeMap::is_empty)
    }

    pub fn get(&self, path: &str) -> Option<&String> {
        self.0.as_ref()?.get(path)
    }

    pub fn put(&mut self, path: &str, text: &str) {
        self.0.get_or_insert_default().insert(path.to_owned(), text.to_owned());
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().flatten()
    }

    fn text(&self) -> String {
        let lines = self.iter().map(|(path, text)| format!("{path}\t{}\n", escape(text)));
        std::iter::once(MAGIC.to_owned()).chain(lines).collect()
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\0', "\\0")
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('0')) => out.push('\0'),
            ('\\', Some(other)) => out.push(other),
            (c, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let files = Files::new(&[("/a", "one\ntwo\t\\n\0"), ("/b", "")]);
        assert_eq!(Files::read(&files.write(4096).unwrap()), files);
        assert_eq!(files.write(5), None);
        assert!(Files::read(&[7; 100]).is_empty());
    }
}
