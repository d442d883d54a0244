//! What every migrator must keep, simulated or real: see the contract on [`Migrator`]. A [`Case`] sets the stage
//! for one kind of work; each check panics with what was broken, as tests do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::ids::Epoch;
use fluidcloud_proto::task::{Output, Task};

use crate::error::Error;
use crate::migrator::{Context, Migrator};

/// One kind of work on a stage that can be set again.
#[async_trait]
pub trait Case: Send + Sync {
    fn name(&self) -> &str;

    fn migrator(&self) -> Arc<dyn Migrator>;

    /// The work, at an epoch.
    fn task(&self, epoch: Epoch) -> Task;

    /// Everything as it was before the work, epochs forgotten.
    async fn reset(&self);

    /// What the work has changed, in a form that can be compared.
    async fn state(&self) -> Vec<u8>;

    /// What the work must never change.
    async fn untouched(&self) -> Vec<u8>;
}

/// Runs every check. `cuts` are the moments at which the work is dropped in the middle.
pub async fn check(case: &dyn Case, cuts: &[Duration]) {
    let (output, state) = twice_is_once(case).await;
    dropped_and_repeated_is_once(case, cuts, &output, &state).await;
    an_older_epoch_is_fenced(case).await;
    foreign_work_is_refused(case).await;
}

async fn twice_is_once(case: &dyn Case) -> (Output, Vec<u8>) {
    case.reset().await;
    let before = case.untouched().await;
    let first = perform(case, 1).await.unwrap_or_else(|error| panic!("{}: {error}", case.name()));
    let once = case.state().await;
    let second = perform(case, 2).await.unwrap_or_else(|error| panic!("{}, again: {error}", case.name()));
    assert_eq!(case.state().await, once, "{}: done twice is not the same as once", case.name());
    assert!(same(&first, &second), "{}: {first:?} is not answered again, but {second:?}", case.name());
    assert_eq!(case.untouched().await, before, "{}: changed what it must not", case.name());
    (first, once)
}

async fn dropped_and_repeated_is_once(case: &dyn Case, cuts: &[Duration], output: &Output, state: &[u8]) {
    for cut in cuts {
        case.reset().await;
        let before = case.untouched().await;
        let migrator = case.migrator();
        let task = case.task(Epoch(1));
        let (context, _progress) = Context::new();
        let dropped = tokio::time::timeout(*cut, migrator.perform(&task, &context)).await;
        migrator
            .halt(&task)
            .await
            .unwrap_or_else(|error| panic!("{}: halt after {cut:?}: {error}", case.name()));
        assert_eq!(
            case.untouched().await,
            before,
            "{}: dropped at {cut:?} it had changed something",
            case.name()
        );
        let again = perform(case, 2).await;
        let again = again.unwrap_or_else(|error| {
            panic!("{}: repeated after {cut:?} ({}): {error}", case.name(), dropped.is_err())
        });
        assert!(same(output, &again), "{}: after {cut:?} it answers {again:?}", case.name());
        assert_eq!(case.state().await, state, "{}: dropped at {cut:?} and repeated is not once", case.name());
    }
}

async fn an_older_epoch_is_fenced(case: &dyn Case) {
    case.reset().await;
    perform(case, 5).await.unwrap_or_else(|error| panic!("{}: {error}", case.name()));
    let state = case.state().await;
    // It may find the work done and say so, or be refused; it must not change anything.
    let late = perform(case, 4).await;
    assert_eq!(case.state().await, state, "{}: an older epoch changed something", case.name());
    if let Err(error) = late {
        let code = error.to_failure().code;
        assert_eq!(code, fluidcloud_proto::Code::Fenced, "{}: {error}", case.name());
    }
}

async fn foreign_work_is_refused(case: &dyn Case) {
    use fluidcloud_proto::plan::MigratorKind::{Image, Rewrite};
    use fluidcloud_proto::task::{RewriteConfig, Work};
    let mut task = case.task(Epoch(9));
    if case.migrator().kind() == Rewrite {
        return;
    }
    task.kind = Image;
    task.work = Work::RewriteConfig(RewriteConfig { disks: Vec::new(), rules: Vec::new() });
    let (context, _progress) = Context::new();
    let refused = case.migrator().perform(&task, &context).await;
    assert!(matches!(refused, Err(Error::WrongWork { .. })), "{}: took work of another kind", case.name());
}

async fn perform(case: &dyn Case, epoch: u64) -> Result<Output, Error> {
    let (context, _progress) = Context::new();
    case.migrator().perform(&case.task(Epoch(epoch)), &context).await
}

/// Equal but for what a second attempt need not do again.
fn same(one: &Output, other: &Output) -> bool {
    match (one, other) {
        (Output::Synced { transfer: a }, Output::Synced { transfer: b }) => {
            (&a.disk, a.bytes_total, &a.digest, a.verified) == (&b.disk, b.bytes_total, &b.digest, b.verified)
        }
        (Output::ContainerCopied(a), Output::ContainerCopied(b)) => {
            (&a.name, a.objects, a.bytes, &a.digest) == (&b.name, b.objects, b.bytes, &b.digest)
        }
        (Output::ImageCopied(a), Output::ImageCopied(b)) => (&a.id, &a.digest) == (&b.id, &b.digest),
        // What is adapted already needs no change; real ones tell from their record what the first did.
        (Output::Adapted { .. }, Output::Adapted { .. }) => true,
        _ => one == other,
    }
}
