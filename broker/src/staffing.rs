//! Which workers must run: what relocations asked for, less what is served already. Pure; the broker's loop carries
//! the orders out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fluidcloud_proto::command::WorkerNeed;
use fluidcloud_proto::ids::RelocationId;
use tokio::time::Instant;

/// How long a worker that no relocation needs is kept.
pub const IDLE_MAX: Duration = Duration::from_secs(600);
/// Relocations remembered per need.
pub const ASKING_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub struct Staffing {
    wanted: BTreeMap<WorkerNeed, Wanted>,
}

#[derive(Debug)]
struct Wanted {
    by: BTreeSet<RelocationId>,
    /// Since when nobody needs it.
    idle_since: Option<Instant>,
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orders {
    pub place: Vec<WorkerNeed>,
    pub retire: Vec<WorkerNeed>,
}

impl Staffing {
    /// A relocation asks for workers.
    pub fn ask(&mut self, relocation: RelocationId, needs: impl IntoIterator<Item = WorkerNeed>) {
        for need in needs {
            let wanted = self.wanted.entry(need).or_insert(Wanted { by: BTreeSet::new(), idle_since: None });
            if wanted.by.len() == ASKING_MAX {
                wanted.by.pop_first();
            }
            wanted.by.insert(relocation);
            wanted.idle_since = None;
        }
    }

    /// `served`: by whom it is does not matter. `waiting`: tasks that nobody takes, such as after the broker was
    /// started anew and no longer knows who asked. `is_over`: whether a relocation is known to have ended.
    pub fn orders(
        &mut self,
        served: &BTreeSet<WorkerNeed>,
        waiting: &[WorkerNeed],
        is_over: impl Fn(RelocationId) -> bool,
        now: Instant,
    ) -> Orders {
        for need in waiting {
            let wanted = self.wanted.entry(need.clone());
            wanted.or_insert(Wanted { by: BTreeSet::new(), idle_since: None }).idle_since = None;
        }
        let mut orders = Orders::default();
        self.wanted.retain(|need, wanted| {
            wanted.by.retain(|relocation| !is_over(*relocation));
            let idle_since = if wanted.by.is_empty() { Some(wanted.idle_since.unwrap_or(now)) } else { None };
            wanted.idle_since = idle_since;
            let idle_for_long = idle_since.is_some_and(|since| now.duration_since(since) >= IDLE_MAX);
            if idle_for_long {
                orders.retire.push(need.clone());
            } else if !served.contains(need) && (idle_since.is_none() || waiting.contains(need)) {
                orders.place.push(need.clone());
            }
            !idle_for_long
        });
        orders
    }
}

#[cfg(test)]
mod tests {
    use fluidcloud_proto::plan::MigratorKind;

    use super::*;

    fn need(site: &str) -> WorkerNeed {
        WorkerNeed { kind: MigratorKind::Image, site: site.parse().unwrap() }
    }

    fn never(_: RelocationId) -> bool {
        false
    }

    #[test]
    fn a_worker_is_placed_where_none_serves() {
        let mut staffing = Staffing::default();
        staffing.ask(RelocationId::new(), [need("a"), need("b")]);
        let orders = staffing.orders(&[need("a")].into(), &[], never, Instant::now());
        assert_eq!(orders, Orders { place: vec![need("b")], retire: vec![] });
    }

    #[test]
    fn a_need_is_met_again_when_its_worker_went_silent() {
        let mut staffing = Staffing::default();
        staffing.ask(RelocationId::new(), [need("a")]);
        assert!(staffing.orders(&[need("a")].into(), &[], never, Instant::now()).place.is_empty());
        assert_eq!(staffing.orders(&BTreeSet::new(), &[], never, Instant::now()).place, [need("a")]);
    }

    #[test]
    fn tasks_that_wait_without_anybody_having_asked_get_a_worker() {
        let orders = Staffing::default().orders(&BTreeSet::new(), &[need("b")], never, Instant::now());
        assert_eq!(orders.place, [need("b")]);
    }

    #[test]
    fn a_worker_retires_when_all_who_asked_were_over_for_long() {
        let (mut staffing, start) = (Staffing::default(), Instant::now());
        let (first, second) = (RelocationId::new(), RelocationId::new());
        staffing.ask(first, [need("a")]);
        staffing.ask(second, [need("a")]);
        let served = [need("a")].into();
        let one_left = staffing.orders(&served, &[], |id| id == first, start);
        assert_eq!(one_left, Orders::default());
        assert_eq!(staffing.orders(&served, &[], |_| true, start), Orders::default());
        let later = staffing.orders(&served, &[], |_| true, start + IDLE_MAX);
        assert_eq!(later, Orders { place: vec![], retire: vec![need("a")] });
        assert_eq!(staffing.orders(&served, &[], |_| true, start + IDLE_MAX), Orders::default());
    }

    #[test]
    fn an_idle_worker_that_died_is_not_placed_again() {
        let mut staffing = Staffing::default();
        staffing.ask(RelocationId::new(), [need("a")]);
        let orders = staffing.orders(&BTreeSet::new(), &[], |_| true, Instant::now());
        assert_eq!(orders, Orders::default());
    }

    #[test]
    fn who_asks_again_keeps_an_idle_worker() {
        let (mut staffing, start) = (Staffing::default(), Instant::now());
        staffing.ask(RelocationId::new(), [need("a")]);
        staffing.orders(&BTreeSet::new(), &[], |_| true, start);
        staffing.ask(RelocationId::new(), [need("a")]);
        let orders = staffing.orders(&[need("a")].into(), &[], never, start + IDLE_MAX);
        assert_eq!(orders, Orders::default());
    }
}
