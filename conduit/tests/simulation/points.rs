//! Points: every moment at which the conduit touches the outside. Each log append, each message and each call of a
//! provider counts once before and once after; a script says what happens at which.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The conduit is killed and started again.
    Crash,
    /// The same, but only after this many seconds it is started again.
    CrashFor(u64),
    /// A user cancels.
    Cancel,
    /// A user pauses and resumes after so many seconds; see `pauses`.
    PauseFor(u64),
    /// A user pauses and cancels after so many seconds.
    PauseAndCancel(u64),
    /// A user approves the cutover.
    Approve,
    /// The wall clock jumps by so many seconds.
    ClockJump(i64),
    /// The bus is away for so many seconds.
    Outage(u64),
    /// The host of the source loses power and comes back: what starts by itself runs then, and nothing else.
    SourceReboots,
    /// All workers are killed; others are started.
    WorkersDie,
}

#[derive(Clone, Debug)]
pub struct Points {
    inner: Arc<Mutex<Inner>>,
    acts: mpsc::UnboundedSender<Act>,
}

#[derive(Debug, Default)]
struct Inner {
    script: Vec<(usize, Act)>,
    seen: Vec<String>,
}

impl Points {
    pub fn new(script: Vec<(usize, Act)>) -> (Self, mpsc::UnboundedReceiver<Act>) {
        let (acts, todo) = mpsc::unbounded_channel();
        let inner = Inner { script, seen: Vec::new() };
        (Self { inner: Arc::new(Mutex::new(inner)), acts }, todo)
    }

    pub fn seen(&self) -> Vec<String> {
        self.inner.lock().unwrap().seen.clone()
    }

    /// Passes the point, or never returns when the conduit crashes here.
    pub async fn pass(&self, label: String) {
        let acts: Vec<Act> = {
            let mut inner = self.inner.lock().unwrap();
            let at = inner.seen.len();
            inner.seen.push(label);
            inner.script.iter().filter(|(point, _)| *point == at).map(|(_, act)| *act).collect()
        };
        for act in acts {
            self.acts.send(act).unwrap();
            if matches!(act, Act::Crash | Act::CrashFor(_)) {
                std::future::pending::<()>().await;
            }
            // The act happens here and now, not whenever the harness runs next.
            tokio::task::yield_now().await;
        }
    }
}
