//! The loop on the memory bus with a paused clock; the test plays the conduit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fluidcloud_proto::bus::memory::MemoryBus;
use fluidcloud_proto::bus::{Bus, publish_command};
use fluidcloud_proto::ids::{DiskId, Epoch, RelocationId};
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::progress::TransferProgress;
use fluidcloud_proto::task::{Output, PrepareDisk, Work};
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};
use fluidcloud_proto::{Code, Failure};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{advance, timeout};

use super::*;
use crate::migrator::{Context, Migrator, Progress};

const LEASE_SECS: u64 = 30;
const LONG: Duration = Duration::from_secs(600);

/// Works until it is let go on; counts what happens to it.
#[derive(Debug)]
struct Slow {
    go_on: Semaphore,
    begun: AtomicUsize,
    halted: AtomicUsize,
    progress: Mutex<Option<Progress>>,
}

#[async_trait]
impl Migrator for Slow {
    fn kind(&self) -> MigratorKind {
        MigratorKind::Image
    }

    async fn perform(&self, task: &Task, context: &Context) -> Result<Output, Error> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        *self.progress.lock().unwrap() = Some(context.progress.clone());
        self.go_on.acquire().await.unwrap().forget();
        if task.lease_secs == 1 {
            panic!("by order of the test");
        }
        Ok(done())
    }

    async fn halt(&self, _task: &Task) -> Result<(), Error> {
        self.halted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn done() -> Output {
    Output::Prepared { place: DiskPlace { path: "/pool/disk".into(), format: DiskFormat::Raw } }
}

struct Stage {
    bus: Arc<MemoryBus>,
    events: Subscription,
    slow: Arc<Slow>,
    worker: WorkerId,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), bus::Error>>,
}

fn site() -> ProviderId {
    "b".parse().unwrap()
}

fn tasks() -> Queue {
    Queue::Tasks { kind: MigratorKind::Image, site: site() }
}

fn task(number: u128, epoch: u64) -> Task {
    let disk = DiskId { component: "app".parse().unwrap(), disk: "vda".parse().unwrap() };
    let relocation = RelocationId(uuid::Uuid::from_u128(number));
    let key = TaskKey { relocation, step: StepId::Prepare(disk.clone()), epoch: Epoch(epoch) };
    let work = Work::PrepareDisk(PrepareDisk {
        disk,
        source: None,
        size_bytes: 1,
        expected_bytes: 1,
        staging: false,
        volume_type: None,
    });
    Task { key, kind: MigratorKind::Image, site: site(), lease_secs: LEASE_SECS, work }
}

impl Stage {
    async fn new(slots: u32) -> Self {
        let bus = MemoryBus::new();
        let events = bus.subscribe(&Queue::Events, 64).await.unwrap();
        let slow = Arc::new(Slow {
            go_on: Semaphore::new(0),
            begun: AtomicUsize::new(0),
            halted: AtomicUsize::new(0),
            progress: Mutex::default(),
        });
        let migrators = Migrators::of(vec![slow.clone()]);
        let options = WorkerOptions { slots, ..WorkerOptions::new(bus.clone(), vec![site()], migrators) };
        let worker = Worker::new(options);
        let id = worker.id().clone();
        let shutdown = CancellationToken::new();
        let ended = tokio::spawn(worker.run(shutdown.clone()));
        let stage = Self { bus, events, slow, worker: id, shutdown, ended };
        // Its queues are there when it takes part in them.
        while stage.bus.depth(&tasks()).await.unwrap().consumers == 0 {
            tokio::task::yield_now().await;
        }
        stage
    }

    async fn publish(&self, task: &Task) {
        publish_command(&*self.bus, &tasks(), task).await.unwrap();
    }

    async fn order(&self, command: WorkerCommand) {
        publish_command(&*self.bus, &Queue::Worker(self.worker.clone()), &command).await.unwrap();
    }

    async fn event(&mut self) -> Event {
        let received = timeout(LONG, receive::<Event>(&mut self.events)).await;
        let Received { body, delivery } = received.expect("the worker says nothing").unwrap();
        delivery.ack().await.unwrap();
        body
    }

    /// The next event that is not a heartbeat.
    async fn news(&mut self) -> Event {
        loop {
            let event = self.event().await;
            if !matches!(event, Event::TaskProgressed { transfer: None, .. }) {
                return event;
            }
        }
    }

    async fn claimed(&mut self) -> TaskKey {
        match self.news().await {
            Event::TaskClaimed { key, worker } if worker == self.worker => key,
            other => panic!("not a claim: {other:?}"),
        }
    }

    async fn failed(&mut self) -> (TaskKey, Failure) {
        match self.news().await {
            Event::TaskFailed { key, failure, .. } => (key, failure),
            other => panic!("not a failure: {other:?}"),
        }
    }

    async fn begin(&mut self, task: &Task) {
        let before = self.begun();
        self.publish(task).await;
        assert_eq!(self.claimed().await, task.key);
        self.order(WorkerCommand::Granted { key: task.key.clone() }).await;
        self.until(|slow| slow.begun.load(Ordering::SeqCst) > before).await;
    }

    async fn until(&self, seen: impl Fn(&Slow) -> bool) {
        let waiting = async {
            while !seen(&self.slow) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, waiting).await.expect("it does not come to pass");
    }

    fn begun(&self) -> usize {
        self.slow.begun.load(Ordering::SeqCst)
    }

    fn halted(&self) -> usize {
        self.slow.halted.load(Ordering::SeqCst)
    }

    async fn quiet(&mut self) {
        let said = timeout(Duration::from_millis(200), self.news()).await;
        assert!(said.is_err(), "said {said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_begins_only_when_the_lease_is_granted_and_its_result_is_told() {
    let mut stage = Stage::new(1).await;
    let task = task(1, 1);
    stage.publish(&task).await;
    assert_eq!(stage.claimed().await, task.key);
    assert_eq!(stage.begun(), 0);
    stage.order(WorkerCommand::Granted { key: task.key.clone() }).await;
    stage.slow.go_on.add_permits(1);
    let Event::TaskSucceeded { key, output, .. } = stage.news().await else { panic!("not a success") };
    assert_eq!((key, output), (task.key, done()));
    assert_eq!(stage.bus.depth(&tasks()).await.unwrap().ready, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_task_is_forgotten() {
    let mut stage = Stage::new(1).await;
    let task = task(1, 1);
    stage.publish(&task).await;
    stage.claimed().await;
    stage.order(WorkerCommand::Refused { key: task.key }).await;
    stage.quiet().await;
    assert_eq!(stage.begun(), 0);
    // The slot is free again.
    stage.begin(&self::task(2, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_an_answer_is_given_back_and_claimed_again() {
    let mut stage = Stage::new(1).await;
    let task = task(1, 1);
    stage.publish(&task).await;
    stage.claimed().await;
    advance(CLAIM).await;
    assert_eq!(stage.claimed().await, task.key);
    stage.order(WorkerCommand::Granted { key: task.key }).await;
    stage.until(|slow| slow.begun.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_comes_too_late_is_given_back_at_once() {
    let mut stage = Stage::new(1).await;
    stage.order(WorkerCommand::Granted { key: task(1, 1).key }).await;
    let (_, failure) = stage.failed().await;
    assert_eq!((failure.code, failure.retryable(), stage.begun()), (Code::HandedBack, true, 0));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_delivered_twice_is_done_once() {
    let mut stage = Stage::new(2).await;
    let task = task(1, 1);
    stage.begin(&task).await;
    stage.publish(&task).await;
    stage.order(WorkerCommand::Granted { key: task.key.clone() }).await;
    stage.quiet().await;
    assert_eq!(stage.begun(), 1);
    stage.slow.go_on.add_permits(2);
    assert!(matches!(stage.news().await, Event::TaskSucceeded { .. }));
    assert_eq!(stage.bus.depth(&tasks()).await.unwrap().ready, 0);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_well_within_the_lease_and_progress_soon() {
    let mut stage = Stage::new(1).await;
    stage.begin(&task(1, 1)).await;
    for _ in 0..5 {
        let before = Instant::now();
        assert!(matches!(stage.event().await, Event::TaskProgressed { .. }));
        assert!(before.elapsed() <= Duration::from_secs(LEASE_SECS / 3));
    }
    let progress = stage.slow.progress.lock().unwrap().clone().unwrap();
    for bytes_done in 1..=10 {
        progress.tell(TransferProgress { bytes_done, ..TransferProgress::default() });
    }
    let before = Instant::now();
    let Event::TaskProgressed { transfer, .. } = stage.news().await else { panic!("no progress") };
    assert_eq!(transfer.map(|transfer| transfer.bytes_done), Some(10));
    assert!(before.elapsed() <= TICK * 2);
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_the_work_and_is_answered() {
    let mut stage = Stage::new(1).await;
    let task = task(1, 1);
    stage.begin(&task).await;
    stage.order(WorkerCommand::Abort { key: task.key.clone() }).await;
    let (key, failure) = stage.failed().await;
    assert_eq!((key, failure.code, stage.halted()), (task.key, Code::Canceled, 1));
}

#[tokio::test(start_paused = true)]
async fn an_abort_of_what_does_not_run_is_answered_too() {
    let mut stage = Stage::new(1).await;
    stage.order(WorkerCommand::Abort { key: task(9, 1).key }).await;
    assert_eq!(stage.failed().await.1.code, Code::Canceled);
}

#[tokio::test(start_paused = true)]
async fn a_newer_epoch_ends_the_older_work_before_it_begins() {
    let mut stage = Stage::new(2).await;
    stage.begin(&task(1, 1)).await;
    stage.publish(&task(1, 2)).await;
    let mut said = [stage.news().await, stage.news().await];
    said.sort_by_key(|event| matches!(event, Event::TaskFailed { .. }));
    let [Event::TaskClaimed { key: newer, .. }, Event::TaskFailed { key: older, failure, .. }] = said else {
        panic!("{said:?}");
    };
    assert_eq!((newer.epoch, older.epoch, failure.code), (Epoch(2), Epoch(1), Code::Fenced));
    stage.order(WorkerCommand::Granted { key: newer }).await;
    stage.until(|slow| slow.begun.load(Ordering::SeqCst) == 2).await;
    assert_eq!(stage.halted(), 1);
}

#[tokio::test(start_paused = true)]
async fn work_stops_by_itself_when_the_bus_is_away_for_longer_than_the_lease() {
    let mut stage = Stage::new(1).await;
    stage.begin(&task(1, 1)).await;
    stage.bus.set_connected(false);
    advance(Duration::from_secs(LEASE_SECS - 2)).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(stage.halted(), 0);
    stage.until(|slow| slow.halted.load(Ordering::SeqCst) == 1).await;
    stage.bus.set_connected(true);
    let (_, failure) = stage.failed().await;
    assert_eq!((failure.code, failure.retryable()), (Code::LeaseLost, true));
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_costs_nothing() {
    let mut stage = Stage::new(1).await;
    stage.begin(&task(1, 1)).await;
    stage.bus.set_connected(false);
    stage.slow.go_on.add_permits(1);
    tokio::time::sleep(Duration::from_secs(LEASE_SECS / 2)).await;
    stage.bus.set_connected(true);
    assert!(matches!(stage.news().await, Event::TaskSucceeded { .. }));
    assert_eq!(stage.halted(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_worker_leaves_tasks_in_their_queue() {
    let mut stage = Stage::new(1).await;
    stage.begin(&task(1, 1)).await;
    stage.publish(&task(2, 1)).await;
    stage.quiet().await;
    let depth = stage.bus.depth(&tasks()).await.unwrap();
    assert_eq!((depth.ready, depth.consumers), (1, 0));
    stage.slow.go_on.add_permits(1);
    assert!(matches!(stage.news().await, Event::TaskSucceeded { .. }));
    assert_eq!(stage.claimed().await, task(2, 1).key);
}

#[tokio::test(start_paused = true)]
async fn however_busy_workers_are_no_task_is_buried() {
    let mut stage = Stage::new(1).await;
    for number in 1..=12 {
        stage.publish(&task(number, 1)).await;
    }
    stage.slow.go_on.add_permits(12);
    let mut done = 0;
    while done < 12 {
        match stage.news().await {
            Event::TaskClaimed { key, .. } => stage.order(WorkerCommand::Granted { key }).await,
            Event::TaskSucceeded { .. } => done += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stage.bus.depth(&Queue::DeadLetters).await.unwrap().ready, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_the_task_and_not_the_worker() {
    let mut stage = Stage::new(1).await;
    stage.begin(&Task { lease_secs: 1, ..task(1, 1) }).await;
    stage.slow.go_on.add_permits(1);
    let (_, failure) = stage.failed().await;
    assert_eq!(failure.code, Code::Internal);
    assert!(failure.message.contains("by order of the test"), "{failure}");
    stage.begin(&task(2, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_here_is_told() {
    let mut stage = Stage::new(1).await;
    let other = Task { kind: MigratorKind::Volume, ..task(1, 1) };
    stage.publish(&other).await;
    stage.claimed().await;
    stage.order(WorkerCommand::Granted { key: other.key }).await;
    assert!(stage.failed().await.1.message.contains("`volume`"));
}

#[tokio::test(start_paused = true)]
async fn draining_lets_short_work_finish() {
    let mut stage = Stage::new(1).await;
    stage.begin(&task(1, 1)).await;
    stage.shutdown.cancel();
    tokio::time::sleep(DRAIN / 2).await;
    stage.slow.go_on.add_permits(1);
    assert!(matches!(stage.news().await, Event::TaskSucceeded { .. }));
    (&mut stage.ended).await.unwrap().unwrap();
    assert_eq!(stage.halted(), 0);
}

#[tokio::test(start_paused = true)]
async fn draining_gives_long_work_back() {
    let mut stage = Stage::new(2).await;
    stage.begin(&task(1, 1)).await;
    stage.publish(&task(2, 1)).await;
    stage.claimed().await;
    stage.shutdown.cancel();
    let (_, failure) = stage.failed().await;
    assert_eq!((failure.code, failure.retryable(), stage.halted()), (Code::HandedBack, true, 1));
    (&mut stage.ended).await.unwrap().unwrap();
    // What was only claimed is in its queue again.
    assert_eq!(stage.bus.depth(&tasks()).await.unwrap().ready, 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_shows_itself_and_what_it_does() {
    let mut stage = Stage::new(1).await;
    let mut notices = stage.bus.watch().await.unwrap();
    stage.begin(&task(1, 1)).await;
    loop {
        let message = timeout(SEEN_EVERY * 2, notices.recv()).await.expect("not shown").unwrap();
        let Notice::WorkerSeen(seen) = serde_json::from_slice(&message.body).unwrap() else { continue };
        if seen.busy == [task(1, 1).key] {
            assert_eq!((seen.worker, seen.slots, seen.draining), (stage.worker, 1, false));
            return;
        }
    }
}
