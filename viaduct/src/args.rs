//! The command line, and nothing else.

mod copy;

pub use copy::CopyArgs;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use viaduct::{Disk, Error, Finish};

/// Carries one disk from here to there: verified, resumable, encrypted.
#[derive(Debug, Parser)]
#[command(name = "viaduct", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key pair in FILE (or use the one there) and print its fingerprint
    Identity(IdentityArgs),
    /// Receive one disk, verify it, make it durable
    Receive(ReceiveArgs),
    /// Send one disk
    Send(SendArgs),
    /// Carry between two ends that cannot reach each other but both reach this host; it can read nothing of what it carries
    Relay(RelayArgs),
    /// Carry stdin and stdout to a receiver's socket (the further streams of the ssh transport)
    #[command(hide = true)]
    Join { socket: PathBuf },
    /// Print the root digest of a disk that lies still
    Digest(DigestArgs),
    /// Read a tar stream on stdin, print a digest of the tree that does not depend on its order
    Tree,
    /// Copy one disk in one process: into and out of pipes, other formats, and hosts that have no more than sshd and dd
    Copy(CopyArgs),
    /// Serve a file or device over stdin and stdout by the NBD protocol, to one client
    Serve(ServeArgs),
    /// Forget what a receiver knows of its target, so that everything is sent again
    Forget(ForgetArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One JSON object per line on stdout
    Json,
    /// For people, on stderr
    Text,
}

#[derive(Debug, Args)]
pub struct IdentityArgs {
    pub file: PathBuf,
    /// Print the public key for authorized_keys instead
    #[arg(long)]
    pub ssh: bool,
}

#[derive(Debug, Args)]
pub struct ReceiveArgs {
    /// HOST:PORT to listen on; port 0 takes a free one, told in the first line of the report
    #[arg(long, required_unless_present_any = ["stdio", "via"])]
    pub listen: Option<String>,
    /// HOST:PORT of a relay to wait at for the sender, where it cannot call us
    #[arg(long, conflicts_with_all = ["listen", "stdio"])]
    pub via: Option<String>,
    /// With --via: a file with a secret that the sender has too. Two transfers between the same two identities at one relay
    /// need two of them; a relay with a token wants it
    #[arg(long, requires = "via")]
    pub token_file: Option<PathBuf>,
    /// Speak over stdin and stdout, as the far half of the ssh transport; JSON reports go to stderr
    #[arg(long, conflicts_with_all = ["listen", "identity", "peer"])]
    pub stdio: bool,
    /// Where the disk goes: file:PATH, qcow2:PATH, nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH; or - for
    /// stdout: a pipe takes no block before those in front of it, so the disk is laid down first (see --spool), and not a
    /// byte of it leaves before all of it is verified; reports go to stderr
    #[arg(long)]
    pub to: Disk,
    /// With --to -: the directory where the disk is laid down; it takes as much room as the disk has data [default: $TMPDIR
    /// or /var/tmp]
    #[arg(long)]
    pub spool: Option<PathBuf>,
    /// Make an image of the received disk with qemu-img, and compare it with the disk: vmdk:PATH (streamOptimized),
    /// vhd:PATH (dynamic) or vhd-fixed:PATH; may be repeated
    #[arg(long)]
    pub finish: Vec<Finish>,
    /// A disk at this site from which blocks may be copied instead of being sent: a base image, another disk of the same
    /// service, an earlier state; may be repeated
    #[arg(long)]
    pub have: Vec<Disk>,
    /// Our key pair
    #[arg(long, required_unless_present = "stdio")]
    pub identity: Option<PathBuf>,
    /// The sender's fingerprint
    #[arg(long, required_unless_present = "stdio")]
    pub peer: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    pub report: ReportFormat,
    /// Directory for what is known of the target [default: beside the target, PATH.viaduct]
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// A receiver with a higher epoch ends one with a lower and takes its target
    #[arg(long, default_value_t = 0)]
    pub epoch: u64,
    /// End when stdin does
    #[arg(long)]
    pub die_with_stdin: bool,
    /// Wait so long for a sender that is not there (any more)
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub idle_secs: u64,
    /// Read the whole target again at the end and compare
    #[arg(long)]
    pub verify_target: bool,
    /// Begin even if the target has less free space than the source has data
    #[arg(long)]
    pub overcommit: bool,
}

#[derive(Debug, Args)]
pub struct SendArgs {
    /// The disk to read: file:PATH, qcow2:PATH, nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH; or - for stdin:
    /// with --size as it comes, otherwise laid down first (see --spool). A pipe has no holes and is read once: where the line
    /// breaks, run both ends again, and what is durable at the target is not sent again
    #[arg(long)]
    pub from: Disk,
    /// With --from -: how many bytes will come; more or less is an error
    #[arg(long, value_parser = bytes)]
    pub size: Option<u64>,
    /// With --from - and no --size: the directory where the stream is laid down [default: $TMPDIR or /var/tmp]
    #[arg(long, conflicts_with = "size")]
    pub spool: Option<PathBuf>,
    /// tls://HOST:PORT of a receiver, or ssh://USER@HOST[:PORT]/PATH of a raw file or device to write
    #[arg(long, required_unless_present = "via")]
    pub to: Option<String>,
    /// HOST:PORT of a relay where the receiver waits
    #[arg(long, conflicts_with = "to")]
    pub via: Option<String>,
    /// With --via: the file with the secret that the receiver has too
    #[arg(long, requires = "via")]
    pub token_file: Option<PathBuf>,
    /// Our key pair; for ssh an OpenSSH or PEM private key will do too
    #[arg(long)]
    pub identity: PathBuf,
    /// The receiver's fingerprint; for ssh the host key's, SHA256:...
    #[arg(long, required_unless_present = "known_hosts")]
    pub peer: Option<String>,
    /// ssh: the host keys we know, instead of --peer
    #[arg(long, conflicts_with = "peer")]
    pub known_hosts: Option<PathBuf>,
    /// ssh: the far end, where it is not a raw file named in --to
    #[arg(long)]
    pub remote_to: Option<Disk>,
    /// ssh: a viaduct on the far host, instead of pushing this one
    #[arg(long)]
    pub remote_viaduct: Option<String>,
    /// ssh: an option for the far receiver, as --remote-arg=--epoch=7; may be repeated
    #[arg(long = "remote-arg", allow_hyphen_values = true)]
    pub remote_args: Vec<String>,
    /// nbd: the dirty bitmap that tells what has changed; what has not is not read if the receiver has it
    #[arg(long)]
    pub bitmap: Option<String>,
    /// The digest of the transfer since which the bitmap counts; without it any that came to its end is believed to be the
    /// one
    #[arg(long, requires = "bitmap")]
    pub since: Option<String>,
    /// Parallel connections, fewer where blocks are larger than 1 MiB [default: chosen from the line]
    #[arg(long)]
    pub streams: Option<u16>,
    /// At most so many bytes per second on the wire; K, M and G are understood
    #[arg(long, value_parser = bytes)]
    pub rate: Option<u64>,
    #[arg(long, value_enum, default_value = "text")]
    pub report: ReportFormat,
    /// End when stdin does
    #[arg(long)]
    pub die_with_stdin: bool,
    /// Bytes per block, a power of two; both ends' digests depend on it [default: 1 MiB, larger beyond 2 TiB]
    #[arg(long, value_parser = bytes)]
    pub block_size: Option<u64>,
    /// Read the free space of file systems too, instead of leaving it as zeros
    #[arg(long)]
    pub whole: bool,
    /// Go on trying to reach the receiver for so long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86400))]
    pub retry_secs: u64,
}

#[derive(Debug, Args)]
pub struct RelayArgs {
    /// HOST:PORT to listen on; port 0 takes a free one, told in the first line of the report
    #[arg(long)]
    pub listen: String,
    /// Carry only for ends that have the token in this file too, instead of for everybody who can reach us
    #[arg(long)]
    pub token_file: Option<PathBuf>,
    /// Connections at a time: a stream takes two, a receiver that waits takes 4; one address may have a quarter of them
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(8..=65536))]
    pub max_connections: u32,
    #[arg(long, value_enum, default_value = "text")]
    pub report: ReportFormat,
    /// End when stdin does
    #[arg(long)]
    pub die_with_stdin: bool,
}

#[derive(Debug, Args)]
pub struct DigestArgs {
    #[arg(long)]
    pub from: Disk,
    /// As given to send
    #[arg(long, value_parser = bytes)]
    pub block_size: Option<u64>,
    /// Look at the first so many bytes only, where the target is larger than its source
    #[arg(long, value_parser = bytes)]
    pub size: Option<u64>,
    /// Take the free space of file systems for zeros, as send does without --whole
    #[arg(long, conflicts_with = "size")]
    pub live: bool,
}

#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The journal's directory
    #[arg(long, required_unless_present = "to", conflicts_with = "to")]
    pub journal: Option<PathBuf>,
    /// The target whose journal is at the default place
    #[arg(long)]
    pub to: Option<Disk>,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    pub disk: PathBuf,
    #[arg(long)]
    pub read_only: bool,
    /// A file that is locked meanwhile, so that nobody else serves the disk under it
    #[arg(long, requires = "epoch", required_unless_present = "read_only")]
    pub lock: Option<PathBuf>,
    /// Number of the task: who comes with a higher one ends the holder of the lock, who comes with a lower one is refused
    #[arg(long, requires = "lock")]
    pub epoch: Option<u64>,
}

impl Cli {
    pub fn report(&self) -> ReportFormat {
        match &self.command {
            Command::Receive(args) => args.report,
            Command::Send(args) => args.report,
            Command::Relay(args) => args.report,
            Command::Copy(args) => args.report,
            _ => ReportFormat::Text,
        }
    }

    /// Whether stdout belongs to the transfer.
    pub fn speaks_over_stdio(&self) -> bool {
        match &self.command {
            Command::Receive(args) => args.stdio || args.to == Disk::Stdio,
            Command::Copy(args) => args.to == Disk::Stdio,
            _ => false,
        }
    }

    pub fn dies_with_stdin(&self) -> bool {
        match &self.command {
            // Over stdio the listener itself watches stdin.
            Command::Receive(args) => args.die_with_stdin && !args.stdio,
            // A stdin that carries a disk ends when the disk does.
            Command::Send(args) => args.die_with_stdin && args.from != Disk::Stdio,
            Command::Copy(args) => args.die_with_stdin && args.from != Disk::Stdio,
            Command::Relay(args) => args.die_with_stdin,
            _ => false,
        }
    }
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A number of bytes, with K, M, G or T for powers of 1024.
fn bytes(text: &str) -> Result<u64, Error> {
    let wrong = || Error::Usage {
        what: format!("`{text}`"),
        why: "it is not a number of bytes".into(),
        remedy: "write digits, then K, M, G or T if you like".into(),
    };
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].trim_end_matches(['i', 'B']).to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn bytes_are_written_as_people_write_them() {
        for (text, expected) in
            [("5", 5), ("64K", 65536), ("1MiB", 1 << 20), ("2g", 2 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(bytes(text).unwrap(), expected);
        }
        for wrong in ["", "0", "-1", "5x", "K", "99999999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
