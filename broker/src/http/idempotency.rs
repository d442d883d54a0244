//! `Idempotency-Key`: a caller that does not know whether its call arrived sends it again with the same key, and is answered what
//! the first was. Kept in memory for a day; a request for a relocation without an id gets one made of its key, so that it is the same
//! relocation even after a restart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::problem::Problem;
use crate::access::Caller;

pub const HEADER: &str = "idempotency-key";
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
const KEPT_MAX: usize = 10_000;
const KEY_CHARS_MAX: usize = 255;

/// What was asked for: the caller's key, of whatever call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// `None`: the caller gave none.
    pub fn of(headers: &HeaderMap, caller: &Caller) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get(HEADER) else { return Ok(None) };
        let key = value.to_str().ok().filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len()));
        let key = key.ok_or_else(|| {
            let detail = "the Idempotency-Key is empty, too long, or not plain text";
            Problem::of(StatusCode::BAD_REQUEST, detail, "use a UUID")
        })?;
        Ok(Some(Self(format!("{} {key}", caller.name))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The digest of a call's path and body, and what it was answered.
#[derive(Debug, Default)]
pub struct Answers {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_key: BTreeMap<Key, ([u8; 32], StatusCode, String)>,
    oldest: VecDeque<(Instant, Key)>,
}

impl Answers {
    /// What was answered to the same call; another call with the same key is refused.
    pub fn find(
        &self,
        key: &Key,
        call: &[&[u8]],
        now: Instant,
    ) -> Result<Option<(StatusCode, String)>, Problem> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget(now);
        match kept.by_key.get(key) {
            None => Ok(None),
            Some((digest, status, body)) if *digest == digest_of(call) => Ok(Some((*status, body.clone()))),
            Some(_) => {
                let detail = "this Idempotency-Key was used for another call";
                Err(Problem::of(StatusCode::UNPROCESSABLE_ENTITY, detail, "use a new key for each call"))
            }
        }
    }

    pub fn keep(&self, key: Key, call: &[&[u8]], status: StatusCode, body: String, now: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_key.insert(key.clone(), (digest_of(call), status, body)).is_none() {
            kept.oldest.push_back((now, key));
        }
        kept.forget(now);
    }
}

impl Kept {
    fn forget(&mut self, now: Instant) {
        while let Some((since, key)) = self.oldest.front() {
            if self.oldest.len() <= KEPT_MAX && now.duration_since(*since) < KEPT_FOR {
                return;
            }
            self.by_key.remove(key);
            self.oldest.pop_front();
        }
    }
}

fn digest_of(call: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in call {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::super::access::Role;
    use super::*;

    fn key(name: &str, key: &str) -> Key {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, key.parse().unwrap());
        Key::of(&headers, &Caller::by_token(name, Role::Operator, "")).unwrap().unwrap()
    }

    #[test]
    fn the_same_call_is_answered_the_same_and_another_is_refused() {
        let (answers, now) = (Answers::default(), Instant::now());
        let ours = key("ops", "1");
        assert_eq!(answers.find(&ours, &[b"/a", b"x"], now).unwrap(), None);
        answers.keep(ours.clone(), &[b"/a", b"x"], StatusCode::ACCEPTED, "done".into(), now);
        assert_eq!(
            answers.find(&ours, &[b"/a", b"x"], now).unwrap(),
            Some((StatusCode::ACCEPTED, "done".into()))
        );
        assert!(answers.find(&ours, &[b"/a", b"y"], now).is_err());
        assert!(answers.find(&ours, &[b"/ax", b""], now).is_err());
        assert_eq!(answers.find(&key("ci", "1"), &[b"/a", b"x"], now).unwrap(), None, "each its own keys");
        assert_eq!(answers.find(&ours, &[b"/a", b"x"], now + KEPT_FOR).unwrap(), None);
    }

    #[test]
    fn answers_are_bounded() {
        let (answers, now) = (Answers::default(), Instant::now());
        for n in 0..=KEPT_MAX {
            answers.keep(key("ops", &n.to_string()), &[b""], StatusCode::OK, String::new(), now);
        }
        assert_eq!(answers.find(&key("ops", "0"), &[b""], now).unwrap(), None);
        assert!(answers.find(&key("ops", "1"), &[b""], now).unwrap().is_some());
    }
}
