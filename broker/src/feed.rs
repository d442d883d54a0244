//! Notices on their way to whoever watches over HTTP: written once as JSON, the last few kept for late comers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use fluidcloud_proto::event::Notice;
use tokio::sync::broadcast;

/// Notices kept for those who come late; workers' signs of life are not among them.
pub const KEPT_MAX: usize = 256;
/// Notices waiting for a slow watcher, who then loses the oldest.
pub const WAITING_MAX: usize = 256;

#[derive(Debug)]
pub struct Feed {
    kept: Mutex<VecDeque<Arc<str>>>,
    live: broadcast::Sender<Arc<str>>,
}

impl Feed {
    pub fn new() -> Self {
        Self { kept: Mutex::new(VecDeque::new()), live: broadcast::Sender::new(WAITING_MAX) }
    }

    pub fn push(&self, notice: &Notice) {
        let Ok(line) = serde_json::to_string(notice) else { return };
        let line: Arc<str> = line.into();
        // Held while sending, so that `recent_and_live` neither misses nor repeats one.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(notice, Notice::WorkerSeen(_)) {
            if kept.len() == KEPT_MAX {
                kept.pop_front();
            }
            kept.push_back(line.clone());
        }
        // No watcher is no error.
        let _ = self.live.send(line);
    }

    /// What was kept, and everything after it.
    pub fn recent_and_live(&self) -> (Vec<Arc<str>>, broadcast::Receiver<Arc<str>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.iter().cloned().collect(), self.live.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use fluidcloud_proto::event::WorkerSeen;
    use fluidcloud_proto::failure::{Code, Failure};

    use super::*;

    fn refused(n: usize) -> Notice {
        Notice::RequestRefused {
            id: None,
            failure: Failure::never(Code::InvalidRequest, n.to_string(), "mend it"),
        }
    }

    #[test]
    fn only_the_latest_notices_are_kept() {
        let feed = Feed::new();
        for n in 0..KEPT_MAX + 10 {
            feed.push(&refused(n));
        }
        let (kept, _) = feed.recent_and_live();
        assert_eq!(kept.len(), KEPT_MAX);
        assert!(kept[0].contains("\"10\""), "{}", kept[0]);
    }

    #[test]
    fn signs_of_life_reach_watchers_but_are_not_kept() {
        let feed = Feed::new();
        let (_, mut live) = feed.recent_and_live();
        feed.push(&Notice::WorkerSeen(WorkerSeen {
            worker: "w1".parse().unwrap(),
            kinds: vec![],
            sites: vec![],
            slots: 1,
            busy: vec![],
            version: "0".into(),
            draining: false,
        }));
        assert!(live.try_recv().unwrap().contains("worker_seen"));
        assert!(feed.recent_and_live().0.is_empty());
    }
}
