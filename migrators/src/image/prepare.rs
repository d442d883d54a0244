//! An empty disk at the target. The driver does it and makes it idempotent; nothing is added here.

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::task::{Output, PrepareDisk};
use fluidcloud_providers::{DiskOrder, Provider};

use crate::error::Error;

pub(super) async fn prepare(
    provider: &dyn Provider,
    relocation: RelocationId,
    order: &PrepareDisk,
) -> Result<Output, Error> {
    let order = DiskOrder {
        relocation,
        disk: order.disk.clone(),
        size_bytes: order.size_bytes,
        expected_bytes: order.expected_bytes,
        staging: order.staging,
    };
    let place = provider.create_disk(&order).await?;
    Ok(Output::Prepared { place })
}
