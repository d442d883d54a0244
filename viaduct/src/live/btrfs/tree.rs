//! Walks one tree from its first item to its last, holding one node per level. A node that does not say of itself what its
//! parent said of it ends the walk with doubt.

use super::super::crc::crc32c;
use super::super::view::{Doubt, Fields, View, require};
use super::chunks::Chunks;
use super::superblock::{Root, Superblock};

const LEVELS_MAX: u8 = 8;
const HEADER_BYTES: usize = 101;
const ITEM_BYTES: usize = 25;
const POINTER_BYTES: usize = 33;
const WHY: &str = "one of its trees makes no sense";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub object: u64,
    pub kind: u8,
    pub offset: u64,
}

impl Key {
    pub fn read(fields: &Fields, at: usize) -> Result<Key, Doubt> {
        Ok(Key { object: fields.le64(at)?, kind: fields.byte(at + 8)?, offset: fields.le64(at + 9)? })
    }
}

#[derive(Debug)]
pub struct Tree<'a> {
    view: &'a View<'a>,
    sb: &'a Superblock,
    chunks: &'a Chunks,
    root: Option<Root>,
    /// From the root down: a node, and which of its entries comes next.
    path: Vec<(Fields, usize)>,
    last: Option<Key>,
}

impl<'a> Tree<'a> {
    pub fn new(
        view: &'a View<'a>,
        sb: &'a Superblock,
        chunks: &'a Chunks,
        root: Root,
    ) -> Result<Tree<'a>, Doubt> {
        require(root.level < LEVELS_MAX, WHY)?;
        Ok(Tree { view, sb, chunks, root: Some(root), path: Vec::new(), last: None })
    }

    /// The next item: its key, which is larger than the one before, and its content.
    pub async fn next(&mut self) -> Result<Option<(Key, Fields)>, Doubt> {
        if let Some(root) = self.root.take() {
            let node = self.node(root).await?;
            self.path.push((node, 0));
        }
        loop {
            let Some((node, entry)) = self.path.last_mut() else { return Ok(None) };
            let (number, level) = (*entry, node.byte(100)?);
            if number >= node.le32(96)? as usize {
                self.path.pop();
                continue;
            }
            *entry += 1;
            if level > 0 {
                let at = HEADER_BYTES + POINTER_BYTES * number;
                let child =
                    Root { at: node.le64(at + 17)?, generation: node.le64(at + 25)?, level: level - 1 };
                let node = self.node(child).await?;
                self.path.push((node, 0));
                continue;
            }
            let at = HEADER_BYTES + ITEM_BYTES * number;
            let key = Key::read(node, at)?;
            let (start, length) = (node.le32(at + 17)? as usize, node.le32(at + 21)? as usize);
            let item = Fields::new(node.slice(HEADER_BYTES + start, length)?.to_vec());
            // That keys only grow is also what ends the walk in a tree that bites its tail.
            require(self.last.is_none_or(|last| last < key), WHY)?;
            self.last = Some(key);
            return Ok(Some((key, item)));
        }
    }

    async fn node(&self, root: Root) -> Result<Fields, Doubt> {
        let offset = self.chunks.place(root.at, self.sb.node_bytes)?;
        let node = self.view.read(offset, self.sb.node_bytes).await?;
        let right = crc32c(&node.bytes()[32..]) == node.le32(0)?;
        require(right, "one of its trees has a wrong checksum")?;
        let own = node.slice(32, 16)? == self.sb.fsid
            && node.le64(48)? == root.at
            && node.le64(80)? == root.generation
            && node.byte(100)? == root.level;
        require(own, "one of its trees is not of its last generation")?;
        // Only a root may be empty: the same empty node, named again and again, could be walked for ever.
        require(node.le32(96)? > 0 || self.path.is_empty(), WHY)?;
        Ok(node)
    }
}
