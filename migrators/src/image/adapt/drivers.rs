//! Drivers of the target's hardware: which ones there must be, what the guest's initramfs holds, and how it is built
//! anew when that is too little.

use std::collections::BTreeSet;
use std::time::Duration;

use fluidcloud_proto::task::Hardware;

use super::edits::Edits;
use super::{Error, Files};
use crate::guest::{self, Fish, Session};

const MODULES: &str = "/etc/initramfs-tools/modules";
const CONF: &str = "/etc/initramfs-tools/initramfs.conf";
const CONF_D: &str = "/etc/initramfs-tools/conf.d";
const OURS: &str = "/etc/initramfs-tools/conf.d/zz-fluidcloud";
const DRACUT: &str = "/etc/dracut.conf.d/90-fluidcloud.conf";

pub(super) const FILES: &[&str] = &[MODULES, CONF, "/etc/dracut.conf"];
pub(super) const DIRS: &[&str] = &[CONF_D];

/// Modules by the names of their files, without ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drivers {
    /// The initramfs must have these to find the root.
    disk: Vec<&'static str>,
    /// The root file system must have these.
    nic: Vec<&'static str>,
}

impl Drivers {
    pub fn of(hardware: &Hardware) -> Result<Self, Error> {
        let disk = match hardware.disk_bus.as_str() {
            "virtio" => vec!["virtio_pci", "virtio_blk"],
            "scsi" => vec!["virtio_pci", "virtio_scsi", "sd_mod"],
            "sata" => vec!["ahci", "sd_mod"],
            "ide" => vec!["ata_piix", "sd_mod"],
            "nvme" => vec!["nvme"],
            other => return Err(Error::UnknownHardware(other.to_owned())),
        };
        let nic = match hardware.nic.as_str() {
            "virtio" => vec!["virtio_net"],
            "e1000" => vec!["e1000"],
            "e1000e" => vec!["e1000e"],
            other => return Err(Error::UnknownHardware(other.to_owned())),
        };
        Ok(Self { disk, nic })
    }

    fn all(&self) -> impl Iterator<Item = &'static str> {
        self.disk.iter().chain(&self.nic).copied()
    }
}

/// One installed kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kernel {
    version: String,
    /// Its initramfs; without one the drivers must be built in.
    image: Option<String>,
    builtin: BTreeSet<String>,
    available: BTreeSet<String>,
    contained: BTreeSet<String>,
}

/// Asks the guest's own tools; the answer has one fact per line.
pub(super) async fn look(
    session: &mut Session,
    drivers: &Drivers,
    bound: Duration,
) -> Result<Vec<Kernel>, guest::Error> {
    let names: Vec<_> = drivers.all().collect();
    let script = LOOK.replace("@NAMES@", &names.join(" "));
    let told = session.run_for(&[Fish::new(&["sh", &script])], bound).await?.remove(0);
    Ok(read(&told))
}

const LOOK: &str = r#"cd /lib/modules 2>/dev/null || exit 0
for k in *; do
    ls /boot/vmlinu?-$k /boot/Image-$k $k/vmlinuz >/dev/null 2>&1 || [ -e /boot/vmlinuz-$k ] || [ -e $k/vmlinuz ] || continue
    echo "kernel $k"
    image=
    for f in /boot/initrd.img-$k /boot/initramfs-$k.img /boot/initrd-$k; do [ -e $f ] && image=$f && break; done
    [ -z "$image" ] || echo "image $image"
    inside=
    if [ -n "$image" ]; then
        inside=$(if command -v lsinitramfs >/dev/null; then lsinitramfs $image; else lsinitrd $image; fi 2>/dev/null)
    fi
    for m in @NAMES@; do
        d=$(echo $m | tr _ -)
        grep -qE "/($m|$d)\.ko" $k/modules.builtin 2>/dev/null && echo "builtin $m"
        [ -n "$(find $k -name "$m.ko*" -o -name "$d.ko*" | head -n 1)" ] && echo "available $m"
        echo "$inside" | grep -qE "/($m|$d)\.ko" && echo "contained $m"
    done
done
command -v update-initramfs >/dev/null && echo "tool initramfs-tools"
command -v dracut >/dev/null && echo "tool dracut"
exit 0"#;

fn read(told: &str) -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for (fact, value) in told.lines().filter_map(|line| line.split_once(' ')) {
        let value = value.to_owned();
        match (fact, kernels.last_mut()) {
            ("kernel", _) => kernels.push(Kernel { version: value, ..Kernel::default() }),
            ("image", Some(kernel)) => kernel.image = Some(value),
            ("builtin", Some(kernel)) => drop(kernel.builtin.insert(value)),
            ("available", Some(kernel)) => drop(kernel.available.insert(value)),
            ("contained", Some(kernel)) => drop(kernel.contained.insert(value)),
            _ => {}
        }
    }
    kernels
}

impl Kernel {
    pub fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    fn rebuilt(&self, drivers: &Drivers) -> String {
        let image = self.image().unwrap_or("initramfs");
        format!("{image}: rebuilt, it holds {}", drivers.disk.join(", "))
    }

    /// What its initramfs must have and has not.
    fn lacks(&self, drivers: &Drivers) -> Vec<&'static str> {
        let here = |name: &&str| self.builtin.contains(*name) || self.contained.contains(*name);
        drivers.disk.iter().filter(|name| !here(name)).copied().collect()
    }

    /// What cannot be had at all.
    fn cannot_have(&self, drivers: &Drivers) -> Vec<&'static str> {
        let here = |name: &&'static str| self.builtin.contains(*name) || self.available.contains(*name);
        drivers.all().filter(|name| !here(name)).collect()
    }
}

/// How the initramfs is built anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rebuild {
    tool: Tool,
    missing: Vec<&'static str>,
    kernels: Vec<String>,
    widens: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    InitramfsTools,
    Dracut,
}

/// `None` when every kernel has what it needs.
pub(super) fn plan(
    system: &str,
    drivers: &Drivers,
    kernels: &[Kernel],
    files: &Files,
) -> Result<Option<Rebuild>, Error> {
    let system = system.to_owned();
    let Some(newest) = kernels.last() else { return Err(Error::NoKernel { system }) };
    let cannot = newest.cannot_have(drivers);
    if !cannot.is_empty() {
        return Err(Error::NoDrivers { system, kernel: newest.version.clone(), missing: cannot.join(", ") });
    }
    let mut missing: Vec<&'static str> = Vec::new();
    let mut lacking = Vec::new();
    // An old kernel that never had them is not what boots.
    for kernel in kernels.iter().filter(|kernel| kernel.cannot_have(drivers).is_empty()) {
        let lacks = kernel.lacks(drivers);
        if lacks.is_empty() {
            continue;
        }
        lacking.push(kernel.version.clone());
        missing.extend(lacks.iter().filter(|name| !missing.contains(name)).copied().collect::<Vec<_>>());
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let tool = if files.get(CONF).is_some() {
        Tool::InitramfsTools
    } else if files.get("/etc/dracut.conf").is_some() {
        Tool::Dracut
    } else {
        return Err(Error::UnknownTool { system, missing: missing.join(", ") });
    };
    // Whether dracut has built it for one machine is not looked at.
    let widens = tool == Tool::Dracut || modules_policy(files) == "dep";
    Ok(Some(Rebuild { tool, missing, kernels: lacking, widens }))
}

/// After a rebuild: what was done, or what is still missing.
pub(super) fn prove(
    system: &str,
    drivers: &Drivers,
    kernels: &[Kernel],
    rebuilt: &[String],
) -> Result<Vec<String>, Error> {
    let mut told = Vec::new();
    for kernel in kernels.iter().filter(|kernel| rebuilt.contains(&kernel.version)) {
        let missing = kernel.lacks(drivers);
        if !missing.is_empty() {
            let (system, kernel) = (system.to_owned(), kernel.version.clone());
            return Err(Error::NotBuilt { system, kernel, missing: missing.join(", ") });
        }
        told.push(kernel.rebuilt(drivers));
    }
    Ok(told)
}

/// Before a rebuild: what will be done.
pub(super) fn announce(drivers: &Drivers, kernels: &[Kernel], to_rebuild: &[String]) -> Vec<String> {
    let rebuilt = kernels.iter().filter(|kernel| to_rebuild.contains(&kernel.version));
    rebuilt.map(|kernel| kernel.rebuilt(drivers)).collect()
}

impl Rebuild {
    /// Whether an initramfs of the machine it was built on becomes one for any machine.
    pub fn widens(&self) -> bool {
        self.widens
    }

    pub fn kernels(&self) -> &[String] {
        &self.kernels
    }

    pub fn command(&self) -> &'static str {
        match self.tool {
            Tool::InitramfsTools => "update-initramfs -u -k all",
            Tool::Dracut => "dracut -f --regenerate-all",
        }
    }

    /// So that later builds in the guest have the drivers as well.
    pub fn configure(&self, files: &Files, edits: &mut Edits) {
        let added = self.missing.join(", ");
        match self.tool {
            Tool::InitramfsTools => {
                let modules = with_modules(files.get(MODULES).unwrap_or_default(), &self.missing);
                edits.write(MODULES, modules, format!("adds {added}"));
                if self.widens {
                    let text = "# Drivers of the machine it is built on are not those of the machine it runs on.\nMODULES=most\n";
                    edits.write(OURS, text.to_owned(), "MODULES=most instead of dep");
                }
            }
            Tool::Dracut => {
                let names = self.missing.join(" ");
                let text = format!(
                    "# Made when this guest was moved to other hardware.\nhostonly=\"no\"\nadd_drivers+=\" {names} \"\n"
                );
                edits.write(DRACUT, text, format!("adds {added}"));
            }
        }
    }
}

fn with_modules(text: &str, missing: &[&str]) -> String {
    let mut now = text.to_owned();
    if !now.is_empty() && !now.ends_with('\n') {
        now.push('\n');
    }
    let named = |name: &str| text.lines().any(|line| line.split_whitespace().next() == Some(name));
    for name in missing.iter().filter(|name| !named(name)) {
        now.push_str(name);
        now.push('\n');
    }
    now
}

/// `MODULES=` as initramfs-tools reads it: the last one wins.
fn modules_policy(files: &Files) -> &str {
    let texts = files.get(CONF).into_iter().chain(files.within(CONF_D, "").map(|(_, text)| text));
    let values = texts.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("MODULES="));
    values.last().unwrap_or("most").trim_matches('"')
}

#[cfg(test)]
mod tests;
