//! One attempt: both ends are started, listened to, and judged by what they said. Dropping it ends both.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fluidcloud_proto::progress::Area;
use fluidcloud_proto::request::TransportKind;
use fluidcloud_providers::{Command, Line, Running, Site};
use tokio::time::{Instant, timeout, timeout_at};

use super::Error;
use super::ends::{Ends, Prepared};
use super::report::{Counts, Finished, Said, parse};
use super::tally::{Saver, Tally};
use crate::migrator::Progress;

/// The receiver may look at its journal and make room before it listens.
const LISTEN: Duration = Duration::from_secs(120);
/// The ends speak every half second; so long a silence means that a host hangs.
const SILENCE: Duration = Duration::from_secs(180);
/// When one end has failed, the other may still say why.
const LAST_WORD: Duration = Duration::from_secs(8);
/// When one end was killed, the other tells how far it was at its next turn.
const LAST_COUNT: Duration = Duration::from_secs(1);
/// Lines of noise kept of an end, for the message when it dies.
const NOISE_LINES_MAX: usize = 3;
const NOISE_CHARS_MAX: usize = 200;
/// Parts of a disk that are told in the report: as many as a GPT has places for.
const AREAS_MAX: usize = 128;

pub(super) struct Attempt {
    pub outcome: Result<Agreed, crate::Error>,
    pub last: Counts,
    /// What this attempt brought to the target.
    pub fresh_bytes: u64,
}

/// What both ends agree on, and what the sender alone knows.
#[derive(Debug)]
pub(super) struct Agreed {
    pub digest: String,
    pub bytes_free: u64,
    pub areas: Vec<Area>,
}

pub(super) async fn run_once(ends: &Ends<'_>, tally: &Tally, progress: &Progress, saved: &Saver) -> Attempt {
    let mut last = Counts::default();
    let outcome = run(ends, &mut |counts| {
        last = last.with(counts);
        progress.tell(tally.progress(last));
        saved.keep(tally.with(last));
    })
    .await;
    Attempt { outcome, last, fresh_bytes: last.bytes_done.saturating_sub(last.bytes_reused) }
}

async fn run(ends: &Ends<'_>, told: &mut (dyn FnMut(Counts) + Send)) -> Result<Agreed, crate::Error> {
    let (source, target) = ends.prepare().await?;
    match ends.transport() {
        TransportKind::Tcp => over_tcp(ends, &source, &target, told).await,
        TransportKind::Ssh => {
            let command = ends.ssh_sender(&target, &source)?;
            let mut sender = End::start(ends, "sender", &*ends.source, &command).await?;
            match sender.finish(told).await {
                // Over ssh the receiver reports to the sender, which says that both agreed.
                Ok(finished) => Ok(sender.agreed(verified(ends, "sender", finished)?)),
                Err(error) => Err(error.into()),
            }
        }
    }
}

async fn over_tcp(
    ends: &Ends<'_>,
    source: &Prepared,
    target: &Prepared,
    told: &mut (dyn FnMut(Counts) + Send),
) -> Result<Agreed, crate::Error> {
    let command = ends.receiver(source, target);
    let mut receiver = End::start(ends, "receiver", &*ends.target, &command).await?;
    let address = ends.reached_at(&receiver.listening().await?);
    let command = ends.sender(source, target, &address);
    let mut sender = End::start(ends, "sender", &*ends.source, &command).await?;
    let (sent, received) = both(&mut sender, &mut receiver, told).await;
    match (sent, received) {
        (Ok(sent), Ok(received)) => {
            let sent = verified(ends, "sender", sent)?;
            let received = verified(ends, "receiver", received)?;
            told(sent.counts);
            if sent.digest == received.digest {
                return Ok(sender.agreed(sent));
            }
            let disk = ends.disk().to_string();
            Err(Error::Disagree { disk, sent: sent.digest, received: received.digest }.into())
        }
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error.into()),
        (Err(sent), Err(received)) => Err(telling(sent, received).into()),
    }
}

/// Listens to both until both have ended; when one fails, the other has a moment to say why.
async fn both(
    sender: &mut End,
    receiver: &mut End,
    told: &mut (dyn FnMut(Counts) + Send),
) -> (Result<Finished, Error>, Result<Finished, Error>) {
    // Both count the same; when one dies, the other knows better how far it was.
    let (left_sender, left_receiver) = (sender.left_alone(), receiver.left_alone());
    let told = Mutex::new(told);
    let tell = |counts| told.lock().unwrap_or_else(PoisonError::into_inner)(counts);
    let (mut sent, mut received) = (tell, tell);
    let sending = sender.finish(&mut sent);
    let receiving = receiver.finish(&mut received);
    tokio::pin!(sending, receiving);
    tokio::select! {
        sent = &mut sending => {
            let patience = patience(&sent);
            let received = timeout(patience, &mut receiving).await;
            let received = received.unwrap_or_else(|_| Err(left_receiver(&sent)));
            (sent, received)
        }
        received = &mut receiving => {
            let patience = patience(&received);
            let sent = timeout(patience, &mut sending).await;
            let sent = sent.unwrap_or_else(|_| Err(left_sender(&received)));
            (sent, received)
        }
    }
}

/// How long the other end is listened to after this one has ended.
fn patience(ended: &Result<Finished, Error>) -> Duration {
    match ended {
        Ok(_) => SILENCE,
        // Killed: the other one waits for it to come back, and only its count is of interest.
        Err(Error::Died { .. }) => LAST_COUNT,
        Err(_) => LAST_WORD,
    }
}

/// Of two errors the one that says more: what must not be retried, then what an end said itself.
fn telling(sent: Error, received: Error) -> Error {
    let rank = |error: &Error| match error {
        Error::Viaduct { retryable: false, .. } => 3,
        // That the line broke is the other one's view of the same.
        Error::Viaduct { code, .. } if !matches!(code.as_str(), "broken" | "silent" | "caller-gone") => 2,
        Error::Died { .. } | Error::Silent { .. } => 1,
        _ => 0,
    };
    if rank(&received) > rank(&sent) { received } else { sent }
}

fn verified(ends: &Ends<'_>, end: &'static str, finished: Finished) -> Result<Finished, Error> {
    if finished.verified {
        Ok(finished)
    } else {
        Err(Error::Unverified { disk: ends.disk().to_string(), end })
    }
}

/// One running viaduct.
struct End {
    name: &'static str,
    disk: String,
    host: String,
    running: Running,
    failed: Option<Error>,
    finished: Option<Finished>,
    areas: Vec<Area>,
    noise: VecDeque<String>,
}

impl End {
    async fn start(
        ends: &Ends<'_>,
        name: &'static str,
        site: &dyn Site,
        command: &Command,
    ) -> Result<Self, crate::Error> {
        let running = site.start(command).await?;
        Ok(Self {
            name,
            disk: ends.disk().to_string(),
            host: site.host().to_owned(),
            running,
            failed: None,
            finished: None,
            areas: Vec::new(),
            noise: VecDeque::new(),
        })
    }

    async fn listening(&mut self) -> Result<String, Error> {
        let until = Instant::now() + LISTEN;
        loop {
            match timeout_at(until, self.next()).await {
                Err(_) => return Err(self.silent(LISTEN)),
                Ok(Some(Said::Listening { address })) => return Ok(address),
                Ok(Some(_)) => {}
                Ok(None) => return Err(self.died()),
            }
        }
    }

    async fn finish(&mut self, told: &mut (dyn FnMut(Counts) + Send)) -> Result<Finished, Error> {
        loop {
            match timeout(SILENCE, self.next()).await {
                Err(_) => return Err(self.silent(SILENCE)),
                Ok(Some(Said::Progress(counts))) => told(counts),
                Ok(Some(_)) => {}
                Ok(None) => match self.finished.take() {
                    Some(finished) => return Ok(finished),
                    None => return Err(self.died()),
                },
            }
        }
    }

    /// What it says next; `None` when it has ended. Cancel-safe.
    async fn next(&mut self) -> Option<Said> {
        loop {
            let line = match self.running.next().await {
                Some(Line::Stdout(line)) => line,
                Some(Line::Stderr(line)) => {
                    self.keep(&line);
                    continue;
                }
                Some(Line::Exit(_)) | None => return None,
            };
            let Some(said) = parse(&line) else {
                self.keep(&line);
                continue;
            };
            match &said {
                Said::Failed { code, message, remedy, retryable } => {
                    self.failed = Some(Error::Viaduct {
                        disk: self.disk.clone(),
                        code: code.clone(),
                        message: format!("{} at {}: {message}", self.name, self.host),
                        remedy: remedy.clone(),
                        retryable: *retryable,
                    });
                }
                Said::Refused { code, message } | Said::Interrupted { code, message } => {
                    tracing::warn!(disk = %self.disk, end = self.name, code, message, "viaduct");
                }
                Said::Finished(finished) => self.finished = Some(finished.clone()),
                Said::Found(found) if self.areas.len() < AREAS_MAX => self.areas.push(found.clone().into()),
                Said::Listening { .. } | Said::Progress(_) | Said::Found(_) | Said::Other => {}
            }
            return Some(said);
        }
    }

    fn agreed(&mut self, finished: Finished) -> Agreed {
        let areas = std::mem::take(&mut self.areas);
        Agreed { digest: finished.digest, bytes_free: finished.bytes_free.unwrap_or(0), areas }
    }

    fn keep(&mut self, line: &str) {
        if self.noise.len() == NOISE_LINES_MAX {
            self.noise.pop_front();
        }
        self.noise.push_back(line.chars().take(NOISE_CHARS_MAX).collect());
    }

    fn died(&mut self) -> Error {
        self.failed.take().unwrap_or_else(|| {
            let said = Vec::from_iter(self.noise.drain(..)).join("; ");
            let said = if said.is_empty() { "killed, or the connection was lost".to_owned() } else { said };
            Error::Died { disk: self.disk.clone(), end: self.name, host: self.host.clone(), said }
        })
    }

    /// What is said of this end when it goes on waiting after the other one has ended.
    fn left_alone(&self) -> impl Fn(&Result<Finished, Error>) -> Error + use<> {
        let (disk, end, host) = (self.disk.clone(), self.name, self.host.clone());
        move |other| {
            let said = match other {
                Ok(_) => "has finished".to_owned(),
                Err(error) => format!("failed: {error}"),
            };
            Error::LeftAlone { disk: disk.clone(), end, host: host.clone(), said }
        }
    }

    fn silent(&self, waited: Duration) -> Error {
        let secs = waited.as_secs();
        Error::Silent { disk: self.disk.clone(), end: self.name, host: self.host.clone(), secs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viaduct(code: &str, retryable: bool) -> Error {
        let (disk, code) = ("app/vda".into(), code.into());
        Error::Viaduct { disk, code, message: String::new(), remedy: String::new(), retryable }
    }

    fn code(error: &Error) -> &str {
        match error {
            Error::Viaduct { code, .. } => code,
            _ => "",
        }
    }

    #[test]
    fn of_two_errors_the_cause_is_told_and_not_its_echo() {
        assert_eq!(code(&telling(viaduct("broken", true), viaduct("no-room", false))), "no-room");
        assert_eq!(code(&telling(viaduct("no-room", false), viaduct("broken", true))), "no-room");
        assert_eq!(code(&telling(viaduct("broken", true), viaduct("corrupted", true))), "corrupted");
        let (disk, host, said) = ("app/vda".to_owned(), "a".to_owned(), "killed".to_owned());
        let died =
            || Error::Died { disk: disk.clone(), end: "sender", host: host.clone(), said: said.clone() };
        let left = || Error::LeftAlone {
            disk: disk.clone(),
            end: "receiver",
            host: "b".into(),
            said: format!("failed: {}", died()),
        };
        assert!(matches!(telling(died(), left()), Error::Died { .. }));
        assert!(matches!(telling(left(), died()), Error::Died { .. }));
    }
}
