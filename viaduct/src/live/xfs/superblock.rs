//! The superblock of versions 4 and 5: the geometry, and whether every feature is one we know.

use super::super::crc::crc32c;
use super::super::view::{Doubt, Fields, View, require};

const CRC_AT: usize = 224;
/// ftype, sparse inodes, own UUID of the metadata, bigtime, large extent counts, exchanged ranges, parent pointers. Not
/// the one that says that a repair is due.
const INCOMPAT_KNOWN: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80;
const INCOMPAT_META_UUID: u32 = 0x4;
/// Btrees of free inodes, of reverse mappings and of references; counts of inode blocks.
const RO_KNOWN: u32 = 0x1 | 0x2 | 0x4 | 0x8;
const GROUPS_MAX: u64 = 1 << 20;
const WHY: &str = "its superblock makes no sense";

#[derive(Debug)]
pub struct Superblock {
    pub version: u16,
    pub block_bytes: u64,
    pub sector_bytes: u64,
    pub blocks: u64,
    pub free_blocks: u64,
    pub groups: u64,
    pub group_blocks: u64,
    group_shift: u32,
    log_start: u64,
    pub log_blocks: u64,
    pub uuid: [u8; 16],
    /// The UUID that its metadata carries.
    pub meta_uuid: [u8; 16],
}

impl Superblock {
    pub async fn read(view: &View<'_>) -> Result<Superblock, Doubt> {
        let sb = view.read(0, 512).await?;
        let version = sb.be16(100)? & 0xf;
        require(matches!(version, 4 | 5), "its version is not known")?;
        let sector_bytes = u64::from(sb.be16(102)?);
        require(sector_bytes.is_power_of_two() && (512..=32768).contains(&sector_bytes), WHY)?;
        let sb = view.read(0, sector_bytes).await?;
        let (uuid, mut meta_uuid) = (uuid(&sb, 32)?, uuid(&sb, 32)?);
        if version == 5 {
            require(
                crc32c(&sb.without(CRC_AT, 4)?) == sb.le32(CRC_AT)?,
                "its superblock has a wrong checksum",
            )?;
            let incompat = sb.be32(216)?;
            require(incompat & !INCOMPAT_KNOWN == 0, "it has an incompatible feature that is not known")?;
            require(sb.be32(212)? & !RO_KNOWN == 0, "it has a feature that is not known")?;
            require(sb.be32(220)? == 0, "its log has to be replayed")?;
            if incompat & INCOMPAT_META_UUID != 0 {
                meta_uuid = self::uuid(&sb, 248)?;
            }
        }
        require(sb.byte(126)? == 0, "it is still being made")?;
        require(sb.be64(16)? == 0, "it has a part on another device")?;
        let superblock = Superblock {
            version,
            block_bytes: sb.be32(4)?.into(),
            sector_bytes,
            blocks: sb.be64(8)?,
            free_blocks: sb.be64(144)?,
            groups: sb.be32(88)?.into(),
            group_blocks: sb.be32(84)?.into(),
            group_shift: sb.byte(124)?.into(),
            log_start: sb.be64(48)?,
            log_blocks: sb.be32(96)?.into(),
            uuid,
            meta_uuid,
        };
        superblock.sane(view.length())?;
        Ok(superblock)
    }

    /// Numbers that the rest may rely on: nothing overflows, nothing divides by zero.
    fn sane(&self, length: u64) -> Result<(), Doubt> {
        require(self.block_bytes.is_power_of_two() && (512..=65536).contains(&self.block_bytes), WHY)?;
        require(self.block_bytes >= self.sector_bytes && self.group_blocks >= 16, WHY)?;
        require(self.group_shift < 32 && self.group_blocks <= 1 << self.group_shift, WHY)?;
        require((1..=GROUPS_MAX).contains(&self.groups), WHY)?;
        require(self.blocks <= length / self.block_bytes, "it is larger than its partition")?;
        require(
            self.blocks.div_ceil(self.group_blocks) == self.groups && self.free_blocks <= self.blocks,
            WHY,
        )?;
        require(self.log_start > 0, "its log is on another device")?;
        let log = self.log_offset();
        let end = log + self.log_blocks * self.block_bytes;
        require(self.log_blocks > 0 && end <= self.blocks * self.block_bytes, WHY)
    }

    /// Where the log begins, in bytes: its block number has the group in its upper bits.
    pub fn log_offset(&self) -> u64 {
        let group = self.log_start >> self.group_shift;
        let block = self.log_start & ((1 << self.group_shift) - 1);
        // A group that is far outside would overflow, and is outside either way.
        group.min(self.groups) * self.group_blocks * self.block_bytes + block * self.block_bytes
    }

    /// All of a group but the last, which may be shorter.
    pub fn blocks_of(&self, group: u64) -> u64 {
        (self.blocks - group * self.group_blocks).min(self.group_blocks)
    }
}

fn uuid(sb: &Fields, at: usize) -> Result<[u8; 16], Doubt> {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(sb.slice(at, 16)?);
    Ok(uuid)
}
