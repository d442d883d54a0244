//! The superblock: what the file system is, whether it is clean, and whether every feature it uses is one we know.

use super::super::crc::crc32c_raw;
use super::super::view::{Doubt, Fields, View, require};
use super::SUPERBLOCK;

// Features without which we must not read. The names are those of the kernel's documentation.
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_FLEX_BG: u32 = 0x200;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
/// filetype, meta_bg, extents, 64bit, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt, casefold.
const INCOMPAT_KNOWN: u32 = 0x2
    | INCOMPAT_META_BG
    | INCOMPAT_EXTENTS
    | INCOMPAT_64BIT
    | INCOMPAT_FLEX_BG
    | 0x400
    | INCOMPAT_CSUM_SEED
    | 0x4000
    | 0x8000
    | 0x1_0000
    | 0x2_0000;
const RO_SPARSE_SUPER: u32 = 0x1;
const RO_GDT_CSUM: u32 = 0x10;
const RO_BIGALLOC: u32 = 0x200;
const RO_METADATA_CSUM: u32 = 0x400;
/// sparse_super, large_file, btree_dir, huge_file, gdt_csum, dir_nlink, extra_isize, quota, bigalloc, metadata_csum,
/// read-only, project, verity. What may be read by those who do not know it may still mean other bitmaps.
const RO_KNOWN: u32 =
    0x7 | 0x8 | RO_GDT_CSUM | 0x20 | 0x40 | 0x100 | RO_BIGALLOC | RO_METADATA_CSUM | 0x1000 | 0x2000 | 0x8000;
const COMPAT_HAS_JOURNAL: u32 = 0x4;
const COMPAT_RESIZE_INODE: u32 = 0x10;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
/// dir_prealloc, imagic, has_journal, ext_attr, resize_inode, dir_index, sparse_super2, fast_commit, stable_inodes,
/// orphan_file.
const COMPAT_KNOWN: u32 = 0x3
    | COMPAT_HAS_JOURNAL
    | 0x8
    | COMPAT_RESIZE_INODE
    | 0x20
    | COMPAT_SPARSE_SUPER2
    | 0x400
    | 0x800
    | 0x1000;

const CLEAN: u16 = 1;
/// More than 32 TiB with blocks of 4 KiB: the table of the groups must fit the memory bound.
const GROUPS_MAX: u64 = 256 << 10;
const REVISION: u32 = 1;
const CHECKSUM_CRC32C: u8 = 1;

/// How group descriptors and bitmaps are checksummed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    None,
    /// Descriptors only, CRC-16 of the UUID.
    Descriptors {
        uuid: [u8; 16],
    },
    /// Everything, CRC-32C from this seed.
    All {
        seed: u32,
    },
}

#[derive(Debug)]
pub struct Superblock {
    pub block_bytes: u64,
    pub blocks: u64,
    pub free_blocks: u64,
    pub first_data_block: u64,
    pub blocks_per_group: u64,
    pub blocks_per_cluster: u64,
    pub groups: u64,
    pub descriptor_bytes: u64,
    pub reserved_descriptor_blocks: u64,
    /// From which block of descriptors on they stand in their own groups.
    pub first_meta_bg: Option<u64>,
    pub inodes_per_group: u64,
    pub inode_bytes: u64,
    pub journal: Option<u64>,
    pub checksums: Checksums,
    sparse_super: bool,
    backups: Option<[u64; 2]>,
    incompat: u32,
}

impl Superblock {
    pub async fn read(view: &View<'_>) -> Result<Superblock, Doubt> {
        let sb = view.read(SUPERBLOCK, 1024).await?;
        let (compat, incompat, ro) = (sb.le32(92)?, sb.le32(96)?, sb.le32(100)?);
        require(sb.le32(76)? == REVISION, "its revision is not known")?;
        require(incompat & INCOMPAT_RECOVER == 0, "its journal has to be replayed")?;
        require(incompat & !INCOMPAT_KNOWN == 0, "it has an incompatible feature that is not known")?;
        require(ro & !RO_KNOWN == 0, "it has a feature that is not known")?;
        require(compat & !COMPAT_KNOWN == 0, "it has a feature that is not known")?;
        let checksums = checksums(&sb, incompat, ro)?;
        clean(&sb)?;
        let superblock = Superblock {
            block_bytes: shifted(1024, sb.le32(24)?)?,
            blocks: wide(&sb, 4, 0x150, incompat)?,
            free_blocks: wide(&sb, 12, 0x158, incompat)?,
            first_data_block: sb.le32(20)?.into(),
            blocks_per_group: sb.le32(32)?.into(),
            blocks_per_cluster: if ro & RO_BIGALLOC != 0 { clusters(&sb)? } else { 1 },
            groups: 0,
            descriptor_bytes: if incompat & INCOMPAT_64BIT != 0 { sb.le16(254)?.into() } else { 32 },
            reserved_descriptor_blocks: match compat & COMPAT_RESIZE_INODE {
                0 => 0,
                _ => sb.le16(206)?.into(),
            },
            first_meta_bg: match incompat & INCOMPAT_META_BG {
                0 => None,
                _ => Some(sb.le32(0x104)?.into()),
            },
            inodes_per_group: sb.le32(40)?.into(),
            inode_bytes: sb.le16(88)?.into(),
            journal: match compat & COMPAT_HAS_JOURNAL {
                0 => None,
                _ => Some(sb.le32(224)?.into()),
            },
            checksums,
            sparse_super: ro & RO_SPARSE_SUPER != 0,
            backups: match compat & COMPAT_SPARSE_SUPER2 {
                0 => None,
                _ => Some([sb.le32(0x24c)?.into(), sb.le32(0x250)?.into()]),
            },
            incompat,
        };
        require(sb.le32(228)? == 0, "its journal is on another device")?;
        superblock.sane(view.length())
    }

    /// Numbers that the rest may rely on: nothing overflows, nothing divides by zero.
    fn sane(mut self, length: u64) -> Result<Superblock, Doubt> {
        const WHY: &str = "its superblock makes no sense";
        let bits = 8 * self.block_bytes;
        require((1024..=65536).contains(&self.block_bytes), WHY)?;
        require(self.blocks_per_cluster >= 1 && self.blocks_per_cluster <= 1 << 20, WHY)?;
        require(
            self.blocks_per_group > 0 && self.blocks_per_group.is_multiple_of(8 * self.blocks_per_cluster),
            WHY,
        )?;
        require(self.blocks_per_group / self.blocks_per_cluster <= bits, WHY)?;
        require(self.first_data_block < self.blocks && self.first_data_block <= 1, WHY)?;
        require(self.blocks <= length / self.block_bytes, "it is larger than its partition")?;
        require(self.descriptor_bytes.is_power_of_two(), WHY)?;
        require((32..=self.block_bytes).contains(&self.descriptor_bytes), WHY)?;
        require(self.incompat & INCOMPAT_64BIT == 0 || self.descriptor_bytes >= 64, WHY)?;
        require(self.inode_bytes.is_power_of_two() && self.inode_bytes <= self.block_bytes, WHY)?;
        require(self.inode_bytes >= 128 && self.inodes_per_group > 0, WHY)?;
        require(self.inodes_per_group <= bits && self.free_blocks <= self.blocks, WHY)?;
        self.groups = (self.blocks - self.first_data_block).div_ceil(self.blocks_per_group);
        require(self.groups <= GROUPS_MAX, "it has too many block groups")?;
        Ok(self)
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        match (self.incompat & (INCOMPAT_EXTENTS | INCOMPAT_FLEX_BG | INCOMPAT_64BIT), self.journal) {
            (0, None) => "ext2",
            (0, Some(_)) => "ext3",
            _ => "ext4",
        }
    }

    pub fn first_block_of(&self, group: u64) -> u64 {
        self.first_data_block + group * self.blocks_per_group
    }

    /// All of a group but the last, which may be shorter.
    pub fn blocks_of(&self, group: u64) -> u64 {
        (self.blocks - self.first_block_of(group)).min(self.blocks_per_group)
    }

    pub fn inode_table_blocks(&self) -> u64 {
        (self.inodes_per_group * self.inode_bytes).div_ceil(self.block_bytes)
    }

    pub fn descriptors_per_block(&self) -> u64 {
        self.block_bytes / self.descriptor_bytes
    }

    /// With blocks of 1 KiB the superblock is in block 1, even where counting begins at 0.
    fn boot_block(&self) -> u64 {
        u64::from(self.block_bytes == 1024 && self.first_data_block == 0)
    }

    /// Where a block of group descriptors is.
    pub fn descriptor_block(&self, number: u64) -> u64 {
        match self.first_meta_bg {
            Some(first) if number >= first => {
                let group = number * self.descriptors_per_block();
                let boot = if group == 0 { self.boot_block() } else { 0 };
                self.first_block_of(group) + boot + u64::from(self.has_superblock(group))
            }
            _ => self.first_data_block + self.boot_block() + 1 + number,
        }
    }

    pub fn has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if let Some(backups) = self.backups {
            return backups.contains(&group);
        }
        let power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        !self.sparse_super || group == 1 || power_of(3) || power_of(5) || power_of(7)
    }

    /// How many blocks a group begins with that hold superblock and descriptors.
    pub fn leading_blocks(&self, group: u64) -> u64 {
        let per_block = self.descriptors_per_block();
        let superblock = u64::from(self.has_superblock(group));
        let meta = self.first_meta_bg.filter(|first| group >= first * per_block);
        if meta.is_some() {
            let place = group % per_block;
            let descriptors = u64::from(place <= 1 || place == per_block - 1);
            return superblock + descriptors;
        }
        let descriptors = self.first_meta_bg.unwrap_or(self.groups.div_ceil(per_block));
        superblock * (1 + descriptors + self.reserved_descriptor_blocks)
    }
}

fn clean(sb: &Fields) -> Result<(), Doubt> {
    require(sb.le16(58)? == CLEAN, "it was not unmounted cleanly, or has errors")?;
    require(sb.le32(232)? == 0, "it has files that were deleted while open")?;
    require(sb.le32(0x194)? == 0, "it has met errors")
}

fn checksums(sb: &Fields, incompat: u32, ro: u32) -> Result<Checksums, Doubt> {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(sb.slice(104, 16)?);
    if ro & RO_METADATA_CSUM == 0 {
        return Ok(if ro & RO_GDT_CSUM != 0 { Checksums::Descriptors { uuid } } else { Checksums::None });
    }
    require(sb.byte(0x175)? == CHECKSUM_CRC32C, "its checksums are of a kind that is not known")?;
    require(crc32c_raw(!0, sb.slice(0, 1020)?) == sb.le32(1020)?, "its superblock has a wrong checksum")?;
    let seed = if incompat & INCOMPAT_CSUM_SEED != 0 { sb.le32(0x270)? } else { crc32c_raw(!0, &uuid) };
    Ok(Checksums::All { seed })
}

fn clusters(sb: &Fields) -> Result<u64, Doubt> {
    let (blocks, clusters) = (sb.le32(24)?, sb.le32(28)?);
    require(clusters >= blocks, "its superblock makes no sense")?;
    let ratio = shifted(1, clusters - blocks)?;
    let agree = u64::from(sb.le32(36)?).checked_mul(ratio) == Some(sb.le32(32)?.into());
    require(agree, "its superblock makes no sense")?;
    Ok(ratio)
}

fn shifted(unit: u64, by: u32) -> Result<u64, Doubt> {
    require(by <= 20, "its superblock makes no sense")?;
    Ok(unit << by)
}

/// A number of which the upper half counts only where blocks have 64 bits.
fn wide(sb: &Fields, low: usize, high: usize, incompat: u32) -> Result<u64, Doubt> {
    let high = if incompat & INCOMPAT_64BIT != 0 { sb.le32(high)? } else { 0 };
    Ok(u64::from(high) << 32 | u64::from(sb.le32(low)?))
}
