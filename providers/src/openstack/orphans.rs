//! Everything of a relocation that the cloud has, and what of it goes when the relocation has ended.

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use serde_json::Value;

use super::OpenstackProvider;
use super::addresses::{is_address, is_for_instance};
use super::definition;
use super::furnish::is_furniture;
use super::images::is_copied;
use super::keepsakes::is_kept;
use super::place::Spot;
use super::tag::{self, AUTOSTART, LATER, Role};
use crate::error::Error;
use crate::provider::Made;

impl OpenstackProvider {
    pub(super) async fn all_made(&self, relocation: RelocationId) -> Result<Vec<Made>, Error> {
        let (servers, volumes) =
            futures::future::try_join(self.api.servers(), self.api.volumes_of(relocation)).await?;
        let mut made = Vec::new();
        let mut names: Vec<InstanceName> = Vec::new();
        for server in &servers {
            if tag::has(&server.metadata, relocation, Role::Server) {
                names.extend(server.name.parse());
            } else if tag::has(&server.metadata, relocation, Role::Helper) {
                made.push(scrap("server", &server.name, &server.id));
            }
        }
        names.extend(definition::among(&volumes).into_iter().map(|defined| defined.name));
        names.sort();
        names.dedup();
        for volume in &volumes {
            if tag::has(&volume.metadata, relocation, Role::Disk) {
                let place = Spot::Volume(volume.id.clone()).place(self.config.site_dir());
                made.push(Made::Disk { path: place.path });
            } else {
                made.push(scrap("volume", volume.name.as_deref().unwrap_or_default(), &volume.id));
            }
        }
        for snapshot in self.api.snapshots_of(relocation).await? {
            made.push(match tag::has(&snapshot.metadata, relocation, Role::Kept) {
                true => Made::Image { name: snapshot.name },
                false => scrap("snapshot", "", &snapshot.id),
            });
        }
        for image in self.api.images_of(relocation).await? {
            let name = image.name.clone().unwrap_or_default();
            made.push(match self.promised(&image) {
                Some(place) => Made::Disk { path: place.path },
                None if is_copied(&image) || is_kept(&image) => Made::Image { name },
                None => scrap("image", &name, &image.id),
            });
        }
        for port in self.api.ports_of(relocation).await? {
            // Those of an instance are part of it.
            let part = |name: &InstanceName| {
                port.description.starts_with(&tag::description(relocation, &format!("port {name} ")))
            };
            if !names.iter().any(part) {
                made.push(scrap("port", &port.mac_address, &port.id));
            }
        }
        for floating in self.api.floating_ips_of(relocation).await? {
            if names.iter().any(|name| is_address(&floating.description, relocation, name)) {
                continue;
            }
            made.push(match is_for_instance(&floating.description, relocation) {
                // Held for one that is not there yet.
                true => Made::Furniture { what: format!("floating IP {}", floating.floating_ip_address) },
                false => scrap("floating IP", &floating.floating_ip_address, &floating.id),
            });
        }
        for group in self.api.security_groups_of(relocation).await? {
            if !is_furniture(&group, relocation) {
                made.push(scrap("security group", "", &group.id));
            }
        }
        made.extend(self.furniture_of(relocation).await?);
        made.extend(names.into_iter().map(|name| Made::Instance { name }));
        made.sort();
        Ok(made)
    }

    /// What only the move needed goes; disks and instances stay.
    pub(super) async fn settle_all(&self, relocation: RelocationId) -> Result<(), Error> {
        self.let_start_by_itself(relocation).await?;
        // First the helper, so that nothing is attached any more.
        self.drop_helper(relocation).await?;
        self.drop_copies(relocation).await?;
        let left = self.all_made(relocation).await?;
        for port in self.api.ports_of(relocation).await? {
            if left.contains(&scrap("port", &port.mac_address, &port.id)) {
                self.api.delete_port(&port.id).await?;
            }
        }
        Ok(())
    }

    async fn let_start_by_itself(&self, relocation: RelocationId) -> Result<(), Error> {
        let later = |metadata: &tag::Metadata| metadata.get(AUTOSTART).is_some_and(|found| found == LATER);
        for server in self.api.servers().await? {
            if tag::has(&server.metadata, relocation, Role::Server) && later(&server.metadata) {
                self.api.set_metadata(&server, &[(AUTOSTART, "true")]).await?;
            }
        }
        for volume in self.api.volumes_of(relocation).await? {
            if later(&volume.metadata) {
                self.api.tag_volume(&volume.id, &[(AUTOSTART, "true".to_owned())]).await?;
            }
        }
        Ok(())
    }
}

fn scrap(kind: &str, name: &str, id: &str) -> Made {
    let path = if name.is_empty() { format!("{kind} {id}") } else { format!("{kind} {name} ({id})") };
    Made::Scrap { path }
}

/// Text of a property, whatever Glance makes of it.
pub(super) fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}
