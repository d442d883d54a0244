//! The one owner of all relocations. `serve` waits for what happens and hands it to one `apply`; a fact is in the
//! log before anything acts on it, and a delivery is acknowledged only after that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::bus::{self, Delivery, Received, SharedBus, Subscription, receive};
use fluidcloud_proto::command::Control;
use fluidcloud_proto::event::{Event, Notice};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::progress::TransferProgress;
use fluidcloud_proto::status::RelocationStatus;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::jobs::{Jobs, Outcome};
use super::mouth::{Mouth, Sentence};
use super::past::Past;
use super::{Clock, ConduitOptions, Error};
use crate::lease::Leases;
use crate::relocation::{Entry, Fact, Relocation, Stage, Step};
use crate::runner::Means;
use crate::status::{Seen, status};
use crate::store::{Store, Tenure};

pub const REQUESTS_PREFETCH: u16 = 16;
pub const CONTROL_PREFETCH: u16 = 16;
pub const EVENTS_PREFETCH: u16 = 256;
/// How often leases are looked at and progress is told.
const TICK: Duration = Duration::from_millis(500);
/// A tick this late means that this process stood still and heard nobody.
const STOOD_STILL: Duration = Duration::from_secs(5);
/// While something runs it is told again at least this often: how long it has run, and how long it will.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// Nothing moved for so long: shown as `stalled`.
const STALLED: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct Intake {
    pub requests: Subscription,
    pub control: Subscription,
    pub events: Subscription,
    pub connected: watch::Receiver<bool>,
}

/// Everything that can happen to the conduit.
#[derive(Debug)]
enum Happened {
    Ended(Box<Outcome>),
    Control(Received<Control>),
    Told(Box<Received<Event>>),
    Requested(Delivery),
    BusIs { connected: bool },
    BusClosed,
    Tick,
    Shutdown,
}

#[derive(Debug)]
pub struct Owner {
    pub(super) bus: SharedBus,
    pub(super) store: Arc<dyn Store>,
    tenure: Tenure,
    pub(super) means: Arc<Means>,
    clock: Clock,
    active_max: usize,
    pub(super) held: BTreeMap<RelocationId, Held>,
    pub(super) past: Past,
    pub(super) leases: Leases,
    pub(super) jobs: Jobs,
    pub(super) mouth: Mouth,
    ticked: Instant,
}

/// A relocation that has not ended, with what is known of it besides its log.
#[derive(Debug)]
pub struct Held {
    pub state: Relocation,
    pub progress: Vec<(StepId, TransferProgress)>,
    /// Statuses told since the latest fact.
    told: u64,
    /// Progress came that was not told yet.
    untold: bool,
    told_at: Instant,
    moved: Instant,
    stalled: bool,
}

impl Held {
    pub fn new(state: Relocation) -> Self {
        let (progress, now) = (Vec::new(), Instant::now());
        Self { state, progress, told: 0, untold: false, told_at: now, moved: now, stalled: false }
    }

    /// What time alone has changed since it was told.
    fn looks_at(&mut self, now: Instant) {
        let forward = matches!(self.state.stage, Stage::Choosing | Stage::Forward { .. });
        let expects = forward && !self.state.is_paused() && !self.state.awaits_approval();
        if expects && !self.stalled && now - self.moved > STALLED {
            self.stalled = true;
            self.untold = true;
        }
        let runs = self.state.steps.iter().any(Step::in_flight);
        if forward && runs && now - self.told_at >= TELL_AGAIN {
            self.untold = true;
        }
    }

    /// It is about to be told.
    fn tells(&mut self, now: Instant) {
        self.told += 1;
        self.untold = false;
        self.told_at = now;
    }

    pub fn progressed(&mut self, step: StepId, progress: TransferProgress) {
        self.progress.retain(|(id, _)| *id != step);
        self.progress.push((step, progress));
        self.untold = true;
        self.moved = Instant::now();
        self.stalled = false;
    }

    pub fn spent(&self, step: &StepId) -> Option<TransferProgress> {
        self.progress.iter().find(|(id, _)| id == step).map(|(_, progress)| progress.clone())
    }
}

impl Owner {
    /// Takes the log over and folds it. Work begins with `serve`.
    pub async fn recover(options: ConduitOptions) -> Result<Self, Error> {
        let tenure = options.store.take_over().await?;
        let means = Means { registry: options.registry, web: options.web, keys: options.keys };
        let mut owner = Self {
            mouth: Mouth::new(options.bus.clone()),
            bus: options.bus,
            store: options.store,
            tenure,
            means: Arc::new(means),
            clock: options.clock,
            active_max: options.active_max.max(1),
            held: BTreeMap::new(),
            past: Past::default(),
            leases: Leases::default(),
            jobs: Jobs::default(),
            ticked: Instant::now(),
        };
        let mut ended = Vec::new();
        for id in owner.store.ids().await? {
            let log = owner.store.load(id).await?;
            let state = Relocation::replay(id, &log).map_err(Error::Log)?;
            if state.is_ended() {
                let shown = owner.show(&Held::new(state.clone()));
                ended.push((state, shown));
            } else {
                owner.held.insert(id, Held::new(state));
            }
        }
        ended.sort_by_key(|(state, _)| state.changed_at);
        for (state, shown) in ended {
            owner.past.add(&state, shown);
        }
        Ok(owner)
    }

    pub async fn serve(&mut self, mut intake: Intake, shutdown: &CancellationToken) -> Result<(), Error> {
        if !*intake.connected.borrow_and_update() {
            self.leases.pause();
        }
        let open: Vec<RelocationId> = self.held.keys().copied().collect();
        for id in open {
            self.record(id, vec![Fact::Resumed]).await?;
            self.settle(id).await?;
        }
        self.admit().await?;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let happened = tokio::select! {
                // What was said counts before a lease runs out.
                biased;
                () = shutdown.cancelled() => Happened::Shutdown,
                outcome = self.jobs.next() => Happened::Ended(Box::new(outcome)),
                Ok(()) = intake.connected.changed() => {
                    Happened::BusIs { connected: *intake.connected.borrow_and_update() }
                }
                control = receive(&mut intake.control) => {
                    control.map_or(Happened::BusClosed, Happened::Control)
                }
                event = receive(&mut intake.events) => {
                    event.map_or(Happened::BusClosed, |event| Happened::Told(Box::new(event)))
                }
                _ = ticks.tick() => Happened::Tick,
                request = intake.requests.next() => request.map_or(Happened::BusClosed, Happened::Requested),
            };
            if matches!(happened, Happened::Shutdown) {
                return Ok(());
            }
            self.apply(happened).await?;
            self.admit().await?;
        }
    }

    pub async fn close(self) {
        self.mouth.close().await;
    }

    async fn apply(&mut self, happened: Happened) -> Result<(), Error> {
        match happened {
            Happened::Ended(outcome) => self.ended(*outcome).await,
            Happened::Control(Received { body, delivery }) => self.control(body, delivery).await,
            Happened::Told(received) => {
                let Received { body, delivery } = *received;
                self.event(body).await?;
                self.mouth.say(Sentence::Ack(delivery)).await;
                Ok(())
            }
            Happened::Requested(delivery) => self.requested(delivery).await,
            Happened::BusIs { connected: true } => {
                self.leases.resume(Instant::now());
                Ok(())
            }
            Happened::BusIs { connected: false } => {
                self.leases.pause();
                Ok(())
            }
            Happened::BusClosed => Err(bus::Error::Closed.into()),
            Happened::Tick => self.tick().await,
            Happened::Shutdown => Ok(()),
        }
    }

    /// Writes the facts and folds them; false when they cannot follow, and then nothing is written.
    pub(super) async fn record(&mut self, id: RelocationId, facts: Vec<Fact>) -> Result<bool, Error> {
        let Some(held) = self.held.get_mut(&id) else { return Ok(false) };
        let at = self.clock.now();
        let entries: Vec<Entry> = facts.into_iter().map(|fact| Entry { at, fact }).collect();
        let folded = entries.iter().try_fold(held.state.clone(), |state, entry| state.next(entry));
        let state = match folded {
            Ok(state) => state,
            Err(illegal) => {
                tracing::error!(%illegal, "refused");
                return Ok(false);
            }
        };
        self.store.append(self.tenure, id, &entries, held.state.seq).await?;
        for entry in &entries {
            tracing::debug!(relocation = %id, fact = entry.fact.name(), "recorded");
            if let Fact::StepIssued { step, .. }
            | Fact::StepDone { step, .. }
            | Fact::StepFailed { step, .. } = &entry.fact
            {
                held.progress.retain(|(of, _)| of != step);
            }
        }
        held.state = state;
        held.told = 0;
        held.moved = Instant::now();
        held.stalled = false;
        Ok(true)
    }

    /// The first facts of a new log.
    pub(super) async fn begin(&mut self, id: RelocationId, facts: Vec<Fact>) -> Result<(), Error> {
        let at = self.clock.now();
        let entries: Vec<Entry> = facts.into_iter().map(|fact| Entry { at, fact }).collect();
        let state = Relocation::replay(id, &entries).map_err(Error::Log)?;
        self.store.append(self.tenure, id, &entries, 0).await?;
        self.held.insert(id, Held::new(state));
        self.settle(id).await
    }

    /// Lets everything that follows from the state happen: facts that need no wait, then jobs, then the status.
    pub(super) async fn settle(&mut self, id: RelocationId) -> Result<(), Error> {
        loop {
            let facts = self.facts_due(id);
            if facts.is_empty() || !self.record(id, facts).await? {
                break;
            }
        }
        self.reconcile(id);
        self.tell(id).await;
        if let Some(held) = self.held.get(&id)
            && held.state.is_ended()
        {
            let shown = self.show(held);
            if let Some(held) = self.held.remove(&id) {
                tracing::info!(relocation = %id, phase = ?shown.phase, "ended");
                self.past.add(&held.state, shown);
            }
        }
        Ok(())
    }

    /// Lets waiting relocations begin, oldest first, as long as there is room. Those that wait for a person take none, or a
    /// few that are paused or to be approved would keep all others out; when they go on they come on top.
    async fn admit(&mut self) -> Result<(), Error> {
        loop {
            let idle = |held: &&Held| held.state.stage == Stage::Pending || held.state.waits_for_a_person();
            let active = self.held.len() - self.held.values().filter(idle).count();
            if active >= self.active_max {
                return Ok(());
            }
            let begins = |held: &&Held| held.state.stage == Stage::Pending && !held.state.is_paused();
            let waiting = self.held.values().filter(begins);
            let Some(id) = waiting.map(|held| (held.state.created_at, held.state.id)).min().map(|(_, id)| id)
            else {
                return Ok(());
            };
            if !self.record(id, vec![Fact::Admitted]).await? {
                return Ok(());
            }
            self.settle(id).await?;
        }
    }

    async fn tick(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if now - self.ticked > STOOD_STILL {
            tracing::warn!(secs = (now - self.ticked).as_secs(), "stood still; leases are given time");
            self.leases.excuse(now);
        }
        self.ticked = now;
        for key in self.leases.expired(now) {
            self.lease_lost(&key).await?;
        }
        let mut untold = Vec::new();
        for (id, held) in &mut self.held {
            held.looks_at(now);
            if held.untold {
                untold.push(*id);
            }
        }
        for id in untold {
            if let Some(held) = self.held.get_mut(&id) {
                held.tells(now);
            }
            if let Some(held) = self.held.get(&id) {
                self.mouth.mention(Notice::RelocationChanged { status: Box::new(self.show(held)) });
            }
        }
        Ok(())
    }

    pub(super) fn show(&self, held: &Held) -> RelocationStatus {
        let seen = Seen {
            revision: held.told,
            now: self.clock.now(),
            stalled: held.stalled,
            progress: &held.progress,
        };
        status(&held.state, &seen)
    }

    pub(super) async fn tell(&mut self, id: RelocationId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        held.tells(Instant::now());
        if let Some(held) = self.held.get(&id) {
            let notice = Notice::RelocationChanged { status: Box::new(self.show(held)) };
            self.mouth.say(Sentence::Notice(Box::new(notice))).await;
        }
    }
}
