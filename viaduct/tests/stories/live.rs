//! Only what lives is read: real file systems, used and deleted from, come out whole and clean from a copy that leaves
//! their free space as zeros; and what is not clean, or not understood, is read whole.

mod btrfs;
mod disks;
mod ext;
mod hurt;
mod images;
mod matrix;
mod xfs;
