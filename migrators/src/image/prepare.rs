//! An empty disk at the target, and both sites ready for its bytes: a helper server that does not come up, or a viaduct that
//! does not run there, is found out while the source still runs, and costs no downtime. The driver makes it idempotent.

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::task::{Output, PrepareDisk};
use fluidcloud_proto::topology::DiskPlace;
use fluidcloud_providers::{DiskOrder, Moment, Provider};
use futures::future::try_join;

use crate::binary::ViaductBinary;
use crate::error::Error;
use crate::migrator::open;

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
            match source {
                Some(source) => self.at_hand(source, None, Moment::Running).await,
                None => Ok(()),
            }
        };
        let at_target = async {
            // A volume and a helper may both take their time: side by side.
            let disk = async { Ok(target.create_disk(&self.ordered(order)).await?) };
            let (place, ()) = try_join(disk, self.at_hand(target, None, Moment::Stopped)).await?;
            self.at_hand(target, Some(&place), Moment::Stopped).await?;
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

    async fn at_hand(
        &self,
        provider: &dyn Provider,
        place: Option<&DiskPlace>,
        moment: Moment,
    ) -> Result<(), Error> {
        let site = open(provider, self.relocation, place, moment).await?;
        self.viaduct.push(&*site).await.map(drop)
    }
}
