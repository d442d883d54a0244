//! The migrator of kind `object`: images and containers of objects, from one cloud's API to another's. Bytes pass through this
//! process, piece by piece; no site is needed.

pub mod container;
pub mod image;
mod measure;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::task::{Output, Task, Work};
use fluidcloud_providers::Registry;

use crate::migrator::{Context, Migrator, name_of};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} arrived with another {algorithm} than it has: {expected} became {found}")]
    Corrupted { what: String, algorithm: String, expected: String, found: String },
    #[error("container `{container}` changes faster than it is copied: {passes} times something was new")]
    Restless { container: String, passes: u32 },
    #[error("object `{object}` of container `{container}` changes faster than it is copied")]
    Rewritten { container: String, object: String },
    #[error(
        "object `{object}` of container `{container}` leads to itself, or over more than {depth} manifests"
    )]
    TooDeep { container: String, object: String, depth: u32 },
}

impl Error {
    pub fn retryable(&self) -> bool {
        !matches!(self, Self::TooDeep { .. })
    }

    pub fn to_failure(&self) -> Failure {
        let (code, remedy) = match self {
            Self::Corrupted { .. } => {
                (Code::Corrupted, "it is copied again; if it happens often, see the logs of both stores")
            }
            Self::Restless { .. } | Self::Rewritten { .. } => {
                (Code::SourceChanged, "stop what writes to it until the relocation has ended")
            }
            Self::TooDeep { .. } => (Code::Provider, "correct its manifest at the source, or remove it"),
        };
        let make = if self.retryable() { Failure::later } else { Failure::never };
        make(code, self.to_string(), remedy)
    }
}

#[derive(Clone, Debug)]
pub struct ObjectMigrator {
    registry: Arc<Registry>,
}

impl ObjectMigrator {
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}

#[async_trait]
impl Migrator for ObjectMigrator {
    fn kind(&self) -> MigratorKind {
        MigratorKind::Object
    }

    async fn perform(&self, task: &Task, context: &Context) -> Result<Output, crate::Error> {
        let target = self.registry.get(&task.site)?;
        match &task.work {
            Work::CopyImage(order) => {
                let source = self.registry.get(&order.source)?.images()?;
                let target = target.images()?;
                let copied = image::copy(&*source, &*target, &task.key, order, &context.progress);
                Ok(Output::ImageCopied(copied.await?))
            }
            Work::CopyContainer(order) => {
                let source = self.registry.get(&order.source)?.objects()?;
                let target = target.objects()?;
                let copied = container::copy(&*source, &*target, &task.key, order, &context.progress);
                Ok(Output::ContainerCopied(copied.await?))
            }
            other => Err(crate::Error::WrongWork { kind: self.kind(), work: name_of(other) }),
        }
    }

    /// Dropping the work has ended it: nothing of it runs anywhere else.
    async fn halt(&self, _task: &Task) -> Result<(), crate::Error> {
        Ok(())
    }
}
