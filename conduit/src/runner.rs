//! The steps the conduit runs itself, through the providers: reserve, furnish, observe, freeze, snapshot, create, set aside, keep image,
//! verify, commit, tidy, and every undo. Each may be run again after a crash at any point of it. Nothing here knows the log.

mod alone;
mod decide;
mod furnish;
pub mod inspect;
mod keep;
mod observe;
mod steps;
mod undo;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, InstanceName, ProviderId};
use fluidcloud_proto::plan::StepId;
use fluidcloud_providers::{Error, Provider, Registry};
use tokio_util::sync::CancellationToken;

use crate::keys::Keys;
use crate::relocation::{Done, Relocation};
use crate::web::Web;

/// Longest wait for one call of a provider; longer than any grace we give, and forcing off after it.
pub const CALL_MAX: Duration = Duration::from_secs(900);
/// How long a target that is undone may take to shut down: nothing on it is worth waiting for.
pub const UNDO_GRACE: Duration = Duration::from_secs(10);

/// What running steps takes.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub registry: Registry,
    pub web: Arc<dyn Web>,
    pub keys: Arc<dyn Keys>,
}

impl Means {
    /// Runs one step of the conduit's own to its end. `halt` asks it to come to rest soon; a call of a provider that
    /// has begun is not torn, so that the undo never races with it.
    pub async fn run(
        &self,
        relocation: &Relocation,
        step: &StepId,
        halt: &CancellationToken,
    ) -> Result<Done, Failure> {
        let scene = Scene::of(self, relocation)?;
        match step {
            StepId::Reserve => scene.reserve().await,
            StepId::Address(component) => scene.address(component).await,
            StepId::Furnish => scene.furnish().await,
            StepId::Observe(component) => scene.observe(component, halt).await,
            StepId::Freeze(component) => scene.freeze(component).await,
            StepId::Snapshot(component) => scene.snapshot(component).await,
            StepId::Create(component) => scene.create(component).await,
            StepId::SetAside(component) => scene.set_aside(component).await,
            StepId::KeepImage(component) => scene.keep_image(component).await,
            StepId::Verify(component) => scene.verify(component, halt).await,
            StepId::Commit => scene.commit(halt).await,
            StepId::Tidy => scene.tidy().await,
            other => {
                let message = format!("step `{other}` is a migrator's");
                Err(Failure::never(Code::Internal, message, "report this with the relocation's log"))
            }
        }
    }

    pub async fn undo(&self, relocation: &Relocation, step: &StepId) -> Result<(), Failure> {
        Scene::of(self, relocation)?.undo(step).await
    }
}

/// One relocation with both of its providers at hand.
struct Scene<'a> {
    relocation: &'a Relocation,
    source: Arc<dyn Provider>,
    target: Arc<dyn Provider>,
    target_id: ProviderId,
    web: &'a dyn Web,
    keys: &'a dyn Keys,
}

impl<'a> Scene<'a> {
    fn of(means: &'a Means, relocation: &'a Relocation) -> Result<Self, Failure> {
        let target_id = relocation.target.clone().ok_or_else(|| {
            Failure::never(Code::Internal, "there is no target yet", "report this with the relocation's log")
        })?;
        Ok(Self {
            relocation,
            source: means.registry.get(&relocation.request.service.provider).map_err(told)?,
            target: means.registry.get(&target_id).map_err(told)?,
            target_id,
            web: &*means.web,
            keys: &*means.keys,
        })
    }

    fn source_name(&self, component: &ComponentName) -> Result<&InstanceName, Failure> {
        Ok(&self.relocation.component(component)?.id)
    }

    fn target_name(&self, component: &ComponentName) -> Result<&InstanceName, Failure> {
        Ok(crate::relocation::target_name(self.relocation.component(component)?))
    }
}

fn told(error: Error) -> Failure {
    error.to_failure()
}

/// One call of a provider, bounded in time.
async fn call<T>(what: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    call_within(CALL_MAX, what, work).await
}

async fn call_within<T>(
    within: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(within, work).await {
        Ok(done) => done.map_err(told),
        Err(_) => {
            let message = format!("{what} took longer than {} s", within.as_secs());
            Err(Failure::later(Code::TimedOut, message, "see the log of the provider"))
        }
    }
}

fn halted() -> Failure {
    Failure::never(Code::Canceled, "the step was halted", "request the relocation again")
}

/// False when it was halted meanwhile.
async fn wait(duration: Duration, halt: &CancellationToken) -> bool {
    tokio::select! {
        () = halt.cancelled() => false,
        () = tokio::time::sleep(duration) => true,
    }
}
