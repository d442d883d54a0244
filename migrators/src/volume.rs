//! The migrator of kind `volume`: brings a volume's content into the instance's own file system. A volume that
//! arrives as a volume needs nothing but the image migrator.

pub mod fold;

use std::sync::Arc;

use async_trait::async_trait;
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::task::{Output, Task, Work};
use fluidcloud_providers::{Moment, Registry};

use crate::binary::ViaductBinary;
use crate::error::Error;
use crate::guest::{Desk, Purpose};
use crate::migrator::{Context, Migrator, name_of, open};

#[derive(Clone, Debug)]
pub struct VolumeMigrator {
    registry: Arc<Registry>,
    viaduct: ViaductBinary,
}

impl VolumeMigrator {
    pub fn new(registry: Arc<Registry>, viaduct: ViaductBinary) -> Self {
        Self { registry, viaduct }
    }
}

#[async_trait]
impl Migrator for VolumeMigrator {
    fn kind(&self) -> MigratorKind {
        MigratorKind::Volume
    }

    async fn perform(&self, task: &Task, _context: &Context) -> Result<Output, Error> {
        match &task.work {
            Work::FoldVolume(order) => {
                let provider = self.registry.get(&task.site)?;
                let places = [&order.root.place, &order.volume.place];
                let site = open(&*provider, task.key.relocation, places, Moment::Stopped).await?;
                let purpose = Purpose::Change(task.key.epoch);
                let desk = Desk::open(&*provider, site, &places, purpose, &self.viaduct).await?;
                let folded = fold::fold(&desk.site, &self.viaduct, order, task.key.epoch).await?;
                Ok(Output::Folded(folded))
            }
            other => Err(Error::WrongWork { kind: self.kind(), work: name_of(other) }),
        }
    }

    async fn halt(&self, task: &Task) -> Result<(), Error> {
        let provider = self.registry.get(&task.site)?;
        let Some(site) = provider.opened(task.key.relocation).await? else {
            return Ok(());
        };
        let site = Desk::records(&*provider, site);
        match &task.work {
            Work::FoldVolume(order) => Ok(fold::work(&site, order, task.key.epoch)?.halt().await?),
            _ => Ok(()),
        }
    }
}
