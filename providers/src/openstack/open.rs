//! Disks at hand in the helper, each under its place. A target's volumes are attached themselves; of a source only copies.

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::topology::DiskPlace;
use futures::future::try_join_all;
use tokio::sync::Mutex;

use super::OpenstackProvider;
use super::helper::HelperSite;
use super::place::Spot;
use super::tag::{self, Role};
use super::wait::until;
use crate::error::Error;
use crate::provider::Moment;
use crate::site::{Command, Site};

const ATTACHED_MAX: Duration = Duration::from_secs(180);
const LINK_SECS: u64 = 120;

/// `PATH VOLUME …`: waits for the device whose serial number begins the volume's id, and links it there.
const LINK: &str = r#"
while [ $# -gt 1 ]; do
    path=$1 want=$(printf %.20s "$2") turns=0 device=
    mkdir -p "${path%/*}" || exit 1
    until [ -b "$device" ]; do
        for serial in /sys/block/*/serial; do
            [ "$(cat "$serial" 2>/dev/null)" = "$want" ] || continue
            device=${serial%/serial} device=/dev/${device##*/}
        done
        for link in /dev/disk/by-id/*"$want"*; do
            case $link in *-part*) ;; *) [ ! -b "$link" ] || device=$(readlink -f "$link") ;; esac
        done
        turns=$((turns + 1))
        [ "$turns" -lt 300 ] || { echo "no device has the serial number $want" >&2; exit 1; }
        [ -b "$device" ] || sleep 0.2
    done
    ln -sfn "$device" "$path" || exit 1
    shift 2
done
"#;
const UNLINK: &str = r#"for path in "$1" "$1".*; do rm -rf -- "$path"; done"#;

impl OpenstackProvider {
    pub(super) async fn open_disks(
        &self,
        relocation: RelocationId,
        disks: &[DiskPlace],
        moment: Moment,
    ) -> Result<Arc<HelperSite>, Error> {
        // What does not exist needs no helper to be found out.
        let shown = self.volumes_to_show(relocation, disks, moment).await?;
        let (server, site) = self.helper(relocation).await?;
        try_join_all(shown.iter().map(|volume| self.attach_to(&server, volume))).await?;
        let mut command = Command::new("sh").args(["-c", LINK, "link"]).timeout_secs(LINK_SECS);
        for (place, volume) in disks.iter().zip(&shown) {
            command = command.arg(&place.path).arg(volume);
        }
        if let Err(error) = site.run(&command).await {
            if matches!(error, Error::Unreachable { .. } | Error::TimedOut { .. }) {
                self.doubt_helper(relocation).await;
            }
            return Err(error);
        }
        Ok(site)
    }

    pub(super) fn spot(&self, place: &DiskPlace) -> Result<Spot, Error> {
        Spot::of(place, self.config.site_dir()).ok_or_else(|| Error::Unsupported {
            provider: self.id.to_string(),
            what: format!("find a disk at {}", place.path),
            remedy: "inspect it again: its place is told there".to_owned(),
        })
    }

    /// Volumes first: while an image of a root disk is taken, some storage takes no snapshot of them.
    async fn volumes_to_show(
        &self,
        relocation: RelocationId,
        disks: &[DiskPlace],
        moment: Moment,
    ) -> Result<Vec<String>, Error> {
        let spots = disks.iter().map(|place| self.spot(place)).collect::<Result<Vec<_>, _>>()?;
        let mut shown = vec![String::new(); spots.len()];
        for roots in [false, true] {
            let of = |spot: &Spot| matches!(spot, Spot::RootOf(_)) == roots;
            let now: Vec<usize> = (0..spots.len()).filter(|at| of(&spots[*at])).collect();
            let found = now.iter().map(|at| self.volume_to_show(relocation, &spots[*at], moment));
            for (at, volume) in now.iter().zip(try_join_all(found).await?) {
                shown[*at] = volume;
            }
        }
        Ok(shown)
    }

    /// A volume of this relocation's own is worked on itself; of any other a copy is read.
    async fn volume_to_show(
        &self,
        relocation: RelocationId,
        spot: &Spot,
        moment: Moment,
    ) -> Result<String, Error> {
        match spot {
            Spot::RootOf(server) => self.copy_of_root(relocation, server, moment).await,
            Spot::Coming(disk) => Err(self.never_open(disk)),
            Spot::Volume(id) => {
                let volume = self.api.volume(id).await?;
                let volume = volume.ok_or_else(|| self.api.lost(format!("volume {id}")))?;
                if tag::has(&volume.metadata, relocation, Role::Disk) {
                    return Ok(volume.id);
                }
                self.copy_of_volume(relocation, &volume, moment).await
            }
        }
    }

    async fn attach_to(&self, server: &str, volume: &str) -> Result<(), Error> {
        let refused = Mutex::new(None);
        until(
            || format!("the attachment of volume {volume}"),
            ATTACHED_MAX,
            || async {
                let found = self.api.volume(volume).await?;
                let found = found.ok_or_else(|| self.api.lost(format!("volume {volume}")))?;
                match found.status.as_str() {
                    "in-use" if found.is_attached_to(server) => Ok(Some(())),
                    "in-use" => Err(Error::Unsupported {
                        provider: self.id.to_string(),
                        what: format!("work on volume {volume}, which another server uses"),
                        remedy: "detach it there".to_owned(),
                    }),
                    // Asked for a second time only when it was let go.
                    "available" => match self.api.attach(server, volume).await {
                        Ok(()) => Ok(None),
                        Err(error @ Error::Refused { status: 400 | 409, full: false, .. }) => {
                            match refused.lock().await.replace(error) {
                                // Another worker may have been quicker once.
                                None => Ok(None),
                                Some(error) => Err(error),
                            }
                        }
                        Err(error) => Err(error),
                    },
                    "error" | "error_attaching" => Err(self.api.broken(
                        format!("volume {volume}"),
                        &found.status,
                        "see the log of nova-compute",
                    )),
                    _ => Ok(None),
                }
            },
        )
        .await
    }

    /// What lies beside a disk goes with it; a helper that does not answer goes soon itself.
    pub(super) async fn unlink(&self, relocation: RelocationId, volume: &str) {
        let known = self.helpers.lock().await.get(&relocation).map(|(_, site)| site.clone());
        let Some(site) = known else { return };
        let place = Spot::Volume(volume.to_owned()).place(self.config.site_dir());
        let command = Command::new("sh").args(["-c", UNLINK, "unlink", &place.path]).timeout_secs(30);
        if let Err(error) = site.run(&command).await {
            tracing::debug!(provider = %self.id, volume, %error, "cannot tidy beside a disk in the helper");
        }
    }
}
