//! Small disks with real file systems, a registry of sites that are all this host, and a task at a time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fluidcloud_migrators::{Context, Error, Migrators, ViaductBinary};
use fluidcloud_proto::ids::{DiskId, Epoch, RelocationId};
use fluidcloud_proto::plan::{MigratorKind, StepId};
use fluidcloud_proto::task::{GuestDisk, Hardware, Output, Task, TaskKey, Work};
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};
use fluidcloud_providers::{ProviderConfig, Registry};
use fluidcloud_tests::cli::{self, Said};
use tempfile::TempDir;

pub struct Stage {
    pub dir: TempDir,
    pub registry: Arc<Registry>,
    pub migrators: Migrators,
    relocation: RelocationId,
}

impl Stage {
    /// `None`, loudly, where root or guestfish is missing; in CI that is a failure.
    pub fn new() -> Option<Self> {
        let root = Said::of(Command::new("id").arg("-u")).stdout.trim() == "0";
        let fish =
            Said::of(Command::new("sh").args(["-c", "command -v guestfish mke2fs setfacl"])).code == Some(0);
        if !root || !fish {
            assert!(std::env::var_os("CI").is_none(), "CI must run these tests as root, with guestfish");
            eprintln!("SKIPPED: guest work needs root, guestfish, mke2fs and setfacl");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("fluidcloud-migrators").tempdir_in("/var/tmp").unwrap();
        let site = |id: &str| -> ProviderConfig {
            let config = serde_json::json!({
                "id": id,
                "driver": "libvirt",
                "uri": "qemu:///system",
                "site": { "address": "127.0.0.1", "dir": dir.path().join(format!("site-{id}")) },
                "shape": { "machine": "q35", "disk_bus": "virtio", "nic": "virtio", "format": "raw" },
            });
            serde_json::from_value(config).unwrap()
        };
        // Its driver connects when it is first asked, and nothing here asks it.
        let registry = Arc::new(Registry::from_config(&[site("a"), site("b")]).unwrap());
        Some(Self::with(dir, registry))
    }

    fn with(dir: TempDir, registry: Arc<Registry>) -> Self {
        let viaduct = ViaductBinary::at(cli::viaduct()).unwrap();
        let migrators = Migrators::new(registry.clone(), viaduct);
        Self { dir, registry, migrators, relocation: RelocationId::new() }
    }

    /// The same, where senders log in at `b` over ssh.
    pub fn with_login(self, login: serde_json::Value) -> Self {
        let config = |id: &str| {
            let mut config = self.registry.config(&id.parse().unwrap()).unwrap().clone();
            if id == "b" {
                config.site.as_mut().unwrap().peer_ssh = serde_json::from_value(login.clone()).unwrap();
            }
            config
        };
        let registry = Arc::new(Registry::from_config(&[config("a"), config("b")]).unwrap());
        Self::with(self.dir, registry)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A raw disk with an ext4 that holds what the script makes in its directory.
    pub fn file_system(&self, name: &str, mib: u64, script: &str) -> DiskPlace {
        let tree = self.path(&format!("{name}.tree"));
        std::fs::create_dir(&tree).unwrap();
        sh(&tree, script);
        let image = self.path(&format!("{name}.raw"));
        let args = ["-q", "-t", "ext4", "-L", name];
        let size = format!("{mib}M");
        Said::of(Command::new("mke2fs").args(args).arg("-d").arg(&tree).arg(&image).arg(size)).succeeded();
        std::fs::remove_dir_all(&tree).unwrap();
        DiskPlace { path: image.to_str().unwrap().into(), format: DiskFormat::Raw }
    }

    /// A guest as small as one can be, with a file system on its whole root disk.
    pub fn root(&self, mib: u64, more: &str) -> GuestDisk {
        let script = format!(
            "mkdir -p etc srv mnt/volume
             echo 'ID=debian' > etc/os-release
             printf 'LABEL=root / ext4 defaults 0 1\\n/dev/sdb /mnt/volume ext4 defaults 0 2\\n' > etc/fstab
             {more}"
        );
        disk("sda", self.file_system("root", mib, &script), false)
    }

    pub fn task(&self, kind: MigratorKind, epoch: u64, work: Work) -> Task {
        let step = StepId::Adapt("app".parse().unwrap());
        let key = TaskKey { relocation: self.relocation, step, epoch: Epoch(epoch) };
        Task { key, kind, site: "b".parse().unwrap(), lease_secs: 60, work }
    }

    pub async fn perform(&self, kind: MigratorKind, epoch: u64, work: Work) -> Result<Output, Error> {
        let (context, _progress) = Context::new();
        let task = self.task(kind, epoch, work);
        self.migrators.choose(kind).unwrap().perform(&task, &context).await
    }

    /// What a shell command says in the mounted file system of a disk, which stays as it is.
    pub fn inside(&self, place: &DiskPlace, command: &str) -> String {
        assert_eq!(place.format, DiskFormat::Raw);
        let mount = self.path("mounted");
        std::fs::create_dir_all(&mount).unwrap();
        let script = "mount -o loop,ro,noload \"$1\" \"$2\" && cd \"$2\" && eval \"$3\"";
        let mut unshared = Command::new("unshare");
        unshared.args(["-m", "bash", "-c", script, "inside", &place.path]).arg(mount).arg(command);
        Said::of(&mut unshared).succeeded()
    }

    /// What lies beside the disks.
    pub fn scraps(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> =
            names.map(|name| name.into_string().unwrap()).filter(|name| name.contains(".work")).collect();
        names.sort();
        names
    }

    /// Ids of processes with this text and the directory of this test in their command line.
    pub fn pids(&self, text: &str) -> Vec<u32> {
        let ours = self.dir.path().to_str().unwrap().to_owned();
        let line = |pid: u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ")
        };
        let all = std::fs::read_dir("/proc").unwrap();
        all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| line(*pid).contains(&ours) && line(*pid).contains(text))
            .collect()
    }

    pub async fn until_there(&self, text: &str) -> Vec<u32> {
        for _ in 0..1200 {
            let pids = self.pids(text);
            if !pids.is_empty() {
                return pids;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("no process with `{text}` has come");
    }
}

pub fn disk(name: &str, place: DiskPlace, staging: bool) -> GuestDisk {
    let disk = DiskId { component: "app".parse().unwrap(), disk: name.parse().unwrap() };
    GuestDisk { disk, place, guest_device: format!("/dev/{name}"), staging }
}

pub fn virtio() -> Hardware {
    Hardware {
        machine: "q35".into(),
        disk_bus: "virtio".into(),
        nic: "virtio".into(),
        format: DiskFormat::Raw,
    }
}

pub fn sh(dir: &Path, script: &str) {
    Said::of(Command::new("bash").args(["-ec", script]).current_dir(dir)).succeeded();
}

pub fn kill9(pids: &[u32]) {
    for pid in pids {
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
    }
}

pub fn digest(path: &str) -> String {
    Said::of(Command::new("sha256sum").arg(path)).succeeded().split(' ').next().unwrap().to_owned()
}
