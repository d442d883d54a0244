//! What a copy in one process is told.

use super::{ReportFormat, bytes};
use clap::Args;
use std::path::PathBuf;
use viaduct::{Disk, Finish};

#[derive(Debug, Args)]
pub struct CopyArgs {
    /// The disk to read: file:PATH, qcow2:PATH, nbd://..., nbd+unix://..., dd+ssh://USER@HOST[:PORT]/PATH (a raw file or
    /// device on a host that has no more than a shell and dd), or - for stdin
    #[arg(long)]
    pub from: Disk,
    /// Where it goes, written likewise. What is written to a far host is read back and compared. To stdout all of it goes in
    /// order, zeros too; nothing of that can be verified or resumed, and reports go to stderr
    #[arg(long)]
    pub to: Disk,
    /// dd+ssh: our private key, OpenSSH, PEM, or a viaduct identity
    #[arg(long)]
    pub identity: Option<PathBuf>,
    /// dd+ssh: the host key's fingerprint, SHA256:...
    #[arg(long, requires = "identity")]
    pub peer: Option<String>,
    /// dd+ssh: the host keys we know, instead of --peer
    #[arg(long, conflicts_with = "peer", requires = "identity")]
    pub known_hosts: Option<PathBuf>,
    /// dd+ssh: go on trying to reach the host for so long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86400))]
    pub retry_secs: u64,
    /// With --from -: how many bytes will come; more or less is an error
    #[arg(long, value_parser = bytes)]
    pub size: Option<u64>,
    /// With --from - and no --size: the directory where the stream is laid down [default: $TMPDIR or /var/tmp]
    #[arg(long, conflicts_with = "size")]
    pub spool: Option<PathBuf>,
    /// Make an image of the copy with qemu-img, and compare it with the copy: vmdk:PATH (streamOptimized), vhd:PATH (dynamic)
    /// or vhd-fixed:PATH; may be repeated
    #[arg(long)]
    pub finish: Vec<Finish>,
    /// Directory for what is known of the target [default: beside the target, PATH.viaduct]
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// Bytes per block, a power of two; the digest depends on it [default: 1 MiB, larger beyond 2 TiB]
    #[arg(long, value_parser = bytes)]
    pub block_size: Option<u64>,
    /// Read the free space of file systems too, instead of leaving it as zeros
    #[arg(long)]
    pub whole: bool,
    /// Read the whole target again at the end and compare
    #[arg(long)]
    pub verify_target: bool,
    /// Begin even if the target has less free space than the source has data
    #[arg(long)]
    pub overcommit: bool,
    #[arg(long, value_enum, default_value = "text")]
    pub report: ReportFormat,
    /// End when stdin does
    #[arg(long)]
    pub die_with_stdin: bool,
}
