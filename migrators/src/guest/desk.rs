//! Where work inside guests is done: at the disks' own site, or, where that is no more than a small helper, on the worker's
//! host. There the helper's disks appear under the very same paths, carried by NBD through ssh, so that nothing else
//! has to know. What lies beside a disk (overlays, records) then lies on the worker's host.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::ids::Epoch;
use fluidcloud_proto::topology::DiskPlace;
use fluidcloud_providers::{Command, GuestWork, Line, LocalSite, Login, Provider, Running, Site};
use tokio::time::timeout;

use super::Error;
use crate::binary::{ViaductBinary, text};

/// Until a disk has appeared: ssh logs in, the far end waits for an older one to end.
const APPEARS: Duration = Duration::from_secs(90);
const CLAIM_SECS: u64 = 30;
/// Mounts over the file `$1`, says so, and goes on until it is ended; then nothing is mounted there.
const MOUNT: &str = include_str!("desk.sh");
/// Who works on a disk first has to be the one to finish: overlays that are half committed lie on that host.
const CLAIM: &str = r#"[ -s "$1" ] || (set -C; echo "$2" >"$1") 2>/dev/null; cat -- "$1""#;

/// What the disks are opened for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    Look,
    Change(Epoch),
}

/// Disks at hand for guest work. They vanish with it.
#[derive(Debug)]
pub struct Desk {
    pub site: Arc<dyn Site>,
    _mounts: Vec<Running>,
}

impl Desk {
    /// `site` is where `places` are open.
    pub async fn open(
        provider: &dyn Provider,
        site: Arc<dyn Site>,
        places: &[&DiskPlace],
        purpose: Purpose,
        viaduct: &ViaductBinary,
    ) -> Result<Self, crate::Error> {
        // Without a login it is this very host.
        let (GuestWork::AtWorker, Some(login)) = (provider.guest_work(), site.login()) else {
            return Ok(Self { site, _mounts: Vec::new() });
        };
        let here = here(provider, &*site);
        let program = viaduct.push(&*site).await?;
        let mut mounts = Vec::new();
        for place in places {
            if let Purpose::Change(_) = purpose {
                claim(&*site, place).await?;
            }
            let far = serve_command(&program, place, purpose);
            mounts.push(mount(&*here, &login, &place.path, &far).await?);
        }
        Ok(Self { site: here, _mounts: mounts })
    }

    /// Where the records of guest work lie, without a disk at hand.
    pub fn records(provider: &dyn Provider, site: Arc<dyn Site>) -> Arc<dyn Site> {
        match provider.guest_work() {
            GuestWork::AtSite => site,
            GuestWork::AtWorker => here(provider, &*site),
        }
    }
}

/// This host, with the site's directory.
fn here(provider: &dyn Provider, site: &dyn Site) -> Arc<dyn Site> {
    Arc::new(LocalSite::at(provider.id().clone(), site.dir()))
}

async fn claim(site: &dyn Site, place: &DiskPlace) -> Result<(), crate::Error> {
    let ours = host_name();
    let file = format!("{}.desk", place.path);
    let command = Command::new("sh").args(["-c", CLAIM, "claim", &file, &ours]).timeout_secs(CLAIM_SECS);
    let holder = site.run(&command).await?.text().trim().to_owned();
    if holder == ours {
        return Ok(());
    }
    Err(Error::OtherDesk { disk: place.path.clone(), holder }.into())
}

/// The machine's own id, as names of hosts are given twice.
fn host_name() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    format!("{} {}", read("/proc/sys/kernel/hostname"), read("/etc/machine-id"))
}

fn serve_command(program: &Path, place: &DiskPlace, purpose: Purpose) -> String {
    let (program, disk) = (super::fish::shell_word(&text(program)), super::fish::shell_word(&place.path));
    match purpose {
        Purpose::Look => format!("exec {program} serve --read-only {disk}"),
        Purpose::Change(epoch) => {
            let lock = super::fish::shell_word(&format!("{}.serve-lock", place.path));
            format!("exec {program} serve --lock {lock} --epoch {epoch} {disk}")
        }
    }
}

async fn mount(here: &dyn Site, login: &Login, path: &str, far: &str) -> Result<Running, crate::Error> {
    let known_hosts = PathBuf::from(format!("{path}.known-hosts"));
    here.put_bytes(login.host_keys.as_bytes(), &known_hosts, 0o600).await?;
    let command = Command::new("sh").args(["-s", "--", path]).stdin(MOUNT).args(login.ssh(&known_hosts, far));
    let mut running = here.start(&command).await?;
    let mut said = Vec::new();
    let appeared = async {
        loop {
            match running.next().await {
                Some(Line::Stdout(line)) if line == "mounted" => return true,
                Some(Line::Stdout(line) | Line::Stderr(line)) if said.len() < 8 => said.push(line),
                Some(Line::Stdout(_) | Line::Stderr(_)) => (),
                Some(Line::Exit(_)) | None => return false,
            }
        }
    };
    match timeout(APPEARS, appeared).await {
        Ok(true) => Ok(running),
        Ok(false) => Err(Error::NoDesk { host: login.whom(), why: said.join("; ") }.into()),
        Err(_) => {
            let why = format!("nothing came for {} s", APPEARS.as_secs());
            Err(Error::NoDesk { host: login.whom(), why }.into())
        }
    }
}
