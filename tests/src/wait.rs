//! Waiting for something to become true, with a bound and a name, so that a test that hangs says on what.

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The first `Some` that `look` gives, or a panic that names what never came.
pub fn until<T>(what: &str, within: Duration, look: impl FnMut() -> Option<T>) -> T {
    until_every(LOOK_EVERY, what, within, look)
}

/// The same, for what takes minutes and is dear to look at.
pub fn until_every<T>(
    pause: Duration,
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(pause);
    }
}
