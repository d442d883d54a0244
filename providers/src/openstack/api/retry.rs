//! When the same request is sent again, and after how long. Pure.

use std::time::Duration;

/// Times a request is sent at most.
pub const ATTEMPTS_MAX: u32 = 6;
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// A service that wants us to wait longer is not waited for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Whether a request whose fate is unknown may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice is the same as once.
    Safe,
    /// It makes something: only sent again when it was surely not looked at.
    Once,
}

/// What came of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It never left.
    NotSent,
    /// Sent, and the answer did not come.
    Lost,
    Status {
        code: u16,
        retry_after: Option<Duration>,
    },
}

/// The pause before the next attempt; `None` when this outcome is final. `attempt` counts from 1; `jitter` is from 0 to 1.
pub(super) fn again(outcome: Outcome, repeat: Repeat, attempt: u32, jitter: f64) -> Option<Duration> {
    if attempt >= ATTEMPTS_MAX {
        return None;
    }
    let backoff = PAUSE_MIN.saturating_mul(1 << attempt.min(16).saturating_sub(1)).min(PAUSE_MAX);
    let backoff = backoff.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    match outcome {
        Outcome::NotSent => Some(backoff),
        Outcome::Lost => (repeat == Repeat::Safe).then_some(backoff),
        Outcome::Status { code, retry_after } => {
            let heals = match code {
                // Too many requests: refused before they are looked at. 413 is how older ones say it.
                429 => true,
                413 => retry_after.is_some(),
                500 | 502 | 503 | 504 => repeat == Repeat::Safe,
                _ => false,
            };
            match retry_after {
                _ if !heals => None,
                Some(wanted) if wanted > RETRY_AFTER_MAX => None,
                Some(wanted) => Some(wanted.max(backoff)),
                None => Some(backoff),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, secs: Option<u64>) -> Outcome {
        Outcome::Status { code, retry_after: secs.map(Duration::from_secs) }
    }

    #[test]
    fn what_makes_something_is_not_made_twice() {
        for code in [500, 502, 503, 504] {
            assert!(again(status(code, None), Repeat::Safe, 1, 0.0).is_some(), "{code}");
            assert_eq!(again(status(code, None), Repeat::Once, 1, 0.0), None, "{code}");
        }
        assert_eq!(again(Outcome::Lost, Repeat::Once, 1, 0.0), None);
        assert!(again(Outcome::NotSent, Repeat::Once, 1, 0.0).is_some());
        assert!(again(status(429, None), Repeat::Once, 1, 0.0).is_some());
    }

    #[test]
    fn a_refusal_is_final() {
        for code in [400, 401, 403, 404, 409, 413, 501] {
            assert_eq!(again(status(code, None), Repeat::Safe, 1, 0.0), None, "{code}");
        }
    }

    #[test]
    fn every_wait_is_bounded() {
        assert_eq!(again(status(429, Some(61)), Repeat::Safe, 1, 0.0), None);
        assert_eq!(again(status(429, Some(7)), Repeat::Safe, 1, 0.0), Some(Duration::from_secs(7)));
        for attempt in 1..ATTEMPTS_MAX {
            assert!(again(Outcome::NotSent, Repeat::Safe, attempt, 1.0).unwrap() <= PAUSE_MAX);
        }
        assert_eq!(again(Outcome::NotSent, Repeat::Safe, ATTEMPTS_MAX, 0.0), None);
    }
}
