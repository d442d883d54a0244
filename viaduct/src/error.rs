//! What can go wrong on a viaduct, with the thing, the cause and the remedy. Owns the exit codes; refuses vague errors:
//! whoever makes one must say what a person (or the next attempt) can do.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} is not valid: {why}")]
    Usage { what: String, why: String, remedy: String },

    #[error("identity {}: {why}", path.display())]
    Identity { path: PathBuf, why: String },

    #[error("{whom} shows the key {seen}, expected {expected}")]
    WrongPeer { whom: String, seen: String, expected: String },

    #[error("{whom} does not accept our key {ours}")]
    Refused { whom: String, ours: String },

    #[error("host {host} shows the host key {seen}, expected {expected}")]
    WrongHostKey { host: String, seen: String, expected: String },

    #[error("cannot log in as {user} on {host}: {why}")]
    Login { user: String, host: String, why: String },

    #[error("cannot run the viaduct on {host}: {why}")]
    Remote { host: String, why: String },

    #[error("cannot reach {whom}")]
    Unreachable { whom: String, source: std::io::Error },

    #[error("the connection to {whom} broke: {why}")]
    Broken { whom: String, why: String },

    #[error("{whom} said nothing for {secs} s")]
    Silent { whom: String, secs: u64 },

    #[error("no sender came within {secs} s")]
    NobodyCame { secs: u64 },

    #[error("no receiver for us came to relay {relay} within {secs} s")]
    NobodyWaits { relay: String, secs: u64 },

    #[error("relay {relay} does not carry for us: {why}")]
    Relay { relay: String, why: String },

    #[error("{whom} broke the protocol: {why}")]
    Protocol { whom: String, why: String },

    #[error("block at byte {offset} arrived damaged: {why}")]
    Corrupted { offset: u64, why: String },

    #[error("cannot {verb} {what}")]
    Io { verb: &'static str, what: String, source: std::io::Error },

    #[error("{what} of {have} bytes is too small for a disk of {need} bytes")]
    TargetTooSmall { what: String, have: u64, need: u64 },

    #[error("{what} has no room: {need} bytes are to come, {free} are free")]
    NoRoom { what: String, need: u64, free: u64 },

    #[error("{what} ran full during the copy")]
    TargetFull { what: String },

    #[error("{what} was written to during the copy: {why}")]
    SourceChanged { what: String, why: String },

    #[error("{what} cannot be sent by its bitmap: {why}")]
    Bitmap { what: String, why: String },

    #[error("journal {}: {why}", path.display())]
    Journal { path: PathBuf, why: String },

    #[error("{target} is held by a receiver of epoch {held}; this one has epoch {ours} and is fenced")]
    Fenced { target: String, held: u64, ours: u64 },

    #[error("{target} is held by process {pid}, which could not be ended: {why}")]
    TakeoverFailed { target: String, pid: u32, why: String },

    #[error("{what} differs from its source: {why}")]
    Differs { what: String, why: String },

    #[error("qemu-nbd could not serve {}: {why}", path.display())]
    QemuNbd { path: PathBuf, why: String },

    #[error("qemu-img could not make {}: {why}", path.display())]
    QemuImg { path: PathBuf, why: String },

    #[error("the stream on stdin is not the disk that was announced: {why}")]
    Stream { why: String },

    #[error("nbd server {whom}: {why}")]
    Nbd { whom: String, why: String },

    #[error("the tar stream cannot be read: {why}")]
    Tar { why: String },

    #[error("the caller went away")]
    CallerGone,

    /// What ended the task that keeps the journal, told to everybody who waits for it.
    #[error("{}", .0.message)]
    Keeper(Failure),

    /// The other end's own error, word for word.
    #[error("{}", .0.message)]
    Peer(Failure),
}

/// An error as it crosses a process border: the report on stdout, or the other end of the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub remedy: String,
    pub retryable: bool,
}

impl Error {
    pub(crate) fn io(verb: &'static str, what: impl std::fmt::Display, source: std::io::Error) -> Error {
        if matches!(source.raw_os_error(), Some(28 | 122)) {
            return Error::TargetFull { what: what.to_string() };
        }
        Error::Io { verb, what: what.to_string(), source }
    }

    pub(crate) fn usage(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Error {
        Error::Usage { what: what.into(), why: why.into(), remedy: remedy.into() }
    }

    pub(crate) fn protocol(whom: &str, why: impl Into<String>) -> Error {
        Error::Protocol { whom: whom.to_owned(), why: why.into() }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &str {
        match self {
            Error::Usage { .. } => "usage",
            Error::Identity { .. } => "identity",
            Error::WrongPeer { .. } => "wrong-peer",
            Error::Refused { .. } => "refused",
            Error::WrongHostKey { .. } => "wrong-host-key",
            Error::Login { .. } => "login",
            Error::Remote { .. } => "remote",
            Error::Unreachable { .. } => "unreachable",
            Error::Broken { .. } => "broken",
            Error::Silent { .. } => "silent",
            Error::NobodyCame { .. } => "nobody-came",
            Error::NobodyWaits { .. } => "nobody-waits",
            Error::Relay { .. } => "relay",
            Error::Protocol { .. } => "protocol",
            Error::Corrupted { .. } => "corrupted",
            Error::Io { .. } => "io",
            Error::TargetTooSmall { .. } => "target-too-small",
            Error::NoRoom { .. } => "no-room",
            Error::TargetFull { .. } => "target-full",
            Error::SourceChanged { .. } => "source-changed",
            Error::Bitmap { .. } => "bitmap",
            Error::Journal { .. } => "journal",
            Error::Fenced { .. } => "fenced",
            Error::TakeoverFailed { .. } => "takeover-failed",
            Error::Differs { .. } => "differs",
            Error::QemuNbd { .. } => "qemu-nbd",
            Error::QemuImg { .. } => "qemu-img",
            Error::Stream { .. } => "stream",
            Error::Nbd { .. } => "nbd",
            Error::Tar { .. } => "tar",
            Error::CallerGone => "caller-gone",
            Error::Keeper(failure) | Error::Peer(failure) => &failure.code,
        }
    }

    /// Whether the same call may succeed when it is simply made again.
    pub fn retryable(&self) -> bool {
        match self {
            Error::Unreachable { .. }
            | Error::Broken { .. }
            | Error::Silent { .. }
            | Error::NobodyCame { .. }
            | Error::NobodyWaits { .. }
            | Error::Corrupted { .. }
            | Error::CallerGone
            | Error::TakeoverFailed { .. }
            | Error::Differs { .. } => true,
            Error::Keeper(failure) | Error::Peer(failure) => failure.retryable,
            _ => false,
        }
    }

    /// Whether a new session with the same other end may go on where this one broke.
    pub(crate) fn resumable(&self) -> bool {
        matches!(
            self,
            Error::Broken { .. }
                | Error::Silent { .. }
                | Error::Unreachable { .. }
                | Error::NobodyWaits { .. }
        )
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Error::Usage { remedy, .. } => remedy.clone(),
            Error::Identity { .. } => {
                "make one with `viaduct identity FILE`, in a directory only its owner can write".into()
            }
            Error::WrongPeer { seen, .. } => {
                format!(
                    "if {seen} is the right peer, name it with --peer; if not, someone else answers there"
                )
            }
            Error::Refused { ours, .. } => {
                format!("start the other end with --peer {ours}, or use the identity it expects")
            }
            Error::WrongHostKey { seen, .. } => format!(
                "compare with `ssh-keygen -lf` on the host's own console; only if {seen} is right, name it with --peer or --known-hosts"
            ),
            Error::Login { .. } => {
                "put the public key (`viaduct identity FILE --ssh`) into authorized_keys of that user".into()
            }
            Error::Remote { .. } => "name a viaduct that runs there with --remote-viaduct PATH".into(),
            Error::Unreachable { .. } => {
                "check the address, that the receiver runs, and the firewall; then try again".into()
            }
            Error::Broken { .. } | Error::Silent { .. } | Error::CallerGone => {
                "start both ends again: what is durable at the target is not sent again".into()
            }
            Error::NobodyCame { .. } => {
                "start the sender, or give the receiver more time with --idle-secs".into()
            }
            Error::NobodyWaits { .. } => {
                "start the receiver with --via, the same --token-file or none, and --peer naming each other"
                    .into()
            }
            Error::Relay { .. } => {
                "check the relay's address, and that it and both ends have the same --token-file".into()
            }
            Error::Protocol { .. } => "use the same version of viaduct at both ends".into(),
            Error::Corrupted { .. } => "try again; if it happens again, test the memory of both hosts".into(),
            Error::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => "check the path".into(),
                std::io::ErrorKind::PermissionDenied => "run as a user who may open it".into(),
                _ => "look at the kernel log of that host".into(),
            },
            Error::TargetTooSmall { .. } => {
                "make the target at least as large as the source, or remove it to have it created".into()
            }
            Error::NoRoom { .. } => {
                "free space there, or allow it with --overcommit where the source is known to hold zeros"
                    .into()
            }
            Error::TargetFull { .. } => "free space there and start again: what is durable is kept".into(),
            Error::SourceChanged { .. } => {
                "stop whatever writes to the source, or copy a snapshot of it".into()
            }
            Error::Bitmap { .. } => {
                "make the bitmap anew when the next copy is done; this copy compares every block".into()
            }
            Error::Journal { path, .. } => {
                format!(
                    "forget it with `viaduct forget --journal {}`: the whole disk is sent again",
                    path.display()
                )
            }
            Error::Fenced { .. } => "give up: a newer task owns this target".into(),
            Error::TakeoverFailed { .. } => "end that process by hand, then try again".into(),
            Error::Differs { .. } => "forget the journal and copy again; test the target's storage".into(),
            Error::QemuNbd { .. } => {
                "check that the image is qcow2, that nobody has it open, and that qemu-utils is installed"
                    .into()
            }
            Error::QemuImg { .. } => {
                "see that qemu-img is there (package qemu-utils, on Fedora qemu-img), then finish again: the disk is kept"
                    .into()
            }
            Error::Stream { .. } => {
                "give the right --size, or lay the stream down first: leave --size away, and --spool says where"
                    .into()
            }
            Error::Nbd { .. } => {
                "check the export's name and that the server speaks fixed newstyle NBD".into()
            }
            Error::Tar { .. } => "feed it with `tar --xattrs --acls --numeric-owner -C DIR -cf - .`".into(),
            Error::Keeper(failure) | Error::Peer(failure) => failure.remedy.clone(),
        }
    }

    /// 75 is EX_TEMPFAIL: try again.
    pub fn exit_code(&self) -> u8 {
        if self.retryable() { 75 } else { 1 }
    }

    pub fn failure(&self) -> Failure {
        Failure {
            code: self.code().to_owned(),
            message: self.chain(),
            remedy: self.remedy(),
            retryable: self.retryable(),
        }
    }

    /// The message with its causes, for the one place where it is shown.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
