//! How hard to pack. The line says it: where frames queue up before it, there is time to pack them smaller; where it idles,
//! packing is what holds it back. How fast the line takes what queues up bounds the effort; and where frames pile up at the
//! receiver, it is the slow part, and packing smaller would gain nothing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Levels of zstd, and what a line must not be faster than (bytes per second) for each; before it there is "not at all".
const LADDER: [(i32, f64); 7] =
    [(-4, 600e6), (1, 330e6), (2, 170e6), (3, 130e6), (5, 70e6), (7, 30e6), (9, 13e6)];
/// Where nothing is known of the line yet.
const START: usize = 2;
/// A step down is taken when so many frames more found the queue empty than full. Slowly, because what comes from another
/// place of the disk may fill it at once.
const STEP_AFTER: i32 = 24;
/// So many times as much counts one that found it full: all the while the line could have had less to carry.
const FULL: i32 = 3;
/// So many frames waiting at the receiver mean that it is the slow part.
const BEHIND: u64 = 4;
/// The line's speed is taken over at least this time, in which it never ran dry.
const WINDOW: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Effort {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// 0 is not at all, then the ladder.
    step: usize,
    pressure: i32,
    since: Option<(Instant, u64)>,
    line: Option<f64>,
    receiver_behind: bool,
}

impl Effort {
    pub fn new() -> Effort {
        Effort {
            state: Mutex::new(State {
                step: START,
                pressure: 0,
                since: None,
                line: None,
                receiver_behind: false,
            }),
        }
    }

    /// The level to pack with; `None` for not at all.
    pub fn level(&self) -> Option<i32> {
        let step = self.state.lock().unwrap_or_else(PoisonError::into_inner).step;
        step.checked_sub(1).map(|step| LADDER[step].0)
    }

    /// So many frames have arrived that the receiver did not get round to yet.
    pub fn receiver_has(&self, backlog: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).receiver_behind = backlog >= BEHIND;
    }

    /// A frame is about to queue behind `queued` others, of at most `room`; `on_wire` bytes have left so far.
    pub fn observe(&self, queued: usize, room: usize, on_wire: u64, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.measure(queued, on_wire, now);
        state.pressure += match queued {
            0 => -1,
            queued if queued * 4 < room * 3 => 0,
            // It is not the line that they queue up for.
            _ if state.receiver_behind => 0,
            _ => FULL,
        };
        if state.pressure.abs() < STEP_AFTER {
            return;
        }
        state.step = if state.pressure > 0 { state.step + 1 } else { state.step.saturating_sub(1) };
        state.pressure = 0;
        state.step = state.step.min(state.highest());
    }
}

impl State {
    fn measure(&mut self, queued: usize, on_wire: u64, now: Instant) {
        if queued == 0 {
            self.since = None;
            return;
        }
        let (from, before) = *self.since.get_or_insert((now, on_wire));
        let took = now - from;
        if took >= WINDOW {
            let rate = on_wire.saturating_sub(before) as f64 / took.as_secs_f64();
            self.line = Some(self.line.map_or(rate, |line| 0.5 * line + 0.5 * rate));
            self.since = Some((now, on_wire));
        }
    }

    /// The highest step for the line as it was seen.
    fn highest(&self) -> usize {
        match self.line {
            None => START,
            Some(line) => LADDER.iter().take_while(|(_, fastest)| line < *fastest).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a line of so many bytes per second, with the queue as it is said to be, for ten seconds.
    fn settles_at(line: u64, queued: usize) -> Option<i32> {
        let (effort, start) = (Effort::new(), Instant::now());
        for tick in 0..1000u64 {
            let now = start + Duration::from_millis(10 * tick);
            effort.observe(queued, 16, line / 100 * tick, now);
        }
        effort.level()
    }

    #[test]
    fn a_slow_line_is_worth_more_effort_than_a_fast_one() {
        assert_eq!(settles_at(1_000_000, 16), Some(9));
        assert_eq!(settles_at(12_000_000, 16), Some(9));
        assert_eq!(settles_at(117_000_000, 16), Some(3));
        assert_eq!(settles_at(1_200_000_000, 16), None);
    }

    #[test]
    fn where_the_receiver_is_behind_no_more_effort_is_made() {
        let effort = Effort::new();
        let before = effort.level();
        effort.receiver_has(8);
        (0..100).for_each(|tick| effort.observe(16, 16, tick * 1000, Instant::now()));
        assert_eq!(effort.level(), before);
        (0..100).for_each(|tick| effort.observe(0, 16, tick * 1000, Instant::now()));
        assert_eq!(effort.level(), None);
    }

    #[test]
    fn a_line_that_idles_is_not_held_back() {
        assert_eq!(settles_at(12_000_000, 0), None);
    }
}
