//! The migrator of kind `image`: makes target disks, moves bytes onto them, and lets the guest boot from them.

pub mod adapt;
mod prepare;
pub mod sync;

use std::sync::Arc;

use async_trait::async_trait;
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::task::{Output, Task, Work};
use fluidcloud_providers::{Moment, Registry};

use crate::binary::ViaductBinary;
use crate::error::Error;
use crate::guest::{Desk, Purpose};
use crate::migrator::{Context, Migrator, name_of, open, open_source};

#[derive(Clone, Debug)]
pub struct ImageMigrator {
    registry: Arc<Registry>,
    viaduct: ViaductBinary,
}

impl ImageMigrator {
    pub fn new(registry: Arc<Registry>, viaduct: ViaductBinary) -> Self {
        Self { registry, viaduct }
    }
}

#[async_trait]
impl Migrator for ImageMigrator {
    fn kind(&self) -> MigratorKind {
        MigratorKind::Image
    }

    async fn perform(&self, task: &Task, context: &Context) -> Result<Output, Error> {
        let provider = self.registry.get(&task.site)?;
        match &task.work {
            Work::PrepareDisk(order) => {
                let source = order.source.as_ref().map(|source| self.registry.get(source)).transpose()?;
                let ready = prepare::Ready { viaduct: &self.viaduct, relocation: task.key.relocation };
                ready.prepare(&*provider, source.as_deref(), order).await
            }
            Work::SyncDisk(order) => {
                let source = self.registry.get(&order.source)?;
                if let Some(inlet) = provider.inlet() {
                    let comes =
                        sync::Comes::new(&self.viaduct, &*source, (&*provider, &*inlet), order, &task.key);
                    let transfer = comes.by_image(&context.progress).await?;
                    return Ok(Output::Synced { transfer });
                }
                let (source, target) = futures::future::try_join(
                    open_source(&*source, task.key.relocation, [&order.from], Moment::Stopped),
                    open(&*provider, task.key.relocation, [&order.to], Moment::Stopped),
                )
                .await?;
                let ends = sync::Ends::new(&self.viaduct, source, target, order, task.key.epoch);
                let transfer = sync::sync(&ends, &context.progress).await?;
                Ok(Output::Synced { transfer })
            }
            Work::AdaptGuest(order) => {
                let places = order.disks.iter().map(|disk| &disk.place);
                let site = open(&*provider, task.key.relocation, places, Moment::Stopped).await?;
                let places: Vec<_> = order.disks.iter().map(|disk| &disk.place).collect();
                let purpose = Purpose::Change(task.key.epoch);
                let desk = Desk::open(&*provider, site, &places, purpose, &self.viaduct).await?;
                adapt::adapt(&desk.site, order, task.key.epoch).await
            }
            other => Err(Error::WrongWork { kind: self.kind(), work: name_of(other) }),
        }
    }

    async fn halt(&self, task: &Task) -> Result<(), Error> {
        // Where nothing stands, nothing runs.
        let provider = self.registry.get(&task.site)?;
        let Some(site) = provider.opened(task.key.relocation).await? else {
            return Ok(());
        };
        match &task.work {
            Work::SyncDisk(order) => sync::halt(&*site, order).await,
            Work::AdaptGuest(order) => {
                let site = Desk::records(&*provider, site);
                Ok(adapt::work(&site, order, task.key.epoch)?.halt().await?)
            }
            _ => Ok(()),
        }
    }
}
