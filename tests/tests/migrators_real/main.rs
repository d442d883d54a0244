//! The migrators on real disks at a site of this very host, with guestfish and qemu-img as they are: guest work
//! proves itself on file systems made for the purpose, syncing on real viaducts.

mod adapt;
mod fold;
mod rehearse;
mod rewrite;
mod sshd;
mod stage;
mod sync;
mod window;
