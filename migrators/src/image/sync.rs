//! Moves the bytes of one disk: a viaduct at each site, started anew when either of them dies, until both ends have
//! finished with the same digest. What is durable at the target does not cross again: the receiver's journal knows.

mod attempt;
mod comes;
mod ends;
mod measured;
mod pipe;
mod report;
mod tally;

use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::progress::TransferReport;
use fluidcloud_proto::task::SyncDisk;
use fluidcloud_providers::{Command, Site};
use tokio::time::{Instant, sleep};

use crate::migrator::Progress;
use attempt::{Attempt, run_once};
use tally::Saver;

pub use comes::Comes;
pub use ends::Ends;

/// Attempts of one task, whatever they achieve.
pub const ATTEMPTS_MAX: u32 = 50;
/// Attempts in a row that bring nothing new to the target.
pub const ATTEMPTS_IN_VAIN_MAX: u32 = 6;
/// Pauses between attempts grow from this …
pub const PAUSE_MIN: Duration = Duration::from_millis(500);
/// … to this.
pub const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Waiting until nothing holds the target any more.
const HALT_SECS: u64 = 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("copying disk {disk}: {message}")]
    Viaduct { disk: String, code: String, message: String, remedy: String, retryable: bool },
    #[error("copying disk {disk}: the {end} at {host} ended without a word ({said})")]
    Died { disk: String, end: &'static str, host: String, said: String },
    #[error("copying disk {disk}: the {end} at {host} was left waiting, as the other end {said}")]
    LeftAlone { disk: String, end: &'static str, host: String, said: String },
    #[error("copying disk {disk}: the {end} at {host} said nothing for {secs} s")]
    Silent { disk: String, end: &'static str, host: String, secs: u64 },
    #[error("copying disk {disk}: the ends do not agree, sent was {sent} and received {received}")]
    Disagree { disk: String, sent: String, received: String },
    #[error("copying disk {disk}: the {end} says that it did not verify the digest")]
    Unverified { disk: String, end: &'static str },
    #[error(
        "copying disk {disk}: its target does not keep what is written to it, also not when all was copied again: {why}"
    )]
    DoesNotKeep { disk: String, why: String },
    #[error("copying disk {disk}: {what} has another {algorithm} than what was sent, {sent} became {stored}")]
    Stored { disk: String, what: String, algorithm: String, sent: String, stored: String },
    #[error("copying disk {disk}: the cloud tells no digest of {what}, so that nobody knows what it holds")]
    Untold { disk: String, what: String },
    #[error("the site of provider `{provider}` does not say how others log in there over ssh")]
    NoPeerSsh { provider: String },
    #[error("`viaduct identity` at {host} answered `{answer}`")]
    Identity { host: String, answer: String },
}

impl Error {
    pub fn retryable(&self) -> bool {
        match self {
            Self::Viaduct { retryable, .. } => *retryable,
            Self::Died { .. }
            | Self::LeftAlone { .. }
            | Self::Silent { .. }
            | Self::Disagree { .. }
            | Self::Stored { .. } => true,
            Self::Unverified { .. }
            | Self::DoesNotKeep { .. }
            | Self::Untold { .. }
            | Self::NoPeerSsh { .. }
            | Self::Identity { .. } => false,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Viaduct { code, .. } => code_of(code),
            Self::Died { .. } | Self::LeftAlone { .. } => Code::Unreachable,
            Self::Silent { .. } => Code::TimedOut,
            Self::Disagree { .. }
            | Self::Unverified { .. }
            | Self::DoesNotKeep { .. }
            | Self::Stored { .. } => Code::Corrupted,
            Self::NoPeerSsh { .. } | Self::Untold { .. } => Code::Provider,
            Self::Identity { .. } => Code::Internal,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Viaduct { remedy, .. } => remedy.clone(),
            Self::Died { .. } => {
                "see the log of that host for who ended it (memory, a person); it is tried again".into()
            }
            Self::LeftAlone { .. } => {
                "check the network between the two hosts and what the other end said; it is tried again"
                    .into()
            }
            Self::Silent { .. } => "check the storage and the network of that host; it is tried again".into(),
            Self::Disagree { .. } => "test the memory and storage of both hosts; it is copied again".into(),
            Self::Unverified { .. } => "use the same version of viaduct at both ends".into(),
            Self::DoesNotKeep { .. } => {
                "test the storage of the target's host before it is used again".into()
            }
            Self::Stored { .. } => {
                "it is sent again; if it happens often, see the logs of the image and the volume service"
                    .into()
            }
            Self::Untold { .. } => "describe a helper in that provider's configuration (`helper`)".into(),
            Self::NoPeerSsh { .. } => {
                "add `site.peer_ssh` to the target provider's configuration, or use the tcp transport".into()
            }
            Self::Identity { .. } => {
                "remove the pushed binary in the site's `bin` directory; it is pushed anew".into()
            }
        }
    }

    pub fn to_failure(&self) -> Failure {
        let make = if self.retryable() { Failure::later } else { Failure::never };
        make(self.code(), self.to_string(), self.remedy())
    }
}

/// The words of the viaduct in those of the bus.
fn code_of(code: &str) -> Code {
    match code {
        "wrong-peer" | "refused" => Code::PeerKey,
        "wrong-host-key" => Code::HostKey,
        "login" => Code::Unauthorized,
        "unreachable" | "broken" | "silent" | "nobody-came" | "caller-gone" => Code::Unreachable,
        "corrupted" | "differs" => Code::Corrupted,
        "no-room" | "target-full" | "target-too-small" => Code::NoRoom,
        "source-changed" => Code::SourceChanged,
        "fenced" => Code::Fenced,
        _ => Code::Internal,
    }
}

/// Copies until both ends agree, or until it is in vain. Dropping the future ends both ends.
pub async fn sync(ends: &Ends<'_>, progress: &Progress) -> Result<TransferReport, crate::Error> {
    let began = Instant::now();
    let (saver, mut tally) = Saver::load(&ends.target, ends.tally()).await;
    let mut in_vain = 0;
    let mut pause = PAUSE_MIN;
    let mut forgot = false;
    for number in 1.. {
        let Attempt { outcome, last, fresh_bytes } = run_once(ends, &tally, progress, &saver).await;
        let error = match outcome {
            Ok(agreed) => return Ok(tally.report(ends.disk(), last, agreed, began.elapsed())),
            Err(error) => error,
        };
        tally = tally.with(last);
        if fresh_bytes > 0 {
            in_vain = 0;
            pause = PAUSE_MIN;
        } else {
            in_vain += 1;
        }
        // By the same epoch it can only be held by an attempt of ours that is still ending.
        let fenced = matches!(&error, crate::Error::Sync(error) if error.code() == Code::Fenced);
        if !(error.retryable() || fenced) || in_vain >= ATTEMPTS_IN_VAIN_MAX || number >= ATTEMPTS_MAX {
            return Err(error);
        }
        tracing::warn!(disk = %ends.disk(), number, %error, "copying is tried again");
        // What was killed with us in the middle may hold the target for a moment; the next attempt would be fenced.
        if let Err(error) = halt(&*ends.target, ends.order()).await {
            tracing::debug!(disk = %ends.disk(), %error, "cannot see whether the target is free");
        }
        let differs = matches!(&error, crate::Error::Sync(Error::Viaduct { code, .. }) if code == "differs");
        if differs {
            // All is copied again, but only once: storage that does not keep what is written is no matter of retries.
            if std::mem::replace(&mut forgot, true) {
                let (disk, why) = (ends.disk().to_string(), error.to_string());
                return Err(Error::DoesNotKeep { disk, why }.into());
            }
            if let Err(cannot) = ends.forget().await {
                tracing::warn!(disk = %ends.disk(), error = %cannot, "cannot forget what the target held");
                return Err(error);
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    unreachable!("the loop ends by its bound")
}

/// Returns when no receiver of ours holds the target disk any more.
pub(super) async fn halt(site: &dyn Site, order: &SyncDisk) -> Result<(), crate::Error> {
    // The kernel knows who has it open, whatever became of pid files.
    // A place may be a link to the device that is open.
    const WAIT: &str = "set -- \"$(readlink -f -- \"$1\" || echo \"$1\")\"; t=0; while :; do held=
for fd in /proc/[0-9]*/fd/*; do [ \"$(readlink \"$fd\" 2>/dev/null)\" = \"$1\" ] && held=y && break; done
[ -n \"$held\" ] || exit 0; [ $t -lt 75 ] || exit 1; t=$((t+1)); sleep 0.2; done";
    let command = Command::new("sh").args(["-c", WAIT, "halt", &order.to.path]).timeout_secs(HALT_SECS);
    site.run(&command).await?;
    Ok(())
}
