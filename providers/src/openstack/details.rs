//! What only a person wants to know of an instance.

use fluidcloud_proto::ids::InstanceName;
use fluidcloud_proto::overview::{Details, VolumeShown};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::OpenstackProvider;
use super::power::Found;
use super::tag;
use super::volumes::{GIB, Volume};
use crate::error::Error;

impl OpenstackProvider {
    pub(super) async fn details_of(&self, instance: &InstanceName) -> Result<Details, Error> {
        let server = match self.find(instance).await? {
            Found::Server(server) => *server,
            Found::Defined(defined) => {
                let volumes = defined.volumes.iter().map(|volume| shown("", volume)).collect();
                let (status, note) = ("defined, never started".to_owned(), defined.note);
                return Ok(Details { id: String::new(), status, created_at: None, note, volumes });
            }
        };
        let (id, status) = (server.id.clone(), server.status.clone());
        let note = server.metadata.get(tag::NOTE).cloned().unwrap_or_default();
        let created_at = OffsetDateTime::parse(&server.created, &Rfc3339).ok();
        let parts = self.parts_of_server(server).await?;
        let volumes = parts.volumes.iter().map(|(device, volume)| shown(device, volume)).collect();
        Ok(Details { id, status, created_at, note, volumes })
    }
}

fn shown(device: &str, volume: &Volume) -> VolumeShown {
    VolumeShown {
        name: volume.name.clone().unwrap_or_default(),
        id: volume.id.clone(),
        device: device.to_owned(),
        size_bytes: volume.size.saturating_mul(GIB),
        volume_type: volume.volume_type.clone().unwrap_or_default(),
        status: volume.status.clone(),
    }
}
