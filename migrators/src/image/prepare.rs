//! An empty disk at the target, and both sites ready for its bytes: a helper server that does not come up, or a viaduct that
//! does not run there, is found out while the source still runs, and costs no downtime. The driver makes it idempotent.

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::task::{Output, PrepareDisk};
use fluidcloud_proto::topology::DiskPlace;
use fluidcloud_providers::{DiskOrder, Moment, Provider};
use futures::future::{join, try_join};

use crate::binary::ViaductBinary;
use crate::error::Error;
use crate::migrator::{open, open_source};

#[derive(Debug)]
pub(super) struct Ready<'a> {
    pub viaduct: &'a ViaductBinary,
    pub relocation: RelocationId,
}

impl Ready<'_> {
    pub async fn prepare(
        &self,
        target: &dyn Provider,
        source: Option<&dyn Provider>,
        order: &PrepareDisk,
    ) -> Result<Output, Error> {
        let at_source = async {
            let Some(source) = source else { return Ok(()) };
            let site = open_source(source, self.relocation, None, Moment::Running).await?;
            self.viaduct.push(&*site).await.map(drop)
        };
        let at_target = async {
            let disk = async { Ok(target.create_disk(&self.ordered(order)).await?) };
            // A disk that comes as an image is not there before its bytes are.
            if target.inlet().is_some() {
                return disk.await;
            }
            // A volume and a helper may both take their time: side by side, each to its end. What is dropped while it is being made
            // could come after an undo has looked for it.
            let (place, helper) = join(disk, self.at_hand(target, None)).await;
            let place = place?;
            helper?;
            self.at_hand(target, Some(&place)).await?;
            Ok(place)
        };
        let ((), place) = try_join(at_source, at_target).await?;
        Ok(Output::Prepared { place })
    }

    fn ordered(&self, order: &PrepareDisk) -> DiskOrder {
        DiskOrder {
            relocation: self.relocation,
            disk: order.disk.clone(),
            size_bytes: order.size_bytes,
            expected_bytes: order.expected_bytes,
            staging: order.staging,
            volume_type: order.volume_type.clone(),
        }
    }

    async fn at_hand(&self, target: &dyn Provider, place: Option<&DiskPlace>) -> Result<(), Error> {
        let site = open(target, self.relocation, place, Moment::Stopped).await?;
        self.viaduct.push(&*site).await.map(drop)
    }
}
