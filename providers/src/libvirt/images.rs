//! What `qemu-img` says about disk images at the site.

use serde::Deserialize;

use crate::error::Error;
use crate::site::{Command, Site};
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};

/// Longest look at the images of one instance.
const LOOK_SECS: u64 = 60;
/// Formats are named, never guessed: a guest can write another format's header into its raw disk.
const LOOK: &str = r#"while [ "$#" -gt 0 ]; do qemu-img info -U --backing-chain --output=json -f "$1" -- "$2" || exit; shift 2; done"#;

/// One disk with its backing files folded in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub size_bytes: u64,
    pub allocated_bytes: u64,
    pub backing_files: Vec<String>,
    pub snapshots: usize,
    pub encrypted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Layer {
    filename: String,
    virtual_size: u64,
    #[serde(default)]
    actual_size: u64,
    #[serde(default)]
    snapshots: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    encrypted: bool,
}

pub(super) fn format_name(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    }
}

/// One for each place, in order.
pub(super) async fn look(site: &dyn Site, places: &[DiskPlace]) -> Result<Vec<Image>, Error> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = Command::new("sh").args(["-c", LOOK, "sh"]).timeout_secs(LOOK_SECS);
    for place in places {
        command = command.arg(format_name(place.format)).arg(&place.path);
    }
    let told = site.run(&command).await?.text();
    let images = parse(&told).filter(|images| images.len() == places.len());
    images.ok_or_else(|| Error::CommandFailed {
        host: site.host().to_owned(),
        command: "qemu-img info".to_owned(),
        status: "success".to_owned(),
        stderr: "what it told is not understood".to_owned(),
    })
}

/// Arrays of layers, one after the other; the first layer is the image itself.
fn parse(told: &str) -> Option<Vec<Image>> {
    let chains = serde_json::Deserializer::from_str(told).into_iter::<Vec<Layer>>();
    chains.map(|chain| image(&chain.ok()?)).collect()
}

fn image(chain: &[Layer]) -> Option<Image> {
    let (top, below) = chain.split_first()?;
    // A block device has no allocation of its own.
    let allocated: u64 = chain.iter().map(|layer| layer.actual_size).sum();
    let is_device = top.actual_size == 0 && top.filename.starts_with("/dev/");
    Some(Image {
        size_bytes: top.virtual_size,
        allocated_bytes: if is_device { top.virtual_size } else { allocated.min(top.virtual_size) },
        backing_files: below.iter().map(|layer| layer.filename.clone()).collect(),
        snapshots: chain.iter().map(|layer| layer.snapshots.len()).sum(),
        encrypted: chain.iter().any(|layer| layer.encrypted),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_one_image() {
        let told = r#"
            [{"filename": "/p/top", "virtual-size": 1000, "actual-size": 300, "format": "qcow2",
              "snapshots": [{"id": "1"}], "dirty-flag": false},
             {"filename": "/p/base", "virtual-size": 900, "actual-size": 200, "format": "qcow2"}]
            [{"filename": "/dev/sdx", "virtual-size": 77, "actual-size": 0, "format": "raw"}]"#;
        let top = Image {
            size_bytes: 1000,
            allocated_bytes: 500,
            backing_files: vec!["/p/base".into()],
            snapshots: 1,
            encrypted: false,
        };
        let device = Image {
            size_bytes: 77,
            allocated_bytes: 77,
            backing_files: Vec::new(),
            snapshots: 0,
            encrypted: false,
        };
        assert_eq!(parse(told), Some(vec![top, device]));
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        assert_eq!(parse("[{}]"), None);
        assert_eq!(parse("[]"), None);
    }
}
