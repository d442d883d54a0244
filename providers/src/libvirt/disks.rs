//! Disk files in the pool's directory, made and removed at the site: whole or not at all, and never over another.

use fluidcloud_proto::ids::{DiskId, RelocationId};
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};

use super::images::{self, format_name};
use super::{LibvirtProvider, files};
use crate::error::Error;
use crate::provider::{DiskOrder, Made};
use crate::site::Command;

/// Longest work on one file that carries no bytes.
const FILE_SECS: u64 = 60;
/// QEMU counts in these.
const SECTOR_BYTES: u64 = 512;

/// Prints `room N` when it is not there and N bytes free are too few. Its name comes last and only if it is free.
const CREATE: &str = r#"
path=$1 format=$2 size=$3 needed=$4
[ ! -e "$path" ] || exit 0
free=$(df -Pk -- "${path%/*}" | awk 'NR == 2 { printf "%.0f", $4 * 1024 }')
[ "$free" -ge "$needed" ] || { echo "room $free"; exit 0; }
new=$path.new.$$
trap 'rm -f -- "$new"' EXIT
umask 077
if [ "$format" = raw ]; then
    truncate -s "$size" -- "$new" || exit
else
    qemu-img create -q -f "$format" -- "$new" "$size" || exit
fi
ln -- "$new" "$path" 2>/dev/null || [ -e "$path" ]
"#;
const DELETE: &str = r#"for path; do rm -rf -- "$path" "$path".viaduct* "$path".work* "$path".lock* "$path".new* || exit; done"#;
const REMOVE: &str = r#"for path; do rm -rf -- "$path" || exit; done"#;
const LIST: &str = r#"for file in "$1/$2"*; do if [ -e "$file" ] || [ -L "$file" ]; then printf '%s\n' "${file##*/}"; fi; done"#;
/// `$1` is the relocation, the rest are disks that are not ours: what lies beside them and has its id.
const SETTLE_BESIDE: &str = r#"
id=$1; shift
for path; do
    for file in "$path".*; do
        case ${file#"$path"} in *"$id"*) rm -rf -- "$file" || exit ;; esac
    done
done
"#;

fn shell(script: &str) -> Command {
    Command::new("sh").args(["-c", script, "sh"]).timeout_secs(FILE_SECS)
}

impl LibvirtProvider {
    pub(super) async fn make_disk(&self, order: &DiskOrder) -> Result<DiskPlace, Error> {
        let format = if order.staging { DiskFormat::Raw } else { self.shape.format };
        let dir = self.pool_dir().await?;
        let name = self.disk_file(order.relocation, &order.disk, format)?;
        let path = format!("{dir}/{name}");
        let numbers = [order.size_bytes.to_string(), order.expected_bytes.to_string()];
        let create = shell(CREATE).arg(&path).arg(format_name(format)).args(numbers);
        let told = self.site.run(&create).await?.text();
        if let Some(free) = told.trim().strip_prefix("room ").and_then(|free| free.parse().ok()) {
            let (provider, needed) = (self.id.to_string(), order.expected_bytes);
            return Err(Error::NoRoom { provider, place: format!("pool `{}`", self.pool), needed, free });
        }
        let place = DiskPlace { path, format };
        let made = images::look(&*self.site, std::slice::from_ref(&place)).await?;
        let whole = |bytes: u64| bytes.div_ceil(SECTOR_BYTES);
        if made.iter().any(|image| whole(image.size_bytes) != whole(order.size_bytes)) {
            return Err(Error::NameTaken { provider: self.id.to_string(), name: place.path });
        }
        self.refresh_pool().await;
        Ok(place)
    }

    pub(super) async fn remove_disk(&self, relocation: RelocationId, disk: &DiskId) -> Result<(), Error> {
        let dir = self.pool_dir().await?;
        let mut command = shell(DELETE);
        for format in files::FORMATS {
            command = command.arg(format!("{dir}/{}", self.disk_file(relocation, disk, format)?));
        }
        self.site.run(&command).await?;
        self.refresh_pool().await;
        Ok(())
    }

    /// Files of ours for this relocation.
    pub(super) async fn files_for(&self, relocation: RelocationId) -> Result<Vec<Made>, Error> {
        let dir = self.pool_dir().await?;
        let told = self.site.run(&shell(LIST).arg(&dir).arg(files::prefix(relocation))).await?.text();
        Ok(told.lines().filter_map(|file| files::classify(relocation, &dir, file)).collect())
    }

    pub(super) async fn remove_scraps(
        &self,
        relocation: RelocationId,
        kept_disks: &[String],
    ) -> Result<(), Error> {
        let made = self.files_for(relocation).await?.into_iter();
        let scraps: Vec<String> = made
            .filter_map(|made| match made {
                Made::Scrap { path } => Some(path),
                Made::Disk { .. } | Made::Instance { .. } | Made::Image { .. } | Made::Furniture { .. } => {
                    None
                }
            })
            .collect();
        if !scraps.is_empty() {
            self.site.run(&shell(REMOVE).args(scraps)).await?;
        }
        if !kept_disks.is_empty() {
            let command = shell(SETTLE_BESIDE).arg(relocation.to_string()).args(kept_disks.iter().cloned());
            self.site.run(&command).await?;
        }
        self.refresh_pool().await;
        Ok(())
    }

    fn disk_file(
        &self,
        relocation: RelocationId,
        disk: &DiskId,
        format: DiskFormat,
    ) -> Result<String, Error> {
        files::disk(relocation, disk, format).ok_or_else(|| Error::Unsupported {
            provider: self.id.to_string(),
            what: format!("name a file for disk `{disk}`"),
            remedy: "use a component name without `.raw` and `.qcow2`".to_owned(),
        })
    }
}
