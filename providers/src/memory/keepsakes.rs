//! Snapshots and images that stay, in a simulated cloud. That a snapshot shows what runs, or an image what runs already, is
//! recorded as illegal.

use async_trait::async_trait;
use bytes::Bytes;
use fluidcloud_proto::ids::{ComponentName, RelocationId};
use fluidcloud_proto::kept::{Kept, KeptKind};
use fluidcloud_proto::request::Visibility;
use fluidcloud_proto::topology::Power;

use super::cloud::Cloud;
use super::{MemoryProvider, Op, lock};
use crate::error::Error;
use crate::keepsakes::{KeepOrder, Keepsakes, SnapshotOrder};
use crate::provider::Made;

#[derive(Clone, Debug)]
pub(super) struct KeptHeld {
    pub relocation: RelocationId,
    pub role: Role,
    pub kept: Kept,
    pub bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Snapshot,
    Aside,
    Image,
}

impl KeptHeld {
    pub fn made(&self) -> Made {
        let name = self.kept.name.clone();
        match self.role {
            Role::Aside => Made::Scrap { path: format!("/aside/{name}") },
            Role::Snapshot | Role::Image => Made::Image { name },
        }
    }

    fn is_of(&self, relocation: RelocationId, component: &ComponentName, role: Role) -> bool {
        self.relocation == relocation && self.kept.component == *component && self.role == role
    }
}

/// For tests.
impl MemoryProvider {
    /// Names of what was kept here, with the bytes that each shows.
    pub fn kept_bytes(&self) -> Vec<(String, Bytes)> {
        let cloud = lock(&self.cloud);
        let all = cloud.shelf.kept.iter().filter(|held| held.role != Role::Aside);
        all.map(|held| (held.kept.name.clone(), held.bytes.clone())).collect()
    }
}

impl MemoryProvider {
    fn held_kept(&self, order: &KeepOrder, role: Role, bytes: Bytes) -> KeptHeld {
        let kept = Kept {
            component: order.component.clone(),
            kind: KeptKind::Image,
            provider: self.id.clone(),
            name: order.name.clone(),
            id: format!("kept-{}-{}", order.relocation, order.component),
            status: "active".to_owned(),
            format: order.format.as_str().to_owned(),
            visibility: order.visibility.as_str().to_owned(),
            size_bytes: bytes.len() as u64,
        };
        KeptHeld { relocation: order.relocation, role, kept, bytes }
    }

    fn dropped(cloud: &mut Cloud, relocation: RelocationId, component: &ComponentName, role: Role) {
        cloud.shelf.kept.retain(|held| !held.is_of(relocation, component, role));
    }
}

#[async_trait]
impl Keepsakes for MemoryProvider {
    async fn may_keep(&self, order: &KeepOrder) -> Result<(), Error> {
        self.call(Op::MayKeep, &order.component, |_| match order.visibility {
            // As at most clouds.
            Visibility::Public => Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!("let everybody see image `{}`", order.name),
                remedy: "choose `private`, `shared` or `community` as its visibility".to_owned(),
            }),
            _ => Ok(()),
        })
    }

    async fn take_snapshot(&self, order: &SnapshotOrder) -> Result<Vec<Kept>, Error> {
        self.call(Op::TakeSnapshot, &order.component, |cloud| {
            let taken = |held: &KeptHeld| held.is_of(order.relocation, &order.component, Role::Snapshot);
            if !cloud.shelf.kept.iter().any(taken) {
                let instance =
                    cloud.instances.get(&order.instance).ok_or_else(|| self.unknown(&order.instance))?;
                if instance.power != Power::Stopped {
                    self.witness
                        .record(format!("{}: a snapshot of `{}`, which runs", self.id, order.instance));
                }
                let mut all = Vec::new();
                for (at, (disk, place)) in instance.disks.iter().enumerate() {
                    let bytes =
                        cloud.disks.get(&place.path).map(|disk| disk.bytes.clone()).unwrap_or_default();
                    let name = if at == 0 { order.name.clone() } else { format!("{}-{disk}", order.name) };
                    let kept = Kept {
                        component: order.component.clone(),
                        kind: KeptKind::Snapshot,
                        provider: self.id.clone(),
                        id: format!("snapshot-{}-{name}", order.relocation),
                        name,
                        status: "available".to_owned(),
                        format: String::new(),
                        visibility: String::new(),
                        size_bytes: bytes.len() as u64,
                    };
                    let relocation = order.relocation;
                    all.push(KeptHeld { relocation, role: Role::Snapshot, kept, bytes: bytes.into() });
                }
                cloud.shelf.kept.extend(all);
            }
            Ok(cloud.shelf.kept.iter().filter(|held| taken(held)).map(|held| held.kept.clone()).collect())
        })
    }

    async fn drop_snapshot(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        self.call(Op::DropSnapshot, component, |cloud| {
            Self::dropped(cloud, relocation, component, Role::Snapshot);
            Ok(())
        })
    }

    async fn set_aside(&self, order: &KeepOrder) -> Result<(), Error> {
        self.call(Op::SetAside, &order.component, |cloud| {
            let there = |held: &KeptHeld| held.is_of(order.relocation, &order.component, Role::Aside);
            if cloud.shelf.kept.iter().any(there) {
                return Ok(());
            }
            let mut users = cloud.instances.values().filter(|it| it.has_disk(&order.root.path));
            if users.any(|it| it.power == Power::Running) {
                self.witness
                    .record(format!("{}: set aside `{}`, whose instance runs", self.id, order.root.path));
            }
            let disk = cloud.disks.get(&order.root.path).ok_or_else(|| Error::Driver {
                provider: self.id.to_string(),
                what: format!("set a disk of {} aside", order.component),
                cause: format!("there is no disk `{}`", order.root.path).into(),
            })?;
            let held = self.held_kept(order, Role::Aside, disk.bytes.clone().into());
            cloud.shelf.kept.push(held);
            Ok(())
        })
    }

    async fn drop_aside(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        self.call(Op::DropAside, component, |cloud| {
            Self::dropped(cloud, relocation, component, Role::Aside);
            Ok(())
        })
    }

    async fn keep_image(&self, order: &KeepOrder) -> Result<Kept, Error> {
        self.call(Op::KeepImage, &order.component, |cloud| {
            let of = |role| move |held: &&KeptHeld| held.is_of(order.relocation, &order.component, role);
            if let Some(held) = cloud.shelf.kept.iter().find(of(Role::Image)) {
                return Ok(held.kept.clone());
            }
            let aside = cloud.shelf.kept.iter().find(of(Role::Aside)).ok_or_else(|| Error::Driver {
                provider: self.id.to_string(),
                what: format!("make image `{}`", order.name),
                cause: "nothing was set aside for it".into(),
            })?;
            let held = self.held_kept(order, Role::Image, aside.bytes.clone());
            let kept = held.kept.clone();
            cloud.shelf.kept.push(held);
            Self::dropped(cloud, order.relocation, &order.component, Role::Aside);
            Ok(kept)
        })
    }

    async fn drop_image(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        self.call(Op::DropImage, component, |cloud| {
            Self::dropped(cloud, relocation, component, Role::Image);
            Ok(())
        })
    }

    async fn kept(&self, relocation: RelocationId) -> Result<Vec<Kept>, Error> {
        self.call(Op::Kept, relocation, |cloud| {
            let all = cloud.shelf.kept.iter();
            let ours = all.filter(|held| held.relocation == relocation && held.role != Role::Aside);
            Ok(ours.map(|held| held.kept.clone()).collect())
        })
    }
}
