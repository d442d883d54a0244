//! The superblock: one device, no log to replay, and only features that we know.

use super::super::crc::crc32c;
use super::super::view::{Doubt, View, require};

pub const SUPERBLOCK: u64 = 64 << 10;
pub const MAGIC: &[u8] = b"_BHRfS_M";
/// What is never allotted at the start of a device.
pub const RESERVED: u64 = 1 << 20;
/// Further copies of the superblock.
pub const MIRRORS: [u64; 2] = [64 << 20, 256 << 30];
pub const MIRROR_BYTES: u64 = 64 << 10;

const BYTES: u64 = 4096;
const CHECKSUM_CRC32C: u16 = 0;
const FLAG_WRITTEN: u64 = 1;
/// mixed_backref, default_subvol, mixed_groups, lzo, zstd, big_metadata, extended_iref, skinny_metadata, no_holes,
/// metadata_uuid.
const INCOMPAT_KNOWN: u64 =
    0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x100 | 0x200 | INCOMPAT_METADATA_UUID;
const INCOMPAT_METADATA_UUID: u64 = 0x400;
/// free_space_tree and whether it is valid, verity, block_group_tree.
const RO_KNOWN: u64 = 0x1 | 0x2 | 0x4 | 0x8;
const SYSTEM_CHUNKS: usize = 0x32b;
const SYSTEM_CHUNKS_MAX: u32 = 2048;
const WHY: &str = "its superblock makes no sense";

/// A tree: where its root is, in the logical space, and what the root must say of itself.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    pub at: u64,
    pub level: u8,
    pub generation: u64,
}

#[derive(Debug)]
pub struct Superblock {
    /// As its metadata carries it.
    pub fsid: [u8; 16],
    pub roots: Root,
    pub chunks: Root,
    /// As many as are used of all chunks.
    pub bytes_used: u64,
    pub node_bytes: u64,
    pub sector_bytes: u64,
    pub device: u64,
    pub device_bytes: u64,
    /// The chunks that are needed to find the others.
    pub system_chunks: Vec<u8>,
}

impl Superblock {
    pub async fn read(view: &View<'_>) -> Result<Superblock, Doubt> {
        let sb = view.read(SUPERBLOCK, BYTES).await?;
        require(sb.le16(0xc4)? == CHECKSUM_CRC32C, "its checksums are of a kind that is not known")?;
        require(crc32c(sb.slice(32, 4064)?) == sb.le32(0)?, "its superblock has a wrong checksum")?;
        require(sb.slice(0x40, 8)? == MAGIC && sb.le64(0x30)? == SUPERBLOCK, WHY)?;
        require(sb.le64(0x38)? & !FLAG_WRITTEN == 0, "it is being changed, or has errors")?;
        require(sb.le64(0x60)? == 0, "its log has to be replayed")?;
        let incompat = sb.le64(0xbc)?;
        require(incompat & !INCOMPAT_KNOWN == 0, "it has an incompatible feature that is not known")?;
        require(
            sb.le64(0xb4)? & !RO_KNOWN == 0 && sb.le64(0xac)? == 0,
            "it has a feature that is not known",
        )?;
        require(sb.le64(0x88)? == 1, "it has more than one device")?;
        let fsid = if incompat & INCOMPAT_METADATA_UUID != 0 { 0x23b } else { 0x20 };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(sb.slice(fsid, 16)?);
        let system = sb.le32(0xa0)?;
        require((1..=SYSTEM_CHUNKS_MAX).contains(&system), WHY)?;
        let superblock = Superblock {
            fsid: uuid,
            roots: Root { at: sb.le64(0x50)?, level: sb.byte(0xc6)?, generation: sb.le64(0x48)? },
            chunks: Root { at: sb.le64(0x58)?, level: sb.byte(0xc7)?, generation: sb.le64(0xa4)? },
            bytes_used: sb.le64(0x78)?,
            node_bytes: sb.le32(0x94)?.into(),
            sector_bytes: sb.le32(0x90)?.into(),
            device: sb.le64(0xc9)?,
            device_bytes: sb.le64(0xd1)?,
            system_chunks: sb.slice(SYSTEM_CHUNKS, system as usize)?.to_vec(),
        };
        let sane = |bytes: u64| bytes.is_power_of_two() && (4096..=65536).contains(&bytes);
        require(sane(superblock.node_bytes) && sane(superblock.sector_bytes), WHY)?;
        require(superblock.device_bytes <= view.length(), "it is larger than its partition")?;
        require(superblock.device_bytes > RESERVED, WHY)?;
        Ok(superblock)
    }
}
