//! Sessions of the dashboard: a browser gives its token once and then shows a cookie, which no script can read. They are in memory:
//! who was logged in before a restart logs in again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Caller;

/// From the login on.
pub const SESSION_LASTS: Duration = Duration::from_secs(12 * 3600);
/// At the same time; the oldest makes room.
const SESSIONS_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<BTreeMap<String, (Instant, Caller)>>,
}

impl Sessions {
    /// Answers what the cookie says.
    pub fn begin(&self, caller: Caller, now: Instant) -> String {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (since, _)| now.duration_since(*since) < SESSION_LASTS);
        if open.len() >= SESSIONS_MAX {
            let oldest = open.iter().min_by_key(|(_, (since, _))| *since).map(|(id, _)| id.clone());
            oldest.map(|id| open.remove(&id));
        }
        let id = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        open.insert(id.clone(), (now, caller));
        id
    }

    pub fn caller(&self, id: &str, now: Instant) -> Option<Caller> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, caller) = open.get(id)?;
        let session = Some(id.into());
        (now.duration_since(*since) < SESSION_LASTS).then(|| Caller { session, ..caller.clone() })
    }

    pub fn end(&self, id: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    #[test]
    fn a_session_ends_by_its_time_or_when_it_is_ended() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let caller = Caller::by_token("ops", Role::Viewer, "");
        let first = sessions.begin(caller.clone(), start);
        let second = sessions.begin(caller.clone(), start);
        assert_ne!(first, second);
        let known = sessions.caller(&first, start + SESSION_LASTS - Duration::from_secs(1));
        assert_eq!(known.map(|known| known.name), Some(caller.name));
        assert_eq!(sessions.caller(&first, start + SESSION_LASTS), None);
        sessions.end(&second);
        assert_eq!(sessions.caller(&second, start), None);
    }

    #[test]
    fn they_are_bounded() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let caller = Caller::by_token("ops", Role::Viewer, "");
        let first = sessions.begin(caller.clone(), start);
        for n in 1..=SESSIONS_MAX as u64 {
            sessions.begin(caller.clone(), start + Duration::from_millis(n));
        }
        assert_eq!(sessions.caller(&first, start + Duration::from_secs(2)), None, "the oldest made room");
    }
}
