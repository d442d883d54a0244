//! Follows one relocation to its end, across restarts of whatever runs it. Says what it sees to a [`Show`].

mod advice;
mod heard;
mod lines;
mod terminal;

use std::io::IsTerminal;
use std::time::Duration;

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::status::{Phase, RelocationStatus};
use tokio::time::Instant;

use crate::api::{Api, ApiError};
use crate::fault::{Exit, Fault};

pub use advice::{advice, time_left};
pub use heard::{Heard, Listener};
pub use lines::{amount, state};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long nobody may answer, or nobody may know the relocation, before we give up. Longer than a restart takes.
const PATIENCE: Duration = Duration::from_secs(300);
/// After so long without an answer that is said.
const SAY_AFTER: Duration = Duration::from_secs(5);
/// A relocation that had ended before we asked for it is believed after so long, unless a refusal is heard first.
const REFUSAL_WITHIN: Duration = Duration::from_secs(10);

/// What is heard in the first moment of a relocation that had ended before may be an echo of that end: a refusal of our
/// request comes within this.
const ECHO: Duration = Duration::from_secs(2);

/// Where progress is shown.
pub trait Show {
    fn status(&mut self, status: &RelocationStatus);
    /// A remark that is not about a step.
    fn remark(&mut self, text: &str);
    /// Leaves the terminal clean.
    fn close(&mut self);
}

/// Bars on a terminal, else lines; both on standard error.
pub fn show() -> Box<dyn Show> {
    if std::io::stderr().is_terminal() {
        Box::new(terminal::Terminal::new())
    } else {
        Box::new(lines::Lines::new())
    }
}

pub struct Follow<'a> {
    pub api: &'a Api,
    pub id: RelocationId,
    pub timeout: Option<Duration>,
    /// What is heard of a request just published; `None` when none was.
    pub heard: Option<Listener>,
}

/// What to do after a look.
enum Look {
    Again,
    Ended(Box<RelocationStatus>),
}

impl Follow<'_> {
    /// The last status, which is final.
    pub async fn until_it_ends(mut self, show: &mut dyn Show) -> Result<RelocationStatus, Fault> {
        let ended = self.follow(show).await;
        show.close();
        ended
    }

    async fn follow(&mut self, show: &mut dyn Show) -> Result<RelocationStatus, Fault> {
        let mut begun = Begun { at: Instant::now(), had_ended: None };
        let mut waiting = Waiting::default();
        loop {
            if let Look::Ended(status) = self.look(&mut begun, &mut waiting, show).await? {
                return Ok(*status);
            }
            if self.timeout.is_some_and(|timeout| begun.at.elapsed() >= timeout) {
                let what = format!("relocation {} has not ended within the time given", self.id);
                let remedy = format!("it goes on: follow it with `fluidcloud status {} --watch`", self.id);
                return Err(Fault::unreachable(what, remedy));
            }
            self.pause().await?;
        }
    }

    async fn look(
        &self,
        begun: &mut Begun,
        waiting: &mut Waiting,
        show: &mut dyn Show,
    ) -> Result<Look, Fault> {
        match self.api.relocation(self.id).await {
            Ok(status) => {
                if let Some(Heard::Refused(failure)) = self.heard.as_ref().map(Listener::heard) {
                    return Err(failure.into());
                }
                waiting.answered(show);
                show.status(&status);
                begun.had_ended.get_or_insert(status.phase.is_final());
                let settled = self.is_settled(&status, begun);
                if settled { Ok(Look::Ended(Box::new(status))) } else { Ok(Look::Again) }
            }
            Err(ApiError::Silent(fault)) => waiting.on(fault, "it may be starting again", show),
            Err(ApiError::Unknown(_)) => {
                let fault = Fault::unreachable(
                    format!("no conduit has taken up relocation {}", self.id),
                    "see that `fluidcloud up` or `fluidcloud conduit` runs, and what lies in the queue `fluidcloud.dead`",
                );
                waiting.on(fault, "the request waits in its queue", show)
            }
            // It may be of an earlier request with this id: the answer to ours is on its way.
            Err(ApiError::Refused(_)) if !self.is_answered(begun) => Ok(Look::Again),
            Err(ApiError::Refused(fault)) => Err(fault),
        }
    }

    /// An end that is older than our request may be that of another request with the same id, of which a refusal
    /// is on its way.
    fn is_settled(&self, status: &RelocationStatus, begun: &Begun) -> bool {
        let echo = self.heard.is_some() && begun.had_ended == Some(true) && begun.at.elapsed() < ECHO;
        status.phase.is_final() && self.is_answered(begun) && !echo
    }

    /// Whether what is seen now is of our own request.
    fn is_answered(&self, begun: &Begun) -> bool {
        let Some(listener) = &self.heard else { return true };
        listener.heard() != Heard::Nothing || begun.at.elapsed() >= REFUSAL_WITHIN
    }

    async fn pause(&mut self) -> Result<(), Fault> {
        let pause = tokio::time::sleep(LOOK_EVERY);
        match &mut self.heard {
            Some(listener) => tokio::select! {
                failure = listener.refused() => Err(failure.into()),
                () = pause => Ok(()),
            },
            None => {
                pause.await;
                Ok(())
            }
        }
    }
}

struct Begun {
    at: Instant,
    /// Whether it had ended when it was first seen.
    had_ended: Option<bool>,
}

/// Since when there is nothing to see.
#[derive(Default)]
struct Waiting {
    since: Option<Instant>,
    said: bool,
}

impl Waiting {
    fn on(&mut self, fault: Fault, hope: &str, show: &mut dyn Show) -> Result<Look, Fault> {
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        if waited >= PATIENCE {
            return Err(fault);
        }
        if waited >= SAY_AFTER && !self.said {
            self.said = true;
            let left = (PATIENCE - waited).as_secs();
            show.remark(&format!("{}: {hope}; trying for another {left} s", fault.what));
        }
        Ok(Look::Again)
    }

    fn answered(&mut self, show: &mut dyn Show) {
        if std::mem::take(self).said {
            show.remark("going on");
        }
    }
}

/// What the end of a relocation means for whoever called us.
pub fn verdict(phase: Phase) -> Result<(), Exit> {
    match phase {
        Phase::Succeeded => Ok(()),
        Phase::Stuck => Err(Exit::Stuck),
        Phase::Canceled => Err(Exit::Canceled),
        _ => Err(Exit::Failed),
    }
}
