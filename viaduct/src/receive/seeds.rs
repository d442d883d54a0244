//! Blocks that are laid into an empty target before anybody asks for them: a sender that asks about another disk of this site
//! most often goes on to say that the target has the same there, and what was just read for the answer need not be read
//! again. Nothing is written down about such a block until the sender has claimed it with its digest.

use super::apply::lay;
use super::ledger::Ledger;
use crate::digest::Digest;
use crate::ends::Target;
use crate::table::BlockSet;

/// So many blocks may turn out to be laid in vain ...
const VAIN: u64 = 32;
/// ... and one more for so many that were right.
const RIGHT_FOR_VAIN: u64 = 4;

#[derive(Debug)]
pub(super) struct Seeds {
    /// Being written now: nobody else may touch them.
    sowing: Vec<u64>,
    /// Written, and not yet claimed.
    sown: BlockSet,
    right: u64,
    vain: u64,
}

impl Seeds {
    pub fn new(blocks: u64) -> Seeds {
        Seeds { sowing: Vec::new(), sown: BlockSet::new(blocks), right: 0, vain: 0 }
    }

    pub fn worthwhile(&self) -> bool {
        self.vain <= VAIN + self.right / RIGHT_FOR_VAIN
    }

    /// Blocks that may turn out to be in vain, and take room until then.
    pub fn open(&self) -> u64 {
        self.sowing.len() as u64 + self.sown.len()
    }

    pub fn begin(&mut self, index: u64) {
        self.sowing.push(index);
    }

    pub fn end(&mut self, index: u64, written: bool) {
        self.sowing.retain(|sowing| *sowing != index);
        if written {
            self.sown.insert(index);
        } else {
            // What stopped it, a full disk perhaps, is not to be provoked again.
            self.vain = u64::MAX / 2;
        }
    }

    pub fn is_sowing(&self, mut indexes: impl Iterator<Item = u64>) -> bool {
        !self.sowing.is_empty() && indexes.any(|index| self.sowing.contains(&index))
    }

    /// The block lies in the target, unclaimed.
    pub fn is_sown(&self, index: u64) -> bool {
        self.sown.contains(index)
    }

    /// A block is claimed: as what was sown, or as something else.
    pub fn claimed(&mut self, index: u64, same: bool) {
        if !self.sown.contains(index) {
            return;
        }
        self.sown.remove(index);
        if same {
            self.right += 1;
        } else {
            self.vain += 1;
        }
    }

    pub fn clear(&mut self) {
        self.sown.clear();
    }
}

/// A block that was taken to be sown: however that ends, it is given back.
pub(super) struct Sower<'a> {
    ledger: &'a Ledger,
    index: u64,
    sown: Option<Digest>,
}

impl<'a> Sower<'a> {
    /// `None` where the block is not to be sown.
    pub fn take(ledger: &'a Ledger, index: u64, room: u64) -> Option<Sower<'a>> {
        ledger.sow(index, room).then_some(Sower { ledger, index, sown: None })
    }

    /// Failing is no error: it is tried again when the block is claimed, or never.
    pub async fn sow(mut self, target: &dyn Target, block: &[u8], digest: Digest) {
        let offset = self.ledger.geometry().offset(self.index);
        match lay(target, offset, block, true).await {
            Ok(()) => self.sown = Some(digest),
            Err(error) => tracing::debug!(block = self.index, %error, "could not lay a block in advance"),
        }
    }
}

impl Drop for Sower<'_> {
    fn drop(&mut self) {
        self.ledger.sown(self.index, self.sown);
    }
}
