//! The finishing stage: turns a received disk into an image of another format with `qemu-img`, and believes the result only
//! when it was compared with the disk. It appears under its name only when it is whole, compared and durable.

use crate::ends::{Disk, Source, open_source};
use crate::error::{Error, Result};
use crate::progress::Event;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::str::FromStr;
use tokio::process::Command;

/// The largest disk a VHD can describe.
const VHD_BYTES_MAX: u64 = 2040 << 30;
/// What a VHD allocates at a time.
const VHD_BLOCK: u64 = 2 << 20;
/// What a streamOptimized VMDK packs at a time.
const VMDK_GRAIN: u64 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// streamOptimized, as OVAs want it.
    Vmdk,
    /// Dynamic, of exactly the disk's size.
    Vhd,
    /// Fixed, as Azure wants it.
    VhdFixed,
}

impl Format {
    /// What qemu-img calls it, and the options with which it is made.
    fn of_qemu(self) -> (&'static str, &'static str) {
        match self {
            Format::Vmdk => ("vmdk", "subformat=streamOptimized"),
            Format::Vhd => ("vpc", "subformat=dynamic,force_size=on"),
            Format::VhdFixed => ("vpc", "subformat=fixed,force_size=on"),
        }
    }

    fn grain(self) -> u64 {
        match self {
            Format::Vmdk => VMDK_GRAIN,
            Format::Vhd | Format::VhdFixed => VHD_BLOCK,
        }
    }

    /// The most an image can take, of a disk of `size` with so many bytes of data in whole grains.
    fn room(self, size: u64, data: u64) -> u64 {
        let tables = (1 << 20) + size / 8192;
        match self {
            // What cannot be packed grows by a little, and every grain has a header.
            Format::Vmdk => data + data / 64 + tables,
            Format::Vhd => data + data / VHD_BLOCK * 512 + tables,
            Format::VhdFixed => size + 1024,
        }
    }
}

/// An image to be made of the disk: `vmdk:PATH`, `vhd:PATH` or `vhd-fixed:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    format: Format,
    path: PathBuf,
}

impl FromStr for Finish {
    type Err = Error;

    fn from_str(text: &str) -> Result<Finish> {
        let format = |name| match name {
            "vmdk" => Some(Format::Vmdk),
            "vhd" => Some(Format::Vhd),
            "vhd-fixed" => Some(Format::VhdFixed),
            _ => None,
        };
        let parsed = text.split_once(':').and_then(|(name, path)| Some((format(name)?, path)));
        match parsed {
            Some((format, path)) if !path.is_empty() => Ok(Finish { format, path: path.into() }),
            _ => Err(Error::usage(
                format!("`{text}`"),
                "it names no image to make",
                "write vmdk:PATH, vhd:PATH or vhd-fixed:PATH",
            )),
        }
    }
}

impl Finish {
    /// What can be known before the disk is there: better told before hours of copying than after.
    pub async fn check(&self, disk: &Disk) -> Result<()> {
        let what = self.path.display();
        let wrong = |why: &str, remedy: &str| Err(Error::usage(format!("--finish {what}"), why, remedy));
        if matches!(disk, Disk::Far(_) | Disk::Stdio) {
            return wrong("the disk is not at this site", "finish where the disk lies");
        }
        if self.path.is_dir() || !self.folder().is_dir() {
            return wrong("there can be no file of that name", "name a file in a directory that exists");
        }
        let same =
            |path: &Path| matches!((path.canonicalize(), self.path.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if disk.path().is_some_and(|path| path == self.path || same(path)) {
            return wrong("it is the disk itself", "name another file");
        }
        self.qemu_img(&["--version".as_ref()]).await.map(|_| ())
    }

    /// Makes the image of a disk that lies still.
    pub async fn run(&self, disk: &Disk) -> Result<Event> {
        let source = open_source(disk).await?;
        let size = source.size();
        if self.format != Format::Vmdk && size > VHD_BYTES_MAX {
            return Err(self.failed(format!("a VHD holds at most 2040 GiB, and {} has more", source.name())));
        }
        let need = self.format.room(size, grains_with_data(&*source, self.format.grain()).await?);
        let stat = rustix::fs::statvfs(self.folder())
            .map_err(|error| Error::io("measure", self.folder().display(), error.into()))?;
        let free = stat.f_bavail * stat.f_frsize;
        if need > free {
            return Err(Error::NoRoom { what: self.path.display().to_string(), need, free });
        }
        // A qcow2 image is open as long as its source is.
        drop(source);
        let made = Unfinished::new(&self.path)?;
        self.convert(disk, &made.path).await?;
        let bytes = made.settle(&self.path)?;
        let (format, _) = self.format.of_qemu();
        Ok(Event::Converted { path: self.path.display().to_string(), format: format.to_owned(), bytes })
    }

    async fn convert(&self, disk: &Disk, new: &Path) -> Result<()> {
        let (from_format, from) = match disk {
            // qemu takes what stands before a colon for a protocol, but not in an absolute path.
            Disk::File(path) | Disk::Qcow2(path) => (
                if matches!(disk, Disk::Qcow2(_)) { "qcow2" } else { "raw" },
                path.canonicalize().map_err(|error| Error::io("open", path.display(), error))?,
            ),
            disk => ("raw", PathBuf::from(disk.to_string())),
        };
        let (format, options) = self.format.of_qemu();
        let (from, new) = (from.as_os_str(), new.as_os_str());
        let word = std::ffi::OsStr::new;
        let mut convert =
            ["convert", "-q", "-f", from_format, "-O", format, "-o", options, "--"].map(word).to_vec();
        convert.extend([from, new]);
        let done = self.qemu_img(&convert).await?;
        if !done.status.success() {
            return Err(self.failed(said(&done)));
        }
        let mut compare = ["compare", "-q", "-f", from_format, "-F", format, "--"].map(word).to_vec();
        compare.extend([from, new]);
        let done = self.qemu_img(&compare).await?;
        match done.status.code() {
            Some(0) => Ok(()),
            Some(1) => Err(Error::Differs {
                what: self.path.display().to_string(),
                why: "qemu-img compare found another content than that of the disk".into(),
            }),
            _ => Err(self.failed(said(&done))),
        }
    }

    async fn qemu_img(&self, words: &[&std::ffi::OsStr]) -> Result<Output> {
        let mut command = Command::new("qemu-img");
        command.args(words).stdin(Stdio::null()).kill_on_drop(true);
        command.output().await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self.failed("there is no qemu-img here".into()),
            _ => self.failed(format!("qemu-img cannot be run: {error}")),
        })
    }

    fn failed(&self, why: String) -> Error {
        Error::QemuImg { path: self.path.clone(), why }
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

fn said(done: &Output) -> String {
    let said = String::from_utf8_lossy(&done.stderr);
    match said.trim().trim_start_matches("qemu-img: ") {
        "" => format!("qemu-img ended with {}", done.status),
        said => said.replace('\n', "; "),
    }
}

/// An image under another name, which goes with it unless it is settled.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn new(path: &Path) -> Result<Unfinished> {
        let mut name = path.as_os_str().to_owned();
        name.push(".viaduct-new");
        let new = PathBuf::from(name);
        let fail = |error| Error::io("create", new.display(), error);
        // What a killed one left is in the way; and a disk may hold anybody's secrets, so qemu-img finds a file that is ours.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(fail)?;
        Ok(Unfinished { path: new })
    }

    /// Gives it its name, durably. Its size.
    fn settle(self, path: &Path) -> Result<u64> {
        let fail = |error| Error::io("settle", path.display(), error);
        let file = std::fs::File::open(&self.path).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        std::fs::rename(&self.path, path).map_err(fail)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(fail)?;
        Ok(file.metadata().map_err(fail)?.len())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Settled, it is not there any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Bytes of the grains that may hold data.
async fn grains_with_data(source: &dyn Source, grain: u64) -> Result<u64> {
    let (mut total, mut at, mut counted) = (0, 0, 0);
    while let Some(extent) = source.next_data(at).await? {
        let start = (extent.start / grain * grain).max(counted);
        let end = extent.end.next_multiple_of(grain);
        total += end.saturating_sub(start);
        (counted, at) = (end.max(counted), extent.end);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_format_and_path() {
        let parse = |text: &str| text.parse::<Finish>();
        assert_eq!(parse("vmdk:/a:b").unwrap(), Finish { format: Format::Vmdk, path: "/a:b".into() });
        assert_eq!(parse("vhd-fixed:x.vhd").unwrap().format, Format::VhdFixed);
        for wrong in ["vmdk", "vmdk:", "qcow:x", "/path", ""] {
            assert!(parse(wrong).unwrap_err().remedy().contains("vhd-fixed:PATH"), "{wrong}");
        }
    }
}
