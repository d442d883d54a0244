//! The one loop of every migrator: it waits in `select`, acts in `apply`, and owns all state of the worker; nothing
//! is shared and no lock is held.
//!
//! ```text
//! delivery --claim--> conduit --granted--> run --progress/heartbeat--> conduit
//!     |                  `----refused--> forgotten      `--finished, aborted or lease lost--> result
//! ```
//! A task runs only under a lease that the conduit has recorded. When the bus cannot be reached for as long as the
//! lease, the work is stopped before anybody asks: by then somebody else may have been given it.

mod claims;
mod intake;
mod outgoing;
mod runs;
mod settling;
#[cfg(test)]
mod tests;

use std::time::Duration;

use fluidcloud_proto::bus::{self, Queue, Received, SharedBus, Subscription, publish_notice, receive};
use fluidcloud_proto::command::WorkerCommand;
use fluidcloud_proto::event::{Event, Notice, WorkerSeen};
use fluidcloud_proto::ids::{ProviderId, WorkerId};
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::task::{Task, TaskKey};
use futures::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::migrator::Migrators;
use claims::{Claim, Claims};
use intake::Intake;
use outgoing::{Outgoing, Sent};
use runs::{Ended, Runs, Stop};
use settling::Settling;

/// A claim that the conduit does not answer for so long is given back.
pub const CLAIM: Duration = Duration::from_secs(30);
/// Progress of one task is told at most this often; also the grain of every timer here.
pub const TICK: Duration = Duration::from_millis(500);
/// A worker shows itself to the broker this often.
pub const SEEN_EVERY: Duration = Duration::from_secs(5);
/// Tasks done at the same time when nothing else is configured.
pub const SLOTS_DEFAULT: u32 = 4;
/// On shutdown, what runs may finish within this time; then it is stopped and given back.
pub const DRAIN: Duration = Duration::from_secs(5);
/// On shutdown, the last words may take this long to be confirmed by the bus.
pub const LAST_WORDS: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct WorkerOptions {
    pub bus: SharedBus,
    pub id: WorkerId,
    pub kinds: Vec<MigratorKind>,
    pub sites: Vec<ProviderId>,
    pub slots: u32,
    pub drain: Duration,
    pub migrators: Migrators,
}

impl WorkerOptions {
    /// All kinds, every default; the id is made new.
    pub fn new(bus: SharedBus, sites: Vec<ProviderId>, migrators: Migrators) -> Self {
        let kinds = MigratorKind::ALL.to_vec();
        Self { bus, id: new_id(), kinds, sites, slots: SLOTS_DEFAULT, drain: DRAIN, migrators }
    }
}

/// An id that no worker had before.
pub fn new_id() -> WorkerId {
    let name = format!("worker-{}", uuid::Uuid::new_v4().simple());
    name.parse().unwrap_or_else(|_| unreachable!("`{name}` is a valid name"))
}

#[derive(Debug)]
pub struct Worker {
    bus: SharedBus,
    id: WorkerId,
    kinds: Vec<MigratorKind>,
    sites: Vec<ProviderId>,
    slots: u32,
    drain: Duration,
    migrators: Migrators,
    claims: Claims,
    runs: Runs,
    outgoing: Outgoing,
    settling: Settling,
    draining: bool,
}

/// Everything that can happen to a worker.
#[derive(Debug)]
enum Input {
    Delivered(Box<Received<Task>>),
    Ordered(Received<WorkerCommand>),
    Ended(Ended),
    Sent(Sent),
    Settled,
    Tick,
    Seen,
    Noticed,
    /// A subscription could not be made or has ended.
    Lost(String),
}

impl Worker {
    pub fn new(options: WorkerOptions) -> Self {
        let WorkerOptions { bus, id, kinds, sites, slots, drain, migrators } = options;
        let outgoing = Outgoing::new(bus.clone(), id.clone());
        Self {
            bus,
            id,
            kinds,
            sites,
            slots: slots.max(1),
            drain,
            migrators,
            claims: Claims::default(),
            runs: Runs::default(),
            outgoing,
            settling: Settling::default(),
            draining: false,
        }
    }

    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// Serves until `shutdown`, then drains. Fails only when the bus is closed for good.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), bus::Error> {
        let mut orders = tokio::select! {
            orders = intake::subscribe(&self.bus, Queue::Worker(self.id.clone()), 64) => orders?,
            () = shutdown.cancelled() => return Ok(()),
        };
        tracing::info!(worker = %self.id, kinds = ?self.kinds, sites = ?self.sites, "worker serves");
        let mut intake = Intake::new(self.bus.clone(), &self.kinds, &self.sites);
        self.serve(&mut orders, &mut intake, shutdown.cancelled_owned().boxed()).await?;

        self.draining = true;
        drop(intake);
        self.claims = Claims::default();
        let patience = tokio::time::sleep(self.drain).boxed();
        self.finish(&mut orders, patience).await?;
        self.runs.stop_all(Stop::Draining);
        self.finish(&mut orders, futures::future::pending().boxed()).await?;
        let last_words = tokio::time::sleep(LAST_WORDS).boxed();
        self.say_last_words(last_words).await;
        tracing::info!(worker = %self.id, "worker has stopped");
        Ok(())
    }

    async fn serve(
        &mut self,
        orders: &mut Subscription,
        intake: &mut Intake,
        mut until: BoxFuture<'static, ()>,
    ) -> Result<(), bus::Error> {
        let mut timers = Timers::new();
        loop {
            if self.has_room() {
                intake.open();
            } else if self.claims.is_empty() && self.settling.is_empty() {
                let urgent = intake.urgent();
                if urgent.is_empty() {
                    intake.close();
                }
                urgent.into_iter().for_each(|received| self.delivered(received));
            }
            let input = tokio::select! {
                () = &mut until => return Ok(()),
                input = self.wait(orders, Some(intake), &mut timers) => input,
            };
            self.apply(input, &mut timers)?;
        }
    }

    /// Takes nothing new; returns when nothing runs, or at `until`.
    async fn finish(
        &mut self,
        orders: &mut Subscription,
        mut until: BoxFuture<'static, ()>,
    ) -> Result<(), bus::Error> {
        let mut timers = Timers::new();
        while !self.runs.is_empty() {
            let input = tokio::select! {
                () = &mut until => return Ok(()),
                input = self.wait(orders, None, &mut timers) => input,
            };
            self.apply(input, &mut timers)?;
        }
        Ok(())
    }

    async fn say_last_words(&mut self, mut until: BoxFuture<'static, ()>) {
        while !self.outgoing.is_empty() {
            tokio::select! {
                () = &mut until => {
                    tracing::warn!(worker = %self.id, "the bus did not take the last results: their leases will expire");
                    return;
                }
                sent = self.outgoing.next() => drop(sent),
            }
        }
        let seen = self.seen();
        let farewell = publish_notice(&*self.bus, &seen);
        // Nothing depends on it: a silent worker is forgotten as well.
        let _ = tokio::time::timeout(TICK, farewell).await;
    }

    /// Where the loop waits; nothing here acts.
    async fn wait(
        &mut self,
        orders: &mut Subscription,
        intake: Option<&mut Intake>,
        timers: &mut Timers,
    ) -> Input {
        let has_room = self.has_room();
        let delivered = async {
            match intake {
                Some(intake) if has_room => intake.next().await,
                _ => futures::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            order = receive::<WorkerCommand>(orders) => match order {
                Some(order) => Input::Ordered(order),
                None => Input::Lost(Queue::Worker(self.id.clone()).to_string()),
            },
            ended = self.runs.next() => Input::Ended(ended),
            sent = self.outgoing.next() => Input::Sent(sent),
            () = self.settling.next() => Input::Settled,
            () = &mut timers.notice => Input::Noticed,
            _ = timers.tick.tick() => Input::Tick,
            _ = timers.seen.tick() => Input::Seen,
            delivered = delivered => match delivered {
                Ok(received) => Input::Delivered(Box::new(received)),
                Err(queue) => Input::Lost(queue),
            },
        }
    }

    fn apply(&mut self, input: Input, timers: &mut Timers) -> Result<(), bus::Error> {
        match input {
            Input::Delivered(received) => self.delivered(*received),
            Input::Ordered(Received { body, delivery }) => {
                self.settling.ack([delivery]);
                self.ordered(body);
            }
            Input::Ended(ended) => self.ended(ended),
            Input::Sent(sent) => self.sent(sent),
            Input::Settled => {}
            Input::Tick => self.tick(),
            Input::Seen => {
                let (bus, seen) = (self.bus.clone(), self.seen());
                timers.notice = async move {
                    if let Err(error) = publish_notice(&*bus, &seen).await {
                        tracing::debug!(%error, "nobody is told that this worker lives");
                    }
                }
                .boxed();
            }
            Input::Noticed => timers.notice = futures::future::pending().boxed(),
            Input::Lost(queue) => {
                tracing::error!(%queue, "the bus has ended a subscription");
                self.runs.stop_all(Stop::Draining);
                return Err(bus::Error::Closed);
            }
        }
        Ok(())
    }

    fn delivered(&mut self, Received { body: task, delivery }: Received<Task>) {
        if self.runs.has(&task.key) {
            tracing::debug!(task = %task.key, "delivered again while it runs");
            return self.settling.ack([delivery]);
        }
        // An older attempt at the same step is over, whatever the answer to the claim will be.
        self.runs.stop_older(&task.key);
        self.outgoing.say(Event::TaskClaimed { key: task.key.clone(), worker: self.id.clone() });
        let surplus = self.claims.add(task, delivery, Instant::now());
        self.settling.ack(surplus);
    }

    fn ordered(&mut self, command: WorkerCommand) {
        match command {
            WorkerCommand::Granted { key } => self.granted(key),
            WorkerCommand::Refused { key } => {
                if let Some(claim) = self.claims.take(&key) {
                    tracing::debug!(task = %key, "claim refused");
                    self.settling.ack(claim.deliveries);
                }
            }
            WorkerCommand::Abort { key } => {
                if let Some(claim) = self.claims.take(&key) {
                    self.settling.ack(claim.deliveries);
                }
                if !self.runs.stop(&key, Stop::Aborted) {
                    // Whoever asked waits for the answer.
                    self.failed(key, &Error::Canceled);
                }
            }
        }
    }

    fn granted(&mut self, key: TaskKey) {
        if self.runs.has(&key) {
            return;
        }
        let Some(claim) = self.claims.take(&key) else {
            // Too late: it was given back. Say so, or the lease would have to expire.
            return self.failed(key, &Error::GivenBack);
        };
        tracing::info!(task = %key, "task begins");
        let Claim { task, deliveries, claimed_at } = claim;
        // The lease is recorded, so the message has done its work.
        self.settling.ack(deliveries);
        match self.migrators.choose(task.kind) {
            Ok(migrator) => {
                self.runs.begin(task, migrator, claimed_at);
                self.outgoing.say(Event::TaskProgressed { key, worker: self.id.clone(), transfer: None });
            }
            Err(error) => self.failed(key, &error),
        }
    }

    fn ended(&mut self, Ended { key, outcome }: Ended) {
        match outcome {
            Ok(output) => {
                tracing::info!(task = %key, "task succeeded");
                let worker = self.id.clone();
                self.outgoing.say(Event::TaskSucceeded { key, worker, output });
            }
            Err(error) => self.failed(key, &error),
        }
    }

    fn failed(&mut self, key: TaskKey, error: &Error) {
        let failure = error.to_failure();
        tracing::warn!(task = %key, %failure, "task failed");
        self.outgoing.say(Event::TaskFailed { key, worker: self.id.clone(), failure });
    }

    fn sent(&mut self, sent: Sent) {
        if let Some(key) = sent.renewed {
            self.runs.renewed(&key, sent.began);
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for claim in self.claims.unanswered(now) {
            tracing::warn!(task = %claim.task.key, "nobody answered the claim: the task is given back");
            self.settling.give_back(claim.deliveries);
        }
        self.runs.stop_without_lease(now);
        for (key, transfer) in self.runs.due(now) {
            self.outgoing.say(Event::TaskProgressed { key, worker: self.id.clone(), transfer });
        }
    }

    fn has_room(&self) -> bool {
        self.runs.len() + self.claims.len() < self.slots as usize
    }

    fn seen(&self) -> Notice {
        Notice::WorkerSeen(WorkerSeen {
            worker: self.id.clone(),
            kinds: self.kinds.clone(),
            sites: self.sites.clone(),
            slots: self.slots,
            busy: self.runs.keys(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            draining: self.draining,
        })
    }
}

struct Timers {
    tick: tokio::time::Interval,
    seen: tokio::time::Interval,
    /// A notice on its way; a new one takes the place of one that the bus did not take.
    notice: BoxFuture<'static, ()>,
}

impl Timers {
    fn new() -> Self {
        let mut timers = Self {
            tick: interval(TICK),
            seen: interval(SEEN_EVERY),
            notice: futures::future::pending().boxed(),
        };
        timers.tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timers.seen.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timers
    }
}
