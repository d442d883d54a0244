//! The two ends of a transfer: what is run at which site, with whose identity. No secret is an argument: keys are
//! named by their paths at the site.

use std::path::PathBuf;
use std::sync::Arc;

use fluidcloud_proto::ids::{DiskId, Epoch};
use fluidcloud_proto::request::TransportKind;
use fluidcloud_proto::task::SyncDisk;
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};
use fluidcloud_providers::{Command, Site};

use super::Error;
use crate::binary::{ViaductBinary, text};

/// Making an identity takes a moment, waiting for another maker of it a little more.
const IDENTITY_SECS: u64 = 60;
const FORGET_SECS: u64 = 60;
const FINGERPRINT_CHARS_MAX: usize = 256;
/// The target is read back before it counts as verified. A journal says what an earlier attempt has written; what the
/// disk gives back, after a crash above all, only the disk itself says. What was just written comes from memory, at
/// about a second per GiB.
const VERIFY: &str = "--verify-target";

/// Everything that stays the same over the attempts of one transfer.
#[derive(Debug)]
pub struct Ends<'a> {
    viaduct: &'a ViaductBinary,
    pub(super) source: Arc<dyn Site>,
    pub(super) target: Arc<dyn Site>,
    order: &'a SyncDisk,
    epoch: Epoch,
}

/// What an attempt needs at one site.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    program: PathBuf,
    identity: PathBuf,
    fingerprint: String,
}

impl<'a> Ends<'a> {
    pub fn new(
        viaduct: &'a ViaductBinary,
        source: Arc<dyn Site>,
        target: Arc<dyn Site>,
        order: &'a SyncDisk,
        epoch: Epoch,
    ) -> Self {
        Self { viaduct, source, target, order, epoch }
    }

    pub fn disk(&self) -> &DiskId {
        &self.order.disk
    }

    /// Where the sums over attempts are kept: beside the journal.
    pub(super) fn tally(&self) -> PathBuf {
        PathBuf::from(format!("{}.viaduct-tally", self.order.to.path))
    }

    pub(super) fn order(&self) -> &SyncDisk {
        self.order
    }

    pub(super) fn transport(&self) -> TransportKind {
        self.order.transport.kind
    }

    /// Binary and identity at both sites: `(source, target)`.
    pub(super) async fn prepare(&self) -> Result<(Prepared, Prepared), crate::Error> {
        futures::future::try_join(self.prepare_at(&*self.source), self.prepare_at(&*self.target)).await
    }

    async fn prepare_at(&self, site: &dyn Site) -> Result<Prepared, crate::Error> {
        let program = self.viaduct.push(site).await?;
        let dir = site.dir().join("identity");
        let identity = dir.join("viaduct.key");
        let script = r#"umask 077 && mkdir -p "$1" && exec "$2" identity "$3""#;
        let command = Command::new("sh")
            .args(["-c", script, "identity", &text(&dir), &text(&program), &text(&identity)])
            .timeout_secs(IDENTITY_SECS);
        let answer = site.run(&command).await?.text();
        let fingerprint = answer.trim().to_owned();
        let one_word = !fingerprint.is_empty() && !fingerprint.contains(char::is_whitespace);
        if !one_word || fingerprint.len() > FINGERPRINT_CHARS_MAX {
            let answer = answer.chars().take(FINGERPRINT_CHARS_MAX).collect();
            return Err(Error::Identity { host: site.host().to_owned(), answer }.into());
        }
        Ok(Prepared { program, identity, fingerprint })
    }

    /// What the journal says is not what the disk holds: the next attempt begins from nothing.
    pub(super) async fn forget(&self) -> Result<(), crate::Error> {
        let program = self.viaduct.push(&*self.target).await?;
        let command = Command::new(&program)
            .args(["forget", "--journal", &text(&journal(&self.order.to))])
            .timeout_secs(FORGET_SECS);
        self.target.run(&command).await?;
        Ok(())
    }

    /// The receiver at the target; it says where it listens.
    pub(super) fn receiver(&self, source: &Prepared, target: &Prepared) -> Command {
        let listen = match self.target.listens_at() {
            address if address.contains(':') => format!("[{address}]:0"),
            address => format!("{address}:0"),
        };
        Command::new(&target.program)
            .args(["receive", "--listen", &listen, "--to", &uri(&self.order.to)])
            .args(["--identity", &text(&target.identity), "--peer", &source.fingerprint])
            .args(["--journal", &text(&journal(&self.order.to))])
            .args(["--epoch", &self.epoch.to_string(), VERIFY, "--report", "json", "--die-with-stdin"])
    }

    /// Where the sender finds a receiver that listens at `own`.
    pub(super) fn reached_at(&self, own: &str) -> String {
        let (address, port) = (self.target.address(), own.rsplit(':').next().unwrap_or_default());
        match address == self.target.listens_at() {
            true => own.to_owned(),
            false if address.contains(':') => format!("[{address}]:{port}"),
            false => format!("{address}:{port}"),
        }
    }

    /// The sender at the source, to a receiver that is reached at `address`.
    pub(super) fn sender(&self, source: &Prepared, target: &Prepared, address: &str) -> Command {
        let command = Command::new(&source.program)
            .args([
                "send",
                "--from",
                &uri(&self.source.shown(&self.order.from)),
                "--to",
                &format!("tls://{address}"),
            ])
            .args(["--identity", &text(&source.identity), "--peer", &target.fingerprint]);
        self.limits(command)
    }

    /// The sender at the source, which logs in at the target and runs the receiver there by itself.
    pub(super) fn ssh_sender(&self, target: &Prepared, source: &Prepared) -> Result<Command, Error> {
        let ssh = self
            .target
            .peer_ssh()
            .ok_or_else(|| Error::NoPeerSsh { provider: self.target.id().to_string() })?;
        let host = if ssh.host.contains(':') { format!("[{}]", ssh.host) } else { ssh.host.clone() };
        let to = format!("ssh://{}@{host}:{}{}", ssh.user, ssh.port, self.order.to.path);
        let command = Command::new(&source.program)
            .args([
                "send",
                "--from",
                &uri(&self.source.shown(&self.order.from)),
                "--to",
                &to,
                "--remote-to",
                &uri(&self.order.to),
            ])
            .args(["--identity", &text(&ssh.key), "--known-hosts", &text(&ssh.known_hosts)])
            .args(["--remote-viaduct", &text(&target.program)])
            .arg(format!("--remote-arg=--journal={}", text(&journal(&self.order.to))))
            .arg(format!("--remote-arg=--epoch={}", self.epoch))
            .arg(format!("--remote-arg={VERIFY}"));
        Ok(self.limits(command))
    }

    fn limits(&self, mut command: Command) -> Command {
        if let Some(streams) = self.order.transport.streams {
            command = command.args(["--streams", &streams.to_string()]);
        }
        if let Some(rate) = self.order.transport.rate_bytes_per_sec {
            command = command.args(["--rate", &rate.to_string()]);
        }
        if self.order.transport.whole {
            command = command.args(["--whole"]);
        }
        command.args(["--report", "json", "--die-with-stdin"])
    }
}

pub(super) fn uri(place: &DiskPlace) -> String {
    match place.format {
        DiskFormat::Raw => format!("file:{}", place.path),
        DiskFormat::Qcow2 => format!("qcow2:{}", place.path),
    }
}

/// Beside the disk, where the driver finds and removes it.
fn journal(place: &DiskPlace) -> PathBuf {
    PathBuf::from(format!("{}.viaduct", place.path))
}
