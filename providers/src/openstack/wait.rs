//! Waiting for a cloud to finish what it has accepted: bounded, and ended at once by a state that nothing leads out of.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// Between two looks: a part of what was waited already, so that little is added to what is quick, and few are asked for what
/// takes long.
const LOOK_MIN: Duration = Duration::from_millis(300);
const LOOK_MAX: Duration = Duration::from_secs(3);
const LOOK_PART: u32 = 10;

/// Looks until `look` answers something.
pub(super) async fn until<T, L: Future<Output = Result<Option<T>, Error>> + Send>(
    what: impl Fn() -> String + Send,
    within: Duration,
    mut look: impl FnMut() -> L + Send,
) -> Result<T, Error> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if begun.elapsed() >= within {
            return Err(Error::TimedOut { what: what(), secs: within.as_secs() });
        }
        tokio::time::sleep((begun.elapsed() / LOOK_PART).clamp(LOOK_MIN, LOOK_MAX)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_what_was_found_or_with_its_time() {
        let looks = AtomicU32::new(0);
        let found = until(
            || "it".into(),
            Duration::from_secs(60),
            || async {
                let look = looks.fetch_add(1, Ordering::Relaxed) + 1;
                Ok((look == 3).then_some(look))
            },
        );
        assert_eq!(found.await.unwrap(), 3);
        let begun = Instant::now();
        let never = until(|| "it".into(), Duration::from_secs(60), async || Ok(None::<()>)).await;
        assert!(matches!(never, Err(Error::TimedOut { secs: 60, .. })));
        assert!(begun.elapsed() < Duration::from_secs(64));
    }
}
