//! A simulated worker of every kind at both sites. It keeps the bus protocol as a migrator does and works on the
//! simulated disks in small steps, so that it can be killed in the middle of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluidcloud_proto::bus::{Queue, Received, SharedBus, publish_command, receive};
use fluidcloud_proto::command::WorkerCommand;
use fluidcloud_proto::event::Event;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::WorkerId;
use fluidcloud_proto::plan::{MigratorKind, StepId};
use fluidcloud_proto::progress::{TransferProgress, TransferReport};
use fluidcloud_proto::task::{FileDiff, Folded, Output, Rehearsed, Task, TaskKey, Work};
use fluidcloud_providers::{DiskOrder, Provider};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::copies;
use crate::world::{ADAPTED, CONTENT, FOLDED, REWRITTEN, World};

/// How long the answer to a claim is waited for.
const CLAIM_WAIT: Duration = Duration::from_secs(30);
/// Between two small steps of work, each with a heartbeat.
const PACE: Duration = Duration::from_secs(3);

/// How workers misbehave in a case.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// This step fails so many times, this way.
    pub fail: Option<(StepId, Failure, u32)>,
    /// The worker that first does this step falls silent in it, finishes it, and answers much too late.
    pub silent: Option<StepId>,
    /// Ignores orders to stop.
    pub stubborn: bool,
    /// A worker dies when it passes this point, counted over all workers.
    pub die_at: Option<usize>,
}

#[derive(Debug, Default)]
pub struct Counts {
    points: usize,
    failed: u32,
    was_silent: bool,
    /// Tasks being worked on now.
    pub busy: Vec<TaskKey>,
    pub died: bool,
}

type Inbox = Arc<Mutex<HashMap<TaskKey, mpsc::UnboundedSender<WorkerCommand>>>>;

#[derive(Clone, Debug)]
struct Worker {
    id: WorkerId,
    bus: SharedBus,
    world: World,
    inbox: Inbox,
}

/// Runs until it is dropped, which is how it is killed; or until it dies by itself.
pub async fn run(world: World, bus: SharedBus, name: String) {
    let id: WorkerId = name.parse().unwrap();
    let own = Queue::Worker(id.clone());
    let mut orders = bus.subscribe(&own, 64).await.unwrap();
    let worker = Worker { id, bus: bus.clone(), world: world.clone(), inbox: Inbox::default() };
    let mut work = JoinSet::new();
    let (tasks, mut waiting) = mpsc::channel::<Received<Task>>(1);
    for kind in MigratorKind::ALL {
        for site in ["cloud-a", "cloud-b"] {
            let queue = Queue::Tasks { kind, site: site.parse().unwrap() };
            let mut subscription = bus.subscribe(&queue, 8).await.unwrap();
            let tasks = tasks.clone();
            work.spawn(async move {
                while let Some(task) = receive::<Task>(&mut subscription).await {
                    if tasks.send(task).await.is_err() {
                        return false;
                    }
                }
                false
            });
        }
    }
    loop {
        tokio::select! {
            Some(task) = waiting.recv() => {
                let worker = worker.clone();
                work.spawn(async move { worker.take(task).await });
            }
            Some(order) = receive::<WorkerCommand>(&mut orders) => {
                let (WorkerCommand::Granted { key } | WorkerCommand::Refused { key } | WorkerCommand::Abort { key }) =
                    &order.body;
                if let Some(inbox) = worker.inbox.lock().unwrap().get(key) {
                    let _ = inbox.send(order.body);
                }
                order.delivery.ack().await.unwrap();
            }
            Some(died) = work.join_next() => {
                if died.unwrap() {
                    world.worker_counts().lock().unwrap().died = true;
                    return;
                }
            }
        }
    }
}

/// At work on a task, until it is done or its process dies.
struct Busy {
    key: TaskKey,
    counts: Arc<Mutex<Counts>>,
}

impl Busy {
    fn with(key: &TaskKey, world: &World) -> Self {
        let counts = world.worker_counts();
        counts.lock().unwrap().busy.push(key.clone());
        Self { key: key.clone(), counts }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap();
        if let Some(at) = counts.busy.iter().position(|busy| *busy == self.key) {
            counts.busy.remove(at);
        }
    }
}

/// The worker process dies here.
struct Dies;

impl Worker {
    /// True when the process dies.
    async fn take(&self, task: Received<Task>) -> bool {
        let key = task.body.key.clone();
        let (sender, mut orders) = mpsc::unbounded_channel();
        if self.inbox.lock().unwrap().contains_key(&key) {
            // The same task again, while it is at work here.
            task.delivery.ack().await.unwrap();
            return false;
        }
        self.inbox.lock().unwrap().insert(key.clone(), sender);
        let died = self.claim_and_work(task, &mut orders).await.is_err();
        self.inbox.lock().unwrap().remove(&key);
        died
    }

    async fn claim_and_work(
        &self,
        task: Received<Task>,
        orders: &mut mpsc::UnboundedReceiver<WorkerCommand>,
    ) -> Result<(), Dies> {
        let Received { body: task, delivery } = task;
        self.point()?;
        self.say(&Event::TaskClaimed { key: task.key.clone(), worker: self.id.clone() }).await;
        self.point()?;
        let answer = tokio::time::timeout(CLAIM_WAIT, orders.recv()).await;
        match answer {
            Ok(Some(WorkerCommand::Granted { .. })) => {}
            Ok(_) => {
                delivery.ack().await.unwrap();
                return Ok(());
            }
            Err(_) => {
                delivery.retry().await.unwrap();
                return Ok(());
            }
        }
        self.point()?;
        delivery.ack().await.unwrap();
        self.point()?;
        let _busy = Busy::with(&task.key, &self.world);
        let result = self.work(&task, orders).await?;
        self.point()?;
        let (key, worker) = (task.key.clone(), self.id.clone());
        self.say(&match result {
            Ok(output) => Event::TaskSucceeded { key, worker, output },
            Err(failure) => Event::TaskFailed { key, worker, failure },
        })
        .await;
        self.point()?;
        Ok(())
    }

    async fn work(
        &self,
        task: &Task,
        orders: &mut mpsc::UnboundedReceiver<WorkerCommand>,
    ) -> Result<Result<Output, Failure>, Dies> {
        if let Some(failure) = self.told_to_fail(&task.key.step) {
            return Ok(Err(failure));
        }
        let silent = self.told_to_be_silent(&task.key.step);
        self.world.lock_disks(task);
        for part in 1..=3 {
            self.point()?;
            self.do_part(task, part);
            self.point()?;
            if !silent {
                let transfer = self.progress(&task.work, part);
                self.say(&Event::TaskProgressed { key: task.key.clone(), worker: self.id.clone(), transfer })
                    .await;
            }
            let told = tokio::time::timeout(PACE, told_to_stop(orders)).await;
            if told.is_ok() && !self.world.worker_faults().stubborn {
                return Ok(Err(Failure::never(Code::Canceled, "told to stop", "nothing")));
            }
        }
        let done = self.finish(task).await;
        if silent {
            // Long enough to lose the lease and for another to finish. It touches nothing any more and only answers.
            tokio::time::sleep(Duration::from_secs(200)).await;
        }
        Ok(done)
    }

    /// One third of the work; the same again is the same as once.
    fn do_part(&self, task: &Task, part: usize) {
        let (world, key) = (&self.world, &task.key);
        match &task.work {
            Work::SyncDisk(sync) => {
                let bytes = world.a.disk_bytes(&sync.from).expect("a source is never deleted");
                let third = bytes.len() / 3 + 1;
                let from = (part - 1) * third;
                let to = (from + third).min(bytes.len());
                if let Some(name) = world.runs_on(&sync.from) {
                    world.object(format!("{} is read while {name} runs", sync.disk));
                }
                world.write(key, &sync.to, from, &bytes[from..to]);
                world.crossed(&sync.to, to - from);
            }
            Work::AdaptGuest(adapt) if part == 2 => world.write(key, &adapt.disks[0].place, ADAPTED, b"A"),
            Work::RewriteConfig(config) if part == 2 => {
                world.write(key, &config.disks[0].place, REWRITTEN, b"R")
            }
            Work::FoldVolume(fold) if part == 2 => {
                let volume = world.b.disk_bytes(&fold.volume.place).unwrap_or_default();
                if let Some(content) = volume.get(..8) {
                    world.write(key, &fold.root.place, FOLDED, content);
                }
            }
            _ => {}
        }
    }

    async fn finish(&self, task: &Task) -> Result<Output, Failure> {
        match &task.work {
            Work::PrepareDisk(prepare) => {
                let order = DiskOrder {
                    relocation: task.key.relocation,
                    disk: prepare.disk.clone(),
                    size_bytes: prepare.size_bytes,
                    expected_bytes: prepare.expected_bytes,
                    staging: prepare.staging,
                    volume_type: prepare.volume_type.clone(),
                };
                let place = self.world.b.create_disk(&order).await.map_err(|error| error.to_failure())?;
                self.world.b.add_scrap(task.key.relocation, &format!("{}.lock", place.path));
                Ok(Output::Prepared { place })
            }
            Work::SyncDisk(sync) => {
                let (from, to) = (self.world.a.disk_bytes(&sync.from), self.world.b.disk_bytes(&sync.to));
                if from.as_ref().map(|bytes| &bytes[..CONTENT]) != to.as_ref().map(|bytes| &bytes[..CONTENT])
                {
                    return Err(Failure::later(Code::Corrupted, "digests differ", "try again"));
                }
                let bytes = from.unwrap_or_default();
                let transfer = TransferReport {
                    disk: sync.disk.clone(),
                    bytes_total: sync.size_bytes,
                    bytes_read: bytes.len() as u64,
                    bytes_zero: 0,
                    bytes_reused: 0,
                    bytes_on_wire: self.world.crossed(&sync.to, 0),
                    bytes_free: 0,
                    areas: Vec::new(),
                    seconds: 9.0,
                    digest: crate::world::digest(&bytes),
                    verified: true,
                };
                Ok(Output::Synced { transfer })
            }
            Work::AdaptGuest(_) => Ok(Output::Adapted { changes: vec!["fstab".into()] }),
            Work::FoldVolume(fold) => {
                let digest = "folded".to_owned();
                Ok(Output::Folded(Folded { into: fold.into.clone(), entries: 1, bytes: 8, digest }))
            }
            Work::RehearseGuest(order) => {
                let changes = order.adapt.iter().map(|_| "fstab".to_owned()).collect();
                let folded_bytes = order.folds.iter().map(|_| 8).collect();
                let files = order.rules.iter().map(diff).collect();
                Ok(Output::Rehearsed(Rehearsed { changes, folded_bytes, files }))
            }
            Work::CopyImage(order) => copies::image(&self.world, &task.key, order).await,
            Work::CopyContainer(order) => copies::container(&self.world, &task.key, order).await,
            Work::RewriteConfig(config) => {
                Ok(Output::Rewritten { files: config.rules.iter().map(diff).collect() })
            }
        }
    }

    async fn say(&self, event: &Event) {
        publish_command(&*self.bus, &Queue::Events, event).await.unwrap();
    }

    /// Bytes on the wire are a sum over all attempts, as migrators keep it beside the disk.
    fn progress(&self, work: &Work, part: usize) -> Option<TransferProgress> {
        let Work::SyncDisk(sync) = work else { return None };
        let done = sync.size_bytes * part as u64 / 3;
        Some(TransferProgress {
            bytes_total: sync.size_bytes,
            bytes_done: done,
            bytes_read: done,
            bytes_on_wire: self.world.crossed(&sync.to, 0),
            ..TransferProgress::default()
        })
    }

    fn point(&self) -> Result<(), Dies> {
        let die_at = self.world.worker_faults().die_at;
        let counts = self.world.worker_counts();
        let mut counts = counts.lock().unwrap();
        counts.points += 1;
        if Some(counts.points - 1) == die_at { Err(Dies) } else { Ok(()) }
    }

    fn told_to_fail(&self, step: &StepId) -> Option<Failure> {
        let (failing, failure, times) = self.world.worker_faults().fail?;
        let counts = self.world.worker_counts();
        let mut counts = counts.lock().unwrap();
        if failing != *step || counts.failed >= times {
            return None;
        }
        counts.failed += 1;
        Some(failure)
    }

    fn told_to_be_silent(&self, step: &StepId) -> bool {
        let counts = self.world.worker_counts();
        let mut counts = counts.lock().unwrap();
        let first = self.world.worker_faults().silent.as_ref() == Some(step) && !counts.was_silent;
        counts.was_silent |= first;
        first
    }
}

fn diff(rule: &fluidcloud_proto::request::RewriteRule) -> FileDiff {
    FileDiff { file: rule.file.clone(), matches: 1, diff: format!("-a\n+{}", rule.replace) }
}

impl Counts {
    pub fn points(&self) -> usize {
        self.points
    }
}

async fn told_to_stop(orders: &mut mpsc::UnboundedReceiver<WorkerCommand>) {
    loop {
        match orders.recv().await {
            Some(WorkerCommand::Abort { .. }) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}
